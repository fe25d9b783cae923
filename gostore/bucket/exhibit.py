"""What there is to say of a bucket, and of one of its blobs."""

from __future__ import annotations

from attrs import frozen

from gostore.blob import Blob, State
from gostore.bucket.collect import SHARDS, lease_in
from gostore.bucket.engine import Missing
from gostore.bucket.pointer import LEASE, MAX_ID, STORE, blob_folder, id_in
from gostore.bucket.records import record_of
from gostore.bucket.visiting import Bucket
from gostore.errors import NotFound, Spoiled, VolumeUnusable
from gostore.statefile import parse as parse_record
from gostore.text import format_time

_SECOND = 1_000_000_000


@frozen
class Shown:
    """A blob: its record, the folder of its objects, and a remark on its state."""

    blob: Blob
    folder: str
    remark: str = ""


class Exhibit:
    """A look at a bucket, which changes nothing."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def store(self) -> dict[str, str]:
        """What all daemons have agreed on. Raises StoreError."""
        bucket = self._bucket
        description = bucket.describe()
        if description is None:
            raise VolumeUnusable(bucket.name, f"it has no {STORE}, and so is no store")
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

    def _by_id(self, blob_id: int) -> Shown | None:
        record = self._bucket.ask.record(blob_id, self._bucket.until())
        if record is None:
            return None
        blob = parse_record(record.data, blob_id, max_id=MAX_ID)
        seen = self._bucket.ask.read(blob.location, self._bucket.until())
        if seen.named is not None and seen.named.id == blob_id:
            return Shown(record_of(seen.named, record.data), blob_folder(blob_id))
        remark = ", and no location has it" if blob.state is not State.FAILURE else ""
        return Shown(blob, blob_folder(blob_id), remark)


def _time(seconds: float) -> str:
    return format_time(int(seconds) * _SECOND)
