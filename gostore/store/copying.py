"""A version that becomes current again: its bytes are on this disk already, and are copied there.

They are compared with their digest first: no damaged version becomes current.
"""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gostore.blob import Blob
from gostore.errors import NoSpace, StoreError, as_store_error
from gostore.store.admission import Ticket
from gostore.store.interface import Sink
from gostore.store.room import TRIES, Room
from gostore.store.upload import SEALED, Received, drop
from gostore.store.workers import Workers
from gostore.volume.changes import Stage
from gostore.volume.digests import Hashing
from gostore.volume.directory import DATA, DataDamaged, stage_name
from gostore.volume.volume import Volume


@define(eq=False)
class Copy:
    """The body of a new blob whose bytes are here: small, in memory, or a version's open file.

    ``origin`` asks for it. A file has to have the digest ``sha256``.
    """

    length: int
    data: bytes | Stage | int
    origin: str
    sha256: bytes | None = None
    sender: None = None
    complete: bool = True

    def deliver(self, sink: Sink) -> None:
        """Give the bytes of a small version; `Copying` takes a large one without a sink."""
        assert isinstance(self.data, bytes)
        if self.data:
            sink.received(self.data)
        sink.finished()

    def pauseProducing(self) -> None:
        """Nothing is produced."""

    def resumeProducing(self) -> None:
        """Nothing is produced."""


class Copying:
    """Copies a large version to a stage; takes the place of an `Upload`."""

    def __init__(self, volume: Volume, workers: Workers, blob: Blob, ticket: Ticket) -> None:
        self.blob = blob
        self._volume = volume
        self._workers = workers
        self._ticket = ticket
        self._stage: Stage | None = None
        self._digest = b""

    def receive(self, body: Copy, room: Room) -> Deferred[Received]:
        """Take the bytes; ``room`` is asked when the disk is full.

        The Deferred fails with DataDamaged, NoSpace or another OSError.
        """
        return self._with_room(TRIES, body, room)

    def _with_room(self, tries: int, body: Copy, room: Room) -> Deferred[Received]:
        def make_room(failure: Failure) -> Failure | Deferred[Received]:
            error = as_store_error(failure.value)
            if not isinstance(error, NoSpace) or not tries:
                return failure
            return room.make_more(
                error, body.length, lambda: self._with_room(tries - 1, body, room)
            )

        assert isinstance(body.data, int)
        beside = room.beside if tries else 0
        copied = self._workers.files.run(self._copy, body, body.data, beside)
        copied.addErrback(make_room)
        return copied

    def drop(self, error: StoreError) -> Deferred[None]:
        """Make the blob Failure, because of ``error``, and close its stage if it has one."""
        return drop(self._volume, self._workers, self.blob, self._stage, error)

    # In a worker:

    def _copy(self, body: Copy, source: int, beside: int) -> Received:
        """Verify the version, and copy it."""
        if not self._digest:
            self._digest = self._verify(body, source)
        if self._volume.free()[0] < self._ticket.reserve + beside:
            raise NoSpace()
        try:
            self._stage = stage = self._volume.stage(self.blob)
            self._volume.copy(source, stage.fd, body.length)
        except OSError as error:
            if isinstance(as_store_error(error), NoSpace):
                # What is there of it takes room itself, and stands in the way of another try.
                self._remove()
            raise
        if body.length > SEALED:
            self._volume.seal(stage)
        return Received(stage, body.length, self._digest)

    def _verify(self, body: Copy, source: int) -> bytes:
        hashing = Hashing(self._volume, source, body.length)
        while not hashing.done:
            hashing.step()
        if hashing.digest() != body.sha256:
            raise DataDamaged(f"{DATA} does not have the digest it was committed with")
        return hashing.digest()

    def _remove(self) -> None:
        if self._stage is not None:
            self._volume.close_data(self._stage.release())
            self._stage = None
        self._volume.trash.remove(stage_name(self.blob.id))
