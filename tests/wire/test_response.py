"""gostore.wire.response: what the client sees of a response."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gostore.errors import Damaged, DiskFailed
from gostore.wire import ERROR_HEADERS, Exchange, HTTPFactory, Limits, Request, error_body
from gostore.wire.response import PreparedFields, Sending, Stretch, response_head
from tests.wire.support import (
    GET,
    Client,
    Pieces,
    Store,
    chunked,
    head,
    lengths,
    responder,
)


class ResponseTests(SynchronousTestCase):
    """What the client sees of a response."""

    def answer(self, app: Callable[[Request], None], sent: bytes = GET) -> Client:
        """A client that has sent a request."""
        client = Client(app)
        client.send(sent)
        return client

    def test_head(self) -> None:
        """The application's fields, and Date, Server and Content-Length."""
        client = self.answer(responder(201, [(b"etag", b'"x"')], lambda: b"abc"))
        self.assertEqual(
            client.wire.value(),
            b'HTTP/1.1 201 Created\r\nETag: "x"\r\nContent-Length: 3\r\n'
            b"X-Request-Id: 1b4e28ba-2fa1-41d2-883f-0016d3cca427\r\n"
            b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: gostore\r\n\r\nabc",
        )
        self.assertEqual(client.wire.writes, 1)

    def test_date_moves(self) -> None:
        """Date follows the wall clock, a second behind at most (RFC 9110 section 6.6.1)."""
        clock = Clock()
        app = responder(200, [], lambda: b"")
        factory = HTTPFactory(app, Limits(), clock, wall=lambda: 784111777 + clock.seconds())
        client = Client(app, factory=factory)
        client.wait(30)
        client.send(GET)
        self.assertEqual(client.responses()[0].headers["date"], "Sun, 06 Nov 1994 08:50:07 GMT")

    def test_no_date(self) -> None:
        """A clock that cannot be told gives no Date (RFC 9110 section 6.6.1)."""

        def wall() -> float:
            raise OverflowError("timestamp too large to convert to C _PyTime_t")

        app = responder(200, [], lambda: b"")
        client = Client(app, factory=HTTPFactory(app, Limits(), Clock(), wall=wall))
        client.send(GET)
        self.assertNotIn("date", client.responses()[0].headers)
        self.assertEqual(client.responses()[0].headers["server"], "gostore")

    def test_no_content(self) -> None:
        """204 and 304 have no body and no length of one (RFC 9110 section 8.6)."""
        for code in (204, 304):
            source = Pieces([b"abc"])
            client = self.answer(responder(code, [], lambda source=source: source))  # type: ignore[misc]
            self.assertNotIn(b"Content-Length", client.wire.value())
            self.assertTrue(client.wire.value().endswith(b"\r\n\r\n"))
            self.assertEqual((source.reads, source.closed), (0, 1))

    def test_unknown_code(self) -> None:
        """A code without a phrase is a status line, too (RFC 9112 section 4)."""
        client = self.answer(responder(299, [], lambda: b""))
        self.assertTrue(client.wire.value().startswith(b"HTTP/1.1 299 \r\n"))

    def test_head_method(self) -> None:
        """HEAD gets the head that GET gets, and no body (RFC 9110 section 9.3.2)."""
        source = Pieces([b"abc"])
        for body in (source, b"abc"):
            client = self.answer(
                responder(200, [], lambda body=body: body),  # type: ignore[misc]
                head(line=b"HEAD /a HTTP/1.1"),
            )
            self.assertIn(b"Content-Length: 3\r\n", client.wire.value())
            self.assertTrue(client.wire.value().endswith(b"\r\n\r\n"))
        self.assertEqual((source.reads, source.closed), (0, 1))

    def test_http_1_0(self) -> None:
        """HTTP/1.0 is kept alive only when asked for, and told so (RFC 9112 section 9.3)."""
        client = Client()
        client.send(head(b"Connection: Keep-Alive", line=b"GET /a HTTP/1.0", host=b""))
        self.assertEqual(client.responses()[0].headers["connection"], "keep-alive")
        self.assertFalse(client.wire.ending)
        client.send(head(line=b"GET /a HTTP/1.0", host=b""))
        self.assertEqual(client.responses()[1].headers["connection"], "close")
        self.assertTrue(client.wire.lost)

    def test_once(self) -> None:
        """A second answer is ignored, also when the next request is being answered."""
        client = Client()
        client.send(head(line=b"GET /waiting HTTP/1.1"))
        client.send(head(line=b"GET /waiting HTTP/1.1"))
        first = client.requests[0]
        first.respond(200, [], b"one")
        source = Pieces([b"two"])
        first.respond(200, [], source)
        self.assertEqual([each.body for each in client.responses()], [b"one"])
        self.assertEqual(source.closed, 1)

    def test_after_the_client(self) -> None:
        """An answer to a client that is gone is ignored, and its source closed."""
        client = Client()
        client.send(head(line=b"GET /waiting HTTP/1.1"))
        client.lose()
        source = Pieces([b"two"])
        client.requests[0].respond(200, [], source)
        self.assertEqual(source.closed, 1)
        self.assertEqual(client.wire.value(), b"")

    def test_line_end_in_field(self) -> None:
        """A line end in a field of the application's is its error, and never sent."""
        for value in (b"a\r\nb: c", b"a\nb", b"a\r"):
            source = Pieces([b"x"])
            app = responder(200, [(b"x", value)], lambda source=source: source)  # type: ignore[misc]
            client = self.answer(app)
            self.assertEqual([each.code for each in client.responses()], [500])
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
            self.assertEqual(source.closed, 1)

    def test_broken_application(self) -> None:
        """An exception of the application is logged and answered with 500, and no more."""

        def app(request: Request) -> None:
            raise RuntimeError("secret")

        client = self.answer(app, GET + GET)
        self.assertEqual([each.code for each in client.responses()], [500])
        self.assertNotIn(b"secret", client.wire.value())
        self.assertTrue(client.wire.half_closed)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_broken_after_answer(self) -> None:
        """An exception after the answer was written is logged, and the answer stands."""

        def app(request: Request) -> None:
            request.respond(200, [], b"ok")
            raise RuntimeError

        client = self.answer(app)
        self.assertEqual([each.code for each in client.responses()], [200])
        self.assertFalse(client.wire.ending)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_broken_while_answering(self) -> None:
        """An exception while the answer is being sent aborts the connection."""
        source = Pieces([b"a", Deferred(), b"b"], length=3)

        def app(request: Request) -> None:
            request.respond(200, [], source)
            raise RuntimeError

        client = self.answer(app)
        self.assertTrue(client.wire.aborted)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def told(self, app: Callable[[Request], None], sent: bytes) -> tuple[Client, list[Exchange]]:
        """A client that has sent requests, and what the factory tells of the answers."""
        told: list[Exchange] = []
        factory = HTTPFactory(app, Limits(), Clock(), answered=told.append)
        client = Client(app, factory=factory)
        client.send(sent)
        return client, told

    def test_answered(self) -> None:
        """The factory tells of an answer when it has ended: bytes sent, seconds taken."""
        later: Deferred[bytes] = Deferred()
        client, told = self.told(responder(200, [], lambda: Pieces([b"ab", later], length=5)), GET)
        client.wait(3)
        self.assertEqual(told, [])
        later.callback(b"cde")
        [exchange] = told
        self.assertEqual((exchange.code, exchange.sent, exchange.seconds), (200, 5, 3))
        self.assertEqual((exchange.is_cut_off, exchange.reason), (False, ""))
        self.assertEqual(exchange.client, IPv4Address("TCP", "192.0.2.1", 4000))
        assert exchange.request is not None
        self.assertEqual(exchange.request.target, b"/a")

    def test_answered_in_a_pipeline(self) -> None:
        """It tells of pipelined answers in order, each with the bytes of its own body."""
        sent = (
            lengths(b"5") + GET + head(line=b"HEAD /a HTTP/1.1") + head(line=b"DELETE /a HTTP/1.1")
        )
        _, told = self.told(Store(), sent)
        self.assertEqual(
            [(each.code, each.sent) for each in told], [(200, 0), (200, 5), (200, 0), (204, 0)]
        )

    def test_answered_cut_off(self) -> None:
        """It tells once of an answer that the client did not get in full, and calls it cut off."""
        for gone in (True, False):
            later: Deferred[bytes] = Deferred()
            source = Pieces([b"ab", later], length=5)
            client, told = self.told(responder(200, [], lambda source=source: source), GET)  # type: ignore[misc]
            if gone:
                client.lose()
                later.callback(b"cde")
            else:
                later.errback(Failure(OSError()))  # type: ignore[no-untyped-call]
                client.lose()
                self.flushLoggedErrors(OSError)
            self.assertEqual(
                [(each.code, each.sent, each.is_cut_off) for each in told], [(200, 2, True)]
            )

    def test_never_answered(self) -> None:
        """It tells of a request whose client went before the answer, with the code 0, once."""
        for answer in (False, True):
            client, told = self.told(Store(), head(line=b"GET /waiting HTTP/1.1"))
            client.wait(3)
            self.assertEqual(told, [])
            if answer:
                client.connection.abort()
            client.lose()
            client.requests[0].respond(200, [], b"late")
            [exchange] = told
            self.assertEqual((exchange.code, exchange.sent, exchange.seconds), (0, 0, 3))
            self.assertTrue(exchange.is_cut_off)
            self.assertIs(exchange.request, client.requests[0])

    def test_answered_refusal(self) -> None:
        """The wire tells of its own refusals, too, with the reason and without a request."""
        client, told = self.told(Store(), GET + head(b"X: \x00"))
        self.assertEqual(client.codes, [200, 400])
        self.assertEqual([each.code for each in told], [200, 400])
        self.assertIsNone(told[1].request)
        self.assertEqual(told[1].sent, len(client.responses()[1].body))
        self.assertEqual(told[1].reason, "Malformed header field")

    def test_answered_bad_body(self) -> None:
        """It tells of a bad body together with its request."""
        client, told = self.told(Store(), chunked(b"x"))
        self.assertEqual([(each.code, each.reason) for each in told], [(400, "Malformed chunk")])
        client, told = self.told(Store(), head(b"Content-Length: 5", line=b"PUT /waiting HTTP/1.1"))
        client.wait(60)
        [exchange] = told
        self.assertEqual(exchange.code, 408)
        assert exchange.request is not None
        self.assertEqual(exchange.request.path, "/waiting")

    def test_answered_unread_source(self) -> None:
        """It tells of the 500 that the client gets for a source that cannot be read."""
        _, told = self.told(responder(200, [], lambda: Pieces([OSError()], length=5)), GET)
        self.assertEqual([(each.code, each.is_cut_off) for each in told], [(500, False)])
        self.flushLoggedErrors(OSError)

    def test_answered_raises(self) -> None:
        """An exception of the function that it tells is logged, and the connection goes on."""

        def answered(exchange: Exchange) -> None:
            raise RuntimeError

        app = Store()
        client = Client(app, factory=HTTPFactory(app, Limits(), Clock(), answered=answered))
        client.send(GET + GET)
        self.assertEqual(client.codes, [200, 200])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)


class SourceTests(SynchronousTestCase):
    """Responses that are streamed."""

    def answer(self, source: Pieces, sent: bytes = GET) -> Client:
        """A client that has sent a request, and gets this source."""
        client = Client(responder(200, [], lambda: source))
        client.send(sent)
        return client

    def test_pieces(self) -> None:
        """Pieces go out in order, whether they are here or come later; the source is closed."""
        later: Deferred[bytes] = Deferred()
        source = Pieces([b"ab", later, b"e"], length=5)
        client = self.answer(source)
        self.assertTrue(client.wire.value().endswith(b"\r\n\r\nab"))
        self.assertEqual(source.closed, 0)
        later.callback(b"cd")
        self.assertEqual([each.body for each in client.responses()], [b"abcde"])
        self.assertEqual(source.closed, 1)

    def test_small_is_one_write(self) -> None:
        """Head and a small body are one write."""
        client = self.answer(Pieces([b"abc"]))
        self.assertEqual(client.wire.writes, 1)

    def test_large_piece(self) -> None:
        """A large piece is not copied to its head."""
        for body in (b"x" * 100000, Pieces([b"x" * 100000])):
            client = Client(responder(200, [], lambda body=body: body))  # type: ignore[misc]
            client.send(GET)
            self.assertEqual(client.responses()[0].body, b"x" * 100000)

    def test_empty(self) -> None:
        """An empty source is not read."""
        source = Pieces([])
        client = self.answer(source)
        self.assertEqual([each.body for each in client.responses()], [b""])
        self.assertEqual((source.reads, source.closed), (0, 1))

    def test_many_sync_pieces(self) -> None:
        """Thousands of pieces that are here, or that fire at once, need no deep stack."""
        done: Deferred[bytes] = Deferred()
        done.callback(b"z")
        for piece in (b"z", None):
            pieces: list[Any] = []
            for _ in range(5000):
                fired: Deferred[bytes] = Deferred()
                fired.callback(b"z")
                pieces.append(piece or fired)
            client = self.answer(Pieces(pieces, length=5000))
            self.assertEqual(client.responses()[0].body, b"z" * 5000)

    def test_next_request(self) -> None:
        """The next request waits until the response is out."""
        later: Deferred[bytes] = Deferred()
        sources = [Pieces([later], length=2), Pieces([b"cd"])]
        client = Client(responder(200, [], lambda: sources.pop(0)))
        client.send(GET + GET)
        self.assertEqual(len(sources), 1)
        later.callback(b"ab")
        self.assertEqual([each.body for each in client.responses()], [b"ab", b"cd"])

    def test_fails_before_head(self) -> None:
        """A source that cannot be read at all is answered with 500."""
        both: list[Any] = [OSError(), Deferred()]
        for fails in both:
            source = Pieces([fails], length=5)
            client = self.answer(source)
            if isinstance(fails, Deferred):
                self.assertEqual(client.wire.value(), b"")
                fails.errback(Failure(OSError()))  # type: ignore[no-untyped-call]
            self.assertEqual([each.code for each in client.responses()], [500])
            self.assertEqual(source.closed, 1)
            self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_fails_after_head(self) -> None:
        """A source that fails half-way aborts the connection: never a whole-looking half."""
        both: list[Any] = [OSError(), Deferred()]
        for fails in both:
            source = Pieces([b"ab", fails], length=5)
            client = self.answer(source)
            if isinstance(fails, Deferred):
                fails.errback(Failure(OSError()))  # type: ignore[no-untyped-call]
            self.assertTrue(client.wire.aborted)
            self.assertFalse(client.wire.half_closed or client.wire.lost)
            self.assertTrue(client.wire.value().endswith(b"\r\n\r\nab"))
            self.assertEqual(source.closed, 1)
            self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
            client.lose()
            self.assertEqual(source.closed, 1)

    def test_wrong_sizes(self) -> None:
        """An empty piece, or more than was announced, is an error of the source's."""
        for piece in (b"", b"abcdef"):
            source = Pieces([b"a", piece], length=5)
            client = self.answer(source)
            self.assertTrue(client.wire.aborted)
            self.assertEqual(source.closed, 1)
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_close_fails(self) -> None:
        """A source that cannot be closed is logged, and the answer stands."""

        class Stuck(Pieces):
            def close(self) -> None:
                raise OSError

        client = self.answer(Stuck([b"abc"]))
        self.assertEqual([each.body for each in client.responses()], [b"abc"])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_client_gone(self) -> None:
        """When the client goes the source is closed, but not under a read that is due."""
        for fails in (False, True):
            later: Deferred[bytes] = Deferred()
            source = Pieces([b"a", later], length=9)
            client = self.answer(source)
            client.lose()
            self.assertEqual(source.closed, 0)
            if fails:
                later.errback(Failure(OSError()))  # type: ignore[no-untyped-call]
            else:
                later.callback(b"b")
            self.assertEqual(source.closed, 1)

    def test_client_gone_while_blocked(self) -> None:
        """When a slow client goes, the source is closed at once."""
        source = Pieces([b"a", b"b", b"c"], length=9)
        client = Client(responder(200, [], lambda: source))
        client.wire.blocks = True
        client.send(GET)
        self.assertEqual(source.reads, 1)
        client.lose()
        self.assertEqual(source.closed, 1)

    def test_back_pressure(self) -> None:
        """Row 48: no more is read than the client takes, one piece at a time."""
        source = Pieces([b"x" * 65536 for _ in range(10)])
        client = Client(responder(200, [], lambda: source))
        client.wire.blocks = True
        client.send(GET)
        self.assertEqual(source.reads, 1)
        client.wait(30)
        self.assertEqual(source.reads, 1)
        for reads in range(2, 11):
            client.drain()
            self.assertEqual(source.reads, reads)
        self.assertEqual(source.closed, 1)
        self.assertEqual(len(client.responses()[0].body), 655360)

    def test_pipeline_back_pressure(self) -> None:
        """A client that sends requests and takes no answers is not read on."""
        client = Client()
        client.wire.blocks = True
        client.send(GET * 10)
        self.assertEqual(len(client.requests), 1)
        self.assertTrue(client.wire.paused)
        for count in range(2, 11):
            client.drain()
            self.assertEqual(len(client.requests), count)
        self.assertFalse(client.wire.paused)

    def test_stalled_client(self) -> None:
        """Row 48: a client that takes nothing for a minute is cut off, and the source closed."""
        source = Pieces([b"a", b"b"])
        client = Client(responder(200, [], lambda: source))
        client.wire.blocks = True
        client.send(GET)
        client.wait(59)
        self.assertFalse(client.wire.aborted)
        client.wait(12)
        self.assertTrue(client.wire.aborted)
        self.assertEqual(source.closed, 1)

    def test_stall_is_not_shortened(self) -> None:
        """A stall lasts send_timeout at least, also if it begins right before a look at it."""
        source = Pieces([b"a", b"b"])
        client = Client(responder(200, [], lambda: source), limits=Limits(send_timeout=1))
        client.wire.blocks = True
        client.clock.advance(0.9)
        client.send(GET)
        client.clock.advance(0.1)
        self.assertFalse(client.wire.aborted)
        client.wait(1)
        self.assertTrue(client.wire.aborted)

    def test_slow_client(self) -> None:
        """A client that takes a little all the time is not cut off."""
        source = Pieces([b"a", b"b"])
        client = Client(responder(200, [], lambda: source))
        client.wire.blocks = True
        client.send(GET)
        for _ in range(10):
            client.wire.offset += 1
            client.wait(50)
        self.assertFalse(client.wire.aborted)
        client.drain()
        self.assertEqual(source.closed, 1)

    def test_stalled_at_close(self) -> None:
        """A client that does not take the last bytes, or does not close, is cut off."""
        client = Client()
        client.send(head(b"Connection: close", line=b"GET /a HTTP/1.1"))
        self.assertTrue(client.wire.lost)
        client.wait(59)
        self.assertFalse(client.wire.aborted)
        client.wait(12)
        self.assertTrue(client.wire.aborted)


class UnknownLengthTests(SynchronousTestCase):
    """A source that does not know its length (RFC 9112 sections 6.1 and 7.1)."""

    def client(self, *pieces: Any) -> tuple[Client, Pieces]:
        """A client of an application that answers with these pieces."""
        source = Pieces([*pieces, b""], 0)
        source.length = None  # type: ignore[assignment]
        return Client(responder(200, [], lambda: source)), source

    def test_chunked(self) -> None:
        """It comes in chunks, and the connection goes on."""
        later: Deferred[bytes] = Deferred()
        client, source = self.client(b"a" * 20, later, b"c")
        client.send(GET)
        later.callback(b"b")
        (response,) = client.responses()
        self.assertEqual(response.body, b"a" * 20 + b"bc")
        self.assertNotIn("content-length", response.headers)
        self.assertEqual(source.closed, 1)
        self.assertFalse(client.wire.ending)

    def test_empty(self) -> None:
        """With no piece there is the last chunk alone."""
        client, _ = self.client()
        client.send(GET)
        self.assertEqual(client.responses()[0].body, b"")

    def test_old_client(self) -> None:
        """A client of HTTP/1.0 gets it as it is, and the end of the connection is its end."""
        client, source = self.client(b"abc", b"def")
        client.send(head(b"Connection: keep-alive", line=b"GET /a HTTP/1.0"))
        fields, _, body = client.wire.value().partition(b"\r\n\r\n")
        self.assertEqual(body, b"abcdef")
        self.assertIn(b"Connection: close", fields)
        self.assertNotIn(b"Transfer-Encoding", fields)
        self.assertNotIn(b"Content-Length", fields)
        self.assertTrue(client.wire.ending)
        self.assertEqual(source.closed, 1)

    def test_head(self) -> None:
        """HEAD gets the fields of GET and reads nothing."""
        client, source = self.client(b"abc")
        client.send(head(line=b"HEAD /a HTTP/1.1"))
        (response,) = client.responses("HEAD")
        self.assertEqual(response.headers["transfer-encoding"], "chunked")
        self.assertEqual((source.reads, source.closed), (0, 1))
        self.assertFalse(client.wire.ending)

    def test_failure(self) -> None:
        """After a failure there is no last chunk: the client sees that it is not the end."""
        client, source = self.client(b"abc", fail(DiskFailed("EIO")))
        client.send(GET)
        self.assertTrue(client.wire.value().endswith(b"3\r\nabc\r\n"))
        self.assertTrue(client.wire.aborted)
        self.assertEqual(source.closed, 1)
        self.flushLoggedErrors()


class ErrorTests(SynchronousTestCase):
    """Errors that the wire answers with by itself."""

    def test_error_body(self) -> None:
        """An error of wire's own has the one-line JSON body that all errors have."""
        client = Client()
        client.send(head(host=b""))
        response = client.responses()[0]
        self.assertEqual(response.body, error_body(400, "A Host header field is required"))
        self.assertEqual(
            response.body, b'{"code": 400, "text": "A Host header field is required"}\n'
        )
        for name, value in ERROR_HEADERS:
            self.assertEqual(response.headers[name.decode()], value.decode())

    def test_error_body_is_one_line(self) -> None:
        """What a terminal obeys, or some readers take for the end of a line, is escaped."""
        text = "a\x85\x9b31m\u2028\u2029 é"
        body = error_body(404, text).decode()
        self.assertEqual(len(body.splitlines()), 1)
        self.assertFalse(set(body) & set("\x85\x9b\u2028\u2029"))
        self.assertEqual(json.loads(body)["text"], text)
        self.assertIn("é", body)

    def test_error_body_is_utf8(self) -> None:
        """A location in an error is readable, and a lone surrogate in one does no harm."""
        self.assertEqual(error_body(404, "é"), '{"code": 404, "text": "é"}\n'.encode())
        self.assertEqual(error_body(404, "\udc80"), b'{"code": 404, "text": "\\udc80"}\n')


class Outlet:
    """A client that takes so many bytes of a file at a time; its answer is in ``sent_bytes``."""

    def __init__(self, file: bytes = b"", takes: int = 1 << 20) -> None:
        self.file = file
        self.takes = takes
        self.blocked = False
        self.sends_files = bool(file)
        self.sent_bytes = b""
        self.over = 0
        self.failed: list[bool] = []

    def write(self, head: bytes, data: bytes) -> None:
        """Take a piece."""
        self.sent_bytes += head + data

    def send_file(self, fd: int, offset: int, length: int) -> int:
        """Take some of the file, and be blocked if that was not all."""
        if offset + length > len(self.file):
            raise EOFError
        sent = min(length, self.takes)
        self.sent_bytes += self.file[offset : offset + sent]
        self.blocked = sent < length
        return sent

    def wait_turn(self, work: Callable[[], None]) -> None:
        """Nobody else is here."""
        self.waiting = work

    def sent(self) -> None:
        """It is over."""
        self.over += 1

    def sending_failed(self, headless: bool) -> None:
        """It has failed."""
        self.failed.append(headless)


class Stretches:
    """A source of pieces, given one by one."""

    def __init__(self, length: int, *pieces: object) -> None:
        self.length = length
        self.pieces = deque(pieces)
        self.closed = 0

    def read(self) -> Any:
        """The next piece, in bytes: this outlet sends no files."""
        piece = self.pieces.popleft()
        assert not isinstance(piece, Stretch)
        return piece

    def stretch(self) -> object:
        """The next piece, wherever it is."""
        return self.pieces.popleft()

    def unsent(self, failure: Failure) -> Failure:
        """A file that is cut is damaged."""
        return Failure(Damaged("a")) if failure.check(EOFError) else failure

    def close(self) -> None:
        """Closed."""
        self.closed += 1


class SendingTests(SynchronousTestCase):
    """Responses on their way."""

    def test_stretches(self) -> None:
        """Stretches of a file and bytes between them arrive in order, after the head."""
        outlet = Outlet(b"0123456789", takes=2)
        source = Stretches(9, Stretch(3, 1, 5), b"ab", Stretch(3, 8, 2))
        sending = Sending(outlet, source, b"head ")  # type: ignore[arg-type]
        sending.pump()
        for _ in range(10):
            outlet.blocked = False
            if not outlet.over:
                sending.pump()
        self.assertEqual(outlet.sent_bytes, b"head 12345ab89")
        self.assertEqual((outlet.over, source.closed, outlet.failed), (1, 1, []))

    def test_no_files(self) -> None:
        """Where the transport cannot send files the source is read."""
        outlet = Outlet()
        source = Stretches(2, b"a", b"b")
        Sending(outlet, source, b"head ").pump()
        self.assertEqual((outlet.sent_bytes, outlet.over), (b"head ab", 1))

    def test_file_too_short(self) -> None:
        """A file that was cut breaks the response off; the source is closed, and says why."""
        outlet = Outlet(b"0123")
        source = Stretches(5, Stretch(3, 0, 5))
        Sending(outlet, source, b"head ").pump()  # type: ignore[arg-type]
        self.assertEqual((outlet.failed, outlet.over, source.closed), ([False], 0, 1))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_damaged(self) -> None:
        """So does one that is found damaged when it is read, and again the source says why."""
        outlet = Outlet()
        source = Stretches(5, fail(Damaged("a")))
        Sending(outlet, source, b"head ").pump()
        self.assertEqual((outlet.failed, outlet.over, source.closed), ([True], 0, 1))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_disk_fails(self) -> None:
        """One that the disk does not give is told of in one line."""
        said: list[LogEvent] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        outlet = Outlet()
        for error in (DiskFailed("EIO"), Damaged("a\x85", is_logged=False)):
            Sending(outlet, Stretches(5, fail(error)), b"head ", name="7f3a").pump()
        self.assertEqual(outlet.failed, [True, True])
        first, second = map(formatEvent, said)
        wanted = f"Reading a response body failed: {DiskFailed('EIO')} (7f3a)"
        self.assertEqual(first, wanted)
        assert second is not None
        self.assertIn(r"a\x85 is damaged", second)
        self.assertTrue(second.endswith("(7f3a)"))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_file_fails(self) -> None:
        """A file that cannot be sent, for whatever other reason, is logged here."""

        class Failing(Outlet):
            def send_file(self, fd: int, offset: int, length: int) -> int:
                raise OSError

        outlet = Failing(b"01234")
        source = Stretches(5, Stretch(3, 0, 5))
        Sending(outlet, source, b"head ").pump()  # type: ignore[arg-type]
        self.assertEqual((outlet.failed, outlet.over, source.closed), ([False], 0, 1))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_stretch_too_long(self) -> None:
        """A stretch longer than what is left is an error, and nothing of it is sent."""
        outlet = Outlet(b"0123456789")
        source = Stretches(5, Stretch(3, 0, 6))
        Sending(outlet, source, b"head ").pump()  # type: ignore[arg-type]
        self.assertEqual((outlet.failed, outlet.sent_bytes), ([True], b""))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_late_stretch(self) -> None:
        """A stretch that is loaded when the client has gone is not sent; then the source closes."""
        outlet = Outlet(b"0123456789")
        loaded: Deferred[Stretch] = Deferred()
        source = Stretches(5, loaded)
        sending = Sending(outlet, source, b"head ")  # type: ignore[arg-type]
        sending.pump()
        sending.stop()
        self.assertEqual(source.closed, 0)
        loaded.callback(Stretch(3, 0, 5))
        self.assertEqual((outlet.sent_bytes, source.closed), (b"", 1))


class HeadTests(SynchronousTestCase):
    """Response heads."""

    def test_names(self) -> None:
        """Field names are written as people write them."""
        fields = [(b"etag", b'"x"'), (b"x-gostore-meta-a", b"b"), (b"accept-ranges", b"bytes")]
        head = response_head(200, fields, 3, b"\r\n")
        self.assertEqual(
            head,
            b'HTTP/1.1 200 OK\r\nETag: "x"\r\nX-Gostore-Meta-A: b\r\nAccept-Ranges: bytes\r\n'
            b"Content-Length: 3\r\n\r\n",
        )
        prepared = PreparedFields(fields)
        self.assertEqual(response_head(200, prepared, 3, b"\r\n"), head)
        joined = PreparedFields.joined(PreparedFields(fields[:1]), PreparedFields(fields[1:]))
        self.assertEqual(joined, prepared)
        self.assertEqual(response_head(200, joined, 3, b"\r\n"), head)

    def test_line_end(self) -> None:
        """A line end in a field is refused, prepared or not."""
        for value in (b"a\r\nb: c", b"a\nb", b"a\rb"):
            self.assertRaises(ValueError, PreparedFields, [(b"a", value)])
            self.assertRaises(ValueError, response_head, 200, [(b"a", value)], 0, b"")
