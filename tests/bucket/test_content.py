"""A large blob is read in spans: the next ones are on their way while one is sent."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gostore.bucket.content import (
    AHEAD,
    SLOW,
    SMALL_SPAN,
    SPAN,
    BucketContent,
    Check,
    Room,
)
from gostore.bucket.pointer import Stored
from gostore.errors import Damaged, DiskFailed

SIZE = 5 * SPAN + 1000
PIECE = bytes(range(256)) * 256
DATA = PIECE * (SIZE // len(PIECE)) + PIECE[: SIZE % len(PIECE)]


class ContentCase(SynchronousTestCase):
    """A blob of five large spans and a bit, whose bytes arrive when the test wants them to."""

    def setUp(self) -> None:
        """Ask for nothing yet."""
        self.now = 0.0
        self.room = Room(4)
        self.asked: list[tuple[int, int]] = []
        self.answers: list[Deferred[bytes]] = []
        self.checks: list[Check] = []
        self.content = self.open(sha256(DATA).digest())

    def open(self, digest: bytes) -> BucketContent:
        """The blob, if its digest were this."""
        blob = Stored(1, "a", 1, len(DATA), digest, 0, None, None)

        def read_span(of: Stored, start: int, end: int, check: Check) -> Deferred[bytes]:
            self.assertIs(of, blob)
            self.asked.append((start, end))
            self.checks.append(check)
            self.answers.append(Deferred())
            return self.answers[-1]

        return BucketContent(blob, read_span, self.room, lambda: self.now)

    def check(self, number: int) -> None:
        """Let the bytes of a span be in their thread."""
        start, end = self.asked[number]
        self.checks[number](start, DATA[start:end])

    def answer(self, number: int) -> None:
        """Let the bytes of a span arrive."""
        start, end = self.asked[number]
        try:
            self.check(number)
        except Damaged:
            self.answers[number].errback(Failure())
        else:
            # As the engine gives it. A transport takes bytes only.
            self.answers[number].callback(cast("bytes", memoryview(DATA)[start:end]))

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """Read what is not at hand."""
        found = self.content.read(offset, length)
        assert isinstance(found, Deferred)
        return found

    def read_on(self, offset: int, number: int) -> None:
        """Read the beginning of a span that is not here yet, and let it arrive."""
        read = self.read(offset, 10)
        self.answer(number)
        found = self.successResultOf(read)
        self.assertEqual((found, type(found)), (DATA[offset : offset + 10], bytes))

    def read_half(self, offset: int) -> None:
        """Read what is at hand in the second half of a small span."""
        offset += SMALL_SPAN // 2
        found = self.content.read(offset, 10)
        self.assertEqual((found, type(found)), (DATA[offset : offset + 10], bytes))


class AheadTests(ContentCase):
    """What is fetched, and when."""

    def test_part(self) -> None:
        """Who reads only a part has nothing but that fetched."""
        self.read_on(0, 0)
        self.assertEqual(self.content.read(1000, 1000), DATA[1000:2000])
        self.assertEqual(self.asked, [(0, SMALL_SPAN)])

    def test_slow_reader(self) -> None:
        """From its second half on the next span is fetched, and no third one; all are small."""
        self.read_on(0, 0)
        self.read_half(0)
        self.read_half(0)
        self.assertEqual(self.asked[1:], [(SMALL_SPAN, 2 * SMALL_SPAN)])
        self.answer(1)
        found = self.content.read(SMALL_SPAN, 1000)
        assert isinstance(found, Deferred)
        self.assertEqual(self.successResultOf(found), DATA[SMALL_SPAN : SMALL_SPAN + 1000])
        self.assertEqual(len(self.asked), 2)
        self.read_half(SMALL_SPAN)
        self.assertEqual(self.asked[2:], [(2 * SMALL_SPAN, 3 * SMALL_SPAN)])

    def grow(self) -> None:
        """Wait for what is on its way as often as anything comes of it."""
        self.read_on(0, 0)
        self.read_half(0)
        self.read_on(SMALL_SPAN, 1)
        self.read_on(2 * SMALL_SPAN, 2)
        self.read_on(SPAN, 3)

    def test_fast_reader(self) -> None:
        """Who waits gets large spans that end where parts do, one more for each wait."""
        self.grow()
        self.assertEqual(
            self.asked,
            [
                (0, SMALL_SPAN),
                (SMALL_SPAN, 2 * SMALL_SPAN),
                (2 * SMALL_SPAN, SPAN),
                (SPAN, 2 * SPAN),
                (2 * SPAN, 3 * SPAN),
                (3 * SPAN, 4 * SPAN),
                (4 * SPAN, 5 * SPAN),
            ],
        )
        self.assertEqual(len(self.asked) - 4, AHEAD)
        self.assertEqual(self.room.free, 0)
        for number in range(2, 6):
            self.read_on(number * SPAN, number + 2)
        self.assertEqual(self.asked[7:], [(5 * SPAN, SIZE)])
        self.content.close()
        self.assertEqual(self.room.free, 4)

    def test_no_room(self) -> None:
        """Without room the next span is small, and only one is fetched ahead."""
        while self.room.take():
            pass
        self.grow_small()
        self.assertEqual(
            self.asked, [(at * SMALL_SPAN, (at + 1) * SMALL_SPAN) for at in range(len(self.asked))]
        )
        self.assertEqual(len(self.asked), 5)

    def grow_small(self) -> None:
        """Wait for small spans."""
        self.read_on(0, 0)
        self.read_half(0)
        for number in range(1, 4):
            self.read_on(number * SMALL_SPAN, number)

    def test_slow_engine(self) -> None:
        """A span that took long is followed by small ones, one at a time, until one comes soon."""
        self.read_on(0, 0)
        self.read_half(0)
        read = self.read(SMALL_SPAN, 10)
        self.assertEqual(self.asked[2:], [(2 * SMALL_SPAN, SPAN)])
        self.now = 1.1 * SLOW * SPAN / SMALL_SPAN
        self.answer(1)
        self.successResultOf(read)
        self.read_on(2 * SMALL_SPAN, 2)
        self.assertEqual(len(self.asked), 3)
        self.read_on(SPAN, 3)
        self.assertEqual(self.asked[3:], [(SPAN, SPAN + SMALL_SPAN)])

    def test_elsewhere(self) -> None:
        """A part that begins elsewhere is fetched by itself, and what was on its way is dropped."""
        self.read_on(0, 0)
        self.read_half(0)
        other = self.read(SPAN + 7, 10)
        self.assertEqual(self.asked[2], (SPAN + 7, SPAN + 7 + SMALL_SPAN))
        self.answers[1].errback(DiskFailed("gone"))  # nobody hears of it
        self.answer(2)
        self.assertEqual(self.successResultOf(other), DATA[SPAN + 7 : SPAN + 17])

    def test_closed(self) -> None:
        """When it is closed nothing more is fetched, and what is on its way is dropped."""
        first = self.read(0, 10)
        self.content.close()
        self.answer(0)
        self.successResultOf(first)
        self.assertEqual(len(self.asked), 1)
        self.setUp()
        self.grow()
        self.content.close()
        self.assertEqual(self.room.free, 1)
        self.answers[4].errback(DiskFailed("gone"))  # nobody hears of it
        self.answers[5].callback(b"")
        self.assertEqual(self.room.free, 3)
        self.content.close()
        self.assertEqual(self.room.free, 3)

    def test_failure(self) -> None:
        """A span that fails is the reader's error, and no damage of the blob."""
        read = self.read(0, 10)
        self.answers[0].errback(DiskFailed("gone"))
        failure = self.failureResultOf(read, DiskFailed)
        self.assertIs(self.content.failed(failure), failure)
        self.content.load(0, 10)
        self.assertIsInstance(failure, Failure)

    def test_failure_of_a_large_span(self) -> None:
        """Its room is free again."""
        self.grow()
        read = self.read(2 * SPAN, 10)
        self.answers[4].errback(DiskFailed("gone"))
        self.failureResultOf(read, DiskFailed)
        self.content.close()
        for number in (5, 6, 7):
            self.answers[number].callback(b"")
        self.assertEqual(self.room.free, 4)


class DigestTests(ContentCase):
    """The bytes are compared with the digest, in whatever order they come."""

    def read_to_the_last(self) -> Deferred[bytes]:
        """Read up to the last span, and ask for that."""
        at = 0
        while at + SMALL_SPAN < SIZE:
            self.read_on(at, len(self.asked))
            at += SMALL_SPAN
        return self.read(at, 10)

    def test_digest(self) -> None:
        """Without the right digest the last span is given to nobody."""
        self.content = self.open(sha256(b"other").digest())
        read = self.read_to_the_last()
        self.answer(-1)
        self.failureResultOf(read, Damaged)

    def test_right_digest(self) -> None:
        """With the right one it is."""
        read = self.read_to_the_last()
        self.answer(-1)
        self.assertEqual(self.successResultOf(read), DATA[5 * SPAN : 5 * SPAN + 10])

    def early(self) -> Future[None]:
        """A span that is in its thread before the one before it."""
        self.read_on(0, 0)
        self.read_half(0)
        self.read(SMALL_SPAN, 10).addErrback(lambda failure: None)
        pool = ThreadPoolExecutor(1)
        self.addCleanup(pool.shutdown)
        return pool.submit(self.check, 2)

    def test_order(self) -> None:
        """A span that comes before its turn waits in its thread for the ones before it."""
        early = self.early()
        self.assertFalse(early.done())
        self.check(1)
        early.result(10)

    def test_order_after_a_failure(self) -> None:
        """Nobody waits for a span that failed."""
        early = self.early()
        self.answers[1].errback(DiskFailed("gone"))
        early.result(10)

    def test_order_when_closed(self) -> None:
        """Nobody waits when the reader has gone."""
        early = self.early()
        self.content.close()
        early.result(10)

    def test_gap(self) -> None:
        """What was not read from its beginning cannot be verified, and is given."""
        self.content = self.open(sha256(b"other").digest())
        read = self.read(5 * SPAN, 10)
        self.answer(0)
        self.assertEqual(self.successResultOf(read), DATA[5 * SPAN : 5 * SPAN + 10])
