"""A bucket as the source, and as the target, of a migration; migration/ends.py says what that is.

A blob goes in as a daemon would write it: record, data, pointer, under an id of its own. What an
interrupted run has not published is dead, and the sweep removes it. The data is read back before
the pointer names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256

from attrs import evolve

from gostore.blob import Blob, Committed, Ending
from gostore.bucket.engine import Listed, Mismatch, Missing
from gostore.bucket.pointer import (
    DEAD_SIZE,
    HISTORY,
    LOCATIONS,
    STORE,
    Ended,
    Stored,
    data_key,
    history_folder,
    history_number,
    pointer_key,
)
from gostore.bucket.probe import Unfit, begin, description_in, lacks
from gostore.bucket.protocol import stored_of
from gostore.bucket.records import is_alive, record_of
from gostore.bucket.staging import Draft, Lasting
from gostore.bucket.visiting import SMALL, Bucket, spans_of
from gostore.errors import (
    AlreadyExists,
    Damaged,
    DiskFailed,
    NotFound,
    Spoiled,
    StoreError,
    VolumeUnusable,
)
from gostore.store.versions import Kept

#: How many pointers are read at a time.
_READERS = 16


class BucketSource:
    """The blobs of a bucket. No daemon should write to it; it is noticed if one does."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.name = bucket.name
        self.left: Mapping[str, int] = {}
        self.damaged: Mapping[str, str] = {}
        self._locations: list[str] = []
        self._versions: list[Kept] = []
        self._ended: dict[Kept, Ended] = {}
        self._seen = 0

    def open(self) -> None:
        """List the pointers. Raises StoreError."""
        description = self._bucket.describe()
        if description is None:
            raise VolumeUnusable(self.name, f"it has no {STORE}, and so is no store")
        if description.migrating:
            raise VolumeUnusable(self.name, str(lacks(description)))
        pointers = self._bucket.objects(LOCATIONS)
        self._seen = _fingerprint(pointers)
        damaged: dict[str, str] = {}
        for listed in pointers:
            if listed.size != DEAD_SIZE:
                location = self._bucket.located(listed.key)
                if location is None:
                    damaged[listed.key] = "it is no pointer, or tells no location"
                else:
                    self._locations.append(location)
        self.damaged = damaged
        self._read_versions()

    def locations(self) -> Sequence[str]:
        """Where there are blobs."""
        return self._locations

    def find(self, location: str) -> Committed:
        """What its pointer says."""
        return self._find(location)

    def _find(self, location: str) -> Stored:
        seen = self._bucket.ask.read(location, self._bucket.until())
        if seen.damage:
            raise Spoiled(seen.damage)
        if seen.named is None:
            raise NotFound(location)
        return seen.named

    def read(self, location: str) -> tuple[Blob, Iterator[bytes]]:
        """Read a pointer, the record and then the data; see `Source.read`."""
        stored = self._find(location)
        record = self._bucket.ask.record(stored.id, self._bucket.until())
        blob = record_of(stored, None if record is None else record.data)
        blob.nonce = ""  # it is about the key that the bytes have here
        return blob, self._pieces(stored)

    def _pieces(self, blob: Stored) -> Iterator[bytes]:
        digest, last = sha256(), b""
        try:
            for piece in self._bucket.data(blob):
                if last:
                    yield last
                digest.update(piece)
                last = piece
        except Damaged:
            raise Spoiled("its data is gone, or is not that of its pointer") from None
        if digest.digest() != blob.sha256:
            raise Spoiled("its data does not have the digest that it was committed with")
        # Only now: whoever has all the bytes knows that they are good.
        if last:
            yield last

    def versions(self) -> Sequence[Kept]:
        """What the keys of the versions say, and their texts."""
        return self._versions

    def read_version(self, kept: Kept) -> tuple[Blob, Ending, Iterator[bytes]]:
        """Read a version, its record and then the data."""
        ended = self._ended[kept]
        stored, until = ended.blob, self._bucket.until()
        record = self._bucket.ask.record(stored.id, until)
        blob = record_of(stored, None if record is None else record.data)
        blob.nonce = ""  # as in `read`
        return blob, ended.ending, self._pieces_of_version(stored)

    def _pieces_of_version(self, blob: Stored) -> Iterator[bytes]:
        try:
            yield from self._pieces(blob)
        except NotFound:  # its location has another blob, or none, in any case
            raise Spoiled("its data is gone, or is not that of its pointer") from None

    def _read_versions(self) -> None:
        """Read what is kept; the data is read later."""
        for listed in self._bucket.objects(HISTORY):
            ended = self._bucket.protocol.markers.read(listed.key, self._bucket.until())
            if ended is None:
                self.damaged = {**self.damaged, listed.key: "it is no version"}
            else:
                blob = ended.blob
                self._ended[Kept(blob.location, blob.generation)] = ended
        with ThreadPoolExecutor(_READERS, "migrate") as pool:
            for unmarked in pool.map(self._unmarked, self._locations):
                if unmarked is not None:
                    blob = unmarked.blob
                    self._ended[Kept(blob.location, blob.generation)] = unmarked
        self._versions = list(self._ended)
        self.left = {"kept version": len(self._versions)}

    def _unmarked(self, location: str) -> Ended | None:
        """What a location's pointer alone knows that it had: a daemon died before it was marked."""
        until = self._bucket.until()
        pointer = self._bucket.ask.read(location, until).pointer
        was = None if pointer is None else pointer.was
        if was is None or Kept(location, was.blob.generation) in self._ended:
            return None
        # Or else its time was over: the collection of its bytes begins with its record.
        record = self._bucket.ask.record(was.blob.id, until)
        return was if record is not None and is_alive(was.blob, record.data) else None

    def has_changed(self) -> bool:
        """Whether the pointers are others now."""
        return _fingerprint(self._bucket.objects(LOCATIONS)) != self._seen

    def close(self) -> None:
        """Nothing is held."""


def _fingerprint(pointers: Iterable[Listed]) -> int:
    return sum(hash((each.key, each.size, each.modified)) for each in pointers)


class BucketTarget:
    """A bucket to be filled."""

    def __init__(self, bucket: Bucket, id_bits: int | None = None) -> None:
        """``id_bits`` is the width of its ids if it is a new store."""
        self._bucket = bucket
        self._id_bits = id_bits
        self.name = bucket.name
        self.is_marked = self.is_empty = False
        #: The keys of the pointers to blobs that it had.
        self._keys: set[str] = set()

    def open(self, source: str, *, dry: bool) -> None:
        """Probe it, and list the pointers."""
        bucket = self._bucket
        if not dry:
            try:
                identity = begin(bucket.ask.engine, self._id_bits, bucket.wall, source)
            except Unfit as error:
                raise VolumeUnusable(self.name, str(error)) from error
            bucket.ask.ahead, bucket.staging.id_bits = identity.ahead, identity.id_bits
        description = bucket.describe()
        if description is not None and description.migrating not in ("", source):
            raise VolumeUnusable(self.name, str(lacks(description)))
        self.is_marked = description is not None and bool(description.migrating)
        self._keys = {each.key for each in bucket.objects(LOCATIONS) if each.size != DEAD_SIZE}
        self.is_empty = not self._keys

    def begin(self, source: str) -> None:
        """Mark it."""
        self._mark(source)

    def finish(self) -> None:
        """Remove the mark."""
        self._mark("")

    def _mark(self, source: str) -> None:
        """Change what new daemons read first. Raises StoreError."""
        engine, until = self._bucket.ask.engine, self._bucket.until()
        found = self._bucket.ask.settle(lambda: engine.get(STORE), until)
        marked = evolve(description_in(found), migrating=source).dump()
        if marked != found.data:
            try:
                self._bucket.ask.settle(lambda: engine.swap(STORE, marked, found.etag), until)
            except (Missing, Mismatch):
                # The answer to the first try may be lost.
                if self._bucket.ask.settle(lambda: engine.get(STORE), until).data != marked:
                    raise VolumeUnusable(self.name, f"somebody else changes {STORE}") from None

    def expect(self, versions: Mapping[Kept, int | None]) -> None:
        """What comes is no news."""

    def others(self, locations: Sequence[str]) -> list[str]:
        """The locations, or else the keys, of the pointers that it should not have."""
        keys = self._keys.difference(map(pointer_key, locations))
        return sorted(self._bucket.located(key) or key for key in keys)

    def find(self, location: str) -> Committed | None:
        """Read a pointer, if there was one."""
        if pointer_key(location) not in self._keys:
            return None
        seen = self._bucket.ask.read(location, self._bucket.until())
        if seen.named is None:
            raise AlreadyExists(location, is_damaged=bool(seen.damage))
        return seen.named

    def receive(self, blob: Blob, pieces: Iterator[bytes]) -> None:
        """Write a blob, and read it back, and let its location have it."""
        bucket = self._bucket
        bucket.protocol.adopt(self._written(blob, pieces), bucket.until())

    def has_version(self, kept: Kept) -> bool:
        """Look for its key: it was written when all else was."""
        folder, number = history_folder(kept.location), history_number(kept.generation)
        return any(
            each.key.startswith(f"{folder}{number}-") for each in self._bucket.objects(folder)
        )

    def receive_version(self, blob: Blob, ending: Ending, pieces: Iterator[bytes]) -> None:
        """Write a blob, and read it back, and mark it as one that its location had."""
        bucket, draft = self._bucket, self._written(blob, pieces)
        # The successor has another id here.
        ended = Ended(stored_of(draft), evolve(ending, successor=None))
        bucket.protocol.markers.mark(ended, bucket.until())

    def _written(self, blob: Blob, pieces: Iterator[bytes]) -> Draft:
        bucket = self._bucket
        draft = bucket.staging.begin(blob, bucket.until())
        try:
            draft = self._stage(draft, pieces)
            self._read_back(draft)
        except StoreError:
            bucket.staging.discard(draft, bucket.until())
            raise
        return draft

    def _stage(self, draft: Draft, pieces: Iterator[bytes]) -> Draft:
        bucket, size = self._bucket, draft.blob.size or 0
        if size <= SMALL:
            return bucket.staging.stage_data(draft, b"".join(pieces), bucket.until())
        lasting = Lasting(bucket.staging, draft, bucket.until)
        detag = bucket.staging.upload(draft, lasting.pass_on(pieces), size)
        return evolve(lasting.draft, detag=detag)

    def _read_back(self, draft: Draft) -> None:
        """Compare what the bucket gives with what was to be written. Raises DiskFailed."""
        engine, blob, digest = self._bucket.ask.engine, draft.blob, sha256()
        key, size = data_key(blob.id, blob.nonce), blob.size or 0
        is_whole = True
        try:
            for span in spans_of(size):
                read = partial(engine.get, key, draft.detag, span)
                found = self._bucket.ask.settle(read, self._bucket.until())
                is_whole = is_whole and found.size == size
                digest.update(found.data)
        except (Missing, Mismatch):
            is_whole = False
        if not is_whole or digest.digest() != blob.sha256:
            raise DiskFailed(f"the bucket does not give back what was written as {key}")

    def settle(self, received: Sequence[None]) -> None:
        """All that was received is there."""

    def close(self) -> None:
        """Nothing is held."""
