"""A second provider of the store's interface, a dict, for whoever sees only the store's verbs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from gostore.blob import Committed
from gostore.errors import (
    AlreadyExists,
    BodyFailed,
    DigestMismatch,
    NotFound,
    StoreError,
    TooLarge,
)
from gostore.store.interface import (
    NO_DIGESTS,
    SMALL_BLOB,
    Details,
    Entry,
    Fetch,
    Figures,
    Page,
    Precondition,
    Seek,
)

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
"""When the first blob is committed: Tue, 14 Nov 2023 22:13:20 GMT. Each one is a second later."""


@define(eq=False)
class MemoryContent:
    """A blob's bytes. With ``result``, that is what reading them gives, sooner or later."""

    data: bytes
    result: Deferred[bytes] | None = None
    opened: int = 0
    closed: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes | Deferred[bytes]:
        assert offset >= 0 and offset + length <= len(self.data) and length <= 1 << 20
        if self.result is not None:
            return self.result
        return self.data[offset : offset + length]

    def load(self, offset: int, length: int) -> None:
        """It is in no file."""

    def failed(self, failure: Failure) -> Failure:
        """As nothing is loaded, nothing of it fails."""
        raise AssertionError(failure)

    def close(self) -> None:
        self.closed += 1


class MemoryStore:
    """Blobs in a dict.

    ``failure`` is what every verb fails with, before it asks for a body; ``health`` what
    check_health raises. While ``holding``, verbs do their work and keep the result until release().
    ``opens_missed`` is how often a blob is collected before its content is opened.
    """

    #: Everything is at hand, unless a test says something else.
    fetch: Fetch | None = None
    least_listed = 1

    def __init__(self, *, max_blob_size: int | None = None) -> None:
        self.blobs: dict[str, tuple[Committed, MemoryContent]] = {}
        self.failure: Exception | None = None
        self.health: StoreError | None = None
        self.holding = False
        self.opens_missed = 0
        #: How many of the blobs are said to be damaged.
        self.damaged = 0
        #: For how many seconds bytes are good.
        self.good_for = 60.0
        self.free, self.reserve, self.kept = 1 << 30, 0, 0
        #: What the writes and deletes said of who asked.
        self.origins: list[str] = []
        self.listed: list[tuple[str, str, str, int]] = []
        #: The clock that blobs expire by.
        self.now: Callable[[], int] = lambda: START
        self._kept: list[tuple[Deferred[Any], Any]] = []
        self._commits = 0
        self._max = max_blob_size

    def add(
        self,
        location: str,
        data: bytes = b"",
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        hashed: bool = True,
        expires: int | None = None,
    ) -> Committed:
        """Commit a blob as if it had been uploaded."""
        self._commits += 1
        blob = Committed(
            self._commits,
            location,
            self._commits,
            len(data),
            hashlib.sha256(data).digest() if hashed else None,
            START + (self._commits - 1) * SECOND + 123_456_789,
            content_type,
            metadata or None,
            expires,
        )
        self.blobs[location] = (blob, MemoryContent(data))
        return blob

    def data(self, location: str) -> bytes:
        """What is stored there."""
        return self.blobs[location][1].data

    def release(self, *, holding: bool = False) -> None:
        """Give the results that were kept back, in their order; keep the next ones, or not."""
        self.holding = holding
        kept, self._kept = self._kept, []
        for deferred, result in kept:
            deferred.callback(result)

    # The verbs.

    def get(self, location: str) -> Deferred[Committed]:
        return self._answer(lambda: self._find(location)[0])

    def content(self, blob: Committed) -> Deferred[Any]:
        def open() -> MemoryContent:
            found, content = self._find(blob.location)
            if self.opens_missed > 0 or found is not blob:
                self.opens_missed -= 1
                raise NotFound(blob.location)
            content.opened += 1
            return content

        return self._answer(open)

    def read_now(self, location: str) -> tuple[Committed, bytes, float] | None:
        found = self._present(location)
        if self.holding or self.failure is not None or found is None:
            return None
        blob, content = found
        if blob.sha256 is None or blob.size > SMALL_BLOB:
            return None
        return blob, content.data, self.good_for

    def is_current(self, blob: Committed) -> bool:
        return self.current(blob.location) is blob

    def create(
        self, location: str, body: Any, details: Details, precondition: Precondition | None = None
    ) -> Deferred[Committed]:
        def check(blob: Committed | None) -> None:
            if precondition is not None:
                precondition.check(location, blob)
            if blob is not None:
                raise AlreadyExists(location)

        return self._upload(location, body, details, check)

    def replace(
        self, location: str, body: Any, details: Details, precondition: Precondition | None = None
    ) -> Deferred[Committed]:
        def check(blob: Committed | None) -> None:
            if precondition is not None:
                precondition.check(location, blob)
            if blob is None:
                raise NotFound(location)

        return self._upload(location, body, details, check)

    def put(
        self, location: str, body: Any, details: Details, precondition: Precondition | None = None
    ) -> Deferred[tuple[Committed, bool]]:
        existed = []

        def check(blob: Committed | None) -> None:
            if precondition is not None:
                precondition.check(location, blob)
            existed.append(blob is not None)

        done = self._upload(location, body, details, check)
        return done.addCallback(lambda blob: (blob, not existed[-1]))

    def delete(
        self, location: str, precondition: Precondition | None = None, origin: str = ""
    ) -> Deferred[None]:
        self.origins.append(origin)

        def delete() -> None:
            if precondition is not None:
                precondition.check(location, self.current(location))
            self._find(location)
            del self.blobs[location]

        return self._answer(delete)

    def list(
        self,
        prefix: str = "",
        delimiter: str = "",
        after: str = "",
        limit: int = 1000,
        seek: Seek | None = None,
    ) -> Deferred[Page]:
        def list() -> Page:
            self.listed.append((prefix, delimiter, after, limit))
            entries: dict[str, Entry] = {}
            # An `after` that can have been a group at the end of a page: all of it is listed.
            listed = bool(delimiter) and after.endswith(delimiter) and len(after) > len(prefix)
            for location, (blob, _) in self.blobs.items():
                if listed and location.startswith(after):
                    continue
                if self.current(location) is None:
                    continue
                if seek is not None and seek(location) != location:
                    continue
                if location.startswith(prefix) and location.encode() > after.encode():
                    head, found, _ = location[len(prefix) :].partition(delimiter or "\0")
                    group = prefix + head + found
                    entries[group] = group if found else blob
            keys = sorted(entries, key=lambda key: key.encode())
            more = keys[limit - 1] if len(keys) > limit else None
            return Page([entries[key] for key in keys[:limit]], more)

        return self._answer(list)

    def check_health(self, *, lately: bool = False) -> None:
        if self.health is not None:
            raise self.health

    def figures(self) -> Figures:
        size = sum(blob.size for blob, _ in self.blobs.values())
        return Figures(len(self.blobs), self.damaged, 0, self.free, self.reserve, self.kept, size)

    # How.

    def current(self, location: str) -> Committed | None:
        found = self._present(location)
        return None if found is None else found[0]

    def _present(self, location: str) -> tuple[Committed, MemoryContent] | None:
        found = self.blobs.get(location)
        if found is None or (expires := found[0].expires) is None:
            return found
        return None if expires <= self.now() // SECOND else found

    def _find(self, location: str) -> tuple[Committed, MemoryContent]:
        found = self._present(location)
        if found is None:
            raise NotFound(location)
        return found

    def _answer(self, work: Callable[[], Any]) -> Deferred[Any]:
        try:
            if self.failure is not None:
                raise self.failure
            result = work()
        except Exception as error:
            return fail(error)
        if not self.holding:
            return succeed(result)
        deferred: Deferred[Any] = Deferred()
        self._kept.append((deferred, result))
        return deferred

    def _upload(
        self,
        location: str,
        body: Any,
        details: Details,
        check: Callable[[Committed | None], None],
    ) -> Deferred[Committed]:
        self.origins.append(body.origin)
        if self._max is not None and (body.length or 0) > self._max:
            return fail(TooLarge(self._max))
        checked = self._answer(lambda: check(self.current(location)))
        return checked.addCallback(lambda _: self._receive(location, body, details, check))

    def _receive(
        self,
        location: str,
        body: Any,
        details: Details,
        check: Callable[[Committed | None], None],
    ) -> Deferred[Committed]:
        done: Deferred[Committed] = Deferred()
        body.deliver(MemoryUpload(self, location, details, check, done))
        return done


class MemoryUpload:
    """Takes a body and commits it."""

    def __init__(
        self,
        store: MemoryStore,
        location: str,
        details: Details,
        check: Callable[[Committed | None], None],
        done: Deferred[Committed],
    ) -> None:
        self._store = store
        self._location = location
        self._details = details
        self._check = check
        self._done = done
        self._data = bytearray()

    def received(self, data: bytes) -> None:
        self._data += data

    def failed(self, reason: str) -> None:
        self._done.errback(BodyFailed(reason))

    def finished(self, digests: Mapping[str, bytes] = NO_DIGESTS) -> None:
        assert digests.keys() <= {"sha256"} | self._details.late_digests
        try:
            previous = self._store.current(self._location)
            self._check(previous)
            content_type, metadata = self._details.labels(previous)
            for algorithm, digest in [*self._details.digests.items(), *digests.items()]:
                if hashlib.new(algorithm, self._data).digest() != digest:
                    raise DigestMismatch(algorithm)
        except Exception as error:
            self._done.errback(error)
        else:
            lifetime = self._details.lifetime
            blob = self._store.add(
                self._location,
                bytes(self._data),
                content_type=content_type,
                metadata=metadata,
                expires=None if lifetime is None else lifetime.end(self._store.now()),
            )
            self._done.callback(blob)
