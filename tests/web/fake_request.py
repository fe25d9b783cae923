"""A request that came over no wire, and what it was answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from gostore.wire.head import Headers


class Sink(Protocol):
    """What takes a body."""

    def received(self, data: bytes) -> None: ...

    def finished(self) -> None: ...

    def failed(self, reason: str) -> None: ...


class FakeBody:
    """A body that is here already, delivered at once; or, with ``open``, as the test says.

    It is in chunks if ``open``, or if it has a ``trailer``.
    """

    sender: str | None = None
    origin = ""

    def __init__(
        self, data: bytes = b"", *, open: bool = False, trailer: Headers | None = None
    ) -> None:
        self.data = data
        self.length: int | None = None if open or trailer is not None else len(data)
        self.open = open
        self.complete = not open
        self.trailer = trailer if trailer is not None else Headers.of([])
        self.sink: Sink | None = None

    @property
    def delivered(self) -> bool:
        """Whether anybody asked for it."""
        return self.sink is not None

    def deliver(self, sink: Sink) -> None:
        assert self.sink is None, "delivered twice"
        self.sink = sink
        if self.data:
            sink.received(self.data)
        if not self.open:
            sink.finished()

    def pauseProducing(self) -> None:
        """Nothing comes by itself."""

    def resumeProducing(self) -> None:
        """Nothing comes by itself."""


class FakeRequest:
    """A request, and its answer once it has one: ``code``, ``headers``, ``content``, ``length``.

    PATCH, POST and PUT say how long their body is, if ``framed``. ``informed`` has the
    codes and the fields of what it was told before the answer.
    """

    def __init__(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: FakeBody | bytes = b"",
        *,
        framed: bool = True,
    ) -> None:
        self.method = method
        self.target = target.encode("ascii")
        self.path, _, self.query = target.partition("?")
        self.version = (1, 1)
        pairs = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ]
        self.body = body if isinstance(body, FakeBody) else FakeBody(body)
        if framed and method in ("PATCH", "POST", "PUT"):
            length = self.body.length
            pairs.append(
                (b"transfer-encoding", b"chunked")
                if length is None
                else (b"content-length", b"%d" % length)
            )
        joined: dict[bytes, bytes] = {}
        for name, value in pairs:
            joined[name] = joined[name] + b", " + value if name in joined else value
        self.headers = Headers(pairs, joined)
        self.id = b"1b4e28ba-2fa1-41d2-883f-0016d3cca427"
        self.reason = ""
        self.is_secure = False
        self.principal: Any = None
        self.forwarded: Any = None
        self.server: object = IPv4Address("TCP", "192.0.2.1", 7777)
        self.code: int | None = None
        self.informed: list[tuple[int, dict[str, str]]] = []
        #: The client's address, if a test gives it one.
        self.client: Any = None
        #: Set by a test whose client goes away.
        self.is_gone = False
        self.source: Any = None
        self._content: bytes | None = None
        self._fields: list[tuple[bytes, bytes]] = []

    @property
    def is_awaited(self) -> bool:
        """Whether the client waits for an answer."""
        return self.code is None and not self.is_gone

    def respond(self, code: int, headers: Sequence[tuple[bytes, bytes]], body: Any) -> None:
        """Take the answer, as wire would; a source is read when the test asks."""
        if not self.is_awaited:
            if not isinstance(body, bytes):
                body.close()
            return
        for name, value in headers:
            assert isinstance(name, bytes) and isinstance(value, bytes)
            assert not set(value) & set(b"\r\n\x00"), "header injection"
        self.code = code
        self._fields = list(headers)
        if isinstance(body, bytes):
            self._content = body
            self.length = len(body)
        else:
            self.source = body
            self.length = body.length
            if self.method == "HEAD":
                self._content = b""
                body.close()

    def inform(self, code: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take what comes before the answer."""
        if self.is_awaited:
            fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
            self.informed.append((code, fields))

    @property
    def answer(self) -> dict[str, str]:
        """The header fields of the answer; a name that comes twice is a bug."""
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._fields}
        assert len(fields) == len(self._fields)
        return fields

    @property
    def content(self) -> bytes:
        """The body of the answer."""
        if self._content is None:
            pieces = []
            left = self.source.length
            while left is None or left > 0:
                piece = self.source.read()
                if isinstance(piece, Deferred):
                    piece = piece.result
                assert isinstance(piece, bytes)
                if left is None and not piece:
                    break
                assert piece, "less than was announced"
                pieces.append(piece)
                if left is not None:
                    left -= len(piece)
            assert not left, "more than was announced"
            self.source.close()
            self._content = b"".join(pieces)
        return self._content

    @property
    def error(self) -> str:
        """The text of an answer that is an error."""
        assert self.answer["content-type"] == "application/json"
        said = json.loads(self.content)
        assert said["code"] == self.code and self.content.count(b"\n") <= 1
        text = said["text"]
        assert isinstance(text, str)
        return text
