"""Tests for gostore.volume.directory: what somebody puts in its place, or into it, meanwhile."""

from __future__ import annotations

import errno
import os
import shutil

from twisted.logger import capturedLogs, formatEvent

from gostore.errors import BadRecord, ReadOnly
from gostore.volume.changes import Commit, Delete, Discard
from gostore.volume.collect import Dead, Replaced, collect, retire
from gostore.volume.directory import DataDamaged
from tests.volume.support import OldKernel, VolumeCase


class PlaceTests(VolumeCase):
    """A data directory that is not where the next start will look for it."""

    def setUp(self) -> None:
        super().setUp()
        self.blob = self.commit(1, "a")
        self.moved = f"{self.path}.moved"

    def check(self) -> str | None:
        """Why nothing may be written."""
        try:
            self.volume.directory.check()
        except ReadOnly as error:
            return error.reason
        return None

    def assert_refused(self) -> None:
        """Nothing is written, and nothing is even tried."""
        self.assertIn("leads elsewhere", self.check() or "")
        self.disk.clear()
        changes = [self.change(2, "b"), Delete(self.blob.committed(), []), Discard(["1"], 0)]
        errors = self.volume.protocol.carry_out(changes)
        self.assertEqual([type(error) for error in errors], [ReadOnly] * 3)
        self.assertEqual(self.disk.trace(), [])
        self.assertIsNone(self.volume.broken, "it may come back")

    def test_another_in_its_place(self) -> None:
        """Nothing is written while another directory has its place; then writing goes on."""
        os.rename(self.path, self.moved)
        os.mkdir(self.path)
        self.assert_refused()
        self.assertEqual(self.names(), [], "the other one is left alone")
        os.close(self.volume.open_data(self.blob.committed()))
        os.rmdir(self.path)
        os.rename(self.moved, self.path)
        self.assertIsNone(self.check())
        self.commit(3, "c")

    def test_moved_away(self) -> None:
        """A path that leads nowhere is as bad: the next start would make an empty directory."""
        os.rename(self.path, self.moved)
        self.assert_refused()
        os.rename(self.moved, self.path)

    def test_moved_above(self) -> None:
        """The same goes for a directory above it."""
        self.volume.close()
        above = os.path.abspath(self.mktemp())
        self.path = os.path.join(above, "data")
        self.volume = self.open()
        os.rename(above, f"{above}.moved")
        self.assert_refused()
        with open(above, "wb"):
            self.assert_refused()

    def test_link(self) -> None:
        """A link is followed: it has to lead to the directory that was opened."""
        self.volume.close()
        place, self.path = self.path, f"{self.path}.link"
        os.symlink(place, self.path)
        self.volume = self.open()
        self.commit(4, "d")
        os.mkdir(self.moved)
        os.unlink(self.path)
        os.symlink(self.moved, self.path)
        self.assert_refused()

    def test_said_once(self) -> None:
        """The log says it once, and once that it is over."""
        with capturedLogs() as captured:
            os.rename(self.path, self.moved)
            for _ in range(3):
                self.assertIsNotNone(self.check())
            os.rename(self.moved, self.path)
            for _ in range(3):
                self.assertIsNone(self.check())
        said = [formatEvent(event) for event in captured]
        self.assertEqual([line.split(":")[0] for line in said][:1], ["Read-only"])
        self.assertEqual(len(said), 2)
        self.assertIn("goes on", said[1])

    def test_cannot_be_seen(self) -> None:
        """A path that may not be looked at proves nothing: a daemon may drop its rights."""

        def leads_to(path: object, dir_fd: object) -> bool:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        self.disk.leads_to = leads_to  # type: ignore[method-assign]
        self.assertIsNone(self.check())


class LinkTests(VolumeCase):
    """A symbolic link that somebody puts in the place of a directory of ours."""

    def setUp(self) -> None:
        super().setUp()
        self.elsewhere = f"{self.path}-elsewhere"

    def replace(self, name: str) -> None:
        """Move a directory away, and put a link to it in its place."""
        os.rename(self.file(name), self.elsewhere)
        os.symlink(self.elsewhere, self.file(name))
        self.before = self.found()

    def found(self) -> dict[str, bytes]:
        """What lies behind the link."""
        found = {}
        for name in os.listdir(self.elsewhere):
            with open(os.path.join(self.elsewhere, name), "rb") as file:
                found[name] = file.read()
        return found

    def test_read(self) -> None:
        """Nothing is read from behind it: the blob is damaged."""
        blob = self.commit(1, "a").committed()
        self.replace("1")
        self.disk.opens_now = True
        self.assertIsNone(self.volume.open_data_now(blob))
        self.assertRaises(DataDamaged, self.volume.open_data, blob)
        self.assertRaises(BadRecord, self.volume.directory.read_record, "1", 1)

    def test_deleted(self) -> None:
        """A deletion moves the link away, and nothing behind it."""
        blob = self.commit(1, "a")
        self.replace("1")
        self.delete(blob)
        self.assertNotIn("1", self.names())
        collect(self.volume, [])
        self.assertEqual(self.found(), self.before)

    def test_collected(self) -> None:
        """The collector quarantines the link, and removes nothing behind it."""
        blob = self.commit(1, "a")
        self.delete(blob)
        self.replace("1")
        dead = Dead(1, "a", blob.generation)
        self.assertEqual(collect(self.volume, [dead]).blobs, [dead])
        self.assertEqual(self.names(), [".quarantine-1-1"])
        self.assertEqual(self.found(), self.before)

    def test_retired(self) -> None:
        """A replaced blob is not marked behind it."""
        old, new = self.commit(1, "a"), self.commit(2, "a")
        self.replace("1")
        retire(self.volume, [Replaced(old.committed(), new.id, 9)])
        self.assertEqual(self.found(), self.before)

    def test_trash(self) -> None:
        """What is in the trash is not emptied behind it."""
        self.commit(1, "a")
        self.volume.trash.put("1", 1)
        self.replace(".trash-1-1")
        self.assertIn(".trash-1-1", collect(self.volume, []).left)
        self.assertEqual(self.found(), self.before)

    def test_stage(self) -> None:
        """An upload is neither finished nor dropped behind it."""
        for blob_id in (1, 2):
            stage = self.volume.stage(self.start(blob_id, "a"))
            self.volume.write(stage, [b"data"])
            self.replace(stage.name)
            if blob_id == 1:
                change = Commit(self.finish(stage.blob, b"data"), stage)
                (error,) = self.volume.protocol.carry_out([change])
                self.assertIsNotNone(error)
            else:
                stage.blob.fail(self.ticks(), "Client went away")
                self.volume.drop(stage)
            self.assertEqual(self.found(), self.before)
            shutil.rmtree(self.elsewhere)


class OldKernelLinkTests(LinkTests):
    """The same without openat2(2)."""

    kernel = OldKernel
