"""Tests for the life of a BlobStore: health, stops, restarts and what is collected."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import Any

from twisted.internet.defer import succeed

from gostore.blob import Committed
from gostore.errors import (
    BodyFailed,
    Damaged,
    DiskFailed,
    NotFound,
    ReadOnly,
    Stopping,
    VolumeInUse,
    VolumeUnusable,
)
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Details
from gostore.volume.directory import DATA, STATE
from gostore.volume.disk import Disk
from gostore.volume.journal.format import NAMES as JOURNAL
from gostore.volume.volume import Volume
from tests.store.doubles import FILE, FOR_EVER, SECOND, FakeBody, InlineWorkers, PromptClock
from tests.store.support import LARGE, StoreCase

YEARS = 25 * 365 * 86400 * SECOND


class HealthTests(StoreCase):
    """Read-only: after a sync whose outcome nobody knows."""

    def break_down(self) -> FakeBody:
        """Store a and b, begin a body for c, and fail the sync that is to make a PUT last."""
        self.store_blob("a")
        self.store_blob("b", LARGE)
        body = FakeBody(b"c", complete=False, length=None)
        self.begun = self.store.create("c", body, Details())
        self.workers.run_all()
        self.store.check_health()
        self.disk.clear()
        self.store_blob("b", LARGE)
        root = 1 + self.disk.trace("fsync").index("fsync /")
        self.disk.fail("fsync", nth=root)
        self.fails(self.store.replace("b", FakeBody(LARGE + b"new"), Details()), DiskFailed)
        self.disk.heal()
        return body

    def test_writes(self) -> None:
        """Every write is refused, and says why; the body of none is asked for."""
        self.break_down()
        body = FakeBody(b"1")
        for verb in (self.store.create, self.store.replace, self.store.put):
            self.failureResultOf(verb("a", body, Details()), ReadOnly)
        error = self.failureResultOf(self.store.delete("a"), ReadOnly).value
        self.assertEqual(body.delivered, 0)
        self.assertIn("EIO", str(error))
        self.assertRaises(ReadOnly, self.store.check_health)

    def test_upload_under_way(self) -> None:
        """An upload that was under way is refused when it is here, and its stage removed."""
        body = self.break_down()
        body.finish(b"c")
        self.fails(self.begun, ReadOnly)
        self.collect()
        self.assertFalse([name for name in self.names() if name.startswith(".new-")])

    def test_reads(self) -> None:
        """Reading goes on, of what was durable before."""
        self.break_down()
        self.assertEqual(self.read("a"), b"data")
        self.assertEqual(self.read("b"), LARGE)

    def test_ids(self) -> None:
        """No id is free again that the disk may bear (bad-inputs 58)."""
        self.break_down()
        for _ in range(2):
            self.collect()
        for name in self.names():
            if name.isdecimal():
                self.assertIn(int(name), self.store.index.ids)

    def test_removed(self) -> None:
        """When its directory has been removed the store says so, and takes nothing any more."""
        self.store_blob("a")
        self.disk.fail("fstat", name="")
        self.store.check_health()  # a look that fails says nothing
        self.disk.heal()
        shutil.rmtree(self.directory)
        error = self.assertRaises(ReadOnly, self.store.check_health)
        self.assertEqual(error.reason, "the data directory has been removed")
        self.directory.mkdir()  # for whoever removes it after the test; it is another one
        for asked in (
            self.store.put("b", FakeBody(b"1"), Details()),
            self.store.put("b", FakeBody(LARGE), Details()),
            self.store.delete("a"),
        ):
            self.fails(asked, ReadOnly)
        self.collect()
        self.assertEqual(self.names(), [])

    def test_looks(self) -> None:
        """Writes of one second share a look at the directory, but not after one that found fault.

        A write without a look of its own is refused when its batch is to be made durable.
        """
        self.store_blob("a")
        self.clock.step = 0
        looks: list[object] = []
        leads_to = self.disk.leads_to

        def look(*arguments: Any) -> bool:
            looks.append(arguments)
            return leads_to(*arguments)

        self.patch(self.disk, "leads_to", look)
        asked = [self.store.put(name, FakeBody(b"1"), Details()) for name in "abc"]
        self.assertEqual(len(looks), 1)
        self.workers.run_all()
        for each in asked:
            self.successResultOf(each)
        moved = self.directory.rename(self.directory.with_name(f"{self.directory.name}-moved"))
        self.fails(self.store.put("a", FakeBody(b"2"), Details()), ReadOnly)
        looks.clear()
        for _ in range(3):
            self.failureResultOf(self.store.put("a", FakeBody(b"2"), Details()), ReadOnly)
        self.assertEqual(len(looks), 3)
        moved.rename(self.directory)
        self.wait(self.store.put("a", FakeBody(b"2"), Details()))

    def test_removed_reads(self) -> None:
        """Then a read says why it fails, be the blob open, on the disk or damaged before."""
        blobs = [self.store_blob("a"), self.store_blob("b", LARGE), self.store_blob("c")]
        self.read("a")
        damaged = self.store_blob("d")
        self.data(damaged).write_bytes(b"dato")
        self.fails(self.store.content(damaged), Damaged)
        shutil.rmtree(self.directory)
        logged = self.logged("Read-only until a restart")
        for blob in blobs:
            error = self.fails(self.store.content(blob), ReadOnly)
            self.assertEqual(error.reason, "the data directory has been removed")
        self.fails(self.store.get("d"), ReadOnly)
        self.fails(self.store.verifier.verify("c", lambda length: succeed(None)), ReadOnly)
        self.assertEqual(self.store.figures().damaged, 1)
        self.wait(self.store.stop())
        self.assertEqual((len(logged), self.flushLoggedErrors()), (1, []))
        self.directory.mkdir()

    def test_removed_before_a_stop(self) -> None:
        """A stop that is the first to notice says so once, and ends."""
        self.store_blob("a")
        self.store_blob("a", b"new")
        shutil.rmtree(self.directory)
        logged = self.logged("Read-only until a restart")
        self.wait(self.store.stop())
        self.assertEqual((len(logged), self.flushLoggedErrors()), (1, []))
        self.directory.mkdir()

    def test_no_links(self) -> None:
        """Where directories are never said to have a link, that is no proof of a removal."""
        self.close()

        class Linkless(Disk):
            @staticmethod
            def fstat(fd: int) -> os.stat_result:
                found = list(os.fstat(fd))
                found[stat.ST_NLINK] = 0
                return os.stat_result(found)

        volume = Volume(str(self.directory), disk=Linkless())
        volume.open()
        self.addCleanup(volume.close)
        volume.directory.check()

    def test_restart(self) -> None:
        """A restart decides from the disk, and all is well again."""
        self.break_down()
        self.open()
        self.store.check_health()
        self.assertIn(self.read("b"), (LARGE, LARGE + b"new"))
        self.store_blob("b")


class StopTests(StoreCase):
    """A stop finishes what is being committed, and leaves no stage."""

    def test_idle(self) -> None:
        """With nothing to do there is nothing to wait for but the last look at the garbage."""
        self.store_blob("a")
        self.wait(self.store.stop())

    def test_refuses(self) -> None:
        """From then on no write begins; reading goes on."""
        self.store_blob("a")
        stopped = self.store.stop()
        self.assertRaises(Stopping, self.store.check_health)
        body = FakeBody(b"1")
        for verb in (self.store.create, self.store.replace, self.store.put):
            self.failureResultOf(verb("a", body, Details()), Stopping)
        self.failureResultOf(self.store.delete("a"), Stopping)
        self.assertEqual(body.delivered, 0)
        self.assertEqual(self.read("a"), b"data")
        self.wait(stopped)

    def test_commits(self) -> None:
        """Commits and deletions in flight are finished, and answered as such."""
        self.store_blob("a")
        written = [self.store.put(f"b{i}", FakeBody(b"1"), Details()) for i in range(3)]
        deleted = self.store.delete("a")
        stopped = self.store.stop()
        self.assertNoResult(stopped)
        self.workers.run_all()
        for asked in (*written, deleted, stopped):
            self.successResultOf(asked)
        self.open()
        self.assertEqual(len(self.wait(self.store.list()).entries), 3)

    def test_body_finishes(self) -> None:
        """A body that comes to its end in the time of grace is stored."""
        body = FakeBody(b"12", complete=False, length=None)
        asked = self.store.create("a", body, Details())
        stopped = self.store.stop()
        self.workers.run_all()
        self.assertNoResult(stopped)
        body.finish(b"34")
        self.assertEqual(self.wait(asked).size, 4)
        self.successResultOf(stopped)

    def test_uploads(self) -> None:
        """Uploads that break off are waited for, and their stages are gone (bad-inputs 77)."""
        bodies = [FakeBody(LARGE, complete=False, length=None) for _ in range(10)]
        asked = [self.store.create(f"a{i}", body, Details()) for i, body in enumerate(bodies)]
        for one in range(5):
            self.store.create(f"b{one}", FakeBody(LARGE), Details())
        for _ in range(5):
            self.workers.run(FILE)
        stopped = self.store.stop()
        for body in bodies:
            body.fail()
        self.wait(stopped)
        for one in asked:
            self.failureResultOf(one, BodyFailed)
        self.assertEqual(len(self.names()), 5)
        self.assertTrue(all(name.isdecimal() for name in self.names()))

    def test_damage(self) -> None:
        """A stop waits for a quarantine, too."""
        blob = self.store_blob("a")
        self.data(blob).unlink()
        asked = self.store.content(blob)
        self.workers.run(FILE)
        self.failureResultOf(asked)
        stopped = self.store.stop()
        self.assertNoResult(stopped)
        self.wait(stopped)
        self.assertEqual(self.names(), [f".quarantine-{blob.id}-1"])

    def test_close(self) -> None:
        """After the close nothing is open, and the directory is free for another daemon."""
        self.store_blob("a")
        self.read("a")
        store, workers = self.store, self.workers
        other = BlobStore(Volume(str(self.directory)), InlineWorkers(), PromptClock())
        self.assertRaises(VolumeInUse, other.open)
        self.wait(store.stop())
        store.close()
        self.store = None
        workers.run_all()
        self.assertEqual(self.disk.open_files, [])
        self.assertEqual(workers.stopped, 1)
        other.open()
        other.close()


class StartTests(StoreCase):
    """A start that the disk refuses, and the times in between."""

    def test_scan_fails(self) -> None:
        """A directory that cannot be read is unusable, and let go of."""
        self.close()
        volume = Volume(str(self.directory), disk=self.disk)
        store = BlobStore(volume, InlineWorkers(), PromptClock())
        self.disk.fail("listdir", errno.EACCES)
        error = self.assertRaises(VolumeUnusable, store.open)
        self.assertIn("EACCES", str(error))
        store.open()
        store.close()

    def test_not_ours_to_read(self) -> None:
        """Blobs of another owner, restored by root say, are named; so is the journal."""
        blobs = [self.store_blob(location) for location in ("a", "b")]
        self.close()
        store = BlobStore(
            Volume(str(self.directory), disk=self.disk), InlineWorkers(), PromptClock()
        )
        ids = [str(blob.id) for blob in blobs]
        for name, shown in ((STATE, ids), (JOURNAL[0], ["the redo journal"])):
            self.disk.fail("open", errno.EACCES, name=name, times=4)
            error = self.assertRaises(VolumeUnusable, store.open)
            self.assertIn(error.reason, [f"{each}: Permission denied" for each in shown])
            self.assertEqual(self.disk.open_files, [])
            self.disk.heal()

    def test_out_of_reach_and_written_anew(self) -> None:
        """A write over a blob that a start may not read is the newer one when both can be read."""
        for _ in range(5):
            self.store_blob("kept")
        old = self.store_blob("b", b"old")
        self.disk.fail("open", errno.EACCES, name=f"{old.id}/{STATE}", times=FOR_EVER)
        self.open()
        new = self.store_blob("b", b"new")
        self.assertGreater(new.generation, old.generation + 1)
        self.disk.heal()
        self.open()
        self.assertEqual(self.read("b"), b"new")

    def test_something_in_place_of_the_journal(self) -> None:
        """What has taken the place of a journal's file is named, and the directory let go of."""
        self.close()
        (self.directory / JOURNAL[1]).symlink_to("nowhere")
        store = BlobStore(Volume(str(self.directory)), InlineWorkers(), PromptClock())
        error = self.assertRaises(VolumeUnusable, store.open)
        self.assertIn(f"{JOURNAL[1]}, of the redo journal, is not a regular file", str(error))
        (self.directory / JOURNAL[1]).unlink()
        store.open()
        store.close()

    def test_repair_fails(self) -> None:
        """So is one that cannot be mended, whether a rename to the trash or a sync fails."""
        for kind, name, missing in (("rename", ".trash", STATE), ("fsync", None, DATA)):
            self.open()
            self.data(self.store_blob("a")).with_name(missing).unlink()
            self.close()
            store = BlobStore(
                Volume(str(self.directory), disk=self.disk), InlineWorkers(), PromptClock()
            )
            store.open()
            self.disk.fail(kind, name=name)
            error = self.assertRaises(VolumeUnusable, store.start)
            self.assertIn("EIO", str(error))
            store.close()

    def test_room_unknown(self) -> None:
        """A start that cannot tell how much room there is is refused, too."""
        self.close()
        store = BlobStore(
            Volume(str(self.directory), disk=self.disk), InlineWorkers(), PromptClock()
        )
        store.open()
        self.disk.fail("free")
        self.assertRaises(VolumeUnusable, store.start)
        store.close()

    def test_no_threads(self) -> None:
        """Without its threads a store cannot start, and says so."""
        self.close()
        workers = InlineWorkers(failing=RuntimeError("can't start new thread"))
        store = BlobStore(Volume(str(self.directory)), workers, PromptClock())
        self.addCleanup(store.close)
        store.open()
        error = self.assertRaises(VolumeUnusable, store.start)
        self.assertIn("can't start new thread", str(error))

    def test_room_unknown_to_collector(self) -> None:
        """A run that cannot tell how much room there is has freed the ids all the same."""
        (self.directory / ".new-7").mkdir()
        self.open()
        self.assertIn(7, self.store.index.ids)
        self.disk.fail("free")
        self.collect()
        self.assertNotIn(7, self.store.index.ids)

    def test_clock_goes_back(self) -> None:
        """The newest write wins after a restart, whatever the wall clock says (bad-inputs 76)."""
        self.store_blob("a", b"first")
        for jump in (-YEARS, 2 * YEARS, -3 * YEARS):
            self.clock.time += jump
            data = b"%d" % jump
            self.store_blob("a", data)
            self.open()
            self.assertEqual(self.read("a"), data)
        self.clock.time -= YEARS // 2
        self.wait(self.store.delete("a"))
        self.open()
        self.fails(self.store.get("a"), NotFound)


class TimeTests(StoreCase):
    """The recorded times of a location's versions: in whole seconds, each later than the last."""

    def setUp(self) -> None:
        """Let the clock stand still."""
        super().setUp()
        self.clock.step = 0

    def check_later(self, old: Committed, new: Committed) -> None:
        """The new version is at least of the next second, and so is its record."""
        self.assertGreater(new.modified // SECOND, old.modified // SECOND)
        self.assertEqual(self.record(new.id).changed, new.modified)

    def test_same_second(self) -> None:
        """Two versions of one second differ in the second that is recorded."""
        old = self.store_blob("a")
        self.assertEqual(old.modified, self.clock.time)
        new = self.store_blob("a", b"new")
        self.assertEqual(new.modified, (old.modified // SECOND + 1) * SECOND)
        self.check_later(old, new)

    def test_set_back(self) -> None:
        """When the clock is set back a new version is still later, after a restart, too."""
        old = self.store_blob("a")
        self.clock.time -= YEARS
        for _ in range(2):
            self.open()
            new = self.store_blob("a", b"new")
            self.check_later(old, new)
            old = new
        other = self.store_blob("b")
        self.assertEqual(other.modified, self.clock.time, "only this location is concerned")
        self.clock.time += 2 * YEARS
        self.assertEqual(self.store_blob("a").modified, self.clock.time)

    def test_deleted(self) -> None:
        """A blob is later than one that was deleted before it, be that collected."""
        for collects in (False, True):
            old = self.store_blob("a")
            self.wait(self.store.delete("a"))
            if collects:
                self.collect()
            self.clock.time -= SECOND
            new = self.store_blob("a", b"new")
            self.check_later(old, new)

    def test_damaged(self) -> None:
        """A blob is later than the damaged one that it replaces."""
        old = self.store_blob("a")
        self.data(old).write_bytes(b"dato")
        self.fails(self.store.content(old), Damaged)
        self.check_later(old, self.store_blob("a", b"new"))

    def test_end_of_time(self) -> None:
        """In the last second that can be recorded there is no later one."""
        self.clock.time = 253_402_300_799 * SECOND
        old = self.store_blob("a")
        self.assertEqual(self.store_blob("a", b"new").modified, old.modified)
