"""What commands tell of a bucket's history, and bring back of it, beside daemons."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from gostore.bucket.exhibit import Exhibit
from gostore.bucket.pointer import Stored, data_key, pointer_key, record_key
from gostore.bucket.undeleting import Undeletion
from gostore.bucket.visiting import SMALL, Bucket
from gostore.commands.fsck import fsck_bucket
from gostore.commands.history import line_of
from gostore.commands.why import tell_in_bucket
from gostore.errors import (
    AlreadyExists,
    Busy,
    NotFound,
    NoVersion,
    Spoiled,
    VersionDamaged,
    VolumeUnusable,
)
from gostore.prefixes import ByPrefix
from gostore.store.interface import Details, Lifetime
from tests.bucket.doubles import make_store
from tests.store.doubles import FakeBody

LARGE = bytes(range(256)) * (SMALL // 128 + 1)


class HistoryTests(SynchronousTestCase):
    """A bucket whose daemons keep what was replaced or deleted, and commands about it."""

    def setUp(self) -> None:
        """Have some of it."""
        self.store, self.engine = make_store(keep=ByPrefix(3600.0))
        self.bucket = Bucket(self.engine, "s3://bucket/prefix")
        for location in ("a", "large", "b/1", "b/2"):
            self.put(location, LARGE if location == "large" else b"old")
        self.put("a", b"newer")
        for location in ("a", "large", "b/1", "b/2"):
            self.successResultOf(self.store.delete(location, None, "bob, 9d"))
        self.put("stays", b"here")

    def put(self, location: str, data: bytes, **details: object) -> None:
        """Store a blob."""
        body = FakeBody(data)
        body.origin = "alice, 7f3a"
        given = Details("text/plain", {"x-gostore-meta-a": "b"}, **details)  # type: ignore[arg-type]
        self.successResultOf(self.store.put(location, body, given))

    def history(self, location: str) -> list[str]:
        """The lines of gostore history, without times and numbers."""
        lines = [line_of(each) for each in Exhibit(self.bucket).history(location)]
        return [
            re.sub(r"^[0-9]+: |, [0-9]{4}-[0-9TZ:.-]+| [0-9]{4}-[0-9TZ:.-]+", "", line)
            for line in lines
        ]

    def undeletion(self) -> Undeletion:
        """What brings something back."""
        made = Undeletion(self.bucket)
        made.open()
        return made

    # -- told ---------------------------------------------------------------------------------

    def test_history(self) -> None:
        """Each version is told with what ended it; the current one is the first."""
        self.assertEqual(self.history("a"), ["5 bytes, deleted", "3 bytes, replaced"])
        self.assertEqual(self.history("stays"), ["4 bytes"])
        self.put("short", b"x", lifetime=Lifetime(until=1))
        self.assertEqual(self.history("short"), ["1 bytes, expired"])
        self.assertRaises(NotFound, self.history, "nothing")
        newest = Exhibit(self.bucket).history("a")[0]
        assert newest.ending is not None
        self.assertEqual((newest.origin, newest.ending.origin), ("alice, 7f3a", "bob, 9d"))

    def test_damaged(self) -> None:
        """A pointer that cannot be believed hides nothing that is kept."""
        self.engine.put(pointer_key("a"), b"<html>")
        self.assertEqual(self.history("a"), ["5 bytes, deleted", "3 bytes, replaced"])
        self.engine.put(pointer_key("stays"), b"<html>")
        self.assertRaises(Spoiled, self.history, "stays")

    def test_why(self) -> None:
        """The life of a version that is kept says who ended it."""
        lines = tell_in_bucket(self.bucket, "a", 0)
        self.assertEqual(lines[0], "a has no blob.")
        said = [line.partition("Z  ")[2] for line in lines if "Z  " in line]
        by = " by alice (request 7f3a)"
        self.assertEqual(said[0::2], [f"stored{by}"] * 2)
        self.assertEqual(said[1], "deleted by bob (request 9d)")
        replaced = "replaced by the blob with the id [0-9]+ by alice"
        self.assertRegex(said[3], rf"^{replaced} \(request 7f3a\)$")
        self.assertEqual(sum("for as long as --keep says" in line for line in lines), 2)

    def test_fsck(self) -> None:
        """The bytes of all versions are read, beside those of the blobs."""
        line = fsck_bucket(self.bucket, digests=True).as_lines()[0]
        self.assertIn("1 blob of 4 bytes", line)
        self.assertIn("6 verified, 0 whose bytes were not read", line)
        line = fsck_bucket(self.bucket).as_lines()[0]
        self.assertIn("0 verified, 6 whose bytes were not read", line)

    # -- brought back -------------------------------------------------------------------------

    def test_restore(self) -> None:
        """The newest version is current again, whatever its size, and the history goes on."""
        undeletion = self.undeletion()
        for location, data in (("a", b"newer"), ("large", LARGE)):
            newest = undeletion.newest(location)
            undeletion.restore(location, newest.blob.generation, "gostore undelete")
            blob, content = self.successResultOf(self.store.fetch(location))
            self.assertEqual(blob.content_type, "text/plain")
            self.assertEqual(blob.metadata, {"x-gostore-meta-a": "b"})
            self.assertGreater(blob.generation, newest.blob.generation)
            span = content.read(0, len(data))
            self.assertEqual(span if isinstance(span, bytes) else self.successResultOf(span), data)
        self.assertEqual(self.history("a"), ["5 bytes", "5 bytes, deleted", "3 bytes, replaced"])
        self.assertEqual(Exhibit(self.bucket).history("a")[0].origin, "gostore undelete")
        self.successResultOf(self.store.delete("a"))
        self.assertEqual(len(self.history("a")), 3)

    def test_deleted(self) -> None:
        """A prefix stands for what was deleted below it, page by page."""
        undeletion = self.undeletion()
        page = undeletion.deleted("b/", "", 1)
        self.assertEqual([each.blob.location for each in page.versions], ["b/1"])
        assert page.next_after is not None
        page = undeletion.deleted("b/", page.next_after, 5)
        self.assertEqual([each.blob.location for each in page.versions], ["b/2"])

    def test_in_the_way(self) -> None:
        """A location that has a blob keeps it, also one that a daemon writes meanwhile."""
        undeletion = self.undeletion()
        version = undeletion.newest("a").blob.generation
        self.put("a", b"other")
        with self.assertRaises(AlreadyExists):
            undeletion.restore("a", version, "x")
        self.assertRaises(NoVersion, undeletion.restore, "b/1", 1, "x")
        version = undeletion.newest("b/1").blob.generation
        data = undeletion._versions.data

        def beside(*asked: object) -> bytes:
            if not self.successResultOf(self.store.list("b/1")).entries:
                self.put("b/1", b"other")
            return data(*asked)  # type: ignore[arg-type]

        undeletion._versions.data = beside  # type: ignore[method-assign]
        with self.assertRaises(AlreadyExists):
            undeletion.restore("b/1", version, "x")
        found = self.successResultOf(self.store.fetch("b/1"))[1].read(0, 5)
        self.assertEqual(found, b"other")

    def test_other_bytes(self) -> None:
        """What does not have its digest does not come back, and nothing is left of it."""
        undeletion = self.undeletion()
        for location in ("a", "large"):
            blob = undeletion.newest(location).blob
            assert isinstance(blob, Stored)
            data = self.engine.get(data_key(blob.id)).data
            self.engine.put(data_key(blob.id), bytes(data)[::-1])
            before = [each.key for each in self.engine.list("blobs/")]
            with self.assertRaises(VersionDamaged):
                undeletion.restore(location, blob.generation, "x")
            self.assertEqual([each.key for each in self.engine.list("blobs/")], before)

    def test_swept_meanwhile(self) -> None:
        """A copy whose record was swept is not published."""
        undeletion = self.undeletion()
        version = undeletion.newest("large").blob.generation
        before = {each.key for each in self.engine.list("blobs/")}
        data = undeletion._versions.data

        def sweep(*asked: object) -> bytes:
            for each in list(self.engine.list("blobs/")):
                if each.key not in before:
                    self.engine.delete(each.key)
            return data(*asked)  # type: ignore[arg-type]

        undeletion._versions.data = sweep  # type: ignore[method-assign]
        with self.assertRaises(Busy):
            undeletion.restore("large", version, "x")
        self.assertEqual(self.history("large")[0], f"{len(LARGE)} bytes, deleted")

    def test_no_store(self) -> None:
        """A bucket that is no store, or lacks blobs, is refused."""
        self.engine.put("store.json", b'{"format": 1, "id_bits": 128, "migrating": "x"}')
        self.assertRaisesRegex(VolumeUnusable, "to come from x", self.undeletion)
        self.engine.delete("store.json")
        self.assertRaisesRegex(VolumeUnusable, "so is no store", self.undeletion)
        self.assertRaises(VolumeUnusable, self.history, "a")

    def test_removed(self) -> None:
        """A version that the collection has removed is not told."""
        blob = self.undeletion().newest("b/1").blob
        assert isinstance(blob, Stored)
        self.engine.delete(data_key(blob.id))
        self.engine.delete(record_key(blob.id))
        self.assertRaises(NotFound, self.history, "b/1")
