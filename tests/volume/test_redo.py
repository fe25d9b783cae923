"""Tests for gostore.volume.recovery.redo, and for what the journal and the volume do together."""

from __future__ import annotations

import errno
import os
import shutil

from twisted.logger import capturedLogs, formatEvent

from gostore.blob import Blob
from gostore.errors import Busy, DiskFailed, NoSpace, ReadOnly, VolumeUnusable
from gostore.volume.changes import Commit, Discard, Sync
from gostore.volume.collect import Dead, collect
from gostore.volume.directory import DATA, STATE, OutcomeUnknown
from gostore.volume.disk import UnsyncedDisk
from gostore.volume.journal.format import NAMES, SIZE
from gostore.volume.journal.journal import NothingWritten
from gostore.volume.recovery.findings import Damage, Findings
from gostore.volume.recovery.repair import quarantine, repair
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume
from tests.store.doubles import FOR_EVER
from tests.volume.support import VolumeCase


class RedoTests(VolumeCase):
    """A volume that answers after the journal's flush, and crashes before its files are flushed."""

    trusted = True

    def open(self, sync: Sync = Sync.JOURNAL) -> Volume:
        """The volume as a start finds it."""
        return super().open(sync)

    def blob(self, blob_id: int, location: str, data: bytes) -> Blob:
        """A blob that is ready to be committed."""
        return self.finish(self.start(blob_id, location), data)

    def stage(self, blob_id: int, location: str) -> Commit:
        """A large blob that is ready to be committed."""
        stage = self.volume.stage(Blob(blob_id, location))
        self.volume.write(stage, [b"more"])
        return Commit(self.blob(blob_id, location, b"more"), stage)

    def crash(self) -> None:
        """The process is gone; what happens to its files is up to the test."""
        self.volume.close()

    def restart(self, sync: Sync = Sync.JOURNAL) -> Findings:
        """Start again, and mend."""
        self.volume = self.open(sync)
        found = scan(self.volume)
        repair(self.volume, found)
        return found

    def truncate(self, *names: str) -> None:
        """What ext4 and XFS leave of a file that was never flushed."""
        os.truncate(self.file(*names), 0)

    def test_one_flush(self) -> None:
        """A batch costs one fdatasync, and nothing else before its changes are durable."""
        self.commit(1, "a", b"1")
        self.disk.clear()
        changes = [Commit(self.blob(number, f"b{number}", b"x"), b"x") for number in (2, 3)]
        self.volume.protocol.carry_out(changes)
        self.assertEqual(self.disk.trace(), ["pwrite .journal-0", "fdatasync .journal-0"])
        self.disk.clear()
        self.volume.backlog.apply()
        made = [
            f"mkdir {n} open {n}/{DATA} writev {n}/{DATA} open {n}/{STATE} writev {n}/{STATE}"
            for n in (2, 3)
        ]
        self.assertEqual(" ".join(self.disk.trace()), " ".join(made))

    def test_whole(self) -> None:
        """After a mere kill -9 there is nothing to do again."""
        blob = self.commit(1, "a", b"data")
        self.crash()
        found = self.restart()
        self.assertEqual(found.live, {"a": blob.committed()})
        self.assertEqual(found.foreign, {})

    def test_said(self) -> None:
        """The log tells how many blobs are written again, if any is."""
        self.commit(1, "a", b"data")
        for lost, said in ((True, ["Journal: 1 blobs written again"]), (False, [])):
            self.commit(2 + lost, f"b{lost}", b"data")
            self.crash()
            if lost:
                shutil.rmtree(self.file("1"))
            with capturedLogs() as logged:
                self.restart()
            self.assertEqual(list(map(formatEvent, logged)), said)

    def test_lost(self) -> None:
        """A blob whose directory was lost is written again, whole."""
        blob = self.commit(1, "a", b"data")
        self.crash()
        shutil.rmtree(self.file("1"))
        self.assertEqual(self.restart().live, {"a": blob.committed()})
        with open(self.file("1", DATA), "rb") as file:
            self.assertEqual(file.read(), b"data")

    def test_somebodys_directory_in_place(self) -> None:
        """What is not gostore's is not moved for what the journal has: no start before it is."""
        blob = self.commit(1, "a", b"data")
        self.crash()
        shutil.rmtree(self.file("1"))
        self.put("1", b"photo", "a.jpg")
        before = sorted(os.walk(self.path))
        for _ in range(2):
            error = self.assertRaises(VolumeUnusable, self.restart)
            self.assertIn("1 is not gostore's (it holds 'a.jpg')", str(error))
            self.crash()
        self.assertEqual(sorted(os.walk(self.path)), before)
        os.rename(self.file("1"), self.file("photos"))
        self.assertEqual(self.restart().live, {"a": blob.committed()})

    def test_somebodys_directory_of_the_dead(self) -> None:
        """Where the journal has a deletion, or what was replaced, nothing is wanted of it."""
        old, gone = self.commit(1, "a", b"old"), self.commit(2, "b", b"gone")
        new = self.commit(3, "a", b"new")
        self.delete(gone)
        self.crash()
        for blob in (old, gone):
            shutil.rmtree(self.file(str(blob.id)))
            self.put(str(blob.id), b"photo", "a.jpg")
        found = self.restart()
        self.assertEqual(found.live, {"a": new.committed()})
        self.assertEqual(sorted(found.foreign), ["1", "2"])
        self.assertEqual(found.ids, {1, 2, 3})
        collect(self.volume, found.dead)
        for name in ("1", "2"):
            self.assertEqual(os.listdir(self.file(name)), ["a.jpg"])

    def test_somebodys_file_in_a_stage(self) -> None:
        """In the way of what is written again, what is not gostore's stays, if aside."""
        blob = self.commit(1, "a", b"data")
        self.crash()
        shutil.rmtree(self.file("1"))
        self.put(".new-1", b"photo", "a.jpg")
        found = self.restart()
        self.assertEqual((found.live, found.foreign), ({"a": blob.committed()}, {}))
        collect(self.volume, found.dead)
        (aside,) = (name for name in self.names() if name.startswith(".trash-"))
        self.assertEqual(os.listdir(self.file(aside)), ["a.jpg"])

    def test_not_in_place(self) -> None:
        """A blob whose rename was lost is committed again."""
        blob = self.commit(1, "a", b"data")
        self.crash()
        os.rename(self.file("1"), self.file(".new-1"))
        self.assertEqual(self.restart().live, {"a": blob.committed()})

    def test_unreadable(self) -> None:
        """So is one of which a sector is bad, or its stage. What fails once is read again."""
        for stem, times, again in (
            ("{}", FOR_EVER, True),
            (".new-{}", FOR_EVER, True),
            ("{}", 1, False),
        ):
            for name in (STATE, DATA):
                blob = self.commit(self.generation + 1, f"a{self.generation}", b"data")
                self.crash()
                found_as = stem.format(blob.id)
                os.rename(self.file(str(blob.id)), self.file(found_as))
                self.disk.fail("pread", errno.EIO, name=f"{found_as}/{name}", times=times)
                inode = os.stat(self.file(found_as, name)).st_ino
                self.assertIn(blob.location, self.restart().live)
                self.disk.heal()
                self.assertEqual(self.data(blob.id), b"data")
                written = os.stat(self.file(str(blob.id), name)).st_ino != inode
                self.assertEqual(written, again)

    def test_torn(self) -> None:
        """A blob of which any file is torn, missing or changed is written again."""
        for name, harm in [
            (DATA, lambda path: os.truncate(path, 0)),
            (DATA, lambda path: os.truncate(path, 2)),
            (DATA, os.unlink),
            (DATA, lambda path: os.truncate(path, 9)),
            (STATE, lambda path: os.truncate(path, 0)),
            (STATE, lambda path: os.truncate(path, 50)),
            (STATE, os.unlink),
        ]:
            blob = self.commit(self.generation + 1, "a", b"data")
            self.crash()
            harm(self.file(str(blob.id), name))
            found = self.restart()
            self.assertEqual(found.live["a"], blob.committed())
            self.assertEqual(found.suspects, [])
            with open(self.file(str(blob.id), DATA), "rb") as file:
                self.assertEqual(file.read(), b"data")

    def test_deleted(self) -> None:
        """What was deleted stays deleted, whatever is left of its tombstone."""
        for harm in (
            lambda name: None,
            lambda name: self.truncate(name, STATE),
            lambda name: shutil.rmtree(self.file(name)),
        ):
            old = self.commit(2 * self.generation + 1, "a", b"old")
            blob = self.commit(2 * self.generation + 2, "a", b"data")
            self.delete(blob, [old.id])
            self.crash()
            harm(str(blob.id))
            self.assertEqual(self.restart().live, {})

    def test_tombstone_not_in_place(self) -> None:
        """A deletion whose rename was lost is done again."""
        blob = self.commit(1, "a", b"data")
        with open(self.file("1", STATE), "rb") as file:
            state = file.read()
        self.delete(blob)
        self.crash()
        with open(self.file("1", STATE), "wb") as file:
            file.write(state)
        self.assertEqual(self.restart().live, {})

    def test_newer_stays(self) -> None:
        """A number that meanwhile belongs to a newer blob is left alone."""
        self.commit(1, "a", b"data")
        shutil.rmtree(self.file("1"))
        change = self.stage(1, "b")
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsNone(error)
        self.crash()
        self.assertEqual(self.restart().live, {"b": change.blob.committed()})

    def test_checkpoint(self) -> None:
        """After a checkpoint, and a later batch that tells of it, nothing is done again."""
        self.commit(1, "a", b"data")
        self.volume.backlog.checkpoint()
        self.volume.backlog.forget_journal()
        self.crash()
        shutil.rmtree(self.file("1"))
        self.assertEqual(self.restart().live, {})

    def test_redo_fails(self) -> None:
        """A start that fails in the middle of it leaves the journal for the next one."""
        # Some hundred starts, each of which reads the journal.
        self.disk.under = UnsyncedDisk()
        self.crash()
        shutil.rmtree(self.path)
        self.journal_size = 256 * 1024
        self.volume = self.open()
        calls = 0
        done = False
        while not done:
            calls += 1
            first = 3 * calls
            blobs = [
                self.commit(first + number, f"b{number}", b"%d" % calls) for number in range(3)
            ]
            self.crash()
            self.truncate(str(first), DATA)
            self.truncate(str(first + 1), STATE)
            shutil.rmtree(self.file(str(first + 2)))
            fault = self.disk.fail(None, errno.EIO, nth=8 + calls)
            try:
                self.restart()
            except Exception:
                self.volume.close()
                self.assertEqual(self.disk.open_files, [], calls)
            done = fault.seen < 8 + calls
            self.disk.heal()
            self.crash()
            found = self.restart()
            wanted = {one.location: one.committed() for one in blobs}
            self.assertEqual(found.live, wanted, calls)
            collect(self.volume, found.dead)
        self.assertGreater(calls, 60)

    def fill(self) -> None:
        """From now on nothing can be made or written where nothing was."""
        for kind in ("mkdir", "writev"):
            self.disk.fail(kind, errno.ENOSPC, times=FOR_EVER)

    def test_kill_on_a_full_disk(self) -> None:
        """After a mere kill -9 a start needs no room: not for the dead, nor for what is staged."""
        gone = self.commit(1, "gone", b"gone")
        old = self.commit(2, "kept", b"old")
        kept = self.commit(3, "kept", b"new")
        staged = self.commit(4, "staged", b"staged")
        self.delete(gone)
        dead = [
            Dead(1, "gone", gone.generation),
            Dead(2, "kept", old.generation, 3),
        ]
        self.assertEqual(collect(self.volume, dead).ids, [1, 2])
        self.crash()
        os.rename(self.file("4"), self.file(".new-4"))
        self.fill()
        found = self.restart()
        self.assertEqual(found.live, {"kept": kept.committed(), "staged": staged.committed()})
        self.assertEqual((self.data(3), self.data(4)), (b"new", b"staged"))
        self.assertEqual(self.names(), [*NAMES, "3", "4"])

    def test_deleted_on_a_full_disk(self) -> None:
        """A lost tombstone is not written again: what it stands above is taken away instead."""
        self.commit(1, "a", b"older")
        self.volume.backlog.forget_journal()
        for lost in (False, True):
            old = self.commit(2, "a", b"old")
            blob = self.commit(3, "a", b"data")
            state = self.state("3")
            self.delete(blob, [1, old.id])
            self.crash()
            self.put("3", state)
            if lost:
                shutil.rmtree(self.file("3"))
            self.fill()
            found = self.restart()
            self.assertEqual((found.live, found.damaged, found.dead), ({}, {}, []))
            self.disk.heal()
            for name in self.volume.trash.trashed:
                self.volume.trash.remove(name)
            self.assertEqual(self.names(), list(NAMES))
            # Not even when the journal has forgotten it.
            self.crash()
            self.assertEqual(self.restart().live, {})

    def test_torn_on_a_full_disk(self) -> None:
        """For what is torn the collector makes room: its torn copy, stages, all that is dead."""
        old = self.commit(1, "a", b"old")
        blob = self.commit(2, "a", b"data")
        self.delete(self.commit(3, "b", b"gone"))
        os.mkdir(self.file(".new-9"))
        self.crash()
        self.truncate("2", DATA)
        self.fill()
        self.disk.before("rmdir", self.disk.heal, nth=4)
        found = self.restart()
        self.assertEqual(found.live, {"a": blob.committed()})
        self.assertEqual((found.dead, found.ids), ([], {2}))
        self.assertEqual(self.names(), [*NAMES, "2"])
        self.assertEqual(self.data(2), b"data")
        self.assertLess(old.generation, blob.generation)

    def test_link(self) -> None:
        """A link in its place, or its stage's, is not followed, and what it leads to stays."""
        for taken in ("{}", ".new-{}"):
            blob = self.commit(self.generation + 1, "a", b"data")
            self.crash()
            moved = f"moved-{blob.id}"
            os.rename(self.file(str(blob.id)), self.file(moved))
            os.symlink(moved, self.file(taken.format(blob.id)))
            found = self.restart()
            self.assertEqual(found.live, {"a": blob.committed()})
            self.assertEqual(found.suspects, [])
            for name in self.volume.trash.trashed:
                self.volume.trash.remove(name)
            [aside] = [name for name in self.names() if name.startswith(f".quarantine-{blob.id}-")]
            self.assertTrue(os.path.islink(self.file(aside)))
            self.assertFalse(os.path.islink(self.file(str(blob.id))))
            for path in (str(blob.id), moved):
                self.assertEqual(sorted(os.listdir(self.file(path))), [STATE, DATA])

    def test_room_in_the_journal(self) -> None:
        """If nothing is dead the journal gives back what it does not need, and is done without."""
        blob = self.commit(1, "a", b"data")
        self.crash()
        self.truncate("1", STATE)
        self.fill()
        self.disk.before("ftruncate", self.disk.heal, nth=2)
        self.disk.room = (0, 1 << 30)
        self.assertEqual(self.restart(Sync.FILES).live, {"a": blob.committed()})
        self.assertEqual(self.data(1), b"data")
        self.assertEqual(self.names(), ["1"])

    def test_served_from_the_journal(self) -> None:
        """What finds no room at a start is served from the journal, which keeps it until it has."""
        blob = self.commit(1, "a", b"data")
        other = self.commit(2, "b", b"other")
        for _ in range(2):
            self.crash()
            self.truncate("1", DATA)
            if os.path.exists(self.file("2")):
                shutil.rmtree(self.file("2"))
            self.fill()
            with capturedLogs() as logged:
                found = self.restart()
            said = [formatEvent(event) for event in logged]
            self.assertIn("no room to write blob 1 again; it is served from the journal", said[0])
            self.assertEqual(found.live, {"a": blob.committed(), "b": other.committed()})
            applier = self.volume.backlog.applier
            self.assertEqual((applier.data_of(1), applier.data_of(2)), (b"data", b"other"))
            (error,) = self.volume.protocol.carry_out([self.change(3, "c")])
            self.assertIsInstance(error, NoSpace)
            self.assertRaises(NothingWritten, self.volume.backlog.forget_journal)
            self.put("1", b"", DATA)
        self.volume.trash.remove("1")
        self.delete(other)
        self.disk.heal()
        self.commit(3, "c", b"x")
        self.assertEqual((self.data(1), self.data(3)), (b"data", b"x"))
        self.volume.backlog.forget_journal()
        self.crash()
        self.assertEqual(sorted(self.restart().live), ["a", "c"])

    def test_no_room_at_all(self) -> None:
        """Without a journal to serve it from there is no start, but a reason; nothing is lost."""
        blob = self.commit(1, "a", b"data")
        other = self.commit(2, "b", b"other")
        self.crash()
        self.truncate("1", DATA)
        self.truncate("2", DATA)
        self.fill()
        error = self.assertRaises(VolumeUnusable, self.restart, Sync.FILES)
        self.assertIn("no room to write blob 1 again", str(error))
        self.volume.close()
        self.disk.heal()
        self.assertEqual(self.restart().live, {"a": blob.committed(), "b": other.committed()})

    def test_no_room_for_a_journal(self) -> None:
        """A full disk that has lost a file of the journal is served without one."""
        blob = self.commit(1, "a", b"data")
        self.crash()
        os.unlink(self.file(NAMES[1]))
        self.disk.room = (0, 1 << 30)
        self.assertEqual(self.restart().live, {"a": blob.committed()})
        self.assertEqual(self.names(), ["1"])
        self.disk.clear()
        self.commit(2, "b", b"data")
        self.assertIn("fsync .new-2/data.raw", self.disk.trace())

    def test_no_room_in_the_journal(self) -> None:
        """Nor does it need one whose blocks are shared, so that to write in it takes room."""
        blob = self.commit(1, "a", b"data")
        self.crash()
        self.disk.fail("pwrite", errno.ENOSPC, times=FOR_EVER)
        self.assertEqual(self.restart().live, {"a": blob.committed()})
        self.assertEqual(self.names(), ["1"])
        self.commit(2, "b", b"data")

    def test_not_trusted(self) -> None:
        """Where a syncfs flushes nothing, each file that is written again is flushed."""
        self.commit(1, "a", b"data")
        self.crash()
        shutil.rmtree(self.file("1"))
        self.disk.trusted = False
        self.restart()
        self.assert_order(
            "fsync .new-1/data.raw",
            f"fsync .new-1/{STATE}",
            "fsync .new-1",
            "rename .new-1 -> 1",
            "fsync /",
        )
        self.assertEqual(self.names(), ["1"])

    def test_journal_off(self) -> None:
        """A start without a journal does again what the last one left, and removes it."""
        blob = self.commit(1, "a", b"data")
        self.crash()
        shutil.rmtree(self.file("1"))
        self.assertEqual(self.restart(Sync.FILES).live, {"a": blob.committed()})
        self.assertEqual(os.listdir(self.path), ["1"])
        self.volume.backlog.forget_journal()
        self.assertEqual(os.listdir(self.path), ["1"])

    def test_append_fails(self) -> None:
        """A flush that fails leaves the outcome unknown: read-only, and never tried again."""
        self.commit(1, "a", b"data")
        self.disk.fail("fdatasync", errno.EIO)
        change = Commit(self.blob(2, "b", b"x"), b"x")
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsNotNone(error)
        self.assertIsNotNone(self.volume.broken)
        self.disk.clear()
        later = Commit(self.blob(3, "c", b"x"), b"x")
        (error,) = self.volume.protocol.carry_out([later])
        self.assertIsInstance(error, ReadOnly)
        self.assertEqual(self.disk.calls, [])

    def test_removed(self) -> None:
        """If somebody removes the journal, what it holds is flushed, and nothing more written."""
        self.commit(1, "a", b"data")
        os.unlink(self.file(".journal-1"))
        self.disk.clear()
        (error,) = self.volume.protocol.carry_out([Commit(self.blob(2, "b", b"x"), b"x")])
        self.assertIsInstance(error, ReadOnly)
        self.assertEqual(self.disk.trace("syncfs", "mkdir"), ["syncfs /"])
        self.assertEqual(self.volume.broken, "a file of the redo journal has been removed")

    def test_checkpoint_fails(self) -> None:
        """A failed flush of the files is never tried again, and the journal forgets nothing."""
        blob = self.commit(1, "a", b"data")
        self.disk.fail("syncfs", errno.EIO)
        self.assertRaises(OutcomeUnknown, self.volume.backlog.checkpoint)
        self.assertIsNotNone(self.volume.broken)
        self.disk.clear()
        self.assertRaises(OutcomeUnknown, self.volume.backlog.checkpoint)
        self.assertRaises(OutcomeUnknown, self.volume.backlog.forget_journal)
        self.assertEqual(self.disk.calls, [])
        self.crash()
        shutil.rmtree(self.file("1"))
        self.assertEqual(self.restart().live, {"a": blob.committed()})

    def test_flush_of_stages_fails(self) -> None:
        """A failed flush of large blobs may have been about what only the journal holds."""
        blob = self.commit(1, "a", b"data")
        changes = [self.stage(number, f"b{number}") for number in (2, 3)]
        self.disk.fail("syncfs", errno.EIO)
        errors = self.volume.protocol.carry_out(changes)
        self.assertTrue(all(errors))
        self.assertIsNotNone(self.volume.broken)
        self.assertRaises(OutcomeUnknown, self.volume.backlog.forget_journal)
        self.crash()
        shutil.rmtree(self.file("1"))
        self.assertEqual(self.restart().live, {"a": blob.committed()})

    def test_number_of_a_tombstone(self) -> None:
        """A large blob with the number of a collected tombstone does not undo the deletion."""
        old = self.commit(1, "a", b"old")
        blob = self.commit(2, "a", b"data")
        self.delete(blob, [old.id])
        self.volume.backlog.checkpoint()
        for name in ("1", "2"):
            shutil.rmtree(self.file(name))
        later = self.stage(2, "b")
        (error,) = self.volume.protocol.carry_out([later])
        self.assertIsNone(error)
        self.crash()
        self.assertEqual(self.restart().live, {"b": later.blob.committed()})

    def test_quarantined(self) -> None:
        """What is quarantined is flushed first, for it stands for its location from then on."""
        blob = self.commit(1, "a", b"data")
        self.disk.clear()
        quarantine(self.volume, Damage(blob.committed(), "1"))
        trace = self.disk.trace("syncfs", "rename", "fsync")
        self.assertEqual(trace, ["syncfs /", "rename 1 -> .quarantine-1-1", "fsync /"])

    def test_no_room(self) -> None:
        """Where the journal cannot be made changes are as durable without it."""
        self.disk.room = (4 * 2 * SIZE - 1, 1 << 30)
        blob = self.commit(1, "a", b"data")
        self.assertIn("fsync 1/data.raw", [call.replace(".new-", "") for call in self.disk.trace()])
        self.assertIsNone(self.volume.broken)
        self.crash()
        self.assertEqual(self.restart().live, {"a": blob.committed()})

    def test_applying_fails(self) -> None:
        """What finds no room behind the answer is in the journal; a start makes it."""
        self.commit(1, "a", b"data")
        for call in ("mkdir", "open", "writev"):
            number = self.generation + 1
            self.disk.fail(call, errno.ENOSPC)
            change = Commit(self.blob(number, f"b{number}", b"x"), b"x")
            (error,) = self.volume.protocol.carry_out([change])
            self.assertIsNone(error)
            self.volume.backlog.apply()
            self.assertEqual(self.names(), [*NAMES, *map(str, range(1, number))])
            self.assertIsInstance(self.volume.backlog.applier.obstacle, NoSpace)
            self.crash()
            self.assertIn(f"b{number}", self.restart().live)
            self.assertEqual(self.data(number), b"x")

    def test_tombstone_rename_fails(self) -> None:
        """A tombstone that cannot be renamed is done without."""
        blob = self.commit(1, "a", b"x")
        self.disk.fail("rename", errno.ENOSPC)
        self.delete(blob)
        self.assertFalse(os.path.exists(self.file("1")))
        self.crash()
        self.assertEqual(self.restart().live, {})

    def test_nothing_written(self) -> None:
        """Changes fail alone when the journal takes none of their batch."""
        self.commit(1, "a", b"x")
        self.disk.fail("pwrite", errno.ENOMEM)
        change = Commit(self.blob(2, "b", b"x"), b"x")
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsInstance(error, Busy)
        self.commit(3, "c", b"x")
        self.crash()
        self.assertEqual(sorted(self.restart().live), ["a", "c"])

    def test_partly_written(self) -> None:
        """A batch that is in the journal in part leaves the outcome unknown."""
        self.commit(1, "a", b"x")
        self.disk.shorten("pwrite", 100)
        self.disk.fail("pwrite", errno.EIO, nth=2)
        change = Commit(self.blob(2, "b", b"x"), b"x")
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsInstance(error, DiskFailed)
        self.assertIsNotNone(self.volume.broken)

    def test_full_disk(self) -> None:
        """A blob deleted without a tombstone, for want of room, does not come back either."""
        blob = self.commit(1, "a", b"data")
        self.disk.fail("open", errno.ENOSPC, name=STATE, times=2, nth=2)
        self.delete(blob)
        self.assertFalse(os.path.exists(self.file("1")))
        self.crash()
        self.assertEqual(self.restart().live, {})

    def test_damaged_discarded(self) -> None:
        """A damaged blob that was deleted is not brought back whole from the journal."""
        self.commit(1, "a", b"data")
        name = self.volume.trash.quarantine("1")
        assert name is not None
        change = Discard([name], 0)
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsNone(error)
        self.crash()
        found = self.restart()
        self.assertEqual((found.live, found.damaged), ({}, {}))

    def test_out_of_reach(self) -> None:
        """The journal remembers the location of a blob that may not be read: it is damaged."""
        self.commit(1, "a", b"data")
        other = self.commit(2, "b", b"other")
        self.volume.backlog.forget_journal()
        self.crash()
        self.disk.fail("open", errno.EACCES, name=f"1/{STATE}", times=FOR_EVER)
        with capturedLogs() as logged:
            found = self.restart()
        self.assertEqual((found.live, found.damaged["a"].name), ({"b": other.committed()}, "1"))
        [said] = [formatEvent(event) for event in logged if "cannot be read" in str(event)]
        self.assertIn("'1' of 'a' in the data directory cannot be read", said or "")
        # It can be deleted, and never comes back.
        change = Discard(["1"], self.generation)
        self.volume.protocol.carry_out([change])
        self.disk.heal()
        self.crash()
        found = self.restart()
        self.assertEqual((list(found.live), found.damaged, found.unreadable), (["b"], {}, {}))

    def test_out_of_reach_and_replaced(self) -> None:
        """What the journal remembers stands behind what is newer, on the disk or in the journal."""
        self.commit(1, "a", b"old")
        new = self.commit(2, "a", b"new")
        self.commit(3, "b", b"gone")
        gone = self.commit(4, "b", b"last")
        self.delete(gone, [3])
        self.volume.backlog.forget_journal()
        shutil.rmtree(self.file("4"))
        self.crash()
        for name in ("1", "3"):
            self.disk.fail("open", errno.EACCES, name=f"{name}/{STATE}", times=FOR_EVER)
        found = self.restart()
        self.assertEqual((found.live, found.damaged), ({"a": new.committed()}, {}))
        self.assertEqual((sorted(found.unreadable), found.dead), (["1", "3"], []))
        self.assertEqual(self.names(), [*NAMES, "1", "2", "3"])

    def test_out_of_reach_and_undone(self) -> None:
        """What the journal must do again it does, in place of what may not be read."""
        blob = self.commit(1, "a", b"data")
        gone = self.commit(2, "b", b"gone")
        state = self.state("2")
        self.delete(gone)
        self.crash()
        self.put("2", state)
        for name in ("1", "2"):
            self.disk.fail("open", errno.EACCES, name=f"{name}/{STATE}", times=2)
        found = self.restart()
        self.assertEqual((found.live, found.unreadable), ({"a": blob.committed()}, {}))
        self.assertEqual(self.data(1), b"data")
        self.crash()
        self.assertEqual(list(self.restart().live), ["a"])

    def test_damaged_healed(self) -> None:
        """A blob quarantined as damaged that the journal has whole is served again."""
        blob = self.commit(1, "a", b"data")
        self.truncate("1", DATA)
        self.volume.trash.quarantine("1")
        self.crash()
        found = self.restart()
        self.assertEqual((found.live, found.damaged), ({"a": blob.committed()}, {}))
        self.assertEqual(found.obsolete, [".quarantine-1-1"])

    def test_many(self) -> None:
        """The files take turns for as long as one likes; a crash loses nothing of it."""
        data = b"x" * 60_000
        for number in range(1, 400):
            self.commit(number, f"b{number % 7}", data)
        # 24 MB through two files of 8: the third turn has to wait for a checkpoint.
        self.assertEqual(self.disk.count("syncfs"), 1)
        self.crash()
        for number in range(390, 400):
            shutil.rmtree(self.file(str(number)))
        found = self.restart()
        self.assertEqual(sorted(found.live), [f"b{number}" for number in range(7)])
        self.assertEqual({blob.id for blob in found.live.values()}, set(range(393, 400)))
