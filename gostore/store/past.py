"""The versions of a location: read as long as they are kept, and listed.

What is in memory of a dead blob is where it is, and when it died. The rest is read from its record
when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore import statefile
from gostore.blob import Blob, Committed, EndedBy, Ending
from gostore.errors import (
    BadRecord,
    Busy,
    NotFound,
    NoVersion,
    VersionDamaged,
    as_read_error,
    as_store_error,
)
from gostore.store.content import SmallContent
from gostore.store.copying import Copy
from gostore.store.deleting import Deleter
from gostore.store.garbage import Garbage
from gostore.store.index import Index
from gostore.store.interface import SMALL_BLOB, Content, Details, Precondition, Seek
from gostore.store.openfiles import OpenFile
from gostore.store.reading import FileContent, Reader
from gostore.store.versions import DeletedPage, Restore, Version
from gostore.volume.collect import Dead, Replaced
from gostore.volume.digests import compute_digest, verified
from gostore.volume.directory import DataDamaged
from gostore.volume.recovery.looks import OutOfReach, Unreadable, look
from gostore.volume.recovery.repair import quarantine_dead

#: How often a copy starts over because its source was replaced and collected before it was open.
_ATTEMPTS = 5

T = TypeVar("T")

Write = Callable[..., Deferred[tuple[Committed, bool]]]

log = Logger()


class PastContent(FileContent):
    """The open data.raw of a dead blob that is kept."""

    def __init__(self, past: Past, blob: Committed, file: OpenFile) -> None:
        super().__init__(past.reader, blob, file)
        self._past = past

    def failed(self, failure: Failure) -> Failure:
        """Turn a failed read into the store's words, and quarantine a damaged blob."""
        return self._past.failed(failure, self._blob)


class Past:
    """The versions of the locations of one store."""

    def __init__(
        self, index: Index, garbage: Garbage, reader: Reader, deleter: Deleter, write: Write
    ) -> None:
        """``write`` stores a blob, as `BlobStore.put` does."""
        self.reader = reader
        self._volume = reader.volume
        self._workers = reader.workers
        self._write = write
        self._deleter = deleter
        self._index = index
        self._garbage = garbage
        self._history = garbage.history

    # -- lists --------------------------------------------------------------------------------

    def history(
        self, location: str, before: int | None = None, limit: int = 1000
    ) -> Deferred[list[Version]]:
        """Return the versions of a location, newest first: those of generations below ``before``.

        At most ``limit`` of them. Fails with NotFound if nothing is known of it.
        """
        return Deferred.fromCoroutine(self._versions(location, before, limit))

    async def _versions(self, location: str, before: int | None, limit: int) -> list[Version]:
        await self._mark(location)
        current = self._index.version(location)
        dead = [each for each in self._history.at(location) if each.size >= 0]
        if current is None and not dead:
            raise NotFound(location)
        if before is not None:
            dead = [each for each in dead if each.generation < before]
            if current is not None and current.generation >= before:
                current = None
        dead = dead[: limit - (current is not None)]
        versions = []
        if current is not None:
            damaged = self._index.blob(location) is None
            record = None if damaged else await self._record_of(current)
            origin = "" if record is None else record.origin
            versions.append(Version(current, origin, is_damaged=damaged))
        return versions + await self._read(dead)

    async def _mark(self, location: str) -> None:
        """Take in what was at a location and is over: the collector may not have come yet."""
        if self._history.keeps(location):
            await self._deleter.mark(location)

    async def _record_of(self, blob: Committed) -> Blob | None:
        with self._index.ids.pinned(blob.id):
            return await self._in_worker(self._record, blob.id, blob.generation)

    async def _in_worker(self, read: Callable[..., T], *arguments: object) -> T:
        """Read records. Raises what the disk failed with, in the store's words."""
        try:
            return await self._workers.files.run(read, *arguments)
        except (OSError, MemoryError) as error:
            raise as_read_error(error) from error

    async def _read(self, dead: Sequence[Dead]) -> list[Version]:
        unmarked = self._garbage.unmarked({each.id for each in dead})
        versions = await self._in_worker(self._read_in_worker, dead, unmarked)
        return [each for each in versions if each is not None]

    def deleted(
        self, prefix: str = "", after: str = "", limit: int = 1000, seek: Seek | None = None
    ) -> Deferred[DeletedPage]:
        """List locations that have nothing but versions to be restored, each with its newest one.

        The parameters are those of `Store.list`.
        """
        return Deferred.fromCoroutine(self._deleted(prefix, after, limit, seek))

    async def _deleted(self, prefix: str, after: str, limit: int, seek: Seek | None) -> DeletedPage:
        if self._history.is_kept:
            # Some thousands of blobs; the collector sees to the rest.
            await self._deleter.expire()
        found = self._history.deleted(prefix, after, limit + 1, seek)
        versions = await self._read([dead for _, dead in found[:limit]])
        return DeletedPage(versions, found[limit - 1][0] if len(found) > limit else None)

    # -- one version --------------------------------------------------------------------------

    def version(self, location: str, generation: int) -> Deferred[tuple[Committed, Content]]:
        """Open one version of a location; its ``modified`` is when it was committed.

        Fails with NotFound if it is not there, or not any more, or with Damaged.
        """
        return Deferred.fromCoroutine(self._version(location, generation))

    def restore(
        self, location: str, restore: Restore, precondition: Precondition | None = None
    ) -> Deferred[tuple[Committed, bool]]:
        """Make a version of a location current again, and say whether the location had none.

        It is a write like any other. Fails with NoVersion, VersionDamaged, and as writes do.
        """
        return Deferred.fromCoroutine(self._restore(location, restore, precondition))

    async def _restore(
        self, location: str, restore: Restore, precondition: Precondition | None
    ) -> tuple[Committed, bool]:
        source = location if restore.source is None else restore.source
        if restore.version is None:
            dead, blob, opened = await self._opened_current(source)
        else:
            await self._mark(source)
            dead = self._find(source, restore.version)
            blob, opened = await self._opened(dead)
        body = Copy(blob.size, opened, restore.origin, blob.sha256)
        details = Details(blob.content_type, dict(blob.metadata or {}), lifetime=restore.lifetime)
        try:
            with self._history.spare(dead):
                exists = restore.exists
                return await self._write(location, body, details, precondition, exists=exists)
        except DataDamaged:
            self._failed(Failure(), dead).raiseException()
        except (OSError, MemoryError) as error:
            raise as_store_error(error) from error
        finally:
            if isinstance(opened, int):
                with suppress(OSError):  # it was only read, and the kernel lets go of it anyhow
                    await self._workers.files.run(self._volume.close_data, opened)

    def _find(self, location: str, generation: int) -> Dead:
        """Return where a version is, be it the current one. Raises NoVersion."""
        dead = self._history.find(location, generation)
        current = self._index.blob(location)
        if current is not None and current.generation == generation:
            dead = Dead(current.id, location, generation, size=current.size)
        if dead is None or dead.size < 0:
            raise NoVersion(location, generation)
        return dead

    async def _opened_current(self, location: str) -> tuple[Dead, Committed, bytes | int]:
        """Open what a location has. Raises NotFound, Damaged, Busy."""
        for _ in range(_ATTEMPTS):
            current = await self.reader.get(location)
            dead = Dead(current.id, location, current.generation, size=current.size)
            with suppress(NoVersion):  # it has been replaced and collected meanwhile
                return dead, *await self._opened(dead)
        raise Busy(f"{location} changes too often to be copied", retry_after=1)

    async def _version(self, location: str, generation: int) -> tuple[Committed, Content]:
        await self._mark(location)
        current = self._index.version(location)
        if current is not None and current.generation == generation:
            blob = await self.reader.get(location)
            if blob.generation == generation:
                return blob, await self.reader.content(blob)
        dead = self._history.find(location, generation)
        if dead is None or dead.size < 0:
            raise NoVersion(location, generation)
        blob, opened = await self._opened(dead)
        if isinstance(opened, bytes):
            return blob, SmallContent(opened)
        return blob, PastContent(self, blob, OpenFile(opened, users=1))

    async def _opened(self, dead: Dead) -> tuple[Committed, bytes | int]:
        try:
            with self._index.ids.pinned(dead.id):
                return await self._workers.files.run(self._open, dead)
        except FileNotFoundError:
            # It has been collected meanwhile, or somebody has removed it.
            raise NoVersion(dead.location, dead.generation) from None
        except (BadRecord, DataDamaged, OSError, MemoryError):
            self._failed(Failure(), dead).raiseException()

    # -- failures -----------------------------------------------------------------------------

    def failed(self, failure: Failure, blob: Committed) -> Failure:
        """Turn a failed read of a dead blob into the store's words; quarantine a damaged one."""
        dead = self._history.find(blob.location, blob.generation)
        return self._failed(failure, dead or Dead(blob.id, blob.location, blob.generation))

    def _failed(self, failure: Failure, dead: Dead) -> Failure:
        error = failure.value
        if isinstance(error, (BadRecord, DataDamaged, EOFError)):
            if self._history.holds(dead):
                self._quarantine(dead, str(error))
            return Failure(VersionDamaged(dead.location))
        if isinstance(error, (OSError, MemoryError)):
            return Failure(as_read_error(error))
        return failure

    def _quarantine(self, dead: Dead, reason: str) -> None:
        """Quarantine a damaged dead blob; its location has what it had."""
        log.error(
            "Blob {id}, of the history of {location!r}, is damaged: {reason}",
            id=dead.id,
            location=dead.location,
            reason=reason,
        )
        self._history.discard(dead.id)
        moved = self._workers.errand(quarantine_dead, self._volume, dead)

        def done(name: str | None) -> None:
            if name is not None:
                self._index.ids.release(dead.id)

        moved.addCallback(done)

    # -- in a worker --------------------------------------------------------------------------

    def _read_in_worker(
        self, dead: Iterable[Dead], unmarked: Mapping[int, Replaced]
    ) -> list[Version | None]:
        return [self._as_version(each, unmarked.get(each.id)) for each in dead]

    def _as_version(self, dead: Dead, replaced: Replaced | None) -> Version | None:
        """Read what a dead blob was; None if it is gone, or nobody can tell."""
        record = self._record(dead.id, dead.generation)
        if record is None:
            return None
        ending = record.ending
        if ending is None:
            origin = "" if replaced is None else replaced.origin
            ending = Ending(dead.ended, EndedBy.REPLACED, origin, dead.replaced_by)
        return Version(_committed(record, dead), record.origin, ending, self._history.until(dead))

    def _record(self, blob_id: int, generation: int) -> Blob | None:
        """Read a record; None if it is gone or not to be read.

        Raises OSError if nobody can tell: to hide a version then would be a lie.
        """
        state = self._volume.backlog.applier.state_of(blob_id)
        try:
            if state is not None:
                record = statefile.parse(state, blob_id)
            else:
                record = look(self._volume.directory.read_record, str(blob_id), blob_id)
        except (FileNotFoundError, NotADirectoryError, Unreadable, OutOfReach, BadRecord):
            return None
        return record if record.generation == generation else None

    def _open(self, dead: Dead) -> tuple[Committed, bytes | int]:
        """Open a dead blob, or read it if it is small. Raises OSError, BadRecord, DataDamaged."""
        applier = self._volume.backlog.applier
        # In this order: the applier lets go of them in the other one.
        data, state = applier.data_of(dead.id), applier.state_of(dead.id)
        if data is not None and state is not None:
            return _committed(statefile.parse(state, dead.id), dead), data
        record = self._volume.directory.read_record(str(dead.id), dead.id)
        if record.generation != dead.generation:
            raise FileNotFoundError
        blob = _committed(record, dead)
        if blob.sha256 is None:
            blob = evolve(blob, sha256=compute_digest(self._volume, blob))
        fd = self._volume.open_data(blob)
        if blob.size > SMALL_BLOB:
            return blob, fd
        try:
            return blob, verified(self._volume.read(fd, 0, blob.size), blob)
        finally:
            self._volume.close_data(fd)


def _committed(record: Blob, dead: Dead) -> Committed:
    """Take a dead blob as what it was while it lived."""
    return Committed(
        record.id,
        record.location,
        record.generation,
        dead.size if record.size is None else record.size,
        record.sha256,
        record.finished,
        record.content_type,
        record.metadata or None,
    )
