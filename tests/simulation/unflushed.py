"""A store that flushes nothing (``--sync none``): a power cut may lose anything, but no start.

After a mere kill all is there. After a power cut each location has something that it once had, or
nothing, or is damaged; and what is then stored with flushes lasts.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from gostore.errors import StoreError
from gostore.volume.changes import Sync
from tests.simulation.disk import CHANGES, Entries, SimulatedDisk
from tests.simulation.explorer import APPLY, COLLECT, Explorer, Script
from tests.simulation.world import (
    DAMAGED,
    DELETE,
    LOCATIONS,
    POST,
    PUT,
    PUT_ANEW,
    STAGED,
    Value,
    Violation,
    World,
)

#: How many of the states are looked at that a power cut may leave, what lasts in any case first.
_STATES = 6

#: The daemon is started anew, with another ``--sync``.
_OTHERWISE = ("otherwise", "")

_SCRIPTS: tuple[Script, ...] = (
    (_OTHERWISE, (POST, "a"), (PUT, "a"), _OTHERWISE, (POST, "b"), *((PUT, "a"),) * 4),
    ((POST, "a"), (POST, "b"), (PUT, "a"), (DELETE, "b"), (PUT, "a"), (PUT, "a"), (POST, "b")),
    (
        (POST, "a"),
        (PUT, "a"),
        COLLECT,
        (DELETE, "a"),
        COLLECT,
        (POST, "b"),
        (PUT, "b"),
        (POST, "a"),
    ),
    ((POST, "a"), APPLY, (PUT, "a"), APPLY, (PUT, "a", STAGED), (PUT, "a"), APPLY, COLLECT),
)


class Unflushed:
    """A simulated disk that is told to flush nothing."""

    def __init__(self, flushing: SimulatedDisk) -> None:
        self.flushing = flushing

    def __getattr__(self, name: str) -> Any:
        return getattr(self.flushing, name)

    @property
    def before(self) -> Callable[[str, str], None]:
        return self.flushing.before

    @before.setter
    def before(self, before: Callable[[str, str], None]) -> None:
        self.flushing.before = before

    def fsync(self, fd: int) -> None:
        """Flush nothing."""

    fdatasync = syncfs = fsync


@frozen
class _Crash:
    """What the disk holds at some moment, and what each location may have after a kill."""

    disk: SimulatedDisk
    allowed: Mapping[str, frozenset[Value]]
    #: What each location may have had until then.
    ever: Mapping[str, frozenset[Value]]


def unflushed(explorer: Explorer) -> None:
    """Every crash of some scripts, with files made at once and late; starts with any ``--sync``."""
    rng = random.Random(1)
    for script, lazy in explorer.some(itertools.product(_SCRIPTS, (False, True))):
        explorer.figures.scripts += 1
        for number, crash in enumerate(_run(explorer, script, lazy)):
            explorer.figures.crashes += 1
            try:
                _kill(explorer, crash)
                for nth, sync in itertools.product(range(_STATES), Sync):
                    explorer.figures.states += 1
                    _cut(explorer, crash, sync, nth, rng)
            except (Violation, StoreError, OSError) as error:
                raise Violation(f"{script}, {lazy=}, crash {number}: {error}") from error


def _world(
    explorer: Explorer,
    disk: SimulatedDisk,
    sync: Sync,
    seen: Callable[[str, World], None] = lambda kind, world: None,
) -> World:
    explorer.figures.lives += 1
    on: Any = Unflushed(disk) if sync is Sync.NONE else disk
    return World(on, explorer.modules, sync=sync, seen=seen)


def _run(explorer: Explorer, script: Script, lazy: bool) -> list[_Crash]:
    crashes: list[_Crash] = []
    disk = SimulatedDisk()
    ever: dict[str, set[Value]] = {location: {None} for location in LOCATIONS}

    def note(world: World) -> None:
        allowed = world.allowed()
        for location, values in allowed.items():
            ever[location] |= values
        had = {location: frozenset(values) for location, values in ever.items()}
        crashes.append(_Crash(disk.copy(), allowed, had))

    def seen(kind: str, world: World) -> None:
        if kind in CHANGES and world.serving and world.sync is Sync.NONE:
            note(world)

    world = _world(explorer, disk, Sync.NONE, seen).start()
    world.workers.lazy = lazy
    for verb, location, *shape in script:
        if (verb, location) == COLLECT:
            world.collect()
        elif (verb, location) == APPLY:
            world.apply()
        elif (verb, location) == _OTHERWISE:
            world.stop()
            sync = Sync.JOURNAL if world.sync is Sync.NONE else Sync.NONE
            world, before = _world(explorer, disk, sync, seen), world
            world.operations = before.operations
            world.start()
            world.workers.lazy = lazy
        else:
            world.request(verb, location, *shape)
    note(world)
    return crashes


def _kill(explorer: Explorer, crash: _Crash) -> None:
    for sync in Sync:
        found = _world(explorer, crash.disk.copy(), sync).start().values()
        for location, value in found.items():
            if value not in crash.allowed[location]:
                raise Violation(f"{location} has {value!r} after a kill, with {sync}")


def _cut(explorer: Explorer, crash: _Crash, sync: Sync, nth: int, rng: random.Random) -> None:
    """Cut the power, start with a ``--sync``, write, and cut it again."""
    disk = crash.disk.cut(_settling(crash.disk, nth, rng))
    world = _world(explorer, disk, sync).start()
    for location, value in world.values().items():
        if value not in crash.ever[location] | {None, DAMAGED}:
            raise Violation(f"{location} has {value!r} after a power cut, with {sync}")
    world.collect()
    stored = world.request(PUT_ANEW, "a")
    if stored.error is not None:
        raise Violation(f"nothing can be stored: {stored.error!r}")
    if sync is not Sync.NONE:
        disk = disk.cut(_settling(disk, 1, rng))
    again = _world(explorer, disk.copy(), Sync.JOURNAL).start()
    if again.read("a") != stored.value:
        raise Violation(f"what was stored after a power cut, with {sync}, is lost")


def _settling(
    disk: SimulatedDisk, nth: int, rng: random.Random
) -> Callable[[int], bytes | Entries]:
    def settle(number: int) -> bytes | Entries:
        # What an orderly disk would leave comes first, then what has lost everything.
        states = disk.inodes[number].variants()
        return states[min(nth, len(states) - 1)] if nth < 2 else rng.choice(states)

    return settle
