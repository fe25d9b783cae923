"""The record of a blob of a bucket, as far as it can be believed. Pure.

The pointer is the truth about a blob. Its record has the log.

Where ids are used again the record also says whose the id is. It is never removed: a request to do
so could arrive late, and hit that of the next blob. An id that nobody has is *free*: its record is
``{"free":"<nonce>"}``. Only a free id can be claimed, by a swap of that. No two free records, and
no records of two blobs, have the same bytes, so no swap of one is fooled by another.
"""

from __future__ import annotations

import re

from attrs import evolve

from gostore.blob import Blob, State
from gostore.bucket.pointer import MAX_ID, Stored
from gostore.errors import BadRecord
from gostore.statefile import parse

_FREE = re.compile(rb'\{"free":"[A-Za-z0-9_-]{8}"\}')

FREE_SIZE = 19
"""The bytes of the record of a free id; any other is larger."""


def free_record(nonce: str) -> bytes:
    """The record of an id that nobody has."""
    return f'{{"free":"{nonce}"}}'.encode("ascii")


def is_free(data: bytes) -> bool:
    """Whether a record is that of an id which nobody has."""
    return _FREE.fullmatch(data) is not None


def blob_of(stored: Stored) -> Blob:
    """Make the record of a blob anew from its pointer."""
    blob = Blob.of(stored)
    blob.nonce = stored.nonce
    return blob


def record_of(blob: Stored, data: bytes | None) -> Blob:
    """Make the record of a blob as its pointer has it, with the log of the record it has.

    Without a record that is its own the log begins anew.
    """
    made = blob_of(blob)
    try:
        record = parse(data or b"", blob.id, max_id=MAX_ID)
    except BadRecord:
        return made
    if not is_about(record, blob) or record.state is not State.OK or not record.log:
        return made
    made.log = [*record.log[:-1], evolve(record.log[-1], when=blob.modified)]
    made.created, made.upload = record.created, record.upload
    return made


def is_alive(blob: Stored, data: bytes | None) -> bool:
    """Whether a record says that a blob is there: the collection begins with the record."""
    try:
        record = parse(data or b"", blob.id, max_id=MAX_ID)
    except BadRecord:
        return False
    return is_about(record, blob) and record.state is State.OK


def is_about(record: Blob, blob: Stored) -> bool:
    """Whether a record is that of the bytes which a pointer names."""
    return (record.location, record.size, record.sha256, record.nonce) == (
        blob.location,
        blob.size,
        blob.sha256,
        blob.nonce,
    )
