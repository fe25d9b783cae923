"""Staging: the record and the bytes of a blob are in the bucket before any pointer names them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256

from attrs import evolve, frozen

from gostore.blob import Blob
from gostore.bucket.asking import RETRY_AFTER, Asker, gave_up, refusal
from gostore.bucket.engine import Listed, Mismatch, Missing, Refused, Unsettled
from gostore.bucket.ids import NARROW_BITS, WIDE_BITS, claims, draw
from gostore.bucket.pointer import BLOBS, RECORD, SHARDS, data_key, id_in, record_key
from gostore.bucket.records import FREE_SIZE, free_record, is_free
from gostore.errors import Busy, NoIds, StoreError
from gostore.statefile import dump as dump_record
from gostore.store.interface import Details

#: How many ids are tried before a list of all is looked at, or the space counts as full.
_TRIES = 8

#: For how many seconds a space in which no id was free counts as full.
_FULL_FOR = 5.0


@frozen
class Draft:
    """A blob on its way to be published: its record as written, and what is to be its pointer."""

    blob: Blob
    detag: str = ""
    #: The ETag of its record.
    record: str = ""
    #: The nonce of the swap that publishes it, if it was drawn before.
    operation: str = ""
    #: Says whether it may still be published, whatever its record says.
    goes_on: Callable[[float], bool] = lambda until: True


class Staging:
    """Stages blobs, under ids of a width; those that nobody refers to are collected at an age."""

    def __init__(self, ask: Asker, id_bits: int = WIDE_BITS, grace: float = 3600.0) -> None:
        """``grace`` is that age, in seconds."""
        self.ask = ask
        self.id_bits = id_bits
        self.grace = grace
        #: Until when it is of no use to look for a free id again.
        self._full_until = float("-inf")

    @property
    def claims(self) -> bool:
        """Whether an id has to be claimed before anything is written under it."""
        return claims(self.id_bits)

    def draw(self) -> int:
        """Draw an id."""
        return draw(self.id_bits, self.ask.wall(), self.ask.rng)

    def begin(self, draft: Blob, until: float) -> Draft:
        """Write the record of a new blob, under an id that nobody has. Raises NoIds."""
        if not self.claims:
            draft.id, draft.nonce = self.draw(), ""
            return self.stage_record(Draft(draft), until)
        for _ in range(_TRIES):
            draft.id = self.draw()
            if (claimed := self._claim(draft, until)) is not None:
                return claimed
        if self.id_bits <= NARROW_BITS and self.ask.seconds() >= self._full_until:
            for draft.id in self._untaken(until):
                if (claimed := self._claim(draft, until)) is not None:
                    return claimed
            self._full_until = self.ask.seconds() + _FULL_FOR
        raise NoIds()

    def _claim(self, draft: Blob, until: float) -> Draft | None:
        """Take an id that nobody has; None if somebody has it."""
        draft.nonce = self.ask.nonce()
        ours = dump_record(draft)
        try:
            return self.stage_record(Draft(draft), until)
        except Mismatch:
            found = self.ask.record(draft.id, until)
        if found is not None and is_free(found.data):
            try:
                etag = self.ask.engine.swap(record_key(draft.id), ours, found.etag)
                return Draft(draft, record=etag)
            except (Mismatch, Missing, Unsettled):
                found = self.ask.record(draft.id, until)
            except Refused as error:
                raise refusal(error, self.ask.name) from error
        # The answer may be lost to a claim that has got through.
        if found is None or found.data != ours:
            return None
        return Draft(draft, record=found.etag)

    def _untaken(self, until: float) -> Iterator[int]:
        """The ids of a narrow space that nobody has, as a list shows it: shard by shard."""
        shards = min(SHARDS, 1 << self.id_bits)
        first = self.ask.rng.randrange(shards)
        for number in range(shards):
            shard = (first + number) % shards
            prefix = f"{BLOBS}{shard:02x}/"
            listed = self.ask.settle(partial(self._listed, prefix), until)
            taken = {
                id_in(each.key.split("/")[2])
                for each in listed
                if each.key.endswith(RECORD) and each.size != FREE_SIZE
            }
            ids = [each for each in range(shard, 1 << self.id_bits, SHARDS) if each not in taken]
            self.ask.rng.shuffle(ids)
            yield from ids
            if self.ask.seconds() >= until:
                raise Busy("No free id was found in time", RETRY_AFTER)

    def _listed(self, prefix: str) -> list[Listed]:
        return list(self.ask.engine.list(prefix))

    def stage_record(self, draft: Draft, until: float) -> Draft:
        """Create the record of a blob. Raises Mismatch if its id is claimed, and there is one."""
        key, record = record_key(draft.blob.id), dump_record(draft.blob)
        while True:
            try:
                return evolve(draft, record=self.ask.engine.create(key, record))
            except Unsettled as error:
                self.ask.rest_or_give_up(error, until)
            except Mismatch:
                if self.claims:
                    raise
                # Nobody else has this id, so it should be our own that is there.
                found = self.ask.record(draft.blob.id, until)
                if found is None or found.data != record:
                    raise collected_early() from None
                return evolve(draft, record=found.etag)
            except Refused as error:
                raise refusal(error, self.ask.name) from error

    def renew_record(self, draft: Draft, until: float) -> Draft:
        """Write the record of a staged blob anew, so that it stays young. Raises Busy."""
        return self._rewrite(draft, dump_record(draft.blob), until)

    def _rewrite(self, draft: Draft, before: bytes, until: float) -> Draft:
        """Write a record that had these bytes ``before``. Raises Busy if it has others by now."""
        key, record = record_key(draft.blob.id), dump_record(draft.blob)
        pauses = 0
        while True:
            try:
                return evolve(draft, record=self.ask.engine.swap(key, record, draft.record))
            except Unsettled as error:
                self.ask.rest_or_give_up(error, until, pauses)
                pauses += 1
            except (Mismatch, Missing):
                found = self.ask.record(draft.blob.id, until)
                if found is not None and found.data == record:
                    return evolve(draft, record=found.etag)
                if found is None or found.data != before or self.ask.seconds() >= until:
                    raise collected_early() from None
                draft = evolve(draft, record=found.etag)
            except Refused as error:
                raise refusal(error, self.ask.name) from error

    def stage_data(self, draft: Draft, data: bytes, until: float) -> Draft:
        """Write the bytes of a blob."""
        key = data_key(draft.blob.id, draft.blob.nonce)
        return evolve(draft, detag=self.ask.settle(lambda: self.ask.engine.put(key, data), until))

    def upload(self, draft: Draft, pieces: Iterable[bytes], length: int | None) -> str:
        """Write the bytes of a large blob as they come; return their ETag.

        Raises what ``pieces`` raises, or Busy, DiskFailed or NoSpace: nobody can send a body twice.
        """
        try:
            key = data_key(draft.blob.id, draft.blob.nonce)
            return self.ask.engine.upload(key, pieces, length)
        except Unsettled as error:
            raise gave_up(error.reason, self.ask.name) from error
        except Refused as error:
            raise refusal(error, self.ask.name) from error

    def complete(
        self, draft: Draft, detag: str, end: tuple[int, int, bytes], until: float
    ) -> Draft:
        """Say in the record of a large blob that it is all here, and when, its size and digest."""
        now, size, digest = end
        before = dump_record(draft.blob)
        draft.blob.finish_writing(now, size, digest, now)
        return self._rewrite(evolve(draft, detag=detag), before, until)

    def discard(self, draft: Draft, until: float) -> None:
        """Remove a staged blob that will never be published. What fails is left to the sweep."""
        data, record = data_key(draft.blob.id, draft.blob.nonce), record_key(draft.blob.id)
        try:
            self.ask.settle(lambda: self.ask.engine.delete(data), until)
            if self.claims:
                self.ask.engine.swap(record, free_record(self.ask.nonce()), draft.record)
            else:
                self.ask.settle(lambda: self.ask.engine.delete(record), until)
        except (StoreError, Mismatch, Missing, Unsettled, Refused):
            pass

    def is_alive(self, draft: Draft, until: float) -> bool:
        """Whether the record of a staged blob is still as it was written: nobody condemned it."""
        found = self.ask.record(draft.blob.id, until)
        is_sound = found is not None and found.data == dump_record(draft.blob)
        return is_sound and draft.goes_on(until)


class Lasting:
    """Keeps the record of a staged blob young while its data is on its way.

    ``draft`` has the record that was written last.
    """

    def __init__(self, staging: Staging, draft: Draft, until: Callable[[], float]) -> None:
        """``until`` gives the time by which a request that is made now is to be over."""
        self.draft = draft
        self._staging = staging
        self._until = until
        self._renewed = staging.ask.seconds()

    def renew(self) -> None:
        """Write the record anew, if it is time. Raises Busy if somebody has collected the blob."""
        if self._staging.ask.seconds() - self._renewed > self._staging.grace / 4:
            self.draft = self._staging.renew_record(self.draft, self._until())
            self._renewed = self._staging.ask.seconds()

    def pass_on(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Give the pieces on, and renew the record meanwhile."""
        for piece in pieces:
            yield piece
            self.renew()


def new_blob(location: str, now: int, origin: str, *, replaces: bool) -> Blob:
    """Begin a blob; its id comes later."""
    blob = Blob(0, location)
    if replaces:
        blob.update(now, origin)
    else:
        blob.create(now, origin)
    blob.start_writing(now)
    return blob


def describe(blob: Blob, details: Details, now: int) -> None:
    """Say in its record what is known of a blob before its location is looked at."""
    blob.content_type, blob.metadata = details.labels(None)
    if details.lifetime is not None:
        blob.expires = details.lifetime.end(now)


def finish(blob: Blob, now: int, data: bytes) -> None:
    """Say that all the bytes of a small blob are here."""
    blob.finish_writing(now, len(data), sha256(data).digest(), now)


def collected_early() -> Busy:
    """Say that an upload took so long that its data was collected."""
    return Busy("The upload took too long, and was removed", RETRY_AFTER)
