"""What the explorer is set to: each trial a kind of trouble, with how far it goes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tests.doubles import CHORE, COMMIT, FILE
from tests.simulation.disk import SimulatedDisk, Tree
from tests.simulation.explorer import COLLECT, DAMAGE, FILES, JOURNAL, RESTART, Explorer, scripts
from tests.simulation.world import (
    BLOCKS,
    DELETE,
    LARGE,
    POST,
    PUT,
    SMALL,
    STAGED,
    World,
)

#: A location that has nothing, one that has a blob, one whose blob was replaced.
_BEFORE = (
    (),
    ((POST, "a"),),
    ((POST, "a"), (POST, "b")),
    ((POST, "a"), (PUT, "a")),
)

_REQUESTS = tuple(itertools.product((POST, PUT, DELETE), ("a", "b")))

#: The orders in which the rooms of the workers are served.
_RANKS = ((COMMIT, FILE, CHORE), (CHORE, FILE, COMMIT))


def short_scripts(explorer: Explorer) -> None:
    """Every script of one or two steps, with each way a body can take, on both kinds of disk."""
    for length, shape, trusted in itertools.product((1, 2), (SMALL, STAGED, LARGE), (True, False)):
        for script in scripts(length):
            explorer.script(script, shape=shape, trusted=trusted)


def long_scripts(explorer: Explorer) -> None:
    """Every script of three steps."""
    for script in scripts(3):
        explorer.script(script)


def longest_scripts(explorer: Explorer) -> None:
    """Every script of four steps, and of three with bodies that are staged."""
    for script in scripts(4):
        explorer.script(script)
    for script in scripts(3):
        explorer.script(script, shape=STAGED)


def pairs(explorer: Explorer) -> None:
    """Two requests at once, alone and in the wake of a third, so that they share a flush."""
    for before, first, second in explorer.some(itertools.product(_BEFORE, _REQUESTS, _REQUESTS)):
        for wake, trusted in itertools.product(((), ((POST, "c"),)), (True, False)):
            explorer.together((*wake, first, second), before=before, trusted=trusted)


def overtaken(explorer: Explorer) -> None:
    """Two requests for one location at once, the first with a body that takes longer."""
    for before, first, second in explorer.some(
        itertools.product(_BEFORE, _REQUESTS[::2], _REQUESTS[::2])
    ):
        for rank in _RANKS:
            explorer.together(
                (first, second), before=before, shape=STAGED, backwards=True, rank=rank
            )


def held_up(explorer: Explorer, step: int = 23) -> None:
    """Two requests and the collector at once, one thread held up at a call while the others run."""
    for before, first, second, rank in explorer.some(
        itertools.product(_BEFORE[1:], _REQUESTS, _REQUESTS, _RANKS)
    ):
        calls = explorer.together(
            ((POST, "c"), first, second), before=before, collect=True, rank=rank
        )
        for preempt in range(1, calls, step):
            explorer.together(
                ((POST, "c"), first, second),
                before=before,
                collect=True,
                rank=rank,
                preempt=preempt,
            )


def held_up_everywhere(explorer: Explorer) -> None:
    """As `held_up`, at every call."""
    held_up(explorer, 1)


def full_disk(explorer: Explorer) -> None:
    """The last step finds no room on the disk: a delete has to do without a tombstone."""
    for script in (*scripts(2), *explorer.some(scripts(3))):
        explorer.script(script, full=True)


def damaged(explorer: Explorer) -> None:
    """A blob, replaced and not, is damaged when the store starts."""
    for before in (((POST, "a"),), ((POST, "a"), (PUT, "a"))):
        start = _damage(explorer, before)
        for length in (1, 2):
            for script in scripts(length):
                explorer.script(script, start=start)
                explorer.script(script, start=start, full=True)


def _damage(explorer: Explorer, before: tuple[tuple[str, str], ...]) -> Tree:
    """The tree that requests leave, the youngest blob's bytes cut short."""
    world = World(SimulatedDisk(explorer.start), sync=explorer.sync).start()
    for verb, location in before:
        world.request(verb, location)
    youngest = str(world.store._by_location["a"].id)
    world.stop()
    return tuple(
        (
            name,
            under
            if isinstance(under, bytes)
            else tuple(
                (file, data[:5] if name == youngest and file == "data.raw" else data)
                for file, data in under
            ),
        )
        for name, under in world.disk.tree
    )


def turns(explorer: Explorer) -> None:
    """Long lives, whose last step finds the journal at each place of its two files.

    The numbers of what was deleted are given again, to what is staged and to what is not; some
    batches are longer than a block; the journal is switched off and on.
    """
    for lead, tail, shape in explorer.some(
        itertools.product(_LEADS, _TAILS, (SMALL, BLOCKS, STAGED))
    ):
        for idle in range(4):
            explorer.script(
                ((POST, "c"), *[(PUT, "c")] * idle, *lead, *tail), shape=shape, mixed=True
            )


def numbers(explorer: Explorer) -> None:
    """A staged blob gets the number of a tombstone when that of its elder is free again."""
    deleted = (COLLECT, (POST, "a"), (PUT, "a"), (DELETE, "a"), COLLECT)
    for tail in ((POST, "b"), (PUT, "b"), COLLECT), ((POST, "b"), (PUT, "b"), COLLECT, RESTART):
        explorer.script((*deleted, *tail), shape=STAGED, mixed=True)


def queued(explorer: Explorer) -> None:
    """Requests one after another while the other threads are not given a turn."""
    puts = ((PUT, "c"),) * 5
    for last in ((DELETE, "c"), (PUT, "c")):
        for beside in ((), ((POST, "a"),), ((POST, "a"), (POST, "b"))):
            explorer.together((*puts, last, *beside), before=((POST, "c"),))


def found_damaged(explorer: Explorer) -> None:
    """A blob that the journal still has is found damaged, and deleted or replaced."""
    for before in ((POST, "a"),), ((POST, "a"), (PUT, "a")):
        steps = (COLLECT, (DELETE, "a"), (PUT, "a"), RESTART)
        for after in explorer.some(itertools.product(steps, repeat=2)):
            explorer.script((*before, DAMAGE, *after))


#: What comes before, and what is then crashed, with something at ``c``.
_LEADS = (
    ((POST, "a"), (DELETE, "a"), COLLECT),
    ((POST, "a"), (PUT, "a"), (DELETE, "a"), COLLECT),
    ((POST, "a"), (DELETE, "a"), (PUT, "c"), COLLECT),
    ((POST, "a"), (DELETE, "a"), COLLECT, (PUT, "c"), RESTART),
    ((POST, "a"), (PUT, "a"), RESTART, (DELETE, "a"), COLLECT),
)
_TAILS = (
    (FILES,),
    (FILES, JOURNAL),
    (RESTART,),
    ((POST, "b"),),
    ((POST, "b"), (DELETE, "b")),
    ((PUT, "c"), (PUT, "c"), (PUT, "c")),
    ((POST, "b"), (PUT, "b"), COLLECT),
)

Trial = Callable[[Explorer], None]

#: What runs for each commit, and what runs when there is more time.
TRIALS: tuple[Trial, ...] = (
    short_scripts,
    long_scripts,
    pairs,
    overtaken,
    held_up,
    full_disk,
    damaged,
)
SOAK_TRIALS: tuple[Trial, ...] = (longest_scripts, held_up_everywhere)

#: What runs with the redo journal; those of `TRIALS` do, too.
JOURNAL_TRIALS: tuple[Trial, ...] = (turns, numbers, queued, found_damaged)
