"""The ids of a bucket's blobs: drawn by each daemon alone, or claimed. Pure.

128 bits are drawn without asking anybody: 48 of milliseconds, 80 at random. Nobody draws one twice.
16 and 64 bits are claimed, by the creation or the swap of the record, and are used again.
"""

from __future__ import annotations

import random

WIDE_BITS = 128

NARROW_BITS = 16
"""A width of which all ids can be looked at."""

ID_BITS = (16, 64, WIDE_BITS)
"""The widths there are."""

_RANDOM_BITS = 80
_MILLISECOND = 1_000_000


def claims(id_bits: int) -> bool:
    """Whether an id of this width has to be claimed."""
    return id_bits != WIDE_BITS


def draw(id_bits: int, now: int, rng: random.Random) -> int:
    """Draw an id; ``now`` in nanoseconds since the epoch."""
    if claims(id_bits):
        return rng.getrandbits(id_bits)
    milliseconds = now // _MILLISECOND & ((1 << (WIDE_BITS - _RANDOM_BITS)) - 1)
    return milliseconds << _RANDOM_BITS | rng.getrandbits(_RANDOM_BITS)
