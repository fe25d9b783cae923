"""What each verb does, also under concurrency.

Everything is decided in the reactor's thread, by the maps of `Index`: a check and what it allows
happen in one turn, so no lock is needed.  The disk is the `Volume`'s, and only the workers' threads
touch it.  There is no HTTP here, and no path.

All verbs return Deferreds that fail with the errors of errors.py.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from gostore.blob import Blob, Committed
from gostore.errors import (
    AlreadyExists,
    NoIds,
    NoSpace,
    ReadOnly,
    Stopping,
    VolumeUnusable,
    as_store_error,
)
from gostore.prefixes import ByPrefix
from gostore.store.admission import Admission, Ticket
from gostore.store.committer import Committer
from gostore.store.copying import Copy, Copying
from gostore.store.dates import time_after
from gostore.store.deleting import Deleter
from gostore.store.expiry import Expiry
from gostore.store.garbage import Garbage
from gostore.store.history import History
from gostore.store.index import Index
from gostore.store.interface import (
    Body,
    Content,
    Details,
    Figures,
    Ledger,
    Page,
    Precondition,
    Seek,
    Summary,
    Verifier,
)
from gostore.store.openfiles import OpenFiles
from gostore.store.past import Past
from gostore.store.reading import Reader
from gostore.store.recording import Recording
from gostore.store.resumable import Resumable, Surroundings
from gostore.store.room import Room
from gostore.store.starting import mend, open_and_scan, summary_of
from gostore.store.upload import Received, Upload, is_whole, take_whole
from gostore.store.workers import Workers
from gostore.volume.changes import Change, Commit
from gostore.volume.recovery.findings import Findings
from gostore.volume.volume import Volume

T = TypeVar("T")


class BlobStore:
    """The blobs of one volume."""

    #: Everything is at hand.
    fetch = None

    def __init__(
        self,
        volume: Volume,
        workers: Workers,
        clock: IReactorTime,
        *,
        id_bits: int | None = None,
        max_blob_size: int | None = None,
        reserve: int | None = None,
        max_uploads: int = 256,
        max_open_files: int = 64,
        rng: random.Random | None = None,
        ledger: Ledger | None = None,
        keep: ByPrefix[float] | None = None,
    ) -> None:
        """Describe the store; it begins with `open` and `start`.

        ``max_blob_size`` in bytes, None for no limit; ``reserve`` is how many bytes of the file
        system stay free, None for the larger of 1 % and 64 MiB; ``max_uploads`` bodies may be on
        their way at a time, not counting those held in memory; ``max_open_files`` are kept open
        for the next reader; ``rng`` draws the ids; ``ledger`` counts what is stored; ``keep`` is
        for how many seconds a location has a history.
        """
        self.index = Index(id_bits, rng, ledger, Expiry(volume.now, clock.seconds))
        self.history = History(keep, ledger)
        self.garbage = Garbage(volume, workers, self.index.ids, clock, self.history)
        self._recording = Recording(volume, workers, self.index, self.history, clock)
        self._volume = volume
        self._workers = workers
        self._clock = clock
        self.committer = Committer(volume, workers, clock)
        files = OpenFiles(volume, workers, self.index, max_open_files, clock)
        self._reader = Reader(volume, workers, self.index, self.committer, files)
        self._deleter = Deleter(
            self.index, self.committer, self.garbage, self._reader, lambda: self._generation
        )
        self.past = Past(self.index, self.garbage, self._reader, self._deleter, self._write)
        self.admission = Admission(
            volume,
            workers,
            max_blob_size=max_blob_size,
            reserve=reserve,
            max_uploads=max_uploads,
        )
        self._room = Room(self.garbage, self.admission)
        settle, commit = self._reader.settle, self._commit
        healthy, room = self.check_health, self._room
        near = Surroundings(self.index, self.admission, healthy, settle, commit, room)
        self.resumable = Resumable(near, volume, workers, clock)
        self.creating: set[str] = set()
        self._generation = 0
        self._found = Findings()
        self._opening_seconds = 0.0
        self._started = False
        self._stopping = False

    # -- life ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Lock the volume and read it, changing nothing. Blocks.

        Raises VolumeInUse or VolumeUnusable.
        """
        begun = time.monotonic()
        self._found = open_and_scan(self._volume, self.garbage.keeping)
        self._opening_seconds = time.monotonic() - begun

    def start(self) -> Summary:
        """Mend what `open` found and start the workers. Blocks.

        Raises VolumeUnusable if the disk refuses.
        """
        begun = time.monotonic()
        self._started = True
        found, self._found = self._found, Findings()
        free, total = mend(self._volume, found)
        self.index.restore(found)
        self.garbage.restore(found, self.index.__contains__)
        self._generation = found.generation
        if found.unreadable:
            # A blob that nobody may read now may have any generation that this store has reached,
            # and must not win over what is written from now on. No store commits once a nanosecond.
            self._generation = max(found.generation, self._volume.now())
        self.admission.start(free, total)
        self.resumable.restore(found.kept)
        lacked = len(found.live) + len(found.history) - found.trusted
        self._recording.begin(lacked, self.admission.reserve)
        try:
            self._workers.start()
        except RuntimeError as error:
            raise VolumeUnusable(self._volume.shown_path, str(error)) from error
        return summary_of(found, self._opening_seconds + time.monotonic() - begun)

    def stop(self) -> Deferred[None]:
        """Refuse new writes; finish those in progress; remove the stages of those that failed."""
        self._stopping = True
        self._deleter.stop()
        self.garbage.stop()
        self._recording.stop()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        await self._workers.ongoing.wait()
        with suppress(ReadOnly):  # it is logged
            self._volume.check()
        await self.garbage.finish()
        await self._workers.commits.run(self._volume.backlog.finish)
        await self._recording.finish()

    def close(self) -> None:
        """Stop the workers and let go of the volume."""
        self._reader.files.clear()
        self._workers.stop()
        self._volume.close(unmake=not self._started)

    def collect(self) -> Deferred[None]:
        """Delete what is over, and remove what is dead: one run, over what this store knows of."""
        self.resumable.expire()
        return Deferred.fromCoroutine(self._collect())

    async def _collect(self) -> None:
        is_more = True
        while is_more:
            is_more = await self._deleter.expire()
            free = await self.garbage.collect()
            if free is not None:
                self.admission.free = free
        self._recording.tick()

    @property
    def verifier(self) -> Verifier:
        """What verifies the blobs: their bytes are on a disk, and may rot."""
        return self._reader

    @property
    def uploads(self) -> int:
        """How many bodies are on their way."""
        return self.admission.uploads

    def check_health(self, *, lately: bool = False) -> None:
        """Raise ReadOnly or Stopping if writes are refused; see `Volume.check`."""
        if self._stopping:
            raise Stopping()
        self._volume.check(lately=lately)

    def stop_expiring(self) -> None:
        """Leave what is over to the next start: a run of the collector shall end soon."""
        self._deleter.stop()

    def figures(self) -> Figures:
        """Count what there is."""
        index, admission = self.index, self.admission
        blobs = len(index) - index.damaged
        room = admission.free, admission.reserve, self.history.bytes
        return Figures(blobs, index.damaged, admission.uploads, *room, index.bytes)

    # -- reading ------------------------------------------------------------------------------

    def get(self, location: str) -> Deferred[Committed]:
        """Return what is known of the blob at a location; see `Reader.get`."""
        return self._reader.get(location)

    def content(self, blob: Committed) -> Deferred[Content]:
        """Open the bytes of a blob that `get` returned; see `Reader.content`."""
        return self._reader.content(blob)

    def read_now(self, location: str) -> tuple[Committed, bytes, float] | None:
        """Give a small blob and its bytes, if they are at hand; see `Reader.read_now`."""
        return self._reader.read_now(location)

    def is_current(self, blob: Committed) -> bool:
        """Say whether a blob is still what its location has; see `Index.is_current`."""
        return self.index.is_current(blob)

    def list(
        self,
        prefix: str = "",
        delimiter: str = "",
        after: str = "",
        limit: int = 1000,
        seek: Seek | None = None,
    ) -> Deferred[Page]:
        """List some of the blobs; see `Index.page`."""
        return succeed(self.index.page(prefix, delimiter, after, limit, seek))

    least_listed = 1

    # -- writing ------------------------------------------------------------------------------

    def create(
        self, location: str, body: Body, details: Details, precondition: Precondition | None = None
    ) -> Deferred[Committed]:
        """Store a blob at a location that has none.

        Fails with AlreadyExists if it has one, or is being given one by another `create`.
        """
        if location in self.creating:
            return fail(AlreadyExists(location))
        # Before it begins: a Deferred that waits for its commit looks like one that has fired.
        self.creating.add(location)
        created = self._write(location, body, details, precondition, exists=False)
        return created.addBoth(self._created, location)

    def _created(
        self, result: tuple[Committed, bool] | Failure, location: str
    ) -> Committed | Failure:
        self.creating.discard(location)
        return result if isinstance(result, Failure) else result[0]

    def replace(
        self, location: str, body: Body, details: Details, precondition: Precondition | None = None
    ) -> Deferred[Committed]:
        """Store a blob in place of the one that a location has.

        Fails with NotFound if it has none, or none any more when the body is here.
        """
        replaced = self._write(location, body, details, precondition, exists=True)
        return replaced.addCallback(lambda result: result[0])

    def put(
        self, location: str, body: Body, details: Details, precondition: Precondition | None = None
    ) -> Deferred[tuple[Committed, bool]]:
        """Store a blob at a location, whether it has one or not; say whether it had none."""
        return self._write(location, body, details, precondition, exists=None)

    def delete(
        self, location: str, precondition: Precondition | None = None, origin: str = ""
    ) -> Deferred[None]:
        """Delete the blob at a location; fails with NotFound if it has none."""
        current = self.index.blob(location)
        if precondition is not None and current is not None and current.sha256 is None:
            settled = self._reader.settle(current)
            return settled.addCallback(lambda _: self.delete(location, precondition, origin))
        try:
            self.check_health(lately=True)
            return self._deleter.delete(location, precondition, origin)
        except Exception:
            return fail()

    def _write(
        self,
        location: str,
        body: Body,
        details: Details,
        precondition: Precondition | None,
        *,
        exists: bool | None,
    ) -> Deferred[tuple[Committed, bool]]:
        """Store a blob if `Index.check` allows it, now and when the body is here."""
        current = self.index.blob(location)

        def again() -> Deferred[tuple[Committed, bool]]:
            return self._write(location, body, details, precondition, exists=exists)

        if precondition is not None and current is not None and current.sha256 is None:
            return self._reader.settle(current).addCallback(lambda _: again())
        try:
            self.check_health(lately=True)
            self.index.check(location, precondition, exists)
            content_type, metadata = details.labels(self.index.version(location))
            ticket = self.admission.admit(body, self.index.room(location))
        except NoSpace as error:
            return self._room.make(error, body.length or 0, again)
        except Exception:  # whatever a precondition raises, `create` has to hear of it
            return fail()
        try:
            blob = Blob(
                self.index.ids.draw(replacing=current is not None),
                location,
                content_type=content_type,
                metadata=metadata,
            )
        except NoIds as error:
            ticket.release()
            return self._room.make(error, 0, again)
        now = self._volume.now()
        if current is None:
            blob.create(now, body.origin)
        else:
            blob.update(now, body.origin)
        blob.start_writing(now)
        upload: Upload | Copying | None = None
        self._workers.ongoing.begin()  # until `_written`
        received: Received | Deferred[Received]
        try:
            if is_whole(body):
                received = take_whole(body, details)
            elif isinstance(body, Copy):
                upload = Copying(self._volume, self._workers, blob, ticket)
                received = upload.receive(body, self._room)
            else:
                upload = Upload(self._volume, self._workers, self._clock, blob, ticket)
                received = upload.receive(body, details, self._room)
        except Exception:
            received = fail()

        def commit(received: Received) -> Deferred[tuple[Committed, bool]]:
            ticket.arrived(received.in_memory)
            return self._commit(received, blob, details, precondition, exists)

        stored = (
            commit(received) if isinstance(received, Received) else received.addCallback(commit)
        )
        return stored.addBoth(self._written, blob.id, ticket, upload)

    def _commit(
        self,
        received: Received,
        blob: Blob,
        details: Details,
        precondition: Precondition | None,
        exists: bool | None,
    ) -> Deferred[tuple[Committed, bool]]:
        location = blob.location
        is_new: list[bool] = []
        keeps: list[bool] = []

        def decide() -> Change:
            self.index.check(location, precondition, exists)
            self.index.claim(blob.id, location, received.size)
            blob.content_type, blob.metadata = details.labels(self.index.version(location))
            self._generation += 1
            last = self.index.modified(location)
            last = self.garbage.deleted_at(location) if last is None else last
            now = time_after(self._volume.now(), last)
            blob.finish_writing(now, received.size, received.sha256, self._generation)
            if details.lifetime is not None:
                blob.expires = details.lifetime.end(self._volume.now())
            is_new.append(self.index.find(location) is None)
            keeps.append(self.history.keeps(location))
            replaced = self.index.standing(location)
            if not isinstance(replaced, Committed):
                return Commit(blob, received.data)
            return Commit(blob, received.data, replaced.id, keeps[-1])

        def switch() -> tuple[Committed, bool]:
            committed = blob.committed()
            previous = self.index.put(committed)
            self.admission.take_room(committed.size)
            if isinstance(previous, Committed):
                self._reader.files.forget(previous.id)
                self.garbage.add_replaced(previous, blob, keeps=keeps[-1])
            elif previous is not None:
                self.garbage.add_remains(location, previous.name)
            else:
                self.history.revive(location)
            self.garbage.give_way(location)
            return committed, is_new[-1]

        changed = self.committer.change(location, decide, switch)
        if isinstance(received.data, bytes) and len(self.history):

            def anew() -> Deferred[tuple[Committed, bool]]:
                self.index.unclaim(blob.id)
                self.garbage.add_stage(blob.id)
                body = Copy(received.size, received.data, blob.origin)
                checked = evolve(details, digests={}, late_digests=frozenset())
                return self._write(location, body, checked, precondition, exists=exists)

            changed.addErrback(self._room.make_after, received.size, anew)
        return changed

    def _written(
        self, result: T, blob_id: int, ticket: Ticket, upload: Upload | Copying | None
    ) -> T:
        """Let go of what the write took; the collector removes what a failed upload left."""
        ticket.release()
        if isinstance(result, Failure):
            self.index.unclaim(blob_id)
            error = as_store_error(result.value)
            dropped = succeed(None) if upload is None else upload.drop(error)
            self._workers.ongoing.watch(dropped)
            dropped.addBoth(lambda _: self.garbage.add_stage(blob_id))
        return self._workers.ongoing.end(result)
