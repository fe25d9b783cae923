"""What one client may cost: sizes, and the time that it may take.

Time is counted in ticks, and all connections share one clock. So a deadline costs one assignment,
and nobody is blamed for time in which the daemon itself did not run.
"""

from __future__ import annotations

import fcntl
import math
import termios
from typing import Any, Protocol

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
    first_byte_timeout: float = 10
    body_rate: int = 1024
    body_window: float = 30
    chunked_window: float = 300
    send_timeout: float = 60
    # A chunk that makes a body longer than this is refused at its size line, before its bytes
    # come. The application judges a Content-Length: it may have more to say about the head.
    max_blob_size: int = MAX_BODY
    max_connections: int = 4096
    # How many more connections at a time are answered with 503. Each takes a file and some seconds.
    # All others are cut off without a word.
    turned_away: int = 64
    # The paths that are answered on such a connection, too: a supervisor's probes.
    probes: frozenset[str] = frozenset()
    # What is still read after the last answer, so that the client gets to see the answer.
    drain_bytes: int = 65536
    drain_time: float = 1
    # All the chunk extensions of one body together. Nobody here reads them.
    chunk_extensions: int = 1024
    # How much of a body is kept before the application asks for it. Then the socket is left alone.
    body_ahead: int = 65536


class Coming(Protocol):
    """A body on its way in."""

    length: int | None
    size: int
    started: bool


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

    __slots__ = ("_limits", "_size", "_stalled_at", "_ticks", "_unsent", "_window", "at")

    def __init__(self, ticks: Ticks, limits: Limits) -> None:
        self.at = NEVER
        self._ticks = ticks
        self._limits = limits
        # How long the body was when its window began, and how long that is.
        self._size = 0
        self._window = 0.0
        self._unsent: object = None
        self._stalled_at = 0

    def set(self, seconds: float) -> None:
        """Expire no sooner than this. The tick that comes next may come at once."""
        self.at = self._ticks.now + math.ceil(seconds / TICK) + 1

    def watch_body(self, body: Coming) -> None:
        """Give a body a window for its next bytes.

        One in chunks may come from a program that thinks for minutes before it writes. A client
        that announced the length has the bytes, and gets less time for the first of them.
        """
        limits = self._limits
        if body.length is None:
            self._window = limits.chunked_window
        else:
            self._window = limits.body_window if body.started else limits.first_byte_timeout
        self._size = body.size
        self.at = self._ticks.now + math.ceil(self._window / TICK) + 1

    def complaint(self, body: Coming) -> str | None:
        """Say what is wrong with the pace of a body at the end of its window; None if nothing."""
        rate, window = self._limits.body_rate, self._window
        if not body.started:
            return f"Not a byte of the body within {window:g} s"
        if body.size - self._size < rate * window:
            return f"Body slower than {rate} bytes/s over {window:g} s"
        return None

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
