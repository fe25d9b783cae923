"""Every system call fails, under everything the store does.

Per commit a share of it; ``GOSTORE_SOAK=1`` tries all, and ``python -m tests.faults`` prints
figures.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.daemon import SOAK
from tests.faults.deeds import BEHIND, DEEDS, MODES, OVER, REQUESTS, Deed
from tests.faults.history import HISTORY, PAST_REQUESTS
from tests.faults.history_mutants import HISTORY_MUTANTS
from tests.faults.mutants import MUTANTS
from tests.faults.trials import Figures, PowerCuts, Trials, scratch
from tests.simulation.mutants import Mutant
from tests.simulation.world import Violation


class FaultTests(SynchronousTestCase):
    """No false success, nothing lost, nothing leaked, no flush tried again, whatever fails."""

    def fail_calls(self, *names: str) -> None:
        """Let calls fail in the deeds whose names begin so."""
        self.play(Trials, [deed for deed in DEEDS if deed.name.startswith(names)])

    def play(self, kind: type[Trials], deeds: Sequence[Deed], step: int = 1) -> None:
        """Play trials of a kind, per commit one of so many, and say how many there were."""
        figures = Figures()
        for deed in deeds:
            with scratch() as directory:
                # Without the journal nothing is done behind an answer.
                some = MODES[:1] if deed in BEHIND and not SOAK else MODES
                modes = [kind(deed, mode, directory) for mode in some]
                if SOAK:
                    faults = ((trials, fault) for trials in modes for fault in trials.faults())
                elif kind is Trials:
                    # The mutants play them all, one deed each.
                    faults = itertools.islice(Trials.share(modes), 0, None, 3)
                else:
                    faults = kind.share(modes)
                faults = itertools.islice(faults, 0, None, 1 if SOAK else step)
                for trials, fault in faults:
                    trials.play(fault)
                for trials in modes:
                    figures.add(trials.figures)
        self.flushLoggedErrors()
        print(f"{kind.__name__}, {deeds[0].name} and others: {figures}")
        self.assertGreater(figures.trials, 50)

    def test_post(self) -> None:
        """A POST whose body waits in memory, is staged, or staged and sealed."""
        self.fail_calls("POST")

    def test_put(self) -> None:
        """A PUT over a blob, or of a new one; one that needs the journal to turn."""
        self.fail_calls("PUT")

    def test_delete(self) -> None:
        """A DELETE."""
        self.fail_calls("DELETE")

    def test_at_once(self) -> None:
        """Requests that share a flush."""
        self.fail_calls("requests", "large requests")

    def test_collection(self) -> None:
        """A collection run, in the middle of a life and after a crash."""
        self.fail_calls("collection")

    def test_behind(self) -> None:
        """The applier at work behind the answers; a request for what has no files yet."""
        self.play(Trials, BEHIND)

    def test_history(self) -> None:
        """What makes history, reads it, brings it back and gives it up."""
        self.play(Trials, HISTORY, 14)

    def test_reading(self) -> None:
        """A GET, and what verifies in the background."""
        self.fail_calls("GET", "verifying")

    def test_power_cuts(self) -> None:
        """A request, and then a power cut, which takes what a failed flush was to write."""
        self.play(PowerCuts, (*REQUESTS, *BEHIND, *OVER), 3)

    def test_power_cuts_with_a_history(self) -> None:
        """The same where what dies is kept."""
        self.play(PowerCuts, PAST_REQUESTS, 2)

    def test_start_and_stop(self) -> None:
        """A start after a crash, and in a new directory; a stop."""
        self.fail_calls("start", "stop")


@pytest.mark.parametrize("mutant", (*MUTANTS, *HISTORY_MUTANTS), ids=lambda mutant: mutant.name)
def test_caught(mutant: Mutant) -> None:
    """The trials can fail: the store with any one thing done wrong is caught."""
    with pytest.raises(Violation):
        mutant.try_out()
