"""gostore.web.access_log: a line for each answer, with nothing secret in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gostore.web.access_log import AccessLogFormat, log_answer
from gostore.wire import Exchange, Forwarded, HTTPFactory, Limits, Request
from tests.wire.support import ID, Client, Pieces, Store, Turning, head, responder

SECRET = b"s3cr3t"


class AccessLogTests(SynchronousTestCase):
    """What is logged of requests, good and bad."""

    def logged(self, *sent: bytes, peer: object = None) -> list[str]:
        """The lines for what a client sends, until it is gone."""
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        app = Store()
        factory = HTTPFactory(app, Limits(), Turning(), answered=log_answer)
        factory.new_id = lambda: ID
        client = Client(app, factory=factory, peer=peer)
        for data in sent:
            client.send(data)
        client.lose()
        lines = [event for event in events if event.get("log_namespace") == log_answer.__module__]
        self.assertEqual({event["log_level"] for event in lines}, {LogLevel.debug})
        # Each ends with the id of its request.
        heads = [formatEvent(event).rpartition(" ") for event in lines]
        self.assertEqual({request_id for _, _, request_id in heads}, {ID.decode()})
        return [head for head, _, _ in heads]

    def test_answer(self) -> None:
        """Client, method, path, status and bytes sent."""
        self.assertEqual(
            self.logged(head(line=b"GET /store/a%20b HTTP/1.1")),
            ["192.0.2.1:4000 GET '/store/a%20b' 200 12"],
        )

    def test_clients(self) -> None:
        """A client is named by its address; one of a Unix socket has none."""
        for peer, name in [
            (IPv4Address("TCP", "192.0.2.9", 1), "192.0.2.9:1"),
            (IPv6Address("TCP", "2001:db8::1", 2), "[2001:db8::1]:2"),
            (UNIXAddress(None), "unix"),
        ]:
            self.assertEqual(
                self.logged(head(line=b"DELETE /a HTTP/1.1"), peer=peer),
                [f"{name} DELETE '/a' 204 0"],
            )

    def test_refusals(self) -> None:
        """What the wire refuses has a line, with the reason."""
        for sent, line in [
            (head(host=b""), "- '-' 400 57 (A Host header field is required)"),
            (head(line=b"GET /a HTTP/3.0"), "- '-' 505 52 (Only HTTP/1 is spoken here)"),
            (
                head(b"Transfer-Encoding: chunked") + b"x",
                "PUT '/a' 400 41 (Malformed chunk)",
            ),
            (head(line=b"PUT /waiting HTTP/1.1"), "PUT '/waiting' 0 0 (the client went away)"),
        ]:
            self.assertEqual(self.logged(sent), [f"192.0.2.1:4000 {line}"], sent)

    def test_nothing_secret(self) -> None:
        """Queries, fields and bodies are not logged, whatever becomes of the request."""
        token = b"Authorization: Bearer " + SECRET
        for sent in (
            head(token, line=b"GET /a?token=" + SECRET + b" HTTP/1.1"),
            head(token, line=b"GET http://x/a?" + SECRET + b" HTTP/1.1"),
            head(line=b"GET http://" + SECRET + b"@x/a HTTP/1.1"),
            head(line=b"GET /a?" + SECRET + b" HTTP/9.9"),
            head(line=b"GET /a?" + SECRET + b"#x HTTP/1.1"),
            head(line=SECRET + b" /a HTTP/1.1"),
            head(token + b"\0"),
            head(token, b"Expect: " + SECRET),
            head(host=b"Host: " + SECRET + b"@x"),
            head(b"Transfer-Encoding: " + SECRET),
            head(b"Content-Length: " + SECRET),
            head(token, b"Transfer-Encoding: chunked") + SECRET,
            head(token, b"Content-Length: 9") + SECRET,
            head(token, line=b"GET /a?" + SECRET + b"a" * 9000 + b" HTTP/1.1"),
        ):
            [line] = self.logged(sent)
            self.assertNotIn(SECRET.decode(), line)


class LineTests(SynchronousTestCase):
    """The lines of the access log."""

    def line(
        self,
        form: AccessLogFormat,
        *sent: bytes,
        app: Callable[[Request], None] | None = None,
        peer: object = None,
    ) -> str:
        """The line for what a client sends in pieces, with a second between each two."""
        told: list[Exchange] = []
        app = app or Store()
        clock = Turning()
        factory = HTTPFactory(app, Limits(), clock, answered=told.append)
        factory.new_id = lambda: ID
        client = Client(app, factory=factory, peer=peer)
        for data in sent:
            client.send(data)
            clock.advance(1)
        client.lose()
        [exchange] = told
        return form.form(1790000000.25, exchange)

    def test_combined(self) -> None:
        """As Apache's, then the id, bytes in, seconds to the first and last byte, the reason."""
        sent = head(
            b'User-Agent: a "b"\\\xe9',
            b"Referer: http://x/?token=s3cr3t",
            b"Content-Length: 4",
            line=b'PUT /a%20b"?token=s3cr3t HTTP/1.1',
        )
        self.assertEqual(
            self.line(AccessLogFormat.COMBINED, sent, b"data"),
            '192.0.2.1 - - [21/Sep/2026:14:13:20 +0000] "PUT /a%20b\\" HTTP/1.1" 200 0'
            ' "-" "a \\"b\\"\\\\\\u00e9" '
            f'{ID.decode()} 4 1.000000 1.000000 "-"\n',
        )

    def test_refused(self) -> None:
        """What the wire does not read has no request line; the reason is told."""
        line = self.line(AccessLogFormat.COMBINED, head(host=b""), peer=UNIXAddress(None))
        self.assertTrue(line.startswith('- - - [21/Sep/2026:14:13:20 +0000] "-" 400 57 "-" "-" '))
        self.assertTrue(line.endswith(' 0 0.000000 0.000000 "A Host header field is required"\n'))

    def test_gone(self) -> None:
        """A client that went before its answer has 499, as in nginx."""
        line = self.line(AccessLogFormat.COMBINED, head(b"Content-Length: 4") + b"da")
        self.assertIn(' 499 0 "-" "-" ', line)
        self.assertTrue(line.endswith(' 2 0.000000 1.000000 "the client went away"\n'))

    def test_json(self) -> None:
        """An object on one line, without what is not known."""
        agent = b"User-Agent: curl"
        line = self.line(AccessLogFormat.JSON, head(agent, line=b"GET /a?token=s3cr3t HTTP/1.1"))
        self.assertEqual(line.count("\n"), 1)
        self.assertEqual(
            json.loads(line),
            {
                "time": "2026-09-21T14:13:20.250Z",
                "client": "192.0.2.1",
                "id": ID.decode(),
                "method": "GET",
                "path": "/a",
                "status": 200,
                "received": 0,
                "sent": 2,
                "first": 0.0,
                "seconds": 0.0,
                "agent": "curl",
            },
        )
        line = self.line(AccessLogFormat.JSON, b"NONSENSE\r\n\r\n", peer=UNIXAddress(None))
        self.assertEqual(
            json.loads(line).keys(),
            {"time", "id", "status", "received", "sent", "first", "seconds", "reason"},
        )

    def test_reason(self) -> None:
        """The application says why it refuses."""

        def app(request: Request) -> None:
            request.reason = "foo does not exist\u2028"
            request.respond(404, (), b"")

        line = self.line(AccessLogFormat.JSON, head(), app=app)
        self.assertEqual(json.loads(line)["reason"], "foo does not exist\u2028")
        self.assertTrue(line.isascii())

    def test_forwarded(self) -> None:
        """The client is the one that a trusted proxy has told of."""

        def app(request: Request) -> None:
            request.forwarded = Forwarded(IPv4Address("TCP", "203.0.113.7", 0), False, None)
            request.respond(200, (), b"")

        line = self.line(AccessLogFormat.COMBINED, head(), app=app)
        self.assertTrue(line.startswith("203.0.113.7 - "), line)

    def test_principal(self) -> None:
        """Who it was is the user, in quotes if the name is no word."""
        for name, user in (("alice", "alice"), ("a b", '"a b"')):

            def app(request: Request, name: str = name) -> None:
                request.principal = SimpleNamespace(name=name)
                request.respond(200, (), b"")

            line = self.line(AccessLogFormat.COMBINED, head(), app=app)
            self.assertTrue(line.startswith(f"192.0.2.1 - {user} ["), line)
            line = self.line(AccessLogFormat.JSON, head(), app=app)
            self.assertEqual(json.loads(line)["principal"], name)

    def test_first_byte(self) -> None:
        """The first byte of a source that takes its time comes when it is read, not before."""
        pieces: list[Deferred[bytes]] = [Deferred(), Deferred()]
        source = Pieces([*pieces], length=6)
        told: list[Exchange] = []
        clock = Turning()
        app = responder(200, (), lambda: source)
        client = Client(app, factory=HTTPFactory(app, Limits(), clock, answered=told.append))
        client.send(head())
        for piece in pieces:
            clock.advance(1)
            piece.callback(b"abc")
        self.assertEqual([(each.first, each.seconds) for each in told], [(1.0, 2.0)])
