r"""Kept stages: uploads that come in several requests, and outlive a start.

Each is a directory `.upload-<number>`, with the files of a blob::

    data.raw                    the bytes that have come
    blob_state.base64.json      its Pending record, padded to whole blocks, and two places for notes

A note takes two blocks. It says how many bytes are flushed, and what they end with::

    <bytes> of <bytes or ?> at <nanoseconds>, note <n>: <base64> <sha256 in hex>\n    and blanks

The text in base64 is what follows the last whole block of data.raw. The digest is that of the
upload's number, a blank, and all of the note before the digest.

K1  A note is written when the bytes that it tells of are flushed, and counts when it is flushed
    itself. So an offset is never more than what a power cut leaves.
K2  The notes take turns. A torn one leaves the one before.
K3  No block with flushed bytes is written again: a torn write may harm all of its block. The next
    request cuts data.raw back to whole blocks, and writes what followed again, out of the note.
K4  A commit flushes the record of the blob before it puts that in place of the Pending one. So a
    record that is OK says: all bytes are flushed. Then the rename to `<id>` makes it a blob.

Other programs, older versions among them, take such a directory for somebody else's.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from gostore import statefile
from gostore.blob import Blob, State
from gostore.errors import BadRecord
from gostore.volume.directory import (
    DATA,
    READ,
    STATE,
    DataDamaged,
    Directory,
    check_data,
    id_in,
    kept_name,
)
from gostore.volume.journal.format import BLOCK
from gostore.volume.trash import Trash

if TYPE_CHECKING:
    from hashlib import _Hash

_NOTE_BYTES = 2 * BLOCK
_NOTES = 2

#: How much is read at once to be hashed.
_PIECE = 1024 * 1024

_WRITE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_NOTE = re.compile(rb"((\d{1,19}) of (\d{1,19}|\?) at (\d{1,19}), note (\d{1,19}): ([\w+/=]*) )")
_HEX = 64


@frozen
class Note:
    """How much of an upload has come: ``offset`` bytes are flushed; ``length`` is None if unknown.

    ``tail`` are the bytes behind the last whole block; ``when`` in nanoseconds since the epoch.
    """

    offset: int
    length: int | None
    when: int
    number: int = 0
    tail: bytes = field(default=b"", repr=False)

    def text(self, upload: int) -> bytes:
        """Write it, for the upload of this number."""
        length = b"?" if self.length is None else b"%d" % self.length
        text = b"%d of %b at %d, note %d: %b " % (
            self.offset,
            length,
            self.when,
            self.number,
            base64.b64encode(self.tail),
        )
        return (text + _digest(upload, text) + b"\n").ljust(_NOTE_BYTES)

    @classmethod
    def parse(cls, data: bytes, upload: int) -> Note | None:
        """Read it; None if it is torn, or another upload's."""
        match = _NOTE.match(data)
        if match is None or data[match.end() : match.end() + _HEX] != _digest(upload, match[1]):
            return None
        length = None if match[3] == b"?" else int(match[3])
        tail = base64.b64decode(match[6])
        return cls(int(match[2]), length, int(match[4]), int(match[5]), tail)


def _digest(upload: int, text: bytes) -> bytes:
    return sha256(b"%d %b" % (upload, text)).hexdigest().encode("ascii")


@frozen
class Kept:
    """A kept stage as a look finds it: its record, and its newest note."""

    blob: Blob
    note: Note

    @property
    def number(self) -> int:
        """The upload's number."""
        assert self.blob.upload is not None
        return self.blob.upload.number


@define(eq=False)
class Opened:
    """A kept stage that somebody goes on with."""

    upload: int
    note: Note
    data: int
    state: int
    #: Where the places for notes begin in the state file.
    notes: int
    #: How many bytes data.raw has, once anything was written.
    written: int | None = None
    #: Whether a flush has failed: nobody knows what the disk has.
    is_lost: bool = False


def read_kept(directory: Directory, name: str) -> Kept:
    """Read what a kept stage is.

    Raises BadRecord if its record, its notes or its file are not good; FileNotFoundError if one of
    them is missing.
    """
    state = directory.read_state(name)
    blob = statefile.parse(state)
    if blob.upload is None or blob.upload.number != id_in(name):
        raise BadRecord("it is the record of no upload, or of another one")
    data = directory.disk.lstat(f"{name}/{DATA}", directory.root)
    note: Note | None
    if blob.state is State.OK and blob.size is not None:
        note = Note(blob.size, blob.size, blob.changed)
    else:
        note = _newest(state, blob.upload.number) if blob.state is State.PENDING else None
    try:
        check_data(data, blob.size)
    except DataDamaged as error:
        raise BadRecord(str(error)) from error
    if note is None or data.st_size < note.offset - len(note.tail):
        raise BadRecord("it does not say how much has come, or less is there")
    return Kept(blob, note)


def _newest(state: bytes, upload: int) -> Note | None:
    first = len(state) - _NOTES * _NOTE_BYTES
    places = range(max(first, 0), len(state), _NOTE_BYTES)
    notes = [Note.parse(state[at : at + _NOTE_BYTES], upload) for at in places]
    return max((note for note in notes if note), key=lambda note: note.number, default=None)


class KeptStages:
    """Makes the kept stages of a data directory, and goes on with them.

    Its methods may block. They raise the `OSError` of the `Disk`, and what `read_kept` does.
    """

    def __init__(self, directory: Directory, trash: Trash) -> None:
        self._directory = directory
        self._disk = directory.disk
        self._trash = trash

    def make(self, blob: Blob, note: Note) -> None:
        """Make a kept stage for a Pending blob, with its first note, durably.

        Raises OutcomeUnknown, too.
        """
        assert blob.upload is not None
        directory, upload = self._directory, blob.upload.number
        name = kept_name(upload)
        record = statefile.dump(blob)
        record = record.ljust(-(-len(record) // BLOCK) * BLOCK, b"\n")
        notes = note.text(upload).ljust(_NOTES * _NOTE_BYTES)
        directory.make(name)
        directory.write(f"{name}/{STATE}", record + notes, sync=True)
        directory.write(f"{name}/{DATA}", b"", sync=True)
        directory.sync(name)
        directory.sync_root()

    def open(self, upload: int) -> Opened:
        """Open a kept stage, to go on with it."""
        name = kept_name(upload)
        kept = read_kept(self._directory, name)
        data = self._disk.open(f"{name}/{DATA}", _WRITE, dir_fd=self._directory.root)
        try:
            state = self._disk.open(f"{name}/{STATE}", _WRITE, dir_fd=self._directory.root)
        except OSError:
            self._disk.close(data)
            raise
        opened = Opened(upload, kept.note, data, state, 0)
        try:
            opened.notes = self._disk.fstat(state).st_size - _NOTES * _NOTE_BYTES
        except OSError:
            self.close(opened)
            raise
        return opened

    def append(self, opened: Opened, pieces: Sequence[bytes]) -> None:
        """Write pieces behind what has come; after a failure, another try begins where this did."""
        begun = opened.written
        try:
            self._append(opened, pieces)
        except OSError:
            opened.written = begun
            raise

    def _append(self, opened: Opened, pieces: Sequence[bytes]) -> None:
        if opened.written is None:
            opened.written = opened.note.offset - len(opened.note.tail)
            self._disk.ftruncate(opened.data, opened.written)
            pieces = [opened.note.tail, *pieces]
        left = memoryview(b"".join(pieces))
        while left:
            written = self._disk.pwrite(opened.data, left, opened.written)
            opened.written += written
            left = left[written:]

    def flush(self, opened: Opened, length: int | None, when: int) -> None:
        """Make what was written last, and note it."""
        note, tail = opened.note, opened.note.tail
        offset = note.offset
        if opened.written is not None:
            self._sync(opened, opened.data)
            offset = opened.written
            tail = self._read(opened.data, offset - offset % BLOCK, offset % BLOCK)
        note = Note(offset, length, when, note.number + 1, tail)
        at = opened.notes + note.number % _NOTES * _NOTE_BYTES
        left = memoryview(note.text(opened.upload))
        while left:
            written = self._disk.pwrite(opened.state, left, at)
            at += written
            left = left[written:]
        self._sync(opened, opened.state)
        opened.note = note

    def _sync(self, opened: Opened, fd: int) -> None:
        try:
            self._disk.fdatasync(fd)
        except OSError:
            # Never a second try, see `Directory.break_if_failing`.
            opened.is_lost = True
            raise

    def close(self, opened: Opened) -> None:
        """Let go of a kept stage; what was written since the last flush does not count."""
        for fd in (opened.state, opened.data):
            with suppress(OSError):
                self._disk.close(fd)

    def complete(self, upload: int) -> None:
        """See that data.raw has what the last note says, and no more: then it can be committed."""
        opened = self.open(upload)
        try:
            if self._is_whole(opened):
                return
            self.append(opened, [])
            self._disk.fdatasync(opened.data)
        finally:
            self.close(opened)

    def _is_whole(self, opened: Opened) -> bool:
        """Whether data.raw has what the note says; its size alone may come through a crash."""
        note = opened.note
        if self._disk.fstat(opened.data).st_size != note.offset:
            return False
        size = len(note.tail)
        return self._read(opened.data, note.offset - size, size) == note.tail

    def feed(self, upload: int, digest: _Hash, start: int, end: int) -> None:
        """Hash some of the bytes that have come."""
        path = f"{kept_name(upload)}/{DATA}"
        fd = self._disk.open(path, READ, dir_fd=self._directory.root)
        try:
            while start < end:
                piece = self._read(fd, start, min(_PIECE, end - start))
                digest.update(piece)
                start += len(piece)
        finally:
            self._disk.close(fd)

    def discard(self, upload: int, *, sync: bool) -> None:
        """Put a kept stage into the trash; with ``sync`` it does not come back.

        Raises OutcomeUnknown, too.
        """
        self._trash.put_or_unlink(kept_name(upload))
        if sync:
            self._directory.sync_root()

    def _read(self, fd: int, offset: int, length: int) -> bytes:
        data = self._disk.read_fully(fd, length, offset)
        if len(data) < length:
            raise DataDamaged(f"{DATA} ends at byte {offset + len(data)}")
        return data
