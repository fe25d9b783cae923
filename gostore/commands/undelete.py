"""``gostore undelete --dir``: bring back what was deleted, while no daemon has the directory.

Over a bucket (``--store``) it is one more writer: daemons may be running.

It does what the client's command of this name does, and says the same words.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from attrs import define, frozen

from gostore.bucket.undeleting import Undeletion
from gostore.commands.statuses import BAD, CANNOT, GOOD
from gostore.commands.terminal import (
    add_directory,
    argument,
    bucket_named,
    read_directory,
    target_of,
)
from gostore.errors import AlreadyExists, Damaged, NoSpace, NotFound, ReadOnly, StoreError
from gostore.store.offline import Offline, opened
from gostore.store.versions import DeletedPage, Restore, Version
from gostore.text import escape
from gostore.volume.changes import Sync
from gostore.volume.volume import Volume

#: What the log of a blob says of who asked.
_ORIGIN = "gostore undelete"

#: How many locations are asked for at a time.
_PAGE = 1000

#: What --json calls an error.
_WORDS: dict[type[StoreError], str] = {
    NotFound: "not found",
    AlreadyExists: "condition failed",
    Damaged: "damaged",
    NoSpace: "no room",
}


class NotDeleted(AlreadyExists):
    """There is nothing to bring back: the location has a blob."""

    def __str__(self) -> str:
        return f"{self.location} is not deleted"


class NoneDeleted(NotFound):
    """Nothing below a prefix can be brought back; it may be a typo."""

    def __str__(self) -> str:
        return f"Nothing below {self.location or 'the root'} is deleted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Brings back what was deleted, as long as its bytes are on the disk, or in the bucket. No"
        " daemon may have the directory; those over the bucket may be running. A target that ends"
        " with / stands for all that was deleted below it."
    )
    add_directory(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    parser.add_argument(
        "targets",
        metavar="LOCATION",
        nargs="+",
        type=argument(target_of),
        help="a blob, or a prefix",
    )


def run(parsed: argparse.Namespace) -> int:
    """Bring it back."""
    report = _Report(parsed.quiet, parsed.json)
    if parsed.store is not None:
        undeletion = Undeletion(bucket_named(parsed))
        undeletion.open()
        _undelete(undeletion, parsed.targets, report)
    else:
        volume = Volume(read_directory(parsed.dir), sync=Sync.JOURNAL, make=False)
        with opened(volume) as offline:
            _undelete(_InDirectory(offline), parsed.targets, report)
    return report.status


class _Place(Protocol):
    """Where something was deleted. Each raises StoreError."""

    def newest(self, location: str) -> Version:
        """The newest version of a location. Raises NotFound."""

    def deleted(self, prefix: str, after: str, limit: int) -> DeletedPage:
        """List what was deleted; see `Past.deleted`."""

    def restore(self, location: str, version: int, origin: str) -> None:
        """Make a version current, if there is no blob."""


@frozen
class _InDirectory:
    """A directory that no daemon has."""

    offline: Offline

    def newest(self, location: str) -> Version:
        return self.offline.wait(self.offline.store.past.history(location, None, 1))[0]

    def deleted(self, prefix: str, after: str, limit: int) -> DeletedPage:
        return self.offline.wait(self.offline.store.past.deleted(prefix, after, limit))

    def restore(self, location: str, version: int, origin: str) -> None:
        restore = Restore(version, origin, exists=False)
        self.offline.wait(self.offline.store.past.restore(location, restore))


def _undelete(place: _Place, targets: Iterable[str], report: _Report) -> None:
    for target in targets:
        for location, version in _found(place, target, report):
            _restore(place, location, version, report)


@define(eq=False)
class _Report:
    """Says what was done and what was not, as the client does."""

    quiet: bool
    as_json: bool
    status: int = GOOD

    def done(self, location: str, version: int) -> None:
        if self.as_json:
            self._print({"outcome": "restored", "location": location, "version": version})
        elif not self.quiet:
            print(f"restored {escape(location)}", file=sys.stderr)

    def failed(self, location: str, error: StoreError) -> None:
        self.status = max(self.status, BAD if isinstance(error, Damaged) else CANNOT)
        if self.as_json:
            word = next((_WORDS[each] for each in _WORDS if isinstance(error, each)), "failed")
            self._print({"outcome": word, "location": location, "text": str(error)})
        else:
            print(f"gostore: {escape(str(error))}", file=sys.stderr)

    def _print(self, found: dict[str, Any]) -> None:
        print(json.dumps(found))


def _found(place: _Place, target: str, report: _Report) -> Iterator[tuple[str, int]]:
    """What a target stands for, each with its newest version."""
    if target and not target.endswith("/"):
        try:
            newest = place.newest(target)
            if newest.ending is None:
                raise NotDeleted(target)
        except StoreError as error:
            report.failed(target, error)
        else:
            yield target, newest.blob.generation
        return
    after: str | None = ""
    has_any = False
    while after is not None:
        page = place.deleted(target, after, _PAGE)
        for version in page.versions:
            has_any = True
            yield version.blob.location, version.blob.generation
        after = page.next_after
    if not has_any:
        report.failed(target, NoneDeleted(target))


def _restore(place: _Place, location: str, version: int, report: _Report) -> None:
    try:
        place.restore(location, version, _ORIGIN)
    except ReadOnly:
        # The disk has failed: the rest would fail as well.
        raise
    except StoreError as error:
        report.failed(location, error)
    else:
        report.done(location, version)
