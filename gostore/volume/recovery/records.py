"""The record cache, `.records`: what the state files said when somebody last read them.

A start that finds a state file with the inode, the ctime and the size of its row need not read it:
state files are replaced by a rename, and whatever else is done to a file changes its ctime. It is
only a cache. Each block stands for itself, and reading ends at the first one that is not whole, so
without the file, or with a damaged or foreign one, a start is slower and not different::

    block   magic, the number of rows, the length of the body, SHA-256 of these and the body
    body    rows; the locations, each with a newline; the labels of the rows, as JSON
    row     inode, ctime (ns) and size of the state file; id, generation, size, modified, expires,
            sha256; the index of its label, a list of content type and metadata; or 65535 for a blob
            that is dead and kept: its ``modified`` is when it died

The rows are in the order of their locations, and then of the generations, which makes both a start
and the next writing cheap.
A row is a fact about an inode, whatever happened since. So the file is never flushed, and rows of
blobs that are gone do no harm.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256

from gostore import statefile
from gostore.blob import Committed
from gostore.errors import BadRecord
from gostore.volume.collect import Dead
from gostore.volume.directory import READ, RECORDS, RECORDS_TMP, STATE, Directory

#: The inode, the ctime in nanoseconds and the size of a state file.
Stamp = tuple[int, int, int]

_MAGIC = b"gostore records3"
_HEAD = struct.Struct("<16sII32s")
_ROW = struct.Struct("<QqIIQqqq32sH")
#: In place of a label.
_DEAD = 0xFFFF

#: A block ends when it has so many rows, or so many bytes of locations and labels.
_ROWS = 1024
_BLOCK = 256 * 1024

#: No block is longer: of the last row the location and the labels may come on top.
_LONGEST = 2 * _BLOCK

#: The times that fit into a row.
_TIMES = range(-(2**63), 2**63)

#: The row of a blob that does not expire. No record can hold that time.
_NEVER = -(2**63)

#: A file that changed so short a time before it was read may change again with the same ctime:
#: that of some file systems counts seconds.
RECENT = 2_000_000_000


def read_records(directory: Directory) -> Generator[tuple[Committed | Dead, Stamp], None, None]:
    """Give what the cache has, up to where it is damaged; raises nothing."""
    disk = directory.disk
    if not disk.ctime_trusted(directory.root):
        return
    # A FIFO, a device or a directory in its place fails at the first read, or has no block.
    with suppress(OSError, ValueError):
        fd = disk.open(RECORDS, READ, dir_fd=directory.root)
        try:
            if not stat.S_ISREG(disk.fstat(fd).st_mode):
                return
            offset = 0
            while (block := _read_block(directory, fd, offset)) is not None:
                count, body = block
                offset += _HEAD.size + len(body)
                yield from _unpacked(count, body)
        finally:
            disk.close(fd)


def _read_block(directory: Directory, fd: int, offset: int) -> tuple[int, bytes] | None:
    head = directory.disk.pread(fd, _HEAD.size, offset)
    if len(head) < _HEAD.size:
        return None
    magic, count, length, digest = _HEAD.unpack(head)
    if magic != _MAGIC or length > _LONGEST:
        return None
    body = directory.disk.pread(fd, length, offset + _HEAD.size)
    if len(body) < length or _digest(head, body) != digest:
        return None
    return count, body


def _digest(head: bytes, body: bytes) -> bytes:
    return sha256(head[:-32] + body).digest()


def _unpacked(count: int, body: bytes) -> Iterator[tuple[Committed | Dead, Stamp]]:
    rows, rest = body[: count * _ROW.size], body[count * _ROW.size :]
    *locations, last = rest.decode("utf-8").split("\n")
    labels = [
        (kind if kind is None else sys.intern(kind), metadata)
        for kind, metadata in json.loads(last)
    ]
    for row, location in zip(_ROW.iter_unpack(rows), locations, strict=True):
        inode, changed, length, blob_id, generation, size, modified, expires, digest, label = row
        if label == _DEAD:
            dead = Dead(blob_id, location, generation, ended=modified, size=size)
            yield dead, (inode, changed, length)
            continue
        kind, metadata = labels[label]
        until = None if expires == _NEVER else expires
        yield (
            Committed(blob_id, location, generation, size, digest, modified, kind, metadata, until),
            (inode, changed, length),
        )


def stamp_of(found: os.stat_result) -> Stamp:
    """What tells a state file from any other, and from itself before a change."""
    return found.st_ino, found.st_ctime_ns, found.st_size


class RecordWriter:
    """Writes the cache anew, beside the old one, in several steps; each may block.

    `begin`, `add` for blobs, alive or kept, in the order of their locations and generations, and
    `finish`, or `abandon`. Any may raise OSError.
    """

    def __init__(self, directory: Directory, reserve: int, recent: int | None = None) -> None:
        """``reserve`` is how many bytes of the file system stay free.

        State files that changed in the last ``recent`` nanoseconds are left out, by default RECENT.
        """
        self._directory = directory
        self._reserve = reserve
        self._recent = RECENT if recent is None else recent
        self._fd = -1
        self._since = 0
        self._old = read_records(directory)
        self._next: tuple[Committed | Dead, Stamp] | None = None
        #: What is to make up the next block, and how many bytes of it have no fixed size.
        self._rows: list[bytes] = []
        self._locations: list[bytes] = []
        self._labels: list[tuple[str | None, Mapping[str, str] | None]] = []
        self._numbers: dict[tuple[str | None, str | None], int] = {}
        self._length = 0
        #: Whether there is a block.
        self._flushed = False

    def begin(self) -> bool:
        """Make the new file; or return False, where no start would trust it."""
        directory = self._directory
        if not directory.disk.ctime_trusted(directory.root):
            return False
        with suppress(FileNotFoundError):
            directory.disk.unlink(RECORDS_TMP, dir_fd=directory.root)
        self._fd = directory.create(RECORDS_TMP)
        # The file system's own clock tells what was changed just now.
        self._since = directory.disk.fstat(self._fd).st_mtime_ns - self._recent
        self._next = next(self._old, None)
        return True

    def add(self, blobs: Iterable[Committed | Dead], may_look: bool = True) -> None:
        """Add a row for each blob, from the old cache or, if that has none, from its state file.

        Unless it ``may_look`` at the files, it takes what the old cache has and nothing else.
        """
        for blob in blobs:
            row = self._known(blob)
            if may_look and (row is None or not self._is_true(blob, row[1])):
                row = self._read(blob)
            if row is not None:
                self._add(*row)

    def _is_true(self, blob: Committed | Dead, stamp: Stamp) -> bool:
        directory = self._directory
        try:
            found = directory.disk.peek(f"{blob.id}/{STATE}", dir_fd=directory.root)
        except OSError:
            return False
        return stamp_of(found) == stamp

    def _known(self, blob: Committed | Dead) -> tuple[Committed | Dead, Stamp] | None:
        """Return what the old cache has of a blob, and go on behind it."""
        place = blob.location, blob.generation
        while self._next is not None:
            known = self._next[0]
            if (known.location, known.generation) > place:
                break
            row, self._next = self._next, next(self._old, None)
            if (
                known.id == blob.id
                and known.generation == blob.generation
                and isinstance(known, Dead) is isinstance(blob, Dead)
            ):
                return row
        return None

    def _read(self, blob: Committed | Dead) -> tuple[Committed | Dead, Stamp] | None:
        """Read a blob's state file as a start does: what it says may not be what we know."""
        try:
            state, found = self._directory.read_state_at(f"{blob.id}/{STATE}", self._directory.root)
        except (OSError, BadRecord):
            return None
        if found.st_ctime_ns >= self._since:
            return None
        # That is what gostore writes of a blob that lives: the times fit into a row, too.
        plain = statefile.parse_plain(state, blob.id)
        if plain is None or plain[0].modified not in _TIMES:
            return None
        committed: Committed | Dead = plain[0]
        if plain[1]:
            # Its record does not tell whether its bytes are still there.
            dead = plain[0]
            committed = Dead(
                dead.id, dead.location, dead.generation, ended=dead.modified, size=blob.size
            )
        return committed, stamp_of(found)

    def _add(self, blob: Committed | Dead, stamp: Stamp) -> None:
        if isinstance(blob, Dead):
            number, modified = _DEAD, blob.ended
            expires = _NEVER
            digest: bytes | None = bytes(32)
        else:
            number, modified = self._label(blob), blob.modified
            expires = _NEVER if blob.expires is None else blob.expires
            digest = blob.sha256
        location = blob.location.encode("utf-8")
        self._locations.append(location)
        self._length += len(location)
        self._rows.append(
            _ROW.pack(
                *stamp,
                blob.id,
                blob.generation,
                blob.size,
                modified,
                expires,
                digest,
                number,
            )
        )
        if len(self._rows) == _ROWS or self._length >= _BLOCK:
            self._flush()

    def _label(self, blob: Committed) -> int:
        metadata = json.dumps(blob.metadata) if blob.metadata else None
        number = self._numbers.setdefault((blob.content_type, metadata), len(self._labels))
        if number == len(self._labels):
            self._labels.append((blob.content_type, blob.metadata))
            self._length += len(metadata or "") + len(blob.content_type or "")
        return number

    def _flush(self) -> None:
        """Write a block, unless those who store blobs may need the room."""
        directory = self._directory
        if directory.disk.free(directory.root)[0] < self._reserve + _LONGEST:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        body = b"%s%s\n%s" % (
            b"".join(self._rows),
            b"\n".join(self._locations),
            json.dumps(self._labels).encode("ascii"),
        )
        head = _HEAD.pack(_MAGIC, len(self._rows), len(body), bytes(32))
        head = head[:-32] + _digest(head, body)
        directory.append(self._fd, [head, body])
        self._flushed = True
        self._clear()

    def _clear(self) -> None:
        self._rows, self._locations, self._labels = [], [], []
        self._numbers = {}
        self._length = 0

    def finish(self) -> None:
        """Let the new cache take the place of the old one, if there is anything in it."""
        if self._rows:
            self._flush()
        if not self._flushed:
            self.abandon()
            return
        self._close()
        self._directory.disk.rename(RECORDS_TMP, RECORDS, self._directory.root)

    def abandon(self) -> None:
        """Leave the old cache as it is."""
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            self._directory.disk.unlink(RECORDS_TMP, dir_fd=self._directory.root)

    def _close(self) -> None:
        self._old.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._directory.disk.close(fd)
