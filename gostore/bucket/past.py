"""What a bucket knows of its past, the version that each location has; and copies of it.

A copy is a write like any other. Its bytes are read, compared with their digest, and written under
an id of their own, so no two pointers ever name one blob.
"""

from __future__ import annotations

from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from gostore.blob import Blob, Committed
from gostore.errors import BodyFailed, Busy, NotFound, NoVersion, as_store_error
from gostore.store.interface import Content, Details, Precondition, Seek, Sink, Store
from gostore.store.versions import DeletedPage, Restore, Version

#: How often a copy starts over because its source has been replaced and collected.
_ATTEMPTS = 3

#: How many bytes of a source are asked for at a time.
_PIECE = 256 * 1024


class Recorded(Store, Protocol):
    """A store that can read the record of a blob."""

    def record(self, blob: Committed) -> Deferred[Blob]:
        """Read it, or make one of what is known."""


class BucketPast:
    """Implements `Past`, for a store that keeps no history."""

    def __init__(self, store: Recorded) -> None:
        self._store = store

    def history(
        self, location: str, before: int | None = None, limit: int = 1000
    ) -> Deferred[list[Version]]:
        """The version that a location has; see `Past.history`."""
        return Deferred.fromCoroutine(self._history(location, before))

    async def _history(self, location: str, before: int | None) -> list[Version]:
        blob = await self._store.get(location)
        if before is not None and blob.generation >= before:
            return []
        return [Version(blob, (await self._store.record(blob)).origin)]

    def version(self, location: str, generation: int) -> Deferred[tuple[Committed, Content]]:
        """Open the version that a location has, if it is this one; see `Past.version`."""
        return Deferred.fromCoroutine(self._version(location, generation))

    async def _version(self, location: str, generation: int | None) -> tuple[Committed, Content]:
        try:
            blob = await self._store.get(location)
        except NotFound:
            if generation is None:
                raise
            raise NoVersion(location, generation) from None
        if generation is not None and blob.generation != generation:
            raise NoVersion(location, generation)
        return blob, await self._store.content(blob)

    def deleted(
        self, prefix: str = "", after: str = "", limit: int = 1000, seek: Seek | None = None
    ) -> Deferred[DeletedPage]:
        """Nothing deleted can be restored; see `Past.deleted`."""
        return succeed(DeletedPage([], None))

    def restore(
        self, location: str, restore: Restore, precondition: Precondition | None = None
    ) -> Deferred[tuple[Committed, bool]]:
        """Copy a version; see `Past.restore`."""
        return Deferred.fromCoroutine(self._restore(location, restore, precondition))

    async def _restore(
        self, location: str, restore: Restore, precondition: Precondition | None
    ) -> tuple[Committed, bool]:
        source = location if restore.source is None else restore.source
        for _ in range(_ATTEMPTS):
            blob, content = await self._version(source, restore.version)
            body = CopiedBody(content, restore.origin)
            assert blob.sha256 is not None  # a pointer has it
            digests = {"sha256": blob.sha256}
            labels = blob.content_type, dict(blob.metadata or {})
            details = Details(*labels, digests, lifetime=restore.lifetime)
            try:
                return await self._write(location, body, details, precondition, restore.exists)
            except BodyFailed:
                assert body.error is not None
                if not isinstance(body.error, NotFound):
                    raise body.error from None
            finally:
                content.close()
        raise Busy(f"{source} changes too often to be copied", retry_after=1)

    async def _write(
        self,
        location: str,
        body: CopiedBody,
        details: Details,
        precondition: Precondition | None,
        exists: bool | None,
    ) -> tuple[Committed, bool]:
        if exists is None:
            return await self._store.put(location, body, details, precondition)
        if exists:
            return await self._store.replace(location, body, details, precondition), False
        return await self._store.create(location, body, details, precondition), True


@define(eq=False)
class CopiedBody:
    """The body of a new blob whose bytes are another one's, read as fast as they are written."""

    _content: Content
    origin: str
    sender: None = None
    complete: bool = False
    #: Why it failed.
    error: Exception | None = None
    _sink: Sink | None = field(init=False, default=None)
    _offset: int = field(init=False, default=0)
    _is_paused: bool = field(init=False, default=False)
    _is_reading: bool = field(init=False, default=False)

    @property
    def length(self) -> int:
        """The size of the other one."""
        return self._content.size

    def deliver(self, sink: Sink) -> None:
        """Begin."""
        self._sink = sink
        self._go_on()

    def pauseProducing(self) -> None:
        """Read no more for now."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Read on."""
        self._is_paused = False
        self._go_on()

    def _go_on(self) -> None:
        assert self._sink is not None
        while not (self._is_paused or self._is_reading or self.error):
            if self._offset == self.length:
                self._is_reading = True  # never again
                self._sink.finished()
                return
            self._is_reading = True
            length = min(_PIECE, self.length - self._offset)
            try:
                data = self._content.read(self._offset, length)
            except Exception:
                self._failed(Failure())
                return
            if isinstance(data, bytes):
                self._take(data)
            else:
                data.addCallback(self._take).addCallbacks(lambda _: self._go_on(), self._failed)

    def _take(self, data: bytes) -> None:
        assert self._sink is not None
        self._is_reading = False
        self._offset += len(data)
        self._sink.received(data)

    def _failed(self, failure: Failure) -> None:
        assert self._sink is not None
        self.error = as_store_error(failure.value)
        self._sink.failed(str(self.error))
