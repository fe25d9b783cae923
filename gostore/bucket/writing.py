"""A body on its way to being a blob: a small one in memory, a large one straight into the bucket.

The reactor's thread decides who may begin; everything that asks the bucket runs in threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from gostore.blob import Committed
from gostore.bucket.asking import RETRY_AFTER, Seen
from gostore.bucket.options import Options
from gostore.bucket.pointer import Stored
from gostore.bucket.protocol import Demand, Protocol
from gostore.bucket.receiving import Kind, Receiver
from gostore.bucket.staging import Draft, Lasting, describe, finish, new_blob
from gostore.bucket.threads import TRYING, Threads
from gostore.errors import Busy, StoreError
from gostore.places import Places
from gostore.store.interface import Body


class Writing:
    """Takes the bodies of new blobs, and lets their locations have them."""

    def __init__(
        self,
        reactor: Any,
        threads: Threads,
        protocol: Protocol,
        options: Options,
        places: Places,
    ) -> None:
        """Large bodies take ``places``."""
        self._reactor = reactor
        self._threads = threads
        self._protocol = protocol
        self._ask = protocol.ask
        self._staging = protocol.staging
        self._options = options
        self._places = places

    async def receive(self, demand: Demand, body: Body) -> tuple[Committed, bool]:
        """Let a location have a body: return its blob, and whether it had none."""
        seen: Seen | None = None
        if not body.complete:
            # Before the body is asked for: a refusal costs no upload.
            seen = await self._threads.run(partial(self._ask.read, demand.location))
            demand.check(seen)
            demand.details.labels(seen.blob)
        receiver = Receiver(self._reactor, body, demand.details, self._options.max_blob_size)
        receiver.begin()
        if await receiver.arrived is Kind.SMALL:
            blob, replaced = await self._write_small(demand, receiver, body.origin)
        else:
            if not self._places.take(body.sender):
                error = Busy("Too many uploads are in progress", RETRY_AFTER)
                receiver.give_up(error)
                raise error
            try:
                blob, replaced = await self._write_large(demand, receiver, body, seen)
            finally:
                self._places.leave(body.sender)
        return blob, replaced.blob is None and not replaced.damage

    def _write_small(
        self, demand: Demand, receiver: Receiver, origin: str
    ) -> Deferred[tuple[Stored, Seen]]:
        def write(until: float) -> tuple[Stored, Seen]:
            data, now = receiver.whole(), self._ask.wall()
            blob = new_blob(demand.location, now, origin, replaces=demand.exists is True)
            describe(blob, demand.details, now)
            finish(blob, now, data)
            return self._protocol.write(blob, data, demand, until)

        return self._threads.run_in_turn(demand.location, write, self._mark)

    async def _write_large(
        self, demand: Demand, receiver: Receiver, body: Body, seen: Seen | None
    ) -> tuple[Stored, Seen]:
        staging = self._staging
        if seen is None:
            seen = await self._threads.run(partial(self._ask.read, demand.location))
        now = self._ask.wall()
        blob = new_blob(demand.location, now, body.origin, replaces=demand.exists is True)
        describe(blob, demand.details, now)
        draft = await self._threads.run(partial(staging.begin, blob))
        try:
            draft = await self._threads.upload(partial(self._send, draft, receiver, body.length))
        except StoreError as error:
            receiver.give_up(error)
            self._errand(partial(staging.discard, draft))
            raise
        publish = partial(self._protocol.publish, seen, draft, demand)
        return await self._threads.run_in_turn(demand.location, publish, self._mark)

    def _send(self, draft: Draft, receiver: Receiver, length: int | None) -> Draft:
        """Send a body on to the bucket, and write its record. In an upload's thread."""
        staging = self._staging
        lasting = Lasting(staging, draft, lambda: time.monotonic() + TRYING)
        detag = staging.upload(draft, receiver.pieces(lasting.renew), length)
        end = max(self._ask.wall(), draft.blob.changed), receiver.size, receiver.sha256
        return staging.complete(lasting.draft, detag, end, time.monotonic() + TRYING)

    def mark(self, replaced: Seen) -> None:
        """Tell the collector what a swap has replaced. In a thread; what fails, the sweep finds."""
        self._protocol.mark_garbage(replaced, time.monotonic() + TRYING)

    def _mark(self, written: tuple[Stored, Seen]) -> None:
        self.mark(written[1])

    def _errand(self, function: Callable[[float], object]) -> None:
        # What fails, the sweep finds.
        self._threads.run(function, is_errand=True).addErrback(lambda failure: None)
