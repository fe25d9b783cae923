"""A check of a bucket: what it finds wrong, what it repairs, and what it must not touch."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Blob
from gostore.bucket.check import Check, Checked
from gostore.bucket.pointer import (
    MAX_ID,
    blob_folder,
    data_key,
    dump,
    garbage_key,
    history_folder,
    parse,
    pointer_key,
    record_key,
)
from gostore.bucket.records import is_free
from gostore.bucket.unfinished import piece_key, upload_key
from gostore.bucket.visiting import SMALL, SPAN, Bucket
from gostore.errors import VolumeUnusable
from gostore.prefixes import ByPrefix
from gostore.statefile import dump as dump_record
from gostore.statefile import parse as parse_record
from gostore.store.interface import Details
from gostore.text import wall_clock
from tests.bucket.doubles import make_store
from tests.store.doubles import FakeBody

HOUR = 3600.0
LONG = "é" * 400


class CheckTests(SynchronousTestCase):
    """A bucket with some blobs, and what is done to it."""

    def setUp(self) -> None:
        """Store them."""
        self.store, self.engine = make_store()
        self.ids = {}
        for location in ("a", "b", LONG):
            body = FakeBody(location.encode())
            blob = self.successResultOf(self.store.create(location, body, Details("text/plain")))
            self.ids[location] = blob.id

    def check(self, *, later: float = 0.0, **what: Any) -> Checked:
        """Check the bucket, so many seconds later."""
        mend = what.pop("mend", False)
        bucket = Bucket(
            self.engine, "s3://bucket/prefix", lambda: wall_clock() + int(later * 1_000_000_000)
        )
        return Check(bucket, **what).run(mend=mend)

    def found(self, **what: Any) -> dict[str, tuple[str, str]]:
        """The kinds and the reasons of what is found, by name."""
        checked = self.check(**what)
        return {each.name: (each.kind, each.reason) for each in checked.troubles}

    def test_history(self) -> None:
        """What is kept is verified, and a repair leaves it, however old it is."""
        keep = ByPrefix(7 * 86_400.0)
        store, _ = make_store(self.engine, keep=keep)
        for body in (b"second", b"third"):
            self.successResultOf(store.replace("a", FakeBody(body), Details()))
        self.successResultOf(store.delete("b"))
        keys = {each.key for each in self.engine.list("")}
        checked = self.check(later=86_400.0, digests=True, mend=True)
        self.assertEqual((checked.troubles, checked.blobs, checked.verified), ([], 2, 5))
        self.assertEqual({each.key for each in self.engine.list("")} & keys, keys)
        first, second = (each.key for each in self.engine.list(history_folder("a")))
        self.engine.put(second, b"garbage")
        self.engine.delete(data_key(int(first.rpartition("-")[2])))
        found = self.found()
        self.assertEqual(found.pop(second), ("damaged", "the version is not JSON"))
        damaged = [reason for kind, reason in found.values() if kind == "damaged"]
        self.assertEqual(len(damaged), 1)
        self.assertIn("its data is gone (version ", damaged[0])

    def test_clean(self) -> None:
        """What daemons have written is clean; all is read only if that is asked for."""
        large = bytes(SMALL + SPAN)
        self.successResultOf(self.store.create("large", FakeBody(large), Details()))
        self.successResultOf(self.store.create("empty", FakeBody(b""), Details()))
        told: list[tuple[int, ...]] = []
        bucket = Bucket(self.engine, "s3://bucket/prefix")
        checked = Check(bucket, digests=True).run(lambda *numbers: told.append(numbers))
        self.assertEqual(checked.troubles, [])
        size = len(large) + len(LONG.encode()) + 2
        self.assertEqual((checked.blobs, checked.bytes, checked.verified), (5, size, 5))
        self.assertEqual(told[-1], (5, 5, size, 0))
        self.assertEqual(self.check().verified, 0)

    def test_data(self) -> None:
        """Data that is gone, shorter, or of another digest is damage, named by its location."""
        key = data_key(self.ids["a"])
        data = self.engine.get(key)
        self.engine.delete(key)
        [trouble] = self.check().troubles
        self.assertEqual(
            (trouble.kind, trouble.name, trouble.location, trouble.reason, trouble.mends),
            ("damaged", key, "a", "its data is gone", False),
        )
        self.engine.put(key, b"")
        self.assertIn("another ETag", self.found()[key][1])
        pointer = parse(self.engine.get(pointer_key("b")).data)
        assert pointer.blob is not None
        wrong = evolve(pointer, blob=evolve(pointer.blob, size=2))
        self.engine.put(pointer_key("b"), dump(wrong))
        self.assertEqual(
            self.found()[data_key(self.ids["b"])], ("damaged", "its data has 1 bytes instead of 2")
        )
        wrong = evolve(pointer, blob=evolve(pointer.blob, sha256=bytes(32)))
        self.engine.put(pointer_key("b"), dump(wrong))
        self.engine.put(key, data.data)
        self.assertNotIn(data_key(self.ids["b"]), self.found())
        self.assertIn("the digest", self.found(digests=True)[data_key(self.ids["b"])][1])

    def test_pointers(self) -> None:
        """A garbage pointer, one of a later format or of another location is damage."""
        for text in (b"<html>", b'{"format":2}', self.engine.get(pointer_key("b")).data, b""):
            self.engine.put(pointer_key("a"), text)
            [trouble] = [each for each in self.check().troubles if each.kind == "damaged"]
            self.assertEqual((trouble.name, trouble.location), (pointer_key("a"), "a"))
        self.engine.put(pointer_key(LONG), b"x" * 300)
        self.assertIn("no location", self.found()[pointer_key(LONG)][1])

    def test_shared(self) -> None:
        """Two locations with one blob are damage."""
        pointer = parse(self.engine.get(pointer_key("a")).data)
        assert pointer.blob is not None
        other = evolve(pointer, location="c", blob=evolve(pointer.blob, location="c"))
        self.engine.put(pointer_key("c"), dump(other))
        reasons = [each.reason for each in self.check().troubles]
        self.assertTrue(any("too" in each for each in reasons), reasons)

    def test_records(self) -> None:
        """A record that is gone, garbage, dead or another blob's is written again."""
        key = record_key(self.ids["a"])
        good = self.engine.get(key).data
        dead = parse_record(good, max_id=MAX_ID)
        dead.fail(1, "condemned")
        other = Blob.of(evolve(parse_record(good, max_id=MAX_ID).committed(), location="z"))
        for text, reason in (
            (None, "gone"),
            (b"x", "cannot be believed"),
            (dump_record(dead), "is dead"),
            (dump_record(other), "other bytes"),
        ):
            if text is None:
                self.engine.delete(key)
            else:
                self.engine.put(key, text)
            [trouble] = self.check().troubles
            self.assertEqual((trouble.kind, trouble.mends), ("damaged", True))
            self.assertIn(reason, trouble.reason)
            [mended] = self.check(mend=True).troubles
            self.assertTrue(mended.mends)
            self.assertEqual(self.check().troubles, [])
            record = parse_record(self.engine.get(key).data, self.ids["a"], max_id=MAX_ID)
            self.assertEqual((record.location, record.content_type), ("a", "text/plain"))

    def test_unnamed(self) -> None:
        """What no pointer names is dead; only what is older than the grace is removed."""
        self.successResultOf(self.store.replace("a", FakeBody(b"new"), Details()))
        stray = 2**100
        self.engine.put(data_key(stray), b"x")
        self.engine.put(garbage_key(5), b"gone")
        self.engine.put("gc/probes/1", b"1")
        found = self.found()
        folder = blob_folder(self.ids["a"])
        self.assertEqual(found[folder], ("dead", "replaced or deleted"))
        self.assertIn("on its way", found[blob_folder(stray)][1])
        self.assertEqual(found[garbage_key(5)][0], "dead")
        self.assertNotIn("gc/probes/1", found)
        before = {each.key for each in self.engine.list("blobs/")}
        self.check(mend=True)
        self.assertEqual({each.key for each in self.engine.list("blobs/")}, before)
        old = self.check(later=2 * HOUR)
        self.assertEqual(
            {each.name: each.mends for each in old.troubles},
            {folder: True, blob_folder(stray): False, garbage_key(5): True, "gc/probes/1": True},
        )

    def test_removed(self) -> None:
        """A repair removes what is old and dead, and nothing that a location has.

        What had no record is removed once it has had one for a while.
        """
        self.successResultOf(self.store.replace("a", FakeBody(b"new"), Details()))
        stray = blob_folder(2**100)
        self.engine.put(data_key(2**100), b"x")
        for left in ([stray], []):
            self._age()
            checked = self.check(mend=True)
            self.assertTrue(checked.troubles)
            self.assertEqual([each.name for each in checked.troubles if not each.mends], left)
        self.assertEqual(self.check(digests=True).troubles, [])
        self.assertEqual(self.check(digests=True).blobs, 3)

    def _age(self) -> None:
        """Let all objects be two hours old."""
        engine, listing, get = self.engine, self.engine.list, self.engine.get
        started = wall_clock() / 1e9

        def older(found: Any) -> Any:
            if found.modified > started:
                return found
            return evolve(found, modified=found.modified - 2 * HOUR)

        engine.list = lambda *what: map(older, listing(*what))  # type: ignore[method-assign,assignment]
        engine.get = lambda *what: older(get(*what))  # type: ignore[method-assign,assignment]

    def test_narrow_ids(self) -> None:
        """Where ids are used again a free one is no trouble, and bytes left under one are dead."""
        self.store, self.engine = make_store(id_bits=16)
        for location in ("a", "b"):
            self.successResultOf(self.store.create(location, FakeBody(b"x"), Details()))
        blob = parse(self.engine.get(pointer_key("a")).data).blob
        gone = parse(self.engine.get(pointer_key("b")).data).blob
        assert blob is not None and gone is not None
        self.assertEqual(self.found(digests=True), {})
        self.successResultOf(self.store.delete("b"))
        self.assertEqual(self.found()[blob_folder(gone.id)], ("dead", "replaced or deleted"))
        self.engine.put(data_key(blob.id, "an-elder"), b"old")
        self.engine.put(garbage_key(blob.id, "an-elder"), b"a")
        key = record_key(blob.id)
        record = self.engine.get(key).data
        self.engine.put(key, dump_record(Blob.of(blob)))
        found = self.found()
        self.assertIn("had this id before", found[data_key(blob.id, "an-elder")][1])
        self.assertIn("other bytes", found[key][1])
        self._age()
        checked = self.check(mend=True)
        self.assertEqual([each.name for each in checked.troubles if not each.mends], [])
        self.assertEqual(parse_record(self.engine.get(key).data).nonce, parse_record(record).nonce)
        self.assertTrue(is_free(self.engine.get(record_key(gone.id)).data))
        self.assertEqual(self.found(digests=True), {})

    def test_foreign(self) -> None:
        """What is not gostore's is named, and left alone."""
        names = ["notes.txt", "blobs/00/1/data.raw", "blobs/01/1/x", "garbage/x", "locations/00/b"]
        for name in names:
            self.engine.put(name, b"x")
        for mend in (False, True):
            self.assertEqual(
                {name: kind for name, (kind, _) in self.found(mend=mend).items()},
                dict.fromkeys(names, "foreign"),
            )

    def test_uploads(self) -> None:
        """An upload in several requests is nobody's trouble, and stays."""
        number = 10**38 + 5
        names = [upload_key(number), piece_key(number, 0)]
        for name in names:
            self.engine.put(name, b"{}")
        before = self.check().troubles
        self.assertNotIn(names[0], {each.name for each in before})
        self.assertEqual(self.check(mend=True).troubles, before)
        self.assertEqual([each.key for each in self.engine.list("uploads/")], sorted(names))

    def test_no_store(self) -> None:
        """A place without a store is refused, and nothing is written there."""
        _, self.engine = make_store()
        self.engine.delete("store.json")
        with self.assertRaises(VolumeUnusable):
            self.check(mend=True)
        self.assertEqual([each.key for each in self.engine.list("")], [])
