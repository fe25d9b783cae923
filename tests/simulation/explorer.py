"""Crashes everywhere: at each call, every state a power cut may leave, and a crash after it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import TypeVar

from attrs import define, evolve, frozen

from gostore.errors import NoSpace, StoreError
from gostore.journal import NAMES
from tests.doubles import CHORE, COMMIT, FILE
from tests.simulation.disk import CHANGES, SimulatedDisk, Tree, used
from tests.simulation.world import (
    DAMAGED,
    DELETE,
    GENUINE,
    LOCATIONS,
    POST,
    PUT,
    SMALL,
    Value,
    Violation,
    World,
)

#: What a script is made of.
RESTART = ("restart", "")
#: A restart with and without the redo journal.
JOURNAL = ("journal", "")
FILES = ("files", "")
RESTARTS = (RESTART, JOURNAL, FILES)
#: The blob at ``a`` loses bytes, and is read.
DAMAGE = ("damage", "")
COLLECT = ("collect", "")
STEPS = (*itertools.product((POST, PUT, DELETE), LOCATIONS[:2]), COLLECT, RESTART)

T = TypeVar("T")

Script = tuple[tuple[str, str], ...]
Allowed = Mapping[str, frozenset[Value]]


@define
class Figures:
    """How much has been looked at."""

    scripts: int = 0
    #: Crashes, and the disks they may leave: all, and different ones that were recovered.
    power_cuts: int = 0
    kills: int = 0
    states: int = 0
    distinct: int = 0
    #: Crashes of which not all states were looked at, for they were too many.
    sampled: int = 0

    def __str__(self) -> str:
        return (
            f"{self.scripts} scripts, {self.power_cuts} power cuts and {self.kills} kills, "
            f"{self.states} crash states explored, {self.distinct} distinct disk states recovered, "
            f"{self.sampled} crashes sampled"
        )


@frozen
class Crash:
    """A moment: what the disk holds, and what each location may have after it."""

    disk: SimulatedDisk
    allowed: Allowed


@frozen
class _Found:
    """What a start finds: a tree, on a disk with ``room`` for so many blocks, None for any."""

    tree: Tree
    trusted: bool
    room: int | None

    @classmethod
    def on(cls, disk: SimulatedDisk, tree: Tree) -> _Found:
        """A tree that a crash left of a disk; a full one has no more room than it had."""
        room = max(used(disk.tree), used(tree)) if disk.full else None
        return cls(tree, disk.trusted, room)


@frozen
class Bounds:
    """How far to go: states per directory at a crash, the same within a recovery.

    Of ``second`` states one is crashed a second time, while it is being recovered from; of all
    that a crash may leave no more than ``most`` are looked at, chosen at random.
    """

    states: int = 16
    again: int = 8
    second: int = 1
    most: int | None = None

    def __str__(self) -> str:
        return (
            f"{self.states} states of a directory, {self.again} in a second crash of 1 of "
            f"{self.second}, of a crash at most {self.most}"
        )


#: What the redo journal has yet to flush makes for many more states.
JOURNALED = Bounds(states=10, again=3, second=16, most=40)


class Explorer:
    """Runs scripts, crashes them everywhere, and holds what is found to the promise."""

    def __init__(
        self,
        modules: SimpleNamespace = GENUINE,
        bounds: Bounds | None = None,
        share: int = 1,
        sync: str = "files",
        after: str | None = None,
    ) -> None:
        """``sync`` is how the volume makes changes durable, ``after`` how it does after a crash."""
        self.modules = modules
        self.sync = sync
        self.after = after or sync
        self.bounds = bounds or (JOURNALED if sync == "journal" else Bounds())
        self.share = share
        self._rng = random.Random(1)
        #: What the disk holds at first: nothing, or a journal that has been made.
        self.start: Tree = ()
        if sync == "journal":
            self.start = self._made()
        self.figures = Figures()
        self._recovered: dict[_Found, dict[str, Value]] = {}
        self._twice: dict[_Found, dict[str, Value]] = {}
        self._checked: set[tuple[_Found, tuple[frozenset[Value], ...]]] = set()

    def some(self, cases: Iterable[T]) -> Iterator[T]:
        """All cases, or of each ``share`` the first."""
        return itertools.islice(cases, 0, None, self.share)

    def _made(self) -> Tree:
        world = World(SimulatedDisk(), self.modules, sync="journal").start()
        world.request(POST, "a")
        world.request(DELETE, "a")
        world.stop()
        return world.disk.tree

    def _some_calls(self, crashes: Sequence[Crash]) -> Sequence[Crash]:
        """All crashes, or those that are to be looked at of a recovery; always the last."""
        step = 1 if self.bounds.second == 1 else 5
        return crashes[::-step]

    # -- scripts ------------------------------------------------------------------------------

    def script(
        self,
        script: Script,
        *,
        start: Tree | None = None,
        trusted: bool = True,
        shape: tuple[int, bool] = SMALL,
        full: bool = False,
        mixed: bool = False,
    ) -> None:
        """Run a script and crash it at each call of its last step: others have crashed the rest.

        ``start`` is what the disk holds at first, by default `start`; with ``full`` it has no room
        for the last step; with ``mixed`` only the steps with ``b`` have the shape.
        """
        self.figures.scripts += 1
        crashes: list[Crash] = []
        at = -1

        def last() -> bool:
            return at == len(script) - 1

        world = self._world(
            SimulatedDisk(self.start if start is None else start, trusted=trusted), crashes, last
        ).start()
        for at, step in enumerate(script):  # noqa: B007
            world.disk.full = full and last()
            world = self._step(
                world, step, crashes, last, shape if not mixed or step[1] == "b" else SMALL
            )
        crashes.append(Crash(world.disk.copy(), world.allowed()))
        self.check(crashes, f"{script}")

    def together(
        self,
        requests: Sequence[tuple[str, str]],
        *,
        before: Script = (),
        trusted: bool = True,
        shape: tuple[int, bool] = SMALL,
        backwards: bool = False,
        collect: bool = False,
        rank: tuple[str, ...] = (COMMIT, FILE, CHORE),
        preempt: int | None = None,
    ) -> int:
        """Let requests be under way at once, crash at each call, and end with a restart.

        ``backwards``: the last to begin is the first whose body is here; ``collect``: the
        collector runs beside them; ``preempt``: see `World.preempt`, counted from the first
        request.  Returns how many calls there were.
        """
        self.figures.scripts += 1
        crashes: list[Crash] = []
        on = False
        world = self._world(
            SimulatedDisk(self.start, trusted=trusted), crashes, lambda: on, rank=rank
        ).start()
        for step in before:
            self._step(world, step, crashes, lambda: on)
        on = True
        first = world.calls
        world.preempt = None if preempt is None else first + preempt
        operations = [world.begin(verb, location, shape) for verb, location in requests]
        if backwards:
            # The first body ends only when the others have been answered.
            while len(operations) > 1:
                world.finish(operations.pop())
                world.workers.drain()
        for operation in operations:
            world.finish(operation)
        if collect:
            world.store.collect()
        world.drain()
        calls = world.calls - first
        crashes.append(Crash(world.disk.copy(), world.allowed()))
        what = f"{requests} after {before}, {backwards=}, {collect=}, {rank=}, {preempt=}"
        self.check(crashes, what)
        on = False
        try:
            self._step(world, RESTART, crashes, lambda: on)
        except Violation as violation:
            raise Violation(f"{what}: {violation}") from None
        return calls

    def _step(
        self,
        world: World,
        step: tuple[str, str],
        crashes: list[Crash],
        on: Callable[[], bool],
        shape: tuple[int, bool] = SMALL,
    ) -> World:
        if step in RESTARTS:
            before = world.values()
            world.stop()
            sync = {"restart": world.sync, "files": "files", "journal": "journal"}[step[0]]
            world = self._world(world.disk, crashes, on, world, sync=sync).start()
            if world.values() != before:
                raise Violation(f"a restart changed {before} to {world.values()}")
        elif step == COLLECT:
            world.collect()
        elif step == DAMAGE:
            world.damage("a")
        else:
            verb, location = step
            exists = world.value(location) is not None
            operation = world.request(verb, location, shape)
            if isinstance(operation.error, NoSpace) and world.disk.full and verb != DELETE:
                return world
            if (operation.error is None) != (exists != (verb == POST)):
                raise Violation(f"{step} got {operation.error!r}")
        return world

    def _world(
        self,
        disk: SimulatedDisk,
        crashes: list[Crash],
        on: Callable[[], bool] = lambda: True,
        before: World | None = None,
        rank: tuple[str, ...] = (COMMIT, FILE, CHORE),
        sync: str | None = None,
    ) -> World:
        """A world that notes down a crash before each call that changes something."""
        nothing = {location: frozenset([None]) for location in LOCATIONS}
        last = nothing if before is None else before.allowed()

        def seen(kind: str, world: World) -> None:
            if kind in CHANGES and on():
                crashes.append(Crash(disk.copy(), world.allowed() if world.serving else last))

        world = World(disk, self.modules, sync=sync or self.sync, rank=rank, seen=seen)
        if before is not None:
            world.operations = before.operations
        return world

    # -- crashes ------------------------------------------------------------------------------

    def check(self, crashes: Iterable[Crash], what: str) -> None:
        """Recover from each crash, as a power cut and as a kill; raises Violation."""
        for number, crash in enumerate(crashes):
            try:
                self._cut(crash)
                self._kill(crash)
            except Violation as violation:
                raise Violation(f"{what}, crash {number}: {violation}") from None

    def _states(self, disk: SimulatedDisk, limit: int) -> tuple[list[Tree], bool]:
        trees, complete = disk.power_cuts(limit)
        most = self.bounds.most
        if most is not None:
            # Within a recovery as much fewer as there are fewer of each directory.
            most = most * limit // self.bounds.states
        if most is None or len(trees) <= most:
            return trees, complete
        return [*trees[:2], *self._rng.sample(trees[2:], most - 2)], False

    def _cut(self, crash: Crash) -> None:
        self.figures.power_cuts += 1
        trees, complete = self._states(crash.disk, self.bounds.states)
        self.figures.sampled += not complete
        self.figures.states += len(trees)
        key = tuple(crash.allowed[location] for location in LOCATIONS)
        for tree in trees:
            found = _Found.on(crash.disk, tree)
            if (found, key) not in self._checked:
                self._checked.add((found, key))
                twice = len(self._checked) % self.bounds.second == 0
                values = (self._recover_twice if twice else self._recover)(found)
                _hold(values, crash.allowed, tree)

    def _kill(self, crash: Crash) -> None:
        """A mere kill keeps all; what is served then has to survive a power cut after it."""
        self.figures.kills += 1
        served: dict[str, Value] = {}
        crashes: list[Crash] = []
        disk = crash.disk.copy()

        def seen(kind: str, world: World) -> None:
            if kind in CHANGES:
                crashes.append(Crash(disk.copy(), _only(served) if served else crash.allowed))

        world = World(disk, self.modules, sync=self.after, seen=seen)
        self._start(world, disk.tree)
        served.update(world.values())
        _hold(served, crash.allowed, disk.tree)
        crashes.append(Crash(disk.copy(), _only(served)))
        world.collect()
        crashes.append(Crash(disk.copy(), _only(served)))
        for after in self._some_calls(crashes):
            trees, _ = self._states(after.disk, self.bounds.again)
            self.figures.states += len(trees)
            for tree in trees:
                _hold(self._recover(_Found.on(after.disk, tree)), after.allowed, tree)

    def _start(self, world: World, tree: Tree) -> None:
        try:
            world.start()
        except (StoreError, OSError) as error:
            raise Violation(f"no start: {error!r} from {shown(tree)}") from error

    def _recover(self, found: _Found) -> dict[str, Value]:
        """Recover; return what is there then, before and after a collection."""
        known = self._recovered.get(found)
        if known is None:
            self.figures.distinct += 1
            known = self._recovered[found] = self._life(found, None)
        return known

    def _recover_twice(self, found: _Found) -> dict[str, Value]:
        """Recover, with one more power cut at each call of the recovery and of what follows it."""
        known = self._twice.get(found)
        if known is not None:
            return known
        disks: list[SimulatedDisk] = []
        self.figures.distinct += found not in self._recovered
        values = self._recovered[found] = self._twice[found] = self._life(found, disks)
        for disk in disks:
            trees, _ = self._states(disk, self.bounds.again)
            self.figures.states += len(trees)
            for tree in trees:
                again = self._recover(evolve(found, tree=tree))
                if again != values:
                    raise Violation(
                        f"a second crash left {shown(tree)}, with {again} instead of {values}"
                    )
        return values

    def _life(self, found: _Found, disks: list[SimulatedDisk] | None) -> dict[str, Value]:
        disk = SimulatedDisk(found.tree, trusted=found.trusted, room=found.room)

        def seen(kind: str, world: World) -> None:
            if disks is not None and kind in CHANGES:
                disks.append(disk.copy())

        world = World(disk, self.modules, sync=self.after, seen=seen)
        self._start(world, found.tree)
        values = world.values()
        world.collect()
        if world.values() != values:
            raise Violation(f"collecting changed {values} to {world.values()}")
        if disks is not None:
            disks.append(disk.copy())
        _tidy(disk, values, found.tree)
        return values


def _only(values: Mapping[str, Value]) -> Allowed:
    return {location: frozenset([value]) for location, value in values.items()}


def _hold(found: Mapping[str, Value], allowed: Allowed, tree: Tree) -> None:
    for location in LOCATIONS:
        if found[location] not in allowed[location]:
            raise Violation(
                f"{location!r} has {_word(found[location])} instead of "
                f"{' or '.join(map(_word, allowed[location]))} from {shown(tree)}"
            )


def _word(value: Value) -> str:
    if value is None:
        return "nothing"
    return "damage" if value == DAMAGED else value.hex()[:8]


def _tidy(disk: SimulatedDisk, found: Mapping[str, Value], tree: Tree) -> None:
    """After a recovery and a collection there is nothing but what is served and set aside."""
    all_names = [name for name, _ in disk.tree if name not in NAMES]
    names = [name for name in all_names if not name.startswith(".quarantine-")]
    before = any(".quarantine-" in name for name, _ in tree)
    if len(names) < len(all_names) and not before and DAMAGED not in found.values():
        raise Violation(f"quarantined for nothing: {shown(disk.tree)} from {shown(tree)}")
    present = [value for value in found.values() if value not in (None, DAMAGED)]
    if len(names) != len(present) or not all(name.isdecimal() for name in names):
        raise Violation(f"left over: {names} from {shown(tree)}")


def shown(tree: Tree) -> str:
    """A tree for people: names, and the sizes of files."""
    if isinstance(tree, bytes):
        return str(len(tree))
    return "{" + ", ".join(f"{name}: {shown(under)}" for name, under in tree) + "}"


def scripts(length: int) -> Iterator[Script]:
    """All scripts of a length, but for those that only exchange the two locations."""
    for script in itertools.product(STEPS, repeat=length):
        first = next((location for _, location in script if location), "a")
        if first == "a":
            yield script
