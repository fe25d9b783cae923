"""gostore.store.index: which ids are taken, and which is drawn next."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import MAX_ID, Committed
from gostore.errors import NoIds
from gostore.store.index import KEPT_FOR_REPLACING, Ids

NARROW = 1 << 16


class Walk(random.Random):
    """Draws what it is told to, then 0 for ever."""

    def __init__(self, *drawn: int) -> None:
        super().__init__()
        self.drawn = list(drawn)

    def randrange(self, *_arguments: int) -> int:  # type: ignore[override]
        return self.drawn.pop(0) if self.drawn else 0


def filled(count: int, bits: int | None = 16) -> Ids:
    """Ids of which the first so many are taken."""
    ids = Ids(bits, random.Random(7))
    for taken in range(count):
        ids.reserve(taken)
    return ids


class IdsTests(SynchronousTestCase):
    """Drawing, giving and releasing."""

    def test_drawn_at_random(self) -> None:
        """Ids are drawn from all over the 16-bit space, and never twice."""
        ids = Ids(None, random.Random(7))
        drawn = [ids.draw(replacing=False) for _ in range(1000)]
        self.assertEqual(len(set(drawn)), 1000)
        self.assertEqual(len(ids), 1000)
        self.assertTrue(0 <= min(drawn) < 1000 and 64_000 < max(drawn) < NARROW)
        self.assertNotEqual(drawn, sorted(drawn))

    def test_drawn_differently(self) -> None:
        """Two stores do not draw the same ids."""
        first, second = Ids(), Ids()
        self.assertNotEqual(
            [first.draw(replacing=False) for _ in range(20)],
            [second.draw(replacing=False) for _ in range(20)],
        )

    def test_life(self) -> None:
        """An id is taken, given to its blob, taken away from it, and free once released."""
        ids = Ids(16, Walk(5, 5, 6, 5))
        blob = Committed(5, "a", 1, 0, None, 0, None, None)
        self.assertEqual(ids.draw(replacing=False), 5)
        self.assertIn(5, ids)
        self.assertIsNone(ids.get(5))
        ids.assign(blob)
        self.assertIs(ids.get(5), blob)
        self.assertEqual(ids.draw(replacing=False), 6)
        ids.reserve(5)
        self.assertIsNone(ids.get(5))
        self.assertIn(5, ids)
        ids.release(5)
        self.assertNotIn(5, ids)
        self.assertEqual(ids.draw(replacing=False), 5)

    def test_released_twice(self) -> None:
        """To release what is free changes nothing."""
        ids = Ids()
        ids.release(3)
        self.assertEqual(len(ids), 0)

    def test_widens(self) -> None:
        """When half of the narrow ids are taken, ids of 32 bits are drawn; with fewer, never."""
        ids = filled(NARROW // 2 - 1, None)
        self.assertLess(ids.draw(replacing=False), NARROW)
        drawn = [ids.draw(replacing=False) for _ in range(20)]
        self.assertTrue(any(wide >= NARROW for wide in drawn))
        self.assertTrue(all(wide <= MAX_ID for wide in drawn))

    def test_narrows(self) -> None:
        """When ids have been released, narrow ones are drawn again."""
        ids = filled(NARROW // 2, None)
        self.assertGreaterEqual(ids.draw(replacing=False), NARROW)
        ids.release(0)
        ids.release(1)
        self.assertLess(ids.draw(replacing=False), NARROW)

    def test_pinned(self) -> None:
        """A pinned width does not widen: what is left is drawn to the last, and then refused."""
        ids = filled(NARROW - KEPT_FOR_REPLACING - 3)
        drawn = [ids.draw(replacing=False) for _ in range(3)]
        self.assertEqual(len(set(drawn)), 3)
        self.assertTrue(all(one < NARROW for one in drawn))
        self.assertRaises(NoIds, ids.draw, replacing=False)

    def test_pinned_wide(self) -> None:
        """With 32 bits pinned, wide ids are drawn from the start."""
        ids = Ids(32, random.Random(7))
        drawn = [ids.draw(replacing=False) for _ in range(20)]
        self.assertTrue(max(drawn) >= NARROW and max(drawn) <= MAX_ID)

    def test_kept_for_replacing(self) -> None:
        """When new blobs are refused, replacements still have ids, until every one is taken."""
        ids = filled(NARROW - KEPT_FOR_REPLACING)
        self.assertRaises(NoIds, ids.draw, replacing=False)
        # Each of these would take a walk over most of the space.
        few = 16
        for taken in range(NARROW - KEPT_FOR_REPLACING, NARROW - few):
            ids.reserve(taken)
        drawn = {ids.draw(replacing=True) for _ in range(few)}
        self.assertEqual(drawn, set(range(NARROW - few, NARROW)))
        self.assertRaises(NoIds, ids.draw, replacing=True)
        ids.release(11)
        self.assertEqual(ids.draw(replacing=True), 11)

    def test_nearly_full(self) -> None:
        """The last free id is found, wherever it is, however unlucky the guesses are."""
        for free in (0, 77, NARROW - 1):
            ids = filled(NARROW)
            ids.release(free)
            self.assertEqual(ids.draw(replacing=True), free)

    def test_beyond_the_width(self) -> None:
        """Ids found on the disk beyond the pinned width count: a draw ends, at worst refused."""
        ids = filled(NARROW - 1)
        ids.reserve(MAX_ID)
        self.assertRaises(NoIds, ids.draw, replacing=True)
        ids.release(5)
        self.assertIn(ids.draw(replacing=True), (5, NARROW - 1))
