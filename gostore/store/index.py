"""The two maps: what each location has, and which ids are taken."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice, takewhile

from sortedcontainers import SortedDict

from gostore.blob import LOCATION_BYTES, Committed
from gostore.errors import AlreadyExists, NoIds, NotFound
from gostore.store.expiry import Expiry
from gostore.store.interface import DamagedBlob, Entry, Ledger, Page, Precondition, Seek
from gostore.volume.recovery.findings import Damage, Findings

NARROW_BITS = 16
WIDE_BITS = 32

#: Without a pinned width the ids widen when half of the narrow ones are taken.
_WIDEN_AT = 1 << (NARROW_BITS - 1)

#: Ids of a pinned space that only a replacement may draw, so that PUT goes on when POST is refused.
KEPT_FOR_REPLACING = 256

_RANDOM_TRIES = 32

#: So many blobs that are over may be passed over on one page: all of it is made in one go.
_PASSED = 1000


class Ids:
    """The ids that are taken, each with the committed blob that has it.

    None stands for anything else that reserves an id: an upload, a dead blob that is still on the
    disk, a foreign file.  An id is drawn at random from the free ones, and released only when
    nothing on the disk has it any more.
    """

    def __init__(self, bits: int | None = None, rng: random.Random | None = None) -> None:
        """Hold ids of ``bits`` bits; None starts with 16 and widens to 32 when those run low."""
        self._bits = bits
        self._rng = rng or random.Random()
        self._taken: dict[int, Committed | None] = {}
        #: How many callers look for a file by an id, and the ids to release once they found it.
        self._pins: Counter[int] = Counter()
        self._released: set[int] = set()

    def __contains__(self, blob_id: int) -> bool:
        return blob_id in self._taken

    def __len__(self) -> int:
        return len(self._taken)

    def __iter__(self) -> Iterator[int]:
        return iter(self._taken)

    def get(self, blob_id: int) -> Committed | None:
        """Return the committed blob that has the id."""
        return self._taken.get(blob_id)

    def reserve(self, blob_id: int) -> None:
        """Reserve an id for an upload, a dead blob or a foreign file."""
        self._taken[blob_id] = None

    def assign(self, blob: Committed) -> None:
        """Assign its id to a committed blob."""
        self._taken[blob.id] = blob

    def restore(self, ids: Iterable[int], blobs: Iterable[Committed]) -> None:
        """Take in what a start has found: ids that are taken, and blobs."""
        self._taken.update(dict.fromkeys(ids))
        self._taken.update((blob.id, blob) for blob in blobs)

    def release(self, blob_id: int) -> None:
        """Free an id that nothing on the disk has any more."""
        if blob_id in self._pins:
            self._released.add(blob_id)
        else:
            self._taken.pop(blob_id, None)

    @contextmanager
    def pinned(self, blob_id: int) -> Iterator[None]:
        """Keep an id from being given to another blob while somebody looks for its file."""
        self._pins[blob_id] += 1
        try:
            yield
        finally:
            self._pins[blob_id] -= 1
            if not self._pins[blob_id]:
                del self._pins[blob_id]
                if blob_id in self._released:
                    self._released.discard(blob_id)
                    self.release(blob_id)

    @property
    def space(self) -> int:
        """How many ids there are, taken and free, at the width of the next one."""
        return 1 << (self._bits or (NARROW_BITS if len(self._taken) < _WIDEN_AT else WIDE_BITS))

    def draw(self, *, replacing: bool) -> int:
        """Reserve and return a free id at random.

        Raises NoIds when the space is full, or full but for what is kept for replacements.
        """
        space = self.space
        # Ids beyond the pinned width (found on the disk) count too: at worst this refuses early.
        if len(self._taken) + (0 if replacing else KEPT_FOR_REPLACING) >= space:
            raise NoIds()
        for _ in range(_RANDOM_TRIES):
            drawn = self._rng.randrange(space)
            if drawn not in self._taken:
                self._taken[drawn] = None
                return drawn
        # Nearly full: walk on from a random place instead of guessing for ever.  One id is free,
        # since fewer are taken than there are.
        start = self._rng.randrange(space)
        walk = ((start + step) % space for step in range(space))
        drawn = next(walked for walked in walk if walked not in self._taken)
        self._taken[drawn] = None
        return drawn


class Index:
    """What each location has, a blob or the damage to one, and the ids beside it.

    A blob that is over stays here until it is deleted, and nobody finds it: `standing` has it.
    """

    def __init__(
        self,
        id_bits: int | None = None,
        rng: random.Random | None = None,
        ledger: Ledger | None = None,
        expiry: Expiry | None = None,
    ) -> None:
        """``id_bits`` and ``rng`` are those of `Ids`; ``ledger`` counts what is here."""
        self.ids = Ids(id_bits, rng)
        self.expiry = Expiry() if expiry is None else expiry
        self._ledger = ledger
        self._found: SortedDict[str, Committed | Damage] = SortedDict()
        #: How many locations have a damaged blob.
        self.damaged = 0
        #: How many bytes the blobs have that are not damaged, and the others.
        self.bytes = self.damaged_bytes = 0
        #: How many blobs have been put here since the start.
        self.commits = 0

    def __len__(self) -> int:
        return len(self._found)

    def restore(self, found: Findings) -> None:
        """Take in what a start has found."""
        self.ids.restore(found.ids, found.live.values())
        self._found.update(found.live)
        self._found.update(found.damaged)
        self.expiry.restore(found.live.values())
        self.damaged = len(found.damaged)
        self.bytes = sum(blob.size for blob in found.live.values())
        self.damaged_bytes = sum(damage.blob.size for damage in found.damaged.values())
        if self._ledger is not None:
            for location, blob in found.live.items():
                self._ledger.count(location, blob.size, 1)
            for location, damage in found.damaged.items():
                self._ledger.count(location, damage.blob.size, 1)

    def __contains__(self, location: str) -> bool:
        return location in self._found

    def standing(self, location: str) -> Committed | Damage | None:
        """Return what a location has, be it over."""
        found: Committed | Damage | None = self._found.get(location)
        return found

    def find(self, location: str) -> Committed | Damage | None:
        """Return what a location has."""
        found: Committed | Damage | None = self._found.get(location)
        if found is None or found.expires is None or not self.expiry.is_over(found):
            return found
        return None

    def blob(self, location: str) -> Committed | None:
        """Return the blob of a location; None if there is none, or a damaged one."""
        found = self._found.get(location)
        if not isinstance(found, Committed):
            return None
        return None if found.expires is not None and self.expiry.is_over(found) else found

    def version(self, location: str) -> Committed | None:
        """Return what was committed at a location last, be it damaged since; None if nothing is."""
        return _version(self.find(location))

    def modified(self, location: str) -> int | None:
        """Return when what stands at a location was recorded, in nanoseconds; None: nothing."""
        version = _version(self._found.get(location))
        return None if version is None else version.modified

    def check(self, location: str, precondition: Precondition | None, exists: bool | None) -> None:
        """Raise unless a location allows a write.

        ``exists`` is whether it must have a blob, be it damaged, or must have none; None: either.
        """
        found = self.find(location)
        if precondition is not None:
            precondition.check(location, _version(found))
        if exists is not None and exists is not (found is not None):
            if exists:
                raise NotFound(location)
            raise AlreadyExists(location, is_damaged=isinstance(found, Damage))

    def room(self, location: str) -> tuple[int, str] | None:
        """The most bytes that a blob may have at a location; see `Ledger.room`."""
        return (
            None if self._ledger is None else self._ledger.room(location, self._size_at(location))
        )

    def claim(self, blob_id: int, location: str, size: int) -> None:
        """Keep room for a blob until `put`, or `unclaim`. Raises QuotaExceeded."""
        if self._ledger is not None:
            self._ledger.claim(blob_id, location, size, self._size_at(location))

    def unclaim(self, blob_id: int) -> None:
        """A blob will not be put here."""
        if self._ledger is not None:
            self._ledger.unclaim(blob_id)

    def sizes_behind(self, prefix: str, location: str, most: int) -> list[tuple[str, int]]:
        """Some locations that begin with a prefix and come after this one, each with its size.

        Of a blob that is damaged it is the size that was committed. If there are fewer, they are
        the last.
        """
        start = prefix if location < prefix else location
        behind = self._found.irange(start, inclusive=(location < prefix, True))
        below = takewhile(lambda at: at.startswith(prefix), islice(behind, most))
        return [(at, self._size_at(at) or 0) for at in below]

    def _size_at(self, location: str) -> int | None:
        """The bytes of what was committed at a location last; None if nothing is."""
        version = _version(self._found.get(location))
        return None if version is None else version.size

    def blobs(self) -> Iterator[Committed]:
        """Give all blobs, ordered by location."""
        return (found for found in self._found.values() if isinstance(found, Committed))

    def blobs_behind(self, location: str, most: int) -> list[Committed]:
        """Return some of the blobs whose locations come after this one; none: there are no more."""
        behind = self._found.irange(location, inclusive=(False, True))
        blobs = (found for at in behind if isinstance(found := self._found[at], Committed))
        return list(islice(blobs, most))

    def is_current(self, blob: Committed) -> bool:
        """Say whether a blob is still the one of its location; a later one may have its id, too."""
        current = self._found.get(blob.location)
        if current is not blob and not (
            isinstance(current, Committed)
            and current.id == blob.id
            and current.generation == blob.generation
        ):
            return False
        return blob.expires is None or not self.expiry.is_over(blob)

    def put(self, blob: Committed) -> Committed | Damage | None:
        """Show a blob at its location; return what was there, whose id stays reserved."""
        previous: Committed | Damage | None = self._found.get(blob.location)
        if self._ledger is not None:
            replaced = self._size_at(blob.location)
            self._ledger.unclaim(blob.id)
            self._ledger.count(blob.location, blob.size - (replaced or 0), int(replaced is None))
        self._found[blob.location] = blob
        self.commits += 1
        self.bytes += blob.size
        self._put_away(previous)
        self.ids.assign(blob)
        self.expiry.add(blob)
        return previous

    def remove(self, location: str) -> Committed | Damage | None:
        """Show nothing at a location; return what was there, whose id stays reserved."""
        if self._ledger is not None and (size := self._size_at(location)) is not None:
            self._ledger.count(location, -size, -1)
        previous: Committed | Damage | None = self._found.pop(location, None)
        self._put_away(previous)
        return previous

    def _put_away(self, previous: Committed | Damage | None) -> None:
        if isinstance(previous, Committed):
            self.ids.reserve(previous.id)
            self.expiry.discard(previous)
            self.bytes -= previous.size
        elif previous is not None:
            self.damaged -= 1
            self.damaged_bytes -= previous.blob.size

    def show_damage(self, damage: Damage) -> None:
        """Show that the blob of a location is damaged; its id stays reserved."""
        previous = self._found.get(damage.blob.location)
        if isinstance(previous, Committed):
            self.expiry.discard(previous)
            self.bytes -= previous.size
        self._found[damage.blob.location] = damage
        self.damaged += 1
        self.damaged_bytes += damage.blob.size
        self.ids.reserve(damage.blob.id)

    def next_location(self, after: str) -> str | None:
        """Return the first location after this one that has a blob; "" is before them all."""
        at = self._found.bisect_right(after)
        locations = self._found.keys()
        while at < len(locations):
            if isinstance(self._found[locations[at]], Committed):
                return str(locations[at])
            at += 1
        return None

    def page(
        self, prefix: str, delimiter: str, after: str, limit: int, seek: Seek | None = None
    ) -> Page:
        """List up to ``limit`` locations that begin with ``prefix`` and come after ``after``.

        With a ``delimiter``, locations that share the same text up to the next one after the prefix
        are rolled up into one entry. The cost grows with the page, not with the store, nor with
        what ``seek`` steps over. Where many blobs are over, a page may end early.
        """
        entries: list[Entry] = []
        passed = 0
        locations = self._found.keys()
        at = max(self._found.bisect_left(prefix), self._found.bisect_right(after))
        if delimiter and after.endswith(delimiter) and len(after) > len(prefix):
            # The page before ended with a common prefix: all of it has been listed.
            at = max(at, self._behind(after))
        last = ""
        while at < len(locations):
            location = locations[at]
            if not location.startswith(prefix):
                break
            if seek is not None and (next_shown := seek(location)) != location:
                if next_shown is None:
                    break
                at = self._found.bisect_left(next_shown)
                continue
            if len(entries) == limit:
                return Page(entries, last)
            found = self._found[location]
            if isinstance(found, Committed) and self.expiry.is_over(found):
                passed += 1
                at += 1
                if passed >= _PASSED and not (delimiter and location.endswith(delimiter)):
                    # As the last entry it would stand for all that begins with it.
                    return Page(entries, location)
                continue
            cut = location.find(delimiter, len(prefix)) if delimiter else -1
            if cut < 0:
                entries.append(found if isinstance(found, Committed) else DamagedBlob(found.blob))
                last = location
                at += 1
            else:
                last = location[: cut + len(delimiter)]
                entries.append(last)
                at = self._behind(last)
        return Page(entries, None)

    def _behind(self, prefix: str) -> int:
        """Return the index of the first location behind all that begin with a prefix."""
        return int(self._found.bisect_left(prefix + "\U0010ffff" * (LOCATION_BYTES // 4 + 1)))


def _version(found: Committed | Damage | None) -> Committed | None:
    return found.blob if isinstance(found, Damage) else found
