"""The verbs of a bucket, as plain code that blocks: how many daemons agree on what a location has.

The pointer of a location is the truth, and its conditional PUT is the only moment at which anything
changes. Everything else is written before it, under an id that nobody knows yet, or cleaned up
after it.

====== =================================================================== ===================
verb   requests; those in brackets go out together                         round trips
====== =================================================================== ===================
create (GET pointer, PUT data, PUT record); PUT pointer                    2
large  GET pointer; PUT record; upload data; PUT record; PUT pointer       4 and the upload
put    the same; PUT garbage marker, after the answer                      the same
delete GET pointer; PUT pointer, a tombstone; marker, after the answer     2
kept   with a history: before the swap (PUT markers of what the pointer    1 more
       says was), unless this daemon knows that they are there
       a delete answers after its markers                                  1 more
get    GET pointer; GET data, if it has the ETag that the pointer says     2
====== =================================================================== ===================

The invariants:

P1  A pointer is only ever created where there is none, or swapped for one with another ETag. It is
    never removed. All pointers of a location have different bytes, so no ETag comes back.
P2  Every swap adds a nonce of its operation to ``hist``. After anything but a success the pointer
    is read again. If it has the nonce, the operation happened. If it is another one without the
    nonce, that swap has not happened and never will. If ``hist`` has forgotten too much to tell,
    the outcome is unknown. Else the same swap is tried again.
P3  A blob is published at most once, by the operation that wrote it. Between the read of a pointer
    and its swap the record is looked at, and must not be condemned; see collect.py. The first swap
    may do without if its pointer was never touched: a touch stays in it for good.
P4  A marker is put only for what a swap has replaced, once that swap is known to have happened.
P5  Data is only believed with the ETag and the size that the pointer says.
P6  A pointer that says what it ended (``was``) is only swapped once that is marked; see markers.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import cast

from attrs import Factory, asdict, evolve, frozen

from gostore.blob import MESSAGE_LENGTH, Blob, EndedBy, Ending
from gostore.bucket.asking import RETRY_AFTER, Asker, Seen, gave_up, refusal
from gostore.bucket.engine import EngineError, Mismatch, Missing, Refused, Unsettled
from gostore.bucket.markers import Markers
from gostore.bucket.members import MAX_EXPIRES
from gostore.bucket.pointer import Ended, Pointer, Stored, data_key, dump, pointer_key
from gostore.bucket.staging import Draft, Staging, collected_early
from gostore.errors import (
    AlreadyExists,
    Busy,
    Damaged,
    DiskFailed,
    NoSpace,
    NotFound,
    StoreError,
)
from gostore.store.dates import SECOND, time_after
from gostore.store.interface import Details, Precondition


class OutcomeUnknown(Busy):
    """Nobody can tell whether the write happened."""


@frozen
class Demand:
    """What a write asks of its location, whenever that is looked at.

    ``exists`` is whether it must have a blob, be it damaged, or must have none; None: either.
    """

    location: str
    exists: bool | None
    precondition: Precondition | None = None
    details: Details = Factory(Details)
    #: The sender that asks for it, if nobody else tells.
    origin: str = ""

    def check(self, seen: Seen) -> None:
        """Raise ConditionFailed, NotFound or AlreadyExists unless the location allows it."""
        if self.precondition is not None:
            self.precondition.check(self.location, seen.blob)
        there = seen.blob is not None or bool(seen.damage)
        if self.exists is not None and self.exists is not there:
            if self.exists:
                raise NotFound(self.location)
            raise AlreadyExists(self.location, is_damaged=bool(seen.damage))


@frozen
class Replaced(Seen):
    """A pointer that was swapped for another: what that has ended, if it is kept.

    ``then`` and ``etag_then`` are the other pointer, None if it has been swapped in turn.
    """

    ended: Ended | None = None
    then: Pointer | None = None
    etag_then: str | None = None


class Protocol:
    """The verbs. Each blocks, and has to be over ``until`` a time by the clock of ``ask``."""

    def __init__(self, ask: Asker, staging: Staging, markers: Markers | None = None) -> None:
        self.ask = ask
        self.staging = staging
        self.markers = Markers(ask) if markers is None else markers

    # -- reading ------------------------------------------------------------------------------

    def get(self, location: str, until: float) -> Stored:
        """Find the blob of a location. Raises NotFound or Damaged."""
        seen = self.ask.read(location, until)
        if seen.damage:
            raise Damaged(location)
        if seen.blob is None:
            raise NotFound(location)
        return seen.blob

    def data(self, blob: Stored, span: tuple[int, int] | None, until: float) -> bytes:
        """Read the bytes of a blob that `get` found.

        Raises NotFound if the location has another one by now, or Damaged.
        """
        if blob.size == 0 and span is not None:
            return b""
        key = data_key(blob.id, blob.nonce)
        try:
            found = self.ask.settle(lambda: self.ask.engine.get(key, blob.detag, span), until)
        except (Missing, Mismatch):
            found = None
        if found is not None and found.size == blob.size:
            return found.data
        now = self.ask.read(blob.location, until).blob
        raise NotFound(blob.location) if now != blob else Damaged(blob.location)

    # -- writing ------------------------------------------------------------------------------

    def write(self, draft: Blob, data: bytes, demand: Demand, until: float) -> tuple[Stored, Seen]:
        """Write a small blob: return it, and what it replaced. ``draft`` has no id yet.

        Raises what ``demand`` raises, or Busy, OutcomeUnknown, DiskFailed, NoSpace.
        """
        location = draft.location
        if self.staging.claims:
            # Nobody may write data under an id that is not claimed.
            seen = self.ask.read(location, until)
            demand.check(seen)
            claimed = self.staging.begin(draft, until)
            try:
                staged = self.staging.stage_data(claimed, data, until)
            except StoreError:
                self.staging.discard(claimed, until)
                raise
        else:
            draft.id = self.staging.draw()
            steps: list[Callable[[], Seen | Draft]] = [
                lambda: self.ask.read(location, until),
                lambda: self.staging.stage_data(Draft(draft), data, until),
                lambda: self.staging.stage_record(Draft(draft), until),
            ]
            try:
                found = self.ask.together(steps)
            except StoreError:
                self.staging.discard(Draft(draft), until)
                raise
            seen, with_data, with_record = cast("tuple[Seen, Draft, Draft]", found)
            staged = evolve(with_data, record=with_record.record)
        return self.publish(seen, staged, demand, until)

    def publish(
        self, seen: Seen, draft: Draft, demand: Demand, until: float
    ) -> tuple[Stored, Seen]:
        """Let a location have a staged blob: return it, and what it replaced.

        ``seen`` is what the location had, at any time: a touch tells if that was after a sweep had
        condemned the blob. Raises what ``demand`` raises.
        """
        assert draft.blob.size is not None and draft.blob.sha256 is not None

        def change(seen: Seen, nonce: str) -> Pointer:
            demand.check(seen)
            blob, last = draft.blob, seen.pointer
            content_type, metadata = demand.details.labels(seen.blob)
            generation = blob.generation
            if last is not None:
                generation = last.next_generation(generation)
            now = time_after(blob.changed, None if last is None else _last_time(last))
            lifetime = demand.details.lifetime
            stored = Stored(
                blob.id,
                blob.location,
                generation,
                blob.size or 0,
                blob.sha256,
                now,
                content_type,
                metadata or None,
                None if lifetime is None else min(lifetime.end(now), MAX_EXPIRES),
                draft.detag,
                blob.nonce,
            )
            was = self._ended(seen, EndedBy.REPLACED, blob.origin, blob.id)
            return evolve(_after(last, blob.location, generation, nonce, stored), was=was)

        pointer, replaced = self._publish(seen, change, until, draft)
        assert pointer.blob is not None
        return pointer.blob, replaced

    def adopt(self, draft: Draft, until: float) -> None:
        """Let a location have a staged blob just as its record says, if it never had another.

        Raises AlreadyExists.
        """
        moved, location = stored_of(draft), draft.blob.location

        def change(seen: Seen, nonce: str) -> Pointer:
            # A sweep may have made the pointer, to be sure that nobody publishes what it removes.
            if seen.damage or seen.named is not None or seen.hist:
                raise AlreadyExists(location, is_damaged=bool(seen.damage))
            return _after(seen.pointer, location, moved.generation, nonce, moved)

        self._publish(Seen(location), change, until, draft)

    def delete(self, demand: Demand, until: float) -> Seen:
        """Let a location have nothing; return what it had. Raises what ``demand`` raises."""

        def change(seen: Seen, nonce: str) -> Pointer:
            demand.check(seen)
            now, last, location = self.ask.wall(), seen.pointer, demand.location
            generation = now if last is None else last.next_generation(now)
            was = self._ended(seen, EndedBy.DELETED, demand.origin)
            return evolve(_after(last, location, generation, nonce), was=was)

        replaced = self._swap(self.ask.read(demand.location, until), change, until, None)[1]
        with suppress(StoreError):  # the pointer says what was: a list lacks it, but no history
            self._mark(replaced, until)
        return replaced

    def expire(self, seen: Seen, until: float) -> Seen:
        """Let a location have nothing whose blob's time is over; return what it had.

        Raises NotFound if it has another by now.
        """

        def change(seen: Seen, nonce: str) -> Pointer:
            if not seen.is_over or seen.pointer is None:
                raise NotFound(seen.location)
            last = seen.pointer
            was = self._ended(seen, EndedBy.EXPIRED)
            return evolve(_after(last, seen.location, last.next_generation(0), nonce), was=was)

        return self._swap(seen, change, until, None)[1]

    def _ended(
        self, seen: Seen, by: EndedBy, origin: str = "", successor: int | None = None
    ) -> Ended | None:
        """What a swap ends, if that is kept."""
        if seen.named is None or not self.markers.keeps(seen.location):
            return None
        origin = origin[:MESSAGE_LENGTH].encode("utf-8", "replace").decode()
        # Whichever clock may be wrong: what is kept for too long does no harm.
        when = max(self.ask.wall(), int(self.ask.engine_time() * SECOND), seen.named.modified)
        return Ended(seen.named, Ending(when, by, origin, successor))

    # -- what was there -----------------------------------------------------------------------

    def mark_garbage(self, replaced: Seen, until: float) -> None:
        """Leave a marker that a blob was replaced or deleted, for the collector."""
        if isinstance(replaced, Replaced) and replaced.ended is not None:
            self._mark(replaced, until)
            if replaced.then is not None:
                self.slim(replaced.then, replaced.etag_then)
        elif (blob := replaced.named) is not None:
            self.markers.hint(blob, until)

    def _mark(self, replaced: Replaced, until: float) -> None:
        """Mark what a swap has ended, if that is kept and not marked yet."""
        if replaced.ended is not None:
            self.markers.mark_once(replaced.ended, replaced.etag_then, until)

    def slim(self, pointer: Pointer, etag: str | None) -> None:
        """Write a tombstone without what was: a listing then knows it by its size again.

        What it says was must be marked. If it has another ETag by now, it stays as it is: the
        bytes must be those of this ETag, without what was, since no others are new.
        """
        if pointer.blob is None and pointer.was is not None and etag:
            with suppress(EngineError):
                self._put(evolve(pointer, was=None), etag)

    # -- the swap -----------------------------------------------------------------------------

    def _publish(
        self, seen: Seen, change: Callable[[Seen, str], Pointer], until: float, draft: Draft
    ) -> tuple[Pointer, Replaced]:
        """As `_swap`; discard a staged blob that will certainly not be published."""
        try:
            return self._swap(seen, change, until, draft)
        except (OutcomeUnknown, DiskFailed, NoSpace):
            raise  # the swap may have got through, or still arrive: the sweep will see
        except StoreError:
            self.staging.discard(draft, until)
            raise

    def _swap(
        self,
        seen: Seen,
        change: Callable[[Seen, str], Pointer],
        until: float,
        draft: Draft | None,
    ) -> tuple[Pointer, Replaced]:
        """Swap a pointer for what ``change`` makes of it; return that, and what it replaced."""
        nonce = (draft.operation if draft is not None else "") or self.ask.nonce()
        pointer, tried, pauses = change(seen, nonce), False, 0
        self.markers.catch_up(seen, until)
        if draft is not None and seen.was_touched and not self.staging.is_alive(draft, until):
            raise collected_early()
        if self.ask.seconds() >= until:
            raise gave_up("it took too long to begin", self.ask.name)
        while True:
            try:
                etag = self._put(pointer, seen.etag)
                return pointer, _replaced(seen, pointer.was, pointer, etag)
            except (Unsettled, Mismatch, Missing):
                # Even a mismatch may be the effect of this very swap, made twice below.
                tried = True
            except Refused as error:
                raise (self._unknown() if tried else refusal(error, self.ask.name)) from error
            try:
                again = self.ask.read(seen.location, until)
            except (Busy, DiskFailed) as error:
                raise self._unknown() from error
            if nonce in again.hist:
                self.ask.tally.settled += 1
                if again.pointer is not None and again.hist[-1] == nonce:
                    return pointer, _replaced(seen, pointer.was, again.pointer, again.etag)
                return pointer, _replaced(seen, pointer.was)
            if again.etag != seen.etag:
                if again.has_forgotten(seen):
                    raise self._unknown()
                self.ask.tally.conflicts += 1
                # A swap of what is no longer there will never happen.
                seen, tried = again, False
                pointer = change(seen, nonce)
                if draft is not None and not self.staging.is_alive(draft, until):
                    raise collected_early()
                self.markers.catch_up(seen, until)
                if self.ask.seconds() >= until:
                    raise gave_up("others were always first", self.ask.name)
            elif self.ask.seconds() >= until:
                raise self._unknown()
            else:
                self.ask.rest(pauses)
                pauses += 1

    def _put(self, pointer: Pointer, etag: str | None) -> str:
        key, data = pointer_key(pointer.location), dump(pointer)
        if etag is None:
            return self.ask.engine.create(key, data)
        return self.ask.engine.swap(key, data, etag)

    def _unknown(self) -> OutcomeUnknown:
        self.ask.tally.unknown += 1
        return _unknown()


def _replaced(
    seen: Seen, ended: Ended | None, then: Pointer | None = None, etag: str | None = None
) -> Replaced:
    parts = seen.location, seen.pointer, seen.etag, seen.damage, seen.is_over
    return Replaced(*parts, ended, then, etag)


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown("The bucket does not tell whether this happened; look", RETRY_AFTER)


def stored_of(draft: Draft) -> Stored:
    """A staged blob just as its record says."""
    kept = asdict(draft.blob.committed(), recurse=False)
    return Stored(**kept, detag=draft.detag, nonce=draft.blob.nonce)


def _after(
    last: Pointer | None, location: str, generation: int, nonce: str, blob: Stored | None = None
) -> Pointer:
    """The pointer that follows another one, or none, by an operation."""
    if last is None:
        return Pointer(location, generation, (nonce,), blob)
    return Pointer(location, generation, last.followed_by(nonce), blob, last.touched)


def _last_time(last: Pointer) -> int:
    return last.generation if last.blob is None else last.blob.modified
