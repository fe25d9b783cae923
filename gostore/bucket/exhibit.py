"""What there is to say of a bucket, and of one of its blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from attrs import frozen

from gostore.blob import Blob, EndedBy, Ending, State
from gostore.bucket.engine import Listed, Missing
from gostore.bucket.lease import lease_in
from gostore.bucket.pieces import Pieces
from gostore.bucket.pointer import (
    DEAD_SIZE,
    GARBAGE,
    LEASE,
    LOCATIONS,
    MAX_ID,
    SHARDS,
    STORE,
    Stored,
    blob_folder,
    id_in,
    marked_in,
    parse,
)
from gostore.bucket.probe import Description
from gostore.bucket.records import is_free, record_of
from gostore.bucket.unfinished import UPLOADS, number_in, upload_folder
from gostore.bucket.versions import Versions
from gostore.bucket.visiting import Bucket
from gostore.errors import BadRecord, NotFound, NoUpload, Spoiled, UploadOver, VolumeUnusable
from gostore.statefile import parse as parse_record
from gostore.store.versions import Version
from gostore.text import format_time

_SECOND = 1_000_000_000

#: How many objects are read at a time.
_AT_ONCE = 16

#: How many versions of a location are told.
_MOST = 10_000

T = TypeVar("T")
U = TypeVar("U")


@frozen
class Shown:
    """A blob: its record, the folder of its objects, and a remark on its state."""

    blob: Blob
    folder: str
    remark: str = ""


@frozen
class Past:
    """A version of a location, and how it ended, None if it has not.

    Of a version that is not kept as history nobody knows more than when it was replaced or deleted:
    ``ended``, in nanoseconds since the epoch, by the engine's clock.
    """

    blob: Blob
    ending: Ending | None = None
    ended: int | None = None


@frozen
class Life:
    """What a location has, and its versions whose objects are still there, the newest first.

    ``damage`` says why its pointer cannot be believed, if it cannot.
    """

    location: str
    named: Stored | None
    damage: str
    versions: list[Past]


@frozen
class Unfinished:
    """An upload in several requests that is not over: ``offset`` bytes of it are here.

    ``written`` is when the last ones came, in seconds since the epoch by the engine's clock.
    """

    number: int
    location: str
    offset: int
    length: int | None
    written: float

    @property
    def folder(self) -> str:
        """What the keys of its objects begin with."""
        return upload_folder(self.number)


class Exhibit:
    """A look at a bucket, which changes nothing."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._versions = Versions(bucket.protocol)

    def store(self) -> dict[str, str]:
        """What all daemons have agreed on. Raises StoreError."""
        bucket, description = self._bucket, self._describe()
        rows = {
            "store": bucket.name,
            "ids": f"{description.id_bits} bits",
            "created": description.created or "not recorded",
        }
        if description.migrating:
            rows["incomplete"] = f"it lacks blobs that are to come from {description.migrating}"
        try:
            found = bucket.ask.settle(lambda: bucket.ask.engine.get(LEASE), bucket.until())
        except Missing:
            rows["collection"] = "no daemon has collected yet"
        else:
            lease = lease_in(found, found.modified)
            rows["collection"] = (
                f"by the daemon {lease.owner or 'unknown'} until {_time(lease.until)};"
                f" {lease.shard} of {SHARDS} shards swept since {_time(lease.began)}"
            )
        return rows

    def _describe(self) -> Description:
        description = self._bucket.describe()
        if description is None:
            raise VolumeUnusable(self._bucket.name, f"it has no {STORE}, and so is no store")
        return description

    def blobs(self) -> list[Stored]:
        """The blobs of all pointers that can be believed. Raises StoreError."""
        self._describe()
        pointers = self._bucket.objects(LOCATIONS)
        living = (each for each in pointers if each.size != DEAD_SIZE)
        return [blob for blob in _each(self._named_by, living) if blob is not None]

    def _named_by(self, pointer: Listed) -> Stored | None:
        data = self._read(pointer.key)
        try:
            return None if data is None else parse(data).blob
        except BadRecord:
            return None

    def life(self, wanted: str, *, is_location: bool) -> Life:
        """All that is known of a location, or of that of the blob with an id.

        It lists the markers of all that is dead and not removed yet. Raises NotFound or another.
        """
        self._describe()
        location, blob_id = wanted, None if is_location else id_in(wanted)
        asked = None if blob_id is None else self._record(blob_id)
        if asked is not None:
            location = asked.location
        seen = self._bucket.ask.read(location, self._bucket.until())
        named = seen.named
        dead = self._dead(location)
        versions = [] if named is None else [Past(self._made(named))]
        for marked, ended in dead.items():
            if named is not None and (named.id, named.nonce) == marked:
                continue
            record = self._record(marked[0])
            if record is not None and record.nonce == marked[1]:
                versions.append(Past(record, ended=ended))
        until = self._bucket.until()
        versions += [
            Past(self._made(each.blob), each.ending)
            for each in self._versions.kept(seen, None, _MOST, until)
            if self._bucket.ask.record(each.blob.id, until) is not None
        ]
        if asked is not None and asked.id not in {past.blob.id for past in versions}:
            versions.append(Past(asked))
        if not versions and not seen.damage:
            raise NotFound(wanted)
        versions.sort(key=lambda past: past.blob.generation, reverse=True)
        return Life(location, named, seen.damage, versions)

    def history(self, location: str) -> list[Version]:
        """The versions of a location that are still there, newest first.

        Raises NotFound, Spoiled if nothing but a damaged pointer is known of it, or another.
        """
        self._describe()
        seen = self._bucket.ask.read(location, self._bucket.until())
        versions = self._versions.past(seen, None, _MOST, self._bucket.until())
        blob = seen.named
        if blob is not None:
            ending = None
            if seen.is_over and blob.expires is not None:
                ending = Ending(blob.expires * _SECOND, EndedBy.EXPIRED)
            versions.insert(0, Version(blob, self._made(blob).origin, ending))
        if not versions and seen.damage:
            raise Spoiled(f"the pointer of {location!r} cannot be believed: {seen.damage}")
        if not versions:
            raise NotFound(location)
        return versions

    def _dead(self, location: str) -> dict[tuple[int, str], int]:
        """When each blob of a location ended that has a marker, by its id and nonce."""
        # The marker of a version that is kept is longer: it has more than its location.
        size = len(location.encode())
        markers = [each for each in self._bucket.objects(GARBAGE) if each.size == size]
        found = zip(markers, _each(lambda marker: self._read(marker.key), markers), strict=True)
        return {
            marked: int(marker.modified * _SECOND)
            for marker, data in found
            if data == location.encode() and (marked := marked_in(marker.key)) is not None
        }

    def _read(self, key: str) -> bytes | None:
        """Read an object; None if it is gone."""
        engine = self._bucket.ask.engine
        try:
            return self._bucket.ask.settle(lambda: engine.get(key), self._bucket.until()).data
        except Missing:
            return None

    def _record(self, blob_id: int) -> Blob | None:
        """The record with an id; None if there is none that can be believed."""
        found = self._bucket.ask.record(blob_id, self._bucket.until())
        try:
            return None if found is None else parse_record(found.data, blob_id, max_id=MAX_ID)
        except BadRecord:
            return None

    def uploads(self) -> list[Unfinished]:
        """The uploads that may go on, those first that nobody has gone on with for longest."""
        bucket, found = self._bucket, []
        pieces = Pieces(bucket.ask)
        for number in {number_in(each.key) for each in bucket.objects(UPLOADS)}:
            if number is None:
                continue
            try:
                kept, come = pieces.look(number, bucket.until())
            except (NoUpload, UploadOver):
                continue
            begun, written = kept.begun, max(kept.modified, come.when)
            if not begun.is_over:
                found.append(Unfinished(number, begun.location, come.offset, begun.length, written))
        return sorted(found, key=lambda each: each.written)

    def blob(self, wanted: str, *, is_location: bool) -> Shown:
        """The blob with an id, or at a location. Raises NotFound, Spoiled or another."""
        blob_id = None if is_location else id_in(wanted)
        if blob_id is not None and (shown := self._by_id(blob_id)) is not None:
            return shown
        seen = self._bucket.ask.read(wanted, self._bucket.until())
        if seen.damage:
            raise Spoiled(f"the pointer of {wanted!r} cannot be believed: {seen.damage}")
        blob = seen.named
        if blob is None:
            raise NotFound(wanted)
        record = self._bucket.ask.record(blob.id, self._bucket.until())
        remark = ", but its time is over" if seen.is_over else ""
        if record is None:
            remark += "; its record is gone"
        made = record_of(blob, None if record is None else record.data)
        return Shown(made, blob_folder(blob.id), remark)

    def _made(self, blob: Stored) -> Blob:
        record = self._bucket.ask.record(blob.id, self._bucket.until())
        return record_of(blob, None if record is None else record.data)

    def _by_id(self, blob_id: int) -> Shown | None:
        record = self._bucket.ask.record(blob_id, self._bucket.until())
        if record is None or is_free(record.data):
            return None
        blob = parse_record(record.data, blob_id, max_id=MAX_ID)
        seen = self._bucket.ask.read(blob.location, self._bucket.until())
        if seen.named is not None and seen.named.id == blob_id:
            return Shown(record_of(seen.named, record.data), blob_folder(blob_id))
        remark = ", and no location has it" if blob.state is not State.FAILURE else ""
        return Shown(blob, blob_folder(blob_id), remark)


def _each(read: Callable[[T], U], things: Iterable[T]) -> list[U]:
    """Read some things, a few at a time."""
    with ThreadPoolExecutor(_AT_ONCE, "exhibit") as pool:
        return list(pool.map(read, things))


def _time(seconds: float) -> str:
    return format_time(int(seconds) * _SECOND)
