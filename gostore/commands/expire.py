"""``gostore expire --dry-run``: what a daemon would remove because its time is over."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from gostore.blob import Committed
from gostore.bucket.exhibit import Exhibit
from gostore.bucket.visiting import Bucket
from gostore.commands.statuses import GOOD
from gostore.commands.terminal import add_place, argument, bucket_named, read_directory
from gostore.errors import VolumeUnusable, as_store_error
from gostore.ini import parse_duration
from gostore.text import counted, escape, format_time
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume

_SECOND = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Lists the blobs whose time is over, the first to expire first, and the next one. A daemon"
        " removes them by itself; it may be running."
    )
    add_place(parser)
    parser.add_argument(
        "--dry-run", action="store_true", required=True, help="only show what would be removed"
    )
    parser.add_argument(
        "--within",
        metavar="TIME",
        type=argument(parse_duration),
        default=0,
        help="show what will be removed by then, too: 3600, 2h, 7d",
    )


def run(parsed: argparse.Namespace) -> int:
    """Print what is over."""
    now = time.time() + parsed.within
    if parsed.store is not None:
        lines = expired_in_bucket(bucket_named(parsed), now)
    else:
        lines = expired(Volume(read_directory(parsed.dir), make=False), now)
    for line in lines:
        print(line)
    return GOOD


def expired_in_bucket(bucket: Bucket, now: float) -> list[str]:
    """As `expired`; reads all pointers of a bucket. Raises StoreError."""
    return _lines(Exhibit(bucket).blobs(), now)


def expired(volume: Volume, now: float) -> list[str]:
    """Return a line for each blob that is over at a time, and one that counts them.

    Raises VolumeUnusable.
    """
    volume.look(lock=False)
    try:
        found = scan(volume)
    except OSError as error:
        raise VolumeUnusable(volume.shown_path, str(as_store_error(error))) from error
    finally:
        volume.close()
    return _lines(found.live.values(), now)


def _lines(blobs: Iterable[Committed], now: float) -> list[str]:
    expiring = sorted(
        (blob.expires, blob.location, blob) for blob in blobs if blob.expires is not None
    )
    over = [blob for expires, _, blob in expiring if expires <= now]
    later = [expires for expires, _, _ in expiring if expires > now]
    end = f"; the next of {len(later)} expires at {_time(later[0])}" if later else ""
    size = counted(sum(blob.size for blob in over), "byte")
    return [*map(_line, over), f"{counted(len(over), 'blob')} of {size}{end}"]


def _line(blob: Committed) -> str:
    assert blob.expires is not None
    return (
        f"{escape(blob.location)}: id {blob.id}, {blob.size} bytes, expires at"
        f" {_time(blob.expires)}"
    )


def _time(seconds: int) -> str:
    return format_time(seconds * _SECOND)
