"""Requests that repeat the fields of the one before: answered as if each had been dispatched."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.wire import Exchange, Find, HTTPFactory, Limits, Request, response_head
from tests.wire.support import GET, Client, Store, Turning, head

SECOND = b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"


def numbers() -> Callable[[], bytes]:
    """Ids that come in the same order from each."""
    return map(b"%d".__mod__, count()).__next__


@define(eq=False)
class Ready:
    """An answer that is at hand."""

    head: bytes
    body: bytes
    path: str


class Knowing(Store):
    """A store that has the answers to GETs of /a and /b at hand, if the fields say no `x-no`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Request] = []
        self.sought: list[bytes] = []

    def shortcut(self, request: Request) -> Find | None:
        """Note who asks."""
        self.asked.append(request)
        return None if b"x-no" in request.headers else self.find

    def find(self, line: bytes) -> Ready | None:
        """What the store would answer, if it would."""
        self.sought.append(line)
        if line not in (b"GET /a HTTP/1.1", b"GET /b HTTP/1.1"):
            return None
        path = line.split()[1].decode()
        body = self.kept.get(path, path.encode())
        return Ready(response_head(200, [], len(body), b""), body, path)


class RepeatsCase(SynchronousTestCase):
    """Has a `client` of a server with a shortcut, and `plain`, one of a server without."""

    limits = Limits()

    def setUp(self) -> None:
        """Connect both."""
        self.told: list[Exchange] = []
        self.told_plain: list[Exchange] = []
        self.client = self.connect(Knowing(), self.told)
        self.plain = self.connect(Knowing(), self.told_plain)
        self.client.factory.shortcut = self.client.app.shortcut
        self.both = (self.client, self.plain)

    def connect(self, app: Knowing, told: list[Exchange]) -> Client:
        """A client of a server of its own."""
        answered = told.append if self.tells else None
        factory = HTTPFactory(
            app, self.limits, Turning(), answered=answered, wall=lambda: 784111777
        )
        factory.new_id = numbers()
        return Client(app, factory=factory)

    tells = False

    def check(self, *, saved: int) -> None:
        """Both clients saw the same, and so many requests were not dispatched."""
        self.assertEqual(self.client.wire.value(), self.plain.wire.value())
        self.assertEqual(self.client.wire.ending, self.plain.wire.ending)
        self.assertEqual(len(self.plain.requests) - len(self.client.requests), saved)

    def send(self, data: bytes, size: int = 65536) -> None:
        """Send both the same."""
        for client in self.both:
            client.send(data, size)


class RepeatsTests(RepeatsCase):
    """What is answered at once, and what is not."""

    def test_repeated(self) -> None:
        """The first request is dispatched, the next with its fields are not."""
        for data in (GET, SECOND, GET):
            self.send(data)
        self.check(saved=2)
        self.assertEqual([each.body for each in self.client.responses()], [b"/a", b"/b", b"/a"])
        self.assertEqual(len(self.client.app.asked), 1)

    def test_unknown(self) -> None:
        """What the application has not at hand is dispatched."""
        for data in (GET, head(line=b"GET /c HTTP/1.1"), GET):
            self.send(data)
        self.check(saved=1)

    def test_pieces(self) -> None:
        """Heads may come byte by byte, or many at once; one behind an empty line is dispatched."""
        self.send(GET + b"\r\n" + SECOND, 1)
        self.send(b"\r\n" + SECOND)
        self.send(b"\r\n")
        self.send(GET)
        self.send(b"\r\n" + (GET + SECOND) * 20)
        self.check(saved=41)
        self.send(b"\r\n\r\n" + GET)
        self.check(saved=41)
        self.assertEqual(self.client.responses()[-1].code, 400)

    def test_others(self) -> None:
        """Other methods, versions, fields and bodies are dispatched, and GET goes on after them."""
        old = head(b"Connection: keep-alive", line=b"GET /a HTTP/1.0")
        for data, saved in [
            # These have the fields of GET, so both of the GETs after them repeat some.
            (head(line=b"HEAD /a HTTP/1.1"), 2),
            (head(line=b"DELETE /a HTTP/1.1"), 2),
            (old, 1),
            (head(b"Content-Length: 5") + b"hello", 1),
            (head(b"Content-Length: 5", line=b"GET /a HTTP/1.1") + b"hello", 1),
            (head(b"Transfer-Encoding: chunked") + b"2\r\nab\r\n0\r\n\r\n", 1),
            (head(b"X-No: 1", line=b"GET /a HTTP/1.1"), 1),
            # These repeat themselves.
            (head(b"Accept: a", line=b"GET /a HTTP/1.1"), 2),
            (head(b"Content-Length: 0", line=b"GET /a HTTP/1.1"), 2),
        ]:
            with self.subTest(data=data):
                self.setUp()
                self.send(GET + GET)
                self.check(saved=1)
                self.send(data)
                self.check(saved=1)
                self.send(data + GET + GET)
                self.check(saved=1 + saved)

    def test_not_first(self) -> None:
        """A request with the same fields that is no GET keeps no GET from its answer."""
        self.send(head(line=b"DELETE /a HTTP/1.1") + GET + GET)
        self.check(saved=1)

    def test_old_version(self) -> None:
        """HTTP/1.0 and 1.1 share no fields, be they the same."""
        old = head(b"Connection: keep-alive", line=b"GET /a HTTP/1.0")
        new = head(b"Connection: keep-alive", line=b"GET /a HTTP/1.1")
        for data in (old, new, new, old, new, old, old):
            self.send(data)
        self.check(saved=1)

    def test_close(self) -> None:
        """A client that closes is asked nothing, and its connection ends."""
        self.send(head(b"Connection: close", line=b"GET /a HTTP/1.1"))
        self.check(saved=0)
        self.assertEqual(self.client.app.asked, [])

    def test_stopping(self) -> None:
        """A server that stops says so in the next answer, and closes."""
        self.send(GET + GET)
        for client in self.both:
            client.factory.stopping = True
            client.send(GET)
        self.check(saved=1)
        self.assertEqual(self.client.responses()[-1].headers["connection"], "close")

    def test_half_closed(self) -> None:
        """Requests that came before the client's end are answered."""
        self.send(GET)
        for client in self.both:
            client.connection.dataReceived(SECOND + SECOND[:9])
            client.end()
        self.check(saved=1)

    def test_bad_line(self) -> None:
        """A line that is none is refused, whatever follows it."""
        self.send(GET)
        self.send(b"GET  /a HTTP/1.1\r\nHost: x\r\n\r\n")
        self.check(saved=0)
        self.assertEqual(self.client.responses()[-1].code, 400)

    def test_slow_client(self) -> None:
        """Nothing more is read while the client takes nothing."""
        for client in self.both:
            client.send(GET)
            client.wire.blocks = True
            client.connection.dataReceived(SECOND * 5)
        self.check(saved=1)
        for client in self.both:
            client.wire.blocks = False
            client.drain()
            client.settle()
        self.check(saved=5)

    def test_stalled(self) -> None:
        """A client that takes nothing of such an answer has as long for it as for any other."""
        self.send(GET)
        self.client.wire.blocks = True
        self.client.connection.dataReceived(SECOND)
        self.client.wait(65)
        self.assertTrue(self.client.wire.aborted)

    def test_idle(self) -> None:
        """A connection is closed when it was idle for long enough after such an answer."""
        self.send(GET)
        self.client.wait(50)
        self.client.send(SECOND[:5])
        self.client.wait(5)
        self.client.send(SECOND[5:])
        self.client.wait(75)
        self.assertFalse(self.client.wire.ending)
        self.client.wait(2)
        self.assertTrue(self.client.wire.ending)
        self.assertEqual(self.client.codes, [200, 200][: len(self.client.codes)])

    def test_exception(self) -> None:
        """An exception while an answer is looked for is logged, and the request dispatched."""
        self.send(GET)

        def fail(line: bytes) -> Ready | None:
            raise ZeroDivisionError(line)

        self.client.connection._repeats._find = fail
        self.send(GET)
        self.check(saved=0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lost(self) -> None:
        """A connection that is gone holds nothing of its last request."""
        self.send(GET)
        self.client.lose()
        self.assertIsNone(self.client.connection._repeats._request)


class LimitTests(RepeatsCase):
    """A line that is short enough with the fields before is too long with these."""

    limits = Limits(max_head_size=100)

    def test_head_size(self) -> None:
        """A head that repeats may not be longer than any other: 431."""
        short, long = (head(b"A: " + b"a" * size, line=b"GET /a HTTP/1.1") for size in (60, 70))
        line = b"GET /" + b"a" * 30 + b" HTTP/1.1"
        for client in self.both:
            client.app.find = lambda line: Ready(b"", b"", "")
        self.send(short)
        self.send(long)
        self.send(head(b"A: " + b"a" * 70, line=line))
        self.check(saved=0)
        self.assertEqual(self.client.responses()[-1].code, 431)


class ToldTests(RepeatsCase):
    """Those who count answers hear of these, too."""

    tells = True

    def test_told(self) -> None:
        """Each is told of as any other is."""
        for data in (GET, SECOND, SECOND):
            self.send(data)
        self.check(saved=2)

        def seen(told: list[Exchange]) -> list[object]:
            found: list[object] = []
            for each in told:
                request = each.request
                assert request is not None
                found.append((request.method, request.target, request.path, request.query))
                found.append((request.version, request.headers.get(b"host"), request.client))
                found.append((each.code, each.sent, each.is_cut_off, each.reason, each.client))
                found.append((each.id, request.id))
            return found

        self.assertEqual(seen(self.told), seen(self.told_plain))
        self.assertEqual(len(self.told), 3)


PIECES = [
    GET,
    SECOND,
    head(line=b"GET /c HTTP/1.1"),
    head(line=b"HEAD /a HTTP/1.1"),
    head(line=b"DELETE /b HTTP/1.1"),
    head(b"Accept: a", line=b"GET /a HTTP/1.1"),
    head(b"Connection: keep-alive", line=b"GET /a HTTP/1.0"),
    head(b"Content-Length: 3", line=b"PUT /a HTTP/1.1") + b"new",
    head(b"Content-Length: 3", line=b"GET /a HTTP/1.1") + b"GET",
    b"\r\n",
]


class AnyTests(RepeatsCase):
    """Whatever a client sends."""

    @given(st.lists(st.sampled_from(PIECES), max_size=12), st.integers(1, 99))
    @settings(max_examples=200)
    def test_any(self, pieces: list[bytes], size: int) -> None:
        """The bytes that come back are the same, in whatever pieces the requests come."""
        self.setUp()
        data = b"".join(pieces)
        for client in self.both:
            client.send_split(data, [size] * (len(data) // size))
        self.assertEqual(self.client.wire.value(), self.plain.wire.value())
        self.assertEqual(self.client.wire.ending, self.plain.wire.ending)
