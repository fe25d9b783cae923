"""What each verb means, while others are at it too.

The store holds two maps of the blobs that exist, by id and by location, and decides everything in
the reactor's thread: a check and what it allows happen in one turn, with no lock in sight.  The
disk is the `Volume`'s, and is only touched in the workers' threads.  There is no HTTP here, and no
path.

All verbs return Deferreds that fail with the errors of errors.py.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from attrs import evolve
from sortedcontainers import SortedDict
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.blob import LOCATION_BYTES, Blob, Committed
from gostore.errors import (
    AlreadyExists,
    Busy,
    Damaged,
    NoSpace,
    NotFound,
    Stopping,
    TooLarge,
    VolumeUnusable,
    as_store_error,
)
from gostore.store.committer import Committer
from gostore.store.content import (
    FileContent,
    OpenFile,
    OpenFiles,
    SmallContent,
    check_digest,
    compute_digest,
    held,
    read_small,
    verified,
)
from gostore.store.garbage import Garbage
from gostore.store.index import Ids
from gostore.store.interface import SMALL_BLOB, Body, Content, Details, Page, Precondition
from gostore.store.upload import WAITING, WAITING_ALONE, Received, Upload
from gostore.store.workers import Workers
from gostore.volume.changes import Change, Commit, Delete, Discard
from gostore.volume.collect import Collected, Dead, collect, retire
from gostore.volume.directory import DataDamaged, OutcomeUnknown
from gostore.volume.recovery import scan as recovery
from gostore.volume.recovery.scan import Damage
from gostore.volume.volume import Volume

T = TypeVar("T")

#: What a verb itself asks: given whether there is a blob, be it damaged, it raises to refuse.
Admit = Callable[[bool], None]

#: Without a setting, this share of the file system stays free, and at least so many bytes.
_RESERVE_SHARE = 100
_RESERVE_BYTES = 64 * 1024 * 1024

#: Bodies that wait in memory for their commit may hold this many bytes together.
_IN_MEMORY = 32 * 1024 * 1024

#: With fewer uploads than this in progress, each may hold more memory.
_FEW = 8

#: How many bytes of a blob `BlobStore.verify` reads before it asks for leave to go on.
VERIFIED_AT_ONCE = 256 * 1024

#: Seconds after which a replaced blob is marked: those of a second share a flush.
_RETIRE_AFTER = 1.0

#: The seconds after which a caller who was refused for want of room may try again.
_RETRY_AFTER = 1

log = Logger()


class BlobStore:
    """The blobs of one volume."""

    def __init__(
        self,
        volume: Volume,
        workers: Workers,
        *,
        id_bits: int | None = None,
        max_blob_size: int | None = None,
        reserve: int | None = None,
        max_uploads: int = 256,
        max_open_files: int = 64,
    ) -> None:
        """Describe the store; it begins with `open` and `start`.

        ``max_blob_size`` in bytes, None for no limit; ``reserve`` is how many bytes of the file
        system stay free, None for the larger of 1 % and 64 MiB; ``max_uploads`` bodies may be on
        their way to the disk at a time; ``max_open_files`` are kept open for the next reader.
        """
        self._volume = volume
        self._workers = workers
        self._by_id = Ids(id_bits)
        self._max_blob_size = max_blob_size
        self._reserve_setting = reserve
        self._max_uploads = max_uploads
        self._committer = Committer(volume, workers)
        self._files = OpenFiles(volume, workers, self._is_current, self._by_id, max_open_files)
        self._by_location: SortedDict[str, Committed] = SortedDict()
        self._damaged: dict[str, Damage] = {}
        #: Damaged blobs whose location has been written again, and which are there still.
        self._obsolete: dict[str, set[str]] = {}
        self._creating: set[str] = set()
        self._generation = 0
        self._garbage = Garbage()
        #: What is to be marked, each with the id of its successor.
        self._replaced: list[tuple[Committed, int]] = []
        self._retiring = False
        self._digesting: dict[int, list[Deferred[Committed]]] = {}
        self._uploads = 0
        self._in_memory = 0
        self._announced = 0
        self._free = 0
        self._reserve = 0
        self._found = recovery.Recovery()
        self._opening_seconds = 0.0
        self._started = False
        self._stopping = False
        #: How many things a stop has to wait for, and what to tell when there are none left.
        self._working = 0
        self._idle: Deferred[None] | None = None

    # -- life ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Lock the volume and read it, changing nothing. Blocks.

        Raises VolumeInUse or VolumeUnusable.
        """
        begun = time.monotonic()
        self._volume.open()
        try:
            self._found = recovery.scan(self._volume)
            if self._found.journal_damage is not None:
                reason = (
                    f"{self._found.journal_damage}, so that a write or a delete may be lost;"
                    " gostore fsck tells what is there, and with --repair it goes on with that"
                )
                raise VolumeUnusable(self._volume.shown_path, reason)
        except (VolumeUnusable, OSError) as error:
            with suppress(OSError):
                self._volume.close()
            if isinstance(error, VolumeUnusable):
                raise
            raise VolumeUnusable(self._volume.shown_path, str(as_store_error(error))) from error
        self._opening_seconds = time.monotonic() - begun

    def start(self) -> str:
        """Mend what `open` found and start the workers. Blocks; returns a line that says what was.

        Raises VolumeUnusable if the disk refuses.
        """
        begun = time.monotonic()
        self._started = True
        found, self._found = self._found, recovery.Recovery()
        try:
            recovery.repair(self._volume, found)
            self._free, total = self._volume.free()
        except (OSError, OutcomeUnknown) as error:
            reason = str(as_store_error(error) if isinstance(error, OSError) else error)
            raise VolumeUnusable(self._volume.shown_path, reason) from error
        for blob_id in found.ids:
            self._by_id.take(blob_id)
        for blob in found.live.values():
            self._by_id.give(blob)
        self._by_location.update(found.live)
        self._damaged = found.damaged
        self._generation = found.generation
        for dead in found.dead:
            self._garbage.add(dead)
        self._reserve = (
            max(total // _RESERVE_SHARE, _RESERVE_BYTES)
            if self._reserve_setting is None
            else self._reserve_setting
        )
        try:
            self._workers.start()
        except RuntimeError as error:
            raise VolumeUnusable(self._volume.shown_path, str(error)) from error
        seconds = self._opening_seconds + time.monotonic() - begun
        return f"Recovery: {found}, {seconds:.2f} seconds"

    def stop(self) -> Deferred[None]:
        """Refuse new writes; finish those in progress; remove the stages of those that failed."""
        self._stopping = True
        idle: Deferred[None] = succeed(None)
        if self._working:
            idle = self._idle = Deferred()

        def finish(_: None) -> Deferred[None]:
            self._retire()
            return self._collect([])

        return idle.addCallback(finish).addCallback(
            lambda _: self._workers.commit(self._volume.protocol.forget_journal)
        )

    def close(self) -> None:
        """Stop the workers and let go of the volume."""
        self._files.clear()
        self._workers.stop()
        self._volume.close(unmake=not self._started)

    @property
    def uploads(self) -> int:
        """How many bodies are on their way."""
        return self._uploads

    def check_health(self) -> None:
        """Raise ReadOnly or Stopping if writes are refused."""
        if self._stopping:
            raise Stopping()
        self._volume.check()

    # -- reading ------------------------------------------------------------------------------

    def get(self, location: str) -> Deferred[Committed]:
        """Return what is known of the blob at a location, with its digest.

        Fails with NotFound or Damaged.
        """
        blob = self._by_location.get(location)
        if blob is None:
            return fail(Damaged(location) if location in self._damaged else NotFound(location))
        if blob.sha256 is None:
            # Should it be gone by then, its successor is what there is.
            return self._digest(blob).addErrback(self._gone, lambda: self.get(location))
        return succeed(blob)

    def _gone(self, failure: Failure, again: Callable[[], Deferred[T]]) -> Deferred[T]:
        """Do again what found its blob collected while it waited for the digest."""
        failure.trap(NotFound)
        return again()

    def _known(self, blob: Committed) -> Deferred[None]:
        """Wait until a blob has a digest to compare, or it has turned out that it never will."""
        known: Deferred[None] = self._digest(blob).addCallback(lambda _: None)
        return known.addErrback(self._never_known)

    def _never_known(self, failure: Failure) -> None:
        failure.trap(NotFound, Damaged)

    def _digest(self, blob: Committed) -> Deferred[Committed]:
        """Compute the digest of a blob that the first server wrote; once, whoever asks."""
        known: Deferred[Committed] = Deferred()
        if blob.id in self._digesting:
            self._digesting[blob.id].append(known)
        else:
            self._digesting[blob.id] = [known]
            computed = held(self._by_id, blob.id, self._workers, compute_digest, self._volume, blob)
            computed.addErrback(self._opening_failed, blob)
            computed.addBoth(self._digested, blob)
        return known

    def _digested(self, result: bytes | Failure, blob: Committed) -> None:
        waiting = self._digesting.pop(blob.id)
        if isinstance(result, Failure):
            for known in waiting:
                known.errback(result)
            return
        complete = evolve(blob, sha256=result)
        if self._by_location.get(blob.location) is blob:
            self._by_location[blob.location] = complete
            self._by_id.give(complete)
        for known in waiting:
            known.callback(complete)

    def content(self, blob: Committed) -> Deferred[Content]:
        """Open the bytes of a blob that `get` returned.

        Fails with NotFound if it is not the one of its location any more, or has been collected
        since, with Damaged, Busy or DiskFailed.
        """
        if not self._is_current(blob):
            # Its id may be another's by now, and so may what is found by it.
            return fail(NotFound(blob.location))
        if blob.size > SMALL_BLOB:
            return self._files.use(blob).addCallbacks(
                lambda file: FileContent(
                    self._volume,
                    self._workers,
                    self._files,
                    file,
                    blob,
                    lambda failure: self._reading_failed(failure, blob),
                ),
                self._opening_failed,
                errbackArgs=(blob,),
            )
        file = self._files.at_hand(blob)
        if file is not None:
            try:
                data = self._volume.read_now(file.fd, blob.size)
                if data is not None:
                    return succeed(SmallContent(verified(data, blob)))
            except (OSError, DataDamaged):
                return fail(self._reading_failed(Failure(), blob))
        opened = self._files.open(blob) if file is None else self._files.use(blob)
        return opened.addCallback(self._read_small, blob).addCallbacks(
            SmallContent, self._opening_failed, errbackArgs=(blob,)
        )

    def _read_small(self, file: OpenFile, blob: Committed) -> Deferred[bytes]:
        def leave(result: T) -> T:
            self._files.leave(blob, file)
            return result

        return self._workers.file(read_small, self._volume, blob, file.fd).addBoth(leave)

    def _opening_failed(self, failure: Failure, blob: Committed) -> Deferred[Any]:
        """As `_reading_failed`, once nobody changes the location of what is not found any more.

        What is deleted without a tombstone is away for some time before the maps show that.
        """
        if not failure.check(FileNotFoundError):
            return fail(self._reading_failed(failure, blob))
        turn = self._committer.hold(blob.location, lambda: succeed(None))
        return turn.addCallback(lambda _: self._reading_failed(failure, blob))

    def _reading_failed(self, failure: Failure, blob: Committed) -> Failure:
        """Turn a failed read into the store's words; set a damaged blob aside."""
        error = failure.value
        if isinstance(error, FileNotFoundError) and not self._is_current(blob):
            return Failure(NotFound(blob.location))
        if isinstance(error, (DataDamaged, EOFError, FileNotFoundError)):
            gone = isinstance(error, FileNotFoundError)
            self._set_aside(blob, "it is gone" if gone else str(error))
            return Failure(Damaged(blob.location))
        if isinstance(error, (OSError, MemoryError)):
            return Failure(as_store_error(error))
        return failure

    def _is_current(self, blob: Committed) -> bool:
        """Say whether a blob is still the one of its location; a later one may have its id, too."""
        current = self._by_location.get(blob.location)
        return (
            current is not None and current.id == blob.id and current.generation == blob.generation
        )

    def _set_aside(self, blob: Committed, reason: str) -> None:
        """Set a damaged blob aside, unless it is gone when nobody changes its location any more."""

        def work() -> Deferred[None]:
            if not self._is_current(blob):
                return succeed(None)
            log.error(
                "Blob {id} of {location!r} is damaged: {reason}",
                id=blob.id,
                location=blob.location,
                reason=reason,
            )
            del self._by_location[blob.location]
            self._by_id.take(blob.id)
            self._files.forget(blob.id)
            damage = self._damaged[blob.location] = Damage(blob, str(blob.id))
            return self._chore(recovery.set_aside, damage).addCallback(done, damage)

        def done(_: None, damage: Damage) -> None:
            if damage.name != str(blob.id):
                self._by_id.release(blob.id)

        # Quarantined while its tombstone is being written, say, it would outlive its deletion.
        self._count(self._committer.hold(blob.location, work))

    # -- verifying ----------------------------------------------------------------------------

    def next_location(self, after: str) -> str | None:
        """Return the first location after this one that has a blob; "" is before them all."""
        at = self._by_location.bisect_right(after)
        return self._by_location.keys()[at] if at < len(self._by_location) else None

    @inlineCallbacks
    def verify(
        self, location: str, pace: Callable[[int], Deferred[None]]
    ) -> Generator[Deferred[Any], Any, None]:
        """Read the blob at a location, and set it aside if it is not what was committed.

        ``pace`` is given the number of bytes of each read and says when the next may come.  A blob
        of the first server whose digest nobody knows yet is only opened.  Fails with Damaged,
        Busy, DiskFailed, with NotFound if it is gone, and with whatever ``pace`` fails with.
        """
        blob = self._by_location.get(location)
        if blob is None:
            raise NotFound(location)
        try:
            # Not one of those kept open: whether it is still there under its name is asked, too.
            fd = yield held(self._by_id, blob.id, self._workers, self._volume.open_data, blob)
            try:
                digest = hashlib.sha256()
                size = 0 if blob.sha256 is None else blob.size
                for offset in range(0, size, VERIFIED_AT_ONCE):
                    length = min(VERIFIED_AT_ONCE, size - offset)
                    yield self._workers.file(self._hash, digest, fd, offset, length)
                    yield pace(length)
            finally:
                yield self._workers.file(self._volume.close_data, fd)
            if blob.sha256 is not None:
                check_digest(digest.digest(), blob)
        except (OSError, DataDamaged):
            self._reading_failed(Failure(), blob).raiseException()

    def _hash(self, digest: hashlib._Hash, fd: int, offset: int, length: int) -> None:
        digest.update(self._volume.read(fd, offset, length))

    # -- listing ------------------------------------------------------------------------------

    def list(
        self, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000
    ) -> Deferred[Page]:
        """List up to ``limit`` locations that begin with ``prefix`` and come after ``after``.

        With a ``delimiter``, those that have it behind the prefix are rolled up into one entry up
        to and with it.
        """
        return succeed(list_page(self._by_location, prefix, delimiter, after, limit))

    # -- writing ------------------------------------------------------------------------------

    def create(
        self, location: str, body: Body, details: Details, precondition: Precondition | None = None
    ) -> Deferred[Committed]:
        """Store a blob at a location that has none.

        Fails with AlreadyExists if it has one, or is being given one by another `create`.
        """
        if location in self._creating:
            return fail(AlreadyExists(location))

        def admit(exists: bool) -> None:
            if exists:
                raise AlreadyExists(location)

        # Before it begins: a Deferred that waits for its commit looks like one that has fired.
        self._creating.add(location)
        created = self._write(location, body, details, precondition, admit)
        return created.addBoth(self._created, location)

    def _created(
        self, result: tuple[Committed, bool] | Failure, location: str
    ) -> Committed | Failure:
        self._creating.discard(location)
        return result if isinstance(result, Failure) else result[0]

    def replace(
        self, location: str, body: Body, details: Details, precondition: Precondition | None = None
    ) -> Deferred[Committed]:
        """Store a blob in place of the one that a location has.

        Fails with NotFound if it has none, or none any more when the body is here.
        """

        def admit(exists: bool) -> None:
            if not exists:
                raise NotFound(location)

        replaced = self._write(location, body, details, precondition, admit)
        return replaced.addCallback(lambda result: result[0])

    def put(
        self, location: str, body: Body, details: Details, precondition: Precondition | None = None
    ) -> Deferred[tuple[Committed, bool]]:
        """Store a blob at a location, whether it has one or not; say whether it had none."""
        return self._write(location, body, details, precondition, lambda exists: None)

    def delete(self, location: str, precondition: Precondition | None = None) -> Deferred[None]:
        """Delete the blob at a location; fails with NotFound if it has none."""

        def admit(exists: bool) -> None:
            if not exists:
                raise NotFound(location)

        current = self._by_location.get(location)
        if precondition is not None and current is not None and current.sha256 is None:
            return self._known(current).addCallback(lambda _: self.delete(location, precondition))
        try:
            self.check_health()
            self._ask(location, precondition, admit)
        except Exception:
            return fail()

        def decide() -> Change:
            current = self._ask(location, precondition, admit)
            elders = self._garbage.elders(location)
            obsolete = self._obsolete.get(location, set())
            if current is not None and not obsolete:
                return Delete(current, elders)
            # What is set aside would outlive a tombstone, which is collected.
            last = self._damaged[location].name if current is None else str(current.id)
            return Discard([*map(str, elders), *obsolete, last], self._generation)

        def switch() -> None:
            self._obsolete.pop(location, None)
            self._switch(location, None)

        return self._count(self._committer.change(location, decide, switch))

    def _write(
        self,
        location: str,
        body: Body,
        details: Details,
        precondition: Precondition | None,
        admit: Admit,
    ) -> Deferred[tuple[Committed, bool]]:
        """Store a blob where ``condition`` and ``admit`` allow it, now and when it is all here."""
        current = self._by_location.get(location)
        if precondition is not None and current is not None and current.sha256 is None:
            return self._known(current).addCallback(
                lambda _: self._write(location, body, details, precondition, admit)
            )
        try:
            self.check_health()
            self._ask(location, precondition, admit)
            self._check_room(body.length)
            blob_id = self._by_id.draw(replacing=current is not None)
        except Exception:  # a condition may raise what it likes; `create` has to hear of it
            return fail()
        now = self._volume.now()
        blob = Blob(
            blob_id,
            location,
            content_type=details.content_type,
            metadata=dict(details.metadata),
        )
        if current is None:
            blob.create(now)
        else:
            blob.update(now)
        blob.start_writing(now)
        upload = Upload(
            self._volume,
            self._workers,
            blob,
            body,
            digests=details.digests,
            max_size=self._max_blob_size,
            reserve=self._reserve,
            waiting=WAITING_ALONE if self._uploads < _FEW else WAITING,
        )
        self._working += 1  # until `_written`
        received: Received | Deferred[Received]
        try:
            received = upload.receive()
        except Exception:
            received = fail()
        if isinstance(received, Received):
            stored = self._commit(received, blob, precondition, admit)
        else:
            self._uploads += 1
            self._announced += body.length or 0
            received.addBoth(self._uploaded, body.length or 0)
            stored = received.addCallback(
                lambda body: self._commit(body, blob, precondition, admit)
            )
        return stored.addBoth(self._written, upload)

    def _uploaded(self, result: T, announced: int) -> T:
        self._uploads -= 1
        self._announced -= announced
        return result

    def _commit(
        self, received: Received, blob: Blob, precondition: Precondition | None, admit: Admit
    ) -> Deferred[tuple[Committed, bool]]:
        location = blob.location
        self._in_memory += received.in_memory

        def decide() -> Change:
            self._ask(location, precondition, admit)
            self._generation += 1
            now = self._volume.now()
            blob.finish_writing(now, received.size, received.sha256, self._generation)
            return Commit(blob, received.data)

        def switch() -> tuple[Committed, bool]:
            committed = blob.committed()
            new = not self._exists(location)
            self._switch(location, committed)
            return committed, new

        changed = self._committer.change(location, decide, switch)
        return changed.addBoth(self._left_memory, received.in_memory)

    def _left_memory(self, result: T, size: int) -> T:
        self._in_memory -= size
        return result

    def _written(self, result: T, upload: Upload) -> T:
        """Leave what there may be of a failed upload to the collector."""
        if isinstance(result, Failure):
            blob_id = upload.blob.id
            dropped = upload.drop(as_store_error(result.value))
            self._count(dropped).addBoth(lambda _: self._garbage.add_stage(blob_id))
        return self._uncount(result)

    # -- what both need -----------------------------------------------------------------------

    def _exists(self, location: str) -> bool:
        return location in self._by_location or location in self._damaged

    def _ask(
        self, location: str, precondition: Precondition | None, admit: Admit
    ) -> Committed | None:
        """Ask whether the blob at a location, or there being none, allows a write; return it."""
        current: Committed | None = self._by_location.get(location)
        damage = self._damaged.get(location)
        if precondition is not None:
            precondition.check(location, current if damage is None else damage.blob)
        admit(self._exists(location))
        return current

    def _check_room(self, announced: int | None) -> None:
        """Refuse a body that there is no room for, before a byte of it is asked for."""
        if self._max_blob_size is not None and (announced or 0) > self._max_blob_size:
            raise TooLarge(self._max_blob_size)
        if self._uploads >= self._max_uploads:
            raise Busy("Too many uploads are in progress", _RETRY_AFTER)
        if self._in_memory >= _IN_MEMORY:
            raise Busy("Too many uploads wait for the disk", _RETRY_AFTER)
        if self._free < self._reserve + self._announced + (announced or 0):
            # What we know may be some seconds old; the next one shall have it fresh.
            self._chore(Volume.free).addCallback(self._freed)
            raise NoSpace()

    def _freed(self, found: tuple[int, int] | None) -> None:
        if found is not None:
            self._free = found[0]

    def _switch(self, location: str, committed: Committed | None) -> None:
        """Let the maps show what is now durable: this blob, or that there is none."""
        previous = self._by_location.get(location)
        damage = self._damaged.pop(location, None)
        if committed is not None:
            self._by_location[location] = committed
            self._by_id.give(committed)
            self._free -= committed.size
            if damage is not None:
                self._obsolete.setdefault(location, set()).add(damage.name)
                self._discard(location)
        elif previous is not None:
            del self._by_location[location]
        if previous is not None:
            self._by_id.take(previous.id)
            self._files.forget(previous.id)
            by = None if committed is None else committed.id
            self._garbage.add(Dead(previous.id, location, previous.generation, by))
            if by is not None:
                self._replaced.append((previous, by))
                if not (self._retiring or self._stopping):
                    self._retiring = True
                    self._workers.soon(self._retire_soon, _RETIRE_AFTER)

    def _discard(self, location: str) -> None:
        """Give up what is left of damaged blobs; until that is done a DELETE has to see to it."""
        names = list(self._obsolete[location])
        self._chore(recovery.discard, names).addCallback(self._discarded, location)

    def _discarded(self, gone: Iterable[str] | None, location: str) -> None:
        # A DELETE may have seen to it meanwhile.
        names = self._obsolete.get(location, set())
        names.difference_update(gone or ())
        if not names:
            self._obsolete.pop(location, None)

    def _discard_again(self) -> None:
        """Try once more what could not be given up; unless only a restart can tell what is done."""
        if self._volume.broken is None:
            for location in list(self._obsolete):
                self._discard(location)

    def _retire(self) -> None:
        """Have the replaced blobs marked, many at a time."""
        replaced, self._replaced = self._replaced, []
        self._chore(retire, replaced).addBoth(self._retired)

    def _retired(self, _: object) -> None:
        self._retiring = bool(self._replaced) and not self._stopping
        if self._retiring:
            self._workers.soon(self._retire_soon, _RETIRE_AFTER)

    def _retire_soon(self) -> None:
        if not self._stopping:  # `stop` sees to it then, as long as there are threads
            self._retire()

    def _chore(self, function: Callable[..., T], *arguments: Any) -> Deferred[T | None]:
        """Have something done to the volume that nobody waits for; its failure is only logged."""
        return self._count(
            self._workers.chore(function, self._volume, *arguments).addErrback(
                lambda failure: log.failure("A chore failed", failure=failure)
            )
        )

    def _count(self, work: Deferred[T]) -> Deferred[T]:
        """Let `stop` wait for this."""
        self._working += 1
        return work.addBoth(self._uncount)

    def _uncount(self, result: T) -> T:
        self._working -= 1
        if not self._working and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)
        return result

    # -- collecting ---------------------------------------------------------------------------

    def collect(self) -> Deferred[None]:
        """Remove what is dead: one run, in a worker, over what this store has told of."""
        self._discard_again()
        return self._collect(self._garbage.dead)

    @inlineCallbacks
    def _collect(self, dead: Sequence[Dead]) -> Generator[Deferred[Any], Any, None]:
        stages = self._garbage.stages
        yield self._workers.chore(self._checkpoint_in_worker)
        if dead:
            yield self._workers.commit(self._tell_journal_in_worker)
        collected, free = yield self._workers.chore(self._collect_in_worker, dead, stages)
        if free is not None:
            self._free = free
        self._garbage.forget(collected)
        for blob_id in collected.ids:
            # What a deletion has taken away may be removed before the maps show that: then it is
            # dead only after this, and the next run finds that it is gone.
            if self._by_id.get(blob_id) is None:
                self._by_id.release(blob_id)

    def _checkpoint_in_worker(self) -> None:
        with suppress(OutcomeUnknown):  # which is logged, and collect then leaves the blobs alone
            self._volume.protocol.checkpoint()

    def _tell_journal_in_worker(self) -> None:
        """See that a start does not look in the journal for what is about to be removed.

        It would do right with all that the journal has, but what deleted these may be damaged.
        """
        try:
            self._volume.protocol.record_checkpoint()
        except OutcomeUnknown:
            pass  # as above
        except OSError as error:
            log.warn("The journal is not told of what is collected: {error}", error=error)

    def _collect_in_worker(
        self, dead: Iterable[Dead], stages: Iterable[int]
    ) -> tuple[Collected, int | None]:
        collected = collect(self._volume, dead, stages)
        try:
            return collected, self._volume.free()[0]
        except OSError as error:
            log.warn("How much room is left is not known: {error}", error=error)
            return collected, None


def list_page(
    locations: SortedDict[str, Committed], prefix: str, delimiter: str, after: str, limit: int
) -> Page:
    """Make one page of a listing; its cost grows with the page, not with the store."""
    entries: list[Committed | str] = []
    keys = locations.keys()
    at = max(locations.bisect_left(prefix), locations.bisect_right(after))
    if delimiter and after.endswith(delimiter) and len(after) > len(prefix):
        # The page before ended with a common prefix: all of it has been listed.
        at = max(at, _behind(locations, after))
    last = ""
    while at < len(keys):
        location = keys[at]
        if not location.startswith(prefix):
            break
        if len(entries) == limit:
            return Page(entries, last)
        cut = location.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            entries.append(locations[location])
            last = location
            at += 1
        else:
            last = location[: cut + len(delimiter)]
            entries.append(last)
            at = _behind(locations, last)
    return Page(entries, None)


def _behind(locations: SortedDict[str, Committed], prefix: str) -> int:
    """Return the index of the first location behind all that begin with a prefix."""
    return int(locations.bisect_left(prefix + "\U0010ffff" * (LOCATION_BYTES // 4 + 1)))
