"""Requests with hostile fields, through the wire and the routes to a store in memory."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher

import gostore
from gostore.web.browsers import Browsers
from gostore.web.dispatch import Dispatcher
from gostore.wire import Request
from tests.store.memory_store import MemoryStore
from tests.web.support import routes
from tests.wire.support import Client, Response, Turning, read_responses

PACKAGE = Path(gostore.__file__).parent

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS")

TARGETS = (
    "/store/a",
    "/store/b/c",
    "/store/",
    "/store/b/",
    "/store/?format=html",
    "/store/?format=text&limit=1",
    "/healthz",
    "/openapi.json",
    "/",
    "/healthz?verbose",
    "http://localhost/store/a",
    "*",
)

VALUES = (
    b"",
    b"*",
    b",",
    b", , ,",
    b"\xff\x80",
    b'"',
    b"W/",
    b'W/"',
    b"=",
    b"bytes=",
    b"bytes=-",
    b"bytes=0-0,-1",
    b"sha-256=",
    b"sha-256=:AA",
    b"sha-256=@99999999999999999999",
    b'a=%"%ff"',
    b"a=9999999999999999",
    b"a=1.",
    b"text/html;q=9e999",
    b"text/html;q=\xb2",
    b"*/*;a*=utf-8''%ff",
    b"a/b; c*0*=x; c*1=y",
    b"Tue, 08 Oct 44464130000 00:56:40 GMT",
    b"Tue, 99999999999 Oct 2024 00:56:40 GMT",
    b"Tue, 08 Oct 2024 99999999999:56:40 GMT",
    b"Tue, 08 Oct 2024 00:99999999999:40 GMT",
    b"Tue, 08 Oct 2024 00:56:99999999999 GMT",
    b"Tue, 08 Oct 2024 00:56:40 +99999999999",
    b"Tue, 08 Oct 2024 00:56:40 -0001",
    b"Fri, 31 Dec 9999 23:59:59 -2359",
    b"Mon, 01 Jan 0001 00:00:00 +2359",
    b"Mon, 01 Jan 1 00:00:00 GMT",
    b"Tue Oct  8 00:56:40 44464130000",
    b"Tuesday, 08-Oct-99999999999 00:56:40 GMT",
    "٠١٢, ²".encode(),
    b"-" * 300,
    b"a," * 3000,
    b'"' + b"\\" * 5000,
    b"(" * 5000,
    b"a=(" + b"1 " * 3000,
    b"a;" * 3000,
)
"""Values that some parser has stumbled over, or might."""


def known_fields() -> list[str]:
    """Every name of a header field in the source of the web and the wire."""
    names = set()
    for room in ("web", "wire"):
        for path in sorted((PACKAGE / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                value = getattr(node, "value", None)
                if isinstance(value, bytes) and re.fullmatch(
                    b"[a-z][a-z0-9]*(-[a-z0-9]+)*-?", value
                ):
                    names.add(value.decode())
    return sorted(names)


class Served:
    """Answers bytes as a daemon does, from a store in memory with two blobs in it."""

    def __init__(self) -> None:
        self.clock = Turning()
        store = MemoryStore()
        store.add("a", b"0123456789", metadata={"cache-control": "no-store"})
        store.add("b/c", b"")
        browsers = Browsers(["localhost", "*.localhost"])
        self.dispatcher = Dispatcher(routes(store, put_creates=True, clock=self.clock), browsers)
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> None:
        """Dispatch a request."""
        self.requests.append(request)
        self.dispatcher.dispatch(request)

    def ask(self, method: str, target: str, fields: Iterable[tuple[str, bytes]]) -> Response | None:
        """The answer to a request with these fields; None if it waits for a body.

        Raises AssertionError for a 5xx, other than 501 and 505, and for anything in the log that
        is more than information.
        """
        lines = [f"{name}: ".encode() + value for name, value in fields]
        if not any(line.lower().startswith(b"host:") for line in lines):
            lines.append(b"Host: localhost")
        head = b"\r\n".join([f"{method} {target} HTTP/1.1".encode(), *lines, b"", b""])
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        try:
            client = Client(self)
            client.send_split(head, ())
            for _ in range(20):
                self.clock.advance(1)
            answers = [each for each in self._read(client, method) if each.code != 100]
            client.lose()
        finally:
            globalLogPublisher.removeObserver(observer)
        for event in events:
            assert event.get("log_level", LogLevel.info) <= LogLevel.info, (event, head)
        if not answers:
            return None
        assert answers[0].code < 500 or answers[0].code in (501, 505), (answers[0], head)
        return answers[0]

    def _read(self, client: Client, method: str) -> list[Response]:
        try:
            return read_responses(client.wire.value(), [method] * 9)
        except AssertionError:
            # The wire refuses a HEAD before it is a request, and then answers with a body.
            return read_responses(client.wire.value())


def fields_of(data: bytes, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Header fields made of any bytes: a line for each, its first byte chooses the name."""
    for line in data.split(b"\n")[:50]:
        if line:
            yield names[line[0] % len(names)], line[1:].translate(None, _NEVER_ON_THE_WIRE)


_NEVER_ON_THE_WIRE = bytes({*range(32), 127} - {9})
