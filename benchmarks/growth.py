"""How cost grows with the number of blobs: start, memory, reading and writing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random

from attrs import frozen

from benchmarks import holds, loads, measures, servers
from gostore.blob import MAX_ID, Blob
from gostore.volume.changes import Commit, Sync
from gostore.volume.disk import Disk
from gostore.volume.volume import Volume

SIZES = (1, 1000, 65_536, 1_000_000)

PATIENCE = 600.0
"""Seconds that a daemon gets to read all its records."""

MANY = 10_000
"""From so many blobs on their memory can be told from that of the daemon."""

BATCH = 256
PROCESSES = 2

REST = 2.0
"""Seconds over which a daemon that nobody asks anything is watched."""

DRAWN = 1


@frozen
class Growth:
    """What a daemon costs that keeps so many blobs of 1 KiB."""

    blobs: int
    start_seconds: list[float]
    """From the start of the process to the first answer; the page cache is warm."""
    rss_kib: int
    peak_kib: int
    """Both after the start."""
    rest_cpu_percent: float
    """Of one processor, while nobody asks anything."""
    get_per_second: float
    get_cpu_us: float
    get_p99_ms: float
    put_per_second: float
    put_cpu_us: float
    put_p99_ms: float


def ids() -> Iterator[int]:
    """Ids as a store draws them, at random, no two alike; the same ones each time."""
    random, drawn = Random(DRAWN), set[int]()
    while True:
        number = random.randrange(MAX_ID + 1)
        if number not in drawn:
            drawn.add(number)
            yield number


def commit(number: int, blob_id: int, now: int) -> Commit:
    """One of the blobs: 1 KiB that no other has."""
    data = f"{number:1024}".encode()
    blob = Blob(blob_id, f"{loads.GROWN}{number}", content_type="application/octet-stream")
    blob.create(now)
    blob.start_writing(now)
    blob.finish_writing(now, len(data), sha256(data).digest(), number + 1)
    return Commit(blob, data)


def _make(path: Path, part: int, first: int, end: int) -> None:
    volume = Volume(str(path), sync=Sync.NONE)
    volume.look(lock=False)
    now = time.time_ns()
    numbered = islice(enumerate(ids()), first + part, end, PROCESSES)
    while batch := [commit(number, each, now) for number, each in islice(numbered, BATCH)]:
        for error in volume.protocol.carry_out(batch):
            if error is not None:
                raise error
    volume.close()


def make(path: Path, first: int, end: int, *, flush: bool = True) -> None:
    """Add the blobs from one number up to another to a data directory that no daemon serves.

    The store's own volume writes them, many times faster than requests would, since nothing is
    flushed before the end. That flush waits for everything the machine has yet to write on that
    file system, by whomever: minutes on a busy machine. Only a measurement needs it.
    """
    path.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(PROCESSES) as pool:
        for done in [pool.submit(_make, path, part, first, end) for part in range(PROCESSES)]:
            done.result()
    if flush:
        _flush(path)


def remove_others(path: Path, count: int, *, flush: bool = True) -> None:
    """Remove what requests have added to the first ``count`` blobs."""
    made = {str(each) for each in islice(ids(), count)}
    for name in os.listdir(path):
        if name not in made and (path / name).is_dir():
            shutil.rmtree(path / name)
    if flush:
        _flush(path)


def _flush(path: Path) -> None:
    """Let nothing be written later, while something is measured."""
    fd = os.open(path, os.O_RDONLY)
    try:
        Disk.syncfs(fd)
    finally:
        os.close(fd)


def measure(base: Path, blobs: int, round: int, seconds: int) -> tuple[Growth, list[holds.Hold]]:
    """Start a daemon on ``blobs`` blobs under ``base``, put loads on it, as it is and watched."""
    get = loads.Load(f"GET 1 KiB of {blobs:,}", "GET", loads.KIB, grown=blobs)
    put = loads.Load(f"PUT 1 KiB beside {blobs:,}", "PUT", loads.KIB)

    def loaded(load: loads.Load, here: servers.Running) -> loads.Sample:
        sample = loads.run(load, here, round, seconds, base)
        if sample is None or sample.errors:
            raise RuntimeError(f"{load.name}: requests failed: {sample}")
        return sample

    def ask(port: int) -> int:
        return servers.request(port, "GET", "/healthz")

    with servers.started(servers.GOSTORE, base, ask, PATIENCE) as here:
        starts = [here.seconds]
        rss, peak = measures.rss_kib(here.pid), measures.peak_kib(here.pid)
        before = measures.cpu_seconds(here.pid)
        time.sleep(REST)
        rest = measures.cpu_seconds(here.pid) - before
        read, written = loaded(get, here), loaded(put, here)
    remove_others(base / "data", blobs)
    held = []
    with servers.started(servers.WATCHED, base, ask, PATIENCE) as here:
        starts.append(here.seconds)
        for load in (get, put):
            holds.taken(here)
            loaded(load, here)
            held.append(holds.of(load.name, holds.taken(here)))
    remove_others(base / "data", blobs)
    # Of three, one may have found something out of the cache.
    with servers.started(servers.GOSTORE, base, ask, PATIENCE) as here:
        starts.append(here.seconds)
    growth = Growth(
        blobs=blobs,
        start_seconds=starts,
        rss_kib=rss,
        peak_kib=peak,
        rest_cpu_percent=100 * rest / REST,
        get_per_second=read.per_second,
        get_cpu_us=read.cpu_us,
        get_p99_ms=read.p99_ms,
        put_per_second=written.per_second,
        put_cpu_us=written.cpu_us,
        put_p99_ms=written.p99_ms,
    )
    return growth, held


def bytes_a_blob(found: list[Growth]) -> dict[int, float]:
    """Memory that each blob takes, beyond the daemon that has the fewest, where there are many."""
    least = min(found, key=lambda each: each.blobs, default=None)
    if least is None:
        return {}
    return {
        each.blobs: 1024 * (each.rss_kib - least.rss_kib) / (each.blobs - least.blobs)
        for each in found
        if each.blobs >= MANY and each is not least
    }


def table(found: list[Growth]) -> str:
    """As Markdown."""
    memory = bytes_a_blob(found)
    lines = [
        "| blobs | start s | RSS MiB | peak MiB | bytes a blob | CPU at rest "
        "| GET/s | CPU us | p99 ms | PUT/s | CPU us | p99 ms |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in found:
        starts = " ".join(f"{one:.2f}" for one in each.start_seconds)
        blob = f"{memory[each.blobs]:.0f}" if each.blobs in memory else "-"
        lines.append(
            f"| {each.blobs:,} | {starts} | {each.rss_kib / 1024:.0f} | {each.peak_kib / 1024:.0f} "
            f"| {blob} | {each.rest_cpu_percent:.0f} % "
            f"| {each.get_per_second:.0f} | {each.get_cpu_us:.0f} | {each.get_p99_ms:.2f} "
            f"| {each.put_per_second:.0f} | {each.put_cpu_us:.0f} | {each.put_p99_ms:.2f} |"
        )
    return "\n".join(lines)
