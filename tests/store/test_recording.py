"""gostore.store.recording: when the record cache is written, and that nobody has to wait for it."""

from __future__ import annotations

import errno
import os

from gostore.store import recording
from gostore.volume.directory import RECORDS, RECORDS_TMP
from gostore.volume.recovery import records
from tests.store.doubles import CHORE, FOR_EVER
from tests.store.support import StoreCase

BLOBS = 3


class RecordingCase(StoreCase):
    """A store whose blobs count as old as soon as they are there."""

    def setUp(self) -> None:
        super().setUp()
        self.disk.ctime_is_trusted = True
        self.patch(records, "RECENT", -(1 << 60))

    def fill(self) -> None:
        """Store some blobs, and open the store anew."""
        for number in range(BLOBS):
            self.store_blob(f"{number}")
        self.restart()

    def restart(self) -> int:
        """Stop the store, and start another one; return how many records that had to read."""
        self.wait(self.store.stop())
        self.store.close()
        self.open()
        return self.store._recording._lacking


class AtTheEndTests(RecordingCase):
    """A store that stops leaves a cache."""

    def test_stop(self) -> None:
        """The next start reads no record, and has the same blobs."""
        self.fill()
        self.assertEqual(self.store._recording._lacking, 0)
        self.assertEqual([self.read(f"{number}") for number in range(BLOBS)], [b"data"] * BLOBS)

    def test_nothing_new(self) -> None:
        """A cache that lacks next to nothing is left as it is."""
        self.fill()
        before = os.stat(self.directory / RECORDS)
        self.assertEqual(self.restart(), 0)
        self.assertEqual(os.stat(self.directory / RECORDS), before)

    def test_something_new(self) -> None:
        """What has been written since is added, and what is gone leaves it."""
        self.fill()
        self.store_blob("new")
        self.wait(self.store.delete("0"))
        self.assertEqual(self.restart(), 0)
        rows = [blob.location for blob, _ in records.read_records(self.volume.directory)]
        self.assertEqual(rows, ["1", "2", "new"])

    def test_out_of_patience(self) -> None:
        """A stop reads no records for long: it keeps what the cache has."""
        self.fill()
        self.store_blob("new")
        self.patch(recording, "_PATIENCE", -1.0)
        self.assertEqual(self.restart(), 1)

    def test_failure(self) -> None:
        """A stop goes on without a cache, whatever call fails."""
        told = self.logged("The record cache is not written")
        for kind in ("open", "fstat", "writev", "rename", "close"):
            self.store_blob("a" + kind)
            self.disk.fail(kind, errno.EIO, name=RECORDS_TMP, times=FOR_EVER)
            self.wait(self.store.stop())
            self.disk.heal()
            self.store.close()
            self.open()
        self.assertEqual(len(told), 5)
        self.assertNotIn(RECORDS, self.names())

    def test_read_only(self) -> None:
        """Once a sync has failed, what is in memory is no proof of what is on the disk."""
        self.store_blob("a")
        self.volume.directory.give_up("a sync failed")
        self.wait(self.store.stop())
        self.assertNotIn(RECORDS, self.names())

    def test_where_it_is_of_no_use(self) -> None:
        """On a file system whose ctimes say nothing there is no cache."""
        self.disk.ctime_is_trusted = False
        self.fill()
        self.assertEqual(self.store._recording._lacking, BLOBS)
        self.assertEqual([name for name in self.names() if name.startswith(".rec")], [])


class BesideTests(RecordingCase):
    """A store that serves writes the cache when nobody commits."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(recording, "_FEW", 2)
        self.patch(recording, "_STEP", 1)

    def collect(self) -> None:
        """Let the collector run once, and nothing of what it brings."""
        collected = self.store.collect()
        while not collected.called:
            self.workers.run()

    def test_idle(self) -> None:
        """Nothing is written while blobs come; then all of it, step by step."""
        for number in range(BLOBS):
            self.store_blob(f"{number}")
            self.collect()
            self.assertEqual(self.workers.names(CHORE), [])
        self.collect()
        steps = self.workers.run_all()
        self.assertEqual((steps, RECORDS in self.names()), (BLOBS + 2, True))
        self.collect()
        self.assertEqual(self.workers.names(CHORE), [])

    def test_few(self) -> None:
        """For a blob or two nothing is written."""
        self.store_blob("a")
        for _ in range(3):
            self.collect()
        self.assertEqual(self.workers.names(CHORE), [])

    def test_blobs_come_meanwhile(self) -> None:
        """What is written during it may be missing in it, and is counted."""
        self.fill()
        for number in range(BLOBS):
            self.store_blob(f"{number}x")
        self.collect()
        self.collect()
        self.workers.run(CHORE)
        self.store_blob("z")
        self.workers.run_all()
        self.assertEqual(self.store._recording._lacking, 1)

    def test_stopped_meanwhile(self) -> None:
        """A stop gives up what is being written, and writes all of it at once."""
        for number in range(3 * BLOBS):
            self.store_blob(f"{number}")
        self.collect()
        self.collect()
        self.workers.run(CHORE)
        self.assertIn(RECORDS_TMP, self.names())
        self.store.stop()
        steps = []
        while self.workers.jobs:
            steps += self.workers.names()[:1]
            self.workers.run()
        self.assertLess(steps.count("add"), 3)
        self.assertEqual((RECORDS in self.names(), RECORDS_TMP in self.names()), (True, False))

    def test_no_room(self) -> None:
        """Where there is no room it is tried once, and again when there is more to write."""
        told = self.logged("The record cache is not written")
        self.disk.room = (0, 1 << 41)
        self.store.admission.free = 1 << 40
        for number in range(BLOBS):
            self.store_blob(f"{number}")
        for _ in range(4):
            self.collect()
            self.workers.run_all()
        self.assertEqual((len(told), [each for each in self.names() if "rec" in each]), (1, []))
