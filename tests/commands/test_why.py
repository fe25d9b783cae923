"""Tests for gostore.commands.why: the life of a blob in plain words."""

from __future__ import annotations

import io
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gostore.commands.main import main
from gostore.commands.why import tell
from gostore.errors import NoBlobs, NotFound
from gostore.prefixes import ByPrefix
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Details, Lifetime
from gostore.volume.changes import Sync
from gostore.volume.volume import Volume
from tests.store.doubles import SECOND, FakeBody, InlineWorkers, PromptClock, Ticks

NOW = 1_800_000_000


class LivesCase(SynchronousTestCase):
    """A directory of a store that keeps a history, and is running."""

    def setUp(self) -> None:
        """Open it."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = directory.name
        self.directory = Path(self.path)
        self.clock = Ticks(NOW * SECOND, step=0)
        self.is_open = False
        self.open()
        self.addCleanup(self.close)

    def open(self) -> None:
        """Open the store; the one before it is closed."""
        volume = Volume(self.path, now=self.clock, sync=Sync.JOURNAL)
        self.store = BlobStore(
            volume, InlineWorkers(), PromptClock(), reserve=0, keep=ByPrefix(1000.0)
        )
        self.store.open()
        self.store.start()
        self.is_open = True

    def close(self) -> None:
        """Close the store, as a crash does."""
        if self.is_open:
            self.is_open = False
            self.store.close()

    def put(self, location: str, data: bytes, origin: str = "", **details: Any) -> int:
        """Store a blob; return its id."""
        body = FakeBody(data)
        body.origin = origin
        blob, _ = self.successResultOf(self.store.put(location, body, Details(**details)))
        self.clock.time += 10 * SECOND
        return int(blob.id)


class WhyTests(LivesCase):
    """The life of a blob."""

    def tell(self, wanted: object, **options: bool) -> list[str]:
        """What is told of it."""
        return tell(Volume(self.path, make=False), str(wanted), self.clock.time, **options)

    def test_life(self) -> None:
        """Each version says who stored it and when, and how it ended; an id will do as well."""
        old = self.put("a", b"old", "alice, 7f3a", content_type="text/plain")
        new = self.put("a", b"newer", "8c01")
        self.assertEqual(self.tell("a")[0], f"a has a blob of 5 bytes, with the id {new}.")
        self.successResultOf(self.store.delete("a", None, "bob, 9d"))
        lines = self.tell("a")
        kept = "  Its bytes are here until the collector comes, or for as long as --keep says."
        self.assertEqual(
            lines,
            [
                "a has no blob.",
                f"Version 2, id {new}, 5 bytes:",
                "  2027-01-15T08:00:10Z  stored in place of another (request 8c01)",
                "  2027-01-15T08:00:20Z  deleted by bob (request 9d)",
                kept,
                f"Version 1, id {old}, 3 bytes, text/plain:",
                "  2027-01-15T08:00:00Z  stored by alice (request 7f3a)",
                f"  2027-01-15T08:00:10Z  replaced by the blob with the id {new} (request 8c01)",
                kept,
            ],
        )
        self.assertEqual(self.tell(old), lines)
        self.assertEqual(self.tell(new), lines)

    def test_expiring(self) -> None:
        """A blob that expires says when, and afterwards that it has."""
        self.put("a", b"data", lifetime=Lifetime(60))
        self.assertIn("  2027-01-15T08:01:00Z  will expire", self.tell("a"))
        self.clock.time += 60 * SECOND
        self.assertIn("its time is over", self.tell("a")[0])
        self.assertIn("  2027-01-15T08:01:00Z  expired", self.tell("a"))
        self.successResultOf(self.store.collect())
        self.assertEqual(self.tell("a")[0], "a has no blob.")
        self.assertIn("  2027-01-15T08:01:10Z  expired", self.tell("a"))

    def test_numbers(self) -> None:
        """A location that looks like an id is found as one, if no blob has that, or if asked."""
        blob_id = self.put("a", b"data")
        self.put(str(blob_id), b"more")
        self.assertTrue(self.tell(blob_id)[0].startswith("a has"))
        self.assertTrue(self.tell(blob_id, location=True)[0].startswith(f"{blob_id} has"))

    def test_nothing(self) -> None:
        """What nobody knows of is an error, and so is a directory without any blob."""
        self.assertRaises(NoBlobs, self.tell, "a")
        self.put("a", b"data")
        self.assertRaises(NotFound, self.tell, "b")

    def test_command(self) -> None:
        """The command tells it; what could move a terminal's cursor is shown as text."""
        self.put("a\x9b31m", b"data", "eve\x1b, 1")
        out = io.StringIO()
        with redirect_stdout(out):
            self.assertEqual(main(["why", "--dir", self.path, "a\x9b31m"]), 0)
        self.assertIn("a\\x9b31m has a blob of 4 bytes", out.getvalue())
        self.assertNotIn("\x1b", out.getvalue())
