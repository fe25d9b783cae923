"""Mutants of uploads in several requests, when a call fails; see mutants.py."""

from __future__ import annotations

from tests.faults.trials import scratch
from tests.faults.uploads import DEEDS, UploadTrials
from tests.simulation.explorer import Explorer
from tests.simulation.mutants import Mutant


def _mutant(name: str, module: str, old: str, new: str, deed: str) -> Mutant:
    """Make a mutant that is caught in the deed of that name."""

    def trial(explorer: Explorer) -> None:
        (tried,) = (each for each in DEEDS if each.name == deed)
        with scratch() as directory:
            for trials, fault in UploadTrials.share(tried, directory, explorer.modules):
                trials.play(fault)

    return Mutant(name, module, old, new, trial)


UPLOAD_MUTANTS = (
    _mutant(
        "an upload goes on after a flush of its bytes has failed",
        "volume.kept",
        "            opened.is_lost = True\n",
        "",
        "first bytes",
    ),
    _mutant(
        "the files of an upload stay open when it cannot be gone on with",
        "volume.kept",
        "        except OSError:\n            self.close(opened)\n            raise\n",
        "        except OSError:\n            raise\n",
        "first bytes",
    ),
    _mutant(
        "a short write of an upload is taken for a whole one",
        "volume.kept",
        "            opened.written += written\n            left = left[written:]\n",
        "            opened.written += len(left)\n            left = left[len(left) :]\n",
        "first bytes",
    ),
    _mutant(
        "an upload is over when its commit fails",
        "store.resumable",
        "            except _FINAL as error:\n",
        "            except StoreError as error:\n",
        "finish",
    ),
    _mutant(
        "a commit of an upload that fails keeps its number",
        "store.resumable",
        "            store.index.ids.release(blob.id)\n",
        "",
        "finish",
    ),
    _mutant(
        "what could not be put into the trash is forgotten",
        "store.resumable",
        "            self._left.add(number)\n",
        "",
        "terminate",
    ),
)
