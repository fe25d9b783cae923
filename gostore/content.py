"""The bytes of a committed blob on their way out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gostore.blob import Committed
from gostore.volume import DATA, DataDamaged, Volume
from gostore.workers import Workers

#: A blob of at most this many bytes is read in one go and verified before a byte of it is given.
SMALL = 64 * 1024

#: How much is read at once to compute a digest.
_STRETCH = 1024 * 1024


class Content(Protocol):
    """The bytes of one blob, which stay what they are until `close`."""

    size: int

    def read(self, offset: int, length: int) -> bytes | Deferred[bytes]:
        """Read exactly ``length`` bytes from within the blob, at most 1 MiB; at once if at hand.

        The Deferred fails with Damaged or DiskFailed.
        """

    def close(self) -> None:
        """Let go of it."""


class SmallContent:
    """A blob that is in memory as a whole, and has been verified."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes."""
        return self._data[offset : offset + length]

    def close(self) -> None:
        """There is nothing to let go of."""


class FileContent:
    """A blob's open data.raw.  ``failed`` turns a failed read into the store's words."""

    def __init__(
        self,
        volume: Volume,
        workers: Workers,
        fd: int,
        size: int,
        failed: Callable[[Failure], Failure],
    ) -> None:
        self.size = size
        self._volume = volume
        self._workers = workers
        self._fd = fd
        self._failed = failed
        self._reading = 0
        self._closed = False

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """Read in a worker."""
        self._reading += 1
        found = self._workers.file(self._volume.read, self._fd, offset, length)
        return found.addErrback(self._failed).addBoth(self._read)

    def _read(self, result: bytes | Failure) -> bytes | Failure:
        self._reading -= 1
        self._let_go()
        return result

    def close(self) -> None:
        """Close the file, as soon as no worker reads it any more."""
        if not self._closed:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        # While a worker is in a read, the number must not become somebody else's file.
        if self._closed and not self._reading and self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._workers.file(self._volume.close_data, fd)


def read_small(volume: Volume, blob: Committed) -> bytes:
    """In a worker: read a small blob whole; raises DataDamaged if it is not what was committed."""
    fd = volume.open_data(blob)
    try:
        data = volume.read(fd, 0, blob.size)
    finally:
        volume.close_data(fd)
    if hashlib.sha256(data).digest() != blob.sha256:
        raise DataDamaged(f"{DATA} does not have the digest it was committed with")
    return data


def compute_digest(volume: Volume, blob: Committed) -> bytes:
    """In a worker: read a blob and return its SHA-256, as 32 bytes."""
    digest = hashlib.sha256()
    fd = volume.open_data(blob)
    try:
        for offset in range(0, blob.size, _STRETCH):
            digest.update(volume.read(fd, offset, min(_STRETCH, blob.size - offset)))
    finally:
        volume.close_data(fd)
    return digest.digest()
