"""What one client may cost: sizes, and the time that it may take.

Time is counted in ticks, and all connections share one clock. So a deadline costs one assignment,
and nobody is blamed for time in which the daemon itself did not run.
"""

from __future__ import annotations

import fcntl
import math
import termios
from typing import Any

from attrs import frozen

TICK = 1.0
"""Seconds between two looks at the deadlines."""

NEVER = 1 << 62
"""A tick that never comes."""

MAX_BODY = (1 << 63) - 1
"""No body has more bytes than this: file offsets and llhttp's counters end here."""


@frozen
class Limits:
    """What one client may cost. Sizes in bytes, times in seconds.

    The fields up to `max_connections` are settings and have their names.
    """

    max_uri_size: int = 8192
    max_head_size: int = 16384
    max_fields: int = 100
    head_timeout: float = 10
    idle_timeout: float = 75
    body_rate: int = 1024
    body_window: float = 30
    send_timeout: float = 60
    # A chunk that makes a body longer than this is refused at its size line, before its bytes
    # come. The application judges a Content-Length: it may have more to say about the head.
    max_blob_size: int = MAX_BODY
    max_connections: int = 4096
    # How many more connections at a time are answered with 503. Each takes a file and a second or
    # two. Those beyond are cut off without a word.
    turned_away: int = 64
    # What is still read after the last answer, so that the client gets to see the answer.
    drain_bytes: int = 65536
    drain_time: float = 1
    # All the chunk extensions of one body together. Nobody here reads them.
    chunk_extensions: int = 1024
    # How much of a body is kept before the application asks for it. Then the socket is left alone.
    body_ahead: int = 65536


class Ticks:
    """The clock that all connections of a factory share. It stands while there are none."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0


def count_ticks(seconds: float) -> int:
    """Return at least this long, in ticks."""
    return math.ceil(seconds / TICK)


class Deadline:
    """The tick at which a connection has waited long enough, and what it measures until then.

    `at` is that tick. It knows two paces: the rate at which a body comes in, and whether the client
    takes anything of what is on its way out.
    """

    __slots__ = ("_limits", "_size", "_stalled_at", "_ticks", "_unsent", "at")

    def __init__(self, ticks: Ticks, limits: Limits) -> None:
        self.at = NEVER
        self._ticks = ticks
        self._limits = limits
        # How long the body was when its rate was looked at last.
        self._size = 0
        self._unsent: object = None
        self._stalled_at = 0

    def set(self, seconds: float) -> None:
        """Expire no sooner than this. The tick that comes next may come at once."""
        self.at = self._ticks.now + math.ceil(seconds / TICK) + 1

    def restart_rate(self, size: int) -> None:
        """Give a body, of which `size` bytes are here, another window for its next bytes."""
        self._size = size
        self.set(self._limits.body_window)

    def is_slow(self, size: int) -> bool:
        """Whether too few bytes came since `restart_rate`."""
        limits = self._limits
        return size - self._size < limits.body_rate * limits.body_window

    @property
    def complaint(self) -> str:
        """What to say of a body that is slow."""
        limits = self._limits
        return f"Body slower than {limits.body_rate} bytes/s over {limits.body_window:g} s"

    def watch_output(self, transport: Any) -> None:
        """Begin to watch whether the client takes what is on its way out."""
        self._unsent = _unsent(transport)
        self._stalled_at = self._ticks.now
        self.is_stalled(transport)

    def is_stalled(self, transport: Any) -> bool:
        """Whether the client took nothing for send_timeout. If not, look again later."""
        now = self._ticks.now
        unsent = _unsent(transport)
        if unsent != self._unsent:
            self._unsent = unsent
            self._stalled_at = now
        timeout = self._limits.send_timeout
        # One more, since the tick that comes next may come at once.
        end = self._stalled_at + count_ticks(timeout) + 1
        self.at = min(end, now + count_ticks(timeout / 10))
        return now >= end


def _unsent(transport: Any) -> object:
    """Return something that changes when the client takes bytes, at whatever pace.

    Twisted only says when a transport has no more to write, and a slow client may need minutes to
    take that much. So this looks at the transport's buffer, and at the kernel's.
    """
    try:
        queued = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (AttributeError, OSError, ValueError):
        queued = b""
    return len(getattr(transport, "dataBuffer", b"")), getattr(transport, "offset", 0), queued
