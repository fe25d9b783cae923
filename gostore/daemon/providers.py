"""What keeps the blobs, a directory or a bucket, and what the daemon has to know of either."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from attrs import frozen
from prometheus_client.core import Metric

from gostore.access.quotas import Behind, Kept
from gostore.daemon.filesystem import shortcoming
from gostore.daemon.process import share_of_files
from gostore.daemon.provider_metrics import bucket_metrics, directory_metrics
from gostore.daemon.settings import Settings
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Ledger, Lifecycle, Store
from gostore.store.unfinished import Uploads
from gostore.store.versions import Past
from gostore.store.workers import Workers
from gostore.volume.changes import Sync
from gostore.volume.volume import Volume


class Provided(Store, Lifecycle, Protocol):
    """The verbs and the life of a provider."""


@frozen
class Provider:
    """A provider, and how the daemon measures it, tunes it and speaks of it."""

    store: Provided
    measure: Callable[[], Iterable[Metric]]
    tune: Callable[[Settings], None]
    #: Gives the sizes of blobs, for the quotas; see `Index.sizes_behind`.
    sizes_behind: Behind
    #: Gives a line about what is there.
    status: Callable[[], str]
    #: Gives a warning about what it relies on, or "".
    caution: Callable[[], str] = lambda: ""
    #: Lets a run of the collector end soon, because the daemon stops.
    give_up: Callable[[], object] = lambda: None
    #: What was at its locations, if it keeps a history.
    past: Past | None = None
    #: Its uploads in several requests, if it takes them.
    uploads: Uploads | None = None
    #: Claims room for these after the quotas have changed.
    claim_anew: Callable[[], object] = lambda: None
    #: Gives a line about how much is kept of what was at its locations; "" if nothing is.
    history: Callable[[], str] | None = None
    #: As `sizes_behind`, of what is kept as history.
    kept_behind: Kept = lambda prefix, location, most: []


def make_provider(settings: Settings, reactor: Any, ledger: Ledger | None) -> Provider:
    """Make what the settings say. Nothing is opened or started."""
    if settings.store is None:
        return _directory(settings, reactor, ledger)
    return _bucket(settings, reactor)


def _directory(settings: Settings, reactor: Any, ledger: Ledger | None) -> Provider:
    volume = Volume(settings.dir, sync=settings.sync, make=settings.make_dir)
    store = BlobStore(
        volume,
        Workers(reactor),
        reactor,
        id_bits=settings.id_bits,
        max_blob_size=settings.max_blob_size or None,
        reserve=settings.free_space_reserve,
        max_uploads=settings.max_uploads,
        max_open_files=share_of_files(10),
        ledger=ledger,
        keep=settings.keep,
    )
    resumable = store.resumable
    resumable.expires = settings.upload_expires

    in_force = [settings.keep]

    def tune(new: Settings) -> None:
        resumable.expires = new.upload_expires
        if new.keep != in_force[-1]:
            in_force[:] = [new.keep]
            store.garbage.keeping.change(new.keep)
        store.admission.tune(new.max_blob_size or None, new.free_space_reserve, new.max_uploads)

    def status() -> str:
        figures = store.figures()
        return f"{figures.blobs} blobs, {figures.damaged} damaged; {figures.uploads} uploads"

    def caution() -> str:
        return shortcoming(settings.dir) if settings.sync is not Sync.NONE else ""

    def history() -> str:
        kept, gone = len(store.history), store.history.given_up
        if not store.history.is_kept:
            return ""
        return f"{kept} versions are kept, {gone} were given up early"

    measure = partial(directory_metrics, store, volume)
    behind, give_up = store.index.sizes_behind, store.stop_expiring
    return Provider(
        store,
        measure,
        tune,
        behind,
        status,
        caution,
        give_up,
        store.past,
        resumable,
        resumable.claim_anew,
        history,
        store.history.sizes_behind,
    )


def _bucket(settings: Settings, reactor: Any) -> Provider:
    # Nobody but a daemon with a bucket pays for this.
    from gostore.bucket.connecting import connect, named
    from gostore.bucket.options import Options
    from gostore.bucket.past import BucketPast
    from gostore.bucket.provider import BucketStore

    place = settings.store
    assert place is not None

    connection = partial(connect, place, settings.s3_endpoint, settings.s3_region)
    options = Options(
        named(place, settings.s3_endpoint),
        settings.id_bits,
        settings.max_blob_size or None,
        settings.max_uploads,
        keep=settings.keep,
    )
    store = BucketStore(connection, reactor, options)
    store.resumable.expires = settings.upload_expires

    def tune(new: Settings) -> None:
        store.resumable.expires = new.upload_expires
        store.tune(new.max_blob_size or None, new.max_uploads, new.keep)

    def status() -> str:
        return f"{place}: {store.trouble or 'ok'}; {store.uploads} uploads"

    def nothing(prefix: str, location: str, most: int) -> list[tuple[str, int]]:
        return []  # there are no quotas

    def history() -> str:
        if not store.versions.markers.is_kept:
            return ""
        return f"{store.tally.marked} versions were there when this daemon looked last"

    return Provider(
        store,
        partial(bucket_metrics, store),
        tune,
        nothing,
        status,
        give_up=store.stop_collecting,
        past=BucketPast(store),
        uploads=store.resumable,
        history=history,
    )
