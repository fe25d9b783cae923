"""What was replaced or deleted, and is kept: from a directory to a bucket, and back."""

from __future__ import annotations

import os
from itertools import pairwise
from math import inf
from pathlib import Path
from shutil import rmtree
from typing import Any

from attrs import evolve

from gostore.blob import EndedBy
from gostore.bucket.past import BucketPast
from gostore.bucket.pointer import HISTORY, data_key, parse_ended, pointer_key, record_key
from gostore.errors import NotFound
from gostore.migration.mover import NotEmpty
from gostore.prefixes import ByPrefix
from gostore.statefile import NAME, parse
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Details, Lifetime
from gostore.store.versions import Restore, Version
from gostore.text import wall_clock
from tests.bucket.doubles import make_store
from tests.bucket.test_provider import LARGE
from tests.e2e.daemon import SOAK
from tests.migration.support import Killed, MigrationCase
from tests.store.doubles import FakeBody

FOREVER = ByPrefix(inf)

BODIES = {
    "a": [b"1", b"2" * 70_000, b"", b"4"],
    "gone": [b"5", b"6"],
    "back": [b"7", b"8"],
    "brief": [b"9"],
    "only": [b"10"],
}
"""What each location has had. "gone" was deleted, "back" in between, and "brief" has expired."""

KEPT = 7
"""How many of these are kept as history."""


def _yesterday() -> int:
    return wall_clock() - 86_400 * 10**9


class HistoryCase(MigrationCase):
    """A directory with a history of all kinds."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        self.path = str(self.root / "kept")
        store = self.store(_yesterday, keep=FOREVER)
        for location, bodies in BODIES.items():
            for number, data in enumerate(bodies):
                lifetime = Lifetime(60) if location == "brief" else None
                details = Details("text/x-a", {"x-gostore-meta-a": str(number)}, lifetime=lifetime)
                body = FakeBody(data, origin=f"ann, {number}")
                self.successResultOf(store.put(location, body, details))
                if location == "back" and number == 0:
                    self.successResultOf(store.delete(location, origin="bob, 8"))
        self.successResultOf(store.delete("gone", origin="bob, 9"))
        store.close()
        self.before = self.seen(self.path)
        self.assertEqual(
            [each[-1] and each[-1].by for each in self.before["brief"] + self.before["gone"]],
            [EndedBy.EXPIRED, EndedBy.DELETED, EndedBy.REPLACED],
        )

    def opened(self, path: str, **what: Any) -> BlobStore:
        """A store of a directory, started."""
        self.path, path = path, self.path
        try:
            return self.store(**what)
        finally:
            self.path = path

    def seen(self, path: str) -> dict[str, list[tuple[Any, ...]]]:
        """What a store of a directory tells of each location."""
        store = self.opened(path, keep=FOREVER)
        try:
            return {location: self._told(store, location) for location in BODIES}
        finally:
            store.close()

    def _told(self, store: BlobStore, location: str) -> list[tuple[Any, ...]]:
        versions = self.successResultOf(store.past.history(location))
        for newer, older in pairwise(versions):
            assert older.ending is not None
            if older.ending.by is EndedBy.REPLACED:
                self.assertEqual(older.ending.successor, newer.blob.id)
        return list(map(_without_ids, versions))

    def bytes_of(self, store: BlobStore, location: str) -> list[bytes]:
        """The bytes of all versions of a location, the oldest first."""
        found = []
        for version in self.successResultOf(store.past.history(location)):
            generation = version.blob.generation
            blob, content = self.successResultOf(store.past.version(location, generation))
            data = content.read(0, blob.size)
            found.append(data if isinstance(data, bytes) else self.successResultOf(data))
            content.close()
        return found[::-1]


def _without_ids(version: Version) -> tuple[Any, ...]:
    names = ("location", "generation", "size", "modified", "content_type", "metadata")
    ending = None if version.ending is None else evolve(version.ending, successor=None)
    members = [getattr(version.blob, name) for name in names]
    return (*members, version.origin, version.etag, ending)


class BackTests(HistoryCase):
    """It comes back as it was."""

    def test_there_and_back(self) -> None:
        """All that is told of each version is the same, and a daemon goes on with it."""
        self.migrate(self.from_directory(), self.to_bucket())
        report = self.migrate(self.from_bucket(), self.to_directory())
        self.assertEqual((report.versions, report.left, report.complete), (KEPT, {}, True))
        self.assertEqual(self.in_directory(self.back), self.in_directory(self.path))
        for _ in range(2):
            self.assertEqual(self.seen(self.back), self.before)
        store = self.opened(self.back, keep=FOREVER)
        self.addCleanup(store.close)
        for location, bodies in BODIES.items():
            self.assertEqual(self.bytes_of(store, location), bodies)
        page = self.successResultOf(store.past.deleted())
        self.assertEqual([each.blob.location for each in page.versions], ["brief", "gone"])
        self.failureResultOf(store.get("gone")).trap(NotFound)
        generation = page.versions[1].blob.generation
        self.successResultOf(store.past.restore("gone", Restore(generation, "eve, 1")))
        self.assertEqual(self.bytes_of(store, "gone"), [b"5", b"6", b"6"])
        self.successResultOf(store.put("a", FakeBody(b"11"), Details()))
        self.assertEqual(self.bytes_of(store, "a"), [*BODIES["a"], b"11"])

    def test_from_daemons_of_a_bucket(self) -> None:
        """So it is with what the daemons of a bucket keep, be it large."""
        store, _ = make_store(self.engine, keep=FOREVER)
        for number, data in enumerate((b"old", LARGE, b"new")):
            body = FakeBody(data, origin=f"ann, {number}")
            self.successResultOf(store.put("a", body, Details()))
        self.successResultOf(store.delete("a", origin="bob, 3"))
        before = self.successResultOf(BucketPast(store).history("a"))
        report = self.migrate(self.from_bucket(), self.to_directory())
        self.assertEqual((report.versions, report.complete), (3, True))
        found = self.opened(self.back, keep=FOREVER)
        self.addCleanup(found.close)
        self.assertEqual(self._told(found, "a"), list(map(_without_ids, before)))
        self.assertEqual(self.bytes_of(found, "a"), [b"old", LARGE, b"new"])

    def test_unmarked(self) -> None:
        """A version comes along that only its pointer knows; one that is collected does not."""
        store, _ = make_store(self.engine, keep=FOREVER)
        for location in ("a", "b", "c"):
            self.successResultOf(store.put(location, FakeBody(b"old"), Details()))
            blob = self.successResultOf(store.get(location))
            self.successResultOf(store.put(location, FakeBody(b"new"), Details()))
        written, swap = list[bytes](), self.engine.swap

        def note(key: str, data: bytes, etag: str) -> str:
            written.append(data)
            return swap(key, data, etag)

        self.engine.swap = note  # type: ignore[method-assign]
        self.successResultOf(store.delete("b"))
        self.engine.put(pointer_key("b"), written[0])
        # As if the daemon had died before; that of "c" has been collected since.
        for each in [*self.engine.list(HISTORY), *self.engine.list("gc/")]:
            ended = parse_ended(self.engine.get(each.key).data)
            if ended.blob.location != "b" or ended.ending.by is EndedBy.DELETED:
                self.engine.delete(each.key)
        self.engine.delete(record_key(blob.id))
        self.engine.delete(data_key(blob.id))
        report = self.migrate(self.from_bucket(), self.to_directory())
        self.assertEqual((report.versions, report.damaged, report.complete), (3, {}, True))
        found = self.opened(self.back, keep=FOREVER)
        self.addCleanup(found.close)
        self.assertEqual(self.bytes_of(found, "a"), [b"old", b"new"])
        self.assertEqual(self.bytes_of(found, "b"), [b"old", b"new"])
        self.assertEqual(self.bytes_of(found, "c"), [b"new"])

    def test_narrow_ids(self) -> None:
        """A bucket with ids of 16 bits gives the same, and nothing of its own is in the records."""
        self.engine.put("store.json", b'{"format": 1, "id_bits": 16}')
        self.migrate(self.from_directory(), self.to_bucket())
        self.migrate(self.from_bucket(), self.to_directory())
        self.assertEqual(self.seen(self.back), self.before)
        records = [parse(path.read_bytes()) for path in Path(self.back).glob(f"*/{NAME}")]
        self.assertEqual({record.nonce for record in records}, {""})

    def test_start_without_keep(self) -> None:
        """A daemon that is started without --keep by mistake removes nothing at once."""
        self.migrate(self.from_directory(), self.to_bucket())
        self.migrate(self.from_bucket(), self.to_directory())
        store = self.opened(self.back)
        self.assertEqual(self._told(store, "a"), self.before["a"])
        store.close()
        self.assertEqual(self.seen(self.back), self.before)

    def test_dry_run(self) -> None:
        """A dry run counts it, and makes nothing."""
        self.migrate(self.from_directory(), self.to_bucket())
        report = self.migrate(self.from_bucket(), self.to_directory(), dry=True)
        self.assertEqual((report.versions, report.left, report.complete), (KEPT, {}, False))
        self.assertFalse(os.path.exists(self.back))

    def test_again(self) -> None:
        """What is complete is so when it is run again; a version that lacks is noticed."""
        self.migrate(self.from_directory(), self.to_bucket())
        self.migrate(self.from_bucket(), self.to_directory())
        files = self.everything(self.back)
        for source, target in (
            (self.from_bucket(), self.to_directory()),
            (self.from_directory(), self.to_bucket()),
        ):
            report = self.migrate(source, target)
            self.assertEqual((report.versions, report.moved, report.complete), (0, 0, True))
        self.assertEqual(self.everything(self.back), files)
        store = self.opened(self.back, keep=FOREVER)
        version = self.successResultOf(store.past.history("a"))[-1].blob
        store.close()
        rmtree(Path(self.back) / str(version.id))
        with self.assertRaises(NotEmpty) as caught:
            self.migrate(self.from_bucket(), self.to_directory())
        reason = f"'a (version {version.generation})': the target lacks it"
        self.assertIn(reason, str(caught.exception))

    def test_damage(self) -> None:
        """A version whose bytes are others is named and left out; the others come along."""
        self.migrate(self.from_directory(), self.to_bucket())
        ended = [parse_ended(self.engine.get(each.key).data) for each in self.engine.list(HISTORY)]
        [damaged] = [each.blob for each in ended if each.blob.size == 70_000]
        self.engine.put(data_key(damaged.id, damaged.nonce), b"3" * 70_000)
        for moved in (KEPT - 1, 0):
            report = self.migrate(self.from_bucket(), self.to_directory())
            self.assertEqual(list(report.damaged), [f"a (version {damaged.generation})"])
            self.assertEqual((report.versions, report.complete), (moved, True))
        store = self.opened(self.back, keep=FOREVER)
        self.addCleanup(store.close)
        self.assertEqual(self.bytes_of(store, "a"), [b"1", b"", b"4"])


class InterruptedTests(HistoryCase):
    """A process that dies, at any time."""

    def setUp(self) -> None:
        """Have it in the bucket."""
        super().setUp()
        self.migrate(self.from_directory(), self.to_bucket())

    def test_killed(self) -> None:
        """Whatever call is its last, the next run goes on, and all is there once."""
        at, died = 0, True
        while died:
            at += 1 if SOAK else 3
            self.back = str(self.root / f"back{at}")
            died = self.dies_on_the_way_back(at)
            self.assertEqual(self.seen(self.back), self.before, at)
            store = self.opened(self.back, keep=FOREVER)
            self.assertEqual(self.bytes_of(store, "a"), BODIES["a"])
            store.close()
            names = [name for name in os.listdir(self.back) if name.isdecimal()]
            self.assertEqual(len(names), sum(map(len, BODIES.values())), at)
        self.assertGreater(at, 100)

    def _stop_before_the_end(self) -> None:
        target = self.to_directory()

        def die() -> None:
            raise Killed

        target.finish = die  # type: ignore[method-assign]
        with self.assertRaises(Killed):
            self.migrate(self.from_bucket(), target)

    def test_written_meanwhile(self) -> None:
        """A version does not bury the blob that it was when the run before came by."""
        self._stop_before_the_end()
        there = self.in_directory(self.back)
        store, _ = make_store(self.engine, keep=FOREVER)
        old = self.successResultOf(store.get("only"))
        self.successResultOf(store.replace("only", FakeBody(b"new"), Details()))
        report = self.migrate(self.from_bucket(), self.to_directory())
        self.assertEqual(
            report.conflicts,
            {
                "only": "other bytes are there",
                f"only (version {old.generation})": "it was written there",
            },
        )
        self.assertFalse(report.complete)
        self.assertEqual(self.in_directory(self.back), there)

    def test_too_much(self) -> None:
        """Versions that it should not have are named and left alone."""
        self._stop_before_the_end()
        files = self.everything(self.back)
        report = self.migrate(self.from_bucket(), self.to_directory(), without_history=True)
        self.assertEqual(set(report.conflicts.values()), {"the source has no such blob"})
        self.assertEqual(len(report.conflicts), KEPT)
        self.assertFalse(report.complete)
        self.assertEqual(self.everything(self.back), files)
