"""What is told of a bucket, and of one of its blobs, and the same by the commands."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from gostore.bucket.exhibit import Exhibit
from gostore.bucket.pointer import data_key, dump, garbage_key, parse, pointer_key, record_key
from gostore.bucket.visiting import Bucket
from gostore.commands.expire import expired_in_bucket
from gostore.commands.fsck import fsck_bucket
from gostore.commands.show import show_in_bucket
from gostore.commands.unfinished import unfinished_in_bucket
from gostore.commands.why import tell_in_bucket
from gostore.errors import NotFound, Spoiled, VolumeUnusable
from gostore.store.interface import Details, Lifetime
from gostore.store.unfinished import Address, Chunk, Wanted
from tests.bucket.doubles import make_store
from tests.store.doubles import FakeBody


class ExhibitTests(SynchronousTestCase):
    """A bucket with a blob."""

    def setUp(self) -> None:
        """Store it."""
        self.store, self.engine = make_store()
        self.bucket = Bucket(self.engine, "s3://bucket/prefix")
        details = Details("text/plain", {"x-gostore-meta-a": "\x9b31mred"})
        self.blob = self.successResultOf(self.store.create("a", FakeBody(b"1"), details))

    def show(self, wanted: str | None = None, *, location: bool = False) -> str:
        """What the command prints."""
        return "\n".join(show_in_bucket(self.bucket, wanted, location=location))

    def test_uploads(self) -> None:
        """The uploads that may go on are told, and how far they are; finished ones are not."""
        resumable, wanted = self.store.resumable, Wanted(Details())
        addresses = [
            self.successResultOf(resumable.begin(Address(0, name), "", length, wanted))
            for name, length in (("b", 9), ("c", None), ("d", 3))
        ]
        for address in addresses:
            body = FakeBody(b"123")
            self.successResultOf(resumable.append(address, Chunk(0), body))
        self.successResultOf(resumable.finish(addresses[2], wanted))
        found = unfinished_in_bucket(self.bucket, 60.0)
        self.assertEqual({each.location for each in found}, {"b", "c"})
        one, other = sorted(found, key=lambda each: each.location)
        self.assertEqual((one.id, one.offset, one.length), (str(addresses[0].number), 3, 9))
        self.assertIn(f"uploads/{addresses[1].number}/ of 'c': 3 of an unknown number", str(other))
        self.assertLess(one.written, one.expires)

    def test_blob(self) -> None:
        """A blob is told by its location or its id: its record, its log, where its objects are."""
        shown = self.show("a")
        self.assertEqual(self.show(str(self.blob.id)), shown)
        self.assertIn(f"Blob {self.blob.id}\n", shown)
        self.assertIn(f"/{self.blob.id}/", shown)
        self.assertIn("OK - Blob Created & Saved!", shown)
        self.assertIn("\\x9b31mred", shown)
        with self.assertRaises(NotFound):
            self.show(str(self.blob.id), location=True)
        with self.assertRaises(NotFound):
            self.show("b")

    def test_states(self) -> None:
        """What no location has, what is over and what has no record says so."""
        self.successResultOf(self.store.replace("a", FakeBody(b"2"), Details()))
        self.assertIn("OK, and no location has it", self.show(str(self.blob.id)))
        details = Details(lifetime=Lifetime(until=1))
        over = self.successResultOf(self.store.create("over", FakeBody(b"2"), details))
        self.assertIn("OK, but its time is over", self.show("over"))
        self.engine.delete(record_key(over.id))
        self.assertIn("its record is gone", self.show("over"))
        self.engine.put(pointer_key("over"), b"<html>")
        with self.assertRaises(Spoiled) as caught:
            self.show("over")
        self.assertIn("the pointer of 'over' cannot be believed", str(caught.exception))

    def test_store(self) -> None:
        """Without a blob it is told what the daemons agree on, and who collects."""
        shown = self.show()
        self.assertIn("store: s3://bucket/prefix\nids: 128 bits\ncreated: 20", shown)
        self.assertIn("no daemon has collected yet", shown)
        self.successResultOf(self.store.collect())
        self.assertRegex(self.show(), "collection: by the daemon [0-9a-f]{16} until 20")
        description = self.bucket.describe()
        assert description is not None
        self.engine.put("store.json", evolve(description, migrating="directory /x").dump())
        self.assertIn("incomplete: it lacks blobs that are to come from directory /x", self.show())
        report = fsck_bucket(self.bucket)
        told = "incomplete: store.json: it lacks blobs that are to come from directory /x: go on"
        self.assertTrue(report.as_lines()[0].startswith(told))
        self.assertEqual(report.as_lines()[-1], "0 damaged, 1 other finding")
        self.assertFalse(report.as_json()["clean"])
        self.engine.delete("store.json")
        with self.assertRaises(VolumeUnusable):
            self.show()
        self.assertEqual(Exhibit(self.bucket).blob("a", is_location=True).remark, "")

    def test_fsck(self) -> None:
        """The report of a bucket has the words of that of a directory."""
        report = fsck_bucket(self.bucket)
        *_, counts, last = report.as_lines()
        self.assertIn("1 blob of 1 byte in", counts)
        self.assertIn("0 verified, 1 whose bytes were not read; --digests reads them", counts)
        self.assertEqual(last, "Clean")
        self.assertTrue(report.as_json()["clean"])
        pointer = parse(self.engine.get(pointer_key("a")).data)
        assert pointer.blob is not None
        wrong = evolve(pointer, blob=evolve(pointer.blob, sha256=bytes(32)))
        self.engine.put(pointer_key("a"), dump(wrong))
        report = fsck_bucket(self.bucket, digests=True)
        key = data_key(self.blob.id)
        self.assertIn(f"damaged: {key} of 'a': its data does not have", report.as_lines()[0])
        self.assertFalse(report.as_json()["clean"])
        self.assertIn("2 damaged, 0 other findings; --repair mends 1", report.as_lines()[-1])

    def test_expire(self) -> None:
        """What is over is told as of a directory; what cannot be believed, and tombstones, not."""
        for location, until in (("late", 300), ("soon", 100), ("later", 200), ("gone", 50)):
            details = Details(lifetime=Lifetime(until=until))
            self.successResultOf(self.store.create(location, FakeBody(b"12"), details))
        self.engine.put(pointer_key("gone"), b"<html>".ljust(300))
        lines = expired_in_bucket(self.bucket, 200)
        self.assertRegex(lines[0], "^soon: id [0-9]+, 2 bytes, expires at 1970-01-01T00:01:40Z$")
        self.assertTrue(lines[1].startswith("later: "))
        last = "2 blobs of 4 bytes; the next of 1 expires at 1970-01-01T00:05:00Z"
        self.assertEqual(lines[2:], [last])
        self.assertEqual(expired_in_bucket(self.bucket, 300)[-1], "3 blobs of 6 bytes")
        self.engine.delete("store.json")
        with self.assertRaises(VolumeUnusable):
            expired_in_bucket(self.bucket, 0)

    def why(self, wanted: str, later: int = 0, *, location: bool = False) -> list[str]:
        """What is told of a life, so many seconds after the epoch."""
        return tell_in_bucket(self.bucket, wanted, later * 10**9, location=location)

    def test_why(self) -> None:
        """Each version says who stored it, and that it was replaced or deleted; an id will do."""
        body = FakeBody(b"newer")
        body.origin = "alice, 7f3a"
        new = self.successResultOf(self.store.replace("a", body, Details(lifetime=Lifetime(60))))
        lines = self.why("a")
        self.assertEqual(lines[0], f"a has a blob of 5 bytes, with the id {new.id}.")
        self.assertRegex(lines[1], f"^Version [0-9]+, id {new.id}, 5 bytes:$")
        self.assertTrue(lines[2].endswith("stored in place of another by alice (request 7f3a)"))
        self.assertTrue(lines[3].endswith("will expire"))
        self.assertRegex(lines[4], f"^Version [0-9]+, id {self.blob.id}, 1 bytes, text/plain:$")
        self.assertTrue(lines[5].endswith("  stored"))
        self.assertTrue(lines[6].endswith("replaced or deleted"))
        self.assertIn("until the collector comes", lines[7])
        self.assertEqual(self.why(str(self.blob.id)), lines)
        self.assertEqual(self.why(str(new.id)), lines)
        self.assertIn("its time is over", self.why("a", 2**34)[0])
        self.successResultOf(self.store.delete("a"))
        self.assertEqual(self.why("a")[0], "a has no blob.")
        self.assertEqual(sum("replaced or deleted" in line for line in self.why("a")), 2)
        self.engine.delete(garbage_key(self.blob.id))
        self.assertIn("  stored", self.why(str(self.blob.id))[-1])
        with self.assertRaises(NotFound):
            self.why(str(self.blob.id), location=True)

    def test_why_damaged(self) -> None:
        """A pointer that cannot be believed says so; records and markers that cannot are left."""
        self.engine.put(pointer_key("a"), b"<html>")
        [line] = self.why("a")
        self.assertIn("a is damaged, and answers 500 until somebody replaces or deletes it", line)
        self.engine.put(garbage_key(7), b"b")
        self.engine.put("garbage/x", b"b")
        self.engine.put(record_key(7), b"<html>")
        for wanted in ("b", "7"):
            with self.assertRaises(NotFound):
                self.why(wanted)
        self.engine.delete("store.json")
        with self.assertRaises(VolumeUnusable):
            self.why("a")
