"""The store's interface over a bucket: each verb in a thread, for no longer than its deadline.

The reactor's thread decides who may begin; everything that asks the bucket runs in threads.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.blob import Committed
from gostore.bucket.abandoned import Abandoned
from gostore.bucket.asking import RETRY_AFTER, Asker, Tally
from gostore.bucket.collect import Collection
from gostore.bucket.content import SMALL_SPAN, BucketContent, Check, Room
from gostore.bucket.engine import Engine
from gostore.bucket.guarded import GuardedEngine
from gostore.bucket.health import Health
from gostore.bucket.listing import LEAST_LISTED, Query, page
from gostore.bucket.markers import Markers
from gostore.bucket.measured import MeasuredEngine
from gostore.bucket.options import Options
from gostore.bucket.pointer import Stored
from gostore.bucket.probe import Unfit, begin
from gostore.bucket.promise import Promise
from gostore.bucket.protocol import Demand, Protocol
from gostore.bucket.staging import Staging
from gostore.bucket.threads import Threads
from gostore.bucket.uploads import BucketUploads
from gostore.bucket.versions import Versions
from gostore.bucket.writing import Writing
from gostore.errors import (
    Busy,
    Damaged,
    DiskFailed,
    NotFound,
    ReadOnly,
    Stopping,
    StoreError,
    TooLarge,
    VolumeUnusable,
)
from gostore.places import Places
from gostore.prefixes import ByPrefix
from gostore.store.content import SmallContent
from gostore.store.interface import (
    SMALL_BLOB,
    Body,
    Content,
    Details,
    Figures,
    Page,
    Precondition,
    Seek,
    Summary,
)
from gostore.text import wall_clock

T = TypeVar("T")

CHORES_EVERY = 60.0
"""Seconds between two looks at what has to be collected."""

#: A whole round of the sweep takes a day.
SWEEP_EVERY = 86_400 / 256

FETCHES = 5
"""How often a read starts over because its blob was replaced and collected meanwhile."""

log = Logger()


class BucketStore:
    """The blobs of one bucket, or of a prefix in it."""

    def __init__(
        self,
        connect: Callable[[], Engine],
        reactor: Any,
        options: Options,
        threads: type[Threads] = Threads,
        wall: Callable[[], int] = wall_clock,
    ) -> None:
        """``connect`` gives the engine; nothing is asked of it before `open`. ``wall`` is a clock.

        It tells nanoseconds since the epoch.
        """
        self._wall = wall
        self._connect = connect
        self._reactor = reactor
        self._options = options
        self._health = Health(options.name)
        self._threads = threads(reactor, self._health.judge, options.max_uploads)
        self._guarded: GuardedEngine
        self._ask: Asker
        self._protocol: Protocol
        self.versions: Versions
        self._writing: Writing
        self._promise: Promise
        self._collection: Collection
        self._abandoned: Abandoned
        self.engine: MeasuredEngine | None = None
        self.places = Places(options.max_uploads)
        self.room = Room()
        self.resumable = BucketUploads(reactor, self._threads, options, self.places)
        self._uploads = 0
        self._stopping = False
        self._began = 0.0
        self._collecting = False
        self._chores_at = 0.0
        self._sweep_at = 0.0
        self._expire_at = 0.0

    # -- life ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Probe the bucket. Blocks. Raises VolumeUnusable."""
        self._began = time.monotonic()
        name = self._options.name
        try:
            self.engine = MeasuredEngine(self._connect())
            identity = begin(self.engine, self._options.id_bits, self._wall)
        except Unfit as error:
            raise VolumeUnusable(name, str(error)) from error
        self._guarded = GuardedEngine(self.engine, identity.description)
        self._health.in_doubt = lambda: self._guarded.in_doubt
        self._ask = Asker(self._guarded, wall=self._wall, together=self._threads.together)
        self._ask.ahead = identity.ahead
        staging = Staging(self._ask, identity.id_bits, self._options.grace)
        markers = Markers(self._ask, self._options.keep)
        self._protocol = Protocol(self._ask, staging, markers)
        self.versions = Versions(self._protocol)
        self._writing = Writing(
            self._reactor, self._threads, self._protocol, self._options, self.places
        )
        self.resumable.open(self._protocol)
        self._promise = Promise(self._ask)
        markers.noted = self._promise.noted
        self._collection = Collection(self._protocol, secrets.token_hex(8))
        self._abandoned = Abandoned(self._ask, self._options.grace)

    def start(self) -> Summary:
        """Start the threads. Raises VolumeUnusable."""
        try:
            self._threads.start()
        except RuntimeError as error:
            raise VolumeUnusable(self._options.name, str(error)) from error
        return Summary(0, 0, 0, 0, 0, time.monotonic() - self._began)

    def stop(self) -> Deferred[None]:
        """Refuse new writes; wait for those in progress."""
        self._stopping = self.resumable.stopping = True
        return self._threads.ongoing.wait()

    def close(self) -> None:
        """Stop the threads."""
        self._threads.stop()

    def tune(self, max_blob_size: int | None, max_uploads: int, keep: ByPrefix[float]) -> None:
        """Go by other settings from now on."""
        self._options.max_blob_size = max_blob_size
        self.places.count = max_uploads
        self.versions.markers.keep = keep

    def collect(self) -> Deferred[None]:
        """See whether the bucket answers, and is still ours; now and then collect what is dead.

        The latter may take hours in a large bucket. Nobody waits for it.
        """

        def look(until: float) -> None:
            self._ask.settle(self._guarded.look, until)

        return self._threads.run(look).addCallback(self._begin_chores).addErrback(self._note)

    def _note(self, failure: Failure) -> None:
        failure.trap(StoreError)  # our health has it

    @property
    def trouble(self) -> str:
        """Why the bucket could not be used when it was asked last; "" if it could."""
        return self._health.trouble

    def _begin_chores(self, _: None) -> None:
        now = time.monotonic()
        if self._collecting or self._stopping or now < self._chores_at:
            return
        self._chores_at = now + min(CHORES_EVERY, self.resumable.looks_every)
        self._collecting = True
        self._threads.chore(self._chores).addBoth(self._end_chores)

    def _end_chores(self, result: Failure | None) -> None:
        self._collecting = False
        if isinstance(result, Failure) and result.check(StoreError):
            log.error("The collection failed: {error}", error=result.value)
        elif isinstance(result, Failure):
            log.failure("The collection failed", failure=result)

    def _chores(self) -> None:
        lease = self._collection.take_lease()
        if lease is None or self._collection.stopped:
            return
        self._collection.keep = self._promise.settle(self.versions.markers.keep)
        self._collection.collect_marked()
        now = time.monotonic()
        if now >= self._expire_at:
            self._expire_at = now + self.resumable.looks_every
            self.resumable.expire(lambda: not self._collection.stopped)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_EVERY
            self._collection.collect_unnamed(lease.shard)
            if not self._collection.next_shard(lease).shard:
                self._abandoned.abort()

    def stop_collecting(self) -> None:
        """Leave what is dead to others, or to the next start."""
        self._collection.stopped = True

    @property
    def verifier(self) -> None:
        """The engine looks after the bytes."""
        return None

    @property
    def uploads(self) -> int:
        """How many bodies are on their way."""
        return self._uploads + self.resumable.count

    @property
    def damaged(self) -> int:
        """How many requests have met damage since the start. The log names the locations."""
        return self._health.damaged

    @property
    def tally(self) -> Tally:
        """What has been counted since the start."""
        return self._ask.tally

    def check_health(self, *, lately: bool = False) -> None:
        """Raise ReadOnly if the bucket did not answer when it was asked last, or Stopping."""
        if self._stopping:
            raise Stopping()
        if self.trouble:
            raise ReadOnly(self.trouble)

    def figures(self) -> Figures:
        """Count the uploads; nobody knows how many blobs there are, or how much room."""
        return Figures(0, 0, self.uploads, 0, 0)

    # -- reading ------------------------------------------------------------------------------

    def ask(self, function: Callable[[float], T]) -> Deferred[T]:
        """Run what asks the bucket in a thread; it is given its deadline."""
        return self._threads.run(function)

    def get(self, location: str) -> Deferred[Committed]:
        """Find the blob of a location: one request to the bucket."""
        return self._threads.run(partial(self._protocol.get, location))

    def fetch(self, location: str) -> Deferred[tuple[Committed, Content]]:
        """Find the blob of a location, and open it: what `get` and `content` do, in one go."""
        return self._threads.run(partial(self._fetch, location))

    def _fetch(self, location: str, until: float) -> tuple[Stored, Content]:
        for _ in range(FETCHES):
            blob = self._protocol.get(location, until)
            if blob.size > SMALL_BLOB:
                return blob, BucketContent(blob, self._read_span, self.room)
            try:
                return blob, self._small(blob, until)
            except NotFound:
                continue  # it has been collected; now there is another, or none
        raise Busy(f"{location} changes too often to be read", RETRY_AFTER)

    def content(self, blob: Committed) -> Deferred[Content]:
        """Open a blob; a small one is read and compared with its digest."""
        assert isinstance(blob, Stored)
        if blob.expires is not None and blob.expires <= self._wall() // 1_000_000_000:
            return fail(NotFound(blob.location))
        if blob.size > SMALL_BLOB:
            return succeed(BucketContent(blob, self._read_span, self.room))
        return self._threads.run(partial(self._small, blob))

    def _small(self, blob: Stored, until: float) -> Content:
        data = self._protocol.data(blob, None, until)
        if sha256(data).digest() != blob.sha256:
            raise Damaged(blob.location)
        return SmallContent(data)

    def _read_span(self, blob: Stored, start: int, end: int, check: Check) -> Deferred[bytes]:
        def read(until: float) -> bytes:
            data = self._protocol.data(blob, (start, end), until)
            check(start, data)
            return data

        is_large = end - start > SMALL_SPAN
        return self._threads.run(read, is_large=is_large).addErrback(self._gone, blob)

    def _gone(self, failure: Failure, blob: Stored) -> Failure:
        failure.trap(NotFound)
        # It was replaced and collected while it was sent.
        raise DiskFailed(f"blob {blob.id} is gone")

    def read_now(self, location: str) -> None:
        """Nothing is at hand."""

    def is_current(self, blob: Committed) -> bool:
        """Nobody knows without asking."""
        return False

    def list(
        self,
        prefix: str = "",
        delimiter: str = "",
        after: str = "",
        limit: int = 1000,
        seek: Seek | None = None,
    ) -> Deferred[Page]:
        """List some of the blobs; see listing.py for what that costs."""
        query = Query(prefix, delimiter, after, limit, seek)
        return self._threads.run(lambda until: page(self._ask, query, until))

    least_listed = LEAST_LISTED

    # -- writing ------------------------------------------------------------------------------

    def create(
        self, location: str, body: Body, details: Details, precondition: Precondition | None = None
    ) -> Deferred[Committed]:
        """Store a blob at a location that has none."""
        demand = Demand(location, exists=False, precondition=precondition, details=details)
        return self._write(demand, body).addCallback(lambda result: result[0])

    def replace(
        self, location: str, body: Body, details: Details, precondition: Precondition | None = None
    ) -> Deferred[Committed]:
        """Store a blob in place of the one that a location has."""
        demand = Demand(location, exists=True, precondition=precondition, details=details)
        return self._write(demand, body).addCallback(lambda result: result[0])

    def put(
        self, location: str, body: Body, details: Details, precondition: Precondition | None = None
    ) -> Deferred[tuple[Committed, bool]]:
        """Store a blob, and say whether the location had none."""
        return self._write(
            Demand(location, exists=None, precondition=precondition, details=details), body
        )

    def delete(
        self, location: str, precondition: Precondition | None = None, origin: str = ""
    ) -> Deferred[None]:
        """Delete the blob of a location."""
        if self._stopping:
            return fail(Stopping())
        demand = Demand(location, exists=True, precondition=precondition, origin=origin)
        delete = partial(self._protocol.delete, demand)
        deleted = self._threads.run_in_turn(location, delete, self._writing.mark)
        return deleted.addCallback(lambda replaced: None)

    def _write(self, demand: Demand, body: Body) -> Deferred[tuple[Committed, bool]]:
        if self._stopping:
            return fail(Stopping())
        most = self._options.max_blob_size
        if most is not None and (body.length or 0) > most:
            return fail(TooLarge(most))
        written = Deferred.fromCoroutine(self._writing.receive(demand, body))
        self._uploads += 1
        return self._threads.ongoing.watch(written.addBoth(self._written))

    def _written(self, result: T) -> T:
        self._uploads -= 1
        return result
