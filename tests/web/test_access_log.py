"""gostore.web.access_log: a line for each answer, with nothing secret in it."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gostore.web.access_log import log_answer
from gostore.wire import HTTPFactory, Limits
from tests.wire.support import ID, Client, Store, Turning, head

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
