"""Which blobs are over: a blob that expires is gone from a certain second on.

The clock at the time of a request says so, and not the collector, which deletes such blobs some
seconds later.  A wall clock may be wrong.  If it is set forth by more than an hour, the blobs that
become due by that wait for one hour more, by a clock that nobody sets.  If it is set back, it is
believed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from itertools import chain, islice

from sortedcontainers import SortedList
from twisted.logger import Logger

from gostore.blob import Committed
from gostore.text import wall_clock

JUMP = 3600.0
"""A clock that is set forth by more seconds than this is not believed for so many."""

SECOND = 1_000_000_000

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
        """``wall`` is the clock, in nanoseconds; ``steady`` one that nobody sets, in seconds."""
        self._wall = wall
        self._steady = steady
        #: How far the wall clock was ahead of the steady one at the last look.
        self._ahead = math.inf
        #: The same before a jump, and when that is believed by the steady clock. What expires after
        #: the first and not after the second of these times waits for that.
        self._before = self._believed = -math.inf
        self._from = self._to = math.inf
        self._entries: SortedList[tuple[int, int]] = SortedList()
        #: How many blobs have been deleted because they were over.
        self.expired = 0

    def __len__(self) -> int:
        return len(self._entries)

    def is_over(self, blob: Committed) -> bool:
        """Say whether a blob is gone now."""
        if blob.expires is None:
            return False
        return blob.expires <= self._look() and not self._from < blob.expires <= self._to

    def due(self, most: int) -> list[int]:
        """The ids of blobs that are over, so many at most, those first that expired first."""
        if not self._entries:
            return []
        now = self._look()
        early = self._entries.irange(maximum=(min(now, self._from), math.inf))
        late = self._entries.irange((self._to, math.inf), (now, math.inf))
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

    def _look(self) -> int:
        """Look at the clocks, whether one has been set, and return the second since the epoch."""
        now, steady = self._wall(), self._steady()
        ahead = now / SECOND - steady
        if ahead > self._ahead + JUMP:
            log.warn(
                "The clock was set forth by {seconds:.0f} seconds; what expires by that waits for"
                " an hour",
                seconds=ahead - self._ahead,
            )
            if self._from == math.inf:  # else another jump begins the hour anew
                self._before, self._from = self._ahead, steady + self._ahead
            self._to, self._believed = now // SECOND, steady + JUMP
        elif self._from < math.inf and (steady >= self._believed or ahead <= self._before + JUMP):
            self._from = self._to = math.inf
        self._ahead = ahead
        return now // SECOND
