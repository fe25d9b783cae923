"""What the providers count, as metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gostore.daemon.families import buckets, counter, gauge, histogram
from gostore.errors import ReadOnly, Stopping
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Store
from gostore.volume.volume import Volume

if TYPE_CHECKING:
    from gostore.bucket.provider import BucketStore


def directory_metrics(store: BlobStore, volume: Volume) -> Iterable[Metric]:
    """What a directory counts: blobs, ids, room on the disk, batches and the journal."""
    figures, index, admission = store.figures(), store.index, store.admission
    garbage = store.garbage
    blobs = GaugeMetricFamily(
        "gostore_blobs",
        "Blobs by state: ok, damaged (they answer 500), dead (they wait for the collector).",
        labels=["state"],
    )
    sizes = GaugeMetricFamily(
        "gostore_blob_bytes", "Bytes of the blobs, by state.", labels=["state"]
    )
    for state, count, size in (
        ("ok", figures.blobs, index.bytes),
        ("damaged", figures.damaged, index.damaged_bytes),
        ("dead", len(garbage.dead), garbage.bytes),
    ):
        blobs.add_metric((state,), count)
        sizes.add_metric((state,), size)
    yield from (blobs, sizes)
    yield gauge(
        "gostore_oldest_dead_seconds",
        "How long the dead blob has waited for the collector that has waited longest.",
        garbage.age,
    )
    yield gauge("gostore_uploads", "Uploads in progress.", figures.uploads)
    yield gauge(
        "gostore_unfinished_uploads",
        "Uploads in several requests that are not finished.",
        len(store.resumable),
    )
    yield gauge(
        "gostore_unfinished_upload_bytes",
        "Bytes of those that are on the disk.",
        store.resumable.size,
    )
    yield gauge(
        "gostore_upload_memory_bytes",
        "Bytes of uploads that wait in memory for their commit.",
        admission.in_memory,
    )
    yield gauge("gostore_ids", "Ids that are taken: by blobs, dead blobs, uploads.", len(index.ids))
    yield gauge("gostore_ids_limit", "Ids there are at their present width.", index.ids.space)
    yield gauge(
        "gostore_disk_free_bytes",
        "Bytes that are free in the file system, as of the last look.",
        figures.free,
    )
    yield gauge(
        "gostore_disk_reserve_bytes", "Bytes of those that no upload may use.", figures.reserve
    )
    yield gauge("gostore_read_only", "1 if writes are refused, else 0.", _is_read_only(store))
    measured = store.committer.measured
    yield histogram(
        "gostore_commit_batch_changes",
        "Changes that became durable together.",
        measured.sizes,
    )
    yield histogram(
        "gostore_commit_wait_seconds",
        "How long the first change of a batch waited for the batch before.",
        measured.waits,
    )
    yield histogram(
        "gostore_commit_flush_seconds",
        "How long a batch took to become durable.",
        measured.flushes,
    )
    yield gauge(
        "gostore_journal_fill_ratio",
        "The share of the redo journal that is written.",
        volume.journal_fill,
    )
    yield counter(
        "gostore_checkpoints",
        "Checkpoints because the journal was filling up.",
        measured.checkpoints,
    )
    yield counter(
        "gostore_collected",
        "Dead blobs and dropped uploads that were removed.",
        store.garbage.collected,
    )
    history = store.history
    yield gauge("gostore_history_blobs", "Dead blobs that are kept.", len(history))
    yield gauge("gostore_history_bytes", "Bytes of dead blobs that are kept.", history.bytes)
    yield counter(
        "gostore_history_given_up",
        "Dead blobs that were removed before their time, for lack of room.",
        history.given_up,
    )
    yield counter(
        "gostore_expired",
        "Blobs that were deleted because their time was over.",
        store.index.expiry.expired,
    )


def bucket_metrics(store: BucketStore) -> Iterable[Metric]:
    """What a daemon counts of a bucket: its requests to the engine, and how they went."""
    yield gauge("gostore_uploads", "Uploads in progress.", store.uploads)
    yield gauge(
        "gostore_read_only", "1 if the bucket does not answer, else 0.", _is_read_only(store)
    )
    if store.engine is None:
        return
    count, size = store.resumable.unfinished
    yield gauge(
        "gostore_unfinished_uploads",
        "Uploads in several requests that were not finished when this daemon last looked for them.",
        count,
    )
    yield gauge("gostore_unfinished_upload_bytes", "Bytes of those in the bucket.", size)
    requests = CounterMetricFamily(
        "gostore_engine_requests", "Requests to the bucket.", labels=["kind", "outcome"]
    )
    for labels, count in sorted(store.engine.counts.items()):
        requests.add_metric(labels, count)
    yield requests
    seconds = HistogramMetricFamily(
        "gostore_engine_request_duration_seconds",
        "How long a request to the bucket took, with all its tries.",
        labels=["kind"],
    )
    for kind, measured in store.engine.seconds.items():
        seconds.add_metric((kind,), buckets(measured.bounds, measured.counts), measured.total)
    yield seconds
    tally = store.tally
    for name, text, value in (
        ("retries", "Requests that were made again after no answer.", tally.retries),
        ("settled", "Changes whose answer was lost, and that had happened.", tally.settled),
        ("unknown", "Changes whose outcome nobody knows.", tally.unknown),
        ("conflicts", "Changes that another daemon was faster with.", tally.conflicts),
        ("damaged", "Requests that met a damaged blob; the log names it.", store.damaged),
    ):
        yield counter(f"gostore_engine_{name}", text, value)
    yield counter("gostore_collected", "Dead blobs that this daemon has removed.", tally.collected)
    yield counter(
        "gostore_swept_uploads",
        "Uploads in parts that were given up, and that this daemon has aborted.",
        tally.aborted,
    )
    yield gauge(
        "gostore_history_blobs",
        "Blobs that were replaced or deleted and are not removed, when this daemon looked last.",
        tally.marked,
    )
    yield gauge(
        "gostore_sweep_timestamp_seconds",
        "When this daemon ended a round of the sweep; 0 if it has not since the start.",
        tally.swept,
    )


def _is_read_only(store: Store) -> int:
    try:
        store.check_health()
    except (ReadOnly, Stopping):
        return 1
    return 0
