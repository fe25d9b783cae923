"""The mark of a directory into which blobs are being moved."""

from __future__ import annotations

import os

from gostore.commands.fsck import Kind, fsck
from gostore.errors import VolumeUnusable
from gostore.volume.changes import Sync
from gostore.volume.directory import MIGRATING
from gostore.volume.migrating import mark, source_of, unmark
from gostore.volume.volume import Volume
from tests.volume.support import VolumeCase


class MarkTests(VolumeCase):
    """A volume that is marked, and what others make of it."""

    def test_mark(self) -> None:
        """A mark is durable, says the source, and keeps a daemon away until it is removed."""
        volume = self.volume
        self.assertIsNone(source_of(volume.directory))
        self.disk.clear()
        mark(volume.directory, "directory /ünïcode")
        self.assert_order(f"writev {MIGRATING}", f"fsync {MIGRATING}", "fsync /")
        self.assertEqual(source_of(volume.directory), "directory /ünïcode")
        self.commit(1, "a")
        volume.close()
        other = Volume(self.path, sync=Sync.FILES)
        for _ in range(2):
            # The refusal lets go of the lock.
            with self.assertRaises(VolumeUnusable) as caught:
                other.open()
        self.assertIn("to come from directory /ünïcode: go on with", str(caught.exception))
        report = fsck(Volume(self.path, make=False))
        self.assertEqual(report.blobs, 1)
        self.assertEqual([each.kind for each in report.findings], [Kind.INCOMPLETE])
        other.open(migrating=True)
        unmark(other.directory)
        other.close()
        other.open()
        other.close()

    def test_torn(self) -> None:
        """A mark that a crash has torn, or that somebody has made, keeps a daemon away, too."""
        volume = self.volume
        for torn in (b"", b"\xff", None):
            if torn is None:
                volume.directory.make(MIGRATING)
            else:
                volume.directory.write(MIGRATING, torn, sync=False)
            volume.close()
            with self.assertRaises(VolumeUnusable):
                volume.open()
            volume.open(migrating=True)
            self.assertIsNotNone(source_of(volume.directory))
            if torn is None:
                os.rmdir(self.file(MIGRATING))
            else:
                volume.directory.unlink(MIGRATING)
        mark(volume.directory, "s3://a")
        mark(volume.directory, "s3://b")
        self.assertEqual(source_of(volume.directory), "s3://b")
