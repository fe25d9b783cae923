"""Crashes everywhere: at each call, every state a power cut may leave, and a crash after it."""

from __future__ import annotations

import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar

from attrs import define, evolve, field, frozen

from gostore.errors import NoSpace, NotFound, StoreError, VolumeUnusable
from gostore.volume.changes import Sync
from gostore.volume.directory import DATA, Kind, kind_of
from gostore.volume.journal.format import NAMES, batches_in
from gostore.volume.journal.journal import Journal
from tests.simulation.disk import BLOCK, CHANGES, Entries, File, SimulatedDisk, Tree, used
from tests.simulation.world import (
    DAMAGED,
    DELETE,
    GENUINE,
    JOURNAL_SIZE,
    LOCATIONS,
    POST,
    PUT,
    RESTORE,
    SMALL,
    Value,
    Violation,
    World,
)
from tests.store.doubles import CHORE, COMMIT, FILE

#: Files beside the blobs.
BESIDE = (Kind.JOURNAL, Kind.RECORDS, Kind.PROMISE)

#: What a script is made of.
RESTART = ("restart", "")
#: A restart with and without the redo journal.
JOURNAL = ("journal", "")
FILES = ("files", "")
RESTARTS = (RESTART, JOURNAL, FILES)
#: The blob at ``a`` loses bytes, and is read.
DAMAGE = ("damage", "")
COLLECT = ("collect", "")
#: What was to be done soon is done, if that is late; see `SimulatedWorkers`.
WAIT = ("wait", "")
#: What expires is over.
PASS = ("pass", "")
#: The time of all that is kept is over.
LATER = ("later", "")
#: The files are made of all that has been answered, if the applier is lazy.
APPLY = ("apply", "")
#: From here on the disk has no room, or has some again.
FULL = ("full", "")
ROOM = ("room", "")
#: Another program takes all the room that there is now.
FILLED = ("filled", "")
#: Another program leaves so many blocks, which is the second part.
LEFT = "left"
#: The applier has done what it was asked to, and everything has files.
MADE = ("made", "")
STEPS = (*itertools.product((POST, PUT, DELETE), LOCATIONS[:2]), COLLECT, RESTART)

T = TypeVar("T")

#: A request may have a shape of its own, as its third part.
Script = tuple[tuple[Any, ...], ...]
Allowed = Mapping[str, frozenset[Value]]


@define
class Figures:
    """How much has been looked at."""

    #: What a trial tried out, and how much of that there is.
    cases: int = 0
    of: int = 0
    scripts: int = 0
    #: Moments that were looked at, as a power cut and as a kill; those of which not all the states
    #: that a power cut may leave were looked at, for they are too many; and power cuts that came
    #: after a kill or another power cut.
    crashes: int = 0
    sampled: int = 0
    second: int = 0
    #: States that a power cut may leave, of those that differ in what a start looks at; how many
    #: there are with the others, for which they stand; and for how many of them a store was run.
    states: int = 0
    stood_for: int = 0
    lives: int = 0


@frozen
class Crash:
    """A moment: what the disk holds, and what each location may have after it."""

    disk: SimulatedDisk
    allowed: Allowed
    #: Whether the journal has what is in no file yet.
    waits: bool = False


@frozen
class Bounds:
    """How far to go: states of a crash, and of a second one while it is being recovered from.

    Where there are more, so many are chosen at random.  Of ``second`` states one is crashed a
    second time, and every kill is, each time at one of ``calls`` calls of the recovery.
    """

    states: int
    again: int
    second: int
    calls: int

    def __str__(self) -> str:
        return (
            f"up to {self.states} states of a crash, up to {self.again} of a second one, which "
            f"1 in {self.second} recoveries and each after a kill has at 1 in {self.calls} calls"
        )


@define(eq=False)
class _Seen:
    """What a start has been seen to look at next, and what comes of what it finds there.

    A start is deterministic: what it does depends on what it has found so far.  So two disks on
    which it finds the same are recovered alike, whatever they have where it never looks.  ``path``
    is None at the end, where ``found`` is what is served.
    """

    path: tuple[str, ...] | None = None
    then: dict[Any, _Seen] = field(factory=dict)
    found: dict[str, Value] | None = None


class _States:
    """The states that one power cut may leave: chosen one after another, none of them twice."""

    def __init__(self, disk: SimulatedDisk, seen: _Seen, rng: random.Random) -> None:
        self._disk = disk
        self._seen = seen
        self._rng = rng
        #: For each choice that has been made, the choices after it, or None if these are all done.
        self._tried: dict[int, Any] = {}
        self._counts: dict[int, int] = {}
        self._walks = 0
        self.exhausted = False
        self.complete = True

    def choose(self) -> None:
        """Begin with another state; follow what has been seen as far as that goes."""
        self.at = self._seen
        self._tried_here = self._tried
        self._trail: list[tuple[dict[int, Any], int, int]] = []
        self.settled: dict[int, bytes | Entries] = {}
        self._paths: dict[int, tuple[str, ...]] = {0: ()}
        self._numbers: dict[tuple[str, ...], int] = {(): 0}
        self._walks += 1
        while self.at.path is not None:
            self._pick(self._numbers[self.at.path])

    def settle(self, number: int) -> bytes | Entries:
        """Say in what state an inode is, as was chosen or is chosen now."""
        if number not in self.settled:
            assert self.at.path is None and self.at.found is None, "a start is deterministic"
            self.at.path = self._paths[number]
            self._pick(number)
        return self.settled[number]

    def _pick(self, number: int) -> None:
        one = self._disk.inodes[number]
        variants = one.variants()
        self.complete = self.complete and one.complete
        several = len(variants)
        # What an orderly disk would leave comes first, then what has lost everything.
        at = 0 if self._walks == 1 or several == 1 else 1
        if several > 1 and (self._walks > 2 or self._tried_here.get(at, 0) is None):
            at = self._rng.choice(
                [at for at in range(several) if self._tried_here.get(at, 0) is not None]
            )
        self._trail.append((self._tried_here, at, several))
        self._tried_here = self._tried_here.setdefault(at, {})
        state = self.settled[number] = variants[at]
        answer: Any = state
        if not isinstance(state, bytes):
            answer = tuple((name, self._disk.is_directory(under)) for name, under in state)
            path = self._paths[number]
            for name, under in state:
                below = (*path, name)
                self._paths[under] = below
                self._numbers[below] = under
        self.at = self.at.then.setdefault(answer, _Seen())

    def done(self) -> int:
        """Never choose this state again; return how many it stands for."""
        self.exhausted = True
        for tried, at, several in reversed(self._trail):
            tried[at] = None
            if len(tried) < several or any(after is not None for after in tried.values()):
                self.exhausted = False
                break
        return math.prod(
            self._count(number) for number in self._paths if number not in self.settled
        )

    def _count(self, number: int) -> int:
        """How many states an inode may be in, with all that is below it."""
        count = self._counts.get(number)
        if count is None:
            variants = self._disk.inodes[number].variants()
            count = self._counts[number] = sum(
                1 if isinstance(one, bytes) else math.prod(self._count(under) for _, under in one)
                for one in variants
            )
        return count

    @property
    def total(self) -> int:
        """How many states the power cut may leave."""
        return self._count(0)

    def __str__(self) -> str:
        """The state, for people: names, and sizes where they have been looked at."""
        return self._shown(0)

    def _shown(self, number: int) -> str:
        state = self.settled.get(number)
        if state is None:
            return "?"
        if isinstance(state, bytes):
            return str(len(state))
        return "{" + ", ".join(f"{name}: {self._shown(under)}" for name, under in state) + "}"


#: Of the first protocol nearly all states are looked at; the redo journal, with all that it has
#: yet to flush, makes for too many.
THOROUGH = Bounds(states=1000, again=8, second=1, calls=1)
JOURNALED = Bounds(states=60, again=3, second=32, calls=5)


def usual_bounds(sync: Sync, states: int | None = None) -> Bounds:
    """Return how far to go with a protocol; ``states`` is how many of a crash, if not as usual."""
    usual = JOURNALED if sync is Sync.JOURNAL else THOROUGH
    return usual if states is None else evolve(usual, states=states)


#: Directories with names like gostore's that hold what is not, and so are nobody's to touch.
SOMEBODYS: tuple[tuple[str, Tree], ...] = (
    (".new-1", ((DATA, b"raw"), ("notes.txt", b"mine"))),
    (".trash-2-1", ((DATA, b"raw"), ("notes.txt", b"mine"))),
    ("0", (("trip", (("b.jpg", b"photo"),)),)),
    ("3", ((DATA, b"raw"), ("notes.txt", b"mine"))),
)

#: Of so many lives is kept what they looked at; more would not fit into memory.
_LIVES_KEPT = 100_000


class Explorer:
    """Runs scripts, crashes them everywhere, and holds what is found to the promise."""

    def __init__(
        self,
        modules: SimpleNamespace = GENUINE,
        bounds: Bounds | None = None,
        share: int = 1,
        stride: int = 1,
        sync: Sync = Sync.FILES,
        after: Sync | None = None,
        seed: int = 1,
        until: float | None = None,
    ) -> None:
        """``sync`` is how the volume makes changes durable, ``after`` how it does after a crash.

        ``share`` and ``until``, a monotonic time, are for `some`, and ``stride`` is for `moments`.
        """
        self.modules = modules
        self.sync = sync
        self.after = after or sync
        self.bounds = bounds or usual_bounds(sync)
        self.share = share
        self.stride = stride
        self.until = until
        #: For how many seconds what each location had is kept.
        self.keep = 0.0
        self._rng = random.Random(seed)
        #: For disks that are alike but for what they hold.
        self._seen: dict[tuple[object, ...], _Seen] = {}
        #: What the disk holds at first: nothing, or a journal that has been made.
        self.start: Tree = ()
        #: What of it is nobody's to touch.
        self.somebodys: tuple[tuple[str, Tree], ...] = ()
        self._journal_size = JOURNAL_SIZE
        if sync is Sync.JOURNAL:
            self.make_journal(JOURNAL_SIZE)
        self.figures = Figures()
        self._kept = 0

    def some(self, cases: Iterable[T]) -> Iterator[T]:
        """All cases, or of each ``share`` the first; with ``until`` in any order, until then."""
        every = list(cases)
        self.figures.of += len(every)
        some = every[:: self.share]
        if self.until is not None:
            self._rng.shuffle(some)
        for case in some:
            if self.until is not None and time.monotonic() > self.until:
                return
            self.figures.cases += 1
            yield case

    def moments(self, calls: Sequence[object]) -> range:
        """At which of some calls a thread is held up: at each ``stride``-th, from the first on."""
        return range(1, len(calls) + 1, self.stride)

    def make_journal(self, size: int) -> None:
        """Let the disk hold a journal at first, whose files have so many bytes each."""
        self._journal_size = size
        world = World(
            SimulatedDisk(),
            self.modules,
            sync=Sync.JOURNAL,
            journal_size=self._journal_size,
            keep=self.keep,
        ).start()
        world.request(POST, "a")
        world.request(DELETE, "a")
        world.stop()
        self.start = world.disk.tree
        self._seen.clear()

    # -- scripts ------------------------------------------------------------------------------

    def script(
        self,
        script: Script,
        *,
        start: Tree | None = None,
        trusted: bool = True,
        shape: tuple[int, bool] = SMALL,
        full: bool = False,
        crowded: bool = False,
        mixed: bool = False,
        spoilt: bool = False,
        late: bool = False,
        lazy: bool = False,
        stamped: bool = False,
    ) -> None:
        """Run a script and crash it at each call of its last step: others have crashed the rest.

        ``start`` is what the disk holds at first, by default `start`; with ``full`` it has no room
        for the last step, with ``crowded`` none for a name either; with ``mixed`` only the steps
        with ``b`` have the shape; with ``spoilt`` a crash is one after which a block of the journal
        is damaged; with ``late`` what is done soon waits for a `WAIT`; with ``lazy`` the files of
        small blobs are made at an `APPLY`, or when somebody waits for them; with
        ``stamped`` there is a record cache.
        """
        self.figures.scripts += 1
        crashes: list[Crash] = []
        at = -1

        def last() -> bool:
            return at == len(script) - 1

        disk = SimulatedDisk(
            self.start if start is None else start,
            trusted=trusted,
            crowded=crowded,
            stamped=stamped,
        )
        world = self._world(disk, crashes, last).start()
        world.workers.late = late
        world.workers.lazy = lazy
        for at, step in enumerate(script):
            if full:
                world.disk.full = last()
                world.lossy = world.lossy or last()
            shape_now = shape if not mixed or step[1] == "b" else SMALL
            try:
                world = self._step(world, step, crashes, last, shape_now)
                if lazy:
                    _read_all(world)
                self._check_history(world)
            except Violation as violation:
                raise Violation(f"{script} at {at}: {violation}") from None
        crashes.append(Crash(world.disk.copy(), world.allowed(), world.waits))
        (self.spoil if spoilt else self.check)(crashes, f"{script}")

    def together(
        self,
        requests: Script,
        *,
        before: Script = (),
        trusted: bool = True,
        shape: tuple[int, bool] = SMALL,
        backwards: bool = False,
        collect: bool = False,
        rank: tuple[str, ...] = (COMMIT, FILE, CHORE),
        preempt: int | None = None,
        then: Script = (),
        lazy: bool = False,
    ) -> list[str]:
        """Let requests be under way at once, crash at each call, and end with a restart.

        ``backwards``: the last to begin is the first whose body is here; ``collect``: the
        collector runs beside them; ``preempt``: see `World.preempt`, counted from the first
        request; ``then``: what comes after them, one step after another, and is crashed instead of
        them, as is what runs while a thread is held up; ``lazy``: of what came ``before`` only what
        somebody waited for has files.  Returns the kinds of the calls that the
        requests and the collector brought.
        """
        self.figures.scripts += 1
        crashes: list[Crash] = []
        on = False
        world = self._world(
            SimulatedDisk(self.start, trusted=trusted), crashes, lambda: on, rank=rank
        ).start()
        world.workers.lazy = lazy
        for step in before:
            self._step(world, step, crashes, lambda: on)
        world.workers.lazy = False
        on = not then
        world.calls = []
        world.preempt = preempt
        operations = [
            world.begin(verb, location, *(own or [shape])) for verb, location, *own in requests
        ]
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
        calls = world.calls
        on = True
        for step in then:
            self._step(world, step, crashes, lambda: on)
        crashes.append(Crash(world.disk.copy(), world.allowed()))
        what = f"{requests} after {before}, {backwards=}, {collect=}, {rank=}, {preempt=}, {then=}"
        self.check(crashes, what)
        on = False
        try:
            self._step(world, RESTART, crashes, lambda: on)
        except Violation as violation:
            raise Violation(f"{what}: {violation}") from None
        return calls

    def reading(self, script: Script) -> None:
        """Run a script and read everything at each call that makes a change durable, or its files.

        That is, while the thread of the commits is at work: what is shown then has to be there.
        """
        self.figures.scripts += 1
        reading = False

        def seen(kind: str, world: World) -> None:
            nonlocal reading
            if world.serving and not reading and world.workers.writes:
                reading = True
                self.figures.lives += 1
                _read_all(world)
                reading = False

        disk = SimulatedDisk(self.start)
        world = World(
            disk,
            self.modules,
            sync=self.sync,
            seen=seen,
            journal_size=self._journal_size,
            keep=self.keep,
        ).start()
        world.workers.lazy = True
        for step in script:
            world = self._step(world, step, [], lambda: False)
            _read_all(world)

    def overtaking(
        self, before: Script, requests: Script, *, rank: tuple[str, ...], preempt: int | None
    ) -> list[str]:
        """Begin a read of ``a``, and let it be overtaken at a call by requests and the applier.

        Returns the calls that there were.  Whatever is read is one version, and it may be missing
        only if another one, or none, has taken its place.
        """
        self.figures.scripts += 1
        self.figures.lives += 1
        world = self._world(SimulatedDisk(self.start), [], lambda: False, rank=rank).start()
        world.workers.lazy = True
        for step in before:
            self._step(world, step, [], lambda: False)
        world.workers.lazy = False
        old = world.value("a")
        world.calls = []
        world.preempt = preempt
        got = world.ask("a")
        for verb, location, *shape in requests:
            world.finish(world.begin(verb, location, *shape))
        world.store.collect()
        world.drain()
        what = f"{before}, then a read beside {requests}, {rank=}, {preempt=}"
        calls = world.calls
        if len(got) != 1:
            raise Violation(f"{what}: never answered")
        if got[0] != old and not (isinstance(got[0], NotFound) and world.value("a") != old):
            raise Violation(f"{what}: {got[0]!r} and not {_word(old)}")
        try:
            _read_all(world)
            self._step(world, RESTART, [], lambda: False)
        except Violation as violation:
            raise Violation(f"{what}: {violation}") from None
        return calls

    def failing(
        self,
        requests: Sequence[tuple[str, str]],
        *,
        before: Script,
        collect: bool,
        then: Script,
        fails_after: int,
        loses: bool,
    ) -> bool:
        """Let one of the syncs fail that requests at once, and what comes ``then``, bring.

        ``fails_after``, ``loses``: see `SimulatedDisk`.  After it nothing may be committed, and
        what was answered before has to survive.  Returns whether there was such a sync.
        """
        self.figures.scripts += 1
        crashes: list[Crash] = []
        disk = SimulatedDisk(self.start)
        armed = False
        world = self._world(disk, crashes, lambda: armed and disk.fails_after is None).start()
        for step in before:
            self._step(world, step, crashes, lambda: False)
        disk.fails_after, disk.loses = fails_after, loses
        armed = True
        for verb, location in requests:
            world.begin(verb, location)
        if collect:
            world.store.collect()
        world.drain()
        for step in then:
            if step == COLLECT:
                world.collect()
            else:
                world.request(*step)
        crashes.append(Crash(disk.copy(), world.allowed()))
        what = f"{requests} after {before}, {collect=}, {then=}, {fails_after=}, {loses=}"
        # What a mere kill leaves shows in the cache what the disk may have lost: nobody can tell.
        self.check(crashes if disk.fails_after is None else (), what, kill=False)
        return disk.fails_after is None

    def _step(
        self,
        world: World,
        step: tuple[Any, ...],
        crashes: list[Crash],
        on: Callable[[], bool],
        shape: tuple[int, bool] = SMALL,
    ) -> World:
        if step in RESTARTS:
            before = _lasting(world)
            world.stop()
            if not world.disk.is_full:  # else the journal keeps what finds no room
                self._check_stopped(world.disk, before, world.ahead)
            sync = {"restart": world.sync, "files": Sync.FILES, "journal": Sync.JOURNAL}[step[0]]
            ahead = world.ahead
            world = self._world(world.disk, crashes, on, world, sync=sync)
            world.ahead = ahead
            world.start()
            found = world.values()
            if {key: found[key] for key in before} != before:
                raise Violation(f"a restart changed {before} to {found}")
        elif step == COLLECT:
            world.collect()
        elif step == LATER:
            world.ahead += (int(self.keep) + 60) * 1_000_000_000
            world.lossy = True
        elif step == WAIT:
            world.wait()
        elif step == DAMAGE:
            world.damage("a")
        elif step == PASS:
            world.pass_time()
        elif step == APPLY:
            world.apply()
        elif step in (FULL, ROOM):
            world.disk.full = step == FULL
            world.lossy = True
        elif step == FILLED:
            world.disk.room = used(world.disk.tree)
            world.lossy = True
        elif step[0] == LEFT:
            world.disk.room = used(world.disk.tree) + step[1]
        elif step == MADE:
            world.go_on()
            if world.waits:
                raise Violation("there is room, and something has no files")
        else:
            verb, location = step[:2]
            exists = world.value(location) is not None
            if verb == RESTORE and not world.versions(location):
                return world
            operation = world.request(verb, location, *(step[2:] or [shape]))
            # Unless nothing at all can be written, history makes room.
            is_full = world.disk.full or (world.disk.is_full and not self.keep)
            if isinstance(operation.error, NoSpace) and is_full and verb != DELETE:
                return world
            if verb != RESTORE and (operation.error is None) != (exists != (verb == POST)):
                raise Violation(f"{step} got {operation.error!r}")
            if verb == RESTORE and operation.error is not None and not world.lossy:
                raise Violation(f"{step} got {operation.error!r}")
        return world

    def _check_history(self, world: World) -> None:
        """What was answered is kept, in its order."""
        if self.keep:
            allowed = world.allowed()
            _hold(allowed, world.values(), "what there is")

    def _check_stopped(self, disk: SimulatedDisk, values: Mapping[str, Value], ahead: int) -> None:
        """What a stop leaves is all in files of its own, for a server that knows no journal."""
        last = disk.cut(partial(_least, disk))
        for name in NAMES:
            if name in last.names:
                last.lose_file(name)
        world = World(last, self.modules, sync=Sync.FILES, keep=self.keep)
        world.ahead = ahead
        self._start(world, shown(last.tree))
        found = world.values()
        if {key: found[key] for key in values} != values:
            left = {location: _word(value) for location, value in found.items()}
            had = {location: _word(value) for location, value in values.items()}
            raise Violation(f"a stop left {left} of {had}")

    def _world(
        self,
        disk: SimulatedDisk,
        crashes: list[Crash],
        on: Callable[[], bool] = lambda: True,
        before: World | None = None,
        rank: tuple[str, ...] = (COMMIT, FILE, CHORE),
        sync: Sync | None = None,
    ) -> World:
        """A world that notes down a crash before each call that changes something."""
        nothing = {location: frozenset([None]) for location in LOCATIONS}
        last = nothing if before is None else before.allowed()

        def seen(kind: str, world: World) -> None:
            if kind in CHANGES and (on() or world.held_up):
                allowed = world.allowed() if world.serving else last
                crashes.append(Crash(disk.copy(), allowed, world.waits))

        world = World(
            disk,
            self.modules,
            sync=sync or self.sync,
            rank=rank,
            seen=seen,
            journal_size=self._journal_size,
            keep=self.keep,
        )
        if before is not None:
            world.operations = before.operations
            world.workers.late = before.workers.late
            world.workers.lazy = before.lazy
            world.model, world.lossy = before.model, before.lossy
        return world

    # -- crashes ------------------------------------------------------------------------------

    def check(self, crashes: Iterable[Crash], what: str, kill: bool = True) -> None:
        """Recover from each crash, as a power cut and as a ``kill``; raises Violation."""
        for number, crash in enumerate(crashes):
            if self.until is not None and time.monotonic() > self.until:
                return
            self.figures.crashes += 1
            try:
                self._cut(crash)
                if kill:
                    self._kill(crash)
            except Violation as violation:
                raise Violation(f"{what}, crash {number}: {violation}") from None

    def spoil(self, crashes: Iterable[Crash], what: str) -> None:
        """Damage each block of the journal after each crash; raises Violation.

        Either the start is refused, or the promise is kept. But after a power cut that has lost all
        it can, nobody can tell the newest batch, if it is damaged, from one that never was whole,
        nor after a kill, if its files are not made yet; that a file ends too early, or is not there
        at all, is seen all the same.
        """
        for number, crash in enumerate(crashes):
            if self.until is not None and time.monotonic() > self.until:
                return
            self.figures.crashes += 1
            for name, at, how, cut in itertools.product(
                NAMES, range(0, self._journal_size, BLOCK), _DAMAGES, (False, True)
            ):
                disk = crash.disk.copy()
                if cut:
                    disk = disk.cut(partial(_least, disk))
                if name not in disk.names:
                    continue
                newest, where = _newest_batch(disk, self._journal_size)
                before = disk.content(name)
                how(disk, name, at)
                if name in disk.names and disk.content(name) == before:
                    continue
                self.figures.states += 1
                self.figures.stood_for += 1
                self.figures.lives += 1
                state = f"{shown(disk.tree)}, {cut=}, {name} {how.__name__} at {at}"
                found = self._start_spoilt(disk, state)
                torn = (cut or crash.waits) and how is zeroed and name == newest and at in where
                if found is not None and not torn:
                    try:
                        _hold(crash.allowed, found, state)
                    except Violation as violation:
                        raise Violation(f"{what}, crash {number}: {violation}") from None

    def _start_spoilt(self, disk: SimulatedDisk, state: str) -> dict[str, Value] | None:
        """What is served, None if the journal refuses the start."""
        world = World(
            disk, self.modules, sync=self.after, journal_size=self._journal_size, keep=self.keep
        )
        try:
            world.start()
        except (StoreError, OSError) as error:
            if isinstance(error, VolumeUnusable) and "journal" in str(error):
                return None
            raise Violation(f"no start: {error!r} from {state}") from error
        return world.values()

    def _each(
        self,
        disk: SimulatedDisk,
        limit: int,
        hold: Callable[[dict[str, Value], _States], None],
        second: int | None = None,
    ) -> bool:
        """Let ``hold`` see what is served after each state that a power cut may leave.

        Returns whether these were all.  Of ``second`` starts that have not been seen yet, one is
        crashed a second time at each call.
        """
        if self._kept > _LIVES_KEPT:
            self._seen.clear()
            self._kept = 0
        # What a start finds beside the tree: what its disk is like, and how much room it has.
        room = used(disk.tree) if disk.full else disk.room
        times = frozenset(disk.ctimes.items()) if disk.stamped else None
        alike = (disk.trusted, disk.full, disk.crowded, room, times)
        seen = self._seen.setdefault(alike, _Seen())
        states = _States(disk, seen, self._rng)
        stood_for = 0
        while not states.exhausted and limit:
            limit -= 1
            states.choose()
            found = states.at.found
            if found is None:
                self.figures.lives += 1
                self._kept += 1
                twice = second is not None and self.figures.lives % second == 0
                found = self._live(disk, states, twice)
            stood_for += states.done()
            self.figures.states += 1
            hold(found, states)
        self.figures.stood_for += stood_for
        if states.exhausted:
            assert stood_for == states.total, "no state is missed, and none is counted twice"
        return states.exhausted and states.complete

    def _cut(self, crash: Crash) -> None:
        complete = self._each(
            crash.disk,
            self.bounds.states,
            partial(_hold, crash.allowed),
            self.bounds.second,
        )
        self.figures.sampled += not complete

    def _kill(self, crash: Crash) -> None:
        """A mere kill keeps all; what is served then has to survive a power cut after it."""
        served: dict[str, Value] = {}
        crashes: list[Crash] = []
        disk = crash.disk.copy()
        state = shown(disk.tree)

        def seen(kind: str, world: World) -> None:
            if kind in CHANGES:
                crashes.append(
                    Crash(disk.copy(), _only(_told(disk, served)) if served else crash.allowed)
                )

        world = World(
            disk,
            self.modules,
            sync=self.after,
            seen=seen,
            journal_size=self._journal_size,
            keep=self.keep,
        )
        self._start(world, state)
        served.update(world.values())
        _hold(crash.allowed, served, state)
        crashes.append(Crash(disk.copy(), _only(_told(disk, served))))
        world.collect()
        crashes.append(Crash(disk.copy(), _only(_told(disk, served))))
        for after in crashes[:: -self.bounds.calls]:
            self.figures.second += 1
            self._each(
                after.disk,
                self.bounds.again,
                partial(_hold, after.allowed),
            )

    def _start(self, world: World, state: str) -> None:
        try:
            world.start()
        except (StoreError, OSError) as error:
            raise Violation(f"no start: {error!r} from {state}") from error

    def _live(self, disk: SimulatedDisk, states: _States, twice: bool) -> dict[str, Value]:
        """Recover from a state; return what is there then, before and after a collection.

        With ``twice`` the power is cut once more at each call of that.
        """
        cut = disk.cut(states.settle)
        disks: list[SimulatedDisk] = []

        def seen(kind: str, world: World) -> None:
            if twice and kind in CHANGES:
                disks.append(cut.copy())

        world = World(
            cut,
            self.modules,
            sync=self.after,
            seen=seen,
            journal_size=self._journal_size,
            keep=self.keep,
        )
        try:
            world.start()
            found = world.values()
            world.collect()
        except Violation:
            raise
        except (StoreError, OSError, AssertionError) as error:
            raise Violation(f"no start: {error!r} from {states}") from error
        if world.values() != found:
            raise Violation(f"collecting changed {found} to {world.values()}")
        if twice:
            disks.append(cut.copy())
        _tidy(self._without_somebodys(cut, states), found, states, world.waits)
        states.at.found = found
        for copy in disks[:: -self.bounds.calls]:
            copy.learn(states.settled)
            self.figures.second += 1
            self._each(copy, self.bounds.again, partial(_hold, _only(_told(cut, found))))
        return found

    def _without_somebodys(self, disk: SimulatedDisk, state: object) -> list[str]:
        """The names but for those that are `somebodys`, all of which are as they were."""
        mine = dict(self.somebodys)
        tree: Any = disk.tree
        if harmed := [name for name, under in mine.items() if (name, under) not in tree]:
            raise Violation(f"harmed: {harmed}, now {shown(tree)}, from {state}")
        return [name for name in disk.names if name not in mine]


def _read_all(world: World) -> None:
    """What is shown is there, all its bytes."""
    for location in LOCATIONS:
        shown_now, found = world.value(location), world.read(location)
        if found != shown_now:
            raise Violation(f"{location!r} shows {_word(shown_now)} and has {_word(found)}")


def _told(disk: SimulatedDisk, values: Mapping[str, Value]) -> Mapping[str, Value]:
    """What a second crash may not change.

    What a start gives up of a history, for it finds no room for it, may be there again after that.
    """
    return {key: values[key] for key in LOCATIONS} if disk.is_full else values


def _only(values: Mapping[str, Value]) -> Allowed:
    return {location: frozenset([value]) for location, value in values.items()}


def _least(disk: SimulatedDisk, number: int) -> bytes | Entries:
    """Of an inode what was synced."""
    one = disk.inodes[number]
    return one.durable if isinstance(one, File) else tuple(sorted(one.durable.items()))


def zeroed(disk: SimulatedDisk, name: str, at: int) -> None:
    """A block of a file reads as zeros."""
    disk.spoil(name, at, BLOCK)


def cut_off(disk: SimulatedDisk, name: str, at: int) -> None:
    """A file ends at a block."""
    disk.put(name, disk.content(name)[:at])


def removed(disk: SimulatedDisk, name: str, at: int) -> None:
    """A file is not there any more, wherever."""
    if at == 0:
        disk.lose_file(name)


_DAMAGES = (zeroed, cut_off, removed)


@contextmanager
def journal_of(disk: SimulatedDisk, size: int = JOURNAL_SIZE) -> Iterator[Journal]:
    """The journal on a disk as a start reads it, if its files are of that size."""
    root = disk.open("/", os.O_RDONLY | os.O_DIRECTORY)
    found = Journal(disk, root, size)
    found.read()
    yield found
    disk.close(root)


def _newest_batch(disk: SimulatedDisk, size: int) -> tuple[str, range]:
    """In which file of the journal the newest whole batch is, and where."""
    with journal_of(disk, size) as found:
        name = NAMES[found._turn]
        batches = batches_in(found._bytes_of(name) or b"", found._key)
        newest = max(batches, key=lambda batch: batch.number, default=None)
    if newest is None:
        return name, range(0)
    return name, range(newest.start, newest.end)


def _lasting(world: World) -> dict[str, Value]:
    """What a restart must not change: also what is kept, unless some of it may go."""
    values = world.values()
    return {key: values[key] for key in (LOCATIONS if world.lossy else values)}


def _hold(allowed: Allowed, found: Mapping[str, Value], state: object) -> None:
    for location in allowed:
        if found[location] not in allowed[location]:
            raise Violation(
                f"{location!r} has {_word(found[location])} instead of "
                f"{' or '.join(map(_word, allowed[location]))} from {state}"
            )


def _word(value: Value) -> str:
    if value is None:
        return "nothing"
    return "damage" if value == DAMAGED else value.hex()[:8]


def _tidy(after: list[str], found: Mapping[str, Value], state: object, waits: bool) -> None:
    """After a recovery and a collection there is nothing but what is served and quarantined.

    What finds no room yet is served, and ``waits``.
    """
    all_names = [name for name in after if kind_of(name) not in BESIDE]
    names = [name for name in all_names if not name.startswith(".quarantine-")]
    if len(names) < len(all_names) and DAMAGED not in found.values():
        raise Violation(f"quarantined for nothing: {after} from {state}")
    now = [found[location] for location in LOCATIONS]
    present: list[bytes | None] = [value for value in now if value not in (None, DAMAGED)]
    for location in LOCATIONS:
        line = found.get(f"{location}+") or b"."
        present += [None] * (len(line) // 32 - (line[-1:] == b"!"))
    short = len(present) - len(names)
    if short < 0 or (short and not waits) or not all(name.isdecimal() for name in names):
        raise Violation(f"left over: {names} from {state}")


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
