"""Tests for gostore.commands.unfinished: the unfinished uploads, as fsck and show list them."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout

from gostore.commands.main import main
from gostore.store.interface import Details
from gostore.store.unfinished import Address, Chunk, Wanted
from gostore.volume.directory import DATA, kept_name
from tests.commands.test_why import SECOND, LivesCase
from tests.store.doubles import FakeBody


class UnfinishedTests(LivesCase):
    """A directory with unfinished uploads."""

    def begin(self, location: str, length: int | None, data: bytes) -> int:
        """Begin an upload, with its first bytes; return its number."""
        uploads = self.store.resumable
        asked = uploads.begin(Address(0, location), "text", length, Wanted(Details()))
        address = self.successResultOf(asked)
        self.successResultOf(uploads.append(address, Chunk(0), FakeBody(data)))
        self.clock.time += 10 * SECOND
        return int(address.number)

    def run_it(self, *arguments: str) -> tuple[int, str]:
        """Run a command on the directory: its status, and what it prints."""
        out = io.StringIO()
        with redirect_stdout(out):
            status = main([arguments[0], "--dir", self.path, *arguments[1:]])
        return status, out.getvalue()

    def test_show(self) -> None:
        """show lists them while a daemon runs, and shows one by its name."""
        first = self.begin("p/moon\x9b", 30, b"0123456789")
        second = self.begin("p/sun", None, b"")
        self.assertEqual(
            self.run_it("show", "--uploads")[1].splitlines(),
            [
                f".upload-{first} of 'p/moon\\x9b': 10 of 30 bytes, written 2027-01-15T08:00:00Z;"
                " it may go on, and the daemon removes it after 2027-01-16T08:00:00Z",
                f".upload-{second} of 'p/sun': 0 of an unknown number of bytes, written"
                " 2027-01-15T08:00:10Z; it may go on, and the daemon removes it after"
                " 2027-01-16T08:00:10Z",
            ],
        )
        said = self.run_it("show", "--uploads", "--upload-expires", "2h")[1]
        self.assertIn("after 2027-01-15T10:00:00Z", said)
        shown = self.run_it("show", kept_name(second))[1]
        self.assertIn("p/sun", shown)
        self.assertIn("Pending", shown)

    def test_fsck(self) -> None:
        """fsck lists them, and calls a directory clean that has nothing else."""
        number = self.begin("a", 30, b"0123456789")
        self.close()
        status, said = self.run_it("fsck")
        self.assertEqual(status, 0)
        lines = said.splitlines()
        self.assertIn(f"unfinished: {kept_name(number)} of 'a': 10 of 30 bytes", lines[0])
        self.assertEqual(lines[-1], "Clean")
        self.assertEqual(self.run_it("fsck", "--repair")[1].splitlines()[-1], "Clean")
        report = json.loads(self.run_it("fsck", "--json")[1])
        [finding], [upload] = report["findings"], report["uploads"]
        self.assertEqual((finding["kind"], finding["name"]), ("unfinished", kept_name(number)))
        self.assertEqual(
            upload,
            {
                "id": str(number),
                "name": kept_name(number),
                "location": "a",
                "offset": 10,
                "length": 30,
                "written": "2027-01-15T08:00:00Z",
                "expires": "2027-01-16T08:00:00Z",
            },
        )

    def test_broken(self) -> None:
        """One that lacks what its client was told of is dead, and a repair removes it."""
        number = self.begin("a", 20_000, b"0123456789" * 1000)
        self.close()
        (self.directory / kept_name(number) / DATA).write_bytes(b"")
        status, said = self.run_it("fsck")
        self.assertEqual((status, said.splitlines()[0].partition(":")[0]), (0, "dead"))
        self.run_it("fsck", "--repair")
        self.assertEqual(self.run_it("fsck")[1].splitlines()[-1], "Clean")

    def test_arguments(self) -> None:
        """show wants a blob, or is asked for the uploads, and not both."""
        for arguments, said in (([], "ID|LOCATION"), (["--uploads", "a"], "--uploads lists all")):
            err = io.StringIO()
            with redirect_stderr(err), self.assertRaises(SystemExit):
                self.run_it("show", *arguments)
            self.assertIn(said, err.getvalue())
