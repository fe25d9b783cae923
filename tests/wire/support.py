"""Shared by the tests of wire: an application, a transport, a client, and a second reading."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import Factory, define
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gostore.wire import HTTPFactory, Limits, Request, Source
from gostore.wire.connection import Connection

# What clients send.

ID = b"1b4e28ba-2fa1-41d2-883f-0016d3cca427"
"""What all requests of a Client have for an id."""

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def head(*fields: bytes, line: bytes = b"PUT /a HTTP/1.1", host: bytes = b"Host: x") -> bytes:
    """A request head of these field lines."""
    return b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])


def chunked(body: bytes) -> bytes:
    """A PUT with this as its chunked body, framing and all."""
    return head(b"Transfer-Encoding: chunked") + body


def lengths(*values: bytes) -> bytes:
    """A head with these Content-Lengths, and a body of 5."""
    return head(*(b"Content-Length: " + value for value in values)) + b"hello"


GOOD_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


class Turning(Clock):
    """A clock that turns as a reactor does: what is due at once waits for the next turn."""

    def turn(self) -> None:
        """Make the calls that are due now, and none that they ask for."""
        for call in [each for each in self.calls if each.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class Wire(StringTransport):
    """A transport in memory: how it was closed is noted, and nothing more is written after."""

    def __init__(self, peer: object = None, host: object = None) -> None:
        super().__init__(host, peer or IPv4Address("TCP", "192.0.2.1", 4000))
        self.half_closed = False
        self.lost = False
        self.aborted = False
        # Twisted's own transports have these, and Deadline looks at them.
        self.dataBuffer = b""
        self.offset = 0
        self.writes = 0
        # Whether every write is more than the client takes for now.
        self.blocks = False

    def write(self, data: bytes) -> None:
        assert not (self.half_closed or self.lost or self.aborted), "written after the end"
        self.writes += 1
        super().write(data)
        if self.blocks and self.producer is not None:
            self.producer.pauseProducing()

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def loseConnection(self) -> None:
        assert self.producer is None, "a producer keeps the transport open"
        self.lost = True

    def abortConnection(self) -> None:
        self.aborted = True

    @property
    def paused(self) -> bool:
        return self.producerState == "paused"

    @property
    def ending(self) -> bool:
        """Whether the client sees the end of the connection after what was written."""
        return self.half_closed or self.lost or self.aborted


@define(eq=False)
class Collector:
    """A sink that keeps what it got."""

    then: Callable[[bytes], object] = lambda data: None
    pieces: list[bytes] = Factory(list)
    done: int = 0
    reasons: list[str] = Factory(list)

    def received(self, data: bytes) -> None:
        assert data and not self.done and not self.reasons
        self.pieces.append(data)

    def finished(self) -> None:
        assert not self.done and not self.reasons
        self.done += 1
        self.then(self.data)

    def failed(self, reason: str) -> None:
        assert not self.done and not self.reasons
        self.reasons.append(reason)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


@define(eq=False)
class Pieces:
    """A Source of given pieces: bytes, exceptions to raise, or Deferreds."""

    pieces: list[Any]
    length: int = -1
    closed: int = 0
    reads: int = 0

    def __attrs_post_init__(self) -> None:
        if self.length < 0:
            self.length = sum(len(piece) for piece in self.pieces)

    def read(self) -> bytes | Deferred[bytes]:
        assert not self.closed
        self.reads += 1
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        result: bytes | Deferred[bytes] = piece
        return result

    def close(self) -> None:
        self.closed += 1


class Store:
    """An application like the real one as far as wire can tell.

    PUT and POST keep the body and answer 200; GET gives it back; `/waiting` is never answered;
    `/refused` is answered 409 at once; other methods get 405.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.kept: dict[str, bytes] = {}
        self.sinks: list[Collector] = []

    def __call__(self, request: Request) -> None:
        self.requests.append(request)
        if request.path == "/waiting":
            return
        if request.path == "/refused":
            request.respond(409, [], b"no")
        elif request.method in ("PUT", "POST"):

            def keep(data: bytes) -> None:
                self.kept[request.path] = data
                request.respond(200, [], b"")

            sink = Collector(keep)
            self.sinks.append(sink)
            request.body.deliver(sink)
        elif request.path == "*" and request.method == "OPTIONS":
            request.respond(200, [(b"allow", b"GET")], b"")
        elif request.method in ("GET", "HEAD"):
            request.respond(200, [], self.kept.get(request.path, request.path.encode()))
        elif request.method == "DELETE":
            request.respond(204, [], b"")
        else:
            request.respond(405, [(b"allow", b"GET")], b"")


class Patient(Store):
    """Waits for the whole body of whatever comes, and only then answers."""

    def __call__(self, request: Request) -> None:
        self.requests.append(request)
        request.body.deliver(Collector(lambda data: request.respond(200, [], data)))


@define
class Response:
    """One response as a client reads it."""

    code: int
    headers: dict[str, str]
    body: bytes


def read_responses(data: bytes, methods: Iterable[str] = ()) -> list[Response]:
    """Every response in `data`, strictly; `methods` are those of the requests (for HEAD)."""
    found = []
    asked = iter(methods)
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, f"no end of head: {head!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        version, code, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        for line in lines:
            name, value = line.split(": ", 1)
            assert name.lower() not in headers, name
            headers[name.lower()] = value
        method = "GET" if code == "100" else next(asked, "GET")
        length = int(headers.get("content-length", "0"))
        if method == "HEAD" or code in ("100", "204", "304"):
            length = 0
        elif headers.get("transfer-encoding") == "chunked":
            body, data = _read_chunks(data)
            found.append(Response(int(code), headers, body))
            continue
        else:
            assert "content-length" in headers
        assert len(data) >= length, "a short response"
        found.append(Response(int(code), headers, data[:length]))
        data = data[length:]
    return found


def _read_chunks(data: bytes) -> tuple[bytes, bytes]:
    """A chunked body, strictly, and what is behind it."""
    body = b""
    while True:
        size, end, data = data.partition(b"\r\n")
        assert end and size == b"%x" % int(size, 16), f"no chunk: {size!r}"
        length = int(size, 16)
        assert data[length : length + 2] == b"\r\n", "a short chunk"
        body, data = body + data[:length], data[length + 2 :]
        if not length:
            return body, data


class Client:
    """One connection to a factory on a Clock."""

    def __init__(
        self,
        app: Callable[[Request], None] | None = None,
        limits: Limits | None = None,
        factory: HTTPFactory | None = None,
        peer: object = None,
        host: object = None,
    ) -> None:
        self.app: Any = app if app is not None else Store()
        self.clock = Turning()
        if factory is None:
            factory = HTTPFactory(self.app, limits or Limits(), self.clock, wall=lambda: 784111777)
            factory.new_id = lambda: ID
        else:
            self.clock = factory.clock  # type: ignore[assignment]
        self.factory = factory
        connection = factory.buildProtocol(None)
        assert isinstance(connection, Connection)
        self.connection = connection
        self.wire = Wire(peer, host)
        connection.makeConnection(self.wire)

    def send(self, data: bytes, size: int = 65536) -> None:
        """Send bytes, `size` at a time, as a socket would give them: not while it is paused."""
        while data:
            assert not self.wire.paused, "nothing is read while the socket is paused"
            piece, data = data[:size], data[size:]
            self.connection.dataReceived(piece)
            self.settle()

    def send_split(self, data: bytes, sizes: Iterable[int]) -> None:
        """Send bytes in pieces of these sizes, then the rest, while they are taken."""
        for size in [*sizes, len(data)]:
            if not data or self.wire.ending or self.wire.paused:
                return
            self.connection.dataReceived(data[:size])
            self.settle()
            data = data[size:]

    def drain(self) -> None:
        """The client takes everything that was written."""
        assert self.wire.producer is not None
        self.wire.producer.resumeProducing()

    def settle(self) -> None:
        """Let the reactor turn until nobody waits for it."""
        while len(self.factory.turns):
            self.clock.turn()

    def end(self) -> None:
        """The client half-closes."""
        self.connection.readConnectionLost()

    def lose(self) -> None:
        """The transport is gone."""
        self.connection.connectionLost(Failure(ConnectionError()))

    def wait(self, seconds: int) -> None:
        """Let time pass, a second at a time, as a reactor that keeps up would."""
        self.clock.pump([1] * seconds)

    @property
    def requests(self) -> list[Request]:
        requests: list[Request] = self.app.requests
        return requests

    def responses(self, *methods: str) -> list[Response]:
        return read_responses(self.wire.value(), methods)

    @property
    def codes(self) -> list[int]:
        return [each.code for each in self.responses(*(each.method for each in self.requests))]


def random_sizes(seed: int, total: int) -> list[int]:
    """Sizes of pieces that add up to `total` or more."""
    chosen = random.Random(seed)
    sizes: list[int] = []
    while sum(sizes) < total:
        sizes.append(chosen.choice([1, 2, 3, 5, 8, 40, 200, 5000]))
    return sizes


# A second reading of requests, as slow and as plain as can be, to compare with.

_TOKEN = set(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = set(b"0123456789")
_VERSIONS = [b"HTTP/1.%d" % minor for minor in range(10)]
_HEX = set(b"0123456789abcdefABCDEF")


def _is(data: bytes, allowed: set[int]) -> bool:
    return bool(data) and set(data) <= allowed


def _read_strict_head(head: bytes) -> int | str | None:
    """The body's size, None if chunked, "bad" if the head is not one; `head` ends in CRLFCRLF."""
    lines = head[:-4].split(b"\r\n")
    words = lines[0].split(b" ")
    if len(words) != 3 or words[2] not in _VERSIONS:
        return "bad"
    if not _is(words[0], _TOKEN) or not words[1] or min(words[1]) < 33 or 127 in words[1]:
        return "bad"
    fields: dict[bytes, list[bytes]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _is(name, _TOKEN):
            return "bad"
        if any((each < 32 and each != 9) or each == 127 for each in value):
            return "bad"
        fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
    if len(fields.get(b"host", [])) != 1 and (words[2] != b"HTTP/1.0" or b"host" in fields):
        return "bad"
    lengths = fields.get(b"content-length", [])
    codings = fields.get(b"transfer-encoding", [])
    if codings:
        chunked = [each.lower().lstrip(b", \t") for each in codings] == [b"chunked"]
        return None if chunked and not lengths and words[2] != b"HTTP/1.0" else "bad"
    if not lengths:
        return 0
    return int(lengths[0]) if len(lengths) == 1 and _is(lengths[0], _DIGITS) else "bad"


def _strict_chunks_end(data: bytes) -> int | None:
    """Where a chunked body ends; None if it does not, or is not one."""
    position = 0
    while True:
        line, end, _ = data[position:].partition(b"\r\n")
        size, semicolon, _ = line.partition(b";")
        size = size.rstrip(b" \t") if semicolon else size
        if not end or not _is(size, _HEX):
            return None
        position += len(line) + 2
        if int(size, 16) == 0:
            break
        position += int(size, 16)
        if data[position : position + 2] != b"\r\n":
            return None
        position += 2
    while True:
        line, end, _ = data[position:].partition(b"\r\n")
        if not end:
            return None
        position += len(line) + 2
        if not line:
            return position


def strict_count(data: bytes) -> int:
    """How many requests a strict reader can find in `data`, at most."""
    count = 0
    while True:
        if data.startswith(b"\r\n"):
            data = data[2:]
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return count
        size = _read_strict_head(data[: end + 4])
        if isinstance(size, str):
            return count
        count += 1
        data = data[end + 4 :]
        if size is None:
            size = _strict_chunks_end(data)
            if size is None:
                return count
        elif size > len(data):
            return count
        data = data[size:]


def responder(
    code: int, headers: Sequence[tuple[bytes, bytes]], make: Callable[[], bytes | Source]
) -> Callable[[Request], None]:
    """An application that answers everything the same."""

    def respond(request: Request) -> None:
        request.respond(code, headers, make())

    return respond
