"""The applier: makes the files of small changes, behind the answers to their requests.

The redo journal has the changes already, so nothing here is flushed, staged or renamed into place:
a crash leaves a torn directory at worst, and a start makes it again. A blob that is replaced or
deleted before its turn comes never gets any files.

A thread of its own makes them, beside the one that commits. What it has *in hand* is, to all
others, as good as made, but for two things: its bytes and its record come from memory, and no
checkpoint passes it. So a blob that is replaced while it is in hand is retired and collected, and
one that is deleted gets a tombstone, when the thread comes to it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from threading import Lock

from attrs import define, evolve
from twisted.logger import Logger

from gostore.errors import NoSpace, StoreError, as_store_error
from gostore.volume.changes import Delete
from gostore.volume.directory import DATA, STATE, Directory, OutcomeUnknown
from gostore.volume.journal.format import BLOCK, Entry, in_blocks
from gostore.volume.trash import Trash, may_take_history

#: Failures that pass: the change stays in memory and in the journal until there is room for it.
_PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR}
)

#: A blob's directory, its bytes and its record.
INODES = 3

#: How many changes are applied before waiting batches get their turn.
AT_ONCE = 64

log = Logger()


@define(eq=False)
class _Work:
    """What is to be made of one change; ``batch`` is the number of the journal's batch."""

    entry: Entry
    batch: int
    #: How many bytes of the disk it will take.
    room: int
    #: If it deletes a blob: the generation, the ids of its elders, and whether it has a directory.
    generation: int = 0
    elders: Sequence[int] = ()
    stands: bool = False
    #: Whether its directory is there, and not whole.
    begun: bool = False
    #: Whether the blob is dead, and gets files only because it is kept as history.
    kept: bool = False
    #: Whether it deletes a blob that is kept, and that has its files, or is in hand.
    keeps: bool = False
    #: Whether the blob has been replaced while it was in hand, and is not kept.
    replaced: bool = False


def room_of(entry: Entry) -> int:
    """Return how many bytes of the disk the directory of a change takes, and its files."""
    return BLOCK + in_blocks(len(entry.state)) + in_blocks(len(entry.data or b""))


class Applier:
    """The changes that are in the journal alone, and their way to the directory.

    `apply` is for any thread, `data_of`, `state_of`, `forget` and the figures too; all else is for
    the one that commits.
    """

    def __init__(self, directory: Directory, trash: Trash) -> None:
        self._directory = directory
        self._trash = trash
        #: By the blob's id, in the order of the commits.
        self._work: dict[int, _Work] = {}
        #: What is being made: it was the oldest of `_work`.
        self._in_hand: dict[int, _Work] = {}
        #: For moving work, and for making it: only one thread does that at a time.
        self._lock = Lock()
        self._making = Lock()
        #: All changes of the batches up to this one have come here.
        self._handed_on = 0
        #: The bytes of blobs that have no files yet, for those who read them.
        self._data: dict[int, bytes] = {}
        #: Blobs that never get files, until the reactor has heard of it.
        self._unwritten: set[int] = set()
        #: All changes of the batches up to this one are in the directory.
        self.applied = 0
        #: How many bytes of the disk the waiting changes will take.
        self.room = 0
        #: Why nothing can be applied now; it may pass.
        self.obstacle: StoreError | None = None
        #: What the system called it last.
        self.errno = errno.ENOSPC

    # -- for the reactor ----------------------------------------------------------------------

    def data_of(self, blob_id: int) -> bytes | None:
        """Return the bytes of a current blob; None: it has its files."""
        return self._data.get(blob_id)

    def forget(self, blob_id: int) -> bool:
        """A blob has been replaced or deleted; say whether it has nothing on the disk."""
        self._data.pop(blob_id, None)
        if blob_id not in self._unwritten:
            return False
        self._unwritten.discard(blob_id)
        return True

    @property
    def inodes(self) -> int:
        """How many inodes the waiting changes will take."""
        return INODES * (len(self._work) + len(self._in_hand))

    @property
    def waits(self) -> bool:
        """Whether there is something to apply."""
        return bool(self._work or self._in_hand)

    # -- what the journal has -----------------------------------------------------------------

    def commit(
        self, entry: Entry, batch: int, replaces: int | None, *, keeps: bool = False
    ) -> None:
        """Take in a new blob that a batch has made durable, in place of another."""
        assert entry.data is not None
        if replaces is not None:
            self.supersede(replaces, keeps=keeps)
        self._data[entry.blob_id] = entry.data
        with self._lock:
            self._add(_Work(entry, batch, room_of(entry)))

    def supersede(self, blob_id: int, *, keeps: bool = False) -> None:
        """A blob is durably replaced: without files it needs none any more, unless it is kept."""
        with self._lock:
            in_hand = self._in_hand.get(blob_id)
            if keeps:
                if (kept := self._work.get(blob_id) or in_hand) is not None:
                    kept.kept = True
                return
            if in_hand is not None:
                in_hand.replaced = True
            work = self._drop(blob_id)
        if work is None:
            return
        if work.begun:
            with suppress(OSError, MemoryError):
                self._unmake(work)
        if not work.begun:
            self._unwritten.add(blob_id)

    def delete(self, entry: Entry, batch: int, delete: Delete) -> None:
        """Take in a deletion that a batch has made durable.

        A deleted blob that has no files gets a tombstone only if its elders may have some: one of
        them would come back when the journal has forgotten the deletion. A blob that is kept gets
        its files with the tombstone in them, when its own turn comes: the journal has its bytes
        until then.
        """
        blob, elders = delete.blob, delete.elders
        with self._lock:
            work = self._work.get(blob.id)
            if delete.keeps and work is not None:
                self._bury_kept(work, entry, blob.generation, elders)
                return
            work = self._drop(blob.id)
            stands = work is None or work.begun
            if stands or elders:
                tombstone = _Work(entry, batch, room_of(entry), blob.generation, elders, stands)
                tombstone.keeps = delete.keeps
                self._add(tombstone)
            else:
                self._unwritten.add(blob.id)

    def _bury_kept(self, work: _Work, entry: Entry, generation: int, elders: Sequence[int]) -> None:
        """Let a blob that is kept get its files with the tombstone in them."""
        self.room -= work.room
        work.entry = Entry(entry.blob_id, entry.state, work.entry.data)
        work.room = room_of(work.entry)
        self.room += work.room
        work.generation, work.elders, work.kept = generation, elders, True

    def give_up(self, ids: Iterable[int]) -> list[int]:
        """Make no files of blobs that are only kept as history; return those that leave nothing.

        A tombstone is made all the same, where elders may be on the disk.
        """
        gone = []
        for blob_id in ids:
            with self._lock:
                work = self._work.get(blob_id)
                if work is None or not work.kept:
                    continue
                if work.begun:
                    with suppress(OSError, MemoryError):
                        self._unmake(work)
                if work.begun:
                    continue
                self._drop(blob_id)
                self._data.pop(blob_id, None)
                if work.elders:
                    entry = Entry(blob_id, work.entry.state, None)
                    self._add(evolve(work, entry=entry, room=room_of(entry), kept=False))
                else:
                    gone.append(blob_id)
        return gone

    def state_of(self, blob_id: int) -> bytes | None:
        """Return the record of a blob that has no files yet."""
        # The applier may take it in hand, or put it back, between two looks.
        work = self._work.get(blob_id) or self._in_hand.get(blob_id) or self._work.get(blob_id)
        return None if work is None else work.entry.state

    def pass_to(self, written: int) -> None:
        """Note how far the directory is, where ``written`` is the newest batch."""
        with self._lock:
            self._handed_on = written
            self._pass()

    def _pass(self) -> None:
        oldest = next(iter(self._in_hand.values()), None) or next(iter(self._work.values()), None)
        self.applied = self._handed_on if oldest is None else oldest.batch - 1

    def _add(self, work: _Work) -> None:
        self._work[work.entry.blob_id] = work
        self.room += work.room

    def _drop(self, blob_id: int) -> _Work | None:
        work = self._work.pop(blob_id, None)
        if work is not None:
            self.room -= work.room
        return work

    # -- making files -------------------------------------------------------------------------

    def apply(self, up_to: int, at_most: int = AT_ONCE) -> None:
        """Make the files of changes, oldest first, of batches up to a number.

        An obstacle that may pass stops it, and is noted. Raises OutcomeUnknown if the disk fails.
        """
        with self._making:
            self._take(up_to, at_most)
            try:
                obstacle = self._make_all()
            finally:
                self._put_back()
            self.obstacle = obstacle
            if obstacle is not None:
                self._make_room()
            with self._lock:
                self._pass()

    def _take(self, up_to: int, at_most: int) -> None:
        """Take the oldest changes in hand."""
        with self._lock:
            for work in list(islice(self._work.values(), at_most)):
                if work.batch > up_to:
                    break
                # In this order: who looks for it without the lock finds it.
                self._in_hand[work.entry.blob_id] = work
                del self._work[work.entry.blob_id]

    def _make_all(self) -> StoreError | None:
        """Make what is in hand, up to an obstacle, which is returned."""
        for work in list(self._in_hand.values()):
            if self._directory.broken is not None:
                raise OutcomeUnknown(self._directory.broken)
            try:
                self._make(work)
            except (OSError, MemoryError) as error:
                if isinstance(error, OSError) and error.errno not in _PASSING:
                    raise OutcomeUnknown(self._why_broken(work, error)) from error
                self.errno = (isinstance(error, OSError) and error.errno) or errno.ENOMEM
                return as_store_error(error)
            with self._lock:
                del self._in_hand[work.entry.blob_id]
                self.room -= work.room
            if work.entry.data is not None:
                self._data.pop(work.entry.blob_id, None)
        return None

    def _put_back(self) -> None:
        """Let what is in hand wait again: before all that has come meanwhile."""
        with self._lock:
            for blob_id, work in list(self._in_hand.items()):
                if work.replaced:
                    # Its successor may be deleted before it has files, and be no more above it.
                    with suppress(OSError, MemoryError):
                        if work.begun:
                            self._unmake(work)
                    del self._in_hand[blob_id]
                    self.room -= work.room
                    continue
                tombstone = self._work.get(blob_id)
                if tombstone is None:
                    continue
                # It was deleted meanwhile, and has no directory for its tombstone.
                if tombstone.keeps:
                    self._drop(blob_id)
                    self._bury_kept(work, tombstone.entry, tombstone.generation, tombstone.elders)
                else:
                    tombstone.stands = tombstone.begun = work.begun
                    del self._in_hand[blob_id]
                    self.room -= work.room
            if self._in_hand:
                self._work = {**self._in_hand, **self._work}
                self._in_hand = {}

    def _why_broken(self, work: _Work, error: OSError) -> str:
        if error.errno == errno.EEXIST:
            reason = f"{work.entry.blob_id} stands where a blob belongs, and is not gostore's"
            return self._directory.give_up(reason)
        return self._directory.break_for(error, "a write")

    def _make_room(self) -> None:
        """Put away what is deleted, without tombstones: the collector removes it then.

        It may be all the room that those before it will ever get. What is kept as history goes only
        where the disk is full. Raises OutcomeUnknown.
        """
        is_full = isinstance(self.obstacle, NoSpace)
        with self._lock:
            deletions = [each for each in self._work.values() if each.entry.data is None]
            deletions = [each for each in deletions if is_full or not each.keeps]
        for work in deletions:
            with suppress(OSError, MemoryError):  # the next try comes to it again
                self._put_away(work)
                with self._lock:
                    self._drop(work.entry.blob_id)

    def _make(self, work: _Work) -> None:
        entry = work.entry
        name = str(entry.blob_id)
        if work.stands:
            self._bury(name, work)
            return
        if work.begun:
            self._unmake(work)
        self._directory.make(name)
        work.begun = True
        try:
            # Looked up once. It is the directory just made, and no link is followed.
            above = self._directory.enter(name)
            try:
                if entry.data is not None:
                    self._directory.write(DATA, entry.data, sync=False, above=above)
                self._directory.write(STATE, entry.state, sync=False, above=above)
            finally:
                self._directory.disk.close(above)
        except (OSError, MemoryError):
            with suppress(OSError, MemoryError):  # then the next try begins with it
                self._unmake(work)
            raise

    def _unmake(self, work: _Work) -> None:
        """Remove a directory that was begun: it is made again, or not at all."""
        disk, root, name = self._directory.disk, self._directory.root, str(work.entry.blob_id)
        for file in (DATA, STATE):
            with suppress(FileNotFoundError):
                disk.unlink(f"{name}/{file}", dir_fd=root)
        disk.rmdir(name, dir_fd=root)
        work.begun = False

    def _bury(self, name: str, work: _Work) -> None:
        """Put a tombstone in place of a blob's record; without room, put its directory away."""
        try:
            self._directory.write_state_tmp(name, work.entry.state, sync=False)
            self._directory.put_state_in_place(name)
        except (OSError, MemoryError) as error:
            if work.keeps and not may_take_history(error):
                raise
            self._put_away(work)

    def _put_away(self, work: _Work) -> None:
        names = [str(blob_id) for blob_id in (*work.elders, work.entry.blob_id)]
        self._trash.put_away(names, work.generation)
