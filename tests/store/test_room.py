"""Tests for gostore.store.room: bodies on their way that meet a full disk."""

from __future__ import annotations

import errno
import hashlib
from typing import Any

from gostore.errors import BodyFailed, NoSpace
from gostore.store.interface import Details, Summary
from gostore.store.unfinished import Address
from gostore.store.versions import Restore
from tests.store.doubles import FILE, FakeBody
from tests.store.support import LARGE
from tests.store.test_past import FOREVER, PastCase
from tests.store.test_resumable import PLAIN, TEXT, ResumableCase


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


class SeveralRequestsTests(ResumableCase):
    """History is given up for an upload in several requests, as its bytes come."""

    def open(self, **settings: Any) -> Summary:
        """Open the store; it keeps everything."""
        return super().open(**{"keep": FOREVER, **settings})

    def fill(self, count: int = 3) -> None:
        """Keep so many dead blobs, on a disk that has room for little else."""
        for number in range(count):
            self.store_blob(f"{number}", LARGE)
            self.clock.time += 1_000_000_000
            self.wait(self.store.delete(f"{number}"))
        self.collect()
        before = len([name for name in self.names() if name.isdecimal()])

        def room(_: object) -> tuple[int, int]:
            gone = before - len([name for name in self.names() if name.isdecimal()])
            stages = self.directory.glob(".*-*/data.raw")
            taken = sum(path.stat().st_size for path in stages)
            return 50_000 + gone * len(LARGE) - taken, 1 << 41

        self.disk.free = room  # type: ignore[method-assign]
        self.collect()

    def test_begin(self) -> None:
        """It may begin if there is room without history, which it does not take yet."""
        self.fill()
        self.begin(300_000)
        asked = self.store.resumable.begin(Address(0, "b"), TEXT, 400_000, PLAIN)
        self.fails(asked, NoSpace)
        self.assertEqual(self.store.history.given_up, 0)

    def test_pieces(self) -> None:
        """Each piece takes what it needs, and all of the bytes arrive."""
        self.fill(4)
        data = bytes(range(256)) * 1000
        address = self.begin(len(data))
        given_up = []
        for start in range(0, len(data), 64_000):
            piece = data[start : start + 64_000]
            self.assertEqual(self.add(address, start, piece), start + len(piece))
            given_up.append(self.store.history.given_up)
        self.assertEqual(given_up, [1, 1, 2, 3])
        self.finish(address)
        self.assertEqual(self.read("a"), data)

    def test_half_way(self) -> None:
        """So it is in the middle of a request whose length nobody knew, with a checksum, too."""
        for checksum in (False, True):
            with self.subTest(checksum=checksum):
                self.fill(4)
                before = self.store.history.given_up
                data = bytes(range(256)) * 1000
                said = {"checksum": ("sha256", hashlib.sha256(data).digest())} if checksum else {}
                address = self.begin(len(data), location=f"{checksum}")
                body = FakeBody(data[:100_000], complete=False, length=None)
                asked = self.ask(address, 0, body, **said)
                self.workers.run_all()
                body.feed(data[100_000:])
                self.workers.run_all()
                body.finish()
                self.assertEqual(self.wait(asked).offset, len(data))
                self.assertGreater(self.store.history.given_up, before)
                self.finish(address)
                self.assertEqual(self.read(f"{checksum}"), data)

    def test_full(self) -> None:
        """So it is when a call says that the disk is full; no byte is lost or written twice."""
        places = (
            ("mkdir", ".upload-", 1),
            ("pwrite", "data.raw", 1),
            ("pwrite", "data.raw", 2),
            ("ftruncate", "data.raw", 1),
            ("open", "state", 3),
        )
        for kind, name, nth in places:
            with self.subTest(kind=kind, name=name, nth=nth):
                self.store_blob("old", LARGE)
                self.wait(self.store.delete("old"))
                self.collect()
                before = self.store.history.given_up
                if kind == "mkdir":
                    self.disk.fail(kind, errno.ENOSPC, name=name)
                address = self.begin(9000, location=f"{kind}{nth}")
                self.add(address, 0, b"a" * 5000)
                self.disk.shorten("pwrite", 1000, name="data.raw")
                if kind != "mkdir":
                    self.disk.fail(kind, errno.ENOSPC, nth=nth, name=name)
                self.add(address, 5000, b"b" * 4000)
                self.finish(address)
                self.disk.heal()
                self.assertEqual(self.read(f"{kind}{nth}"), b"a" * 5000 + b"b" * 4000)
                self.assertEqual(self.store.history.given_up - before, 1)

    def test_in_vain(self) -> None:
        """When nothing is left to give up it is refused, and goes on once there is room."""
        self.fill(1)
        address = self.begin(140_000)
        self.add(address, 0, b"x" * 100_000)
        self.assertEqual(self.store.history.given_up, 1)
        free = self.disk.free
        self.disk.free = lambda _: (10_000, 1 << 41)  # type: ignore[method-assign]
        self.fails(self.ask(address, 100_000, b"y" * 40_000), NoSpace)
        self.assertEqual(self.offset(address), 100_000)
        self.disk.free = free  # type: ignore[method-assign]
        self.collect()
        self.add(address, 100_000, b"y" * 40_000)
        self.finish(address)
        self.assertEqual(self.read("a"), b"x" * 100_000 + b"y" * 40_000)


class RestoreTests(PastCase):
    """History is given up for a version that becomes current again, but never that one."""

    def setUp(self) -> None:
        """Delete three large blobs, the one to be restored first."""
        super().setUp()
        for location in ("a", "b", "c"):
            self.store_blob(location, LARGE)
            self.clock.time += 1_000_000_000
            self.delete(location)
        self.collect()

    def test_copy(self) -> None:
        """A copy that finds the disk full begins anew in the room of the oldest others."""
        for kind, generation in (("mkdir", 1), ("open", 1)):
            with self.subTest(kind=kind):
                self.disk.fail(kind, errno.ENOSPC, name=".new-")
                self.restore(generation, exists=None)
                self.assertEqual(self.read("a"), LARGE)
                self.assertTrue(self.store.history.find("a", 1))
        self.assertEqual(self.store.history.given_up, 2)
        self.assertEqual([name for name in self.names() if name.startswith(".new-")], [])

    def test_spared(self) -> None:
        """If all that could go is the version itself, it stays, and the restore is refused."""
        self.disk.fail("mkdir", errno.ENOSPC, times=99, name=".new-")
        restored = self.store.past.restore("a", Restore(1, "eve, 3"))
        self.fails(restored, NoSpace)
        self.assertEqual(self.store.history.given_up, 2)
        self.disk.heal()
        self.restore(1)
        self.assertEqual(self.read("a"), LARGE)
        self.assertEqual([each.location for each in self.store.history.take_oldest(1)], ["a"])
