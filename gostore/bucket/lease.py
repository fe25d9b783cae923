"""The lease: one daemon collects at a time. It only saves work; two that collect do no harm.

It also says which shard the sweep comes to next, whoever has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TypeVar

from attrs import evolve, frozen

from gostore.bucket.asking import Asker, passed_over
from gostore.bucket.engine import EngineError, Found, Missing
from gostore.bucket.pointer import LEASE, SHARDS

#: Seconds that a lease is good for.
LEASE_SECONDS = 120.0

T = TypeVar("T")


@frozen
class Lease:
    """The daemon that collects until a time of the engine's clock, and how far it has come."""

    owner: str
    until: float
    shard: int = 0
    #: When the round of the sweep began that is under way.
    began: float = 0.0


class Leaseholder:
    """A daemon that takes the lease, or does without. ``owner`` tells it from others."""

    def __init__(self, ask: Asker, owner: str) -> None:
        self._ask = ask
        self._engine = ask.engine
        self._owner = owner
        #: Set when what is left shall wait for another run.
        self.stopped = False
        #: When the lease was written last, by our clock; None if it was not asked for.
        self._leased: float | None = None

    def take_lease(self) -> Lease | None:
        """Take the lease, or keep it; None if another daemon has it. Sets our clock by theirs."""
        try:
            found = self._engine.get(LEASE)
        except Missing:
            found = None
        except EngineError:
            return None
        now = self._ask.engine_time()
        lease = Lease("", 0.0, began=now) if found is None else lease_in(found, now)
        if lease.owner not in ("", self._owner) and lease.until > now:
            return None
        self._leased = self._ask.seconds()
        return self.keep_lease(evolve(lease, owner=self._owner), found)

    def goes_on(self) -> bool:
        """Whether a run goes on: nobody has stopped it, and the lease, renewed in time, is ours."""
        if self._leased is None or self._ask.seconds() < self._leased + LEASE_SECONDS / 3:
            return not self.stopped
        return not self.stopped and self.take_lease() is not None

    def batches(self, things: Iterable[T], size: int) -> Iterator[list[T]]:
        """A few at a time, for as long as the run goes on."""
        each = iter(things)
        while (some := list(islice(each, size))) and self.goes_on():
            yield some

    def look_at(self, look: Callable[[T], int], things: list[T]) -> int:
        """Look at some things at the same time; return how many are removed."""
        calls = [partial(passed_over, partial(look, each), each) for each in things]
        return sum(filter(None, self._ask.together(calls)))

    def keep_lease(self, lease: Lease, found: Found | None) -> Lease | None:
        """Write the lease, if nobody else has meanwhile; None if that fails."""
        lease = evolve(lease, until=self._ask.engine_time() + LEASE_SECONDS)
        text = {name: getattr(lease, name) for name in ("owner", "until", "shard", "began")}
        data = json.dumps(text).encode()
        try:
            if found is None:
                self._engine.create(LEASE, data)
            else:
                self._engine.swap(LEASE, data, found.etag)
            written = self._engine.get(LEASE)
        except EngineError:
            return None
        if written.data != data:
            return None
        # The engine has just written it, so this is the time by its clock.
        self._ask.ahead = written.modified - self._ask.steady_time()
        return lease

    def next_shard(self, lease: Lease) -> Lease:
        """Note that a shard has been swept, and begin the next round after the last one."""
        if not self.goes_on():
            return lease  # it was left off
        shard = (lease.shard + 1) % SHARDS
        now = self._ask.engine_time()
        if not shard:
            self._ask.tally.swept = now
        lease = evolve(lease, shard=shard, began=now if not shard else lease.began)
        with suppress(EngineError):  # then it is swept once more
            self.keep_lease(lease, self._engine.get(LEASE))
        return lease


def lease_in(found: Found, now: float) -> Lease:
    """Read a lease; one that cannot be read is over, and its sweep begins now."""
    try:
        text = json.loads(found.data)
        shard, began = int(text["shard"]) % SHARDS, float(text["began"])
        owner, until = str(text["owner"]), float(text["until"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Lease("", 0.0, began=now)
    # Nobody takes a lease for longer, whatever it says.
    until = min(until, found.modified + LEASE_SECONDS)
    return Lease(owner, until, shard, began if 0 <= began <= now else now)
