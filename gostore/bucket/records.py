"""The record of a blob of a bucket, as far as it can be believed. Pure.

The pointer is the truth about a blob. Its record has the log.
"""

from __future__ import annotations

from attrs import evolve

from gostore.blob import Blob, State
from gostore.bucket.pointer import MAX_ID, Stored
from gostore.errors import BadRecord
from gostore.statefile import parse


def record_of(blob: Stored, data: bytes | None) -> Blob:
    """Make the record of a blob as its pointer has it, with the log of the record it has.

    Without a record that is its own the log begins anew.
    """
    made = Blob.of(blob)
    try:
        record = parse(data or b"", blob.id, max_id=MAX_ID)
    except BadRecord:
        return made
    same = (record.location, record.size, record.sha256) == (blob.location, blob.size, blob.sha256)
    if not same or record.state is not State.OK or not record.log:
        return made
    made.log = [*record.log[:-1], evolve(record.log[-1], when=blob.modified)]
    made.created, made.upload = record.created, record.upload
    return made
