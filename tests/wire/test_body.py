"""gostore.wire.body: request bodies on their way to a sink."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.wire import Limits, Request
from tests.wire.support import (
    GET,
    GOOD_CHUNKS,
    Client,
    Collector,
    head,
)


class BodyTests(SynchronousTestCase):
    """Request bodies on their way to a sink."""

    def waiting(self, sent: bytes, limits: Limits | None = None) -> tuple[Client, Request]:
        """A client whose request the application keeps, and that request."""
        client = Client(limits=limits)
        client.send(sent)
        return client, client.requests[0]

    def put(self, *fields: bytes) -> bytes:
        return head(*fields, line=b"PUT /waiting HTTP/1.1")

    def test_streams(self) -> None:
        """Bytes reach the sink as they come, and are counted."""
        client, request = self.waiting(self.put(b"Content-Length: 10"))
        sink = Collector()
        request.body.deliver(sink)
        client.send(b"hello")
        self.assertEqual(sink.pieces, [b"hello"])
        self.assertFalse(sink.done)
        client.send(b"world")
        self.assertEqual(sink.pieces, [b"hello", b"world"])
        self.assertEqual(sink.done, 1)

    def test_empty(self) -> None:
        """No body at all is finished at once."""
        _, request = self.waiting(self.put())
        sink = Collector()
        request.body.deliver(sink)
        self.assertEqual((sink.data, sink.done), (b"", 1))

    def test_taken_once(self) -> None:
        """A body is taken once."""
        _, request = self.waiting(self.put())
        request.body.deliver(Collector())
        self.assertRaises(RuntimeError, request.body.deliver, Collector())

    def test_continue(self) -> None:
        """A waiting client is asked for the body when it is taken, not before (RFC 9110 10.1.1)."""
        client, request = self.waiting(self.put(b"Expect: 100-Continue", b"Content-Length: 5"))
        self.assertEqual(client.wire.value(), b"")
        sink = Collector(lambda data: request.respond(200, [], data))
        request.body.deliver(sink)
        self.assertEqual(client.wire.value(), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(b"hello" + GET)
        self.assertEqual([each.code for each in client.responses()], [100, 200, 200])

    def test_no_continue(self) -> None:
        """A client that does not wait, has nothing to send, or speaks HTTP/1.0, is not asked."""
        expect = b"Expect: 100-continue"
        for sent in (
            self.put(expect, b"Content-Length: 5") + b"h",
            self.put(expect, b"Transfer-Encoding: chunked") + b"5",
            self.put(expect, b"Content-Length: 0"),
            self.put(expect),
            head(expect, b"Content-Length: 5", line=b"PUT /waiting HTTP/1.0"),
            head(b"Expect: x", b"Content-Length: 5", line=b"PUT /waiting HTTP/1.0"),
        ):
            client, request = self.waiting(sent)
            request.body.deliver(Collector())
            self.assertEqual(client.wire.value(), b"", sent)

    def test_nobody_takes_it(self) -> None:
        """A body that nobody takes is read a little ahead, and the socket then left alone."""
        client, request = self.waiting(self.put(b"Content-Length: 1000000"))
        client.send(b"x" * 65536)
        self.assertFalse(client.wire.paused)
        client.send(b"x" * 65536)
        self.assertTrue(client.wire.paused)
        sink = Collector()
        request.body.deliver(sink)
        self.assertEqual(len(sink.data), 131072)
        self.assertFalse(client.wire.paused)

    def test_back_pressure(self) -> None:
        """A sink that has enough pauses the socket, and nothing comes until it resumes."""
        client, request = self.waiting(self.put(b"Transfer-Encoding: chunked"))
        sink = Collector()
        request.body.deliver(sink)
        request.body.pauseProducing()
        self.assertTrue(client.wire.paused)
        client.connection.dataReceived(GOOD_CHUNKS)
        self.assertEqual((sink.data, sink.done), (b"", 0))
        request.body.resumeProducing()
        self.assertEqual((sink.data, sink.done), (b"hello", 1))

    def test_pause_within(self) -> None:
        """A sink may pause while it is called, and the next piece waits."""
        client, request = self.waiting(self.put(b"Transfer-Encoding: chunked"))

        class Slow(Collector):
            def received(self, data: bytes) -> None:
                super().received(data)
                request.body.pauseProducing()

        sink = Slow()
        request.body.deliver(sink)
        client.send(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
        self.assertEqual(sink.pieces, [b"a"])
        request.body.resumeProducing()
        self.assertEqual((sink.pieces, sink.done), ([b"a", b"b"], 0))
        request.body.resumeProducing()
        self.assertEqual(sink.done, 1)

    def test_gone(self) -> None:
        """Row 49: when the client goes, the sink hears how far it came."""
        for fields, body, reason in [
            ([b"Content-Length: 10"], b"hello", "Client went away after 5 of 10 bytes"),
            ([b"Transfer-Encoding: chunked"], b"9\r\nhello", "Client went away after 5 bytes"),
        ]:
            for pause in (False, True):
                client, request = self.waiting(self.put(*fields))
                sink = Collector()
                request.body.deliver(sink)
                client.send(body)
                if pause:
                    request.body.pauseProducing()
                client.lose()
                self.assertEqual(sink.reasons, [reason])

    def test_gone_before_taken(self) -> None:
        """A body that is taken after the client went fails at once."""
        client, request = self.waiting(self.put(b"Content-Length: 10") + b"hello")
        client.lose()
        sink = Collector()
        request.body.deliver(sink)
        self.assertEqual(sink.reasons, ["Client went away after 5 of 10 bytes"])
        self.assertEqual(sink.data, b"")

    def test_whole_before_gone(self) -> None:
        """A body that is all here is whole, even when the client goes before it is taken."""
        client, request = self.waiting(self.put(b"Content-Length: 5") + b"hello")
        client.lose()
        sink = Collector()
        request.body.deliver(sink)
        self.assertEqual((sink.data, sink.done), (b"hello", 1))

    def test_malformed(self) -> None:
        """A body that turns out malformed is answered with 400, and the sink hears why."""
        client, request = self.waiting(self.put(b"Transfer-Encoding: chunked"))
        sink = Collector()
        request.body.deliver(sink)
        client.send(b"5\r\nhello\r\nx")
        self.assertEqual([each.code for each in client.responses()], [400])
        self.assertEqual(sink.reasons, ["Malformed chunk"])
        request.respond(200, [], b"")
        self.assertEqual(len(client.responses()), 1)

    def test_answer_ends_the_body(self) -> None:
        """An answer while the body comes: no more of it, and the sink hears so, once."""
        client, request = self.waiting(self.put(b"Content-Length: 10") + b"hello")

        class Small(Collector):
            def received(self, data: bytes) -> None:
                super().received(data)
                request.respond(413, [], b"")

        sink = Small()
        request.body.deliver(sink)
        client.send(b"world")
        self.assertEqual(sink.data, b"hello")
        self.assertEqual(len(sink.reasons), 1)
        self.assertEqual([each.code for each in client.responses()], [413])
        self.assertEqual(client.responses()[0].headers["connection"], "close")
        client.lose()
        self.assertEqual(len(sink.reasons), 1)

    def test_broken_sink(self) -> None:
        """A sink that raises is logged, and its request answered with 500."""

        class Broken(Collector):
            def received(self, data: bytes) -> None:
                raise RuntimeError

        client, request = self.waiting(self.put(b"Content-Length: 10") + b"hello")
        request.body.deliver(Broken())
        self.assertEqual([each.code for each in client.responses()], [500])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        client.send(b"world")
        client.lose()

    def test_broken_sink_is_told(self) -> None:
        """A sink that raises is told that no more will come: it may hold what others wait for."""

        class Broken(Collector):
            def received(self, data: bytes) -> None:
                raise RuntimeError

        client, request = self.waiting(self.put(b"Content-Length: 10") + b"hello")
        sink = Broken()
        request.body.deliver(sink)
        client.lose()
        self.assertEqual(sink.reasons, ["Something went wrong"])
        self.flushLoggedErrors(RuntimeError)

    def test_broken_after_answer(self) -> None:
        """A sink that raises when it is told of the answer does no harm to the answer."""

        class Broken(Collector):
            def failed(self, reason: str) -> None:
                raise RuntimeError

        client, request = self.waiting(self.put(b"Content-Length: 10") + b"hello")
        request.body.deliver(Broken())
        request.respond(409, [], b"")
        self.assertEqual([each.code for each in client.responses()], [409])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_pipelined_behind_body(self) -> None:
        """A request behind a body waits its turn, and so does the socket."""
        client, request = self.waiting(self.put(b"Content-Length: 5") + b"hello" + GET)
        self.assertTrue(client.wire.paused)
        self.assertEqual(len(client.requests), 1)
        request.respond(200, [], b"")
        self.assertFalse(client.wire.paused)
        self.assertEqual(client.codes, [200, 200])

    def test_pipelined_later(self) -> None:
        """A request that comes while one is worked on waits, and is not forgotten."""
        client, request = self.waiting(self.put(b"Content-Length: 5") + b"hello")
        client.send(GET[:7])
        self.assertTrue(client.wire.paused)
        client.connection.dataReceived(GET[7:])
        request.respond(200, [], b"")
        self.assertEqual(client.codes, [200, 200])
