"""The lease saves work, and the collection removes what is over; what it may not is in trials."""

from __future__ import annotations

from gostore.bucket.engine import Listed
from gostore.bucket.lease import LEASE_SECONDS
from gostore.bucket.pointer import LEASE, SHARDS, data_key, pointer_key, record_key
from gostore.store.interface import Details, Lifetime
from tests.bucket.world import Setting, World, draft


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
