"""Quotas: how much may be stored below a prefix, and how much is. Pure.

What is stored is counted as the maps of the store change. A write that is on its way to the disk
has a claim, so that several of them at once do not get past a quota together. What is kept as
history counts, too, but no write is refused for it: it gives way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from attrs import define, frozen

from gostore.errors import QuotaExceeded

SLICE = 1000
"""How many blobs are counted in a turn when a new quota needs to know what there is."""

Behind = Callable[[str, str, int], Sequence[tuple[str, int]]]
"""Gives blobs below a prefix, and behind a location: at most so many, as location and size."""

Kept = Callable[[str, str, int], Sequence[tuple[str, int, int]]]
"""The same for what is kept as history: as location, bytes, and how many blobs."""

Later = Callable[[Callable[[], None]], object]
"""Calls a function in a later turn."""


@frozen
class Quota:
    """The most bytes, and blobs if not None, that may be stored below a prefix."""

    prefix: str
    size: int
    count: int | None = None
    line: int = 0


@define
class Usage:
    """A quota, the bytes and blobs that are stored below its prefix, and those that are claimed.

    ``kept_size`` and ``kept_count`` are those of the history below it. A new quota counts what
    there is step by step, up to the location ``counted_to``, and limits nothing until all is
    counted. Then that is None.
    """

    quota: Quota
    size: int = 0
    count: int = 0
    claimed_size: int = 0
    claimed_count: int = 0
    kept_size: int = 0
    kept_count: int = 0
    counted_to: str | None = None

    def room(self, replaced: int | None) -> int:
        """The most bytes of one more blob, or of one in place of so many. Raises QuotaExceeded."""
        quota = self.quota
        count = self.count + self.claimed_count
        if replaced is None and quota.count is not None and count >= quota.count:
            raise QuotaExceeded(quota.prefix)
        room = quota.size - self.size - self.claimed_size
        # A blob that is no larger than the one it replaces always fits.
        room = room if replaced is None else max(room + replaced, replaced)
        if room < 0:
            raise QuotaExceeded(quota.prefix)
        return room

    def excess(self) -> tuple[int, int]:
        """How many bytes, and how many blobs, of the history the quota has no room for."""
        quota = self.quota
        size = min(self.size + self.kept_size - quota.size, self.kept_size)
        count = 0
        if quota.count is not None:
            count = min(self.count + self.kept_count - quota.count, self.kept_count)
        return max(size, 0), max(count, 0)


class Quotas:
    """Counts what is below the prefix of each quota, and says what else may be."""

    def __init__(self, quotas: Iterable[Quota] = ()) -> None:
        self._usages = {quota.prefix: Usage(quota) for quota in quotas}
        self._claims: dict[int, tuple[list[Usage], int, int]] = {}
        self._lengths: list[int] = []
        self._measure()

    def change(
        self,
        quotas: Iterable[Quota],
        behind: Behind,
        later: Later,
        kept: Kept = lambda prefix, location, most: [],
    ) -> None:
        """Go by other quotas. What a new one has is counted in several turns if it is much."""
        before = self._usages
        self._usages = {}
        for quota in quotas:
            usage = before.get(quota.prefix) or Usage(quota, counted_to="")
            usage.quota = quota
            self._usages[quota.prefix] = usage
        self._measure()
        for prefix in self._usages.keys() - before.keys():
            self._count_on(self._usages[prefix], behind, later, kept)

    def _count_on(self, usage: Usage, behind: Behind, later: Later, kept: Kept) -> None:
        prefix = usage.quota.prefix
        if self._usages.get(prefix) is not usage or usage.counted_to is None:
            return  # It is gone again.
        found = behind(prefix, usage.counted_to, SLICE)
        old = kept(prefix, usage.counted_to, SLICE)
        # Both are counted up to the same location, so that a change knows whether it is counted.
        last = min((rows[-1][0] for rows in (found, old) if len(rows) >= SLICE), default=None)
        if last is not None:
            found = [row for row in found if row[0] <= last]
            old = [row for row in old if row[0] <= last]
        usage.size += sum(size for _, size in found)
        usage.count += len(found)
        usage.kept_size += sum(size for _, size, _ in old)
        usage.kept_count += sum(blobs for _, _, blobs in old)
        usage.counted_to = last
        if last is not None:
            later(partial(self._count_on, usage, behind, later, kept))

    def usages(self) -> list[Usage]:
        """Each quota with what is used of it."""
        return list(self._usages.values())

    def count(self, location: str, size: int, blobs: int) -> None:
        """So many more bytes and blobs are stored at a location; fewer if negative."""
        for usage in self._of(location):
            if usage.counted_to is None or location <= usage.counted_to:
                usage.size += size
                usage.count += blobs

    def keep(self, location: str, size: int, blobs: int) -> None:
        """So many more bytes and blobs are kept as history of a location; fewer if negative."""
        for usage in self._of(location):
            if usage.counted_to is None or location <= usage.counted_to:
                usage.kept_size += size
                usage.kept_count += blobs

    def excess(self, location: str) -> Iterator[tuple[str, int, int]]:
        """What has to give way to what a location has: a prefix, bytes and blobs, one by one.

        It is of the history below the prefix. What is given up before the next one counts there.
        """
        for usage in self._of(location):
            if usage.counted_to is None and any(excess := usage.excess()):
                yield usage.quota.prefix, *excess

    def room(self, location: str, replaced: int | None) -> tuple[int, str] | None:
        """The most bytes of a blob, and by the quota of which prefix; None if there is no limit.

        ``replaced`` is the size of the blob that the location has. Raises QuotaExceeded.
        """
        usages = [usage for usage in self._of(location) if usage.counted_to is None]
        rooms = [(usage.room(replaced), usage.quota.prefix) for usage in usages]
        return min(rooms) if rooms else None

    def claim(self, blob_id: int, location: str, size: int, replaced: int | None) -> None:
        """Keep room for a blob of this size until it is counted, or `unclaim`.

        Raises QuotaExceeded.
        """
        room = self.room(location, replaced)
        if room is not None and size > room[0]:
            raise QuotaExceeded(room[1])
        usages = self._of(location)
        if not usages:
            return
        # What a smaller blob frees is no room before it is committed: it may fail.
        more, blobs = max(size - (replaced or 0), 0), int(replaced is None)
        for usage in usages:
            usage.claimed_size += more
            usage.claimed_count += blobs
        self._claims[blob_id] = usages, more, blobs

    def unclaim(self, blob_id: int) -> None:
        """The blob is counted, or will never be."""
        usages, more, blobs = self._claims.pop(blob_id, ((), 0, 0))
        for usage in usages:
            usage.claimed_size -= more
            usage.claimed_count -= blobs

    def _of(self, location: str) -> list[Usage]:
        """The quotas of a location. Each is found by one look, however many there are."""
        found = (self._usages.get(location[:length]) for length in self._lengths)
        return [usage for usage in found if usage is not None]

    def _measure(self) -> None:
        self._lengths = sorted({len(prefix) for prefix in self._usages})
