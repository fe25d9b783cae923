"""What a bucket knows of its past: the versions of its locations, and copies of them.

A copy is a write like any other. Its bytes are read, compared with their digest, and written under
an id of their own, so no two pointers ever name one blob.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gostore.blob import Committed
from gostore.bucket.content import BucketContent, Check, Room
from gostore.bucket.listing import Query
from gostore.bucket.pointer import Stored
from gostore.bucket.versions import Versions
from gostore.errors import BodyFailed, Busy, Damaged, NotFound, VersionDamaged, as_store_error
from gostore.store.content import SmallContent
from gostore.store.interface import SMALL_BLOB, Content, Details, Precondition, Seek, Sink, Store
from gostore.store.versions import DeletedPage, Restore, Version

T = TypeVar("T")

#: How often a copy starts over because its source has been replaced and collected.
_ATTEMPTS = 3

#: How many bytes of a source are asked for at a time.
_PIECE = 256 * 1024


class Kept(Store, Protocol):
    """A store that has versions, and threads to ask for them."""

    versions: Versions
    room: Room

    def ask(self, function: Callable[[float], T]) -> Deferred[T]:
        """Run what asks the bucket in a thread."""


class BucketPast:
    """Implements `Past`."""

    def __init__(self, store: Kept) -> None:
        self._store = store

    def history(
        self, location: str, before: int | None = None, limit: int = 1000
    ) -> Deferred[list[Version]]:
        """The versions of a location; see `Past.history`."""
        read = partial(self._store.versions.history, location, before, limit)
        return self._store.ask(read)

    def version(self, location: str, generation: int) -> Deferred[tuple[Committed, Content]]:
        """Open a version; see `Past.version`."""
        return Deferred.fromCoroutine(self._version(location, generation))

    async def _version(self, location: str, generation: int | None) -> tuple[Committed, Content]:
        if generation is None:
            current = await self._store.get(location)
            return current, await self._store.content(current)
        versions = self._store.versions
        blob, is_current = await self._store.ask(partial(versions.find, location, generation))
        if is_current:
            return blob, await self._store.content(blob)
        if blob.size > SMALL_BLOB:
            return blob, BucketContent(blob, self._read_span, self._store.room)
        return blob, SmallContent(await self._store.ask(partial(versions.data, blob, None)))

    def _read_span(self, blob: Stored, start: int, end: int, check: Check) -> Deferred[bytes]:
        def read(until: float) -> bytes:
            data = self._store.versions.data(blob, (start, end), until)
            try:
                check(start, data)
            except Damaged:
                raise VersionDamaged(blob.location) from None
            return data

        return self._store.ask(read)

    def deleted(
        self, prefix: str = "", after: str = "", limit: int = 1000, seek: Seek | None = None
    ) -> Deferred[DeletedPage]:
        """List what can be restored; see `Past.deleted`."""
        query = Query(prefix, "", after, limit, seek)
        return self._store.ask(partial(self._store.versions.deleted, query))

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
