"""Bodies of answers that are read while they are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gostore.store.interface import Content
from gostore.web.fields.ranges import Span
from gostore.wire import Stretch

PIECE = 65536
"""The most bytes of a blob that one response holds in memory."""

STRETCH = 4 << 20
"""The most bytes of a blob that are sent from its file at once."""


@define(eq=False, init=False)
class ContentSource:
    """Parts of a blob's content and the bytes between them, ``length`` bytes in all."""

    length: int
    _content: Content
    _parts: deque[bytes | Span]
    _ahead: Deferred[Stretch] | None

    def __init__(self, content: Content, parts: Iterable[bytes | Span]) -> None:
        self._content = content
        self._parts = deque(parts)
        self._ahead = None
        self.length = sum(
            part.length if isinstance(part, Span) else len(part) for part in self._parts
        )

    def read(self) -> bytes | Deferred[bytes]:
        """The next piece: at most 64 KiB of the blob. Fails as Content.read does."""
        part = self._parts.popleft()
        if isinstance(part, bytes):
            return part
        length = min(part.length, PIECE)
        if length < part.length:
            self._parts.appendleft(Span(part.start + length, part.stop))
        return self._content.read(part.start, length)

    def stretch(self) -> bytes | Stretch | Deferred[bytes] | Deferred[Stretch]:
        """The next piece, as `read` gives it or as a stretch of at most 4 MiB that is in memory.

        The piece after it is loaded while this one is sent.
        """
        loaded, self._ahead = self._ahead or self._load(), None
        if loaded is None:
            return self.read()
        return loaded.addCallback(self._loaded)

    def _load(self) -> Deferred[Stretch] | None:
        """Load the next part; None if it is not part of the blob, or if the blob is in no file."""
        part = self._parts[0] if self._parts else b""
        if isinstance(part, bytes):
            return None
        length = min(part.length, STRETCH)
        loaded = self._content.load(part.start, length)
        if loaded is None:
            return None
        self._parts.popleft()
        if length < part.length:
            self._parts.appendleft(Span(part.start + length, part.stop))
        return loaded.addCallback(Stretch, part.start, length)

    def unsent(self, failure: Failure) -> Failure:
        """What a read of the same bytes would fail with."""
        return self._content.failed(failure)

    def _loaded(self, stretch: Stretch) -> Stretch:
        self._ahead = self._load()
        return stretch

    def close(self) -> None:
        """Close the content."""
        if self._ahead is not None:
            # Nobody waits for it any more. The store has already seen to its failure.
            self._ahead.addErrback(lambda failure: None)
        self._content.close()


@define(eq=False)
class Unsent:
    """The body that an answer to HEAD leaves out; only its ``length`` is sent (RFC 9110 9.3.2)."""

    length: int

    def read(self) -> bytes:
        """No bytes."""
        return b""

    def close(self) -> None:
        """Do nothing: nothing is open."""
