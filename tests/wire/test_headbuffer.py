"""Heads that are like the last one: they are read quickly, and as if each came first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.wire import Limits, Request
from gostore.wire.head import Headers, ProtocolError
from gostore.wire.headbuffer import HeadBuffer
from tests.wire.support import Client, Collector, head

LINES = [
    b"POST /a HTTP/1.1",
    b"PUT /%C3%A9/b HTTP/1.1",
    b"PUT /a HTTP/1.0",
    b"PUT /a HTTP/1.2",
    b"PUT /a?b HTTP/1.1",
    b"PUT /a#b HTTP/1.1",
    b"PUT /\xe9 HTTP/1.1",
    b"PUT //a HTTP/1.1",
    b"PUT http://x/a HTTP/1.1",
    b"PUT  /a HTTP/1.1",
    b"PUT /" + b"a" * 50 + b" HTTP/1.1",
    b"POST /" + b"a" * 50 + b" HTTP/1.1",
    b"PUT /" + b"a" * 59 + b" HTTP/1.1",
    b"PUT /" + b"a" * 60 + b" HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"CONNECT x:1 HTTP/1.1",
    b"PATCH /a HTTP/1.1",
]
LENGTHS = [
    b"Content-Length: 5",
    b"Content-Length: 12",
    b"content-length:12",
    b"Content-Length: 0",
    b"Content-Length: 012",
    b"Content-Length: 12 ",
    b"Content-Length: +12",
    b"Content-Length: 1 2",
    b"Content-Length: \xb2",
    b"Content-Length:",
    b"Content-Length: " + b"9" * 18,
    b"Content-Length: " + b"9" * 19,
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content_Length: 5",
    b"X-Content-Length: 5",
    b"Transfer-Encoding: chunked",
]
OTHERS = [
    [],
    [b"Expect: 100-continue"],
    [b"Expect: 200"],
    [b"Connection: close"],
    [b"Accept: a"],
    [b"A:content-length: 5"],
]
HEADS = st.tuples(
    st.sampled_from(LINES), st.sampled_from(LENGTHS), st.sampled_from(OTHERS), st.booleans()
).map(lambda made: _head(*made))


def _head(line: bytes, length: bytes, others: list[bytes], first: bool) -> bytes:
    return head(*([length, *others] if first else [*others, length]), line=line)


LIMITS = Limits(max_uri_size=60, max_head_size=120)


def read(heads: HeadBuffer) -> object:
    """What there is to know of the next head."""
    try:
        found = heads.next_head()
    except ProtocolError as error:
        return error.code, error.text
    assert found is not None
    *line, fields = found
    headers = fields.headers
    names = {name for name, _ in headers.items()}
    values = [(name, headers.get(name), headers.get_all(name)) for name in sorted(names)]
    return line, list(headers.items()), values, fields.length, fields.keep_alive, fields.expect


class LikeTests(SynchronousTestCase):
    """What comes before a head changes nothing about it."""

    def test_pairs(self) -> None:
        """One head after another that has other lines, or another length."""
        for first in (True, False):
            for kind in (
                [_head(line, LENGTHS[0], OTHERS[0], first) for line in LINES],
                *([_head(LINES[0], each, other, first) for each in LENGTHS] for other in OTHERS),
            ):
                for pair in itertools.product(kind, kind):
                    self.check(pair, at_once=True)

    @given(st.lists(HEADS, max_size=12), st.booleans())
    @settings(max_examples=100, deadline=None)
    def test_any(self, sent: list[bytes], at_once: bool) -> None:
        """Each of many heads says what it says alone, or is refused as it is alone."""
        self.check(sent, at_once=at_once)

    def check(self, sent: Sequence[bytes], *, at_once: bool) -> None:
        """Read all with one buffer, and each with one of its own."""
        heads = HeadBuffer(LIMITS)
        if at_once:
            heads.feed(b"".join(sent))
        for each in sent:
            alone = HeadBuffer(LIMITS)
            alone.feed(each)
            if not at_once:
                heads.feed(each)
            expected = read(alone)
            self.assertEqual(read(heads), expected)
            if not isinstance(expected, tuple) or len(expected) == 2:
                return  # The connection ends here.
            self.assertEqual(alone.unread, b"")

    def test_read_once(self) -> None:
        """What is made of the fields is made once, however long the bodies are."""
        asked: list[Headers] = []
        heads = HeadBuffer(Limits())
        for length in (b"5", b"5", b"7", b"12", b"5"):
            heads.feed(head(b"Content-Length: " + length, b"A: b"))
            found = heads.next_head()
            assert found is not None
            headers = found[-1].headers
            headers.parsed(asked.append)
            self.assertEqual(headers.get(b"content-length"), length)
        self.assertEqual(len(asked), 1)


class BodyTests(SynchronousTestCase):
    """Bodies that are here with their heads, and such that are not."""

    @given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 400))
    @settings(max_examples=200, deadline=None)
    def test_bodies(self, bodies: list[bytes], size: int) -> None:
        """Each body is as it was sent, in whatever pieces it comes, and each request too."""
        came: list[bytes] = []

        def keep(request: Request) -> None:
            came.append(request.headers.get(b"content-length") or b"")

            def answer(data: bytes) -> None:
                came.append(data)
                request.respond(200, [], b"")

            request.body.deliver(Collector(answer))

        client = Client(keep)
        sent = b"".join(head(b"Content-Length: %d" % len(each)) + each for each in bodies)
        client.send_split(sent, [size] * (len(sent) // size))
        client.settle()
        expected = [text for each in bodies for text in (b"%d" % len(each), each)]
        self.assertEqual(came, expected)
        self.assertEqual([each.code for each in client.responses()], [200] * len(bodies))
