"""``python -m tests.faults`` makes every call of every deed fail, and prints figures."""

from __future__ import annotations

import itertools
import time

from tests.faults.deeds import BEHIND, DEEDS, MODES, OVER, REQUESTS
from tests.faults.mutants import MUTANTS
from tests.faults.trials import Figures, PowerCuts, Trials, scratch
from tests.simulation.mutants import try_all
from tests.simulation.world import Violation


def main() -> int:
    """Play all of it, and the mutants that have to be caught; 1 if anything goes wrong."""
    wrong = 0
    total = Figures()
    for kind, deed, mode in (
        *itertools.product([Trials], DEEDS, MODES),
        *itertools.product([PowerCuts], (*REQUESTS, *BEHIND, *OVER), MODES),
    ):
        begun = time.monotonic()
        violations = []
        with scratch() as directory:
            trials = kind(deed, mode, directory)
            for fault in trials.faults():
                try:
                    trials.play(fault)
                except Violation as violation:
                    violations.append(violation)
        wrong += len(violations)
        total.add(trials.figures)
        name = (
            f"{kind.__name__}, {deed.name}, {mode[0].value}{'' if mode[1] else ' without syncfs'}"
        )
        print(
            f"{name}: {trials.figures}; "
            f"{len(violations)} violations; {time.monotonic() - begun:.0f} s",
            flush=True,
        )
        for violation in violations[:5]:
            print(f"    {violation}")
    print(f"in all: {total}; {wrong} violations")
    survived = try_all(MUTANTS)
    return 1 if wrong or survived else 0


if __name__ == "__main__":
    raise SystemExit(main())
