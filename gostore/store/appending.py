"""One more piece of an upload that comes in several requests: from the socket to its kept stage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.errors import (
    BadRecord,
    BodyFailed,
    ChunkMismatch,
    NoSpace,
    StoreError,
    TakenOver,
    UploadOver,
    as_store_error,
)
from gostore.store.admission import Ticket
from gostore.store.inflow import Inflow
from gostore.store.interface import NO_DIGESTS, Body
from gostore.store.room import TRIES, Room
from gostore.store.unfinished import Chunk
from gostore.store.workers import Workers
from gostore.volume.directory import DataDamaged
from gostore.volume.kept import Note, Opened
from gostore.volume.volume import Volume

if TYPE_CHECKING:
    from hashlib import _Hash

#: What has come is flushed, and counts, whenever it is so many bytes,
FLUSH_BYTES = 16 * 1024 * 1024

#: or when so many seconds have passed: a slow client must not lose minutes.
FLUSH_SECONDS = 5.0

#: How a call fails when somebody has changed or removed what is kept of an upload.
SPOILT = (BadRecord, DataDamaged, FileNotFoundError)
DAMAGED = "what was kept of it is damaged"

log = Logger()


@define(eq=False)
class Progress:
    """How far an upload has come: ``offset`` bytes are flushed, ``when`` was the last flush.

    ``digest`` is the running SHA-256 of all of them; None if it does not know the first ones.
    """

    number: int
    offset: int
    length: int | None
    when: int
    digest: _Hash | None = field(default=None, repr=False)


@frozen
class Most:
    """The most bytes that may come, None for no limit, and the error for more."""

    size: int | None
    error: StoreError


class Appending:
    """Takes one body. All of it counts, or what came of it; all or nothing if it has a checksum."""

    def __init__(
        self,
        volume: Volume,
        workers: Workers,
        clock: IReactorTime,
        progress: Progress,
        ticket: Ticket,
    ) -> None:
        self._volume = volume
        self._workers = workers
        self._clock = clock
        self._progress = progress
        self._ticket = ticket
        self._inflow: Inflow
        self._most: Most
        self._room: Room
        self._on_flush: Callable[[int], object] | None = None
        self._checksum: tuple[str, bytes] | None = None
        self._check: _Hash | None = None
        #: That of all bytes which are written, be they flushed or not.
        self._digest = None if progress.digest is None else progress.digest.copy()
        #: What a worker has flushed, and the reactor has not seen yet.
        self._flushed: tuple[Note, _Hash | None] | None = None
        #: Whether a flush is due though no byte has come: the length is to be noted.
        self._is_told = False
        self._opened: Opened | None = None
        self._size = self._unflushed = 0
        self._flushed_at = clock.seconds()
        self._working = self._complete = False
        #: Why no more comes; what has come counts all the same,
        self._end: StoreError | None = None
        #: or why it fails, and nothing more counts.
        self._failure: StoreError | None = None
        #: Why the upload is lost, if it is: a flush has failed, or somebody has changed its files.
        self.loss = ""
        self._done: Deferred[None] = Deferred()

    def receive(self, body: Body, most: Most, chunk: Chunk, room: Room) -> Deferred[None]:
        """Take a body; the Deferred fires when all that counts is flushed, and nothing is open.

        ``room`` is asked when the disk is full. It fails with the error of `Most`, BodyFailed,
        TakenOver, ChunkMismatch, NoSpace or another error of the disk.
        """
        self._inflow = Inflow(body, self._ticket.waiting)
        self._most, self._checksum = most, chunk.checksum
        self._room = room
        self._is_told = chunk.length is not None
        self._on_flush = chunk.on_flush
        if chunk.checksum is not None:
            self._check = hashlib.new(chunk.checksum[0])
        self._working = True
        body.deliver(self)
        self._working = False
        self._work()
        return self._done

    def cut_short(self) -> None:
        """Take no more: another request goes on with the upload."""
        self._stop(TakenOver())

    # -- what the body delivers ---------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Some bytes have come."""
        if self._end is not None or self._failure is not None:
            return
        self._size += len(data)
        if self._most.size is not None and self._size > self._most.size:
            self._fail(self._most.error)
            return
        self._inflow.add(data)
        self._work()

    def finished(self, digests: Mapping[str, bytes] = NO_DIGESTS) -> None:
        """All bytes have come."""
        self._complete = True
        self._work()

    def failed(self, reason: str) -> None:
        """No more bytes will come; ``reason`` is for people."""
        self._stop(BodyFailed(reason))

    # -- the work -----------------------------------------------------------------------------

    def _stop(self, error: StoreError) -> None:
        if self._end is None and not self._complete:
            self._end = error
            self._work()

    def _fail(self, error: StoreError) -> None:
        if self._failure is None:
            self._failure = error
            self._inflow.pieces.clear()
            self._work()

    def _work(self) -> None:
        """Take the next step, unless a worker is still at the last one."""
        if self._working or self._done.called:
            return
        try:
            self._step()
        except Exception:  # a MemoryError, most likely
            self._failure = as_store_error(Failure().value)
            self._finish(None)

    def _step(self) -> None:
        is_over = self._complete or self._end is not None
        if self._failure is not None:
            self._finish(None)
        elif self._end is not None and self._checksum is not None:
            self._fail(self._end)
        elif self._inflow.pieces:
            self._start(self._with_room(TRIES, self._inflow.take()))
        elif is_over and not self._matches():
            assert self._checksum is not None
            self._fail(ChunkMismatch(self._checksum[0]))
        elif self._is_flush_due(is_over):
            self._start(self._workers.files.run(self._flush))
        elif is_over:
            self._finish(self._end)

    def _matches(self) -> bool:
        return self._check is None or (
            self._checksum is not None and self._check.digest() == self._checksum[1]
        )

    def _is_flush_due(self, is_over: bool) -> bool:
        if is_over:
            return bool(self._unflushed) or self._is_told
        if not self._unflushed or self._check is not None:
            return False
        late = self._clock.seconds() - self._flushed_at >= FLUSH_SECONDS
        return late or self._unflushed >= FLUSH_BYTES

    def _start(self, work: Deferred[None]) -> None:
        self._working = True
        work.addCallbacks(self._worked, self._not_worked)

    def _with_room(self, tries: int, pieces: list[bytes]) -> Deferred[None]:
        """Write some pieces; as often as the disk is full, ask for room first."""

        def make_room(failure: Failure) -> Failure | Deferred[None]:
            error = as_store_error(failure.value)
            is_over = self._end is not None or self._failure is not None
            if not isinstance(error, NoSpace) or is_over or not tries:
                return failure
            size = sum(map(len, pieces))
            return self._room.make_more(error, size, lambda: self._with_room(tries - 1, pieces))

        beside = self._room.beside if tries else 0
        done = self._workers.files.run(self._write, pieces, beside)
        done.addErrback(make_room)
        return done

    def _worked(self, _: None) -> None:
        self._working = False
        if self._flushed is not None:
            note, digest = self._flushed
            progress, self._flushed = self._progress, None
            progress.offset, progress.when, progress.digest = note.offset, note.when, digest
            self._flushed_at = self._clock.seconds()
            if self._on_flush is not None:
                self._on_flush(note.offset)
        self._inflow.go_on()
        self._work()

    def _not_worked(self, failure: Failure) -> None:
        self._working = False
        if failure.check(*SPOILT):
            self.loss = DAMAGED
            self._fail(UploadOver(DAMAGED))
            return
        if not failure.check(StoreError, OSError, MemoryError):
            log.failure("Going on with upload {number} failed", failure, number=self._number)
        self._fail(as_store_error(failure.value))

    @property
    def _number(self) -> int:
        return self._progress.number

    def _finish(self, error: StoreError | None) -> None:
        """Close what is open, and say how it ended."""
        error = error or self._failure
        opened, self._opened = self._opened, None
        self._working = True
        if opened is None:
            self._tell(None, error)
            return
        if opened.is_lost:
            # Never a second try, see `Directory.break_if_failing`.
            self.loss = "the disk failed"
        closed = self._workers.files.run(self._volume.kept.close, opened)
        closed.addBoth(self._tell, error)

    def _tell(self, _: object, error: StoreError | None) -> None:
        if error is None:
            self._done.callback(None)
        else:
            self._done.errback(error)

    # In a worker:

    def _write(self, pieces: list[bytes], beside: int) -> None:
        """Write the pieces, with room to spare."""
        size = sum(map(len, pieces))
        if self._volume.free()[0] < self._ticket.reserve + beside + size:
            raise NoSpace()
        self._volume.kept.append(self._open(), pieces)
        for digest in (self._digest, self._check):
            if digest is not None:
                for piece in pieces:
                    digest.update(piece)
        self._unflushed += size

    def _flush(self) -> None:
        opened = self._open()
        self._volume.kept.flush(opened, self._progress.length, self._volume.now())
        self._flushed = opened.note, None if self._digest is None else self._digest.copy()
        self._unflushed, self._is_told = 0, False

    def _open(self) -> Opened:
        if self._opened is None:
            self._opened = self._volume.kept.open(self._number)
        return self._opened
