"""How cost grows with the number of blobs: start, memory, reading and writing."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median

from attrs import evolve, frozen

from benchmarks import holds, loads, measures, servers
from benchmarks.loads import Sample
from benchmarks.report import number, ratios
from benchmarks.servers import Daemons, Running, Server
from benchmarks.starts import write_records
from gostore import statefile
from gostore.blob import MAX_ID, Blob
from gostore.volume.disk import Disk

SIZES = (1, 65_536, 250_000, 1_000_000)

SCATTERED = 250_000
"""Among so many blobs reading is held against the gostore of before, and memory against the cache's
setting."""

RECORDS = ".records"
"""The file that spares a start most reading. Without it the start is as correct."""

WITHOUT_RECORDS = f"gostore without {RECORDS}"

UNCACHED = "gostore --memory-cache 0"

PATIENCE = 600.0
"""Seconds that a daemon gets to read all its records."""

MANY = 10_000
"""From so many blobs on their memory can be told from that of the daemon."""

PROCESSES = 2

REST = 2.0
"""Seconds over which a daemon that nobody asks anything is watched."""

DRAWN = 1


@frozen
class Start:
    """One start on so many blobs of 1 KiB."""

    server: str
    blobs: int
    round: int
    seconds: float
    """From the start of the process to the first blob; the page cache is warm."""
    rss_kib: int
    peak_kib: int
    """Both after the start."""
    rest_cpu_percent: float
    """Of one processor, while nobody asks anything; -1 where nobody looked."""
    loaded_kib: int
    """The memory after blobs were read; 0 where none were."""


@frozen
class Growth:
    """All that a directory that grows has shown."""

    starts: list[Start]
    samples: list[Sample]
    holds: list[holds.Hold]


def ids() -> Iterator[int]:
    """Ids as a store draws them, at random, no two alike; the same ones each time."""
    random, drawn = Random(DRAWN), set[int]()
    while True:
        number = random.randrange(MAX_ID + 1)
        if number not in drawn:
            drawn.add(number)
            yield number


def blob(number: int, blob_id: int, now: int) -> tuple[Blob, bytes]:
    """One of the blobs: 1 KiB that no other has."""
    data = f"{number:1024}".encode()
    made = Blob(blob_id, f"{loads.GROWN}{number}", content_type="application/octet-stream")
    made.create(now)
    made.start_writing(now)
    made.finish_writing(now, len(data), sha256(data).digest(), number + 1)
    return made, data


def _make(path: Path, part: int, first: int, end: int) -> None:
    now = time.time_ns()
    for at, blob_id in islice(enumerate(ids()), first + part, end, PROCESSES):
        made, data = blob(at, blob_id, now)
        where = path / str(blob_id)
        where.mkdir()
        (where / "data.raw").write_bytes(data)
        (where / statefile.NAME).write_bytes(statefile.dump(made))


def make(path: Path, first: int, end: int, *, flush: bool = True) -> None:
    """Add the blobs from one number up to another to a data directory that no daemon serves.

    Nothing is flushed before the end. That flush waits for everything the machine has yet to write
    on that file system, by whomever: minutes on a busy machine. Only a measurement needs it.
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


def get_of(blobs: int) -> loads.Load:
    """Reads scattered over all blobs."""
    name = f"GET 1 KiB of {blobs:,}"
    return loads.Load(name, "GET", loads.KIB, keys=blobs, prefix=loads.GROWN)


def post_beside(blobs: int) -> loads.Load:
    """New blobs beside so many."""
    return loads.Load(f"POST 1 KiB beside {blobs:,}", "POST", loads.KIB)


@frozen
class Measurement:
    """How a directory of so many blobs is measured; ``base`` holds it."""

    base: Path
    blobs: int
    seconds: int
    """Of each load."""
    into: Growth

    def round(self, number: int, daemons: Daemons) -> None:
        """Start each daemon on the directory in turn, and put loads on it."""
        read, written = get_of(self.blobs), post_beside(self.blobs)
        now, *old = daemons.pair(watched=True)
        readers = [(before, [read]) for before in old]
        if self.blobs >= MANY:
            readers.append((evolve(daemons.pair()[0], name=WITHOUT_RECORDS), []))
        # Whoever is first may find something that is not in the page cache.
        for server, work in readers if number % 2 == 0 else reversed(readers):
            (self.base / "data" / RECORDS).unlink(missing_ok=True)
            self._start(server, number, work)
        if self.blobs >= MANY:
            self._restore_records(number)
        self._start(now, number, [read] if number else [read, written])
        if number == 0:
            remove_others(self.base / "data", self.blobs)
            if self.blobs == SCATTERED:
                uncached = daemons.with_setting("memory-cache", "0")
                if (reason := servers.why_not(uncached)) is None:
                    self._start(uncached, number, [read])
                else:
                    print(f"SKIPPED: {uncached.name}: {reason}", file=sys.stderr)

    def _restore_records(self, number: int) -> None:
        """Let the record cache be whole. To write it takes as long as a start, so only once."""
        records, kept = self.base / "data" / RECORDS, self.base / "records"
        records.unlink(missing_ok=True)
        if number:
            os.link(kept, records)
        else:
            kept.unlink(missing_ok=True)
            write_records(self.base / "data")
            os.link(records, kept)

    def _start(self, server: Server, number: int, work: list[loads.Load]) -> None:
        def ask(port: int) -> int:
            return servers.request(port, "GET", f"/store/{loads.GROWN}0")

        rest, loaded = -1.0, 0
        with servers.started(server, self.base, ask, PATIENCE) as here:
            rss, peak = measures.rss_kib(here.pid), measures.peak_kib(here.pid)
            if number == 0 and server.name == "gostore":
                spent = measures.cpu_seconds(here.pid)
                time.sleep(REST)
                rest = 100 * (measures.cpu_seconds(here.pid) - spent) / REST
            for load in work:
                self._load(load, here, number)
                loaded = loaded or measures.rss_kib(here.pid)
        start = Start(server.name, self.blobs, number, here.seconds, rss, peak, rest, loaded)
        self.into.starts.append(start)
        print(start, flush=True)

    def _load(self, load: loads.Load, here: Running, number: int) -> None:
        if here.server.watched:
            holds.taken(here)
        sample = loads.run(load, here, number, self.seconds, self.base)
        if sample.errors:
            raise RuntimeError(f"{load.name}: requests failed: {sample}")
        self.into.samples.append(sample)
        if here.server.watched:
            self.into.holds.append(holds.of(load.name, here.server.name, holds.taken(here)))


def bytes_a_blob(starts: list[Start], server: str = "gostore") -> dict[int, float]:
    """Memory that each blob takes, beyond the daemon that has the fewest, where there are many."""
    memory: dict[int, list[int]] = {}
    for each in starts:
        if each.server == server:
            memory.setdefault(each.blobs, []).append(each.rss_kib)
    if not memory:
        return {}
    least = min(memory)
    return {
        blobs: 1024 * (median(rss) - median(memory[least])) / (blobs - least)
        for blobs, rss in memory.items()
        if blobs >= MANY and blobs != least
    }


def cache_mib(starts: list[Start]) -> float | None:
    """Memory that reading scattered blobs has taken beyond what it takes without the cache."""
    grew: dict[str, list[int]] = {}
    for each in starts:
        if each.blobs == SCATTERED and each.loaded_kib:
            grew.setdefault(each.server, []).append(each.loaded_kib - each.rss_kib)
    if "gostore" not in grew or UNCACHED not in grew:
        return None
    return (max(grew["gostore"]) - median(grew[UNCACHED])) / 1024


def start_ratios(starts: list[Start], server: str, base: str, blobs: int) -> list[float]:
    """Seconds of a start over those of another server's, round by round."""
    seconds = {(s.server, s.round): s.seconds for s in starts if s.blobs == blobs}
    return [
        value / seconds[base, number]
        for (name, number), value in seconds.items()
        if name == server and (base, number) in seconds
    ]


def table(starts: list[Start]) -> str:
    """Starts and memory, as Markdown."""
    lines = [
        "| blobs | server | start s | RSS MiB | peak MiB | bytes a blob | CPU at rest |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    for blobs, server in dict.fromkeys((each.blobs, each.server) for each in starts):
        mine = [each for each in starts if (each.blobs, each.server) == (blobs, server)]
        seconds = " ".join(f"{each.seconds:.2f}" for each in mine)
        memory = bytes_a_blob(starts, server).get(blobs)
        rest = max(each.rest_cpu_percent for each in mine)
        lines.append(
            f"| {blobs:,} | {server} | {seconds} "
            f"| {median(each.rss_kib for each in mine) / 1024:.0f} "
            f"| {max(each.peak_kib for each in mine) / 1024:.0f} "
            f"| {'-' if memory is None else f'{memory:.0f}'} "
            f"| {'-' if rest < 0 else f'{rest:.0f} %'} |"
        )
    return "\n".join(lines)


def requests_table(samples: list[Sample]) -> str:
    """Reads and writes among so many, as Markdown."""
    lines = [
        "| load | server | requests/s | x before: median (min-max) | CPU us | p99 ms |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for load, server in dict.fromkeys((each.load, each.server) for each in samples):
        mine = [each for each in samples if (each.load, each.server) == (load, server)]
        ratio = ratios(samples, server, "before", load)
        lines.append(
            f"| {load} | {server} | {number(median(each.per_second for each in mine))} "
            f"| {ratio or '-'} | {number(median(each.cpu_us for each in mine))} "
            f"| {median(each.p99_ms for each in mine):.2f} |"
        )
    return "\n".join(lines)
