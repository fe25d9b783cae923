"""Play many runs of the bucket's protocol: ``python -m tests.bucket --seeds 20000``.

Prints a line for each kind of run when it is done, and now and then before. A run that is wrong is
played again, and every request to the engine is printed. What ran stands in docs/scale.md.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable

from tests.bucket import trials
from tests.bucket.world import Setting, World

KINDS: dict[str, Callable[[Iterable[int]], list[Setting]]] = {
    "faults": trials.faults,
    "stalls": trials.stalls,
    "lagging": trials.lagging,
    "reused": trials.reused,
    "crowded": trials.crowded,
    "kept": trials.kept,
    "kept_in_stalls": trials.kept_in_stalls,
    "kept_and_reused": trials.kept_and_reused,
    "kept_while_lists_lag": trials.kept_while_lists_lag,
}

_TELL_EVERY = 60.0


def main() -> int:
    """Do it; 1 if a run was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.bucket", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="runs of each kind (2000)")
    parser.add_argument("--first", type=int, default=100_000, help="the first seed (100000)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which, with commas between")
    options = parser.parse_args()
    wrong = 0
    for kind in options.kinds.split(","):
        wrong += play(kind, range(options.first, options.first + options.seeds))
    return 1 if wrong else 0


def play(kind: str, seeds: Iterable[int]) -> int:
    """Play runs of a kind; return how many were wrong."""
    tally: Counter[str] = Counter()
    told = time.monotonic()
    for setting in KINDS[kind](seeds):
        world = World(setting)
        try:
            world.play()
        except Exception:
            tally["violations"] += 1
            again(kind, setting)
        history = [each for some in world.history.values() for each in some]
        tally["runs"] += 1
        tally["operations"] += len(history)
        tally["requests"] += world.steps
        tally["faults"] += world.met.total()
        tally["unknown"] += sum(each.status is None for each in history)
        if time.monotonic() > told + _TELL_EVERY:
            told = time.monotonic()
            tell(kind, tally)
    tell(kind, tally)
    return tally["violations"]


def tell(kind: str, tally: Counter[str]) -> None:
    """Print what ran."""
    parts = ("runs", "operations", "requests", "faults", "unknown", "violations")
    print(f"{kind}:", ", ".join(f"{tally[part]:,} {part}" for part in parts), flush=True)


def again(kind: str, setting: Setting) -> None:
    """Play a run that was wrong once more, and print all that was asked."""
    world = World(setting, trace=[])
    try:
        world.play()
        reason = "it is right the second time\n"
    except Exception:
        reason = traceback.format_exc()
    assert world.trace is not None
    print(*world.trace, sep="\n")
    print(f"{kind}: the seed {setting.seed} is wrong: {reason}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
