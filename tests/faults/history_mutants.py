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
        "the version that is copied stays open",
        "store.past",
        "                await self._workers.files.run(self._volume.close_data, opened)\n",
        "                pass\n",
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
        "what is given up and cannot be collected is forgotten",
        "store.garbage",
        "            else:\n                self.add(each)\n",
        "            else:\n                pass\n",
        "POST in place of history",
    ),
)
