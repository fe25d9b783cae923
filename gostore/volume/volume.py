"""One data directory: its life, its uploads, its data and its records.

directory.py says what lies in it; commit.py has the write protocol, trash.py how directories leave.
What the collector does is in collect.py, and what happens at start in recovery/.  This room has the
only code that touches files.  Its methods may block and are called in worker threads.  They raise
the `OSError` of the `Disk` unless they say otherwise.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from twisted.logger import Logger

from gostore import statefile
from gostore.blob import Blob, Committed
from gostore.errors import ReadOnly, VolumeInUse, VolumeUnusable, strerror_of
from gostore.text import LAST_TIME, wall_clock
from gostore.volume.backlog import Backlog
from gostore.volume.changes import Stage, Sync
from gostore.volume.commit import WriteProtocol
from gostore.volume.directory import (
    DATA,
    NEW,
    PROBE,
    READ,
    STATE,
    DataDamaged,
    Directory,
    check_data,
    stage_name,
)
from gostore.volume.disk import NOT_REGULAR, Disk, UnsyncedDisk
from gostore.volume.journal.format import SIZE
from gostore.volume.journal.journal import Journal
from gostore.volume.kept import KeptStages
from gostore.volume.migrating import source_of
from gostore.volume.trash import Trash

#: In nanoseconds.
_SECOND = 1_000_000_000

#: How much `Volume.load` reads at once.
_SCRATCH = 128 * 1024

#: How much of a stage the kernel may hold back before it is told to write that out.
HELD_BACK = 8 * 1024 * 1024

#: How much is copied by one call, and why there may be no such call.
_COPIED = 64 * 1024 * 1024
_NO_COPY_RANGE = frozenset({errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM})

log = Logger()


class Volume:
    """The data directory at a path."""

    def __init__(
        self,
        path: bytes | str,
        *,
        disk: Disk | None = None,
        now: Callable[[], int] = wall_clock,
        sync: Sync = Sync.FILES,
        make: bool = True,
        journal_size: int = SIZE,
    ) -> None:
        """Describe the volume at an absolute ``path``; nothing is touched before `open`.

        ``now`` gives the wall clock in nanoseconds since the epoch.  ``sync`` is what makes a
        change durable. Without a syncfs(2) that can be trusted, JOURNAL is as good as FILES.
        ``make`` says whether `open` makes the directory if it is missing.
        ``journal_size`` is the size in bytes of each of the journal's files.
        """
        self.path = path
        self.disk = disk or (UnsyncedDisk() if sync is Sync.NONE else Disk())
        self.now = now
        self.directory = Directory(self.disk)
        self.trash = Trash(self.directory)
        self.kept = KeptStages(self.directory, self.trash)
        is_journaled = sync is not Sync.FILES
        self.backlog = Backlog(self.directory, self.trash, journaled=is_journaled)
        self.protocol = WriteProtocol(self.directory, self.trash, self.backlog, now)
        self._journal_size = journal_size
        self._flushes = sync is not Sync.NONE
        self._may_make = make
        self._made = False
        #: Whether the kernel can open a file, and read it, on condition of not waiting for a disk.
        self._opens_now = True
        self._reads_now = True
        #: The second in which `check` last found nothing wrong.
        self._checked = -1

    # -- life ---------------------------------------------------------------------------------

    def open(self, *, migrating: bool = False) -> None:
        """Make the directory if it is missing, open it, lock it, and sync what a crash left.

        Raises VolumeInUse if another daemon has it, VolumeUnusable if it cannot be served, or if it
        lacks blobs that are still to be moved there, unless that is what goes on, ``migrating``.
        """
        with self._refusing():
            if self._may_make and not os.path.isdir(self.path):
                self._make(os.path.abspath(self.path))
                self._made = True
            self._open_root(lock=True)
            if not migrating and (source := source_of(self.directory)) is not None:
                self.close()
                reason = f"it lacks blobs that are to come from {source or 'elsewhere'}"
                raise VolumeUnusable(self.shown_path, f"{reason}: go on with gostore migrate")
            self._check_writable()
            # After a mere kill -9 the page cache holds what was never synced. If we served that
            # now, a power cut could still take it back.
            self.disk.syncfs(self.directory.root)
            self.disk.fsync(self.directory.root)
        self.directory.syncfs_trusted = self.disk.syncfs_trusted(self.directory.root)

    def _make(self, path: bytes | str) -> None:
        """Make a directory and those above it, durably: a flush inside it would not do that."""
        above = os.path.dirname(path)
        if not os.path.lexists(above):
            self._make(above)
        os.makedirs(path, exist_ok=True)
        fd = self.disk.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.disk.fsync(fd)
        finally:
            self.disk.close(fd)

    def look(self, *, lock: bool = True) -> None:
        """Open the directory only to read in it; nothing is made, written or synced.

        Without ``lock`` a daemon may be serving it meanwhile. Raises as `open` does.
        """
        with self._refusing():
            self._open_root(lock=lock)

    def _open_root(self, *, lock: bool) -> None:
        self.directory.open(self.path)
        self.backlog.journal = Journal(
            self.disk, self.directory.root, self._journal_size, flushes=self._flushes
        )
        if lock:
            self.disk.lock(self.directory.root)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """If the directory cannot be opened, close it and raise an error that says why."""
        try:
            yield
        except OSError as error:
            with suppress(OSError):
                self.close()
            if isinstance(error, BlockingIOError):
                raise VolumeInUse(self.shown_path) from None
            reason = strerror_of(error)
            raise VolumeUnusable(self.shown_path, reason) from error

    def _check_writable(self) -> None:
        # By doing it: access(2) knows nothing of `chattr +i`.
        probe = NEW + PROBE
        try:
            self.disk.mkdir(probe, 0o777, dir_fd=self.directory.root)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return  # a full disk can still be read and deleted from
        try:
            self.disk.rmdir(probe, dir_fd=self.directory.root)
        except OSError as error:
            # Somebody has put something in its place. The mkdir has told what we wanted to know.
            if error.errno not in (errno.ENOTEMPTY, errno.ENOTDIR):
                raise

    def close(self, *, unmake: bool = False) -> None:
        """Let go of the directory and its lock.

        With ``unmake``, remove the directory if `open` made it and it is still empty.
        """
        try:
            self.backlog.journal.close()
        finally:
            self.directory.close()
            if unmake and self._made:
                with suppress(OSError):
                    os.rmdir(self.path)

    @property
    def shown_path(self) -> str:
        """The path, for people."""
        return os.fsdecode(self.path)

    @property
    def broken(self) -> str | None:
        """Why nothing may be written any more, once nobody can say what is on the disk."""
        return self.directory.broken

    def check(self, *, lately: bool = False) -> None:
        """Raise ReadOnly if nothing may be written; see `Directory.check`.

        With ``lately`` that is asked at most once a second: each batch of commits asks it again.
        """
        now = self.now()
        is_known = now // _SECOND == self._checked
        if lately and is_known and self.broken is None and not self.directory.is_hidden:
            return
        self._checked = -1
        self.directory.check()
        if now == LAST_TIME:
            raise ReadOnly("the clock is set to a year after 2261")
        self._checked = now // _SECOND

    @property
    def journal_fill(self) -> float:
        """The share of the redo journal that is written, from 0 to 1; 0 without one."""
        return self.backlog.journal.fill

    def free(self) -> tuple[int, int]:
        """Return (bytes free, bytes in all) of the file system.

        What small changes will take that have no files yet is not free.
        """
        free, total = self.disk.free(self.directory.root)
        return max(0, free - self.backlog.applier.room), total

    # -- staging ------------------------------------------------------------------------------

    def stage(self, blob: Blob) -> Stage:
        """Make `.new-<id>` for a blob whose body is still coming, with its Pending record.

        The record is not synced: it only tells people, and recovery, what the stage is.
        """
        name = stage_name(blob.id)
        self.directory.make(name)
        self.directory.write(f"{name}/{STATE}", statefile.dump(blob), sync=False)
        return Stage(blob, self.directory.create(f"{name}/{DATA}"))

    def write(self, stage: Stage, left: list[bytes]) -> None:
        """Append the pieces to the stage's data.raw; what is written is taken out of the list."""
        stage.held_back += sum(map(len, left))
        self.directory.append(stage.fd, left)
        if stage.held_back >= HELD_BACK:
            # While more comes, so that the flush at the end waits for little.
            stage.held_back = 0
            self.disk.write_back(stage.fd)

    def copy(self, source: int, target: int, size: int) -> None:
        """Copy an open file of ``size`` bytes to an empty one, sharing its blocks if that can be.

        Raises DataDamaged if the file ends before.
        """
        with suppress(OSError):  # any other way finds out what is wrong
            self.disk.clone(source, target)
            return
        offset = 0
        while offset < size:
            length = min(size - offset, _COPIED)
            try:
                copied = self.disk.copy_range(source, target, offset, length)
            except OSError as error:
                if error.errno not in _NO_COPY_RANGE or offset:
                    raise
                break
            if not copied:
                raise DataDamaged(f"{DATA} ends at byte {offset}")
            offset += copied
        while offset < size:
            piece = self.read(source, offset, min(size - offset, _SCRATCH))
            self.directory.append(target, [piece])
            offset += len(piece)

    def seal(self, stage: Stage) -> None:
        """Sync the stage's data.raw, which is complete, and close it: less for its commit to do."""
        self.directory.finish(stage.release(), sync=True)

    def drop(self, stage: Stage) -> None:
        """Give up a stage whose blob has just become Failure; its record says why, if it can.

        Its bytes are removed at once; the rest is for the collector.
        """
        self.directory.finish(stage.release(), sync=False)
        with suppress(OSError):
            self.disk.unlink(f"{stage.name}/{DATA}", dir_fd=self.directory.root)
        try:
            self.replace_state(stage.name, stage.blob, sync=False)
        except OSError as error:
            # Very likely the upload failed for the same reason: the disk is full, or broken.
            log.debug("No last record in {name}: {error}", name=stage.name, error=error)

    # -- reading ------------------------------------------------------------------------------

    def open_data(self, blob: Committed) -> int:
        """Open the bytes of a committed blob and return the descriptor.

        Raises FileNotFoundError if the blob has no directory (it was collected). Raises DataDamaged
        if an open can tell that the bytes are not those that were committed.
        """
        name = str(blob.id)
        try:
            fd = self.disk.open(f"{name}/{DATA}", READ, dir_fd=self.directory.root)
        except OSError as error:
            if error.errno == errno.ENOENT:
                self.disk.lstat(name, self.directory.root)
                raise DataDamaged(f"{DATA} is missing") from error
            if error.errno in NOT_REGULAR:
                raise DataDamaged(f"{DATA} is not a regular file") from error
            raise
        try:
            check_data(self.disk.fstat(fd), blob.size)
        except BaseException:
            self.disk.close(fd)
            raise
        return fd

    def open_data_now(self, blob: Committed) -> int | None:
        """As `open_data`, but return None if that needs the disk, or if anything is wrong."""
        if not self._opens_now:
            return None
        try:
            fd = self.disk.open_cached(f"{blob.id}/{DATA}", READ, self.directory.root)
        except OSError as error:
            # An old kernel, or a sandbox, would say these every time.
            self._opens_now = error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EPERM)
            return None
        try:
            check_data(self.disk.fstat(fd), blob.size)
        except (OSError, DataDamaged):
            with suppress(OSError):
                self.disk.close(fd)
            return None
        return fd

    def read(self, fd: int, offset: int, length: int) -> bytes:
        """Read exactly ``length`` bytes; raises DataDamaged if the file ends before."""
        data = self.disk.read_fully(fd, length, offset)
        if len(data) < length:
            raise DataDamaged(f"{DATA} ends at byte {offset + len(data)}")
        return data

    def read_now(self, fd: int, size: int) -> bytes | None:
        """Read a whole file of ``size`` bytes if that needs no disk, else return None.

        Raises DataDamaged if the file is not as `open_data` found it.
        """
        check_data(self.disk.fstat(fd), size)
        if not self._reads_now:
            return self.read(fd, 0, size) if self.disk.is_cached(fd, 0, size) else None
        data = bytearray(size)
        try:
            read = self.disk.preadv(fd, [data], 0, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # tmpfs has no such thing, for one
                self._reads_now = False
            elif error.errno != errno.EAGAIN:
                raise
            return None
        return bytes(data) if read == size else None

    def is_loaded(self, fd: int, offset: int, length: int) -> bool:
        """Say whether bytes are in the page cache, so that sending them needs no disk."""
        return self.disk.is_cached(fd, offset, length)

    def load(self, fd: int, offset: int, length: int) -> int:
        """Read bytes only to bring them into the page cache; return the descriptor.

        Raises DataDamaged if the file ends before.
        """
        # posix_fadvise(2) would be cheaper, but does not wait for the disk.
        # A scratch that fits in the processor's cache makes it one copy, from memory to nowhere.
        scratch = memoryview(bytearray(min(length, _SCRATCH)))
        while length:
            read = self.disk.preadv(fd, [scratch[:length]], offset)
            if not read:
                raise DataDamaged(f"{DATA} ends at byte {offset}")
            offset += read
            length -= read
        return fd

    def close_data(self, fd: int) -> None:
        """Close what `open_data` opened."""
        self.disk.close(fd)

    # -- records ------------------------------------------------------------------------------

    def replace_state(self, name: str, blob: Blob, *, sync: bool = True) -> None:
        """Put the blob's record in place of the one in a directory.

        It may be lost in a crash.  Without ``sync`` it may also be torn, and the old one lost.
        """
        self.directory.write_state_tmp(name, statefile.dump(blob), sync=sync)
        self.directory.put_state_in_place(name)

    def replace_states(self, blobs: Sequence[Blob]) -> list[tuple[int, Exception]]:
        """Put the records of blobs in place of those they have, with one flush for all.

        Returns the ids of those for which it failed, and why; raises OutcomeUnknown. The errors
        have no traceback: that holds this call, which holds them, and all blobs with them.
        """
        together = len(blobs) > 1 and self.directory.syncfs_trusted
        failures: list[tuple[int, Exception]] = []
        written = []
        for blob in blobs:
            try:
                self.directory.write_state_tmp(
                    str(blob.id), statefile.dump(blob), sync=not together
                )
            except OSError as error:
                failures.append((blob.id, error.with_traceback(None)))
            else:
                written.append(blob.id)
        if together:
            self.directory.sync_all()
        for blob_id in written:
            try:
                self.directory.put_state_in_place(str(blob_id))
            except OSError as error:
                failures.append((blob_id, error.with_traceback(None)))
        return failures

    def sync_tombstones(self, ids: Iterable[int]) -> None:
        """At start: see that what is found deleted stays so where the sync of `open` is no proof.

        The rename of a tombstone is all that the protocol can leave unsynced beside the root.
        """
        if not self.directory.syncfs_trusted:
            for blob_id in ids:
                self.directory.break_if_failing(self.directory.sync, str(blob_id))
