"""What was at each location, as long as it is kept: which dead blobs there are, and who goes first.

At one location the older blob always goes before the younger: the younger one may be a tombstone.
So only the oldest of a location waits in a heap, and there is one heap for each time for which
history is kept. To know that nothing is due is a look at each heap, however much is kept. A quota
that history has given way to has one more, of what is below its prefix. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from itertools import islice, takewhile
from math import isinf

from attrs import evolve
from sortedcontainers import SortedDict, SortedList

from gostore.prefixes import ByPrefix
from gostore.store.interface import Ledger, Seek
from gostore.volume.collect import Dead
from gostore.volume.journal.format import BLOCK, in_blocks

FOREVER = 2**63 - 1
"""A time, in nanoseconds, that never comes."""

_SECOND = 1_000_000_000


def room_of(dead: Dead) -> int:
    """How many bytes of the disk a dead blob takes: its blocks, its record and its directory."""
    return in_blocks(max(dead.size, 0)) + 2 * BLOCK


class History:
    """The dead blobs that are kept; ``keep`` says for how many seconds, by location.

    They count in the ``ledger``.
    """

    def __init__(self, keep: ByPrefix[float] | None = None, ledger: Ledger | None = None) -> None:
        #: For how many seconds, by location; see `change`.
        self.keep = ByPrefix(0.0) if keep is None else keep
        self._keep = _in_nanoseconds(self.keep)
        #: What it goes by later, and when, in nanoseconds.
        self._next: tuple[ByPrefix[int], int] | None = None
        self._heaps: dict[int, list[Dead]] = {value: [] for value in self._keep.values}
        self._ledger = ledger
        #: The heaps of quotas, by their prefixes, and how long those are.
        self._below: dict[str, list[Dead]] = {}
        self._lengths: list[int] = []
        self._by_id: dict[int, Dead] = {}
        #: The ids of those that somebody copies.
        self._spared: Counter[int] = Counter()
        #: The blobs of each location, the oldest first; without a list, which is larger than all
        #: the rest, if there is one.
        self._at: SortedDict[str, Dead | list[Dead]] = SortedDict()
        #: The locations of which all blobs are dead.
        self._deleted: SortedList[str] = SortedList()
        #: How many bytes all of them have.
        self.bytes = 0
        #: How many blobs were given up before their time, and the bytes that they had.
        self.given_up = self.bytes_given_up = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Dead]:
        return iter(self._by_id.values())

    def keeps(self, location: str) -> bool:
        """Say whether what dies at a location is kept."""
        return self._keep.of(location) > 0

    @property
    def is_kept(self) -> bool:
        """Whether some location has a history."""
        return any(self._keep.values)

    def until(self, dead: Dead) -> int | None:
        """Return when a dead blob may be collected, in nanoseconds; None: never."""
        until = dead.ended + self._keep.of(dead.location)
        if self._next is not None:
            keep, when = self._next
            until = min(until, max(dead.ended + keep.of(dead.location), when))
        return until if until < FOREVER else None

    def change(
        self, keep: ByPrefix[float], then: tuple[ByPrefix[float], int] | None = None
    ) -> None:
        """Go by other times; ``then`` says by which it will go later, and when in nanoseconds."""
        self.keep = keep
        self._next = None if then is None else (_in_nanoseconds(then[0]), then[1])
        before, self._keep = self._keep, _in_nanoseconds(keep)
        if before == self._keep:
            return
        now: dict[int, set[int]] = {}
        for prefix in ("", *before.prefixes, *self._keep.prefixes):
            now.setdefault(before.of(prefix), set()).add(self._keep.of(prefix))
        now.setdefault(before.default, set()).add(self._keep.default)
        heaps, self._heaps = self._heaps, {value: [] for value in self._keep.values}
        if all(len(values) == 1 for values in now.values()):
            # All locations of a heap go to the same one.
            for value, heap in heaps.items():
                for to in now[value]:
                    self._heaps[to] += heap
        else:
            for location in self._at:
                self._heaps[self._keep.of(location)].append(self._group(location)[0])
        for heap in self._heaps.values():
            heapify(heap)

    def doomed(self, keep: ByPrefix[float], when: int) -> tuple[int, int]:
        """How many blobs, and bytes, will be kept no more if it goes by other times from then on.

        Those do not count whose time is over by then in any case.
        """
        later = _in_nanoseconds(keep)
        places = [(self._keep.default, later.default)]
        places += [
            (self._keep.of(each), later.of(each))
            for each in (*self._keep.prefixes, *later.prefixes)
        ]
        if all(after >= before for before, after in places):
            return 0, 0
        sizes = [
            max(dead.size, 0)
            for dead in self
            if dead.ended + later.of(dead.location) <= when
            and dead.ended + self._keep.of(dead.location) > when
        ]
        return len(sizes), sum(sizes)

    # -- coming -------------------------------------------------------------------------------

    def restore(self, found: Iterable[Dead], is_live: Callable[[str], bool], now: int) -> None:
        """Take in what a start has found; ``is_live`` says which locations have a blob."""
        for each in sorted(found, key=lambda dead: dead.generation):
            dead = _ended_by(each, now)
            self._by_id[dead.id] = dead
            self._append(dead)
            self._count(dead, 1)
        for location in self._at:
            self._heaps[self._keep.of(location)].append(self._group(location)[0])
        self._deleted.update(location for location in self._at if not is_live(location))
        for heap in self._heaps.values():
            heapify(heap)

    def add(self, dead: Dead, now: int) -> None:
        """Take in a blob that has just died."""
        dead = _ended_by(dead, now)
        self._by_id[dead.id] = dead
        self._count(dead, 1)
        if self._append(dead) is dead:
            self._push(dead)
        if dead.replaced_by is None and dead.location not in self._deleted:
            self._deleted.add(dead.location)

    def _count(self, dead: Dead, blobs: int) -> None:
        size = blobs * max(dead.size, 0)
        self.bytes += size
        if self._ledger is not None and dead.size >= 0:
            self._ledger.keep(dead.location, size, blobs)

    def _push(self, dead: Dead) -> None:
        """A blob is the oldest of its location."""
        heappush(self._heaps[self._keep.of(dead.location)], dead)
        for length in self._lengths:
            heap = self._below.get(dead.location[:length])
            if heap is not None:
                heappush(heap, dead)
                if len(heap) > 2 * len(self._at) + 100:
                    # What went out of turn would stay in it for ever.
                    heap[:] = filter(self.holds, heap)
                    heapify(heap)

    def _append(self, dead: Dead) -> Dead | list[Dead]:
        """Add a blob to those of its location, and return them."""
        group: Dead | list[Dead] | None = self._at.get(dead.location)
        if isinstance(group, list):
            group.append(dead)
        else:
            group = dead if group is None else [group, dead]
            self._at[dead.location] = group
        return group

    def _group(self, location: str) -> list[Dead]:
        """The blobs of a location, the oldest first."""
        group = self._at.get(location)
        if group is None:
            return []
        return group if isinstance(group, list) else [group]

    def revive(self, location: str) -> None:
        """A location has a blob again."""
        self._deleted.discard(location)

    # -- looking ------------------------------------------------------------------------------

    def at(self, location: str) -> list[Dead]:
        """Return what is kept of a location, the newest first."""
        return self._group(location)[::-1]

    def find(self, location: str, generation: int) -> Dead | None:
        """Return the blob of a location that has a generation."""
        found = (dead for dead in self._group(location) if dead.generation == generation)
        return next(found, None)

    def behind(self, location: str, most: int) -> list[Dead]:
        """Return what is kept of the locations after this one: ``most`` of them, or a few more."""
        found: list[Dead] = []
        for at in self._at.irange(location, inclusive=(False, True)):
            found += self._group(at)
            if len(found) >= most:
                break
        return found

    def sizes_behind(self, prefix: str, location: str, most: int) -> list[tuple[str, int, int]]:
        """Some locations that begin with a prefix and come after this one: bytes, and blobs.

        If there are fewer than ``most``, they are the last.
        """
        start = prefix if location < prefix else location
        behind = self._at.irange(start, inclusive=(location < prefix, True))
        rows = []
        for at in takewhile(lambda at: at.startswith(prefix), islice(behind, most)):
            sizes = [dead.size for dead in self._group(at) if dead.size >= 0]
            rows.append((at, sum(sizes), len(sizes)))
        return rows

    def holds(self, dead: Dead) -> bool:
        """Say whether a dead blob is still kept."""
        return self._by_id.get(dead.id) is dead

    def deleted(
        self, prefix: str, after: str, limit: int, seek: Seek | None = None
    ) -> list[tuple[str, Dead]]:
        """Return locations that have nothing but history, in order, each with its newest blob.

        They begin with a prefix, come after ``after``, and ``seek`` lets them through.
        """
        found: list[tuple[str, Dead]] = []
        at = max(self._deleted.bisect_left(prefix), self._deleted.bisect_right(after))
        while at < len(self._deleted) and len(found) < limit:
            location = self._deleted[at]
            if not location.startswith(prefix):
                break
            if seek is not None and (shown := seek(location)) != location:
                if shown is None:
                    break
                at = self._deleted.bisect_left(shown)
                continue
            at += 1
            newest = self._group(location)[-1]
            if newest.size >= 0:
                found.append((location, newest))
        return found

    # -- going --------------------------------------------------------------------------------

    def take_due(self, has_come: Callable[[int], bool]) -> list[Dead]:
        """Take out all blobs whose time is over; ``has_come`` says so of a time."""
        due = []
        for keep, heap in self._heaps.items():
            while (oldest := self._oldest(heap)) is not None and has_come(oldest.ended + keep):
                due.append(self._take(heap))
        return due

    def take_oldest(self, size: int, count: int = 1) -> list[Dead]:
        """Take out blobs before their time, to make room: those that died first.

        At least so many, if there are so many, and until they take ``size`` bytes of the disk.
        """
        taken: list[Dead] = []
        spared: list[Dead] = []
        while size > 0 or len(taken) < count:
            full = [heap for heap in self._heaps.values() if self._oldest(heap) is not None]
            if not full:
                break
            first = min(full, key=lambda heap: heap[0])
            if first[0].id in self._spared:
                spared.append(heappop(first))
                continue
            taken.append(self._give_up(first))
            size -= room_of(taken[-1])
        for each in spared:
            heappush(self._heaps[self._keep.of(each.location)], each)
        return taken

    @contextmanager
    def spare(self, dead: Dead) -> Iterator[None]:
        """Let no room be made of a blob: if its copy fails for want of that, all would be lost."""
        self._spared[dead.id] += 1
        try:
            yield
        finally:
            self._spared[dead.id] -= 1
            if not self._spared[dead.id]:
                del self._spared[dead.id]

    def give_way(self, location: str) -> list[Dead]:
        """Take out what the quotas of a location have no room for: what died first below each."""
        taken: list[Dead] = []
        if self._ledger is None or not self._by_id:
            return taken
        for prefix, size, count in self._ledger.excess(location):
            heap = self._heap_below(prefix)
            while (size > 0 or count > 0) and self._oldest(heap) is not None:
                dead = self._give_up(heap)
                taken.append(dead)
                size -= max(dead.size, 0)
                count -= int(dead.size >= 0)
        return taken

    def _heap_below(self, prefix: str) -> list[Dead]:
        heap = self._below.get(prefix)
        if heap is None:
            behind = takewhile(lambda at: at.startswith(prefix), self._at.irange(prefix))
            heap = self._below[prefix] = [self._group(at)[0] for at in behind]
            heapify(heap)
            self._lengths = sorted(set(map(len, self._below)))
        return heap

    def _give_up(self, heap: list[Dead]) -> Dead:
        dead = self._take(heap)
        self.given_up += 1
        self.bytes_given_up += max(dead.size, 0)
        return dead

    def discard(self, blob_id: int) -> None:
        """A blob is not there any more: somebody else has removed it, or it is damaged."""
        dead = self._by_id.get(blob_id)
        if dead is not None:
            self._remove(dead)

    def _oldest(self, heap: list[Dead]) -> Dead | None:
        while heap and self._by_id.get(heap[0].id) is not heap[0]:
            heappop(heap)
        return heap[0] if heap else None

    def _take(self, heap: list[Dead]) -> Dead:
        dead = heappop(heap)
        self._remove(dead)
        return dead

    def _remove(self, dead: Dead) -> None:
        del self._by_id[dead.id]
        self._count(dead, -1)
        location = dead.location
        group = self._group(location)
        was_first = group[0] is dead
        group.remove(dead)
        if not group:
            del self._at[location]
            self._deleted.discard(location)
            return
        if len(group) == 1:
            self._at[location] = group[0]
        if was_first:
            self._push(group[0])


def _ended_by(dead: Dead, now: int) -> Dead:
    """A dead blob that is kept from now on at the latest.

    The versions of a location are recorded in different seconds, so one that is written many times
    a second is dated ahead of the clock.
    """
    return evolve(dead, ended=now) if dead.ended > now else dead


def _in_nanoseconds(keep: ByPrefix[float]) -> ByPrefix[int]:
    prefixes = {prefix: _nanoseconds(value) for prefix, value in keep.prefixes.items()}
    return ByPrefix(_nanoseconds(keep.default), prefixes)


def _nanoseconds(seconds: float) -> int:
    return FOREVER if isinf(seconds) else min(int(seconds * _SECOND), FOREVER)
