"""The map of blobs by id: which ids are taken, by what, and which to draw next."""

from __future__ import annotations

import random
from collections import Counter

from gostore.blob import Committed
from gostore.errors import NoIds

NARROW_BITS = 16
WIDE_BITS = 32

#: Without a pinned width the ids widen when half of the narrow ones are taken (design.md, 7).
_WIDEN_AT = 1 << (NARROW_BITS - 1)

#: Ids of a pinned space that only a replacement may draw, so that PUT goes on when POST is refused.
KEPT_FOR_REPLACING = 256

_RANDOM_TRIES = 32


class Ids:
    """The ids that are taken, each with the committed blob that has it.

    None stands for anything else that keeps an id from being drawn: an upload, a dead blob that is
    still on the disk, a foreign file.  An id is drawn at random from the free ones, and released
    only when nothing on the disk bears it any more.
    """

    def __init__(self, bits: int | None = None, rng: random.Random | None = None) -> None:
        """Hold ids of ``bits`` bits; None starts with 16 and widens to 32 when those run low."""
        self._bits = bits
        self._rng = rng or random.Random()
        self._taken: dict[int, Committed | None] = {}
        #: How many look for a file by an id, and what is released once they have found it.
        self._held: Counter[int] = Counter()
        self._released: set[int] = set()

    def __contains__(self, blob_id: int) -> bool:
        return blob_id in self._taken

    def __len__(self) -> int:
        return len(self._taken)

    def get(self, blob_id: int) -> Committed | None:
        """Return the committed blob that has the id."""
        return self._taken.get(blob_id)

    def take(self, blob_id: int) -> None:
        """The id is borne by something that is no committed blob, or no longer one."""
        self._taken[blob_id] = None

    def give(self, blob: Committed) -> None:
        """The id is that of a committed blob."""
        self._taken[blob.id] = blob

    def release(self, blob_id: int) -> None:
        """Nothing on the disk bears the id any more."""
        if blob_id in self._held:
            self._released.add(blob_id)
        else:
            self._taken.pop(blob_id, None)

    def hold(self, blob_id: int) -> None:
        """Somebody looks for the file of a blob: until `let_go` no other blob gets its id."""
        self._held[blob_id] += 1

    def let_go(self, blob_id: int) -> None:
        """It is found, or not there."""
        self._held[blob_id] -= 1
        if not self._held[blob_id]:
            del self._held[blob_id]
            if blob_id in self._released:
                self._released.discard(blob_id)
                self.release(blob_id)

    def draw(self, *, replacing: bool) -> int:
        """Take and return a free id at random.

        Raises NoIds when the space is full, or full but for what is kept for replacements.
        """
        space = 1 << (self._bits or (NARROW_BITS if len(self._taken) < _WIDEN_AT else WIDE_BITS))
        # Ids beyond the pinned width (found on the disk) count too: at worst this refuses early.
        if len(self._taken) + (0 if replacing else KEPT_FOR_REPLACING) >= space:
            raise NoIds()
        for _ in range(_RANDOM_TRIES):
            drawn = self._rng.randrange(space)
            if drawn not in self._taken:
                self._taken[drawn] = None
                return drawn
        # Nearly full: walk on from a random place instead of guessing for ever.  One is free, or
        # there would be as many taken as there are.
        start = self._rng.randrange(space)
        walk = ((start + step) % space for step in range(space))
        drawn = next(walked for walked in walk if walked not in self._taken)
        self._taken[drawn] = None
        return drawn
