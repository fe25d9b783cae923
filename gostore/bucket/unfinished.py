"""Uploads that come in several requests, as a bucket keeps them. Pure.

Below the prefix of the store::

    uploads/<number>/upload.json            what it is to become, and what has become of it
    uploads/<number>/<offset, 20 digits>    bytes that have come, from this offset on
    uploads/<number>/checked/<nonce>/...    bytes with a checksum that is not verified yet

``upload.json`` is one JSON object::

    {"location": "foo", "owner": "user alice", "text": "...", "length": 17, "nonce": "...",
     "base": "...", "sha256": "<64 hex digits>", "over": "...", "done": true, "rev": "..."}

``text`` is what the client had kept. ``nonce`` is that of the swap by which it becomes a blob.
``base`` is the last nonce that its location had when that swap was about to be tried, and
``sha256`` the digest of all bytes. ``over`` is why it became no blob, ``done`` that it is one.
``rev`` is another one each time, since equal bytes have equal ETags; see pointer.py.
"""

from __future__ import annotations

import json
import re

from attrs import frozen

from gostore.blob import check_location
from gostore.bucket import members
from gostore.errors import BadRecord

UPLOADS = "uploads/"

_STATE = "upload.json"
_CHECKED = "checked/"
_OFFSET = re.compile("[0-9]{20}", re.ASCII)
_FIRST_NUMBER = 10**38

#: The most characters of what the client had kept.
_MOST_TEXT = 65_536


@frozen
class Begun:
    """An upload that was begun; see the module."""

    location: str
    owner: str
    text: str
    length: int | None
    nonce: str
    base: str | None = None
    sha256: bytes | None = None
    over: str = ""
    done: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.done or bool(self.over)


def is_number(number: int) -> bool:
    """Whether an upload can have this number."""
    return _FIRST_NUMBER <= number < 2 * _FIRST_NUMBER


def number_of(draw: int) -> int:
    """The number of an upload, of something drawn below `DRAWS`."""
    return _FIRST_NUMBER + draw


DRAWS = _FIRST_NUMBER


def upload_folder(number: int) -> str:
    """What the keys of an upload begin with."""
    return f"{UPLOADS}{number}/"


def upload_key(number: int) -> str:
    """The key of what is known of an upload."""
    return f"{UPLOADS}{number}/{_STATE}"


def piece_key(number: int, offset: int) -> str:
    """The key of the bytes from an offset on."""
    return f"{UPLOADS}{number}/{offset:020d}"


def checked_key(number: int, nonce: str, part: int) -> str:
    """The key of some bytes whose checksum is not verified yet."""
    return f"{UPLOADS}{number}/{_CHECKED}{nonce}/{part:020d}"


def number_in(key: str) -> int | None:
    """The number of the upload that a key is of; None if it is of none."""
    digits = key.removeprefix(UPLOADS).partition("/")[0]
    if not key.startswith(UPLOADS) or len(digits) != 39 or not digits.isascii():
        return None
    return int(digits) if digits.isdigit() and is_number(int(digits)) else None


def offset_in(key: str) -> int | None:
    """The offset of the piece that has a key; None if it is that of something else."""
    name = key.removeprefix(UPLOADS).partition("/")[2]
    return int(name) if _OFFSET.fullmatch(name) else None


def dump(begun: Begun, rev: str) -> bytes:
    """Write what is known of an upload."""
    made: dict[str, object] = {
        "location": begun.location,
        "owner": begun.owner,
        "text": begun.text,
        "length": begun.length,
        "nonce": begun.nonce,
        "rev": rev,
    }
    if begun.base is not None:
        made["base"] = begun.base
    if begun.sha256 is not None:
        made["sha256"] = begun.sha256.hex()
    if begun.over:
        made["over"] = begun.over
    if begun.done:
        made["done"] = True
    return json.dumps(made).encode()


def parse(data: bytes) -> Begun:
    """Read what is known of an upload. Raises BadRecord."""
    try:
        found = json.loads(data)
        if type(found) is not dict:
            raise ValueError("it is no object")
        location, length = found["location"], found["length"]
        check_location(location)
        return Begun(
            location,
            members.text(found, "owner"),
            members.field(found, "text", _MOST_TEXT),
            None if length is None else members.number(found, "length"),
            members.nonce(found, "nonce"),
            None if found.get("base") is None else members.nonce(found, "base"),
            None if found.get("sha256") is None else members.digest(found, "sha256"),
            members.text(found, "over", _MOST_TEXT),
            found.get("done") is True,
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadRecord(f"the upload is wrong: {error}") from None
