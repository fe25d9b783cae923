"""Migrations as a whole: there and back, killed at every request and call, and what is refused."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path

from attrs import evolve

from gostore.bucket.engine import Engine, Unsettled
from gostore.bucket.objects import memory_engine
from gostore.bucket.past import BucketPast
from gostore.bucket.pointer import data_key, garbage_key, parse, pointer_key, record_key
from gostore.errors import Busy, NotFound, VolumeInUse, VolumeUnusable
from gostore.migration.mover import NotEmpty, Options, migrate
from gostore.prefixes import ByPrefix
from gostore.store.interface import Details
from gostore.store.versions import Past
from gostore.volume.directory import DATA
from tests.bucket.doubles import make_store
from tests.bucket.test_provider import LARGE
from tests.e2e.daemon import SOAK
from tests.migration.support import BLOBS, DyingEngine, Killed, MigrationCase
from tests.store.doubles import FakeBody

FEW = {"a": b"1", "b": b"2" * 70_000, "c": b""}
"""What is moved where every step is interrupted."""


class ThereAndBackTests(MigrationCase):
    """All that is kept of a blob comes along."""

    def test_records_and_bytes(self) -> None:
        """Bytes, generations, logs, times, types, metadata and ends are the same there and back."""
        before, files = self.in_directory(self.path), self.everything(self.path)
        report = self.migrate(self.from_directory(), self.to_bucket())
        self.assertEqual(
            (report.moved, report.bytes, report.blobs, report.there, report.complete),
            (len(BLOBS), sum(map(len, BLOBS.values())), len(BLOBS), 0, True),
        )
        self.assertEqual(self.in_bucket(), before)
        self.assertEqual(self.everything(self.path), files)
        objects = self.objects()
        other = memory_engine()
        self.migrate(self.from_bucket(), self.to_bucket(other))
        self.assertEqual(self.in_bucket(other), before)
        report = self.migrate(self.from_bucket(other), self.to_directory())
        self.assertEqual((report.moved, report.complete), (len(BLOBS), True))
        self.assertEqual(self.in_directory(self.back), before)
        self.assertEqual(self.objects(), objects)

    def test_narrow_ids(self) -> None:
        """A bucket with ids of 16 bits takes and gives the same."""
        before = self.in_directory(self.path)
        self.engine.put("store.json", b'{"format": 1, "id_bits": 16}')
        self.migrate(self.from_directory(), self.to_bucket())
        self.assertTrue(all(len(key.split("/")[2]) < 6 for key in self.objects() if "blobs" in key))
        self.assertEqual(self.in_bucket(), before)
        other = memory_engine()
        self.migrate(self.from_bucket(), self.to_bucket(other))
        self.assertEqual(self.in_bucket(other), before)
        self.migrate(self.from_bucket(), self.to_directory())
        self.assertEqual(self.in_directory(self.back), before)
        self.assertFalse([each for each in self.everything(self.back).values() if b"nonce" in each])

    def test_daemons(self) -> None:
        """A daemon goes on where the other one was: with the same ETag, and a later generation."""
        store = self.store()
        before = self.successResultOf(store.get("small"))
        store.close()
        self.migrate(self.from_directory(), self.to_bucket())
        bucket, _ = make_store(self.engine)
        found = self.successResultOf(bucket.get("small"))
        self.assertEqual(
            (found.sha256, found.modified, found.expires),
            (before.sha256, before.modified, before.expires),
        )
        put = self.successResultOf(bucket.replace("small", FakeBody(b"new"), Details()))
        self.assertGreater(put.generation, before.generation)
        self.assertIn(garbage_key(found.id), self.objects())
        self.migrate(self.from_bucket(), self.to_directory())
        self.path = self.back
        store = self.store()
        again = self.successResultOf(store.replace("small", FakeBody(b"newer"), Details()))
        self.assertGreater(again.generation, put.generation)
        self.assertEqual(self.successResultOf(store.get("empty")).size, 0)
        store.close()

    def test_again(self) -> None:
        """A migration that is complete is so when it is run again, and nothing is written."""
        for _ in range(2):
            self.migrate(self.from_directory(), self.to_bucket())
        objects = {key for key in self.objects() if not key.startswith("gc/")}
        report = self.migrate(self.from_directory(), self.to_bucket())
        self.assertEqual((report.moved, report.there, report.complete), (0, len(BLOBS), True))
        self.assertEqual({key for key in self.objects() if not key.startswith("gc/")}, objects)
        self.migrate(self.from_bucket(), self.to_directory())
        files = self.everything(self.back)
        report = self.migrate(self.from_bucket(), self.to_directory())
        self.assertEqual((report.moved, report.there, report.complete), (0, len(BLOBS), True))
        self.assertEqual(self.everything(self.back), files)

    def test_dry_run(self) -> None:
        """A dry run counts, and makes nothing."""
        report = self.migrate(self.from_directory(), self.to_bucket(), dry=True)
        self.assertEqual((report.moved, report.complete), (len(BLOBS), False))
        self.assertEqual(self.objects(), {})
        self.migrate(self.from_directory(), self.to_bucket())
        report = self.migrate(self.from_bucket(), self.to_directory(), dry=True)
        self.assertEqual((report.moved, report.bytes), (len(BLOBS), sum(map(len, BLOBS.values()))))
        self.assertFalse(os.path.exists(self.back))

    def test_from_go(self) -> None:
        """Blobs of the Go server get the digest that they never had."""
        path = Path(__file__).parent.parent / "fixtures" / "go-data"
        report = self.migrate(
            self.from_directory(str(path)), self.to_bucket(), without_history=True
        )
        self.assertEqual(report.damaged, {})
        found = self.in_bucket()
        self.assertEqual(len(found), report.moved)
        self.assertGreater(len(found), 0)
        self.assertTrue(all(each.blob["generation"] == 0 for each in found.values()))
        self.migrate(self.from_bucket(), self.to_directory())
        self.assertEqual(self.in_directory(self.back), found)

    def test_journal(self) -> None:
        """A blob that only the redo journal has is moved, and the journal is not changed."""
        store = self.store()
        self.successResultOf(store.create("late", FakeBody(b"late"), Details()))
        # As a kill leaves it: nothing is finished.
        files = self.everything(self.path)
        volume = store._volume
        volume.directory.close()
        report = self.migrate(self.from_directory(), self.to_bucket())
        self.assertEqual(report.moved, len(BLOBS) + 1)
        self.assertEqual(self.in_bucket()["late"].data, b"late")
        self.assertEqual(self.everything(self.path), files)


class InterruptedTests(MigrationCase):
    """A process that dies, at any time."""

    def setUp(self) -> None:
        """Store few blobs."""
        super().setUp()
        self.path = str(self.root / "few")
        self.fill(FEW)
        self.before = self.in_directory(self.path)

    def test_into_a_bucket(self) -> None:
        """Whatever request is its last, the next run goes on, and no daemon serves a part."""
        for after in (False, True):
            at, died = 0, True
            while died:
                at += 1
                self.engine = memory_engine()
                dying = DyingEngine(self.engine, at, after=after)
                died = self._dies(dying, at)
                self.assertEqual(self.in_bucket(), self.before)
                make_store(self.engine)
            self.assertGreater(at, 20)

    def test_history_into_a_bucket(self) -> None:
        """The history is there once and whole, whatever request was the last of the run before."""
        store = self.store(keep=ByPrefix(inf))
        for body in (b"new", LARGE):
            self.successResultOf(store.replace("a", FakeBody(body), Details()))
        self.successResultOf(store.delete("a"))
        before = self._sums(store.past, "a")
        store.close()
        for after in (False, True):
            at, died = 0, True
            while died:
                at += 2
                self.engine = memory_engine()
                dying, died = DyingEngine(self.engine, at, after=after), False
                try:
                    self.migrate(self.from_directory(), self.to_bucket(dying), jobs=1)  # type: ignore[arg-type]
                except Killed:
                    died = True
                report = self.migrate(self.from_directory(), self.to_bucket(), jobs=1)
                self.assertTrue(report.complete, at)
                made, _ = make_store(self.engine, keep=ByPrefix(inf))
                self.assertEqual(self._sums(BucketPast(made), "a"), before, at)
                self.assertEqual(len(self._sums(BucketPast(made), "a")), 3)
            self.assertGreater(at, 30)

    def _sums(self, past: Past, location: str) -> list[tuple[int, str | None]]:
        """The versions of a location, with their digests."""
        versions = self.successResultOf(past.history(location))
        return [(each.blob.generation, each.etag) for each in versions]

    def _dies(self, dying: DyingEngine, at: int) -> bool:
        try:
            self.migrate(self.from_directory(), self.to_bucket(dying), jobs=1)  # type: ignore[arg-type]
            return False
        except Killed:
            pass
        objects = self.objects()
        if any(key.startswith("blobs/") for key in objects) and b"migrating" in objects.get(
            "store.json", b""
        ):
            with self.assertRaises(VolumeUnusable) as caught:
                make_store(self.engine)
            self.assertIn("it lacks blobs that are to come from directory", str(caught.exception))
        report = self.migrate(self.from_directory(), self.to_bucket(), jobs=1)
        self.assertTrue(report.complete, at)
        self.assertEqual(report.there + report.moved, len(FEW))
        return True

    def test_into_a_directory(self) -> None:
        """Whatever call is its last, the next run goes on, and no daemon serves a part."""
        self.migrate(self.from_directory(), self.to_bucket())
        at, died = 0, True
        while died:
            at += 1 if SOAK else 3
            self.back = str(self.root / f"back{at}")
            died = self.dies_on_the_way_back(at)
            self.assertEqual(self.in_directory(self.back), self.before)
        self.assertGreater(at, 50)

    def test_no_answer(self) -> None:
        """A blob is tried again when the bucket does not answer, and after that nothing is lost."""
        engine = memory_engine()
        create, failures = engine.create, [0]

        def fail(key: str, data: bytes) -> str:
            if key.startswith("locations/"):
                failures[0] += 1
                if failures[0] % 2:
                    create(key, data)
                    raise Unsettled("lost")
            return create(key, data)

        engine.create = fail  # type: ignore[method-assign]
        report = self.migrate(self.from_directory(), self.to_bucket(engine))
        self.assertTrue(report.complete)
        self.assertEqual(self.in_bucket(engine), self.before)

    def test_interrupt(self) -> None:
        """What stops the caller stops the threads, and the next run goes on."""

        def stop(*numbers: int) -> None:
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            migrate(self.from_directory(), self.to_bucket(), Options(jobs=1), stop)
        self.assertTrue(self.migrate(self.from_directory(), self.to_bucket()).complete)
        self.assertEqual(self.in_bucket(), self.before)


class RefusedTests(MigrationCase):
    """What is damaged, in the way, or not to be dropped in silence."""

    def test_damage(self) -> None:
        """What is damaged in a directory is named and left out; all else is moved."""
        before = self.in_directory(self.path)
        store = self.store()
        ids = {each: self.successResultOf(store.get(each)).id for each in BLOBS}
        store.close()
        (Path(self.path) / str(ids["small"]) / DATA).write_bytes(b"SMALL")
        (Path(self.path) / str(ids["large"]) / DATA).write_bytes(b"short")
        files = self.everything(self.path)
        report = self.migrate(self.from_directory(), self.to_bucket())
        self.assertEqual(report.damaged.keys(), {"small", "large"})
        self.assertIn("does not have the digest", report.damaged["small"])
        self.assertTrue(report.complete)
        del before["small"], before["large"]
        self.assertEqual(self.in_bucket(), before)
        self.assertEqual(self.everything(self.path), files)
        again = self.migrate(self.from_directory(), self.to_bucket())
        self.assertEqual((again.damaged, again.complete), (report.damaged, True))

    def test_damaged_bucket(self) -> None:
        """So it is with a bucket: other bytes, none, a garbage pointer; a lost record is made."""
        self.migrate(self.from_directory(), self.to_bucket())
        before = self.in_bucket()
        ids = {}
        for location in BLOBS:
            blob = parse(self.engine.get(pointer_key(location)).data).blob
            assert blob is not None
            ids[location] = blob.id
        self.engine.put(data_key(ids["small"]), b"SMALL")
        self.engine.delete(data_key(ids["large"]))
        self.engine.put(pointer_key("empty"), b"<html>")
        self.engine.put("locations/00/strange=name", b"x" * 300)
        self.engine.delete(record_key(ids["staged"]))
        report = self.migrate(self.from_bucket(), self.to_directory())
        self.assertEqual(
            report.damaged.keys(), {"small", "large", "empty", "locations/00/strange=name"}
        )
        found = self.in_directory(self.back)
        self.assertEqual(found.keys(), before.keys() - report.damaged.keys())
        self.assertEqual(found["staged"].data, before["staged"].data)
        self.assertEqual(len(found["staged"].blob["log"]), 1)

    def test_silent_engine(self) -> None:
        """A bucket that loses what was written is noticed before anything names it."""
        put = self.engine.put

        def spoil(key: str, data: bytes) -> str:
            return put(key, data.replace(b"small", b"SMALL"))

        self.engine.put = spoil  # type: ignore[method-assign]
        with self.assertRaises(Exception) as caught:
            self.migrate(self.from_directory(), self.to_bucket(), jobs=1)
        self.assertIn("does not give back what was written", str(caught.exception))
        self.assertNotIn(pointer_key("small"), self.objects())

    def test_conflict(self) -> None:
        """What is in the way of an interrupted migration is named, and not overwritten."""
        for way in ("replaced", "deleted", "new"):
            self.engine = memory_engine()
            self._interrupt(self.engine)
            store, _ = make_store(self._unmarked(self.engine))
            if way == "new":
                self.successResultOf(store.create("new", FakeBody(b"new"), Details()))
            else:
                self.successResultOf(store.put("small", FakeBody(b"theirs"), Details()))
                if way == "deleted":
                    self.successResultOf(store.delete("small"))
            self._mark(self.engine)
            location = "new" if way == "new" else "small"
            pointer = self.engine.get(pointer_key(location)).data
            report = self.migrate(self.from_directory(), self.to_bucket())
            self.assertEqual(report.conflicts.keys(), {location}, way)
            self.assertFalse(report.complete)
            self.assertEqual(self.engine.get(pointer_key(location)).data, pointer)
            with self.assertRaises(VolumeUnusable):
                make_store(self.engine)

    def test_conflict_at_the_end(self) -> None:
        """A daemon that still runs and writes wins, whatever moment it writes at."""
        store, _ = make_store(self.engine)
        source = self.from_directory()
        read = source.read

        def wait(location: str) -> object:
            if location in ("small", "staged"):
                self.successResultOf(store.create(location, FakeBody(b"theirs"), Details()))
            if location == "staged":
                self.successResultOf(store.delete(location))
            return read(location)

        source.read = wait  # type: ignore[method-assign,assignment]
        report = self.migrate(source, self.to_bucket())
        self.assertEqual(report.conflicts.keys(), {"small", "staged"})
        self.assertEqual((report.moved, report.complete), (len(BLOBS) - 2, False))
        blob = self.successResultOf(store.get("small"))
        self.assertEqual(self.engine.get(data_key(blob.id)).data, b"theirs")
        self.failureResultOf(store.get("staged"), NotFound)

    def _interrupt(self, engine: Engine) -> None:
        dying = DyingEngine(engine, 30, after=False)
        with self.assertRaises(Killed):
            self.migrate(self.from_directory(), self.to_bucket(dying), jobs=1)  # type: ignore[arg-type]

    def _unmarked(self, engine: Engine) -> Engine:
        engine.put("store.json", b'{"format": 1, "id_bits": 128, "created": ""}')
        return engine

    def _mark(self, engine: Engine) -> None:
        name = f"directory {self.path}"
        text = f'{{"format": 1, "id_bits": 128, "created": "", "migrating": "{name}"}}'
        engine.put("store.json", text.encode())

    def test_not_empty(self) -> None:
        """A target with blobs of its own is refused before anything is written, be they fewer."""
        store, _ = make_store(self.engine)
        self.successResultOf(store.create("theirs", FakeBody(b"x"), Details()))
        before = self.objects()
        with self.assertRaises(NotEmpty) as caught:
            self.migrate(self.from_directory(), self.to_bucket())
        self.assertIn("it is not empty: it has 'theirs'", str(caught.exception))
        self.assertEqual(self.objects(), before)
        other = memory_engine()
        self.migrate(self.from_directory(), self.to_bucket(other))
        with self.assertRaises(NotEmpty):
            self.migrate(self.from_bucket(), self.to_bucket(other))
        with self.assertRaises(NotEmpty):
            self.migrate(self.from_bucket(), self.to_directory(path=self.path))
        strange = self.root / "strange"
        strange.mkdir()
        (strange / "thesis.txt").write_bytes(b"")
        with self.assertRaises(VolumeUnusable) as refused:
            self.migrate(self.from_bucket(), self.to_directory(path=str(strange)))
        self.assertIn("it has 'thesis.txt'", str(refused.exception))
        self.assertEqual([each.name for each in strange.iterdir()], ["thesis.txt"])

    def test_another_source(self) -> None:
        """What one source has begun no other goes on with, and no daemon starts on it."""
        self._interrupt(self.engine)
        other = memory_engine()
        store, _ = make_store(other)
        self.successResultOf(store.create("a", FakeBody(b"x"), Details()))
        with self.assertRaises(VolumeUnusable) as caught:
            self.migrate(
                self.from_bucket(other),
                self.to_bucket(),
            )
        self.assertIn(f"to come from directory {self.path}", str(caught.exception))
        with self.assertRaises(VolumeUnusable):
            self.migrate(self.from_bucket(), self.to_directory())
        self.assertFalse(os.path.exists(self.back))

    def test_history(self) -> None:
        """Kept versions come along to a bucket, and are left behind if that is said."""
        store = self.store(keep=ByPrefix(3600.0))
        self.successResultOf(store.replace("small", FakeBody(b"new", origin="bob, 8"), Details()))
        self.successResultOf(store.delete("empty", origin="bob, 9"))
        self.successResultOf(store.replace("large", FakeBody(b"new"), Details()))
        before = {
            name: self.successResultOf(store.past.history(name))
            for name in ("small", "empty", "large")
        }
        store.close()
        report = self.migrate(self.from_directory(), self.to_bucket(), dry=True)
        self.assertEqual((report.versions, report.left, self.objects()), (3, {}, {}))
        report = self.migrate(self.from_directory(), self.to_bucket())
        self.assertEqual((report.versions, report.left, report.complete), (3, {}, True))
        past = BucketPast(make_store(self.engine, keep=ByPrefix(3600.0))[0])
        for name, versions in before.items():
            moved = self.successResultOf(past.history(name))
            for theirs, ours in zip(moved, versions, strict=True):
                self.assertEqual((theirs.origin, theirs.etag), (ours.origin, ours.etag))
                self.assertEqual(theirs.blob.modified, ours.blob.modified)
                self.assertEqual(theirs.blob.generation, ours.blob.generation)
                if ours.ending is not None:
                    self.assertEqual(theirs.ending, evolve(ours.ending, successor=None))
        blob, content = self.successResultOf(
            past.version("large", before["large"][1].blob.generation)
        )
        self.assertEqual(blob.size, len(BLOBS["large"]))
        content.close()

    def test_history_between_buckets(self) -> None:
        """What one bucket keeps another has, too, with its bytes; damage is named."""
        self.store().close()
        self.migrate(self.from_directory(), self.to_bucket())
        store, _ = make_store(self.engine, keep=ByPrefix(inf))
        for body in (b"new", b"newer"):
            self.successResultOf(store.replace("small", FakeBody(body, origin="bob, 8"), Details()))
        damaged = self.successResultOf(store.get("small"))
        self.successResultOf(store.delete("small", origin="bob, 9"))
        before = self.successResultOf(BucketPast(store).history("small"))
        self.engine.put(data_key(damaged.id), b"other")
        other = memory_engine()
        report = self.migrate(self.from_bucket(), self.to_bucket(other))
        self.assertEqual((report.versions, report.complete), (2, True))
        self.assertEqual(list(report.damaged), [f"small (version {damaged.generation})"])
        past = BucketPast(make_store(other, keep=ByPrefix(inf))[0])
        moved = self.successResultOf(past.history("small"))
        self.assertEqual([each.etag for each in moved], [each.etag for each in before[1:]])
        self.assertEqual([each.origin for each in moved], [each.origin for each in before[1:]])
        for each, data in zip(moved, (b"new", b"small"), strict=True):
            _, content = self.successResultOf(past.version("small", each.blob.generation))
            self.assertEqual(content.read(0, len(data)), data)

    def test_history_left_behind(self) -> None:
        """It is left behind only if that is said."""
        store = self.store(keep=ByPrefix(3600.0))
        self.successResultOf(store.replace("small", FakeBody(b"new"), Details()))
        self.successResultOf(store.delete("empty"))
        store.close()
        report = self.migrate(self.from_directory(), self.to_bucket(), without_history=True)
        self.assertEqual(report.left, {"kept version": 2})
        self.assertEqual(self.in_bucket(), self.in_directory(self.path))
        self.assertNotIn("empty", self.in_bucket())

    def test_history_of_a_bucket(self) -> None:
        """So is that of a bucket."""
        self.store().close()
        self.migrate(self.from_directory(), self.to_bucket())
        store, _ = make_store(self.engine, keep=ByPrefix(3600.0))
        for body in (b"new", b"newer"):
            self.successResultOf(store.replace("small", FakeBody(body), Details()))
        report = self.migrate(self.from_bucket(), self.to_directory(), without_history=True)
        self.assertEqual(report.left, {"kept version": 2})
        self.assertTrue(report.complete)
        self.assertEqual(self.in_directory(self.back)["small"].data, b"newer")

    def test_in_use(self) -> None:
        """A daemon on the source, or on the target, is named."""
        store = self.store()
        with self.assertRaises(VolumeInUse):
            self.migrate(self.from_directory(), self.to_bucket())
        other = memory_engine()
        bucket, _ = make_store(other)
        self.successResultOf(bucket.create("a", FakeBody(b"x"), Details()))
        with self.assertRaises(VolumeInUse):
            self.migrate(self.from_bucket(other), self.to_directory(path=self.path))
        store.close()

    def test_changed_source(self) -> None:
        """A bucket that is written to meanwhile makes the migration incomplete."""
        self.migrate(self.from_directory(), self.to_bucket())
        store, _ = make_store(self.engine)

        def write(*numbers: int) -> None:
            if numbers[0] == 1:
                self.successResultOf(store.put("late", FakeBody(b"late"), Details()))

        report = migrate(self.from_bucket(), self.to_directory(), Options(jobs=1), write)
        self.assertEqual((report.changed, report.complete), (True, False))
        report = self.migrate(self.from_bucket(), self.to_directory())
        self.assertEqual((report.moved, report.there, report.complete), (1, len(BLOBS), True))

    def test_no_store(self) -> None:
        """A bucket without a store is no source."""
        with self.assertRaises(VolumeUnusable) as caught:
            self.migrate(self.from_bucket(), self.to_directory())
        self.assertIn("is no store", str(caught.exception))
        self.assertFalse(os.path.exists(self.back))

    def test_busy(self) -> None:
        """A bucket that never answers is an error, not damage."""
        source = self.from_directory()
        target = self.to_bucket()

        def fail(*arguments: object) -> None:
            raise Busy("The bucket does not answer", 1)

        target.receive = fail  # type: ignore[method-assign]
        with self.assertRaises(Busy):
            self.migrate(source, target, jobs=1, pause=0.0)
