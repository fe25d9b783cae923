"""What a collection run costs where much is kept and nothing is due: ``python -m benchmarks.kept``.

The store itself is opened on a new directory, without HTTP, and with its own threads. Its history
is given so many dead blobs, as a start would that has found them; they have no files, for a run
that touched one would be wrong. A run is timed from the request to the end, with all that waits for
threads. Beside it stands the work of the reactor's thread alone, in which nobody is served.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from gostore.prefixes import ByPrefix
from gostore.store.blobstore import BlobStore
from gostore.store.workers import Workers
from gostore.volume.changes import Sync
from gostore.volume.collect import Dead
from gostore.volume.volume import Volume

RUNS = 100

KEEP = 7 * 86_400.0

#: So many versions has each location.
VERSIONS = 4


@frozen
class Kept:
    """Runs over a store that keeps so many dead blobs; times in milliseconds."""

    kept: int
    walls: Sequence[float]
    reactor: Sequence[float]


async def measure(reactor: Any, kept: int, runs: int = RUNS) -> Kept:
    """Time runs of the collector."""
    with tempfile.TemporaryDirectory() as directory:
        store = BlobStore(
            Volume(directory, sync=Sync.JOURNAL), Workers(reactor), reactor, keep=ByPrefix(KEEP)
        )
        store.open()
        store.start()
        now = time.time_ns()
        store.history.restore(
            (
                Dead(number, f"kept/{number // VERSIONS}", number + 1, size=1000, ended=now)
                for number in range(kept)
            ),
            lambda location: False,
            now,
        )
        walls, held = [], []
        for _ in range(runs):
            begun = time.perf_counter()
            run = store.collect()
            held.append(1e3 * (time.perf_counter() - begun))
            await run
            walls.append(1e3 * (time.perf_counter() - begun))
        assert len(store.history) == kept
        await store.stop()
        store.close()
    return Kept(kept, walls, held)


def table(found: Sequence[Kept]) -> str:
    """As Markdown: medians, and the longest."""
    lines = [
        "| kept blobs | runs | ms | longest ms | of the reactor ms | longest ms |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for each in found:
        lines.append(
            f"| {each.kept:,} | {len(each.walls)} | {median(each.walls):.3f} "
            f"| {max(each.walls):.3f} | {median(each.reactor):.3f} | {max(each.reactor):.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kept", description=__doc__)
    parser.add_argument("kept", nargs="*", type=int, default=[0, 1_000, 1_000_000])
    counts: list[int] = parser.parse_args().kept

    async def run(reactor: Any) -> None:
        print(table([await measure(reactor, count) for count in counts]))

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
