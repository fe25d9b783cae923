"""The bytes of a large blob of a bucket, read in spans while they are sent.

A reader begins with small spans; the next one is fetched while it sends the second half of one.
Each time it has to wait for a span that is on its way, it sends faster than the engine answers: so
it gets large spans, and has one more of them fetched ahead. All readers share the room for those.
A reader that finds none goes on with small ones.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from threading import Condition

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gostore.bucket.pointer import Stored
from gostore.errors import Damaged, DiskFailed

SMALL_SPAN = 1024 * 1024
"""How many bytes one request reads at first."""

SPAN = 8 * 1024 * 1024
"""How many bytes one request reads for a reader that is fast: a part of an upload."""

AHEAD = 3
"""The most large spans that are fetched ahead of what one reader sends."""

ROOM = 16
"""The most large spans of all readers together. Half of the threads are for other requests."""

SLOW = 0.25
"""Seconds for each MiB of a span that show a slow engine: a large one might not come in time."""

_LONGEST_WAIT = 30.0
"""Seconds after which the spans before one will not come: longer than any request may take."""

Check = Callable[[int, bytes], None]
"""Is given the start and the bytes of a span in the thread that has read it."""

ReadSpan = Callable[[Stored, int, int, Check], Deferred[bytes]]
"""Reads the bytes of a blob from a start to an end, and fails as the check does."""


class Room:
    """The room for large spans, which all readers share."""

    def __init__(self, free: int = ROOM) -> None:
        self.free = free

    def take(self) -> bool:
        """Take the room of one, if there is any."""
        if not self.free:
            return False
        self.free -= 1
        return True

    def leave(self, _: object = None) -> None:
        """Give it back."""
        self.free += 1


@define(eq=False)
class _Span:
    """Some bytes of the blob; ``arrived`` fires with them."""

    start: int
    is_large: bool
    asked: float
    arrived: Deferred[bytes]
    data: bytes = b""


class BucketContent:
    """An open blob: one span of it is in memory, and at most `AHEAD` more are or will be."""

    def __init__(
        self,
        blob: Stored,
        read_span: ReadSpan,
        room: Room,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.size = blob.size
        self._blob = blob
        self._read_span = read_span
        self._room = room
        self._seconds = seconds
        self._span: _Span | None = None
        #: The spans after it, in order, each from the end of the one before.
        self._ahead: deque[_Span] = deque()
        #: Where they end, and where the first of all began.
        self._end = self._origin = 0
        #: How many large spans to have ahead: as often the reader had to wait. 0: small ones.
        self._wanted = 0
        self._is_slow = False
        self._closed = False
        self._hash = sha256()
        #: How much of it was hashed, from its beginning; None if not all of it is read in order.
        self._hashed: int | None = 0
        self._turn = Condition()

    def read(self, offset: int, length: int) -> bytes | Deferred[bytes]:
        """Read from the span at hand, or else fetch the one that begins here."""
        if (span := self._span) is not None:
            at = offset - span.start
            if at >= 0 and at + length <= len(span.data):
                if not self._ahead and 2 * at >= len(span.data):
                    self._look_ahead()
                return bytes(span.data[at : at + length])
            self._let_go()
        if self._ahead and self._ahead[0].start == offset:
            span = self._ahead.popleft()
            if not (span.arrived.called or self._is_slow):
                self._wanted = min(self._wanted + 1, AHEAD)
                self._look_ahead()
        else:
            if offset != self._end:
                self._go_to(offset)
            span = self._fetch(length)
        return span.arrived.addCallbacks(
            self._arrived, self._lost, callbackArgs=(span, length), errbackArgs=(span,)
        )

    def _go_to(self, offset: int) -> None:
        self._drop_ahead()
        self._end = self._origin = offset
        self._wanted = 0
        self._skip()

    def _look_ahead(self) -> None:
        """Have fetched what follows, as far as the reader wants it and there is room."""
        while self._end < self.size and (
            not self._ahead or (len(self._ahead) < self._wanted and self._room.free)
        ):
            self._ahead.append(self._fetch(0))

    def _fetch(self, length: int) -> _Span:
        """Fetch the next span; of ``length`` bytes at least."""
        is_large = bool(self._wanted) and self._room.take()
        size = SPAN if is_large else SMALL_SPAN
        start = self._end
        # Large spans end where parts do: an engine reads whole ones with less work.
        end = min(self.size, start + max(length, size - (start - self._origin) % size))
        self._end = end
        read = self._read_span(self._blob, start, end, self._check)
        return _Span(start, is_large, self._seconds(), read.addErrback(self._failed))

    def _failed(self, failure: Failure) -> Failure:
        self._skip()
        return failure

    def _skip(self) -> None:
        """Let nobody wait for the digest: a part is not read."""
        with self._turn:
            self._hashed = None
            self._turn.notify_all()

    def _check(self, offset: int, data: bytes) -> None:
        # In a thread: a span takes milliseconds, which the reactor has no time for. The
        # spans before it were asked for before, so threads are at them.
        with self._turn:
            self._turn.wait_for(lambda: self._hashed in (None, offset), _LONGEST_WAIT)
            if self._hashed is None:
                return
            if self._hashed != offset:
                raise DiskFailed("the bytes before it do not come")
        self._hash.update(data)
        with self._turn:
            if self._hashed is not None:
                self._hashed += len(data)
                self._turn.notify_all()
        if offset + len(data) == self.size and self._hash.digest() != self._blob.sha256:
            # Most of it has been sent; without its end the client knows.
            raise Damaged(self._blob.location)

    def _arrived(self, data: bytes, span: _Span, length: int) -> bytes:
        self._span, span.data = span, data
        took = self._seconds() - span.asked
        self._is_slow = took > SLOW * max(1, len(data) / SMALL_SPAN)
        if self._is_slow:
            self._wanted = 0
        elif self._wanted and not self._closed:
            self._look_ahead()
        return bytes(data[:length])

    def _lost(self, failure: Failure, span: _Span) -> Failure:
        if span.is_large:
            self._room.leave()
        return failure

    def _let_go(self) -> None:
        if self._span is not None and self._span.is_large:
            self._room.leave()
        self._span = None

    def _drop_ahead(self) -> None:
        while self._ahead:
            span = self._ahead.popleft()
            span.arrived.addErrback(lambda failure: None)
            if span.is_large:
                # A span on its way takes up its room until it is here.
                span.arrived.addCallback(self._room.leave)

    def load(self, offset: int, length: int) -> None:
        """It is in no file."""

    def failed(self, failure: Failure) -> Failure:
        """Nothing was loaded, so the failure is not the blob's."""
        return failure

    def close(self) -> None:
        """Let go of what is in memory."""
        self._closed = True
        self._skip()
        self._drop_ahead()
        self._let_go()
