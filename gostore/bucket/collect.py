"""Removing what no pointer names: blobs that were replaced or deleted, and uploads that were cut.

Nothing here is needed for a right answer, and any number of daemons may do it at once.

The marker pass goes by the markers that are older than the grace, and than the time for which the
location keeps what it had. Their blobs were published once, so no pointer will ever name them
again.

The sweep goes by the blobs that are older than the grace, and that no pointer names. One of those
may still be about to be published, by a daemon that stalled. So the sweep

1. condemns the record of the blob: swaps it for one that is a Failure;
2. touches the pointer: swaps it for one that means the same in other bytes, or creates a
   tombstone;
3. removes the data.

A swap of the stalled daemon that comes before the touch makes the touch see the blob, which gets
its record back. A swap after the touch fails, if the daemon had read the pointer before it. Then
the daemon reads the pointer, and so sees the touch, as it does if it reads it for the first time
only now. It looks at the record, and gives up. See P3 in protocol.py.

The condemned record rests for 30 days. If it were removed at once, a daemon that stalled before it
wrote the record, or wrote it again, would make one as good as new, of data that is gone. A daemon
gives up when its time is over, by its own clock. So only one whose clock stood still with it, as
that of a paused virtual machine may, and for 30 days, could do harm.

Data may be without a record: its daemon died, or still stands, before it wrote that. The sweep
gives it a condemned one, with which nobody can publish it any more. Only a later sweep removes the
data, unless a pointer names it: then somebody has lost the record. A list of pointers may lag, but
by less than the grace. Nothing else that removes data relies on a list for what it must not lack.

A version that is kept was published once, too. The sweep leaves it, and gives it its marker if a
daemon died that had still to do so: the pointer of the location says what it was, or else it is
marked. Both are looked at before the condemnation, and again with each look of the touch.

Ids that have to be claimed are used again, and no late request about one may ever harm the next
blob. So the data of each blob has a key of its own, the record is only ever swapped, and step 3
ends with a record that says that the id is free. Only that can be claimed. Until then no other
blob can have the id, whoever died after which step; afterwards all blobs that ever had it are done
with, and what a list has shown of them before may go.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from attrs import evolve
from twisted.logger import Logger

from gostore.blob import Blob, State
from gostore.bucket.asking import Seen
from gostore.bucket.engine import EngineError, Found, Listed, Mismatch, Missing, Refused, Unsettled
from gostore.bucket.lease import Leaseholder
from gostore.bucket.markers import marked
from gostore.bucket.pointer import (
    BLOBS,
    DEAD_SIZE,
    GARBAGE,
    HISTORY,
    LOCATIONS,
    MAX_ID,
    Ended,
    Pointer,
    Stored,
    blob_folder,
    data_key,
    dump,
    id_in,
    marked_in,
    nonce_in,
    pointer_key,
    record_key,
)
from gostore.bucket.protocol import Protocol
from gostore.bucket.records import blob_of, free_record, is_free
from gostore.errors import BadRecord, NotFound, StoreError
from gostore.statefile import dump as dump_record
from gostore.statefile import parse as parse_record

MARKED_AT_ONCE = 16
"""Marked blobs that are removed at a time: no fewer may go than writers replace."""

SWEPT_AT_ONCE = 4
"""Blobs that the sweep looks at at a time: it has a day for them, and readers come first."""

#: How many markers are remembered, and for how many seconds, that are kept.
_MOST_REMEMBERED = 200_000
_ASKED_EVERY = 3600.0

#: How often a touch is tried.
_TOUCHES = 8

REST = 30 * 86_400.0
"""For how many seconds the record of a condemned blob rests."""

#: The location in the record of a blob that had none.
_NOWHERE = "-"

log = Logger()


class Collection(Leaseholder):
    """Removes what is dead. ``owner`` tells this daemon from others."""

    def __init__(self, protocol: Protocol, owner: str, *, patience: float = 20.0) -> None:
        """``patience`` is how many seconds one step may take."""
        super().__init__(protocol.ask, owner)
        self._protocol = protocol
        self._staging = protocol.staging
        self._patience = patience
        #: Markers of versions that are kept, and until when they need no look.
        self._kept: dict[str, float] = {}
        #: For how many seconds history is kept; see promise.py.
        self.keep = protocol.markers.keep

    # -- the marker pass ----------------------------------------------------------------------

    def collect_marked(self) -> int:
        """Remove the blobs whose markers are old enough; return how many there were."""
        removed = seen = 0

        def due() -> Iterator[Listed]:
            nonlocal seen
            for marker in self._engine.list(GARBAGE):
                seen += 1
                if self._is_due(marker):
                    yield marker

        try:
            for some in self.batches(due(), MARKED_AT_ONCE):
                removed += self.look_at(self._collect_marked, some)
            self._ask.tally.marked = seen - removed
        except (EngineError, StoreError) as error:
            log.info("The collection was left off: {error}", error=error)
        return removed

    def _collect_marked(self, marker: Listed) -> int:
        names, until = marked_in(marker.key), self._until()
        if names is None:
            return 0
        try:
            found = marked(self._engine.get(marker.key).data)
        except Missing:
            return 0  # somebody else was here
        except BadRecord as error:
            log.warn("{key} cannot be read: {error}", key=marker.key, error=error)
            return 0
        ended = found if isinstance(found, Ended) else None
        location = found.blob.location if isinstance(found, Ended) else found
        if ended is not None and not self._has_had_its_time(marker, location):
            return 0
        seen = self._ask.read(location, until)
        if seen.damage:
            return 0
        removed = 0
        if ended is not None:
            self._protocol.markers.unlist(ended, until)
        if seen.named is None or (seen.named.id, seen.named.nonce) != names:
            if not self._remove_marked(Blob(names[0], location, nonce=names[1])):
                return 0
            removed = 1
        if seen.pointer is not None and seen.pointer.was == ended:
            self._protocol.slim(seen.pointer, seen.etag)
        self._ask.settle(lambda: self._engine.delete(marker.key), until)
        return removed

    def _is_due(self, marker: Listed) -> bool:
        """Whether a marker is worth a look."""
        now = self._ask.engine_time()
        return self._is_old(marker.modified) and self._kept.get(marker.key, 0.0) <= now

    def _has_had_its_time(self, marker: Listed, location: str) -> bool:
        """Whether a version has had its time; if not, it is asked again within the hour."""
        due = marker.modified + self.keep.of(location)
        now = self._ask.engine_time()
        if due < now:
            return True
        if len(self._kept) >= _MOST_REMEMBERED:
            self._kept.clear()
        self._kept[marker.key] = min(due, now + _ASKED_EVERY)
        return False

    def _remove_marked(self, blob: Blob) -> bool:
        """Remove a blob that was published once; say if that is done."""
        record = self._ask.record(blob.id, self._until())
        known = None if record is None else _parsed(record, blob.id)
        is_its = known is not None and known.nonce == blob.nonce
        if known is not None and is_its and known.location not in (blob.location, _NOWHERE):
            return False  # the marker is wrong
        if self._staging.claims:
            self._remove_data(blob.id, {blob.nonce})
            # The id may have another blob by now.
            return record is None or not is_its or self._free(blob.id, record.etag)
        if record is not None and self._condemn(record, known or blob) is None:
            return False
        self._remove_data(blob.id, {blob.nonce})
        self._remove_record(blob.id)
        return True

    # -- the sweep ----------------------------------------------------------------------------

    def collect_unnamed(self, shard: int) -> int:
        """Remove the old blobs of a shard that no pointer names; return how many there were."""
        removed = 0
        newest: dict[int, float] = {}
        nonces: dict[int, set[str]] = {}
        try:
            for listed in self._engine.list(f"{BLOBS}{shard:02x}/"):
                folder, _, name = listed.key.rpartition("/")
                if (blob_id := id_in(folder.rpartition("/")[2])) is not None:
                    newest[blob_id] = max(newest.get(blob_id, 0.0), listed.modified)
                    if (nonce := nonce_in(name)) is not None:
                        nonces.setdefault(blob_id, set()).add(nonce)
            old = (blob_id for blob_id, modified in newest.items() if self._is_old(modified))
            for some in self.batches(old, SWEPT_AT_ONCE):
                sweep_one = partial(self._sweep_one, nonces)
                removed += self.look_at(sweep_one, some)
            for keys in self.batches(self._left_over(shard), SWEPT_AT_ONCE):
                self.look_at(self._sweep_version, keys)
        except (EngineError, StoreError) as error:
            log.info("The sweep was left off: {error}", error=error)
        return removed

    def _left_over(self, shard: int) -> Iterator[str]:
        """The keys of versions of a shard that are older than any is kept."""
        longest = self._staging.grace + max(self.keep.values)
        for listed in self._engine.list(f"{HISTORY}{shard:02x}/"):
            if listed.modified < self._ask.engine_time() - longest:
                yield listed.key

    def _sweep_version(self, key: str) -> int:
        """Remove a version without a marker: a daemon stalled until its blob was collected."""
        until, markers = self._until(), self._protocol.markers
        ended = markers.read(key, until)
        with suppress(BadRecord):
            if ended is not None and markers.find(ended.blob.id, ended.blob.nonce, until) is None:
                self._ask.settle(lambda: self._engine.delete(key), until)
        return 0

    def _sweep_one(self, listed: dict[int, set[str]], blob_id: int) -> int:
        """Look at a blob; a list has shown bytes with these nonces before."""
        nonces, until = listed.get(blob_id, set()), self._until()
        record = self._ask.record(blob_id, until)
        if record is None:
            return self._condemn_orphan(blob_id)
        if is_free(record.data):
            self._remove_data(blob_id, nonces)  # they came late
            return 0
        if not self._is_old(record.modified):
            return 0  # the list was old, or the id has another blob by now
        try:
            blob = parse_record(record.data, blob_id, max_id=MAX_ID)
        except BadRecord as error:
            log.warn("The record of blob {id} is bad: {error}", id=blob_id, error=error)
            return 0
        is_dead = blob.state is State.FAILURE
        rests = not self._staging.claims and not self._is_old(record.modified, REST)
        if is_dead and rests and not nonces:
            return 0
        if is_dead and len(blob.log) == 1:
            # No blob begins as a Failure but one that `_condemn_orphan` has given its record.
            return self._sweep_orphan(blob_id, nonces, record)
        seen = self._ask.read(blob.location, until)
        if seen.damage:
            return 0
        if seen.named is not None and seen.named.id == blob_id:
            # By the engine's clock, too: somebody may have set ours.
            if seen.is_over and (seen.named.expires or 0) <= self._ask.engine_time():
                self._expire(seen)
            elif is_dead:
                self._revive(seen.named)
            self._remove_data(blob_id, nonces - {seen.named.nonce})
            return 0
        if self._is_past(blob, seen):
            return 0
        return int(self._remove(record, blob, nonces))

    def _is_past(self, blob: Blob, seen: Seen) -> bool:
        """Say whether a blob is a version that is kept: the pointer or its marker says so.

        ``seen`` was read before. If the blob's own pointer was gone by then, the one there says
        what was, or that was marked before. A condemned record is written anew.
        """
        until, pointer = self._until(), seen.pointer
        was = None if pointer is None else pointer.was
        if pointer is not None and was is not None and _is_that(blob, was.blob):
            self._protocol.markers.mark_once(was, seen.etag, until)
            self._protocol.slim(pointer, seen.etag)
            found: Ended | str | None = was
        else:
            try:
                found = self._protocol.markers.find(blob.id, blob.nonce, until)
            except BadRecord as error:
                log.warn("The marker of blob {id} is bad: {error}", id=blob.id, error=error)
                return True
        if not isinstance(found, Ended):
            return False
        if blob.state is State.FAILURE:
            self._revive(found.blob)
        return True

    def _expire(self, seen: Seen) -> None:
        """Delete a blob whose time is over. It is collected like any other, after the grace."""
        with suppress(NotFound):
            self._protocol.mark_garbage(self._protocol.expire(seen, self._until()), self._until())

    def _condemn_orphan(self, blob_id: int) -> int:
        """Give data that have no record a condemned one, so that nobody can publish them."""
        folder = blob_folder(blob_id)
        there = self._ask.settle(lambda: list(self._engine.list(folder)), self._until())
        if all(nonce_in(each.key.removeprefix(folder)) is None for each in there):
            return 0  # a marker has removed it all since the sweep began
        blob = self._orphan(blob_id)
        with suppress(Mismatch, Unsettled, Refused):  # it has one by now, or the next run sees
            self._engine.create(record_key(blob_id), dump_record(blob))
        return 0

    def _orphan(self, blob_id: int) -> Blob:
        """The blob of data that have no record."""
        blob = Blob(blob_id, _NOWHERE)
        blob.fail(self._ask.wall(), "It had no record")
        return blob

    def _sweep_orphan(self, blob_id: int, nonces: set[str], record: Found) -> int:
        """Remove data whose only record is one that `_condemn_orphan` made.

        A pointer that names them keeps them.
        """
        blob = self._orphan(blob_id)
        if any(self._is_past(evolve(blob, nonce=each), Seen(_NOWHERE)) for each in nonces):
            return 0
        if self._is_named(blob_id):
            log.warn("Blob {id} has no record, and a location has it", id=blob_id)
            return 0
        self._remove_data(blob_id, nonces)
        return int(self._let_go(blob_id, record, record.etag))

    def _is_named(self, blob_id: int) -> bool:
        """Whether any pointer names a blob."""
        for listed in self._engine.list(LOCATIONS):
            if listed.size > DEAD_SIZE:
                read = partial(self._engine.get, listed.key)
                found = self._ask.settle(read, self._until())
                if f'"id":{blob_id},'.encode() in found.data:
                    return True
        return False

    def _remove(self, record: Found, blob: Blob, nonces: set[str]) -> bool:
        """Condemn a blob, touch its pointer, and remove it; say if that is done."""
        condemned = self._condemn(record, blob)
        if condemned is None or not self._touch(blob):
            return False
        self._remove_data(blob.id, nonces | {blob.nonce})
        return self._let_go(blob.id, record, condemned)

    def _let_go(self, blob_id: int, record: Found, etag: str) -> bool:
        """Free an id that is used again; else remove the record if it has rested. Say if done.

        ``record`` is as it was before it was condemned, be it anew; ``etag`` is what it has since.
        """
        if self._staging.claims:
            return self._free(blob_id, etag)
        if self._is_old(record.modified, REST):
            self._remove_record(blob_id)
        return True

    def _condemn(self, record: Found, blob: Blob) -> str | None:
        """Make a record a Failure, and young again; return its ETag, None if it has changed."""
        if blob.state is not State.FAILURE:
            blob.fail(self._ask.wall(), "Deleted! Nothing refers to it")
        try:
            return self._engine.swap(record_key(blob.id), dump_record(blob), record.etag)
        except (Mismatch, Missing, Unsettled):
            return None

    def _free(self, blob_id: int, etag: str) -> bool:
        """Let an id be claimed, if its record is still the one with an ETag; say if it is done."""
        free = free_record(self._ask.nonce())
        try:
            self._engine.swap(record_key(blob_id), free, etag)
        except Unsettled:
            return False  # the next run sees
        except (Mismatch, Missing):
            pass  # somebody else has done it
        return True

    def _touch(self, blob: Blob) -> bool:
        """Change the bytes of a pointer, unless it names the blob, which is then revived."""
        nonce, location = self._ask.nonce(), blob.location
        for _ in range(_TOUCHES):
            seen = self._ask.read(location, self._until())
            if seen.damage:
                return False
            if seen.named is not None and seen.named.id == blob.id:
                self._revive(seen.named)
                return False
            if self._is_past(blob, seen):
                return False
            pointer = seen.pointer or Pointer(location, 0, ())
            if pointer.touched == nonce:
                return True
            data = dump(pointer.with_touch(nonce))
            try:
                if seen.etag is None:
                    self._engine.create(pointer_key(location), data)
                else:
                    self._engine.swap(pointer_key(location), data, seen.etag)
            except (Mismatch, Missing, Unsettled):
                continue
            return True
        return False

    def _revive(self, blob: Stored) -> None:
        """Write the record of a blob that was condemned, and published all the same."""
        try:
            found = self._ask.record(blob.id, self._until())
            if found is not None:
                self._engine.swap(record_key(blob.id), dump_record(blob_of(blob)), found.etag)
        except (Mismatch, Missing, Unsettled):
            pass  # the next sweep does it

    def _remove_data(self, blob_id: int, nonces: set[str]) -> None:
        for nonce in sorted(nonces):
            key = data_key(blob_id, nonce)
            self._ask.settle(partial(self._engine.delete, key), self._until())
            self._ask.tally.collected += 1

    def _remove_record(self, blob_id: int) -> None:
        self._ask.settle(lambda: self._engine.delete(record_key(blob_id)), self._until())

    def _is_old(self, modified: float, age: float | None = None) -> bool:
        """Whether something is older than an age, the grace if none is given."""
        return modified < self._ask.engine_time() - (self._staging.grace if age is None else age)

    def _until(self) -> float:
        return self._ask.seconds() + self._patience


def _is_that(blob: Blob, stored: Stored) -> bool:
    return (blob.id, blob.nonce) == (stored.id, stored.nonce)


def _parsed(record: Found, blob_id: int) -> Blob | None:
    """What a record says; None if it cannot be believed."""
    try:
        return parse_record(record.data, blob_id, max_id=MAX_ID)
    except BadRecord:
        return None
