"""Tests for what a bucket's store counts; test_metrics.py has what a directory's does."""

from __future__ import annotations

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from gostore.bucket.engine import Refused
from gostore.bucket.objects import memory_engine
from gostore.bucket.options import Options
from gostore.bucket.pointer import pointer_key
from gostore.bucket.provider import BucketStore
from gostore.daemon.metrics import Sources
from gostore.daemon.provider_metrics import bucket_metrics
from gostore.errors import Damaged, DiskFailed
from gostore.store.interface import Details
from tests.bucket.doubles import InlineReactor, InlineThreads, make_store
from tests.daemon.test_metrics import read
from tests.store.doubles import FakeBody


class BucketTests(SynchronousTestCase):
    """A store over objects in memory."""

    def setUp(self) -> None:
        """Have no blobs."""
        self.store, self.engine = make_store()
        self.sources = Sources(partial(bucket_metrics, self.store))

    def test_requests(self) -> None:
        """Requests to the engine are counted by kind and outcome, and timed by kind."""
        before = read(self.sources)
        self.successResultOf(self.store.create("a", FakeBody(b"1"), Details()))
        self.successResultOf(self.store.get("a"))
        after = read(self.sources)
        name = "gostore_engine_requests_total"
        # The record, and the pointer.
        self.assertEqual(after[name, "create,ok"] - before[name, "create,ok"], 2)
        self.assertGreater(after[name, "get,ok"], before[name, "get,ok"])
        counted = sum(
            value
            for (each, label), value in after.items()
            if each == name and label.startswith("get,")
        )
        self.assertEqual(
            after["gostore_engine_request_duration_seconds_count", "get"], counted, after
        )
        self.assertEqual(after["gostore_uploads", ""], 0)

    def test_tally(self) -> None:
        """What was tried again, settled, unknown or lost to others has a count each."""
        tally = self.store.tally
        tally.retries, tally.settled, tally.unknown, tally.conflicts = 1, 2, 3, 4
        tally.collected, tally.swept, tally.marked = 5, 6.5, 9
        self.store.resumable.unfinished = 7, 8
        found = read(self.sources)
        for name, value in (
            ("history_blobs", 9),
            ("unfinished_uploads", 7),
            ("unfinished_upload_bytes", 8),
            ("engine_retries_total", 1),
            ("engine_settled_total", 2),
            ("engine_unknown_total", 3),
            ("engine_conflicts_total", 4),
            ("collected_total", 5),
            ("sweep_timestamp_seconds", 6.5),
        ):
            self.assertEqual(found[f"gostore_{name}", ""], value, name)

    def test_trouble(self) -> None:
        """A bucket that refuses requests is read-only until one succeeds, and so is a stop."""
        self.assertEqual(read(self.sources)["gostore_read_only", ""], 0)
        get = self.engine.get

        def refuse(*arguments: object) -> None:
            raise Refused("AccessDenied")

        self.engine.get = refuse  # type: ignore[method-assign,assignment]
        self.failureResultOf(self.store.get("a"), DiskFailed)
        self.assertEqual(read(self.sources)["gostore_read_only", ""], 1)
        self.engine.get = get  # type: ignore[method-assign]
        self.successResultOf(self.store.collect())
        self.assertEqual(read(self.sources)["gostore_read_only", ""], 0)
        self.successResultOf(self.store.stop())
        self.assertEqual(read(self.sources)["gostore_read_only", ""], 1)

    def test_damage(self) -> None:
        """Each request that meets a damaged blob is counted."""
        self.successResultOf(self.store.create("a", FakeBody(b"1"), Details()))
        self.assertEqual(read(self.sources)["gostore_engine_damaged_total", ""], 0)
        self.engine.put(pointer_key("a"), b"<html>")
        for _ in range(2):
            self.failureResultOf(self.store.get("a"), Damaged)
        self.assertEqual(read(self.sources)["gostore_engine_damaged_total", ""], 2)

    def test_not_open(self) -> None:
        """Before the bucket is opened there is no engine to tell of."""
        options = Options("s3://bucket/prefix")
        store = BucketStore(memory_engine, InlineReactor(), options, InlineThreads)
        names = {name for name, _ in read(Sources(partial(bucket_metrics, store)))}
        self.assertEqual(names, {"gostore_uploads", "gostore_read_only", "gostore_build_info"})
