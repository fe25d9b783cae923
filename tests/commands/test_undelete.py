"""Tests for gostore.commands.undelete: what was deleted comes back, while no daemon runs."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from hashlib import sha256

from gostore.commands.main import main
from gostore.store.interface import Lifetime
from tests.commands.test_why import SECOND, LivesCase
from tests.store.support import LARGE


class UndeleteTests(LivesCase):
    """A directory with a history; its store is closed while the command runs."""

    def undelete(self, *arguments: str) -> tuple[int, list[str], list[str]]:
        """Run the command on the directory; its status, and what it prints on both streams."""
        self.close()
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main(["undelete", "--dir", self.path, *arguments])
        return status, out.getvalue().splitlines(), err.getvalue().splitlines()

    def digests(self) -> dict[str, str]:
        """The digest of each blob, as the next start finds it."""
        self.open()
        found = {}
        for blob in self.store.index.blobs():
            content = self.successResultOf(self.store.content(blob))
            data = content.read(0, blob.size)
            data = data if isinstance(data, bytes) else self.successResultOf(data)
            content.close()
            found[blob.location] = sha256(data).hexdigest()
        return found

    def test_one(self) -> None:
        """The newest version of each location is current again, and the history says so."""
        for location, data in (("a", b"old"), ("a", b"newer"), ("large", LARGE), ("b", b"stays")):
            self.put(location, data)
        for location in ("a", "large"):
            self.successResultOf(self.store.delete(location))
        self.assertEqual(self.undelete("a", ":large"), (0, [], ["restored a", "restored large"]))
        wanted = {"a": b"newer", "b": b"stays", "large": LARGE}
        self.assertEqual(
            self.digests(), {at: sha256(data).hexdigest() for at, data in wanted.items()}
        )
        versions = self.successResultOf(self.store.past.history("a"))
        self.assertEqual([each.blob.generation for each in versions], [5, 2, 1])
        self.assertEqual(versions[0].origin, "gostore undelete")

    def test_prefix(self) -> None:
        """A prefix stands for all that was deleted below it, and for nothing else."""
        for location in ("p/1", "p/2", "q/1"):
            self.put(location, b"data")
            self.successResultOf(self.store.delete(location))
        self.assertEqual(
            self.undelete("p/", "--json")[1],
            [
                json.dumps({"outcome": "restored", "location": "p/1", "version": 1}),
                json.dumps({"outcome": "restored", "location": "p/2", "version": 2}),
            ],
        )
        self.assertEqual(sorted(self.digests()), ["p/1", "p/2"])
        self.assertEqual(self.undelete(":", "--quiet"), (0, [], []))
        self.assertEqual(sorted(self.digests()), ["p/1", "p/2", "q/1"])

    def test_expired(self) -> None:
        """A blob that is over comes back, for good, before any collector has seen it."""
        self.clock.time = 1_600_000_000 * SECOND
        self.put("a", b"data", lifetime=Lifetime(60))
        self.assertEqual(self.undelete("a"), (0, [], ["restored a"]))
        self.assertEqual(list(self.digests()), ["a"])
        self.assertIsNone(self.store.index.blob("a").expires)

    def test_refused(self) -> None:
        """What is not deleted, never was, or is damaged is said, and the rest is done."""
        self.put("a", b"data")
        self.put("b", b"data")
        damaged = self.put("c", LARGE)
        self.successResultOf(self.store.delete("b"))
        self.successResultOf(self.store.delete("c"))
        self.close()
        (self.directory / str(damaged) / "data.raw").write_bytes(LARGE[:-1] + b"?")
        status, out, err = self.undelete("a", "x", "c", "x/", "b")
        self.assertEqual((status, out), (2, []))
        self.assertEqual(
            err,
            [
                "gostore: a is not deleted",
                "gostore: x does not exist",
                "gostore: This version of c is damaged",
                "gostore: Nothing below x/ is deleted",
                "restored b",
            ],
        )
        words = [json.loads(line)["outcome"] for line in self.undelete("--json", "a", "x")[1]]
        self.assertEqual(words, ["condition failed", "not found"])
        self.assertEqual(self.digests().keys(), {"a", "b"})

    def test_running(self) -> None:
        """While a daemon has the directory it is refused, and nothing changes."""
        self.put("a", b"data")
        self.successResultOf(self.store.delete("a"))
        err = io.StringIO()
        with redirect_stderr(err):
            self.assertEqual(main(["undelete", "--dir", self.path, "a"]), 2)
        self.assertIn("already served by another daemon", err.getvalue())
        self.assertEqual(len(self.store.index), 0)
