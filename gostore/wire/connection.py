"""One client: its requests read, dispatched and answered in order.

A connection works on one request at a time. It dispatches a request when the head is complete and
has read the bytes that came with it. From then on the body flows to whoever takes it, and the next
head waits until the response is written. A client can make a connection hold only so much: one
head, one read of the socket, a little of a body that nobody asked for, one piece of a response.
Beyond that the socket is left alone, and TCP slows the client down.

states.py has the states that a connection goes through.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet import protocol
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gostore.wire.body import Body
from gostore.wire.head import Fields, ProtocolError
from gostore.wire.headbuffer import HeadBuffer
from gostore.wire.input import Input
from gostore.wire.limits import NEVER, Deadline
from gostore.wire.output import Output
from gostore.wire.repeats import Repeats
from gostore.wire.request import Listening, Request, Teller
from gostore.wire.response import (
    INTERNAL_ERROR,
    Source,
    chunked_field,
    close_source,
    end_of_head,
    ends_connection,
    error_response,
    start_response,
)
from gostore.wire.states import NEXT, Event, State
from gostore.wire.transport import Transport, set_no_delay
from gostore.wire.turns import REQUESTS_A_TURN

log = Logger()

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@implementer(IHalfCloseableProtocol)
class Connection(protocol.Protocol):
    """One client."""

    transport: Transport  # type: ignore[assignment]

    def __init__(self, factory: Listening) -> None:
        self._factory = factory
        self._limits = factory.limits
        self._state = State.OPEN
        self.deadline = Deadline(factory.ticks, factory.limits)
        self._heads = HeadBuffer(factory.limits)
        # The request in progress.
        self._request: Request | None = None
        self._keep_alive = self._expects = self._answered = False
        self._code = 0
        # Whether more of what is unread is being read, or waits for another turn.
        self._advancing = self._waits = False
        self._input: Input
        self._output: Output

    # Transport to protocol.

    def connectionMade(self) -> None:
        transport = self.transport
        self.client, self.server = transport.getPeer(), transport.getHost()
        self._sender = getattr(self.client, "host", None)
        self._heads.takes_any_host = isinstance(self.server, UNIXAddress)
        self.is_secure = ISSLTransport.providedBy(transport)
        set_no_delay(transport)
        self._teller = teller = Teller(self._factory, self.client)
        self._input = Input(transport, self._limits)
        self._output = Output(self, self.deadline, transport, self._factory.turns, teller.on_head)
        self._repeats = Repeats(self._factory, self._heads, self._output, teller)
        self.deadline.set(self._limits.idle_timeout)

    def dataReceived(self, data: bytes) -> None:
        if self._state is not State.OPEN:
            if self._state is State.LINGER:
                self._input.drop(data)
            return
        request = self._request
        if request is None:
            self._heads.feed(data)
            self._advance()
        elif request.body.complete or (self._waits and not self._answered):
            self._heads.feed(data)
            self._set_reading()
        elif self._answered:
            self._input.drop(data)
        else:
            self._feed(request.body, data, 0)
            request.body.flow()
            self._advance()

    def readConnectionLost(self) -> None:
        """The client sends no more (RFC 9112 section 9.6), and may still listen."""
        self._input.has_ended = True
        if self._state is State.LINGER:
            self._close()
        elif self._state is State.OPEN:
            if self._request is None:
                self._advance()
            elif not self._answered:
                self._check_end(self._request)

    def _check_end(self, request: Request) -> None:
        """The body has failed if the client has ended and all that came of it is read."""
        body = request.body
        if self._input.has_ended and not body.complete and not self._heads.unread:
            body.fail(f"Client went away after {body.progress}")

    def writeConnectionLost(self) -> None:
        """Our side is closed, as we asked."""

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._move(Event.GONE)
        self.deadline.at = NEVER
        self._heads.clear()
        self._cut_off()
        self._teller.end(reason)
        request, self._request = self._request, None
        if request is not None and not request.body.complete:
            request.body.fail(f"Client went away after {request.body.progress}")
        self._output.forget_sender()
        self._repeats.forget()
        self._factory.forget(self)

    # Reading requests.

    def _advance(self) -> None:
        """Read on, as far as there is something to read and nothing to wait for."""
        if self._advancing:
            return
        self._advancing = True
        try:
            for _ in range(REQUESTS_A_TURN):
                if (
                    self._request is not None
                    or not self._heads.unread
                    or self._state is not State.OPEN
                    or self._output.blocked
                    or not self._read_head()
                ):
                    break
            else:
                self._wait_turn()
        except ProtocolError as error:
            self._refuse(error.code, error.text)
        finally:
            self._advancing = False
        if self._state is State.OPEN:
            idle = self._request is None and not (self._output.blocked or self._waits)
            if idle and self._input.has_ended:
                self._close()
            else:
                self._set_reading()

    def _wait_turn(self) -> None:
        """Leave the rest of what is unread for another turn."""
        if not self._waits:
            self._waits = True
            self._factory.turns.wait(self._take_turn)

    def _take_turn(self) -> None:
        self._waits = False
        if self._state is not State.OPEN:
            return
        request = self._request
        if request is not None and not self._answered and not request.body.complete:
            if self._heads.unread:
                self._feed(request.body, *self._heads.take())
                request.body.flow()
            if self._request is request and not self._waits and not request.body.stopped:
                # Here, and not in _advance, where the body would get another window.
                self._input.read(is_read=True)
                self._check_end(request)
        self._advance()

    def _read_head(self) -> bool:
        """Read one head and dispatch its request. Return False when the head is not complete."""
        if self._repeats.answer():
            return True
        head = self._heads.next_head()
        if head is None:
            if self._heads.has_begun:
                self.deadline.set(self._limits.head_timeout)
            return False
        method, target, path, query, version, fields = head
        headers, body = fields.headers, Body(fields.length, self._limits, self, self._sender)
        name = self._factory.new_id()
        request = Request(method, target, path, query, version, headers, body, name, self)
        self._begin(request, fields)
        return True

    def _begin(self, request: Request, fields: Fields) -> None:
        """Dispatch a request with the part of its body that is here."""
        self._request = request
        # What follows a CONNECT may be for somebody else.
        self._keep_alive = fields.keep_alive and request.method != "CONNECT"
        self._expects = fields.expect
        self._answered = False
        self._teller.begin(request)
        body = request.body
        if body.complete or self._heads.fill(body):
            self.deadline.at = NEVER
        elif self._heads.unread:
            self._feed(body, *self._heads.take())
        else:
            self.deadline.watch_body(body)
        # Unless its body was bad and has its answer.
        if self._request is request:
            try:
                self._repeats.learn(request, fields)
                self._factory.dispatch(request)
            except Exception:
                log.failure("Dispatching request {id} raised an exception", id=request.id.decode())
                if self._request is request:
                    self._fault(headless=not self._answered)

    def _feed(self, body: Body, data: bytes, start: int) -> None:
        """Give the body its part of `data`, and keep the rest. Answer a bad body."""
        is_first = not body.started
        try:
            end = body.feed(data, start)
        except ProtocolError as error:
            self._refuse(error.code, error.text)
            return
        if body.complete:
            self.deadline.at = NEVER
        elif is_first:
            self.deadline.watch_body(body)
        if end < len(data):
            self._heads.give_back(data, end)
            if not body.complete:
                self._wait_turn()

    def _set_reading(self) -> None:
        """Read the socket, or leave it alone, as the request in progress needs it."""
        request = self._request
        if self._waits:
            reading = False
        elif request is None:
            reading = not self._heads.unread or not self._output.blocked
        elif request.body.complete:
            reading = not self._heads.unread
        elif self._answered:
            reading = self._input.drains
        else:
            reading = not request.body.stopped
            if reading and not self._input.is_read and not self._input.has_ended:
                self.deadline.watch_body(request.body)
        if reading is not self._input.is_read:
            self._input.read(reading)

    # What a body asks for (body.Inlet).

    def body_wanted(self) -> None:
        """The application takes the body: ask a client that waits to be asked, once."""
        request = self._request
        if request is None or self._answered:
            return
        if self._expects and not self._heads.unread and not request.body.started:
            self.transport.write(_CONTINUE)
        self._expects = False
        self.deadline.watch_body(request.body)

    def body_moved(self) -> None:
        """The body may have begun or ceased to want more."""
        if self._state is State.OPEN and self._request is not None:
            self._set_reading()

    def body_broke(self, body: Body) -> None:
        """The sink raised an exception: a fault, unless an answer is on its way."""
        request = self._request
        if request is not None and request.body is body and not self._answered:
            self._fault(headless=True)

    # Writing responses.

    def awaits(self, request: Request) -> bool:
        """See Request.is_awaited."""
        return self._request is request and not self._answered and self._state is State.OPEN

    def respond(
        self,
        request: Request,
        code: int,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes | Source,
    ) -> None:
        """See Request.respond."""
        if not self.awaits(request):
            close_source(body)
            return
        keep_alive = self._keep_alive and request.body.complete and not self._factory.stopping
        keep_alive = keep_alive and not ends_connection(code, body, request.version)
        chunked = chunked_field(body, request.version)
        end = end_of_head(self._factory.tail, request.id, keep_alive, request.version)
        head, rest = start_response(request.method == "HEAD", code, headers, body, chunked + end)
        self._answered, self._keep_alive, self._code = True, keep_alive, code
        request.body.fail("The request was answered before its body was taken")
        if isinstance(rest, bytes):
            self._output.write(head, rest)
            self.body_sent(len(rest))
        else:
            self._output.stream(head, rest, bool(chunked), request.id)

    # What a source on its way tells (output.Sender).

    def body_failed(self, headless: bool) -> None:
        """The source failed; if `headless`, nothing of the response is sent."""
        self._fault(headless)

    def _fault(self, headless: bool) -> None:
        """Say that something went wrong (it is logged), if there is still room for it."""
        if headless:
            self._refuse(500, INTERNAL_ERROR)
        else:
            self.abort()

    def drained(self) -> None:
        """The transport has written everything out."""
        if self._state is State.OPEN and not self._output.go_on() and self._request is None:
            self.deadline.set(self._limits.idle_timeout)
            self._advance()

    # Ends of answers.

    def body_sent(self, size: int) -> None:
        """All `size` bytes of the body are written. Go on to the next request."""
        request, self._request = self._request, None
        assert request is not None
        self._teller.tell(request, self._code, size)
        if self._keep_alive:
            if not self._output.blocked:
                self.deadline.set(self._limits.idle_timeout)
            if self._heads.unread or self._waits or not self._input.is_open:
                self._advance()
        elif request.body.complete and not self._heads.unread:
            self._close()
        else:
            self._linger()

    def _cut_off(self) -> None:
        """Send no more of the response in progress, if there is one."""
        sent = self._output.cut_off()
        if sent is not None and self._request is not None:
            self._teller.tell(self._request, self._code, sent, is_cut_off=True)

    def _refuse(self, code: int, text: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer with an error of our own, and read nothing more as a request."""
        if self._state is not State.OPEN:
            return
        request, self._request = self._request, None
        is_head = request is not None and request.method == "HEAD"
        name = self._factory.new_id() if request is None else request.id
        tail = end_of_head(self._factory.tail, name, keep_alive=False, version=(1, 1))
        head, data = error_response(is_head, code, text, headers, tail)
        self.transport.write(head + data)
        self._teller.tell(request or name, code, len(data), reason=text)
        self._linger()
        if request is not None:
            request.body.fail(text)

    # Ending.

    def _move(self, event: Event) -> None:
        self._state = NEXT[self._state][event]

    def _linger(self) -> None:
        """Close when the client has closed, or when it has had long enough to read the answer."""
        self._heads.clear()
        if self._input.has_ended:
            self._close()
            return
        self._move(Event.LAST_ANSWER)
        self.deadline.set(self._limits.drain_time)
        if self.is_secure:
            # TLS has no half-close. Its transport would pass the call on to the TCP below it.
            self._output.unregister()
        else:
            self._output.half_close()
        self._input.read(self._input.drains)

    def _close(self) -> None:
        """Read nothing more. The transport closes when it has written everything out."""
        self._move(Event.CLOSE)
        self._heads.clear()
        self._output.close()

    def abort(self) -> None:
        """Close at once, whatever is lost by it: the client must not take this for the end."""
        if self._state is State.LOST:
            return
        self._move(Event.ABORT)
        self.deadline.at = NEVER
        self._cut_off()
        self.transport.abortConnection()

    def stop(self) -> None:
        """Take no new request."""
        if self._state is State.OPEN and self._request is None:
            self._close()

    def give_up(self) -> None:
        """Wait no longer for the client, only for an application that has the whole request."""
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
        self.deadline.at = NEVER
        if self._state is State.LINGER:
            self._close()
        elif self._state is State.CLOSING or self._output.blocked:
            if self._output.is_stalled:
                log.debug("{client} takes nothing: closed", client=self.client)
                self.abort()
        elif request is None:
            if self._heads.unread:
                self._refuse(408, "The request head took too long")
            else:
                self._close()
        elif not request.body.complete and not self._answered:
            waits = self._expects and not request.body.taken
            complaint = self.deadline.complaint(request.body)
            if complaint is not None and self._input.is_read and not waits:
                self._refuse(408, complaint)
            else:
                self.deadline.watch_body(request.body)
