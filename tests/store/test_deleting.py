"""Tests for gostore.store.deleting: blobs whose time is over, until nothing is left of them."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from gostore.blob import Committed
from gostore.errors import DiskFailed, NotFound
from gostore.store.committer import BATCH
from gostore.store.dates import JUMP
from gostore.store.interface import Details, Lifetime
from tests.store.doubles import COMMIT, FOR_EVER, SECOND, FakeBody
from tests.store.support import StoreCase

MINUTE = 60


class ExpiryCase(StoreCase):
    """A store whose wall clock stands still until the test moves it."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.step = 0

    def store_brief(
        self, location: str, data: bytes = b"brief", seconds: int = MINUTE
    ) -> Committed:
        """Store a blob that expires after so many seconds."""
        details = Details(lifetime=Lifetime(seconds))
        return self.wait(self.store.put(location, FakeBody(data), details))[0]

    def go(self, seconds: float) -> None:
        """Let time go by."""
        self.clock.time += int(seconds * SECOND)
        self.timer.time += seconds

    @property
    def expired(self) -> int:
        """How many blobs have been deleted because they were over."""
        return self.store.index.expiry.expired


class ExpireTests(ExpiryCase):
    """What the collector does with blobs that are over."""

    def test_marked_then_removed(self) -> None:
        """It is durably marked Failure, "Expired!", shown nowhere only then, and removed."""
        blob = self.store_brief("a")
        self.collect()
        self.go(MINUTE)
        self.disk.clear()
        collected = self.store.collect()
        self.assertEqual(self.workers.names(), ["carry_out"])
        self.assertIn("a", self.store.index)
        self.workers.take(COMMIT).work()
        record = self.record(blob.id)
        self.assertEqual((record.state.title, record.log[-1].message), ("Failure", "Expired!"))
        self.assertEqual(record.expires, blob.expires)
        state = f"{blob.id}/blob_state.base64.json"
        trace = [call for call in self.disk.trace() if call.startswith(("fsync", "rename"))]
        self.assertEqual([call.split()[0] for call in trace], ["fsync", "rename", "fsync"], trace)
        self.assertIn(state, trace[1])
        self.assertNoResult(collected)

    def test_removed(self) -> None:
        """Nothing is left of it, its id is free, and a blob that stays is as it was."""
        blob = self.store_brief("a")
        stays = self.store_blob("b")
        self.go(MINUTE)
        self.collect()
        self.assertEqual(self.names(), [str(stays.id)])
        self.assertNotIn(blob.id, self.store.index.ids)
        self.assertNotIn("a", self.store.index)
        self.assertEqual((self.expired, len(self.store.index.expiry)), (1, 0))
        self.assertEqual(self.read("b"), b"data")

    def test_nothing_due(self) -> None:
        """A run costs nothing for what is not due."""
        for number in range(100):
            self.store_brief(str(number))
        self.collect()
        self.disk.clear()
        self.collect()
        self.assertEqual(self.disk.trace("rename"), [])
        self.assertEqual((self.expired, len(self.store.index.expiry)), (0, 100))

    def test_many(self) -> None:
        """A run deletes all that are due, in batches, so that others wait for one at most."""
        for number in range(2 * BATCH + 1):
            self.store_brief(str(number), seconds=1 + number)
        self.go(2 * BATCH)
        collected = self.store.collect()
        written = self.store.create("new", FakeBody(b"new"), Details())
        batches = []
        while self.workers.names() == ["carry_out"]:
            (job,) = self.workers.jobs
            batches.append(len(job.arguments[0]))
            self.workers.run()
        # The first did not wait for others.
        self.assertEqual(batches, [1, BATCH, BATCH])
        self.assertEqual(self.successResultOf(written).location, "new")
        self.wait(collected)
        self.assertEqual((self.expired, len(self.names())), (2 * BATCH, 2))

    def test_replaced_in_time(self) -> None:
        """A blob that was written again meanwhile is another one."""
        self.store_brief("a")
        self.go(MINUTE)
        created = self.store.create("a", FakeBody(b"new"), Details())
        self.wait(self.store.collect())
        self.assertEqual(self.successResultOf(created).location, "a")
        self.assertEqual((self.expired, self.read("a")), (0, b"new"))

    def test_created_meanwhile(self) -> None:
        """A POST that comes while the expired one is on its way out is a new blob all the same."""
        old = self.store_brief("a")
        self.go(MINUTE)
        collected = self.store.collect()
        created = self.store.create("a", FakeBody(b"new"), Details())
        self.wait(collected)
        new = self.wait(created)
        self.assertGreater(new.generation, old.generation)
        self.assertEqual((self.expired, self.read("a")), (1, b"new"))
        self.collect()
        self.assertEqual(self.names(), [str(new.id)])

    def test_clock_set_back_in_its_turn(self) -> None:
        """A blob whose turn comes when the clock has been set back stays."""
        self.store_brief("a")
        self.go(MINUTE)
        busy: Deferred[None] = Deferred()
        self.store.committer.exclude("a", lambda: busy)
        collected = self.store.collect()
        self.clock.time -= SECOND
        busy.callback(None)
        self.wait(collected)
        self.assertEqual((self.expired, self.read("a")), (0, b"brief"))

    def test_elders(self) -> None:
        """Older versions that are still on the disk do not come back after a crash."""
        self.timer.keeps = lambda seconds: seconds == 1.0  # nobody marks what was replaced
        self.store_blob("a", b"elder")
        self.store_brief("a")
        self.go(MINUTE)
        self.store.collect()
        self.workers.run_all(COMMIT)
        self.open()
        self.fails(self.store.get("a"), NotFound)
        self.collect()
        self.assertEqual(self.names(), [])

    def test_stop(self) -> None:
        """A run that is under way ends soon when the daemon is stopped."""
        for number in range(2 * BATCH):
            self.store_brief(str(number))
        self.go(MINUTE)
        collected = self.store.collect()
        self.store.stop_expiring()
        self.wait(collected)
        self.assertEqual(self.expired, BATCH)
        self.wait(self.store.stop())

    def test_read_only(self) -> None:
        """A store that cannot write any more leaves it, and answers as if it were gone."""
        blob = self.store_brief("a")
        self.store_blob("b")
        self.disk.clear()
        self.store_blob("b")
        root = 1 + self.disk.trace("fsync").index("fsync /")
        self.disk.fail("fsync", nth=root)
        self.fails(self.store.replace("b", FakeBody(b"new"), Details()), DiskFailed)
        self.disk.heal()
        self.go(MINUTE)
        for _ in range(2):
            self.collect()
        self.assertEqual((self.expired, self.record(blob.id).state.title), (0, "OK"))
        self.fails(self.store.get("a"), NotFound)

    def test_out_of_order(self) -> None:
        """A blob whose deletion fails is deleted by a later run, and the log says so once."""
        self.store_brief("a")
        self.go(MINUTE)
        logged = self.logged("Blobs that are over")
        for _ in range(3):
            self.disk.fail("rename", times=FOR_EVER)
            self.collect()
            self.disk.heal()
        self.assertEqual((self.expired, len(logged)), (0, 1))
        self.collect()
        self.assertEqual((self.expired, self.names()), (1, []))


class ClockTests(ExpiryCase):
    """Restarts, and clocks that are set."""

    def test_restart(self) -> None:
        """A start knows what expires, and what has expired meanwhile."""
        self.store_brief("a")
        later = self.store_brief("b", seconds=2 * MINUTE)
        self.go(MINUTE)
        self.open()
        self.fails(self.store.get("a"), NotFound)
        self.assertEqual(self.wait(self.store.get("b")), later)
        self.collect()
        self.assertEqual(self.names(), [str(later.id)])
        self.go(MINUTE)
        self.collect()
        self.assertEqual(self.names(), [])

    def test_set_back(self) -> None:
        """What has been marked stays gone though the clock is set back; what has not is back."""
        self.store_brief("a")
        self.go(MINUTE)
        self.fails(self.store.get("a"), NotFound)
        self.clock.time -= MINUTE * SECOND
        self.assertEqual(self.read("a"), b"brief")
        self.clock.time += MINUTE * SECOND
        self.store.collect()
        self.workers.run_all(COMMIT)
        self.clock.time -= MINUTE * SECOND
        for _ in range(2):
            self.fails(self.store.get("a"), NotFound)
            self.open()

    def test_set_forth(self) -> None:
        """A clock that is set forth by days expires nothing for an hour."""
        blob = self.store_brief("a")
        self.wait(self.store.get("a"))
        self.clock.time += 86_400 * SECOND
        self.collect()
        self.assertEqual(self.wait(self.store.get("a")), blob)
        self.go(JUMP - 1)
        self.collect()
        self.assertEqual(self.read("a"), b"brief")
        self.go(1)
        self.fails(self.store.get("a"), NotFound)
        self.collect()
        self.assertEqual((self.expired, self.names()), (1, []))

    def test_dates(self) -> None:
        """A blob in place of one that is over has a later second, though the clock is set back."""
        old = self.store_brief("a")
        self.go(MINUTE)
        self.assertTrue(self.store.index.expiry.is_over(old))
        new = self.store_blob("a", b"new")
        self.assertGreater(new.modified // SECOND, old.modified // SECOND)
