"""The versions of a bucket's locations: listed, read, restored, for as long as they are kept."""

from __future__ import annotations

import json
from math import inf
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed, EndedBy
from gostore.bucket.engine import Full
from gostore.bucket.members import MAX_GENERATION
from gostore.bucket.past import BucketPast
from gostore.bucket.pointer import (
    DEAD_SIZE,
    GARBAGE,
    HISTORY,
    MAX_ID,
    Stored,
    data_key,
    history_key,
    pointer_key,
    record_key,
)
from gostore.bucket.promise import Promise
from gostore.bucket.records import free_record
from gostore.errors import Damaged, NotFound, NoVersion, VersionDamaged
from gostore.prefixes import ByPrefix
from gostore.statefile import dump as dump_record
from gostore.statefile import parse as parse_record
from gostore.store.interface import Details, Lifetime
from gostore.store.versions import Restore, Version
from tests.bucket.doubles import make_store
from tests.bucket.test_provider import LARGE
from tests.store.doubles import FakeBody

HOUR = 3_600_000_000_000
KEEP = ByPrefix(7 * 3600.0, {"scratch/": 0.0, "for/ever/": inf})


class VersionsTests(SynchronousTestCase):
    """A store that keeps its history for seven hours, by a clock that the tests set."""

    def setUp(self) -> None:
        """Make it."""
        self.now = 1_800_000_000_000_000_000
        self.store, self.engine = make_store(wall=lambda: self.now, keep=KEEP)
        # The engine's clock is that of the tests, too.
        self.store.versions.markers.ask.ahead = 0.0
        self.past = BucketPast(self.store)

    def later(self, nanoseconds: int) -> None:
        """Let time go by, here and at the engine."""
        self.now += nanoseconds
        self.store.versions.markers.ask.ahead += nanoseconds / 1e9

    def put(self, location: str, data: bytes, **what: Any) -> Committed:
        """Store a blob, a minute later."""
        self.later(HOUR // 60)
        body = FakeBody(data, origin="alice, 7")
        put = self.store.put(location, body, Details("text/plain", {"x-a": "b"}, **what))
        return self.successResultOf(put)[0]

    def delete(self, location: str) -> None:
        """Delete a blob, a minute later."""
        self.later(HOUR // 60)
        self.successResultOf(self.store.delete(location, origin="bob, 8"))

    def history(self, location: str, *more: Any) -> list[Version]:
        """What is known of a location."""
        return self.successResultOf(self.past.history(location, *more))

    def deleted(self, *query: Any) -> tuple[list[str], str | None]:
        """What can be restored, and where the next page begins."""
        page = self.successResultOf(self.past.deleted(*query))
        return [each.blob.location for each in page.versions], page.next_after

    def read(self, location: str, generation: int) -> bytes:
        """The bytes of a version."""
        blob, content = self.successResultOf(self.past.version(location, generation))
        parts = []
        for at in range(0, blob.size, 65536):
            part = content.read(at, min(65536, blob.size - at))
            parts.append(part if isinstance(part, bytes) else self.successResultOf(part))
        content.close()
        return b"".join(parts)

    def test_history(self) -> None:
        """A history has each version, the newest first, with all that is known of it."""
        first, second = self.put("a/é", b"first"), self.put("a/é", b"second")
        ended = self.now
        self.delete("a/é")
        third = self.put("a/é", b"third")
        versions = self.history("a/é")
        self.assertEqual([each.blob for each in versions], [third, second, first])
        self.assertEqual([each.origin for each in versions], ["alice, 7"] * 3)
        current, deleted, replaced = (each.ending for each in versions)
        assert deleted is not None and replaced is not None
        self.assertIsNone(current)
        self.assertEqual(
            (deleted.by, deleted.origin, deleted.successor), (EndedBy.DELETED, "bob, 8", None)
        )
        self.assertEqual(
            (replaced.by, replaced.origin, replaced.successor),
            (EndedBy.REPLACED, "alice, 7", second.id),
        )
        self.assertGreaterEqual(replaced.when, ended)
        self.assertEqual(versions[2].until, replaced.when + 7 * HOUR)

    def test_pages(self) -> None:
        """A page of a history goes on below a version, and has so many."""
        blobs = [self.put("a", b"%d" % number) for number in range(50)][::-1]
        for before, limit in ((None, 7), (blobs[7].generation, 40), (blobs[0].generation, 1)):
            start = 0 if before is None else [each.generation for each in blobs].index(before) + 1
            found = [each.blob for each in self.history("a", before, limit)]
            self.assertEqual(found, blobs[start : start + limit])
        self.assertEqual(self.history("a", blobs[-1].generation, 10), [])
        self.failureResultOf(self.past.history("b", 5, 10), NotFound)

    def test_versions(self) -> None:
        """A version is read by its generation, be it small, large or empty."""
        for data in (b"small", LARGE, b""):
            blob = self.put("a", data)
            self.put("a", b"other")
            self.assertEqual(self.read("a", blob.generation), data)
            self.failureResultOf(self.past.version("a", blob.generation + 1), NoVersion)
            self.failureResultOf(self.past.version("b", blob.generation), NoVersion)

    def test_restore(self) -> None:
        """A restored version is a new one; what it replaces is kept, and so is itself."""
        first = self.put("a", b"first")
        second = self.put("a", b"second")
        made, is_new = self.successResultOf(
            self.past.restore("a", Restore(first.generation, "carol, 9"))
        )
        self.assertFalse(is_new)
        self.delete("a")
        self.assertEqual(
            [each.blob.generation for each in self.history("a")],
            [made.generation, second.generation, first.generation],
        )
        again, is_new = self.successResultOf(
            self.past.restore("a", Restore(second.generation, "carol, 9"))
        )
        self.assertTrue(is_new)
        self.assertEqual(self.read("a", again.generation), b"second")
        self.assertEqual((again.content_type, again.metadata), ("text/plain", {"x-a": "b"}))
        self.failureResultOf(self.past.restore("a", Restore(5, "")), NoVersion)

    def test_deleted(self) -> None:
        """Deleted locations are listed in order, by pages; those with a blob again are not."""
        names = [f"d/{number:02}" for number in range(40)] + ["d/" + "long" * 100, "e", "d"]
        for name in names:
            self.put(name, b"x")
            self.delete(name)
        self.put("d/07", b"again")
        self.put("d/live", b"y")
        self.put("d/live", b"z")
        wanted = sorted(set(names) - {"d/07"})
        self.assertEqual(self.deleted(), (wanted, None))
        below = [each for each in wanted if each.startswith("d/")]
        self.assertEqual(self.deleted("d/", "", 10), (below[:10], below[9]))
        self.assertEqual(self.deleted("d/", below[9]), (below[10:], None))
        self.assertEqual(
            self.deleted("d/", "", 5, lambda at: at if at < "d/02" else None)[0], below[:2]
        )

    def test_by_prefix(self) -> None:
        """The longest prefix says for how long what a location had is kept; be it not at all."""
        for name in ("scratch/a", "for/ever/a", "a"):
            self.put(name, b"first")
            self.put(name, b"second")
        self.assertEqual(len(self.history("scratch/a")), 1)
        self.assertIsNone(self.history("for/ever/a")[1].until)
        self.later(7 * HOUR + HOUR // 60)
        self.assertEqual([len(self.history(each)) for each in ("for/ever/a", "a")], [2, 1])
        [version] = self.history("a")
        self.failureResultOf(self.past.version("a", version.blob.generation - 1), NoVersion)

    def test_other_settings(self) -> None:
        """A longer time holds at once, for what is kept already; so does none."""
        first = self.put("a", b"first")
        self.put("a", b"second")
        self.later(8 * HOUR)
        self.assertEqual(len(self.history("a")), 1)
        self.store.tune(None, 10, ByPrefix(9 * 3600.0))
        self.assertEqual(self.read("a", first.generation), b"first")
        self.store.tune(None, 10, ByPrefix(0.0))
        self.assertEqual(len(self.history("a")), 1)
        self.put("a", b"third")
        self.store.tune(None, 10, ByPrefix(inf))
        self.assertEqual(
            [each.blob.generation for each in self.history("a")][1:], [first.generation]
        )

    def test_kept_by_others(self) -> None:
        """A daemon that keeps nothing shows what others keep, for as long as they say they do."""
        first = self.put("a", b"first")
        self.put("a", b"second")
        self.put("b", b"third")
        self.delete("b")
        Promise(self.store.versions.markers.ask).settle(KEEP)
        other, _ = make_store(self.engine, wall=lambda: self.now)
        other.versions.markers.ask.ahead = self.store.versions.markers.ask.ahead
        past = BucketPast(other)
        shown = self.successResultOf(past.history("a"))
        self.assertEqual(shown, self.history("a"))
        self.assertEqual(len(shown), 2)
        found = self.successResultOf(past.version("a", first.generation))
        self.assertEqual(found[0].generation, first.generation)
        listed = self.successResultOf(past.deleted())
        self.assertEqual([each.blob.location for each in listed.versions], ["b"])
        self.later(8 * HOUR)
        other.versions.markers.ask.ahead = self.store.versions.markers.ask.ahead
        self.assertEqual(len(self.successResultOf(past.history("a"))), 1)
        self.successResultOf(other.replace("a", FakeBody(b"fourth"), Details()))
        self.assertEqual(len(self.successResultOf(past.history("a"))), 1)

    def test_hostile(self) -> None:
        """A version that somebody else has written is passed over, and hides no other."""
        first, second = self.put("a", b"first"), self.put("a", b"second")
        self.put("a", b"third")
        self.put("b", b"fourth")
        self.delete("b")
        key = history_key(first)  # type: ignore[arg-type]
        good = json.loads(self.engine.get(key).data)
        for change in ({"type": "\ud800"}, {"origin": "\ud800"}, {"expires": 2**63 - 1}):
            text = json.dumps({**good, **change}).encode() + b"\n"
            self.engine.put(key, text)
            self.engine.put(f"{HISTORY}00/{'c' * 150}={'0' * 64}/1-7", text)
            self.assertEqual([each.blob for each in self.history("a")][1:], [second])
            listed = self.successResultOf(self.past.deleted())
            self.assertEqual([each.blob.location for each in listed.versions], ["b"])

    def test_last_generation(self) -> None:
        """Behind the largest generation that is believed, and a damaged one, all can be written."""
        self.put("a", b"first")
        good = json.loads(self.engine.get(pointer_key("a")).data)
        for generation, created in (
            (MAX_GENERATION + 1, good["created"]),
            (MAX_GENERATION, "9999-12-31T23:59:59.999999999Z"),
            (MAX_GENERATION - 1, good["created"]),
        ):
            for data in (b"second", b"third"):
                text = json.dumps({**good, "generation": generation, "created": created}).encode()
                self.engine.put(pointer_key("a"), text)
                for _ in range(3):
                    self.assertEqual(self.read("a", self.put("a", data).generation), data)
                self.engine.put(pointer_key("a"), text)
                self.delete("a")
                self.assertEqual(self.read("a", self.put("a", data).generation), data)

    def test_expired(self) -> None:
        """Who asks for the history of a blob whose time is over sees that it is."""
        blob = self.put("a", b"x", lifetime=Lifetime(60))
        self.later(HOUR)
        [version] = self.history("a")
        assert version.ending is not None
        self.assertEqual((version.blob, version.ending.by), (blob, EndedBy.EXPIRED))
        self.assertEqual(self.deleted(), (["a"], None))

    def test_clock_set(self) -> None:
        """A clock that was set forth ends no blob, whoever asks for its history."""
        blob = self.put("a", b"x", lifetime=Lifetime(60))
        self.now += HOUR
        self.failureResultOf(self.past.history("a"), NotFound)
        self.now -= HOUR
        self.assertEqual(self.successResultOf(self.store.get("a")), blob)

    def test_no_write(self) -> None:
        """What is over cannot become history while the bucket is full; nobody is refused."""
        first = self.put("a", b"first")
        self.put("a", b"second", lifetime=Lifetime(60))
        self.later(HOUR)
        swap = self.engine.swap

        def refuse(key: str, data: bytes, etag: str) -> str:
            raise Full("QuotaExceeded")

        self.engine.swap = refuse  # type: ignore[method-assign]
        self.assertEqual([each.blob for each in self.history("a")], [first])
        self.engine.swap = swap  # type: ignore[method-assign]
        self.assertEqual(len(self.history("a")), 2)

    def test_damage(self) -> None:
        """A version whose bytes are gone, or others, is damaged; its location is well."""
        for data in (b"first", LARGE):
            blob = self.put("a", data)
            self.put("a", b"second")
            assert isinstance(blob, Stored)
            before = self.engine.get(data_key(blob.id)).data
            self.engine.delete(data_key(blob.id))
            if len(data) <= 65536:
                self.failureResultOf(self.past.version("a", blob.generation), VersionDamaged)
            self.failureResultOf(
                self.past.restore("a", Restore(blob.generation, "")), VersionDamaged
            )
            self.engine.put(data_key(blob.id), before)
            self.failureResultOf(
                self.past.restore("a", Restore(blob.generation, "")), VersionDamaged
            )
            self.assertEqual(self.successResultOf(self.store.get("a")).size, 6)
            self.assertIn(blob.generation, [each.blob.generation for each in self.history("a")])

    def test_removed(self) -> None:
        """A version whose objects are gone does not come back, though the pointer says it was."""
        blob = self.put("a", b"first")
        self.put("a", b"second")
        assert isinstance(blob, Stored)
        for key in (data_key(blob.id), record_key(blob.id)):
            self.engine.delete(key)
        self.assertEqual(len(self.history("a")), 1)
        self.failureResultOf(self.past.version("a", blob.generation), NoVersion)
        self.engine.delete(history_key(blob))
        self.assertEqual(len(self.history("a")), 1)
        self.failureResultOf(self.past.version("a", blob.generation), NoVersion)

    def test_being_removed(self) -> None:
        """A version whose bytes the collection has just removed is gone, and not damaged."""
        blob = self.put("a", b"first")
        self.put("a", b"second")
        record = self.engine.get(record_key(blob.id))
        dead = parse_record(record.data, blob.id, max_id=MAX_ID)
        dead.fail(self.now, "Deleted! Nothing refers to it")
        self.engine.delete(data_key(blob.id))
        for left in (dump_record(dead), free_record("nonce999")):
            self.engine.put(record_key(blob.id), left)
            self.failureResultOf(self.past.version("a", blob.generation), NoVersion)
        self.engine.put(record_key(blob.id), record.data)
        self.failureResultOf(self.past.version("a", blob.generation), VersionDamaged)

    def test_no_record(self) -> None:
        """A version whose record is lost is there; nobody knows who asked for it."""
        blob = self.put("a", b"first")
        self.put("a", b"second")
        self.engine.delete(record_key(blob.id))
        self.assertEqual(self.history("a")[1].origin, "")
        self.assertEqual(self.read("a", blob.generation), b"first")

    def test_garbage(self) -> None:
        """What is no version is passed over; a damaged pointer hides no older version."""
        first, second, third = (self.put("a", each) for each in (b"first", b"second", b"third"))
        self.put("a", b"fourth")
        assert isinstance(first, Stored) and isinstance(second, Stored)
        self.engine.put(history_key(second), self.engine.get(history_key(first)).data)
        self.engine.put(f"{HISTORY}zz/foreign", b"")
        self.assertEqual([each.blob for each in self.history("a")][1:], [third, first])
        self.engine.put(history_key(second), b"garbage")
        self.engine.put(pointer_key("a"), b"garbage")
        self.assertEqual([each.blob for each in self.history("a")], [third, first])
        self.assertEqual(self.read("a", first.generation), b"first")
        self.failureResultOf(self.past.version("a", second.generation), Damaged)
        self.engine.put(pointer_key("b"), b"garbage")
        self.failureResultOf(self.past.history("b"), Damaged)

    def test_objects(self) -> None:
        """A version has two objects more, and a tombstone the size of all."""
        self.put("a", b"first")
        self.put("a", b"second")
        self.delete("a")
        keys = {each.key: each.size for each in self.engine.list("")}
        self.assertEqual(sum(key.startswith(GARBAGE) for key in keys), 2)
        self.assertEqual(sum(key.startswith(HISTORY) for key in keys), 2)
        self.assertEqual(keys[pointer_key("a")], DEAD_SIZE)
