"""Trials of blobs that expire: what is over is gone, and once deleted no crash brings it back.

A crash sets the clock back to where it was before anything was over: so a blob whose deletion does
not last shows itself. Until it is deleted it may be there again, for the clock says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.simulation.explorer import APPLY, COLLECT, PASS, RESTART, WAIT, Explorer, Script
from tests.simulation.world import BRIEF, DELETE, POST, PUT, STAGED
from tests.store.doubles import CHORE, COMMIT, FILE

#: Such a blob through a stage, whose commit is another one.
_BRIEF_STAGED = (*STAGED, BRIEF[2])

_MADE: tuple[Script, ...] = (
    ((POST, "a", BRIEF),),
    ((POST, "a"), (PUT, "a", BRIEF)),
    ((POST, "a"), APPLY, (PUT, "a", BRIEF)),
    ((POST, "a"), APPLY, (PUT, "a", BRIEF), APPLY),
    ((POST, "a", BRIEF), APPLY, (PUT, "a", _BRIEF_STAGED)),
)

_RANKS = ((COMMIT, FILE, CHORE), (CHORE, FILE, COMMIT))


def _is_sensible(script: Script) -> bool:
    """Say whether no request of a script is refused."""
    held: dict[str, bool] = {}
    for verb, location, *shape in script:
        if (verb, location) == PASS:
            held = {each: is_brief for each, is_brief in held.items() if not is_brief}
        elif verb in (POST, PUT, DELETE):
            if (location in held) is (verb == POST):
                return False
            if verb == DELETE:
                del held[location]
            else:
                held[location] = bool(shape) and len(shape[0]) > 2
    return True


def _scripts(*lengths: int) -> Iterator[Script]:
    steps = (
        (POST, "a"),
        (POST, "a", BRIEF),
        (PUT, "a"),
        (DELETE, "a"),
        (POST, "b"),
        COLLECT,
        PASS,
        WAIT,
        RESTART,
    )
    for made, length in itertools.product(_MADE, lengths):
        for script in itertools.product(steps, repeat=length):
            if _is_sensible((*made, PASS, *script)) and script[-1] != PASS:
                yield (*made, PASS, *script)


def expiring(explorer: Explorer) -> None:
    """Up to two steps after a blob is over, with elders that are marked late, and no files.

    Then another one expires at its location, collected before or not.
    """
    again = ((POST, "a", BRIEF), PASS, COLLECT)
    scripts = [
        *_scripts(1, 2),
        *((*made, PASS, *lead, *again) for made in _MADE for lead in ((), (COLLECT,), (RESTART,))),
    ]
    for script, late in explorer.some(itertools.product(scripts, (False, True))):
        explorer.script(script, late=late, lazy=late)


def expiring_on_a_full_disk(explorer: Explorer) -> None:
    """There is no room for the tombstone of what is over."""
    for script, crowded, late in explorer.some(
        itertools.product(_scripts(1, 2), (False, True), (False, True))
    ):
        explorer.script(script, full=True, crowded=crowded, late=late)


def expiring_beside(explorer: Explorer) -> None:
    """Requests come while it is deleted, one thread held up at each call while the others run."""
    requests: tuple[Script, ...] = (
        ((POST, "b"),),
        ((POST, "a"),),
        ((POST, "a", BRIEF), (PUT, "a")),
        ((POST, "a", STAGED),),
        ((POST, "a"), (DELETE, "a")),
    )
    for made, some, rank in explorer.some(itertools.product(_MADE, requests, _RANKS)):
        before = ((POST, "c"), *made, PASS)
        calls = explorer.together(some, before=before, collect=True, rank=rank)
        for at in explorer.moments(calls):
            explorer.together(some, before=before, collect=True, rank=rank, preempt=at)


EXPIRING_TRIALS = (expiring, expiring_on_a_full_disk, expiring_beside)
