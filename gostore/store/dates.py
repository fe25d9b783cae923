"""Times: the one that a version is recorded with, and the one by which something is due. Pure."""

from __future__ import annotations

from collections.abc import Callable

SECOND = 1_000_000_000

_HOUR = 3600 * SECOND

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
    """The time by which something is due, in nanoseconds: the wall clock, with some care.

    A jump forward of more than an hour counts only an hour later, by a clock that is never set:
    until then time goes on from where it was.
    """

    def __init__(self, now: Callable[[], int], seconds: Callable[[], float]) -> None:
        """``now`` is the wall clock in nanoseconds, ``seconds`` the one that is never set."""
        self._now = now
        self._seconds = seconds
        #: How far the wall clock is ahead of the other; None before anybody has asked.
        self._ahead: int | None = None
        #: When the jump was seen that does not count yet.
        self._jumped: int | None = None

    def __call__(self) -> int:
        """Return the time."""
        wall, steady = self._now(), int(self._seconds() * SECOND)
        if self._ahead is not None and wall - steady - self._ahead > _HOUR:
            if self._jumped is None:
                self._jumped = steady
            if steady - self._jumped < _HOUR:
                return steady + self._ahead
        self._ahead, self._jumped = wall - steady, None
        return wall
