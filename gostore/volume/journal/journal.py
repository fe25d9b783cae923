"""The redo journal: what lets small changes be answered after one flush instead of four each.

A change is written to its files as ever, unsynced; its record and its bytes are appended here; one
``fdatasync`` then makes a whole batch durable, before the rename that commits each of them.  The
journal does not replace the files: a start writes again whatever lives, the journal holds and the
directory lacks or has torn (recovery.py), and then the journal forgets it.

Two files take turns, ``.journal-0`` and ``.journal-1``, allocated once so that an append changes no
metadata.  Each begins with a block that says whose batches are in it, written before all of them
and never again::

    8 bytes   "gostoreJ"
    16 bytes  key: random, the same in both files, and nowhere else
    uint64    size of the file
    32 bytes  SHA-256 of the above

Only marks may be added to it, each the same with another first word: at 1024, before the files are
removed, "gostoreE", for then nothing in them is wanted any more; at 2048, before its file is cut,
"gostoreC".  So a file that is missing without the one, or too short without the other, is damage.

Then batches, each at a multiple of 4 KiB, so that writing one never touches a block of another::

    16 bytes  key
    uint64    number of the batch; each has the next number
    uint64    the number up to which all batches were known to be in their files
    uint32    length of the payload
    32 bytes  SHA-256 of all the above and the payload
    payload   entries: uint32 id, uint32 length of the state file, int32 length of data.raw or -1,
              and the two; -1 means that the blob is deleted, its state file says so

All integers are little-endian.  A file is begun anew only when a batch says that all of it is in
its own files; what is left of an earlier turn is recognized by that.  So of the batches above the
highest number said to be synced none may be missing but those behind the last: one that is there
was begun when the one before it was on the disk.  If one is missing the disk has damaged it, or
has not kept what it was told to flush.  The same goes for a file that has no title and no batch
where the other has batches: what is gone may be the newest; and where there is something in the
files, but neither has a title, which is what a file is given first.  That the other has batches
sees an empty one in it, the first of all.  The key is what makes this a proof: no stored blob can
hold a batch.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from threading import Lock

from attrs import frozen

from gostore.volume.disk import NOT_REGULAR, Disk

NAMES = (".journal-0", ".journal-1")

#: Bytes of each file.  A second's worth of small blobs; larger ones cost more disk for no gain.
SIZE = 8 * 1024 * 1024

#: It is made only where this many times as much is free.
_SHARE = 4

_BLOCK = 4096
_MAGIC = b"gostoreJ"
_KEY_SIZE = 16
_TITLE = struct.Struct(f"<8s{_KEY_SIZE}sQ32s")

#: The marks, and where each is.
ENDED = b"gostoreE"
CUT = b"gostoreC"
_MARKS = {ENDED: 1024, CUT: 2048}
_HEAD = struct.Struct(f"<{_KEY_SIZE}sQQI32s")
_ENTRY = struct.Struct("<IIi")

#: That of a batch before there were titles and keys: magic, number, synced, length, and the digest
#: of all but the magic.
_OLD_HEAD = struct.Struct("<8sQQI32s")


class NotAJournal(Exception):
    """Somebody has put something else in the place of a file of the journal; str() says which."""

    def __str__(self) -> str:
        return f"{self.args[0]}, of the redo journal, is not a regular file"


@frozen
class Entry:
    """One change: the state file of a blob and its bytes, None if the blob is deleted by it."""

    blob_id: int
    state: bytes
    data: bytes | None


@frozen
class _Title:
    """Whose batches are in a file, and how many bytes it has."""

    key: bytes
    size: int

    def as_bytes(self, word: bytes = _MAGIC) -> bytes:
        said = _TITLE.pack(word, self.key, self.size, b"")[: -hashlib.sha256().digest_size]
        return said + hashlib.sha256(said).digest()


@frozen
class _Batch:
    number: int
    synced: int
    payload: bytes
    #: Where it ends in its file, in whole blocks.
    end: int


class NothingWritten(OSError):
    """A batch or a mark could not be written, and the journal is as it was before."""


class Journal:
    """The journal of one volume.

    ``last`` is the number of the newest batch, ``synced`` that up to which every change is durable
    in its own files, ``told`` what the newest batch says of that; ``damage`` says in words what
    `read` has found missing.  Methods raise the `OSError` of the `Disk`.
    """

    def __init__(self, disk: Disk, root: int, size: int = SIZE) -> None:
        """Describe the journal in the open directory ``root``; nothing is touched before `read`.

        ``size`` in bytes is that of each of its files.
        """
        self._disk = disk
        self._root = root
        self._size = size
        self._fds: list[int] = []
        #: Whether something in the files that is no batch has been written, and not synced yet.
        self._made = False
        self.damage: str | None = None
        self._lock = Lock()
        self._forget()

    def _forget(self) -> None:
        """Know of no files."""
        self._key = b""
        #: Which of the files have the key.
        self._titled = [False, False]
        #: Whether there are files that no batch may come into any more.
        self._stale = False
        self._turn = 0
        self._offset = _BLOCK
        #: The number of the newest batch in each file, and where what is needed of it ends.
        self._newest = [0, 0]
        self._ends = [0, 0]
        self.last = 0
        self.synced = 0
        self.told = 0

    # -- after a crash ------------------------------------------------------------------------

    def read(self) -> list[Entry]:
        """Return what the files hold of changes that may be nowhere else, oldest first.

        If `damage` is not None afterwards, it is not all that they held. Raises NotAJournal.
        """
        self._forget()
        found = [self._content(name) for name in NAMES]
        halved = found.count(None) == 1
        contents = [content or b"" for content in found]
        titles = [_title(content) for content in contents]
        ended = any(_is_marked(content, ENDED) for content in contents)
        self._stale = halved or ended or any(_is_marked(content, CUT) for content in contents)
        known = {title.key for title in titles if title is not None}
        self.damage = None
        if len(known) == 1:
            (self._key,) = known
            self._titled = [title is not None for title in titles]
        elif (
            not halved
            and any(content.strip(b"\0") for content in contents)
            and not _was_ended(contents)
        ):
            self.damage = "the first blocks of the redo journal are damaged, or of two journals"
        chains = [list(_batches(content, self._key)) for content in contents]
        batches = {batch.number: batch for chain in chains for batch in chain}
        for turn, (name, content) in enumerate(zip(NAMES, contents, strict=True)):
            title, chain = titles[turn], chains[turn]
            # Titled, and whole, it was before the first batch: whatever else it held may be gone.
            if not batches or ended:
                pass
            elif title is None and not chain:
                what = "missing" if found[turn] is None else "damaged"
                self.damage = f"{name}, of the redo journal, is {what}"
            elif title is not None and len(content) < title.size and not _is_marked(content, CUT):
                self.damage = f"{name}, of the redo journal, is cut off"
        self.last = max(batches, default=0)
        self.synced = self.told = max((batch.synced for batch in batches.values()), default=0)
        if ended:
            self.synced = self.last
        wanted = [batches[number] for number in sorted(batches) if number > self.synced]
        if len(wanted) < self.last - self.synced:
            missing = next(n for n in range(self.synced + 1, self.last) if n not in batches)
            self.damage = f"batch {missing} of the redo journal is damaged, or was never written"
        for turn, chain in enumerate(chains):
            self._newest[turn] = max((batch.number for batch in chain), default=0)
            oldest = min(self.synced + 1, self.last)
            needed = [batch.end for batch in chain if batch.number >= oldest]
            self._ends[turn] = max(needed, default=_BLOCK)
        # The next batch goes behind the newest: what is in the other file may be wanted.
        self._turn = self._newest.index(self.last)
        self._offset = self._ends[self._turn]
        return [entry for batch in wanted for entry in _entries(batch.payload)]

    def _content(self, name: str) -> bytes | None:
        """All that can be of the journal in one of its files; None if it is not there."""
        try:
            fd = self._disk.open(name, os.O_RDONLY | _SAFELY, dir_fd=self._root)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in NOT_REGULAR:
                raise NotAJournal(name) from error
            raise
        try:
            if not stat.S_ISREG(self._disk.fstat(fd).st_mode):
                raise NotAJournal(name)
            return self._read(fd, max(self._size, SIZE))
        finally:
            self._disk.close(fd)

    def _read(self, fd: int, length: int) -> bytes:
        """Read so many bytes, or up to the end of the file."""
        pieces = []
        offset = 0
        while piece := self._disk.pread(fd, min(length - offset, 1 << 20), offset):
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def shrink(self) -> None:
        """Give back the room behind the chains that `read` has found; it would find the same."""
        for name, end in zip(NAMES, self._ends, strict=True):
            # Where a full disk writes nothing in place there is no room to be had so.
            with suppress(NothingWritten):
                self._mark(name, CUT, end)
        self._stale = True

    def remove(self) -> None:
        """Remove the files, whose changes are all `synced`; they are gone for good then."""
        for name in NAMES:
            # Nothing is written in place by some file systems, which may be full. What is not
            # marked is missed if a crash comes between the removals: no loss, but a refusal.
            with suppress(NothingWritten):
                self._mark(name, ENDED)
        for name in NAMES:
            with suppress(FileNotFoundError):
                self._disk.unlink(name, dir_fd=self._root)
        self._disk.fsync(self._root)
        self._forget()

    def _mark(self, name: str, mark: bytes, size: int | None = None) -> None:
        """Add a mark to a file, durably, if there is one to mark; then cut it to a size.

        Raises NothingWritten if there is no room for it.
        """
        with suppress(FileNotFoundError):
            fd = self._disk.open(name, os.O_RDWR | _SAFELY, dir_fd=self._root)
            try:
                title = _title(self._disk.pread(fd, _TITLE.size, 0))
                if title is not None:
                    try:
                        self._write(fd, title.as_bytes(mark), _MARKS[mark])
                    except OSError as error:
                        raise NothingWritten(*error.args) from error
                    self._disk.fdatasync(fd)
                if size is not None:
                    self._disk.ftruncate(fd, size)
            finally:
                self._disk.close(fd)

    # -- appending ----------------------------------------------------------------------------

    def fits(self, entries: Sequence[Entry]) -> bool:
        """Whether the batch fits in the file whose turn it is.

        As long as it is not synced what is in the other file, a block has to be left for a batch
        that says so once it is.
        """
        left = 0 if self.may_turn else _BLOCK
        return self._offset + _blocks(_size(entries)) + left <= self._size

    @property
    def may_turn(self) -> bool:
        """Whether all is synced that is in the other file."""
        return self._newest[1 - self._turn] <= self.synced

    def turn(self) -> None:
        """Go on in the other file, from its start; raises what `append` does."""
        assert self.may_turn
        if self._newest[1 - self._turn] > self.told:
            # What is about to be written over must be known not to be missing.
            self.append([])
        self._turn = 1 - self._turn
        self._offset = _BLOCK

    def advance(self, synced: int) -> None:
        """Take note that so much is `synced`; any thread may."""
        with self._lock:
            self.synced = max(self.synced, synced)

    def append(self, entries: Sequence[Entry]) -> None:
        """Make a batch durable that `fits`.

        Raises NothingWritten if it has left no trace. If it fails otherwise nobody knows what the
        disk holds of it: never to be tried again.
        """
        self.open()
        if self._made:
            for fd in self._fds:
                self._disk.fsync(fd)
            self._disk.fsync(self._root)
            self._made = False
        if not any(self._newest):
            # If it were empty, the other file would not be missed.
            self._put(1 - self._turn, _BLOCK, [])
        self._offset += self._put(self._turn, self._offset, entries)

    def _put(self, turn: int, offset: int, entries: Sequence[Entry]) -> int:
        """Write a batch into a file and flush it; return how many bytes it takes there."""
        number, synced = self.last + 1, self.synced
        if synced == self.last and not entries:
            synced = number  # of itself there is nothing to be synced
        try:
            payload = b"".join([_pack(entry) for entry in entries])
            batch = _head(self._key, number, synced, payload) + payload
            data = batch.ljust(_blocks(len(batch)), b"\0")
        except MemoryError as error:  # it takes several times the size of the batch
            raise NothingWritten(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error
        fd = self._fds[turn]
        try:
            written = self._disk.pwrite(fd, data, offset)
        except OSError as error:
            raise NothingWritten(*error.args) from error
        self._write(fd, data[written:], offset + written)
        self._disk.fdatasync(fd)
        self.last = self._newest[turn] = number
        self.told = synced
        self.advance(synced)
        return len(data)

    def _write(self, fd: int, data: bytes, offset: int) -> None:
        while data:
            written = self._disk.pwrite(fd, data, offset)
            data = data[written:]
            offset += written

    def open(self) -> None:
        """Open the files; make them in full, not yet synced, where they are missing.

        If that fails, for want of room say, a journal that holds nothing leaves nothing behind.
        """
        if self._fds:
            return
        if self._stale:
            self._start_over()
        key = self._key or self._disk.random(_KEY_SIZE)
        title = _Title(key, self._size).as_bytes().ljust(_BLOCK, b"\0")
        fds: list[int] = []
        try:
            for name in NAMES:
                flags = os.O_RDWR | os.O_CREAT | _SAFELY
                fds.append(self._disk.open(name, flags, 0o666, dir_fd=self._root))
            sizes = [self._disk.fstat(fd).st_size for fd in fds]
            if min(sizes) < self._size:
                self._check_room()
            for fd, titled, size in zip(fds, self._titled, sizes, strict=True):
                if not titled:
                    self._write(fd, title, 0)
                # Written out, since a block that is only reserved changes metadata later.
                for offset in range(max(size, _BLOCK), self._size, 1 << 20):
                    self._write(fd, bytes(min(self._size - offset, 1 << 20)), offset)
                self._made = self._made or not titled or size < self._size
        except BaseException:
            with suppress(OSError):
                self._close(fds)
            if not self.last:
                # That they are gone need not last: there is nothing in them.
                for name in NAMES:
                    with suppress(OSError):
                        self._disk.unlink(name, dir_fd=self._root)
            raise
        self._fds, self._key, self._titled = fds, key, [True, True]

    def _start_over(self) -> None:
        """Take away the files that are there: beside a new one they would seem to be wanted."""
        last = self.last
        self.remove()
        self.last = self.synced = self.told = last

    def _check_room(self) -> None:
        """See that the journal does not take the room it is to serve."""
        free, _ = self._disk.free(self._root)
        if free < _SHARE * len(NAMES) * self._size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the files."""
        self._close(self._fds)

    def _close(self, fds: list[int]) -> None:
        """Close files, all of them, even if that fails for one."""
        with ExitStack() as closing:
            while fds:
                closing.callback(self._disk.close, fds.pop())


_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _size(entries: Sequence[Entry]) -> int:
    sizes = [_ENTRY.size + len(each.state) + len(each.data or b"") for each in entries]
    return _HEAD.size + sum(sizes)


def _blocks(size: int) -> int:
    """Round up to whole blocks."""
    return -(-size // _BLOCK) * _BLOCK


def _title(content: bytes) -> _Title | None:
    """What a file begins with, None if that is no title."""
    if len(content) < _TITLE.size:
        return None
    _, key, size, _ = _TITLE.unpack_from(content)
    title = _Title(key, size)
    return title if content.startswith(title.as_bytes()) else None


def _is_marked(content: bytes, mark: bytes) -> bool:
    title = _title(content)
    return title is not None and content.startswith(title.as_bytes(mark), _MARKS[mark])


def _was_ended(contents: Sequence[bytes]) -> bool:
    """Whether a journal of before there were titles was left by a clean stop: all is synced."""
    newest = (0, 0, 0)
    for content in contents:
        for offset in range(0, len(content) - _OLD_HEAD.size, _BLOCK):
            magic, number, synced, length, digest = _OLD_HEAD.unpack_from(content, offset)
            if magic == _MAGIC:
                begin = offset + _OLD_HEAD.size
                said = content[offset + len(_MAGIC) : begin - len(digest)]
                if hashlib.sha256(said + content[begin : begin + length]).digest() == digest:
                    newest = max(newest, (number, synced, length))
    number, synced, length = newest
    return number > 0 and synced + 1 == number and not length


def _head(key: bytes, number: int, synced: int, payload: bytes) -> bytes:
    said = _HEAD.pack(key, number, synced, len(payload), b"")[: -hashlib.sha256().digest_size]
    return said + hashlib.sha256(said + payload).digest()


def _batches(content: bytes, key: bytes) -> Iterator[_Batch]:
    """The whole batches in a file, of this turn and of earlier ones, in the order of places."""
    offset = _BLOCK
    while key and offset + _HEAD.size <= len(content):
        batch = _batch(content, offset, key)
        if batch is not None:
            yield batch
        offset = offset + _BLOCK if batch is None else batch.end


def _batch(content: bytes, offset: int, key: bytes) -> _Batch | None:
    if not content.startswith(key, offset):
        return None
    _, number, synced, length, _ = _HEAD.unpack_from(content, offset)
    begin = offset + _HEAD.size
    payload = content[begin : begin + length]
    if content[offset:begin] != _head(key, number, synced, payload):
        return None
    return _Batch(number, synced, payload, offset + _blocks(_HEAD.size + length))


def _pack(entry: Entry) -> bytes:
    length = -1 if entry.data is None else len(entry.data)
    head = _ENTRY.pack(entry.blob_id, len(entry.state), length)
    return b"".join((head, entry.state, entry.data or b""))


def _entries(payload: bytes) -> Iterator[Entry]:
    offset = 0
    while offset < len(payload):
        blob_id, state_length, data_length = _ENTRY.unpack_from(payload, offset)
        offset += _ENTRY.size
        state = payload[offset : offset + state_length]
        offset += state_length
        data = None
        if data_length >= 0:
            data = payload[offset : offset + data_length]
            offset += data_length
        yield Entry(blob_id, state, data)
