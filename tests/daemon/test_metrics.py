"""Tests for what the metrics read from the rooms, without a daemon around them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parse
from twisted.internet.defer import fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.quotas import Quota, Quotas
from gostore.access.watch import Watch
from gostore.daemon.collector import Collector
from gostore.daemon.line_file import MOST, LineFile
from gostore.daemon.metrics import GONE, Sources, exposition
from gostore.daemon.provider_metrics import directory_metrics
from gostore.daemon.scrubber import Scrubber
from gostore.store.interface import Details
from gostore.wire import HTTPFactory, Limits
from tests.store.doubles import FakeBody
from tests.store.support import StoreCase


def read(sources: Sources) -> dict[tuple[str, str], float]:
    """What is measured, by the sample's name and its labels' values."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for metric in sources.collect()
        for sample in metric.samples
    }


class MetricsTests(StoreCase):
    """Counts a real store, and a factory that nobody has asked anything."""

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
        found = read(sources)
        self.assertEqual(found["gostore_blobs", "ok"], 1)
        self.assertEqual(found["gostore_blobs", "dead"], 1)
        self.assertEqual(found["gostore_blob_bytes", "ok"], 4)
        self.assertEqual(found["gostore_blob_bytes", "dead"], 5)
        self.assertEqual(found["gostore_blob_bytes", "damaged"], 0)
        self.assertEqual(found["gostore_oldest_dead_seconds", ""], 0)
        self.timer.time += 7
        self.assertEqual(read(sources)["gostore_oldest_dead_seconds", ""], 7)
        self.assertEqual(found["gostore_read_only", ""], 0)
        self.assertEqual(found["gostore_commit_batch_changes_count", ""], 3)
        self.assertEqual(found["gostore_recovery_findings", "restored"], 0)
        self.assertEqual(found["gostore_connections", ""], 0)
        self.store.stop()
        self.assertEqual(read(sources)["gostore_read_only", ""], 1)
        self.failureResultOf(self.store.put("c", FakeBody(b"1"), Details()))

    def test_in_progress(self) -> None:
        """What waits in memory, runs that fail, and connections that are too many are counted."""
        self.open()
        collector = Collector(lambda: fail(OSError()), 5.0, clock := Clock())
        limits = Limits(max_connections=1, turned_away=1)
        factory = HTTPFactory(lambda request: None, limits, Clock())
        sources = Sources(partial(directory_metrics, self.store, self.volume), factory, collector)
        before = read(sources)
        created = self.store.create("a", FakeBody(b"four"), Details())
        collector.startService()
        clock.advance(5)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        for _ in range(4):
            factory.buildProtocol(None)
        factory.handshakes.failed += 1
        self.store.committer.measured.checkpoints += 1
        after = read(sources)
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
        self.assertEqual(read(sources)["gostore_upload_memory_bytes", ""], 0)
        collector.stopService()


class PartsTests(SynchronousTestCase):
    """The parts of a daemon alone, each of which may be missing."""

    def test_none(self) -> None:
        """Where there is no access file, no log and no scrub, nothing is said of them."""
        names = {name for name, _ in read(Sources(tuple))}
        self.assertEqual(names, {"gostore_build_info"})

    def test_scrubber(self) -> None:
        """The scrub tells what it has read and found, and when it last came to its end."""
        scrubber = Scrubber(lambda after: None, lambda *_: succeed(None), 1, 1.0, Clock())
        sources = Sources(tuple, scrubber=scrubber)
        self.assertEqual(read(sources)["gostore_scrub_last_round_timestamp_seconds", ""], 0)
        scrubber.bytes_read, scrubber.damaged, scrubber.last_round = 1000, 2, 1.5e9
        found = read(sources)
        self.assertEqual(found["gostore_scrub_bytes_total", ""], 1000)
        self.assertEqual(found["gostore_scrub_damaged_total", ""], 2)
        self.assertEqual(found["gostore_scrub_last_round_timestamp_seconds", ""], 1.5e9)

    def test_log(self) -> None:
        """Lines that the access log has dropped are counted."""
        log = LineFile(self.mktemp(), str)
        for number in range(MOST + 3):
            log.add(number)
        found = read(Sources(tuple, log=log))
        self.assertEqual(found["gostore_access_log_dropped_total", ""], 3)

    def test_access(self) -> None:
        """A bad access file is told, and attempts that were refused are counted by the reason."""
        path = Path(self.mktemp()).absolute()
        path.write_text("[anonymous]\ngrant = read\n")
        watch = Watch(str(path), Clock(), maybeDeferred)
        sources = Sources(tuple, access=watch)
        self.assertEqual(read(sources)["gostore_access_file_bad", ""], 0)
        path.write_text("grant = read\n")
        watch.reload()
        watch.door.refused["wrong"] += 3
        found = read(sources)
        self.assertEqual(found["gostore_access_file_bad", ""], 1)
        self.assertEqual(found["gostore_credentials_refused_total", "wrong"], 3)
        self.assertEqual(found["gostore_credentials_refused_total", "busy"], 0)

    def test_quotas(self) -> None:
        """A quota tells its limits, as far as it has some, and what is used."""
        quotas = Quotas([Quota("a/", 100, 3), Quota("b/", 50)])
        quotas.count("a/x", 30, 1)
        found = read(Sources(tuple, quotas=quotas))
        self.assertEqual(found["gostore_quota_limit_bytes", "a/"], 100)
        self.assertEqual(found["gostore_quota_limit_blobs", "a/"], 3)
        self.assertEqual(found["gostore_quota_used_bytes", "a/"], 30)
        self.assertEqual(found["gostore_quota_used_blobs", "a/"], 1)
        self.assertEqual(found["gostore_quota_used_blobs", "b/"], 0)
        self.assertNotIn(("gostore_quota_limit_blobs", "b/"), found)


class RequestsTests(SynchronousTestCase):
    """What the wire counts."""

    def setUp(self) -> None:
        """Have had no answers."""
        self.factory = HTTPFactory(lambda request: None, Limits(), Clock())
        self.sources = Sources(tuple, self.factory)

    def test_answers(self) -> None:
        """Answers are counted by method and status, and their durations and sizes by method."""
        tally = self.factory.tally
        tally.add("GET", 200, 0.003, 0, 100)
        tally.add("GET", 404, 0.02, 0, 50)
        tally.add("PUT", 0, 40.0, 70_000, 0)
        tally.of("DELETE", 200)  # nobody has had it yet
        found = read(self.sources)
        requests = {
            label: n for (name, label), n in found.items() if name == "gostore_http_requests_total"
        }
        self.assertEqual(requests, {"GET,200": 1, "GET,404": 1, f"PUT,{GONE}": 1})
        seconds = "gostore_http_request_duration_seconds"
        self.assertEqual(found[f"{seconds}_count", "GET"], 2)
        self.assertAlmostEqual(found[f"{seconds}_sum", "GET"], 0.023)
        self.assertEqual(found[f"{seconds}_bucket", "GET,0.0025"], 0)
        self.assertEqual(found[f"{seconds}_bucket", "GET,0.005"], 1)
        self.assertEqual(found[f"{seconds}_bucket", "PUT,30.0"], 0)
        self.assertEqual(found[f"{seconds}_bucket", "PUT,+Inf"], 1)
        self.assertEqual(found["gostore_http_request_size_bytes_sum", "PUT"], 70_000)
        self.assertEqual(found["gostore_http_response_size_bytes_sum", "GET"], 150)
        self.assertNotIn((f"{seconds}_count", "DELETE"), found)

    def test_repeated(self) -> None:
        """Repeated GETs took no time and brought no body, and are counted all the same."""
        tally = self.factory.tally
        tally.add("GET", 200, 0.003, 0, 100)
        counts = tally.of("GET", 200)
        counts.sent += 300
        counts.by_sent[1] += 3
        found = read(self.sources)
        self.assertEqual(found["gostore_http_requests_total", "GET,200"], 4)
        for what in ("request_duration_seconds", "request_size_bytes", "response_size_bytes"):
            self.assertEqual(found[f"gostore_http_{what}_count", "GET"], 4)
        self.assertEqual(found["gostore_http_request_duration_seconds_bucket", "GET,0.0005"], 3)
        self.assertEqual(found["gostore_http_response_size_bytes_sum", "GET"], 400)


class ExpositionTests(SynchronousTestCase):
    """The text of a scrape."""

    def test_scrape(self) -> None:
        """Prometheus gets what the sources have by then, in the format that it asks for."""
        sources = Sources(tuple)
        scrape = exposition(sources)
        text, kind = scrape("text/plain")
        self.assertTrue(kind.startswith("text/plain; version="), kind)
        names = {family.name for family in parse(text.decode())}
        self.assertIn("process_open_fds", names)
        self.assertNotIn("gostore_connections", names)
        sources.factory = HTTPFactory(lambda request: None, Limits(), Clock())
        text, kind = scrape("application/openmetrics-text; version=1.0.0")
        self.assertTrue(kind.startswith("application/openmetrics-text"), kind)
        self.assertIn(b"\ngostore_connections 0.0\n", text)
        self.assertTrue(text.endswith(b"# EOF\n"))
