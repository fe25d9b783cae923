"""One request as the application sees it, and what a connection needs of its surroundings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import define, frozen
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.wire.body import Body
from gostore.wire.handshakes import Handshakes
from gostore.wire.head import Headers
from gostore.wire.limits import Limits, Ticks
from gostore.wire.response import Source, response_head
from gostore.wire.tally import OTHER, Tally
from gostore.wire.turns import Turns

log = Logger()


@frozen
class Forwarded:
    """What the application believes of a request that a proxy has passed on.

    `host` is the Host that the client sent to the proxy, None if nobody says.
    """

    client: IAddress
    is_secure: bool
    host: bytes | None


@define(eq=False)
class Request:
    """One request, dispatched at the end of its head.

    `target` is as sent. `path` and `query` are ASCII and still percent-encoded; `path` is `*` for
    `OPTIONS *` and CONNECT. `version` is (1, 0) or (1, 1). `id` is the X-Request-Id of the answer;
    until then the application may set another, of visible ASCII. `principal` is for the
    application alone: the one that it takes the client for. So is `forwarded`, which overrides
    what the connection says. `reason` is for the application to say why it refuses; it goes to
    those who log.
    """

    method: str
    target: bytes
    path: str
    query: str
    version: tuple[int, int]
    headers: Headers
    body: Body
    id: bytes
    _responder: Responder
    principal: Any = None
    reason: str = ""
    forwarded: Forwarded | None = None

    @property
    def client(self) -> IAddress:
        """The address of the client."""
        forwarded = self.forwarded
        return self._responder.client if forwarded is None else forwarded.client

    @property
    def server(self) -> IAddress:
        """The address that the client is connected to."""
        return self._responder.server

    @property
    def is_secure(self) -> bool:
        """Whether it came over TLS."""
        forwarded = self.forwarded
        return self._responder.is_secure if forwarded is None else forwarded.is_secure

    @property
    def is_awaited(self) -> bool:
        """Whether the client waits for an answer: it has none yet, and is not gone."""
        return self._responder.awaits(self)

    def repeated(self, line: bytes, path: str, name: bytes) -> Request:
        """Return the request that a client makes when it repeats the fields of this one.

        ``line`` is a request line with this method and version, ``path`` the path in it; ``name``
        is the id of the new one.
        """
        target = line.split(b" ", 2)[1]
        return Request(
            self.method,
            target,
            path,
            "",
            self.version,
            self.headers,
            self.body,
            name,
            self._responder,
            self.principal,
        )

    def respond(
        self, code: int, headers: Sequence[tuple[bytes, bytes]], body: bytes | Source
    ) -> None:
        """Answer. Has no effect if the request has an answer or the client is gone.

        Date, Server, X-Request-Id, Connection and Content-Length (Transfer-Encoding for a source of
        unknown length) are added. The body is not sent to HEAD, nor with 204 and 304. Raises
        ValueError for a header field with a line end in it.
        """
        self._responder.respond(self, code, headers, body)

    def inform(self, code: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Say something before the answer: 1xx (RFC 9110 section 15.2).

        Has no effect for HTTP/1.0, nor if the request has an answer or the client is gone. Raises
        ValueError for a header field with a line end in it.
        """
        if self.version >= (1, 1) and self.is_awaited:
            self._responder.transport.write(response_head(code, headers, None, b"\r\n"))


class Responder(Protocol):
    """Takes the answer to a request: its connection."""

    client: IAddress
    server: IAddress
    is_secure: bool
    transport: Any

    def awaits(self, request: Request) -> bool:
        """See Request.is_awaited."""

    def respond(
        self,
        request: Request,
        code: int,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes | Source,
    ) -> None:
        """See Request.respond."""


class ReadyAnswer(Protocol):
    """The whole answer to a GET without a query, with status 200.

    `head` is what `response_head` gives it without a tail; `path` is that of the request.
    """

    head: bytes
    body: bytes
    path: str


Find = Callable[[bytes], ReadyAnswer | None]
"""Finds the answer to a request of HTTP/1.1 by its line, if it is at hand."""


@frozen
class Exchange:
    """One answer that has ended, for those who log and count.

    `id` is its X-Request-Id. `request` is None if the wire refused it before it was dispatched;
    `reason` says why it was refused. `code` is 0 if the client went before it was answered. `sent`
    counts the bytes of the answer's body that the transport took, `received` those of the request's
    that came. From the end of the request's head it took `first` seconds to the first byte of the
    answer, `seconds` to its end. `is_cut_off`: the client did not get the whole of it.
    """

    client: IAddress
    id: bytes
    request: Request | None
    code: int
    sent: int
    received: int
    first: float
    seconds: float
    is_cut_off: bool = False
    reason: str = ""


class Teller:
    """Counts each answer to one client when it has ended, and tells of it."""

    __slots__ = (
        "_answered",
        "_begun",
        "_client",
        "_first",
        "_handshakes",
        "_request",
        "_seconds",
        "_tally",
        "is_heard",
        "on_head",
    )

    def __init__(self, factory: Listening, client: IAddress) -> None:
        self._tally = factory.tally
        self._handshakes = factory.handshakes
        self._answered = factory.answered
        # Whether anybody wants to know.
        self.is_heard = self._answered is not None
        self._seconds = factory.seconds
        self._client = client
        self._request: Request | None = None
        self._begun = self._first = 0.0
        #: What is to be called when the first bytes of an answer are about to be written.
        self.on_head = None if self._answered is None else self._begin_answer

    def begin(self, request: Request) -> None:
        """The head of a request has come."""
        self._request = request
        self._begun = self._first = self._seconds()

    def _begin_answer(self) -> None:
        self._first = self._seconds()

    def end(self, reason: Failure) -> None:
        """The client is gone. Tell of a request that it was not answered."""
        self._handshakes.ended(self._client, reason)
        if self._request is not None:
            self.tell(self._request, 0, 0, is_cut_off=True)

    def tell(
        self,
        request: Request | bytes,
        code: int,
        sent: int,
        is_cut_off: bool = False,
        reason: str = "",
    ) -> None:
        """Tell of the answer to a request, or to one of this id that was not read. See Exchange."""
        self._request = None
        if isinstance(request, bytes):
            self._tally.add(OTHER, code, 0.0, 0, sent)
            if self._answered is None:
                return
            exchange = Exchange(
                self._client, request, None, code, sent, 0, 0.0, 0.0, is_cut_off, reason
            )
        else:
            seconds, received = self._seconds() - self._begun, request.body.size
            self._tally.add(request.method, code, seconds, received, sent)
            if self._answered is None:
                return
            exchange = Exchange(
                request.client,
                request.id,
                request,
                code,
                sent,
                received,
                self._first - self._begun,
                seconds,
                is_cut_off,
                reason or request.reason,
            )
        try:
            self._answered(exchange)
        except Exception:
            log.failure("Telling of an answer raised an exception")


class Listening(Protocol):
    """What the connections of one listener share: its factory."""

    limits: Limits
    ticks: Ticks
    turns: Turns
    tally: Tally
    handshakes: Handshakes
    stopping: bool

    @property
    def tail(self) -> bytes:
        """The end of every response head."""

    @property
    def new_id(self) -> Callable[[], bytes]:
        """Gives an id for one more request."""

    @property
    def dispatch(self) -> Callable[[Request], None]:
        """The application."""

    @property
    def shortcut(self) -> Callable[[Request], Find | None] | None:
        """Asked what finds the answers to further requests with the fields of this one."""

    @property
    def answered(self) -> Callable[[Exchange], None] | None:
        """Called with each answer that has ended, if anybody wants to know."""

    @property
    def seconds(self) -> Callable[[], float]:
        """Gives the time, to measure how long something takes."""

    def forget(self, connection: object) -> None:
        """A connection is gone."""
