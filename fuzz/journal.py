"""A store whose redo journal is damaged after a crash: it loses nothing in silence.

An input is what is done, a byte for each step up to the first 255; how it ends, three bytes; and
what is then done to the files of the journal, four bytes for each damage.  All is on the simulated
disk.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from twisted.logger import globalLogBeginner

from gostore.commands.fsck import fsck
from gostore.errors import VolumeUnusable
from gostore.volume.changes import Sync
from gostore.volume.journal.format import NAMES
from gostore.volume.journal.journal import NotAJournal
from gostore.volume.volume import Volume
from tests.simulation.disk import BLOCK, CHANGES, Entries, SimulatedDisk
from tests.simulation.explorer import Crash, cut_off, journal_of, zeroed
from tests.simulation.world import (
    BLOCKS,
    DELETE,
    JOURNAL_SIZE,
    LOCATIONS,
    POST,
    PUT_ANEW,
    SMALL,
    STAGED,
    Value,
    World,
)

MOST_STEPS = 24
MOST_DAMAGES = 8
END = 255

REQUESTS = tuple(itertools.product((POST, PUT_ANEW, DELETE), LOCATIONS))
SHAPES = (SMALL, SMALL, STAGED, BLOCKS)

globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)


def live(steps: bytes, at: int) -> Crash:
    """Do what the steps say; return the crash at one of the calls of the last one."""
    crashes: list[Crash] = []
    last = False

    def seen(kind: str, world: World) -> None:
        if last and world.serving and kind in CHANGES:
            crashes.append(Crash(world.disk.copy(), world.allowed()))

    world = World(SimulatedDisk(), sync=Sync.JOURNAL, seen=seen).start()
    for number, step in enumerate(steps, 1):
        last = number == len(steps)
        deed, shape = step % 12, SHAPES[step // 12 % len(SHAPES)]
        if deed < len(REQUESTS):
            world.request(*REQUESTS[deed], shape)
        elif deed == 9:
            world.collect()
        else:
            world.stop()
            sync = Sync.JOURNAL if deed == 10 else Sync.FILES
            world = World(world.disk, sync=sync, seen=seen).start()
    crashes.append(Crash(world.disk.copy(), world.allowed()))
    return crashes[at % len(crashes)]


def lose(disk: SimulatedDisk, how: int) -> SimulatedDisk:
    """Cut the power, or with 0 only kill: of what is not flushed anything may be lost."""
    if not how:
        return disk

    def settle(number: int) -> bytes | Entries:
        variants: Sequence[bytes | Entries] = disk.inodes[number].variants()
        # The same for each copy that looks.
        return random.Random(how * 1000 + number).choice(variants)

    return disk.cut(settle)


def damage(disk: SimulatedDisk, how: bytes) -> None:
    """Zero, change, move or cut off blocks of the journal, exchange its files, or remove one."""
    kind, which, where, value = how
    name = NAMES[which % 2]
    if name not in disk.names:
        return
    content = disk.content(name)
    at = where % (JOURNAL_SIZE // BLOCK) * BLOCK
    block = content[at : at + BLOCK]
    match kind % 7:
        case 0:
            zeroed(disk, name, at)
        case 1 if block:
            # Most of a block is padding: what a batch says is at its beginning.
            place = at + value % min(len(block), 256)
            changed = bytes([content[place] ^ (which | 1)])
            disk.put(name, content[:place] + changed + content[place + 1 :])
        case 2:
            to = value % (JOURNAL_SIZE // BLOCK) * BLOCK
            disk.put(name, content[:to] + block + content[to + len(block) :])
        case 3:
            cut_off(disk, name, at)
        case 4 if set(NAMES) <= set(disk.names):
            first, second = map(disk.content, NAMES)
            disk.put(NAMES[0], second)
            disk.put(NAMES[1], first)
        case 5:
            disk.put(name, content + bytes([value]) * 100)
        case 6 if set(NAMES) <= set(disk.names):
            # If both are gone there may never have been a journal.
            disk.lose_file(name)


def newest(disk: SimulatedDisk) -> int:
    """The number of the newest batch that is whole."""
    with journal_of(disk) as journal:
        return journal.written


def start(disk: SimulatedDisk) -> tuple[dict[str, Value] | None, SimulatedDisk]:
    """What is served, None if the journal refuses the start; and what a kill then leaves."""
    disk = disk.copy()
    world = World(disk, sync=Sync.JOURNAL)
    try:
        world.start()
    except (VolumeUnusable, NotAJournal) as error:
        assert "journal" in str(error), error
        return None, disk.copy()
    return world.values(), disk.copy()


def check(data: bytes) -> None:
    """Live, crash, damage, and start three times."""
    steps, _, rest = data.partition(bytes([END]))
    if not steps or len(rest) < 3:
        return
    crash = live(steps[:MOST_STEPS], rest[0])
    disk = lose(crash.disk, rest[1] % 4 and rest[1] + rest[2] * 256)
    before = newest(disk.copy())
    damages = rest[3 : 3 + 4 * MOST_DAMAGES]
    for at in range(0, len(damages) - 3, 4):
        damage(disk, damages[at : at + 4])
    # Of a newest batch that is damaged nobody can tell that it ever was there; of a file that is
    # too short, or missing, one can, if the other is there.
    short = all(kind % 7 in (3, 6) for kind in damages[::4]) and len({*damages[1::4]}) < 2
    seen = newest(disk.copy()) == before or short
    served, after = start(disk)
    if served is None:
        assert damages, "refused though nothing is damaged"
        mended = after.copy()
        volume = Volume("/", disk=mended, sync=Sync.JOURNAL, journal_size=JOURNAL_SIZE)
        assert fsck(volume, mend=True).damage, "it is refused, and fsck finds nothing"
        served, after = start(mended)
        assert served is not None, "refused though it is repaired"
    elif seen:
        for location, value in served.items():
            assert value in crash.allowed[location], f"{location} has {value!r}"
    for _ in range(2):
        again, after = start(after)
        assert again == served, "the next start finds something else"
