"""Which blobs are over: a blob that expires is gone from a certain second on.

The clock at the time of a request says so, and not the collector, which deletes such blobs some
seconds later.  A wall clock may be wrong: see `DueTime`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from itertools import chain, islice

from sortedcontainers import SortedList
from twisted.logger import Logger

from gostore.blob import Committed
from gostore.store.dates import SECOND, DueTime
from gostore.text import wall_clock

log = Logger()


class Expiry:
    """The blobs that expire, in the order in which they do, and the clock that they expire by.

    A sorted list is as good as a heap, and a blob that is replaced leaves it at once.
    """

    def __init__(
        self,
        wall: Callable[[], int] = wall_clock,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """The clocks are those of `DueTime`."""
        self._look = DueTime(wall, steady, _tell)
        self._entries: SortedList[tuple[int, int]] = SortedList()
        #: How many blobs have been deleted because they were over.
        self.expired = 0

    def __len__(self) -> int:
        return len(self._entries)

    def is_over(self, blob: Committed) -> bool:
        """Say whether a blob is gone now."""
        if blob.expires is None:
            return False
        return self._look.has_come(blob.expires * SECOND)

    def due(self, most: int) -> list[int]:
        """The ids of blobs that are over, so many at most, those first that expired first."""
        if not self._entries:
            return []
        now = self._look() // SECOND
        begin, end = self._look.waits_from // SECOND, self._look.waits_to // SECOND
        early = self._entries.irange(maximum=(min(now, begin), math.inf))
        late = self._entries.irange((end, math.inf), (now, math.inf))
        return [blob_id for _, blob_id in islice(chain(early, late), most)]

    def restore(self, blobs: Iterable[Committed]) -> None:
        """Take in what a start has found; it believes the clock."""
        self._entries.update((blob.expires, blob.id) for blob in blobs if blob.expires is not None)
        if self._entries:
            self._look()

    def add(self, blob: Committed) -> None:
        """Take in a blob, if it expires."""
        if blob.expires is not None:
            self._look()
            self._entries.add((blob.expires, blob.id))

    def discard(self, blob: Committed) -> None:
        """A blob is not at its location any more."""
        if blob.expires is not None:
            self._entries.discard((blob.expires, blob.id))


def _tell(seconds: float) -> None:
    log.warn(
        "The clock was set forth by {seconds:.0f} seconds; what expires by that waits for an hour",
        seconds=seconds,
    )
