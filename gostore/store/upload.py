"""One body on its way in: from the socket to its file, once, hashed as it passes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from attrs import define
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.blob import Blob, State
from gostore.errors import (
    BodyFailed,
    DigestMismatch,
    NoSpace,
    StoreError,
    as_store_error,
)
from gostore.store.admission import Ticket, too_many_uploads
from gostore.store.inflow import Inflow
from gostore.store.interface import NO_DIGESTS, SMALL_BLOB, Body, Details
from gostore.store.room import TRIES, Room
from gostore.store.workers import Workers
from gostore.volume.changes import Stage
from gostore.volume.directory import stage_name
from gostore.volume.volume import Volume

#: Seconds that a small body may take before it gets a stage. Many clients send it right after its
#: head, in a packet of its own; a stage would cost four flushes instead of a share in one.
STAGE_AFTER = 0.05

#: Pieces of a body in memory are put together when there are so many: tiny ones cost far more than
#: their bytes.
_MANY_PIECES = 64

#: So many bytes are hashed by one thread while another writes them: each takes half of the time.
_MUCH = 256 * 1024

#: A larger stage is synced before its commit, not with it: others must not wait for that.
SEALED = 1024 * 1024

log = Logger()


@define(eq=False)
class Received:
    """A body that has arrived whole: where its bytes are, how many, and their SHA-256."""

    data: bytes | Stage
    size: int
    sha256: bytes

    @property
    def in_memory(self) -> int:
        """How many bytes of it memory holds."""
        return len(self.data) if isinstance(self.data, bytes) else 0


class _Whole:
    """Takes a body that is here, piece by piece."""

    __slots__ = ("pieces", "reason")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.reason: str | None = None

    def received(self, data: bytes) -> None:
        self.pieces.append(data)

    def finished(self, digests: Mapping[str, bytes] = NO_DIGESTS) -> None:
        """All bytes were here. A body of announced length has no trailer."""

    def failed(self, reason: str) -> None:
        self.reason = reason


def is_whole(body: Body) -> bool:
    """Whether a body is here as a whole, small, and of announced length: most small ones are."""
    return body.complete and body.length is not None and body.length <= SMALL_BLOB


def take_whole(body: Body, details: Details) -> Received:
    """Take a body that `is_whole`, in one step; raises what `Upload.receive` fails with."""
    sink = _Whole()
    body.deliver(sink)
    if sink.reason is not None:
        raise BodyFailed(sink.reason)
    data = sink.pieces[0] if len(sink.pieces) == 1 else b"".join(sink.pieces)
    sha256 = hashlib.sha256(data).digest()
    for name, expected in details.digests.items():
        if expected != (sha256 if name == "sha256" else hashlib.new(name, data).digest()):
            raise DigestMismatch(name)
    return Received(data, len(data), sha256)


def drop(
    volume: Volume, workers: Workers, blob: Blob, stage: Stage | None, error: StoreError
) -> Deferred[None]:
    """Make a new blob Failure, because of ``error``, and close its stage if it has one."""
    if blob.state is State.FAILURE:
        return succeed(None)
    blob.fail(volume.now(), str(error))
    if stage is None:
        return succeed(None)
    dropped = workers.files.run(volume.drop, stage)
    return dropped.addErrback(lambda failure: log.failure("Not dropped", failure=failure))


class Upload:
    """Receives the body of one new blob: into memory if it is small and here soon, else a stage."""

    def __init__(
        self, volume: Volume, workers: Workers, clock: IReactorTime, blob: Blob, ticket: Ticket
    ) -> None:
        self.blob = blob
        self._volume = volume
        self._workers = workers
        self._clock = clock
        self._ticket = ticket
        self._inflow: Inflow
        self._room: Room
        self._digests: list[tuple[str, bytes]] = []
        self._hashes: dict[str, hashlib._Hash] = {}
        self._stage: Stage | None = None
        self._is_stage_begun = False
        self._size = 0
        self._complete = False
        self._failure: StoreError | None = None
        self._working = False
        self._in_memory = True
        self._is_small = False
        #: Whether it waits in memory: for its first bytes, or a small one for the rest.
        self._waits = False
        self._is_late = False
        self._done: Deferred[Received] = Deferred()

    def receive(self, body: Body, details: Details, room: Room) -> Received | Deferred[Received]:
        """Take the body; return what came of it if it is small and all here, else a Deferred.

        ``details`` have the digests that it must have; ``room`` is asked when the disk is full.
        The Deferred fails with BodyFailed, TooLarge, DigestMismatch, NoSpace or another error of
        the disk; by then the blob is Failure, and so is its stage, if there is one.  Raises
        ValueError for a digest whose algorithm is unknown.
        """
        self._inflow = Inflow(body, self._ticket.waiting)
        self._room = room
        self._is_small = body.length is not None and body.length <= SMALL_BLOB
        self._digests.extend(details.digests.items())
        self._hashes["sha256"] = hashlib.sha256()
        for name in (details.digests.keys() | details.late_digests) - {"sha256"}:
            self._hashes[name] = hashlib.new(name)
        body.deliver(self)
        if self._failure is None:
            if self._complete and self._size <= SMALL_BLOB:
                if (received := self._whole()) is not None:
                    return received
            elif self._complete:
                self._in_memory = False
            else:
                self._waits = True
                if self._is_small:
                    self._clock.callLater(STAGE_AFTER, self._time_is_up)
                else:
                    self._leave_memory()
        if not self._waits:
            self._work()
        return self._done

    def _whole(self) -> Received | None:
        """Return a small body that is complete, unless a digest does not match."""
        self._hash(self._inflow.pieces)
        self._check_digests()
        return self._received(b"".join(self._inflow.pieces)) if self._failure is None else None

    def _time_is_up(self) -> None:
        """Give a small body that takes its time a stage: it shows people what is on its way."""
        self._is_late = True
        self._leave_memory()

    def _leave_memory(self) -> None:
        """Let a body whose first bytes have come go to the disk; without a place a small one waits.

        A silent client takes no place, and leaves no trace on the disk.
        """
        if not (self._waits and self._inflow.pieces):
            return
        if self._ticket.take_place():
            self._waits = self._in_memory = False
            self._work()
        elif not self._is_small:
            self._fail(too_many_uploads())

    # -- what the body delivers ---------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Some bytes have come."""
        if self._failure is not None:
            return
        self._size += len(data)
        limit = self._ticket.max_size
        if limit is not None and self._size > limit:
            self._fail(self._ticket.too_large)
            return
        self._inflow.add(data)
        if self._waits and len(self._inflow.pieces) >= _MANY_PIECES:
            self._inflow.join()
        if not self._in_memory:
            self._work()
        elif self._is_late or not self._is_small:
            self._leave_memory()

    def finished(self, digests: Mapping[str, bytes] = NO_DIGESTS) -> None:
        """All bytes have come."""
        self._complete = True
        self._digests.extend(digests.items())
        if self._waits:
            self._waits = False
            if (received := self._whole()) is not None:
                self._done.callback(received)
            else:
                self._work()
        elif not self._in_memory:
            self._work()

    def failed(self, reason: str) -> None:
        """No more bytes will come; ``reason`` is for people."""
        self._fail(BodyFailed(reason))

    # -- the work -----------------------------------------------------------------------------

    def _fail(self, error: StoreError) -> None:
        if self._failure is None:
            self._failure = error
            self._inflow.pieces.clear()
            waited, self._waits = self._waits, False
            if waited or not self._in_memory:
                self._work()

    def _work(self) -> None:
        """Take the next step, unless a worker is still at the last one."""
        if self._working or self._done.called:
            return
        try:
            self._step()
        except Exception:  # a MemoryError, most likely: the step it was about to take is lost
            self._failure = self._reason(Failure())
            self._inflow.pieces.clear()
            self._step()

    def _step(self) -> None:
        if self._complete and self._failure is None and not self._inflow.pieces:
            self._check_digests()
        if self._failure is not None:
            self._give_up(self._failure)
        elif self._inflow.pieces or self._stage is None:
            self._start(self._keep(self._inflow.take()))
        elif self._complete and self._size > SEALED and self._stage.fd >= 0:
            self._start(self._workers.files.run(self._volume.seal, self._stage))
        elif self._complete:
            self._done.callback(self._received(self._stage))

    def _keep(self, pieces: list[bytes]) -> Deferred[None]:
        """Hash and write some pieces; many bytes in two threads."""
        left = list(pieces)
        if sum(map(len, pieces)) < _MUCH:
            return self._with_room(TRIES, left, self._write, pieces)
        hashed = self._workers.files.run(self._hash, pieces)
        written = self._with_room(TRIES, left, self._append)
        return written.addBoth(lambda result: hashed.addCallback(lambda _: result))

    def _with_room(
        self, tries: int, left: list[bytes], step: Callable[..., None], *more: list[bytes]
    ) -> Deferred[None]:
        """Write what is left of some pieces; as often as the disk is full, ask for room first."""

        def make_room(failure: Failure) -> Failure | Deferred[None]:
            error = as_store_error(failure.value)
            if not isinstance(error, NoSpace) or self._failure is not None or not tries:
                return failure
            size = sum(map(len, left))
            return self._room.make_more(
                error, size, lambda: self._with_room(tries - 1, left, step, *more)
            )

        beside = self._room.beside if tries else 0
        done = self._workers.files.run(step, left, beside, *more)
        done.addErrback(make_room)
        return done

    def _start(self, work: Deferred[None]) -> None:
        self._working = True
        work.addCallbacks(self._wrote, self._not_written)

    def _wrote(self, _: None) -> None:
        self._working = False
        self._inflow.go_on()
        self._work()

    def _not_written(self, failure: Failure) -> None:
        self._working = False
        self._fail(self._reason(failure))

    def _reason(self, failure: Failure) -> StoreError:
        if not failure.check(StoreError, OSError, MemoryError):
            # The error that the caller gets does not say where it comes from.
            log.failure(
                "Writing the body of blob {id} failed ({origin})",
                failure=failure,
                id=self.blob.id,
                origin=self._inflow.body.origin,
            )
        return as_store_error(failure.value)

    def _check_digests(self) -> None:
        for name, expected in self._digests:
            if self._hashes[name].digest() != expected:
                self._failure = DigestMismatch(name)

    def _received(self, data: bytes | Stage) -> Received:
        return Received(data, self._size, self._hashes["sha256"].digest())

    def _give_up(self, error: StoreError) -> None:
        self._working = True
        maybeDeferred(self.drop, error).addBoth(lambda _: self._done.errback(error))

    def drop(self, error: StoreError) -> Deferred[None]:
        """Make the blob Failure, because of ``error``, and close its stage if it has one."""
        return drop(self._volume, self._workers, self.blob, self._stage, error)

    # In a worker:

    def _write(self, left: list[bytes], beside: int, pieces: list[bytes]) -> None:
        self._append(left, beside)
        self._hash(pieces)

    def _append(self, left: list[bytes], beside: int) -> None:
        """Write the pieces that are left, with room to spare."""
        if self._volume.free()[0] < self._ticket.reserve + beside + sum(map(len, left)):
            raise NoSpace()
        if self._stage is None:
            if self._is_stage_begun:
                # A full disk has left half of it.
                self._volume.trash.remove(stage_name(self.blob.id))
            self._is_stage_begun = True
            self._stage = self._volume.stage(self.blob)
        self._volume.write(self._stage, left)

    def _hash(self, pieces: list[bytes]) -> None:
        for one in self._hashes.values():
            for piece in pieces:
                one.update(piece)
