"""What comes in from one client: whether the socket is read or left alone."""

from __future__ import annotations

from gostore.wire.limits import Limits
from gostore.wire.transport import Transport


class Input:
    """The way in through a transport. TCP makes the client wait while nobody reads."""

    __slots__ = ("_dropped", "_limits", "_transport", "has_ended", "is_read")

    def __init__(self, transport: Transport, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._dropped = 0
        self.is_read = True
        # Whether the client has closed its side.
        self.has_ended = False

    @property
    def is_open(self) -> bool:
        """Whether the socket is read, and its end has not come."""
        return self.is_read and not self.has_ended

    def read(self, is_read: bool) -> None:
        """Read the socket, or leave it alone."""
        if is_read is not self.is_read:
            self.is_read = is_read
            if not is_read:
                self._transport.pauseProducing()
            elif not self.has_ended:
                self._transport.resumeProducing()

    def drop(self, data: bytes) -> None:
        """Drop what comes after an answer: nobody wants it, and it is never read as a request.

        After a while leave the rest in the socket: the client has to wait, and reads our answer.
        Closing then would take the answer back from a client that is still sending.
        """
        self._dropped += len(data)
        self.read(self.drains)

    @property
    def drains(self) -> bool:
        """Whether there may be more to drop."""
        return self._dropped <= self._limits.drain_bytes
