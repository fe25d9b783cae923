"""One data directory: its layout, and the write protocol.

What lies in it (everything else is foreign: reported, never touched)::

    <id>/                       a committed blob; the id in canonical decimal
        data.raw                    its bytes
        blob_state.base64.json      its record, see statefile.py
    .new-<id>/                  a stage: an upload that is not committed
    .trash-<id>-<n>/            on its way to be removed
    .quarantine-<id>-<n>/       set aside: damaged
    .quarantine-<id>-<n>-tie/   set aside: whole, but another blob has its location
    .journal-0, .journal-1      the redo journal, see journal.py

So is what bears one of these names without a state file, and holds anything else than these files.

A blob is committed by one rename, `.new-<id>` to `<id>`, after everything in it was synced, and
taken away by one rename to `.trash-*` (or, if there is no room for that, with its state file); so a
directory with a plain number and a state file is always whole.  A state file is only ever replaced
as a whole, by a rename inside its directory.

Retiring and collecting are in sweep.py, what happens at start in recovery.py; the three are one
room, and the only code that touches files.  Its methods may block and are called in worker
threads.  They raise the `OSError` of the `Disk` unless they say otherwise.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeGuard, TypeVar

from attrs import define
from twisted.logger import Logger

from gostore import statefile
from gostore.blob import Blob, Committed, State
from gostore.errors import (
    BadRecord,
    DiskFailed,
    ReadOnly,
    StoreError,
    VolumeInUse,
    VolumeUnusable,
    as_store_error,
    is_no_space,
    strerror_of,
)
from gostore.volume.disk import NOT_REGULAR, Disk, UnsyncedDisk
from gostore.volume.journal.journal import SIZE, Entry, Journal, NotAJournal, NothingWritten

DATA = "data.raw"
STATE = statefile.NAME
STATE_TMP = STATE + ".tmp"
#: All that gostore makes inside a blob's directory, in the order in which it is removed: without
#: its state file a directory is no blob, so one that is half removed cannot come back.
CONTENTS = (STATE, STATE_TMP, DATA)

NEW = ".new-"
#: The stage made, and removed at once, to see whether the directory can be written.
PROBE = "probe"
TRASH = ".trash-"
QUARANTINE = ".quarantine-"
TIE = "-tie"

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_NONBLOCK: a FIFO that somebody put in a file's place must not hold us.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: How much `Volume.load` reads at once.
_SCRATCH = 128 * 1024

#: writev(2) takes no more pieces than this (IOV_MAX).
_PIECES = 1024

log = Logger()


class DataDamaged(Exception):
    """data.raw is not a regular file of the size that was recorded; str() says what it is."""


@define(eq=False)
class Stage:
    """An upload in `.new-<id>`: its record and its open data.raw (-1 once closed)."""

    blob: Blob
    fd: int

    @property
    def name(self) -> str:
        """The stage's directory."""
        return stage_name(self.blob.id)


def stage_name(blob_id: int) -> str:
    """Return the name of the stage of a blob."""
    return f"{NEW}{blob_id}"


@define(eq=False)
class Commit:
    """Make a blob exist: its finished record, and its bytes or the stage that holds them.

    ``error`` says, after `Volume.commit`, why it is not done; None: it is, durably.
    """

    blob: Blob
    data: bytes | Stage
    error: StoreError | None = None
    #: What the state file holds, once it is written.
    record: bytes = b""


@define(eq=False)
class Delete:
    """Make a blob not exist, for good.

    ``elders`` are the ids of superseded blobs of its location that may still be on the disk: what
    would come back if this one just vanished.  ``error`` as for `Commit`.
    """

    blob: Committed
    elders: Sequence[int]
    error: StoreError | None = None
    #: What the state file holds, once it is written.
    record: bytes = b""


@define(eq=False)
class Discard:
    """Remove damaged directories, the last name only when the others are durably gone.

    ``newest`` is the generation up to which blobs had been committed when it was decided.
    """

    names: Sequence[str]
    newest: int
    error: StoreError | None = None


Change = Commit | Delete | Discard

C = TypeVar("C", Commit, Delete, "Commit | Delete")
T = TypeVar("T")


class OutcomeUnknown(Exception):
    """A sync failed after its rename: nobody can say what a restart will find."""


class Volume:
    """The data directory at a path; the module says what lies in it."""

    def __init__(
        self,
        path: bytes | str,
        *,
        disk: Disk | None = None,
        now: Callable[[], int] = time.time_ns,
        sync: str = "files",
        journal_size: int = SIZE,
    ) -> None:
        """Describe the volume at an absolute ``path``; nothing is touched before `open`.

        ``now`` gives the wall clock in nanoseconds since the epoch.  ``sync`` is what makes a
        change durable: "files", a flush of each file and directory; "journal", for small ones the
        redo journal, of ``journal_size`` bytes a file, where `checkpoint` can be trusted; "none",
        nothing.
        """
        self.path = path
        self.disk = disk or (UnsyncedDisk() if sync == "none" else Disk())
        self.now = now
        self.root = -1
        self._made = False
        #: Why nothing may be written any more, once a sync of something committed has failed.
        self.broken: str | None = None
        #: What `trash` has put aside and nobody has removed yet: name -> the id it bore, if any.
        self.trashed: dict[str, int | None] = {}
        #: Of what `remove` could not remove, why.
        self.kept: dict[str, str] = {}
        self.journal = Journal(self.disk, -1)
        self._journaled = sync == "journal"
        self._journal_size = journal_size
        #: The number of the newest batch of the journal whose renames are done.
        self._revealed = 0
        self._syncfs_trusted = False
        #: Whether files can be opened, and read, with the condition that no disk is waited for.
        self._opens_now = True
        self._reads_now = True
        self._serial = 0
        #: Whether a look at the directory tells that it has been removed.
        self._has_links = False

    # -- life ---------------------------------------------------------------------------------

    def open(self, *, make: bool = True) -> None:
        """Make the directory if it is missing, open it, lock it, and sync what a crash left.

        Without ``make`` a missing directory is an error. Raises VolumeInUse if another daemon has
        it, VolumeUnusable if it cannot be served.
        """
        with self._refusing():
            if make and not os.path.isdir(self.path):
                self._make(os.path.abspath(self.path))
                self._made = True
            self._open_root(lock=True)
            self._check_writable()
            # After a mere kill -9 the page cache holds what was never synced: to serve that now
            # and to lose it in a power cut would be to take back an answer.
            self.disk.syncfs(self.root)
            self.disk.fsync(self.root)
            # Some file systems (FUSE) count none.
            self._has_links = self.disk.fstat(self.root).st_nlink > 0
        self._syncfs_trusted = self.disk.syncfs_trusted(self.root)

    def _make(self, path: bytes | str) -> None:
        """Make a directory, and those above it, to last: a flush of what is in it does not."""
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
            self._open_root(lock)

    def _open_root(self, lock: bool) -> None:
        self.root = self.disk.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.journal = Journal(self.disk, self.root, self._journal_size)
        if lock:
            self.disk.lock(self.root)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Say why the directory cannot be had, and let go of it."""
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
            self.disk.mkdir(probe, 0o777, dir_fd=self.root)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return  # a full disk can still be read and deleted from
        try:
            self.disk.rmdir(probe, dir_fd=self.root)
        except OSError as error:
            # Somebody has put something in its place: what may be written is asked before that.
            if error.errno not in (errno.ENOTEMPTY, errno.ENOTDIR):
                raise

    def close(self, *, unmake: bool = False) -> None:
        """Let go of the directory and its lock.

        With ``unmake`` a directory that `open` has made, and that is empty still, is removed.
        """
        try:
            self.journal.close()
        finally:
            if self.root >= 0:
                root, self.root = self.root, -1
                self.disk.close(root)
            if unmake and self._made:
                with suppress(OSError):
                    os.rmdir(self.path)

    @property
    def shown_path(self) -> str:
        """The path, for people."""
        return os.fsdecode(self.path)

    def check(self) -> None:
        """Raise ReadOnly if nothing may be written any more, or the directory has been removed.

        That asks for what the kernel has in memory, and waits for no disk.
        """
        if self.broken is None and self._is_removed():
            self.give_up("the data directory has been removed")
        if self.broken is not None:
            raise ReadOnly(self.broken)

    def _is_removed(self) -> bool:
        try:
            return self._has_links and self.disk.fstat(self.root).st_nlink == 0
        except OSError:
            return False  # which says nothing of the directory

    def free(self) -> tuple[int, int]:
        """Return (bytes free, bytes in all) of the file system."""
        return self.disk.free(self.root)

    # -- staging ------------------------------------------------------------------------------

    def stage(self, blob: Blob) -> Stage:
        """Make `.new-<id>` for a blob whose body is still coming, with its Pending record.

        The record is not synced: it only tells people, and recovery, what the stage is.
        """
        name = stage_name(blob.id)
        self.disk.mkdir(name, 0o777, dir_fd=self.root)
        self._write_file(f"{name}/{STATE}", statefile.dump(blob), sync=False)
        return Stage(blob, self._create(f"{name}/{DATA}"))

    def write(self, stage: Stage, pieces: Sequence[bytes]) -> None:
        """Append the pieces to the stage's data.raw."""
        self._write_all(stage.fd, pieces)

    def seal(self, stage: Stage) -> None:
        """Sync the stage's data.raw, which is complete, and close it; `commit` need not, then."""
        self._close_data(stage, sync=True)

    def drop(self, stage: Stage) -> None:
        """Give up a stage whose blob has just become Failure; its record says why, if it can.

        What it wrote gives its room back at once; the rest is for the collector.
        """
        self._close_data(stage, sync=False)
        with suppress(OSError):
            self.disk.unlink(f"{stage.name}/{DATA}", dir_fd=self.root)
        try:
            self.replace_state(stage.name, stage.blob, sync=False)
        except OSError as error:
            # Very likely what made the upload fail: the disk is full, or broken.
            log.debug("No last record in {name}: {error}", name=stage.name, error=error)

    def _close_data(self, stage: Stage, sync: bool) -> None:
        if stage.fd >= 0:
            fd, stage.fd = stage.fd, -1
            try:
                if sync:
                    self.disk.fsync(fd)
            finally:
                self.disk.close(fd)

    # -- committing ---------------------------------------------------------------------------

    def commit(self, changes: Sequence[Change]) -> None:
        """Carry out the changes, durably; each one's ``error`` says why it is not done, if so.

        The steps of the write protocol (docs/architecture.md) are taken for the whole batch
        together: everything is written, everything is synced, everything is renamed, and a sync
        of the root, begun after the last rename, makes the renames last.  Should that one fail,
        `broken` is set, and the changes it was for have failed with an unknown outcome.
        """
        if self.broken is not None:
            for change in changes:
                change.error = ReadOnly(self.broken)
            return
        together = len(changes) > 1 and self._syncfs_trusted
        if self._journaled and self._syncfs_trusted and self._open_journal():
            small = [change for change in changes if _is_small(change)]
            self._commit_small(small)
            changes = [change for change in changes if not _is_small(change)]
            if changes and not self._tell_journal(changes):
                return
        if changes:
            self._commit_each(changes, together)

    def _open_journal(self) -> bool:
        """Have the journal ready; without one, small changes are flushed as large ones are."""
        try:
            self.journal.open()
        except (OSError, MemoryError) as error:
            # A small disk, or a full one. It is not tried again: to find out costs as much as it.
            self._do_without_journal(error)
        return self._journaled

    def _do_without_journal(self, error: OSError | MemoryError) -> None:
        self._journaled = False
        log.warn(
            "No room for a journal ({error}): small blobs are stored more slowly",
            error=as_store_error(error),
        )

    def _commit_small(self, changes: Sequence[Commit | Delete]) -> None:
        """Make small changes durable by one flush, of the redo journal.

        The journal comes before the renames: what a crash leaves torn under a plain number is then
        in the journal, to be written again.
        """
        for change in changes:
            if isinstance(change, Commit):
                _attempt(change, self._prepare_blob, False)
            else:
                _attempt(change, self._prepare_tombstone, False)
        good = _good(changes)
        try:
            try:
                if good:
                    self._append([_entry(change) for change in good])
            except NothingWritten as error:
                _fail(good, error)
                good = []
            for change in good:
                if isinstance(change, Commit):
                    _attempt(change, self._reveal_blob)
                else:
                    _attempt(change, self._reveal_tombstone)
            self._revealed = self.journal.last
            vanishing = [each for each in changes if isinstance(each, Delete) and each.error]
            # What could not be renamed is not done, and no start may find it in the journal.
            if vanishing or len(_good(good)) < len(good):
                self.forget_journal()
                self._vanish_each(vanishing)
        except OutcomeUnknown as unknown:
            for change in changes:
                change.error = change.error or DiskFailed(str(unknown))

    def _tell_journal(self, changes: Sequence[Change]) -> bool:
        """Tell the journal of the last checkpoint before changes that it is not told of.

        What a number stood for was collected after one.  With a new bearer in its place a start
        cannot do all of that again, a deletion say, and so has to leave alone the rest of it.
        """
        try:
            self.tell_journal()
        except OutcomeUnknown as unknown:
            for change in changes:
                change.error = DiskFailed(str(unknown))
            return False
        except NothingWritten as error:
            _fail(changes, error)
            return False
        return True

    def tell_journal(self) -> None:
        """Tell the journal of the last checkpoint, if it is not told of it.

        Raises OutcomeUnknown or NothingWritten.
        """
        if self.journal.synced > self.journal.told:
            self._append([])

    def _append(self, entries: Sequence[Entry]) -> None:
        """Append a batch to the journal; raises OutcomeUnknown or NothingWritten."""
        if not self.journal.fits(entries):
            if not self.journal.may_turn:
                self.checkpoint()
            self._break_if_failing(Journal.turn, self.journal)
        self._break_if_failing(self.journal.append, entries)
        if not entries:
            self._revealed = self.journal.last

    def checkpoint(self) -> None:
        """Flush what the journal made durable to its own files; raises OutcomeUnknown.

        May be called while another thread commits: what is revealed by now is covered.
        """
        revealed = self._revealed
        if revealed > self.journal.synced:
            self._break_if_failing(self.disk.syncfs, self.root)
            self.journal.advance(revealed)

    @property
    def checkpoint_due(self) -> bool:
        """Whether commits will soon have to wait for a `checkpoint`."""
        return not self.journal.may_turn

    def forget_journal(self) -> None:
        """See that a start brings back nothing from the journal; raises OutcomeUnknown.

        Before something is done that the journal is not told of, and at the end.
        """
        self.checkpoint()
        if self.journal.told < self.journal.last:
            try:
                self._append([])
            except NothingWritten as error:
                raise OutcomeUnknown(self._break(error)) from error

    def _commit_each(self, changes: Sequence[Change], together: bool) -> None:
        commits = [change for change in changes if isinstance(change, Commit)]
        deletes = [change for change in changes if isinstance(change, Delete)]
        for commit in commits:
            _attempt(commit, self._prepare_blob, not together)
        for delete in deletes:
            _attempt(delete, self._prepare_tombstone, not together)
        if together:
            try:
                self.disk.syncfs(self.root)
            except OSError as error:
                # Not one of the batch is known to be whole; but none has been renamed either.  What
                # only the journal holds, or an upload that is still coming, may be what could not
                # be written: no later syncfs can tell, for the kernel reports a failure once.  The
                # upload's own fsync can.
                if self.journal.last:
                    self._break(error)
                self._syncfs_trusted = False
                _fail(changes, error)
                return
        try:
            for commit in commits:
                _attempt(commit, self._reveal_blob)
            if together and deletes:
                for delete in deletes:
                    _attempt(delete, self._reveal_tombstone)
                self._break_if_failing(self.disk.syncfs, self.root)
            else:
                if _good(commits):
                    self.sync_root()
                for delete in deletes:
                    _attempt(delete, self._entomb)
            # A tombstone needs room, and a directory to stand in.  To delete, neither is needed.
            self._vanish_each([delete for delete in deletes if delete.error is not None])
            for change in changes:
                if isinstance(change, Discard):
                    self.forget_journal()
                    _attempt(change, self._vanish, change.names, change.newest)
        except OutcomeUnknown as unknown:
            for change in changes:
                change.error = change.error or DiskFailed(str(unknown))

    def _prepare_blob(self, commit: Commit, sync: bool) -> None:
        name = stage_name(commit.blob.id)
        record = commit.record = statefile.dump(commit.blob)
        if isinstance(commit.data, Stage):
            self._close_data(commit.data, sync)
            self._write_file(f"{name}/{STATE_TMP}", record, sync)
            self._reveal_state(name)
        else:
            self.disk.mkdir(name, 0o777, dir_fd=self.root)
            self._write_file(f"{name}/{DATA}", commit.data, sync)
            self._write_file(f"{name}/{STATE}", record, sync)
        if sync:
            self._sync_directory(name)

    def _reveal_blob(self, commit: Commit) -> None:
        self._rename(stage_name(commit.blob.id), str(commit.blob.id))

    def _prepare_tombstone(self, delete: Delete, sync: bool) -> None:
        blob = self.record_of(delete.blob)
        # A rename that was reported as failed, or somebody's hand, may have made it one already.
        if blob.state is not State.FAILURE:
            blob.delete(self.now())
        delete.record = statefile.dump(blob)
        self._write_state_tmp(str(blob.id), delete.record, sync)

    def _reveal_tombstone(self, delete: Delete) -> None:
        self._reveal_state(str(delete.blob.id))

    def _entomb(self, delete: Delete) -> None:
        """Reveal a tombstone, to last; raises OutcomeUnknown, or OSError if nothing is done."""
        with self._flushing(str(delete.blob.id)):
            self._reveal_tombstone(delete)

    @contextmanager
    def _flushing(self, name: str) -> Iterator[None]:
        """Make what is done in a directory last; raises OutcomeUnknown."""
        # Opened before, so that to want a descriptor is not to want to know what became of it.
        fd = self.disk.open(name, _DIRECTORY, dir_fd=self.root)
        try:
            yield
            self._break_if_failing(self.disk.fsync, fd)
        finally:
            with suppress(OSError):  # which would say nothing about what is done
                self.disk.close(fd)

    def _vanish_each(self, deletes: Sequence[Delete]) -> None:
        for delete in deletes:
            delete.error = None
            names = [str(blob_id) for blob_id in (*delete.elders, delete.blob.id)]
            _attempt(delete, self._vanish, names, delete.blob.generation)

    def _vanish(self, _change: Change, names: Sequence[str], newest: int) -> None:
        """Delete without a tombstone: the last name goes only when its elders are durably gone.

        An elder may have been collected since, and its number given to a blob that is younger than
        ``newest``: that one stays. Raises OutcomeUnknown, or OSError while the last name still
        stands.
        """
        *elders, last = names
        for group in (elders, [last]):
            for name in group:
                blob_id = int(name) if name.isdecimal() else None
                if blob_id is None or not self._is_younger(blob_id, newest):
                    self.take_away(name, blob_id)
            # Even if there was none to move: the collector may have moved it, and not synced yet.
            if group:
                self.sync_root()

    def _is_younger(self, blob_id: int, generation: int) -> bool:
        """Whether a number stands for a blob that was committed after a generation."""
        try:
            return self.read_record(str(blob_id), blob_id).generation > generation
        except (OSError, BadRecord):
            return False

    def sync_tombstones(self, ids: Iterable[int]) -> None:
        """At start: see that what is found deleted stays so where the sync of `open` is no proof.

        The rename of a tombstone is all that the protocol can leave unsynced beside the root.
        """
        if not self._syncfs_trusted:
            for blob_id in ids:
                self._break_if_failing(self._sync_directory, str(blob_id))

    def sync_root(self) -> None:
        """Make the renames in the root last; or set `broken` and raise OutcomeUnknown."""
        self._break_if_failing(self.disk.fsync, self.root)

    def _break_if_failing(self, call: Callable[[T], None], what: T) -> None:
        # Never a second try: after a failed fsync the kernel may forget what it could not write,
        # and call the next one a success.
        if self.broken is not None:
            raise OutcomeUnknown(self.broken)
        try:
            call(what)
        except NothingWritten:
            raise
        except (OSError, MemoryError) as error:
            raise OutcomeUnknown(self._break(error)) from error
        # The failure of what this was to flush may have been told to another thread's syncfs.
        if self.broken is not None:
            raise OutcomeUnknown(self.broken)

    def _break(self, error: OSError | MemoryError, call: str = "a sync") -> str:
        return self.give_up(f"{call} failed: {as_store_error(error)}")

    def give_up(self, reason: str) -> str:
        """Let nothing be written any more, since nobody can say what is on the disk."""
        self.broken = reason
        log.critical("Read-only until a restart: {reason}", reason=reason)
        return reason

    # -- what recovery does again ---------------------------------------------------------------

    def read_journal(self) -> list[Entry]:
        """Return what the journal has; raises VolumeUnusable if it cannot be read."""
        try:
            return self.journal.read()
        except NotAJournal as error:  # somebody put something in its place
            raise VolumeUnusable(self.shown_path, str(error)) from error
        except OSError as error:
            reason = f"the redo journal: {strerror_of(error)}"
            raise VolumeUnusable(self.shown_path, reason) from error

    def holds(self, name: str, data: bytes | None) -> bool:
        """Say whether the data.raw in a directory is a regular file of exactly these bytes."""
        if data is None:
            return False
        try:
            fd = self.disk.open(f"{name}/{DATA}", _READ, dir_fd=self.root)
            try:
                check_data(self.disk.fstat(fd), len(data))
                return self.read(fd, 0, len(data)) == data
            finally:
                self.disk.close(fd)
        except (FileNotFoundError, DataDamaged):
            return False
        except OSError as error:
            if error.errno in NOT_REGULAR:
                return False
            raise

    def restore(self, entry: Entry) -> None:
        """Make a blob's directory as the journal has it, in place of a torn one; not synced.

        A mere kill leaves it whole, if perhaps under the name of its stage: then this takes no
        room.  If it fails, what it has written is in the trash, and it may be tried again.
        """
        name, stage = str(entry.blob_id), stage_name(entry.blob_id)
        self._clear(name)
        if not self._is_whole(stage, entry):
            self._clear(stage)
            try:
                self._restage(stage, entry)
            except OSError:
                self.trash(stage)
                raise
        self.disk.rename(stage, name, self.root)

    def _clear(self, name: str) -> None:
        """Make way for a directory; what is none, a link say, is not ours to remove."""
        (self.trash if self._is_directory(name) else self.quarantine)(name)

    def _is_directory(self, name: str) -> bool:
        try:
            return stat.S_ISDIR(self.disk.lstat(name, self.root).st_mode)
        except FileNotFoundError:
            return False

    def _is_whole(self, name: str, entry: Entry) -> bool:
        if not self._is_directory(name):
            return False
        try:
            return self.read_state(name) == entry.state and self.holds(name, entry.data)
        except (OSError, BadRecord):
            return False  # as far as anybody can see

    def _restage(self, stage: str, entry: Entry) -> None:
        assert entry.data is not None, "a deletion needs no room"
        sync = not self._syncfs_trusted
        self.disk.mkdir(stage, 0o777, dir_fd=self.root)
        self._write_file(f"{stage}/{DATA}", entry.data, sync)
        self._write_file(f"{stage}/{STATE}", entry.state, sync)
        if sync:
            self._sync_directory(stage)

    def redone(self) -> None:
        """Flush what was done again; only then may the journal forget it, and does.

        Raises OutcomeUnknown.
        """
        self._break_if_failing(self.disk.syncfs, self.root)
        self.sync_root()
        self._revealed = self.journal.synced = self.journal.last
        if self._journaled and self._syncfs_trusted and self._open_journal():
            try:
                self._append([])
                return
            except NothingWritten as error:
                self._do_without_journal(error)
        self.journal.remove()
        self._revealed = 0

    # -- reading ------------------------------------------------------------------------------

    def open_data(self, blob: Committed) -> int:
        """Open the bytes of a committed blob and return the descriptor.

        Raises FileNotFoundError if the blob has no directory (it was collected), DataDamaged if it
        has, and the bytes are not those that were committed as far as an open can tell.
        """
        name = str(blob.id)
        try:
            fd = self.disk.open(f"{name}/{DATA}", _READ, dir_fd=self.root)
        except OSError as error:
            if error.errno == errno.ENOENT:
                self.disk.lstat(name, self.root)
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
        """As `open_data`, if that needs no disk; else None, as for whatever is wrong with it."""
        if not self._opens_now:
            return None
        try:
            fd = self.disk.open_cached(f"{blob.id}/{DATA}", _READ, self.root)
        except OSError as error:
            # Of these it would be told every time: an old kernel, a sandbox.
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
        pieces = []
        while length:
            piece = self.disk.pread(fd, length, offset)
            if not piece:
                raise DataDamaged(f"{DATA} ends at byte {offset}")
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

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
        """Read bytes for nothing but to have them in the page cache; return the descriptor.

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

    def read_record(self, name: str, blob_id: int | None = None) -> Blob:
        """Read the record in a directory; raises BadRecord, or OSError if there is none.

        With ``blob_id`` the record has to be that blob's.
        """
        return statefile.parse(self.read_state(name), blob_id)

    def read_state(self, name: str) -> bytes:
        """Read the state file in a directory; raises BadRecord if it is no regular file."""
        try:
            fd = self.disk.open(f"{name}/{STATE}", _READ, dir_fd=self.root)
            try:
                # One byte more than allowed, so that a longer file is seen to be one.  A read that
                # is cut short, over a network say, is no torn record: to the end, or to be refused.
                state = b""
                most = statefile.MAX_BYTES + 1
                while piece := self.disk.pread(fd, most - len(state), len(state)):
                    state += piece
                return state
            finally:
                self.disk.close(fd)
        except OSError as error:
            if error.errno in NOT_REGULAR:
                raise BadRecord("it is not a regular file") from error
            raise

    def record_of(self, committed: Committed) -> Blob:
        """Read a committed blob's record, or make one of what the maps know if it is lost."""
        try:
            return self.read_record(str(committed.id), committed.id)
        except (OSError, BadRecord) as error:
            log.warn("The record of blob {id} is lost: {error}", id=committed.id, error=error)
            return Blob.of(committed)

    def replace_state(self, name: str, blob: Blob, *, sync: bool = True) -> None:
        """Put the blob's record in place of the one in a directory.

        It may be lost in a crash.  Without ``sync`` it may also be torn, and the old one lost.
        """
        self._write_state_tmp(name, statefile.dump(blob), sync)
        self._reveal_state(name)

    def replace_states(self, blobs: Sequence[Blob]) -> list[tuple[int, Exception]]:
        """Put the records of blobs in place of those they have, with one flush for all.

        Returns the ids of those for which it failed, and why; raises OutcomeUnknown.
        """
        together = len(blobs) > 1 and self._syncfs_trusted
        failures: list[tuple[int, Exception]] = []
        written = []
        for blob in blobs:
            try:
                self._write_state_tmp(str(blob.id), statefile.dump(blob), not together)
            except OSError as error:
                failures.append((blob.id, error))
            else:
                written.append(blob.id)
        if together:
            self._break_if_failing(self.disk.syncfs, self.root)
        for blob_id in written:
            try:
                self._reveal_state(str(blob_id))
            except OSError as error:
                failures.append((blob_id, error))
        return failures

    def _write_state_tmp(self, name: str, record: bytes, sync: bool) -> None:
        path = f"{name}/{STATE_TMP}"
        try:
            self._write_file(path, record, sync)
        except FileExistsError:  # a crash, or a failure, left one behind
            self.disk.unlink(path, dir_fd=self.root)
            self._write_file(path, record, sync)

    def _reveal_state(self, name: str) -> None:
        """Let what `_write_state_tmp` wrote be the state file of a directory; not synced."""
        self.disk.rename(f"{name}/{STATE_TMP}", f"{name}/{STATE}", self.root)

    # -- taking away --------------------------------------------------------------------------

    def trash(self, name: str, blob_id: int | None = None) -> bool:
        """Rename a directory to `.trash-*`, not synced; return False if it is not there.

        Its contents are removed by `empty_trash`, which then reports ``blob_id`` as free.
        """
        return self._set_aside(name, TRASH, "", blob_id) is not None

    def take_away(self, name: str, blob_id: int | None = None) -> bool:
        """As `trash`; or take the state file away, durably, if there is no room to rename.

        On a full disk XFS may find no room to enter a name, but always to take one out. Without a
        state file the directory is no blob to any start, and is emptied as the trash is.
        """
        try:
            return self.trash(name, blob_id)
        except OSError as error:
            if not is_no_space(error):
                raise
        with self._flushing(name), suppress(FileNotFoundError):
            self._unlink(f"{name}/{STATE}")
        self.trashed[name] = blob_id
        return True

    def quarantine(self, name: str, *, tie: bool = False) -> str | None:
        """Rename a directory to `.quarantine-*`, not synced; return that name."""
        return self._set_aside(name, QUARANTINE, TIE if tie else "", None)

    def _set_aside(self, name: str, prefix: str, suffix: str, blob_id: int | None) -> str | None:
        stem = name.lstrip(".").split("-")[1] if name.startswith(".") else name
        while True:
            self._serial += 1
            target = f"{prefix}{stem}-{self._serial}{suffix}"
            if prefix == QUARANTINE and self.stands(target):
                # A link, or a file, would take the place of one from before this start.
                continue
            try:
                self._rename(name, target)
            except FileNotFoundError:
                return None
            except (FileExistsError, NotADirectoryError):
                continue
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                continue
            self.trashed.pop(name, None)
            if prefix == TRASH:
                self.trashed[target] = blob_id
            return target

    def remove(self, name: str) -> bool:
        """Remove a directory and what gostore put in it; False if something is left of it.

        Files that gostore does not know are not removed, and so keep their directory.
        """
        try:
            for entry in CONTENTS:
                with suppress(FileNotFoundError):
                    self.disk.unlink(f"{name}/{entry}", dir_fd=self.root)
            self.disk.rmdir(name, dir_fd=self.root)
        except FileNotFoundError:
            pass
        except OSError as error:
            reason = self._why_kept(name, error)
            # It is tried again by every run of the collector, and said once.
            if self.kept.get(name) != reason:
                log.warn("{name} is not removed: {reason}", name=name, reason=reason)
            self.kept[name] = reason
            return False
        self.kept.pop(name, None)
        return True

    def _why_kept(self, name: str, error: OSError) -> str:
        with suppress(OSError):
            if (held := self.foreign_in(name)) is not None:
                return f"it holds {held!r}, which is not gostore's"
        return strerror_of(error)

    def _rename(self, source: str, target: str) -> None:
        """Rename a directory to a name that is free; raises OSError if that is not done."""
        with self._if_not_done("a rename", lambda: self.stands(target) and not self.stands(source)):
            self.disk.rename(source, target, self.root)

    def _unlink(self, path: str) -> None:
        """Remove a file; raises OSError if that is not done."""
        with self._if_not_done("a removal", lambda: not self.stands(path)):
            self.disk.unlink(path, dir_fd=self.root)

    @contextmanager
    def _if_not_done(self, call: str, done: Callable[[], bool]) -> Iterator[None]:
        """Let an OSError pass if what was called is not done.

        What is done may be reported as failed all the same, over a network say. Were it believed, a
        blob would stand that nobody knows of, and come back when its successors are deleted. Raises
        OutcomeUnknown, and sets `broken`, where the disk does not tell.
        """
        try:
            yield
        except OSError as error:
            try:
                is_done = done()
            except OSError as unknown:
                raise OutcomeUnknown(self._break(error, call)) from unknown
            if not is_done:
                raise

    def foreign_in(self, name: str) -> str | None:
        """Return the name of something in a directory that is not gostore's; None: all of it is."""
        fd = self.disk.open(name, _DIRECTORY, dir_fd=self.root)
        try:
            inside = self.disk.listdir(fd)
        finally:
            self.disk.close(fd)
        foreign = [each for each, is_directory in inside if is_directory or each not in CONTENTS]
        return min(foreign, default=None)

    def stands(self, name: str) -> bool:
        """Say whether there is something of this name in the data directory."""
        try:
            self.disk.lstat(name, self.root)
        except FileNotFoundError:
            return False
        return True

    # -- system calls -------------------------------------------------------------------------

    def _write_file(self, path: str, data: bytes, sync: bool) -> None:
        fd = self._create(path)
        try:
            self._write_all(fd, [data])
            if sync:
                self.disk.fsync(fd)
        finally:
            self.disk.close(fd)

    def _create(self, path: str) -> int:
        return self.disk.open(path, _CREATE, 0o666, dir_fd=self.root)

    def _write_all(self, fd: int, pieces: Sequence[bytes]) -> None:
        left = list(pieces)
        while left:
            written = self.disk.writev(fd, left[:_PIECES])
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = left[0][written:]

    def _sync_directory(self, name: str) -> None:
        fd = self.disk.open(name, _DIRECTORY, dir_fd=self.root)
        try:
            self.disk.fsync(fd)
        finally:
            self.disk.close(fd)


def check_data(found: os.stat_result, size: int | None) -> None:
    """Raise DataDamaged unless this is the stat of a regular file of our own, of ``size`` bytes."""
    if not stat.S_ISREG(found.st_mode):
        raise DataDamaged(f"{DATA} is not a regular file")
    if found.st_nlink != 1:
        raise DataDamaged(f"{DATA} has {found.st_nlink} names")
    if size is not None and found.st_size != size:
        raise DataDamaged(f"{DATA} has {found.st_size} bytes instead of {size}")


def _attempt(change: Change, step: Callable[..., None], *arguments: object) -> None:
    """Take one step of a change, unless an earlier one failed."""
    if change.error is None:
        try:
            step(change, *arguments)
        except (OSError, MemoryError) as error:
            change.error = as_store_error(error)


def _fail(changes: Iterable[Change], error: OSError) -> None:
    """Say of changes that they are not done, of those that have failed earlier why."""
    for change in changes:
        change.error = change.error or as_store_error(error)


def _is_small(change: Change) -> TypeGuard[Commit | Delete]:
    """Whether the redo journal takes it: all of it is in memory."""
    return isinstance(change, Delete) or (
        isinstance(change, Commit) and isinstance(change.data, bytes)
    )


def _entry(change: Commit | Delete) -> Entry:
    data = change.data if isinstance(change, Commit) else None
    assert not isinstance(data, Stage)
    return Entry(change.blob.id, change.record, data)


def _good(changes: Iterable[C]) -> list[C]:
    return [change for change in changes if change.error is None]
