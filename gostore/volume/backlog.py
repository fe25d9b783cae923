"""What the redo journal has and the files lack: how long that may wait, and what must wait for it.

format.py has the rules (J1 to J7) that the code here keeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from twisted.logger import Logger

from gostore.errors import NoSpace, ReadOnly, as_store_error
from gostore.volume.applier import Applier
from gostore.volume.directory import Directory, OutcomeUnknown
from gostore.volume.journal.format import SIZE, Entry
from gostore.volume.journal.journal import Journal, NothingWritten
from gostore.volume.trash import Trash

#: What has waited for so many looks is made into files, also under load. At one look more commits
#: wait for it.
LOOKS = 4

#: Under load there is a look whenever the journal has been given so many bytes. So the applier has
#: as much to do at any time, and is far ahead when a file of the journal is full.
LOOK_AT = SIZE // 8

log = Logger()


class Backlog:
    """The journal and the applier of one volume, in step.

    What only reads is for any thread, and so are `checkpoint`, `apply` and `apply_due`; all else is
    for the one that commits.
    """

    def __init__(self, directory: Directory, trash: Trash, *, journaled: bool) -> None:
        """``journaled`` says whether small changes go by the redo journal."""
        self._directory = directory
        self._journaled = journaled
        self.journal = Journal(directory.disk, -1)
        self.applier = Applier(directory, trash)
        #: What was the newest batch at each of the last looks, the oldest first.
        self._waiting = deque([0] * (LOOKS + 1), LOOKS + 1)
        #: How much the journal had been given then.
        self._looked_at = 0

    def check_journal(self) -> None:
        """Raise ReadOnly if somebody has removed the journal: no start would find what it holds."""
        if self._journaled and self.journal.is_removed():
            with suppress(OutcomeUnknown, NothingWritten):
                self.drain(self.journal.written)
                self.checkpoint()
            reason = "a file of the redo journal has been removed"
            raise ReadOnly(self._directory.give_up(reason))

    @property
    def _is_used(self) -> bool:
        return self._journaled and self._directory.syncfs_trusted

    def is_open(self) -> bool:
        """Have the journal ready; without one, small changes are flushed as large ones are."""
        if not self._is_used:
            return False
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

    def append(self, entries: Sequence[Entry]) -> None:
        """Append a batch to the journal; raises OutcomeUnknown or NothingWritten."""
        if self.applier.applied < self._waiting[0] and self.applier.obstacle is None:
            # The applier is behind, however long it has had. Help it with as much as a batch brings
            # at most: to wait until all is made would hold up everybody for half a second.
            self._apply(self._waiting[0])
        if not self.journal.fits(entries):
            if not self.journal.may_turn:
                self.drain(self.journal.turns_at)
                self.checkpoint()
            self._directory.break_if_failing(Journal.turn, self.journal)
            # A start would not read what is behind the end of a file.
            assert self.journal.fits(entries), "a batch is larger than a file of the journal"
        self._directory.break_if_failing(self.journal.append, entries)
        if not entries:
            self.applier.pass_to(self.journal.written)

    def apply(self) -> None:
        """Make the files of the oldest changes that are in the journal alone."""
        self._apply(self.journal.written)

    def apply_due(self) -> None:
        """As `apply`, of those changes that may not wait any longer."""
        self._apply(self._due)

    def _apply(self, up_to: int) -> None:
        with suppress(OutcomeUnknown):  # it is logged
            self.applier.apply(up_to)

    def retry(self) -> None:
        """Make the files of all that waits, if there is room for them now."""
        with suppress(NothingWritten, OutcomeUnknown):  # noted, or logged
            self.drain(self.journal.written)

    def drain(self, up_to: int) -> None:
        """Make all files of the batches up to a number; raises OutcomeUnknown or NothingWritten."""
        while self.applier.applied < up_to:
            self.applier.apply(up_to)
            self.applier.pass_to(self.journal.written)
            if self.applier.obstacle is not None:
                raise NothingWritten(self.applier.errno, str(self.applier.obstacle))

    @property
    def is_apply_due(self) -> bool:
        """Whether the applier has to go to work though batches are waiting."""
        return self.applier.waits and self.applier.applied < self._due

    @property
    def _due(self) -> int:
        """The number of the batch up to which changes may not wait any longer."""
        return max(self._waiting[1], self.journal.turns_at if self.journal.is_half_full else 0)

    @property
    def is_look_due(self) -> bool:
        """Whether so much has been written since the last look that another is due."""
        return self.journal.appended - self._looked_at >= LOOK_AT

    def look(self) -> None:
        """See what waits for the applier: what has been seen `LOOKS` times may wait no longer."""
        self._looked_at = self.journal.appended
        self._waiting.append(self.journal.written)

    def checkpoint(self) -> None:
        """Flush what the journal made durable to its own files; raises OutcomeUnknown.

        Another thread may commit meanwhile: this covers what is applied by now.
        """
        applied = self.applier.applied
        if applied > self.journal.synced:
            self._directory.sync_all()
            self.journal.advance(applied)

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether commits will soon have to wait for a `checkpoint` that can be made now."""
        return not self.journal.may_turn and self.applier.applied >= self.journal.turns_at

    def record_checkpoint(self) -> None:
        """Write the last checkpoint into the journal, if it is not there.

        This comes before any change that the journal does not hold. After a checkpoint an id may be
        collected and reused. Recovery could not replay a delete of the old blob against the new
        one. Raises OutcomeUnknown or NothingWritten.
        """
        if self.journal.synced > self.journal.recorded_synced:
            self.append([])

    def forget_journal(self) -> None:
        """See that a start brings back nothing from the journal.

        Before a change that must not be undone by what the journal holds, and at the end.  Raises
        OutcomeUnknown, or NothingWritten if there is no room for the files of what it holds, or for
        the batch that says so.
        """
        self.drain(self.journal.written)
        self.checkpoint()
        if self.journal.recorded_synced < self.journal.written:
            self.append([])

    def finish(self) -> None:
        """At the end: as `forget_journal`, as far as that can be done now."""
        try:
            self.forget_journal()
        except OutcomeUnknown:
            pass  # it is logged
        except NothingWritten as error:
            log.error("The journal keeps what has no room elsewhere: {error}", error=error)

    def postpone(self, entry: Entry) -> bool:
        """At start: leave to the applier what finds no room; False if there is no journal to do so.

        Until it has its files the journal must go on as it is.
        """
        if not (self._is_used and self.journal.goes_on):
            return False
        self.applier.commit(entry, self.journal.synced + 1, None)
        self.applier.obstacle = NoSpace()
        return True

    def flush_redone(self) -> None:
        """Flush what recovery did again; only then may the journal forget it, and does.

        Raises OutcomeUnknown.
        """
        # Even if nothing else is flushed: what the journal had was durable once.
        self._directory.break_if_failing(self._directory.disk.flushing.syncfs, self._directory.root)
        self._directory.sync_root()
        self.applier.pass_to(self.journal.written)
        if self.applier.waits:
            return
        self.journal.synced = self.journal.written
        # Beside a file that has taken the place of a lost one, another loss would not be noticed.
        if self.journal.damage is None and self.is_open():
            try:
                self.append([])
                return
            except NothingWritten as error:
                self._do_without_journal(error)
        self.journal.remove()
        self.applier.pass_to(self.journal.written)
