"""gostore.wire.chunks: bodies that come in chunks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.wire import Limits
from tests.wire.support import GOOD_CHUNKS, Client, Collector, chunked, head, lengths


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
