"""The work that servers are given, and what one run of it gave."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

from attrs import evolve, frozen

from benchmarks import measures
from benchmarks.servers import Running, Server

KIB = 1024
TRANSFERS = 3
"""Large ones in a row; the median of them is the figure."""

HOT = 100
"""Blobs that are read again and again."""

KEYS = 500
"""Blobs that are overwritten again and again."""

GROWN = "grown-"
"""What the names of many blobs begin with; a number follows."""

LUA = Path(__file__).with_name("load.lua")


@frozen
class Load:
    """Requests of one kind: by wrk over ``connections``, or one at a time by curl where it is 0.

    POST stores blobs that are new; a server that has no POST gets a PUT.
    """

    name: str
    method: str
    size: int
    connections: int = 32
    keys: int = 0
    """So many blobs are read or overwritten in turn, and stored first; 0: new ones are stored."""
    beside: bool = False
    """Whether others store blobs of this size over 8 connections all the while."""
    prefix: str = ""
    """What the names of the blobs begin with, if they are there already."""

    @property
    def writes(self) -> bool:
        """Whether it stores anything."""
        return self.method != "GET"


def _small(method: str, size: int, keys: int = 0, connections: int = 32) -> Load:
    name = f"{method} {size // KIB} KiB"
    if method == "PUT":
        name += f" over {keys} keys"
    if connections != 32:
        name += f", {connections} connections"
    return Load(name, method, size, connections, keys)


GET, POST, PUT = _small("GET", KIB, HOT), _small("POST", KIB), _small("PUT", KIB, KEYS)
GET_64, POST_64 = _small("GET", 64 * KIB, HOT), _small("POST", 64 * KIB)
PUT_64 = _small("PUT", 64 * KIB, KEYS)
SMALL = (GET, POST, PUT, GET_64, POST_64, PUT_64)

BESIDE = Load("GET 1 KiB while POSTs run", "GET", KIB, keys=HOT, beside=True)

COUNTS = (1, 8, 128, 1000)
"""Of connections, beside the 32 that every small load has."""

# For the daemon that is measured, and the one that it is held against.
MORE = (
    *(
        _small(load.method, KIB, load.keys, count)
        for load in (POST, PUT, GET)
        for count in COUNTS
        if count < 1000 or load is not PUT
    ),
    BESIDE,
)


def connections(load: str, method: str = "GET") -> int | None:
    """Over how many connections 1 KiB was read or written, if that is what the load is."""
    match = re.fullmatch(rf"{method} 1 KiB[^,]*?(?:, (\d+) connections)?", load)
    if match is None or load == BESIDE.name:
        return None
    return int(match[1] or 32)


def large(size: int) -> tuple[Load, ...]:
    """A large upload, then its download."""
    name = f"{size // KIB**2} MiB"
    return (Load(f"PUT {name}", "PUT", size, 0), Load(f"GET {name}", "GET", size, 0))


def is_for(load: Load, server: Server) -> bool:
    """Whether a server is put under a load."""
    if server.name in ("gostore", "before"):
        return True
    if server.synced or server.setting is not None:
        return load.writes and load not in MORE
    return load not in MORE


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
    p999_ms: float
    cpu_us: float
    """Microseconds of processor time of all the server's processes, for each request. What the
    server does after its answers counts, too."""
    peak_kib: int
    errors: int


@frozen
class Timed:
    """What a program that makes requests says of them."""

    count: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    errors: int

    @property
    def acknowledged(self) -> int:
        """Requests that succeeded."""
        return self.count - self.errors


def prepare(load: Load, here: Running) -> None:
    """Store what the load reads or overwrites, and let the server come to rest."""
    if load.connections and load.keys and not load.prefix:
        bodies = ((f"{_prefix(load)}{number}", b"x" * load.size) for number in range(load.keys))
        here.fill(bodies)
        measures.cpu_seconds_at_rest(here.pid)


def run(load: Load, here: Running, round: int, seconds: int, scratch: Path) -> Sample:
    """Put a load on a server."""
    prepare(load, here)
    before = measures.cpu_seconds(here.pid)
    if load.connections:
        with _storing(load, here, round, seconds) if load.beside else nullcontext():
            timed = by_wrk(load, here, round, seconds)
    else:
        timed = _by_curl(load, here, scratch)
    spent = measures.cpu_seconds_at_rest(here.pid) - before
    return Sample(
        server=here.server.name,
        load=load.name,
        round=round,
        per_second=timed.count / timed.seconds,
        p50_ms=timed.p50_ms,
        p99_ms=timed.p99_ms,
        p999_ms=timed.p999_ms,
        cpu_us=1e6 * spent / max(timed.count, 1),
        peak_kib=measures.peak_kib(here.pid),
        errors=timed.errors,
    )


def _prefix(load: Load) -> str:
    # Klein keeps only what is called so.
    return load.prefix or f"kept-{load.method}-{load.size}-"


def _command(load: Load, here: Running, round: int, seconds: int) -> list[str]:
    method, prefix = load.method, _prefix(load)
    if not load.keys:
        prefix = f"new-{load.size}-{round}-{load.connections}-"
        method = "POST" if here.server.posts else "PUT"
    # A thread for each connection if it waits for the disk, too.
    threads = load.connections if here.server.synced else 1
    command = ["wrk", f"-t{threads}", f"-c{load.connections}", f"-d{seconds}s"]
    command += ["--timeout", "20s", "-s", str(LUA), f"http://127.0.0.1:{here.port}", "--"]
    command += [method, str(load.size), prefix, str(load.keys)]
    return command + [f"{here.file('')}/"] * here.server.synced


@contextmanager
def _storing(load: Load, here: Running, round: int, seconds: int) -> Iterator[None]:
    others = evolve(load, method="POST", keys=0, connections=8)
    command = _command(others, here, round, seconds + 60)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def by_wrk(load: Load, here: Running, round: int, seconds: int) -> Timed:
    """Let wrk make the requests."""
    command = _command(load, here, round, seconds)
    output = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=seconds + 60
    ).stdout
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise RuntimeError(f"wrk: {output}")
    count, micros, p50, p99, p999, errors = (int(each) for each in line.split()[1:])
    return Timed(count, micros / 1e6, p50 / 1e3, p99 / 1e3, p999 / 1e3, errors)


def _by_curl(load: Load, here: Running, scratch: Path) -> Timed:
    source = scratch / "large"
    if not source.exists() or source.stat().st_size != load.size:
        with source.open("wb") as file:
            for _ in range(load.size // KIB**2):
                file.write(b"x" * KIB**2)
    name = "kept-large"
    command = ["curl", "-sS", "--fail", "--max-time", "300", "-o", "/dev/null"]
    if load.writes:
        # Something to overwrite, also where a PUT creates nothing.
        here.fill([(name, b"x")])
        command += ["-H", "Expect:", "-T", str(source)]
    times, errors = [], 0
    for _ in range(TRANSFERS):
        began = time.monotonic()
        # With a timeout it would sleep between two looks, for up to 50 ms: curl has its own.
        done = subprocess.run([*command, here.url(name)])
        if here.server.synced:
            _sync(here.file(name))
        times.append(time.monotonic() - began)
        errors += done.returncode != 0
    middle, most = median(times), max(times)
    # As if each had taken as long as the one in the middle.
    return Timed(TRANSFERS, TRANSFERS * middle, 1e3 * middle, 1e3 * most, 1e3 * most, errors)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
