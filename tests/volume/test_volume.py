"""Tests for gostore.volume.volume: opening a directory, uploads, and reading."""

from __future__ import annotations

import errno
import os

from gostore.blob import State
from gostore.errors import (
    BadRecord,
    ReadOnly,
    VolumeInUse,
    VolumeUnusable,
)
from gostore.text import LAST_TIME
from gostore.volume.changes import Commit, Stage
from gostore.volume.directory import DATA, STATE, DataDamaged
from gostore.volume.volume import HELD_BACK, Volume
from tests.store.doubles import FOR_EVER
from tests.volume.support import VolumeCase


class OpenTests(VolumeCase):
    """Opening a directory, and being refused it."""

    def test_made(self) -> None:
        """A missing directory is made, its parents too; `make=False` makes none."""
        path = self.file("x", "y")
        with self.assertRaises(VolumeUnusable):
            Volume(path, make=False).open()
        self.assertEqual(self.names(), [])
        volume = Volume(path)
        volume.open()
        volume.close()
        self.assertTrue(os.path.isdir(path))

    def test_made_to_last(self) -> None:
        """What is made is flushed into what is above it, level by level, or refused."""
        self.disk.clear()
        volume = Volume(self.file("x", "y"), disk=self.disk)
        volume.open()
        volume.close()
        kinds = [call.kind for call in self.disk.calls]
        made = ["open", "fsync", "close"]
        self.assertEqual(kinds[:9], [*made, *made, "open", "fstat", "lock"])
        volume.open()
        volume.close()
        self.disk.fail("fsync")
        self.assertRaises(VolumeUnusable, Volume(self.file("z"), disk=self.disk).open)
        self.assertEqual(self.disk.open_files, [""])

    def test_directories_not_flushed(self) -> None:
        """A file system that cannot flush a directory is refused, and says why."""
        self.volume.close()
        self.disk.fail("fsync", errno.EINVAL, times=FOR_EVER)
        error = self.assertRaises(VolumeUnusable, self.volume.open)
        self.assertEqual(error.reason, "Invalid argument")
        self.assertEqual(self.disk.open_files, [])

    def test_in_use(self) -> None:
        """A second opener is refused, by whatever path it comes; after a close it is not."""
        link = self.mktemp()
        os.symlink(self.path, link)
        for path in (self.path, os.path.abspath(link)):
            with self.assertRaises(VolumeInUse) as raised:
                Volume(path).open()
            self.assertIn(path, str(raised.exception))
        self.volume.close()
        Volume(self.path).open()

    def test_locked_first(self) -> None:
        """Nothing in the directory is touched, or flushed, before the lock is taken."""
        self.volume.close()
        self.disk.clear()
        self.volume.open()
        kinds = [call.kind for call in self.disk.calls]
        self.assertEqual(kinds[:5], ["open", "fstat", "lock", "open", "mkdir"])
        self.assertIn("syncfs", kinds)

    def test_not_flushed(self) -> None:
        """If what a crash left cannot be flushed it is not served."""
        self.volume.close()
        for kind in ("syncfs", "fsync", "mkdir", "open"):
            fault = self.disk.fail(kind, errno.EIO)
            self.assertRaises(VolumeUnusable, self.volume.open)
            self.assertEqual(self.disk.open_files, [], kind)
            self.disk.faults.remove(fault)
        self.volume.open()

    def test_full(self) -> None:
        """A full disk can be opened, to read and to delete."""
        self.volume.close()
        self.disk.fail("mkdir", errno.ENOSPC)
        self.volume.open()

    def test_clock(self) -> None:
        """Nothing is written when the clock is set beyond what Python can tell."""
        now = [LAST_TIME - 1]
        volume = Volume(self.path, disk=self.disk, now=lambda: now[0])
        self.volume.close()
        volume.open()
        self.addCleanup(volume.close)
        volume.check()
        now[0] = LAST_TIME
        error = self.assertRaises(ReadOnly, volume.check)
        self.assertIn("clock", error.reason)

    def test_look(self) -> None:
        """Looking changes nothing, and without the lock minds no daemon."""
        other = Volume(self.path)
        self.assertRaises(VolumeInUse, other.look)
        other.look(lock=False)
        other.close()
        self.assertEqual(self.names(), [])

    def test_file(self) -> None:
        """A file in the directory's place is refused."""
        path = os.path.abspath(self.mktemp())
        with open(path, "wb"):
            pass
        self.assertRaises(VolumeUnusable, Volume(path).open)

    def test_any_bytes(self) -> None:
        """A path need not be UTF-8."""
        path = os.path.abspath(self.mktemp()).encode() + b"-\xff"
        volume = Volume(path)
        volume.open()
        volume.close()
        self.assertTrue(os.path.isdir(path))

    def test_free(self) -> None:
        """free tells of the directory's file system."""
        free, total = self.volume.free()
        self.assertTrue(0 < free <= total)


class StageTests(VolumeCase):
    """Bodies that come in pieces."""

    def stage(self, blob_id: int, *pieces: bytes) -> Stage:
        """A stage with some pieces in it."""
        stage = self.volume.stage(self.start(blob_id, "a"))
        for piece in pieces:
            self.volume.write(stage, [piece])
        return stage

    def test_pending(self) -> None:
        """A stage has a Pending record, for people and for recovery."""
        self.stage(5, b"half")
        self.assertIs(self.volume.directory.read_record(".new-5", 5).state, State.PENDING)

    def test_commit(self) -> None:
        """Its data is flushed before its record is replaced, and both before the rename."""
        stage = self.stage(5, b"one", b"two")
        self.disk.clear()
        change = Commit(self.finish(stage.blob, b"onetwo"), stage)
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsNone(error)
        self.assert_order(
            f"fsync .new-5/{DATA}",
            f"fsync .new-5/{STATE}.tmp",
            f"rename .new-5/{STATE}.tmp -> .new-5/{STATE}",
            "fsync .new-5",
            "rename .new-5 -> 5",
            "fsync /",
        )
        self.assertEqual(self.data(5), b"onetwo")

    def test_sealed(self) -> None:
        """What is sealed is flushed and closed, and not flushed again."""
        stage = self.stage(5, b"data")
        self.volume.seal(stage)
        self.disk.clear()
        self.volume.protocol.carry_out([Commit(self.finish(stage.blob, b"data"), stage)])
        self.assertNotIn(f"fsync .new-5/{DATA}", self.disk.trace())
        self.assertEqual(self.disk.open_files, [""])

    def test_many_pieces(self) -> None:
        """More pieces than writev takes are written in several calls."""
        stage = self.volume.stage(self.start(5, "a"))
        pieces = [b"%d," % number for number in range(3000)]
        self.volume.write(stage, list(pieces))
        with open(self.file(".new-5", DATA), "rb") as file:
            self.assertEqual(file.read(), b"".join(pieces))

    def test_written_back(self) -> None:
        """What has come of a large stage is written out while the rest comes, and flushed later."""
        stage = self.stage(5)
        self.volume.write(stage, [bytes(HELD_BACK - 1)])
        self.assertEqual(self.disk.written_back, [])
        self.volume.write(stage, [b"x"])
        self.volume.write(stage, [b"x"])
        self.assertEqual(self.disk.written_back, [f"{stage.name}/{DATA}"])
        self.assertEqual(self.disk.trace("fsync", "fdatasync"), [])

    def test_dropped(self) -> None:
        """A stage that is given up says why in its record, and is closed."""
        stage = self.stage(5, b"half")
        stage.blob.fail(self.ticks(), "Client went away after 4 of 10 bytes")
        self.volume.drop(stage)
        blob = self.volume.directory.read_record(".new-5", 5)
        self.assertEqual(blob.log[-1].message, "Client went away after 4 of 10 bytes")
        self.assertEqual(self.disk.open_files, [""])

    def test_dropped_gives_room(self) -> None:
        """What a given-up upload has written does not take up room until the next collection."""
        stage = self.stage(5, b"half")
        stage.blob.fail(self.ticks(), "gone")
        self.volume.drop(stage)
        self.assertEqual(os.listdir(self.file(".new-5")), [STATE])

    def test_dropped_on_a_full_disk(self) -> None:
        """If there is no room for the reason, the stage is given up without it."""
        stage = self.stage(5, b"half")
        stage.blob.fail(self.ticks(), "no room")
        self.disk.fail("open", errno.ENOSPC)
        self.volume.drop(stage)
        self.assertIs(self.volume.directory.read_record(".new-5", 5).state, State.PENDING)


class ReadTests(VolumeCase):
    """Reading data and records."""

    on_disk = True

    def test_read(self) -> None:
        """Exactly the bytes that are asked for, however short the reads."""
        fd = self.volume.open_data(self.commit(1, "a", b"0123456789").committed())
        self.disk.shorten("pread", 3, times=10)
        self.assertEqual(self.volume.read(fd, 2, 7), b"2345678")
        self.assertRaises(DataDamaged, self.volume.read, fd, 8, 3)
        self.volume.close_data(fd)

    def test_read_now(self) -> None:
        """What is in memory is read at once; what is not, or cannot be told, is not."""
        fd = self.volume.open_data(self.commit(1, "a", b"0123456789").committed())
        self.assertEqual(self.volume.read_now(fd, 10), b"0123456789")
        self.disk.fail("preadv", errno.EAGAIN)
        self.assertIsNone(self.volume.read_now(fd, 10))
        self.disk.heal()
        self.disk.shorten("preadv", 3)
        self.assertIsNone(self.volume.read_now(fd, 10))
        self.disk.heal()
        self.disk.fail("preadv", errno.EIO)
        self.assertRaises(OSError, self.volume.read_now, fd, 10)
        self.disk.heal()
        self.disk.fail("preadv", errno.EOPNOTSUPP)
        for cached, found in ((True, None), (False, None), (True, b"0123456789")):
            self.disk.cached = cached
            self.assertEqual(self.volume.read_now(fd, 10), found)
        os.truncate(self.file("1", DATA), 9)
        self.assertRaises(DataDamaged, self.volume.read_now, fd, 10)
        self.volume.close_data(fd)

    def test_load(self) -> None:
        """load reads to the end of what is wanted, or says that there is none."""
        fd = self.volume.open_data(self.commit(1, "a", bytes(300_000)).committed())
        self.assertEqual(self.volume.load(fd, 100, 299_900), fd)
        self.assertRaises(DataDamaged, self.volume.load, fd, 100, 299_901)
        self.volume.close_data(fd)

    def test_not_a_file(self) -> None:
        """A link, FIFO, directory or second name for data.raw is damage, and holds nobody."""
        blob = self.commit(1, "a").committed()
        path = self.file("1", DATA)

        def link() -> None:
            os.symlink("/etc/hostname", path)

        def hard_link() -> None:
            with open(self.file("other"), "wb") as file:
                file.write(b"data")
            os.link(self.file("other"), path)

        for make in (link, hard_link, lambda: os.mkfifo(path), lambda: os.mkdir(path)):
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
            make()
            self.assertRaises(DataDamaged, self.volume.open_data, blob)
        os.rmdir(path)
        self.assertRaises(DataDamaged, self.volume.open_data, blob)
        self.volume.trash.remove("1")
        self.assertRaises(FileNotFoundError, self.volume.open_data, blob)
        self.assertEqual(self.disk.open_files, [""])

    def test_open_fails(self) -> None:
        """Other failures of an open are the process's, not the blob's."""
        blob = self.commit(1, "a").committed()
        self.disk.fail("open", errno.EMFILE)
        self.assertRaises(OSError, self.volume.open_data, blob)

    def test_short_record(self) -> None:
        """A state file is read to its end, however short the reads."""
        blob = self.commit(1, "a")
        self.disk.shorten("pread", 100, times=FOR_EVER)
        self.assertEqual(self.volume.directory.read_state("1"), self.state("1"))
        self.assertEqual(self.volume.directory.read_record("1").committed(), blob.committed())

    def test_record(self) -> None:
        """A state file that is no file, or too long, is no record."""
        self.commit(1, "a")
        self.put("1", self.state("1") + b"x" * 70_000)
        self.assertRaises(BadRecord, self.volume.directory.read_record, "1", 1)
        os.unlink(self.file("1", STATE))
        os.symlink(DATA, self.file("1", STATE))
        self.assertRaises(BadRecord, self.volume.directory.read_record, "1", 1)
        os.unlink(self.file("1", STATE))
        self.assertRaises(FileNotFoundError, self.volume.directory.read_record, "1", 1)
