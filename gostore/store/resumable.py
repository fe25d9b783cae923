"""The uploads that come in several requests: what they are told, and how they become blobs.

unfinished.py is the contract, appending.py takes the bytes, and volume/kept.py keeps them. One
request at a time goes on with an upload; a later one takes over from it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.blob import Blob, Committed, UploadNote
from gostore.errors import (
    AlreadyExists,
    BadRecord,
    ConditionFailed,
    DigestMismatch,
    NoSpace,
    NotFound,
    NoUpload,
    StoreError,
    TooLarge,
    TooMuchMetadata,
    UploadOver,
    WrongOffset,
    as_store_error,
)
from gostore.store.admission import Admission, too_many_uploads
from gostore.store.appending import DAMAGED, SPOILT, Appending, Progress
from gostore.store.index import Index
from gostore.store.interface import Body, Details, Precondition
from gostore.store.room import Room
from gostore.store.roster import Roster, Turn, Upload
from gostore.store.unfinished import Address, Chunk, Standing, Wanted
from gostore.store.upload import Received
from gostore.store.workers import Workers
from gostore.volume.changes import Stage
from gostore.volume.directory import OutcomeUnknown, kept_name
from gostore.volume.kept import Kept, Note
from gostore.volume.volume import Volume

T = TypeVar("T")

SECOND = 1_000_000_000

EXPIRES = 86_400.0
"""Seconds after which an upload is forgotten that nobody goes on with."""

#: How much is hashed at a time of what a start has found.
_HASHED = 64 * 1024 * 1024

#: After these the upload is over: a repetition would get the same.
_FINAL = (
    AlreadyExists,
    ConditionFailed,
    DigestMismatch,
    NotFound,
    TooLarge,
    TooMuchMetadata,
    UploadOver,
)

log = Logger()


@frozen
class Surroundings:
    """What uploads need of the store that they are for; see `BlobStore`."""

    index: Index
    admission: Admission
    check_health: Callable[..., None]
    #: Computes the digest of a blob that has none, and shows it.
    settle: Callable[[Committed], Deferred[Any]]
    #: Commits what has been received.
    commit: Callable[
        [Received, Blob, Details, Precondition | None, bool | None],
        Deferred[tuple[Committed, bool]],
    ]
    room: Room


class Resumable:
    """The uploads of one store. `expires` are seconds, and may change."""

    def __init__(
        self, store: Surroundings, volume: Volume, workers: Workers, clock: IReactorTime
    ) -> None:
        self.expires = EXPIRES
        self._store = store
        self._volume = volume
        self._workers = workers
        self._clock = clock
        #: The numbers of those that are over, and whose stages could not be put into the trash.
        self._left: set[int] = set()
        self._roster = Roster(store.index, store.admission, volume.now)

    def __len__(self) -> int:
        return len(self._roster)

    @property
    def size(self) -> int:
        """How many bytes of unfinished uploads are kept."""
        return sum(upload.progress.offset for upload in self._roster)

    @property
    def max_size(self) -> int | None:
        """The most bytes of an upload; see `Uploads.max_size`."""
        return self._store.admission.max_blob_size

    def restore(self, kept: Iterable[Kept]) -> None:
        """Take in what a start has found."""
        for each in sorted(kept, key=lambda one: one.note.when):
            note, said = each.note, each.blob.upload
            assert said is not None
            progress = Progress(each.number, note.offset, note.length, note.when)
            if not note.offset:
                progress.digest = hashlib.sha256()
            address = Address(each.number, each.blob.location, said.owner)
            self._roster.add(address, said.text, progress)
        if len(self):
            log.info("Unfinished uploads: {count}, {bytes} bytes", count=len(self), bytes=self.size)

    def claim_anew(self) -> None:
        """Claim room in the quotas, which have changed."""
        for upload in self._roster:
            self._roster.claim(upload)

    # -- the verbs ----------------------------------------------------------------------------

    def begin(
        self, address: Address, text: str, length: int | None, wanted: Wanted
    ) -> Deferred[Address]:
        """Begin an upload; see `Uploads.begin`."""
        return self._run(self._begin(address, text, length, wanted))

    def stand(self, address: Address) -> Deferred[Standing]:
        """Say how an upload stands; see `Uploads.stand`."""
        return self._run(self._stand(address))

    def append(self, address: Address, chunk: Chunk, body: Body) -> Deferred[Standing]:
        """Take more bytes; see `Uploads.append`."""
        return self._run(self._append(address, chunk, body))

    def finish(self, address: Address, wanted: Wanted) -> Deferred[Standing]:
        """Make a blob of a complete upload; see `Uploads.finish`."""
        return self._run(self._finish(address, wanted))

    def terminate(self, address: Address) -> Deferred[None]:
        """Forget an upload; see `Uploads.terminate`."""
        return self._run(self._terminate(address))

    def expire(self) -> None:
        """Forget the uploads whose time is over. The cost grows with those that are."""
        left, self._left = self._left, set()
        for number in left:
            self._discard(number, sync=False).addErrback(self._log_left, number)
        now = self._volume.now()
        while (upload := next(iter(self._roster), None)) is not None:
            if upload.active + self._period > now:
                return
            if upload.lock.locked:
                self._roster.touch(upload)
                continue
            log.info(
                "Upload {number} of {location!r} has expired: {offset} bytes",
                number=upload.number,
                location=upload.address.location,
                offset=upload.progress.offset,
            )
            self._drop(upload, UploadOver("it has expired"))

    # -- what they do -------------------------------------------------------------------------

    def _run(self, work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        return self._workers.ongoing.watch(Deferred.fromCoroutine(work))

    async def _begin(
        self, address: Address, text: str, length: int | None, wanted: Wanted
    ) -> Address:
        store, location = self._store, address.location
        await self._check(location, wanted)
        content_type, _ = wanted.details.labels(store.index.version(location))
        self._roster.check_length(location, length or 0)
        # Its bytes make history give way as they come, if they do.
        store.room.check(length or 0)

        def make() -> Deferred[Address]:
            return Deferred.fromCoroutine(self._make(address, text, length, content_type))

        try:
            return await make()
        except NoSpace as error:
            return await store.room.make(error, 0, make)

    async def _make(
        self, address: Address, text: str, length: int | None, content_type: str | None
    ) -> Address:
        store, location = self._store, address.location
        address = Address(secrets.randbelow(10**38) + 10**38, location, address.owner)
        now = self._volume.now()
        blob = Blob(0, location, content_type=content_type)
        blob.upload = UploadNote(address.number, address.owner, text)
        blob.create(now)
        blob.start_writing(now)
        progress = Progress(address.number, 0, length, now, hashlib.sha256())
        # It has its claim before anybody else can ask.
        upload = self._roster.add(address, text, progress)
        await upload.lock.acquire()
        try:
            await self._workers.files.run(self._volume.kept.make, blob, Note(0, length, now))
        except Exception as error:
            await self._drop(upload, as_store_error(error))
            raise as_store_error(error) from error
        finally:
            upload.lock.release()
        store.admission.take_room(0)
        return address

    async def _stand(self, address: Address) -> Standing:
        try:
            upload = self._roster.find(address)
        except NoUpload:
            return await self._look_for_blob(address)
        if upload is None:
            return self._roster.outcome(address)
        async with Turn(upload):
            if upload in self._roster:
                return self._standing(upload)
            return self._roster.outcome(address)

    async def _append(self, address: Address, chunk: Chunk, body: Body) -> Standing:
        upload = await self._open(address)
        if upload is None:
            return _unmoved(self._roster.outcome(address), chunk)
        async with Turn(upload):
            if upload not in self._roster:
                return _unmoved(self._roster.outcome(address), chunk)
            await self._take(upload, chunk, body)
            return self._standing(upload)

    async def _take(self, upload: Upload, chunk: Chunk, body: Body) -> None:
        """Take a body, now that nobody else does."""
        store, progress = self._store, upload.progress
        store.check_health(lately=True)
        if chunk.offset != progress.offset:
            raise WrongOffset(progress.offset)
        self._roster.set_length(upload, chunk.length)
        most = self._roster.most(upload)
        if most.size is not None and (body.length or 0) > most.size:
            raise most.error
        try:
            ticket = store.admission.admit(body)
        except NoSpace as error:
            admit = partial(maybeDeferred, store.admission.admit, body)
            ticket = await store.room.make(error, body.length or 0, admit)
        try:
            if not (body.complete and not body.length) and not ticket.take_place():
                raise too_many_uploads()
            self._roster.touch(upload)
            upload.appending = Appending(self._volume, self._workers, self._clock, progress, ticket)
            await upload.appending.receive(body, most, chunk, store.room)
        finally:
            ticket.release()
            taking, upload.appending = upload.appending, None
            self._roster.touch(upload)
            self._roster.claim(upload)
            if taking is not None and taking.loss:
                await self._drop(upload, UploadOver(taking.loss))

    async def _finish(self, address: Address, wanted: Wanted) -> Standing:
        upload = await self._open(address)
        if upload is None:
            return self._roster.outcome(address)
        async with Turn(upload):
            if upload not in self._roster:
                return self._roster.outcome(address)
            try:
                standing = await self._commit_with_room(upload, wanted)
            except _FINAL as error:
                over = error if isinstance(error, UploadOver) else UploadOver(str(error))
                await self._drop(upload, over)
                raise
            self._roster.forget(upload, standing)
            return standing

    async def _commit_with_room(self, upload: Upload, wanted: Wanted) -> Standing:
        def commit() -> Deferred[Standing]:
            return Deferred.fromCoroutine(self._commit(upload, wanted))

        try:
            return await commit()
        except NoSpace as error:
            return await self._store.room.make(error, 0, commit)

    async def _commit(self, upload: Upload, wanted: Wanted) -> Standing:
        store, location = self._store, upload.address.location
        progress, details = upload.progress, wanted.details
        if progress.offset != progress.length:
            raise WrongOffset(progress.offset)
        await self._check(location, wanted)
        sha256 = await self._hash(progress)
        if details.digests.get("sha256", sha256) != sha256:
            raise DigestMismatch("sha256")
        store.check_health(lately=True)
        current = store.index.blob(location)
        blob = Blob(store.index.ids.draw(replacing=current is not None), location)
        blob.upload = UploadNote(upload.number, upload.address.owner, upload.text)
        now = self._volume.now()
        if current is None:
            blob.create(now)
        else:
            blob.update(now)
        blob.start_writing(now)
        stage = Stage(blob, kept=kept_name(upload.number))
        # The blob's own claim takes the place of the upload's.
        store.index.unclaim(upload.claim)
        try:
            received = Received(stage, progress.offset, sha256)
            await store.commit(received, blob, details, wanted.precondition, wanted.exists)
        except BaseException:
            store.index.unclaim(blob.id)
            # No directory has had the id, or nobody knows and nothing more is written.
            store.index.ids.release(blob.id)
            self._roster.claim(upload)
            raise
        return Standing(progress.offset, progress.offset, upload.text, None, sha256)

    async def _check(self, location: str, wanted: Wanted) -> None:
        """Raise unless an upload could become a blob now."""
        store, precondition = self._store, wanted.precondition
        current = store.index.blob(location)
        if precondition is not None and current is not None and current.sha256 is None:
            await store.settle(current)
        store.check_health(lately=True)
        store.index.check(location, precondition, wanted.exists)

    async def _hash(self, progress: Progress) -> bytes:
        """The SHA-256 of all bytes, which are all in the file then, and nothing else."""
        run, kept = self._workers.files.run, self._volume.kept
        try:
            await run(kept.complete, progress.number)
            if progress.digest is None:
                digest = hashlib.sha256()
                for start in range(0, progress.offset, _HASHED):
                    end = min(start + _HASHED, progress.offset)
                    await run(kept.feed, progress.number, digest, start, end)
                    # It may take minutes; a stop does not wait for the rest.
                    self._store.check_health(lately=True)
                progress.digest = digest
        except SPOILT as error:
            raise UploadOver(DAMAGED) from error
        except (OSError, MemoryError, OutcomeUnknown) as error:
            raise as_store_error(error) from error
        return progress.digest.digest()

    async def _terminate(self, address: Address) -> None:
        upload = await self._open(address)
        if upload is None:
            raise UploadOver("it is finished")
        async with Turn(upload):
            if upload in self._roster:
                self._store.check_health(lately=True)
                try:
                    await self._end(upload, UploadOver("it was terminated"), sync=True)
                except (OSError, OutcomeUnknown) as error:
                    raise as_store_error(error) from error

    async def _open(self, address: Address) -> Upload | None:
        """The upload, or None if it is over; after a restart, too."""
        try:
            return self._roster.find(address)
        except NoUpload:
            standing = await self._look_for_blob(address)
            self._roster.remember(address, standing)
            return None

    async def _look_for_blob(self, address: Address) -> Standing:
        """Look whether an upload has become the blob at its location, before this start perhaps.

        Raises NoUpload.
        """
        current = self._store.index.blob(address.location)
        if current is not None and current.sha256 is not None:
            read = self._volume.directory.read_record
            with suppress(OSError, BadRecord):
                blob = await self._workers.files.run(read, str(current.id), current.id)
                said = blob.upload
                if said is not None and (said.number, said.owner) == (
                    address.number,
                    address.owner,
                ):
                    return Standing(current.size, current.size, said.text, None, current.sha256)
        raise NoUpload()

    def _standing(self, upload: Upload) -> Standing:
        progress = upload.progress
        expires = upload.active + self._period
        return Standing(progress.offset, progress.length, upload.text, expires)

    @property
    def _period(self) -> int:
        return int(self.expires * SECOND)

    def _end(self, upload: Upload, outcome: StoreError, *, sync: bool) -> Deferred[None]:
        """Forget an upload, and put what is kept of it into the trash; a later run tries again."""
        self._roster.forget(upload, outcome)
        return self._discard(upload.number, sync=sync)

    def _drop(self, upload: Upload, outcome: StoreError) -> Deferred[None]:
        """As `_end`, whatever comes of it."""
        return self._end(upload, outcome, sync=False).addErrback(self._log_left, upload.number)

    def _discard(self, number: int, *, sync: bool) -> Deferred[None]:
        def discard() -> None:
            self._volume.kept.discard(number, sync=sync)

        def left(failure: Failure) -> Failure:
            self._left.add(number)
            return failure

        return self._workers.ongoing.watch(self._workers.chores.run(discard)).addErrback(left)

    def _log_left(self, failure: Failure, number: int) -> None:
        name, repeats = kept_name(number), self._volume.trash.repeats
        if (reason := repeats.due(name, str(as_store_error(failure.value)))) is not None:
            log.warn("{name} is not removed: {reason}", name=name, reason=reason)


def _unmoved(standing: Standing, chunk: Chunk) -> Standing:
    """How a finished upload stands, for a caller who knows that. Raises WrongOffset."""
    if chunk.offset != standing.offset:
        raise WrongOffset(standing.offset)
    return standing
