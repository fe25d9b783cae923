"""Bringing back what was deleted in a bucket, by a command: daemons may be running.

A version comes back as any daemon would write it: its bytes are read, compared with their digest,
and written under an id of their own, which the location gets if it still has no blob.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from gostore.bucket.engine import EngineError
from gostore.bucket.listing import Query
from gostore.bucket.pointer import STORE, Stored
from gostore.bucket.probe import Unfit, lacks, probe
from gostore.bucket.protocol import Demand
from gostore.bucket.staging import Lasting, describe, finish, new_blob
from gostore.bucket.versions import Versions
from gostore.bucket.visiting import SMALL, Bucket, spans_of
from gostore.errors import StoreError, VersionDamaged, VolumeUnusable
from gostore.store.interface import Details
from gostore.store.versions import DeletedPage, Version


class Undeletion:
    """What was deleted in a bucket, as long as its bytes are there."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._versions = Versions(bucket.protocol)

    def open(self) -> None:
        """Try the engine, as a daemon does at its start. Raises VolumeUnusable or another."""
        bucket = self._bucket
        description = bucket.describe()
        if description is None:
            raise VolumeUnusable(bucket.name, f"it has no {STORE}, and so is no store")
        if description.migrating:
            raise VolumeUnusable(bucket.name, str(lacks(description)))
        bucket.staging.id_bits = description.id_bits
        try:
            bucket.ask.ahead = probe(bucket.ask.engine, bucket.wall)
        except (Unfit, EngineError) as error:
            raise VolumeUnusable(bucket.name, str(error)) from error

    def newest(self, location: str) -> Version:
        """The newest version of a location. Raises NotFound, or Damaged."""
        return self._versions.history(location, None, 1, self._bucket.until())[0]

    def deleted(self, prefix: str, after: str, limit: int) -> DeletedPage:
        """List deleted locations below a prefix; see `Past.deleted`."""
        query = Query(prefix, "", after, limit)
        return self._versions.deleted(query, self._bucket.until())

    def restore(self, location: str, version: int, origin: str) -> None:
        """Make a version current. Raises AlreadyExists, NoVersion or another StoreError."""
        bucket = self._bucket
        found, _ = self._versions.find(location, version, bucket.until())
        labels = found.content_type, dict(found.metadata or {})
        demand = Demand(location, exists=False, details=Details(*labels))
        seen = bucket.ask.read(location, bucket.until())
        demand.check(seen)
        now = bucket.wall()
        blob = new_blob(location, now, origin, replaces=False)
        describe(blob, demand.details, now)
        if found.size <= SMALL:
            data = b"".join(self._pieces(found))
            finish(blob, now, data)
            bucket.protocol.write(blob, data, demand, bucket.until())
            return
        staging = bucket.staging
        draft = staging.begin(blob, bucket.until())
        lasting = Lasting(staging, draft, bucket.until)
        try:
            detag = staging.upload(draft, lasting.pass_on(self._pieces(found)), found.size)
            assert found.sha256 is not None  # a pointer has it
            end = max(bucket.wall(), blob.changed), found.size, found.sha256
            draft = staging.complete(lasting.draft, detag, end, bucket.until())
        except StoreError:
            staging.discard(lasting.draft, bucket.until())
            raise
        bucket.protocol.publish(seen, draft, demand, bucket.until())

    def _pieces(self, blob: Stored) -> Iterator[bytes]:
        """The bytes of a version. Raises VersionDamaged at their end if they are others."""
        digest = sha256()
        for span in spans_of(blob.size):
            data = self._versions.data(blob, span, self._bucket.until())
            digest.update(data)
            yield data
        if digest.digest() != blob.sha256:
            raise VersionDamaged(blob.location)
