"""The cases of h1spec (github.com/uNetworking/h1spec), which is no package, as a table.

h1spec asks for ``/`` of a server that echoes; here a blob is asked for. A case is what is sent at
once and the statuses that are allowed for the first answer; None if there must not be one, because
the request is not complete.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.bad_inputs import Conversation
from tests.e2e.daemon import Daemon

GET = "GET /store/foo HTTP/1.1\r\n"
HOST = "Host: localhost\r\n"
OK = range(200, 300)
REFUSED = range(400, 500)
FAILED = range(400, 600)

_WHOLE = "GET /store/foo HTTP/1.1\r\nHost: localhost\r\n\r"

#: Where a request is cut, and at what length of the whole one; one byte is missing at the last.
FRAGMENTS = {
    "Fragmented method": 1,
    "Fragmented URL 1": len("GET "),
    "Fragmented URL 2": len("GET /store/foo"),
    "Fragmented URL 3": len("GET /store/foo "),
    "Fragmented HTTP version": len("GET /store/foo HTTP"),
    "Fragmented request line": len("GET /store/foo HTTP/1.1"),
    "Fragmented request line newline 1": len("GET /store/foo HTTP/1.1\r"),
    "Fragmented request line newline 2": len(GET),
    "Fragmented field name": len(GET) + len("Hos"),
    "Fragmented field value 1": len(GET) + len("Host:"),
    "Fragmented field value 2": len(GET) + len("Host: "),
    "Fragmented field value 3": len(GET) + len("Host: localhost"),
    "Fragmented field value 4": len(GET) + len("Host: localhost\r"),
    "Fragmented request": len(GET) + len("Host: localhost\r\n"),
    "Fragmented request termination": len(_WHOLE),
}

CASES = {
    **{name: (_WHOLE[:length], None) for name, length in FRAGMENTS.items()},
    "Request without HTTP version": ("GET /store/foo \r\n\r\n", FAILED),
    "Request with Expect header": (GET + HOST + "Expect: 100-continue\r\n\r\n", (100, *OK)),
    "Valid GET request": (GET + HOST + "\r\n", OK),
    "Valid GET request with edge cases": (GET + "hoSt:\tlocalhost\r\nempty:\r\n\r\n", OK),
    "Invalid header characters": (GET + HOST + "X-Invalid[]: test\r\n\r\n", REFUSED),
    "Missing Host header": (GET + "Content-Length: 5\r\n\r\n", REFUSED),
    "Multiple Host headers": (GET + HOST + "Host: example.org\r\n\r\n", REFUSED),
    "Overflowing negative Content-Length header": (
        GET + HOST + "Content-Length: -123456789123456789123456789\r\n\r\n",
        REFUSED,
    ),
    "Negative Content-Length header": (GET + HOST + "Content-Length: -1234\r\n\r\n", REFUSED),
    "Non-numeric Content-Length header": (GET + HOST + "Content-Length: abc\r\n\r\n", REFUSED),
    "Empty header value": (GET + HOST + "X-Empty-Header: \r\n\r\n", OK),
    "Header containing invalid control character": (
        GET + HOST + "X-Bad-Control-Char: test\x07\r\n\r\n",
        REFUSED,
    ),
    "Invalid HTTP version": ("GET /store/foo HTTP/9.9\r\n" + HOST + "\r\n", FAILED),
    "Invalid prefix of request": ("Extra line" + GET + HOST + "\r\n", FAILED),
    "Invalid line ending": (GET + HOST + "\rSome-Header: Test\r\n\r\n", REFUSED),
    "Valid POST request with body": (
        "POST /store/bar HTTP/1.1\r\n" + HOST + "Content-Length: 5\r\n\r\nhello",
        (*OK, 404),
    ),
    "Chunked Transfer-Encoding": (
        "POST /store/baz HTTP/1.1\r\n"
        + HOST
        + "Transfer-Encoding: chunked\r\n\r\nc\r\nHello world1\r\n0\r\n\r\n",
        OK,
    ),
    "Conflicting Transfer-Encoding and Content-Length": (
        GET + HOST + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        REFUSED,
    ),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all cases, with a blob to ask for."""
    daemon = Daemon(tmp_path_factory.mktemp("h1spec") / "data").start()
    assert daemon.ask("POST", "foo", b"hello").status == 204
    yield daemon
    daemon.close()


def test_all_are_there() -> None:
    """h1spec has 33 cases."""
    assert len(CASES) == 33


@pytest.mark.parametrize("name", CASES)
def test_h1spec(name: str, served: Daemon) -> None:
    """A case gets the answer that h1spec allows; half a request gets none, until it is whole."""
    sent, wanted = CASES[name]
    conversation = Conversation(served.port)
    try:
        conversation.send(sent.encode())
        if wanted is None:
            conversation.read_to_end(0.05)
            assert not conversation.ended and not conversation.answers
            conversation.send((_WHOLE + "\n")[len(sent) :].encode())
        conversation.read(1)
        assert conversation.answers[0].status in (wanted or OK)
    finally:
        conversation.close()
