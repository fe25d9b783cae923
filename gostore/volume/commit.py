"""The write protocol: in what order changes reach the disk, and what makes them last.

docs/architecture.md numbers its steps, and says what a crash between any two of them leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeGuard, TypeVar

from twisted.logger import Logger

from gostore import statefile
from gostore.blob import Blob, Committed, State
from gostore.errors import BadRecord, DiskFailed, ReadOnly, as_store_error
from gostore.volume.changes import Change, Commit, Delete, Discard, Stage
from gostore.volume.directory import (
    DATA,
    STATE,
    STATE_TMP,
    Directory,
    OutcomeUnknown,
    stage_name,
)
from gostore.volume.journal.journal import Entry, Journal, NothingWritten
from gostore.volume.trash import Trash

C = TypeVar("C", Commit, Delete, "Commit | Delete")

log = Logger()


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

    def carry_out(self, changes: Sequence[Change]) -> None:
        """Carry out the changes, durably; each one's ``error`` says why it is not done, if so.

        The steps of the write protocol (docs/architecture.md) are taken for the whole batch
        together: everything is written, everything is synced, everything is renamed, and a sync
        of the root, begun after the last rename, makes the renames last.  Should that one fail,
        `Directory.broken` is set, and the changes it was for fail with an unknown outcome.
        """
        if self._directory.broken is not None:
            for change in changes:
                change.error = ReadOnly(self._directory.broken)
            return
        together = len(changes) > 1 and self._directory.syncfs_trusted
        if self._journaled and self._directory.syncfs_trusted and self._open_journal():
            small = [change for change in changes if _is_small(change)]
            self._commit_small(small)
            changes = [change for change in changes if not _is_small(change)]
            if changes and not self._record_checkpoint(changes):
                return
        if changes:
            self._commit_each(changes, together)

    # -- small changes, by the journal --------------------------------------------------------

    def _commit_small(self, changes: Sequence[Commit | Delete]) -> None:
        """Make small changes durable by one flush, of the redo journal.

        The journal comes before the renames. So whatever a crash leaves torn under a plain number
        is in the journal, to be written again.
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
                    _attempt(change, self._rename_blob)
                else:
                    _attempt(change, self._rename_tombstone)
            self._renamed = self.journal.last
            failed = [each for each in changes if isinstance(each, Delete) and each.error]
            # What could not be renamed is not done, and no start may find it in the journal.
            if failed or len(_good(good)) < len(good):
                self.forget_journal()
                self._delete_without_tombstones(failed)
        except OutcomeUnknown as unknown:
            for change in changes:
                change.error = change.error or DiskFailed(str(unknown))

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
            self._renamed = self.journal.last

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

    def _record_checkpoint(self, changes: Sequence[Change]) -> bool:
        """Record the last checkpoint before these changes; if that fails, they fail."""
        try:
            self.record_checkpoint()
        except OutcomeUnknown as unknown:
            for change in changes:
                change.error = DiskFailed(str(unknown))
            return False
        except NothingWritten as error:
            _fail(changes, error)
            return False
        return True

    def record_checkpoint(self) -> None:
        """Write the last checkpoint into the journal, if it is not there.

        This comes before any change that the journal does not hold. After a checkpoint an id may be
        collected and reused. Recovery could not replay a delete of the old blob against the new
        one. Raises OutcomeUnknown or NothingWritten.
        """
        if self.journal.synced > self.journal.told:
            self._append([])

    def forget_journal(self) -> None:
        """See that a start brings back nothing from the journal; raises OutcomeUnknown.

        Before a change that must not be undone by what the journal holds, and at the end.
        """
        self.checkpoint()
        if self.journal.told < self.journal.last:
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
        self._renamed = self.journal.synced = self.journal.last
        if self._journaled and self._directory.syncfs_trusted and self._open_journal():
            try:
                self._append([])
                return
            except NothingWritten as error:
                self._do_without_journal(error)
        self.journal.remove()
        self._renamed = 0

    # -- changes that are flushed to their own files ------------------------------------------

    def _commit_each(self, changes: Sequence[Change], together: bool) -> None:
        commits = [change for change in changes if isinstance(change, Commit)]
        deletes = [change for change in changes if isinstance(change, Delete)]
        for commit in commits:
            _attempt(commit, self._prepare_blob, not together)
        for delete in deletes:
            _attempt(delete, self._prepare_tombstone, not together)
        if together:
            try:
                self._directory.disk.syncfs(self._directory.root)
            except OSError as error:
                # No change of the batch is known to be whole, but none has been renamed either.
                # The failed write may be one that only the journal holds, or one of an upload that
                # is still coming. No later syncfs can tell, for the kernel reports a failure once.
                # The upload's own fsync can.
                if self.journal.last:
                    self._directory.break_for(error)
                self._directory.syncfs_trusted = False
                _fail(changes, error)
                return
        try:
            for commit in commits:
                _attempt(commit, self._rename_blob)
            if together and deletes:
                for delete in deletes:
                    _attempt(delete, self._rename_tombstone)
                self._directory.sync_all()
            else:
                if _good(commits):
                    self._directory.sync_root()
                for delete in deletes:
                    _attempt(delete, self._delete_durably)
            # A tombstone needs room, and a directory to stand in. A deletion must need neither.
            self._delete_without_tombstones([each for each in deletes if each.error is not None])
            for change in changes:
                if isinstance(change, Discard):
                    self.forget_journal()
                    _attempt(change, self._put_away, change.names, change.newest)
        except OutcomeUnknown as unknown:
            for change in changes:
                change.error = change.error or DiskFailed(str(unknown))

    # -- the steps ----------------------------------------------------------------------------

    def _prepare_blob(self, commit: Commit, sync: bool) -> None:
        name = stage_name(commit.blob.id)
        record = commit.record = statefile.dump(commit.blob)
        if isinstance(commit.data, Stage):
            self._directory.finish(commit.data.release(), sync=sync)
            self._directory.write(f"{name}/{STATE_TMP}", record, sync=sync)
            self._directory.put_state_in_place(name)
        else:
            self._directory.make(name)
            self._directory.write(f"{name}/{DATA}", commit.data, sync=sync)
            self._directory.write(f"{name}/{STATE}", record, sync=sync)
        if sync:
            self._directory.sync(name)

    def _rename_blob(self, commit: Commit) -> None:
        self._directory.rename(stage_name(commit.blob.id), str(commit.blob.id))

    def _prepare_tombstone(self, delete: Delete, sync: bool) -> None:
        blob = self._record_of(delete.blob)
        # A rename that was reported as failed, or somebody's hand, may have made it one already.
        if blob.state is not State.FAILURE:
            blob.delete(self._now())
        delete.record = statefile.dump(blob)
        self._directory.write_state_tmp(str(blob.id), delete.record, sync=sync)

    def _record_of(self, committed: Committed) -> Blob:
        """Read a committed blob's record, or make one of what the maps know if it is lost."""
        try:
            return self._directory.read_record(str(committed.id), committed.id)
        except (OSError, BadRecord) as error:
            log.warn("The record of blob {id} is lost: {error}", id=committed.id, error=error)
            return Blob.of(committed)

    def _rename_tombstone(self, delete: Delete) -> None:
        self._directory.put_state_in_place(str(delete.blob.id))

    def _delete_durably(self, delete: Delete) -> None:
        """Rename a tombstone, to last; raises OutcomeUnknown, or OSError if nothing is done."""
        with self._directory.flushing(str(delete.blob.id)):
            self._rename_tombstone(delete)

    def _delete_without_tombstones(self, deletes: Sequence[Delete]) -> None:
        for delete in deletes:
            delete.error = None
            names = [str(blob_id) for blob_id in (*delete.elders, delete.blob.id)]
            _attempt(delete, self._put_away, names, delete.blob.generation)

    def _put_away(self, _change: Change, names: Sequence[str], newest: int) -> None:
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


def _attempt(change: Change, step: Callable[..., None], *arguments: object) -> None:
    """Take one step of a change, unless an earlier one failed."""
    if change.error is None:
        try:
            step(change, *arguments)
        except (OSError, MemoryError) as error:
            change.error = as_store_error(error)


def _fail(changes: Iterable[Change], error: OSError) -> None:
    """Let changes fail that have not failed earlier."""
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
