"""The redo journal: what lets small changes be answered after one flush instead of four each.

A change is written to its files as ever, unsynced; its record and its bytes are appended here; one
``fdatasync`` then makes a whole batch durable, before the rename that commits each of them.  The
journal does not replace the files: a start writes again whatever lives, the journal holds and the
directory lacks or has torn (recovery.py), and then the journal forgets it.

Two files take turns, ``.journal-0`` and ``.journal-1``, allocated once so that an append changes no
metadata.  Each holds a chain of batches from its start on, every batch at a multiple of 4 KiB, so
that writing one never touches a block of another::

    8 bytes   "gostoreJ"
    uint64    number of the batch; the next in the chain has the next number
    uint64    the number up to which all batches were known to be in their files
    uint32    length of the payload
    32 bytes  SHA-256 of all the above but the magic, and the payload
    payload   entries: uint32 id, uint32 length of the state file, int32 length of data.raw or -1,
              and the two; -1 means that the blob is deleted, its state file says so

All integers are little-endian.  A batch that is torn, or of an earlier turn, ends the chain.  A
file is begun anew only when `Journal.synced` covers all of it (`Volume.checkpoint`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress

from attrs import define, frozen

from gostore.disk import NOT_REGULAR, Disk

NAMES = (".journal-0", ".journal-1")

#: Bytes of each file.  A second's worth of small blobs; larger ones cost more disk for no gain.
SIZE = 8 * 1024 * 1024

#: It is made only where this many times as much is free.
_SHARE = 4

_BLOCK = 4096
_MAGIC = b"gostoreJ"
_HEAD = struct.Struct("<8sQQI32s")
_ENTRY = struct.Struct("<IIi")


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


@define
class _Batch:
    number: int
    synced: int
    payload: bytes


class NothingWritten(OSError):
    """A batch could not be appended, and the journal is as it was before."""


class Journal:
    """The journal of one volume.

    ``last`` is the number of the newest batch, ``synced`` that up to which every change is durable
    in its own files, ``told`` what the newest batch says of that.  Methods raise the
    `OSError` of the `Disk`.
    """

    def __init__(self, disk: Disk, root: int, size: int = SIZE) -> None:
        """Describe the journal in the open directory ``root``; nothing is touched before `read`.

        ``size`` in bytes is that of each of its files.
        """
        self._disk = disk
        self._root = root
        self._size = size
        self._fds: list[int] = []
        #: Whether the files, or one of them, have been made and not been synced yet.
        self._made = False
        self._turn = 0
        self._offset = 0
        #: The number of the newest batch in each file, and where `read` has found its chain to end.
        self._newest = [0, 0]
        self._ends = [0, 0]
        self.last = 0
        self.synced = 0
        self.told = 0

    # -- after a crash ------------------------------------------------------------------------

    def read(self) -> list[Entry]:
        """Return what the files hold of changes that may be nowhere else, oldest first.

        Raises NotAJournal.
        """
        batches: dict[int, _Batch] = {}
        self._ends = [0, 0]
        for turn, name in enumerate(NAMES):
            for batch in self._chain(name):
                batches[batch.number] = batch
                self._newest[turn] = batch.number
                self._ends[turn] += _blocks(_HEAD.size + len(batch.payload))
        self.last = max(self._newest)
        self.synced = self.told = max((batch.synced for batch in batches.values()), default=0)
        # The next batch begins the file that is older, so that the newest chain stays whole.
        self._turn = self._newest.index(min(self._newest))
        self._offset = 0
        # Before a gap lies what is left of a file that was being begun anew, and so all synced: to
        # do only some of that again would bring back what the others took away.
        wanted = []
        number = self.last
        while number > self.synced and number in batches:
            wanted.append(batches[number])
            number -= 1
        return [entry for batch in reversed(wanted) for entry in _entries(batch.payload)]

    def _chain(self, name: str) -> Iterator[_Batch]:
        """The batches from the start of a file, as far as they follow one another."""
        try:
            fd = self._disk.open(name, os.O_RDONLY | _SAFELY, dir_fd=self._root)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in NOT_REGULAR:
                raise NotAJournal(name) from error
            raise
        try:
            found = self._disk.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise NotAJournal(name)
            size = found.st_size
            offset = 0
            expected = None
            while len(head := self._read(fd, offset, _HEAD.size)) == _HEAD.size:
                magic, number, synced, length, digest = _HEAD.unpack(head)
                if magic != _MAGIC or number != (expected or number) or length > size:
                    return
                payload = self._read(fd, offset + _HEAD.size, length)
                if _digest(number, synced, length, payload) != digest:
                    return
                yield _Batch(number, synced, payload)
                expected = number + 1
                offset += _blocks(_HEAD.size + length)
        finally:
            self._disk.close(fd)

    def _read(self, fd: int, offset: int, length: int) -> bytes:
        """Read so many bytes, or up to the end of the file."""
        data = b""
        while len(data) < length:
            piece = self._disk.pread(fd, length - len(data), offset + len(data))
            if not piece:
                break
            data += piece
        return data

    def shrink(self) -> None:
        """Give back the room behind the chains that `read` has found; it would find the same."""
        for turn, name in enumerate(NAMES):
            with suppress(FileNotFoundError):
                fd = self._disk.open(name, os.O_RDWR | _SAFELY, dir_fd=self._root)
                try:
                    self._disk.ftruncate(fd, self._ends[turn])
                finally:
                    self._disk.close(fd)

    def remove(self) -> None:
        """Remove the files, whose changes are all `synced`.

        The older one goes first, durably: were it alone a start would do again only what it holds,
        and bring back what the newer one took away.
        """
        older, newer = sorted((0, 1), key=self._newest.__getitem__)
        for turn in (older, newer):
            with suppress(FileNotFoundError):
                self._disk.unlink(NAMES[turn], dir_fd=self._root)
                self._disk.fsync(self._root)
        self._newest = [0, 0]
        self.last = self.synced = self.told = 0

    # -- appending ----------------------------------------------------------------------------

    def fits(self, entries: Sequence[Entry]) -> bool:
        """Whether the batch fits in the file whose turn it is."""
        return self._offset + _blocks(_size(entries)) <= self._size

    @property
    def may_turn(self) -> bool:
        """Whether the other file can be begun anew."""
        return self._newest[1 - self._turn] <= self.synced

    def turn(self) -> None:
        """Go on in the other file, from its start."""
        assert self.may_turn
        self._turn = 1 - self._turn
        self._offset = 0

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
        number, synced = self.last + 1, self.synced
        try:
            payload = b"".join([_pack(entry) for entry in entries])
            head = (number, synced, len(payload))
            batch = _HEAD.pack(_MAGIC, *head, _digest(*head, payload)) + payload
            data = batch.ljust(_blocks(len(batch)), b"\0")
        except MemoryError as error:  # it takes several times the size of the batch
            raise NothingWritten(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error
        fd = self._fds[self._turn]
        offset = self._offset
        while data:
            try:
                written = self._disk.pwrite(fd, data, offset)
            except OSError as error:
                if offset == self._offset:
                    raise NothingWritten(*error.args) from error
                raise
            data = data[written:]
            offset += written
        self._disk.fdatasync(fd)
        self.last = self._newest[self._turn] = number
        self.told = synced
        self._offset = offset

    def open(self) -> None:
        """Open the files; make them in full, not yet synced, where they are missing.

        If that fails, for want of room say, a journal that holds nothing leaves nothing behind.
        """
        if self._fds:
            return
        fds: list[int] = []
        try:
            for name in NAMES:
                flags = os.O_RDWR | os.O_CREAT | _SAFELY
                fds.append(self._disk.open(name, flags, 0o666, dir_fd=self._root))
                offset = self._disk.fstat(fds[-1]).st_size
                if offset < self._size:
                    self._check_room()
                self._made = self._made or offset < self._size
                # Written out, since a block that is only reserved changes metadata later.
                while offset < self._size:
                    zeros = bytes(min(self._size - offset, 1 << 20))
                    offset += self._disk.pwrite(fds[-1], zeros, offset)
        except BaseException:
            with suppress(OSError):
                self._close(fds)
            if not self.last:
                # That they are gone need not last: there is nothing in them.
                for name in NAMES:
                    with suppress(OSError):
                        self._disk.unlink(name, dir_fd=self._root)
            raise
        self._fds = fds

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


def _digest(number: int, synced: int, length: int, payload: bytes) -> bytes:
    return hashlib.sha256(struct.pack("<QQI", number, synced, length) + payload).digest()


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
