"""The uploads in parts that nobody will complete are aborted, and no others are touched."""

from __future__ import annotations

import json

from attrs import evolve
from obstore.store import MemoryStore
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Blob
from gostore.bucket.abandoned import Abandoned
from gostore.bucket.check import Check
from gostore.bucket.engine import Refused, Unfinished, Unsettled
from gostore.bucket.objects import ObjectStoreEngine
from gostore.bucket.pointer import LEASE, data_key, pointer_key, record_key
from gostore.bucket.records import free_record
from gostore.bucket.visiting import Bucket
from gostore.commands.fsck import fsck_bucket
from gostore.statefile import dump as dump_record
from gostore.store.interface import Details
from gostore.text import wall_clock
from tests.bucket.doubles import KnownUploads, make_store
from tests.store.doubles import FakeBody

HOUR = 3600.0


class AbandonedTests(SynchronousTestCase):
    """A bucket, and what its engine says of its uploads."""

    def setUp(self) -> None:
        """Have a blob, and an upload of each kind, two hours old."""
        self.uploads = KnownUploads()
        self.engine = ObjectStoreEngine(MemoryStore(), quotes=True, unfinished=self.uploads)
        self.store, _ = make_store(self.engine)
        self.blob = self.successResultOf(self.store.create("a", FakeBody(b"1"), Details()))
        self.bucket = Bucket(self.engine, "s3://bucket/prefix")
        self.abandoned = Abandoned(self.bucket.ask, HOUR)
        self.engine.put(record_key(7), b"garbage")
        self.record(8)
        dead = self.record(9)
        dead.fail(wall_clock(), "Deleted! Nothing refers to it")
        self.engine.put(record_key(9), dump_record(dead))
        self.record(10, "a")
        self.record(12)
        self.engine.put(record_key(11), free_record("NONCE678"))
        for key in (
            *(data_key(number) for number in (5, 7, 8, 9, 10)),
            data_key(11, "NONCE111"),
            data_key(12, "NONCE112"),
            data_key(self.blob.id),
            "blobs/00/5/data.raw",
            "blobs/05/5/other",
            "blobs/x",
        ):
            self.uploads.begin(key, 2 * HOUR)

    def record(self, blob_id: int, location: str = "b") -> Blob:
        """Write the record of a blob that is on its way."""
        blob = Blob(blob_id, location)
        blob.create(wall_clock())
        blob.start_writing(wall_clock())
        self.engine.put(record_key(blob_id), dump_record(blob))
        return blob

    def judged(self) -> dict[str, str]:
        """Why the upload of each key is abandoned, those alone that are."""
        return {each.upload.key: each.reason for each in self.abandoned.judge() if each.reason}

    def test_judge(self) -> None:
        """Only what can never be published is abandoned: the record says so, or a pointer does."""
        wanted = {
            data_key(5): "its record is gone",
            data_key(9): "its record says that it is dead",
            data_key(11, "NONCE111"): "its id is free",
            data_key(12, "NONCE112"): "its id has another blob",
            data_key(self.blob.id): "its blob was published",
        }
        self.assertEqual(self.judged(), wanted)

    def test_young(self) -> None:
        """What is younger than the grace is left alone, whatever its record says."""
        there = self.uploads.there
        self.uploads.there = [evolve(each, begun=each.begun + 1.5 * HOUR) for each in there]
        self.assertEqual(self.judged(), {})
        self.assertEqual(self.abandoned.abort(), 0)
        self.assertEqual(self.uploads.aborted, [])

    def test_engine_clock(self) -> None:
        """Ages go by the engine's clock: ours may be an hour behind."""
        self.bucket.ask.ahead = -1.5 * HOUR
        self.assertEqual(self.judged(), {})

    def test_damaged_pointer(self) -> None:
        """A pointer that cannot be believed may name any blob: its upload is left alone."""
        self.engine.put(pointer_key("a"), b"<html>")
        self.assertNotIn(data_key(self.blob.id), self.judged())

    def test_abort(self) -> None:
        """What is abandoned is aborted, and counted, once."""
        wanted = set(self.judged())
        self.assertEqual(self.abandoned.abort(), 5)
        self.assertEqual(set(self.uploads.aborted), wanted)
        self.assertEqual(self.bucket.ask.tally.aborted, 5)
        self.assertEqual(self.abandoned.abort(), 0)
        self.assertEqual(len(self.uploads.there), 6)

    def test_refused(self) -> None:
        """An engine that does not list uploads is no error; the log says so once."""
        self.uploads.trouble = Refused("NotImplemented")
        with capturedLogs() as events:
            self.assertEqual((self.abandoned.abort(), self.abandoned.abort()), (0, 0))
        [line] = map(formatEvent, events)
        self.assertIn("does not let us sweep uploads in parts that were given up: NotImpl", line)
        report = fsck_bucket(self.bucket)
        said = "The engine does not tell its uploads in parts: NotImplemented"
        self.assertIn(said, report.as_lines())
        self.uploads.trouble = Unsettled("timed out")
        self.assertEqual(self.abandoned.abort(), 0)

    def test_once_a_round(self) -> None:
        """The daemon that has the lease does it at the end of a round of the sweep."""
        for shard, aborted in ((254, 0), (255, 5)):
            lease = {"owner": "", "until": 0, "shard": shard, "began": 0}
            store, _ = make_store(self.engine)
            self.engine.put(LEASE, json.dumps(lease).encode())
            self.successResultOf(store.collect())
            self.assertEqual(len(self.uploads.aborted), aborted)
            self.assertEqual(store.tally.aborted, aborted)

    def test_fsck(self) -> None:
        """A check tells each, a repair aborts what is abandoned, and says what it has left."""
        troubles = {each.name: each for each in Check(self.bucket).run().troubles}
        name = f"{data_key(self.blob.id)}?uploadId=7"
        self.assertEqual(troubles[name].reason, "an upload in parts: its blob was published")
        self.assertTrue(troubles[name].mends)
        going_on = troubles[f"{data_key(8)}?uploadId=2"]
        self.assertEqual(going_on.reason, "an upload in parts: it may go on")
        self.assertFalse(going_on.mends)
        mended = {each.name: each for each in Check(self.bucket).run(mend=True).troubles}
        self.assertTrue(mended[name].mends)
        self.assertEqual(len(self.uploads.there), 6)
        self.uploads.there.append(Unfinished(data_key(5), "again", 0.0))
        self.uploads.keeps = True
        mended = {each.name: each for each in Check(self.bucket).run(mend=True).troubles}
        self.assertFalse(mended[f"{data_key(5)}?uploadId=again"].mends)
