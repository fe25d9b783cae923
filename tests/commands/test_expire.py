"""Tests for gostore.commands.expire: what would be removed because its time is over."""

from __future__ import annotations

import io
import tempfile
from contextlib import redirect_stderr, redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from gostore.commands.expire import expired
from gostore.commands.main import main
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Details, Lifetime
from gostore.volume.changes import Sync
from gostore.volume.volume import Volume
from tests.store.doubles import SECOND, FakeBody, InlineWorkers, PromptClock, Ticks

NOW = 1_800_000_000
WHEN = "2027-01-15T08:00:%02dZ"


class ExpireTests(SynchronousTestCase):
    """A directory with blobs that expire, and one that stays."""

    def setUp(self) -> None:
        """Store them; the store goes on running."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = directory.name
        clock = Ticks(NOW * SECOND, step=0)
        volume = Volume(self.path, now=clock, sync=Sync.JOURNAL)
        self.store = BlobStore(volume, InlineWorkers(), PromptClock(), reserve=0)
        self.store.open()
        self.store.start()
        self.addCleanup(self.store.close)
        for location, seconds in (("b", 20), ("a\x85", 10), ("c", 30), ("stays", None)):
            details = Details(lifetime=None if seconds is None else Lifetime(seconds))
            self.successResultOf(self.store.create(location, FakeBody(b"data"), details))

    def expired(self, seconds: int) -> list[str]:
        """What is over so many seconds later."""
        return expired(Volume(self.path, make=False), NOW + seconds)

    def test_shown(self) -> None:
        """What is over is shown in its order, and when the next one is, while a daemon runs."""
        self.assertEqual(
            self.expired(9),
            [f"0 blobs of 0 bytes; the next of 3 expires at {WHEN % 10}"],
        )
        lines = self.expired(20)
        ids = [self.store.index.standing(each).id for each in ("a\x85", "b")]
        self.assertEqual(
            lines,
            [
                f"a\\x85: id {ids[0]}, 4 bytes, expires at {WHEN % 10}",
                f"b: id {ids[1]}, 4 bytes, expires at {WHEN % 20}",
                f"2 blobs of 8 bytes; the next of 1 expires at {WHEN % 30}",
            ],
        )
        self.assertEqual(self.expired(30)[3], "3 blobs of 12 bytes")

    def test_command(self) -> None:
        """The command only shows, and says so."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            self.assertEqual(main(["expire", "--dir", self.path, "--dry-run"]), 0)
            with self.assertRaises(SystemExit):
                main(["expire", "--dir", self.path])
        self.assertIn("blobs of", out.getvalue())
        self.assertIn("--dry-run", err.getvalue())
        self.assertEqual(len(self.store.index), 4)
        out = io.StringIO()
        with redirect_stdout(out):
            main(["expire", "--dir", self.path, "--dry-run", "--within", "200w"])
        self.assertTrue(out.getvalue().endswith("3 blobs of 12 bytes\n"))
