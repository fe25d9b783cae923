"""The names in a data directory, and its files by name.

What lies in it (everything else is foreign: reported, never touched)::

    <id>/                       a committed blob; the id in canonical decimal
        data.raw                    its bytes
        blob_state.base64.json      its record, see statefile.py
    .new-<id>/                  a stage: an upload that is not committed
    .upload-<number>/           a kept stage: one that outlives a start, see kept.py
    .trash-<id>-<n>/            on its way to be removed
    .quarantine-<id>-<n>/       quarantined: damaged
    .quarantine-<id>-<n>-tie/   quarantined: whole, but another blob has its location
    .journal-0, .journal-1      the redo journal, see journal/
    .records, .records.tmp      the record cache, see recovery/records.py
    .migrating, .keep           notes, see migrating.py and promise.py

A directory with one of these names is foreign, too, if it has no state file and holds anything but
these files.

A blob is committed by one rename, `.new-<id>` to `<id>`, after everything in it was flushed, to its
own files or to the redo journal. It is removed by one rename to `.trash-*` (or, if there is no room
for that, with its state file). So a directory with a plain number and a state file is whole, or the
journal has the blob whole. A state file is replaced as a whole, by a rename in its directory.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import TypeVar

from twisted.logger import Logger

from gostore import statefile
from gostore.blob import MAX_ID, Blob
from gostore.errors import BadRecord, DiskFailed, ReadOnly, as_store_error
from gostore.volume.disk import ABOVE, NOT_REGULAR, Disk
from gostore.volume.journal.format import NAMES as JOURNAL
from gostore.volume.journal.journal import NothingWritten

DATA = "data.raw"
STATE = statefile.NAME
STATE_TMP = STATE + ".tmp"
#: All that gostore makes inside a blob's directory, in the order in which it is removed: without
#: its state file a directory is no blob, so one that is half removed cannot come back.
FILES = (STATE, STATE_TMP, DATA)

NEW = ".new-"
#: The stage made, and removed at once, to see whether the directory can be written.
PROBE = "probe"
KEPT = ".upload-"
TRASH = ".trash-"
QUARANTINE = ".quarantine-"
TIE = "-tie"
RECORDS = ".records"
RECORDS_TMP = RECORDS + ".tmp"
MIGRATING = ".migrating"

_ID = "(0|[1-9][0-9]{0,9})"
_NUMBERS = "([0-9]+)-[0-9]+"

#: O_NONBLOCK: a FIFO that somebody put in a file's place must not block us.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: writev(2) takes no more pieces than this (IOV_MAX).
_PIECES = 1024

#: Why nothing is written while the directory is not where the next start will look for it.
_HIDDEN = (
    "the path of the data directory leads elsewhere; something is mounted over it, or it was moved"
)

T = TypeVar("T")

log = Logger()


class Kind(Enum):
    """What a name in the data directory stands for."""

    BLOB = "a committed blob"
    STAGE = "an upload"
    KEPT = "an upload in several requests"
    PROBE = "a trial of whether the directory can be written"
    TRASH = "on its way to be removed"
    QUARANTINE = "quarantined, damaged"
    TIE = "quarantined, whole"
    JOURNAL = "a file of the redo journal"
    RECORDS = "the record cache"
    MIGRATING = "the mark of a migration"
    PROMISE = "the note for how long history is kept"
    FOREIGN = "not gostore's"


_BLOB = re.compile(_ID)
_PATTERNS = {
    Kind.STAGE: re.compile(re.escape(NEW) + _ID),
    Kind.KEPT: re.compile(re.escape(KEPT) + "[1-9][0-9]{0,38}"),
    Kind.PROBE: re.compile(re.escape(NEW + PROBE)),
    Kind.TRASH: re.compile(re.escape(TRASH) + _NUMBERS),
    Kind.QUARANTINE: re.compile(re.escape(QUARANTINE) + _NUMBERS),
    Kind.TIE: re.compile(re.escape(QUARANTINE) + _NUMBERS + re.escape(TIE)),
    Kind.JOURNAL: re.compile("|".join(map(re.escape, JOURNAL))),
    Kind.PROMISE: re.compile(r"\.keep(\.tmp)?"),
    Kind.RECORDS: re.compile("|".join(map(re.escape, (RECORDS, RECORDS_TMP)))),
    Kind.MIGRATING: re.compile(re.escape(MIGRATING)),
}


def kind_of(name: str) -> Kind:
    """Say what a name in the data directory stands for, if the type is right, too."""
    if _BLOB.fullmatch(name):  # first: a start looks at a million of these
        return Kind.BLOB if int(name) <= MAX_ID else Kind.FOREIGN
    for kind, pattern in _PATTERNS.items():
        if pattern.fullmatch(name):
            return kind
    return Kind.FOREIGN


def id_in(name: str) -> int:
    """Return the number in the name of a blob, a stage, trash or something quarantined."""
    match = re.search("[0-9]+", name)
    assert match is not None, name
    return int(match[0])


def stage_name(blob_id: int) -> str:
    """Return the name of the stage of a blob."""
    return f"{NEW}{blob_id}"


def kept_name(upload: int) -> str:
    """Return the name of the kept stage of an upload."""
    return f"{KEPT}{upload}"


class DataDamaged(Exception):
    """data.raw is not a regular file of the size that was recorded; str() says what it is."""


class OutcomeUnknown(Exception):
    """A sync failed after its rename: nobody can say what a restart will find."""


class Directory:
    """Files by name in one open data directory.

    Its methods may block. They raise the `OSError` of the `Disk`, and OutcomeUnknown where nobody
    can say any more what is on the disk.
    """

    def __init__(self, disk: Disk) -> None:
        """Nothing is open before `open`."""
        self.disk = disk
        self.root = -1
        self._path: bytes | str = ""
        self._opened: os.stat_result
        #: Whether the link count tells that the directory has been removed.
        self.has_links = False
        #: Whether the path led elsewhere when `check` was last asked.
        self.is_hidden = False
        #: Why nothing may be written any more, once a sync of something committed has failed.
        self.broken: str | None = None
        #: Whether one syncfs(2) here stands for an fsync(2) of everything.
        self.syncfs_trusted = False

    def open(self, path: bytes | str) -> None:
        """Open the directory at a path, and note which it is: `check` need not ask again."""
        self.root = self.disk.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._path = path
        self._opened = self.disk.fstat(self.root)
        # Some file systems (FUSE) count none.
        self.has_links = self._opened.st_nlink > 0

    def close(self) -> None:
        """Close the directory, if it is open."""
        if self.root >= 0:
            root, self.root = self.root, -1
            self.disk.close(root)

    # -- whether anything may be written ------------------------------------------------------

    def check(self) -> None:
        """Raise ReadOnly if nothing may be written.

        Everything that was written here is lost to the next start if the path leads to another
        directory by then: nothing more is written until it leads here again.  This asks the kernel
        only for what it has in memory, and waits for no disk.
        """
        if self.broken is not None:
            raise ReadOnly(self.broken)
        was_hidden, self.is_hidden = self.is_hidden, not self._is_in_place()
        if self.is_hidden:
            if self.is_removed():
                raise ReadOnly(self.give_up("the data directory has been removed"))
            if not was_hidden:
                log.critical("Read-only: {reason}", reason=_HIDDEN)
            raise ReadOnly(_HIDDEN)
        if was_hidden:
            log.warn("The path of the data directory leads to it again; writing goes on")

    def is_removed(self) -> bool:
        """Say whether somebody has removed the directory."""
        try:
            return self.has_links and self.disk.fstat(self.root).st_nlink == 0
        except OSError:
            return False  # the failure says nothing about the directory

    def _is_in_place(self) -> bool:
        try:
            return self.disk.leads_to(self._path, self._opened)
        except OSError:
            return True  # as far as anybody can see

    # -- flushes that decide ------------------------------------------------------------------

    def sync_root(self) -> None:
        """Make the renames in the root last; or set `broken` and raise OutcomeUnknown."""
        self.break_if_failing(self.disk.fsync, self.root)

    def sync_all(self) -> None:
        """Flush the whole file system; or set `broken` and raise OutcomeUnknown."""
        self.break_if_failing(self.disk.syncfs, self.root)

    @contextmanager
    def flushing(self, name: str) -> Iterator[None]:
        """Make what is done in a directory last; raises OutcomeUnknown."""
        # Opened first: without a free descriptor nothing has been done yet, and that is known.
        fd = self.disk.open(name, _DIRECTORY, dir_fd=self.root)
        try:
            yield
            self.break_if_failing(self.disk.fsync, fd)
        finally:
            with suppress(OSError):  # which would say nothing about what is done
                self.disk.close(fd)

    def break_if_failing(self, call: Callable[[T], None], what: T) -> None:
        """Make a call whose failure leaves the outcome unknown; then set `broken`, and raise."""
        # Never a second try: after a failed fsync the kernel may forget what it could not write,
        # and call the next one a success.
        if self.broken is not None:
            raise OutcomeUnknown(self.broken)
        try:
            call(what)
        except NothingWritten:
            raise
        except (OSError, MemoryError) as error:
            raise OutcomeUnknown(self.break_for(error)) from error
        # The failure of what this was to flush may have been told to another thread's syncfs.
        if self.broken is not None:
            raise OutcomeUnknown(self.broken)

    def break_for(self, error: OSError | MemoryError, call: str = "a sync") -> str:
        """As `give_up`, since a call failed; return the reason."""
        failure = as_store_error(error)
        reason = failure.reason if isinstance(failure, DiskFailed) else failure
        return self.give_up(f"{call} failed: {reason}")

    def give_up(self, reason: str) -> str:
        """Let nothing be written any more, since nobody can say what is on the disk."""
        self.broken = reason
        log.critical("Read-only until a restart: {reason}", reason=reason)
        return reason

    # -- names --------------------------------------------------------------------------------

    def entries(self) -> list[tuple[str, bool]]:
        """Return all names, each with whether it is a real directory."""
        return self.disk.listdir(self.root)

    def stands(self, name: str) -> bool:
        """Say whether there is something of this name."""
        try:
            self.disk.lstat(name, self.root)
        except FileNotFoundError:
            return False
        return True

    def is_directory(self, name: str) -> bool:
        """Say whether there is a real directory of this name."""
        try:
            return stat.S_ISDIR(self.disk.lstat(name, self.root).st_mode)
        except FileNotFoundError:
            return False

    def is_link(self, name: str) -> bool:
        """Say whether what has this name is a symbolic link."""
        return stat.S_ISLNK(self.disk.lstat(name, self.root).st_mode)

    def check_data_in(self, name: str, size: int | None) -> None:
        """Raise FileNotFoundError or DataDamaged unless a directory has a data.raw of this size."""
        check_data(self.disk.lstat(f"{name}/{DATA}", self.root), size)

    def foreign_in(self, name: str) -> str | None:
        """Return the name of something in a directory that is not gostore's; None: all of it is."""
        fd = self.disk.open(name, _DIRECTORY, dir_fd=self.root)
        try:
            inside = self.disk.listdir(fd)
        finally:
            self.disk.close(fd)
        foreign = [each for each, is_directory in inside if is_directory or each not in FILES]
        return min(foreign, default=None)

    def make(self, name: str) -> None:
        """Make a directory."""
        self.disk.mkdir(name, 0o777, dir_fd=self.root)

    def rename(self, source: str, target: str) -> None:
        """Rename a directory to a name that is free; raises OSError if that is not done."""
        with self._if_not_done("a rename", lambda: self.stands(target) and not self.stands(source)):
            self.disk.rename(source, target, self.root)

    def unlink(self, path: str) -> None:
        """Remove a file; raises OSError if that is not done."""
        with self._if_not_done("a removal", lambda: not self.stands(path)):
            self.disk.unlink(path, dir_fd=self.root)

    @contextmanager
    def _if_not_done(self, call: str, done: Callable[[], bool]) -> Iterator[None]:
        """Let an OSError pass if what was called is not done.

        A call may be reported as failed although it was done, over a network say. If we believed
        the report, a blob would stand that nobody knows of, and come back when its successors are
        deleted. Raises OutcomeUnknown, and sets `broken`, where the disk does not tell.
        """
        try:
            yield
        except OSError as error:
            try:
                is_done = done()
            except OSError as unknown:
                raise OutcomeUnknown(self.break_for(error, call)) from unknown
            if not is_done:
                raise

    # -- files --------------------------------------------------------------------------------

    def create(self, path: str, above: int | None = None) -> int:
        """Make a new file, in the open directory ``above`` or the root; return its descriptor."""
        at = self.root if above is None else above
        return self.disk.open(path, _CREATE, 0o666, dir_fd=at)

    def write(self, path: str, data: bytes, *, sync: bool, above: int | None = None) -> None:
        """Make a new file of these bytes."""
        fd = self.create(path, above)
        try:
            self.append(fd, [data])
            if sync:
                self.disk.fsync(fd)
        finally:
            self.disk.close(fd)

    def append(self, fd: int, left: list[bytes]) -> None:
        """Write all the pieces to an open file; what is written is taken out of the list."""
        while left:
            written = self.disk.writev(fd, left[:_PIECES])
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = left[0][written:]

    def finish(self, fd: int, *, sync: bool) -> None:
        """Close a file that was written, if it (-1) has not been closed."""
        if fd >= 0:
            try:
                if sync:
                    self.disk.fsync(fd)
            finally:
                self.disk.close(fd)

    def sync(self, name: str) -> None:
        """Make the names in a directory last."""
        fd = self.disk.open(name, _DIRECTORY, dir_fd=self.root)
        try:
            self.disk.fsync(fd)
        finally:
            self.disk.close(fd)

    # -- state files --------------------------------------------------------------------------

    def write_state_tmp(self, name: str, record: bytes, *, sync: bool) -> None:
        """Write what is to be the state file of a directory; see `put_state_in_place`."""
        path = f"{name}/{STATE_TMP}"
        try:
            self.write(path, record, sync=sync)
        except FileExistsError:  # a crash, or a failure, left one behind
            self.disk.unlink(path, dir_fd=self.root)
            self.write(path, record, sync=sync)

    def put_state_in_place(self, name: str) -> None:
        """Let what `write_state_tmp` wrote be the state file of a directory; not synced."""
        self.disk.rename(f"{name}/{STATE_TMP}", f"{name}/{STATE}", self.root)

    def enter(self, name: str) -> int:
        """Open a directory to look up what is in it, and return the descriptor."""
        return self.disk.open(name, ABOVE, dir_fd=self.root)

    def read_state(self, name: str) -> bytes:
        """Read the state file in a directory; raises BadRecord if it is no regular file."""
        return self.read_state_at(f"{name}/{STATE}", self.root)[0]

    def read_state_at(self, path: str, dir_fd: int) -> tuple[bytes, os.stat_result]:
        """As `read_state`, for a path below an open directory; return the file's stat, too.

        The stat is from before the bytes were read.
        """
        try:
            fd = self.disk.open(path, READ, dir_fd=dir_fd)
            try:
                found = self.disk.fstat(fd)
                if not stat.S_ISREG(found.st_mode):
                    raise BadRecord("it is not a regular file")
                # One byte more than allowed shows that a file is too long.
                size = min(found.st_size, statefile.MAX_BYTES + 1)
                state = self.disk.pread(fd, size, 0)
                # A read that is cut short, over a network say, is no torn record: read on.
                while len(state) < size:
                    if not (piece := self.disk.pread(fd, size - len(state), len(state))):
                        break
                    state += piece
                return state, found
            finally:
                self.disk.close(fd)
        except OSError as error:
            if error.errno in NOT_REGULAR:
                raise BadRecord("it is not a regular file") from error
            raise

    def read_record(self, name: str, blob_id: int | None = None) -> Blob:
        """Read the record in a directory; raises BadRecord, or OSError if there is none.

        With ``blob_id`` the record has to be that blob's.
        """
        return statefile.parse(self.read_state(name), blob_id)


def check_data(found: os.stat_result, size: int | None) -> None:
    """Raise DataDamaged unless this is the stat of a regular file of our own, of ``size`` bytes."""
    if not stat.S_ISREG(found.st_mode):
        raise DataDamaged(f"{DATA} is not a regular file")
    if found.st_nlink != 1:
        raise DataDamaged(f"{DATA} has {found.st_nlink} names")
    if size is not None and found.st_size != size:
        raise DataDamaged(f"{DATA} has {found.st_size} bytes instead of {size}")
