"""``gostore history --dir``: the versions of a location, from its directory or bucket alone.

It says what the client's command of this name says, in the same words.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

from gostore.blob import Blob, Committed, EndedBy, Ending
from gostore.bucket.exhibit import Exhibit
from gostore.commands.records import Known, look_at
from gostore.commands.statuses import GOOD
from gostore.commands.terminal import (
    add_directory,
    argument,
    bucket_named,
    location_of,
    read_directory,
)
from gostore.errors import NotFound
from gostore.store.versions import Version
from gostore.text import escape, format_time
from gostore.volume.volume import Volume

_SECOND = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Lists the versions of a location that are still on the disk, or in the bucket, newest"
        " first. A daemon may be running; it alone knows until when it keeps them."
    )
    add_directory(parser)
    parser.add_argument("location", metavar="LOCATION", type=argument(location_of), help="the blob")


def run(parsed: argparse.Namespace) -> int:
    """List them."""
    if parsed.store is not None:
        found = Exhibit(bucket_named(parsed)).history(parsed.location)
    else:
        volume = Volume(read_directory(parsed.dir), make=False)
        found = versions(volume, parsed.location, time.time_ns())
    for version in found:
        print(json.dumps(version.members(None)) if parsed.json else line_of(version))
    return GOOD


def line_of(version: Version) -> str:
    """A version for people."""
    blob, ending = version.blob, version.ending
    line = f"{blob.generation}: {blob.size} bytes, {format_time(blob.modified)}"
    if ending is not None:
        line += f", {ending.by.value} {format_time(ending.when)}"
    return escape(line)


def versions(volume: Volume, location: str, now: int) -> list[Version]:
    """Return what is on the disk of a location, newest first; ``now`` is in nanoseconds.

    Raises NotFound, NoBlobs or VolumeUnusable.
    """
    known = look_at(volume, location)
    found = list(_versions(known, now))
    if not found:
        raise NotFound(location)
    return found


def _versions(known: Known, now: int) -> Iterator[Version]:
    found, location = known.found, known.location
    damage = found.damaged.get(location)
    if damage is not None:
        yield Version(damage.blob, "", None, is_damaged=True)
    live = found.live.get(location)
    for record in known.records:
        if live is not None and record.generation == live.generation:
            yield Version(_committed(record, live.size), record.origin, _expiry(live, now))
        elif (dead := found.history.get(record.id)) is not None and dead.size >= 0:
            ending = record.ending
            if ending is None:
                ending = Ending(dead.ended, EndedBy.REPLACED, "", dead.replaced_by)
            yield Version(_committed(record, dead.size), record.origin, ending)


def _expiry(blob: Committed, now: int) -> Ending | None:
    """How a blob ended that is over, though no collector has marked it yet."""
    if blob.expires is None or blob.expires * _SECOND > now:
        return None
    return Ending(blob.expires * _SECOND, EndedBy.EXPIRED)


def _committed(record: Blob, size: int) -> Committed:
    """What a version was while it lived."""
    return Committed(
        record.id,
        record.location,
        record.generation,
        size,
        record.sha256,
        record.finished,
        record.content_type,
        None,
    )
