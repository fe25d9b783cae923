"""From pieces to a blob, once; and the end of uploads that become none. Plain code that blocks.

Any daemon may do either, several at the same time, and each may die or stall at any step. Every
daemon copies the pieces under an id of its own, and hashes them on their way: no hash state is
shared. Then the pointer of the location decides, as it does for every write:

U5  All daemons swap the pointer with the one nonce of the upload. A pointer that has it in its
    history says that the upload is a blob. So it becomes one once, whoever was first.
U6  Before its first swap a daemon notes the last operation that it has seen at the location
    (``base``), unless the upload is over. If the location's history has the base and not the
    nonce, the upload is no blob yet. If it has neither, eight other operations have come between,
    and nobody can tell any more: then the upload is over.
U7  An upload is marked as over first. Then, if it has a base, the pointer is touched: a swap that
    is on its way fails, and before the next one the mark is seen. A swap that came before the
    touch is seen by it: then the upload is a blob after all.
U8  No piece is removed before the upload is over, or the pointer's swap has happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256

from attrs import evolve

from gostore.blob import UploadNote
from gostore.bucket.asking import RETRY_AFTER, Seen
from gostore.bucket.engine import Mismatch, Missing, Refused, Unsettled
from gostore.bucket.pieces import Changed, Come, Kept, Pieces
from gostore.bucket.pointer import Pointer, dump, pointer_key
from gostore.bucket.protocol import Demand, OutcomeUnknown, Protocol
from gostore.bucket.staging import Draft, Lasting, describe, new_blob
from gostore.bucket.unfinished import Begun
from gostore.errors import (
    AlreadyExists,
    Busy,
    ConditionFailed,
    DigestMismatch,
    NotFound,
    StoreError,
    TooLarge,
    TooMuchMetadata,
    UploadOver,
    WrongOffset,
)

#: After these the upload is over: a repetition would get the same.
FINAL = (AlreadyExists, ConditionFailed, DigestMismatch, NotFound, TooLarge, TooMuchMetadata)

WHOLE = 5 * 1024 * 1024
"""A blob of so many bytes is written by one request, a larger one in parts."""

#: How many bytes of a piece are given out at a time.
_GIVEN = 512 * 1024

#: How often something is tried that others may be faster with.
_TRIES = 8


class Finishing:
    """Ends uploads. ``patience`` is how many seconds one step may take."""

    def __init__(self, protocol: Protocol, pieces: Pieces, *, patience: float = 12.0) -> None:
        self._protocol = protocol
        self._ask = protocol.ask
        self._staging = protocol.staging
        self._pieces = pieces
        self._patience = patience

    def finish(
        self, number: int, demand: Demand, check: Callable[[], object]
    ) -> tuple[Begun, Seen | None]:
        """Let a location have the bytes of a complete upload; return what it replaced, too.

        ``check`` is called now and then, and raises what this shall fail with. Raises WrongOffset,
        UploadOver, what ``demand`` raises, or what a write does.
        """
        for _ in range(_TRIES):
            kept, come = self._pieces.look(number, self._until())
            try:
                return self._finish(kept, come, demand, check)
            except FINAL as error:
                # Somebody else may be faster with it, or have noted that he is about to be.
                now = self._pieces.find(number, self._until())
                if (ended := self._end(now, str(error))) is None:
                    continue
                if ended.begun.done:
                    return ended.begun, None
                raise
            except UploadOver as error:
                now = self._pieces.find(number, self._until())
                if not now.begun.is_over and self._end(now, error.reason) is None:
                    continue
                now = self._pieces.find(number, self._until())
                if now.begun.done:
                    return now.begun, None
                raise
        raise Busy("Others were always first with this upload", RETRY_AFTER)

    def _finish(
        self, kept: Kept, come: Come, demand: Demand, check: Callable[[], object]
    ) -> tuple[Begun, Seen | None]:
        begun = kept.begun
        if begun.is_over:
            return outcome(begun), None
        seen = self._ask.read(demand.location, self._until())
        if begun.nonce in seen.hist:
            return self._done(kept.number), None
        demand.check(seen)
        demand.details.labels(seen.blob)
        if come.offset != begun.length:
            raise WrongOffset(come.offset)
        draft = self._copy(kept, come, demand, check)
        try:
            found = self._promise(kept.number, draft)
        except StoreError:
            self._staging.discard(draft, self._until())
            raise
        if isinstance(found, Begun):
            # No swap of ours was tried.
            self._staging.discard(draft, self._until())
            return found, None
        draft = evolve(
            draft, operation=begun.nonce, goes_on=lambda until: self._goes_on(kept, until)
        )
        # A copy that lost against another one with the same nonce is left to the sweep.
        _, replaced = self._protocol.publish(found, draft, demand, self._until())
        try:
            return self._done(kept.number), replaced
        except StoreError:
            # The next request sees it in the pointer.
            return evolve(begun, done=True, sha256=draft.blob.sha256), replaced

    def _goes_on(self, kept: Kept, until: float) -> bool:
        return not self._pieces.find(kept.number, until).begun.is_over

    def _promise(self, number: int, draft: Draft) -> Seen | Begun:
        """Note that a pointer is about to be swapped, and return it; or how it is over already."""
        for _ in range(_TRIES):
            kept = self._pieces.find(number, self._until())
            begun = kept.begun
            if begun.is_over:
                return outcome(begun)
            seen = self._ask.read(begun.location, self._until())
            if begun.nonce in seen.hist:
                return self._done(number)
            if begun.base is not None and has_forgotten(seen, begun.base):
                raise UploadOver("nobody knows whether it became a blob, which others replaced")
            base = seen.hist[-1] if seen.hist else ""
            try:
                promised = evolve(begun, base=base, sha256=draft.blob.sha256)
                self._pieces.swap(kept, promised, self._until())
            except Changed:
                continue
            return seen
        raise Busy("Others were always first with this upload", RETRY_AFTER)

    def _done(self, number: int) -> Begun:
        """Note that an upload has become a blob, which its pointer says."""
        done = self._pieces.change(
            number, lambda begun: evolve(begun, done=True, over=""), self._until()
        )
        return done.begun

    # -- its bytes ------------------------------------------------------------------------------

    def _copy(self, kept: Kept, come: Come, demand: Demand, check: Callable[[], object]) -> Draft:
        """Stage the bytes of an upload, hashed on their way. Raises DigestMismatch."""
        staging, digest, begun = self._staging, sha256(), kept.begun
        now = self._ask.wall()
        blob = new_blob(begun.location, now, "", replaces=demand.exists is True)
        describe(blob, demand.details, now)
        blob.upload = UploadNote(kept.number, begun.owner, begun.text)
        draft = staging.begin(blob, self._until())
        lasting = Lasting(staging, draft, self._until)

        def pieces() -> Iterator[bytes]:
            for piece in come.pieces:
                check()
                data = self._pieces.read(kept.number, piece, self._until())
                digest.update(data)
                lasting.renew()
                # Some of what is given out waits: a little of each piece, not whole ones.
                yield from (data[at : at + _GIVEN] for at in range(0, len(data), _GIVEN))

        try:
            if come.offset <= WHOLE:
                detag = staging.stage_data(draft, b"".join(pieces()), self._until()).detag
            else:
                detag = staging.upload(draft, pieces(), come.offset)
            if demand.details.digests.get("sha256", digest.digest()) != digest.digest():
                raise DigestMismatch("sha256")
            end = max(self._ask.wall(), blob.changed), come.offset, digest.digest()
            return staging.complete(lasting.draft, detag, end, self._until())
        except StoreError:
            staging.discard(lasting.draft, self._until())
            raise

    # -- its end without a blob -----------------------------------------------------------------

    def terminate(self, number: int, reason: str) -> None:
        """Let an upload become no blob. Raises UploadOver if it is one, or is over."""
        for _ in range(_TRIES):
            kept = self._pieces.find(number, self._until())
            if kept.begun.is_over:
                raise UploadOver("it is finished")
            if (ended := self._end(kept, reason)) is not None:
                if ended.begun.done:
                    raise UploadOver("it is finished")
                return
        raise Busy("Others were always first with this upload", RETRY_AFTER)

    def _end(self, kept: Kept, reason: str) -> Kept | None:
        """Mark an upload as over, or as done if it has become a blob; None if it has changed."""
        if kept.begun.is_over:
            return kept
        try:
            ended = self._pieces.swap(kept, evolve(kept.begun, over=reason), self._until())
        except Changed:
            return None
        if kept.begun.base is None or not self._has_happened(kept.begun):
            return ended
        return self._pieces.change(
            kept.number, lambda begun: evolve(begun, done=True, over=""), self._until()
        )

    def _has_happened(self, begun: Begun) -> bool:
        """Whether an upload has become a blob; if not, no swap that is on its way does it."""
        nonce = self._ask.nonce()
        for _ in range(_TRIES):
            seen = self._ask.read(begun.location, self._until())
            if begun.nonce in seen.hist:
                return True
            if seen.damage:
                break
            pointer = seen.pointer or Pointer(begun.location, 0, ())
            if pointer.touched == nonce:
                return False
            data = dump(pointer.with_touch(nonce))
            try:
                if seen.etag is None:
                    self._ask.engine.create(pointer_key(begun.location), data)
                else:
                    self._ask.engine.swap(pointer_key(begun.location), data, seen.etag)
            except (Mismatch, Missing, Unsettled, Refused):
                continue
            return False
        raise OutcomeUnknown("The bucket does not tell whether this happened; look", RETRY_AFTER)

    def _until(self) -> float:
        return self._ask.seconds() + self._patience


def outcome(begun: Begun) -> Begun:
    """How an upload ended that is over. Raises UploadOver if it became no blob."""
    if not begun.done:
        raise UploadOver(begun.over)
    return begun


def has_forgotten(seen: Seen, base: str) -> bool:
    """Whether a location's history no longer tells what came after an operation."""
    pointer = Pointer(seen.location, 0, (base,) if base else ())
    return seen.has_forgotten(Seen(seen.location, pointer))
