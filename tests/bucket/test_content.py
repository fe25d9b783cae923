"""A large blob is read in spans: the next one is on its way while this one is sent."""

from __future__ import annotations

from hashlib import sha256

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gostore.bucket.content import SPAN, BucketContent, Check
from gostore.bucket.pointer import Stored
from gostore.errors import Damaged, DiskFailed

DATA = b"0123456789abcdef" * (SPAN * 5 // 2 // 16)


class ContentTests(SynchronousTestCase):
    """A blob of two spans and a half."""

    def setUp(self) -> None:
        """Ask for nothing yet."""
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

        return BucketContent(blob, read_span)

    def answer(self, number: int) -> None:
        """Let the bytes of a span arrive."""
        start, end = self.asked[number]
        try:
            self.checks[number](start, DATA[start:end])
        except Damaged:
            self.answers[number].errback(Failure())
        else:
            self.answers[number].callback(DATA[start:end])

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """Read what is not at hand."""
        found = self.content.read(offset, length)
        assert isinstance(found, Deferred)
        return found

    def test_ahead(self) -> None:
        """While a span is sent the next one is fetched, and no third one."""
        first = self.read(0, 1000)
        self.assertEqual(self.asked, [(0, SPAN)])
        self.answer(0)
        self.assertEqual(self.successResultOf(first), DATA[:1000])
        self.assertEqual(self.asked[1:], [(SPAN, 2 * SPAN)])
        self.assertEqual(self.content.read(1000, 1000), DATA[1000:2000])
        second = self.read(SPAN, 1000)
        self.assertEqual(len(self.asked), 2)
        self.answer(1)
        self.assertEqual(self.successResultOf(second), DATA[SPAN : SPAN + 1000])
        self.assertEqual(self.asked[2:], [(2 * SPAN, len(DATA))])

    def test_elsewhere(self) -> None:
        """A part that begins elsewhere is fetched by itself, and what was on its way is dropped."""
        self.read(0, 1000)
        self.answer(0)
        other = self.read(SPAN + 7, 10)
        self.assertEqual(self.asked[2], (SPAN + 7, 2 * SPAN + 7))
        self.answers[1].errback(DiskFailed("gone"))  # nobody hears of it
        self.answer(2)
        self.assertEqual(self.successResultOf(other), DATA[SPAN + 7 : SPAN + 17])

    def test_digest(self) -> None:
        """Without the right digest the last span is given to nobody."""
        self.content = self.open(sha256(b"other").digest())
        for number in range(2):
            read = self.read(number * SPAN, 10)
            self.answer(number)
            self.successResultOf(read)
        read = self.read(2 * SPAN, 10)
        self.answer(2)
        self.failureResultOf(read, Damaged)

    def test_gap(self) -> None:
        """What was not read from its beginning cannot be verified, and is given."""
        self.content = self.open(sha256(b"other").digest())
        read = self.read(2 * SPAN, 10)
        self.answer(0)
        self.assertEqual(self.successResultOf(read), DATA[2 * SPAN : 2 * SPAN + 10])

    def test_closed(self) -> None:
        """When it is closed nothing more is fetched, and what is on its way is dropped."""
        first = self.read(0, 10)
        self.content.close()
        self.answer(0)
        self.successResultOf(first)
        self.assertEqual(len(self.asked), 1)
        again = self.open(sha256(DATA).digest())
        read = again.read(0, 10)
        assert isinstance(read, Deferred)
        self.answer(1)
        again.close()
        self.answers[2].errback(DiskFailed("gone"))  # nobody hears of it
        again.close()

    def test_failure(self) -> None:
        """A span that fails is the reader's error, and no damage of the blob."""
        read = self.read(0, 10)
        self.answers[0].errback(DiskFailed("gone"))
        failure = self.failureResultOf(read, DiskFailed)
        self.assertIs(self.content.failed(failure), failure)
        self.content.load(0, 10)
        self.assertIsInstance(failure, Failure)
