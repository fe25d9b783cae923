"""Tests of gostore.web.fields.ranges."""

from __future__ import annotations

from email.parser import BytesParser

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.web.answers import Refusal
from gostore.web.fields.ranges import MAX_RANGES, Span, multipart, spans_of


def parts_of(value: str, data: bytes) -> list[bytes] | None:
    """The bytes in each span; None for the whole."""
    spans = spans_of(value.encode("latin-1"), len(data))
    return None if spans is None else [data[span.start : span.stop] for span in spans]


class SpansTests(SynchronousTestCase):
    """Which bytes a Range header asks for (RFC 9110 section 14)."""

    data = b"0123456789"

    def assert_parts(self, value: str, *parts: bytes) -> None:
        """The header gets these parts."""
        self.assertEqual(parts_of(value, self.data), list(parts), value)

    def assert_whole(self, *values: str) -> None:
        """The headers are ignored."""
        for value in values:
            self.assertIsNone(parts_of(value, self.data), value)

    def assert_unsatisfiable(self, value: str, size: int = 10) -> None:
        """The header gets 416 and the size (14.4, 15.5.17)."""
        refusal = self.assertRaises(Refusal, spans_of, value.encode(), size)
        self.assertEqual(refusal.code, 416, value)
        self.assertEqual(refusal.fields, {b"content-range": b"bytes */%d" % size})

    def test_one(self) -> None:
        """First and last position, first alone, and the last bytes (14.1.2)."""
        self.assert_parts("bytes=0-0", b"0")
        self.assert_parts("bytes=2-4", b"234")
        self.assert_parts("bytes=7-", b"789")
        self.assert_parts("bytes=-3", b"789")
        self.assert_parts("bytes=0-9", self.data)
        self.assert_parts("BYTES=2-4", b"234")

    def test_beyond_the_end(self) -> None:
        """A range that reaches beyond the end is cut there (14.1.2)."""
        self.assert_parts("bytes=8-99999999999999999999", b"89")
        self.assert_parts("bytes=-99999999999999999999", self.data)

    def test_several(self) -> None:
        """Several ranges are answered in the order they were asked for (15.3.7.2)."""
        self.assert_parts("bytes=0-1,4-5", b"01", b"45")
        self.assert_parts("bytes=-5,0-1", b"56789", b"01")
        self.assert_parts("bytes=9-,0-0 , 2-3", b"9", b"0", b"23")
        self.assert_parts("bytes=,0-1,,4-5,", b"01", b"45")

    def test_some_unsatisfiable(self) -> None:
        """Of several ranges those without a byte are left out (15.3.7)."""
        self.assert_parts("bytes=0-1,10-11,-0", b"01")

    def test_unsatisfiable(self) -> None:
        """Ranges without a byte are 416 with the size (15.5.17)."""
        self.assert_unsatisfiable("bytes=10-")
        self.assert_unsatisfiable("bytes=10-20")
        self.assert_unsatisfiable("bytes=-0")
        self.assert_unsatisfiable("bytes=10-,11-12")

    def test_empty_blob(self) -> None:
        """An empty blob has no first byte, but its last bytes are all of it (14.1.2)."""
        self.assert_unsatisfiable("bytes=0-", 0)
        self.assert_unsatisfiable("bytes=0-0", 0)
        self.assertIsNone(spans_of(b"bytes=-5", 0))

    def test_malformed(self) -> None:
        """A malformed field, or another unit, is ignored (14.2)."""
        self.assert_whole("bytes", "bytes=", "bytes=,", "bytes=a-b", "bytes=5", "bytes=5-2")
        self.assert_whole("bytes=0x1-2", "bytes=1-2-3", "bytes=--5", "bytes=0-1;q=1", "bytes=-")
        self.assert_whole("lines=0-1", "", "=0-1", "bytes 0-1", "bytes=\u00b2-3", "bytes=1_0-")
        self.assert_whole("bytes=0-1,x", "bytes=0-1, bytes=3-4", "bytes=1 - 2")

    def test_many_digits(self) -> None:
        """A number may have thousands of digits: it is beyond the end, and compared as one."""
        many = "9" * 5000
        self.assert_unsatisfiable(f"bytes={many}-")
        self.assert_unsatisfiable(f"bytes={many}-{many}")
        self.assert_unsatisfiable("bytes=18446744073709551616-")
        self.assert_parts(f"bytes=0-{many}", self.data)
        self.assert_parts(f"bytes=-{many}", self.data)
        self.assert_parts("bytes=" + "0" * 5000 + "2-" + "0" * 5000 + "4", b"234")
        self.assert_unsatisfiable("bytes=-" + "0" * 5000)
        self.assert_whole(f"bytes={many}-{many[1:]}", f"bytes=8{many}-7{many}")

    def test_absurd(self) -> None:
        """Overlapping ranges and more than 32 of them get the whole blob (14.2, 17.15)."""
        self.assert_whole("bytes=0-5,5-9", "bytes=0-,0-", "bytes=-1,-1", "bytes=5-6,0-9")
        many = ",".join(f"{2 * n}-{2 * n}" for n in range(MAX_RANGES + 1))
        self.assertIsNone(spans_of(f"bytes={many}".encode(), 1000))
        spans = spans_of(f"bytes={many.rpartition(',')[0]}".encode(), 1000)
        self.assertEqual(len(spans or ()), MAX_RANGES)

    @given(st.binary(max_size=30), st.integers(0, 40), st.none() | st.integers(0, 40))
    def test_like_slices(self, data: bytes, first: int, last: int | None) -> None:
        """A range from first to last is the slice of Python."""
        stop = None if last is None else last + 1
        value = f"bytes={first}-{'' if last is None else last}"
        if last is not None and last < first:
            self.assertIsNone(parts_of(value, data))
        elif data[first:stop]:
            self.assertEqual(parts_of(value, data), [data[first:stop]])
        else:
            self.assertEqual(self.assertRaises(Refusal, parts_of, value, data).code, 416)

    @given(st.binary(min_size=1, max_size=30), st.integers(1, 40))
    def test_like_suffixes(self, data: bytes, length: int) -> None:
        """The last bytes are the slice of Python with a negative start."""
        self.assertEqual(parts_of(f"bytes=-{length}", data), [data[-length:]])

    @given(st.text(st.sampled_from("bytes=0123456789-, ")), st.integers(0, 20))
    @example("bytes=0-1,3-4,-1", 20)
    def test_anything(self, value: str, size: int) -> None:
        """For any field, no byte is sent twice, and none that the blob does not have."""
        try:
            spans = spans_of(value.encode(), size)
        except Refusal as refusal:
            self.assertEqual(refusal.code, 416)
            return
        positions = [at for span in spans or () for at in range(span.start, span.stop)]
        self.assertEqual(len(set(positions)), len(positions))
        self.assertLessEqual(set(positions), set(range(size)))
        self.assertTrue(all(span.length > 0 for span in spans or ()))


class MultipartTests(SynchronousTestCase):
    """Several parts as multipart/byteranges (RFC 9110 section 14.6)."""

    def test_multipart(self) -> None:
        """A reader of MIME finds each part with its type and its place."""
        data = b"0123456789"
        parts = multipart([Span(5, 10), Span(0, 2)], 10, b"text/plain", b"edge")
        body = b"".join(
            data[part.start : part.stop] if isinstance(part, Span) else part for part in parts
        )
        head = b"Content-Type: multipart/byteranges; boundary=edge\r\n\r\n"
        found = BytesParser().parsebytes(head + body)
        self.assertFalse(found.defects)
        self.assertEqual(
            [
                (part["Content-Type"], part["Content-Range"], part.get_payload())
                for part in found.walk()
                if not part.is_multipart()
            ],
            [("text/plain", "bytes 5-9/10", "56789"), ("text/plain", "bytes 0-1/10", "01")],
        )
