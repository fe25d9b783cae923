"""``gostore why``: the whole life of a blob in plain words, from its directory or bucket alone."""

from __future__ import annotations

import argparse
import time

from gostore.blob import MAX_ID, Blob, Committed, EndedBy, State
from gostore.bucket.exhibit import Exhibit, Past
from gostore.bucket.visiting import Bucket
from gostore.commands.records import look_at
from gostore.commands.statuses import GOOD
from gostore.commands.terminal import add_blob, bucket_named, read_directory
from gostore.errors import NotFound
from gostore.text import escape, format_time
from gostore.volume.volume import Volume

_SECOND = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Tells of each version of a location that is still on the disk, or in the bucket, how it"
        " came and went, and by whom. A daemon may be running."
    )
    add_blob(parser, "LOCATION|ID", "the location; a number is an id if any blob has it")


def run(parsed: argparse.Namespace) -> int:
    """Tell it."""
    now = time.time_ns()
    if parsed.store is not None:
        lines = tell_in_bucket(bucket_named(parsed), parsed.blob, now, location=parsed.location)
    else:
        volume = Volume(read_directory(parsed.dir), make=False)
        lines = tell(volume, parsed.blob, now, location=parsed.location)
    print("\n".join(lines))
    return GOOD


def tell(volume: Volume, wanted: str, now: int, *, location: bool = False) -> list[str]:
    """Return lines about all that is known of a location, or of that of a blob with an id.

    ``now`` is in nanoseconds. Raises NotFound, NoBlobs or VolumeUnusable.
    """
    is_id = not location and wanted.isascii() and wanted.isdecimal() and int(wanted) <= MAX_ID
    known = look_at(volume, wanted, int(wanted) if is_id else None)
    place, found = known.location, known.found
    damage = found.damaged.get(place)
    if not known.records and damage is None:
        raise NotFound(wanted)
    if damage is not None:
        state = (
            f"is damaged, and answers 500 until somebody replaces or deletes it; what is left of"
            f" it is in {damage.name}"
        )
    else:
        state = _state(found.live.get(place), now)
    lines = [f"{escape(place)} {state}."]
    for blob in known.records:
        lines += _life(blob, now)
    return lines


def tell_in_bucket(bucket: Bucket, wanted: str, now: int, *, location: bool = False) -> list[str]:
    """As `tell`, for a bucket. Raises NotFound or another StoreError."""
    known = Exhibit(bucket).life(wanted, is_location=location)
    if known.damage:
        state = (
            "is damaged, and answers 500 until somebody replaces or deletes it: its pointer cannot"
            f" be believed: {escape(known.damage)}"
        )
    else:
        state = _state(known.named, now)
    lines = [f"{escape(known.location)} {state}."]
    for past in known.versions:
        lines += _life(past.blob, now, past)
    return lines


def _state(blob: Committed | None, now: int) -> str:
    if blob is None:
        return "has no blob"
    if blob.expires is not None and blob.expires * _SECOND <= now:
        return "has no blob any more: its time is over, and the collector will remove it"
    return f"has a blob of {blob.size} bytes, with the id {blob.id}"


def _life(blob: Blob, now: int, past: Past | None = None) -> list[str]:
    size = "" if blob.size is None else f", {blob.size} bytes"
    kind = "" if blob.content_type is None else f", {escape(blob.content_type)}"
    lines = [f"Version {blob.generation}, id {blob.id}{size}{kind}:"]
    if blob.log and blob.log[0].state is State.OK:
        verb = "stored in place of another" if "Updated" in blob.log[0].message else "stored"
        lines.append(_event(blob.log[0].when, verb + _by(blob.origin)))
    if blob.expires is not None and blob.state is State.OK:
        verb = "expired" if blob.expires * _SECOND <= now else "will expire"
        lines.append(_event(blob.expires * _SECOND, verb))
    ending = blob.ending if past is None else past.ending or blob.ending
    ended = None if past is None else past.ended
    is_dead = blob.state is State.FAILURE or ending is not None or ended is not None
    if ended is not None:
        lines.append(_event(ended, "replaced or deleted"))
    elif ending is not None:
        if ending.by is EndedBy.REPLACED:
            what = f"replaced by the blob with the id {ending.successor}"
        else:
            what = ending.by.value
        lines.append(_event(ending.when, what + _by(ending.origin)))
    elif blob.state is not State.OK:
        lines.append(_event(blob.changed, escape(blob.log[-1].message)))
    if is_dead:
        lines.append(
            "  Its bytes are here until the collector comes, or for as long as --keep says."
        )
    return lines


def _event(when: int, what: str) -> str:
    return f"  {format_time(when // _SECOND * _SECOND)}  {what}"


def _by(origin: str) -> str:
    """The asker: the name of a principal, if it had one, and the id of the request."""
    name, comma, request = origin.rpartition(", ")
    by = f" by {escape(name)}" if comma else ""
    return f"{by} (request {escape(request)})" if request else by
