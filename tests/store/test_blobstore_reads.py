"""Tests for reads of a BlobStore: the Go server's blobs, lists, and what is collected."""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path

from gostore.blob import Committed
from gostore.errors import ConditionFailed, Damaged, DiskFailed, NotFound
from gostore.store.interface import Details, Precondition
from gostore.volume.directory import STATE
from tests.store.doubles import COMMIT, FILE, FakeBody, Judge
from tests.store.support import LARGE, StoreCase

GO_DATA = Path(__file__).parent.parent / "fixtures" / "go-data"


class GoServerTests(StoreCase):
    """Blobs that have no digest yet: it is computed when first needed, once."""

    def setUp(self) -> None:
        """Open a directory that the Go server wrote."""
        super().setUp()
        self.close()
        shutil.copytree(GO_DATA, self.directory, dirs_exist_ok=True)
        self.open()
        self.foo = self.store.index.blob("foo")

    def test_digest(self) -> None:
        """Whoever asks meanwhile waits for the same computation, and nobody computes it again."""
        asked = [self.store.get("foo") for _ in range(3)]
        self.assertEqual(self.workers.names(), ["compute_digest"])
        self.workers.run_all()
        digest = hashlib.sha256(self.data(self.foo).read_bytes()).digest()
        for one in asked:
            self.assertEqual(self.successResultOf(one).sha256, digest)
        self.assertEqual(self.successResultOf(self.store.get("foo")).sha256, digest)
        self.assertEqual(self.workers.jobs, [])

    def test_generation(self) -> None:
        """A blob of ours comes after any of the Go server's."""
        self.wait(self.store.replace("foo", FakeBody(b"new"), Details()))
        self.open()
        self.assertEqual(self.read("foo"), b"new")

    def test_condition(self) -> None:
        """A condition is asked when there is a digest to compare, of PUT and of DELETE."""
        digests: list[bytes | None] = []

        def condition(blob: Committed | None) -> None:
            assert blob is not None
            digests.append(blob.sha256)
            raise ConditionFailed("foo")

        body = FakeBody(b"new")
        self.fails(self.store.replace("foo", body, Details(), Judge(condition)), ConditionFailed)
        self.open()
        self.fails(self.store.delete("foo", Judge(condition)), ConditionFailed)
        self.assertEqual(digests, [hashlib.sha256(self.read("foo")).digest()] * 2)
        self.assertEqual(body.delivered, 0)

    def test_damaged(self) -> None:
        """A condition whose blob turns out to be damaged is asked all the same."""
        asked: list[Committed | None] = []
        self.data(self.foo).unlink()
        self.wait(self.store.replace("foo", FakeBody(b"new"), Details(), Judge(asked.append)))
        self.assertEqual([blob.id for blob in asked if blob], [self.foo.id] * 2)
        self.assertEqual(self.read("foo"), b"new")

    def test_damaged_get(self) -> None:
        """To read it fails, for all who wait."""
        self.data(self.foo).write_bytes(b"")
        asked = [self.store.get("foo") for _ in range(2)]
        self.workers.run_all()
        for one in asked:
            self.failureResultOf(one, Damaged)

    def test_disk_fails(self) -> None:
        """If the disk fails the next one tries again, and a conditional write is refused."""
        for asked in (
            lambda: self.store.get("foo"),
            lambda: self.store.delete("foo", Precondition()),
        ):
            self.disk.fail("pread")
            self.fails(asked(), DiskFailed)
        self.assertIsNotNone(self.wait(self.store.get("foo")).sha256)

    def test_replaced_meanwhile(self) -> None:
        """Replaced while its digest is computed: a reader is told of one that was there."""
        asked = self.store.get("foo")
        job = self.workers.take(FILE)
        new = self.store_blob("foo", b"new")
        job.work()
        job.report()
        self.assertIn(self.wait(asked).id, (self.foo.id, new.id))
        self.assertEqual(self.successResultOf(self.store.get("foo")), new)

    def test_collected_meanwhile(self) -> None:
        """Collected before its digest is computed: a reader is told of its successor, or none."""
        asked = self.store.get("foo")
        job = self.workers.take(FILE)
        new = self.store_blob("foo", b"new")
        self.collect()
        job.work()
        job.report()
        self.assertEqual(self.wait(asked), new)
        self.open()
        other = self.store.index.blob("empty")
        asked = self.store.get("empty")
        job = self.workers.take(FILE)
        self.wait(self.store.delete("empty"))
        self.collect()
        self.assertNotIn(str(other.id), self.names())
        job.work()
        job.report()
        self.fails(asked, NotFound)


class ListTests(StoreCase):
    """Pages, in the order of the locations, while blobs come and go."""

    def page(self, after: str, limit: int = 2, **what: str) -> tuple[list[str], str | None]:
        """The locations and prefixes of a page, and where the next one begins."""
        page = self.wait(self.store.list(after=after, limit=limit, **what))
        names = [one if isinstance(one, str) else one.location for one in page.entries]
        return names, page.next_after

    def test_stable(self) -> None:
        """What was there all the time is listed once, whatever else comes and goes."""
        for location in ("a", "c", "e", "g"):
            self.store_blob(location)
        self.assertEqual(self.page(""), (["a", "c"], "c"))
        self.store_blob("b")
        self.wait(self.store.delete("c"))
        self.store_blob("d")
        self.store_blob("e", b"new")
        self.assertEqual(self.page("c"), (["d", "e"], "e"))
        self.wait(self.store.delete("g"))
        self.assertEqual(self.page("e"), ([], None))

    def test_exact(self) -> None:
        """A page that holds all there is says that it is the last."""
        for location in ("a", "b"):
            self.store_blob(location)
        self.assertEqual(self.page(""), (["a", "b"], None))

    def test_prefix(self) -> None:
        """Only what begins with the prefix is listed, whatever comes before it or after."""
        for location in ("a", "b", "b/1", "b/2", "b/3", "c"):
            self.store_blob(location)
        self.assertEqual(self.page("", prefix="b/"), (["b/1", "b/2"], "b/2"))
        self.assertEqual(self.page("b/2", prefix="b/"), (["b/3"], None))
        self.assertEqual(self.page("", prefix="d"), ([], None))

    def test_delimiter(self) -> None:
        """What has a common prefix up to the delimiter is one entry, on one page only."""
        for location in ("a", "b", "b/1", "b/2/x", "b/3", "b0", "c/1"):
            self.store_blob(location)
        self.assertEqual(self.page("", delimiter="/", limit=3), (["a", "b", "b/"], "b/"))
        self.store_blob("b/4")
        self.assertEqual(self.page("b/", delimiter="/", limit=3), (["b0", "c/"], None))
        self.assertEqual(
            self.page("", prefix="b/", delimiter="/", limit=9),
            (["b/1", "b/2/", "b/3", "b/4"], None),
        )

    def test_not_yet(self) -> None:
        """A blob is listed once it is durable."""
        self.store.create("a", FakeBody(b"1"), Details())
        self.assertEqual(self.successResultOf(self.store.list()).entries, [])
        self.workers.run_all()
        self.assertEqual(self.page(""), (["a"], None))


class CollectTests(StoreCase):
    """What a run removes, and which ids are free after it."""

    def test_replaced(self) -> None:
        """A replaced blob is gone after a run; a stop merely marks it in its state file."""
        old = self.store_blob("a")
        new = self.store_blob("a", b"new")
        self.collect()
        self.assertEqual(self.names(), [str(new.id)])
        old, new = new, self.store_blob("a", b"newer")
        self.wait(self.store.stop())
        self.assertEqual(self.record(old.id).log[-1].message, f"Deleted! Replaced by {new.id}")
        self.open()
        self.collect()
        self.assertEqual(self.names(), [str(new.id)])

    def test_id_kept(self) -> None:
        """The id of a dead blob is not drawn before its directory is gone (bad-inputs 58)."""
        blob = self.store_blob("a")
        self.wait(self.store.delete("a"))
        self.assertIn(blob.id, self.store.index.ids)
        for kind in ("unlink", "rmdir"):
            self.disk.fail(kind)
            self.collect()
            self.assertIn(blob.id, self.store.index.ids)
            self.disk.heal()
        self.collect()
        self.assertNotIn(blob.id, self.store.index.ids)
        self.assertEqual(self.names(), [])

    def test_id_given_again(self) -> None:
        """Who gets the id of a blob that was collected before it was marked is not marked for it.

        The marks of a second are made together, and a collection run may come before them.
        """
        self.timer.keeps = bool
        old = self.store_blob("a")
        self.store_blob("a", b"new")
        self.collect()
        self.rng.next = old.id
        self.assertEqual(self.store_blob("b").id, old.id)
        self.rng.next = None
        ((retire, _),) = self.timer.kept
        retire()
        self.workers.run_all()
        self.open()
        self.assertEqual(self.read("b"), b"data")

    def _collected_without_a_tombstone(self) -> tuple[Committed, Committed]:
        """Replace a blob, and delete that while a run is under way and there is no room to mark it.

        So the run finds both in the trash, and has not been told of what was deleted.
        """
        old = self.store_blob("a")
        run = self.store.collect()
        new = self._put("a")
        deleted = self.store.delete("a")
        self.disk.fail("open", errno.ENOSPC, name=f"{new.id}/{STATE}.tmp")
        self.workers.run_all(COMMIT)
        self.successResultOf(deleted)
        self.wait(run)
        return old, new

    def _put(self, location: str) -> Committed:
        put = self.store.put(location, FakeBody(b"new"), Details())
        self.workers.run_all(COMMIT)
        return self.successResultOf(put)[0]

    def test_released_is_dead_no_more(self) -> None:
        """Who gets the id of a blob that left no tombstone is not collected in its place."""
        for blob in self._collected_without_a_tombstone():
            self.rng.next = blob.id
            self.assertEqual(self.store_blob(f"b{blob.id}").id, blob.id)
            self.rng.next = None
            self.collect()
            self.assertEqual(self.read(f"b{blob.id}"), b"data")

    def test_released_is_not_released_again(self) -> None:
        """Nor is the id released once more, while somebody who got it is still uploading."""
        for blob in self._collected_without_a_tombstone():
            body = FakeBody(LARGE, complete=False)
            self.rng.next = blob.id
            put = self.store.put(f"b{blob.id}", body, Details())
            self.rng.next = None
            self.workers.run_all()
            self.collect()
            self.assertIn(blob.id, self.store.index.ids)
            body.finish()
            self.assertEqual(self.wait(put)[0].id, blob.id)

    def test_released_before_it_is_dead(self) -> None:
        """An id is not free before the maps show that its blob is deleted."""
        blob = self.store_blob("a")
        deleted = self.store.delete("a")
        self.disk.fail("open", errno.ENOSPC, name=f"{blob.id}/{STATE}.tmp")
        job = self.workers.take(COMMIT)
        job.work()
        self.collect()
        self.assertIn(blob.id, self.store.index.ids)
        job.report()
        self.wait(deleted)
        self.collect()
        self.assertNotIn(blob.id, self.store.index.ids)
        self.assertEqual(self.store.garbage.dead, [])

    def test_id_not_given_yet(self) -> None:
        """While the file of a blob is being opened nobody else gets its id, to be read instead."""
        old = self.store_blob("a", LARGE)
        opening = self.store.content(self.wait(self.store.get("a")))
        [job] = self.workers.jobs
        self.workers.jobs.clear()
        self.store_blob("a", b"new")
        self.collect()
        self.rng.next = old.id
        self.assertNotEqual(self.store_blob("b", LARGE[::-1]).id, old.id)
        self.rng.next = None
        job.work()
        job.report()
        self.fails(opening, NotFound)
        self.assertNotIn(old.id, self.store.index.ids)

    def test_not_current(self) -> None:
        """What was replaced before it is opened is not found: its id may be another's by now."""
        old = self.store_blob("a")
        self.store_blob("a", b"new!")
        self.fails(self.store.content(old), NotFound)

    def test_told_meanwhile(self) -> None:
        """What dies while a run is under way is for the next one."""
        self.store_blob("a")
        self.store_blob("b")
        self.wait(self.store.delete("a"))
        run = self.store.collect()
        self.store.delete("b")
        self.workers.run(COMMIT)
        self.workers.run_all()
        self.successResultOf(run)
        self.assertEqual(len(self.names()), 1)
        self.collect()
        self.assertEqual(self.names(), [])

    def test_cost(self) -> None:
        """A run costs what there is to remove: nothing, be the store of any size."""
        for number in range(20):
            self.store_blob(f"a{number}")
        self.disk.clear()
        self.collect()
        self.assertEqual({call.kind for call in self.disk.calls}, {"free"})
        self.wait(self.store.delete("a7"))
        self.disk.clear()
        self.collect()
        self.assertLess(len(self.disk.calls), 20)
