"""The work that servers are given, and what one run of it gave."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

from attrs import evolve, frozen

from benchmarks import measures
from benchmarks.servers import Running

KIB = 1024
TRANSFERS = 3
"""Large ones in a row; the median of them is the figure."""

KEPT = 100
"""Blobs that are PUT before they are read."""

GROWN = "grown-"
"""What the names of many blobs begin with; a number follows."""

LUA = Path(__file__).with_name("load.lua")


@frozen
class Load:
    """Requests of one kind: by wrk over ``connections``, or one at a time by curl where it is 0."""

    name: str
    method: str
    size: int
    connections: int = 32
    beside: bool = False
    """Whether others PUT blobs of this size over 8 connections all the while."""
    grown: int = 0
    """Read from so many blobs that are there already, in place of 100 that are PUT first."""


SMALL = (
    Load("GET 1 KiB", "GET", KIB),
    Load("PUT 1 KiB", "PUT", KIB),
    Load("POST 1 KiB", "POST", KIB),
    Load("GET 64 KiB", "GET", 64 * KIB),
    Load("PUT 64 KiB", "PUT", 64 * KIB),
    Load("POST 64 KiB", "POST", 64 * KIB),
)

ON_TMPFS = tuple(evolve(load, name=f"{load.name} (tmpfs)") for load in SMALL[:3])
"""What is measured a second time without a disk."""

# The server that answers 32 connections is measured in any case; these are for how it goes on.
MORE = (
    *(Load(f"GET 1 KiB, {each} connections", "GET", KIB, each) for each in (1, 8, 128, 1000)),
    Load("GET 1 KiB while PUTs run", "GET", KIB, beside=True),
)


def connections(load: str, plain: bool = False) -> int | None:
    """Over how many connections 1 KiB was read, if the name of the load says so.

    With ``plain`` the load without a number, over 32 of them, counts, too.
    """
    match = re.fullmatch(r"GET 1 KiB, (\d+) connections", load)
    if match is None:
        return 32 if plain and load == "GET 1 KiB" else None
    return int(match[1])


def large(size: int) -> tuple[Load, ...]:
    """A large upload, then its download."""
    name = f"{size // KIB**2} MiB"
    return (Load(f"PUT {name}", "PUT", size, 0), Load(f"GET {name}", "GET", size, 0))


@frozen
class Sample:
    """One load on one server in one round. Times in seconds where the name says nothing else."""

    server: str
    load: str
    round: int
    per_second: float
    """Requests a second."""
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Microseconds of processor time of all the server's processes, for each request."""
    peak_kib: int
    errors: int


def run(load: Load, here: Running, round: int, seconds: int, scratch: Path) -> Sample | None:
    """Put a load on a server; None where the server has no such thing."""
    if load.method == "POST" and not here.server.posts:
        return None
    if load.method == "GET" and load.connections and not load.grown:
        for number in range(KEPT):
            here.put(f"kept-{load.size}-{number}", b"x" * load.size)
    before = measures.cpu_seconds(here.pid)
    if load.connections:
        with _putting(load, here, round, seconds) if load.beside else nullcontext():
            count, elapsed, p50, p99, errors = _wrk(load, here, round, seconds)
    else:
        count, elapsed, p50, p99, errors = _curl(load, here, scratch)
    spent = measures.cpu_seconds(here.pid) - before
    return Sample(
        server=here.server.name,
        load=load.name,
        round=round,
        per_second=count / elapsed,
        p50_ms=p50,
        p99_ms=p99,
        cpu_us=1e6 * spent / max(count, 1),
        peak_kib=measures.peak_kib(here.pid),
        errors=errors,
    )


def _command(load: Load, here: Running, round: int, seconds: int) -> list[str]:
    if load.method == "GET":
        prefix = GROWN if load.grown else f"kept-{load.size}-"
    else:
        prefix = f"{load.method}-{load.size}-{round}-{load.connections}-"
    count = load.grown or KEPT
    url = f"http://127.0.0.1:{here.port}"
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "20s"]
    return [*command, "-s", str(LUA), url, "--", load.method, str(load.size), prefix, str(count)]


@contextmanager
def _putting(load: Load, here: Running, round: int, seconds: int) -> Iterator[None]:
    others = evolve(load, method="PUT", connections=8)
    command = _command(others, here, round, seconds + 60)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def _wrk(
    load: Load, here: Running, round: int, seconds: int
) -> tuple[int, float, float, float, int]:
    command = _command(load, here, round, seconds)
    output = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=seconds + 60
    ).stdout
    numbers = next(line for line in output.splitlines() if line.startswith("RESULT "))
    count, micros, p50, p99, errors = (int(each) for each in numbers.split()[1:])
    return count, micros / 1e6, p50 / 1e3, p99 / 1e3, errors


def _curl(load: Load, here: Running, scratch: Path) -> tuple[int, float, float, float, int]:
    source = scratch / "large"
    if not source.exists() or source.stat().st_size != load.size:
        with source.open("wb") as file:
            for _ in range(load.size // KIB**2):
                file.write(b"x" * KIB**2)
    command = ["curl", "-sS", "--fail", "--max-time", "300", "-o", "/dev/null"]
    if load.method == "PUT":
        command += ["-H", "Expect:", "-T", str(source)]
    times, errors = [], 0
    for _ in range(TRANSFERS):
        began = time.monotonic()
        done = subprocess.run([*command, here.url("kept-large")], timeout=330)
        times.append(time.monotonic() - began)
        errors += done.returncode != 0
    middle = median(times)
    # As if each had taken as long as the one in the middle.
    return TRANSFERS, TRANSFERS * middle, 1e3 * middle, 1e3 * max(times), errors
