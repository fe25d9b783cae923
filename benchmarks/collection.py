"""What a collection run costs: ``python -m benchmarks.collection DIRECTORY GARBAGE...``.

The store itself is opened on the directory, without HTTP, and with its own threads. So many blobs
are created and deleted; then the run is timed in its workers, what it does to the journal, which is
a part of it, included. Prints what it found as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from attrs import asdict, frozen
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import deferLater, react

from benchmarks.installed import ROOT
from benchmarks.sustained import LOOK
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Details, Sink
from gostore.store.workers import Queue, Workers
from gostore.volume.changes import Sync
from gostore.volume.volume import Volume

T = TypeVar("T")

RUNS = 20
"""Of a run that finds nothing; one that does can be measured only once."""

TOGETHER = 200
"""Blobs created, or deleted, at a time."""

PATIENCE = 600.0
"""Seconds that all runs over a data directory may take."""

GARBAGE = (0, 100, 10_000)


@frozen
class Collection:
    """Runs over a store with so many live and so many dead blobs; times in its workers."""

    live: int
    garbage: int
    wall_ms: list[float]
    cpu_ms: list[float]


class TimedQueue(Queue):
    """A queue that notes how many seconds each function takes, and how many of the processor."""

    def __init__(self, reactor: Any, name: str, times: list[tuple[float, float]]) -> None:
        super().__init__(reactor, 1, name)
        self._times = times

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Run a function and time it."""
        return super().run(self._timed, function, *arguments)

    def _timed(self, function: Callable[..., T], *arguments: Any) -> T:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return function(*arguments)
        finally:
            self._times.append((time.perf_counter() - wall, time.thread_time() - cpu))


class TimedWorkers(Workers):
    """Workers that time every chore and commit."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.times: list[tuple[float, float]] = []
        self.chores = TimedQueue(reactor, "chores", self.times)
        self.commits = TimedQueue(reactor, "commits", self.times)


class Bytes:
    """The body of an upload that is all here."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length: int | None = len(data)
        self.complete = True
        self.sender: str | None = None
        self.origin = ""

    def deliver(self, sink: Sink) -> None:
        """Deliver everything at once."""
        sink.received(self._data)
        sink.finished()

    def pauseProducing(self) -> None:
        """There is nothing to come."""

    def resumeProducing(self) -> None:
        """There is nothing to come."""


@inlineCallbacks
def _measure(
    reactor: Any, directory: str, garbage: list[int]
) -> Generator[Deferred[Any], Any, None]:
    workers = TimedWorkers(reactor)
    volume = Volume(directory, sync=Sync.JOURNAL)
    store = BlobStore(volume, workers, reactor, id_bits=32)
    store.open()
    store.start()
    live = sum(1 for _ in store.index.blobs())
    found = []
    # What the start left is not ours to count.
    yield store.collect()
    for count in garbage:
        names = [f"garbage-{count}-{number}" for number in range(count)]
        some = [names[first : first + TOGETHER] for first in range(0, count, TOGETHER)]
        for each in some:
            yield gatherResults([store.create(name, Bytes(b"dead"), Details()) for name in each])
        # What is deleted before its files are made never has any, and is no garbage.
        while volume.backlog.applier.waits:
            yield deferLater(reactor, LOOK, lambda: None)
        for each in some:
            yield gatherResults([store.delete(name) for name in each])
        # A run leaves alone what has no tombstone yet.
        while volume.backlog.applier.waits:
            yield deferLater(reactor, LOOK, lambda: None)
        runs = Collection(live, count, [], [])
        for _ in range(1 if count else RUNS):
            workers.times.clear()
            yield store.collect()
            walls, cpus = zip(*workers.times, strict=True)
            runs.wall_ms.append(1e3 * sum(walls))
            runs.cpu_ms.append(1e3 * sum(cpus))
        found.append(runs)
    yield store.stop()
    store.close()
    print(json.dumps([asdict(each) for each in found]))


def measure(directory: Path, garbage: list[int]) -> list[Collection]:
    """Time collection runs of a store on a data directory, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.collection", str(directory), *map(str, garbage)],
        cwd=ROOT,
        timeout=PATIENCE,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [Collection(**each) for each in json.loads(done.stdout)]


def table(found: list[Collection]) -> str:
    """As Markdown: medians, and the longest."""
    lines = [
        "| live blobs | garbage blobs | runs | ms | longest ms | CPU ms |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for each in found:
        lines.append(
            f"| {each.live:,} | {each.garbage:,} | {len(each.wall_ms)} "
            f"| {median(each.wall_ms):.3f} | {max(each.wall_ms):.3f} | {median(each.cpu_ms):.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print."""
    directory, *garbage = sys.argv[1:]
    react(_measure, (directory, [int(each) for each in garbage]))


if __name__ == "__main__":
    main()
