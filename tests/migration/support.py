"""Directories and buckets in memory, with blobs of all kinds, for migrations between them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Blob, Committed, State
from gostore.bucket.engine import Engine
from gostore.bucket.moving import BucketSource, BucketTarget
from gostore.bucket.objects import memory_engine
from gostore.bucket.pointer import MAX_ID, data_key, parse, pointer_key, record_key
from gostore.bucket.visiting import SMALL, Bucket
from gostore.errors import VolumeUnusable
from gostore.migration.directory import DirectorySource, DirectoryTarget
from gostore.migration.ends import Source, Target
from gostore.migration.mover import Options, Report, migrate
from gostore.statefile import NAME
from gostore.statefile import parse as parse_record
from gostore.store.blobstore import BlobStore
from gostore.store.interface import SMALL_BLOB, Details, Lifetime
from gostore.text import wall_clock
from gostore.volume.changes import Sync
from gostore.volume.directory import DATA, MIGRATING
from gostore.volume.disk import Disk
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume
from tests.store.doubles import FakeBody, FaultyDisk, InlineWorkers, PromptClock

BLOBS: Mapping[str, bytes] = {
    "empty": b"",
    "small": b"small",
    "a/b.c/~é": b"x" * SMALL_BLOB,
    "staged": b"y" * (SMALL_BLOB + 1),
    "long/" + "é" * 400: b"long",
    "large": bytes(range(256)) * (SMALL // 128 + 1),
}
"""What is stored: all sizes that are treated in ways of their own, and names."""


class Killed(BaseException):
    """The process is dead."""


@frozen
class Kept:
    """A blob as it is kept somewhere: its record, without its id, and its bytes."""

    blob: Mapping[str, Any]
    data: bytes


def kept_of(blob: Blob, data: bytes) -> Kept:
    """Take a record without its id."""
    names = ("location", "generation", "size", "sha256", "created", "content_type", "metadata")
    members = {name: getattr(blob, name) for name in (*names, "log", "expires")}
    return Kept(members, data)


class MigrationCase(SynchronousTestCase):
    """A directory with blobs, an empty directory and a bucket."""

    def setUp(self) -> None:
        """Store the blobs."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.path, self.back = str(self.root / "data"), str(self.root / "back")
        self.engine = memory_engine()
        self.fill(BLOBS)

    def store(self, now: Callable[[], int] = wall_clock, **what: Any) -> BlobStore:
        """A store of the directory, started."""
        store = BlobStore(
            Volume(self.path, now=now), InlineWorkers(), PromptClock(), reserve=0, **what
        )
        store.open()
        store.start()
        return store

    def fill(self, blobs: Mapping[str, bytes]) -> None:
        """Store blobs in the directory, each with a type, metadata and an end."""
        store = self.store()
        for location, data in blobs.items():
            details = Details("text/x-a", {"x-gostore-meta-a": location}, lifetime=Lifetime(10**9))
            self.successResultOf(store.create(location, FakeBody(data, origin="me"), details))
        store.close()

    # -- ends ---------------------------------------------------------------------------------

    def from_directory(self, path: str = "") -> DirectorySource:
        """The directory as a source."""
        return DirectorySource(Volume(path or self.path, make=False))

    def to_directory(self, disk: Disk | None = None, path: str = "") -> DirectoryTarget:
        """The other directory as a target."""
        return DirectoryTarget(Volume(path or self.back, disk=disk, sync=Sync.FILES))

    def from_bucket(self, engine: Engine | None = None) -> BucketSource:
        """The bucket as a source."""
        return BucketSource(Bucket(engine or self.engine, "s3://bucket/prefix"))

    def to_bucket(self, engine: Engine | None = None) -> BucketTarget:
        """The bucket as a target."""
        return BucketTarget(Bucket(engine or self.engine, "s3://bucket/prefix"))

    def migrate(self, source: Source, target: Target, **what: Any) -> Report:
        """Move all blobs."""
        return migrate(source, target, Options(**what))

    # -- what is there ------------------------------------------------------------------------

    def in_directory(self, path: str) -> dict[str, Kept]:
        """All that a daemon would serve of a directory."""
        volume = Volume(path, make=False)
        volume.look()
        found: dict[str, Committed] = dict(scan(volume, afresh=True).live)
        volume.close()
        blobs = {}
        for location, committed in found.items():
            inside = Path(path) / str(committed.id)
            blob = parse_record((inside / NAME).read_bytes(), committed.id)
            self.assertEqual(evolve(blob.committed()), committed)
            blobs[location] = kept_of(blob, (inside / DATA).read_bytes())
        return blobs

    def in_bucket(self, engine: Engine | None = None) -> dict[str, Kept]:
        """All that daemons would serve of a bucket."""
        engine = engine or self.engine
        blobs = {}
        for listed in engine.list("locations/"):
            pointer = parse(engine.get(listed.key).data)
            stored = pointer.blob
            assert stored is not None
            self.assertEqual(pointer_key(stored.location), listed.key)
            blob = parse_record(engine.get(record_key(stored.id)).data, stored.id, max_id=MAX_ID)
            self.assertIs(blob.state, State.OK)
            for name in ("location", "generation", "size", "sha256", "content_type", "expires"):
                self.assertEqual(getattr(stored, name), getattr(blob, name), name)
            self.assertEqual(
                (stored.modified, stored.metadata), (blob.changed, blob.metadata or None)
            )
            blobs[stored.location] = kept_of(
                blob, engine.get(data_key(stored.id, stored.nonce), stored.detag).data
            )
        return blobs

    def everything(self, path: str) -> dict[str, bytes]:
        """All files of a directory."""
        files = [each for each in Path(path).rglob("*") if each.is_file()]
        return {str(each): each.read_bytes() for each in files}

    def objects(self) -> dict[str, bytes]:
        """All objects of the bucket."""
        return {each.key: self.engine.get(each.key).data for each in self.engine.list("")}

    def dies_on_the_way_back(self, at: int) -> bool:
        """Migrate to a directory, die at one of its calls, and go on; say if it came to that call.

        No daemon serves what is there meanwhile.
        """
        disk = FaultyDisk()

        def die() -> None:
            raise Killed

        disk.before(None, die, nth=at, times=10**9)
        try:
            self.migrate(self.from_bucket(), self.to_directory(disk), jobs=1)
            return False
        except Killed:
            pass
        for fd in list(disk.descriptors):
            os.close(fd)  # the system would
        if os.path.exists(f"{self.back}/{MIGRATING}"):
            with self.assertRaises(VolumeUnusable) as caught:
                Volume(self.back).open()
            self.assertIn("it lacks blobs that are to come from", str(caught.exception))
        report = self.migrate(self.from_bucket(), self.to_directory(), jobs=1)
        self.assertTrue(report.complete, at)
        return True


class DyingEngine:
    """An engine whose process dies at a request; before it is made, or after."""

    def __init__(self, under: Engine, dies_at: int, *, after: bool) -> None:
        self._under = under
        self._dies_at = dies_at
        self._after = after
        self.requests = 0
        self.dead = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        request = getattr(self._under, name)

        def asked(*arguments: Any) -> Any:
            self.requests += 1
            if self.dead:
                raise Killed
            self.dead = self.requests == self._dies_at
            if self.dead and not self._after:
                raise Killed
            result = request(*arguments)
            if name == "list":
                result = iter(list(result))
            if self.dead:
                raise Killed
            return result

        return asked
