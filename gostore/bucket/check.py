"""A check of a bucket: each pointer with its data and its record, and what no pointer names.

Daemons may be running. So what seems wrong is looked at once more, and what may only be on its way
is told apart by its age. A repair does what the daemons do themselves, and nothing else: it writes
records again from the pointers, which are the truth, and collects what is older than the grace.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256

from attrs import define, evolve, field, frozen

from gostore.blob import State
from gostore.bucket.abandoned import Abandoned, Judged
from gostore.bucket.asking import Seen
from gostore.bucket.collect import REST, Collection
from gostore.bucket.engine import EngineError, Listed, Mismatch, Missing, Refused, Unsettled
from gostore.bucket.ids import claims
from gostore.bucket.pointer import (
    BLOBS,
    GARBAGE,
    HISTORY,
    LEASE,
    LOCATIONS,
    MAX_ID,
    PROMISE,
    RECORD,
    SHARDS,
    STORE,
    Stored,
    blob_folder,
    data_key,
    garbage_key,
    history_key,
    id_in,
    location_of,
    marked_in,
    nonce_in,
    parse_ended,
    pointer_key,
    record_key,
)
from gostore.bucket.probe import PROBES, Unfit, probe
from gostore.bucket.records import is_about, record_of
from gostore.bucket.unfinished import number_in
from gostore.bucket.visiting import Bucket, spans_of
from gostore.errors import BadRecord, VolumeUnusable
from gostore.statefile import dump as dump_record
from gostore.statefile import parse as parse_record

#: How often a location is looked at that changes meanwhile.
_LOOKS = 3

Tell = Callable[[int, int, int, int], object]
"""Called during a check: blobs checked of how many, bytes read, and 0."""


@frozen
class Trouble:
    """Something that is not as it should be; ``kind`` is "damaged", "dead" or "foreign".

    ``name`` is that of an object, or a folder of them. ``mends`` says whether a repair takes care
    of it, or has.
    """

    kind: str
    name: str
    location: str | None
    reason: str
    mends: bool = False


@define
class Checked:
    """The outcome of a check."""

    blobs: int = 0
    bytes: int = 0
    #: The versions of their history that are kept.
    kept: int = 0
    #: Blobs and versions whose bytes were read, and have their digest.
    verified: int = 0
    troubles: list[Trouble] = field(factory=list)
    #: Why the engine does not tell which uploads in parts have not ended; "" if it does.
    untold: str = ""


@define
class _Objects:
    """What lies below the folder of an id."""

    newest: float = 0.0
    has_record: bool = False
    #: The nonces of its bytes; more than one if the id was used again.
    nonces: set[str] = field(factory=set)


@frozen
class _Judged:
    """What was found at one pointer."""

    blob: Stored | None = None
    troubles: tuple[Trouble, ...] = ()
    verified: bool = False
    #: In place of a blob, a version that is kept.
    kept: Stored | None = None


class Check:
    """One check."""

    def __init__(self, bucket: Bucket, *, digests: bool = False, jobs: int = 16) -> None:
        """``digests`` says whether all bytes are read."""
        self._bucket = bucket
        self._ask = bucket.ask
        self._digests = digests
        self._jobs = jobs
        self._found = Checked()
        self._pointers: list[str] = []
        self._ids: dict[int, _Objects] = {}
        self._marked: set[tuple[int, str]] = set()
        self._named: dict[int, Stored] = {}
        self._kept: set[int] = set()
        self._probes: list[Listed] = []
        self._abandoned = Abandoned(bucket.ask, bucket.staging.grace)

    def run(self, tell: Tell = lambda *_: None, *, mend: bool = False) -> Checked:
        """Do it. Raises VolumeUnusable, or another StoreError."""
        bucket, found = self._bucket, self._found
        description = bucket.describe()
        if description is None:
            raise VolumeUnusable(bucket.name, f"it has no {STORE}, and so is no store")
        bucket.staging.id_bits = description.id_bits
        if mend:
            try:
                # Ages go by the engine's clock.
                self._ask.ahead = probe(self._ask.engine, bucket.wall)
            except (Unfit, EngineError) as error:
                raise VolumeUnusable(bucket.name, str(error)) from error
        for listed in bucket.objects(""):
            self._sort(listed)
        with ThreadPoolExecutor(self._jobs, "check") as pool:
            try:
                for number, judged in enumerate(pool.map(self._judge, self._pointers), 1):
                    self._take(judged)
                    tell(number, len(self._pointers), found.bytes, 0)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        found.troubles += self._unnamed()
        found.troubles += (
            Trouble("dead", each.key, None, "left over by a start", mends=True)
            for each in self._probes
            if self._is_old(each.modified)
        )
        found.troubles += self._uploads()
        if mend:
            self._mend()
        return found

    def _uploads(self) -> Iterator[Trouble]:
        """The uploads in parts that have not ended, as far as the engine tells."""
        try:
            judged = self._abandoned.judge()
        except (Refused, Unsettled) as error:
            self._found.untold = str(error)
            return
        for each in judged:
            reason = each.reason or "it may go on"
            yield Trouble(
                "dead", _name(each), None, f"an upload in parts: {reason}", bool(each.reason)
            )

    def _sort(self, listed: Listed) -> None:
        """Take an object for what its key says that it is."""
        key = listed.key
        if key.startswith((LOCATIONS, HISTORY)):
            self._pointers.append(key)
        elif key.startswith(BLOBS):
            folder, _, name = key.rpartition("/")
            blob_id = id_in(folder.rpartition("/")[2])
            nonce = nonce_in(name)
            is_ours = name == RECORD or nonce is not None
            if blob_id is None or not is_ours or key != blob_folder(blob_id) + name:
                self._foreign(key)
                return
            objects = self._ids.setdefault(blob_id, _Objects())
            objects.newest = max(objects.newest, listed.modified)
            if nonce is None:
                objects.has_record = True
            else:
                objects.nonces.add(nonce)
        elif key.startswith(GARBAGE):
            marked = marked_in(key)
            if marked is None:
                self._foreign(key)
            else:
                self._marked.add(marked)
        elif key.startswith(PROBES):
            self._probes.append(listed)
        elif number_in(key) is not None:
            pass  # an upload in several requests, which daemons remove when its time is over
        elif key not in (STORE, LEASE, PROMISE):
            self._foreign(key)

    def _foreign(self, key: str) -> None:
        self._found.troubles.append(Trouble("foreign", key, None, "not gostore's"))

    def _take(self, judged: _Judged) -> None:
        found, blob = self._found, judged.blob
        found.troubles += judged.troubles
        if judged.kept is not None:
            self._kept.add(judged.kept.id)
            found.kept += 1
            found.verified += judged.verified
        if blob is None:
            return
        found.verified += judged.verified
        if (other := self._named.get(blob.id)) is not None:
            reason = f"the location {other.location!r} has the blob {blob.id}, too"
            key = pointer_key(blob.location)
            found.troubles.append(Trouble("damaged", key, blob.location, reason))
        self._named[blob.id] = blob
        found.blobs += 1
        found.bytes += blob.size

    # -- one pointer, in a thread --------------------------------------------------------------

    def _judge(self, key: str) -> _Judged:
        """Look at a pointer, and what it names; twice, if it has changed meanwhile."""
        if key.startswith(HISTORY):
            return self._judge_version(key)
        name = key.rpartition("/")[2]
        location = location_of(name)
        if location is None:
            location = self._bucket.located(key)
        if location is None or pointer_key(location) != key:
            return self._judge_nameless(key)
        judged = _Judged()
        for _ in range(_LOOKS):
            seen = self._ask.read(location, self._bucket.until())
            judged = self._judge_seen(key, seen)
            if not judged.troubles:
                break
            if self._ask.read(location, self._bucket.until()).etag == seen.etag:
                break
        return judged

    def _judge_version(self, key: str) -> _Judged:
        """Look at a version that is kept; it may be collected meanwhile."""
        try:
            found = self._ask.settle(lambda: self._ask.engine.get(key), self._bucket.until())
            blob = parse_ended(found.data).blob
            if history_key(blob) != key:
                raise BadRecord("it is of another version")
        except Missing:
            return _Judged()
        except BadRecord as error:
            return _Judged(troubles=(Trouble("damaged", key, None, error.reason),))
        reason = self._why_wrong(blob)
        if not reason:
            return _Judged(kept=blob, verified=self._digests)
        if self._bucket.protocol.markers.read(key, self._bucket.until()) is None:
            return _Judged()
        name, what = data_key(blob.id, blob.nonce), f"{reason} (version {blob.generation})"
        return _Judged(kept=blob, troubles=(Trouble("damaged", name, blob.location, what),))

    def _judge_nameless(self, key: str) -> _Judged:
        """A pointer whose name is cut tells its location itself; others of such names are none."""
        if "=" not in key:
            return _Judged(troubles=(Trouble("foreign", key, None, "not gostore's"),))
        reason = "its pointer tells no location that it could be of"
        return _Judged(troubles=(Trouble("damaged", key, None, reason),))

    def _judge_seen(self, key: str, seen: Seen) -> _Judged:
        if seen.damage:
            return _Judged(troubles=(Trouble("damaged", key, seen.location, seen.damage),))
        blob = seen.named
        if blob is None:
            return _Judged()
        troubles = []
        if reason := self._why_wrong(blob):
            data = data_key(blob.id, blob.nonce)
            troubles.append(Trouble("damaged", data, blob.location, reason))
        if reason := self._why_no_record(blob):
            record = record_key(blob.id)
            troubles.append(Trouble("damaged", record, blob.location, reason, mends=True))
        is_sound = all(each.mends for each in troubles)
        return _Judged(blob, tuple(troubles), verified=self._digests and is_sound)

    def _why_wrong(self, blob: Stored) -> str:
        """Say what is wrong with the data of a blob, "" if nothing is."""
        engine, digest = self._ask.engine, sha256()
        spans = spans_of(blob.size) if self._digests else iter([(0, 1) if blob.size else None])
        try:
            for span in spans:
                read = partial(engine.get, data_key(blob.id, blob.nonce), blob.detag, span)
                data = self._ask.settle(read, self._bucket.until())
                if data.size != blob.size:
                    return f"its data has {data.size} bytes instead of {blob.size}"
                digest.update(data.data)
        except Missing:
            return "its data is gone"
        except Mismatch:
            return "its data is not that which its pointer names (another ETag)"
        if self._digests and digest.digest() != blob.sha256:
            return "its data does not have the digest that it was committed with"
        return ""

    def _why_no_record(self, blob: Stored) -> str:
        """Say what is wrong with the record of a blob, "" if nothing is."""
        found = self._ask.record(blob.id, self._bucket.until())
        if found is None:
            return "its record is gone"
        try:
            record = parse_record(found.data, blob.id, max_id=MAX_ID)
        except BadRecord as error:
            return f"its record cannot be believed: {error.reason}"
        if record.state is State.FAILURE:
            return "its record says that it is dead"
        # Its bytes are what a record is about; what is known of it is in the pointer.
        if not is_about(record, blob):
            return "its record is that of other bytes than its pointer"
        return ""

    # -- what no pointer names -----------------------------------------------------------------

    def _unnamed(self) -> Iterator[Trouble]:
        for blob_id, objects in self._ids.items():
            is_old = self._is_old(objects.newest)
            if (named := self._named.get(blob_id)) is not None:
                for nonce in sorted(objects.nonces - {named.nonce}):
                    reason = "left over from a blob that had this id before"
                    yield Trouble("dead", data_key(blob_id, nonce), None, reason, mends=is_old)
                continue
            if blob_id in self._kept:
                continue  # it is history
            rests = claims(self._bucket.staging.id_bits) or not self._is_old(objects.newest, REST)
            if rests and not objects.nonces:
                continue  # it was condemned, or its id is free, or it is on its way
            if any((blob_id, nonce) in self._marked for nonce in objects.nonces | {""}):
                reason = "replaced or deleted"
            elif is_old:
                reason = "no location has it"
            else:
                reason = "no location has it, and it may be on its way"
            if is_old and not objects.has_record:
                # It gets a record that says so, and goes when that is old.
                reason += ", and it has no record"
            mends = is_old and objects.has_record
            yield Trouble("dead", blob_folder(blob_id), None, reason, mends)
        for blob_id, nonce in sorted(self._marked):
            found = self._ids.get(blob_id)
            if blob_id in self._kept:
                continue
            if found is None or (nonce and nonce not in found.nonces):
                key = garbage_key(blob_id, nonce)
                yield Trouble("dead", key, None, "its blob is gone", mends=True)

    def _is_old(self, modified: float, age: float | None = None) -> bool:
        age = self._bucket.staging.grace if age is None else age
        return modified < self._ask.engine_time() - age

    # -- repair --------------------------------------------------------------------------------

    def _mend(self) -> None:
        for at, trouble in enumerate(self._found.troubles):
            if trouble.kind == "damaged" and trouble.mends and trouble.location is not None:
                done = self._mend_record(trouble.location)
                self._found.troubles[at] = evolve(trouble, mends=done)
        collection = Collection(self._bucket.protocol, secrets.token_hex(8))
        collection.collect_marked()
        for shard in range(SHARDS):
            collection.collect_unnamed(shard)
        for each in self._probes:
            if self._is_old(each.modified):
                delete = partial(self._ask.engine.delete, each.key)
                self._ask.settle(delete, self._bucket.until())
        self._abandoned.abort()
        # Records may stay: that their blob is condemned, or that their id is free.
        kept = (each.key for each in self._bucket.objects(""))
        left = {key for key in kept if not (key.startswith(BLOBS) and key.endswith(RECORD))}
        with suppress(Refused, Unsettled):
            left.update(map(_name, self._abandoned.judge()))
        folders = {key.rpartition("/")[0] + "/" for key in left}
        for at, trouble in enumerate(self._found.troubles):
            if trouble.kind == "dead" and trouble.mends:
                gone = trouble.name not in left and trouble.name not in folders
                self._found.troubles[at] = evolve(trouble, mends=gone)

    def _mend_record(self, location: str) -> bool:
        """Write a record as the pointer has it; False if somebody else writes there."""
        until = self._bucket.until()
        blob = self._ask.read(location, until).named
        if blob is None:
            return False
        found = self._ask.record(blob.id, until)
        data = dump_record(record_of(blob, None if found is None else found.data))
        try:
            if found is None:
                self._ask.engine.create(record_key(blob.id), data)
            else:
                self._ask.engine.swap(record_key(blob.id), data, found.etag)
        except EngineError:
            return False
        return True


def _name(judged: Judged) -> str:
    """What an upload in parts is called; its key alone would be the name of an object."""
    return f"{judged.upload.key}?uploadId={judged.upload.name}"
