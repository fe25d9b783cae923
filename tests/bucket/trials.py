"""What the protocol is put through: runs under faults, and a few scripts, each for one danger.

A trial raises Violation, or another error, when something is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count, permutations
from types import SimpleNamespace
from typing import Any

from attrs import evolve

from gostore.bucket import collect
from gostore.bucket.engine import Full, Mismatch, Missing, Unsettled
from gostore.bucket.listing import Query
from gostore.errors import NoSpace, NotFound
from gostore.store.interface import Details, Lifetime
from tests.bucket.world import GENUINE, Setting, ShimEngine, Violation, World, draft

#: No two daemons may draw the same nonces.
_SEEDS = count()

Trial = Callable[[SimpleNamespace], None]


def play(settings: Iterable[Setting], modules: SimpleNamespace = GENUINE) -> list[World]:
    """Play some runs; return their worlds."""
    worlds = []
    for setting in settings:
        world = World(setting, modules)
        world.play()
        worlds.append(world)
    return worlds


def faults(seeds: Iterable[int], **what: Any) -> list[Setting]:
    """Runs in which a fifth of all requests meet a fault."""
    return [Setting(seed, **what) for seed in seeds]


def stalls(seeds: Iterable[int], **what: Any) -> list[Setting]:
    """Runs with faults in which daemons also stand still for longer than the grace."""
    return [Setting(seed, faults=0.1, stalls=0.03, frozen=seed % 2 == 1, **what) for seed in seeds]


def lagging(seeds: Iterable[int], **what: Any) -> list[Setting]:
    """Runs with faults and stalls in which listings lag behind, by more than the grace even."""
    return [evolve(each, lag=2 * each.grace, pace=400.0) for each in stalls(seeds, **what)]


def reused(seeds: Iterable[int], **what: Any) -> list[Setting]:
    """Runs with so few ids that they are used again soon."""
    return [
        evolve(each, id_bits=4, grace=900.0, pace=400.0, operations=24)
        for each in stalls(seeds, **what)
    ]


def crowded(seeds: Iterable[int], **what: Any) -> list[Setting]:
    """Runs with more locations than ids: again and again all are taken."""
    return [evolve(each, id_bits=3, locations=8) for each in reused(seeds, **what)]


DAY = 86_400.0


def kept(seeds: Iterable[int], **what: Any) -> list[Setting]:
    """Runs with faults in which all that a location had is kept, until the end and longer."""
    return [evolve(each, keep=400 * DAY) for each in faults(seeds, **what)]


def kept_in_stalls(seeds: Iterable[int], **what: Any) -> list[Setting]:
    """Runs with stalls in which a version is kept for a few times the grace."""
    return [evolve(each, keep=4 * each.grace, pace=400.0) for each in stalls(seeds, **what)]


def kept_and_reused(seeds: Iterable[int], **what: Any) -> list[Setting]:
    """Runs in which ids are used again once what is kept is collected."""
    return [evolve(each, keep=2 * each.grace, id_bits=6) for each in reused(seeds, **what)]


def kept_while_lists_lag(seeds: Iterable[int], **what: Any) -> list[Setting]:
    """Runs with stalls in which the collectors go by lists that lag behind."""
    return [evolve(each, keep=400 * DAY) for each in lagging(seeds, **what)]


# -- trials for mutants ---------------------------------------------------------------------------


def under_faults(modules: SimpleNamespace) -> None:
    """Many short runs under all faults."""
    play(faults(range(150)), modules)


def under_stalls(modules: SimpleNamespace) -> None:
    """Many short runs with daemons that stand still while others collect."""
    play(stalls(range(150)), modules)


class Script:
    """A world without chance, in which a test takes the steps."""

    def __init__(self, modules: SimpleNamespace, **what: Any) -> None:
        self.world = World(Setting(1, faults=0.0, collects=False, **what), modules)
        self.world.quiet = True
        self.modules = modules

    def verb(self, method: str, location: str, value: str | None = None, daemon: Any = None) -> Any:
        """Let a daemon carry out a verb; its status, and its value."""
        world = self.world
        daemon = daemon or world.daemon(0)
        world.now += 1.0
        found = world._verb(daemon, method, location, value)
        world.now += 1.0
        return found

    def age(self) -> None:
        """Let all that is there be old enough to be collected."""
        self.world.now += 2 * self.world.setting.grace

    def sweep(self, *, hasty: bool) -> None:
        """Let a daemon collect all that is old, or for which all is old."""
        if not hasty:
            self.age()
        collection = self.world.collector(1)
        if hasty:
            collection._staging.grace = -60.0
        collection.collect_marked()
        for shard in sorted({int(key.split("/")[1], 16) for key in self.world.keys("blobs/")}):
            collection.collect_unnamed(shard)

    def writer(self, ids: Iterable[int]) -> Any:
        """A daemon that draws these ids, if it does not draw wide ones."""
        writer = self.world.daemon(0)
        if writer.staging.claims:
            writer.ask.rng = Numbers(iter(ids))
        return writer

    def id_of(self, location: str) -> int:
        """The id of the blob that a location has."""
        return int(self.world.daemon(1).get(location, self.world.now + 10).id)

    def nonce_of(self, location: str) -> str:
        """The nonce of the blob that a location has."""
        return str(self.world.daemon(1).get(location, self.world.now + 10).nonce)

    def clean(self, there: dict[str, str]) -> None:
        """See that some locations have these values, also after all has been collected."""
        for _ in range(4):
            for location, value in there.items():
                self.expect(self.verb("GET", location), (200, value), f"what {location} has")
            self.age()
            self.world.collect(1)
        self.world.now += collect.REST
        self.world.collect(1)
        self.world.look_for_leaks()

    def write(self, method: str, location: str, value: str, daemon: Any = None) -> Any:
        """Let a daemon write, and die before it marks what it has replaced; what that was."""
        world, modules = self.world, self.modules
        daemon = daemon or world.daemon(0)
        world.now += 1.0
        creates = method == "POST"
        blob = draft(modules.staging, location, value.encode(), int(world.now * 1e9), creates)
        demand = modules.protocol.Demand(location, not creates)
        return daemon.write(blob, value.encode(), demand, world.now + 10)[1]

    def values(self, location: str) -> list[str]:
        """What the versions of a location have, the newest first."""
        daemon, until = self.world.daemon(0), self.world.now + 10
        there = self.world.versions(daemon)
        try:
            listed = there.history(location, None, 100, until)
        except NotFound:
            return []
        reads = [daemon.data if each.ending is None else there.data for each in listed]
        found = zip(reads, listed, strict=True)
        return [read(each.blob, None, until).decode() for read, each in found]

    def deleted(self) -> list[str]:
        """The locations that are listed as deleted."""
        page = self.world.versions(self.world.daemon(0)).deleted(Query(), self.world.now + 10)
        return [each.blob.location for each in page.versions]

    def expire(self) -> None:
        """Let the time of all that is kept go by, and see that nothing of it is left."""
        for _ in range(3):
            self.world.now += self.world.setting.keep + 2 * self.world.setting.grace
            self.world.collect(1)
        self.world.now += self.modules.collect.REST
        self.world.collect(1)
        self.world.look_for_leaks()

    def expect(self, found: object, wanted: object, what: str) -> None:
        """Raise Violation unless they are equal."""
        if found != wanted:
            raise Violation(f"{what}: {found!r}, not {wanted!r}")


class Intercepted(ShimEngine):
    """A way to the bucket on which a test does something before, or instead of, a swap."""

    def __init__(self, world: World, before: Callable[[str], None]) -> None:
        super().__init__(world, 0)
        self.before = before

    def create(self, key: str, data: bytes) -> str:
        self.before(key)
        return super().create(key, data)

    def swap(self, key: str, data: bytes, etag: str) -> str:
        self.before(key)
        return super().swap(key, data, etag)

    def put(self, key: str, data: bytes) -> str:
        self.before(key)
        return super().put(key, data)


class Stalling(ShimEngine):
    """A way to the bucket on which something happens before the request with a number."""

    def __init__(self, world: World, at: int, meanwhile: Callable[[], None]) -> None:
        super().__init__(world, 0)
        self.at = at
        self.count = 0
        self.meanwhile = meanwhile

    def carry_out(self, act: Callable[[], Any], what: str) -> Any:
        self.count += 1
        if self.count == self.at + 1:
            self.meanwhile()
        return super().carry_out(act, what)


class Echo(ShimEngine):
    """A way to the bucket on which each change may be made once more."""

    def __init__(self, world: World) -> None:
        super().__init__(world, 0)
        self.late: list[Callable[[], Any]] = []

    def carry_out(self, act: Callable[[], Any], what: str) -> Any:
        self.late.append(act)
        return super().carry_out(act, what)


def stalled_before_its_swap(modules: SimpleNamespace) -> None:
    """A daemon stands still between its upload and its swap; a sweep comes along meanwhile."""
    for method in ("POST", "PUT"):
        script = Script(modules)
        world = script.world
        if method == "PUT":
            script.verb("POST", "a", "first")
        done: list[bool] = []

        def sweep(key: str, world: World = world, done: list[bool] = done) -> None:
            if key.startswith("locations/") and not done:
                done.append(True)
                world.now += 2 * world.setting.grace
                world.collect(1)

        daemon = world.daemon(0)
        daemon.ask.engine = Intercepted(world, sweep)
        world_until = world.setting.grace * 3
        blob = draft(modules.staging, "a", b"late", int(world.now * 1e9), method == "POST")
        try:
            demand = modules.protocol.Demand("a", method == "PUT")
            daemon.write(blob, b"late", demand, world.now + world_until)
            told = True
        except modules.protocol.Busy:
            told = False
        wanted = (200, "late") if told else (404, None) if method == "POST" else (200, "first")
        script.expect(script.verb("GET", "a"), wanted, f"after a stalled {method}")


def late_swap(modules: SimpleNamespace) -> None:
    """A swap arrives after its location was deleted, written and deleted again."""
    script = Script(modules)
    world = script.world
    script.verb("POST", "a", "first")
    script.verb("DELETE", "a")
    daemon = world.daemon(0)
    sent: list[Callable[[], object]] = []

    def keep(key: str) -> None:
        if key.startswith("locations/") and not sent:
            sent.append(lambda: None)
            raise Unsettled("late")

    engine = Intercepted(world, keep)
    daemon.ask.engine = engine
    swapped: list[tuple[str, bytes, str]] = []
    swap = engine.swap

    def note(key: str, data: bytes, etag: str) -> str:
        swapped.append((key, data, etag))
        if len(swapped) == 1:
            # Others come first, and this one arrives when they are done.
            script.verb("POST", "a", "second", world.daemon(1))
            script.verb("DELETE", "a", None, world.daemon(1))
        return swap(key, data, etag)

    daemon.ask.engine.swap = note  # type: ignore[method-assign]
    script.verb("POST", "a", "third", daemon)
    key, data, etag = swapped[0]
    script.expect(script.verb("DELETE", "a"), (200, None), "the third is there, and goes")
    try:
        world.engine.get(key)
        ShimEngine(world, 0).swap(key, data, etag)
    except Exception:
        pass
    script.expect(script.verb("GET", "a"), (404, None), "a late swap brings nothing back")


def slow_reader(modules: SimpleNamespace) -> None:
    """A blob is replaced while somebody reads it: within the grace, its bytes are still there."""
    script = Script(modules)
    world = script.world
    script.verb("POST", "a", "first")
    reader = world.daemon(0)
    blob = reader.get("a", world.now + 10)
    script.verb("PUT", "a", "second")
    world.now += world.setting.grace / 2
    world.collector(1).collect_marked()
    data = reader.data(blob, (0, blob.size), world.now + 10)
    script.expect(data, b"first", "what the reader gets")


def replaced_and_collected(modules: SimpleNamespace) -> None:
    """The marker pass alone removes what was replaced or deleted, whatever stalls a daemon."""
    script = Script(modules)
    world = script.world
    script.verb("POST", "a", "first")
    grace = world.setting.grace
    done: list[bool] = []

    def collect(key: str) -> None:
        if key.startswith("locations/") and not done:
            done.append(True)
            world.now += 2 * grace
            world.collector(1).collect_marked()

    daemon = world.daemon(0)
    daemon.ask.engine = Intercepted(world, collect)
    blob = draft(modules.staging, "a", b"second", int(world.now * 1e9), False)
    demand = modules.protocol.Demand("a", True)
    _, replaced = daemon.write(blob, b"second", demand, world.now + 4 * grace)
    daemon.mark_garbage(replaced, world.now + 4 * grace)
    script.verb("DELETE", "a")
    world.now += 2 * grace
    world.collector(1).collect_marked()
    world.look_for_leaks()


def used_again(modules: SimpleNamespace) -> None:
    """An id is used again between the two requests of a reader, who then gets the right blob."""
    script = Script(modules, id_bits=16)
    world = script.world
    reader, writer = world.daemon(0), script.writer([7, 8, 7, 9])
    script.verb("POST", "a", "first", writer)
    blob = reader.get("a", world.now + 10)
    script.verb("PUT", "a", "other", writer)
    script.age()
    world.collector(1).collect_marked()
    script.verb("POST", "b", "thief", writer)
    script.expect(script.id_of("b"), 7, "the id of the next blob")
    try:
        data = reader.data(blob, (0, blob.size), world.now + 10)
    except Exception as error:
        data = type(error).__name__
    script.expect(data, "NotFound", "what a reader of a collected blob gets")


class Doubling(ShimEngine):
    """A way to the bucket on which each request is carried out twice; the second is answered."""

    def carry_out(self, act: Callable[[], Any], what: str) -> Any:
        with suppress(Mismatch, Missing):
            act()
        return super().carry_out(act, what)


def all_twice(modules: SimpleNamespace) -> None:
    """Each request of all daemons is carried out twice."""
    for id_bits in (16, 128):
        script = Script(modules, id_bits=id_bits)
        world = script.world
        daemon, collector = world.daemon(0), world.collector(1)
        for each in (daemon.ask, collector._ask, collector):
            setattr(each, "_engine" if each is collector else "engine", Doubling(world, 0))
        for value in ("first", "second"):
            script.expect(script.verb("POST", "a", value, daemon), (204, value), "a POST")
            script.expect(script.verb("POST", "a", "x", daemon)[0], 409, "another POST")
            script.expect(script.verb("PUT", "a", "then", daemon), (200, "then"), "a PUT")
            script.expect(script.verb("DELETE", "a", None, daemon), (200, None), "a DELETE")
            script.expect(script.verb("DELETE", "a", None, daemon)[0], 404, "another DELETE")
        script.verb("POST", "a", "last", daemon)
        for _ in range(3):
            script.age()
            collector.collect_marked()
            for shard in range(256):
                collector.collect_unnamed(shard)
        script.clean({"a": "last"})


def damaged_before_its_touch(modules: SimpleNamespace) -> None:
    """A pointer cannot be read when a sweep comes to touch it: what was condemned stays.

    Somebody puts the right pointer back, and so a stalled daemon still publishes.
    """
    script = Script(modules)
    world = script.world
    script.verb("POST", "a", "first")
    writer = world.daemon(0)
    done: list[bool] = []

    def meanwhile(key: str) -> None:
        if key.startswith("locations/") and not done:
            done.append(True)
            script.age()
            pointer = world.engine.get(key).data
            collector = world.collector(1)
            touch = collector._touch

            def damage(*what: Any) -> Any:
                world.engine.put(key, b"garbage")
                result = touch(*what)
                world.engine.put(key, pointer)
                return result

            collector._touch = damage
            for shard in range(256):
                collector.collect_unnamed(shard)

    writer.ask.engine = Intercepted(world, meanwhile)
    writer.ask.seconds = lambda: 0.0
    script.expect(script.verb("PUT", "a", "slow", writer), (200, "slow"), "the answer")
    script.clean({"a": "slow"})


def no_room_for_its_data(modules: SimpleNamespace) -> None:
    """The engine has no room for the data of a blob: nothing is left of it, and its id is free."""
    for id_bits in (16, 128):
        script = Script(modules, id_bits=id_bits)
        world = script.world
        writer = script.writer([7, 7])

        def refuse(key: str) -> None:
            if key.endswith(".raw"):
                raise Full("QuotaExceeded")

        writer.ask.engine = Intercepted(world, refuse)
        with suppress(NoSpace):
            script.verb("POST", "a", "x", writer)
        world.look_for_leaks()
        writer.ask.engine = ShimEngine(world, 0)
        script.expect(script.verb("POST", "a", "first", writer), (204, "first"), "the next POST")


def written_over(modules: SimpleNamespace) -> None:
    """Somebody writes other bytes over those of a blob; they are never taken for its own."""
    script = Script(modules)
    world = script.world
    script.verb("POST", "a", "first")
    reader = world.daemon(0)
    blob = reader.get("a", world.now + 10)
    world.engine.put(modules.pointer.data_key(blob.id, blob.nonce), b"other")
    try:
        data = reader.data(blob, (0, blob.size), world.now + 10)
    except Exception as error:
        data = type(error).__name__
    script.expect(data, "Damaged", "what a reader gets")


def forgotten(modules: SimpleNamespace) -> None:
    """A swap whose answer is lost is followed by eight others: nobody can tell its outcome."""
    script = Script(modules)
    world = script.world
    script.verb("POST", "a", "first")
    daemon = world.daemon(0)
    engine = Intercepted(world, lambda key: None)
    swap, lost = engine.swap, []

    def lose(key: str, data: bytes, etag: str) -> str:
        done = swap(key, data, etag)
        if not lost:
            lost.append(key)
            for number in range(8):
                script.verb("PUT", "a", f"other {number}", world.daemon(1))
            raise Unsettled("lost")
        return done

    engine.swap = lose  # type: ignore[method-assign]
    daemon.ask.engine = engine
    script.expect(script.verb("DELETE", "b"), (404, None), "a location that has nothing")
    found = script.verb("PUT", "a", "mine", daemon)
    script.expect(found[0], None, "the answer to a write that the history has forgotten")
    script.expect(script.verb("GET", "a"), (200, "other 7"), "what is there then")


def no_answer_at_all(modules: SimpleNamespace) -> None:
    """A swap happens, and then the engine answers nothing until the deadline: its data stays."""
    script = Script(modules)
    world = script.world
    daemon = world.daemon(0)
    engine = Intercepted(world, lambda key: None)
    create, get, lost = engine.create, engine.get, []

    def lose(key: str, data: bytes) -> str:
        done = create(key, data)
        if key.startswith("locations/"):
            lost.append(key)
            raise Unsettled("lost")
        return done

    def hear(key: str, *more: Any) -> Any:
        if lost:
            world.pause(1.0)
            raise Unsettled("lost")
        return get(key, *more)

    engine.create = lose  # type: ignore[method-assign]
    engine.get = hear  # type: ignore[method-assign]
    daemon.ask.engine = engine
    script.expect(script.verb("POST", "a", "mine", daemon)[0], None, "the answer")
    script.expect(script.verb("GET", "a"), (200, "mine"), "what is there then")


def full_at_the_second_try(modules: SimpleNamespace) -> None:
    """A swap happens, its answer is lost, and obstore's own second try finds the bucket full."""
    script = Script(modules)
    world = script.world
    daemon = world.daemon(0)
    engine = Intercepted(world, lambda key: None)
    create = engine.create

    def refuse(key: str, data: bytes) -> str:
        done = create(key, data)
        if key.startswith("locations/"):
            raise Full("QuotaExceeded")
        return done

    engine.create = refuse  # type: ignore[method-assign]
    daemon.ask.engine = engine
    blob = draft(modules.staging, "a", b"mine", int(world.now * 1e9), True)
    with suppress(NoSpace):
        daemon.write(blob, b"mine", modules.protocol.Demand("a", False), world.now + 20)
    script.expect(script.verb("GET", "a"), (200, "mine"), "what is there then")


def marked_by_mistake(modules: SimpleNamespace) -> None:
    """A marker of a blob that its location still has does no harm."""
    script = Script(modules)
    world = script.world
    script.verb("POST", "a", "first")
    daemon = world.daemon(0)
    daemon.mark_garbage(daemon.ask.read("a", world.now + 10), world.now + 10)
    world.now += 2 * world.setting.grace
    world.collector(1).collect_marked()
    script.expect(script.verb("GET", "a"), (200, "first"), "what is there then")
    world.look_for_leaks()


def late_about_an_id(modules: SimpleNamespace) -> None:
    """Each request that a dead blob was written and removed by arrives again, about the next."""
    for id_bits in (16, 128):
        _late(modules, id_bits)


def _late(modules: SimpleNamespace, id_bits: int) -> None:
    script = Script(modules, id_bits=id_bits)
    world = script.world
    writer, collector = script.writer([7, 8, 7, 9, 7, 9]), world.collector(1)
    sent = Echo(world)
    writer.ask.engine = sent
    collector._engine = collector._ask.engine = sent
    script.verb("POST", "a", "first", writer)
    script.verb("PUT", "a", "second", writer)
    script.age()
    collector.collect_marked()
    late, sent.late = sent.late, []
    script.verb("POST", "b", "other", writer)
    if id_bits == 16:
        script.expect(script.id_of("b"), 7, "the id of the next blob")
    for act in late:
        with suppress(Mismatch, Missing):
            act()
        script.expect(script.verb("GET", "a"), (200, "second"), "what a late request leaves")
        script.expect(script.verb("GET", "b"), (200, "other"), "what a late request leaves")
    script.expect(script.verb("PUT", "b", "third", writer), (200, "third"), "a write after that")
    script.clean({"a": "second", "b": "third"})


def stale_marker(modules: SimpleNamespace) -> None:
    """A marker stays when its blob is gone, and the id has another blob by then."""
    for location in ("b", "a"):
        script = Script(modules, id_bits=16)
        world = script.world
        writer = script.writer([7, 8, 7, 7, 9, 7, 9])
        script.verb("POST", "a", "first", writer)
        stale = modules.pointer.garbage_key(7, script.nonce_of("a"))
        script.verb("PUT", "a", "second", writer)
        script.age()
        world.collector(1).collect_marked()
        world.engine.put(stale, b"a")
        world.times[stale] = world.now
        script.age()
        done: list[bool] = []

        def collect(key: str, world: World = world, done: list[bool] = done) -> None:
            if key.startswith("locations/") and not done:
                done.append(True)
                world.collector(2).collect_marked()

        # The next blob is staged, be it for the location of the old one, and not published yet.
        writer.ask.engine = Intercepted(world, collect)
        method = "PUT" if location == "a" else "POST"
        script.expect(script.verb(method, location, "new", writer)[0] is not None, True, "a write")
        script.expect(script.id_of(location), 7, "the id of the next blob")
        script.verb("POST", "c", "another", writer)
        script.clean({location: "new", "c": "another"})


def claimed_too_early(modules: SimpleNamespace) -> None:
    """A sweep dies when it has condemned a blob, and its writer goes on after the grace."""
    script = Script(modules, id_bits=16)
    world = script.world
    writer, thief = script.writer([7]), script.writer([7, 9])
    done: list[bool] = []

    def meanwhile(key: str) -> None:
        if key.startswith("locations/") and not done:
            done.append(True)
            script.age()
            sweep = world.collector(1)
            sweep._touch = lambda *_: False
            sweep.collect_unnamed(7)
            script.age()
            script.verb("POST", "b", "thief", thief)

    writer.ask.engine = Intercepted(world, meanwhile)
    script.expect(script.verb("POST", "a", "slow", writer), (204, "slow"), "the answer")
    script.clean({"a": "slow", "b": "thief"})


def stalled_anywhere(modules: SimpleNamespace) -> None:
    """A daemon stands still before each request of a write, or of a collection, for hours.

    Meanwhile others collect, and use its id again. Its own clock stands still, too.
    """
    for id_bits in (16, 128):
        for order in permutations(range(3)) if id_bits == 128 else [(0, 1, 2)]:
            _at_each_step(partial(_stalled_write, modules, id_bits, order))
        for sweeps in (False, True):
            _at_each_step(partial(_stalled_sweep, modules, id_bits, sweeps))


def swept_anywhere(modules: SimpleNamespace) -> None:
    """A daemon for which all is old sweeps before each request of a write."""
    for id_bits in (16, 128):
        for order in permutations(range(3)) if id_bits == 128 else [(0, 1, 2)]:
            _at_each_step(partial(_stalled_write, modules, id_bits, order, hasty=True))


def _at_each_step(play: Callable[[int], bool]) -> None:
    at = 0
    while play(at):
        at += 1


def _stalled_write(
    modules: SimpleNamespace, id_bits: int, order: Sequence[int], at: int, *, hasty: bool = False
) -> bool:
    """Stall a write before the request ``at``; False if it has none."""
    reached = False
    for method in ("POST", "PUT"):
        script = Script(modules, id_bits=id_bits)
        world = script.world
        writer, thief = script.writer([7, 6]), script.writer([7, 9])
        if method == "PUT":
            script.verb("POST", "a", "first")

        def meanwhile(script: Script = script, thief: Any = thief) -> None:
            for _ in range(2):
                script.sweep(hasty=hasty)
            script.verb("POST", "b", "thief", thief)
            script.sweep(hasty=hasty)

        def in_order(calls: Sequence[Callable[[], Any]]) -> list[Any]:
            answers = {number: calls[number]() for number in order}
            return [answers[number] for number in range(len(calls))]

        writer.ask.together, writer.ask.seconds = in_order, lambda: 0.0
        writer.ask.engine = stalling = Stalling(world, at, meanwhile)
        status, _ = script.verb(method, "a", "slow", writer)
        reached |= stalling.count > at
        before = {"a": "first"} if method == "PUT" else {}
        after = {"a": "slow"} if status in (200, 204) else before
        script.clean({**after, **({"b": "thief"} if stalling.count > at else {})})
    return reached


def _stalled_sweep(modules: SimpleNamespace, id_bits: int, sweeps: bool, at: int) -> bool:
    """Stall a collection of blob 7 before the request ``at``; False if it has none."""
    script = Script(modules, id_bits=id_bits)
    world = script.world
    writer = script.writer([7, 8, 7, 9])
    script.verb("POST", "a", "first", writer)
    replaced = writer.ask.read("a", world.now + 10)
    script.verb("PUT", "a", "second", writer)
    if sweeps:
        world.engine.delete(modules.pointer.garbage_key(replaced.named.id, replaced.named.nonce))
    script.age()

    def meanwhile() -> None:
        for _ in range(2):
            world.collect(1)
            script.age()
        script.verb("POST", "b", "thief", writer)

    slow = world.collector(2)
    slow._engine = slow._ask.engine = stalling = Stalling(world, at, meanwhile)
    slow.collect_marked()
    slow.collect_unnamed(replaced.named.id & 0xFF)
    if stalling.count <= at:
        return False
    if id_bits == 16:
        script.expect(script.id_of("b"), 7, "the id of the next blob")
    script.clean({"a": "second", "b": "thief"})
    return True


def touched_and_written(modules: SimpleNamespace) -> None:
    """A write reads its pointer after its blob was condemned, and after another write."""
    script = Script(modules)
    world = script.world
    script.verb("POST", "a", "first")
    writer = world.daemon(0)
    writer.ask.seconds = lambda: 0.0

    def staged_first(calls: Sequence[Callable[[], Any]]) -> list[Any]:
        data, record = calls[1](), calls[2]()
        for _ in range(2):
            script.age()
            world.collect(1)
        script.verb("PUT", "a", "second")
        return [calls[0](), data, record]

    writer.ask.together = staged_first
    script.expect(script.verb("PUT", "a", "slow", writer)[0], None, "the answer")
    script.clean({"a": "second"})


def lost_record(modules: SimpleNamespace) -> None:
    """Somebody removes the record of a blob whose pointer no list shows yet; its data stays."""
    script = Script(modules)
    world = script.world
    before = world.listing()
    script.verb("POST", "a", "kept")
    blob = world.daemon(0).get("a", world.now + 10)
    world.engine.delete(modules.pointer.record_key(blob.id))
    script.age()
    listing = world.listing
    shown = [*before, *(each for each in listing() if each.key.startswith("blobs/"))]
    world.listing = lambda prefix="": shown  # type: ignore[method-assign]
    world.collector(1).collect_unnamed(blob.id & 0xFF)
    world.listing = listing  # type: ignore[method-assign]
    for _ in range(3):
        script.age()
        world.collector(1).collect_unnamed(blob.id & 0xFF)
    script.expect(script.verb("GET", "a"), (200, "kept"), "what is there then")


def clock_set(modules: SimpleNamespace) -> None:
    """Somebody sets the clock of a daemon that collects by hours; nothing goes before its time."""
    script = Script(modules)
    world = script.world
    script.verb("POST", "a", "first")
    reader = world.daemon(0)
    blob = reader.get("a", world.now + 10)
    script.verb("PUT", "a", "second")
    lasting = draft(modules.staging, "b", b"lasting", int(world.now * 1e9), True)
    details = Details(lifetime=Lifetime(int(3 * world.setting.grace)))
    demand = modules.protocol.Demand("b", False, None, details)
    reader.write(lasting, b"lasting", demand, world.now + 10)
    world.now += world.setting.grace / 2
    collector = world.collector(1)
    collector._ask.wall = lambda: int((world.now + 3 * world.setting.grace) * 1e9)
    collector.collect_marked()
    data = reader.data(blob, (0, blob.size), world.now + 10)
    script.expect(data, b"first", "what the reader gets")
    script.age()
    for shard in range(256):
        collector.collect_unnamed(shard)
    script.expect(script.verb("GET", "b"), (200, "lasting"), "what is not over")


class Numbers:
    """A source of chance that gives these ids."""

    def __init__(self, ids: Any) -> None:
        self._ids = ids
        self._random = random.Random(next(_SEEDS))

    def getrandbits(self, bits: int) -> int:
        return int(next(self._ids))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._random, name)


KEEP = 10 * 3600.0


def kept_for_its_time(modules: SimpleNamespace) -> None:
    """What was replaced or deleted is there for as long as it is kept; then nothing is left."""
    script = Script(modules, keep=KEEP)
    script.verb("POST", "a", "first")
    script.verb("PUT", "a", "second")
    script.verb("DELETE", "a")
    for _ in range(3):
        script.world.now += 2 * script.world.setting.grace
        script.world.collect(1)
        script.expect(script.values("a"), ["second", "first"], "what is kept")
        script.expect(script.deleted(), ["a"], "what can be restored")
    script.expire()
    script.expect(script.values("a"), [], "what is kept no more")


def died_after_its_swap(modules: SimpleNamespace) -> None:
    """Daemons die after each swap: the pointer, or a marker of the next one, has what was."""
    script = Script(modules, keep=KEEP)
    world = script.world
    script.write("POST", "a", "first")
    script.write("PUT", "a", "second")
    script.expect(script.values("a"), ["second", "first"], "after one of them")
    script.write("PUT", "a", "third")
    script.expect(script.values("a"), ["third", "second", "first"], "after two of them")
    script.write("POST", "c", "only")
    for location in ("a", "c"):
        world.daemon(0).delete(modules.protocol.Demand(location, True), world.now + 10)
    script.expect(script.deleted(), ["a", "c"], "what can be restored after the answer")
    script.write("POST", "b", "other")
    script.write("PUT", "b", "another")
    for _ in range(3):
        world.now += 2 * world.setting.grace
        world.collect(1)
        script.expect(script.values("a"), ["third", "second", "first"], "after a sweep")
        script.expect(script.values("b"), ["another", "other"], "after a sweep")
    script.expire()
    script.expect(script.values("b"), ["another"], "what is kept no more")


class Relay(ShimEngine):
    """A way to the bucket on which a test replaces one swap, or create, by its own doing."""

    def __init__(self, world: World, start: str, instead: Callable[[Any], str]) -> None:
        super().__init__(world, 0)
        self.start, self.instead = start, instead
        self.done = False

    def _act(self, act: Callable[[], str], key: str) -> str:
        if self.done or not key.startswith(self.start):
            return act()
        self.done = True
        return self.instead(act)

    def create(self, key: str, data: bytes) -> str:
        return self._act(lambda: ShimEngine.create(self, key, data), key)

    def swap(self, key: str, data: bytes, etag: str) -> str:
        return self._act(lambda: ShimEngine.swap(self, key, data, etag), key)


def replaced_during_a_sweep(modules: SimpleNamespace) -> None:
    """A stalled blob is published and replaced after the sweep has judged it: it is kept."""
    script = Script(modules, keep=KEEP)
    world = script.world
    script.write("POST", "a", "first")
    stalled, collector = world.daemon(0), world.collector(1)

    def sweep(swap: Callable[[], str]) -> str:
        def condemn(act: Callable[[], str]) -> str:
            swap()
            script.write("PUT", "a", "third", world.daemon(2))
            return act()

        world.now += 2 * world.setting.grace
        collector._engine = Relay(world, "blobs/", condemn)
        for shard in range(256):
            collector.collect_unnamed(shard)
        raise Unsettled("the answer is lost")

    stalled.ask.engine = Relay(world, "locations/", sweep)
    script.write("PUT", "a", "second", stalled)
    wanted = ["third", "second", "first"]
    script.expect(script.values("a"), wanted, "what a sweep leaves")
    world.now += 2 * world.setting.grace
    world.collect(1)
    script.expect(script.values("a"), wanted, "what the next sweep leaves")


def marked_again(modules: SimpleNamespace) -> None:
    """A version that is marked by two daemons is kept for no longer than by one."""
    script = Script(modules, keep=KEEP)
    world = script.world
    script.verb("POST", "a", "first")
    first = world.daemon(0).get("a", world.now + 10)
    script.verb("PUT", "a", "second")
    world.now += KEEP / 2
    script.verb("PUT", "a", "third")
    world.now += KEEP / 2 + 10
    world.collector(1).collect_marked()
    script.expect(script.values("a"), ["third", "second"], "what is kept")
    left = modules.pointer.data_key(first.id, first.nonce) in world.keys("blobs/")
    script.expect(left, False, "whether its bytes are left")


def slimmed_meanwhile(modules: SimpleNamespace) -> None:
    """The answer to a delete is lost until its tombstone is slim, and touched: it stays so."""
    script = Script(modules, keep=KEEP)
    world = script.world
    grace = world.setting.grace
    script.write("POST", "a", "first")
    deleting, late = world.daemon(0), world.daemon(2)
    until = world.now + 10 * grace
    swaps: list[Callable[[], str]] = []

    def lose(swap: Callable[[], str]) -> str:
        def stall(act: Callable[[], str]) -> str:
            swaps.append(act)
            world.now += 2.0
            raise Unsettled("it stalls")

        swap()
        world.now += 2 * grace
        world.collect(1)  # it slims the tombstone
        late.ask.engine = Relay(world, "locations/", stall)
        with suppress(modules.protocol.Busy):
            demand = modules.protocol.Demand("a", False)
            blob = draft(modules.staging, "a", b"late", int(world.now * 1e9), True)
            late.write(blob, b"late", demand, world.now + 1)
        world.now += 2 * grace
        world.collect(1)  # it touches the tombstone, and removes the late blob
        raise Unsettled("the answer is lost")

    deleting.ask.engine = Relay(world, "locations/", lose)
    replaced = deleting.delete(modules.protocol.Demand("a", True), until)
    deleting.mark_garbage(replaced, until)
    with suppress(Mismatch, Missing):
        swaps[0]()
    script.expect(script.values("a"), ["first"], "what is kept")
    script.expect(script.verb("GET", "a"), (404, None), "what a late swap brings back")
    world.now += 2 * grace
    world.collect(1)
    script.expect(script.values("a"), ["first"], "what is kept")
    script.expire()


def kept_under_faults(modules: SimpleNamespace) -> None:
    """Many short runs under all faults, with a history."""
    play(kept(range(40)), modules)
