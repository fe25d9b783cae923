"""The arithmetic of the benchmarks, and that what they measure with works; nothing is timed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks import (
    calls,
    collection,
    growth,
    holds,
    installed,
    layout,
    loads,
    page,
    report,
    results,
    scale,
    servers,
    sustained,
    targets,
    tricks,
    upkeep,
)
from benchmarks.calls import Calls
from benchmarks.collection import Collection
from benchmarks.growth import Start
from benchmarks.holds import Hold
from benchmarks.installed import ROOT
from benchmarks.loads import Sample
from benchmarks.report import Spread, number, ratios, spread, table
from benchmarks.results import Heading, Results
from benchmarks.starts import write_records
from benchmarks.sustained import Sustained
from benchmarks.targets import Target
from benchmarks.watched import Watch
from gostore.bucket.objects import memory_engine
from gostore.volume.recovery import records
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume


def sample(server: str, load: str, number: int, per_second: float, errors: int = 0) -> Sample:
    """A sample of which only the speed matters."""
    return Sample(server, load, number, per_second, 1.0, 2.0, 2.5, 3.0, 4096, errors)


def start(
    blobs: int, rss_kib: int, seconds: float = 1.0, server: str = "gostore", loaded_kib: int = 0
) -> Start:
    """A start on so many blobs, as far as it matters here."""
    return Start(server, blobs, 0, seconds, rss_kib, rss_kib, -1, loaded_kib)


def scaled(daemons: int, load: str, number: int, p50_ms: float) -> scale.Scaled:
    """A load with one client of which only the time matters."""
    return scale.Scaled(daemons, load, 1, number, 1e3 / p50_ms, p50_ms, p50_ms, 1.0, 2048, 0)


DAEMONS = servers.Daemons(installed.HERE)
HEADING = Heading("2026-11-30", "abcdef0", "make bench", "machine", "3.11", "ext4", 0.5)


class RatioTests(SynchronousTestCase):
    """Ratios are taken within a round, then spread over the rounds."""

    def test_spread(self) -> None:
        """The median of an even number of values lies between the middle two."""
        self.assertEqual(spread([4, 1, 3, 2]), Spread(2.5, 1, 4))

    def test_round_by_round(self) -> None:
        """A figure is divided by the other server's of the same round, not of another."""
        fast = [sample("a", "GET", number, speed) for number, speed in enumerate((10, 40, 90))]
        slow = [sample("b", "GET", number, speed) for number, speed in enumerate((10, 20, 30))]
        self.assertEqual(ratios(fast + slow, "a", "b", "GET"), Spread(2, 1, 3))

    def test_other_figures(self) -> None:
        """Any figure of a sample makes a ratio."""
        found = [sample("a", "GET", 0, 6), evolve(sample("b", "GET", 0, 6), p99_ms=8.0)]
        self.assertEqual(ratios(found, "a", "b", "GET", targets.p99), Spread(0.25, 0.25, 0.25))

    def test_errors_are_no_figure(self) -> None:
        """A round in which requests failed counts for nothing, and its errors are shown."""
        samples = [sample("a", "GET", 0, 6, errors=7), sample("b", "GET", 0, 3)]
        self.assertIsNone(ratios(samples, "a", "b", "GET"))
        self.assertIn(
            "| GET | a | 6 | - | - | 1.00 | 2.00 | 2.50 | 3 | - | 4 | 7 |", table(samples, "b")
        )

    def test_numbers(self) -> None:
        """Figures are written without exponents, large ones with commas."""
        self.assertEqual(
            [number(each) for each in (12345.6, 100, 56.71)], ["12,346", "100", "56.7"]
        )

    def test_connections(self) -> None:
        """How many connections a load has is read from its name; the plain one has 32."""
        self.assertEqual(loads.connections("GET 1 KiB, 1000 connections"), 1000)
        self.assertEqual(loads.connections("GET 1 KiB"), 32)
        self.assertEqual(loads.connections("PUT 1 KiB over 500 keys, 8 connections", "PUT"), 8)
        self.assertIsNone(loads.connections("POST 1 KiB"))
        self.assertIsNone(loads.connections(loads.BESIDE.name))

    def test_who_gets_what(self) -> None:
        """gostore and its former self get all loads, peers the plain ones, nginx + sync writes."""
        nginx, synced = servers.PEERS[:2]
        self.assertTrue(all(loads.is_for(each, DAEMONS.pair()[0]) for each in loads.MORE))
        self.assertFalse(any(loads.is_for(each, nginx) for each in loads.MORE))
        self.assertTrue(loads.is_for(loads.GET, nginx))
        self.assertFalse(loads.is_for(loads.GET, synced))
        self.assertTrue(loads.is_for(loads.POST, synced))


class Answering(BaseHTTPRequestHandler):
    """A server that keeps nothing, and answers 500 for some names."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Read a body; make the file that it would be."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, len(body)))  # type: ignore[attr-defined]
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class WrkTests(SynchronousTestCase):
    """What load.lua has wrk do; skipped where there is no wrk."""

    def setUp(self) -> None:
        if shutil.which("wrk") is None:
            raise SkipTest("There is no wrk, with which make bench loads servers")
        self.server = HTTPServer(("127.0.0.1", 0), Answering)
        self.server.bodies = []  # type: ignore[attr-defined]
        thread = Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        base = Path(self.mktemp()).absolute()
        (base / "data" / "store").mkdir(parents=True)
        self.here = servers.Running(servers.PEERS[1], self.server.server_address[1], 1, base, 0.0)

    def put(self, keys: int) -> tuple[loads.Timed, list[tuple[str, int]]]:
        """One connection PUTs for a second; returns what wrk says, and what the server got."""
        load = loads.Load("PUT", "PUT", 1024, 1, keys)
        found = loads.by_wrk(load, self.here, 0, 1)
        return found, self.server.bodies  # type: ignore[attr-defined]

    def test_over_and_new(self) -> None:
        """A few names are written in turn, or no name twice; all bodies are of the size."""
        _, bodies = self.put(keys=3)
        names = {name for name, _ in bodies}
        self.assertEqual(names, {f"/store/kept-PUT-1024-{key}" for key in range(3)})
        self.assertEqual({size for _, size in bodies}, {1024})
        bodies.clear()
        self.put(keys=0)
        self.assertEqual(len({name for name, _ in bodies}), len(bodies))

    def test_sync(self) -> None:
        """A file that is to be synced and is not there is an error; one that is there is none."""
        missing, _ = self.put(keys=1)
        self.assertEqual((missing.acknowledged, missing.count > 0), (0, True))
        self.here.file("kept-PUT-1024-0").touch()
        there, _ = self.put(keys=1)
        self.assertEqual((there.errors, there.p50_ms > 0), (0, True))


class Poller:
    """A poller that has nothing to tell."""

    def __init__(self) -> None:
        self.registered: list[int] = []

    def poll(self, timeout: float, most: int) -> list[Any]:
        """Nothing is ready."""
        return []

    def register(self, fd: int) -> None:
        """Remember a descriptor."""
        self.registered.append(fd)


class WatchTests(SynchronousTestCase):
    """The watch notes how long the reactor is held."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp())
        self.poller = Poller()
        # Every look at the clock takes a second; one at the processor's, ten.
        wall, cpu = iter(range(0, 1000)), iter(range(0, 10000, 10))
        self.watch = Watch(self.poller, lambda: next(wall), lambda: next(cpu))

    def turns(self) -> list[tuple[float, float]]:
        """What the watch has noted, by way of its file."""
        self.watch.write(self.file)
        return holds.parsed(self.file.read_bytes())

    def test_between_polls(self) -> None:
        """A turn lasts from the return of a poll to the next; the time in a poll is none."""
        for _ in range(3):
            self.watch.poll(1, 1)
        self.assertEqual(self.turns(), [(1, 10), (1, 10)])

    def test_forgets(self) -> None:
        """What was written is forgotten, and so is the turn in which it was."""
        for _ in range(3):
            self.watch.poll(1, 1)
        self.turns()
        self.watch.poll(1, 1)
        self.assertEqual(self.turns(), [])

    def test_stands_in(self) -> None:
        """Whatever else the reactor asks of its poller it gets."""
        self.watch.register(7)
        self.assertEqual(self.poller.registered, [7])

    def test_sum(self) -> None:
        """The longest turn, and the one with the most processor time, may be two."""
        turns = [(0.001, 0.001)] * 1997 + [(0.030, 0.002), (0.025, 0.021), (0.02, 0.02)]
        self.assertEqual(
            holds.of("GET", "gostore", turns),
            Hold("GET", "gostore", 2000, 30, 21, p999_ms=25, over=1, over_cpu=0),
        )

    def test_daemon(self) -> None:
        """The reactor of a daemon that runs under the watch is watched."""
        watched = DAEMONS.pair(watched=True)[0]
        with servers.running(watched, Path(self.mktemp()).absolute()) as here:
            self.assertGreater(len(holds.taken(here)), 0)
            here.fill([("again", b"again")])
            turns = holds.taken(here)
        self.assertGreater(min(cpu for _, cpu in turns), 0)


class CallsTests(SynchronousTestCase):
    """strace's summary is read, and divided by the requests."""

    SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           1       300        12 futex
 40.00    0.000400           2       200           sendto
  0.00    0.000000           0         1           mmap
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           1       501        12 total
"""

    def test_parse(self) -> None:
        """The calls are counted, the failed ones with them; the rules and the sum are not."""
        self.assertEqual(calls.parse(self.SUMMARY), {"futex": 300, "sendto": 200, "mmap": 1})

    def test_table(self) -> None:
        """Each method has a column; what is rare in all of them is added up."""
        found = [
            Calls("GET", 200, calls.parse(self.SUMMARY)),
            Calls("PUT", 100, {"fsync": 100}),
        ]
        rows = calls.table(found).splitlines()
        self.assertEqual(
            rows[2:],
            [
                "| futex | 1.500 | 0.000 |",
                "| fsync | 0.000 | 1.000 |",
                "| sendto | 1.000 | 0.000 |",
                "| all others | 0.005 | 0.000 |",
                "| total | 2.505 | 1.000 |",
            ],
        )


class GrowthTests(SynchronousTestCase):
    """Directories of many blobs, and what each blob costs."""

    def test_memory(self) -> None:
        """Memory a blob is what many take beyond the fewest; few cannot be told from none."""
        found = [start(1, 1000), start(1001, 1001), start(20_001, 11_000)]
        self.assertEqual(growth.bytes_a_blob(found), {20_001: 512})
        self.assertEqual(growth.bytes_a_blob(found[2:]), {})
        self.assertEqual(growth.bytes_a_blob(found, "before"), {})

    def test_cache(self) -> None:
        """The answer cache takes what reads cost beyond the daemon that has none."""
        found = [
            start(growth.SCATTERED, 1000, loaded_kib=1000 + 40 * 1024),
            start(growth.SCATTERED, 900, server=growth.UNCACHED, loaded_kib=900 + 10 * 1024),
        ]
        self.assertEqual(growth.cache_mib(found), 30)
        self.assertIsNone(growth.cache_mib(found[:1]))

    def test_make(self) -> None:
        """What is made is a store's, blob by blob, and can grow."""
        path = Path(self.mktemp()).absolute()
        growth.make(path, 0, 2, flush=False)
        growth.make(path, 2, 5, flush=False)
        volume = Volume(str(path))
        # To open it would flush the file system, with all that others have written there.
        volume.look()
        self.addCleanup(volume.close)
        found = scan(volume)
        self.assertEqual(sorted(found.live), [f"grown-{number}" for number in range(5)])
        self.assertEqual(str(evolve(found, live={})), str(Findings(generation=5, ids=found.ids)))

    def test_write_records(self) -> None:
        """The next start need not read a record."""
        path = Path(self.mktemp()).absolute()
        growth.make(path, 0, 3, flush=False)
        self.patch(records, "RECENT", -(1 << 60))
        volume = Volume(str(path))
        volume.look()
        self.addCleanup(volume.close)
        if not volume.disk.ctime_trusted(volume.directory.root):
            raise SkipTest("no cache on this file system")
        volume.close()
        write_records(path)
        volume.look()
        self.assertEqual(scan(volume).trusted, 3)

    def test_remove_others(self) -> None:
        """What was stored beside them is removed, and nothing else."""
        path = Path(self.mktemp()).absolute()
        growth.make(path, 0, 3, flush=False)
        before = sorted(path.iterdir())
        (path / "9" / "data.raw").mkdir(parents=True)
        growth.remove_others(path, 3, flush=False)
        self.assertEqual(sorted(path.iterdir()), before)


class SustainedTests(SynchronousTestCase):
    """The clock runs until the files of all acknowledged blobs are there."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp()).absolute()
        growth.make(self.data, 0, 3, flush=False)

    def test_whole(self) -> None:
        """Each blob needs a directory with both files; what is no blob's does not count."""
        (self.data / ".records").touch()
        self.assertTrue(sustained.are_whole(self.data, 3))
        self.assertFalse(sustained.are_whole(self.data, 4))
        (self.data / sustained.directories(self.data)[0] / "data.raw").unlink()
        self.assertFalse(sustained.are_whole(self.data, 3))

    def test_kept(self) -> None:
        """Each body that the server answers with has to be in a file."""
        bodies = {f"{number:1024}".encode() for number in range(3)}
        self.assertTrue(sustained.are_kept(self.data, bodies))
        self.assertFalse(sustained.are_kept(self.data, bodies | {b"behind"}))

    def test_figures(self) -> None:
        """Time behind the answers counts; memory is that of the end beside the first third."""
        found = Sustained("s", "l", 2.0, 0.5, 5.0, 10, 0, 1, 2, 3, [10, 20, 25, 25, 25, 28])
        self.assertEqual((found.per_second, found.growth_kib), (4, 3))


class LayoutTests(SynchronousTestCase):
    """The bare loops make the files of blobs."""

    def test_same_files(self) -> None:
        """C and Python make the same files of the same sizes, of every kind."""
        program = layout.compiled(Path(self.mktemp_directory()))
        if program is None:
            raise SkipTest("There is no C compiler")
        for kind in layout.KINDS:
            made = []
            for command in ([str(program)], [sys.executable, layout.__file__]):
                base = Path(self.mktemp_directory())
                subprocess.run(
                    [*command, str(base), kind, "40"],
                    check=True,
                    stdout=subprocess.DEVNULL,
                    env={"PYTHONPATH": str(installed.ROOT)},
                )
                made.append({p.relative_to(base): p.stat().st_size for p in base.glob("**/*.*")})
                self.assertGreaterEqual(len(list(base.glob("**/*"))), 40)
            self.assertEqual(made[0], made[1])

    def mktemp_directory(self) -> str:
        """A directory that is there."""
        path = Path(self.mktemp()).absolute()
        path.mkdir(parents=True)
        return str(path)


class CollectionTests(SynchronousTestCase):
    """Collection runs are timed in the worker of a store."""

    def test_measure(self) -> None:
        """A run that finds nothing is timed often, one that does once; what it found is gone."""
        path = Path(self.mktemp()).absolute()
        growth.make(path, 0, 2, flush=False)
        nothing, some = collection.measure(path, [0, 3])
        self.assertEqual((nothing.live, nothing.garbage, len(nothing.wall_ms)), (2, 0, 20))
        self.assertEqual((some.live, some.garbage, len(some.wall_ms)), (2, 3, 1))
        self.assertEqual(len([each for each in path.iterdir() if each.is_dir()]), 2)


class KeptTests(SynchronousTestCase):
    """Collection runs are timed where dead blobs are kept and nothing is due."""

    def test_measure(self) -> None:
        """There is a row for each number of kept blobs."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.kept", "0", "50"],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        rows = [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:]]
        self.assertEqual(rows, ["0", "50"])


class ScaleTests(SynchronousTestCase):
    """Daemons over a bucket are held against the engine alone, in the same round."""

    FOUND = (
        scaled(0, "GET 1 KiB", 0, 2.0),
        scaled(1, "GET 1 KiB", 0, 2.5),
        scaled(0, "GET 1 KiB", 1, 4.0),
        scaled(1, "GET 1 KiB", 1, 5.5),
        scaled(4, "GET 1 KiB", 1, 9.0),
        scaled(0, "PUT 1 KiB", 0, 1.0),
    )

    def test_against_the_engine(self) -> None:
        """What is added, and what share is left, is taken round by round, from one daemon."""
        self.assertEqual(scale.added_ms(self.FOUND, "GET 1 KiB"), [0.5, 1.5])
        shares = scale.of_alone(self.FOUND, "GET 1 KiB")
        self.assertEqual([round(each, 3) for each in shares], [0.8, 0.727])
        self.assertEqual(scale.added_ms(self.FOUND, "PUT 1 KiB"), [])

    def test_against_one(self) -> None:
        """The most daemons are held against one."""
        found = [scale.Simulated(count, "GET", 0, 10.0 * count) for count in (1, 2, 4)]
        self.assertEqual(scale.times_one(found, "GET"), [4])
        self.assertIn("| GET | 10 | 20 | 40 | 4.00 |", scale.simulated_table(found))

    def test_tables(self) -> None:
        """The engine alone has a row, and no memory that anybody looked at."""
        rows = scale.table(self.FOUND).splitlines()
        self.assertIn("| GET 1 KiB | 1 | the engine alone | 375 | 3.00 | 3.00 | 1 | 2 | 0 |", rows)
        self.assertIn(
            "| HEAD | 1 | 1 get |", scale.asked_table([scale.Asked("HEAD", {"get": 1.0})])
        )

    def test_upkeep(self) -> None:
        """What a bucket costs is measured over its objects, and what is replaced is gone then."""
        self.patch(upkeep, "BLOBS", 10)
        bucket = upkeep.Bucket(memory_engine())
        found, sizes = bucket.measure()
        self.assertEqual([each.count for each in found], [10, 10, 5])
        self.assertEqual(found[1].requests, 20 + 2 * 256, "two lists for each shard")
        self.assertGreater(sizes.pointer, 200)
        self.assertEqual(len(list(bucket.engine.list("blobs/"))), 20)

    def test_simulated(self) -> None:
        """Each load runs over objects in memory, and each client keeps to its own locations."""
        self.patch(scale, "DELAY", 0.0)
        for load in scale.LOADS:
            self.assertGreater(scale.simulated(load, 2, 0.2), 0)


class TargetTests(SynchronousTestCase):
    """What is wanted, and whether it is so."""

    def test_median_or_always(self) -> None:
        """The median decides, or the highest where it is never to be passed."""
        seen = Spread(1, 0, 3)
        self.assertTrue(Target("start", 1, "s", seen).is_met)
        self.assertFalse(Target("held", 2, "ms", seen, always=True).is_met)
        self.assertFalse(Target("start", 1, "s", None).is_met)
        self.assertTrue(Target("GET", 1, "x before", seen, at_least=True).is_met)
        self.assertFalse(Target("GET", 1.1, "x before", seen, at_least=True).is_met)

    def test_rows(self) -> None:
        """A row says what is missed, and what was not measured."""
        target = Target("GET", 2, "x before", Spread(1, 0, 3), at_least=True)
        self.assertEqual(target.row, "| GET | >= 2 x before | 1.00 (0.00-3.00) | **missed** |")
        self.assertEqual(
            evolve(target, seen=None).row, "| GET | >= 2 x before | - | not measured |"
        )

    def test_all(self) -> None:
        """Each is taken from its own kind of result, collections only from runs without garbage."""
        found = Results(
            samples=[
                sample("gostore", "POST 1 KiB", 0, 30),
                sample("before", "POST 1 KiB", 0, 10),
                sample("gostore", "PUT 64 MiB", 0, 3),
                sample("nginx + sync", "PUT 64 MiB", 0, 4),
            ],
            sustained=[
                Sustained("gostore", "POST 1 KiB", 1, 1, 9, 8, 0, 1, 2, 3, [1]),
                Sustained("before", "POST 1 KiB", 1, 0, 9, 2, 0, 1, 2, 3, [1]),
            ],
            starts=[
                start(0, 1000),
                start(65_536, 33_768, 2.0),
                start(65_536, 33_768, 3.0, growth.WITHOUT_RECORDS),
                start(65_536, 33_768, 4.0, "before"),
            ],
            collections=[
                Collection(65_536, 0, [0.25, 0.5, 0.75], [0.1] * 3),
                Collection(65_536, 100, [80], [70]),
            ],
            holds=[
                Hold("GET", "gostore", 10, 15, 4, 1, 0, 0),
                Hold("PUT", "gostore", 10, 26, 21, 11, 1, 1),
                Hold("PUT", "before", 10, 90, 90, 90, 1, 1),
            ],
        )
        rows = [each.row for each in targets.targets(found) if each.seen is not None]
        self.assertEqual(
            rows,
            [
                "| POST 1 KiB: requests | >= 2 x before | 3.00 (3.00-3.00) | met |",
                "| POST 1 KiB: CPU | <= 0.6 x before | 1.00 (1.00-1.00) | **missed** |",
                "| PUT 64 MiB: requests | >= 1 x nginx + sync | 0.75 (0.75-0.75) | **missed** |",
                "| POST 1 KiB, sustained, files made: requests | >= 1.5 x before "
                "| 2.00 (2.00-2.00) | met |",
                "| longest turn of the reactor, each load (most: PUT) | <= 25 ms "
                "| 20.50 (15.00-26.00) | **missed** |",
                "| p99.9 of the reactor's turns, each load (most: PUT) | <= 10 ms "
                "| 6.00 (1.00-11.00) | **missed** |",
                "| start with 65,536 blobs | <= 1 s | 2.00 (2.00-2.00) | **missed** |",
                "| the same without .records | <= 1 x before | 0.75 (0.75-0.75) | met |",
                "| memory a blob | <= 600 bytes | 512.00 (512.00-512.00) | met |",
                "| collection without garbage | <= 1 ms | 0.50 (0.25-0.75) | met |",
            ],
        )

    def test_second(self) -> None:
        """A second run has a column of its own, also for what it did not measure."""
        found = Results(holds=[Hold("GET", "gostore", 10, 15, 4, 1, 0, 0)])
        again = Results(holds=[Hold("PUT", "gostore", 10, 16, 4, 1, 0, 0)])
        rows = targets.table(found, again).splitlines()
        self.assertEqual({row.count("|") for row in rows}, {6})
        self.assertIn("(most: GET) | <= 25 ms | 15.00 (15.00-15.00) | met | 16.00", "\n".join(rows))


class PageTests(SynchronousTestCase):
    """docs/performance.md is written from what was kept."""

    FOUND = Results(
        dict.fromkeys(results.KINDS, HEADING),
        samples=[sample("gostore", "GET 1 KiB", 0, 10)],
        layouts=[layout.Limit("journal", "C", 0, 10, 1.0, 0.5)],
        sustained=[Sustained("s", "l", 2.0, 0.5, 5.0, 10, 0, 1, 2, 3, [10, 20])],
        holds=[Hold("GET", "gostore", 10, 15, 4, 1, 0, 0)],
        starts=[start(1, 1000)],
        scattered=[sample("gostore", "GET 1 KiB of 1", 0, 10)],
        grown_holds=[Hold("GET", "gostore", 10, 15, 4, 1, 0, 0)],
        collections=[Collection(1, 0, [0.5], [0.25])],
        calls=[Calls("GET", 2, {"futex": 3})],
        tricks=[tricks.Effect("t", "`m`", "l", 0, 1, 2, 3, 4)],
        scaled=[scaled(0, "GET 1 KiB", 0, 2.0)],
        asked=[scale.Asked("GET 1 KiB", {"get": 2.0})],
        simulated=[scale.Simulated(1, "GET 1 KiB", 0, 10.0)],
        upkeep=[upkeep.Upkeep("names listed", 1000, 0.5, 1)],
        sizes=[upkeep.Sizes(10, 400.0, 500.0)],
    )

    def test_kept(self) -> None:
        """What is saved is what is loaded; each part has its file, and only those it has."""
        path = Path(self.mktemp())
        self.FOUND.save(path)
        self.assertEqual(results.load(path), self.FOUND)
        self.assertEqual(sorted(each.stem for each in path.iterdir()), sorted(self.FOUND.headings))

    def test_one_part(self) -> None:
        """A run of one part leaves the figures of the others as they are."""
        path = Path(self.mktemp())
        self.FOUND.save(path)
        Results({"turns": HEADING}).save(path)
        self.assertEqual(results.load(path), evolve(self.FOUND, holds=[]))

    def test_figures(self) -> None:
        """A template gets its tables and figures, what nobody measured is said to be that."""
        text = "{{rate|gostore|GET 1 KiB}}, {{rate|nginx|GET 1 KiB}}, {{layout|journal|C}}"
        self.assertEqual(page.rendered(text, self.FOUND), "10, (not measured), 50,000")
        self.assertIn(
            "| GET | 2 |", page.rendered("{{calls}}", self.FOUND).replace("2 GETs", "GET | 2")
        )
        self.assertRaises(KeyError, page.rendered, "{{nothing}}", self.FOUND)

    def test_caveat(self) -> None:
        """A quick run, and one on a machine that did other work, is said to be that."""
        self.assertIsNone(HEADING.caveat)
        busy = evolve(HEADING, command='make bench ARGS="--quick"', load_average=3.0)
        self.assertEqual(
            busy.caveat,
            "a first look: one short round on a machine that did other work (load average 3.0)",
        )

    def test_part_of_a_page(self) -> None:
        """What stands between markers is replaced, and nothing else; they have to be there."""
        text = "a\n<!-- one -->\nold\n<!-- end -->\nb\n"
        self.assertEqual(page.filled(text, "one", "1"), "a\n<!-- one -->\n1\n<!-- end -->\nb\n")
        self.assertRaises(KeyError, page.filled, text, "two", "2")

    def test_every_table_has_its_place(self) -> None:
        """The page has a place for every table."""
        places = re.findall(r"\{\{(\w+)\}\}", page.TEMPLATE.read_text())
        self.assertEqual(set(page.tables(self.FOUND)) - set(places), set())

    def test_pages_say_what_is_committed(self) -> None:
        """Every figure of docs/performance.md and the README is one of benchmarks/results.

        ``python -m benchmarks.page`` writes them.
        """
        for path, text in page.pages(*page.committed()).items():
            self.assertEqual(path.read_text(), text, path)

    def test_plots_are_there(self) -> None:
        """The page shows every plot, and each is there."""
        shown = re.findall(r"\(performance/(\w+)\.svg\)", page.TEMPLATE.read_text())
        self.assertEqual(sorted(shown), sorted(page.PLOTS))
        for name in shown:
            self.assertTrue((page.DOCS / "performance" / f"{name}.svg").exists(), name)


class SummaryTests(SynchronousTestCase):
    """The few rows that a reader sees first."""

    SAMPLES = [
        sample("gostore", "POST 1 KiB", 0, 10),
        sample("gostore", "POST 1 KiB", 1, 30),
        sample("nginx", "POST 1 KiB", 0, 400),
        sample("klein", "GET 1 KiB", 0, 5),
        sample("klein", "POST 1 KiB", 0, 10.1),
    ]

    def test_rows(self) -> None:
        """Each row has the medians of a load; a dash stands for no figure."""
        lines = report.summary(self.SAMPLES).splitlines()
        self.assertEqual(
            lines[0],
            "| requests/s | gostore | before | nginx + sync | nginx | seaweedfs | klein |",
        )
        self.assertEqual(lines[3], "| GET 1 KiB | - | - | - | - | - | 5 |")
        self.assertEqual(lines[5], "| POST 1 KiB | 20 | - | - | 400 | - | 10.1 |")

    def test_slower(self) -> None:
        """Whoever is clearly faster is named, with a reason; a lead within the noise is none."""
        rows = report.slower(self.SAMPLES).splitlines()[2:]
        self.assertEqual(rows, [f"| POST 1 KiB | nginx | 40 | {report.WHY['nginx', 'POST']} |"])

    def test_a_reason_for_each(self) -> None:
        """Every server has a reason for every kind of request."""
        kinds = {name.split()[0] for name in report.summary_loads([])}
        self.assertEqual(
            set(report.WHY), {(server, kind) for server in report.SERVERS[1:] for kind in kinds}
        )


class InstalledTests(SynchronousTestCase):
    """gostore of another commit, and what a daemon runs in."""

    def test_missing(self) -> None:
        """A commit that is not there is a reason, and no crash; nothing counts as made."""
        path = Path(self.mktemp())
        for _ in range(2):
            error = self.assertRaises(installed.CannotMake, installed.before, "0" * 40, path)
            self.assertIn("git", str(error))


class TrickTests(SynchronousTestCase):
    """What is undone to see what it brings."""

    def test_there(self) -> None:
        """Each trick is where it is undone, and what is left of its module is Python."""
        for trick in tricks.TRICKS:
            for module, old, new in trick.undo:
                path = tricks.path_of(installed.ROOT, module)
                compile(tricks.undone(path.read_text(), old, new), module, "exec")

    def test_not_there(self) -> None:
        """One that is not there, or twice, is not undone in silence."""
        for source in ("", "a a"):
            self.assertRaises(ValueError, tricks.undone, source, "a", "b")

    def test_table(self) -> None:
        """A row has the medians of its rounds."""
        effects = [
            tricks.Effect("t", "`m`", "l", at, cpu, 2 * cpu, 30.0, 10.0 * (at + 1))
            for at, cpu in enumerate((10.0, 40.0, 20.0))
        ]
        row = tricks.table(effects).splitlines()[2]
        self.assertEqual(row, "| t | `m` | l | 20 | 40 | 0.50 (0.50-0.50) | 1.50 |")
