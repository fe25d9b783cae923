"""Tests for gostore.volume.collect: marking what was replaced, and removing what is dead."""

from __future__ import annotations

import errno
import gc
import os
import sys

from twisted.logger import capturedLogs, formatEvent

from gostore.blob import State
from gostore.volume.collect import Dead, Replaced, collect, retire
from gostore.volume.directory import DATA, STATE
from tests.volume.support import VolumeCase


class RetireTests(VolumeCase):
    """Marking replaced blobs Failure."""

    def test_mark(self) -> None:
        """The state file says Failure, and replaced by which id; the new record is synced."""
        old, new = self.commit(1, "a"), self.commit(2, "a")
        self.disk.clear()
        retire(self.volume, [Replaced(old.committed(), new.id, 9)])
        blob = self.volume.directory.read_record("1", 1)
        self.assertIs(blob.state, State.FAILURE)
        self.assertEqual(blob.log[-1].message, "Deleted! Replaced by 2")
        self.assert_order(f"fsync 1/{STATE}.tmp", f"rename 1/{STATE}.tmp -> 1/{STATE}")

    def test_twice(self) -> None:
        """What is marked already is left as it is."""
        old = self.commit(1, "a")
        retire(self.volume, [Replaced(old.committed(), 2, 9)])
        state = self.state("1")
        retire(self.volume, [Replaced(old.committed(), 3, 9)])
        self.assertEqual(self.state("1"), state)

    def test_gone(self) -> None:
        """What is gone, bad or cannot be written does not keep the others from being marked."""
        blobs = [self.commit(number, f"b{number}") for number in (1, 2, 3, 4)]
        self.volume.trash.put("1")
        self.put("2", b"nonsense")
        self.disk.fail("open", errno.ENOSPC, name=f"3/{STATE}.tmp")
        retire(self.volume, [Replaced(blob.committed(), 9, 9) for blob in blobs])
        self.assertIs(self.volume.directory.read_record("3").state, State.OK)
        self.assertIs(self.volume.directory.read_record("4").state, State.FAILURE)
        self.assertEqual(self.disk.open_files, [""])

    def test_gone_for_good(self) -> None:
        """Nothing holds what could not be marked until Python's gc finds it."""
        self.addCleanup(gc.enable)
        faults = (
            lambda: self.volume.trash.put("1"),
            lambda: self.disk.fail("open", errno.ENOSPC, name=f"1/{STATE}.tmp"),
            lambda: self.disk.fail("rename", errno.EIO, name=f"1/{STATE}.tmp"),
        )
        for fault in faults:
            blob = self.commit(1, "a").committed()
            fault()
            held = sys.getrefcount(blob)
            gc.disable()
            retire(self.volume, [Replaced(blob, 9, 9)])
            self.assertEqual(sys.getrefcount(blob), held)
            gc.enable()
            self.disk.heal()
            if self.volume.directory.is_directory("1"):
                self.volume.trash.put("1")

    def test_number_given_again(self) -> None:
        """A blob that bears the number of one that has been collected meanwhile is not marked."""
        old = self.commit(1, "a")
        self.volume.trash.put("1")
        self.commit(1, "b")
        retire(self.volume, [Replaced(old.committed(), 2, 9)])
        self.assertIs(self.volume.directory.read_record("1").state, State.OK)

    def test_rename_fails(self) -> None:
        """A rename that fails leaves the old record, whole."""
        old = self.commit(1, "a")
        state = self.state("1")
        self.disk.fail("rename", errno.EIO)
        retire(self.volume, [Replaced(old.committed(), 2, 9)])
        self.assertEqual(self.state("1"), state)


class TogetherTests(VolumeCase):
    """The same where one syncfs stands for many fsyncs."""

    trusted = True

    def test_one_flush(self) -> None:
        """Many records are flushed at once, before the first is renamed."""
        blobs = [self.commit(number, f"b{number}") for number in range(1, 6)]
        self.disk.clear()
        retire(self.volume, [Replaced(blob.committed(), 9, 9) for blob in blobs])
        flushes = self.disk.trace("fsync", "syncfs", "rename")
        self.assertEqual(flushes[0], "syncfs /")
        self.assertEqual([call.partition(" ")[0] for call in flushes[1:]], ["rename"] * 5)


class CollectTests(VolumeCase):
    """Collection runs."""

    def dead(self, blob_id: int, by: int | None = None) -> Dead:
        """What the store tells of a dead blob."""
        record = self.volume.directory.read_record(str(blob_id))
        return Dead(blob_id, record.location, record.generation, by)

    def test_deleted(self) -> None:
        """A deleted blob's directory is removed, and then its id is free."""
        blob = self.commit(1, "a")
        self.delete(blob)
        dead = self.dead(1)
        done = collect(self.volume, [dead])
        self.assertEqual((done.blobs, done.ids), ([dead], [1]))
        self.assertEqual(self.names(), [])

    def test_living(self) -> None:
        """What its state file does not mark Failure stays, whatever the store says."""
        self.commit(1, "a")
        done = collect(self.volume, [self.dead(1)])
        self.assertEqual((done.blobs, done.ids), ([], []))
        self.assertEqual(self.data(1), b"data")

    def test_number_given_again(self) -> None:
        """A blob that bears the number of one that is gone already stays, deleted or not."""
        for by in (None, 2):
            blob = self.commit(1, "b")
            gone = Dead(1, "a", blob.generation - 1, by)
            for _ in range(2):
                done = collect(self.volume, [gone])
                self.assertEqual((done.blobs, done.ids, done.left), ([gone], [], {}))
                self.assertEqual(self.data(1), b"data")
                self.delete(blob)
            self.volume.trash.put("1")

    def test_renamed_meanwhile(self) -> None:
        """What a deletion renames while it is removed bears its id until it is gone."""
        self.commit(1, "a")
        self.disk.fail("rename", errno.ENOSPC, name="1 -> .trash-")
        self.volume.trash.put_or_unlink("1", 1)
        self.disk.before("rmdir", lambda: self.volume.trash.put_or_unlink("1", 1), name="1")
        self.assertEqual(collect(self.volume, []).ids, [])
        self.assertEqual(self.names(), [".trash-1-2"])
        self.assertEqual(collect(self.volume, []).ids, [1])

    def test_unmarked(self) -> None:
        """What was replaced and is not marked yet is marked first."""
        self.commit(1, "a")
        self.commit(2, "a")
        self.disk.clear()
        collect(self.volume, [self.dead(1, by=2)])
        self.assertEqual(self.names(), ["2"])
        self.assert_order(f"rename 1/{STATE}.tmp -> 1/{STATE}", "rename 1 -> .trash-1-1", "fsync /")

    def test_unmarked_on_a_full_disk(self) -> None:
        """If it cannot be marked, for want of room, it is removed all the same."""
        self.commit(1, "a")
        self.commit(2, "a")
        dead = self.dead(1, by=2)
        self.disk.fail("open", errno.ENOSPC, name=f"1/{STATE}.tmp")
        self.assertEqual(collect(self.volume, [dead]).ids, [1])

    def test_no_room_for_a_name(self) -> None:
        """What cannot be renamed is emptied where it is, and gives its number back once."""
        self.delete(self.commit(1, "a"))
        dead = [self.dead(1)]
        self.disk.fail("rename", errno.ENOSPC)
        self.disk.fail("rmdir")
        self.assertEqual(collect(self.volume, dead).ids, [])
        self.assertEqual(self.volume.trash.trashed, {"1": 1})
        self.assertEqual(collect(self.volume, dead).ids, [1])
        self.assertEqual(self.names(), [])

    def test_elders_first(self) -> None:
        """A tombstone is moved only when its elders are durably gone."""
        old, blob = self.commit(1, "a"), self.commit(2, "a")
        retire(self.volume, [Replaced(old.committed(), 2, 9)])
        self.delete(blob, [1])
        dead = [self.dead(2), self.dead(1)]
        self.disk.clear()
        done = collect(self.volume, dead)
        self.assertEqual(sorted(done.ids), [1, 2])
        self.assert_order("rename 1 -> .trash-1-1", "fsync /", "rename 2 -> .trash-2-2", "fsync /")

    def test_elder_stays(self) -> None:
        """While an elder cannot be moved its tombstone stays, too; the next run takes both."""
        old, blob = self.commit(1, "a"), self.commit(2, "a")
        retire(self.volume, [Replaced(old.committed(), 2, 9)])
        self.delete(blob, [1])
        dead = [self.dead(1), self.dead(2)]
        self.disk.fail("rename", errno.EIO, name="1 -> .trash")
        done = collect(self.volume, dead)
        self.assertEqual((done.blobs, self.names()), ([], ["1", "2"]))
        self.assertEqual(set(done.left), {"1", "2"})
        self.disk.heal()
        self.assertEqual(sorted(collect(self.volume, dead).ids), [1, 2])

    def test_not_removed(self) -> None:
        """What cannot be unlinked keeps its id, and is tried again."""
        self.delete(self.commit(1, "a"))
        dead = self.dead(1)
        self.disk.fail("unlink", errno.EIO, nth=3)
        done = collect(self.volume, [dead])
        self.assertEqual((done.blobs, done.ids), ([dead], []))
        self.assertEqual(self.names(), [".trash-1-1"])
        self.assertEqual(collect(self.volume, []).ids, [1])
        self.assertEqual(self.names(), [])

    def test_foreign_file(self) -> None:
        """A file of somebody else's in it is kept, and keeps the directory and the id."""
        self.delete(self.commit(1, "a"))
        self.put("1", b"mine", "notes.txt")
        dead = [self.dead(1)]
        with capturedLogs() as logged:
            for _ in range(3):
                done = collect(self.volume, dead)
                self.assertEqual(done.ids, [])
                held = "it holds 'notes.txt', which is not gostore's"
                self.assertEqual(done.left, {".trash-1-1": held})
                dead = []
        self.assertEqual(
            list(map(formatEvent, logged)), [f".trash-1-1 is not removed: {held}"], "said once"
        )
        self.assertEqual(os.listdir(self.file(".trash-1-1")), ["notes.txt"])
        os.unlink(self.file(".trash-1-1", "notes.txt"))
        self.assertEqual((collect(self.volume, []).ids, self.volume.trash.why_kept), ([1], {}))

    def test_said_once(self) -> None:
        """What every run finds again is said the first time, the tenth and the hundredth."""
        self.delete(self.commit(1, "a"))
        dead = [self.dead(1)]
        self.disk.fail("rename", errno.EBUSY, times=11)
        with capturedLogs() as logged:
            for _ in range(11):
                self.assertEqual(list(collect(self.volume, dead).left), ["1"])
            collect(self.volume, dead)
        said = list(map(formatEvent, logged))
        self.assertEqual(said[0], "Blob 1 is not collected: The disk failed: EBUSY")
        self.assertEqual(said[1:], [f"{said[0]} (said 10 times)"])

    def test_bad_record(self) -> None:
        """A dead blob whose record cannot be believed is quarantined for people, not removed."""
        self.delete(self.commit(1, "a"))
        dead = self.dead(1)
        self.put("1", b"nonsense")
        collect(self.volume, [dead])
        self.assertEqual(self.names(), [".quarantine-1-1"])
        self.assertEqual(os.listdir(self.file(".quarantine-1-1")).count(DATA), 1)

    def test_gone(self) -> None:
        """What somebody else has removed is done with, and its id free."""
        self.delete(self.commit(1, "a"))
        dead = self.dead(1)
        self.volume.trash.remove("1")
        done = collect(self.volume, [dead])
        self.assertEqual((done.blobs, done.ids), ([dead], [1]))

    def test_stages(self) -> None:
        """Dropped stages are removed, and their ids are free."""
        self.volume.drop(self.volume.stage(self.start(5, "a")))
        self.assertEqual(collect(self.volume, [], [5]).ids, [5])
        self.assertEqual(self.names(), [])

    def test_number_in_use(self) -> None:
        """A dropped stage whose number somebody else's directory has gives it back with that."""
        self.volume.drop(self.volume.stage(self.start(5, "a")))
        self.put("5", b"photo", "a.jpg")
        self.assertEqual(collect(self.volume, [], [5]).ids, [])
        self.assertEqual(self.names(), ["5"])
        os.unlink(self.file("5", "a.jpg"))
        os.rmdir(self.file("5"))
        self.disk.fail("lstat")
        self.assertEqual(collect(self.volume, [], [5]).ids, [])
        self.assertEqual(collect(self.volume, [], [5]).ids, [5])

    def test_sync_fails(self) -> None:
        """If the root cannot be synced nothing is unlinked, and nothing more is collected."""
        self.delete(self.commit(1, "a"))
        dead = self.dead(1)
        self.disk.fail("fsync", errno.EIO)
        self.assertEqual(collect(self.volume, [dead]).ids, [])
        self.assertIsNotNone(self.volume.broken)
        self.assertEqual(collect(self.volume, [dead]).ids, [])

    def test_cost(self) -> None:
        """A run costs what there is to remove, not what there is to keep."""
        for number in range(10, 60):
            self.commit(number, f"b{number}")
        self.delete(self.commit(1, "a"))
        dead = self.dead(1)
        self.disk.clear()
        collect(self.volume, [])
        self.assertEqual(self.disk.calls, [])
        collect(self.volume, [dead])
        self.assertLess(len(self.disk.calls), 12)
