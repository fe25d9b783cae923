"""Daemons over one bucket of a SeaweedFS, beside the engine alone, asked with the same library.

The engine alone is asked from threads of this process for what a daemon asks it for: the same
objects, of the same sizes, in the same order, the steps that go out together at the same time. What
a daemon adds is everything else. Daemons are asked by wrk, each by a wrk of its own.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from attrs import evolve, frozen

from benchmarks import loads, measures, report, servers
from benchmarks.installed import Installed
from benchmarks.line import line
from benchmarks.loads import KIB, Load, Timed
from benchmarks.servers import Running, Server
from benchmarks.upkeep import Bucket, Sizes, Upkeep
from gostore.bucket.asking import Asker
from gostore.bucket.engine import Engine, Found, Missing
from gostore.bucket.objects import ObjectStoreEngine, memory_engine, s3_store
from gostore.bucket.protocol import Demand, Protocol
from gostore.bucket.staging import Staging, describe, finish, new_blob
from gostore.bucket.threads import THREADS
from gostore.store.interface import Details
from tests.e2e.seaweed import BUCKET, CREDENTIALS, start_seaweed

DAEMONS = (1, 2, 4)

CLIENTS = (1, 16)
"""Requests that are under way at a time: one shows what it takes, sixteen how many there are."""

POINTER, RECORD = 400, 500
"""Bytes of a pointer, and of a record."""

LOADS = tuple(evolve(each, connections=0) for each in (loads.GET, loads.POST, loads.PUT))

COUNTED = 20
"""Requests of each kind for the count of the engine's."""

LARGE_ENOUGH = 1 << 20
"""Bytes of a blob that counts as large."""

LINE = 64 * KIB**2
"""Bytes a second of the line to the engine, where that is the limit and not the processors."""

DELAY = 0.2
"""Seconds that each request takes in the simulation."""


@frozen
class Scaled:
    """One load in one round on so many daemons; none: on the engine alone.

    The times of several daemons are those of the slowest, and the processor time is that of all.
    """

    daemons: int
    load: str
    clients: int
    round: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    peak_kib: int
    """Of the daemon that takes most. 0: not looked at."""
    errors: int


@frozen
class Asked:
    """The requests to the engine for one request, by kind."""

    request: str
    kinds: dict[str, float]

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self.kinds.values())


@frozen
class Simulated:
    """What daemons do, each with its threads, over one store in memory behind a delay."""

    daemons: int
    load: str
    round: int
    per_second: float


@frozen
class Measured:
    """All that there is."""

    scaled: list[Scaled]
    asked: list[Asked]
    simulated: list[Simulated]
    upkeep: list[Upkeep]
    sizes: list[Sizes]


@frozen
class Measurement:
    """How it is measured, and into what."""

    installed: Installed
    base: Path
    scratch: Path
    rounds: int
    seconds: int
    large: int
    """MiB of the large blob; 0: none."""
    into: Measured

    def run(self) -> None:
        """Measure all of it. Raises RuntimeError if there is no engine."""
        self._simulate()
        os.environ.update(CREDENTIALS)
        shutil.rmtree(self.base, ignore_errors=True)
        self.base.mkdir(parents=True)
        seaweed = start_seaweed(self.base)
        try:
            for number in range(self.rounds):
                for daemons in DAEMONS:
                    with self._daemons(seaweed.endpoint, daemons, f"{number}-{daemons}") as here:
                        self._put_under(here, number)
                        if daemons == 1 and number == 0:
                            self.into.asked.extend(count_all(here[0]))
                store = s3_store(BUCKET, f"alone-{number}", seaweed.endpoint, None)
                self._ask_alone(store, number)
                if self.large:
                    self._through_a_line(seaweed.s3, number)
            store = s3_store(BUCKET, "upkeep", seaweed.endpoint, None)
            found, sizes = Bucket(ObjectStoreEngine(store)).measure()
            self.into.upkeep.extend(found)
            self.into.sizes.append(sizes)
        finally:
            seaweed.close()
            shutil.rmtree(self.base, ignore_errors=True)

    @contextmanager
    def _daemons(self, endpoint: str, count: int, prefix: str) -> Iterator[list[Running]]:
        def command(base: Path, port: int) -> list[str]:
            script = "from twisted.scripts.twistd import run; run()"
            twistd = [str(self.installed.python), "-c", script, "-n", "--pidfile=", "gostore"]
            where = ["--store", f"s3://{BUCKET}/{prefix}", "--s3-endpoint", endpoint]
            # Nothing but the load is asked of the engine.
            return [*twistd, *where, "-s", f"127.0.0.1:{port}", "--gc-interval", "86400"]

        server = Server("gostore", command, source=self.installed.source)
        with ExitStack() as stack:
            found = []
            for number in range(count):
                base = self.base / f"daemon{number}"
                base.mkdir(exist_ok=True)
                ready = servers.started(server, base, lambda port: get(port, "/readyz"))
                found.append(stack.enter_context(ready))
            yield found

    def _put_under(self, here: Sequence[Running], number: int) -> None:
        for load in LOADS:
            for clients in CLIENTS:
                if clients >= len(here):
                    self._note(self._small(load, clients, here, number))
        if len(here) == 1 and self.large:
            for load in loads.large(self.large * KIB**2):
                self._large(load, here[0], number)

    def _large(self, load: Load, here: Running, number: int) -> None:
        sample = loads.run(load, here, number, self.seconds, self.scratch)
        times = sample.per_second, sample.p50_ms, sample.p99_ms, sample.cpu_us
        peak = measures.peak_kib(here.pid)
        self._note(Scaled(1, load.name, 1, number, *times, peak, sample.errors))

    def _through_a_line(self, port: int, number: int) -> None:
        """Move half as many bytes, for both, where the engine might be another machine."""
        with line(port, LINE) as near:
            endpoint = f"http://127.0.0.1:{near}"
            store = s3_store(BUCKET, f"far-{number}", endpoint, None)
            with self._daemons(endpoint, 1, f"far-{number}") as here:
                for load in loads.large(self.large // 2 * KIB**2):
                    there = evolve(load, name=f"{LINE // KIB**2} MiB/s to the engine, {load.name}")
                    self._large(there, here[0], number)
                    self._transfer(there, store, number)

    def _transfer(self, load: Load, store: Any, number: int) -> None:
        act = partial(upload if load.writes else download, store, load.size)
        self._note(transferred(load.name, act, number))

    def _small(self, load: Load, clients: int, here: Sequence[Running], number: int) -> Scaled:
        def put(each: int) -> Timed:
            mine = evolve(load, connections=clients // len(here), prefix=prefixes[each])
            # New names must differ between the daemons, and between the rounds.
            return loads.by_wrk(mine, here[each], 1000 * number + each, self.seconds)

        # None for new names: they have a number of their own.
        prefixes = [f"{load.method}-{each}-" * bool(load.keys) for each in range(len(here))]
        for prefix, each in zip(prefixes, here, strict=True):
            each.fill((f"{prefix}{key}", b"x" * KIB) for key in range(load.keys))
            measures.cpu_seconds_at_rest(each.pid)
        before = sum(measures.cpu_seconds(each.pid) for each in here)
        with ThreadPoolExecutor(len(here)) as pool:
            found = list(pool.map(put, range(len(here))))
        spent = sum(measures.cpu_seconds_at_rest(each.pid) for each in here) - before
        return Scaled(
            len(here),
            load.name,
            clients,
            number,
            sum(each.count / each.seconds for each in found),
            max(each.p50_ms for each in found),
            max(each.p99_ms for each in found),
            1e6 * spent / sum(each.count for each in found),
            max(measures.peak_kib(each.pid) for each in here),
            sum(each.errors for each in found),
        )

    def _ask_alone(self, store: Any, number: int) -> None:
        alone = Alone(ObjectStoreEngine(store))
        for load in LOADS:
            for clients in CLIENTS:
                step = alone.prepared(load)
                self._note(timed(load.name, step, clients, number, self.seconds))
        if self.large:
            for load in loads.large(self.large * KIB**2):
                self._transfer(load, store, number)

    def _simulate(self) -> None:
        for number in range(self.rounds):
            for daemons in DAEMONS:
                for load in LOADS:
                    rate = simulated(load, daemons, self.seconds)
                    self.into.simulated.append(Simulated(daemons, load.name, number, rate))
                    print(self.into.simulated[-1], flush=True)

    def _note(self, found: Scaled) -> None:
        self.into.scaled.append(found)
        print(found, flush=True)


def get(port: int, path: str) -> int:
    """The status of a GET."""
    return servers.request(port, "GET", path)


# -- the engine alone -----------------------------------------------------------------------------


class Alone:
    """Does to the engine what a daemon does for a request. Its steps go out at the same time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(4 * max(CLIENTS))
        self._together = self._pool.map
        self._etags: dict[str, str] = {}

    def prepared(self, load: Load) -> Callable[[str], None]:
        """Write what a load needs; return what does it once, given the number of a client."""
        if load.keys:
            for key in range(load.keys):
                self._etags[f"{load.method}-{key}"] = self._engine.put(
                    f"locations/{load.method}-{key}", bytes(POINTER)
                )
                self._engine.put(f"blobs/{load.method}-{key}", bytes(load.size))
        return {"GET": self._get, "POST": self._post, "PUT": self._put}[load.method]

    def _get(self, name: str) -> None:
        key = f"GET-{hash(name) % loads.GET.keys}"
        self._engine.get(f"locations/{key}")
        self._engine.get(f"blobs/{key}")

    def _stage(self, pointer: str, name: str) -> None:
        def look() -> None:
            with suppress(Missing):
                self._engine.get(f"locations/{pointer}")

        steps: list[Callable[[], object]] = [
            lambda: self._engine.put(f"blobs/{name}/data", bytes(KIB)),
            lambda: self._engine.create(f"blobs/{name}/record", bytes(RECORD)),
        ]
        others = self._together(lambda step: step(), steps)
        look()
        list(others)

    def _post(self, name: str) -> None:
        self._stage(name, f"POST-{name}")
        self._engine.create(f"locations/{name}", bytes(POINTER))

    def _put(self, name: str) -> None:
        client, _, count = name.rpartition("-")
        # Each client has keys of its own, so that no swap fails.
        key = f"PUT-{(int(count) * max(CLIENTS) + int(client.rpartition('-')[2])) % _OWN}"
        self._stage(key, f"PUT-{name}")
        data = name.encode().ljust(POINTER)
        self._etags[key] = self._engine.swap(f"locations/{key}", data, self._etags[key])
        # Nobody waits for the marker.
        self._pool.submit(self._engine.put, f"garbage/{name}", key.encode())


_OWN = loads.PUT.keys - loads.PUT.keys % max(CLIENTS)


def timed(
    load: str, act: Callable[[str], None], clients: int, round: int, seconds: float
) -> Scaled:
    """Let clients act again and again, each as soon as it is done."""
    end = time.monotonic() + seconds

    def run(client: int) -> list[float]:
        # At least once, however late it is.
        took: list[float] = []
        count = 0
        while not took or time.monotonic() < end:
            count += 1
            began = time.monotonic()
            act(f"{round}-{clients}-{client}-{count}")
            took.append(time.monotonic() - began)
        return took

    before, began = time.process_time(), time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        took = sorted(each for some in pool.map(run, range(clients)) for each in some)
    rate = len(took) / (time.monotonic() - began)
    cpu = 1e6 * (time.process_time() - before) / len(took)
    p50, p99 = (1e3 * took[int(share * (len(took) - 1))] for share in (0.5, 0.99))
    return Scaled(0, load, clients, round, rate, p50, p99, cpu, 0, 0)


def upload(store: Any, size: int) -> None:
    """Upload so many bytes, a piece of 1 MiB at a time."""
    piece = bytes(1 << 20)
    ObjectStoreEngine(store).upload("large", (piece for _ in range(size >> 20)), size)


def download(store: Any, size: int) -> None:
    """Read them as one stream."""
    import obstore

    assert sum(len(piece) for piece in obstore.get(store, "large").stream()) == size


def transferred(load: str, act: Callable[[], None], round: int) -> Scaled:
    """The one in the middle of some transfers."""
    took, before = [], time.process_time()
    for _ in range(loads.TRANSFERS):
        began = time.monotonic()
        act()
        took.append(time.monotonic() - began)
    cpu = 1e6 * (time.process_time() - before) / len(took)
    middle = median(took)
    return Scaled(0, load, 1, round, 1 / middle, 1e3 * middle, 1e3 * max(took), cpu, 0, 0)


# -- what a request asks the engine for -----------------------------------------------------------


def count_all(here: Running) -> list[Asked]:
    """The requests to the engine of each kind of request, by the daemon's own count."""
    large = b"x" * LARGE_ENOUGH
    kinds: list[tuple[str, str, bytes | None]] = [
        ("POST 1 KiB", "POST", b"x" * KIB),
        ("GET 1 KiB", "GET", None),
        ("HEAD", "HEAD", None),
        ("PUT 1 KiB", "PUT", b"x" * KIB),
        ("DELETE", "DELETE", None),
        ("POST 1 MiB", "POST", large),
        ("GET 1 MiB", "GET", None),
    ]
    found = []
    connection = http.client.HTTPConnection("127.0.0.1", here.port, timeout=60)
    for name, method, body in kinds:
        before = engine_requests(here.port)
        for number in range(COUNTED):
            connection.request(method, f"/store/counted-{number}", body)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (200, 204):
                raise RuntimeError(f"{name}: {answer.status}")
        measures.cpu_seconds_at_rest(here.pid)
        spent = engine_requests(here.port)
        spent.subtract(before)
        found.append(Asked(name, {k: n / COUNTED for k, n in spent.items() if n}))
    return found


def engine_requests(port: int) -> Counter[str]:
    """What a daemon has asked the engine for so far, by kind."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    found: Counter[str] = Counter()
    for kind, count in re.findall(r'gostore_engine_requests_total{kind="(\w+)",.*?} (\S+)', text):
        found[kind] += int(float(count))
    return found


# -- the simulation -------------------------------------------------------------------------------


class Delayed:
    """Objects in memory, each request for which takes `DELAY`, however many there are."""

    def __init__(self, engine: ObjectStoreEngine) -> None:
        self._engine = engine

    def get(self, *arguments: Any) -> Found:
        """Later."""
        time.sleep(DELAY)
        return self._engine.get(*arguments)

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._engine, name)

        def later(*arguments: Any) -> Any:
            time.sleep(DELAY)
            return act(*arguments)

        return later


def simulated(load: Load, daemons: int, seconds: float) -> float:
    """The requests a second of daemons that share nothing but the objects."""
    objects = memory_engine()
    for key in range(load.keys):
        _write(_daemon(objects, None), f"{load.method}-{key}", exists=False)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(daemons))
        steps = [stack.enter_context(ThreadPoolExecutor(2 * THREADS)) for _ in range(daemons)]

        def run(number: int) -> float:
            daemon = _daemon(Delayed(objects), steps[number])
            act = {"GET": _read, "POST": _create, "PUT": _replace}[load.method]

            def once(name: str) -> None:
                act(daemon, f"{number}-{name}")

            return timed(load.name, once, THREADS, 0, seconds).per_second

        return sum(pool.map(run, range(daemons)))


def _daemon(engine: Any, steps: ThreadPoolExecutor | None) -> Protocol:
    def together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
        assert steps is not None
        others = [steps.submit(call) for call in calls[1:]]
        return [calls[0](), *(each.result() for each in others)]

    ask = Asker(engine) if steps is None else Asker(engine, together=together)
    return Protocol(ask, Staging(ask))


def _read(daemon: Protocol, name: str) -> None:
    until = time.monotonic() + 60
    daemon.data(daemon.get(f"GET-{hash(name) % loads.GET.keys}", until), None, until)


def _create(daemon: Protocol, name: str) -> None:
    _write(daemon, name, exists=False)


def _replace(daemon: Protocol, name: str) -> None:
    # Each client has a location of its own: others must not slow it down.
    number, _, _, client, _ = (int(each) for each in name.split("-"))
    _write(daemon, f"PUT-{number * THREADS + client}", exists=True)


def _write(daemon: Protocol, location: str, *, exists: bool) -> None:
    data, now = b"x" * KIB, time.time_ns()
    blob = new_blob(location, now, "", replaces=exists)
    describe(blob, Details(), now)
    finish(blob, now, data)
    daemon.write(blob, data, Demand(location, exists), time.monotonic() + 60)


# -- tables ---------------------------------------------------------------------------------------


def named(daemons: int) -> str:
    """Who was asked."""
    return "the engine alone" if not daemons else f"{daemons} daemon{'s' * (daemons > 1)}"


def table(found: Sequence[Scaled]) -> str:
    """All there is, as a Markdown table of medians."""
    lines = [
        "| load | clients | who | requests/s | p50 ms | p99 ms | CPU us | peak MiB | errors |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for load, clients, daemons in dict.fromkeys((e.load, e.clients, e.daemons) for e in found):
        mine = [e for e in found if (e.load, e.clients, e.daemons) == (load, clients, daemons)]
        peak = median(each.peak_kib for each in mine) / KIB
        lines.append(
            f"| {load} | {clients} | {named(daemons)} "
            f"| {report.number(median(each.per_second for each in mine))} "
            f"| {median(each.p50_ms for each in mine):.2f} "
            f"| {median(each.p99_ms for each in mine):.2f} "
            f"| {report.number(median(each.cpu_us for each in mine))} "
            f"| {f'{peak:.0f}' if peak else '-'} | {sum(each.errors for each in mine)} |"
        )
    return "\n".join(lines)


def asked_table(found: Sequence[Asked]) -> str:
    """Requests to the engine for each request, as Markdown."""
    lines = ["| request | requests to the engine | which |", "|---|--:|---|"]
    for each in found:
        which = ", ".join(f"{count:g} {kind}" for kind, count in sorted(each.kinds.items()))
        lines.append(f"| {each.request} | {each.total:g} | {which} |")
    return "\n".join(lines)


def simulated_table(found: Sequence[Simulated]) -> str:
    """Requests a second of so many daemons, as Markdown."""
    counts = sorted({each.daemons for each in found})
    lines = [
        f"| load | {' | '.join(named(count) for count in counts)} | x 1 daemon |",
        "|---" + "|--:" * (len(counts) + 1) + "|",
    ]
    for load in dict.fromkeys(each.load for each in found):
        rates = [
            median(e.per_second for e in found if (e.load, e.daemons) == (load, count))
            for count in counts
        ]
        cells = " | ".join(report.number(rate) for rate in rates)
        lines.append(f"| {load} | {cells} | {rates[-1] / rates[0]:.2f} |")
    return "\n".join(lines)


def added_ms(found: Iterable[Scaled], load: str) -> list[float]:
    """What one daemon adds to the engine's time of a request, alone, by round."""
    alone = {(e.daemons, e.round): e.p50_ms for e in found if (e.load, e.clients) == (load, 1)}
    return [ms - alone[0, at] for (who, at), ms in alone.items() if who == 1 and (0, at) in alone]


def of_alone(found: Iterable[Scaled], load: str) -> list[float]:
    """What one daemon does of what the engine does alone, by round."""
    rates = {(e.daemons, e.round): e.per_second for e in found if e.load == load and e.clients == 1}
    return [v / rates[0, at] for (who, at), v in rates.items() if who == 1 and (0, at) in rates]


def times_one(found: Iterable[Simulated], load: str) -> list[float]:
    """What the most daemons do of what one does, by round."""
    rates = {(e.daemons, e.round): e.per_second for e in found if e.load == load}
    most = max(DAEMONS)
    return [v / rates[1, at] for (who, at), v in rates.items() if who == most]
