"""The whole store on a simulated disk: crashes everywhere, and mutants that have to be caught.

Per commit a share of it; ``python -m tests.simulation`` explores the rest, and prints figures.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.daemon import SOAK
from tests.simulation import trials
from tests.simulation.explorer import Explorer
from tests.simulation.mutants import MUTANTS
from tests.simulation.world import Violation

SHARE = 1 if SOAK else 16


class CrashTests(SynchronousTestCase):
    """The promise of the store, at every crash of every script."""

    def explore(self, trial: trials.Trial) -> None:
        """Nothing may be violated, and something has to have been looked at."""
        explorer = Explorer(share=SHARE)
        trial(explorer)
        self.assertGreater(explorer.figures.distinct, 10)

    def test_short_scripts(self) -> None:
        """Every crash of one or two steps keeps the promise, whatever way a body takes."""
        self.explore(trials.short_scripts)

    def test_long_scripts(self) -> None:
        """Every crash of three steps keeps the promise."""
        self.explore(trials.long_scripts)

    def test_pairs(self) -> None:
        """Requests that share a flush keep the promise."""
        self.explore(trials.pairs)

    def test_overtaken(self) -> None:
        """The last to be committed at a location has it after a restart, too."""
        self.explore(trials.overtaken)

    def test_full_disk(self) -> None:
        """A delete on a full disk is durable, and brings back no elder."""
        self.explore(trials.full_disk)

    def test_damaged(self) -> None:
        """A damaged blob that is replaced or deleted stays so."""
        self.explore(trials.damaged)


class MutantTests(SynchronousTestCase):
    """The trials can fail."""

    def test_caught(self) -> None:
        """The store with any one thing taken away violates its promise."""
        for mutant in MUTANTS if SOAK else MUTANTS[::4]:
            with self.assertRaises(Violation, msg=mutant.name):
                mutant.trial(Explorer(mutant.load()))

    def test_apply(self) -> None:
        """Every mutant still finds the code that it changes."""
        for mutant in MUTANTS:
            mutant.load()
