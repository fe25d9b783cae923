"""Trials of the journal first, and the files behind: what is answered and has no files yet.

The applier is lazy here: it makes files when a script says so, or when somebody waits for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.simulation.explorer import (
    APPLY,
    COLLECT,
    FILLED,
    FULL,
    LEFT,
    MADE,
    RESTART,
    ROOM,
    WAIT,
    Explorer,
    Script,
)
from tests.simulation.world import BLOCKS, DELETE, JOURNAL_SIZE, POST, PUT, SMALL, STAGED
from tests.store.doubles import APPLIER, CHORE, COMMIT, FILE

#: What ``a`` may have on the disk: nothing, one version, two, and one whose elder never had files.
ELDERS: tuple[Script, ...] = (
    (),
    ((POST, "a"), APPLY),
    ((POST, "a"), APPLY, (PUT, "a"), APPLY),
    ((POST, "a"), (PUT, "a"), APPLY),
)

#: So large that a few deletions have room in the journal when nothing can be synced.
_WITH_A_TAIL = 16 * JOURNAL_SIZE

#: As large as the files of some small blobs.
_BLOCKS = (30_000, True)

_RANKS = ((COMMIT, FILE, CHORE), (FILE, CHORE, COMMIT), (CHORE, FILE, COMMIT))


def is_sensible(script: Script) -> bool:
    """Say whether no request of a script is refused."""
    held = set()
    for verb, location, *_ in script:
        if verb in (POST, PUT, DELETE) and (location in held) is (verb == POST):
            return False
        if verb == POST:
            held.add(location)
        elif verb == DELETE:
            held.discard(location)
    return True


def sensible(lead: Script, steps: Script, *lengths: int) -> Iterator[Script]:
    """All scripts of these lengths of which no request is refused, after a lead."""
    for length in lengths:
        for script in itertools.product(steps, repeat=length):
            if is_sensible((*lead, *script)):
                yield script


def unapplied(explorer: Explorer) -> None:
    """Every script of up to three steps at one location, some of which get no files meanwhile.

    Deleted above an elder that has some, written again, collected; an elder that is marked late.
    """
    steps = ((POST, "a"), (PUT, "a"), (DELETE, "a"), COLLECT, APPLY, RESTART)
    cases = [
        ((*elders, *script), late)
        for late in (True, False)
        for elders in ELDERS
        for script in sensible(elders, steps, 1, 2, 3)
        if script[0] not in (APPLY, COLLECT)
    ]
    for script, late in explorer.some(cases):
        explorer.script(script, lazy=True, late=late)


def switched(explorer: Explorer) -> None:
    """The journal begins its files anew, behind what was deleted or replaced without files.

    What that had replaced is not marked.
    """
    heads = (
        ((PUT, "a"), (DELETE, "a")),
        ((PUT, "a"), (PUT, "a"), (DELETE, "a")),
        ((PUT, "a"), (DELETE, "a"), (POST, "a")),
        ((PUT, "a"), (DELETE, "a"), (POST, "a"), (DELETE, "a")),
        ((PUT, "a"), (PUT, "a")),
        ((DELETE, "a"),),
    )
    for elders, head, between, later, then in explorer.some(
        itertools.product(
            ELDERS[1:],
            heads,
            ((), (APPLY,), (COLLECT,)),
            range(1, 8),
            ((), (APPLY,), (COLLECT,), (APPLY, COLLECT)),
        )
    ):
        put = ((PUT, "c"),)
        lead = ((POST, "c"), *elders, *head, *between)
        explorer.script((*lead, *put * later, *then), lazy=True, late=True)


def given_again(explorer: Explorer) -> None:
    """The number of a blob that never had files is given to another, small or staged."""
    leads = (
        ((POST, "a"), (DELETE, "a")),
        ((POST, "a"), (PUT, "a"), (DELETE, "a")),
        ((POST, "a"), APPLY, (PUT, "a"), (DELETE, "a")),
        ((POST, "a"), (PUT, "a")),
    )
    steps = ((POST, "b"), (DELETE, "b"), (PUT, "c"), COLLECT, APPLY)
    cases = [
        ((POST, "c"), *lead, *script)
        for lead in leads
        for script in sensible(((POST, "c"), *lead), steps, 2, 3, 4)
        if (POST, "b") in script and script[-1] != APPLY
    ]
    for script, shape in explorer.some(itertools.product(cases, (SMALL, STAGED))):
        explorer.script(script, shape=shape, mixed=True, lazy=True)


def collected_early(explorer: Explorer) -> None:
    """What is deleted is collected while the journal may not forget it, and its number drawn."""
    for applied, puts in explorer.some(itertools.product(((), (APPLY,)), range(2, 6))):
        lead = ((POST, "c"), (POST, "a"), *applied, (DELETE, "a"), COLLECT, (POST, "b"))
        explorer.script((*lead, *((PUT, "c"),) * puts), lazy=True)


def large_and_small(explorer: Explorer) -> None:
    """Large and small blobs at one location, in any order, and deletions over both."""
    steps = (
        (PUT, "a"),
        (PUT, "a", STAGED),
        (PUT, "a", BLOCKS),
        (POST, "a", STAGED),
        (POST, "a"),
        (DELETE, "a"),
        APPLY,
        COLLECT,
    )
    cases = [
        (*elders, *script) for elders in ELDERS[:3] for script in sensible(elders, steps, 2, 3)
    ]
    for script in explorer.some(cases):
        explorer.script(script, lazy=True)


def no_room_behind(explorer: Explorer) -> None:
    """The disk is full when the files are to be made: what was answered is read, and lasts.

    Deletions go on; when there is room again, everything does.
    """
    full = ((PUT, "a"), (DELETE, "a"), (POST, "b"), (PUT, "c"), (DELETE, "c"), COLLECT)
    heads = ((), ((PUT, "a"),), ((PUT, "a"), (POST, "b")), ((POST, "b"), (DELETE, "b")))
    after: Script = (ROOM, WAIT, APPLY, COLLECT, (PUT, "c"))
    for elders, head, script in explorer.some(
        itertools.product(ELDERS[1:], heads, itertools.product(full, repeat=2))
    ):
        lead = ((POST, "c"), *elders, *head)
        tried = (*lead, FULL, APPLY, *script)
        if not is_sensible((*lead, *script)):
            continue
        explorer.script(tried, lazy=True, late=True)
        if (DELETE, "c") not in script:
            explorer.script((*tried, *after), lazy=True, late=True)


def started_full(explorer: Explorer) -> None:
    """A start finds no room for what only the journal has: it is served, and lasts all the same."""
    heads: tuple[Script, ...] = (
        ((PUT, "a"), (POST, "b")),
        ((POST, "b"), (PUT, "a"), (DELETE, "b")),
        ((POST, "b"), (PUT, "b"), (PUT, "a")),
    )
    steps = ((DELETE, "a"), (DELETE, "b"), (DELETE, "c"), (PUT, "c"), COLLECT, RESTART)
    explorer.make_journal(_WITH_A_TAIL)
    for elders, head, script in explorer.some(
        itertools.product(ELDERS[1:3], heads, itertools.product(steps, repeat=2))
    ):
        lead = ((POST, "c"), *elders, *head)
        if is_sensible((*lead, *script)):
            start = (*lead, FULL, APPLY, RESTART)
            explorer.script((*start, *script), lazy=True, late=True)
            explorer.script((*start, *script, ROOM, COLLECT, MADE), lazy=True, late=True)


def room_by_deleting(explorer: Explorer) -> None:
    """Another program takes the room for what was answered: deletions give it back.

    What is deleted has files, or has none; the applier goes on by itself, and so do writes.
    """
    leads: tuple[Script, ...] = (
        ((POST, "b", BLOCKS), APPLY),
        ((POST, "b", STAGED), (PUT, "b", BLOCKS), APPLY),
        ((POST, "b"), APPLY, (PUT, "b", BLOCKS), APPLY),
    )
    heads: tuple[Script, ...] = (
        ((POST, "a"),),
        ((POST, "a"), (PUT, "c")),
        ((POST, "a"), APPLY, (PUT, "a")),
    )
    deletions: tuple[Script, ...] = (
        ((DELETE, "b"),),
        ((DELETE, "b"), (DELETE, "c")),
        ((DELETE, "c"), (DELETE, "b")),
        (COLLECT, (DELETE, "b")),
    )
    tails = ((COLLECT,), (COLLECT, WAIT, COLLECT, MADE), (RESTART, COLLECT, WAIT, COLLECT, MADE))
    explorer.make_journal(_WITH_A_TAIL)
    for lead, head, deletion, tail in explorer.some(
        itertools.product(leads, heads, deletions, tails)
    ):
        script = ((POST, "c"), *lead, *head, FILLED, APPLY, *deletion, *tail)
        explorer.script(script, lazy=True, late=True)


def room_is_counted(explorer: Explorer) -> None:
    """What is accepted has room on the disk, with all that waits for its files."""
    requests = ((POST, "a"), (POST, "b"), (PUT, "c"), (PUT, "c", BLOCKS))
    for left, script in explorer.some(
        itertools.product(range(4, 24, 3), itertools.permutations(requests, 3))
    ):
        explorer.script(((POST, "c"), APPLY, (LEFT, left), *script, APPLY, MADE), lazy=True)


def room_for_deletions(explorer: Explorer) -> None:
    """However full the journal is when the disk is, too, there is room in it for deletions."""
    explorer.make_journal(4 * JOURNAL_SIZE)
    for some in explorer.some((range(20, 24), range(8, 20))):
        for filled in some:
            lead = ((POST, "a"), (POST, "c"), APPLY, (POST, "b"), *((PUT, "c"),) * filled)
            explorer.script((*lead, FULL, APPLY, (DELETE, "a")), lazy=True, late=True)


def beyond_the_tail(explorer: Explorer) -> None:
    """When that room is used up, too, a deletion takes the room of what was deleted before it."""
    explorer.make_journal(4 * JOURNAL_SIZE)
    deletions: Script = ((DELETE, "b"), (DELETE, "c"), (DELETE, "a"), COLLECT, MADE)
    for filled, done in explorer.some(itertools.product(range(12, 17), (2, 3, 5))):
        lead = ((POST, "b", _BLOCKS), (POST, "c"), APPLY, (POST, "a"), *((PUT, "c"),) * filled)
        explorer.script((*lead, FILLED, APPLY, *deletions[:done]), lazy=True, late=True)


def beside_the_applier(explorer: Explorer) -> None:
    """The collector and another request run while the applier is held up at each of its calls."""
    heads = (
        ((PUT, "a"),),
        ((PUT, "a"), (DELETE, "a")),
        ((DELETE, "a"),),
        ((PUT, "a"), (PUT, "a")),
    )
    for elders, head, request, rank in explorer.some(
        itertools.product(
            ELDERS[1:], heads, ((), ((POST, "b"),), ((PUT, "c", STAGED),)), _RANKS[::2]
        )
    ):
        before = ((POST, "c"), *elders, *head)
        calls = explorer.together(request, before=before, collect=True, rank=rank, lazy=True)
        for at in explorer.moments(calls):
            explorer.together(
                request, before=before, collect=True, rank=rank, lazy=True, preempt=at
            )


def replaced_in_hand(explorer: Explorer) -> None:
    """What the applier has in hand is replaced while it is held up at each of its calls."""
    _in_hand(explorer, ((PUT, "a"),), ((PUT, "a", STAGED),))


def deleted_in_hand(explorer: Explorer) -> None:
    """What the applier has in hand is deleted while it is held up at each of its calls."""
    _in_hand(explorer, ((DELETE, "a"),), ((DELETE, "a"), (POST, "b")))


def _in_hand(explorer: Explorer, *requests: Script) -> None:
    heads: tuple[Script, ...] = (((PUT, "a"),), ((DELETE, "a"), (POST, "a")))
    for elders, head, request, rest in explorer.some(
        itertools.product(ELDERS[1:3], heads, requests, ((COMMIT, FILE, CHORE), _RANKS[2]))
    ):
        before = ((POST, "c"), *elders, *head)
        rank = (APPLIER, *rest)
        calls = explorer.together(request, before=before, collect=True, rank=rank, lazy=True)
        for at in explorer.moments(calls):
            explorer.together(
                request, before=before, collect=True, rank=rank, lazy=True, preempt=at
            )


def read_meanwhile(explorer: Explorer) -> None:
    """Everything is read at each call by which something gets its files, or is committed."""
    steps = ((POST, "a"), (PUT, "a"), (DELETE, "a"), (PUT, "c"), (PUT, "a", STAGED), COLLECT, APPLY)
    leads = [((POST, "c"), *elders) for elders in ELDERS]
    cases = [(*lead, *script) for lead in leads for script in sensible(lead, steps, 2, 3)]
    for script in explorer.some(cases):
        explorer.reading((*script, APPLY, COLLECT))


def overtaken_reads(explorer: Explorer) -> None:
    """A read is held up at each of its calls while its blob gets files, is replaced, collected."""
    heads: tuple[Script, ...] = (
        ((POST, "a"),),
        ((POST, "a"), APPLY),
        ((POST, "a"), APPLY, (PUT, "a")),
        ((POST, "a"), (PUT, "a")),
    )
    requests: tuple[Script, ...] = (
        (),
        ((PUT, "a"),),
        ((DELETE, "a"),),
        ((PUT, "a", STAGED),),
        ((PUT, "a"), (DELETE, "a")),
        ((DELETE, "a"), (POST, "b")),
    )
    for head, beside, rank in explorer.some(itertools.product(heads, requests, _RANKS)):
        before = ((POST, "c"), *head)
        calls = explorer.overtaking(before, beside, rank=rank, preempt=None)
        for at in explorer.moments(calls):
            explorer.overtaking(before, beside, rank=rank, preempt=at)


BEHIND_TRIALS = (
    unapplied,
    switched,
    given_again,
    collected_early,
    large_and_small,
    no_room_behind,
    started_full,
    room_by_deleting,
    room_is_counted,
    room_for_deletions,
    beyond_the_tail,
    beside_the_applier,
    replaced_in_hand,
    deleted_in_hand,
    read_meanwhile,
    overtaken_reads,
)
