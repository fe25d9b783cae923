"""A bucket as commands see it, which are no daemons: every request blocks, and has some time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from gostore.bucket.asking import Asker, refusal
from gostore.bucket.engine import Engine, Listed, Missing, Refused, Unsettled
from gostore.bucket.listing import located
from gostore.bucket.markers import Markers
from gostore.bucket.pointer import STORE, Stored
from gostore.bucket.probe import Description, Unfit, description_in
from gostore.bucket.protocol import Protocol
from gostore.bucket.staging import Staging
from gostore.errors import VolumeUnusable
from gostore.prefixes import ByPrefix
from gostore.text import wall_clock

#: What is written and read by one request.
SMALL = 1024 * 1024

#: How many bytes of a larger blob one request reads.
SPAN = 4 * 1024 * 1024

#: For how many seconds a bucket that does not answer is asked again.
PATIENCE = 30.0


class Bucket:
    """A bucket, what it is called, and how it is asked."""

    def __init__(self, engine: Engine, name: str, wall: Callable[[], int] = wall_clock) -> None:
        """``name`` tells it from all others, in the mark of a target, too."""
        self.name = name
        self.wall = wall
        self.ask = Asker(engine, wall=wall)
        self.ask.name = name
        self.staging = Staging(self.ask)
        # Only daemons know for how long history is kept: nothing of it is over here.
        self.protocol = Protocol(self.ask, self.staging, Markers(self.ask, ByPrefix(inf)))

    def until(self) -> float:
        """When to give up what begins now."""
        return self.ask.seconds() + PATIENCE

    def describe(self) -> Description | None:
        """Read what daemons agree on; None if no daemon ever was here. Raises VolumeUnusable."""
        try:
            return description_in(self.ask.settle(lambda: self.ask.engine.get(STORE), self.until()))
        except Missing:
            return None
        except Unfit as error:
            raise VolumeUnusable(self.name, str(error)) from error

    def objects(self, prefix: str) -> list[Listed]:
        """List the objects below a prefix, "" for all. Raises Busy or DiskFailed."""
        found: list[Listed] = []
        until = self.until()
        while True:
            try:
                for listed in self.ask.engine.list(prefix, found[-1].key if found else ""):
                    found.append(listed)
                    until = self.until()
                return found
            except Unsettled as error:
                self.ask.rest_or_give_up(error, until)
            except Refused as error:
                raise refusal(error, self.ask.name) from error

    def located(self, key: str) -> str | None:
        """Say which location's pointer has a key; None if it tells none that can be believed."""
        return self.ask.settle(lambda: located(self.ask.engine, key), self.until())

    def data(self, blob: Stored) -> Iterator[bytes]:
        """Read the bytes of a blob. Raises NotFound or Damaged."""
        for span in spans_of(blob.size):
            yield self.protocol.data(blob, span, self.until())


def spans_of(size: int) -> Iterator[tuple[int, int] | None]:
    """Say what to read of a blob, one after another; None is all of it."""
    if size <= SMALL:
        yield None
    else:
        yield from ((start, min(start + SPAN, size)) for start in range(0, size, SPAN))
