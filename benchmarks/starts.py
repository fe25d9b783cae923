"""The record cache of a data directory that no daemon serves, as a daemon at rest would leave it.

A daemon that is stopped right after its start has had no time to write all of it.
"""

from __future__ import annotations

from pathlib import Path

from gostore.volume.recovery.records import RecordWriter
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume


def write_records(path: Path) -> None:
    """Write the cache for all blobs in a directory, but those of the last two seconds."""
    volume = Volume(str(path))
    volume.look()
    try:
        live = scan(volume).live
        writer = RecordWriter(volume.directory, 0)
        if not writer.begin():
            raise RuntimeError(f"no start would trust a record cache in {path}")
        writer.add(live[location] for location in sorted(live))
        writer.finish()
    finally:
        volume.close()
