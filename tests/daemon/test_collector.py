"""Tests for gostore.daemon.collector: the LoopingCall service."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.collector import Collector


class CollectorTests(SynchronousTestCase):
    """A collector on a Clock, with collection runs that the test ends."""

    def setUp(self) -> None:
        """Make a collector that runs every 5 seconds."""
        self.clock = Clock()
        self.runs: list[Deferred[None]] = []
        self.collector = Collector(self.collect, 5, self.clock)

    def collect(self) -> Deferred[None]:
        """Start a run that goes on until the test fires its Deferred."""
        self.runs.append(Deferred())
        return self.runs[-1]

    def test_interval(self) -> None:
        """The first run comes one interval after the start, the next one an interval later."""
        self.collector.startService()
        self.clock.advance(4.9)
        self.assertEqual(len(self.runs), 0)
        self.clock.advance(0.1)
        self.assertEqual(len(self.runs), 1)
        self.runs[0].callback(None)
        self.clock.advance(5)
        self.assertEqual(len(self.runs), 2)

    def test_one_at_a_time(self) -> None:
        """A run that takes long keeps the next one waiting, and is not made up for."""
        self.collector.startService()
        self.clock.advance(5)
        self.clock.advance(60)
        self.assertEqual(len(self.runs), 1)
        self.runs[0].callback(None)
        self.clock.advance(5)
        self.assertEqual(len(self.runs), 2)

    def test_survives_failure(self) -> None:
        """A run that fails is logged, and the next one comes all the same."""
        self.collector.startService()
        self.clock.advance(5)
        self.runs[0].errback(ZeroDivisionError("broken"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(5)
        self.assertEqual(len(self.runs), 2)

    def test_failures_counted(self) -> None:
        """A failure is logged when it is a new one; its repetitions are counted when it is over."""
        events: list[Any] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.collector.startService()
        for reason in ("disk", "disk", "disk", "other", None, None):
            self.clock.advance(5)
            if reason is None:
                self.runs[-1].callback(None)
            else:
                self.runs[-1].errback(OSError(reason))
        self.assertEqual(
            [str(each.value) for each in self.flushLoggedErrors(OSError)], ["disk", "other"]
        )
        said = [formatEvent(each) for each in events if each["log_level"].name == "info"]
        self.assertEqual(said, ["A collection run has succeeded after 4 failed"])

    def test_survives_exception(self) -> None:
        """A run that raises before it has a Deferred is logged, and the next one comes."""
        calls = []

        def collect() -> Deferred[None]:
            calls.append(1)
            if len(calls) == 1:
                raise ZeroDivisionError("broken")
            return succeed(None)

        collector = Collector(collect, 5, self.clock)
        collector.startService()
        self.clock.advance(5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(5)
        self.assertEqual(len(calls), 2)

    def test_stop(self) -> None:
        """Stopping ends the loop at once, and leaves nothing scheduled, between two runs."""
        self.collector.startService()
        stopped = self.collector.stopService()
        assert stopped is not None
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_waits(self) -> None:
        """Stopping waits for the run in progress."""
        self.collector.startService()
        self.clock.advance(5)
        stopped = self.collector.stopService()
        assert stopped is not None
        self.assertNoResult(stopped)
        self.runs[0].callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_before_start(self) -> None:
        """Stopping a collector that was never started does nothing."""
        self.assertIsNone(self.collector.stopService())
