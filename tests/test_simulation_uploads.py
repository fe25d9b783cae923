"""Uploads in several requests on the simulated disk: crashes everywhere, and mutants."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from gostore.volume.changes import Sync
from tests.e2e.daemon import SOAK
from tests.simulation import uploads
from tests.simulation.explorer import Explorer
from tests.simulation.mutants import Mutant
from tests.simulation.upload_mutants import UPLOAD_MUTANTS
from tests.simulation.world import Violation


class UploadTests(SynchronousTestCase):
    """What a client was told is there, whatever crashes."""

    def explore(self, share: int, sync: Sync) -> None:
        """Nothing may be violated, and something has to have been looked at."""
        explorer = Explorer(share=1 if SOAK else share, sync=sync)
        uploads.uploads(explorer)
        self.assertGreater(explorer.figures.lives, 10)

    def test_files(self) -> None:
        """No offset that was told shrinks or lies, and each upload becomes a blob once."""
        self.explore(4, Sync.FILES)

    def test_journal(self) -> None:
        """The same beside a redo journal."""
        self.explore(9, Sync.JOURNAL)


@pytest.mark.parametrize("mutant", UPLOAD_MUTANTS, ids=lambda mutant: mutant.name)
def test_caught(mutant: Mutant) -> None:
    """The trial can fail: with any one thing taken away the promise is violated."""
    with pytest.raises(Violation):
        mutant.try_out()
