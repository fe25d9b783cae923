"""The records of all that is known of a location, from a directory alone, for several commands."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from attrs import frozen

from gostore.blob import Blob
from gostore.errors import BadRecord, NoBlobs, VolumeUnusable, as_store_error
from gostore.statefile import parse
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.scan import journaled, scan
from gostore.volume.volume import Volume


@frozen
class Known:
    """What is known of a location: the look at the directory, and the records, the newest first."""

    location: str
    found: Findings
    records: list[Blob]


def look_at(volume: Volume, wanted: str, wanted_id: int | None = None) -> Known:
    """Look at a directory for a location, or for that of a blob with an id, if there is one.

    A daemon may be running. Raises NoBlobs or VolumeUnusable.
    """
    volume.look(lock=False)
    try:
        found = scan(volume, keeps=keeps_all)
        places = _places(found)
        if not places:
            raise NoBlobs(volume.shown_path)
        place = wanted if wanted_id is None else places.get(wanted_id, wanted)
        ids = [each for each, at in places.items() if at == place]
        return Known(place, found, _read(volume, ids))
    except OSError as error:
        raise VolumeUnusable(volume.shown_path, str(as_store_error(error))) from error
    finally:
        volume.close()


def lacking(source: str) -> str:
    """What is wrong with a place into which a migration has not ended, as its daemons say it."""
    return f"it lacks blobs that are to come from {source or 'elsewhere'}"


def keeps_all(_: str) -> bool:
    """Every location may have a history; only the daemon's settings tell."""
    return True


def _places(found: Findings) -> dict[int, str]:
    """The location of each blob that is on the disk, by its id."""
    places = {dead.id: dead.location for dead in (*found.dead, *found.history.values())}
    places |= {damage.blob.id: location for location, damage in found.damaged.items()}
    places |= {replaced.blob.id: replaced.blob.location for replaced in found.unmarked}
    return places | {blob.id: location for location, blob in found.live.items()}


def _read(volume: Volume, ids: Iterable[int]) -> list[Blob]:
    """The records of blobs, the newest first; not of what a daemon has just removed."""
    entries = journaled(volume, keeps_all)
    blobs = []
    for blob_id in ids:
        blob = None
        # It may be in quarantine, or not be made yet.
        with suppress(BadRecord, FileNotFoundError):
            blob = volume.directory.read_record(str(blob_id), blob_id)
        if (entry := entries.get(blob_id)) is not None:
            newer = parse(entry.state, blob_id)
            if blob is None or (newer.generation, newer.changed) > (blob.generation, blob.changed):
                blob = newer
        if blob is not None:
            blobs.append(blob)
    return sorted(blobs, key=lambda blob: blob.generation, reverse=True)
