"""gostore.wire.connection: HTTP as a stranger may send it."""

from __future__ import annotations

import gc
import random
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.bad_inputs import GOOD, ROWS
from tests.wire.support import (
    GET,
    GOOD_CHUNKS,
    SMUGGLED,
    Client,
    Patient,
    Pieces,
    chunked,
    head,
    lengths,
    random_sizes,
    responder,
    strict_count,
)


class BadInputTests(SynchronousTestCase):
    """Rows 1 to 34 of the list of bad inputs, each whole, byte by byte, and split at random."""

    def ways(self, sent: bytes) -> list[list[int]]:
        """Sizes of pieces to send bytes in."""
        return [[], [1] * len(sent), *(random_sizes(seed, len(sent)) for seed in range(3))]

    def test_rows(self) -> None:
        """Each row gets one answer of its own, however it is split, and nothing is kept."""
        for row in ROWS:
            for sizes in self.ways(row.sent):
                what = f"row {row.number}: {row.sent[:120]!r} in {sizes[:5]}"
                client = Client()
                client.send_split(row.sent, sizes)
                self.assertEqual(len(client.codes), 1, what)
                self.assertIn(client.codes[0], row.codes, what)
                self.assertEqual(client.wire.ending, row.close, what)
                self.assertLessEqual(len(client.requests), row.requests, what)
                self.assertEqual(client.app.kept, {}, what)
                response = client.responses()[0]
                closing = response.headers.get("connection") == "close"
                self.assertEqual(closing, row.close, what)
                for sink in client.app.sinks:
                    self.assertEqual(len(sink.reasons), 1, what)
                again = Client(factory=client.factory)
                again.send(GET)
                self.assertEqual(len(again.responses()), 1, what)

    def test_neighbours(self) -> None:
        """A good neighbour of a bad row is read as meant, and so is the request after it."""
        for number, sent, body in GOOD:
            for sizes in self.ways(sent + GET):
                what = f"row {number}: {sent[:120]!r} in {sizes[:5]}"
                client = Client()
                client.send_split(sent + GET, sizes)
                self.assertEqual(client.codes, [200, 200], what)
                self.assertEqual(client.app.kept, {"/a": body}, what)
                self.assertFalse(client.wire.ending, what)

    def test_one_head_is_one_reading(self) -> None:
        """Row 1 again on one connection: a good head before does not lend its fields to a bad."""
        client = Client()
        client.send(lengths(b"5") + head(b"Content-Length: 5", line=b"PUT /b HTTP/1.0") + b"hello")
        self.assertEqual(client.codes, [200, 200])
        client = Client()
        client.send(head(line=b"PUT /a HTTP/1.0", host=b"") + head(host=b""))
        self.assertEqual(client.codes, [200])
        client = Client()
        client.send(
            head(b"Connection: keep-alive", line=b"GET /a HTTP/1.0", host=b"")
            + head(b"Connection: keep-alive", line=b"GET /a HTTP/1.1", host=b"")
        )
        self.assertEqual(client.codes, [200, 400])

    def test_pipeline(self) -> None:
        """Row 28: requests sent at once are answered in order (RFC 9112 section 9.3.2)."""
        sent = lengths(b"5") + GET + head(line=b"GET /b HTTP/1.1")
        for sizes in self.ways(sent):
            client = Client()
            client.send_split(sent, sizes)
            self.assertEqual(
                [each.body for each in client.responses()], [b"", b"hello", b"/b"], sizes
            )

    def test_long_pipeline(self) -> None:
        """Row 28: a thousand requests sent at once are answered in order."""
        sent = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % each for each in range(1000))
        client = Client()
        client.send(sent)
        bodies = [each.body for each in client.responses()]
        self.assertEqual(bodies, [b"/%d" % each for each in range(1000)])

    def test_half_close(self) -> None:
        """Row 30: a client that half-closes still gets its answers. Then the connection ends."""
        client = Client()
        client.send(GET + GET)
        client.end()
        self.assertEqual(client.codes, [200, 200])
        self.assertTrue(client.wire.lost)

    def test_half_close_before_answer(self) -> None:
        """Row 30: the client may half-close before the application answers, and is answered."""
        client = Client()
        client.send(head(line=b"GET /waiting HTTP/1.1") + GET)
        client.end()
        self.assertFalse(client.wire.ending)
        client.requests[0].respond(200, [], b"late")
        self.assertEqual([each.body for each in client.responses()], [b"late", b"/a"])
        self.assertTrue(client.wire.lost)

    def test_half_close_in_head(self) -> None:
        """A client that half-closes in a head has asked nothing, and is told nothing."""
        for sent in (b"", GET[:-1]):
            client = Client()
            client.send(sent)
            client.end()
            self.assertEqual(client.wire.value(), b"")
            self.assertTrue(client.wire.lost)

    def test_half_close_in_body(self) -> None:
        """A client that half-closes in a body: the upload fails, the application may say so."""
        client = Client()
        client.send(head(b"Content-Length: 10") + b"hello")
        client.end()
        self.assertEqual(client.app.sinks[0].reasons, ["Client went away after 5 of 10 bytes"])
        client.requests[0].respond(400, [], b"short")
        self.assertEqual(client.codes, [400])
        self.assertTrue(client.wire.lost)

    def test_refused_expectation(self) -> None:
        """Row 31: a refused body is not asked for, and never read (RFC 9110 section 10.1.1)."""
        client = Client()
        client.send(
            head(b"Expect: 100-continue", b"Content-Length: 40", line=b"PUT /refused HTTP/1.1")
        )
        self.assertEqual(client.codes, [409])
        self.assertTrue(client.wire.half_closed)
        client.send(SMUGGLED)
        self.assertEqual(client.codes, [409])
        self.assertEqual(len(client.requests), 1)

    def test_body_of_get(self) -> None:
        """Row 33: a body nobody wants is dropped if it is here, and not read as a request."""
        sent = head(b"Content-Length: %d" % len(SMUGGLED), line=b"GET /a HTTP/1.1") + SMUGGLED
        client = Client()
        client.send(sent + head(line=b"DELETE /a HTTP/1.1"))
        self.assertEqual(client.codes, [200, 204])
        self.assertFalse(client.wire.ending)
        for sizes in self.ways(sent)[1:]:
            client = Client()
            client.send_split(sent, sizes)
            self.assertEqual(client.codes, [200])
            self.assertEqual(len(client.requests), 1)
        client = Client()
        client.send(sent[:-1])
        self.assertEqual(client.codes, [200])
        self.assertTrue(client.wire.half_closed)
        client.send(sent[-1:] + GET)
        self.assertEqual(client.codes, [200])

    def test_no_length(self) -> None:
        """After 411 the connection ends: what follows may be the body (RFC 9112 section 6.3)."""
        client = Client(responder(411, [], lambda: b"no length"))
        client.send(head() + SMUGGLED)
        self.assertEqual([each.code for each in client.responses()], [411])
        self.assertTrue(client.wire.ending)

    def test_upgrade(self) -> None:
        """Row 34: Upgrade is ignored (RFC 9110 section 7.8), and the next request is read."""
        client = Client()
        client.send(head(b"Connection: Upgrade", b"Upgrade: h2c", line=b"GET /a HTTP/1.1") + GET)
        self.assertEqual(client.codes, [200, 200])


PARTS = [
    b"GET / HTTP/1.1\r\n",
    b"PUT /a HTTP/1.1\r\n",
    b"POST /a HTTP/1.0\r\n",
    b"Host: x\r\n",
    b"Host: x\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 5\r\n\r\nhello",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"5\r\nhello\r\n",
    b"5;a=b\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\x00",
    b":",
    b"hello",
    GET,
    lengths(b"5"),
    chunked(GOOD_CHUNKS),
]
STREAMS = st.lists(st.sampled_from(PARTS) | st.binary(max_size=8), max_size=12).map(b"".join)
SPLITS = st.lists(st.integers(1, 60), max_size=40)


class AnyBytesTests(SynchronousTestCase):
    """Rules that hold whatever is sent."""

    @settings(max_examples=300, deadline=None)
    @given(STREAMS, SPLITS)
    def test_any_bytes(self, sent: bytes, sizes: list[int]) -> None:
        """No bytes in any split raise, and no more requests are read than a strict reader finds."""
        client = Client(Patient())
        client.send_split(sent, sizes)
        self.assertLessEqual(len(client.requests), strict_count(sent))
        whole = Client(Patient())
        whole.send_split(sent, [])
        # Only whether 100 (Continue) is sent may depend on the split.
        self.assertEqual(
            [code for code in client.codes if code != 100],
            [code for code in whole.codes if code != 100],
        )
        self.assertEqual(client.wire.ending, whole.wire.ending)
        client.end()
        client.lose()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_good_requests_are_counted(self) -> None:
        """The strict reader does find requests: it and wire agree on a long good pipeline."""
        chosen = random.Random(1)
        good = [GET, lengths(b"5"), chunked(GOOD_CHUNKS), b"\r\n" + GET]
        for _ in range(50):
            sent = b"".join(chosen.choices(good, k=20))
            client = Client(Patient())
            client.send_split(sent, random_sizes(chosen.random().__hash__(), len(sent)))
            self.assertEqual(len(client.requests), 20)
            self.assertEqual(strict_count(sent), 20)


class DrainTests(SynchronousTestCase):
    """Answers that are given before the body is here (RFC 9112 section 9.6)."""

    def refused(self) -> Client:
        client = Client()
        client.send(head(b"Content-Length: 1000000", line=b"PUT /refused HTTP/1.1"))
        self.assertEqual(client.codes, [409])
        self.assertEqual(client.responses()[0].headers["connection"], "close")
        return client

    def test_drains_a_little(self) -> None:
        """64 KiB more are dropped; the rest stays in the socket, until the second is over.

        To close on a client that sends, with bytes of its unread, would take the answer back.
        """
        client = self.refused()
        client.send(b"x" * 65536)
        self.assertFalse(client.wire.paused)
        client.send(b"x")
        self.assertTrue(client.wire.paused)
        self.assertFalse(client.wire.lost)
        client.wait(2)
        self.assertTrue(client.wire.lost)

    def test_drains_a_second(self) -> None:
        """After a second the connection is closed."""
        client = self.refused()
        self.assertTrue(client.wire.half_closed)
        self.assertFalse(client.wire.lost)
        client.wait(2)
        self.assertTrue(client.wire.lost)
        client.connection.dataReceived(GET)
        self.assertEqual(client.codes, [409])

    def test_client_closes(self) -> None:
        """When the client has closed, so do we."""
        client = self.refused()
        client.end()
        self.assertTrue(client.wire.lost)

    def test_paused(self) -> None:
        """A socket that was left alone is read again to be drained."""
        client = Client()
        client.send(head(b"Content-Length: 1000000", line=b"PUT /waiting HTTP/1.1"))
        client.send(b"x" * 131072)
        self.assertTrue(client.wire.paused)
        client.requests[0].respond(409, [], b"")
        self.assertFalse(client.wire.paused)

    def test_long_answer(self) -> None:
        """While a long answer is sent the body is dropped a little; the answer is not cut."""
        later: Deferred[bytes] = Deferred()
        client = Client(responder(200, [], lambda: Pieces([b"a", later], length=2)))
        client.send(head(b"Content-Length: 1000000"))
        client.send(b"x" * 65536 * 2)
        self.assertTrue(client.wire.paused)
        self.assertFalse(client.wire.ending)
        later.callback(b"b")
        self.assertEqual([each.body for each in client.responses()], [b"ab"])
        self.assertTrue(client.wire.half_closed)
        self.assertTrue(client.wire.paused)
        client.wait(2)
        self.assertTrue(client.wire.lost)


class AwaitedTests(SynchronousTestCase):
    """Whether a request still needs an answer."""

    def test_awaited(self) -> None:
        """It does until it is answered, or its client is gone."""
        client = Client()
        client.send(head(line=b"GET /waiting HTTP/1.1"))
        (request,) = client.requests
        self.assertTrue(request.is_awaited)
        request.respond(200, [], b"")
        self.assertFalse(request.is_awaited)
        client.send(head(line=b"GET /waiting HTTP/1.1"))
        request = client.requests[1]
        self.assertTrue(request.is_awaited)
        client.lose()
        self.assertFalse(request.is_awaited)


class CycleTests(SynchronousTestCase):
    """What a connection leaves in memory."""

    def test_none(self) -> None:
        """A connection that is gone is freed at once, without Python's gc."""
        client = Client(responder(200, [], lambda: b"a"))
        client.send(GET + head(b"Content-Length: 3") + b"abc")
        self.assertEqual(len(client.responses()), 2)
        gone = weakref.ref(client.connection)
        client.lose()
        gc.disable()
        self.addCleanup(gc.enable)
        del client.connection
        self.assertIsNone(gone())
