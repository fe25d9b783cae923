"""Tests for gostore.daemon.cycles: when Python's gc looks for cycles."""

from __future__ import annotations

import gc
from typing import ClassVar

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.cycles import INTERVAL, MANY, REST, Cycles, gc_paused


class Loop:
    """An object in a cycle, and how many of them memory holds."""

    __slots__ = ("itself",)
    alive: ClassVar[int] = 0

    def __init__(self) -> None:
        self.itself = self
        Loop.alive += 1

    def __del__(self) -> None:
        Loop.alive -= 1


class CyclesTests(SynchronousTestCase):
    """The service."""

    def setUp(self) -> None:
        gc.collect()
        Loop.alive = 0
        self.used = 0.0
        #: Seconds that each look of the gc takes, or seems to.
        self.takes = 0.0
        self.now = 0.0
        self.clock = Clock()
        self.cycles = Cycles(self.clock, lambda: self.used, self.seconds)
        self.addCleanup(gc.unfreeze)
        self.before = gc.get_threshold()
        self.cycles.startService()
        self.addCleanup(self.stop)

    def seconds(self) -> float:
        """The time, which passes as the gc asks for it."""
        self.now += self.takes
        return self.now

    def stop(self) -> None:
        """Stop, unless that is done."""
        if self.cycles.running:
            self.cycles.stopService()

    def test_hides(self) -> None:
        """What is there at the start is not looked at again."""
        self.assertGreater(gc.get_freeze_count(), 1000)

    def test_at_rest(self) -> None:
        """With nothing else to do all cycles are found, few as they are."""
        for _ in range(100):
            Loop()
        self.clock.advance(INTERVAL)
        self.assertEqual(Loop.alive, 0)

    def test_at_work(self) -> None:
        """As long as there is work, few cycles are left alone; they are found at the next rest."""
        for _ in range(100):
            Loop()
        for _ in range(3):
            self.used += 2 * REST
            self.clock.advance(INTERVAL)
            self.assertEqual(Loop.alive, 100)
        self.clock.advance(INTERVAL)
        self.assertEqual(Loop.alive, 0)

    def test_sustained(self) -> None:
        """However long the work goes on, no more cycles gather than the limit, and a look's."""
        most = 0
        kept: list[list[int]] = []
        for number in range(20 * MANY):
            Loop()
            most = max(most, Loop.alive)
            if not number % 50:
                kept.append([])  # a blob, say
        self.assertLess(most, 2 * MANY)
        self.assertGreater(most, MANY // 2)

    def test_long_look(self) -> None:
        """What a full look took long over is not looked at again; what it was quick over, is."""
        frozen = gc.get_freeze_count()
        kept: list[list[int]] = [[] for _ in range(1000)]
        gc.collect()
        self.assertEqual(gc.get_freeze_count(), frozen)
        self.takes = 1.0
        gc.collect(1)
        self.assertEqual(gc.get_freeze_count(), frozen)
        gc.collect()
        self.assertGreater(gc.get_freeze_count(), frozen + len(kept) - 1)

    def test_stop(self) -> None:
        """Stopped, it leaves the gc as it was."""
        watching = len(gc.callbacks)
        self.cycles.stopService()
        self.assertEqual(gc.get_threshold(), self.before)
        self.assertEqual(len(gc.callbacks), watching - 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PausedTests(SynchronousTestCase):
    """While a start reads the blobs."""

    def test_paused(self) -> None:
        """The gc does not look meanwhile, and looks again after it, even if it fails."""

        def read() -> None:
            with gc_paused():
                self.assertFalse(gc.isenabled())
                raise OSError

        self.assertRaises(OSError, read)
        self.assertTrue(gc.isenabled())
