"""Tests for gostore.commands.history: the versions of a location, from its directory."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout

from gostore.commands.history import line_of, versions
from gostore.commands.main import main
from gostore.errors import NoBlobs, NotFound
from gostore.store.interface import Lifetime
from gostore.store.versions import Version
from gostore.volume.volume import Volume
from gostore.web.history_forms import Heading, write
from gostore.web.list_forms import FORMS
from tests.commands.test_why import SECOND, LivesCase
from tests.store.support import LARGE


class HistoryTests(LivesCase):
    """A directory of a store that keeps a history, and is running."""

    def versions(self, location: str = "a") -> list[Version]:
        """What is on the disk of it."""
        return versions(Volume(self.path, make=False), location, self.clock.time)

    def test_lines(self) -> None:
        """Each version has its number, size and time, and what ended it, as the client says it."""
        self.put("a", b"old")
        self.put("a", b"newer")
        self.assertEqual(
            [line_of(each) for each in self.versions()],
            [
                "2: 5 bytes, 2027-01-15T08:00:10Z",
                "1: 3 bytes, 2027-01-15T08:00:00Z, replaced 2027-01-15T08:00:10Z",
            ],
        )
        self.successResultOf(self.store.delete("a"))
        first = self.versions()[0]
        expected = "2: 5 bytes, 2027-01-15T08:00:10Z, deleted 2027-01-15T08:00:20Z"
        self.assertEqual(line_of(first), expected)

    def test_members(self) -> None:
        """A program gets what ?history has, but for the time until which it is kept."""
        self.put("a", b"old", "alice, 7f3a", content_type="text/plain")
        self.put("a", b"newer", "8c01")
        self.put("b", b"data")
        self.successResultOf(self.store.delete("b", None, "bob, 9d"))
        for location in ("a", "b"):
            found = self.successResultOf(self.store.past.history(location))
            answer = json.loads(write(found, FORMS["json"], Heading("", ""), None))
            for each in answer:
                if "until" in each:
                    each["until"] = None
            self.assertEqual([each.members(None) for each in self.versions(location)], answer)

    def test_over(self) -> None:
        """A blob that is over has expired, whether the collector has marked it or not."""
        self.put("a", b"data", lifetime=Lifetime(60))
        self.assertIsNone(self.versions()[0].ending)
        self.clock.time += 60 * SECOND
        line = "1: 4 bytes, 2027-01-15T08:00:00Z, expired 2027-01-15T08:01:00Z"
        self.assertEqual(line_of(self.versions()[0]), line)
        self.successResultOf(self.store.collect())
        self.assertIn(", expired 2027-01-15T08:01:10Z", line_of(self.versions()[0]))

    def test_damaged(self) -> None:
        """A damaged blob is in its history, and says so to programs."""
        self.put("a", b"old")
        blob_id = self.put("a", LARGE)
        self.close()
        (self.directory / str(blob_id) / "data.raw").write_bytes(b"x")
        newest, older = self.versions()
        self.assertEqual(
            (newest.members(None)["damaged"], newest.members(None)["version"]), (True, 2)
        )
        self.assertEqual(older.blob.generation, 1)

    def test_nothing(self) -> None:
        """What nobody knows of is an error, and so is a directory without any blob."""
        self.assertRaises(NoBlobs, self.versions)
        self.put("a", b"data")
        self.assertRaises(NotFound, self.versions, "b")

    def test_command(self) -> None:
        """The command prints lines or JSON; a colon before the location is no part of it."""
        self.put("a\x9b31m", b"data")
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            self.assertEqual(main(["history", "--dir", self.path, ":a\x9b31m"]), 0)
            self.assertEqual(main(["history", "--dir", self.path, "--json", "a\x9b31m"]), 0)
            self.assertEqual(main(["history", "--dir", self.path, "b"]), 2)
            with self.assertRaises(SystemExit):
                main(["history", "--dir", self.path, "b/"])
        line, members = out.getvalue().splitlines()
        self.assertEqual(line, "1: 4 bytes, 2027-01-15T08:00:00Z")
        self.assertEqual(json.loads(members)["location"], "a\x9b31m")
        self.assertIn("gostore: b does not exist\n", err.getvalue())
        self.assertIn("b/ is no blob, but a prefix", err.getvalue())
