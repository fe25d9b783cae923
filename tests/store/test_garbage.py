"""Tests for gostore.store.garbage: what the collector is told of."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.store.garbage import Garbage
from gostore.volume.collect import Collected, Dead


class GarbageTests(SynchronousTestCase):
    """Dead blobs by location, and stages."""

    def test_forget(self) -> None:
        """What a run removed is forgotten, and nothing else."""
        garbage = Garbage()
        old, new, other = Dead(1, "a", 1, 2), Dead(2, "a", 2), Dead(3, "b", 3)
        for one in (old, new, other):
            garbage.add(one)
        garbage.add_stage(8)
        garbage.add_stage(9)
        self.assertEqual(garbage.elders("a"), [1, 2])
        self.assertEqual(garbage.elders("c"), [])
        garbage.forget(Collected([old, other], [1, 3, 8]))
        self.assertEqual(garbage.dead, [new])
        self.assertEqual(garbage.elders("b"), [])
        self.assertEqual(garbage.stages, [9])

    def test_forget_ids(self) -> None:
        """Nothing that bore an id that is free is there any more, whoever removed it."""
        garbage = Garbage()
        garbage.add(Dead(1, "a", 1, 2))
        garbage.forget(Collected(ids=[1, 7]))
        self.assertEqual((garbage.dead, garbage.elders("a")), ([], []))
