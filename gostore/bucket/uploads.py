"""The contract of store/unfinished.py over a bucket: any daemon goes on with any upload.

What is known of uploads is in the bucket, see pieces.py and finishing.py. Here one request of this
daemon at a time goes on with an upload, and a later one takes over from it. Between two daemons
the pieces decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.blob import UploadNote
from gostore.bucket.arriving import Arriving
from gostore.bucket.asking import RETRY_AFTER
from gostore.bucket.expiring import Expiring
from gostore.bucket.finishing import FINAL, Finishing, outcome
from gostore.bucket.options import Options
from gostore.bucket.pieces import Come, Kept, Pieces, check_length
from gostore.bucket.pointer import MAX_ID
from gostore.bucket.protocol import Demand, Protocol
from gostore.bucket.threads import TRYING, Threads
from gostore.bucket.unfinished import Begun
from gostore.errors import (
    BadRecord,
    Busy,
    ChunkMismatch,
    NoUpload,
    Stopping,
    StoreError,
    TooLarge,
    UploadOver,
    UploadTooLong,
    WrongOffset,
)
from gostore.places import Places
from gostore.statefile import parse as parse_record
from gostore.store.interface import Body
from gostore.store.unfinished import Address, Chunk, Standing, Wanted

T = TypeVar("T")

EXPIRES = 86_400.0
"""Seconds after which an upload is forgotten that nobody goes on with."""

LOOKS = 24
"""How often uploads are looked at in the time after which one is forgotten."""

_SECOND = 1_000_000_000

log = Logger()


@define(eq=False)
class _Place:
    """Whose turn it is at an upload, among the requests of this daemon."""

    lock: DeferredLock = field(factory=DeferredLock)
    #: How many have it, or wait for it.
    users: int = 0
    arriving: Arriving | None = None


class _Turn:
    """The turn to go on with an upload: a request that takes bytes is cut short."""

    def __init__(self, places: dict[int, _Place], number: int) -> None:
        self._places = places
        self._number = number

    async def __aenter__(self) -> _Place:
        place = self._places.setdefault(self._number, _Place())
        place.users += 1
        if place.arriving is not None:
            place.arriving.cut_short()
        await place.lock.acquire()
        return place

    async def __aexit__(self, *_: object) -> None:
        place = self._places[self._number]
        place.lock.release()
        place.users -= 1
        if not place.users:
            del self._places[self._number]


class BucketUploads:
    """Implements `Uploads`. `expires` are seconds, and may change."""

    def __init__(self, reactor: Any, threads: Threads, options: Options, places: Places) -> None:
        """Bodies take ``places``."""
        self.expires = EXPIRES
        #: Set when no more is to be taken.
        self.stopping = False
        #: How many bodies are on their way.
        self.count = 0
        #: The uploads that are not finished, and their bytes, as this daemon has last seen them.
        self.unfinished = 0, 0
        self._reactor = reactor
        self._threads = threads
        self._options = options
        self._room = places
        self._turns: dict[int, _Place] = {}
        self._protocol: Protocol
        self._pieces: Pieces
        self._finishing: Finishing

    def open(self, protocol: Protocol) -> None:
        """Begin with a bucket."""
        self._protocol = protocol
        self._pieces = Pieces(protocol.ask)
        self._finishing = Finishing(protocol, self._pieces, patience=TRYING)

    @property
    def looks_every(self) -> float:
        """Seconds between two looks at what has expired."""
        return self.expires / LOOKS

    def expire(self, goes_on: Callable[[], bool]) -> None:
        """Remove the uploads that nobody goes on with. Blocks."""
        grace = self._protocol.staging.grace
        expiring = Expiring(self._finishing, self._pieces, grace)
        self.unfinished = expiring.run(self.expires, goes_on)

    @property
    def max_size(self) -> int | None:
        """The most bytes of an upload; see `Uploads.max_size`."""
        return self._options.max_blob_size

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

    # -- what they do -------------------------------------------------------------------------

    def _run(self, work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        return self._threads.ongoing.watch(Deferred.fromCoroutine(work))

    def _check(self) -> None:
        if self.stopping:
            raise Stopping()

    async def _begin(
        self, address: Address, text: str, length: int | None, wanted: Wanted
    ) -> Address:
        self._check()
        check_length(length, self.max_size)
        demand, pieces = _demand(address, wanted), self._pieces
        nonce = self._protocol.ask.nonce()
        begun = Begun(address.location, address.owner, text, length, nonce)

        def begin(until: float) -> int:
            seen = self._protocol.ask.read(address.location, until)
            demand.check(seen)
            demand.details.labels(seen.blob)
            return pieces.begin(begun, until)

        return evolve(address, number=await self._threads.run(begin))

    async def _stand(self, address: Address) -> Standing:
        async with _Turn(self._turns, address.number):
            found = await self._threads.run(partial(self._look, address))
            return found if isinstance(found, Standing) else self._standing(*found)

    async def _append(self, address: Address, chunk: Chunk, body: Body) -> Standing:
        async with _Turn(self._turns, address.number) as place:
            found = await self._threads.run(partial(self._look, address))
            if isinstance(found, Standing):
                if chunk.offset != found.offset:
                    raise WrongOffset(found.offset)
                return found
            self._check()
            kept, come = found
            if chunk.offset != come.offset:
                raise WrongOffset(come.offset)
            if chunk.length is not None and chunk.length != kept.begun.length:
                kept = await self._set_length(kept, chunk.length, come.offset)
            offset = await self._take(place, kept, chunk, body)
            if offset != come.offset:
                come = evolve(come, offset=offset, when=self._protocol.ask.engine_time())
            return self._standing(kept, come)

    def _set_length(self, kept: Kept, length: int, offset: int) -> Deferred[Kept]:
        pieces = self._pieces

        def learn(until: float) -> Kept:
            if kept.begun.length is None and length >= offset:
                check_length(length, self.max_size)
            return pieces.set_length(kept.number, length, offset, until)

        return self._threads.run(learn)

    async def _take(self, place: _Place, kept: Kept, chunk: Chunk, body: Body) -> int:
        """Take a body, now that nobody else here does; return how far the upload is then."""
        length, most = kept.begun.length, self.max_size
        limit: tuple[int | None, StoreError] = None, TooLarge(None)
        if length is not None:
            limit = length - chunk.offset, UploadTooLong(length)
        elif most is not None:
            limit = max(0, most - chunk.offset), TooLarge(most)
        if limit[0] is not None and (body.length or 0) > limit[0]:
            raise limit[1]
        is_empty = body.complete and not body.length
        if not is_empty and not self._room.take(body.sender):
            raise Busy("Too many uploads are in progress", RETRY_AFTER)
        self.count += 1
        arriving = place.arriving = Arriving(self._reactor, body, limit)
        try:
            arriving.begin()
            if place.users > 1:
                arriving.cut_short()
            if chunk.checksum is not None:
                return await self._take_checked(arriving, kept.number, chunk)
            offset = chunk.offset
            while data := await arriving.more():
                offset = await self._add(kept.number, offset, data, chunk)
            if arriving.end is not None:
                raise arriving.end
            return offset
        except StoreError as error:
            arriving.give_up(error)
            raise
        finally:
            place.arriving = None
            self.count -= 1
            if not is_empty:
                self._room.leave(body.sender)

    async def _add(self, number: int, offset: int, data: bytes, chunk: Chunk) -> int:
        await self._threads.run(partial(self._pieces.add, number, offset, data))
        offset += len(data)
        if chunk.on_flush is not None:
            chunk.on_flush(offset)
        return offset

    async def _take_checked(self, arriving: Arriving, number: int, chunk: Chunk) -> int:
        """As `_take`; but nothing counts before all of it has come, and has its checksum.

        What is more than one piece is put aside until then.
        """
        assert chunk.checksum is not None
        name, expected = chunk.checksum
        digest, run, offset = hashlib.new(name), self._threads.run, chunk.offset
        keys: list[str] = []
        names = self._pieces.aside(number)

        def put_aside(key: str, data: bytes, until: float) -> None:
            digest.update(data)
            self._pieces.put_aside(key, data, until)

        def verify(data: bytes, until: float) -> None:
            digest.update(data)
            if digest.digest() != expected:
                raise ChunkMismatch(name)

        try:
            data = await arriving.more()
            while data and not arriving.complete and arriving.end is None:
                keys.append(next(names))
                await run(partial(put_aside, keys[-1], data))
                data = await arriving.more()
            if arriving.end is not None:
                raise arriving.end
            await run(partial(verify, data))
            for key in keys:
                added = partial(self._pieces.add_aside, number, offset, key)
                offset += await run(added)
                if chunk.on_flush is not None:
                    chunk.on_flush(offset)
            return await self._add(number, offset, data, chunk) if data else offset
        finally:
            for key in keys:
                self._errand(partial(self._pieces.remove, key))

    async def _finish(self, address: Address, wanted: Wanted) -> Standing:
        async with _Turn(self._turns, address.number):
            self._check()
            found = await self._threads.run(partial(self._look, address))
            if isinstance(found, Standing):
                return found
            finish = partial(
                self._finishing.finish, address.number, _demand(address, wanted), self._check
            )
            try:
                begun, replaced = await self._threads.upload(finish)
            except (*FINAL, UploadOver):
                self._clear(address.number)
                raise
            if replaced is not None:
                self._errand(partial(self._protocol.mark_garbage, replaced))
            self._clear(address.number)
            return _done(begun)

    async def _terminate(self, address: Address) -> None:
        async with _Turn(self._turns, address.number):
            self._check()
            if isinstance(await self._threads.run(partial(self._look, address)), Standing):
                raise UploadOver("it is finished")
            finishing = self._finishing
            await self._threads.run(
                lambda until: finishing.terminate(address.number, "it was terminated")
            )
            self._clear(address.number)

    # -- in a thread ----------------------------------------------------------------------------

    def _look(self, address: Address, until: float) -> tuple[Kept, Come] | Standing:
        """How an upload stands. Raises NoUpload, or UploadOver if it became no blob."""
        try:
            kept, come = self._pieces.look(address.number, until)
        except NoUpload:
            return self._look_for_blob(address, until)
        if (kept.begun.location, kept.begun.owner) != (address.location, address.owner):
            raise NoUpload()
        return _done(outcome(kept.begun)) if kept.begun.is_over else (kept, come)

    def _look_for_blob(self, address: Address, until: float) -> Standing:
        """Look whether an upload that is forgotten has become the blob at its location."""
        ask = self._protocol.ask
        blob = ask.read(address.location, until).blob
        record = None if blob is None else ask.record(blob.id, until)
        if blob is None or record is None:
            raise NoUpload()
        try:
            note = parse_record(record.data, blob.id, max_id=MAX_ID).upload
        except BadRecord:
            raise NoUpload() from None
        if note != UploadNote(address.number, address.owner, "" if note is None else note.text):
            raise NoUpload()
        return Standing(blob.size, blob.size, note.text, None, blob.sha256)

    # -- after the answer -------------------------------------------------------------------------

    def _clear(self, number: int) -> None:
        """Remove the bytes of an upload that is over. What fails, the collection finds."""

        def clear() -> None:
            self._pieces.clear(number, lambda: not self.stopping, TRYING)

        def left(failure: Failure) -> None:
            log.info("Upload {number} is left: {error}", number=number, error=failure.value)

        self._threads.ongoing.watch(self._threads.upload(clear).addErrback(left))

    def _errand(self, function: Callable[[float], object]) -> None:
        self._threads.run(function, is_errand=True).addErrback(lambda failure: None)

    def _standing(self, kept: Kept, come: Come) -> Standing:
        active = max(kept.modified, come.when)
        expires = int((active + self.expires) * _SECOND)
        return Standing(come.offset, kept.begun.length, kept.begun.text, expires)


def _demand(address: Address, wanted: Wanted) -> Demand:
    return Demand(address.location, wanted.exists, wanted.precondition, wanted.details)


def _done(begun: Begun) -> Standing:
    """How an upload stands that has become a blob."""
    return Standing(begun.length or 0, begun.length, "", None, begun.sha256)
