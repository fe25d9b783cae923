"""gostore.wire.limits: clients that take their time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.wire.support import (
    GET,
    Client,
    Collector,
    head,
)


class DeadlineTests(SynchronousTestCase):
    """Clients that take their time."""

    def test_slow_head(self) -> None:
        """Row 46: a head that is not complete in 10 s is answered with 408."""
        client = Client()
        client.wait(60)
        for _ in range(2):
            client.send(b"G")
            client.wait(5)
        self.assertEqual(client.wire.value(), b"")
        client.wait(1)
        self.assertEqual(client.codes, [408])
        self.assertTrue(client.wire.half_closed)

    def test_slow_second_head(self) -> None:
        """Row 46: the second head on a connection has as long as the first."""
        client = Client()
        client.send(GET + b"G")
        client.wait(9)
        self.assertEqual(client.codes, [200])
        client.wait(2)
        self.assertEqual(client.codes, [200, 408])

    def test_idle(self) -> None:
        """A connection is kept for 75 s without a request, and closed without a word."""
        for sent, answers in [(b"", []), (GET, [200])]:
            client = Client()
            client.wait(10)
            client.send(sent)
            client.wait(64)
            self.assertFalse(client.wire.ending)
            client.wait(12)
            self.assertTrue(client.wire.lost)
            self.assertEqual(client.codes, answers)

    def test_working(self) -> None:
        """The application has all the time it wants."""
        client = Client()
        client.send(head(line=b"GET /waiting HTTP/1.1"))
        client.wait(1000)
        client.requests[0].respond(200, [], b"")
        self.assertEqual(client.codes, [200])
        self.assertFalse(client.wire.ending)

    def test_slow_body(self) -> None:
        """Row 47: a body slower than 1 KiB/s over 30 s is answered with 408, its sink told."""
        client = Client()
        client.send(head(b"Content-Length: 1000000"))
        for _ in range(29):
            client.send(b"x" * 1000)
            client.wait(1)
        self.assertEqual(client.wire.value(), b"")
        client.wait(2)
        self.assertEqual(client.codes, [408])
        self.assertEqual(client.app.sinks[0].reasons, ["Body slower than 1024 bytes/s over 30 s"])
        self.assertTrue(client.wire.half_closed)

    def test_silence(self) -> None:
        """A client that announces a body and sends no byte of it has 10 s, not the whole window."""
        client = Client()
        client.send(head(b"Content-Length: 1000000"))
        client.wait(9)
        self.assertEqual(client.wire.value(), b"")
        client.wait(3)
        self.assertEqual(client.codes, [408])
        self.assertEqual(client.app.sinks[0].reasons, ["Not a byte of the body within 10 s"])

    def test_late_first_byte(self) -> None:
        """From the first byte on a body has a whole window for its rate."""
        client = Client()
        client.send(head(b"Content-Length: 1000000"))
        client.wait(9)
        client.send(b"x")
        client.wait(29)
        self.assertEqual(client.wire.value(), b"")
        client.wait(3)
        self.assertEqual(client.codes, [408])
        self.assertEqual(client.app.sinks[0].reasons, ["Body slower than 1024 bytes/s over 30 s"])

    def test_pipe(self) -> None:
        """A body in chunks may be silent for minutes, before its first byte and later on."""
        client = Client()
        client.send(head(b"Transfer-Encoding: chunked"))
        client.wait(250)
        client.send(b"6\r\nbegin\n\r\n")
        client.wait(250)
        client.send(b"4\r\nend\n\r\n0\r\n\r\n")
        self.assertEqual(client.codes, [200])
        self.assertEqual(client.app.kept, {"/a": b"begin\nend\n"})

    def test_dead_pipe(self) -> None:
        """Not for ever, though."""
        for sent, reason in [
            (b"", "Not a byte of the body within 300 s"),
            (b"1\r\nx\r\n", "Body slower than 1024 bytes/s over 300 s"),
        ]:
            client = Client()
            client.send(head(b"Transfer-Encoding: chunked") + sent)
            client.wait(299)
            self.assertEqual(client.wire.value(), b"")
            client.wait(3)
            self.assertEqual(client.codes, [408])
            self.assertEqual(client.app.sinks[0].reasons, [reason])

    def test_steady_body(self) -> None:
        """A body that keeps the pace may take for ever, and is then judged anew each 30 s."""
        client = Client()
        client.send(head(b"Content-Length: 1000000"))
        for _ in range(300):
            client.send(b"x" * 1100)
            client.wait(1)
        self.assertEqual(client.wire.value(), b"")
        client.wait(62)
        self.assertEqual(client.codes, [408])

    def test_paused_body(self) -> None:
        """The time in which we read nothing is ours, not the client's."""
        client = Client()
        client.send(head(b"Content-Length: 1000000"))
        client.send(b"x")
        client.requests[0].body.pauseProducing()
        client.wait(500)
        client.requests[0].body.resumeProducing()
        client.wait(29)
        self.assertEqual(client.wire.value(), b"")
        client.wait(3)
        self.assertEqual(client.codes, [408])

    def test_waits_for_continue(self) -> None:
        """A client that waits to be asked for the body is not too slow with it."""
        client = Client()
        client.send(
            head(b"Expect: 100-continue", b"Content-Length: 5000", line=b"PUT /waiting HTTP/1.1")
        )
        client.wait(500)
        self.assertEqual(client.wire.value(), b"")
        client.requests[0].body.deliver(Collector())
        client.wait(9)
        self.assertEqual([each.code for each in client.responses()], [100])
        client.wait(3)
        self.assertEqual([each.code for each in client.responses()], [100, 408])

    def test_no_clock_without_connections(self) -> None:
        """Without connections nothing is scheduled."""
        client = Client()
        self.assertEqual(len(client.clock.getDelayedCalls()), 1)
        client.lose()
        client.wait(2)
        self.assertEqual(client.clock.getDelayedCalls(), [])
        again = Client(factory=client.factory)
        again.wait(100)
        self.assertTrue(again.wire.lost)
