"""Tests for gostore.volume.journal.journal: the two files, and the batches in them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from gostore.volume.disk import Disk
from gostore.volume.journal.format import BLOCK, NAMES, SIZE, Entry
from gostore.volume.journal.journal import Journal, NotAJournal, NothingWritten
from tests.store.doubles import FOR_EVER, FaultyDisk


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
            lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
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

    def test_removal_torn_twice(self) -> None:
        """A power cut may tear the one title at a removal, and the next one the other."""
        self.open().append([entry(1)])
        self.spoil(0, 20)
        again = self.open(self.disk)
        again.read()
        self.disk.fail("fdatasync", errno.EIO, nth=2)
        with self.assertRaises(OSError):
            again.remove()
        self.spoil(1, 20)
        third = self.open()
        self.assertEqual((third.read(), third.damage), ([], None))

    def test_torn_first(self) -> None:
        """The file without a title is marked first: a power cut may tear the one that is marked."""
        for mark in (Journal.remove, Journal.shrink):
            for turn in (0, 1):
                self.open().append([entry(1)])
                self.spoil(turn, 20)
                again = self.open(self.disk)
                again.read()
                self.disk.clear()
                self.disk.fail("fdatasync", errno.EIO)
                with self.assertRaises(OSError):
                    mark(again)
                written = {call.name for call in self.disk.calls if call.kind == "pwrite"}
                self.assertEqual(written, {NAMES[turn]})
                self.disk.clear()
                again.remove()

    def test_unflushed(self) -> None:
        """Of a journal that is not flushed a power cut may leave anything, and no start minds."""
        root = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, root)
        unflushed = lambda: Journal(self.disk, root, flushes=False)  # noqa: E731
        journal = unflushed()
        self.addCleanup(journal.close)
        for number in range(4):
            journal.append([entry(number)])
        self.spoil(0, 2 * BLOCK)
        for again in (unflushed(), self.open()):
            wanted = [entry(number) for number in (0, 2, 3)]
            self.assertEqual((again.read(), again.damage), (wanted, None))
        # It does not go on as one that is flushed, nor the other way round.
        again.synced = again.written
        again.append([entry(5)])
        for later, goes_on in ((self.open(), True), (unflushed(), False)):
            self.addCleanup(later.close)
            self.assertEqual(later.read(), [entry(5)])
            self.assertEqual(later.goes_on, goes_on)
        later.synced = later.written
        later.append([entry(6)])
        for last, goes_on in ((unflushed(), True), (self.open(), False)):
            self.addCleanup(last.close)
            self.assertEqual(last.read(), [entry(6)])
            self.assertEqual(last.goes_on, goes_on)

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
