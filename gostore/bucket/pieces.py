"""What has come of an upload in several requests, as plain code that blocks: any daemon goes on.

The bytes come in pieces, each an object of its own, named by its offset. The invariants:

U1  A piece is created where there is none (If-None-Match: *), and only by who has seen that all
    bytes before it are there. One request writes one piece after another. So the pieces of an
    upload are one chain from its first byte on. If two requests go on at one offset, at one
    daemon or at two, one creates the piece, and the other is told where the upload goes on, unless
    it brings the very same bytes.
U2  A piece is never changed, and none is removed before the upload is over. So an offset that a
    client was told never shrinks, whatever stalls, dies, or arrives late or twice.
U3  How far an upload is, is where its chain ends. A list says where that may be. It could lag
    behind, so the next piece is asked for by its name until there is none: engines show at once
    what was written to whoever reads it, and no daemon starts that has not seen that.
U4  What is known of an upload beside its bytes is swapped by its ETag, and no two of its writes
    have the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from attrs import evolve, frozen

from gostore.bucket.asking import RETRY_AFTER, Asker, refusal
from gostore.bucket.engine import Mismatch, Missing, Refused, Unsettled
from gostore.bucket.unfinished import (
    DRAWS,
    Begun,
    checked_key,
    dump,
    is_number,
    number_of,
    offset_in,
    parse,
    piece_key,
    upload_folder,
    upload_key,
)
from gostore.errors import (
    BadRecord,
    Busy,
    LengthChanged,
    NoUpload,
    TooLarge,
    UploadOver,
    WrongOffset,
)

DAMAGED = "what was kept of it is damaged"

#: How often a change of what is known of an upload is tried.
_TRIES = 8


@frozen
class Kept:
    """An upload as it was read: what is known of it, with its ETag, and when that was written."""

    number: int
    begun: Begun
    etag: str
    modified: float


@frozen
class Piece:
    """Some bytes of an upload."""

    offset: int
    size: int


@frozen
class Come:
    """The bytes of an upload that are here: how many, and when the last ones were written.

    The pieces may be of an earlier look.
    """

    offset: int
    when: float
    pieces: tuple[Piece, ...]


class Changed(Exception):
    """Somebody else has changed what is known of the upload."""


class Pieces:
    """The uploads of a bucket. Each call has to be over ``until`` a time by the clock of ``ask``.

    All of them may raise Busy, DiskFailed or NoSpace.
    """

    def __init__(self, ask: Asker) -> None:
        self.ask = ask

    # -- what is known of an upload -------------------------------------------------------------

    def begin(self, begun: Begun, until: float) -> int:
        """Begin an upload, under a number that nobody can guess."""
        number, data = number_of(self.ask.rng.randrange(DRAWS)), self._dump(begun)
        self._create(upload_key(number), data, until)
        return number

    def find(self, number: int, until: float) -> Kept:
        """Read what is known of an upload. Raises NoUpload or UploadOver."""
        if not is_number(number):
            raise NoUpload()
        key = upload_key(number)
        try:
            found = self.ask.settle(lambda: self.ask.engine.get(key), until)
        except Missing:
            raise NoUpload() from None
        try:
            return Kept(number, parse(found.data), found.etag, found.modified)
        except BadRecord as error:
            raise UploadOver(DAMAGED) from error

    def swap(self, kept: Kept, begun: Begun, until: float) -> Kept:
        """Change what is known of an upload. Raises Changed if it is not as it was read."""
        key, data, pauses = upload_key(kept.number), self._dump(begun), 0
        while True:
            try:
                etag = self.ask.engine.swap(key, data, kept.etag)
                return Kept(kept.number, begun, etag, self.ask.engine_time())
            except Unsettled as error:
                self.ask.rest_or_give_up(error, until, pauses)
                pauses += 1
            except (Mismatch, Missing):
                # It may be the effect of an earlier try.
                if (found := self._read(key, until)) is None or found[0] != data:
                    raise Changed() from None
                return Kept(kept.number, begun, found[1], self.ask.engine_time())
            except Refused as error:
                raise refusal(error) from error

    def change(self, number: int, change: Callable[[Begun], Begun], until: float) -> Kept:
        """Change what is known of an upload, whatever that is."""
        for _ in range(_TRIES):
            kept = self.find(number, until)
            if (begun := change(kept.begun)) == kept.begun:
                return kept
            try:
                return self.swap(kept, begun, until)
            except Changed:
                continue
        raise Busy("Others were always first with this upload", RETRY_AFTER)

    def set_length(self, number: int, length: int, offset: int, until: float) -> Kept:
        """Learn how long an upload is, of which some bytes are here. Raises LengthChanged."""

        def change(begun: Begun) -> Begun:
            if begun.length != length and (begun.length is not None or length < offset):
                raise LengthChanged()
            return evolve(begun, length=length)

        return self.change(number, change, until)

    # -- its bytes ------------------------------------------------------------------------------

    def look(self, number: int, until: float) -> tuple[Kept, Come]:
        """Look how an upload stands. Raises NoUpload or UploadOver.

        In this order: if its bytes were removed before they were looked at, it is over by then.
        """
        if not is_number(number):
            raise NoUpload()
        come = self.come(number, until)
        return self.find(number, until), come

    def come(self, number: int, until: float) -> Come:
        """Look how far an upload is."""
        listed = self.ask.settle(partial(self._list, number), until)
        pieces: list[Piece] = []
        offset, when = 0, 0.0
        while (found := listed.get(offset) or self._look(number, offset, until)) is not None:
            pieces.append(Piece(offset, found[0]))
            offset, when = offset + found[0], max(when, found[1])
        return Come(offset, when, tuple(pieces))

    def _list(self, number: int) -> dict[int, tuple[int, float]]:
        """The pieces that a list shows: their sizes and times, by offset."""
        entries = self.ask.engine.list(upload_folder(number))
        found = {offset_in(each.key): (each.size, each.modified) for each in entries}
        return {offset: each for offset, each in found.items() if offset is not None and each[0]}

    def _look(self, number: int, offset: int, until: float) -> tuple[int, float] | None:
        """Ask for the piece at an offset: its size and time; None if there is none."""
        key = piece_key(number, offset)
        try:
            found = self.ask.settle(lambda: self.ask.engine.get(key, None, (0, 1)), until)
        except Missing:
            return None
        return found.size, found.modified

    def add(self, number: int, offset: int, data: bytes, until: float) -> None:
        """Add bytes to an upload that has so many. Raises WrongOffset if it has more by now."""
        if not self._create(piece_key(number, offset), data, until):
            raise WrongOffset(self.come(number, until).offset)

    def read(self, number: int, piece: Piece, until: float) -> bytes:
        """Read a piece. Raises UploadOver if it is not what it was."""
        found = self._read(piece_key(number, piece.offset), until)
        if found is None or len(found[0]) != piece.size:
            raise UploadOver(DAMAGED)
        return found[0]

    # -- bytes with a checksum --------------------------------------------------------------------

    def put_aside(self, key: str, data: bytes, until: float) -> None:
        """Keep bytes that do not count yet."""
        self.ask.settle(lambda: self.ask.engine.put(key, data), until)

    def add_aside(self, number: int, offset: int, key: str, until: float) -> int:
        """Let bytes count that were put aside, see `add`; return how many."""
        found = self._read(key, until)
        if found is None:
            raise UploadOver(DAMAGED)
        self.add(number, offset, found[0], until)
        return len(found[0])

    def aside(self, number: int) -> Iterator[str]:
        """Keys for bytes of one request that are put aside, one after another."""
        nonce, part = self.ask.nonce(), 0
        while True:
            yield checked_key(number, nonce, part)
            part += 1

    def remove(self, key: str, until: float) -> None:
        """Remove an object."""
        self.ask.settle(lambda: self.ask.engine.delete(key), until)

    # -- its end --------------------------------------------------------------------------------

    def clear(self, number: int, goes_on: Callable[[], bool], patience: float) -> None:
        """Remove the bytes of an upload if it is over, or unknown, for as long as it goes on."""
        folder, key = upload_folder(number), upload_key(number)
        until = self.ask.seconds() + patience
        with suppress(NoUpload, UploadOver):
            if not self.find(number, until).begun.is_over:
                return
        there = self.ask.settle(lambda: list(self.ask.engine.list(folder)), until)
        for each in there:
            if not goes_on():
                return
            if each.key != key:
                self.remove(each.key, self.ask.seconds() + patience)

    # -- requests -------------------------------------------------------------------------------

    def _dump(self, begun: Begun) -> bytes:
        return dump(begun, self.ask.nonce())

    def _read(self, key: str, until: float) -> tuple[bytes, str] | None:
        try:
            found = self.ask.settle(lambda: self.ask.engine.get(key), until)
        except Missing:
            return None
        return found.data, found.etag

    def _create(self, key: str, data: bytes, until: float) -> bool:
        """Create an object; say whether it has these bytes now."""
        pauses = 0
        while True:
            try:
                self.ask.engine.create(key, data)
                return True
            except Unsettled as error:
                self.ask.rest_or_give_up(error, until, pauses)
                pauses += 1
            except Mismatch:
                # It may be the effect of an earlier try.
                found = self._read(key, until)
                return found is not None and found[0] == data
            except Refused as error:
                raise refusal(error) from error


def check_length(length: int | None, most: int | None) -> None:
    """Raise TooLarge for an upload of more bytes than the most."""
    if most is not None and (length or 0) > most:
        raise TooLarge(most)
