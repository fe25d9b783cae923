"""The bytes of a large blob of a bucket, read in spans while they are sent."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from threading import Lock

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gostore.bucket.pointer import Stored
from gostore.errors import Damaged

SPAN = 4 * 1024 * 1024
"""How many bytes one request reads; the next span is read while this one is sent."""

Check = Callable[[int, bytes], None]
"""Is given the start and the bytes of a span in the thread that has read it."""

ReadSpan = Callable[[Stored, int, int, Check], Deferred[bytes]]
"""Reads the bytes of a blob from a start to an end, and fails as the check does."""


class BucketContent:
    """An open blob: at most two spans of it are in memory."""

    def __init__(self, blob: Stored, read_span: ReadSpan) -> None:
        self.size = blob.size
        self._blob = blob
        self._read_span = read_span
        self._start = 0
        self._data = b""
        #: The span after this one, on its way, and where it starts.
        self._ahead: Deferred[bytes] | None = None
        self._ahead_start = 0
        self._closed = False
        #: The digest of what was read from the beginning, without a gap. A span that nobody waits
        #: for any more may still be on its way in another thread.
        self._hash = sha256()
        self._hashed = 0
        self._hashing = Lock()

    def read(self, offset: int, length: int) -> bytes | Deferred[bytes]:
        """Read from the span at hand, or else fetch the one that begins here."""
        at = offset - self._start
        if at >= 0 and at + length <= len(self._data):
            return self._data[at : at + length]
        fetched, self._ahead = self._ahead, None
        if fetched is None or self._ahead_start != offset:
            if fetched is not None:
                fetched.addErrback(lambda failure: None)
            fetched = self._fetch(offset, length)
        return fetched.addCallback(self._arrived, offset, length)

    def _fetch(self, offset: int, length: int) -> Deferred[bytes]:
        end = min(self.size, offset + max(SPAN, length))
        return self._read_span(self._blob, offset, end, self._check)

    def _check(self, offset: int, data: bytes) -> None:
        # In a thread: a span takes milliseconds, which the reactor has no time for.
        with self._hashing:
            if offset != self._hashed:
                return
            self._hash.update(data)
            self._hashed += len(data)
            if self._hashed == self.size and self._hash.digest() != self._blob.sha256:
                # Most of it has been sent; without its end the client knows.
                raise Damaged(self._blob.location)

    def _arrived(self, data: bytes, offset: int, length: int) -> bytes:
        self._start, self._data = offset, data
        following = offset + len(data)
        if following < self.size and not self._closed:
            self._ahead_start = following
            self._ahead = self._fetch(following, 0)
        return data[:length]

    def load(self, offset: int, length: int) -> None:
        """It is in no file."""

    def failed(self, failure: Failure) -> Failure:
        """Nothing was loaded, so the failure is not the blob's."""
        return failure

    def close(self) -> None:
        """Let go of what is in memory."""
        self._closed = True
        self._data = b""
        if self._ahead is not None:
            self._ahead.addErrback(lambda failure: None)
            self._ahead = None
