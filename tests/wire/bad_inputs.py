"""The table of bad inputs, as far as one connection can tell, and their good neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from tests.wire.support import GET, GOOD_CHUNKS, SMUGGLED, chunked, head, lengths


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
    bad(9, head(b"Transfer-Encoding: , chunked,") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: ,") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: ;chunked") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: ,", b"Transfer-Encoding: chunked") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: , identity") + GOOD_CHUNKS),
    bad(9, head(b"Transfer-Encoding: , gzip, chunked") + GOOD_CHUNKS, 501),
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
            b"5 ;",
            b"5; ",
            b"5;a ",
            b"5;a= ",
            b"5;a=b ",
            b"5 a",
            b"5;a b",
            b"5;a\x0b=b",
            b"5\x0c;a",
            b"5;a;",
            b"5;a=;b",
            b"g",
        )
    ),
    bad_chunk(15, b"0" * 1041 + b"5\r\nhello\r\n0\r\n\r\n"),
    bad_chunk(15, b"0" * 516 + b"5\r\nhello\r\n" + b"0" * 600 + b"\r\n\r\n"),
    bad_chunk(15, b"0" * 2000),
    bad_chunk(15, b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    bad_chunk(15, b"0010000000000000005\r\nhello\r\n0\r\n\r\n"),
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
    bad(24, head(line=b"GET / HTTP/1.2", host=b"")),
    bad(24, head(line=b"GET / HTTP/2.0"), 505),
    bad(24, head(line=b"GET / HTTP/2.1"), 505),
    bad(24, head(line=b"GET / HTTP/0.1"), 505),
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
    # Each byte beyond ASCII counts as the three of its percent-encoding.
    bad(27, head(line=b"GET /" + b"\xc3\xa9" * 1366 + b" HTTP/1.1"), 414),
    bad(27, head(line=b"GET /" + b"a" * 17408 + b" HTTP/1.1"), 414),
    Row(29, head(b"Connection: close", line=b"GET /a HTTP/1.1") + b"garbage", (200,), requests=1),
    Row(29, head(b"Connection: close", line=b"GET /a HTTP/1.1") + GET, (200,), requests=1),
    Row(29, head(b"Connection: x, Close", line=b"GET /a HTTP/1.1") + GET, (200,), requests=1),
    # More members of a list than anybody needs: too many options close, too many codings are 400.
    Row(29, head(b"Connection: " + b"x," * 32, line=b"GET /a HTTP/1.1") + GET, (200,), requests=1),
    bad(18, head(b"Transfer-Encoding: " + b"gzip, " * 32 + b"br")),
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
    (9, head(b"Transfer-Encoding: , chunked") + GOOD_CHUNKS, b"hello"),
    (9, head(b"Transfer-Encoding: ,\t, ,Chunked") + GOOD_CHUNKS, b"hello"),
    (14, chunked(b"5 ;a\r\nhello\r\n0\t; b\r\n\r\n"), b"hello"),
    (14, chunked(b'5 ; a = b\t;\tc="d ; e = \\" " ; f\r\nhello\r\n0\r\n\r\n'), b"hello"),
    (15, chunked(b"0000000000000005\r\nhello\r\n0\r\n\r\n"), b"hello"),
    (15, chunked(b"00000000000000005\r\nhello\r\n00000000000000000\r\n\r\n"), b"hello"),
    (15, chunked(b"0" * 500 + b"5;a\r\nhello\r\n" + b"0" * 500 + b"\r\n\r\n"), b"hello"),
    (24, head(b"Content-Length: 5", line=b"PUT /a HTTP/1.2") + b"hello", b"hello"),
    (24, head(b"Transfer-Encoding: chunked", line=b"PUT /a HTTP/1.9") + GOOD_CHUNKS, b"hello"),
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
