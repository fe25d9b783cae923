"""What the explorer is set to: each trial a kind of trouble, with how far it goes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from gostore.volume.journal.format import ENDED, NAMES
from tests.simulation.disk import SYNCS, SimulatedDisk, Tree
from tests.simulation.explorer import (
    COLLECT,
    DAMAGE,
    FILES,
    JOURNAL,
    RESTART,
    SOMEBODYS,
    WAIT,
    Explorer,
    Script,
    journal_of,
    scripts,
)
from tests.simulation.world import (
    BLOCKS,
    DELETE,
    JOURNAL_SIZE,
    LARGE,
    POST,
    PUT,
    SMALL,
    STAGED,
    World,
)
from tests.store.doubles import CHORE, COMMIT, FILE

#: A location that has nothing, one that has a blob, one whose blob was replaced.
_BEFORE = (
    (),
    ((POST, "a"),),
    ((POST, "a"), (POST, "b")),
    ((POST, "a"), (PUT, "a")),
)

#: What has a blob at ``a``, its first or one that replaced it.
_WRITTEN = (((POST, "a"),), ((POST, "a"), (PUT, "a")))

_REQUESTS = tuple(itertools.product((POST, PUT, DELETE), ("a", "b")))

#: The orders in which the rooms of the workers are served.
_RANKS = ((COMMIT, FILE, CHORE), (CHORE, FILE, COMMIT))


def _scripts(*lengths: int) -> Iterator[Script]:
    return itertools.chain.from_iterable(map(scripts, lengths))


def short_scripts(explorer: Explorer) -> None:
    """Every script of one or two steps, with each way a body can take, on both kinds of disk."""
    for script, shape, trusted in explorer.some(
        itertools.product(_scripts(1, 2), (SMALL, STAGED, LARGE), (True, False))
    ):
        explorer.script(script, shape=shape, trusted=trusted)


def long_scripts(explorer: Explorer) -> None:
    """Every script of three steps."""
    for script in explorer.some(scripts(3)):
        explorer.script(script)


def somebodys(explorer: Explorer) -> None:
    """Every script of one or two steps, beside directories that are not gostore's.

    They have the lowest numbers, which are those that are drawn.
    """
    start: Any = explorer.start
    explorer.somebodys = SOMEBODYS
    for script, trusted in explorer.some(itertools.product(_scripts(1, 2), (True, False))):
        explorer.script(script, start=(*start, *SOMEBODYS), trusted=trusted)
    explorer.somebodys = ()


def longest_scripts(explorer: Explorer) -> None:
    """Every script of four steps, and of three with bodies that are staged."""
    for script, shape in explorer.some(
        (
            *itertools.product(scripts(4), (SMALL,)),
            *itertools.product(scripts(3), (STAGED,)),
        )
    ):
        explorer.script(script, shape=shape)


def pairs(explorer: Explorer) -> None:
    """Two requests at once, alone and in the wake of a third, so that they share a flush."""
    for before, first, second, wake, trusted in explorer.some(
        itertools.product(_BEFORE, _REQUESTS, _REQUESTS, ((), ((POST, "c"),)), (True, False))
    ):
        explorer.together((*wake, first, second), before=before, trusted=trusted)


def overtaken(explorer: Explorer) -> None:
    """Two requests for one location at once, the first with a body that takes longer."""
    for before, first, second, rank in explorer.some(
        itertools.product(_BEFORE, _REQUESTS[::2], _REQUESTS[::2], _RANKS)
    ):
        explorer.together((first, second), before=before, shape=STAGED, backwards=True, rank=rank)


def held_up(explorer: Explorer, step: int = 23) -> None:
    """Two requests and the collector at once, one thread held up at a call while the others run."""
    for before, first, second, rank in explorer.some(
        itertools.product(_BEFORE[1:], _REQUESTS, _REQUESTS, _RANKS)
    ):
        calls = explorer.together(
            ((POST, "c"), first, second), before=before, collect=True, rank=rank
        )
        for preempt in range(1, len(calls), step):
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


def marked_late(explorer: Explorer) -> None:
    """What was replaced is marked a second later, or collected before; its number may be given."""
    steps = ((PUT, "a"), (DELETE, "a"), (POST, "b"), (DELETE, "b"), COLLECT, WAIT, RESTART)
    for script in explorer.some(itertools.product(steps, repeat=3)):
        held = {"a"}
        for verb, location in script:
            if (verb in (PUT, DELETE) and location not in held) or (
                verb == POST and location in held
            ):
                break
            if verb == POST:
                held.add(location)
            elif verb == DELETE:
                held.discard(location)
        else:
            explorer.script(((POST, "a"), (PUT, "a"), *script), late=True)


def full_disk(explorer: Explorer) -> None:
    """The last step finds no room on the disk: a delete has to do without a tombstone.

    On some file systems without the trash, too.
    """
    for crowded, script in explorer.some(itertools.product((False, True), _scripts(2, 3))):
        explorer.script(script, full=True, crowded=crowded)


def damaged(explorer: Explorer) -> None:
    """A blob, replaced and not, is damaged when the store starts."""
    starts = [_damage(explorer, before) for before in _WRITTEN]
    for start, script, full in explorer.some(
        itertools.product(starts, _scripts(1, 2), (False, True))
    ):
        explorer.script(script, start=start, full=full)


def _damage(explorer: Explorer, before: tuple[tuple[str, str], ...]) -> Tree:
    """The tree that requests leave, the youngest blob's bytes cut short."""
    world = World(SimulatedDisk(explorer.start), sync=explorer.sync).start()
    for verb, location in before:
        world.request(verb, location)
    youngest = str(world.store.index.blob("a").id)
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
    for lead, tail, shape, idle in explorer.some(
        itertools.product(_LEADS, _TAILS, (SMALL, BLOCKS, STAGED), range(4))
    ):
        explorer.script(((POST, "c"), *[(PUT, "c")] * idle, *lead, *tail), shape=shape, mixed=True)


def numbers(explorer: Explorer) -> None:
    """A staged blob gets the number of a tombstone when that of its elder is free again.

    In a journal of another size all that is in one file, which no turn has flushed.
    """
    deleted = (COLLECT, (POST, "a"), (PUT, "a"), (DELETE, "a"), COLLECT)
    filled = ((), *[((POST, "c"), *[(PUT, "c")] * idle) for idle in range(4)])
    for size, fill, tail in explorer.some(
        itertools.product(
            (JOURNAL_SIZE, 2 * JOURNAL_SIZE), filled, (_TAILS[-1], (*_TAILS[-1], RESTART))
        )
    ):
        explorer.make_journal(size)
        explorer.script((*fill, *deleted, *tail), shape=STAGED, mixed=True)


def queued(explorer: Explorer) -> None:
    """Requests one after another while the other threads are not given a turn.

    In a smaller journal, too, of which a file is begun anew as soon as its flush is over.
    """
    for (size, puts), last, beside in explorer.some(
        itertools.product(
            ((JOURNAL_SIZE * 3 // 4, 3), (JOURNAL_SIZE, 5)),
            ((DELETE, "c"), (PUT, "c")),
            ((), ((POST, "a"),), ((POST, "a"), (POST, "b"))),
        )
    ):
        explorer.make_journal(size)
        explorer.together((*((PUT, "c"),) * puts, last, *beside), before=((POST, "c"),))


def checkpoints(explorer: Explorer) -> None:
    """The journal is flushed elsewhere while others commit, and after it goes on.

    One thread is held up at each of its renames and syncs, from which on the others commit what the
    flush does not cover, or flush what is not committed yet.
    """
    for before, first, second, rank, then in explorer.some(
        itertools.product(
            _BEFORE[1:],
            _REQUESTS,
            ((POST, "b"), (PUT, "a"), (DELETE, "a")),
            _RANKS,
            (((PUT, "c"),), ((POST, "b"), (PUT, "b"), (PUT, "b"))),
        )
    ):
        requests = ((POST, "c"), first, second)
        calls = explorer.together(requests, before=before, collect=True, rank=rank, then=then)
        for at, kind in enumerate(calls, 1):
            if kind == "rename" or kind in SYNCS:
                explorer.together(
                    requests, before=before, collect=True, rank=rank, then=then, preempt=at
                )


def begun_anew(explorer: Explorer) -> None:
    """A file of the journal is begun anew with a batch that is longer than what it overwrites.

    Of that batch only the end may be there, behind an older one that is whole still: where that
    made ``a``, its deletion is gone, for what comes before and after it fills the two files so,
    and no batch after the checkpoint before it tells of another one.
    """
    for lead, idle, later in explorer.some(
        itertools.product(
            (((POST, "a"), (DELETE, "a")), ((POST, "a"), (PUT, "a"), (DELETE, "a"))),
            range(2, 6),
            range(3),
        )
    ):
        put = (PUT, "c")
        filled = ((POST, "c"), *[put] * idle, COLLECT, *lead, *[put] * later)
        explorer.script((*filled, (POST, "b"), COLLECT, (PUT, "b")), shape=BLOCKS, mixed=True)


def failing_syncs(explorer: Explorer) -> None:
    """Each sync fails once, with and without what it was for: nothing is committed after it."""
    for before, first, second, collect, loses in explorer.some(
        itertools.product(_BEFORE, _REQUESTS[:5:2], _REQUESTS[1::2], (False, True), (True, False))
    ):
        fails_after = 0
        while explorer.failing(
            ((POST, "c"), first, second),
            before=before,
            collect=collect,
            then=((POST, "a"), (PUT, "a"), COLLECT, (DELETE, "a"), (PUT, "c")),
            fails_after=fails_after,
            loses=loses,
        ):
            fails_after += 1


def first_journal(explorer: Explorer) -> None:
    """The journal is made: a disk that has held nothing yet."""
    for script in explorer.some(_scripts(1, 2)):
        explorer.script(script, start=())


def half_removed(explorer: Explorer) -> None:
    """The removal of the journal was cut short: a file, or both, says that nothing is wanted."""
    for gone, script in explorer.some(itertools.product((*NAMES, ""), _scripts(1, 2))):
        disk = SimulatedDisk(explorer.start)
        with journal_of(disk) as journal:
            for name in NAMES:
                journal._mark(name, ENDED)
        if gone:
            disk.lose_file(gone)
        explorer.script(script, start=disk.tree)


def found_damaged(explorer: Explorer) -> None:
    """A blob that the journal still has is found damaged, and deleted or replaced."""
    steps = (COLLECT, (DELETE, "a"), (PUT, "a"), (POST, "b"), RESTART)
    for before, *after in explorer.some(itertools.product(_WRITTEN, steps, steps)):
        if after != [(POST, "b")] * 2:
            explorer.script((*before, DAMAGE, *after))


def spoilt(explorer: Explorer) -> None:
    """A block of the journal is damaged: nothing is lost in silence, or comes back.

    The journal has been used for a while, or is a new one.
    """
    for script in explorer.some(_scripts(1, 2)):
        explorer.script(script, start=(), spoilt=True)
    tails = (*_TAILS, ((POST, "a"), (POST, "b")), ((POST, "a"), (DELETE, "a"), (POST, "b")))
    for lead, tail, idle in explorer.some(itertools.product(_LEADS, tails, range(4))):
        explorer.script(((POST, "c"), *[(PUT, "c")] * idle, *lead, *tail), spoilt=True)


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
    somebodys,
    pairs,
    overtaken,
    held_up,
    marked_late,
    full_disk,
    damaged,
    failing_syncs,
)
SOAK_TRIALS: tuple[Trial, ...] = (longest_scripts, held_up_everywhere)

#: What runs with the redo journal; those of `TRIALS` do, too.
JOURNAL_TRIALS: tuple[Trial, ...] = (
    turns,
    numbers,
    queued,
    checkpoints,
    begun_anew,
    first_journal,
    half_removed,
    found_damaged,
    spoilt,
)
