"""gostore.wire.chunks: bodies that come in chunks."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gostore.wire import Limits
from gostore.wire.chunks import Chunked
from gostore.wire.head import ProtocolError
from tests.wire.support import GOOD_CHUNKS, Client, Collector, chunked, head, lengths


class Parser:
    """A second parser that finds the end of every body when it is told to, or never."""

    def __init__(self, events: Any, ends_with: bytes) -> None:
        self.events = events
        self.ends_with = ends_with
        self.read = b""

    def feed_data(self, data: bytes | memoryview) -> None:
        self.read += data
        if self.read.endswith(self.ends_with):
            self.events.on_message_complete()


class AgreementTests(SynchronousTestCase):
    """A body is accepted only where both parsers find the same end."""

    def read(self, ends_with: bytes) -> bool:
        """Read a body of five bytes, with a second parser that finds its end there."""
        parser: Any = partial(Parser, ends_with=ends_with)
        chunks = Chunked(Limits(), parser)
        for data in (b"5\r\n", b"hello\r\n", b"0\r\n", b"\r\n"):
            chunks.feed(data, 0, lambda piece: None)
        return chunks.complete

    def test_same_end(self) -> None:
        """They agree."""
        self.assertTrue(self.read(b"\r\n0\r\n\r\n"))

    def test_other_end(self) -> None:
        """The second parser finds the end too early, or not at all."""
        for ends_with in (b"hello\r\n", b"0\r\n", b"never"):
            error = self.assertRaises(ProtocolError, self.read, ends_with)
            self.assertEqual((error.code, error.text), (400, "Malformed body"))


class ChunkTests(SynchronousTestCase):
    """Chunked bodies on their way to a sink."""

    def test_many_tiny_chunks(self) -> None:
        """Row 18: chunks of one byte are one body, and come to the sink put together."""
        client = Client()
        client.send(chunked(b"1\r\nx\r\n" * 50000 + b"0\r\n\r\n"))
        self.assertEqual(client.app.kept, {"/a": b"x" * 50000})
        self.assertLess(len(client.app.sinks[0].pieces), 500)

    def test_chunk_too_large(self) -> None:
        """A chunk that makes the body longer than allowed is refused before it comes."""
        coding = head(b"Transfer-Encoding: chunked", line=b"PUT /waiting HTTP/1.1")
        client = Client(limits=Limits(max_blob_size=10))
        client.send(coding + b"6\r\nhello,\r\n")
        request = client.requests[0]
        sink = Collector()
        request.body.deliver(sink)
        client.send(b"5\r\n")
        self.assertEqual(client.codes, [413])
        self.assertEqual(sink.reasons, ["The body is larger than the limit of 10 bytes"])

    def test_trailer(self) -> None:
        """The fields after the last chunk are the body's, and never those of the head."""
        fields = b"A: 1\r\nContent-Length: 9\r\na:\t2 \r\nHost: y\r\n"
        sent = chunked(b"5\r\nhello\r\n0\r\n" + fields + b"\r\n")
        for sizes in ([], [1] * len(sent)):
            client = Client()
            client.send_split(sent, sizes)
            request = client.requests[0]
            self.assertEqual(request.body.trailer.get(b"a"), b"1, 2")
            self.assertEqual(
                list(request.body.trailer.items()),
                [(b"a", b"1"), (b"content-length", b"9"), (b"a", b"2"), (b"host", b"y")],
            )
            self.assertNotIn(b"a", request.headers)
            self.assertEqual(request.headers.get(b"host"), b"x")
        client.send(chunked(GOOD_CHUNKS) + lengths(b"5"))
        for request in client.requests[1:]:
            self.assertEqual(list(request.body.trailer.items()), [])

    def test_chunks_too_large_together(self) -> None:
        """Chunks that come in one read are judged together, not each by itself."""
        client = Client(limits=Limits(max_blob_size=10))
        client.send(chunked(b"6\r\nhello,\r\n5\r\nworld\r\n0\r\n\r\n"))
        self.assertEqual(client.codes, [413])
        self.assertEqual(client.app.kept, {})
