"""How blobs leave their locations for good: a client deletes one, or its time is over.

Either way the change takes its turn, becomes durable with others, and only then do the maps show
it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from gostore.blob import Committed
from gostore.errors import NotFound, ReadOnly
from gostore.store.committer import BATCH, Committer
from gostore.store.garbage import Garbage
from gostore.store.index import Index
from gostore.store.interface import Precondition
from gostore.store.reading import Reader
from gostore.text import Repeats
from gostore.volume.changes import Change, Delete, Discard
from gostore.volume.recovery.findings import Damage

#: How many blobs expire before the collector removes some of what is dead.
_AT_ONCE = 16 * BATCH

log = Logger()


class Deleter:
    """Deletes what clients ask for, and what is over."""

    def __init__(
        self,
        index: Index,
        committer: Committer,
        garbage: Garbage,
        reader: Reader,
        newest: Callable[[], int],
    ) -> None:
        """``newest`` gives the highest generation so far."""
        self._index = index
        self._committer = committer
        self._garbage = garbage
        self._reader = reader
        self._newest = newest
        self._stopping = False
        self._repeats = Repeats()

    def delete(
        self, location: str, precondition: Precondition | None, origin: str
    ) -> Deferred[None]:
        """Delete the blob at a location when its turn comes. Raises what refuses that at once."""
        self._index.check(location, precondition, exists=True)

        def decide() -> Change:
            self._index.check(location, precondition, exists=True)
            found = self._index.find(location)
            assert found is not None  # or the check had failed
            return self._change(found, location, origin)

        return self._carry_out(location, decide)

    def _carry_out(self, location: str, decide: Callable[[], Change]) -> Deferred[None]:
        changes: list[Change] = []

        def decide_and_note() -> Change:
            changes.append(decide())
            return changes[-1]

        def switch() -> None:
            self._garbage.forget_remains(location)
            previous = self._index.remove(location)
            if isinstance(previous, Committed):
                self._reader.files.forget(previous.id)
                change = changes[-1]
                when, keeps = None, self._garbage.history.keeps(location)
                if isinstance(change, Delete):
                    when, keeps = change.when, change.keeps
                when = self._garbage.now() if when is None else when
                self._garbage.add_deleted(previous, when, keeps=keeps)

        changed = self._committer.change(location, decide_and_note, switch)
        return self._reader.workers.ongoing.watch(changed)

    def _change(
        self, found: Committed | Damage, location: str, origin: str, *, is_over: bool = False
    ) -> Change:
        older = self._garbage.dead_ids(location)
        remains = self._garbage.remains(location)
        if isinstance(found, Committed) and not remains:
            keeps = self._garbage.history.keeps(location)
            when = max(self._garbage.now(), found.modified)
            return Delete(found, older, origin, is_over, when, keeps)
        # A quarantined directory would outlive a tombstone, which is collected.
        last = str(found.id) if isinstance(found, Committed) else found.name
        kept = {dead.id: dead.replaced_by or 0 for dead in self._garbage.history.at(location)}
        names = [str(dead) for dead in older if dead not in kept]
        return Discard([*names, *remains, last], self._newest(), list(kept.items()))

    # -- what is over -------------------------------------------------------------------------

    def stop(self) -> None:
        """Let nothing more expire."""
        self._stopping = True

    async def expire(self) -> bool:
        """Delete blobs that are over, some at a time; return whether more of them are left.

        Others who write wait for one batch of these at most.
        """
        expiry = self._index.expiry
        expired = expiry.expired
        due = expiry.due(_AT_ONCE)
        for start in range(0, len(due), BATCH):
            if self._stopping or not await self._expire(due[start : start + BATCH]):
                return False
        return len(due) == _AT_ONCE and expiry.expired > expired

    async def mark(self, location: str) -> None:
        """Delete the blob of a location now, if it is over: then its history has it.

        If that fails, the collector tries again.
        """
        blob = self._index.standing(location)
        if isinstance(blob, Committed) and self._index.expiry.is_over(blob) and not self._stopping:
            await self._expire([blob.id])

    async def _expire(self, ids: list[int]) -> bool:
        """Delete the blobs with these ids; return whether there is sense in going on."""
        blobs = [blob for blob_id in ids if (blob := self._index.ids.get(blob_id)) is not None]
        changes = [self._expire_one(blob) for blob in blobs]
        results: list[tuple[bool, Any]] = await DeferredList(changes, consumeErrors=True)
        for is_done, result in results:
            if is_done:
                self._index.expiry.expired += 1
            elif not result.check(NotFound):
                # A read-only store has said why it is.
                reason = str(result.value)
                if not result.check(ReadOnly) and (due := self._repeats.due("", reason)):
                    log.warn("Blobs that are over are not deleted: {error}", error=due)
                return False
        return True

    def _expire_one(self, blob: Committed) -> Deferred[None]:
        location = blob.location

        def decide() -> Change:
            expiry = self._index.expiry
            if self._index.standing(location) is not blob or not expiry.is_over(blob):
                raise NotFound(location)
            return self._change(blob, location, "", is_over=True)

        return self._carry_out(location, decide)
