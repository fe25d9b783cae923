"""A small body goes to memory, a large one to an upload, and no faster than that takes it."""

from __future__ import annotations

import hashlib

from twisted.trial.unittest import SynchronousTestCase

from gostore.bucket.receiving import WAITING, Kind, Receiver
from gostore.errors import BodyFailed, Busy, DigestMismatch, TooLarge
from gostore.store.interface import SMALL_BLOB, Details
from tests.bucket.doubles import InlineReactor
from tests.store.doubles import FakeBody

LARGE = SMALL_BLOB + 1


class ReceiverTests(SynchronousTestCase):
    """A receiver, and a body that the test feeds."""

    def receive(
        self, body: FakeBody, details: Details | None = None, most: int | None = None
    ) -> Receiver:
        """Begin."""
        receiver = Receiver(InlineReactor(), body, details or Details(), most)
        receiver.begin()
        return receiver

    def test_small(self) -> None:
        """A small body is there as a whole, with its digest."""
        receiver = self.receive(FakeBody(b"12", b"3"))
        self.assertIs(self.successResultOf(receiver.arrived), Kind.SMALL)
        self.assertEqual(receiver.whole(), b"123")
        self.assertEqual((receiver.size, receiver.sha256), (3, hashlib.sha256(b"123").digest()))

    def test_announced(self) -> None:
        """A body that is announced as large is large before any of it has come."""
        receiver = self.receive(FakeBody(complete=False, length=LARGE))
        self.assertIs(self.successResultOf(receiver.arrived), Kind.LARGE)

    def test_grows(self) -> None:
        """One of unknown length is large when it has more than a small one."""
        body = FakeBody(bytes(SMALL_BLOB), complete=False, length=None)
        receiver = self.receive(body)
        self.assertNoResult(receiver.arrived)
        body.feed(b"x")
        self.assertIs(self.successResultOf(receiver.arrived), Kind.LARGE)
        body.finish()
        self.assertEqual(b"".join(receiver.pieces(int)), bytes(SMALL_BLOB) + b"x")

    def test_pauses(self) -> None:
        """The socket is paused while too much waits, and goes on when an upload has taken it."""
        body = FakeBody(complete=False, length=10 * WAITING)
        receiver = self.receive(body)
        body.feed(bytes(WAITING - 1))
        self.assertFalse(body.paused)
        body.feed(b"x")
        self.assertTrue(body.paused)
        looks: list[int] = []
        pieces = receiver.pieces(lambda: looks.append(1))
        self.assertEqual(len(next(pieces)), WAITING)
        self.assertFalse(body.paused)
        self.assertEqual(looks, [1])

    def test_too_large(self) -> None:
        """More than the most is refused, however much more comes."""
        body = FakeBody(b"1234", complete=False, length=None)
        receiver = self.receive(body, most=5)
        body.feed(b"56")
        body.feed(b"7")
        self.failureResultOf(receiver.arrived, TooLarge)
        body.finish()
        self.assertRaises(TooLarge, next, receiver.pieces(int))

    def test_fails(self) -> None:
        """A body that breaks off has the client's reason, before it is large and after."""
        body = FakeBody(b"1", complete=False, length=10)
        receiver = self.receive(body)
        body.fail("Client went away")
        self.failureResultOf(receiver.arrived, BodyFailed)
        body = FakeBody(b"1", complete=False, length=LARGE)
        receiver = self.receive(body)
        pieces = receiver.pieces(int)
        self.assertEqual(next(pieces), b"1")
        body.fail("Client went away")
        error = self.assertRaises(BodyFailed, next, pieces)
        self.assertIn("Client went away", str(error))

    def test_given_up(self) -> None:
        """What nobody wants any more is not taken, and the first reason stays."""
        body = FakeBody(b"1", complete=False, length=LARGE)
        receiver = self.receive(body)
        receiver.give_up(Busy("too many", 1))
        receiver.give_up(TooLarge(1))
        body.feed(b"2")
        self.assertRaises(Busy, next, receiver.pieces(int))

    def test_digests(self) -> None:
        """Announced digests and those of a trailer are compared, of small and large bodies."""
        right = {"sha256": hashlib.sha256(b"123").digest(), "md5": hashlib.md5(b"123").digest()}
        receiver = self.receive(FakeBody(b"123"), Details(digests=right))
        self.assertEqual(receiver.whole(), b"123")
        for name in right:
            receiver = self.receive(FakeBody(b"124"), Details(digests={name: right[name]}))
            self.assertRaises(DigestMismatch, receiver.whole)
        for length in (3, LARGE):
            body = FakeBody(b"124", complete=False, length=length)
            receiver = self.receive(body, Details(late_digests=frozenset({"md5"})))
            body.sink.finished({"md5": right["md5"]})
            if length == LARGE:
                self.assertRaises(DigestMismatch, list, receiver.pieces(int))
            else:
                self.assertRaises(DigestMismatch, receiver.whole)
