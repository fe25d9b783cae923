"""Tests for what gostore.store.blobstore makes of blobs that are not as they were written."""

from __future__ import annotations

import errno
import os
import shutil

from twisted.python.failure import Failure

from gostore.blob import Committed, State
from gostore.errors import AlreadyExists, ConditionFailed, Damaged, DiskFailed, NotFound, ReadOnly
from gostore.store.interface import VERIFIED_FOR, DamagedBlob, Details, Page
from gostore.volume.directory import OutcomeUnknown
from tests.store.doubles import CHORE, COMMIT, FOR_EVER, FakeBody, Judge
from tests.store.support import LARGE, StoreCase


class RaceTests(StoreCase):
    """Damage that is found while somebody changes the location."""

    def damage(self, location: str = "a") -> None:
        """Change a byte of a blob that is there already, behind the store's back."""
        blob = self.successResultOf(self.store.get(location))
        data = self.data(blob).read_bytes()
        self.data(blob).write_bytes(b"?" + data[1:])

    def find_damage(self, location: str = "a") -> None:
        """Let a reader find it, without a turn for the chores or the commits."""
        asked = self.store.content(self.successResultOf(self.store.get(location)))
        while self.workers.queued("file"):
            self.workers.run("file")
        self.failureResultOf(asked, Damaged)

    def test_delete_under_way(self) -> None:
        """Found while a DELETE of it is under way, it is deleted, for good."""
        for order in ((COMMIT, CHORE), (CHORE, COMMIT)):
            self.store_blob("a")
            self.damage()
            deleted = self.store.delete("a")
            self.find_damage()
            for room in order:
                self.workers.run_all(room)
            self.wait(deleted)
            self.fails(self.store.get("a"), NotFound)
            self.collect()
            self.assertEqual(self.names(), [])
            self.open()
            self.fails(self.store.get("a"), NotFound)

    def test_delete_without_a_tombstone_under_way(self) -> None:
        """What is away, and not yet shown to be, is not found, and not damaged."""
        for data in (b"data", LARGE):
            blob = self.store_blob("a", data)
            self.disk.fail("writev", errno.ENOSPC, times=FOR_EVER)
            deleted = self.store.delete("a")
            job = self.workers.take(COMMIT)
            job.work()
            asked = self.store.content(blob)
            self.workers.run_all("file")
            self.assertNoResult(asked)
            job.report()
            self.fails(asked, NotFound)
            self.wait(deleted)
            self.disk.heal()

    def test_delete_at_once(self) -> None:
        """A DELETE that comes right after the damage was found deletes the quarantined blob."""
        for order in ((COMMIT, CHORE), (CHORE, COMMIT)):
            self.store_blob("a")
            self.damage()
            self.find_damage()
            deleted = self.store.delete("a")
            for room in order:
                self.workers.run_all(room)
            self.wait(deleted)
            self.collect()
            self.assertEqual(self.names(), [])
            self.open()
            self.fails(self.store.get("a"), NotFound)

    def test_replaced_under_way(self) -> None:
        """A blob found damaged while a PUT over it is under way is replaced, not quarantined."""
        for order in ((COMMIT, CHORE), (CHORE, COMMIT)):
            self.store_blob("a")
            self.damage()
            replaced = self.store.replace("a", FakeBody(b"new"), Details())
            self.find_damage()
            for room in order:
                self.workers.run_all(room)
            blob = self.wait(replaced)
            self.collect()
            self.assertEqual(self.names(), [str(blob.id)])
            self.assertEqual(self.read("a"), b"new")
            self.wait(self.store.delete("a"))
            self.collect()

    def test_found_twice(self) -> None:
        """A reader who finds the damage during the quarantine has nothing more to do."""
        self.store_blob("a")
        self.damage()
        blob = self.wait(self.store.get("a"))
        readers = [self.store.content(blob) for _ in range(3)]
        self.workers.run_all()
        for reader in readers:
            self.failureResultOf(reader, Damaged)
        self.assertEqual(self.names(), [f".quarantine-{blob.id}-1"])
        self.fails(self.store.content(blob), NotFound)


class DamageTests(StoreCase):
    """What becomes of a blob that is found damaged (bad-inputs 62, 64 and 69)."""

    def check_damaged(self, location: str) -> None:
        """See that the location says damaged, and is no free one, also after a restart."""
        for _ in range(2):
            self.fails(self.store.get(location), Damaged)
            error = self.fails(
                self.store.create(location, FakeBody(b"1"), Details()), AlreadyExists
            )
            self.assertTrue(error.is_damaged)
            self.assertEqual([name.split("-")[0] for name in self.names()], [".quarantine"])
            self.collect()
            self.open()

    def test_small(self) -> None:
        """A byte changed, more of them, fewer: a small blob is damaged before a byte is given."""
        for data in (b"dato", b"data and more", b"dat", b""):
            blob = self.store_blob("a")
            self.data(blob).write_bytes(data)
            self.fails(self.store.content(blob), Damaged)
            self.check_damaged("a")
            self.wait(self.store.delete("a"))
            self.collect()

    def test_small_kept_open(self) -> None:
        """The same with one that was read a minute before, and whose file is open."""
        for data in (b"dato", b"data and more", b"dat", b""):
            blob = self.store_blob("a")
            self.assertEqual(self.read("a"), b"data")
            self.data(blob).write_bytes(data)
            self.timer.time += VERIFIED_FOR
            self.fails(self.store.content(blob), Damaged)
            self.check_damaged("a")
            self.wait(self.store.delete("a"))
            self.collect()

    def test_large(self) -> None:
        """A large blob of another size is damaged when it is opened."""
        for data in (LARGE[1:], LARGE + b"x", b""):
            blob = self.store_blob("a", LARGE)
            self.data(blob).write_bytes(data)
            self.fails(self.store.content(blob), Damaged)
            self.check_damaged("a")
            self.wait(self.store.delete("a"))
            self.collect()

    def test_large_cut_under_way(self) -> None:
        """One that is cut while it is being read is damaged where it ends."""
        blob = self.store_blob("a", LARGE)
        content = self.wait(self.store.content(blob))
        self.assertEqual(self.wait(content.read(0, 10)), LARGE[:10])
        os.truncate(self.data(blob), 50_000)
        self.fails(content.read(40_000, 20_000), Damaged)
        self.fails(content.load(40_000, 20_000), Damaged)
        content.close()
        self.check_damaged("a")
        self.assertEqual(self.disk.open_files, [""])

    def test_large_cut_while_sent(self) -> None:
        """So is one that is cut when it is loaded, and is found to be when it is to be sent."""
        content = self.wait(self.store.content(self.store_blob("a", LARGE)))
        self.wait(content.load(40_000, 20_000))
        content.failed(Failure(EOFError("its file ends at byte 50000"))).trap(Damaged)
        content.close()
        self.check_damaged("a")

    def test_no_data(self) -> None:
        """So is one whose data.raw is gone, or is no file of its own any more."""
        for size in (10, len(LARGE)):
            for spoil in (
                lambda path: None,
                lambda path: path.symlink_to("/etc/passwd"),
                lambda path: os.mkfifo(path),
                lambda path: path.mkdir(),
            ):
                path = self.data(self.store_blob("a", LARGE[:size]))
                path.unlink()
                spoil(path)
                self.fails(self.store.content(self.wait(self.store.get("a"))), Damaged)
                self.check_damaged("a")
                shutil.rmtree(self.directory)
                self.directory.mkdir()
                self.open()

    def test_two_names(self) -> None:
        """A data.raw with a second name could be changed through it, and is not believed."""
        blob = self.store_blob("a")
        os.link(self.data(blob), self.directory / str(blob.id) / "second")
        self.fails(self.store.content(blob), Damaged)

    def test_no_directory(self) -> None:
        """A blob that somebody took away is damaged, not missing, until a restart."""
        blob = self.store_blob("a", LARGE)
        shutil.rmtree(self.directory / str(blob.id))
        self.fails(self.store.content(blob), Damaged)
        self.fails(self.store.get("a"), Damaged)
        self.fails(self.store.create("a", FakeBody(b"1"), Details()), AlreadyExists)
        self.wait(self.store.replace("a", FakeBody(b"1"), Details()))
        self.assertEqual(self.read("a"), b"1")

    def test_others(self) -> None:
        """Nothing else is touched."""
        other = self.store_blob("b", b"other")
        self.data(self.store_blob("a")).unlink()
        self.fails(self.store.content(self.wait(self.store.get("a"))), Damaged)
        self.assertEqual(self.read("b"), b"other")
        listed = self.wait(self.store.list()).entries
        self.assertEqual([each for each in listed if isinstance(each, Committed)], [other])


class WriteTests(StoreCase):
    """PUT and DELETE work on what is damaged, whenever that was found."""

    def setUp(self) -> None:
        """Have a blob that was found damaged."""
        super().setUp()
        self.store_blob("a", b"older")
        self.blob = self.store_blob("a")
        self.data(self.blob).write_bytes(b"dato")
        self.fails(self.store.content(self.blob), Damaged)

    def test_replace(self) -> None:
        """A replaced one leaves nothing behind, and nothing comes back."""
        for restart in (False, True):
            if restart:
                self.data(self.wait(self.store.get("a"))).unlink()
                self.open()
            blob = self.wait(self.store.replace("a", FakeBody(b"new"), Details()))
            self.collect()
            self.assertEqual(self.names(), [str(blob.id)])
            self.assertEqual(self.read("a"), b"new")
            self.assertEqual(len(self.store.index.ids), 1)
        self.open()
        self.assertEqual(self.read("a"), b"new")

    def test_replace_and_delete(self) -> None:
        """One that cannot be removed when it is replaced does not outlive a DELETE after that."""
        self.disk.fail("rename", name=".quarantine", times=FOR_EVER)
        for _ in range(2):
            # What replaces it is found damaged, and replaced in its turn.
            blob = self.wait(self.store.replace("a", FakeBody(b"new"), Details()))
            self.data(blob).write_bytes(b"old")
            self.fails(self.store.content(blob), Damaged)
            self.workers.run_all()
        self.wait(self.store.replace("a", FakeBody(b"newer"), Details()))
        self.workers.run_all()
        self.fails(self.store.delete("a"), DiskFailed)
        self.assertEqual(self.read("a"), b"newer")
        self.flushLoggedErrors(OSError)
        self.disk.heal()
        self.wait(self.store.delete("a"))
        self.fails(self.store.get("a"), NotFound)
        self.collect()
        self.assertEqual(self.names(), [])
        self.open()
        self.fails(self.store.get("a"), NotFound)

    def test_discarded_later(self) -> None:
        """One that cannot be removed when it is replaced is removed by a collection run."""
        self.disk.fail("rename", name=".quarantine", times=2)
        blob = self.wait(self.store.replace("a", FakeBody(b"new"), Details()))
        self.collect()
        [_, aside] = sorted(self.names(), reverse=True)
        self.assertTrue(aside.startswith(".quarantine-"))
        for _ in range(2):
            self.collect()
            self.assertEqual(self.names(), [str(blob.id)])
        self.assertEqual(self.store.garbage.remains("a"), set())
        self.disk.clear()
        self.wait(self.store.delete("a"))
        self.assertEqual(self.record(blob.id).state, State.FAILURE)

    def test_not_discarded_later(self) -> None:
        """Of a store that is read-only it is left to the next start."""
        self.disk.fail("rename", name=".quarantine")
        self.wait(self.store.replace("a", FakeBody(b"new"), Details()))
        self.volume.directory.give_up("a sync failed")
        before = self.names()
        self.collect()
        self.assertEqual(self.names(), before)

    def test_put(self) -> None:
        """A PUT that may create does not: there is a blob, be it damaged."""
        _, created = self.wait(self.store.put("a", FakeBody(b"new"), Details()))
        self.assertFalse(created)

    def test_delete(self) -> None:
        """A deleted one leaves nothing behind, and no older version comes back."""
        self.wait(self.store.delete("a"))
        self.fails(self.store.get("a"), NotFound)
        self.fails(self.store.delete("a"), NotFound)
        self.collect()
        self.assertEqual(self.names(), [])
        self.assertEqual(len(self.store.index.ids), 0)
        self.open()
        self.fails(self.store.get("a"), NotFound)

    def test_delete_after_restart(self) -> None:
        """The same after a restart, and again after a crash that follows at once."""
        self.open()
        self.wait(self.store.delete("a"))
        self.open()
        self.fails(self.store.get("a"), NotFound)
        self.collect()
        self.assertEqual(self.names(), [])

    def test_condition(self) -> None:
        """A condition is asked of what was committed: the damaged blob is no missing one."""
        asked: list[object] = []
        deleted = self.store.delete("a", Judge(asked.append))
        self.wait(deleted)
        self.assertEqual(asked, [self.blob, self.blob])

    def test_conditional_delete_is_refused(self) -> None:
        """A condition that does not hold keeps the quarantined blob."""

        def condition(blob: object) -> None:
            raise ConditionFailed("a")

        self.fails(self.store.delete("a", Judge(condition)), ConditionFailed)
        self.fails(self.store.get("a"), Damaged)

    def test_not_quarantined(self) -> None:
        """Where the quarantine fails the location says damaged all the same, and can be deleted."""
        blob = self.store_blob("b")
        self.data(blob).write_bytes(b"dato")
        self.disk.fail("rename", name=".quarantine")
        self.fails(self.store.content(blob), Damaged)
        self.flushLoggedErrors(OSError)
        self.assertIn(str(blob.id), self.names())
        self.fails(self.store.get("b"), Damaged)
        self.wait(self.store.delete("b"))
        self.fails(self.store.get("b"), NotFound)
        self.open()
        self.fails(self.store.get("b"), NotFound)

    def test_unsynced_quarantine(self) -> None:
        """A sync that fails after it makes the store read-only; GET goes on to say damaged."""
        blob = self.store_blob("b")
        self.data(blob).write_bytes(b"dato")
        self.disk.fail("fsync")
        self.fails(self.store.content(blob), Damaged)
        self.flushLoggedErrors(OutcomeUnknown)
        self.assertRaises(ReadOnly, self.store.check_health)
        self.fails(self.store.get("b"), Damaged)


class ShownTests(StoreCase):
    """Damage is shown: in the list, in the figures and at every start."""

    def setUp(self) -> None:
        """Find the second of three blobs damaged."""
        super().setUp()
        self.whole = [self.store_blob("a"), self.store_blob("c")]
        self.blob = self.store_blob("b")
        self.data(self.blob).write_bytes(b"dato")
        self.fails(self.store.content(self.blob), Damaged)

    def assert_counted(self, blobs: int, damaged: int, uploads: int) -> None:
        """See what the figures say."""
        figures = self.store.figures()
        found = (figures.blobs, figures.damaged, figures.uploads)
        self.assertEqual(found, (blobs, damaged, uploads))

    def check_shown(self) -> None:
        """See that the list and the figures have it."""
        page = self.wait(self.store.list())
        self.assertEqual(page.entries, [self.whole[0], DamagedBlob(self.blob), self.whole[1]])
        self.assert_counted(2, 1, 0)

    def test_shown(self) -> None:
        """The list has the location in its place, now and after each restart."""
        self.check_shown()
        for _ in range(2):
            logged = self.logged("Damaged, and answered with 500")
            self.assertEqual(self.open().quarantined, 1)
            self.assertEqual([(each["count"], each["locations"]) for each in logged], [(1, ["b"])])
            self.check_shown()

    def test_group(self) -> None:
        """A group has it like any other blob, and a page of one ends with it."""
        page = self.wait(self.store.list(limit=2))
        self.assertEqual(page, Page([self.whole[0], DamagedBlob(self.blob)], "b"))
        self.assertEqual(self.wait(self.store.list(delimiter="b")).entries[1], "b")

    def test_found_at_start(self) -> None:
        """A start that finds the damage itself counts it, too."""
        self.data(self.whole[0]).unlink()
        self.assertEqual(self.open().quarantined, 2)
        self.assert_counted(1, 2, 0)

    def test_mended(self) -> None:
        """What is replaced or deleted is damaged no more, nor is it at the next start."""
        self.store_blob("b", b"new")
        self.assert_counted(3, 0, 0)
        self.data(self.whole[0]).unlink()
        self.fails(self.store.content(self.whole[0]), Damaged)
        self.wait(self.store.delete("a"))
        self.assert_counted(2, 0, 0)
        self.collect()
        self.assertEqual(self.open().quarantined, 0)

    def test_scrub(self) -> None:
        """The scrub passes it over."""
        self.assertEqual(self.store.verifier.next_location("a"), "c")
