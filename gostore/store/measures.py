"""What a store counts and times of its own work: plain numbers, for whoever looks at them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from attrs import Factory, define

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@define(eq=False)
class Histogram:
    """How often a value was in each of some groups: up to each of the bounds, or above them all."""

    bounds: Sequence[float]
    total: float = 0.0
    counts: list[int] = Factory(lambda self: [0] * (len(self.bounds) + 1), takes_self=True)

    def add(self, value: float) -> None:
        """Count a value."""
        self.total += value
        self.counts[bisect_left(self.bounds, value)] += 1


@define(eq=False)
class Commits:
    """The batches of changes: how many changes each had, how long the first waited, its flush.

    ``checkpoints`` were due because the journal was filling up.
    """

    sizes: Histogram = Factory(lambda: Histogram((1, 2, 4, 8, 16, 32, 64)))
    waits: Histogram = Factory(lambda: Histogram(_SECONDS))
    flushes: Histogram = Factory(lambda: Histogram(_SECONDS))
    checkpoints: int = 0
