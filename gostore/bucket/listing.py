"""The list of a bucket's locations, from the names and the sizes of the pointers.

A page is made of all 256 shards, and each of its blobs is one more request. Names are ordered as
they are quoted, locations by their bytes, so a page looks at every name with its prefix.
"""

from __future__ import annotations

import heapq
from functools import partial

from attrs import frozen
from twisted.logger import Logger

from gostore.bucket.asking import Asker
from gostore.bucket.engine import Engine, Missing
from gostore.bucket.pointer import (
    DEAD_SIZE,
    LOCATIONS,
    location_of,
    name_start,
    parse,
    pointer_key,
)
from gostore.errors import BadRecord
from gostore.store.interface import Entry, Page, Seek

log = Logger()

SHARDS = 256

#: How many pointers are read at a time.
_AT_ONCE = 32


@frozen
class Query:
    """What a listing asks for; see `Store.list`."""

    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    limit: int = 1000
    seek: Seek | None = None

    def entry_of(self, location: str) -> str | None:
        """What stands for a location in the list: itself, or its group; None if nothing does."""
        if not location.startswith(self.prefix) or location <= self.after:
            return None
        if self.seek is not None and self.seek(location) != location:
            return None
        cut = location.find(self.delimiter, len(self.prefix)) if self.delimiter else -1
        if cut < 0:
            return location
        group = location[: cut + len(self.delimiter)]
        # The page before ended with this group: all of it has been listed.
        return None if group == self.after else group


def page(ask: Asker, query: Query, until: float) -> Page:
    """Make a page of the list. Raises Busy or DiskFailed."""
    calls = [
        partial(ask.settle, partial(_names, ask.engine, query, shard), until)
        for shard in range(SHARDS)
    ]
    found: set[tuple[str, bool]] = set()
    for names in ask.together(calls):
        found.update(names)
    chosen = heapq.nsmallest(query.limit + 1, found)
    more = chosen[query.limit - 1][0] if len(chosen) > query.limit else None
    chosen = chosen[: query.limit]
    entries: list[Entry] = []
    for at in range(0, len(chosen), _AT_ONCE):
        part = chosen[at : at + _AT_ONCE]
        reads = [partial(_entry, ask, name, is_group, until) for name, is_group in part]
        entries += [entry for entry in ask.together(reads) if entry is not None]
    return Page(entries, more)


def _names(engine: Engine, query: Query, shard: int) -> list[tuple[str, bool]]:
    """The smallest entries of a shard, each with whether it is a group."""
    folder = f"{LOCATIONS}{shard:02x}/"
    start = folder + name_start(query.prefix)
    found: set[tuple[str, bool]] = set()
    for listed in engine.list(folder, start if start != folder else ""):
        if not listed.key.startswith(start):
            break
        if listed.size == DEAD_SIZE:
            continue
        location = located(engine, listed.key)
        entry = None if location is None else query.entry_of(location)
        if entry is not None:
            found.add((entry, entry != location))
    return heapq.nsmallest(query.limit + 1, found)


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


def _entry(ask: Asker, name: str, is_group: bool, until: float) -> Entry | None:
    """The entry of a page: a group, or the blob of a location; None if it is gone by now."""
    if is_group:
        return name
    seen = ask.read(name, until)
    if seen.damage:
        log.warn("The pointer of {location!r} is damaged: {why}", location=name, why=seen.damage)
    return seen.blob
