"""Tests for gostore.volume.journal.journal, and for what recovery makes of it after a crash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import struct
from collections.abc import Callable

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Blob
from gostore.errors import Busy, DiskFailed, NoSpace, ReadOnly, VolumeUnusable
from gostore.volume.changes import Commit, Discard
from gostore.volume.collect import Dead, collect
from gostore.volume.directory import DATA, STATE, OutcomeUnknown
from gostore.volume.disk import Disk, UnsyncedDisk
from gostore.volume.journal.format import NAMES, SIZE, Entry
from gostore.volume.journal.journal import Journal, NotAJournal, NothingWritten
from gostore.volume.recovery.findings import Damage, Findings
from gostore.volume.recovery.repair import quarantine, repair
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume
from tests.store.doubles import FOR_EVER, FaultyDisk
from tests.volume.support import VolumeCase


def entry(blob_id: int, size: int = 5) -> Entry:
    """An entry of some size."""
    return Entry(blob_id, b"state of %d" % blob_id, b"x" * size)


class JournalTests(SynchronousTestCase):
    """The two files, and the chain of batches in them."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        os.mkdir(self.path)
        self.disk = FaultyDisk()

    def open(self, disk: Disk | None = None) -> Journal:
        """Another journal in the same directory, as after a crash."""
        root = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, root)
        journal = Journal(disk or Disk(), root)
        self.addCleanup(journal.close)
        return journal

    def file(self, turn: int) -> str:
        """The path of one of the files."""
        return os.path.join(self.path, NAMES[turn])

    def test_nothing(self) -> None:
        """Where there are no files there is nothing to be read, and nothing is made."""
        journal = self.open()
        self.assertEqual(journal.read(), [])
        self.assertEqual((journal.written, journal.synced), (0, 0))
        self.assertEqual(os.listdir(self.path), [])

    def test_round_trip(self) -> None:
        """What was appended is read again, in order, deletions and empty blobs too."""
        journal = self.open()
        entries = [Entry(1, b"one", b"data"), Entry(2, b"gone", None), Entry(3, b"empty", b"")]
        journal.append(entries[:2])
        journal.append(entries[2:])
        again = self.open()
        self.assertEqual(again.read(), entries)
        self.assertEqual(again.written, 3)

    def test_no_memory(self) -> None:
        """A batch for which there is no memory leaves no trace, and the next follows the last."""

        class Large(bytes):
            def __len__(self) -> int:
                raise MemoryError

        journal = self.open()
        journal.append([entry(1)])
        with self.assertRaises(NothingWritten) as caught:
            journal.append([Entry(2, b"two", Large())])
        self.assertEqual(caught.exception.errno, errno.ENOMEM)
        journal.append([entry(3)])
        self.assertEqual(self.open().read(), [entry(1), entry(3)])

    def test_flushed(self) -> None:
        """A batch is written and then flushed before append returns, with one fdatasync."""
        journal = self.open(self.disk)
        journal.append([entry(1)])
        self.disk.clear()
        journal.append([entry(2), entry(3)])
        self.assertEqual(self.disk.trace(), ["pwrite .journal-0", "fdatasync .journal-0"])

    def test_allocated(self) -> None:
        """The files have their full size, durably, before the first batch is written."""
        journal = self.open(self.disk)
        journal.append([entry(1)])
        self.assertEqual([os.path.getsize(self.file(turn)) for turn in (0, 1)], [SIZE, SIZE])
        trace = self.disk.trace("open", "fsync", "fdatasync")
        self.assertEqual(
            trace,
            [
                "open .journal-0",
                "open .journal-1",
                "fsync .journal-0",
                "fsync .journal-1",
                "fsync ?",  # the directory itself
                "fdatasync .journal-1",  # its first batch, without which it would not be missed
                "fdatasync .journal-0",
            ],
        )

    def test_short_writes(self) -> None:
        """A write that is cut short is gone on with."""
        journal = self.open(self.disk)
        journal.append([entry(1)])
        self.disk.shorten("pwrite", 100, times=3)
        journal.append([entry(2, 3000)])
        self.assertEqual([each.blob_id for each in self.open().read()], [1, 2])

    def spoil(self, turn: int, at: int) -> None:
        """Flip a bit of a file."""
        with open(self.file(turn), "r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))

    def test_torn(self) -> None:
        """The last batch is as if it had never been if a byte of it is missing, wherever."""
        journal = self.open()
        journal.append([entry(1)])
        journal.append([entry(2, 50)])
        for at in range(8192, 8192 + 68 + 12 + 10 + 50):
            self.spoil(0, at)
            again = self.open()
            self.assertEqual(again.read(), [entry(1)], at)
            self.assertIsNone(again.damage)
            self.spoil(0, at)
        # Behind them there is nothing that would be read.
        self.spoil(0, 8192 + 68 + 12 + 10 + 50)
        self.assertEqual(self.open().read(), [entry(1), entry(2, 50)])

    def test_damaged(self) -> None:
        """If a byte is missing of one that has others behind it, that is found out."""
        journal = self.open()
        for number in (1, 2, 3):
            journal.append([entry(number)])
        for at in range(8192, 8192 + 68 + 12 + 10 + 5):
            self.spoil(0, at)
            again = self.open()
            self.assertEqual(again.read(), [entry(1), entry(3)], at)
            wanted = "batch 3 of the redo journal is damaged, or was never written"
            self.assertEqual(again.damage, wanted)
            self.assertEqual(again.written, 4)
            self.spoil(0, at)
        self.assertEqual(len(again.read()), 3)
        self.assertIsNone(again.damage)

    def test_damaged_and_synced(self) -> None:
        """One whose changes are known to be in their files is not missed."""
        journal = self.open()
        journal.append([entry(1)])
        journal.append([entry(2)])
        journal.synced = journal.written
        journal.append([entry(3)])
        self.spoil(0, 4096)
        self.spoil(0, 8192)
        again = self.open()
        self.assertEqual(again.read(), [entry(3)])
        self.assertIsNone(again.damage)

    def test_title_damaged(self) -> None:
        """One file says whose batches are in both; if neither does, that is damage."""
        journal = self.open()
        journal.append([entry(1)])
        for at in range(64):
            self.spoil(0, at)
            again = self.open()
            self.assertEqual(again.read(), [entry(1)], at)
            self.assertIsNone(again.damage)
            self.spoil(0, at)
        self.spoil(0, 20)
        again.read()
        again.append([entry(2)])  # which mends it
        self.spoil(1, 20)
        self.spoil(0, 20)
        third = self.open()
        for _ in range(2):
            self.assertEqual(third.read(), [])
            self.assertIn("the first blocks of the redo journal are damaged", str(third.damage))
        third.append([entry(3)])
        again = self.open()
        self.assertEqual(again.read(), [entry(3)])
        self.assertIsNone(again.damage)

    def test_first_blocks_lost(self) -> None:
        """Batches that have lost both titles, of which nothing is left, are no new journal."""
        self.open().append([entry(1)])
        for turn in (0, 1):
            with open(self.file(turn), "r+b") as file:
                file.write(bytes(4096))
        again = self.open()
        self.assertEqual(again.read(), [])
        self.assertIn("the first blocks of the redo journal are damaged", str(again.damage))

    def test_file_emptied(self) -> None:
        """Of a file in which nothing is left, not even its title, nobody knows what it held."""
        journal = self.open()
        journal.append([entry(1)])
        journal.turn()
        journal.append([entry(2)])
        for turn in (0, 1):
            with open(self.file(turn), "rb") as file:
                kept = file.read()
            for left in (b"", bytes(SIZE)):
                with open(self.file(turn), "wb") as file:
                    file.write(left)
                again = self.open()
                again.read()
                self.assertIn("damaged", str(again.damage))
            with open(self.file(turn), "wb") as file:
                file.write(kept)
        self.assertEqual(again.read(), [entry(1), entry(2)])
        self.assertIsNone(again.damage)

    def test_without_titles(self) -> None:
        """One of before there were titles is no damage if its daemon was stopped, and goes on."""

        def batch(number: int, synced: int, payload: bytes) -> bytes:
            said = struct.pack("<QQI", number, synced, len(payload))
            head = b"gostoreJ" + said + hashlib.sha256(said + payload).digest()
            return (head + payload).ljust(4096, b"\0")

        for end, is_fine in ((batch(3, 2, b""), True), (batch(3, 1, b""), False), (b"", False)):
            content = batch(1, 0, b"one") + batch(2, 0, b"two") + end
            for turn, held in enumerate((content, b"")):
                with open(self.file(turn), "wb") as file:
                    file.write(held.ljust(SIZE, b"\0"))
            journal = self.open()
            self.assertEqual(journal.read(), [])
            self.assertEqual(journal.damage is None, is_fine)
            journal.append([entry(4)])
            again = self.open()
            self.assertEqual(again.read(), [entry(4)])
            self.assertIsNone(again.damage)

    def test_two_journals(self) -> None:
        """Files that do not belong together are not read as one journal."""
        self.open().append([entry(1)])
        os.rename(self.file(0), self.file(0) + "x")
        os.unlink(self.file(1))
        self.open().append([entry(2)])
        os.rename(self.file(0) + "x", self.file(0))
        journal = self.open()
        self.assertEqual(journal.read(), [])
        self.assertIn("the first blocks of the redo journal are damaged", str(journal.damage))

    def test_forged(self) -> None:
        """No stored blob can hold a batch: only what has the key of this journal is one."""
        other = self.open()
        other.append([entry(1)])
        with open(self.file(0), "rb") as file:
            file.seek(4096)
            batch = file.read(4096)
        other.remove()
        journal = self.open()
        # So that all of it lies in blocks of its own.
        journal.append([Entry(2, b"x" * (4096 - 68 - 12), b"")])
        journal.append([Entry(3, b"x" * (4096 - 68 - 12), batch)])
        self.spoil(0, 8192)
        again = self.open()
        self.assertEqual([each.blob_id for each in again.read()], [2])
        self.assertEqual(again.written, 2)

    def test_halved(self) -> None:
        """Where one file is missing it has been lost: that is damage, unless both were removed."""
        for gone in (0, 1):
            journal = self.open()
            journal.append([entry(1)])
            with self.assertRaises(OSError):
                dying = FaultyDisk()
                dying.fail("unlink", errno.EIO, nth=1)
                again = self.open(dying)
                again.read()
                again.remove()
            self.assertEqual(sorted(os.listdir(self.path)), list(NAMES))
            for _ in range(2):
                again = self.open()
                self.assertEqual(again.read(), [])
                self.assertIsNone(again.damage)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.file(gone))
            # A new file beside the old one would make that seem to be wanted.
            again.append([entry(2)])
            self.assertEqual(self.open().read(), [entry(2)])
            os.unlink(self.file(gone))
            again = self.open()
            self.assertEqual(again.read(), [] if gone == 0 else [entry(2)])
            self.assertEqual(again.damage, f"{NAMES[gone]}, of the redo journal, is missing")
            again.append([entry(3)])
            again = self.open()
            self.assertEqual(again.read(), [entry(3)])
            self.assertIsNone(again.damage)
            again.remove()

    def test_not_marked(self) -> None:
        """Where a full disk writes nothing in place nothing is cut, but files can be removed."""
        self.open().append([entry(1)])
        self.disk.fail("pwrite", errno.ENOSPC, times=FOR_EVER)
        journal = self.open(self.disk)
        journal.read()
        journal.shrink()
        self.assertEqual([os.path.getsize(self.file(turn)) for turn in (0, 1)], [SIZE, SIZE])
        journal.remove()
        self.assertEqual(os.listdir(self.path), [])

    def test_cut(self) -> None:
        """A file that is shorter than it was made, and was not cut by us, is damaged."""
        journal = self.open()
        journal.append([entry(1)])
        journal.turn()
        journal.append([entry(2)])
        for turn in (0, 1):
            for size in (SIZE - 1, 8192):
                os.truncate(self.file(turn), size)
                again = self.open()
                again.read()
                self.assertEqual(again.damage, f"{NAMES[turn]}, of the redo journal, is cut off")
            os.truncate(self.file(turn), SIZE)

    def test_blocks_of_their_own(self) -> None:
        """Writing a batch touches no block of the one before it, which a power cut could tear."""
        journal = self.open(self.disk)
        offsets = []
        for number in range(4):
            journal.append([entry(number, 3000 * number)])
            offsets.append(journal._offset)
        self.assertEqual([offset % 4096 for offset in offsets], [0] * 4)
        self.assertEqual(sorted(set(offsets)), offsets)

    def test_turns(self) -> None:
        """What does not fit goes to the other file, once all that is in that one is synced."""
        journal = self.open()
        big = [entry(1, SIZE // 2)]
        self.assertTrue(journal.fits(big))
        journal.append(big)
        self.assertFalse(journal.fits(big))
        journal.turn()
        journal.append(big)
        self.assertFalse(journal.may_turn)
        journal.synced = 2
        self.assertTrue(journal.may_turn)

    def test_both_files(self) -> None:
        """The batches of both files are read in the order of their numbers."""
        journal = self.open()
        for number in range(1, 4):
            journal.append([entry(number)])
        journal.turn()
        journal.append([entry(4)])
        journal.synced = 4
        journal.turn()  # which needs a batch, to say that it may
        self.assertEqual(journal.written, 6)
        journal.append([entry(6)])  # begins the first file anew: 2 and 3 are left behind it
        again = self.open()
        self.assertEqual([each.blob_id for each in again.read()], [4, 6])
        self.assertEqual((again.written, again.synced), (7, 4))

    def test_told_before_begun_anew(self) -> None:
        """Before a file is begun anew a batch says that it may be; there is always room for it."""
        root = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, root)
        journal = Journal(Disk(), root, 4 * 4096)
        self.addCleanup(journal.close)
        for number in range(1, 21):
            if not journal.fits([entry(number)]):
                journal.synced = max(journal.synced, journal.written)
                journal.turn()
                self.assertLessEqual(journal._offset, 4 * 4096)
                # Whatever becomes of the file now.
                path = self.file(journal._turn)
                with open(path, "rb") as file:
                    kept = file.read()
                with open(path, "r+b") as file:
                    file.seek(4096)
                    file.write(bytes(4096))
                again = self.open()
                again.read()
                self.assertIsNone(again.damage)
                with open(path, "wb") as file:
                    file.write(kept)
            journal.append([entry(number)])
            self.assertEqual(os.path.getsize(self.file(journal._turn)), 4 * 4096)
            self.assertEqual(self.open().read()[-1:], [entry(number)])

    def test_synced(self) -> None:
        """What a later batch says to be in its own files is not read again."""
        journal = self.open()
        journal.append([entry(1)])
        journal.append([entry(2)])
        journal.synced = journal.written
        journal.append([])
        self.assertEqual(self.open().read(), [])
        journal.append([entry(3)])
        self.assertEqual([each.blob_id for each in self.open().read()], [3])

    def test_nothing_to_sync(self) -> None:
        """An empty batch behind what is synced is synced itself."""
        journal = self.open()
        journal.append([entry(1)])
        journal.append([])
        self.assertEqual((journal.synced, journal.recorded_synced), (1, 1))
        journal.synced = journal.written
        for _ in range(2):
            journal.append([])
            self.assertEqual(journal.synced, journal.written)
            self.assertEqual(journal.recorded_synced, journal.written)
            self.assertEqual(self.open().read(), [])

    def test_number_goes_on(self) -> None:
        """After a restart the next batch goes behind the newest: the other file may be wanted."""
        journal = self.open()
        journal.append([entry(1)])
        journal.turn()
        journal.append([entry(2)])
        for number in (3, 4):
            again = self.open()
            again.read()
            again.append([entry(number)])
        last = self.open()
        self.assertEqual([each.blob_id for each in last.read()], [1, 2, 3, 4])
        self.assertEqual((last._turn, last._offset), (1, 4 * 4096))

    def test_not_a_file(self) -> None:
        """A link, a FIFO, a socket or a directory in the place of a file is not read, and named."""
        makers: list[Callable[[str], object]] = [
            lambda path: os.symlink("nowhere", path),
            lambda path: os.symlink(os.path.abspath(self.file(0)), path),
            os.mkfifo,
            os.mkdir,
            lambda path: os.mknod(path, stat.S_IFSOCK),
        ]
        self.open().append([entry(1)])
        for make in makers:
            path = self.file(1)
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
            make(path)
            journal = self.open(self.disk)
            error = self.assertRaises(NotAJournal, journal.read)
            self.assertIn(f"{NAMES[1]}, of the redo journal, is not a regular file", str(error))
            self.assertEqual(self.disk.open_files, [])

    def test_shrunk(self) -> None:
        """What lies behind the batches is given back, and the same is read as before."""
        journal = self.open()
        journal.append([entry(1, 5000)])
        journal.synced = journal.written
        journal.turn()
        journal.append([entry(2)])
        again = self.open(self.disk)
        wanted = again.read()
        again.shrink()
        # Of the first file only says whose it is, for the second says that all is synced.
        self.assertEqual([os.path.getsize(self.file(turn)) for turn in (0, 1)], [4096, 8192])
        self.assertEqual(self.disk.open_files, [])
        third = self.open()
        self.assertEqual(third.read(), wanted)
        self.assertEqual((third.written, third.damage), (again.written, None))
        # It is good for this one start.
        third.synced = third.written
        third.append([entry(3)])
        self.assertEqual([os.path.getsize(self.file(turn)) for turn in (0, 1)], [SIZE, SIZE])
        again = self.open()
        self.assertEqual((again.read(), again.damage), ([entry(3)], None))

    def test_removed(self) -> None:
        """remove takes both files away, and does not mind if they are not there."""
        journal = self.open()
        journal.append([entry(1)])
        journal.remove()
        journal.remove()
        self.assertEqual(os.listdir(self.path), [])

    def test_other_size(self) -> None:
        """A batch is read whatever size its file would be given now."""
        journal = self.open()
        journal.append([entry(1, 10_000)])
        root = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, root)
        self.assertEqual([each.blob_id for each in Journal(Disk(), root, 8192).read()], [1])

    def test_not_allocated(self) -> None:
        """If there is no room for the files nothing stays open, and append fails."""
        journal = self.open(self.disk)
        self.disk.fail("pwrite", errno.ENOSPC)
        self.disk.fail("pwrite", errno.ENOSPC, nth=10)  # the next time, in the second file
        self.disk.fail("close", errno.EIO, nth=2)
        for _ in range(2):
            self.assertRaises(OSError, journal.append, [entry(1)])
            self.assertEqual(self.disk.open_files, [])
            self.assertEqual(os.listdir(self.path), [])

    def test_small_disk(self) -> None:
        """The files are not made where they would take the room of the blobs."""
        self.disk.room = (4 * 2 * SIZE - 1, 1 << 30)
        self.assertRaises(OSError, self.open(self.disk).append, [entry(1)])
        self.assertEqual(os.listdir(self.path), [])
        self.disk.room = (4 * 2 * SIZE, 1 << 30)
        self.disk.clear()
        self.open(self.disk).append([entry(1)])
        # Asked for once: when the first is written there is less.
        self.assertEqual(self.disk.count("free"), 1)

    def test_format(self) -> None:
        """The title and the head of a batch are as the module says."""
        self.open().append([])
        with open(self.file(0), "rb") as file:
            content = file.read(8192)
        with open(self.file(1), "rb") as file:
            self.assertEqual(file.read(4096), content[:4096])
        key = content[8:24]
        self.assertNotEqual(key, bytes(16))
        self.assertEqual(content[:8], b"gostoreJ")
        self.assertEqual(content[24:32], SIZE.to_bytes(8, "little"))
        self.assertEqual(content[32:64], hashlib.sha256(content[:32]).digest())
        head = content[4096 : 4096 + 68]
        self.assertEqual(head[:36], key + bytes([2]) + bytes(7) + bytes([2]) + bytes(11))
        self.assertEqual(head[36:], hashlib.sha256(head[:36]).digest())
        self.assertEqual(content.rstrip(b"\0"), content[: 4096 + 68].rstrip(b"\0"))


class RedoTests(VolumeCase):
    """A volume that answers after the journal's flush, and crashes before its files are flushed."""

    trusted = True

    def open(self, sync: str = "journal") -> Volume:
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

    def restart(self, sync: str = "journal") -> Findings:
        """Start again, and mend."""
        self.volume = self.open(sync)
        found = scan(self.volume)
        repair(self.volume, found)
        return found

    def truncate(self, *names: str) -> None:
        """What ext4 and XFS leave of a file that was never flushed."""
        os.truncate(self.file(*names), 0)

    def test_one_flush(self) -> None:
        """A batch costs one fdatasync: after all files are written, before any is in place."""
        self.commit(1, "a", b"1")
        self.disk.clear()
        changes = [Commit(self.blob(number, f"b{number}", b"x"), b"x") for number in (2, 3)]
        self.volume.protocol.carry_out(changes)
        flushes = ("fsync", "fdatasync", "syncfs")
        self.assertEqual(self.disk.trace(*flushes), ["fdatasync .journal-0"])
        trace = self.disk.trace("writev", "fdatasync", "rename")
        self.assertEqual(trace[-3:], ["fdatasync .journal-0", *self.disk.trace("rename")])

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
        self.volume.protocol.checkpoint()
        self.volume.protocol.forget_journal()
        self.crash()
        shutil.rmtree(self.file("1"))
        self.assertEqual(self.restart().live, {})

    def test_redo_fails(self) -> None:
        """A start that fails in the middle of it leaves the journal for the next one."""
        self.disk.under = UnsyncedDisk()  # some hundred starts
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
        self.volume.protocol.forget_journal()
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
        self.assertEqual(self.restart().live, {"a": blob.committed()})
        self.assertEqual(self.data(1), b"data")
        self.assertEqual(self.names(), ["1"])

    def test_no_room_at_all(self) -> None:
        """If there is no room even then there is no start, but a reason, and nothing is lost."""
        blob = self.commit(1, "a", b"data")
        other = self.commit(2, "b", b"other")
        self.crash()
        self.truncate("1", DATA)
        self.truncate("2", DATA)
        self.fill()
        error = self.assertRaises(VolumeUnusable, self.restart)
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
        self.assertEqual(self.restart("files").live, {"a": blob.committed()})
        self.assertEqual(os.listdir(self.path), ["1"])
        self.volume.protocol.forget_journal()
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

    def test_checkpoint_fails(self) -> None:
        """A failed flush of the files is never tried again, and the journal forgets nothing."""
        blob = self.commit(1, "a", b"data")
        self.disk.fail("syncfs", errno.EIO)
        self.assertRaises(OutcomeUnknown, self.volume.protocol.checkpoint)
        self.assertIsNotNone(self.volume.broken)
        self.disk.clear()
        self.assertRaises(OutcomeUnknown, self.volume.protocol.checkpoint)
        self.assertRaises(OutcomeUnknown, self.volume.protocol.forget_journal)
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
        self.assertRaises(OutcomeUnknown, self.volume.protocol.forget_journal)
        self.crash()
        shutil.rmtree(self.file("1"))
        self.assertEqual(self.restart().live, {"a": blob.committed()})

    def test_number_of_a_tombstone(self) -> None:
        """A large blob with the number of a collected tombstone does not undo the deletion."""
        old = self.commit(1, "a", b"old")
        blob = self.commit(2, "a", b"data")
        self.delete(blob, [old.id])
        self.volume.protocol.checkpoint()
        for name in ("1", "2"):
            shutil.rmtree(self.file(name))
        later = self.stage(2, "b")
        (error,) = self.volume.protocol.carry_out([later])
        self.assertIsNone(error)
        self.crash()
        self.assertEqual(self.restart().live, {"b": later.blob.committed()})

    def test_set_aside(self) -> None:
        """What is set aside is flushed first, for it stands for its location from then on."""
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

    def test_staging_fails(self) -> None:
        """A blob that cannot be written is refused alone; the rest of the batch is durable."""
        self.commit(1, "a", b"data")
        self.disk.fail("mkdir", errno.ENOSPC)
        changes = [Commit(self.blob(number, f"b{number}", b"x"), b"x") for number in (2, 3)]
        errors = self.volume.protocol.carry_out(changes)
        self.assertEqual([error is None for error in errors], [False, True])
        self.crash()
        self.assertEqual(sorted(self.restart().live), ["a", "b3"])

    def test_rename_fails(self) -> None:
        """What cannot be renamed after the flush is not done, and no start does it again."""
        self.disk.fail("rename", errno.ENOSPC)
        changes = [Commit(self.blob(number, f"b{number}", b"x"), b"x") for number in (1, 2)]
        errors = self.volume.protocol.carry_out(changes)
        self.assertIsInstance(errors[0], NoSpace)
        self.assertEqual((errors[1], self.volume.broken), (None, None))
        self.crash()
        self.assertEqual(list(self.restart().live), ["b2"])

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

    def test_damaged_healed(self) -> None:
        """A blob set aside as damaged that the journal has whole is served again."""
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
