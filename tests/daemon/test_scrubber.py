"""Tests for gostore.daemon.scrubber, and for what the store verifies for it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.scrubber import LEAST, Scrubber
from gostore.errors import Damaged, DiskFailed, NotFound, ReadOnly

MIB = 1024 * 1024


class Blobs:
    """Blobs of known sizes; `results` are what verifying some of them comes to."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.results: dict[str, Deferred[None]] = {}
        self.verified: list[str] = []
        self.broken = 0

    def following(self, after: str) -> str | None:
        if self.broken:
            self.broken -= 1
            raise ZeroDivisionError
        return next((each for each in sorted(self.sizes) if each > after), None)

    @inlineCallbacks
    def verify(self, location: str, pace: Callable[[int], Deferred[None]]):  # type: ignore[no-untyped-def]
        self.verified.append(location)
        for _ in range(0, self.sizes[location], MIB):
            yield pace(MIB)
        yield self.results.pop(location, succeed(None))


class ScrubberTests(SynchronousTestCase):
    """The service."""

    def start(self, sizes: dict[str, int], rate: int = MIB, pause: float = 100) -> None:
        """Start a scrubber of blobs of these sizes."""
        self.clock = Clock()
        self.blobs = Blobs(sizes)
        self.scrubber = Scrubber(self.blobs.following, self.blobs.verify, rate, pause, self.clock)
        self.scrubber.startService()

    def test_pace(self) -> None:
        """Over any time no more bytes are read than the rate allows."""
        self.start({"a": 3 * MIB, "b": 2 * MIB, "c": MIB}, rate=MIB)
        self.assertEqual(self.blobs.verified, [], "not in the turn that starts it")
        self.clock.advance(0)
        self.assertEqual(self.blobs.verified, ["a"])
        self.clock.pump([1] * 2)
        self.assertEqual(self.blobs.verified, ["a"])
        self.clock.pump([1, 0])
        self.assertEqual(self.blobs.verified, ["a", "b"])
        self.clock.pump([1, 0, 1, 0])
        self.assertEqual(self.blobs.verified, ["a", "b", "c"])

    def test_small_blobs_cost(self) -> None:
        """A blob of no bytes is paid for like one of 64 KiB."""
        self.start({"a": 0, "b": 0}, rate=LEAST)
        self.clock.advance(0)
        self.clock.advance(0.9)
        self.assertEqual(self.blobs.verified, ["a"])
        self.clock.advance(0.1)
        self.assertEqual(self.blobs.verified, ["a", "b"])

    def test_rounds(self) -> None:
        """After a round there is a pause, in which one timer is all there is, and then the next."""
        self.start({"a": 0}, rate=LEAST, pause=100)
        self.clock.pump([0, 1, 0])
        [timer] = self.clock.getDelayedCalls()
        self.assertEqual(timer.getTime(), 101)
        self.clock.advance(99)
        self.assertEqual(self.blobs.verified, ["a"])
        self.clock.advance(1)
        self.assertEqual(self.blobs.verified, ["a", "a"])

    def test_empty(self) -> None:
        """With no blobs it waits, and looks again."""
        self.start({}, pause=100)
        self.clock.advance(0)
        self.blobs.sizes["a"] = 0
        self.clock.advance(100)
        self.assertEqual(self.blobs.verified, ["a"])

    def test_off(self) -> None:
        """A rate of 0 turns it off: there is not even a timer."""
        self.start({"a": 0}, rate=0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.scrubber.stopService())

    def test_goes_on(self) -> None:
        """Whatever comes of one blob, the next is verified; only what nobody has told is logged."""
        self.start({"a": 0, "aa": 0, "b": 0, "c": 0, "d": 0, "e": 0}, rate=LEAST)
        self.blobs.results = {
            "a": fail(Damaged("a")),
            "aa": fail(ReadOnly("the data directory has been removed")),
            "b": fail(NotFound("b")),
            "c": fail(DiskFailed("EIO")),
            "d": fail(ZeroDivisionError()),
        }
        events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.clock.pump([0] + [1] * 5)
        self.assertEqual(self.blobs.verified, ["a", "aa", "b", "c", "d", "e"])
        self.assertEqual([event["location"] for event in events], ["c", "d"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_counted(self) -> None:
        """Blobs that are left out for one reason are named once, and counted for each round."""
        events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.start({"a": 0, "b": 0, "c": 0}, rate=LEAST, pause=100)
        for begin in (0, 100):
            self.blobs.results = {each: fail(DiskFailed("EIO")) for each in ("a", "b", "c")}
            self.clock.pump([begin, 1, 1, 1])
        self.clock.pump([100, 1, 1, 1])
        said = [(event.get("location"), event.get("count")) for event in events]
        self.assertEqual(said, [("a", None), (None, 3), (None, 3)])
        self.assertEqual(len(self.blobs.verified), 9)

    def test_round_fails(self) -> None:
        """A round that fails is logged, and the next one comes all the same."""
        self.start({"a": 0}, pause=100)
        self.blobs.broken = 1
        self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(100)
        self.assertEqual(self.blobs.verified, ["a"])

    def test_stop(self) -> None:
        """Stopping in a pause, or between two reads, leaves nothing behind; it can start anew."""
        for seconds in (0, 1, 50):
            self.start({"a": 10 * MIB})
            self.clock.pump([0] + [1] * seconds)
            stopped = self.scrubber.stopService()
            assert stopped is not None
            self.successResultOf(stopped)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.scrubber.startService()
            self.clock.advance(0)
            self.assertEqual(self.blobs.verified[-1], "a")
            self.scrubber.stopService()

    def test_stop_waits(self) -> None:
        """Stopping while a read is in progress waits for it, and begins no other."""
        self.start({"a": 0, "b": 0})
        reading: Deferred[None] = Deferred()
        self.blobs.results["a"] = reading
        self.clock.advance(0)
        stopped = self.scrubber.stopService()
        assert stopped is not None
        self.assertNoResult(stopped)
        reading.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.blobs.verified, ["a"])
