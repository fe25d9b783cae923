"""What a bucket costs that nobody asks anything of: its lists, its sweep, and what is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import mean
from typing import Any

from attrs import frozen

from benchmarks import report
from gostore.bucket.asking import Asker
from gostore.bucket.collect import Collection
from gostore.bucket.engine import Engine
from gostore.bucket.measured import MeasuredEngine
from gostore.bucket.pointer import LOCATIONS, SHARDS
from gostore.bucket.protocol import Demand, Protocol
from gostore.bucket.staging import Staging, describe, finish, new_blob
from gostore.store.interface import Details

BLOBS = 2_000
"""Blobs in the bucket; half of them are replaced."""

WRITERS = 16

OLD_AT_ONCE = -60.0
"""A grace for which everything is old: nobody else uses this prefix."""

NAME = "customers/0000/invoices/2026/{:08}.pdf"
"""A name as people give them."""


@frozen
class Upkeep:
    """Something that was done for so many blobs, or names."""

    what: str
    count: int
    seconds: float
    requests: int
    """To the engine."""


@frozen
class Sizes:
    """The mean bytes of a pointer and of a record, for blobs with names of so many characters."""

    name: int
    pointer: float
    record: float


class Bucket:
    """A prefix of the measurement's own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = MeasuredEngine(engine)
        self._steps = ThreadPoolExecutor(64)
        ask = Asker(self.engine, together=self._together)
        self._protocol = Protocol(ask, Staging(ask, grace=OLD_AT_ONCE))
        self._collection = Collection(self._protocol, "benchmark")

    def _together(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        others = [self._steps.submit(call) for call in calls[1:]]
        return [calls[0](), *(each.result() for each in others)]

    def measure(self) -> tuple[list[Upkeep], Sizes]:
        """Measure all of it."""
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda number: self._write(number, exists=False), range(BLOBS)))
        sizes = Sizes(len(NAME.format(0)), self._mean(LOCATIONS, ""), self._mean("blobs/", ".json"))
        found = [
            self._timed("names listed", BLOBS, lambda: list(self.engine.list(LOCATIONS)), 1000),
            self._timed("blobs swept, none of them garbage", BLOBS, self._sweep),
        ]
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda number: self._write(number, exists=True), range(BLOBS // 2)))
        return [
            *found,
            self._timed("replaced blobs removed", BLOBS // 2, self._collection.collect_marked),
        ], sizes

    def _write(self, number: int, *, exists: bool) -> None:
        data, now, location = b"x" * 1024, time.time_ns(), NAME.format(number)
        blob = new_blob(location, now, "127.0.0.1", replaces=exists)
        describe(blob, Details("application/pdf"), now)
        finish(blob, now, data)
        until = time.monotonic() + 60
        _, replaced = self._protocol.write(blob, data, Demand(location, exists), until)
        self._protocol.mark_garbage(replaced, until)

    def _sweep(self) -> None:
        for shard in range(SHARDS):
            self._collection.collect_unnamed(shard)

    def _mean(self, prefix: str, end: str) -> float:
        return mean(each.size for each in self.engine.list(prefix) if each.key.endswith(end))

    def _timed(self, what: str, count: int, act: Callable[[], object], page: int = 0) -> Upkeep:
        """``page``: how many names a request lists that is not counted by itself."""
        before, began = sum(self.engine.counts.values()), time.monotonic()
        act()
        seconds = time.monotonic() - began
        requests = sum(self.engine.counts.values()) - before
        return Upkeep(what, count, seconds, -(-count // page) if page else requests)


def table(found: Sequence[Upkeep], sizes: Sequence[Sizes]) -> str:
    """What each costs, as Markdown; then the sizes."""
    lines = [
        "| what | how many | seconds | a second | requests for each |",
        "|---|--:|--:|--:|--:|",
    ]
    for each in found:
        lines.append(
            f"| {each.what} | {each.count:,} | {each.seconds:.2f} "
            f"| {report.number(each.count / each.seconds)} | {each.requests / each.count:.3g} |"
        )
    for each_size in sizes:
        lines += [
            "",
            f"A pointer has {each_size.pointer:.0f} bytes and a record {each_size.record:.0f}, for "
            f"names of {each_size.name} characters.",
        ]
    return "\n".join(lines)
