"""The two kinds of ends of a migration, when something fails: it is the blob's, or all is left."""

from __future__ import annotations

import errno
from pathlib import Path

from attrs import evolve

from gostore.bucket.engine import Mismatch, Unsettled
from gostore.bucket.moving import BucketSource, BucketTarget
from gostore.bucket.pointer import pointer_key, record_key
from gostore.bucket.visiting import Bucket
from gostore.errors import (
    AlreadyExists,
    DiskFailed,
    NoSpace,
    NotFound,
    Spoiled,
    StoreError,
    VolumeUnusable,
)
from gostore.migration.directory import DirectorySource
from gostore.migration.mover import Interrupted, difference_of
from gostore.statefile import NAME
from gostore.volume.directory import DATA
from gostore.volume.migrating import mark
from gostore.volume.volume import Volume
from tests.migration.support import BLOBS, MigrationCase
from tests.store.doubles import FaultyDisk


class DirectoryTests(MigrationCase):
    """A directory as a source and as a target."""

    def source(self) -> tuple[DirectorySource, FaultyDisk]:
        """The directory, open, on a disk that can fail."""
        disk = FaultyDisk()
        source = DirectorySource(Volume(self.path, disk=disk, make=False))
        source.open()
        self.addCleanup(source.close)
        return source, disk

    def test_incomplete(self) -> None:
        """A directory that lacks blobs itself is no source."""
        volume = Volume(self.path)
        volume.open()
        mark(volume.directory, "s3://bucket/x")
        volume.close()
        with self.assertRaisesRegex(VolumeUnusable, "it lacks blobs that are to come from s3://"):
            self.from_directory().open()

    def test_unreadable_directory(self) -> None:
        """A directory that cannot be listed is no source, and no target."""
        for end in (self.from_directory, self.to_directory):
            disk = FaultyDisk()
            disk.fail("listdir", times=9)
            with self.assertRaisesRegex(VolumeUnusable, "The disk failed: EIO"):
                if end == self.from_directory:
                    DirectorySource(Volume(self.path, disk=disk, make=False)).open()
                else:
                    self.to_directory(disk).open("x", dry=False)

    def test_blob_gone(self) -> None:
        """What is gone, or cannot be read, is the blob's own damage."""
        source, disk = self.source()
        inside = Path(self.path) / str(source.find("small").id)
        (inside / NAME).rename(inside / "x")
        with self.assertRaisesRegex(Spoiled, "it is gone"):
            source.read("small")
        (inside / "x").rename(inside / NAME)
        (inside / DATA).unlink()
        with self.assertRaisesRegex(Spoiled, "data.raw is missing"):
            list(source.read("small")[1])
        disk.fail("pread", times=99)
        disk.fail("preadv", times=99)
        with self.assertRaisesRegex(Spoiled, "it cannot be read: Input/output error"):
            list(source.read("large")[1])

    def test_quarantined(self) -> None:
        """What was quarantined earlier is named as damaged, by its location where one is known."""
        source, _ = self.source()
        blob_id = source.find("small").id
        source.close()
        inside = Path(self.path) / str(blob_id)
        (inside / DATA).unlink()
        self.store().close()
        source = self.from_directory()
        source.open()
        self.addCleanup(source.close)
        self.assertEqual(
            source.damaged, {"small": f"it was quarantined earlier, as .quarantine-{blob_id}-1"}
        )

    def test_full(self) -> None:
        """A target without room stops the migration with the reason; the next run goes on."""
        for kind, error, reason in (
            ("writev", errno.ENOSPC, NoSpace),
            ("fsync", errno.EIO, DiskFailed),
        ):
            for nth in (1, 2):
                disk = FaultyDisk()
                disk.fail(kind, error, nth=nth, times=10**6, name=DATA)
                with self.assertRaises(reason):
                    self.migrate(self.from_directory(), self.to_directory(disk))
        self.assertTrue(self.migrate(self.from_directory(), self.to_directory()).complete)
        self.assertEqual(self.in_directory(self.back), self.in_directory(self.path))

    def test_mark_fails(self) -> None:
        """A mark that cannot be written, or made durable, stops the migration."""
        for kind in ("open", "fsync"):
            disk = FaultyDisk()
            target = self.to_directory(disk, str(self.root / kind))
            target.open("x", dry=False)
            disk.fail(kind, times=99)
            with self.assertRaisesRegex(StoreError, "EIO"):
                target.begin("x")
            disk.faults.clear()
            target.close()


class BucketTests(MigrationCase):
    """A bucket as a source and as a target."""

    def setUp(self) -> None:
        """Fill it."""
        super().setUp()
        self.migrate(self.from_directory(), self.to_bucket())
        self.bucket = Bucket(self.engine, "s3://bucket/prefix")

    def test_source(self) -> None:
        """A blob that is deleted is gone; one whose pointer is garbage is damaged."""
        source = BucketSource(self.bucket)
        source.open()
        self.assertFalse(source.has_changed())
        self.engine.delete(pointer_key("small"))
        with self.assertRaises(NotFound):
            source.read("small")
        self.assertTrue(source.has_changed())
        self.engine.put(pointer_key("small"), b"<html>")
        with self.assertRaises(Spoiled):
            source.find("small")

    def test_lost_record(self) -> None:
        """A blob whose record is gone is moved with what its pointer says."""
        source = BucketSource(self.bucket)
        source.open()
        stored = source._find("small")
        self.engine.delete(record_key(stored.id))
        blob, pieces = source.read("small")
        self.assertEqual((b"".join(pieces), blob.generation), (BLOBS["small"], stored.generation))

    def test_marked_for_another(self) -> None:
        """A target that is to be filled from elsewhere is refused, also by a dry run."""
        description = self.bucket.describe()
        assert description is not None
        self.engine.put("store.json", evolve(description, migrating="directory /x").dump())
        for dry in (True, False):
            with self.assertRaisesRegex(VolumeUnusable, "that are to come from directory /x"):
                BucketTarget(self.bucket).open("directory /y", dry=dry)

    def test_others_mark(self) -> None:
        """A mark whose answer is lost counts; one that somebody else has changed does not."""
        target = BucketTarget(self.bucket)
        target.open("directory /x", dry=False)
        swap = self.engine.swap

        def lost(key: str, data: bytes, etag: str) -> str:
            swap(key, data, etag)
            raise Mismatch

        self.engine.swap = lost  # type: ignore[method-assign]
        target.begin("directory /x")

        def other(key: str, data: bytes, etag: str) -> str:
            raise Mismatch

        self.engine.swap = other  # type: ignore[method-assign]
        with self.assertRaisesRegex(VolumeUnusable, "somebody else changes store.json"):
            target.finish()

    def test_deleted_there(self) -> None:
        """A pointer that has become a tombstone since the target was opened is in the way."""
        target = BucketTarget(self.bucket)
        target.open("directory /x", dry=True)
        self.engine.delete(pointer_key("small"))
        with self.assertRaises(AlreadyExists):
            target.find("small")
        self.assertIsNone(target.find("nothing"))

    def test_data_that_changes(self) -> None:
        """What the bucket does not give back as it was written is not published."""
        source = self.from_directory()
        source.open()
        self.addCleanup(source.close)
        get = self.engine.get
        for location in ("small", "large"):
            target = BucketTarget(Bucket(self.engine, "s3://bucket/prefix"))
            blob, pieces = source.read(location)
            blob.location = "other"

            def wrong(*asked: object, get: object = get) -> object:
                found = get(*asked)  # type: ignore[operator]
                is_data = str(asked[0]).endswith(DATA)
                return evolve(found, data=bytes(found.data)[::-1]) if is_data else found

            self.engine.get = wrong  # type: ignore[method-assign, assignment]
            with self.assertRaisesRegex(DiskFailed, "does not give back what was written"):
                target.receive(blob, pieces)
            self.engine.get = get  # type: ignore[method-assign]
        self.assertNotIn(pointer_key("other"), self.objects())


class MoverTests(MigrationCase):
    """What the mover makes of what happens to single blobs."""

    def test_gone_meanwhile(self) -> None:
        """A blob that is deleted while it is moved is left out, and the target is not complete."""
        self.migrate(self.from_directory(), self.to_bucket())
        source = self.from_bucket()
        find = source.find
        source.find = lambda location: (
            (  # type: ignore[method-assign]
                self.engine.delete(pointer_key(location)) if location == "small" else None
            )
            or find(location)
        )
        report = self.migrate(source, self.to_directory())
        self.assertEqual((report.moved, report.changed), (len(BLOBS) - 1, True))
        self.assertFalse(report.complete)

    def test_stopped(self) -> None:
        """Nobody goes on with a blob once the migration has failed elsewhere."""
        self.assertTrue(issubclass(Interrupted, StoreError))
        engine = self.engine
        create = engine.create

        def refuse(key: str, data: bytes) -> str:
            if key.startswith("locations/"):
                raise Unsettled("no answer")
            return create(key, data)

        engine.create = refuse  # type: ignore[method-assign]
        target = self.to_bucket()
        target._bucket.until = lambda: 0.0  # type: ignore[method-assign]
        with self.assertRaises(StoreError):
            self.migrate(self.from_directory(), target, pause=0.0)

    def test_differences(self) -> None:
        """Blobs differ by their bytes, or by what is known of them."""
        source = self.from_directory()
        source.open()
        self.addCleanup(source.close)
        blob = source.find("small")
        self.assertEqual(difference_of(blob, blob), "")
        self.assertEqual(
            difference_of(blob, evolve(blob, sha256=bytes(32))), "other bytes are there"
        )
        self.assertEqual(
            difference_of(blob, evolve(blob, content_type=None)),
            "its content type is another there",
        )
