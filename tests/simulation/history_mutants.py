"""The store with one thing taken away of what keeps its history."""

from __future__ import annotations

from gostore.volume.changes import Sync
from tests.simulation import history
from tests.simulation.mutants import Mutant

HISTORY_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a retained blob is taken for current",
        "volume.recovery.scan",
        "            committed, dead = plain\n",
        "            committed, dead = plain[0], False\n",
        history.short_scripts,
    ),
    Mutant(
        "the tombstone of a history is collected before its elders",
        "volume.collect",
        "(last if group else first).append(youngest)",
        "first.insert(0, youngest)",
        history.due,
    ),
    Mutant(
        "the youngest is given up first",
        "store.history",
        "            group.append(dead)\n",
        "            group.insert(0, dead)\n",
        history.room,
    ),
    Mutant(
        "a write is refused though history could go",
        "store.room",
        "        if isinstance(error, QuotaExceeded) or not len(self._garbage.history):\n",
        "        if True:\n",
        history.room,
    ),
    Mutant(
        "a version that is replaced before it has files gets none",
        "volume.applier",
        "            if keeps:\n                if (kept",
        "            if False:\n                if (kept",
        history.unapplied,
        sync=Sync.JOURNAL,
    ),
    Mutant(
        "a version that is deleted before it has files loses its bytes",
        "volume.applier",
        "        if delete.keeps and work is not None:\n",
        "        if False:\n",
        history.unapplied,
        sync=Sync.JOURNAL,
    ),
    Mutant(
        "a start forgets the history that only the journal has",
        "volume.recovery.decisions",
        "        findings.ended.append(Ended(blob.id, entry, replaced))\n",
        "",
        history.unapplied,
        sync=Sync.JOURNAL,
    ),
    Mutant(
        "a deletion in the journal has no bytes",
        "volume.recovery.scan",
        "                entry = evolve(entry, data=before.data)\n",
        "                pass\n",
        history.unapplied,
        sync=Sync.JOURNAL,
    ),
    Mutant(
        "the bytes of what is dead are not looked at",
        "volume.recovery.scan",
        "        if found.state is State.FAILURE and not is_kept:\n",
        "        if found.state is State.FAILURE:\n",
        history.unapplied,
        sync=Sync.JOURNAL,
    ),
    Mutant(
        "a start does not tell what replaced a blob",
        "volume.recovery.decisions",
        "        younger = [None, *(rival for rival, _ in losers[1:]), winner]\n",
        "        younger = [None, *(winner for _ in losers[1:]), winner]\n",
        history.marked_late,
    ),
    Mutant(
        "what expires is not kept as history",
        "store.deleting",
        "            keeps = self._garbage.history.keeps(location)\n",
        "            keeps = self._garbage.history.keeps(location) and not is_over\n",
        history.expired,
    ),
    Mutant(
        "what expires is not kept as history, with the journal",
        "store.deleting",
        "            keeps = self._garbage.history.keeps(location)\n",
        "            keeps = self._garbage.history.keeps(location) and not is_over\n",
        history.expired,
        sync=Sync.JOURNAL,
    ),
    Mutant(
        "a version that is restored leaves its history",
        "store.past",
        "        body = Copy(",
        "        self._history.discard(dead.id)\n        body = Copy(",
        history.restored,
    ),
    Mutant(
        "a large version that is restored is not flushed",
        "store.copying",
        "            self._volume.seal(stage)\n",
        "            self._volume.directory.finish(stage.release(), sync=False)\n",
        history.restored_large,
    ),
)
