"""The store with one thing taken away of the journal first, and the files behind.

Not among them, for no crash can tell them from the genuine code: that the number of a blob which
never had files waits for a recorded checkpoint, for nothing of it is on the disk, and what the
journal has of its next bearer is newer; and that what is replaced before it has files gets none,
for it would be collected as ever.
"""

from __future__ import annotations

from gostore.volume.changes import Sync
from tests.simulation import behind, unflushed
from tests.simulation.mutants import Mutant
from tests.simulation.trials import Trial


def _journal(
    name: str,
    module: str,
    old: str,
    new: str,
    trial: Trial,
    *,
    more: tuple[tuple[str, str], ...] = (),
    is_long: bool = False,
) -> Mutant:
    return Mutant(name, module, old, new, trial, more, sync=Sync.JOURNAL, is_long=is_long)


def _unflushed(name: str, old: str, new: str) -> Mutant:
    return Mutant(name, "volume.journal.journal", old, new, unflushed.unflushed, sync=Sync.NONE)


BEHIND_MUTANTS: tuple[Mutant, ...] = (
    _journal(
        "what is deleted without files leaves no tombstone above its elders",
        "volume.applier",
        "        if stands or elders:\n",
        "        if stands:\n",
        behind.switched,
    ),
    _journal(
        "a checkpoint passes what has no files",
        "volume.applier",
        "        self.applied = self._handed_on if oldest is None else oldest.batch - 1\n",
        "        self.applied = self._handed_on\n",
        behind.unapplied,
    ),
    _journal(
        "what died is collected before the journal has its files",
        "store.garbage",
        "        dead = [one for one in dead if one.batch <= journal.synced]\n",
        "",
        behind.collected_early,
    ),
    _journal(
        "the bytes are forgotten before the files are made",
        "volume.applier",
        "                self._make(work)\n",
        "                self._data.pop(work.entry.blob_id, None)\n"
        "                self._make(work)\n"
        "                self._data[work.entry.blob_id] = b''\n",
        behind.read_meanwhile,
    ),
    _journal(
        "a blob is looked for in its files alone",
        "store.reading",
        "        data = self.volume.backlog.applier.data_of(blob.id)\n",
        "        data = None\n",
        behind.read_meanwhile,
    ),
    _journal(
        "what finds no room is dropped",
        "volume.applier",
        "                self._make_room()\n",
        "                self._make_room()\n                self._drop(next(iter(self._work)))\n",
        behind.no_room_behind,
    ),
    _journal(
        "deletions wait behind what finds no room",
        "volume.applier",
        "                self._make_room()\n",
        "                pass\n",
        behind.room_by_deleting,
        is_long=True,
    ),
    _journal(
        "nobody tries again when there is room",
        "store.garbage",
        "            # There may be room now.\n"
        "            await self._workers.commits.run(self._volume.backlog.retry)\n",
        "            pass\n",
        behind.room_by_deleting,
    ),
    _journal(
        "what has no files yet takes no room",
        "volume.commit",
        "        if disk.free(self._directory.root)[0] < applier.room + wanted:\n",
        "        if disk.free(self._directory.root)[0] < wanted:\n",
        behind.room_is_counted,
    ),
    _journal(
        "the journal keeps no room for deletions",
        "volume.journal.journal",
        "            left += self._size // _DELETIONS // BLOCK * BLOCK\n",
        "            pass\n",
        behind.room_for_deletions,
    ),
    _journal(
        "the journal is forgotten before its files are made",
        "volume.backlog",
        "        self.drain(self.journal.written)\n        self.checkpoint()\n",
        "        self.checkpoint()\n        self.journal.synced = self.journal.written\n",
        behind.unapplied,
    ),
    _journal(
        "a start forgets what it finds no room for",
        "volume.backlog",
        "        if self.applier.waits:\n            return\n",
        "",
        behind.no_room_behind,
    ),
    _journal(
        "what a start finds no room for counts as the newest",
        "volume.backlog",
        "        self.applier.commit(entry, self.journal.synced + 1, None)\n",
        "        self.applier.commit(entry, self.journal.written, None)\n",
        behind.started_full,
    ),
    _journal(
        "what has been deleted keeps its room until the collector comes",
        "volume.commit",
        "            self._trash.empty()\n",
        "",
        behind.beyond_the_tail,
    ),
    _unflushed(
        "a journal that is not flushed looks like one that is",
        "        if not self._flushes:\n",
        "        if False:\n",
    ),
    _unflushed(
        "a flushed journal goes on unflushed",
        "        self._stale = self._stale or (bool(known) and unflushed is self._flushes)\n",
        "",
    ),
    _unflushed(
        "what says that nothing is flushed is not flushed",
        "                self._disk.flushing.fsync(fd)\n",
        "                self._disk.fsync(fd)\n",
    ),
    _journal(
        "a checkpoint passes what is in hand",
        "volume.applier",
        "next(iter(self._in_hand.values()), None) or ",
        "",
        behind.replaced_in_hand,
        is_long=True,
    ),
    _journal(
        "what is deleted in hand leaves no tombstone",
        "volume.applier",
        "            stands = work is None or work.begun\n",
        "            stands = blob.id not in self._in_hand and (work is None or work.begun)\n",
        behind.deleted_in_hand,
        is_long=True,
    ),
)
