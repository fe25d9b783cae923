"""The list of a bucket's locations, from the names and the sizes of the pointers.

A page is made of all 256 shards, and each of its entries is one more request. Names are ordered as
they are quoted, locations by their bytes, so a page looks at every name with its prefix.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from functools import partial

from attrs import frozen
from twisted.logger import Logger

from gostore.bucket.asking import Asker, Seen, passed_over
from gostore.bucket.engine import Engine, Missing
from gostore.bucket.pointer import (
    DEAD_SIZE,
    LOCATIONS,
    SHARDS,
    location_of,
    name_start,
    parse,
    pointer_key,
)
from gostore.errors import BadRecord
from gostore.store.interface import Entry, Page, Seek

log = Logger()

LEAST_LISTED = 1000
"""The fewest entries that are worth the look at all names that a page takes."""

#: How many pointers are read at a time.
_AT_ONCE = 32

#: What names are made of, in its order.
_CHARACTERS = "%-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"


@frozen
class Query:
    """What a listing asks for; see `Store.list`."""

    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    limit: int = 1000
    seek: Seek | None = None

    def entry_of(self, location: str) -> tuple[str, bool] | None:
        """What stands for a location in the list, itself or its group, and whether it is a group.

        None if nothing does.
        """
        if not location.startswith(self.prefix) or location <= self.after:
            return None
        if self._ends_with_group and location.startswith(self.after):
            return None
        if self.seek is not None and self.seek(location) != location:
            return None
        cut = location.find(self.delimiter, len(self.prefix)) if self.delimiter else -1
        return (location, False) if cut < 0 else (location[: cut + len(self.delimiter)], True)

    @property
    def _ends_with_group(self) -> bool:
        """Whether the page before ended with a group: all of it has been listed."""
        if not self.delimiter or len(self.after) <= len(self.prefix):
            return False
        return self.after.endswith(self.delimiter)


def page(ask: Asker, query: Query, until: float) -> Page:
    """Make a page of the list. Raises Busy or DiskFailed."""
    calls = [
        partial(ask.settle, partial(_names, ask.engine, query, shard), until)
        for shard in range(SHARDS)
    ]
    found: dict[str, str | None] = {}
    for names in ask.together(calls):
        _add(found, names)
    chosen = heapq.nsmallest(query.limit + 1, found.items(), key=_name)
    more = chosen[query.limit - 1][0] if len(chosen) > query.limit else None
    chosen = chosen[: query.limit]
    entries: list[Entry] = []
    for at in range(0, len(chosen), _AT_ONCE):
        part = chosen[at : at + _AT_ONCE]
        names = [first or name for name, first in part]
        reads = [partial(passed_over, partial(_read, ask, each, until), each) for each in names]
        for (name, first), seen in zip(part, ask.together(reads), strict=True):
            if seen is None:
                continue
            if first is None:
                if seen.blob is not None:
                    entries.append(seen.blob)
            elif seen.blob or seen.damage or _has_more(ask, query, name, first, until):
                entries.append(name)
    return Page(entries, more)


def _name(entry: tuple[str, str | None]) -> str:
    return entry[0]


def _add(found: dict[str, str | None], names: Iterable[tuple[str, str | None]]) -> None:
    """Add entries to others: a group is known by its first location."""
    for name, first in names:
        if first is not None and (other := found.get(name)) is not None:
            first = min(first, other)
        found[name] = first


def _names(engine: Engine, query: Query, shard: int) -> list[tuple[str, str | None]]:
    """The smallest entries of a shard, each group with its first location."""
    folder = f"{LOCATIONS}{shard:02x}/"
    start = name_start(query.prefix)
    found: dict[str, str | None] = {}
    for listed in engine.list(folder, _key_before(folder, start)):
        name = listed.key.removeprefix(folder)
        if name < start or listed.size == DEAD_SIZE:
            continue
        if not name.startswith(start):
            break
        location = located(engine, listed.key)
        entry = None if location is None else query.entry_of(location)
        if entry is not None:
            _add(found, [(entry[0], location if entry[1] else None)])
    return heapq.nsmallest(query.limit + 1, found.items(), key=_name)


def _key_before(folder: str, start: str) -> str:
    """A key before all whose names begin with a text, and behind most of the others before them.

    An engine lists what is behind a key, so the text itself will not do: it may be a name.
    """
    if not start:
        return ""
    at = _CHARACTERS.index(start[-1])
    before = start[:-1] + (f"{_CHARACTERS[at - 1]}~" if at else "")
    return folder + before if before else ""


def _has_more(ask: Asker, query: Query, group: str, first: str, until: float) -> bool:
    """Whether a group has a blob behind its first location, whose time is over."""
    after: str | None = first
    while after is not None:
        rest = page(ask, Query(group, "", after, _AT_ONCE, query.seek), until)
        if rest.entries:
            return True
        after = rest.next_after
    return False


def located(engine: Engine, key: str) -> str | None:
    """The location of the pointer with a key; None if there is none that can be believed.

    A pointer whose name is cut has to be read.
    """
    location = location_of(key.rpartition("/")[2])
    if location is not None and pointer_key(location) == key:
        return location
    try:
        found = parse(engine.get(key).data).location
    except (BadRecord, Missing):
        found = ""
    if found and pointer_key(found) == key:
        return found
    log.warn("{key} is no pointer, and not listed", key=key)
    return None


def _read(ask: Asker, location: str, until: float) -> Seen:
    """Read the pointer of a location; it may be gone by now."""
    seen = ask.read(location, until)
    if seen.damage:
        log.warn(
            "The pointer of {location!r} is damaged: {why}", location=location, why=seen.damage
        )
    return seen
