"""The families of metrics, of plain numbers and of histograms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from gostore.store.measures import Histogram


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """One number that goes up and down."""
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    """One number that only grows."""
    return CounterMetricFamily(name, text, value=value)


def histogram(name: str, text: str, measured: Histogram) -> HistogramMetricFamily:
    """A histogram of a store's."""
    counts = buckets(measured.bounds, measured.counts)
    return HistogramMetricFamily(name, text, buckets=counts, sum_value=measured.total)


def added(rows: Iterable[Sequence[int]]) -> list[int]:
    """Add up the columns of some rows."""
    return [sum(column) for column in zip(*rows, strict=True)]


def buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """The buckets as Prometheus has them: each counts what is below it, too."""
    names = [*(f"{float(bound)!r}" for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(counts), strict=True))
