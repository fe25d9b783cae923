"""``python -m tests.simulation`` crashes the store everywhere, and prints what it looked at."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from twisted.logger import globalLogBeginner

from gostore.volume.changes import Sync
from tests.simulation.behind import BEHIND_TRIALS
from tests.simulation.behind_mutants import BEHIND_MUTANTS
from tests.simulation.expiring import EXPIRING_TRIALS
from tests.simulation.expiring_mutants import EXPIRING_MUTANTS
from tests.simulation.explorer import JOURNALED, THOROUGH, Explorer, usual_bounds
from tests.simulation.history import HISTORY_TRIALS, JOURNALED_HISTORY
from tests.simulation.history_mutants import HISTORY_MUTANTS
from tests.simulation.mutants import ALL_MUTANTS, try_all
from tests.simulation.records import RECORD_TRIALS
from tests.simulation.trials import JOURNAL_TRIALS, SOAK_TRIALS, TRIALS, Trial
from tests.simulation.unflushed import unflushed
from tests.simulation.upload_mutants import UPLOAD_MUTANTS
from tests.simulation.uploads import uploads
from tests.simulation.world import Violation

_MINUTES = 10

#: All of them; each has a trial that catches it.
MUTANTS = (
    *ALL_MUTANTS,
    *BEHIND_MUTANTS,
    *EXPIRING_MUTANTS,
    *HISTORY_MUTANTS,
    *UPLOAD_MUTANTS,
)

#: Of the time that is left a trial may take this many times its part.
_GREED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every trial, and every mutant in the trial that is to catch it; 1 if any goes wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument(
        "--minutes",
        type=float,
        default=_MINUTES,
        help="how long the trials take together, at most about; 0: until all cases are done",
    )
    parser.add_argument("--share", type=int, default=1, help="try 1 in SHARE cases of each trial")
    parser.add_argument(
        "--sample", type=int, help="look at so many states of a crash, where there are more"
    )
    parser.add_argument("--seed", type=int, default=1, help="for all that is left to chance")
    parser.add_argument("--no-mutants", action="store_true", help="leave out the mutants")
    parser.add_argument("trials", nargs="*", help="the names of some trials, instead of all")
    options = parser.parse_args(arguments)
    runs: list[tuple[Sync, Sync | None, Trial]] = [
        *((Sync.FILES, None, trial) for trial in (*TRIALS, *SOAK_TRIALS)),
        *((Sync.JOURNAL, None, trial) for trial in (*TRIALS, *JOURNAL_TRIALS, *BEHIND_TRIALS)),
        *(
            (sync, None, trial)
            for sync in (Sync.FILES, Sync.JOURNAL)
            for trial in (*EXPIRING_TRIALS, *RECORD_TRIALS)
        ),
        (Sync.JOURNAL, Sync.FILES, JOURNAL_TRIALS[0]),
        *((Sync.FILES, None, trial) for trial in HISTORY_TRIALS),
        *((Sync.JOURNAL, None, trial) for trial in (*HISTORY_TRIALS, *JOURNALED_HISTORY)),
        *((sync, None, uploads) for sync in (Sync.FILES, Sync.JOURNAL)),
        (Sync.NONE, None, unflushed),
    ]
    if options.trials:
        runs = [run for run in runs if run[2].__name__ in options.trials]
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    wrong = _explore(runs, options)
    if not options.no_mutants:
        wrong += try_all(MUTANTS)
    return 1 if wrong else 0


def _explore(runs: Sequence[tuple[Sync, Sync | None, Trial]], options: argparse.Namespace) -> int:
    print(f"Seed {options.seed}. With files: {THOROUGH}. With journal: {JOURNALED}.")
    print(
        "| --sync | trial | cases | scripts | crashes | of them sampled | second power cuts "
        "| states | that stand for | recovered | violations | seconds |"
    )
    print("|---" * 12 + "|", flush=True)
    wrong = 0
    end = time.monotonic() + options.minutes * 60
    for at, (sync, after, trial) in enumerate(runs):
        begun = time.monotonic()
        until = begun + (end - begun) / (len(runs) - at) * _GREED if options.minutes else None
        explorer = Explorer(
            bounds=usual_bounds(sync, options.sample),
            share=options.share,
            sync=sync,
            after=after,
            seed=options.seed,
            until=until,
        )
        violation = ""
        try:
            trial(explorer)
        except Violation as found:
            wrong += 1
            violation = str(found)
        figures = explorer.figures
        protocol = sync.value if after is None else f"{sync.value}, then {after.value}"
        print(
            f"| {protocol} | {trial.__name__} "
            f"| {figures.cases:,} of {figures.of:,} | {figures.scripts:,} | {figures.crashes:,} "
            f"| {figures.sampled:,} | {figures.second:,} | {figures.states:,} "
            f"| {_rounded(figures.stood_for)} | {figures.lives:,} "
            f"| {1 if violation else 0} | {time.monotonic() - begun:.0f} |",
            flush=True,
        )
        if violation:
            print(f"\n{violation}\n", flush=True)
    return wrong


def _rounded(number: int) -> str:
    return f"{number:,}" if number < 10**9 else f"{number:.1e}"


if __name__ == "__main__":
    raise SystemExit(main())
