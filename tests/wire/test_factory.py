"""gostore.wire.factory: all connections together."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gostore.wire import Limits
from tests.wire.support import (
    GET,
    Client,
    Pieces,
    head,
    read_responses,
    responder,
)


class FactoryTests(SynchronousTestCase):
    """All connections together."""

    def test_too_many(self) -> None:
        """Row 50: one too many is told 503 and when to come again; the others are served."""
        first = Client(limits=Limits(max_connections=2))
        second = Client(first.app, factory=first.factory)
        third = Client(first.app, factory=first.factory)
        third.send(GET)
        response = third.responses()[0]
        self.assertEqual((response.code, response.headers["retry-after"]), (503, "10"))
        self.assertTrue(third.wire.half_closed)
        third.connection.dataReceived(GET)
        second.send(GET)
        self.assertEqual(first.requests, [second.requests[0]])
        third.lose()
        second.lose()
        fourth = Client(first.app, factory=first.factory)
        fourth.send(GET)
        self.assertEqual(read_responses(fourth.wire.value())[0].code, 200)
        self.assertEqual(first.factory.connections, 2)

    def test_far_too_many(self) -> None:
        """Row 50: even those that are told are bounded."""
        first = Client(limits=Limits(max_connections=1, turned_away=3))
        told = [Client(first.app, factory=first.factory) for _ in range(3)]
        self.assertIsNone(first.factory.buildProtocol(None))
        told[0].send(GET)
        told[1].send(GET[:9])
        first.wait(2)
        self.assertEqual([each.responses()[0].code for each in told], [503] * 3)
        self.assertIsNone(first.factory.buildProtocol(None))

    def test_probe(self) -> None:
        """One too many gets the answer to a probe, and then its connection ends."""
        limits = Limits(max_connections=1, probes=frozenset({"/livez"}))
        first = Client(limits=limits)
        probe = GET.replace(b"/a", b"/livez?verbose")
        for sent in ([probe + GET], [probe[:9], probe[9:]]):
            third = Client(first.app, factory=first.factory)
            for piece in sent:
                third.connection.dataReceived(piece)
            response = third.responses()[0]
            self.assertEqual((response.code, response.headers["connection"]), (200, "close"))
            self.assertEqual(len(third.responses()), 1)
            self.assertTrue(third.wire.ending)
            third.lose()
        self.assertEqual([each.path for each in first.requests], ["/livez", "/livez"])

    def test_probe_cut_off(self) -> None:
        """A probe on one connection too many whose answer nobody takes ends as any other does."""
        limits = Limits(max_connections=1, probes=frozenset({"/livez"}), send_timeout=3)
        first = Client(responder(200, (), lambda: b"x" * 9), limits=limits)
        third = Client(first.app, factory=first.factory)
        third.wire.blocks = True
        third.send(GET.replace(b"/a", b"/livez"))
        first.wait(9)
        self.assertEqual([each.code for each in third.responses()], [200])
        self.assertTrue(third.wire.aborted)

    def stopped(self, client: Client, grace: float = 10) -> list[None]:
        """Where something appears when the factory has stopped."""
        done: list[None] = []
        client.factory.stop(grace).addCallback(done.append)
        return done

    def test_stop_nothing(self) -> None:
        """Without connections stopping takes no time, also a second time."""
        client = Client()
        client.lose()
        self.assertEqual(self.stopped(client), [None])
        self.assertEqual(self.stopped(client), [None])
        self.assertEqual(client.clock.getDelayedCalls(), [])
        self.assertIsNone(client.factory.buildProtocol(None))

    def test_stop_idle(self) -> None:
        """Idle connections are closed at once, and those in a head, too."""
        for sent in (b"", GET, GET[:9]):
            client = Client()
            client.send(sent)
            done = self.stopped(client)
            self.assertTrue(client.wire.lost)
            self.assertEqual(done, [])
            client.lose()
            self.assertEqual(done, [None])

    def test_stop_working(self) -> None:
        """Requests in progress are answered, the ones behind them not; then it is over."""
        client = Client()
        client.send(head(line=b"GET /waiting HTTP/1.1") + GET)
        done = self.stopped(client)
        client.wait(100)
        self.assertFalse(client.wire.ending)
        client.requests[0].respond(200, [], b"")
        self.assertEqual(client.codes, [200])
        self.assertEqual(client.responses()[0].headers["connection"], "close")
        self.assertTrue(client.wire.ending)
        client.wait(11)
        self.assertTrue(client.wire.aborted)
        client.lose()
        self.assertEqual(done, [None])
        self.assertEqual(client.clock.getDelayedCalls(), [])

    def test_stop_upload(self) -> None:
        """Row 77: an upload has the grace time, and is then cut off; its sink hears so."""
        client = Client()
        client.send(head(b"Content-Length: 1000000"))
        self.stopped(client)
        client.send(b"x" * 100)
        client.wait(9)
        self.assertFalse(client.wire.aborted)
        client.wait(1)
        self.assertTrue(client.wire.aborted)
        self.assertEqual(client.app.sinks[0].reasons, ["The server is stopping"])
        client.lose()

    def test_stop_upload_in_time(self) -> None:
        """Row 77: an upload that ends within the grace time is answered."""
        client = Client()
        client.send(head(b"Content-Length: 5"))
        done = self.stopped(client)
        client.send(b"hello")
        self.assertEqual(client.codes, [200])
        client.lose()
        self.assertEqual(done, [None])

    def test_stop_download(self) -> None:
        """A response that a client is slow to take is cut off after the grace time."""
        source = Pieces([b"a", Deferred()], length=5)
        client = Client(responder(200, [], lambda: source))
        client.send(GET)
        self.stopped(client)
        client.wait(10)
        self.assertTrue(client.wire.aborted)
