"""Every system call fails while uploads in several requests begin, go on and end."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.daemon import SOAK
from tests.faults.deeds import MODES
from tests.faults.trials import scratch
from tests.faults.upload_mutants import UPLOAD_MUTANTS
from tests.faults.uploads import DEEDS, UploadTrials
from tests.simulation.mutants import Mutant
from tests.simulation.world import Violation


class UploadTests(SynchronousTestCase):
    """Uploads in several requests."""

    def test_uploads(self) -> None:
        """None is lost but by a flush that failed, whatever else fails from begin to end."""
        tried = 0
        for deed in DEEDS:
            with scratch() as directory:
                if SOAK:
                    every = [UploadTrials(deed, mode, directory) for mode in MODES]
                    faults = ((trials, fault) for trials in every for fault in trials.faults())
                else:
                    faults = UploadTrials.share(deed, directory)
                for trials, fault in faults:
                    trials.play(fault)
                    tried += 1
        self.flushLoggedErrors()
        self.assertGreater(tried, 500)


@pytest.mark.parametrize("mutant", UPLOAD_MUTANTS, ids=lambda mutant: mutant.name)
def test_caught(mutant: Mutant) -> None:
    """The trial can fail: the store with any one thing done wrong is caught."""
    with pytest.raises(Violation):
        mutant.try_out()
