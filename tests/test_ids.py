"""Tests for gostore.ids: which ids are taken, and which is drawn next."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.errors import NoIds
from gostore.ids import KEPT_FOR_REPLACING, Ids


class Stubborn(random.Random):
    """Randomness that says the same again and again, as in a space that is nearly full."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """The last number of the range."""
        return (start if stop is None else stop) - 1


def fill(ids: Ids, numbers: range) -> None:
    """Take many ids."""
    for number in numbers:
        ids.take(number)


class IdsTests(SynchronousTestCase):
    """A space of ids."""

    def test_unique(self) -> None:
        """No id is drawn twice while it is taken, and all are of 16 bits at first."""
        ids = Ids(rng=random.Random(1))
        drawn = [ids.draw(replacing=False) for _ in range(5000)]
        self.assertEqual(len(set(drawn)), 5000)
        self.assertLess(max(drawn), 1 << 16)
        self.assertEqual(len(ids), 5000)
        self.assertTrue(all(number in ids for number in drawn))

    def test_random(self) -> None:
        """Ids are drawn from all over the space, in no order."""
        ids = Ids(rng=random.Random(1))
        drawn = [ids.draw(replacing=False) for _ in range(100)]
        self.assertNotEqual(drawn, sorted(drawn))
        self.assertLess(min(drawn), 1 << 14)
        self.assertGreater(max(drawn), 3 << 14)

    def test_widen(self) -> None:
        """When half of the narrow ids are taken, wide ones are drawn, until some are free again."""
        ids = Ids(rng=random.Random(1))
        fill(ids, range((1 << 15) - 1))
        self.assertLess(ids.draw(replacing=False), 1 << 16)
        wide = [ids.draw(replacing=False) for _ in range(20)]
        self.assertGreater(max(wide), 1 << 16)
        self.assertLess(max(wide), 1 << 32)
        for number in wide:
            ids.release(number)
        ids.release(0)
        self.assertLess(ids.draw(replacing=False), 1 << 16)

    def test_pinned(self) -> None:
        """With 16 bits pinned a full space refuses, but for what is kept for replacements."""
        ids = Ids(16, random.Random(1))
        fill(ids, range((1 << 16) - KEPT_FOR_REPLACING))
        self.assertRaises(NoIds, ids.draw, replacing=False)
        drawn = {ids.draw(replacing=True) for _ in range(KEPT_FOR_REPLACING)}
        self.assertEqual(drawn, set(range((1 << 16) - KEPT_FOR_REPLACING, 1 << 16)))
        self.assertRaises(NoIds, ids.draw, replacing=True)
        ids.release(7)
        self.assertEqual(ids.draw(replacing=True), 7)

    def test_walk(self) -> None:
        """Where guessing does not find a free id, walking on from a random place does."""
        ids = Ids(16, Stubborn())
        fill(ids, range(5, 1 << 16))
        self.assertEqual([ids.draw(replacing=True) for _ in range(5)], [0, 1, 2, 3, 4])

    def test_pinned_wide(self) -> None:
        """With 32 bits pinned, wide ids are drawn from the start."""
        ids = Ids(32, random.Random(1))
        self.assertGreater(max(ids.draw(replacing=False) for _ in range(20)), 1 << 16)

    def test_strangers(self) -> None:
        """Ids beyond the pinned width count as taken, so that at worst it refuses early."""
        ids = Ids(16, random.Random(1))
        fill(ids, range(1 << 16, (1 << 17) - KEPT_FOR_REPLACING))
        self.assertRaises(NoIds, ids.draw, replacing=False)

    def test_what_has_it(self) -> None:
        """An id is that of a committed blob, of something else, or nobody's."""
        ids = Ids()
        blob = Committed(7, "a", 1, 0, None, 0, None, None)
        self.assertIsNone(ids.get(7))
        self.assertNotIn(7, ids)
        ids.give(blob)
        self.assertIs(ids.get(7), blob)
        ids.take(7)
        self.assertIsNone(ids.get(7))
        self.assertIn(7, ids)
        ids.release(7)
        ids.release(7)
        self.assertNotIn(7, ids)
