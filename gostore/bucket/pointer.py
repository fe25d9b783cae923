"""Pointers: what each location of a bucket has. Pure.

The objects of a store, below its prefix in the bucket::

    store.json                            what all daemons agree on; see probe.py
    locations/<2 hex>/<name>              a pointer: what the location has, and its last operations
    blobs/<2 hex>/<id>/data.raw           the bytes of a blob, written once
    blobs/<2 hex>/<id>/blob_state.base64.json   its record, as in a data directory
    garbage/<id>                          a marker: the blob was replaced or deleted; its location,
                                          or all of a version that is kept
    history/<2 hex>/<name>/<number>-<id>  a version of a location that is kept; the same text
    gc/lease                              who collects, and until when
    gc/keep.json                          for how long they keep history; see promise.py

The two hex digits of a location are the first of its SHA-256, those of a blob the last of its id in
hex. The name of a pointer is its location with all but letters, digits, ``-``, ``_`` and ``~``
written as ``%`` and two hex digits a byte, since engines fold ``//``, refuse ``..`` and turn ``\\``
into ``/``. A name longer than 200 characters is cut after 150, and ``=`` and the SHA-256 of the
location follow.

Where ids are used again, which those of 16 and 64 bits are, the data of each blob has a key that no
other ever has: ``<nonce>.raw`` in place of ``data.raw``. The marker is ``garbage/<id>.<nonce>``,
and the record tells the nonce, too. A record is never removed there; see records.py.

A pointer is one JSON object, with blanks behind it::

    {"loc": "foo", "hist": "...", "generation": 7, "id": 42, "size": 17, "detag": "...",
     "sha256": "<64 hex digits>", "created": "2026-11-22T11:01:42.19904024Z",
     "nonce": "<8 characters>",                                       if its data's key has one
     "type": "text/plain", "metadata": {"x-gostore-meta-a": "b"},
     "expires": 1800000000}                                           a blob: 193 bytes and more
    {"dead": 1, "loc": "foo", "hist": "...", "generation": 7}         a tombstone: 192 bytes
    {..., "was": {"id": 41, "generation": 6, ..., "ended": "2026-11-23T11:01:42.19904024Z",
     "by": "replaced", "origin": "alice, 7f", "successor": 42}}       either, after a version that
                                                                      is kept: 193 bytes and more

So a listing tells them apart by their size. ``hist`` has the nonces of the last 8 operations, the
newest last, 8 characters each. ``detag`` is the ETag of the data. ``touched`` is the nonce of the
last sweep that changed the bytes and nothing else; it stays from then on. A tombstone whose
location is too long for it has the location's SHA-256 as ``of`` instead. No two pointers of a
location ever have the same bytes: equal bytes have equal ETags, and a swap must succeed once only.

``was`` is the version that the last operation ended: what its own pointer said of it, and how it
ended. Once that is marked, a tombstone is written again without it, and has 192 bytes like others.
A version in ``garbage/`` or ``history/`` is the same text with ``loc``, and a newline behind it,
which no location has. Its number there is 9999999999999999999 less the generation, in 19 digits: so
a listing has the newest first.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar
from urllib.parse import quote, unquote

from attrs import evolve, frozen

from gostore.blob import Committed, EndedBy, Ending, check_location
from gostore.bucket import members
from gostore.bucket.members import MAX_EXPIRES, MAX_GENERATION, MOST_NONCES
from gostore.errors import BadRecord
from gostore.statefile import parse_time
from gostore.text import format_time

STORE = "store.json"
LOCATIONS = "locations/"
BLOBS = "blobs/"
GARBAGE = "garbage/"
HISTORY = "history/"
LEASE = "gc/lease"
PROMISE = "gc/keep.json"

SHARDS = 256
"""The folders of blobs, and those of pointers."""

DATA = "data.raw"
RECORD = "blob_state.base64.json"

_DATA_END = ".raw"
"""What the name of a blob's bytes ends in, behind ``data`` or a nonce."""

DEAD_SIZE = 192
"""The bytes of every tombstone; a pointer to a blob has more."""

MAX_POINTER = 131_072
"""The largest pointer that is believed: two versions have 8 KiB of metadata each, and escapes."""

FORMAT = 1
"""The format of these objects; a pointer names it only if it is another."""

MAX_ID = 2**128 - 1
"""The largest id that a blob of a bucket has."""

_LAST_NUMBER = 10**19 - 1
_MOST_NAME = 200
_CUT_NAME = 150
_ID = re.compile("0|[1-9][0-9]{0,38}", re.ASCII)

T = TypeVar("T")

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@frozen(weakref_slot=False)
class Stored(Committed):
    """A committed blob of a bucket: with the ETag of its data, and the nonce in their key."""

    detag: str = ""
    nonce: str = ""


@frozen
class Ended:
    """A version that a location had: what its pointer said of it, and how it ended."""

    blob: Stored
    ending: Ending


@frozen
class Pointer:
    """What a location has: a blob, or None if it was deleted; and the operations that led to it.

    ``hist`` has their nonces, the newest last. ``was`` is what the last of them has ended, if that
    is kept.
    """

    location: str
    generation: int
    hist: tuple[str, ...]
    blob: Stored | None = None
    touched: str = ""
    was: Ended | None = None

    def followed_by(self, nonce: str) -> tuple[str, ...]:
        """The history with one more operation."""
        return (*self.hist, nonce)[-MOST_NONCES:]

    def next_generation(self, now: int) -> int:
        """The generation of what follows at ``now``.

        It is believed in any case: after the last one there is, they begin anew.
        """
        least = self.generation + 1 if self.generation < MAX_GENERATION else 0
        return min(max(now, least), MAX_GENERATION)

    def with_touch(self, nonce: str) -> Pointer:
        """The same pointer in other bytes."""
        return evolve(self, touched=nonce)


# -- names ----------------------------------------------------------------------------------------


def name_of(location: str) -> str:
    """The last part of the key of a location's pointer."""
    quoted = quote(location, safe="").replace(".", "%2E")
    if len(quoted) <= _MOST_NAME:
        return quoted
    return f"{quoted[:_CUT_NAME]}={sha256(location.encode()).hexdigest()}"


def location_of(name: str) -> str | None:
    """The location whose pointer has this name; None if the name does not tell, or is not ours."""
    if len(name) > _MOST_NAME:
        return None
    location = unquote(name, errors="replace")
    try:
        check_location(location)
    except ValueError:
        return None
    return location if name_of(location) == name else None


def name_start(prefix: str) -> str:
    """What the names of all locations begin with that begin with this text."""
    quoted = quote(prefix, safe="").replace(".", "%2E")
    return quoted[:_CUT_NAME]


def pointer_key(location: str) -> str:
    """The key of a location's pointer."""
    return f"{LOCATIONS}{sha256(location.encode()).hexdigest()[:2]}/{name_of(location)}"


def data_key(blob_id: int, nonce: str = "") -> str:
    """The key of a blob's bytes."""
    return f"{blob_folder(blob_id)}{nonce + _DATA_END if nonce else DATA}"


def nonce_in(name: str) -> str | None:
    """The nonce in the last part of the key of some bytes, "" without one; None for others."""
    if name == DATA:
        return ""
    nonce = name.removesuffix(_DATA_END)
    return nonce if nonce != name and members.NONCE.fullmatch(nonce) else None


def record_key(blob_id: int) -> str:
    """The key of a blob's record."""
    return f"{blob_folder(blob_id)}{RECORD}"


def blob_folder(blob_id: int) -> str:
    """What the keys of a blob begin with."""
    return f"{BLOBS}{blob_id & 0xFF:02x}/{blob_id}/"


def garbage_key(blob_id: int, nonce: str = "") -> str:
    """The key of the hint that a blob is dead."""
    return f"{GARBAGE}{blob_id}.{nonce}" if nonce else f"{GARBAGE}{blob_id}"


def marked_in(key: str) -> tuple[int, str] | None:
    """The id and the nonce of the blob that a marker is about; None if it is none."""
    text, dot, nonce = key.removeprefix(GARBAGE).partition(".")
    blob_id = id_in(text)
    if blob_id is None or (dot and not members.NONCE.fullmatch(nonce)):
        return None
    return blob_id, nonce


def history_folder(location: str) -> str:
    """What the keys of the versions of a location begin with."""
    return f"{HISTORY}{sha256(location.encode()).hexdigest()[:2]}/{name_of(location)}/"


def history_key(blob: Stored) -> str:
    """The key of a version that is kept."""
    return f"{history_folder(blob.location)}{history_number(blob.generation)}-{blob.id}"


def history_number(generation: int) -> str:
    """What stands for a generation in the key of a version; the newest is the first."""
    return f"{_LAST_NUMBER - generation:019}"


def id_in(text: str) -> int | None:
    """The id that a part of a key is; None if it is none."""
    return int(text) if _ID.fullmatch(text) and int(text) <= MAX_ID else None


# -- text -----------------------------------------------------------------------------------------


def dump(pointer: Pointer) -> bytes:
    """Write a pointer."""
    made: dict[str, object] = {
        "loc": pointer.location,
        "hist": "".join(pointer.hist),
        "generation": pointer.generation,
    }
    if pointer.touched:
        made["touched"] = pointer.touched
    was = {} if pointer.was is None else {"was": _members_of_ended(pointer.was)}
    if pointer.blob is not None:
        made |= _members_of(pointer.blob)
    else:
        made = {"dead": 1, **made}
    data = _to_json({**made, **was}).encode()
    if pointer.blob is not None or was:
        return data.ljust(DEAD_SIZE + 1)
    if len(data) > DEAD_SIZE:
        del made["loc"]
        data = _to_json({**made, "of": _digest_of(pointer.location)}).encode()
    return data.ljust(DEAD_SIZE)


def dump_ended(ended: Ended) -> bytes:
    """Write a version."""
    return _to_json({"loc": ended.blob.location, **_members_of_ended(ended)}).encode() + b"\n"


def _members_of(blob: Stored) -> dict[str, object]:
    assert blob.sha256 is not None  # it was made here
    made: dict[str, object] = {
        "id": blob.id,
        "size": blob.size,
        "detag": blob.detag,
        "sha256": blob.sha256.hex(),
        "created": format_time(blob.modified),
    }
    if blob.nonce:
        made["nonce"] = blob.nonce
    if blob.content_type is not None:
        made["type"] = blob.content_type
    if blob.metadata:
        made["metadata"] = dict(blob.metadata)
    if blob.expires is not None:
        made["expires"] = blob.expires
    return made


def _members_of_ended(ended: Ended) -> dict[str, object]:
    ending, made = ended.ending, _members_of(ended.blob)
    made |= {
        "generation": ended.blob.generation,
        "ended": format_time(ending.when),
        "by": ending.by.value,
        "origin": ending.origin,
    }
    if ending.successor is not None:
        made["successor"] = ending.successor
    return made


def parse(data: bytes, location: str | None = None) -> Pointer:
    """Read a pointer, of this location if one is given. Raises BadRecord."""
    return _parsed(data, "pointer", lambda found: _pointer(found, location))


def parse_ended(data: bytes) -> Ended:
    """Read a version. Raises BadRecord."""
    return _parsed(data, "version", lambda found: _ended(found, _location(found, None)))


def _parsed(data: bytes, what: str, make: Callable[[dict[str, object]], T]) -> T:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise BadRecord(f"the {what} is not JSON") from None
    if type(found) is not dict:
        raise BadRecord(f"the {what} is not an object")
    if found.get("format", FORMAT) != FORMAT:
        raise BadRecord(f"the {what} has a format of a later gostore")
    try:
        return make(found)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"the {what} is wrong: {type(error).__name__} {error}") from None


def _pointer(found: dict[str, object], location: str | None) -> Pointer:
    name = _location(found, location)
    if location is not None and (
        name != location or found.get("of", _digest_of(location)) != _digest_of(location)
    ):
        raise ValueError("it is of another location")
    generation, was = _generation(found), found.get("was")
    if was is not None and type(was) is not dict:
        raise ValueError("its was")
    return Pointer(
        name,
        generation,
        members.nonces(found, "hist"),
        None if "dead" in found else _stored(found, name, generation),
        members.nonce(found, "touched"),
        None if was is None else _ended(was, name),
    )


def _location(found: dict[str, object], otherwise: str | None) -> str:
    name = found.get("loc", otherwise)
    if not isinstance(name, str):
        raise ValueError("it does not tell its location")
    check_location(name)
    return name


def _ended(found: dict[str, object], location: str) -> Ended:
    ending = Ending(
        parse_time(found["ended"]),
        EndedBy(found["by"]),
        members.text(found, "origin"),
        members.number(found, "successor", MAX_ID) if "successor" in found else None,
    )
    return Ended(_stored(found, location, _generation(found)), ending)


def _stored(found: dict[str, object], location: str, generation: int) -> Stored:
    content_type = members.field(found, "type") if found.get("type") is not None else None
    return Stored(
        members.number(found, "id", MAX_ID),
        location,
        generation,
        members.number(found, "size"),
        members.digest(found, "sha256"),
        parse_time(found["created"]),
        content_type,
        members.metadata(found, "metadata"),
        members.number(found, "expires", MAX_EXPIRES) if "expires" in found else None,
        members.etag(found, "detag"),
        members.nonce(found, "nonce"),
    )


def _generation(found: dict[str, object]) -> int:
    return members.number(found, "generation", MAX_GENERATION)


def _digest_of(location: str) -> str:
    return urlsafe_b64encode(sha256(location.encode()).digest()[:18]).decode("ascii")
