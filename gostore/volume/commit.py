"""The write protocol: in what order changes reach the disk, and what makes them durable.

docs/architecture.md numbers its steps, and says what a crash between any two of them leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from attrs import define
from twisted.logger import Logger

from gostore import statefile
from gostore.blob import Blob, Committed, State
from gostore.errors import (
    BadRecord,
    Busy,
    DiskFailed,
    NoSpace,
    ReadOnly,
    StoreError,
    as_store_error,
)
from gostore.volume.applier import INODES, room_of
from gostore.volume.backlog import Backlog
from gostore.volume.changes import Change, Commit, Delete, Discard, Stage
from gostore.volume.directory import (
    DATA,
    STATE,
    DataDamaged,
    Directory,
    OutcomeUnknown,
    stage_name,
)
from gostore.volume.disk import CHANGED
from gostore.volume.journal.format import Entry
from gostore.volume.journal.journal import NothingWritten
from gostore.volume.trash import Trash, may_take_history

_BY_HAND = "Somebody has removed or changed the upload in the data directory; send it again"

log = Logger()


@define(eq=False)
class _Attempt:
    """A change that is being carried out."""

    change: Change
    #: Why it is not done, or cannot be.
    error: StoreError | None = None
    #: What that comes from.
    cause: BaseException | None = None
    #: What its state file holds, once it is written.
    record: bytes = b""
    _entry: Entry | None = None

    def take(self, step: Callable[..., None], *arguments: object, **keywords: object) -> None:
        """Take one step of the change, unless an earlier one failed."""
        if self.error is None:
            try:
                step(*arguments, **keywords)
            except (OSError, MemoryError, StoreError) as error:
                self.error, self.cause = as_store_error(error), error

    @property
    def is_small(self) -> bool:
        """Whether the redo journal takes it: all of it is in memory."""
        if isinstance(self.change, Commit):
            return isinstance(self.change.data, bytes)
        return isinstance(self.change, Delete)

    @property
    def is_delete(self) -> bool:
        """Whether it takes no room: a deletion must always be possible."""
        return isinstance(self.change, Delete)

    def goes_anyhow(self, cause: BaseException | None) -> bool:
        """Say whether it is a deletion that goes on without a tombstone, which failed so."""
        if not isinstance(self.change, Delete):
            return False
        return not self.change.keeps or may_take_history(cause)

    @property
    def entry(self) -> Entry:
        """What the journal holds of it, once its record is written."""
        if self._entry is not None:
            return self._entry
        change = self.change
        assert not isinstance(change, Discard)
        data = change.data if isinstance(change, Commit) else None
        assert not isinstance(data, Stage)
        self._entry = Entry(change.blob.id, self.record, data)
        return self._entry


class WriteProtocol:
    """Carries out changes in one data directory, durably."""

    def __init__(
        self, directory: Directory, trash: Trash, backlog: Backlog, now: Callable[[], int]
    ) -> None:
        self._directory = directory
        self._trash = trash
        self._backlog = backlog
        self._now = now

    def carry_out(self, changes: Sequence[Change]) -> list[StoreError | None]:
        """Carry out the changes, durably; say of each why it is not done, None if it is.

        The steps of the write protocol (docs/architecture.md) are taken for the whole batch
        together.  Small changes: write everything, flush the journal, rename everything.  Others:
        write everything, flush everything, rename everything, flush the root.  If the last flush
        fails, `Directory.broken` is set, and the changes that it was for have an unknown outcome.
        """
        attempts = [_Attempt(change) for change in changes]
        self._carry_out(attempts)
        return [attempt.error for attempt in attempts]

    def _carry_out(self, attempts: Sequence[_Attempt]) -> None:
        try:
            self._directory.check()
            self._backlog.check_journal()
        except ReadOnly as error:
            _fail(attempts, error)
            return
        together = len(attempts) > 1 and self._directory.syncfs_trusted
        if self._backlog.is_open():
            self._commit_small([attempt for attempt in attempts if attempt.is_small])
            attempts = [attempt for attempt in attempts if not attempt.is_small]
            if attempts and not self._record_checkpoint(attempts):
                return
        if attempts:
            self._commit_each(attempts, together=together)
            for commit in _good(attempts):
                if isinstance(commit.change, Commit) and commit.change.replaces is not None:
                    self._backlog.applier.supersede(
                        commit.change.replaces, keeps=commit.change.keeps
                    )
            self._backlog.applier.pass_to(self._backlog.journal.written)

    # -- small changes, by the journal --------------------------------------------------------

    def _commit_small(self, attempts: Sequence[_Attempt]) -> None:
        """Make small changes durable by one flush, of the redo journal.

        Their files are for the applier: whatever a crash leaves torn under a plain number is in the
        journal, to be written again.
        """
        for attempt in attempts:
            attempt.take(self._write_record, attempt)
        try:
            self._see_to_room(attempts)
            good = _good(attempts)
            if not self._append_changes(good):
                # The journal keeps some room for deletions alone.
                deletes = [attempt for attempt in _good(good) if attempt.is_delete]
                if len(deletes) == len(good) or not self._append_changes(deletes):
                    self._delete_anyhow(_good(deletes))
        except OutcomeUnknown as unknown:
            _fail(attempts, DiskFailed(str(unknown)))

    def _append_changes(self, attempts: Sequence[_Attempt]) -> bool:
        """Append changes to the journal; False if there is no room: then all but deletes fail."""
        try:
            if attempts:
                self._backlog.append([attempt.entry for attempt in attempts])
        except NothingWritten as error:
            lost = [each for each in attempts if not each.goes_anyhow(error)]
            _fail(lost, as_store_error(error))
            return False
        for attempt in attempts:
            self._hand_on(attempt)
        # Only now: a checkpoint in another thread goes by it.
        self._backlog.applier.pass_to(self._backlog.journal.written)
        return True

    def _see_to_room(self, attempts: Sequence[_Attempt]) -> None:
        """Refuse new blobs for whose files, and those that wait, the disk has no room now."""
        commits = [attempt for attempt in _good(attempts) if not attempt.is_delete]
        if not commits:
            return
        if self._backlog.applier.obstacle is not None:
            self._backlog.apply()
        obstacle = self._backlog.applier.obstacle
        if obstacle is None:
            try:
                obstacle = None if self._has_room(commits) else NoSpace()
            except OSError as error:
                obstacle = as_store_error(error)
        if obstacle is not None:
            _fail(commits, obstacle)

    def _has_room(self, commits: Sequence[_Attempt]) -> bool:
        """Say whether the disk has room for new blobs beside those that have no files yet."""
        disk, applier = self._directory.disk, self._backlog.applier
        wanted = sum(room_of(commit.entry) for commit in commits)
        if disk.free(self._directory.root)[0] < applier.room + wanted:
            return False
        inodes = disk.free_inodes(self._directory.root)
        return inodes is None or inodes >= applier.inodes + INODES * len(commits)

    def _hand_on(self, attempt: _Attempt) -> None:
        """Let the applier make the files of a change that the journal has."""
        match attempt.change:
            case Commit() as commit:
                self._backlog.applier.commit(
                    attempt.entry,
                    self._backlog.journal.written,
                    commit.replaces,
                    keeps=commit.keeps,
                )
            case Delete() as delete:
                self._backlog.applier.delete(attempt.entry, self._backlog.journal.written, delete)

    def _delete_anyhow(self, deletes: Sequence[_Attempt]) -> None:
        """Delete though the journal cannot be written; raises OutcomeUnknown."""
        try:
            if deletes:
                self._forget_journal()
        except NothingWritten as error:
            _fail(deletes, as_store_error(error))
        else:
            self._delete_without_tombstones(deletes)

    def _forget_journal(self) -> None:
        """See that no start brings anything back from the journal, and make room for that."""
        try:
            self._backlog.forget_journal()
        except NothingWritten:
            # The room may be with what has been deleted before, and awaits the collector.
            self._trash.empty()
            self._backlog.forget_journal()

    def _record_checkpoint(self, attempts: Sequence[_Attempt]) -> bool:
        """Record the last checkpoint before these changes; if that fails, they fail."""
        try:
            self._backlog.record_checkpoint()
        except OutcomeUnknown as unknown:
            _fail(attempts, DiskFailed(str(unknown)))
            return False
        except NothingWritten as error:
            _fail(attempts, as_store_error(error))
            return False
        return True

    # -- changes that are flushed to their own files ------------------------------------------

    def _commit_each(self, attempts: Sequence[_Attempt], *, together: bool) -> None:
        commits = [attempt for attempt in attempts if isinstance(attempt.change, Commit)]
        deletes = [attempt for attempt in attempts if isinstance(attempt.change, Delete)]
        for attempt in (*commits, *deletes):
            attempt.take(self._prepare, attempt, sync=not together)
        if together:
            try:
                self._directory.disk.syncfs(self._directory.root)
            except OSError as error:
                # No change of the batch is known to be whole, but none has been renamed either.
                # The failed write may be one that only the journal holds, or one of an upload that
                # is still coming. No later syncfs can tell, for the kernel reports a failure once.
                # The upload's own fsync can.
                if self._backlog.journal.written:
                    self._directory.break_for(error)
                self._directory.syncfs_trusted = False
                _fail(attempts, as_store_error(error))
                return
        try:
            for commit in commits:
                commit.take(self._rename, commit.change)
            if together and deletes:
                for delete in deletes:
                    delete.take(self._rename, delete.change)
                self._directory.sync_all()
            else:
                if _good(commits):
                    self._directory.sync_root()
                for delete in deletes:
                    delete.take(self._delete_durably, delete.change)
            # A tombstone needs room, and a directory to stand in. A deletion must need neither.
            failed = [each for each in deletes if each.error is not None]
            self._delete_without_tombstones([one for one in failed if one.goes_anyhow(one.cause)])
            for attempt in attempts:
                if isinstance(attempt.change, Discard):
                    attempt.take(self._discard, attempt.change)
        except OutcomeUnknown as unknown:
            _fail(attempts, DiskFailed(str(unknown)))

    # -- the steps ----------------------------------------------------------------------------

    def _write_record(self, attempt: _Attempt) -> None:
        """Say what the state file of a change will hold."""
        match attempt.change:
            case Commit() as commit:
                attempt.record = statefile.dump(commit.blob)
            case Delete() as delete:
                blob = self._record_of(delete.blob)
                # It may be one already: by a rename that was reported as failed, or by hand.
                if blob.state is not State.FAILURE:
                    when = self._now() if delete.when is None else delete.when
                    if delete.is_over:
                        blob.expire(when)
                    else:
                        blob.delete(when, delete.origin)
                attempt.record = statefile.dump(blob)

    def _prepare(self, attempt: _Attempt, *, sync: bool) -> None:
        """Write everything of a change but the rename that makes it true."""
        self._write_record(attempt)
        match attempt.change:
            case Commit() as commit:
                with _unless_changed():
                    self._prepare_blob(commit, attempt.record, sync=sync)
            case Delete() as delete:
                name = str(delete.blob.id)
                self._directory.write_state_tmp(name, attempt.record, sync=sync)

    def _prepare_blob(self, commit: Commit, record: bytes, *, sync: bool) -> None:
        name = _stage_of(commit)
        if isinstance(commit.data, Stage):
            self._directory.finish(commit.data.release(), sync=sync)
            # The descriptor may have outlived the file's name.
            self._directory.check_data_in(name, commit.blob.size)
            # A crash must leave a kept stage with one of its two records, whole.
            is_kept = commit.data.kept is not None
            self._directory.write_state_tmp(name, record, sync=sync or is_kept)
            self._directory.put_state_in_place(name)
        else:
            self._directory.make(name)
            self._directory.write(f"{name}/{DATA}", commit.data, sync=sync)
            self._directory.write(f"{name}/{STATE}", record, sync=sync)
        if sync:
            self._directory.sync(name)

    def _record_of(self, committed: Committed) -> Blob:
        """Read a committed blob's record, or make one of what the maps know if it is lost."""
        state = self._backlog.applier.state_of(committed.id)
        if state is not None:
            return statefile.parse(state, committed.id)
        try:
            return self._directory.read_record(str(committed.id), committed.id)
        except (OSError, BadRecord) as error:
            log.warn("The record of blob {id} is lost: {error}", id=committed.id, error=error)
            return Blob.of(committed)

    def _rename(self, change: Commit | Delete) -> None:
        """Make a change true, by the one rename that does."""
        if isinstance(change, Commit):
            with _unless_changed():
                self._directory.rename(_stage_of(change), str(change.blob.id))
        else:
            self._directory.put_state_in_place(str(change.blob.id))

    def _delete_durably(self, delete: Delete) -> None:
        """Rename a tombstone, to last; raises OutcomeUnknown, or OSError if nothing is done."""
        with self._directory.flushing(str(delete.blob.id)):
            self._rename(delete)

    def _discard(self, discard: Discard) -> None:
        self._backlog.forget_journal()
        unmarked = self._mark(discard.kept)
        self._trash.put_away([*unmarked, *discard.names], discard.newest)

    def _mark(self, kept: Iterable[tuple[int, int]]) -> list[str]:
        """See that blobs are marked Failure, to last; return the names of those that are not.

        No tombstone will stand above them.
        """
        unmarked = []
        for blob_id, successor in kept:
            name = str(blob_id)
            try:
                with self._directory.flushing(name):
                    blob = self._directory.read_record(name, blob_id)
                    if blob.state is not State.FAILURE:
                        blob.replace(self._now(), successor)
                        self._directory.write_state_tmp(name, statefile.dump(blob), sync=True)
                        self._directory.put_state_in_place(name)
            except FileNotFoundError:
                pass
            except (OSError, BadRecord) as error:
                if isinstance(error, OSError) and not may_take_history(error):
                    raise
                unmarked.append(name)
        return unmarked

    def _delete_without_tombstones(self, attempts: Sequence[_Attempt]) -> None:
        for attempt in attempts:
            assert isinstance(attempt.change, Delete)
            attempt.error = None
            blob = attempt.change.blob
            names = [str(blob_id) for blob_id in (*attempt.change.elders, blob.id)]
            attempt.take(self._trash.put_away, names, blob.generation)


def _stage_of(commit: Commit) -> str:
    """The directory that becomes a blob's by its commit."""
    return commit.data.name if isinstance(commit.data, Stage) else stage_name(commit.blob.id)


@contextmanager
def _unless_changed() -> Iterator[None]:
    """Say that a commit may be retried if somebody's hand in the data directory spoilt it."""
    try:
        yield
    except (OSError, DataDamaged) as error:
        if isinstance(error, OSError) and error.errno not in CHANGED:
            raise
        raise Busy(_BY_HAND, retry_after=1) from error


def _good(attempts: Iterable[_Attempt]) -> list[_Attempt]:
    return [attempt for attempt in attempts if attempt.error is None]


def _fail(attempts: Iterable[_Attempt], error: StoreError) -> None:
    """Let changes fail that have not failed earlier."""
    for attempt in attempts:
        attempt.error = attempt.error or error
