"""Tests for gostore.store.admission: which bodies need a place, and who may have how many."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from gostore.errors import Busy
from gostore.store.interface import SMALL_BLOB, Details
from gostore.store.upload import STAGE_AFTER
from tests.store.doubles import FakeBody
from tests.store.support import StoreCase


class PlaceTests(StoreCase):
    """Four places, all of them taken by bodies of which only the first byte comes."""

    def setUp(self) -> None:
        """Take them."""
        super().setUp()
        self.open(max_uploads=4)
        self.slow = [self.body(b"1", length=None) for _ in range(4)]
        self.asked = [self.put(body) for body in self.slow]

    def body(self, *pieces: bytes, length: int | None, sender: str | None = None) -> FakeBody:
        """A body that is not all here."""
        return FakeBody(*pieces, complete=False, length=length, sender=sender)

    def put(self, body: FakeBody) -> Deferred[Any]:
        """Ask for a write."""
        return self.store.put("a", body, Details())

    def refused(self, body: FakeBody) -> None:
        """See that a body gets no place, and is not asked for."""
        self.failureResultOf(self.put(body), Busy)
        self.assertEqual(body.delivered, 0)

    def end(self) -> None:
        """Let all the slow ones go away, and see that nothing is taken any more."""
        for body, asked in zip(self.slow, self.asked, strict=True):
            body.fail()
            self.fails(asked, Exception)
        self.assertEqual((self.store.uploads, +self.store.admission.places.taken), (0, {}))

    def test_none_left(self) -> None:
        """A large body, or one of unknown length, is refused, and a place is free again later."""
        self.refused(self.body(length=SMALL_BLOB + 1))
        self.refused(self.body(length=None))
        self.slow.pop().finish()
        self.wait(self.asked.pop())
        self.assertNoResult(self.put(self.body(length=None)))

    def test_silent(self) -> None:
        """A body of which nothing has come takes no place, no room and no stage."""
        self.end()
        self.disk.room = (1 << 30, 1 << 40)
        self.open(max_uploads=4)
        for length in (None, 5, 1 << 30):
            for _ in range(8):
                self.assertNoResult(self.put(self.body(length=length)))
        self.assertEqual((self.workers.jobs, self.store.uploads), ([], 24))
        self.assertNoResult(self.put(self.body(b"1", length=1 << 30)))
        self.assertEqual(self.workers.names(), ["_write"])

    def test_speaks_too_late(self) -> None:
        """If all places are taken by the time its first byte comes, it is refused then."""
        self.slow.pop().finish()
        self.wait(self.asked.pop())
        late, early = self.body(length=None), self.body(b"1", length=None)
        refused = self.put(late)
        self.slow.append(early)
        self.asked.append(self.put(early))
        late.feed(b"1")
        self.fails(refused, Busy)
        self.end()

    def test_speaks_in_time(self) -> None:
        """When its first byte comes it has a place, and a stage."""
        self.slow.pop().finish()
        self.wait(self.asked.pop())
        body = self.body(length=None)
        stored = self.put(body)
        body.feed(b"1")
        self.assertEqual(self.workers.names()[-1], "_write")
        self.refused(self.body(length=None))
        body.finish(b"2")
        self.wait(stored)
        self.assertEqual(self.read("a"), b"12")
        self.end()

    def test_empty(self) -> None:
        """A body of unknown length that turns out to be empty needs no place."""
        self.slow.pop().finish()
        self.wait(self.asked.pop())
        body = self.body(length=None)
        stored = self.put(body)
        body.finish()
        self.assertEqual(self.wait(stored)[0].size, 0)
        self.end()

    def test_here(self) -> None:
        """A body that is here needs no place, whether its length was announced or not."""
        for length in (5, None):
            self.wait(self.put(FakeBody(b"12345", length=length)))
            self.assertEqual(self.read("a"), b"12345")
        large = b"x" * (SMALL_BLOB + 1)
        self.wait(self.put(FakeBody(large, length=None)))
        self.assertEqual(self.read("a"), large)
        self.end()

    def test_small(self) -> None:
        """A small body needs none, either: it waits in memory as long as there is no place."""
        self.timer.keeps = lambda seconds: seconds == STAGE_AFTER
        body = self.body(b"1", length=5)
        stored = self.put(body)
        self.workers.run_all()
        before = self.names()
        ((end, _),) = self.timer.kept
        end()
        self.workers.run_all()
        self.assertEqual(self.names(), before, "it has no stage")
        for _ in range(4):
            body.feed(b"2")
        body.finish()
        self.wait(stored)
        self.assertEqual(self.read("a"), b"12222")
        self.end()

    def test_small_gets_a_place(self) -> None:
        """A small body that takes its time takes the place that is free."""
        self.timer.keeps = lambda seconds: seconds == STAGE_AFTER
        self.slow.pop().finish()
        self.wait(self.asked.pop())
        slow = self.body(b"1", length=5)
        self.asked.append(self.put(slow))
        self.slow.append(slow)
        ((end, _),) = self.timer.kept
        end()
        self.refused(self.body(length=None))
        self.end()

    def test_tiny_pieces(self) -> None:
        """A small body that comes byte by byte while there is no place is whole."""
        data = bytes(range(256)) * 4
        body = self.body(length=len(data))
        stored = self.put(body)
        for byte in data:
            body.feed(bytes((byte,)))
        body.finish()
        self.wait(stored)
        self.assertEqual(self.read("a"), data)


class SenderTests(StoreCase):
    """No client may have all places."""

    def take(self, sender: str | None) -> bool:
        """Try to begin a large upload."""
        body = FakeBody(b"1", complete=False, length=None, sender=sender)
        asked = self.store.put("a", body, Details())
        if body.delivered:
            return True
        self.failureResultOf(asked, Busy)
        return False

    def test_share(self) -> None:
        """One address has three places of four at most, and another has the last one."""
        self.open(max_uploads=4)
        self.assertEqual([self.take("192.0.2.1") for _ in range(4)], [True] * 3 + [False])
        self.assertTrue(self.take("192.0.2.2"))
        self.assertFalse(self.take("192.0.2.3"))

    def test_networks(self) -> None:
        """The addresses of a client's IPv6 network count as one."""
        self.open(max_uploads=4)
        taken = [self.take(f"2001:db8::{number}") for number in range(4)]
        self.assertEqual(taken, [True] * 3 + [False])
        self.assertTrue(self.take("2001:db8:0:1::1"))

    def test_few(self) -> None:
        """Where there is only one place, anybody may have it."""
        self.open(max_uploads=1)
        self.assertEqual([self.take("192.0.2.1") for _ in range(2)], [True, False])

    def test_unix(self) -> None:
        """Clients without an address may have all places."""
        self.open(max_uploads=4)
        self.assertEqual([self.take(None) for _ in range(5)], [True] * 4 + [False])


class SpaceTests(StoreCase):
    """How many bytes are free, as far as the store knows between two looks."""

    def test_never_negative(self) -> None:
        """What has been written since the last look may be more than was free then."""
        self.disk.room = (5000, 10_000)
        self.open()
        self.disk.room = (1 << 20, 1 << 21)
        self.wait(self.store.put("a", FakeBody(b"x" * 4000), Details()))
        self.assertEqual(self.store.figures().free, 0)
