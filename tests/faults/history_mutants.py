"""The store that keeps a history with one thing done wrong when a call fails; see mutants.py."""

from __future__ import annotations

from tests.faults.mutants import caught_in_deed

HISTORY_MUTANTS = (
    caught_in_deed(
        "a version whose record cannot be read now is hidden",
        "store.past",
        "except (FileNotFoundError, NotADirectoryError, Unreadable, OutOfReach, BadRecord):",
        "except (OSError, BadRecord):",
        "GET of a history",
    ),
    caught_in_deed(
        "a copy that is cut short is not completed",
        "volume.volume",
        "            offset += copied\n",
        "            offset = size\n",
        "restore, large",
    ),
    caught_in_deed(
        "a failed copy leaves its stage",
        "store.copying",
        "        return drop(self._volume, self._workers, self.blob, self._stage, error)\n",
        "        return drop(self._volume, self._workers, self.blob, None, error)\n",
        "restore, large",
    ),
    caught_in_deed(
        "a deletion whose tombstone fails takes what is kept with it",
        "volume.trash",
        " and (is_no_space(error) or error.errno in CHANGED)\n",
        "\n",
        "DELETE, with a history",
    ),
    caught_in_deed(
        "a tombstone that fails behind its answer takes what is kept with it",
        "volume.applier",
        "            if work.keeps and not may_take_history(error):\n",
        "            if False:\n",
        "DELETE, with a history",
    ),
    caught_in_deed(
        "what waits for anything but room takes what is kept with it",
        "volume.applier",
        "            deletions = [each for each in deletions if is_full or not each.keeps]\n",
        "",
        "DELETE, with a history",
    ),
)
