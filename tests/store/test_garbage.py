"""Tests for gostore.store.garbage: what it knows of the dead, and what it forgets after a run."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Blob, Committed
from gostore.store.garbage import SECOND, Garbage
from gostore.store.history import History
from gostore.store.index import Ids
from gostore.volume.collect import Collected, Dead
from tests.store.doubles import PromptClock, ThreadlessWorkers


class CollectedWorkers(ThreadlessWorkers):
    """Workers whose collection run comes to what the test says."""

    collected = Collected()

    def _run(
        self, room: str, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> Deferred[Any]:
        is_run = function.__name__ == "_collect_in_worker"
        return succeed((self.collected, 77) if is_run else None)


class GarbageTests(SynchronousTestCase):
    """Dead blobs by location, and stages."""

    def setUp(self) -> None:
        """Know of nothing yet."""
        self.now = 0
        self.workers = CollectedWorkers()
        self.ids = Ids()
        self.journal = SimpleNamespace(written=0, synced=0, recorded_synced=0)
        self.unwritten: set[int] = set()
        applier = SimpleNamespace(
            obstacle=None, forget=self.unwritten.__contains__, data_of=lambda blob_id: None
        )
        backlog = SimpleNamespace(journal=self.journal, applier=applier)
        volume: Any = SimpleNamespace(broken=None, now=lambda: self.now, backlog=backlog)
        self.clock = PromptClock()
        self.garbage = Garbage(volume, self.workers, self.ids, self.clock, History())

    def collect(self, collected: Collected) -> None:
        """Let a run come to this."""
        self.workers.collected = collected
        self.assertEqual(self.successResultOf(self.garbage.collect()), 77)

    def test_forget(self) -> None:
        """What a run removed is forgotten and its id free, and nothing else."""
        old, new, other = Dead(1, "a", 1, 2), Dead(2, "a", 2), Dead(3, "b", 3)
        for one in (old, new, other):
            self.garbage.add(one)
            self.ids.reserve(one.id)
        self.garbage.add_stage(8)
        self.garbage.add_stage(9)
        self.assertEqual(self.garbage.dead_ids("a"), [1, 2])
        self.assertEqual(self.garbage.dead_ids("c"), [])
        self.collect(Collected([old, other], [1, 3, 8]))
        self.assertEqual(self.garbage.dead, [new])
        self.assertEqual(self.garbage.dead_ids("b"), [])
        self.assertEqual(self.garbage.stages, [9])
        self.assertEqual(list(self.ids), [2])

    def test_measures(self) -> None:
        """The bytes of the dead are counted, and how long the oldest has waited."""
        self.assertEqual((self.garbage.age, self.garbage.bytes), (0, 0))
        old = Committed(1, "a", 1, 100, None, 5, None, None)
        self.garbage.add_replaced(old, Blob(2, "a"), keeps=False)
        self.clock.time = 3
        self.garbage.add_deleted(Committed(2, "a", 2, 10, None, 5, None, None), 9, keeps=False)
        self.clock.time = 4
        self.assertEqual((self.garbage.age, self.garbage.bytes), (4, 110))
        # Taken in once more, it is not counted twice.
        self.garbage.add(Dead(2, "a", 2, size=10))
        self.assertEqual((self.garbage.age, self.garbage.bytes), (4, 110))
        self.collect(Collected(ids=[1]))
        self.assertEqual((self.garbage.age, self.garbage.bytes), (0, 10))
        self.clock.time = 6
        self.assertEqual(self.garbage.age, 2)
        self.collect(Collected(ids=[2]))
        self.assertEqual((self.garbage.age, self.garbage.bytes), (0, 0))

    def test_deleted_at(self) -> None:
        """A deleted blob's time is known until the blob is collected and its second is past."""
        blob = Committed(1, "a", 1, 0, None, 5 * SECOND + 7, None, None)
        self.garbage.add_deleted(blob, 9, keeps=False)
        self.assertEqual(self.garbage.deleted_at("a"), blob.modified)
        self.now = 9 * SECOND
        self.collect(Collected())
        self.assertEqual(self.garbage.deleted_at("a"), blob.modified)
        self.now = 6 * SECOND - 1
        self.collect(Collected(ids=[1]))
        self.assertEqual(self.garbage.deleted_at("a"), blob.modified)
        self.now = 6 * SECOND
        self.collect(Collected())
        self.assertIsNone(self.garbage.deleted_at("a"))

    def test_forget_ids(self) -> None:
        """Whatever had an id that is free is gone, whoever removed it."""
        self.garbage.add(Dead(1, "a", 1, 2))
        self.collect(Collected(ids=[1, 7]))
        self.assertEqual((self.garbage.dead, self.garbage.dead_ids("a")), ([], []))

    def test_deleted_at_bounded(self) -> None:
        """While the clock is wrong only the newest ten thousand are remembered."""
        for number in range(10_001):
            self.garbage.add_deleted(
                Committed(number, f"a{number}", 1, 0, None, 5, None, None), 9, keeps=False
            )
        self.assertIsNone(self.garbage.deleted_at("a0"))
        self.assertEqual(self.garbage.deleted_at("a1"), 5)
        self.assertEqual(self.garbage.deleted_at("a10000"), 5)
