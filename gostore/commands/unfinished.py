"""The unfinished uploads of a directory, as `fsck` and `show` list them, and of a bucket."""

from __future__ import annotations

import argparse

from attrs import frozen

from gostore.bucket.exhibit import Exhibit
from gostore.bucket.visiting import Bucket
from gostore.commands.terminal import argument
from gostore.ini import parse_duration
from gostore.text import escape, format_time
from gostore.volume.directory import kept_name
from gostore.volume.kept import Kept
from gostore.volume.recovery.findings import Findings

_SECOND = 1_000_000_000

DAY = 86_400.0
"""The seconds of --upload-expires, if nobody says another number."""


def add_period(parser: argparse.ArgumentParser) -> None:
    """Let a command be told for how long the daemon keeps uploads."""
    parser.add_argument(
        "--upload-expires",
        metavar="TIME",
        type=argument(parse_duration),
        default=DAY,
        help="what the daemon has for it, to tell when it removes unfinished uploads; 1d",
    )


@frozen
class Unfinished:
    """An upload in several requests that may go on; ``offset`` bytes of ``length`` have come.

    ``length`` is None if nobody knows it. It was ``written`` last, and ``expires`` unless somebody
    goes on with it; both in RFC 3339.
    """

    id: str
    name: str
    location: str
    offset: int
    length: int | None
    written: str
    expires: str

    @property
    def standing(self) -> str:
        """How far it is."""
        length = "an unknown number of" if self.length is None else self.length
        return (
            f"{self.offset} of {length} bytes, written {self.written}; it may go on, and the daemon"
            f" removes it after {self.expires}"
        )

    def __str__(self) -> str:
        return f"{escape(self.name)} of {escape(repr(self.location))}: {self.standing}"


def unfinished(found: Findings, period: float = DAY) -> list[Unfinished]:
    """Return the unfinished uploads, those first that nobody has gone on with for longest.

    ``period`` is the daemon's --upload-expires, in seconds.
    """
    return [
        _unfinished(kept, period) for kept in sorted(found.kept, key=lambda kept: kept.note.when)
    ]


def _unfinished(kept: Kept, period: float) -> Unfinished:
    note, name = kept.note, kept_name(kept.number)
    return Unfinished(
        str(kept.number),
        name,
        kept.blob.location,
        note.offset,
        note.length,
        _time(note.when),
        _time(note.when + int(period * _SECOND)),
    )


def unfinished_in_bucket(bucket: Bucket, period: float = DAY) -> list[Unfinished]:
    """As `unfinished`, for a bucket. Raises StoreError."""
    return [
        Unfinished(
            str(each.number),
            each.folder,
            each.location,
            each.offset,
            each.length,
            _time(int(each.written) * _SECOND),
            _time(int(each.written + period) * _SECOND),
        )
        for each in Exhibit(bucket).uploads()
    ]


def _time(when: int) -> str:
    try:
        return format_time(when // _SECOND * _SECOND)
    except ValueError:  # after the year 9999
        return "never"
