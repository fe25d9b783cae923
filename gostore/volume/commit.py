"""The write protocol: in what order changes reach the disk, and what makes them durable.

docs/architecture.md numbers its steps, and says what a crash between any two of them leaves.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from attrs import define
from twisted.logger import Logger

from gostore import statefile
from gostore.blob import Blob, Committed, State
from gostore.errors import BadRecord, Busy, DiskFailed, ReadOnly, StoreError, as_store_error
from gostore.volume.changes import Change, Commit, Delete, Discard, Stage
from gostore.volume.directory import (
    DATA,
    STATE,
    STATE_TMP,
    DataDamaged,
    Directory,
    OutcomeUnknown,
    stage_name,
)
from gostore.volume.disk import NOT_REGULAR
from gostore.volume.journal.format import Entry
from gostore.volume.journal.journal import Journal, NothingWritten
from gostore.volume.trash import Trash

#: How a step fails that finds something else than what the step before has left.
_CHANGED = NOT_REGULAR | {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY}

_BY_HAND = "Somebody has removed or changed the upload in the data directory; send it again"

log = Logger()


@define(eq=False)
class _Attempt:
    """A change that is being carried out."""

    change: Change
    #: Why it is not done, or cannot be.
    error: StoreError | None = None
    #: What its state file holds, once it is written.
    record: bytes = b""

    def take(self, step: Callable[..., None], *arguments: object, **keywords: object) -> None:
        """Take one step of the change, unless an earlier one failed."""
        if self.error is None:
            try:
                step(*arguments, **keywords)
            except (OSError, MemoryError, StoreError) as error:
                self.error = as_store_error(error)

    @property
    def is_small(self) -> bool:
        """Whether the redo journal takes it: all of it is in memory."""
        if isinstance(self.change, Commit):
            return isinstance(self.change.data, bytes)
        return isinstance(self.change, Delete)

    @property
    def entry(self) -> Entry:
        """What the journal holds of it."""
        change = self.change
        assert not isinstance(change, Discard)
        data = change.data if isinstance(change, Commit) else None
        assert not isinstance(data, Stage)
        return Entry(change.blob.id, self.record, data)


class WriteProtocol:
    """Carries out changes in one data directory, durably."""

    def __init__(
        self, directory: Directory, trash: Trash, now: Callable[[], int], *, journaled: bool
    ) -> None:
        """``journaled`` says whether small changes go by the redo journal."""
        self._directory = directory
        self._trash = trash
        self._now = now
        self._journaled = journaled
        self.journal = Journal(directory.disk, -1)
        #: The number of the newest batch of the journal whose renames are done.
        self._renamed = 0

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
            self._check_journal()
        except ReadOnly as error:
            _fail(attempts, error)
            return
        together = len(attempts) > 1 and self._directory.syncfs_trusted
        if self._journaled and self._directory.syncfs_trusted and self._open_journal():
            self._commit_small([attempt for attempt in attempts if attempt.is_small])
            attempts = [attempt for attempt in attempts if not attempt.is_small]
            if attempts and not self._record_checkpoint(attempts):
                return
        if attempts:
            self._commit_each(attempts, together=together)

    # -- small changes, by the journal --------------------------------------------------------

    def _commit_small(self, attempts: Sequence[_Attempt]) -> None:
        """Make small changes durable by one flush, of the redo journal.

        The journal comes before the renames. So whatever a crash leaves torn under a plain number
        is in the journal, to be written again.
        """
        for attempt in attempts:
            attempt.take(self._prepare, attempt, sync=False)
        good = _good(attempts)
        try:
            try:
                if good:
                    self._append([attempt.entry for attempt in good])
            except NothingWritten as error:
                _fail(good, as_store_error(error))
                good = []
            for attempt in good:
                attempt.take(self._rename, attempt.change)
            self._renamed = self.journal.written
            failed = [each for each in attempts if isinstance(each.change, Delete) and each.error]
            # What could not be renamed is not done, and no start may find it in the journal.
            if failed or len(_good(good)) < len(good):
                self.forget_journal()
                self._delete_without_tombstones(failed)
        except OutcomeUnknown as unknown:
            _fail(attempts, DiskFailed(str(unknown)))

    def _check_journal(self) -> None:
        """Raise ReadOnly if somebody has removed the journal: no start would find what it holds."""
        if self._journaled and self.journal.is_removed():
            with suppress(OutcomeUnknown):
                self.checkpoint()
            reason = "a file of the redo journal has been removed"
            raise ReadOnly(self._directory.give_up(reason))

    def _open_journal(self) -> bool:
        """Have the journal ready; without one, small changes are flushed as large ones are."""
        try:
            self.journal.open()
        except (OSError, MemoryError) as error:
            # A small disk, or a full one. A second try would cost as much as the journal does.
            self._do_without_journal(error)
        return self._journaled

    def _do_without_journal(self, error: OSError | MemoryError) -> None:
        self._journaled = False
        log.warn(
            "No room for a journal ({error}): small blobs are stored more slowly",
            error=as_store_error(error),
        )

    def _append(self, entries: Sequence[Entry]) -> None:
        """Append a batch to the journal; raises OutcomeUnknown or NothingWritten."""
        if not self.journal.fits(entries):
            if not self.journal.may_turn:
                self.checkpoint()
            self._directory.break_if_failing(Journal.turn, self.journal)
        self._directory.break_if_failing(self.journal.append, entries)
        if not entries:
            self._renamed = self.journal.written

    def checkpoint(self) -> None:
        """Flush what the journal made durable to its own files; raises OutcomeUnknown.

        Another thread may commit meanwhile: this covers what is renamed by now.
        """
        renamed = self._renamed
        if renamed > self.journal.synced:
            self._directory.sync_all()
            self.journal.advance(renamed)

    @property
    def checkpoint_due(self) -> bool:
        """Whether commits will soon have to wait for a `checkpoint`."""
        return not self.journal.may_turn

    def _record_checkpoint(self, attempts: Sequence[_Attempt]) -> bool:
        """Record the last checkpoint before these changes; if that fails, they fail."""
        try:
            self.record_checkpoint()
        except OutcomeUnknown as unknown:
            _fail(attempts, DiskFailed(str(unknown)))
            return False
        except NothingWritten as error:
            _fail(attempts, as_store_error(error))
            return False
        return True

    def record_checkpoint(self) -> None:
        """Write the last checkpoint into the journal, if it is not there.

        This comes before any change that the journal does not hold. After a checkpoint an id may be
        collected and reused. Recovery could not replay a delete of the old blob against the new
        one. Raises OutcomeUnknown or NothingWritten.
        """
        if self.journal.synced > self.journal.recorded_synced:
            self._append([])

    def forget_journal(self) -> None:
        """See that a start brings back nothing from the journal; raises OutcomeUnknown.

        Before a change that must not be undone by what the journal holds, and at the end.
        """
        self.checkpoint()
        if self.journal.recorded_synced < self.journal.written:
            try:
                self._append([])
            except NothingWritten as error:
                raise OutcomeUnknown(self._directory.break_for(error)) from error

    def flush_redone(self) -> None:
        """Flush what recovery did again; only then may the journal forget it, and does.

        Raises OutcomeUnknown.
        """
        self._directory.sync_all()
        self._directory.sync_root()
        self._renamed = self.journal.synced = self.journal.written
        if self._journaled and self._directory.syncfs_trusted and self._open_journal():
            try:
                self._append([])
                return
            except NothingWritten as error:
                self._do_without_journal(error)
        self.journal.remove()
        self._renamed = 0

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
                if self.journal.written:
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
            self._delete_without_tombstones([each for each in deletes if each.error is not None])
            for attempt in attempts:
                if isinstance(attempt.change, Discard):
                    self.forget_journal()
                    attempt.take(self._put_away, attempt.change.names, attempt.change.newest)
        except OutcomeUnknown as unknown:
            _fail(attempts, DiskFailed(str(unknown)))

    # -- the steps ----------------------------------------------------------------------------

    def _prepare(self, attempt: _Attempt, *, sync: bool) -> None:
        """Write everything of a change but the rename that makes it true."""
        match attempt.change:
            case Commit() as commit:
                attempt.record = statefile.dump(commit.blob)
                with _unless_changed():
                    self._prepare_blob(commit, attempt.record, sync=sync)
            case Delete() as delete:
                blob = self._record_of(delete.blob)
                # It may be one already: by a rename that was reported as failed, or by hand.
                if blob.state is not State.FAILURE:
                    blob.delete(self._now(), delete.origin)
                attempt.record = statefile.dump(blob)
                self._directory.write_state_tmp(str(blob.id), attempt.record, sync=sync)

    def _prepare_blob(self, commit: Commit, record: bytes, *, sync: bool) -> None:
        name = stage_name(commit.blob.id)
        if isinstance(commit.data, Stage):
            self._directory.finish(commit.data.release(), sync=sync)
            # The descriptor may have outlived the file's name.
            self._directory.check_data_in(name, commit.blob.size)
            self._directory.write(f"{name}/{STATE_TMP}", record, sync=sync)
            self._directory.put_state_in_place(name)
        else:
            self._directory.make(name)
            self._directory.write(f"{name}/{DATA}", commit.data, sync=sync)
            self._directory.write(f"{name}/{STATE}", record, sync=sync)
        if sync:
            self._directory.sync(name)

    def _record_of(self, committed: Committed) -> Blob:
        """Read a committed blob's record, or make one of what the maps know if it is lost."""
        try:
            return self._directory.read_record(str(committed.id), committed.id)
        except (OSError, BadRecord) as error:
            log.warn("The record of blob {id} is lost: {error}", id=committed.id, error=error)
            return Blob.of(committed)

    def _rename(self, change: Commit | Delete) -> None:
        """Make a change true, by the one rename that does."""
        if isinstance(change, Commit):
            with _unless_changed():
                self._directory.rename(stage_name(change.blob.id), str(change.blob.id))
        else:
            self._directory.put_state_in_place(str(change.blob.id))

    def _delete_durably(self, delete: Delete) -> None:
        """Rename a tombstone, to last; raises OutcomeUnknown, or OSError if nothing is done."""
        with self._directory.flushing(str(delete.blob.id)):
            self._rename(delete)

    def _delete_without_tombstones(self, attempts: Sequence[_Attempt]) -> None:
        for attempt in attempts:
            assert isinstance(attempt.change, Delete)
            attempt.error = None
            blob = attempt.change.blob
            names = [str(blob_id) for blob_id in (*attempt.change.elders, blob.id)]
            attempt.take(self._put_away, names, blob.generation)

    def _put_away(self, names: Sequence[str], newest: int) -> None:
        """Put directories into the trash, the last only when the others are durably there.

        An elder may have been collected since, and its id given to a blob that is younger than
        ``newest``: that one stays. Raises OutcomeUnknown, or OSError while the last name still
        stands.
        """
        *elders, last = names
        for group in (elders, [last]):
            for name in group:
                blob_id = int(name) if name.isdecimal() else None
                if blob_id is None or not self._is_younger(blob_id, newest):
                    self._trash.put_or_unlink(name, blob_id)
            # Even if there was none to move: the collector may have moved it, and not synced yet.
            if group:
                self._directory.sync_root()

    def _is_younger(self, blob_id: int, generation: int) -> bool:
        """Whether an id is that of a blob that was committed after a generation."""
        try:
            return self._directory.read_record(str(blob_id), blob_id).generation > generation
        except (OSError, BadRecord):
            return False


@contextmanager
def _unless_changed() -> Iterator[None]:
    """Say that a commit may be retried if somebody's hand in the data directory spoilt it."""
    try:
        yield
    except (OSError, DataDamaged) as error:
        if isinstance(error, OSError) and error.errno not in _CHANGED:
            raise
        raise Busy(_BY_HAND, retry_after=1) from error


def _good(attempts: Iterable[_Attempt]) -> list[_Attempt]:
    return [attempt for attempt in attempts if attempt.error is None]


def _fail(attempts: Iterable[_Attempt], error: StoreError) -> None:
    """Let changes fail that have not failed earlier."""
    for attempt in attempts:
        attempt.error = attempt.error or error
