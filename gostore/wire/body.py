"""Request bodies: bytes off the socket to whoever takes them.

`Counted` reads a body of a known length, `Chunked` (chunks.py) a chunked one. `Body` keeps what
they read until the application takes it, and stops the socket when that gets too much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from twisted.logger import Logger

from gostore.wire.chunks import Chunked
from gostore.wire.head import NO_FIELDS
from gostore.wire.limits import Limits
from gostore.wire.response import INTERNAL_ERROR

log = Logger()


class Sink(Protocol):
    """Takes a body: pieces in order, then one of finished and failed, once."""

    def received(self, data: bytes) -> None:
        """The next piece, never empty."""

    def finished(self) -> None:
        """The body has come in full."""

    def failed(self, reason: str) -> None:
        """The rest will not come, because of `reason`, a phrase for people."""


class Inlet(Protocol):
    """What a body comes through: its connection."""

    def body_wanted(self) -> None:
        """The application is about to take the body for the first time."""

    def body_moved(self) -> None:
        """The body may have changed whether it is `stopped`."""

    def body_broke(self, body: Body) -> None:
        """The sink raised an exception (it is logged)."""


class Counted:
    """Reads a body whose length was announced."""

    __slots__ = ("_left", "complete")

    trailer = NO_FIELDS

    def __init__(self, length: int) -> None:
        self.complete = False
        self._left = length

    def feed(self, data: bytes, start: int, keep: Callable[[bytes], None]) -> int:
        """Read `data` from `start` on, and call `keep` with the piece of the body in it.

        Returns where the body's part of `data` ends.
        """
        end = min(len(data), start + self._left)
        self._left -= end - start
        self.complete = not self._left
        keep(data if end - start == len(data) else data[start:end])
        return end


class Body:
    """One request's body, a push producer.

    `length` is the announced size in bytes; None when chunked, 0 when there is none. `sender` is
    the IP address that it comes from, None on a Unix socket. `origin` is for the application to say
    more of who sends it. `complete`: all of it is here. `size`:
    how many bytes are. `started`: some of its framing is. `trailer` has the fields after a chunked
    body that is complete; nobody else merges them into those of the head (RFC 9110 section 6.5.1).
    """

    __slots__ = (
        "_flowing",
        "_framing",
        "_inlet",
        "_kept",
        "_limits",
        "_paused",
        "_pieces",
        "_reason",
        "_settled",
        "_sink",
        "_taken",
        "complete",
        "length",
        "origin",
        "sender",
        "size",
        "started",
        "trailer",
    )

    def __init__(
        self, length: int | None, limits: Limits, inlet: Inlet, sender: str | None = None
    ) -> None:
        self.length = length
        self.sender = sender
        self.origin = ""
        self.size = 0
        self.complete = length == 0
        self.started = False
        self.trailer = NO_FIELDS
        self._limits = limits
        self._inlet = inlet
        self._sink: Sink | None = None
        self._taken = False
        self._settled = False
        self._reason: str | None = None
        self._paused = False
        self._flowing = False
        self._pieces: deque[bytes] = deque()
        self._kept = 0
        # None when nothing more is to be read.
        self._framing: Counted | Chunked | None = None
        if length is None:
            self._framing = Chunked(limits)
        elif length:
            self._framing = Counted(length)

    # The side of the application.

    @property
    def taken(self) -> bool:
        """Whether `deliver` was called."""
        return self._taken

    def deliver(self, sink: Sink) -> None:
        """Let the bytes flow to `sink`, those that are here at once. To be called once at most.

        Sends 100 (Continue) to a client that waits for it and has sent nothing of the body.
        """
        if self._taken:
            raise RuntimeError("the body was taken before")
        self._taken = True
        if self.complete:
            # Nothing more of it is in the socket.
            self._sink = sink
            self.flow()
            return
        if self._reason is None:
            self._inlet.body_wanted()
        self._sink = sink
        self.flow()
        self._inlet.body_moved()

    def pauseProducing(self) -> None:
        """Call nothing of the sink, unless the body fails, until `resumeProducing`."""
        self._paused = True
        self._inlet.body_moved()

    def resumeProducing(self) -> None:
        """Let the bytes flow again."""
        self._paused = False
        self.flow()
        self._inlet.body_moved()

    # The side of the connection.

    @property
    def stopped(self) -> bool:
        """Whether to leave the socket alone for now."""
        return self._paused or self._kept > self._limits.body_ahead

    @property
    def progress(self) -> str:
        """How much has come, in words."""
        of = "" if self.length is None else f" of {self.length}"
        return f"{self.size}{of} bytes"

    def feed(self, data: bytes, start: int) -> int:
        """Read `data` from `start` on, and return where the body's part of it ends.

        If the body is not complete then, the rest is for another turn. Nothing reaches the sink
        before `flow` is called. Raises ProtocolError.
        """
        framing = self._framing
        assert framing is not None
        self.started = True
        end = framing.feed(data, start, self._keep)
        if framing.complete:
            self.complete = True
            self._framing = None
            self.trailer = framing.trailer
        return end

    def fill(self, data: bytes) -> None:
        """Take in a body of announced length, not empty, that is here in one piece."""
        self.started = self.complete = True
        self._framing = None
        self.size = self._kept = len(data)
        self._pieces.append(data)

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._kept += len(piece)
        self.size += len(piece)

    def fail(self, reason: str) -> None:
        """Drop what is kept: the rest will not come, or is of no use any more."""
        if self._settled or self._reason is not None:
            return
        self._reason = reason
        self._framing = None
        self._pieces.clear()
        self._kept = 0
        self.flow()

    def flow(self) -> None:
        """Give the sink what is here for it."""
        sink = self._sink
        if self._flowing or sink is None:
            return
        self._flowing = True
        try:
            while not self._settled:
                if self._reason is not None:
                    self._settled = True
                    sink.failed(self._reason)
                elif self._paused:
                    break
                elif self._pieces:
                    piece = self._pieces.popleft()
                    self._kept -= len(piece)
                    sink.received(piece)
                elif self.complete:
                    self._settled = True
                    sink.finished()
                else:
                    break
        except Exception:
            log.failure("The sink of a request body raised an exception")
            knows_the_end, self._settled = self._settled, True
            self._pieces.clear()
            self._kept = 0
            self._inlet.body_broke(self)
            if not knows_the_end:
                # Others may wait for what it holds.
                with suppress(Exception):
                    sink.failed(INTERNAL_ERROR)
        finally:
            self._flowing = False
            if self._settled:
                self._sink = None
