"""Tests for what the store does while small blobs are in the journal and have no files yet."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gostore.errors import NotFound, ReadOnly
from gostore.store.blobstore import BlobStore
from gostore.store.committer import REST
from gostore.store.interface import Details, Summary
from gostore.volume.changes import Sync
from gostore.volume.volume import Volume
from tests.store.doubles import COMMIT, FakeBody, FaultyDisk, ManualWorkers
from tests.store.support import StoreCase


class BehindCase(StoreCase):
    """A store with a journal, whose timer is the test's."""

    def open(self, **settings: Any) -> Summary:
        """Open the store, with a journal."""
        self.close()
        self.disk = FaultyDisk(trusted=True)
        self.disk.room = (1 << 40, 1 << 41)
        self.volume = Volume(str(self.directory), disk=self.disk, now=self.clock, sync=Sync.JOURNAL)
        self.workers = ManualWorkers()
        self.timer.keeps = lambda seconds: seconds > 0
        self.store = BlobStore(
            self.volume, self.workers, self.timer, **{"reserve": 0, "rng": self.rng, **settings}
        )
        self.store.open()
        return self.store.start()

    def elapse(self) -> None:
        """Let what was to be done later be done."""
        while self.timer.kept:
            kept, self.timer.kept = self.timer.kept, []
            for function, _ in kept:
                function()
            self.workers.run_all()

    def ids(self) -> list[str]:
        """The directories that have a number for a name."""
        return [name for name in self.names() if name.isdecimal()]


class BehindTests(BehindCase):
    """What is answered, and has no files yet."""

    def test_at_rest(self) -> None:
        """When nothing has been committed for a moment the files are made, and then it is quiet."""
        blob = self.store_blob("a")
        self.assertEqual(self.ids(), [])
        self.assertEqual([seconds for _, seconds in self.timer.kept], [REST])
        self.elapse()
        self.assertEqual(self.ids(), [str(blob.id)])
        self.assertEqual(self.timer.kept, [])

    def test_under_load(self) -> None:
        """While others commit the files wait, but not for ever."""
        first = self.store_blob("first")
        for looks in range(100):
            self.store_blob(f"{looks}")
            kept, self.timer.kept = self.timer.kept, []
            for function, seconds in kept:
                if seconds == REST:
                    self.store_blob(f"{looks} too")
                function()
            if self.ids():
                break
        self.assertIn(str(first.id), self.ids())
        self.assertGreater(looks, 20)
        self.elapse()
        self.assertEqual(len(self.ids()), len(self.store.index))

    def test_read(self) -> None:
        """A blob is read from memory before it has files, and verified without any."""
        self.store_blob("a", b"data")
        self.disk.clear()
        self.assertEqual(self.read("a"), b"data")
        self.wait(self.store.verifier.verify("a", lambda read: None))
        self.assertEqual(self.disk.calls, [])
        self.elapse()
        self.assertEqual(self.read("a"), b"data")

    def test_replaced_meanwhile(self) -> None:
        """A reader of what was replaced without files is sent to its successor, at any moment."""
        old = self.store_blob("a", b"old")
        putting = self.store.replace("a", FakeBody(b"new"), Details())
        job = self.workers.take(COMMIT)
        job.work()
        self.assertEqual(self.read("a"), b"old", "the new one is durable, and not shown")
        job.report()
        self.successResultOf(putting)
        self.failureResultOf(self.store.content(old), NotFound)
        self.assertEqual(self.read("a"), b"new")

    def everything(self) -> list[tuple[str, object]]:
        """All that lies in the directory but what is gostore's own, links not followed."""
        found: list[tuple[str, object]] = []
        for path in Path(self.directory).rglob("*"):
            if path.is_symlink():
                found.append((path.name, os.readlink(path)))
            elif path.is_file() and not path.name.startswith("."):
                found.append((path.name, path.read_bytes()))
        return sorted(found)

    def come_upon(self, put: Callable[[Path], object]) -> None:
        """Let the applier find something at `<id>`: it is left alone, and nothing more is stored.

        What has no files is read all the same.
        """
        blob = self.store_blob("a", b"data")
        put(self.directory / str(blob.id))
        before = self.everything()
        self.elapse()
        self.assertIn("stands where a blob belongs", str(self.volume.broken))
        self.assertEqual(self.everything(), before)
        self.assertRaises(ReadOnly, self.store.check_health)
        self.assertEqual(self.read("a"), b"data")

    def test_directory_in_the_way(self) -> None:
        """A directory of somebody's is not written into."""

        def put(path: Path) -> None:
            path.mkdir()
            (path / "photo.jpg").write_bytes(b"mine")

        self.come_upon(put)

    def test_file_in_the_way(self) -> None:
        """A file of somebody's is not overwritten."""
        self.come_upon(lambda path: path.write_bytes(b"mine"))

    def test_link_in_the_way(self) -> None:
        """A link is not followed."""
        (self.directory / "elsewhere").mkdir()
        self.come_upon(lambda path: path.symlink_to("elsewhere"))
        self.assertEqual(list((self.directory / "elsewhere").iterdir()), [])

    def test_id_of_the_unwritten(self) -> None:
        """The id of a blob without files is free when a batch has recorded that its own is done."""
        old = self.store_blob("a")
        new = self.store_blob("a")
        self.assertEqual(self.store.garbage.dead, [], "there is nothing to retire or collect")
        self.assertIn(old.id, self.store.index.ids)
        self.collect()
        self.assertIn(old.id, self.store.index.ids, "its batch is not done")
        self.elapse()
        self.collect()
        self.assertNotIn(old.id, self.store.index.ids)
        self.assertEqual(self.ids(), [str(new.id)])

    def test_collector_waits(self) -> None:
        """What was replaced stays until the change that has replaced it is in its files."""
        old = self.store_blob("a")
        self.elapse()
        new = self.store_blob("a")
        self.collect()
        self.assertEqual(self.ids(), [str(old.id)])
        self.elapse()
        self.collect()
        self.assertEqual(self.ids(), [str(new.id)])

    def test_stop(self) -> None:
        """A stop makes all files, and the journal holds nothing then."""
        blob = self.store_blob("a")
        self.wait(self.store.stop())
        self.assertEqual(self.ids(), [str(blob.id)])
        journal = self.volume.backlog.journal
        self.assertEqual(journal.recorded_synced, journal.written)
