"""Reading blobs: what a location has, its bytes, and whether they are what was committed.

A blob of the Go server has no digest until somebody asks for it; then it is computed, once.  A blob
that turns out to be damaged is quarantined, and its location says so from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.blob import Committed
from gostore.errors import Damaged, NotFound, ReadOnly, as_read_error
from gostore.store.committer import Committer
from gostore.store.content import SmallContent
from gostore.store.index import Index
from gostore.store.interface import SMALL_BLOB, VERIFIED_FOR, Content
from gostore.store.openfiles import OpenFile, OpenFiles
from gostore.store.workers import Workers
from gostore.volume.digests import Hashing, check_digest, compute_digest, verified
from gostore.volume.directory import DataDamaged
from gostore.volume.recovery.findings import Damage
from gostore.volume.recovery.repair import quarantine
from gostore.volume.volume import Volume

T = TypeVar("T")

#: How many bytes of a blob `Reader.verify` reads before it asks for leave to go on.
VERIFIED_AT_ONCE = 256 * 1024

log = Logger()


class FileContent:
    """A blob's open data.raw."""

    def __init__(self, reader: Reader, blob: Committed, file: OpenFile) -> None:
        self.size = blob.size
        self._reader = reader
        self._blob = blob
        self._file = file
        self._reading = 0
        self._closed = False

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """Read in a worker."""
        return self._work(self._reader.volume.read, offset, length)

    def load(self, offset: int, length: int) -> Deferred[int]:
        """Load in a worker what is not in memory."""
        if self._reader.volume.is_loaded(self._file.fd, offset, length):
            return succeed(self._file.fd)
        return self._work(self._reader.volume.load, offset, length)

    def failed(self, failure: Failure) -> Failure:
        """Turn a failed read into the store's words, and quarantine a damaged blob."""
        return self._reader.failed(failure, self._blob)

    def _work(
        self, function: Callable[[int, int, int], T], offset: int, length: int
    ) -> Deferred[T]:
        self._reading += 1
        done = self._reader.workers.files.run(function, self._file.fd, offset, length)
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
        # While a worker reads, the descriptor must not become somebody else's file.
        if self._closed and not self._reading:
            self._reader.files.leave(self._blob, self._file)


class Reader:
    """Finds, opens and verifies blobs, and says what a failed read means."""

    def __init__(
        self,
        volume: Volume,
        workers: Workers,
        index: Index,
        committer: Committer,
        files: OpenFiles,
    ) -> None:
        self.volume = volume
        self.workers = workers
        self.files = files
        self._index = index
        self._committer = committer
        self._digesting: dict[int, list[Deferred[Committed]]] = {}

    def get(self, location: str) -> Deferred[Committed]:
        """Return what is known of the blob at a location, with its digest.

        Fails with NotFound or Damaged, or with ReadOnly if the whole directory has been removed.
        """
        found = self._index.find(location)
        if found is None:
            return fail(NotFound(location))
        if isinstance(found, Damage):
            return fail(self._why_damaged(location))
        if found.sha256 is None:
            # If it is gone by then, its successor is what there is.
            return self._digest(found).addErrback(self._gone, location)
        return succeed(found)

    def _gone(self, failure: Failure, location: str) -> Deferred[Committed]:
        failure.trap(NotFound)
        return self.get(location)

    # -- digests that nobody knows yet --------------------------------------------------------

    def settle(self, blob: Committed) -> Deferred[None]:
        """Wait until a blob has a digest to compare, or turns out never to have one."""
        known: Deferred[None] = self._digest(blob).addCallback(lambda _: None)
        return known.addErrback(self._never_known)

    def _never_known(self, failure: Failure) -> None:
        failure.trap(NotFound, Damaged)

    def _digest(self, blob: Committed) -> Deferred[Committed]:
        """Compute the digest of a blob that the Go server wrote; once, whoever asks."""
        known: Deferred[Committed] = Deferred()
        if blob.id in self._digesting:
            self._digesting[blob.id].append(known)
        else:
            self._digesting[blob.id] = [known]
            computed = Deferred.fromCoroutine(self._compute(blob))
            computed.addErrback(self._opening_failed, blob)
            computed.addBoth(self._digested, blob)
        return known

    async def _compute(self, blob: Committed) -> bytes:
        with self._index.ids.pinned(blob.id):
            return await self.workers.files.run(compute_digest, self.volume, blob)

    def _digested(self, result: bytes | Failure, blob: Committed) -> None:
        waiting = self._digesting.pop(blob.id)
        if isinstance(result, Failure):
            for known in waiting:
                known.errback(result)
            return
        complete = evolve(blob, sha256=result)
        if self._index.find(blob.location) is blob:
            self._index.put(complete)
        for known in waiting:
            known.callback(complete)

    # -- bytes --------------------------------------------------------------------------------

    def content(self, blob: Committed) -> Deferred[Content]:
        """Open the bytes of a blob that `get` returned.

        Fails with NotFound if its location has another blob or none by now, with Damaged, Busy or
        DiskFailed.
        """
        if not self._index.is_current(blob):
            # Its id may be another's by now, and so may the file found by that id.
            return fail(NotFound(blob.location))
        data = self.volume.backlog.applier.data_of(blob.id)
        if data is not None:
            return succeed(SmallContent(data))
        if blob.size > SMALL_BLOB:
            return self.files.use(blob).addCallbacks(
                lambda file: FileContent(self, blob, file),
                self._opening_failed,
                errbackArgs=(blob,),
            )
        file = self.files.at_hand(blob)
        if file is not None:
            try:
                data = self._read_now(blob, file)
                if data is not None:
                    return succeed(SmallContent(data))
            except (OSError, DataDamaged):
                return fail(self.failed(Failure(), blob))
        opened = self.files.open(blob) if file is None else self.files.use(blob)
        return opened.addCallback(self._read_small, blob).addCallbacks(
            SmallContent, self._opening_failed, errbackArgs=(blob,)
        )

    def read_now(self, location: str) -> tuple[Committed, bytes, float] | None:
        """Give the small blob at a location with its bytes, if they are at hand and right.

        Those bytes are good for so many seconds. If anything is wrong, `content` says what.
        """
        blob = self._index.blob(location)
        if blob is None or blob.size > SMALL_BLOB or blob.sha256 is None:
            return None
        try:
            file = self.files.at_hand(blob)
            data = None if file is None else self._read_now(blob, file)
        except (OSError, MemoryError, DataDamaged):
            return None
        if file is None or data is None:
            return None
        return blob, data, self.files.good_for(file)

    def _read_now(self, blob: Committed, file: OpenFile) -> bytes | None:
        """Read a small blob if the page cache has it, and verify it if that is due.

        Raises OSError and DataDamaged.
        """
        data = self.volume.read_now(file.fd, blob.size)
        # A clock that was set back makes no minute longer.
        if data is not None and not 0 < self.files.good_for(file) <= VERIFIED_FOR:
            verified(data, blob)
            self.files.verified(file)
        return data

    def _read_small(self, file: OpenFile, blob: Committed) -> Deferred[bytes]:
        def leave(result: T) -> T:
            if not isinstance(result, Failure):
                self.files.verified(file)
            self.files.leave(blob, file)
            return result

        return self.workers.files.run(read_small, self.volume, blob, file.fd).addBoth(leave)

    # -- verifying ----------------------------------------------------------------------------

    def next_location(self, after: str) -> str | None:
        """Return the first location after this one that has a blob; "" is before them all."""
        return self._index.next_location(after)

    def verify(self, location: str, pace: Callable[[int], Deferred[None]]) -> Deferred[None]:
        """Read the blob at a location, and quarantine it if it is not what was committed.

        ``pace`` is given the number of bytes of each read and says when the next may come.  A blob
        of the Go server whose digest nobody knows yet is only opened.  Fails with Damaged, Busy,
        DiskFailed, with NotFound if it is gone, and with whatever ``pace`` fails with.
        """
        return Deferred.fromCoroutine(self._verify(location, pace))

    async def _verify(self, location: str, pace: Callable[[int], Deferred[None]]) -> None:
        blob = self._index.blob(location)
        if blob is None:
            raise NotFound(location)
        if self.volume.backlog.applier.data_of(blob.id) is not None:
            return  # it is on its way to its files
        files = self.workers.files
        try:
            # Opened anew, to see that it is still there under its name.
            with self._index.ids.pinned(blob.id):
                fd = await files.run(self.volume.open_data, blob)
            size = 0 if blob.sha256 is None else blob.size
            hashing = Hashing(self.volume, fd, size, VERIFIED_AT_ONCE)
            try:
                while not hashing.done:
                    await pace(await files.run(hashing.step))
            finally:
                await files.run(self.volume.close_data, fd)
            if blob.sha256 is not None:
                check_digest(hashing.digest(), blob)
        except (OSError, DataDamaged):
            self.failed(Failure(), blob).raiseException()

    # -- failures -----------------------------------------------------------------------------

    def _opening_failed(self, failure: Failure, blob: Committed) -> Deferred[Any]:
        """As `failed`, but wait for whoever is changing the location of a missing file.

        A blob that is deleted without a tombstone leaves the disk before it leaves the maps.
        """
        if not failure.check(FileNotFoundError):
            return fail(self.failed(failure, blob))
        turn = self._committer.exclude(blob.location, lambda: succeed(None))
        return turn.addCallback(lambda _: self.failed(failure, blob))

    def failed(self, failure: Failure, blob: Committed) -> Failure:
        """Turn a failed read into the store's words; quarantine a damaged blob."""
        error = failure.value
        if isinstance(error, FileNotFoundError) and not self._index.is_current(blob):
            return Failure(NotFound(blob.location))
        if isinstance(error, (DataDamaged, EOFError, FileNotFoundError)):
            if self.volume.directory.is_removed():
                return self._why_damaged(blob.location)
            gone = isinstance(error, FileNotFoundError)
            self._quarantine(blob, "it is gone" if gone else str(error))
            return Failure(Damaged(blob.location, is_logged=False))
        if isinstance(error, (OSError, MemoryError)):
            return Failure(as_read_error(error))
        return failure

    def _why_damaged(self, location: str) -> Failure:
        """Return why a blob cannot be read: one in a removed directory is not damaged."""
        try:
            if self.volume.directory.is_removed():
                self.volume.directory.check()
        except ReadOnly:
            return Failure()
        return Failure(Damaged(location))

    def _quarantine(self, blob: Committed, reason: str) -> None:
        """Quarantine a damaged blob, unless it is gone when its location's turn comes."""

        def work() -> Deferred[None]:
            if not self._index.is_current(blob):
                return succeed(None)
            log.error(
                "Blob {id} of {location!r} is damaged: {reason}",
                id=blob.id,
                location=blob.location,
                reason=reason,
            )
            damage = Damage(blob, str(blob.id))
            self._index.show_damage(damage)
            self.files.forget(blob.id)
            moved = self.workers.errand(quarantine, self.volume, damage)
            return moved.addCallback(done, damage)

        def done(_: None, damage: Damage) -> None:
            if damage.name != str(blob.id):
                self._index.ids.release(blob.id)

        # In its turn: quarantined while its tombstone is written, it would outlive its deletion.
        self.workers.ongoing.watch(self._committer.exclude(blob.location, work))


def read_small(volume: Volume, blob: Committed, fd: int) -> bytes:
    """In a worker: read a small blob whole; raises DataDamaged if it is not what was committed."""
    return verified(volume.read(fd, 0, blob.size), blob)
