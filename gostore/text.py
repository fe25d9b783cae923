"""How paths, messages and times are shown to people. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1)


def printable(path: str) -> str:
    """Show a path: a byte of it that is not UTF-8 becomes \\x.."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def escape(message: str) -> str:
    """Keep a message on one line, and harmless in a terminal."""
    if message.isprintable():
        return message
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in message
    )


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
