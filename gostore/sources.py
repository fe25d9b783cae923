"""Response bodies that are read while they are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define
from twisted.internet.defer import Deferred

from gostore.content import Content
from gostore.ranges import Span

PIECE = 65536
"""The most bytes of a blob that one response holds in memory."""


@define(eq=False, init=False)
class ContentSource:
    """Some parts of a blob's content, and the bytes between them; ``length`` in bytes in all."""

    length: int
    _content: Content
    _parts: deque[bytes | Span]

    def __init__(self, content: Content, parts: Iterable[bytes | Span]) -> None:
        self._content = content
        self._parts = deque(parts)
        self.length = sum(
            part.length if isinstance(part, Span) else len(part) for part in self._parts
        )

    def read(self) -> bytes | Deferred[bytes]:
        """The next piece, 64 KiB at most of the blob. Fails as Content.read does."""
        part = self._parts.popleft()
        if isinstance(part, bytes):
            return part
        length = min(part.length, PIECE)
        if length < part.length:
            self._parts.appendleft(Span(part.start + length, part.stop))
        return self._content.read(part.start, length)

    def close(self) -> None:
        """Let go of the content."""
        self._content.close()


@define(eq=False)
class Unsent:
    """The body that a response to HEAD only tells the ``length`` of (RFC 9110 section 9.3.2)."""

    length: int

    def read(self) -> bytes:
        """Nothing: it is not sent."""
        return b""

    def close(self) -> None:
        """Nothing is open."""
