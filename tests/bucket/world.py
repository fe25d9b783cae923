"""A bucket, daemons and clients in one thread, under a scheduler that a seed decides.

Every request to the engine is a step: before it, any other client, daemon or collector may take as
many steps as the scheduler likes. A request can be lost on its way there or back, refused for being
one too many, carried out twice, or arrive long after its sender has given up. A daemon can stop for
hours, or die, at any step. The objects are in obstore's MemoryStore; ETags and times are those of
S3, MD5 and whole seconds, since equal bytes must have equal ETags for a swap to be fooled by them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import md5, sha256
from types import SimpleNamespace
from typing import Any

from attrs import Factory, define, frozen
from greenlet import greenlet
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from gostore.blob import Blob
from gostore.bucket import asking, collect, markers, pointer, protocol, staging, versions
from gostore.bucket.engine import (
    EngineError,
    Found,
    Listed,
    Mismatch,
    Missing,
    Unfinished,
    Unsettled,
)
from gostore.bucket.listing import Query
from gostore.bucket.objects import memory_engine
from gostore.errors import AlreadyExists, Busy, NoIds, NotFound
from gostore.prefixes import ByPrefix
from tests.linearizability import Operation, violation

GENUINE = SimpleNamespace(
    pointer=pointer,
    asking=asking,
    staging=staging,
    markers=markers,
    protocol=protocol,
    collect=collect,
    versions=versions,
)
"""The modules that a mutant replaces."""

FAULTS = ("drop before", "drop after", "slow down", "twice", "late", "crash")

FIRST_COLLECTOR = 1000
"""The number of the first daemon that collects."""

BEGIN = 1_800_000_000.0
"""When a run begins, in seconds since the epoch."""

PATIENCE = 20.0
"""Seconds that a verb may take."""


class Violation(Exception):
    """Something that must not be."""


@contextmanager
def nothing_passed_over() -> Iterator[None]:
    """Raise what a collection has passed over: here nothing is so bad."""
    failures: list[Failure] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    for failure in failures:
        failure.raiseException()


@frozen
class Setting:
    """What a run is like.

    ``faults`` is the share of the requests that meet one of ``kinds``; ``stalls`` is the share of
    them before which the daemon stands still for up to twice the grace.
    """

    seed: int
    faults: float = 0.2
    kinds: Sequence[str] = FAULTS
    stalls: float = 0.0
    daemons: int = 3
    clients: int = 5
    operations: int = 12
    locations: int = 3
    id_bits: int = 128
    grace: float = 3600.0
    #: How many seconds a client waits before it asks again, on average.
    pace: float = 0.25
    #: Whether a collector is at work.
    collects: bool = True
    #: A listing shows what was there up to so many seconds ago.
    lag: float = 0.0
    #: The clocks of daemons stand still, so that they never give up, however long they stall.
    frozen: bool = False
    collectors: int = 2
    #: For how many seconds what a location had is kept; then clients ask for that, too.
    keep: float = 0.0


@define(eq=False)
class Task:
    """Something that runs until its next step."""

    run: greenlet
    daemon: int
    wake: float = 0.0
    result: Any = None
    error: BaseException | None = None
    done: bool = False
    dead: bool = False
    #: The version that it has written, and the bytes that it restores.
    generation: int | None = None
    value: str | None = None
    #: Who waits for it.
    waiting: list[Task] = Factory(list)


@frozen
class Written:
    """A write that was acknowledged: what it wrote, when its client began, and when it knew."""

    generation: int
    value: str
    begun: float
    ended: float


@define(eq=False, slots=False)
class World:
    """The bucket and everybody who uses it."""

    setting: Setting
    modules: SimpleNamespace = GENUINE
    now: float = BEGIN
    history: dict[str, list[Operation]] = Factory(dict)
    #: How many steps there were, and faults by kind.
    steps: int = 0
    met: Counter[str] = Factory(Counter)
    tasks: list[Task] = Factory(list)
    late: list[tuple[float, Callable[[], object]]] = Factory(list)
    #: What is acknowledged, by location.
    written: dict[str, list[Written]] = Factory(dict)
    #: How often a history was looked at, and how many versions it had.
    looks: Counter[str] = Factory(Counter)
    #: How many verbs were refused, and how many have an unknown outcome.
    busy: int = 0
    #: What was asked of the engine, if it is wanted.
    trace: list[str] | None = None

    def __attrs_post_init__(self) -> None:
        self.rng = random.Random(self.setting.seed)
        self.engine = memory_engine()
        self.times: dict[str, float] = {}
        self.quiet = False
        self._hub = greenlet.getcurrent()
        self._values = 0
        self._listings: list[tuple[float, list[Listed]]] = []

    # -- the scheduler ------------------------------------------------------------------------

    def spawn(self, function: Callable[[], Any], daemon: int = -1) -> Task:
        """Let something run beside the rest, until it is done or its daemon dies."""
        task = Task(greenlet(lambda: self._live(task, function), self._hub), daemon, self.now)
        self.tasks.append(task)
        return task

    def _live(self, task: Task, function: Callable[[], Any]) -> None:
        try:
            task.result = function()
        except BaseException as error:
            task.error = error
        task.done = True

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """Run everybody, or until something holds."""
        while self.tasks and not (until is not None and until()):
            ready = [task for task in self.tasks if task.wake <= self.now]
            if not ready:
                self.now = min(task.wake for task in self.tasks)
                continue
            self._deliver_late()
            task = self.rng.choice(ready)
            task.run.switch()
            if task.done or task.dead:
                self._remove(task)
            self.now += self.rng.uniform(0.0, 0.02)

    def _remove(self, task: Task) -> None:
        self.tasks.remove(task)
        for each in task.waiting:
            each.wake = self.now

    def wait_for(self, *tasks: Task) -> None:
        """Wait until these are done, or dead."""
        mine = self._current()
        for task in tasks:
            while not (task.done or task.dead):
                task.waiting.append(mine)
                mine.wake = float("inf")
                self._hub.switch()

    def _deliver_late(self) -> None:
        due = [each for each in self.late if each[0] <= self.now]
        for each in due:
            self.late.remove(each)
            with suppress(Mismatch, Missing):
                each[1]()

    def _current(self) -> Task:
        here = greenlet.getcurrent()
        return next(task for task in self.tasks if task.run is here)

    def step(self) -> None:
        """Let others go first."""
        self.steps += 1
        if greenlet.getcurrent() is self._hub:
            return
        self._hub.switch()

    def pause(self, seconds: float) -> None:
        """Let so much time pass."""
        if greenlet.getcurrent() is self._hub:
            self.now += seconds
            return
        task = self._current()
        task.wake = self.now + seconds
        self._hub.switch()

    def together(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Make calls at the same time; raises what one raises, when all are over."""
        if greenlet.getcurrent() is self._hub:
            return [call() for call in calls]
        mine = self._current()
        tasks = [self.spawn(call, mine.daemon) for call in calls]
        self.wait_for(*tasks)
        for task in tasks:
            if task.error is not None:
                raise task.error
        return [task.result for task in tasks]

    def crash(self, daemon: int) -> None:
        """Let a daemon die, with all that it is doing; clients notice, and use another one."""
        here = greenlet.getcurrent()
        for task in list(self.tasks):
            if task.daemon == daemon:
                task.dead = True
                if task.run is not here:
                    self._remove(task)
        self._hub.switch()

    # -- the engine ---------------------------------------------------------------------------

    def request(self, daemon: int, act: Callable[[], Any], what: str) -> Any:
        """Carry out a request, or let it meet a fault."""
        if self.trace is None:
            return self._request(daemon, act)
        self._tell(daemon, what)
        try:
            result = self._request(daemon, lambda: self._traced(daemon, act, what))
        except EngineError as error:
            self._tell(daemon, f"{what}: {error!r}")
            raise
        self._tell(daemon, f"{what}: answered")
        return result

    def _tell(self, daemon: int, what: str) -> None:
        assert self.trace is not None
        self.trace.append(f"{self.now - BEGIN:12.2f} {daemon:5d} {what}")

    def _traced(self, daemon: int, act: Callable[[], Any], what: str) -> Any:
        result = act()
        shown = result.data if isinstance(result, Found) else result
        self._tell(daemon, f"{what}: carried out: {str(shown)[:400]}")
        return result

    def _request(self, daemon: int, act: Callable[[], Any]) -> Any:
        setting, rng = self.setting, self.rng
        if not self.quiet and rng.random() < setting.stalls:
            self.met["stall"] += 1
            self.pause(rng.uniform(0.0, 2.0) * setting.grace)
        self.step()
        fault = ""
        if not self.quiet and rng.random() < setting.faults:
            fault = rng.choice(setting.kinds)
            self.met[fault] += 1
        match fault:
            case "drop before" | "slow down":
                raise Unsettled(fault)
            case "crash" if daemon >= 0:
                if rng.random() < 0.5:
                    act()
                self.crash(daemon)
            case "late":
                # Its signature is good for a quarter of an hour, the shortest grace.
                self.late.append((self.now + rng.uniform(0.0, 900.0), act))
                raise Unsettled(fault)
            case "twice":
                with suppress(Mismatch, Missing):
                    act()
                self.step()
        result = act()
        if fault == "drop after":
            raise Unsettled(fault)
        self.step()
        return result

    def time_of(self, key: str) -> float:
        """When an object was written, as S3 has it."""
        return float(int(self.times[key]))

    def listing(self, prefix: str = "") -> list[Listed]:
        """The objects below a prefix, or all, as a listing shows them, which may lag behind."""
        lags = self.setting.lag and not self.quiet
        listed = self.engine.list("" if lags else prefix)
        there = [Listed(each.key, each.size, self.time_of(each.key)) for each in listed]
        if not lags:
            return there
        self._listings.append((self.now, there))
        self._listings = [e for e in self._listings if e[0] >= self.now - self.setting.lag]
        return self.rng.choice(self._listings)[1]

    def keys(self, start: str = "") -> list[str]:
        """The keys there are."""
        return [each.key for each in self.engine.list(start) if each.key.startswith(start)]

    # -- the clients --------------------------------------------------------------------------

    def daemon(self, number: int) -> Any:
        """Start a daemon: its protocol, on its own way to the bucket."""
        modules, setting = self.modules, self.setting
        ask = modules.asking.Asker(
            ShimEngine(self, number),
            seconds=lambda: 0.0 if setting.frozen and number < FIRST_COLLECTOR else self.now,
            pause=self.pause,
            wall=lambda: int(self.now * 1e9),
            rng=self.rng,
            together=self.together,
        )
        staging = modules.staging.Staging(ask, setting.id_bits, setting.grace)
        keep = modules.markers.Markers(ask, ByPrefix(setting.keep))
        return modules.protocol.Protocol(ask, staging, keep)

    def versions(self, daemon: Any) -> Any:
        """What a daemon knows of the versions of locations."""
        return self.modules.versions.Versions(daemon)

    def collector(self, number: int) -> Any:
        """The collection of one daemon."""
        return self.modules.collect.Collection(self.daemon(number), f"daemon {number}")

    def play(self) -> None:
        """Let all clients do what they do, then look whether it was right. Raises Violation."""
        clients = [self.spawn(self._client) for _ in range(self.setting.clients)]
        count = self.setting.collectors if self.setting.collects else 0
        collecting = [self.spawn(self._collect) for _ in range(count)]
        self.run(lambda: all(task.done for task in clients))
        self.tasks = [task for task in self.tasks if task in collecting or task.daemon >= 0]
        for task in clients:
            if task.error is not None:
                raise task.error
        self.quiet = True
        self.now += 3 * self.setting.grace
        self._deliver_late()
        self._look()

    def _client(self) -> None:
        for _ in range(self.setting.operations):
            location = f"location {self.rng.randrange(self.setting.locations)}"
            method = self.rng.choice(("POST", "PUT", "PUT", "DELETE", "GET", "GET"))
            if self.setting.keep and self.rng.random() < 0.3:
                method = self.rng.choice(("HISTORY", "RESTORE", "VERSION"))
            if method in ("HISTORY", "VERSION"):
                self.ask_history(location, method == "VERSION")
            else:
                self.ask(method, location)
            self.pause(self.rng.expovariate(1 / self.setting.pace))

    def _collect(self) -> None:
        while True:
            self.pause(self.rng.uniform(0.0, max(1.0, self.setting.grace / 4)))
            task = self.spawn(self._collect_once, daemon=FIRST_COLLECTOR + self.steps)
            self.wait_for(task)
            if task.error is not None:
                raise task.error

    def _collect_once(self) -> None:
        self.collect(self._current().daemon)

    def collect(self, daemon: int) -> None:
        """Let a daemon collect what is marked, and sweep all shards."""
        collection = self.collector(daemon)
        with nothing_passed_over():
            collection.collect_marked()
            keys = self.keys("blobs/") + self.keys("history/")
            for shard in sorted({int(key.split("/")[1], 16) for key in keys}):
                collection.collect_unnamed(shard)

    def ask(self, method: str, location: str, daemon: int | None = None) -> Operation:
        """Let a client ask a daemon for something, and note the answer."""
        daemon = self.rng.randrange(self.setting.daemons) if daemon is None else daemon
        self._values += 1
        value = f"value {self._values}" if method in ("POST", "PUT") else None
        begun = self.now
        task = self.spawn(lambda: self._verb(self.daemon(daemon), method, location, value), daemon)
        self.wait_for(task)
        status, got = None, value or task.value
        if task.error is not None:
            raise task.error
        if task.done:
            status, got = task.result[0], task.result[1] or task.value
            if status in (200, 204) and method in ("POST", "PUT", "RESTORE"):
                assert task.generation is not None and got is not None
                done = Written(task.generation, got, begun, self.now)
                self.written.setdefault(location, []).append(done)
        # What nobody was told of may still come, with the last of the requests that are late.
        late = [when for when, _ in self.late] if status is None else []
        ended = max([self.now, *late])
        operation = Operation(method, got, status, begun, ended)
        if method == "RESTORE" and got is None and status is None:
            return operation  # it had not begun to write
        self.history.setdefault(location, []).append(operation)
        return operation

    def _verb(
        self, daemon: Any, method: str, location: str, value: str | None
    ) -> tuple[int | None, str | None]:
        until = self.now + PATIENCE
        protocol = self.modules.protocol
        try:
            match method:
                case "GET":
                    return self._get(daemon, location, until)
                case "RESTORE":
                    return self._restore(daemon, location, until)
                case "DELETE":
                    replaced = daemon.delete(protocol.Demand(location, True), until)
                    self._mark(daemon, replaced)
                    return 200, None
                case _:
                    assert value is not None
                    creates = method == "POST"
                    demand = protocol.Demand(location, not creates)
                    blob = draft(
                        self.modules.staging, location, value.encode(), int(self.now * 1e9), creates
                    )
                    stored, replaced = daemon.write(blob, value.encode(), demand, until)
                    self._note(stored)
                    self._mark(daemon, replaced)
                    return 204 if creates else 200, value
        except NotFound:
            return 404, value
        except AlreadyExists:
            return 409, value
        except NoIds:
            return 507, value
        except Busy:
            self.busy += 1
            return None, value

    def _get(self, daemon: Any, location: str, until: float) -> tuple[int | None, str | None]:
        for _ in range(5):
            blob = daemon.get(location, until)
            try:
                data = daemon.data(blob, (0, blob.size), until)
            except NotFound:
                continue
            if sha256(data).digest() != blob.sha256:
                raise Violation(f"{location} was given the bytes of another blob: {data!r}")
            return 200, data.decode()
        raise Busy("it changes too often", 1)

    def _restore(self, daemon: Any, location: str, until: float) -> tuple[int, str | None]:
        """Make some version current again."""
        there = self.versions(daemon)
        listed = there.history(location, None, 100, until)
        if not listed:
            return 404, None
        generation = self.rng.choice(listed).blob.generation
        found, is_current = there.find(location, generation, until)
        data = daemon.data(found, None, until) if is_current else there.data(found, None, until)
        now = int(self.now * 1e9)
        self._current().value = data.decode()
        blob = draft(self.modules.staging, location, data, now, creates=True)
        demand = self.modules.protocol.Demand(location, None)
        stored, replaced = daemon.write(blob, data, demand, until)
        self._note(stored)
        self._mark(daemon, replaced)
        return 204 if replaced.blob is None else 200, data.decode()

    def _note(self, stored: Any) -> None:
        if greenlet.getcurrent() is not self._hub:
            self._current().generation = stored.generation

    def _mark(self, daemon: Any, replaced: Any) -> None:
        def mark() -> None:
            with suppress(Busy):
                daemon.mark_garbage(replaced, self.now + PATIENCE)

        if not self.setting.keep or greenlet.getcurrent() is self._hub:
            mark()
        elif self.rng.random() < 0.7:
            # It comes after the answer, and not at all if the daemon dies.
            self.spawn(mark, self._current().daemon)

    # -- histories ----------------------------------------------------------------------------

    def ask_history(self, location: str, reads: bool) -> None:
        """Let a client look at a history, and read a version of it. Raises Violation."""
        number, begun = self.rng.randrange(self.setting.daemons), self.now

        def look() -> tuple[list[Any], Any, bytes | None]:
            until = self.now + PATIENCE
            daemon = self.daemon(number)
            there = self.versions(daemon)
            try:
                listed = there.history(location, None, 100, until)
            except NotFound:
                return [], None, None
            found = self.rng.choice(listed) if reads else None
            if found is None or found.ending is None:
                return listed, None, None
            try:
                return listed, found, there.data(found.blob, None, until)
            except NotFound:
                return listed, None, None

        task = self.spawn(look, number)
        self.wait_for(task)
        if isinstance(task.error, Busy) or not (task.done or task.error):
            return
        if task.error is not None:
            raise task.error
        listed, read, data = task.result
        self.looks["history"] += 1
        self.looks["versions"] += len(listed)
        self._judge_history(location, listed, begun)
        if read is not None and sha256(data).digest() != read.blob.sha256:
            raise Violation(f"seed {self.setting.seed}, {location}: {read} has the bytes {data!r}")

    def _judge_history(self, location: str, listed: list[Any], begun: float) -> None:
        """See that a history that was asked for has what it must have. Raises Violation."""
        generations = [each.blob.generation for each in listed]
        where = f"seed {self.setting.seed}, {location}: "
        if generations != sorted(set(generations), reverse=True):
            raise Violation(f"{where}the order of {generations}")
        if any(each.ending is None for each in listed[1:]):
            raise Violation(f"{where}more than one version is current")
        if self.setting.lag and not self.quiet:
            return
        for each in self.written.get(location, []):
            # It may have been ended as soon as it was asked for.
            kept = each.ended < begun and each.begun + self.setting.keep > self.now + 1
            if kept and each.generation not in generations:
                raise Violation(f"{where}{each} is not in the history: {generations}")

    def _look_at_histories(self) -> None:
        """See that the histories have what was acknowledged, and nothing that was refused."""
        for location, operations in self.history.items():
            there = self.versions(self.daemon(-1))
            where = f"seed {self.setting.seed}, {location}: "
            try:
                listed = there.history(location, None, 1000, self.now + PATIENCE)
            except NotFound:
                listed = []
            self._judge_history(location, listed, self.now)
            may_be = {o.value for o in operations if o.status in (200, 204, None)}
            known = {each.generation: each.value for each in self.written.get(location, [])}
            following = None
            for each in listed:
                until = self.now + PATIENCE
                current = each.ending is None
                data = (self.daemon(-1) if current else there).data(each.blob, None, until)
                value = data.decode()
                if value not in may_be or value != known.get(each.blob.generation, value):
                    raise Violation(f"{where}the version {each} has {value!r}")
                successor = None if each.ending is None else each.ending.successor
                if None not in (successor, following) and successor != following:
                    raise Violation(f"{where}blob {following} does not follow {each}")
                following = each.blob.id

    def _look_at_deleted(self) -> None:
        """See that the list of what was deleted has each location with nothing but a history."""
        there = self.versions(self.daemon(-1))
        page = there.deleted(Query(limit=100), self.now + PATIENCE)
        listed = [each.blob.location for each in page.versions]
        wanted = []
        for location in sorted(self.history):
            with suppress(NotFound):
                newest, *_ = there.history(location, None, 1, self.now + PATIENCE)
                if newest.ending is not None:
                    wanted.append(location)
        if listed != wanted:
            raise Violation(f"seed {self.setting.seed}: deleted: {listed}, not {wanted}")

    # -- the verdict --------------------------------------------------------------------------

    def _look(self) -> None:
        protocol = self.daemon(-1)
        for location in self.history:
            until = self.now + PATIENCE
            begun = self.now
            try:
                blob = protocol.get(location, until)
                value = protocol.data(blob, (0, blob.size), until).decode()
                end = Operation("GET", value, 200, begun, begun)
            except NotFound:
                end = Operation("GET", None, 404, begun, begun)
            self.history[location].append(end)
            if found := violation(self.history[location]):
                raise Violation(f"seed {self.setting.seed}, {location}: {found}")
        if self.setting.keep:
            self._look_at_histories()
            # What arrived late has made some of it young.
            self.now += 2 * self.setting.grace
            self.collect(-1)
            self._look_at_histories()
            self._look_at_deleted()
            self.now += self.setting.keep
        for _ in range(3):
            self.collect(-1)
            self.now += self.setting.keep + 2 * self.setting.grace
        self.now += collect.REST
        self.collect(-1)
        self.look_for_leaks()

    def live(self) -> set[str]:
        """The keys of all blobs that a pointer names."""
        named = set()
        for key in self.keys("locations/"):
            found = self.modules.pointer.parse(self.engine.get(key).data)
            if found.blob is not None:
                blob = found.blob
                data = pointer.data_key(blob.id, blob.nonce)
                named |= {data, pointer.record_key(blob.id)}
        return named

    def look_for_leaks(self, *, ignore_records: bool = False) -> None:
        """See that no blob is left that nobody names, and none is missing. Raises Violation."""
        there, named = set(self.keys("blobs/")), self.live()
        if self.setting.id_bits != 128 or ignore_records:
            # The records of ids that rest stay.
            there = {key for key in there if not key.endswith(pointer.RECORD)}
            named = {key for key in named if not key.endswith(pointer.RECORD)}
        if named - there:
            raise Violation(f"seed {self.setting.seed}: lost {sorted(named - there)}")
        if there - named:
            raise Violation(f"seed {self.setting.seed}: left behind {sorted(there - named)}")
        if self.keys("garbage/") or self.keys("history/"):
            raise Violation(f"seed {self.setting.seed}: markers are left")
        for each in self.engine.list(pointer.LOCATIONS):
            dead = pointer.parse(self.engine.get(each.key).data).blob is None
            if dead is not (each.size == pointer.DEAD_SIZE):
                raise Violation(f"seed {self.setting.seed}: {each} has the wrong size")


def draft(staging: Any, location: str, data: bytes, now: int, creates: bool) -> Blob:
    """A small blob that is ready to be written."""
    blob: Blob = staging.new_blob(location, now, "", replaces=not creates)
    staging.finish(blob, now, data)
    return blob


@define(eq=False)
class ShimEngine:
    """One daemon's way to the bucket."""

    world: World
    daemon: int

    def carry_out(self, act: Callable[[], Any], what: str) -> Any:
        return self.world.request(self.daemon, act, what)

    def get(self, key: str, etag: str | None = None, span: tuple[int, int] | None = None) -> Found:
        def act() -> Found:
            whole = self.world.engine.get(key)
            tag = etag_of(whole.data)
            if etag is not None and tag != etag:
                raise Mismatch()
            data = whole.data if span is None else whole.data[span[0] : span[1]]
            return Found(data, tag, whole.size, self.world.time_of(key))

        found: Found = self.carry_out(act, f"get {key}")
        return found

    def put(self, key: str, data: bytes) -> str:
        def act() -> str:
            self.world.engine.put(key, data)
            self.world.times[key] = self.world.now
            return etag_of(data)

        return str(self.carry_out(act, f"put {key}"))

    def create(self, key: str, data: bytes) -> str:
        def act() -> str:
            self.world.engine.create(key, data)
            self.world.times[key] = self.world.now
            return etag_of(data)

        return str(self.carry_out(act, f"create {key}"))

    def swap(self, key: str, data: bytes, etag: str) -> str:
        def act() -> str:
            there = self.world.engine.get(key)
            if etag_of(there.data) != etag:
                raise Mismatch()
            self.world.engine.swap(key, data, there.etag)
            self.world.times[key] = self.world.now
            return etag_of(data)

        return str(self.carry_out(act, f"swap {key}"))

    def delete(self, key: str) -> None:
        self.carry_out(lambda: self.world.engine.delete(key), f"delete {key}")

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        def act() -> list[Listed]:
            there = self.world.listing(prefix)
            return [each for each in there if each.key.startswith(prefix) and each.key > after]

        found: list[Listed] = self.carry_out(act, f"list {prefix}")
        return iter(found)

    def upload(self, key: str, pieces: Iterable[bytes], length: int | None) -> str:
        return self.put(key, b"".join(pieces))

    def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        return []

    def abort(self, uploads: Sequence[Unfinished]) -> None:
        pass


def etag_of(data: bytes) -> str:
    """The ETag of an object that was written in one piece."""
    return md5(data).hexdigest()
