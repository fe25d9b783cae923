"""The metrics, for Prometheus: what the rooms count, put together when somebody asks.

Nothing here is called for a request. The rooms have plain numbers, and a scrape reads them. No
label has a value that a client chooses.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable

from attrs import define
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector as PrometheusCollector

from gostore import __version__
from gostore.access.quotas import Quotas
from gostore.access.watch import Watch
from gostore.daemon.collector import Collector
from gostore.daemon.families import added, buckets, counter, gauge
from gostore.daemon.line_file import LineFile
from gostore.daemon.scrubber import Scrubber
from gostore.store.interface import Summary
from gostore.wire import BYTES, SECONDS, Counts, HTTPFactory

GONE = "none"
"""The status of a request whose client went before its answer."""


@define(eq=False)
class Sources:
    """What is measured; the daemon fills in the parts that it makes later."""

    #: What the provider of the blobs counts.
    provider: Callable[[], Iterable[Metric]]
    factory: HTTPFactory | None = None
    collector: Collector | None = None
    scrubber: Scrubber | None = None
    log: LineFile | None = None
    access: Watch | None = None
    quotas: Quotas | None = None
    summary: Callable[[], Summary | None] = lambda: None

    def collect(self) -> Iterable[Metric]:
        """Read everything once."""
        if self.factory is not None:
            yield from _requests(self.factory)
        yield from self.provider()
        yield from self._background()
        if self.quotas is not None:
            yield from _quotas(self.quotas)
        info = InfoMetricFamily("gostore_build", "What runs.")
        info.add_metric((), {"version": __version__, "python": platform.python_version()})
        yield info

    def _background(self) -> Iterable[Metric]:
        collector, scrubber, summary = self.collector, self.scrubber, self.summary()
        if collector is not None:
            runs = CounterMetricFamily(
                "gostore_collector_runs", "Collection runs.", labels=["outcome"]
            )
            runs.add_metric(("success",), collector.succeeded)
            runs.add_metric(("failure",), collector.failed)
            yield runs
        if scrubber is not None:
            yield counter(
                "gostore_scrub_bytes", "Bytes that the scrub has read.", scrubber.bytes_read
            )
            yield counter(
                "gostore_scrub_damaged", "Damaged blobs that the scrub has found.", scrubber.damaged
            )
            yield gauge(
                "gostore_scrub_last_round_timestamp_seconds",
                "When the scrub had last read every blob; 0 if it has not since the start.",
                scrubber.last_round,
            )
        if self.log is not None:
            yield counter(
                "gostore_access_log_dropped",
                "Lines of the access log that were dropped.",
                self.log.dropped,
            )
        if self.access is not None:
            yield gauge(
                "gostore_access_file_bad",
                "1 if the access file cannot be used and the old rules are in force, else 0.",
                int(bool(self.access.error)),
            )
            refused = CounterMetricFamily(
                "gostore_credentials_refused",
                "Attempts that were wrong, came too often (throttled), or found no place (busy).",
                labels=["reason"],
            )
            for reason, count in self.access.door.refused.items():
                refused.add_metric((reason,), count)
            yield refused
        if summary is not None:
            yield gauge(
                "gostore_recovery_seconds", "How long the start took to recover.", summary.seconds
            )
            findings = GaugeMetricFamily(
                "gostore_recovery_findings", "What the start found.", labels=["kind"]
            )
            for kind in ("restored", "finished", "discarded", "quarantined", "foreign"):
                findings.add_metric((kind,), getattr(summary, kind))
            yield findings


def _quotas(quotas: Quotas) -> Iterable[Metric]:
    """What is allowed and used below the prefix of each quota; the access file chooses those."""
    rows = (
        ("limit_bytes", "The most bytes that may be stored.", lambda usage: usage.quota.size),
        ("limit_blobs", "The most blobs, if limited.", lambda usage: usage.quota.count),
        ("used_bytes", "The bytes that are stored.", lambda usage: usage.size),
        ("used_blobs", "The blobs that are stored.", lambda usage: usage.count),
        ("history_bytes", "The bytes of history, which give way.", lambda usage: usage.kept_size),
        ("history_blobs", "The versions of history.", lambda usage: usage.kept_count),
    )
    for name, text, read in rows:
        family = GaugeMetricFamily(f"gostore_quota_{name}", text, labels=["prefix"])
        for usage in quotas.usages():
            if (value := read(usage)) is not None:
                family.add_metric((usage.quota.prefix,), value)
        yield family


def _requests(factory: HTTPFactory) -> Iterable[Metric]:
    tally = factory.tally
    requests = CounterMetricFamily(
        "gostore_http_requests",
        "Answers by method and status; none: the client went before it was answered.",
        labels=["method", "code"],
    )
    by_method: dict[str, list[Counts]] = {}
    for (method, code), counts in sorted(tally.answers.items()):
        if any(counts.by_sent):
            requests.add_metric((method, str(code) if code else GONE), sum(counts.by_sent))
            by_method.setdefault(method, []).append(counts)
    yield requests
    duration = HistogramMetricFamily(
        "gostore_http_request_duration_seconds",
        "From the end of the request's head to the end of the answer.",
        labels=["method"],
    )
    received = HistogramMetricFamily(
        "gostore_http_request_size_bytes", "Bytes of the request's body.", labels=["method"]
    )
    sent = HistogramMetricFamily(
        "gostore_http_response_size_bytes", "Bytes of the answer's body.", labels=["method"]
    )
    for method, group in by_method.items():
        answers = added(each.by_sent for each in group)
        durations, sizes = (
            added(each.by_seconds for each in group),
            added(each.by_received for each in group),
        )
        # Repeated GETs are counted by what was sent alone.
        repeats = sum(answers) - sum(durations)
        durations[0] += repeats
        sizes[0] += repeats
        label = (method,)
        duration.add_metric(label, buckets(SECONDS, durations), sum(e.seconds for e in group))
        received.add_metric(label, buckets(BYTES, sizes), sum(e.received for e in group))
        sent.add_metric(label, buckets(BYTES, answers), sum(e.sent for e in group))
    yield from (duration, received, sent)
    yield gauge("gostore_connections", "Open connections.", factory.connections)
    yield gauge(
        "gostore_connections_limit",
        "Connections that are served at a time (max-connections).",
        factory.limits.max_connections,
    )
    refused = CounterMetricFamily(
        "gostore_connections_refused",
        "Connections that were too many: told so by a 503, or cut off without a word.",
        labels=["how"],
    )
    refused.add_metric(("told",), tally.turned_away)
    refused.add_metric(("cut_off",), tally.cut_off)
    yield refused
    yield counter(
        "gostore_tls_failures",
        "Connections that TLS has ended: no common version, a certificate that is not trusted.",
        factory.handshakes.failed,
    )


def exposition(sources: Sources) -> Callable[[str], tuple[bytes, str]]:
    """Make what answers a scrape: from an Accept field to the text and its content type."""
    registry = CollectorRegistry()
    registry.register(_Bridge(sources))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)

    def scrape(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    return scrape


class _Bridge(PrometheusCollector):
    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Metric]:
        # Or it would be asked when it is registered, before there is anything.
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._sources.collect()
