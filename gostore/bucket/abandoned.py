"""Uploads in parts that nobody will complete: a daemon died, or its abort was lost.

The engine alone knows them: they are no objects, and take room all the same. An upload may go on
for longer than the grace, so its age proves nothing. The record of its blob does:

* A daemon writes the record before it begins the upload, and keeps it young while it sends. The
  sweep condemns a record that has grown old without a pointer, and frees or removes it later.
* A daemon publishes a blob only after it has swapped that record for one that says that all is
  here, or has seen that nobody condemned it (P3 in protocol.py). A record that is gone, a Failure,
  or that of another blob never becomes its own again: nothing that the upload may yet write can
  ever be published.
* A pointer names a blob only when its upload has ended. Another upload to the same key, one that
  the library began twice because an answer was lost, has no use.

So an upload is abandoned if its blob has no record any more, or one that is a Failure, or if a
pointer names the blob. A daemon that still sends it is told so by the engine, and gives up. An
upload that is younger than the grace is left alone, and so is one with any other key: nobody can
judge it.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from twisted.logger import Logger

from gostore.blob import State
from gostore.bucket.asking import Asker
from gostore.bucket.engine import Refused, Unfinished, Unsettled
from gostore.bucket.pointer import BLOBS, MAX_ID, data_key, id_in, nonce_in
from gostore.bucket.records import is_free
from gostore.errors import BadRecord, StoreError
from gostore.statefile import parse as parse_record

#: How many are aborted by one question.
_AT_ONCE = 500

log = Logger()


@frozen
class Judged:
    """An upload, and why nobody will complete it; "" if somebody may."""

    upload: Unfinished
    reason: str


class Abandoned:
    """The uploads of a store that are to be aborted."""

    def __init__(self, ask: Asker, grace: float, *, patience: float = 20.0) -> None:
        """``grace`` is the age in seconds below which an upload is left alone."""
        self._ask = ask
        self._grace = grace
        self._patience = patience
        self._is_told = False

    def abort(self) -> int:
        """Abort what is abandoned; return how many that were. What fails is left to the next."""
        try:
            uploads = [each.upload for each in self.judge() if each.reason]
            for at in range(0, len(uploads), _AT_ONCE):
                some = uploads[at : at + _AT_ONCE]
                self._ask.engine.abort(some)
                self._ask.tally.aborted += len(some)
        except Refused as error:
            if not self._is_told:
                self._is_told = True
                log.info(
                    "The engine does not let us sweep uploads in parts that were given up: {error}."
                    " A lifecycle rule can",
                    error=error,
                )
            return 0
        except (Unsettled, StoreError) as error:
            log.info("The sweep of uploads in parts was left off: {error}", error=error)
            return 0
        return len(uploads)

    def judge(self) -> Sequence[Judged]:
        """Look at all uploads. Raises Refused, Unsettled or a StoreError."""
        before = self._ask.engine_time() - self._grace
        return [
            Judged(each, self._why_abandoned(each) if each.begun < before else "")
            for each in self._ask.engine.unfinished(BLOBS)
        ]

    def _why_abandoned(self, upload: Unfinished) -> str:
        folder, _, name = upload.key.rpartition("/")
        blob_id, nonce = id_in(folder.rpartition("/")[2]), nonce_in(name)
        if blob_id is None or nonce is None or upload.key != data_key(blob_id, nonce):
            return ""
        until = self._ask.seconds() + self._patience
        record = self._ask.record(blob_id, until)
        if record is None:
            return "its record is gone"
        if is_free(record.data):
            return "its id is free"
        try:
            blob = parse_record(record.data, blob_id, max_id=MAX_ID)
        except BadRecord:
            return ""
        if blob.nonce != nonce:
            return "its id has another blob"
        if blob.state is State.FAILURE:
            return "its record says that it is dead"
        named = self._ask.read(blob.location, until).named
        is_named = named is not None and (named.id, named.nonce) == (blob_id, nonce)
        return "its blob was published" if is_named else ""
