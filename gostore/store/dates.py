"""Times: the one that a version is recorded with, and the one by which something is due. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

SECOND = 1_000_000_000

NEVER = 2**63 - 1
"""A time, in nanoseconds, that never comes."""

JUMP = 3600.0
"""A clock that is set forth by more seconds than this is not believed for so many."""

#: The last second that a record can hold, in the year 9999.
_LAST_SECOND = 253_402_300_799


def time_after(now: int, last: int | None) -> int:
    """Return the time of a version that follows one of ``last``; nanoseconds since the epoch.

    It is ``now``, but in a later second than ``last``, even if the clock was set back: a date in
    HTTP has whole seconds, and has to stand for one version.
    """
    if last is None or now // SECOND > last // SECOND:
        return now
    # After the end of the year 9999 there is no later second to record.
    return min((last // SECOND + 1) * SECOND, max(last, _LAST_SECOND * SECOND))


class DueTime:
    """Says whether a time has come, by a wall clock that may be wrong.

    If it is set forth by more than an hour, what becomes due by that waits for one hour more, by a
    clock that nobody sets. What is due later goes by the clock as it is now. If it is set back, it
    is believed.
    """

    def __init__(
        self,
        wall: Callable[[], int],
        steady: Callable[[], float],
        jumped: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        """``wall`` is the clock, in nanoseconds; ``steady`` one that nobody sets, in seconds.

        ``jumped`` hears by how many seconds the clock was set forth.
        """
        self._wall = wall
        self._steady = steady
        self._jumped = jumped
        #: How far the wall clock was ahead of the steady one at the last look, in seconds.
        self._ahead = math.inf
        #: The same before a jump, and when that is believed by the steady clock.
        self._before = self._believed = -math.inf
        #: What is due after the first and not after the second of these times waits for that.
        self.waits_from = self.waits_to = NEVER

    def __call__(self) -> int:
        """Look at the clocks, whether one has been set; return the time by the wall clock."""
        now, steady = self._wall(), self._steady()
        ahead = now / SECOND - steady
        if ahead > self._ahead + JUMP:
            self._jumped(ahead - self._ahead)
            if self.waits_from == NEVER:  # else another jump begins the hour anew
                self._before = self._ahead
                self.waits_from = int((steady + self._ahead) * SECOND)
            self.waits_to, self._believed = now, steady + JUMP
        elif self.waits_from < NEVER and (steady >= self._believed or ahead <= self._before + JUMP):
            self.waits_from = self.waits_to = NEVER
        self._ahead = ahead
        return now

    def has_come(self, when: int) -> bool:
        """Say whether a time has come, in nanoseconds."""
        return when <= self() and not self.waits_from < when <= self.waits_to
