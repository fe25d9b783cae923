"""The data files that were recently read, kept open for the next reader.

Blobs are immutable, so an open file is never stale.  It is closed when its blob is replaced or
deleted and nobody reads it any more: until then the disk keeps its bytes.

What a file holds may change all the same: the disk may rot. A small blob is verified when its bytes
come from the disk, and as long as the page cache has them at least once a minute.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from gostore.blob import Committed
from gostore.store.index import Index
from gostore.store.interface import VERIFIED_FOR
from gostore.store.workers import Workers
from gostore.volume.volume import Volume


@define(eq=False)
class OpenFile:
    """An open data.raw, and how many use it: with a user it must not be closed.

    ``verified_at`` is when its bytes were last read and found to be those that were committed.
    """

    fd: int
    users: int = 0
    verified_at: float = -inf


class OpenFiles:
    """Opens data files, and keeps some of them open."""

    def __init__(
        self, volume: Volume, workers: Workers, index: Index, capacity: int, clock: IReactorTime
    ) -> None:
        """Keep at most ``capacity`` files open beyond those in use."""
        self._clock = clock
        self._volume = volume
        self._workers = workers
        self._index = index
        self._capacity = capacity
        #: By blob id, the one used longest ago first.
        self._kept: OrderedDict[int, OpenFile] = OrderedDict()

    def at_hand(self, blob: Committed) -> OpenFile | None:
        """Return the blob's file if it is open, or can be opened without waiting for the disk."""
        file = self._kept.get(blob.id)
        if file is not None:
            self._kept.move_to_end(blob.id)
        elif self._index.is_current(blob):
            fd = self._volume.open_data_now(blob)
            if fd is not None:
                file = OpenFile(fd)
                self._keep(file, blob)
        return file

    def use(self, blob: Committed) -> Deferred[OpenFile]:
        """Open the blob's file, in a worker if need be; the caller uses it until `leave`.

        The Deferred fails as Volume.open_data does.
        """
        file = self.at_hand(blob)
        if file is not None:
            file.users += 1
            return succeed(file)
        return self.open(blob)

    def open(self, blob: Committed) -> Deferred[OpenFile]:
        """As `use`, for a file that is not at hand."""
        return Deferred.fromCoroutine(self._open(blob))

    async def _open(self, blob: Committed) -> OpenFile:
        with self._index.ids.pinned(blob.id):
            fd = await self._workers.files.run(self._volume.open_data, blob)
        file = OpenFile(fd, users=1)
        # Unless somebody else has opened it meanwhile, or deleted it.
        if blob.id not in self._kept and self._index.is_current(blob):
            self._keep(file, blob)
        return file

    def _keep(self, file: OpenFile, blob: Committed) -> None:
        self._kept[blob.id] = file
        if len(self._kept) > self._capacity:
            _, oldest = self._kept.popitem(last=False)
            if not oldest.users:
                # At once, since its blob still holds the blocks.
                self._volume.close_data(oldest.fd)

    def good_for(self, file: OpenFile) -> float:
        """Return for how many seconds the page cache's bytes of a file need no check."""
        return file.verified_at + VERIFIED_FOR - self._clock.seconds()

    def verified(self, file: OpenFile) -> None:
        """The file's bytes have just been found to be right."""
        file.verified_at = self._clock.seconds()

    def leave(self, blob: Committed, file: OpenFile) -> None:
        """The caller no longer uses the file."""
        file.users -= 1
        if not file.users and self._kept.get(blob.id) is not file:
            self._close(file)

    def forget(self, blob_id: int) -> None:
        """Keep a blob's file no longer; nobody new will ask for it."""
        file = self._kept.pop(blob_id, None)
        if file is not None and not file.users:
            self._close(file)

    def clear(self) -> None:
        """Keep no file open."""
        for blob_id in list(self._kept):
            self.forget(blob_id)

    def _close(self, file: OpenFile) -> None:
        # In a worker: the last close of a removed file frees its blocks, all of them at once.
        self._workers.files.run(self._volume.close_data, file.fd)
