"""Bodies that are read while they are sent: pieces, stretches, and what is loaded ahead."""

from __future__ import annotations

from attrs import Factory, define
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gostore.errors import Damaged, DiskFailed
from gostore.web.bodies import PIECE, STRETCH, ContentSource, Unsent
from gostore.web.fields.ranges import Span
from gostore.wire import Stretch
from gostore.wire.response import FileSource
from tests.store.memory_store import MemoryContent

FD = 77


@define(eq=False)
class FileLike:
    """A blob's bytes in a file; the test says when what was asked for is in memory."""

    size: int = 3 * STRETCH
    loads: list[tuple[int, int]] = Factory(list)
    waiting: list[Deferred[int]] = Factory(list)
    closed: int = 0

    def read(self, offset: int, length: int) -> bytes:
        """Not this way."""
        raise AssertionError("read, where it could have been loaded")

    def load(self, offset: int, length: int) -> Deferred[int]:
        """Note what is to be loaded."""
        assert 0 < length <= STRETCH and offset + length <= self.size
        self.loads.append((offset, length))
        loading: Deferred[int] = Deferred()
        self.waiting.append(loading)
        return loading

    def loaded(self) -> None:
        """What was asked for first is there."""
        self.waiting.pop(0).callback(FD)

    def failed(self, failure: Failure) -> Failure:
        """It is damaged."""
        return Failure(Damaged("a"))

    def close(self) -> None:
        """Count this."""
        self.closed += 1


def whole(source: ContentSource, *, stretch: bool = False) -> bytes:
    """All of a source whose pieces are at hand."""
    data = b""
    while len(data) < source.length:
        piece = source.stretch() if stretch else source.read()
        assert isinstance(piece, bytes) and 0 < len(piece) <= PIECE
        data += piece
    return data


class ReadTests(SynchronousTestCase):
    """ContentSource, read piece by piece."""

    def test_pieces(self) -> None:
        """A long part comes in pieces of 64 KiB, in its order, and the rest last."""
        data = bytes(range(256)) * 600
        source = ContentSource(MemoryContent(data), [Span(1, len(data))])
        self.assertEqual(source.length, len(data) - 1)
        self.assertEqual(source.read(), data[1 : PIECE + 1])
        self.assertEqual(source.read(), data[PIECE + 1 : 2 * PIECE + 1])
        self.assertEqual(source.read(), data[2 * PIECE + 1 :])

    def test_between(self) -> None:
        """The bytes between the parts are sent between them."""
        content = MemoryContent(b"0123456789")
        source = ContentSource(content, [b"<", Span(5, 10), b"|", Span(0, 2), b">"])
        self.assertEqual(source.length, 10)
        self.assertEqual(whole(source), b"<56789|01>")

    def test_failure(self) -> None:
        """A read that fails fails as the content's does."""
        content = MemoryContent(b"a", result=fail(DiskFailed("EIO")))
        reading = ContentSource(content, [Span(0, 1)]).read()
        assert isinstance(reading, Deferred)
        self.failureResultOf(reading, DiskFailed)

    def test_close(self) -> None:
        """Closing it lets go of the content."""
        content = MemoryContent(b"a")
        ContentSource(content, [Span(0, 1)]).close()
        self.assertEqual(content.closed, 1)

    @given(
        st.binary(min_size=1, max_size=50),
        st.lists(
            st.binary(min_size=1, max_size=3) | st.tuples(st.integers(0, 49), st.integers(1, 50)),
            max_size=6,
        ),
        st.booleans(),
    )
    def test_like_slices(
        self, data: bytes, wanted: list[bytes | tuple[int, int]], stretch: bool
    ) -> None:
        """Whatever the parts are, they are the slices of Python, one after the other."""
        parts: list[bytes | Span] = []
        expected = b""
        for part in wanted:
            if isinstance(part, bytes):
                parts.append(part)
                expected += part
            elif slice_ := data[part[0] : part[0] + part[1]]:
                parts.append(Span(part[0], part[0] + len(slice_)))
                expected += slice_
        source = ContentSource(MemoryContent(data), parts)
        self.assertEqual(source.length, len(expected))
        self.assertEqual(whole(source, stretch=stretch), expected)


class StretchTests(SynchronousTestCase):
    """ContentSource, sent from its file."""

    def setUp(self) -> None:
        self.content = FileLike()

    def stretch(self, source: ContentSource) -> Stretch:
        """The next piece, a stretch that has to be loaded first."""
        asked = source.stretch()
        assert isinstance(asked, Deferred)
        self.assertNoResult(asked)
        self.content.loaded()
        found = self.successResultOf(asked)
        assert isinstance(found, Stretch)
        return found

    def test_asked_for(self) -> None:
        """It is one that can say where its bytes are."""
        self.assertIsInstance(ContentSource(self.content, []), FileSource)
        self.assertNotIsInstance(Unsent(0), FileSource)

    def test_stretches(self) -> None:
        """A long part comes in stretches of 4 MiB of its file, and the rest last."""
        source = ContentSource(self.content, [Span(5, 2 * STRETCH + 7)])
        self.assertEqual(self.stretch(source), Stretch(FD, 5, STRETCH))
        self.assertEqual(self.stretch(source), Stretch(FD, 5 + STRETCH, STRETCH))
        self.assertEqual(self.stretch(source), Stretch(FD, 5 + 2 * STRETCH, 2))
        self.assertEqual(sum(length for _, length in self.content.loads), source.length)

    def test_ahead(self) -> None:
        """While a stretch is sent the next one is loaded, and no more than that one."""
        source = ContentSource(self.content, [Span(0, 3 * STRETCH)])
        self.stretch(source)
        self.assertEqual(self.content.loads, [(0, STRETCH), (STRETCH, STRETCH)])
        self.content.loaded()
        self.assertEqual(len(self.content.loads), 2)
        asked = source.stretch()
        assert isinstance(asked, Deferred)
        self.assertEqual(self.successResultOf(asked), Stretch(FD, STRETCH, STRETCH))
        self.assertEqual(self.content.loads[2:], [(2 * STRETCH, STRETCH)])

    def test_between(self) -> None:
        """The bytes between the parts are given as they are, and nothing is loaded over them."""
        source = ContentSource(self.content, [b"<", Span(5, 10), b"|", Span(0, 2), b">"])
        self.assertEqual(source.stretch(), b"<")
        self.assertEqual(self.stretch(source), Stretch(FD, 5, 5))
        self.assertEqual(self.content.loads, [(5, 5)])
        self.assertEqual(source.stretch(), b"|")
        self.assertEqual(self.stretch(source), Stretch(FD, 0, 2))
        self.assertEqual(source.stretch(), b">")

    def test_not_in_a_file(self) -> None:
        """What is in no file is read instead."""
        source = ContentSource(MemoryContent(b"0123456789"), [Span(2, 5)])
        self.assertEqual(source.stretch(), b"234")

    def test_failure(self) -> None:
        """A stretch that cannot be loaded fails as the content says; nothing is loaded ahead."""
        asked = ContentSource(self.content, [Span(0, 2 * STRETCH)]).stretch()
        assert isinstance(asked, Deferred)
        self.content.waiting.pop().errback(DiskFailed("EIO"))
        self.failureResultOf(asked, DiskFailed)
        self.assertEqual(len(self.content.loads), 1)

    def test_unsent(self) -> None:
        """Why a stretch cannot be sent is the content's to say."""
        source = ContentSource(self.content, [Span(0, 5)])
        self.stretch(source)
        source.unsent(Failure(EOFError())).trap(Damaged)

    def test_failure_ahead(self) -> None:
        """A failure ahead is told to whoever asks for that stretch."""
        source = ContentSource(self.content, [Span(0, 2 * STRETCH)])
        self.stretch(source)
        self.content.waiting.pop().errback(DiskFailed("EIO"))
        asked = source.stretch()
        assert isinstance(asked, Deferred)
        self.failureResultOf(asked, DiskFailed)

    def test_close_ahead(self) -> None:
        """A failure ahead that nobody asks for any more is not logged as one nobody handled."""
        for failed_before_close in (True, False):
            source = ContentSource(self.content, [Span(0, 2 * STRETCH)])
            self.stretch(source)
            loading = self.content.waiting.pop()
            if failed_before_close:
                loading.errback(DiskFailed("EIO"))
                source.close()
            else:
                source.close()
                loading.errback(DiskFailed("EIO"))
            del source, loading
            self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.content.closed, 2)


class UnsentTests(SynchronousTestCase):
    """Unsent."""

    def test_unsent(self) -> None:
        """The answer to HEAD has a length, and no bytes (RFC 9110 section 9.3.2)."""
        source = Unsent(1 << 40)
        self.assertEqual((source.length, source.read()), (1 << 40, b""))
        source.close()
