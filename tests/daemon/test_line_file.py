"""Tests for gostore.daemon.line_file: a file of lines that nobody waits for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon import line_file
from gostore.daemon.line_file import CannotOpen, LineFile
from gostore.daemon.reloading import CannotReload
from tests.e2e.daemon import eventually
from tests.test_tap import temporary


def form(when: float, item: object) -> str:
    """A line with what was added."""
    assert when > 1_700_000_000
    if item is None:
        raise ValueError(item)
    return f"{item}\n"


class LineFileTests(SynchronousTestCase):
    """A file, written by a real thread."""

    def setUp(self) -> None:
        """Choose the file, and catch what is logged."""
        directory = temporary(self) / "log"
        directory.mkdir()
        self.path = directory / "its.log"
        self.events: list[Any] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def make(self, path: Path | str | None = None) -> LineFile:
        """A file that is open, and has no thread yet."""
        file = LineFile(str(path or self.path), form)
        file.open()
        return file

    def said(self) -> list[str | None]:
        """What was logged."""
        return [formatEvent(event) for event in self.events]

    def test_lines(self) -> None:
        """Lines are added to the end of the file, in order, the last ones at the stop."""
        self.path.write_text("old\n")
        file = self.make()
        file.startService()
        for number in range(2500):
            file.add(number)
        file.stopService()
        wanted = "old\n" + "".join(f"{number}\n" for number in range(2500))
        self.assertEqual(self.path.read_text(), wanted)
        self.assertEqual((file.dropped, self.said()), (0, []))

    def test_while_it_runs(self) -> None:
        """They are written while it runs, too, whenever some come."""
        file = self.make()
        file.startService()
        self.addCleanup(file.stopService)
        for number in range(3):
            file.add(number)
            eventually(lambda number=number: f"{number}\n" in self.path.read_text(), "it writes")

    def test_overflow(self) -> None:
        """When too many wait the newest are dropped and counted."""
        file = self.make()
        for number in range(line_file.MOST + 7):
            file.add(number)
        self.assertEqual(file.dropped, 7)
        file.startService()
        file.stopService()
        self.assertEqual(len(self.path.read_text().splitlines()), line_file.MOST)

    def test_full_disk(self) -> None:
        """On a full disk lines are dropped and counted; that is said once, and so is the end."""
        file = self.make("/dev/full")
        file.startService()
        for number in range(3):
            file.add(number)
            eventually(lambda number=number: file.dropped == number + 1, "it drops a line")
        said = ["Lines of /dev/full are dropped: No space left on device"]
        self.assertEqual(self.said(), said)
        file.path = str(self.path)
        self.assertEqual(file.reload(), f"{self.path} is open anew")
        file.add("x")
        file.stopService()
        self.assertEqual(self.path.read_text(), "x\n")
        self.assertEqual(self.said()[1:], [f"{self.path} is written again; 3 lines were dropped"])

    def test_torn(self) -> None:
        """Where a write ended in the middle of a line, the next line begins on one of its own."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        os.set_blocking(writer, False)
        size = 70_000
        file = self.make(f"/dev/fd/{writer}")
        self.addCleanup(os.close, writer)
        file.add("x" * size)
        file._write_all()
        self.assertEqual(file.dropped, 1)
        part = len(os.read(reader, 2 * size))
        self.assertTrue(0 < part < size)
        file.add("y")
        file._write_all()
        self.assertEqual(os.read(reader, size), b"\ny\n")

    def test_reload(self) -> None:
        """After it was renamed the file is made anew; no line is lost, and none is in both."""
        file = self.make()
        file.startService()
        for number in range(1000):
            file.add(number)
            if number % 100 == 50:
                self.path.rename(f"{self.path}.{number}")
                self.assertEqual(file.reload(), f"{self.path} is open anew")
        file.stopService()
        found = [
            int(line)
            for path in self.path.parent.iterdir()
            for line in path.read_text().splitlines()
        ]
        self.assertEqual(sorted(found), list(range(1000)))

    def test_reload_fails(self) -> None:
        """Where it cannot be opened anew the old file stays in use."""
        file = self.make()
        file.startService()
        moved = self.path.parent.rename(f"{self.path.parent}.moved")
        self.assertRaises(CannotReload, file.reload)
        file.add("x")
        file.stopService()
        self.assertEqual((moved / "its.log").read_text(), "x\n")

    def test_cannot_open(self) -> None:
        """A file that cannot be opened, and a FIFO that nobody reads, refuse the start."""
        os.mkfifo(self.path)
        for path, reason in (
            (self.path, "No such device or address"),
            (self.path.parent, "Is a directory"),
            (f"{self.path}/x", "Not a directory"),
        ):
            with self.assertRaises(CannotOpen) as caught:
                self.make(path)
            self.assertEqual(str(caught.exception), f"cannot write to {path}: {reason}")

    def test_stdout(self) -> None:
        """The standard output is never opened anew."""
        file = LineFile("-", form)
        self.assertEqual(file.reload(), "")

    def test_bad_line(self) -> None:
        """An item that no line can be made of is logged and dropped."""
        file = self.make()
        for item in ("a", None, "b"):
            file.add(item)
        file.startService()
        file.stopService()
        self.assertEqual(self.path.read_text(), "a\nb\n")
        self.assertEqual((file.dropped, len(self.flushLoggedErrors(ValueError))), (1, 1))

    def test_nobody_reads(self) -> None:
        """A stop waits only so long for a pipe that is full."""
        self.patch(line_file, "LAST", 0.01)
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        file = self.make()
        file._fd = writer  # it blocks
        file.startService()
        file.add("x" * 1_000_000)
        file.stopService()
        self.assertTrue(file._thread.is_alive())
        while file._thread.is_alive():
            os.read(reader, 100_000)
