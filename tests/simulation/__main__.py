"""``python -m tests.simulation`` explores all there is, and prints figures."""

from __future__ import annotations

import time

from tests.simulation.explorer import Explorer
from tests.simulation.mutants import ALL_MUTANTS
from tests.simulation.trials import SOAK_TRIALS, TRIALS
from tests.simulation.world import Violation


def main() -> int:
    """Run every trial, and every mutant in the trial that is to catch it; 1 if any goes wrong."""
    wrong = 0
    for trial in (*TRIALS, *SOAK_TRIALS):
        explorer, begun = Explorer(), time.monotonic()
        try:
            trial(explorer)
            word = "0 violations"
        except Violation as violation:
            wrong += 1
            word = f"violation: {violation}"
        seconds = time.monotonic() - begun
        print(
            f"{trial.__name__}: {explorer.figures}; {word}; {explorer.bounds}; {seconds:.0f} s",
            flush=True,
        )
    caught = 0
    for mutant in ALL_MUTANTS:
        try:
            mutant.try_out()
            print(f"survived: {mutant.name}", flush=True)
        except Violation as violation:
            caught += 1
            print(f"caught: {mutant.name}: {str(violation)[:160]}", flush=True)
    print(f"mutants caught: {caught} of {len(ALL_MUTANTS)}")
    return 1 if wrong or caught < len(ALL_MUTANTS) else 0


if __name__ == "__main__":
    raise SystemExit(main())
