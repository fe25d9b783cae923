"""gostore.wire.factory: HTTP as a stranger may send it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from gostore.wire import ERROR_HEADERS, HTTPFactory, Limits, Request, error_body
from tests.wire.support import (
    Client,
    Collector,
    Patient,
    Pieces,
    Store,
    Wire,
    random_sizes,
    read_responses,
    responder,
    strict_count,
)

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def head(*fields: bytes, line: bytes = b"PUT /a HTTP/1.1", host: bytes = b"Host: x") -> bytes:
    """A request head of these field lines."""
    return b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])


def chunked(body: bytes) -> bytes:
    """A PUT with this as its chunked body, framing and all."""
    return head(b"Transfer-Encoding: chunked") + body


@frozen
class Row:
    """One row of the list of bad inputs: what is sent, and which codes may come back.

    `close`: the connection ends after the answer. `requests`: how many are dispatched at most.
    """

    number: int
    sent: bytes
    codes: Sequence[int]
    close: bool = True
    requests: int = 0


def bad(number: int, sent: bytes, *codes: int) -> Row:
    """A row in which nothing is dispatched and the connection is closed."""
    return Row(number, sent, codes or (400,))


def bad_chunk(number: int, body: bytes, *codes: int) -> Row:
    """A row whose head is good: it may be dispatched before its body turns out to be bad."""
    return Row(number, chunked(body), codes or (400,), requests=1)


def lengths(*values: bytes) -> bytes:
    """A head with these Content-Lengths, and a body of 5."""
    return head(*(b"Content-Length: " + value for value in values)) + b"hello"


GOOD_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

ROWS = [
    bad(1, lengths(b"5", b"5")),
    bad(1, lengths(b"5", b"6")),
    bad(1, lengths(b"0", b"0")),
    *(
        bad(2, lengths(value))
        for value in (
            b"5, 5",
            b"+5",
            b"-5",
            b"0x5",
            b"5_0",
            b"",
            b"5 5",
            b"5.0",
            b"5\x00",
            b"5\xa0",
        )
    ),
    bad(2, lengths("\N{ARABIC-INDIC DIGIT FIVE}".encode())),
    bad(3, lengths(b"1" * 4301)),
    bad(3, lengths(b"0" * 4301)),
    bad(4, lengths(b"%d" % 2**63), 413),
    bad(4, lengths(b"%d" % 2**64), 413),
    bad(4, lengths(b"%d" % 10**31), 413),
    bad(5, head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + GOOD_CHUNKS),
    bad(5, head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + GOOD_CHUNKS),
    bad(6, head(b"Transfer-Encoding: identity", b"Content-Length: 5") + b"hello"),
    bad(7, head(b"Transfer-Encoding: identity") + SMUGGLED),
    bad(8, head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + GOOD_CHUNKS),
    bad(8, head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: gzip, chunked") + GOOD_CHUNKS, 501),
    bad(9, head(b"Transfer-Encoding: xchunked") + GOOD_CHUNKS, 501),
    bad(9, head(b"Transfer-Encoding: \x0bchunked") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: \xa0chunked") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: \xc2\xa0chunked") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: chunked, chunked") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: chunked, gzip") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: chunked,") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: ,chunked") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding:") + GOOD_CHUNKS),
    bad(9, head(b'Transfer-Encoding: "chunked"') + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: chunked;q=1") + GOOD_CHUNKS),
    bad(10, head(b"Transfer-Encoding : chunked") + GOOD_CHUNKS),
    bad(10, head(b" Transfer-Encoding: chunked") + GOOD_CHUNKS),
    bad(10, head(b"Transfer-Encoding\t: chunked") + GOOD_CHUNKS),
    bad(10, head(b" Transfer-Encoding: chunked", host=b"") + GOOD_CHUNKS),
    bad(11, head(b"Transfer-Encoding:\r\n chunked") + GOOD_CHUNKS),
    bad(11, head(b"Content-Length:\r\n\t5") + b"hello"),
    bad(11, head(b"X-A: b\r\n c") + b"hello"),
    bad(11, head(b"X-A: b", b" Content-Length: 5") + b"hello"),
    bad(12, head(b"Transfer-Encoding: chunked", line=b"PUT /a HTTP/1.0") + GOOD_CHUNKS),
    *(
        bad(13, head(name + b": chunked") + GOOD_CHUNKS)
        for name in (
            b"Transfer_Encoding",
            b"Transfer-Encoding-",
            b"TransferEncoding",
            b"Transfer.Encoding",
            b"-transfer-encoding",
            b"'Transfer-Encoding'",
        )
    ),
    bad(13, head(b"Content_Length: 5") + b"hello"),
    bad(13, head(b"Content-Length: 5", b"content_length: 5") + b"hello"),
    *(
        bad_chunk(14, size + b"\r\nhello\r\n0\r\n\r\n")
        for size in (
            b"0x5",
            b"+5",
            b"-5",
            b" 5",
            b"5 ",
            b"5\t",
            b"",
            b";",
            b"5;",
            b";a",
            b"5 ;a",
            b"g",
        )
    ),
    bad_chunk(15, b"00000000000000005\r\nhello\r\n0\r\n\r\n", 400, 413),
    bad_chunk(15, b"f" * 17 + b"\r\n", 400, 413),
    bad_chunk(15, b"f" * 16 + b"\r\nhello", 413),
    bad_chunk(15, b"8000000000000000\r\nhello", 413),
    bad_chunk(16, b"5\nhello\r\n0\r\n\r\n"),
    bad_chunk(16, b"5\r\nhello\n0\r\n\r\n"),
    bad_chunk(16, b"5\r\nhello\r\n0\n\r\n"),
    bad_chunk(16, b"5\r\nhello\r\n0\r\n\n"),
    bad_chunk(16, b"5\r\nhello\r\n0\r\nA: b\n\r\n"),
    bad_chunk(16, b"5;a=b\n\r\nhello\r\n0\r\n\r\n"),
    bad_chunk(17, b"4\r\nhello\r\n0\r\n\r\n"),
    bad_chunk(17, b"6\r\nhello\r\n0\r\n\r\n"),
    bad_chunk(17, b"5\r\nhelloAB0\r\n\r\n"),
    bad_chunk(18, b"5;" + b"a" * 1100 + b"\r\nhello\r\n0\r\n\r\n"),
    bad_chunk(18, b"5;" + b"a" * 1100),
    bad_chunk(18, b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    bad_chunk(18, b'5;a="\n"\r\nhello\r\n0\r\n\r\n'),
    bad_chunk(18, b"1;a\r\nx\r\n" * 20000),
    bad_chunk(19, b"0\r\nA: \x00\r\n\r\n"),
    bad_chunk(19, b"0\r\nno colon\r\n\r\n"),
    bad_chunk(19, b"0\r\nA: b\r\n folded\r\n\r\n"),
    bad_chunk(19, b"0\r\n" + b"A: " + b"b" * 65536 + b"\r\n\r\n"),
    bad_chunk(19, b"0\r\n" + b"A: b\r\n" * 101 + b"\r\n"),
    bad(20, head(host=b"")),
    bad(20, head(b"Content-Length: 5", host=b"") + b"hello"),
    bad(21, head(b"Host: x")),
    bad(21, head(b"Host: y")),
    *(
        bad(21, head(host=b"Host: " + host))
        for host in (
            b"a, b",
            b"a..b",
            b"a" * 70,
            b"a b",
            b"a@b",
            "é".encode(),
            b"a/b",
            b".a",
            b"a:b",
            b"a:99999999",
            b"[::1",
            b"a.b" * 100,
        )
    ),
    Row(22, b"GET http://x/store/a HTTP/1.1\r\nHost: y\r\n\r\n", (200,), close=False, requests=1),
    bad(22, b"GET http://u@x/store/a HTTP/1.1\r\nHost: y\r\n\r\n"),
    bad(22, b"GET ftp://x/store/a HTTP/1.1\r\nHost: y\r\n\r\n"),
    bad(22, b"GET store/a HTTP/1.1\r\nHost: y\r\n\r\n"),
    bad(22, b"GET * HTTP/1.1\r\nHost: y\r\n\r\n"),
    Row(23, head(line=b"OPTIONS * HTTP/1.1"), (200,), close=False, requests=1),
    Row(23, head(line=b"CONNECT x:443 HTTP/1.1") + GET, (405,), requests=1),
    bad(23, head(line=b"CONNECT /a HTTP/1.1")),
    Row(23, head(line=b"TRACE /a HTTP/1.1"), (405,), close=False, requests=1),
    Row(23, head(line=b"FOO /a HTTP/1.1"), (405,), close=False, requests=1),
    bad(23, head(line=b"A" * 5000 + b" /a HTTP/1.1"), 501),
    bad(23, head(line=b"get /a HTTP/1.1"), 501),
    bad(24, b"GET /\r\n"),
    bad(24, b"GET /\r\n\r\n"),
    bad(24, head(line=b"GET / HTTP/1.2"), 505),
    bad(24, head(line=b"GET / HTTP/2.0"), 505),
    bad(24, head(line=b"GET / HTTP/9.9"), 505),
    bad(24, head(line=b"GET / HTTP/0.9"), 505),
    *(
        bad(24, head(line=line))
        for line in (
            b"GET / HTTP/1.10",
            b"GET / http/1.1",
            b"GET / HTTP/1",
            b"GET / HTTP/1.1 ",
            b"GET / ICY/1.1",
            b"GET  / HTTP/1.1",
            b"GET /  HTTP/1.1",
            b"GET /a b HTTP/1.1",
            b" GET / HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET /\x00 HTTP/1.1",
            b"GET /\x7f HTTP/1.1",
            b"GET /a#b HTTP/1.1",
            b"G(T / HTTP/1.1",
            b"/ HTTP/1.1",
            b"\r\n\r\n",
        )
    ),
    bad(24, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    bad(24, bytes.fromhex("1603010200010001fc0303")),
    bad(24, b"GET / HTTP/1.1\nHost: x\n\n"),
    *(
        bad(25, head(b"X-Bad: a" + value + b"b"))
        for value in (b"\x00", b"\r", b"\n", b"\x07", b"\x7f", b"\x0b", b"\x1f")
    ),
    bad(25, head(b"X-Bad[]: a")),
    bad(25, head(b": a")),
    bad(25, head(b"no colon")),
    bad(25, head("é: a".encode())),
    bad(26, head(*(b"A: b" for _ in range(100))), 431),
    bad(26, head(*(b"A: b" for _ in range(500))), 431),
    bad(26, head(b"A: " + b"b" * 17000), 431),
    bad(26, head(b"A: " + b"b" * 17000)[:-4], 431),
    bad(27, head(line=b"GET /" + b"a" * 9216 + b" HTTP/1.1"), 414),
    bad(27, head(line=b"GET /" + b"a" * 17408 + b" HTTP/1.1"), 414),
    Row(29, head(b"Connection: close", line=b"GET /a HTTP/1.1") + b"garbage", (200,), requests=1),
    Row(29, head(b"Connection: close", line=b"GET /a HTTP/1.1") + GET, (200,), requests=1),
    Row(29, head(b"Connection: x, Close", line=b"GET /a HTTP/1.1") + GET, (200,), requests=1),
    bad(32, head(b"Expect: something", b"Content-Length: 5"), 417),
    bad(32, head(b"Expect: 100-continue, x", b"Content-Length: 5"), 417),
]

GOOD = [
    (1, lengths(b"5"), b"hello"),
    (2, lengths(b"0005"), b"hello"),
    (2, head(b"Content-Length:\t 5 \t") + b"hello", b"hello"),
    (9, head(b"Transfer-Encoding: Chunked") + GOOD_CHUNKS, b"hello"),
    (14, chunked(GOOD_CHUNKS), b"hello"),
    (14, chunked(b"0\r\n\r\n"), b""),
    (14, chunked(b"A\r\n0123456789\r\n1\r\nx\r\n000\r\n\r\n"), b"0123456789x"),
    (15, chunked(b"0000000000000005\r\nhello\r\n0\r\n\r\n"), b"hello"),
    (18, chunked(b'5;a;b=c;d="e;\\"\xff"\r\nhello\r\n0;z\r\n\r\n'), b"hello"),
    (19, chunked(b"5\r\nhello\r\n0\r\nContent-Length: 9\r\nX: y\r\n\r\n"), b"hello"),
    (19, chunked(b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"), b"hello"),
    (19, chunked(b"0\r\nA: " + b"b" * 9000 + b"\r\n\r\n"), b""),
    (21, head(b"Content-Length: 5", host=b"Host: [::1]:7777") + b"hello", b"hello"),
    (21, head(b"Content-Length: 5", host=b"Host: a-b.c_d.:80") + b"hello", b"hello"),
    (26, head(*(b"A: b" for _ in range(98)), b"Content-Length: 5") + b"hello", b"hello"),
    (34, head(b"X-HTTP-Method-Override: DELETE", b"Content-Length: 5") + b"hello", b"hello"),
    (
        34,
        head(b"Connection: Upgrade", b"Upgrade: h2c", b"HTTP2-Settings: a", b"Content-Length: 5")
        + b"hello",
        b"hello",
    ),
    (
        34,
        head(b"Connection: Upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked")
        + GOOD_CHUNKS,
        b"hello",
    ),
    (34, head(b"Content-Encoding: gzip", b"Content-Length: 5") + b"\x1f\x8bzip", b"\x1f\x8bzip"),
]


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
        """What is next to a bad row but good is read as meant, and so is the request after it."""
        for number, sent, body in GOOD:
            for sizes in self.ways(sent + GET):
                what = f"row {number}: {sent[:120]!r} in {sizes[:5]}"
                client = Client()
                client.send_split(sent + GET, sizes)
                self.assertEqual(client.codes, [200, 200], what)
                self.assertEqual(client.app.kept, {"/a": body}, what)
                self.assertFalse(client.wire.ending, what)

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

    def test_error_body_is_utf8(self) -> None:
        """A location in an error is readable, and a lone surrogate in one does no harm."""
        self.assertEqual(error_body(404, "é"), '{"code": 404, "text": "é"}\n'.encode())
        self.assertEqual(error_body(404, "\udc80"), b'{"code": 404, "text": "\\udc80"}\n')

    def test_many_tiny_chunks(self) -> None:
        """Row 18: chunks of one byte are one body, and come to the sink put together."""
        client = Client()
        client.send(chunked(b"1\r\nx\r\n" * 50000 + b"0\r\n\r\n"))
        self.assertEqual(client.app.kept, {"/a": b"x" * 50000})
        self.assertLess(len(client.app.sinks[0].pieces), 10)

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
        """Row 30: who has said all and listens is answered; the connection ends then."""
        client = Client()
        client.send(GET + GET)
        client.end()
        self.assertEqual(client.codes, [200, 200])
        self.assertTrue(client.wire.lost)

    def test_half_close_before_answer(self) -> None:
        """Row 30: the client may half-close before the application answers, and is answered."""
        client = Client()
        client.send(head(line=b"GET /held HTTP/1.1") + GET)
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
    """What holds for whatever is sent."""

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
        self.assertFalse(request.is_secure)

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
        """What came in the same read as the head is in the body when the request is dispatched."""
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
        client.send(head(line=b"GET /held HTTP/1.1"))
        client.send(head(line=b"GET /held HTTP/1.1"))
        first = client.requests[0]
        first.respond(200, [], b"one")
        source = Pieces([b"two"])
        first.respond(200, [], source)
        self.assertEqual([each.body for each in client.responses()], [b"one"])
        self.assertEqual(source.closed, 1)

    def test_after_the_client(self) -> None:
        """An answer to a client that is gone is ignored, and its source closed."""
        client = Client()
        client.send(head(line=b"GET /held HTTP/1.1"))
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

    def test_access_log(self) -> None:
        """Answers are logged at debug level when asked for, with the target escaped."""
        app = Store()
        factory = HTTPFactory(app, Limits(), Clock(), access_log=True)
        client = Client(app, factory=factory)
        client.send(GET)
        self.assertEqual(client.codes, [200])


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
            client.connection.resumeProducing()
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
            client.connection.resumeProducing()
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
        client.connection.resumeProducing()
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


class BodyTests(SynchronousTestCase):
    """Request bodies on their way to a sink."""

    def held(self, sent: bytes, limits: Limits | None = None) -> tuple[Client, Request]:
        """A client whose request the application keeps, and that request."""
        client = Client(limits=limits)
        client.send(sent)
        return client, client.requests[0]

    def put(self, *fields: bytes) -> bytes:
        return head(*fields, line=b"PUT /held HTTP/1.1")

    def test_streams(self) -> None:
        """Bytes reach the sink as they come, and are counted."""
        client, request = self.held(self.put(b"Content-Length: 10"))
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
        _, request = self.held(self.put())
        sink = Collector()
        request.body.deliver(sink)
        self.assertEqual((sink.data, sink.done), (b"", 1))

    def test_taken_once(self) -> None:
        """A body is taken once."""
        _, request = self.held(self.put())
        request.body.deliver(Collector())
        self.assertRaises(RuntimeError, request.body.deliver, Collector())

    def test_continue(self) -> None:
        """Who waits is asked for the body when it is taken, not before (RFC 9110 10.1.1)."""
        client, request = self.held(self.put(b"Expect: 100-Continue", b"Content-Length: 5"))
        self.assertEqual(client.wire.value(), b"")
        sink = Collector(lambda data: request.respond(200, [], data))
        request.body.deliver(sink)
        self.assertEqual(client.wire.value(), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(b"hello" + GET)
        self.assertEqual([each.code for each in client.responses()], [100, 200, 200])

    def test_no_continue(self) -> None:
        """Who does not wait, has nothing to send, or speaks HTTP/1.0, is not asked."""
        expect = b"Expect: 100-continue"
        for sent in (
            self.put(expect, b"Content-Length: 5") + b"h",
            self.put(expect, b"Transfer-Encoding: chunked") + b"5",
            self.put(expect, b"Content-Length: 0"),
            self.put(expect),
            head(expect, b"Content-Length: 5", line=b"PUT /held HTTP/1.0"),
            head(b"Expect: x", b"Content-Length: 5", line=b"PUT /held HTTP/1.0"),
        ):
            client, request = self.held(sent)
            request.body.deliver(Collector())
            self.assertEqual(client.wire.value(), b"", sent)

    def test_nobody_takes_it(self) -> None:
        """A body that nobody takes is read a little ahead, and the socket then left alone."""
        client, request = self.held(self.put(b"Content-Length: 1000000"))
        client.send(b"x" * 65536)
        self.assertFalse(client.wire.paused)
        client.send(b"x" * 65536)
        self.assertTrue(client.wire.paused)
        sink = Collector()
        request.body.deliver(sink)
        self.assertEqual(len(sink.data), 131072)
        self.assertFalse(client.wire.paused)

    def test_chunk_too_large(self) -> None:
        """A chunk that makes the body longer than allowed is refused before it comes."""
        coding = self.put(b"Transfer-Encoding: chunked")
        client, request = self.held(coding + b"6\r\nhello,\r\n", Limits(body=10))
        sink = Collector()
        request.body.deliver(sink)
        client.send(b"5\r\n")
        self.assertEqual(client.codes, [413])
        self.assertEqual(sink.reasons, ["The body is larger than the limit of 10 bytes"])

    def test_back_pressure(self) -> None:
        """A sink that has enough pauses the socket, and nothing comes until it resumes."""
        client, request = self.held(self.put(b"Transfer-Encoding: chunked"))
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
        client, request = self.held(self.put(b"Transfer-Encoding: chunked"))

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
                client, request = self.held(self.put(*fields))
                sink = Collector()
                request.body.deliver(sink)
                client.send(body)
                if pause:
                    request.body.pauseProducing()
                client.lose()
                self.assertEqual(sink.reasons, [reason])

    def test_gone_before_taken(self) -> None:
        """A body that is taken after the client went fails at once."""
        client, request = self.held(self.put(b"Content-Length: 10") + b"hello")
        client.lose()
        sink = Collector()
        request.body.deliver(sink)
        self.assertEqual(sink.reasons, ["Client went away after 5 of 10 bytes"])
        self.assertEqual(sink.data, b"")

    def test_whole_before_gone(self) -> None:
        """A body that is all here is whole, even when the client goes before it is taken."""
        client, request = self.held(self.put(b"Content-Length: 5") + b"hello")
        client.lose()
        sink = Collector()
        request.body.deliver(sink)
        self.assertEqual((sink.data, sink.done), (b"hello", 1))

    def test_malformed(self) -> None:
        """A body that turns out malformed is answered with 400, and the sink hears why."""
        client, request = self.held(self.put(b"Transfer-Encoding: chunked"))
        sink = Collector()
        request.body.deliver(sink)
        client.send(b"5\r\nhello\r\nx")
        self.assertEqual([each.code for each in client.responses()], [400])
        self.assertEqual(sink.reasons, ["Malformed chunk"])
        request.respond(200, [], b"")
        self.assertEqual(len(client.responses()), 1)

    def test_answer_ends_the_body(self) -> None:
        """An answer while the body comes: no more of it, and the sink hears so, once."""
        client, request = self.held(self.put(b"Content-Length: 10") + b"hello")

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

        client, request = self.held(self.put(b"Content-Length: 10") + b"hello")
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

        client, request = self.held(self.put(b"Content-Length: 10") + b"hello")
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

        client, request = self.held(self.put(b"Content-Length: 10") + b"hello")
        request.body.deliver(Broken())
        request.respond(409, [], b"")
        self.assertEqual([each.code for each in client.responses()], [409])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_pipelined_behind_body(self) -> None:
        """What follows a body waits its turn, and the socket with it."""
        client, request = self.held(self.put(b"Content-Length: 5") + b"hello" + GET)
        self.assertTrue(client.wire.paused)
        self.assertEqual(len(client.requests), 1)
        request.respond(200, [], b"")
        self.assertFalse(client.wire.paused)
        self.assertEqual(client.codes, [200, 200])

    def test_pipelined_later(self) -> None:
        """A request that comes while one is worked on waits, and is not forgotten."""
        client, request = self.held(self.put(b"Content-Length: 5") + b"hello")
        client.send(GET[:7])
        self.assertTrue(client.wire.paused)
        client.connection.dataReceived(GET[7:])
        request.respond(200, [], b"")
        self.assertEqual(client.codes, [200, 200])


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
        client.send(head(b"Content-Length: 1000000", line=b"PUT /held HTTP/1.1"))
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
        client.send(head(line=b"GET /held HTTP/1.1"))
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
        client.requests[0].body.pauseProducing()
        client.wait(500)
        client.requests[0].body.resumeProducing()
        client.wait(29)
        self.assertEqual(client.wire.value(), b"")
        client.wait(3)
        self.assertEqual(client.codes, [408])

    def test_waits_for_continue(self) -> None:
        """Who waits to be asked for the body is not too slow with it."""
        client = Client()
        client.send(
            head(b"Expect: 100-continue", b"Content-Length: 5000", line=b"PUT /held HTTP/1.1")
        )
        client.wait(500)
        self.assertEqual(client.wire.value(), b"")
        client.requests[0].body.deliver(Collector())
        client.wait(29)
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


class FactoryTests(SynchronousTestCase):
    """All connections together."""

    def test_too_many(self) -> None:
        """Row 50: one too many is told 503 and when to come again; the others are served."""
        first = Client(limits=Limits(max_connections=2))
        second = Client(first.app, factory=first.factory)
        third = Client(first.app, factory=first.factory)
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
        self.assertEqual([each.responses()[0].code for each in told], [503] * 3)
        self.assertIsNone(first.factory.buildProtocol(None))

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
        client.send(head(line=b"GET /held HTTP/1.1") + GET)
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
