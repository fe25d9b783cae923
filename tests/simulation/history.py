"""Trials with a history: every version that was answered is kept, in order, and is never current.

The trials of others run once more with everything kept; see `World.line` for what is looked at.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import wraps

from gostore.volume.journal.format import NAMES
from tests.simulation import behind, expiring, records, trials
from tests.simulation.explorer import (
    APPLY,
    COLLECT,
    FILLED,
    LATER,
    PASS,
    RESTART,
    WAIT,
    Explorer,
    Script,
)
from tests.simulation.world import (
    BLOCKS,
    BRIEF,
    DELETE,
    LARGE,
    POST,
    PUT,
    RESTORE,
    SMALL,
    STAGED,
)
from tests.store.doubles import CHORE, COMMIT, FILE

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

    kept.__name__ = f"{trial.__name__}_kept"
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
expired = _kept(expiring.expiring)
expired_beside = _kept(expiring.expiring_beside)


def due(explorer: Explorer) -> None:
    """What is kept is collected when its time is over: the older first, and the tombstone last."""
    _keep(explorer, 3600.0)
    leads: tuple[Script, ...] = (
        ((POST, "a"), (PUT, "a"), (DELETE, "a")),
        ((POST, "a"), (PUT, "a", BRIEF), PASS, COLLECT),
        ((POST, "a"), (DELETE, "a"), (POST, "a", BRIEF), PASS, COLLECT, (POST, "a")),
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


def expired_on_a_full_disk(explorer: Explorer) -> None:
    """What is over finds no room for its tombstone, and takes its elders with it then."""
    _keep(explorer, 1e9)
    expiring.expiring_on_a_full_disk(explorer)


def restored(explorer: Explorer) -> None:
    """The oldest version becomes current again, over another one or where there is none.

    It has files, or none yet.
    """
    _restore(explorer, SMALL, STAGED)


def restored_large(explorer: Explorer) -> None:
    """The same, copied from file to file."""
    _restore(explorer, LARGE)


def _restore(explorer: Explorer, *shapes: tuple[int, bool]) -> None:
    _keep(explorer, math.inf)
    leads: tuple[Script, ...] = (
        ((POST, "a"), (PUT, "a")),
        ((POST, "a"), (DELETE, "a")),
        ((POST, "a"), (PUT, "a"), APPLY, (DELETE, "a")),
        ((POST, "a"), APPLY, (PUT, "a"), (PUT, "a"), COLLECT),
        ((POST, "a", BRIEF), PASS, COLLECT),
    )
    thens: tuple[Script, ...] = (
        (),
        (APPLY,),
        (COLLECT,),
        (RESTART,),
        ((PUT, "a"),),
        ((DELETE, "a"),),
        ((DELETE, "a"), (RESTORE, "a")),
        ((RESTORE, "a"), APPLY),
    )
    for lead, between, then, shape, late in explorer.some(
        itertools.product(leads, ((), (RESTART,)), thens, shapes, (True, False))
    ):
        first, *rest = lead
        made = (first if len(first) > 2 else (*first, shape), *rest)
        explorer.script((*made, *between, (RESTORE, "a"), *then), lazy=True, late=late)


def restored_beside(explorer: Explorer) -> None:
    """Requests come for a location of which a version is being restored, and the collector."""
    _keep(explorer, math.inf)
    requests: tuple[Script, ...] = (
        ((PUT, "a"),),
        ((DELETE, "a"),),
        ((POST, "b"),),
        ((RESTORE, "a"),),
    )
    for shape, some, rank in explorer.some(
        itertools.product((SMALL, LARGE), requests, ((COMMIT, FILE, CHORE), (CHORE, FILE, COMMIT)))
    ):
        before = ((POST, "a", shape), (PUT, "a"), (PUT, "a"))
        both = ((RESTORE, "a"), *some)
        calls = explorer.together(both, before=before, collect=True, rank=rank)
        for at in range(1, len(calls) + 1):
            explorer.together(both, before=before, collect=True, rank=rank, preempt=at)


HISTORY_TRIALS: tuple[Trial, ...] = (
    short_scripts,
    long_scripts,
    marked_late,
    due,
    room,
    restored,
    restored_large,
    restored_beside,
    expired,
    expired_on_a_full_disk,
    expired_beside,
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
