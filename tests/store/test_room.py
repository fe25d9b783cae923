"""Tests for gostore.store.room: bodies on their way that meet a full disk."""

from __future__ import annotations

import errno
import hashlib

from gostore.errors import BodyFailed, NoSpace
from gostore.store.interface import Details
from tests.store.doubles import FILE, FakeBody
from tests.store.support import LARGE
from tests.store.test_past import PastCase


class OnItsWayTests(PastCase):
    """History is given up for a body whose length nobody knew when it began."""

    def fill(self, count: int = 3) -> None:
        """Keep so many dead blobs, on a disk that has room for little else."""
        for number in range(count):
            self.store_blob(f"{number}", LARGE)
            self.clock.time += 1_000_000_000
            self.delete(f"{number}")
        self.collect()
        before = len([name for name in self.names() if name.isdecimal()])

        def room(_: object) -> tuple[int, int]:
            gone = before - len([name for name in self.names() if name.isdecimal()])
            return 5000 + gone * len(LARGE), 1 << 41

        self.disk.free = room  # type: ignore[method-assign]

    def test_reserve(self) -> None:
        """A body of unknown length that finds the disk full is given the room of the oldest."""
        self.fill()
        body = FakeBody(b"x" * 4000, complete=False, length=None)
        stored = self.store.create("d", body, Details())
        self.workers.run_all()
        self.assertEqual(self.store.history.given_up, 1)
        body.feed(b"y" * 70_000)
        self.workers.run_all()
        self.assertEqual(self.store.history.given_up, 1)
        body.finish()
        self.wait(stored)
        self.assertEqual(self.read("d"), b"x" * 4000 + b"y" * 70_000)

    def test_two_threads(self) -> None:
        """Many bytes are hashed once, however often they are tried."""
        self.fill(8)
        data = bytes(range(256)) * 1500
        body = FakeBody(data, complete=False, length=None)
        stored = self.store.create("d", body, Details())
        self.workers.run_all()
        body.finish()
        self.assertEqual(self.wait(stored).sha256, hashlib.sha256(data).digest())
        self.assertEqual(self.read("d"), data)
        self.assertEqual(self.store.history.given_up, 4)

    def test_full(self) -> None:
        """So it is when a call says that the disk is full, and no byte is written twice."""
        for kind in ("mkdir", "open", "writev"):
            for nth in (1, 2):
                fails = int((kind, nth) != ("mkdir", 2))  # there is no second one
                with self.subTest(kind=kind, nth=nth):
                    self.store_blob("old", LARGE)
                    self.delete("old")
                    self.collect()
                    before = self.store.history.given_up
                    body = FakeBody(b"x" * 4000, b"y" * 300, complete=False, length=None)
                    self.disk.shorten("writev", 100, name="data.raw")
                    self.disk.fail(kind, errno.ENOSPC, nth=nth, name=".new-")
                    stored = self.store.create(f"{kind}{nth}", body, Details())
                    self.workers.run_all()
                    self.disk.heal()
                    body.finish(b"z")
                    self.wait(stored)
                    self.assertEqual(self.read(f"{kind}{nth}"), b"x" * 4000 + b"y" * 300 + b"z")
                    self.assertEqual(self.store.history.given_up - before, fails)

    def test_in_vain(self) -> None:
        """It is refused when nothing is left to give up, and when that never helps."""
        for count, given_up in ((1, 1), (30, 16)):
            with self.subTest(count=count):
                for number in range(count):
                    self.store_blob(f"{number}", LARGE)
                    self.delete(f"{number}")
                self.collect()
                before = self.store.history.given_up
                self.disk.fail("writev", errno.ENOSPC, times=99, name="data.raw")
                body = FakeBody(b"x" * 4000, complete=False, length=None)
                self.fails(self.store.create("d", body, Details()), NoSpace)
                self.disk.heal()
                self.assertEqual(self.store.history.given_up - before, given_up)

    def test_gone(self) -> None:
        """A client that goes away while room is made leaves nothing."""
        self.fill()
        body = FakeBody(b"x" * 4000, complete=False, length=None)
        stored = self.store.create("d", body, Details())
        self.workers.run(FILE)
        body.fail()
        self.fails(stored, BodyFailed)
        self.collect()
        self.assertEqual([name for name in self.names() if name.startswith(".new-")], [])
