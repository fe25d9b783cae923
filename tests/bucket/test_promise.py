"""History is kept by the longest settings that the daemons of a bucket had, for an hour more."""

from __future__ import annotations

from math import inf

from gostore.bucket.engine import Full
from gostore.bucket.pointer import PROMISE
from gostore.bucket.promise import GRACE, Promise
from gostore.prefixes import ByPrefix, parse_times
from tests.bucket.test_collect import quiet
from tests.bucket.trials import Intercepted
from tests.bucket.world import World

LONG = ByPrefix(7 * 86_400.0, {"scratch/": 0.0, "photos/": inf})
NONE = ByPrefix(0.0)


def note(world: World) -> ByPrefix[float] | None:
    """What the bucket notes."""
    return parse_times(world.engine.get(PROMISE).data)


def test_longer() -> None:
    """A longer time holds at once, and is noted; where none ever was, none is noted."""
    world = quiet()
    promise = Promise(world.daemon(0).ask)
    assert promise.settle(NONE) == NONE
    assert not world.keys(PROMISE)
    assert promise.settle(LONG) == LONG
    assert note(world) == LONG
    longer = ByPrefix(inf)
    assert promise.settle(longer) == longer
    assert note(world) == longer


def test_shorter() -> None:
    """A shorter time holds an hour later, unless it is set back by then."""
    world = quiet()
    Promise(world.daemon(0).ask).settle(LONG)
    other = Promise(world.daemon(1).ask)
    shorter = ByPrefix(3600.0, {"photos/": 60.0})
    for _ in range(2):
        kept = other.settle(shorter)
        assert [kept.of(each) for each in ("a", "photos/a", "scratch/a")] == [
            7 * 86_400.0,
            inf,
            3600.0,
        ]
        assert note(world) == LONG
        world.now += GRACE - 10
    assert other.settle(LONG) == LONG
    other.settle(shorter)
    world.now += GRACE - 10
    assert other.settle(shorter).of("a") == LONG.of("a")
    world.now += 20
    assert other.settle(shorter) == shorter == note(world)


def test_no_note() -> None:
    """A note that is garbage is none; a bucket that is full notes nothing, and that is all."""
    world = quiet()
    daemon = world.daemon(0)
    promise = Promise(daemon.ask)
    for garbage in (b"", b"[]", b'{"keep": "never"}', b'{"keep": -1, "prefixes": {}}', b"\xff"):
        world.engine.put(PROMISE, garbage)
        world.times[PROMISE] = world.now
        assert promise.settle(NONE) == NONE

    def refuse(key: str) -> None:
        raise Full("QuotaExceeded")

    daemon.ask.engine = Intercepted(world, refuse)
    assert promise.settle(LONG) == LONG
