"""How paths, messages and times are shown to people, and how repeated messages are limited."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1)

#: The last time that a clock of Python's tells, in nanoseconds since the epoch: in April 2262.
LAST_TIME = (1 << 63) - 1


def wall_clock() -> int:
    """Return the nanoseconds since the epoch; `LAST_TIME` if the clock is set beyond that."""
    try:
        return time.time_ns()
    except OverflowError:
        return LAST_TIME


def wall_seconds() -> int:
    """Return the whole seconds since the epoch; see `wall_clock`."""
    return wall_clock() // 1_000_000_000


class Repeats:
    """Counts messages that every run of something would repeat, so that few of them are logged."""

    def __init__(self) -> None:
        #: What was said last of each thing, and how often.
        self._said: dict[str, tuple[str, int]] = {}

    def due(self, about: str, message: str) -> str | None:
        """Return the message the first, the 10th, the 100th time, with the count; else None.

        Another message about the same thing begins anew.
        """
        last, count = self._said.get(about, (message, 0))
        count = count + 1 if last == message else 1
        self._said[about] = message, count
        if str(count).strip("0") != "1":
            return None
        return message if count == 1 else f"{message} (said {count} times)"

    def forget(self, about: str) -> None:
        """Let the next message about a thing be the first."""
        self._said.pop(about, None)


def printable(path: str) -> str:
    """Show a path: a byte of it that is not UTF-8 becomes \\x.."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def counted(number: int, word: str) -> str:
    """Say how many: "1 user", "2 users"."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def escape(message: str) -> str:
    """Keep a message on one line, and harmless in a terminal."""
    if message.isprintable():
        return message
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in message
    )


@lru_cache(maxsize=64)
def format_time(when: int) -> str:
    """Write nanoseconds since the epoch as RFC 3339 in UTC, the fraction as short as Go has it.

    Raises ValueError for a time outside the years 1 to 9999.
    """
    seconds, fraction = divmod(when, 1_000_000_000)
    text = _format_seconds(seconds)
    return f"{text}.{fraction:09}".rstrip("0") + "Z" if fraction else text + "Z"


@lru_cache(maxsize=4096)
def _format_seconds(seconds: int) -> str:
    """The RFC 3339 time of whole seconds since the epoch, without a zone."""
    try:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        raise ValueError("the time is not within the years 1 to 9999") from None
