"""Trials with a history: every version that was answered is kept, in order, and is never current.

The trials of others run once more with everything kept; see `World.line` for what is looked at.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import wraps

from gostore.volume.journal.format import NAMES
from tests.simulation import behind, records, trials
from tests.simulation.explorer import APPLY, COLLECT, FILLED, LATER, RESTART, WAIT, Explorer
from tests.simulation.world import BLOCKS, DELETE, POST, PUT, STAGED

Trial = Callable[[Explorer], None]


def _keep(explorer: Explorer, seconds: float) -> None:
    """Keep what dies, on a disk that has had nothing but perhaps a journal."""
    explorer.keep = seconds
    explorer.start = tuple(each for each in explorer.start if each[0] in NAMES)


def _kept(trial: Trial) -> Trial:
    @wraps(trial)
    def kept(explorer: Explorer) -> None:
        _keep(explorer, math.inf)
        trial(explorer)

    return kept


short_scripts = _kept(trials.short_scripts)
long_scripts = _kept(trials.long_scripts)
marked_late = _kept(trials.marked_late)
turns = _kept(trials.turns)
checkpoints = _kept(trials.checkpoints)
unapplied = _kept(behind.unapplied)
switched = _kept(behind.switched)
given_again = _kept(behind.given_again)
large_and_small = _kept(behind.large_and_small)
beside_the_applier = _kept(behind.beside_the_applier)
recorded = _kept(records.recorded)


def due(explorer: Explorer) -> None:
    """What is kept is collected when its time is over: the older first, and the tombstone last."""
    _keep(explorer, 3600.0)
    leads = (
        ((POST, "a"), (PUT, "a"), (DELETE, "a")),
        ((POST, "a"), (PUT, "a"), (PUT, "a", STAGED), (DELETE, "a")),
        ((POST, "a"), (PUT, "a", BLOCKS), (DELETE, "a"), (POST, "a")),
        ((POST, "a"), (PUT, "a"), (PUT, "a")),
    )
    ends = (
        (LATER, COLLECT),
        (LATER, COLLECT, RESTART),
        (RESTART, LATER, COLLECT),
        (LATER, RESTART, COLLECT),
        (LATER, COLLECT, (POST, "b"), COLLECT),
        (COLLECT, RESTART, LATER, COLLECT),
    )
    for lead, between, end, late in explorer.some(
        itertools.product(leads, ((), (APPLY,), (WAIT,)), ends, (True, False))
    ):
        explorer.script((*lead, *between, *end), lazy=True, late=late)


def room(explorer: Explorer) -> None:
    """The disk has room for nothing but what is kept: that goes, the oldest first."""
    _keep(explorer, 1e9)
    leads = (
        ((POST, "a"), (PUT, "a"), (PUT, "a"), (PUT, "a")),
        ((POST, "a"), (PUT, "a"), (DELETE, "a"), (POST, "c"), (PUT, "c"), (PUT, "c")),
        ((POST, "a", BLOCKS), (PUT, "a", BLOCKS), (DELETE, "a"), (POST, "a")),
        ((POST, "a"), (PUT, "a"), (DELETE, "a"), (POST, "a"), (DELETE, "a")),
    )
    ends = (
        ((POST, "b"),),
        ((POST, "b", BLOCKS),),
        ((POST, "b"), RESTART),
        ((POST, "b"), (DELETE, "b"), COLLECT),
    )
    for lead, between, end in explorer.some(
        itertools.product(leads, ((APPLY,), (APPLY, COLLECT), (APPLY, RESTART)), ends)
    ):
        explorer.script((*lead, *between, FILLED, *end), lazy=True)


HISTORY_TRIALS: tuple[Trial, ...] = (
    short_scripts,
    long_scripts,
    marked_late,
    due,
    room,
)

#: With the redo journal; those of `HISTORY_TRIALS` run with it, too.
JOURNALED_HISTORY: tuple[Trial, ...] = (
    turns,
    checkpoints,
    unapplied,
    switched,
    given_again,
    large_and_small,
    beside_the_applier,
    recorded,
)
