"""One client: its requests read, dispatched and answered in order.

One request at a time on each connection, in order. A request is dispatched when its head is
complete and the bytes that came with it are read; from then on its body flows to whoever takes
it, and the next head is not looked at before the response is written. What a client can make a
connection hold is bounded: one head, one read of the socket, a little of a body that nobody has
asked for, one piece of a response; beyond that the socket is left alone, and TCP slows it down.

A connection goes OPEN -> LINGER -> CLOSING -> LOST, and may leave out any but the last:

    OPEN     requests are read and answered
    LINGER   the last response is written; what the client still sends is dropped, for a little
             while, because closing on unread bytes makes TCP take the response back
             (RFC 9112 section 9.6)
    CLOSING  nothing is read; what is written is still on its way
    LOST     the transport is gone

Time is counted in ticks of the factory, one for all connections: a deadline costs one assignment,
and time in which the daemon itself did not run is held against nobody.
"""

from __future__ import annotations

import enum
import fcntl
import termios
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from attrs import define
from twisted.internet import protocol
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IPushProducer,
    ISSLTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gostore.wire.body import Body
from gostore.wire.head import (
    Fields,
    Headers,
    Limits,
    ProtocolError,
    check_part,
    read_fields,
    read_request_line,
    split_target,
)
from gostore.wire.response import (
    BODILESS,
    ERROR_HEADERS,
    INTERNAL_ERROR,
    Sending,
    Source,
    close_source,
    error_body,
    response_head,
)
from gostore.wire.transport import EagerServer

log = Logger()

NEVER = 1 << 62

# A response body up to this size goes out in one write with its head.
_SMALL = 65536
_RETRY_AFTER = 10
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Transport(Protocol):
    """What of a Twisted TCP, TLS or Unix transport is used here."""

    def write(self, data: bytes) -> None: ...

    def writeSequence(self, data: Sequence[bytes]) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def loseConnection(self) -> None: ...

    def abortConnection(self) -> None: ...

    def getPeer(self) -> IAddress: ...


class Factory(Protocol):
    """What the connections of one listener share."""

    limits: Limits
    access_log: bool
    stopping: bool
    now: int

    @property
    def tail(self) -> bytes:
        """The end of every response head."""

    @property
    def dispatch(self) -> Callable[[Request], None]:
        """The application."""

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""

    def ticks(self, seconds: float) -> int:
        """At least this long, in ticks."""

    def after(self, seconds: float) -> int:
        """A deadline no sooner than this."""


class _State(enum.Enum):
    OPEN = enum.auto()
    LINGER = enum.auto()
    CLOSING = enum.auto()
    LOST = enum.auto()


@define(eq=False)
class Request:
    """One request, dispatched at the end of its head.

    `target` is as sent, `path` and `query` are ASCII and still percent-encoded; `path` is `*` for
    `OPTIONS *` and CONNECT. `version` is (1, 0) or (1, 1).
    """

    method: str
    target: bytes
    path: str
    query: str
    version: tuple[int, int]
    headers: Headers
    body: Body
    client: IAddress
    is_secure: bool
    _connection: Connection

    def respond(
        self, code: int, headers: Sequence[tuple[bytes, bytes]], body: bytes | Source
    ) -> None:
        """Answer. Of no effect if an answer was given before or the client is gone.

        Date, Server, Content-Length and Connection are added. To HEAD, and with 204 and 304,
        the body is not sent. Raises ValueError for a header field with a line end in it.
        """
        self._connection.respond(self, code, headers, body)


@implementer(IHalfCloseableProtocol, IPushProducer)
class Connection(protocol.Protocol):
    """One client. As a producer it is what the transport pauses when the client is slow to read."""

    transport: _Transport  # type: ignore[assignment]

    def __init__(self, factory: Factory, turned_away: bool) -> None:
        self._factory = factory
        self._limits = factory.limits
        self._turned_away = turned_away
        self._state = _State.OPEN
        self.deadline = NEVER
        # Bytes not yet read as HTTP: `_buffer` from `_position` on, `_seen` being where the
        # search for the end of the head goes on.
        self._buffer = b""
        self._position = 0
        self._seen = 0
        self._skipped_line = False
        # The field lines of the last head and what they said: the next is often the same.
        self._block: tuple[tuple[int, int], bytes] | None = None
        self._fields: Fields
        # The request in progress.
        self._request: Request | None = None
        self._keep_alive = False
        self._expects = False
        self._answered = False
        self._sending: Sending | None = None
        self._advancing = False
        self._reading = True
        self._read_ended = False
        self._dropped = 0
        self._rate_mark = 0
        # Whether the transport holds more than it likes, and since when nothing moved.
        self.blocked = False
        self._unsent: object = None
        self._stalled_at = 0
        self._registered = False

    # Transport to protocol.

    def connectionMade(self) -> None:
        transport = self.transport
        self._client = transport.getPeer()
        self._is_secure = ISSLTransport.providedBy(transport)
        if isinstance(self._client, (IPv4Address, IPv6Address)):
            set_no_delay = getattr(transport, "setTcpNoDelay", None)
            if set_no_delay is not None:
                set_no_delay(True)
        self._registered = True
        transport.registerProducer(self, True)
        self.deadline = self._factory.after(self._limits.idle_timeout)
        if self._turned_away:
            self._refuse(503, "Too many connections", ((b"retry-after", b"%d" % _RETRY_AFTER),))

    def dataReceived(self, data: bytes) -> None:
        if self._state is not _State.OPEN:
            if self._state is _State.LINGER:
                self._drop(data)
            return
        request = self._request
        if request is None:
            if self._buffer:
                self._seen -= self._position
                data = self._buffer[self._position :] + data
            self._buffer = data
            self._position = 0
            self._advance()
        elif request.body.complete:
            self._buffer = self._buffer[self._position :] + data
            self._position = self._seen = 0
            self._set_reading()
        elif self._answered:
            self._drop(data)
        else:
            self._feed(request.body, data, 0)
            request.body.flow()
            self._advance()

    def readConnectionLost(self) -> None:
        """The client has said all it will (RFC 9112 section 9.6), and may still listen."""
        self._read_ended = True
        if self._state is _State.LINGER:
            self._close()
        elif self._state is _State.OPEN:
            request = self._request
            if request is None:
                self._advance()
            elif not request.body.complete and not self._answered:
                request.body.fail(f"Client went away after {request.body.progress}")

    def writeConnectionLost(self) -> None:
        """Our side is closed, as was asked."""

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._state = _State.LOST
        self.deadline = NEVER
        self._buffer = b""
        if self._sending is not None:
            self._sending.stop()
            self._sending = None
        request = self._request
        self._request = None
        if request is not None and not request.body.complete:
            request.body.fail(f"Client went away after {request.body.progress}")
        self._factory.forget(self)

    # Reading requests.

    def _advance(self) -> None:
        """Read on, as far as there is something to read and nothing to wait for."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while (
                self._request is None
                and self._state is _State.OPEN
                and not self.blocked
                and self._read_head()
            ):
                pass
        except ProtocolError as error:
            self._refuse(error.code, error.text)
        finally:
            self._advancing = False
        if self._state is _State.OPEN:
            if self._read_ended and self._request is None and not self.blocked:
                self._close()
            else:
                self._set_reading()

    def _read_head(self) -> bool:
        """Read one head, and dispatch it; False when it is not complete."""
        buffer, start = self._buffer, self._position
        # One empty line before a request is forgiven (RFC 9112 section 2.2).
        if not self._skipped_line and buffer.startswith(b"\r\n", start):
            self._skipped_line = True
            start = self._position = start + 2
        end = buffer.find(b"\r\n\r\n", max(start, self._seen - 3))
        if end < 0:
            self._wait_for_head(buffer, start)
            return False
        limits = self._limits
        line_end = buffer.find(b"\r\n", start)
        method, target, version = read_request_line(buffer[start:line_end], limits)
        if end - start > limits.head:
            raise ProtocolError(431, f"The request head is longer than {limits.head} bytes")
        block = (version, buffer[line_end + 2 : end + 2])
        if block != self._block:
            self._fields = read_fields(block[1], version, limits)
            self._block = block
        path, query = split_target(method, target)
        fields = self._fields
        request = Request(
            method.decode("ascii"),
            target,
            path,
            query,
            version,
            fields.headers,
            Body(fields.length, limits, self),
            self._client,
            self._is_secure,
            self,
        )
        self._position = end + 4
        self._skipped_line = False
        self._begin(request, fields)
        return True

    def _wait_for_head(self, buffer: bytes, start: int) -> None:
        if start == len(buffer):
            self._buffer = b""
            self._position = self._seen = 0
            return
        seen = max(start, self._seen)
        if seen == start:
            self.deadline = self._factory.after(self._limits.head_timeout)
        self._seen = len(buffer)
        check_part(buffer, start, seen, self._limits)

    def _begin(self, request: Request, fields: Fields) -> None:
        """Dispatch a request, with what has come of its body."""
        self._request = request
        # What follows a CONNECT may be meant for somebody else.
        self._keep_alive = fields.keep_alive and request.method != "CONNECT"
        self._expects = fields.expect
        self._answered = False
        self._dropped = 0
        body = request.body
        buffer, start = self._buffer, self._position
        if start == len(buffer):
            self._buffer = buffer = b""
            self._position = start = 0
        self._seen = start
        if body.complete:
            self.deadline = NEVER
        else:
            self._restart_rate()
            self._buffer = b""
            if buffer:
                self._feed(body, buffer, start)
        # Unless its body was bad, and is answered.
        if self._request is request:
            try:
                self._factory.dispatch(request)
            except Exception:
                log.failure("Dispatching a request raised an exception")
                self._fault(request)

    def _feed(self, body: Body, data: bytes, start: int) -> None:
        """Give the body its part of `data`, and keep the rest; a bad body is answered here."""
        try:
            end = body.feed(data, start)
        except ProtocolError as error:
            self._refuse(error.code, error.text)
            return
        if body.complete:
            self.deadline = NEVER
            if end < len(data):
                self._buffer = data
                self._position = self._seen = end
                return
        self._position = self._seen = 0

    def _drop(self, data: bytes) -> None:
        """What comes after an answer is not wanted, and is never read as a request."""
        self._dropped += len(data)
        if self._dropped > self._limits.drain_bytes:
            if self._state is _State.LINGER:
                self._stop_reading()
            else:
                self._set_reading()

    def _stop_reading(self) -> None:
        """Leave the rest in the socket: TCP makes the client wait, and read what we answered.

        To close now would take the answer back from a client that is still sending.
        """
        if self._reading:
            self._reading = False
            self.transport.pauseProducing()

    def _set_reading(self) -> None:
        """Read the socket, or leave it alone, as the request in progress has it."""
        request = self._request
        if request is None:
            reading = not self._buffer or not self.blocked
        elif request.body.complete:
            reading = not self._buffer
        elif self._answered:
            reading = self._dropped <= self._limits.drain_bytes
        else:
            reading = not request.body.held
        if reading is not self._reading:
            self._reading = reading
            if not reading:
                self.transport.pauseProducing()
            elif not self._read_ended:
                if request is not None and not self._answered and not request.body.complete:
                    self._restart_rate()
                self.transport.resumeProducing()

    # What a body asks for (wire_body.Reader).

    def body_wanted(self) -> None:
        """The application takes the body: a client that waits to be asked is asked, once."""
        request = self._request
        if request is None or self._answered:
            return
        if self._expects and not self._buffer and not request.body.started:
            self.transport.write(_CONTINUE)
        self._expects = False
        self._restart_rate()

    def body_moved(self) -> None:
        """The body may be read on, or not."""
        if self._state is _State.OPEN and self._request is not None:
            self._set_reading()

    def body_broke(self, body: Body) -> None:
        """What takes the body raised an exception: a fault, unless an answer was on its way."""
        request = self._request
        if request is not None and request.body is body and not self._answered:
            self._fault(request)

    # Writing responses.

    def respond(
        self,
        request: Request,
        code: int,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes | Source,
    ) -> None:
        """See Request.respond."""
        if self._request is not request or self._answered or self._state is not _State.OPEN:
            if not isinstance(body, bytes):
                close_source(body)
            return
        keep_alive = self._keep_alive and request.body.complete and not self._factory.stopping
        length = len(body) if isinstance(body, bytes) else body.length
        try:
            head = response_head(
                code, headers, length, keep_alive, request.version, self._factory.tail
            )
        except Exception:
            if not isinstance(body, bytes):
                close_source(body)
            raise
        self._answered = True
        self._keep_alive = keep_alive
        if self._factory.access_log:
            log.debug(
                "{client} {method} {target!r} {code} {length}",
                client=self._client,
                method=request.method,
                target=request.target,
                code=code,
                length=length,
            )
        request.body.fail("The request was answered before its body was taken")
        if request.method == "HEAD" or code in BODILESS or not length:
            if not isinstance(body, bytes):
                close_source(body)
            self.transport.write(head)
            self.sent()
        elif isinstance(body, bytes):
            self.write(head, body)
            self.sent()
        else:
            self._sending = Sending(self, body, head)
            self._sending.pump()

    def write(self, head: bytes, data: bytes) -> None:
        """Write a head, or nothing, and a piece of the body."""
        if not head:
            self.transport.write(data)
        elif len(data) <= _SMALL:
            self.transport.write(head + data)
        else:
            self.transport.writeSequence([head, data])

    @property
    def sends_files(self) -> bool:
        """Whether the transport can: no other passes for one, as that of TLS would."""
        return isinstance(self.transport, EagerServer)

    def send_file(self, fd: int, offset: int, length: int) -> int:
        """Send some of a file."""
        assert isinstance(self.transport, EagerServer)
        return self.transport.send_file(fd, offset, length)

    def sending_failed(self, headless: bool) -> None:
        """The response cannot be sent to its end; if `headless`, nothing of it is sent yet."""
        self._sending = None
        if headless:
            self._refuse(500, INTERNAL_ERROR)
        else:
            self.abort()

    def sent(self) -> None:
        """The response is written."""
        request = self._request
        assert request is not None
        self._request = None
        self._sending = None
        if self._keep_alive:
            if not self.blocked:
                self.deadline = self._factory.after(self._limits.idle_timeout)
            self._advance()
        elif request.body.complete and not self._buffer:
            self._close()
        else:
            self._linger()

    def _refuse(self, code: int, text: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer with an error of our own, and read nothing more as a request."""
        if self._state is not _State.OPEN:
            return
        request = self._request
        self._request = None
        data = error_body(code, text)
        head = response_head(
            code, (*ERROR_HEADERS, *headers), len(data), False, (1, 1), self._factory.tail
        )
        is_head = request is not None and request.method == "HEAD"
        self.transport.write(head if is_head else head + data)
        self._linger()
        if request is not None:
            request.body.fail(text)

    def _fault(self, request: Request) -> None:
        """The application broke (it is logged): say so, if there is still room for it."""
        if self._request is not request:
            return
        if self._answered:
            self.abort()
        else:
            self._refuse(500, INTERNAL_ERROR)

    # Back-pressure of the client on the response (IPushProducer).

    def pauseProducing(self) -> None:
        """The transport holds enough."""
        if not self.blocked:
            self.blocked = True
            self._watch_output()

    def resumeProducing(self) -> None:
        """The transport has written everything out."""
        self.blocked = False
        if self._state is not _State.OPEN:
            return
        if self._sending is not None:
            self.deadline = NEVER
            self._sending.pump()
        elif self._request is None:
            self.deadline = self._factory.after(self._limits.idle_timeout)
            self._advance()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says so too."""

    # Ending.

    def _linger(self) -> None:
        """Close when the client has closed, or when it has had long enough to read the answer."""
        self._buffer = b""
        if self._read_ended:
            self._close()
            return
        self._state = _State.LINGER
        self.deadline = self._factory.after(self._limits.drain_time)
        self._unregister()
        # TLS has no half-close, and passes this call on to the TCP below it.
        if not self._is_secure:
            half_close = getattr(self.transport, "loseWriteConnection", None)
            if half_close is not None:
                half_close()
        if self._dropped > self._limits.drain_bytes:
            self._stop_reading()
        elif not self._reading:
            self._reading = True
            self.transport.resumeProducing()

    def _close(self) -> None:
        """Read nothing more; the transport closes when it has written everything out."""
        self._state = _State.CLOSING
        self._buffer = b""
        self._unregister()
        self._watch_output()
        self.transport.loseConnection()

    def _unregister(self) -> None:
        """A transport that has a producer does not close, in either way."""
        if self._registered:
            self._registered = False
            self.transport.unregisterProducer()

    def abort(self) -> None:
        """Close at once, whatever is lost by it: the client must not take this for the end."""
        if self._state is _State.LOST:
            return
        self._state = _State.CLOSING
        self.deadline = NEVER
        if self._sending is not None:
            self._sending.stop()
            self._sending = None
        self.transport.abortConnection()

    def stop(self) -> None:
        """Take no new request."""
        if self._state is _State.OPEN and self._request is None:
            self._close()

    def give_up(self) -> None:
        """Wait for the client no longer; only for the application, if it has the whole request."""
        request = self._request
        if request is not None and not self._answered:
            if request.body.complete:
                return
            request.body.fail("The server is stopping")
        self.abort()

    # Deadlines.

    def expired(self) -> None:
        """The deadline has passed."""
        request = self._request
        self.deadline = NEVER
        if self._state is _State.LINGER:
            self._close()
        elif self._state is _State.CLOSING or self.blocked:
            self._check_output()
        elif request is None:
            if self._buffer:
                self._refuse(408, "The request head took too long")
            else:
                self._close()
        elif not request.body.complete and not self._answered:
            self._check_rate(request.body)

    def _restart_rate(self) -> None:
        assert self._request is not None
        self._rate_mark = self._request.body.size
        self.deadline = self._factory.after(self._limits.body_window)

    def _check_rate(self, body: Body) -> None:
        rate, window = self._limits.body_rate, self._limits.body_window
        waits = self._expects and not body.taken
        if self._reading and not waits and body.size - self._rate_mark < rate * window:
            self._refuse(408, f"Body slower than {rate} bytes/s over {window:g} s")
        else:
            self._restart_rate()

    def _watch_output(self) -> None:
        self._unsent = None
        self._stalled_at = self._factory.now
        self._check_output()

    def _check_output(self) -> None:
        """Abort if the client has taken nothing for send_timeout."""
        factory = self._factory
        unsent = _unsent(self.transport)
        if unsent != self._unsent:
            self._unsent = unsent
            self._stalled_at = factory.now
        # One more, since the tick that comes next may come at once.
        end = self._stalled_at + factory.ticks(self._limits.send_timeout) + 1
        if factory.now >= end:
            log.debug("{client} takes nothing: closed", client=self._client)
            self.abort()
        else:
            step = factory.ticks(self._limits.send_timeout / 10)
            self.deadline = min(end, factory.now + step)


def _unsent(transport: _Transport) -> object:
    """Something that changes when the client takes bytes, at whatever pace.

    Twisted says only when a transport has no more to write, and a slow client may need minutes
    to take that much; so its buffer is looked at, and the kernel's.
    """
    try:
        queued = fcntl.ioctl(cast(Any, transport).fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (AttributeError, OSError, ValueError):
        queued = b""
    return len(getattr(transport, "dataBuffer", b"")), getattr(transport, "offset", 0), queued
