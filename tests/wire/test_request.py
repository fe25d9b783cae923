"""gostore.wire.request: what the application sees of a request."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import ISSLTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from gostore.wire import Request
from tests.wire.support import (
    GET,
    Client,
    Collector,
    Wire,
    head,
    lengths,
)


class RequestTests(SynchronousTestCase):
    """What the application sees of a request."""

    def request(self, sent: bytes) -> Request:
        """The request that is read from `sent`."""
        client = Client()
        client.send(sent)
        self.assertEqual(len(client.requests), 1, client.wire.value())
        return client.requests[0]

    def test_request(self) -> None:
        """Everything of the head is there."""
        request = self.request(
            b"PUT /a%2Fb?c=d?e HTTP/1.0\r\nHost: x\r\nX-A: 1\r\nx-a:  2 \r\nX-B:\r\n\r\n"
        )
        self.assertEqual(request.method, "PUT")
        self.assertEqual(request.target, b"/a%2Fb?c=d?e")
        self.assertEqual((request.path, request.query), ("/a%2Fb", "c=d?e"))
        self.assertEqual(request.version, (1, 0))
        self.assertEqual(request.headers.get(b"x-a"), b"1, 2")
        self.assertEqual(request.headers.get_all(b"x-a"), [b"1", b"2"])
        self.assertEqual(request.headers.get(b"x-b"), b"")
        self.assertIsNone(request.headers.get(b"x-c"))
        self.assertEqual(request.headers.get_all(b"x-c"), [])
        self.assertIn(b"host", request.headers)
        self.assertEqual(
            list(request.headers.items()),
            [(b"host", b"x"), (b"x-a", b"1"), (b"x-a", b"2"), (b"x-b", b"")],
        )
        self.assertEqual(request.client, IPv4Address("TCP", "192.0.2.1", 4000))
        self.assertEqual(request.server, IPv4Address("TCP", "10.0.0.1", 12345))
        self.assertFalse(request.is_secure)

    def test_host_of_a_unix_socket(self) -> None:
        """On a Unix socket Host may be any registered name (RFC 3986 section 3.2.2)."""
        good = (b"%2Frun%2Fgostore", b"a" * 100, b"~", b"", b"a..b", b"a,b", b"[::1]:80", b"x:80")
        bad = (b"%zz", b"a b", b"u@x", b"a/b", "\u00fc".encode(), b"[::1", b"x:http", b"x:123456")
        for name, code in [(name, 200) for name in good] + [(name, 400) for name in bad]:
            client = Client(host=UNIXAddress("/run/gostore"))
            client.send(head(host=b"Host: " + name))
            self.assertEqual(client.codes, [code], name)

    def test_target_of_a_unix_socket(self) -> None:
        """So may the host of an absolute target; on TCP it may not."""
        for host, code in ((UNIXAddress("/run/gostore"), 200), (None, 400)):
            client = Client(host=host)
            client.send(head(line=b"GET http://%2Frun%2Fgostore/a HTTP/1.1"))
            self.assertEqual(client.codes, [code])

    def test_targets(self) -> None:
        """Origin, absolute and asterisk forms, and raw bytes (RFC 9112 section 3.2)."""
        for target, path, query in [
            (b"/", "/", ""),
            (b"//a//b", "//a//b", ""),
            (b"http://x/store/a?b", "/store/a", "b"),
            (b"HTTPS://x:1/a", "/a", ""),
            (b"http://x", "/", ""),
            (b"http://x?b", "/", "b"),
            ("/é?ü".encode(), "/%C3%A9", "%C3%BC"),
            (b"/a%2f%zz;+'\"<>|\\^`{}[]@\xff", "/a%2f%zz;+'\"<>|\\^`{}[]@%FF", ""),
        ]:
            request = self.request(head(line=b"GET " + target + b" HTTP/1.1"))
            self.assertEqual((request.path, request.query), (path, query), target)
            self.assertEqual(request.target, target)

    def test_body_length(self) -> None:
        """The announced size: a number, None when chunked, 0 when there is no body."""
        for fields, length in [
            ([b"Content-Length: 7"], 7),
            ([b"Transfer-Encoding: chunked"], None),
        ]:
            self.assertEqual(self.request(head(*fields)).body.length, length)
        self.assertEqual(self.request(head()).body.length, 0)

    def test_small_body_is_here(self) -> None:
        """Bytes read together with the head are in the body when the request is dispatched."""
        seen: list[bytes] = []

        def app(request: Request) -> None:
            sink = Collector()
            request.body.deliver(sink)
            seen.append(sink.data)
            self.assertEqual(sink.done, 1)

        Client(app).send(lengths(b"5"))
        self.assertEqual(seen, [b"hello"])

    def test_secure(self) -> None:
        """A request over TLS says so, and TLS is not half-closed under its user."""
        client = Client(factory=None)
        secure = Wire()
        alsoProvides(secure, ISSLTransport)
        connection = client.factory.buildProtocol(None)
        assert connection is not None
        connection.makeConnection(secure)
        connection.dataReceived(GET + b"\x00")
        self.assertTrue(client.requests[0].is_secure)
        self.assertFalse(secure.half_closed)
        client.wait(2)
        self.assertTrue(secure.lost)


class InformTests(SynchronousTestCase):
    """What is said before the answer (RFC 9110 section 15.2)."""

    def waiting(self, version: bytes = b"1.1") -> Client:
        """A client that waits for its answer."""
        client = Client()
        client.send(b"POST /waiting HTTP/%b\r\nHost: x\r\nContent-Length: 3\r\n\r\n" % version)
        return client

    def test_before_the_answer(self) -> None:
        """It goes out at once, as often as there is something to say, and has no body."""
        client = self.waiting()
        [request] = client.requests
        request.inform(104, [(b"location", b"a")])
        self.assertEqual(client.wire.value(), b"HTTP/1.1 104 \r\nLocation: a\r\n\r\n")
        request.inform(104, ())
        client.send(b"abc")
        request.respond(204, [], b"")
        self.assertTrue(
            client.wire.value().startswith(
                b"HTTP/1.1 104 \r\nLocation: a\r\n\r\nHTTP/1.1 104 \r\n\r\nHTTP/1.1 204 "
            )
        )

    def test_too_late(self) -> None:
        """After the answer, or when the client is gone, nothing is said."""
        client = self.waiting()
        [request] = client.requests
        request.respond(204, [], b"")
        said = client.wire.value()
        request.inform(104, ())
        self.assertEqual(client.wire.value(), said)
        client = self.waiting()
        client.lose()
        client.requests[0].inform(104, ())
        self.assertEqual(client.wire.value(), b"")

    def test_old_client(self) -> None:
        """A client of HTTP/1.0 would take it for the answer."""
        client = self.waiting(b"1.0")
        client.requests[0].inform(104, ())
        self.assertEqual(client.wire.value(), b"")

    def test_injection(self) -> None:
        """A field with a line end in it is not sent."""
        client = self.waiting()
        with self.assertRaises(ValueError):
            client.requests[0].inform(104, [(b"location", b"a\r\nb: c")])
        self.assertEqual(client.wire.value(), b"")
