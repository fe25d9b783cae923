"""Tests for what the metrics read from the rooms, without a daemon around them."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import fail, succeed
from twisted.internet.task import Clock

from gostore.daemon.collector import Collector
from gostore.daemon.metrics import Sources
from gostore.daemon.provider_metrics import directory_metrics
from gostore.store.interface import Details
from gostore.wire import HTTPFactory, Limits
from tests.store.doubles import FakeBody
from tests.store.support import StoreCase


class MetricsTests(StoreCase):
    """Counts a real store, and a factory that nobody has asked anything."""

    def read(self, sources: Sources) -> dict[tuple[str, str], float]:
        """What is measured, by the sample's name and its labels' values."""
        return {
            (sample.name, ",".join(sample.labels.values())): sample.value
            for metric in sources.collect()
            for sample in metric.samples
        }

    def test_blobs(self) -> None:
        """Blobs are counted by state, and so are commits, runs and findings."""
        summary = self.open()
        collector = Collector(lambda: succeed(None), 5.0, Clock())
        factory = HTTPFactory(lambda request: None, Limits(), Clock())
        measure = partial(directory_metrics, self.store, self.volume)
        sources = Sources(measure, factory, collector, summary=lambda: summary)
        self.store_blob("a", b"four")
        self.store_blob("b", b"five!")
        self.wait(self.store.delete("b"))
        found = self.read(sources)
        self.assertEqual(found["gostore_blobs", "ok"], 1)
        self.assertEqual(found["gostore_blobs", "dead"], 1)
        self.assertEqual(found["gostore_blob_bytes", "ok"], 4)
        self.assertEqual(found["gostore_blob_bytes", "dead"], 5)
        self.assertEqual(found["gostore_blob_bytes", "damaged"], 0)
        self.assertEqual(found["gostore_oldest_dead_seconds", ""], 0)
        self.timer.time += 7
        self.assertEqual(self.read(sources)["gostore_oldest_dead_seconds", ""], 7)
        self.assertEqual(found["gostore_read_only", ""], 0)
        self.assertEqual(found["gostore_commit_batch_changes_count", ""], 3)
        self.assertEqual(found["gostore_recovery_findings", "restored"], 0)
        self.assertEqual(found["gostore_connections", ""], 0)
        self.store.stop()
        self.assertEqual(self.read(sources)["gostore_read_only", ""], 1)
        self.failureResultOf(self.store.put("c", FakeBody(b"1"), Details()))

    def test_in_progress(self) -> None:
        """What waits in memory, runs that fail, and connections that are too many are counted."""
        self.open()
        collector = Collector(lambda: fail(OSError()), 5.0, clock := Clock())
        limits = Limits(max_connections=1, turned_away=1)
        factory = HTTPFactory(lambda request: None, limits, Clock())
        sources = Sources(partial(directory_metrics, self.store, self.volume), factory, collector)
        before = self.read(sources)
        created = self.store.create("a", FakeBody(b"four"), Details())
        collector.startService()
        clock.advance(5)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        for _ in range(4):
            factory.buildProtocol(None)
        factory.handshakes.failed += 1
        self.store.committer.measured.checkpoints += 1
        after = self.read(sources)
        moved = {
            name: after[name, label] - before[name, label]
            for name, label in (
                ("gostore_upload_memory_bytes", ""),
                ("gostore_connections", ""),
                ("gostore_checkpoints_total", ""),
                ("gostore_tls_failures_total", ""),
            )
        }
        self.assertEqual(set(moved.values()), {4, 2, 1})
        self.assertEqual(after["gostore_collector_runs_total", "failure"], 1)
        self.assertEqual(after["gostore_connections_refused_total", "told"], 1)
        self.assertEqual(after["gostore_connections_refused_total", "cut_off"], 2)
        self.wait(created)
        self.assertEqual(self.read(sources)["gostore_upload_memory_bytes", ""], 0)
        collector.stopService()
