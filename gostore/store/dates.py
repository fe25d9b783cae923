"""The time that a version is recorded with: a date in HTTP has to stand for one version. Pure."""

from __future__ import annotations

SECOND = 1_000_000_000

#: The last second that a record can hold, in the year 9999.
_LAST_SECOND = 253_402_300_799


def time_after(now: int, last: int | None) -> int:
    """Return the time of a version that follows one of ``last``; nanoseconds since the epoch.

    It is ``now``, but in a later second than ``last``, even if the clock was set back: dates in
    HTTP have whole seconds.
    """
    if last is None or now // SECOND > last // SECOND:
        return now
    # After the end of the year 9999 there is no later second to record.
    return min((last // SECOND + 1) * SECOND, max(last, _LAST_SECOND * SECOND))
