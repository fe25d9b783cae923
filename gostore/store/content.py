"""The bytes of a committed blob on their way out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from gostore.blob import Committed
from gostore.store.index import Ids
from gostore.store.workers import Workers
from gostore.volume.directory import DATA, DataDamaged
from gostore.volume.volume import Volume

T = TypeVar("T")

#: How much is read at once to compute a digest.
_STRETCH = 1024 * 1024


class SmallContent:
    """A blob that is in memory as a whole, and has been verified."""

    __slots__ = ("_data", "size")

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes."""
        return self._data if length == self.size else self._data[offset : offset + length]

    def load(self, offset: int, length: int) -> None:
        """It is in no file."""

    def failed(self, failure: Failure) -> Failure:
        """As nothing is loaded, it is no fault of the blob."""
        return failure

    def close(self) -> None:
        """There is nothing to let go of."""


@define(eq=False)
class OpenFile:
    """An open data.raw; ``users`` are those who would be hurt if it were closed."""

    fd: int
    users: int = 0


class OpenFiles:
    """The data files that were read of late, kept open.

    Blobs are immutable, so an open file is never stale. It is closed when its blob is replaced or
    deleted and nobody reads it any more: until then the disk keeps its bytes.
    """

    def __init__(
        self,
        volume: Volume,
        workers: Workers,
        exists: Callable[[Committed], bool],
        ids: Ids,
        capacity: int,
    ) -> None:
        """Keep at most ``capacity`` files open beyond those in use, of blobs that ``exists``.

        An id of ``ids`` is not given to another blob while its file is being opened.
        """
        self._volume = volume
        self._workers = workers
        self._exists = exists
        self._ids = ids
        self._capacity = capacity
        #: By blob id, the one used longest ago first.
        self._kept: dict[int, OpenFile] = {}

    def at_hand(self, blob: Committed) -> OpenFile | None:
        """Return the blob's file if it is open, or can be opened without waiting for the disk."""
        file = self._kept.pop(blob.id, None)
        if file is not None:
            self._kept[blob.id] = file
        elif self._exists(blob):
            fd = self._volume.open_data_now(blob)
            if fd is not None:
                file = OpenFile(fd)
                self._keep(file, blob)
        return file

    def use(self, blob: Committed) -> Deferred[OpenFile]:
        """Open the blob's file, in a worker if need be; the caller is a user of it until `leave`.

        The Deferred fails as Volume.open_data does.
        """
        file = self.at_hand(blob)
        if file is not None:
            file.users += 1
            return succeed(file)
        return self.open(blob)

    def open(self, blob: Committed) -> Deferred[OpenFile]:
        """As `use`, for a file that is not at hand."""
        return held(self._ids, blob.id, self._workers, self._volume.open_data, blob).addCallback(
            self._opened, blob
        )

    def _opened(self, fd: int, blob: Committed) -> OpenFile:
        file = OpenFile(fd, users=1)
        # Unless somebody else has opened it meanwhile, or deleted it.
        if blob.id not in self._kept and self._exists(blob):
            self._keep(file, blob)
        return file

    def _keep(self, file: OpenFile, blob: Committed) -> None:
        self._kept[blob.id] = file
        if len(self._kept) > self._capacity:
            oldest = self._kept.pop(next(iter(self._kept)))
            if not oldest.users:
                # At once, for its blob is still there, and with it the blocks.
                self._volume.close_data(oldest.fd)

    def leave(self, blob: Committed, file: OpenFile) -> None:
        """The caller does not use the file any more."""
        file.users -= 1
        if not file.users and self._kept.get(blob.id) is not file:
            self._close(file)

    def forget(self, blob_id: int) -> None:
        """Keep a blob's file no longer; nobody new will ask for it."""
        file = self._kept.pop(blob_id, None)
        if file is not None and not file.users:
            self._close(file)

    def clear(self) -> None:
        """Keep none."""
        for blob_id in list(self._kept):
            self.forget(blob_id)

    def _close(self, file: OpenFile) -> None:
        # In a worker: the last close of a removed file frees its blocks, all of them at once.
        self._workers.file(self._volume.close_data, file.fd)


def held(
    ids: Ids, blob_id: int, workers: Workers, function: Callable[..., T], *arguments: object
) -> Deferred[T]:
    """Have something done by a worker that finds a file by an id, which is held meanwhile."""

    def let_go(result: T) -> T:
        ids.let_go(blob_id)
        return result

    ids.hold(blob_id)
    return workers.file(function, *arguments).addBoth(let_go)


class FileContent:
    """A blob's open data.raw.  ``failed`` turns a failed read into the store's words."""

    def __init__(
        self,
        volume: Volume,
        workers: Workers,
        files: OpenFiles,
        file: OpenFile,
        blob: Committed,
        failed: Callable[[Failure], Failure],
    ) -> None:
        self.size = blob.size
        self._volume = volume
        self._workers = workers
        self._files = files
        self._file = file
        self._blob = blob
        self.failed = failed
        self._reading = 0
        self._closed = False

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """Read in a worker."""
        return self._work(self._volume.read, offset, length)

    def load(self, offset: int, length: int) -> Deferred[int]:
        """Load in a worker what is not in memory."""
        if self._volume.is_loaded(self._file.fd, offset, length):
            return succeed(self._file.fd)
        return self._work(self._volume.load, offset, length)

    def _work(
        self, function: Callable[[int, int, int], T], offset: int, length: int
    ) -> Deferred[T]:
        self._reading += 1
        done = self._workers.file(function, self._file.fd, offset, length)
        return done.addErrback(self.failed).addBoth(self._done)

    def _done(self, result: T) -> T:
        self._reading -= 1
        self._let_go()
        return result

    def close(self) -> None:
        """Let go of the file, as soon as no worker reads it any more."""
        if not self._closed:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        # While a worker is in a read, the number must not become somebody else's file.
        if self._closed and not self._reading:
            self._files.leave(self._blob, self._file)


def read_small(volume: Volume, blob: Committed, fd: int) -> bytes:
    """In a worker: read a small blob whole; raises DataDamaged if it is not what was committed."""
    return verified(volume.read(fd, 0, blob.size), blob)


def verified(data: bytes, blob: Committed) -> bytes:
    """Return the bytes of a blob if they have its digest; raises DataDamaged."""
    check_digest(hashlib.sha256(data).digest(), blob)
    return data


def check_digest(digest: bytes, blob: Committed) -> None:
    """Raise DataDamaged unless this is the digest of a blob."""
    if digest != blob.sha256:
        raise DataDamaged(f"{DATA} does not have the digest it was committed with")


def compute_digest(volume: Volume, blob: Committed, tell: Callable[[int], object] = int) -> bytes:
    """In a worker: read a blob and return its SHA-256, as 32 bytes.

    ``tell`` is called with the number of bytes of each read.
    """
    digest = hashlib.sha256()
    fd = volume.open_data(blob)
    try:
        for offset in range(0, blob.size, _STRETCH):
            piece = volume.read(fd, offset, min(_STRETCH, blob.size - offset))
            digest.update(piece)
            tell(len(piece))
    finally:
        volume.close_data(fd)
    return digest.digest()
