"""The versions of the locations of a bucket, as plain code that blocks.

What is read is as of one moment, that at which the pointer was read. Older versions than the one
that it says was are marked since before it was written; see markers.py. What a list shows of later
versions does not count.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import TypeVar

from gostore.bucket.asking import Seen, passed_over
from gostore.bucket.listing import Query
from gostore.bucket.markers import Markers
from gostore.bucket.pointer import (
    HISTORY,
    SHARDS,
    Ended,
    Stored,
    history_folder,
    history_number,
    location_of,
    name_start,
)
from gostore.bucket.protocol import Protocol
from gostore.bucket.records import is_alive, record_of
from gostore.errors import Damaged, NotFound, NoVersion, StoreError, VersionDamaged
from gostore.store.versions import DeletedPage, Version

A = TypeVar("A")
T = TypeVar("T")

#: How many objects are read at a time.
_AT_ONCE = 32


class Versions:
    """The versions; each method has to be over ``until`` a time, as those of `Protocol`."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._ask = protocol.ask

    @property
    def markers(self) -> Markers:
        """What is kept, and for how long."""
        return self._protocol.markers

    # -- a location ---------------------------------------------------------------------------

    def history(self, location: str, before: int | None, limit: int, until: float) -> list[Version]:
        """The versions of a location; see `Past.history`. Raises NotFound, or Damaged."""
        seen = self._see(location, until)
        versions = self.past(seen, before, limit, until)
        current = seen.blob
        if current is not None and (before is None or current.generation < before):
            versions.insert(0, Version(current, self._origin_of(current, until)))
        if versions or current is not None:
            return versions[:limit]
        if before is None or not self.past(seen, None, 1, until):
            raise Damaged(location) if seen.damage else NotFound(location)
        return []

    def past(self, seen: Seen, before: int | None, limit: int, until: float) -> list[Version]:
        """What is known of the versions that `kept` finds, but for those removed meanwhile."""
        read = partial(self._describe, until=until)
        kept = self.kept(seen, before, limit, until)
        return [each for each in self._each(read, kept) if each is not None]

    def find(self, location: str, generation: int, until: float) -> tuple[Stored, bool]:
        """Find a version, and say whether it is current. Raises NoVersion."""
        seen = self._see(location, until)
        if seen.blob is not None and seen.blob.generation == generation:
            return seen.blob, True
        for ended in self.kept(seen, generation + 1, 1, until):
            if ended.blob.generation == generation:
                return ended.blob, False
        raise Damaged(location) if seen.damage else NoVersion(location, generation)

    def data(self, blob: Stored, span: tuple[int, int] | None, until: float) -> bytes:
        """Read the bytes of a version that is not current; all of them are verified.

        Raises NoVersion if it has been removed meanwhile, or VersionDamaged.
        """
        try:
            data = self._protocol.data(blob, span, until)
        except (NotFound, Damaged):
            self.find(blob.location, blob.generation, until)
            record = self._ask.record(blob.id, until)
            if not is_alive(blob, None if record is None else record.data):
                raise NoVersion(blob.location, blob.generation) from None
            raise VersionDamaged(blob.location) from None
        if span is None and sha256(data).digest() != blob.sha256:
            raise VersionDamaged(blob.location)
        return data

    def _see(self, location: str, until: float) -> Seen:
        """Read a pointer; what is over becomes history first, if that is kept."""
        seen = self._ask.read(location, until)
        if seen.named is None or not (seen.is_over and self.markers.keeps(location)):
            return seen
        if (seen.named.expires or 0) > self._ask.engine_time():
            return seen  # our clock was set
        with suppress(StoreError):  # it has another blob by now, or no write is taken
            self._protocol.mark_garbage(self._protocol.expire(seen, until), until)
        return self._ask.read(location, until)

    def kept(self, seen: Seen, before: int | None, limit: int, until: float) -> list[Ended]:
        """What is kept of a location of which this is the pointer, newest first."""
        if not self.markers.shown(until).of(seen.location):
            return []
        pointer = seen.pointer
        if pointer is not None:
            before = pointer.generation if before is None else min(before, pointer.generation)
        listed = self._listed(seen.location, before, limit, until)
        was = None if pointer is None else pointer.was
        if was is None or (before is not None and was.blob.generation >= before):
            return listed
        if listed and listed[0].blob.generation >= was.blob.generation:
            return listed
        # It is not marked yet, or the list lags behind; or it has been removed long ago.
        if not self.markers.is_over(was) and self._has_data(was.blob, until):
            listed.insert(0, was)
        return listed[:limit]

    def _listed(self, location: str, before: int | None, limit: int, until: float) -> list[Ended]:
        folder = history_folder(location)
        # A digit comes before a tilde, so this comes after all of that generation.
        after = "" if before is None else f"{folder}{history_number(before)}-~"
        found: list[Ended] = []

        def keys() -> list[str]:
            listed = self._ask.engine.list(folder, after)
            return [each.key for each in islice(listed, limit)]

        read = partial(self.markers.read, until=until)
        for ended in self._each(read, self._ask.settle(keys, until)):
            if ended is not None and not self.markers.is_over(ended):
                found.append(ended)
        return found

    def _describe(self, ended: Ended, until: float) -> Version | None:
        """Say what there is to be known of a version; None if it has been removed."""
        blob = ended.blob
        origin = self._origin_of(blob, until)
        if not origin and not self._has_data(blob, until):
            return None
        return Version(blob, origin, ended.ending, self.markers.until(ended))

    def _origin_of(self, blob: Stored, until: float) -> str:
        """The sender that asked for a blob, by its record; "" if that is not known."""
        record = self._ask.record(blob.id, until)
        return record_of(blob, None if record is None else record.data).origin

    def _has_data(self, blob: Stored, until: float) -> bool:
        try:
            self._protocol.data(blob, (0, min(1, blob.size)), until)
        except (NotFound, Damaged):
            return False
        return True

    # -- what was deleted ---------------------------------------------------------------------

    def deleted(self, query: Query, until: float) -> DeletedPage:
        """List deleted locations; see `Past.deleted`."""
        if not any(self.markers.shown(until).values):
            return DeletedPage([], None)
        calls = [partial(self._in_shard, query, shard, until) for shard in range(SHARDS)]
        names = heapq.merge(*self._ask.together(calls))
        found: list[Version] = []
        while some := list(islice(names, _AT_ONCE)):
            for version in self._each(partial(self._newest, until=until), some):
                if version is None:
                    continue
                if len(found) == query.limit:
                    return DeletedPage(found, found[-1].blob.location)
                found.append(version)
        return DeletedPage(found, None)

    def _in_shard(self, query: Query, shard: int, until: float) -> list[str]:
        return self._ask.settle(lambda: sorted(self._locations(query, shard, until)), until)

    def _locations(self, query: Query, shard: int, until: float) -> Iterator[str]:
        """The locations of a shard that have versions, and that the query asks for."""
        folder = f"{HISTORY}{shard:02x}/"
        start = folder + name_start(query.prefix)
        last = ""
        for listed in self._ask.engine.list(folder, start if start != folder else ""):
            if not listed.key.startswith(start):
                break
            name = listed.key.split("/")[2]
            if name == last:
                continue
            last = name
            location = location_of(name)
            if location is None and (ended := self.markers.read(listed.key, until)) is not None:
                location = ended.blob.location
            if location is not None and query.entry_of(location) is not None:
                yield location

    def _newest(self, location: str, until: float) -> Version | None:
        """The newest version of a location that has no blob; None if it has one, or none."""
        seen = self._ask.read(location, until)
        if seen.damage or seen.named is not None:
            return None
        for ended in self.kept(seen, None, 1, until):
            return self._describe(ended, until)
        return None

    def _each(self, read: Callable[[A], T], things: Sequence[A]) -> Iterator[T | None]:
        """Do something with each thing, many at a time; None stands for one that is passed over."""
        for at in range(0, len(things), _AT_ONCE):
            some = things[at : at + _AT_ONCE]
            yield from self._ask.together(
                [partial(passed_over, partial(read, each), each) for each in some]
            )
