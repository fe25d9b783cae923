"""``python -m tests.faults`` makes every call of every deed fail, and prints figures."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from typing import Any

from twisted.logger import globalLogBeginner

from tests.faults import uploads
from tests.faults.deeds import BEHIND, DEEDS, MODES, OVER, REQUESTS, Mode
from tests.faults.history import HISTORY, PAST_REQUESTS
from tests.faults.history_mutants import HISTORY_MUTANTS
from tests.faults.mutants import MUTANTS
from tests.faults.trials import Figures, PowerCuts, Trials, scratch
from tests.faults.upload_mutants import UPLOAD_MUTANTS
from tests.faults.uploads import UploadTrials
from tests.simulation.mutants import try_all
from tests.simulation.world import Violation

#: The kinds of trials, each with its deeds.
KINDS: tuple[tuple[str, type[Trials] | type[UploadTrials], Sequence[Any]], ...] = (
    ("requests", Trials, DEEDS),
    ("history", Trials, HISTORY),
    ("uploads", UploadTrials, uploads.DEEDS),
    ("power cuts", PowerCuts, (*REQUESTS, *BEHIND, *OVER)),
    ("power cuts, history", PowerCuts, PAST_REQUESTS),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play all of it, and the mutants that have to be caught; 1 if anything goes wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--no-mutants", action="store_true", help="leave out the mutants")
    parser.add_argument("--only-mutants", action="store_true", help="leave out all else")
    parser.add_argument(
        "--sync",
        choices=sorted({sync.value for sync, _ in MODES}),
        help="one of them, instead of all",
    )
    names = [name for name, _, _ in KINDS]
    parser.add_argument("kinds", nargs="*", help=f"some of {names}, instead of all")
    options = parser.parse_args(arguments)
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    wrong = 0
    for name, kind, deeds in KINDS:
        if options.only_mutants or (options.kinds and name not in options.kinds):
            continue
        modes = [mode for mode in MODES if options.sync in (None, mode[0].value)]
        totals = {sync: Figures() for sync, _ in modes}
        for deed, mode in itertools.product(deeds, modes):
            wrong += _play(name, kind, deed, mode, totals[mode[0]])
        for sync, total in totals.items():
            print(f"in all: {name}, {len(deeds)} deeds, {sync.value}: {total}", flush=True)
    print(f"{wrong} violations")
    if not options.no_mutants:
        wrong += try_all((*MUTANTS, *HISTORY_MUTANTS, *UPLOAD_MUTANTS))
    return 1 if wrong else 0


def _play(
    name: str, kind: type[Trials] | type[UploadTrials], deed: Any, mode: Mode, total: Figures
) -> int:
    """Play all trials of a deed, print what became of them, and return how many went wrong."""
    begun = time.monotonic()
    violations = []
    with scratch() as directory:
        try:
            trials = kind(deed, mode, directory)
        except Violation as violation:
            print(f"{deed.name} goes wrong when nothing fails: {violation}", flush=True)
            return 1
        for fault in trials.faults():
            try:
                trials.play(fault)
            except Violation as violation:
                violations.append(violation)
    total.add(trials.figures)
    how = f"{mode[0].value}{'' if mode[1] else ' without syncfs'}"
    print(
        f"{name}: {deed.name}, {how}: {trials.figures}; "
        f"{len(violations)} violations; {time.monotonic() - begun:.0f} s",
        flush=True,
    )
    for violation in violations[:5]:
        print(f"    {violation}")
    return len(violations)


if __name__ == "__main__":
    raise SystemExit(main())
