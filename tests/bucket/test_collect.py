"""The lease saves work, and the collection removes what is over; what it may not is in trials."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gostore.bucket.engine import Listed
from gostore.bucket.lease import LEASE_SECONDS
from gostore.bucket.pointer import LEASE, SHARDS, data_key, garbage_key, pointer_key, record_key
from gostore.store.interface import Details, Lifetime
from tests.bucket.world import Setting, World, draft, nothing_passed_over


def quiet() -> World:
    """A world without faults."""
    world = World(Setting(1, faults=0.0))
    world.quiet = True
    return world


def test_lease() -> None:
    """One daemon has the lease until it is over; it keeps it, and sets its clock by the engine."""
    world = quiet()
    first, second = world.collector(0), world.collector(1)
    lease = first.take_lease()
    assert lease is not None
    assert second.take_lease() is None
    world.now += LEASE_SECONDS / 2
    assert first.take_lease() is not None
    world.now += LEASE_SECONDS + 1
    taken = second.take_lease()
    assert taken is not None
    assert taken.owner != lease.owner
    assert first.take_lease() is None


def test_long_run() -> None:
    """A run that takes longer than a lease keeps it, and ends if another daemon has got it."""
    world = quiet()
    daemon, grace = world.daemon(0), world.setting.grace
    for name in ("a", "b"):
        world._verb(daemon, "POST", name, "x")
        world._verb(daemon, "DELETE", name, None)
    first, second = world.collector(0), world.collector(1)
    world.now += 2 * grace
    assert first.take_lease() is not None
    world.now += 0.8 * LEASE_SECONDS
    assert first.collect_marked() == 2
    world.now += 0.8 * LEASE_SECONDS
    assert second.take_lease() is None
    world._verb(daemon, "POST", "a", "x")
    world._verb(daemon, "DELETE", "a", None)
    world.now += 2 * grace
    lease = second.take_lease()
    assert lease is not None
    assert first.collect_marked() == 0
    assert first.next_shard(lease) == lease
    assert second.collect_marked() == 1


def test_rounds() -> None:
    """The lease says which shard is next, whoever has it, and a round ends with the last one."""
    world = quiet()
    first, second = world.collector(0), world.collector(1)
    lease = first.take_lease()
    assert lease is not None and lease.shard == 0
    first.next_shard(lease)
    world.now += LEASE_SECONDS + 1
    lease = second.take_lease()
    assert lease is not None and lease.shard == 1
    for _ in range(SHARDS - 1):
        lease = second.next_shard(lease)
    assert lease.shard == 0
    assert lease.began > 1_800_000_000


def test_bad_lease() -> None:
    """A lease that is garbage is nobody's."""
    world = quiet()
    for garbage in (b"", b"[]", b'{"owner": 1}', b"\xff"):
        world.engine.put(LEASE, garbage)
        world.times[LEASE] = world.now
        assert world.collector(0).take_lease() is not None


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"owner": "x", "until": 1e999, "shard": 1, "began": 0}',
        b'{"owner": "x", "until": 99999999999, "shard": 1, "began": 0}',
        b'{"owner": "x", "until": 1, "shard": Infinity, "began": 0}',
        b'{"owner": "x", "until": 1%s, "shard": 1, "began": 0}' % (b"0" * 400),
        b'{"owner": "x", "until": 1e999, "shard": 1, "began": 1e999}',
        b'{"owner": "x", "until": NaN, "shard": 1, "began": NaN}',
        b"[" * 100_000,
    ],
)
def test_endless_lease(garbage: bytes) -> None:
    """A lease is over when nobody has written it for as long as one is good for."""
    world = quiet()
    world.engine.put(LEASE, garbage)
    world.times[LEASE] = world.now
    world.now += LEASE_SECONDS + 1
    lease = world.collector(0).take_lease()
    assert lease is not None
    assert 0 <= lease.began <= world.now + 1


def test_one_that_cannot_be_looked_at() -> None:
    """What nobody foresaw of one object is logged, and ends neither the pass nor the sweep."""
    world = quiet()
    daemon = world.daemon(0)
    ids = {}
    for name in "abc":
        world._verb(daemon, "POST", name, "x")
        ids[name] = daemon.get(name, world.now + 10).id
        world._verb(daemon, "DELETE", name, None)
    world.now += 2 * world.setting.grace
    collection = world.collector(1)
    read = collection._ask.read

    def fail(location: str, until: float) -> Any:
        if location == "b":
            raise UnicodeEncodeError("utf-8", "b", 0, 1, "no such thing")
        return read(location, until)

    collection._ask.read = fail
    assert collection.collect_marked() == 2
    assert world.keys("garbage/") == [garbage_key(ids["b"])]
    world.engine.delete(garbage_key(ids["b"]))
    assert collection.collect_unnamed(ids["b"] & 0xFF) == 0
    with pytest.raises(UnicodeEncodeError), nothing_passed_over():
        collection.collect_unnamed(ids["b"] & 0xFF)
    collection._ask.read = read
    assert collection.collect_unnamed(ids["b"] & 0xFF) == 1


def test_hostile_objects() -> None:
    """Neither pass ends at a pointer, a marker or a version that somebody else has written."""
    world = quiet()
    daemon = world.daemon(0)
    world._verb(daemon, "POST", "a", "x")
    world._verb(daemon, "POST", "b", "x")
    blobs = {name: daemon.get(name, world.now + 10) for name in "ab"}
    good = json.loads(world.engine.get(pointer_key("a")).data)
    world._verb(daemon, "DELETE", "b", None)
    for at, bad in enumerate(({"hist": "\ud800" * 8}, {"touched": "\ud800"}, {"type": "\ud800"})):
        text = json.dumps({**good, "id": 5, **bad}).encode()
        world.engine.put(pointer_key("a"), text)
        world.engine.put(garbage_key(7 + at), text + b"\n")
        world.engine.put(f"history/{at:02x}/a/1-7", text + b"\n")
        world.times |= dict.fromkeys(world.keys(""), world.now)
        world.now += 2 * world.setting.grace
        world.collect(1)
        assert data_key(blobs["a"].id) in world.keys("blobs/")
        for method in ("PUT", "DELETE"):
            world.engine.put(pointer_key("a"), text)
            assert world._verb(daemon, method, "a", "new" if method == "PUT" else None)[0] == 200
        world.engine.put(pointer_key("a"), text)
    assert data_key(blobs["b"].id) not in world.keys("blobs/")


def test_orphans() -> None:
    """Data without a record is removed, unless a pointer names it."""
    world = quiet()
    daemon = world.daemon(0)
    world._verb(daemon, "POST", "a", "kept")
    blob = daemon.get("a", world.now + 10)
    world.engine.delete(record_key(blob.id))
    world.engine.put(data_key(77), b"orphan")
    world.times[data_key(77)] = world.now
    world.now += 2 * world.setting.grace
    for _ in range(2):
        world.collect(1)
        world.now += 2 * world.setting.grace
    assert daemon.data(blob, None, world.now + 10) == b"kept"
    assert data_key(77) not in world.keys("blobs/")


def test_marker_after_its_blob() -> None:
    """A marker goes after its blob, even if a sweep by an old list has given that a record anew."""
    world = quiet()
    daemon = world.daemon(0)
    world._verb(daemon, "POST", "a", "x")
    blob = daemon.get("a", world.now + 10)
    world._verb(daemon, "DELETE", "a", None)
    listing = world.listing
    before = listing()
    world.engine.delete(data_key(blob.id))
    world.engine.delete(record_key(blob.id))
    world.now += 2 * world.setting.grace
    world.listing = lambda prefix="": before  # type: ignore[method-assign]
    world.collector(1).collect_unnamed(blob.id & 0xFF)
    assert world.keys("blobs/") == [record_key(blob.id)]
    world.listing = listing  # type: ignore[method-assign]
    world.collector(1).collect_marked()
    assert not world.keys("blobs/") and not world.keys("garbage/")


def test_gone_since_the_list() -> None:
    """A sweep leaves nothing of a blob that has gone since it listed the shard."""
    world = quiet()
    daemon = world.daemon(0)
    world._verb(daemon, "POST", "a", "x")
    blob = daemon.get("a", world.now + 10)
    world._verb(daemon, "DELETE", "a", None)
    world.now += 2 * world.setting.grace
    listing, shard = world.listing, f"blobs/{blob.id & 0xFF:02x}/"
    before = listing(shard)

    def slow(prefix: str = "") -> list[Listed]:
        return before if prefix == shard else listing(prefix)

    world.listing = slow  # type: ignore[method-assign]
    world.collector(1).collect_marked()
    world.collector(2).collect_unnamed(blob.id & 0xFF)
    assert not world.keys("blobs/") and not world.keys("garbage/")


def test_damaged_pointer() -> None:
    """Nothing is removed that a pointer may name which cannot be read."""
    world = quiet()
    daemon = world.daemon(0)
    world._verb(daemon, "POST", "a", "kept")
    blob = daemon.get("a", world.now + 10)
    daemon.mark_garbage(daemon.ask.read("a", world.now + 10), world.now + 10)
    world.engine.put(pointer_key("a"), b"garbage")
    world.now += 2 * world.setting.grace
    world.collect(1)
    assert data_key(blob.id) in world.keys("blobs/")


def test_expired() -> None:
    """A blob whose time is over is deleted by the sweep, and its bytes go after the grace."""
    world = quiet()
    daemon = world.daemon(0)
    blob = draft(world.modules.staging, "a", b"short", int(world.now * 1e9), True)
    demand = world.modules.protocol.Demand("a", False, None, Details(lifetime=Lifetime(60)))
    daemon.write(blob, b"short", demand, world.now + 10)
    world.now += 61
    assert daemon.ask.read("a", world.now + 10).blob is None
    assert world._verb(daemon, "GET", "a", None)[0] == 404
    for _ in range(3):
        world.now += 2 * world.setting.grace
        world.collect(1)
    assert not world.keys("blobs/")
    assert world._verb(daemon, "POST", "a", "again")[0] == 204


def test_stopped() -> None:
    """A collection that is to stop removes nothing more."""
    world = quiet()
    daemon = world.daemon(0)
    world._verb(daemon, "POST", "a", "x")
    world._verb(daemon, "DELETE", "a", None)
    world.now += 2 * world.setting.grace
    collection = world.collector(1)
    collection.stopped = True
    collection.collect_marked()
    assert world.keys("garbage/")
    collection.stopped = False
    collection.collect_marked()
    assert not world.keys("garbage/")
    assert not world.keys("blobs/")
