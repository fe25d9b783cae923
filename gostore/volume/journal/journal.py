"""The redo journal of one volume: read after a crash, appended to, and removed.

format.py says what is in its files, and which rules (J1 to J7) the code here keeps.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from threading import Lock

from gostore.volume.disk import NOT_REGULAR, Disk
from gostore.volume.journal.format import (
    BLOCK,
    CUT,
    ENDED,
    KEY_SIZE,
    MARKS,
    NAMES,
    SIZE,
    TITLE_SIZE,
    UNFLUSHED,
    Entry,
    Title,
    batches_in,
    is_marked,
    pack_batch,
    size_of_batch,
    title_of,
    was_stopped_without_titles,
)

#: The journal is made only where this many times its size is free.
_SHARE = 4

#: This share of a file is kept for deletions while nothing can be synced.
_DELETIONS = 16

_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotAJournal(Exception):
    """Somebody has put something else in the place of a file of the journal; str() says which."""

    def __str__(self) -> str:
        return f"{self.args[0]}, of the redo journal, is not a regular file"


class NothingWritten(OSError):
    """A batch or a mark could not be written, and the journal is as it was before."""


class Journal:
    """The journal of one volume.

    ``written``, ``synced`` and ``recorded_synced`` are numbers of batches, see format.py.
    ``damage`` says in words what `read` has found missing. Methods raise the `OSError` of the
    `Disk`.
    """

    def __init__(self, disk: Disk, root: int, size: int = SIZE, *, flushes: bool = True) -> None:
        """Describe the journal in the open directory ``root``; nothing is touched before `read`.

        ``size`` in bytes is that of each of its files. ``flushes`` says whether the disk flushes a
        batch when it is told to; if not, the files say so.
        """
        self._disk = disk
        self._flushes = flushes
        self._root = root
        self._size = size
        #: How many bytes of batches have been appended since the start.
        self.appended = 0
        self._fds: list[int] = []
        #: Whether the files have something new beside batches that is not synced yet.
        self._made = False
        self.damage: str | None = None
        self._lock = Lock()
        self._forget()

    def _forget(self) -> None:
        """Know of no files."""
        self._key = b""
        #: Which of the files have the key.
        self._titled = [False, False]
        #: Whether there are files that may take no more batches.
        self._stale = False
        self._turn = 0
        self._offset = BLOCK
        #: For each file, the number of its newest batch, and the end of what is needed of it.
        self._newest = [0, 0]
        self._ends = [0, 0]
        self.written = 0
        self.synced = 0
        self.recorded_synced = 0

    # -- after a crash ------------------------------------------------------------------------

    def read(self) -> list[Entry]:
        """Return the changes in the files that may be nowhere else, oldest first.

        If `damage` is not None afterwards, the files have held more. Raises NotAJournal.
        """
        self._forget()
        found = [self._bytes_of(name) for name in NAMES]
        halved = found.count(None) == 1
        contents = [content or b"" for content in found]
        titles = [title_of(content) for content in contents]
        ended = any(is_marked(content, ENDED) for content in contents)
        unflushed = any(is_marked(content, UNFLUSHED) for content in contents)
        known = {title.key for title in titles if title is not None}
        self._stale = halved or ended or any(is_marked(content, CUT) for content in contents)
        # A journal is flushed from its first batch on, or it is not.
        self._stale = self._stale or (bool(known) and unflushed is self._flushes)
        self.damage = None
        if len(known) == 1:
            (self._key,) = known
            self._titled = [title is not None for title in titles]
        elif (
            not halved
            and any(content.strip(b"\0") for content in contents)
            and not was_stopped_without_titles(contents)
        ):
            self.damage = "the first blocks of the redo journal are damaged, or of two journals"
        chains = [list(batches_in(content, self._key)) for content in contents]
        batches = {batch.number: batch for chain in chains for batch in chain}
        for turn, (name, content) in enumerate(zip(NAMES, contents, strict=True)):
            title, chain = titles[turn], chains[turn]
            # Both files had a title and their full size before the first batch (J6).
            if not batches or ended:
                pass
            elif title is None and not chain:
                what = "missing" if found[turn] is None else "damaged"
                self.damage = f"{name}, of the redo journal, is {what}"
            elif title is not None and len(content) < title.size and not is_marked(content, CUT):
                self.damage = f"{name}, of the redo journal, is cut off"
        self.written = max(batches, default=0)
        self.recorded_synced = max((batch.synced for batch in batches.values()), default=0)
        self.synced = self.written if ended else self.recorded_synced
        wanted = [batches[number] for number in sorted(batches) if number > self.synced]
        if len(wanted) < self.written - self.synced:
            missing = next(n for n in range(self.synced + 1, self.written) if n not in batches)
            self.damage = f"batch {missing} of the redo journal is damaged, or was never written"
        if unflushed:
            # A power cut may have left any of it, and nobody was promised more.
            self.damage = None
        for turn, chain in enumerate(chains):
            self._newest[turn] = max((batch.number for batch in chain), default=0)
            oldest = min(self.synced + 1, self.written)
            needed = [batch.end for batch in chain if batch.number >= oldest]
            self._ends[turn] = max(needed, default=BLOCK)
        # The next batch goes behind the newest: what is in the other file may be wanted.
        self._turn = self._newest.index(self.written)
        self._offset = self._ends[self._turn]
        return [entry for batch in wanted for entry in batch.entries()]

    def _bytes_of(self, name: str) -> bytes | None:
        """Read one of the files, as far as the journal reaches; None if it is not there."""
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

    def recall(self) -> dict[int, Entry]:
        """Return the newest entry of each blob that the files still have, synced or not.

        It goes back to the first batch that has been written over: what a deletion says is newer
        than what it deletes, so nothing here is older than a deletion that is missing.
        """
        batches = {
            batch.number: batch
            for name in NAMES
            for batch in batches_in(self._bytes_of(name) or b"", self._key)
        }
        entries: dict[int, Entry] = {}
        number = self.written
        while (batch := batches.get(number)) is not None:
            for entry in reversed(list(batch.entries())):
                entries.setdefault(entry.blob_id, entry)
            number -= 1
        return entries

    def shrink(self) -> None:
        """Give back the room behind the batches that `read` has found; it would find the same."""
        for turn in self._torn_first():
            # Where a full disk writes nothing in place, this makes no room either.
            with suppress(NothingWritten):
                self._mark(NAMES[turn], CUT, self._ends[turn])
        self._stale = True

    def remove(self) -> None:
        """Remove the files, whose changes are all `synced`; they are gone for good then."""
        for turn in self._torn_first():
            # Some file systems write nothing in place, and may be full. Without the mark a crash
            # between the removals costs a refused start, but no data.
            with suppress(NothingWritten):
                self._mark(NAMES[turn], ENDED)
        for name in NAMES:
            with suppress(FileNotFoundError):
                self._disk.unlink(name, dir_fd=self._root)
        self._disk.flushing.fsync(self._root)
        self._forget()

    def _torn_first(self) -> list[int]:
        """Which file to mark first: a mark may tear a title, and the other has to be whole then."""
        return sorted(range(len(NAMES)), key=self._titled.__getitem__)

    def _mark(self, name: str, mark: bytes, size: int | None = None) -> None:
        """Add a mark to a file, durably, and its title if that is torn; then cut it to a size.

        Raises NothingWritten if there is no room for it.
        """
        with suppress(FileNotFoundError):
            fd = self._disk.open(name, os.O_RDWR | _SAFELY, dir_fd=self._root)
            try:
                title = title_of(self._disk.pread(fd, TITLE_SIZE, 0))
                is_torn = title is None and bool(self._key)
                if is_torn:
                    title = Title(self._key, self._disk.fstat(fd).st_size)
                if title is not None:
                    try:
                        if is_torn:
                            # A power cut has torn the first block when it got the mark before. If
                            # the next one tears the other file's, one of them has to say it all.
                            self._write(fd, title.as_bytes(), 0)
                        self._write(fd, title.as_bytes(mark), MARKS[mark])
                    except OSError as error:
                        raise NothingWritten(*error.args) from error
                    self._disk.flushing.fdatasync(fd)
                if size is not None:
                    self._disk.ftruncate(fd, size)
            finally:
                self._disk.close(fd)

    # -- appending ----------------------------------------------------------------------------

    def fits(self, entries: Sequence[Entry]) -> bool:
        """Whether the batch fits in the file whose turn it is.

        Until the other file is synced, this keeps one block free for the batch that will record it,
        and some for deletions: these have to be possible when a full disk lets nothing be synced.
        """
        left = 0 if self.may_turn else BLOCK
        if left and any(entry.data is not None for entry in entries):
            left += self._size // _DELETIONS // BLOCK * BLOCK
        return self._offset + size_of_batch(entries) + left <= self._size

    @property
    def fill(self) -> float:
        """The share of the file whose turn it is that is written, from 0 to 1."""
        return self._offset / self._size if self._fds else 0.0

    @property
    def may_turn(self) -> bool:
        """Whether all is synced that is in the other file."""
        return self.turns_at <= self.synced

    @property
    def turns_at(self) -> int:
        """The number up to which batches must be synced before the other file is begun anew."""
        return self._newest[1 - self._turn]

    @property
    def is_half_full(self) -> bool:
        """Whether half of the file whose turn it is has been used."""
        return self._offset * 2 >= self._size

    def turn(self) -> None:
        """Go on in the other file, from its start; raises what `append` does."""
        assert self.may_turn
        if self.turns_at > self.recorded_synced:
            # A start must know that it need not miss what is about to be written over (J5).
            self.append([])
        self._turn = 1 - self._turn
        self._offset = BLOCK

    def advance(self, synced: int) -> None:
        """Take note that so much is `synced`; any thread may."""
        with self._lock:
            self.synced = max(self.synced, synced)

    def append(self, entries: Sequence[Entry]) -> None:
        """Make a batch durable that `fits`.

        Raises NothingWritten if it has left no trace. If it fails otherwise nobody knows how much
        of it is on the disk: never try it again.
        """
        self.open()
        if self._made:
            for fd in self._fds:
                self._disk.flushing.fsync(fd)
            self._disk.flushing.fsync(self._root)
            self._made = False
        if not any(self._newest):
            # If the other file were empty, nobody would miss it (J6).
            self._put(1 - self._turn, BLOCK, [])
        self._offset += self._put(self._turn, self._offset, entries)

    def _put(self, turn: int, offset: int, entries: Sequence[Entry]) -> int:
        """Write a batch into a file and flush it; return how many bytes it takes there."""
        number, synced = self.written + 1, self.synced
        if synced == self.written and not entries:
            synced = number  # an empty batch has nothing to sync
        try:
            data = pack_batch(self._key, number, synced, entries)
        except MemoryError as error:
            raise NothingWritten(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error
        fd = self._fds[turn]
        try:
            written = self._disk.pwrite(fd, data, offset)
        except OSError as error:
            raise NothingWritten(*error.args) from error
        self._write(fd, data[written:], offset + written)
        self._disk.fdatasync(fd)
        self.written = self._newest[turn] = number
        self.recorded_synced = synced
        self.appended += len(data)
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
        key = self._key or self._disk.random(KEY_SIZE)
        title = Title(key, self._size)
        block = title.as_bytes()
        if not self._flushes:
            block = block.ljust(MARKS[UNFLUSHED], b"\0") + title.as_bytes(UNFLUSHED)
        block = block.ljust(BLOCK, b"\0")
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
                    self._write(fd, block, 0)
                # Written out, since a block that is only reserved changes metadata later.
                for offset in range(max(size, BLOCK), self._size, 1 << 20):
                    self._write(fd, bytes(min(self._size - offset, 1 << 20)), offset)
                self._made = self._made or not titled or size < self._size
        except BaseException:
            with suppress(OSError):
                self._close(fds)
            if not self.written:
                # The removal need not be durable: there is nothing in them.
                for name in NAMES:
                    with suppress(OSError):
                        self._disk.unlink(name, dir_fd=self._root)
            raise
        self._fds, self._key, self._titled = fds, key, [True, True]

    @property
    def goes_on(self) -> bool:
        """Whether batches can be appended to the files as `read` has found them."""
        try:
            if not self._stale and all(self._titled):
                self.open()
                return not self._made
        except OSError:
            pass
        return False

    def _start_over(self) -> None:
        """Remove the old files: beside a new one they would seem to be wanted."""
        written = self.written
        self.remove()
        self.written = self.synced = self.recorded_synced = written

    def _check_room(self) -> None:
        """See that the journal does not take the room it is to serve."""
        free, _ = self._disk.free(self._root)
        if free < _SHARE * len(NAMES) * self._size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def is_removed(self) -> bool:
        """Say whether somebody has removed one of the files that are open."""
        try:
            return any(self._disk.fstat(fd).st_nlink == 0 for fd in self._fds)
        except OSError:
            return False  # the failure says nothing about the files

    def close(self) -> None:
        """Close the files."""
        self._close(self._fds)

    def _close(self, fds: list[int]) -> None:
        """Close files, all of them, even if that fails for one."""
        with ExitStack() as closing:
            while fds:
                closing.callback(self._disk.close, fds.pop())
