"""What goes out to one client: heads and bodies, as fast as the client takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from gostore.wire.limits import NEVER, Deadline
from gostore.wire.response import Sending, Source
from gostore.wire.transport import EagerServer, Transport
from gostore.wire.turns import Turns

# A piece up to this size goes out in one write with the head.
_ONE_WRITE = 65536


class Sender(Protocol):
    """Hears how a source goes out: a connection."""

    def body_sent(self, size: int) -> None:
        """The last piece of a source, of `size` bytes in all, is written."""

    def body_failed(self, headless: bool) -> None:
        """The source failed; if `headless`, nothing of the response is sent."""

    def drained(self) -> None:
        """The transport has written everything out."""


@implementer(IPushProducer)
class Output:
    """The way out through a transport, which pauses it when the client is slow to read."""

    __slots__ = (
        "_is_registered",
        "_on_head",
        "_sender",
        "_sending",
        "_transport",
        "_turns",
        "blocked",
        "deadline",
    )

    def __init__(
        self,
        sender: Sender,
        deadline: Deadline,
        transport: Transport,
        turns: Turns,
        on_head: Callable[[], None] | None = None,
    ) -> None:
        self._sender = sender
        self.deadline = deadline
        self._transport = transport
        self._turns = turns
        self._sending: Sending | None = None
        # Whether the transport holds more than it likes.
        self.blocked = False
        # Called when a head is about to be written, if anybody wants to know.
        self._on_head = on_head
        self._is_registered = True
        transport.registerProducer(self, streaming=True)

    def write(self, head: bytes, data: bytes) -> None:
        """Write a head, or nothing, and a piece of the body."""
        if not head:
            self._transport.write(data)
            return
        if self._on_head is not None:
            self._on_head()
        if len(data) <= _ONE_WRITE:
            self._transport.write(head + data)
        else:
            self._transport.writeSequence([head, data])

    # A source on its way (response.Outlet).

    def stream(self, head: bytes, source: Source, is_chunked: bool, name: bytes) -> None:
        """Write a head, and a source as far as the client takes it; `name` is the request's id."""
        self._sending = Sending(self, source, head, is_chunked, name.decode("ascii"))
        self._sending.pump()

    @property
    def sends_files(self) -> bool:
        """Whether the transport can. That of TLS has the method and cannot."""
        return isinstance(self._transport, EagerServer)

    def send_file(self, fd: int, offset: int, length: int) -> int:
        """Send some of a file."""
        assert isinstance(self._transport, EagerServer)
        return self._transport.send_file(fd, offset, length)

    def wait_turn(self, work: Callable[[], None]) -> None:
        """Do some work when others had their turn."""
        self._turns.wait(work)

    def sent(self) -> None:
        """The source is written to its end."""
        sending, self._sending = self._sending, None
        assert sending is not None
        self._sender.body_sent(sending.sent)

    def sending_failed(self, headless: bool) -> None:
        """The source failed; if `headless`, nothing of the response is sent."""
        if headless:
            self._sending = None
        self._sender.body_failed(headless)

    def go_on(self) -> bool:
        """Send more of the source, if there is one on its way."""
        if self._sending is None:
            return False
        self.deadline.at = NEVER
        self._sending.pump()
        return True

    def cut_off(self) -> int | None:
        """Send no more of the source on its way, if any, and return how much of it went out."""
        sending, self._sending = self._sending, None
        if sending is None:
            return None
        sending.stop()
        return sending.sent

    # Back-pressure of the client (IPushProducer).

    def pauseProducing(self) -> None:
        """The transport holds enough."""
        if not self.blocked:
            self.blocked = True
            self.deadline.watch_output(self._transport)

    def resumeProducing(self) -> None:
        """The transport has written everything out."""
        self.blocked = False
        self._sender.drained()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says so too."""

    @property
    def is_stalled(self) -> bool:
        """Whether the client took nothing for too long."""
        return self.deadline.is_stalled(self._transport)

    # Ending.

    def forget_sender(self) -> None:
        """The client is gone. Let go of who heard of it: the two would hold each other."""
        del self._sender

    def half_close(self) -> None:
        """Write no more."""
        self.unregister()
        half_close = getattr(self._transport, "loseWriteConnection", None)
        if half_close is not None:
            half_close()

    def close(self) -> None:
        """Close when everything is written out."""
        self.unregister()
        self.deadline.watch_output(self._transport)
        self._transport.loseConnection()

    def unregister(self) -> None:
        """Let the transport close, whole or half: it does not while it has a producer."""
        if self._is_registered:
            self._is_registered = False
            self._transport.unregisterProducer()
