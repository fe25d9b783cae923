"""A minute of small writes, and what comes after it: files made behind the answers, and collection.

The clock stops when the file of every acknowledged blob is in the data directory.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

from attrs import frozen

from benchmarks import loads, measures
from benchmarks.loads import Load
from benchmarks.servers import PATIENCE, Running
from gostore import statefile

LOADS = (loads.POST, loads.PUT)

FILES = ("data.raw", statefile.NAME)

LOOK = 0.05
"""Seconds between two looks at the data directory."""

LONGEST = 300.0
"""Seconds in which all garbage has to be gone."""

BEGINNING = 3
"""A share of the load: the memory after it is held against that at the end."""


@frozen
class Sustained:
    """One load for a long time on one server. Times in seconds where the name says nothing else."""

    server: str
    load: str
    seconds: float
    behind: float
    """From the last answer until all files were there."""
    collected: float
    """From the last answer until nothing dead was left."""
    acknowledged: int
    errors: int
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """For each request, until the server was at rest."""
    rss_kib: list[int]
    """Once a second."""

    @property
    def per_second(self) -> float:
        """Acknowledged requests, until their files were there."""
        return self.acknowledged / (self.seconds + self.behind)

    @property
    def growth_kib(self) -> int:
        """Memory that came after the first third."""
        return self.rss_kib[-1] - self.rss_kib[len(self.rss_kib) // BEGINNING]


def run(load: Load, here: Running, seconds: int) -> Sustained:
    """Put the load on a gostore. Raises RuntimeError if it never makes the files it owes."""
    loads.prepare(load, here)
    data = here.base / "data"
    there = len(directories(data))
    before = measures.cpu_seconds(here.pid)
    with _memory(here.pid) as rss:
        timed = loads.by_wrk(load, here, 0, seconds)
        ended = time.monotonic()
        if load.keys:
            names = [f"kept-{load.method}-{load.size}-{number}" for number in range(load.keys)]
            behind = _until(lambda: are_kept(data, bodies(here.port, names)), ended)
        else:
            expected = there + timed.acknowledged
            behind = _until(lambda: are_whole(data, expected), ended)
        live = there if load.keys else len(directories(data))
        collected = _until(lambda: len(directories(data)) <= live, ended, LONGEST)
        spent = measures.cpu_seconds_at_rest(here.pid) - before
        rss.append(measures.rss_kib(here.pid))
    return Sustained(
        server=here.server.name,
        load=load.name,
        seconds=timed.seconds,
        behind=behind,
        collected=collected,
        acknowledged=timed.acknowledged,
        errors=timed.errors,
        p50_ms=timed.p50_ms,
        p99_ms=timed.p99_ms,
        cpu_us=1e6 * spent / max(timed.count, 1),
        rss_kib=rss,
    )


def directories(data: Path) -> list[str]:
    """The names of the blobs' directories."""
    return [name for name in os.listdir(data) if name.isdigit()]


def are_whole(data: Path, expected: int) -> bool:
    """Whether there are so many directories of blobs, and all of them have their files."""
    names = directories(data)
    return len(names) >= expected and all(
        os.path.exists(f"{data}/{name}/{file}") for name in names for file in FILES
    )


def are_kept(data: Path, wanted: set[bytes]) -> bool:
    """Whether all these bodies are in files."""
    kept = set()
    for name in directories(data):
        try:
            kept.add((data / name / FILES[0]).read_bytes())
        except FileNotFoundError:
            # It was collected meanwhile, or is being made.
            continue
    return wanted <= kept


def bodies(port: int, names: list[str]) -> set[bytes]:
    """What a server says that blobs are."""
    found = set()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with closing(connection):
        for name in names:
            connection.request("GET", f"/store/{name}")
            answer = connection.getresponse()
            found.add(answer.read())
            if answer.status != 200:
                raise RuntimeError(f"GET {name}: {answer.status}")
    return found


def _until(is_done: Callable[[], bool], began: float, patience: float = PATIENCE) -> float:
    """Seconds since ``began`` when something is done."""
    while True:
        # What looking takes is not the server's.
        looked = time.monotonic()
        if is_done():
            return looked - began
        if looked > began + patience:
            raise RuntimeError(f"Files are not as they should be after {patience:.0f} seconds")
        time.sleep(LOOK)


@contextmanager
def _memory(pid: int) -> Iterator[list[int]]:
    """The memory of a process, looked at once a second."""
    found, ended = list[int](), Event()

    def look() -> None:
        while not ended.wait(1):
            found.append(measures.rss_kib(pid))

    thread = Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def table(found: list[Sustained]) -> str:
    """As Markdown."""
    lines = [
        "| load | server | s | acknowledged | files behind, s | garbage gone, s | requests/s "
        "| CPU us | p50 ms | p99 ms | memory grew, MiB |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in found:
        lines.append(
            f"| {each.load} | {each.server} | {each.seconds:.0f} | {each.acknowledged:,} "
            f"| {each.behind:.2f} | {each.collected:.1f} | {each.per_second:,.0f} "
            f"| {each.cpu_us:.0f} | {each.p50_ms:.2f} | {each.p99_ms:.2f} "
            f"| {each.growth_kib / 1024:.1f} |"
        )
    return "\n".join(lines)
