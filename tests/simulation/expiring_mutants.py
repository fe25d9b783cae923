"""The store with one thing done wrong about blobs that expire."""

from __future__ import annotations

from gostore.volume.changes import Sync
from tests.simulation import expiring
from tests.simulation.mutants import Mutant

_CHANGE = '            return self._change(blob, location, "", is_over=True)\n'


def _both(name: str, module: str, old: str, new: str, *more: tuple[str, str]) -> tuple[Mutant, ...]:
    """A mutant of each protocol."""
    return tuple(
        Mutant(f"{name} ({sync.value})", module, old, new, expiring.expiring, more, sync=sync)
        for sync in (Sync.FILES, Sync.JOURNAL)
    )


EXPIRING_MUTANTS = (
    *_both(
        "what is over is gone before it is marked",
        "store.deleting",
        _CHANGE,
        _CHANGE.replace("return ", "change = ")
        + "            self._index.remove(location)\n            return change\n",
    ),
    *_both(
        "what is over is forgotten and not deleted",
        "store.deleting",
        "        changed = self._committer.change(location, decide_and_note, switch)\n",
        "        found = self._index.standing(location)\n"
        "        if found is not None and self._index.find(location) is None:\n"
        "            self._index.remove(location)\n"
        "        changed = self._committer.change(location, decide_and_note, switch)\n",
    ),
    *_both(
        "the mark of what is over is none",
        "volume.commit",
        "                        blob.expire(when)\n",
        "                        pass\n",
    ),
    Mutant(
        "what is over is removed without a mark",
        "store.deleting",
        _CHANGE,
        "            return Discard([str(blob.id)], self._newest())\n",
        expiring.expiring,
        is_long=True,
    ),
    Mutant(
        "the elders of what is over are forgotten on a full disk",
        "store.deleting",
        _CHANGE,
        "            return Delete(blob, [], is_over=True)\n",
        expiring.expiring_on_a_full_disk,
    ),
)
