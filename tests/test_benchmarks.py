"""The arithmetic of the benchmarks, and that what they measure with works; nothing is timed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import (
    calls,
    collection,
    growth,
    holds,
    loads,
    page,
    report,
    results,
    servers,
    tricks,
)
from benchmarks.calls import Calls
from benchmarks.collection import Collection
from benchmarks.growth import Growth
from benchmarks.holds import Hold
from benchmarks.loads import Sample
from benchmarks.report import Spread, number, ratios, spread, table
from benchmarks.results import Results
from benchmarks.targets import Limit, limits
from benchmarks.watched import Watch
from gostore.volume.changes import Sync
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume
from tests.store.doubles import Ticks


def sample(server: str, load: str, number: int, per_second: float, errors: int = 0) -> Sample:
    """A sample of which only the speed matters."""
    return Sample(server, load, number, per_second, 1.0, 2.0, 3.0, 4096, errors)


def grown(blobs: int, rss_kib: int, *start_seconds: float) -> Growth:
    """What so many blobs cost, as far as it matters here."""
    return Growth(blobs, list(start_seconds or (1.0,)), rss_kib, rss_kib, 0, 1, 2, 3, 4, 5, 6)


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

    def test_post_beside_put(self) -> None:
        """A POST is held against the PUT of a server that has no POST."""
        found = ratios(
            [sample("a", "POST 1", 0, 6), sample("b", "PUT 1", 0, 3)], "a", "b", "POST 1"
        )
        self.assertEqual(found, Spread(2, 2, 2))

    def test_errors_are_no_figure(self) -> None:
        """A round in which requests failed counts for nothing, and its errors are shown."""
        samples = [sample("a", "GET", 0, 6, errors=7), sample("b", "GET", 0, 3)]
        self.assertIsNone(ratios(samples, "a", "b", "GET"))
        self.assertIn("| GET | a | 6 | - | 1.00 | 2.00 | 3 | 4 | 7 |", table(samples, "b"))

    def test_numbers(self) -> None:
        """Figures are written without exponents, large ones with commas."""
        self.assertEqual(
            [number(each) for each in (12345.6, 100, 56.71)], ["12,346", "100", "56.7"]
        )

    def test_connections(self) -> None:
        """How many connections a load has is read from its name; the plain one has 32."""
        self.assertEqual(loads.connections("GET 1 KiB, 1000 connections"), 1000)
        self.assertIsNone(loads.connections("GET 1 KiB"))
        self.assertEqual(loads.connections("GET 1 KiB", plain=True), 32)
        self.assertIsNone(loads.connections("GET 1 KiB (tmpfs)", plain=True))


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
            holds.of("GET", turns), Hold("GET", 2000, 30, 21, p999_ms=25, over=2, over_cpu=1)
        )

    def test_daemon(self) -> None:
        """The reactor of a daemon that runs under the watch is watched."""
        with servers.running(servers.WATCHED, Path(self.mktemp()).absolute()) as here:
            self.assertGreater(len(holds.taken(here)), 0)
            here.put("again", b"again")
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
        found = [grown(1, 1000), grown(1001, 1001), grown(20_001, 11_000)]
        self.assertEqual(growth.bytes_a_blob(found), {20_001: 512})
        self.assertEqual(growth.bytes_a_blob(found[2:]), {})

    def test_make(self) -> None:
        """What is made is a store's, blob by blob, and can grow."""
        path = Path(self.mktemp()).absolute()
        growth.make(path, 0, 2, flush=False)
        growth.make(path, 2, 5, flush=False)
        volume = Volume(str(path))
        volume.open()
        self.addCleanup(volume.close)
        found = scan(volume)
        self.assertEqual(sorted(found.live), [f"grown-{number}" for number in range(5)])
        self.assertEqual(str(evolve(found, live={})), str(Findings(generation=5, ids=found.ids)))

    def test_remove_others(self) -> None:
        """What was stored beside them is removed, and nothing else."""
        path = Path(self.mktemp()).absolute()
        growth.make(path, 0, 3, flush=False)
        before = sorted(path.iterdir())
        volume = Volume(str(path), sync=Sync.NONE, now=Ticks())
        volume.look()
        volume.protocol.carry_out([growth.commit(9, 9, 1)])
        volume.close()
        self.assertNotEqual(sorted(path.iterdir()), before)
        growth.remove_others(path, 3, flush=False)
        self.assertEqual(sorted(path.iterdir()), before)


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


class LimitTests(SynchronousTestCase):
    """Targets that are no ratios."""

    def test_median_or_always(self) -> None:
        """The median decides, or the highest where it is never to be passed."""
        seen = Spread(1, 0, 3)
        self.assertTrue(Limit("start", 1, "s", seen).is_met)
        self.assertFalse(Limit("held", 2, "ms", seen, always=True).is_met)
        self.assertFalse(Limit("start", 1, "s", None).is_met)

    def test_limits(self) -> None:
        """Each is taken from its own kind of result, collections only from runs without garbage."""
        found = Results(
            "machine",
            "3.11",
            "ext4",
            0.5,
            growth=[grown(0, 1000), grown(65_536, 33_768, 2.0, 4.0)],
            collections=[
                Collection(65_536, 0, [0.25, 0.5, 0.75], [0.1] * 3),
                Collection(65_536, 100, [80], [70]),
            ],
            holds=[
                Hold("GET", 10, 15, 4, 1, 0, 0),
                Hold("PUT", 10, 25, 21, 1, 1, 1),
            ],
        )
        self.assertEqual(
            [(each.seen, each.is_met) for each in limits(found)],
            [
                (Spread(3, 2, 4), True),
                (None, False),
                (Spread(512, 512, 512), True),
                (Spread(0.5, 0.25, 0.75), True),
                (Spread(20, 15, 25), False),
                (Spread(12.5, 4, 21), False),
            ],
        )


class PageTests(SynchronousTestCase):
    """docs/performance.md is written from what was kept."""

    FOUND = Results(
        "machine",
        "3.11",
        "ext4",
        0.5,
        samples=[sample("gostore", "GET 1 KiB", 0, 10)],
        holds=[Hold("GET", 10, 15, 4, 1, 0, 0)],
        growth=[grown(1, 1000)],
        collections=[Collection(1, 0, [0.5], [0.25])],
        calls=[Calls("GET", 2, {"futex": 3})],
    )

    def test_kept(self) -> None:
        """What is saved is what is loaded."""
        path = Path(self.mktemp()) / "results.json"
        self.FOUND.save(path)
        self.assertEqual(results.load(path), self.FOUND)

    def test_parts(self) -> None:
        """Whatever stands between markers is replaced, and nothing else."""
        text = "a\n<!-- one -->\n<!-- end -->\nb\n<!-- two -->\nold\n<!-- end -->\nc\n"
        self.assertEqual(
            page.filled(text, {"one": "1", "two": "2"}),
            "a\n<!-- one -->\n1\n<!-- end -->\nb\n<!-- two -->\n2\n<!-- end -->\nc\n",
        )

    def test_every_table_has_its_place(self) -> None:
        """The page has a place for every table, and no place for which there is none."""
        text = (page.DOCS / "performance.md").read_text()
        places = re.findall(r"<!-- (?!end)(\w+) -->", text)
        self.assertEqual(
            sorted(name for name in places if not name.endswith("_plot")),
            sorted(page.tables(self.FOUND)),
        )


class SummaryTests(SynchronousTestCase):
    """The few rows that a reader sees first."""

    def test_rows(self) -> None:
        """Each row has the medians of a load; a dash stands for no figure."""
        samples = [
            sample("gostore", "POST 1 KiB", 0, 10),
            sample("gostore", "POST 1 KiB", 1, 30),
            sample("nginx", "PUT 1 KiB", 0, 400),
            sample("klein", "GET 1 KiB", 0, 5),
        ]
        lines = report.summary(samples).splitlines()
        self.assertEqual(lines[0], "| requests/s | gostore | nginx | seaweedfs | klein | putfs |")
        self.assertEqual(lines[2], "| GET 1 KiB | - | - | - | 5 | - |")
        self.assertEqual(lines[3], "| POST 1 KiB | 20 | 400 | - | - | - |")


class TrickTests(SynchronousTestCase):
    """What is undone to see what it brings."""

    def test_there(self) -> None:
        """Each trick is where it is undone, and what is left of its module is Python."""
        for trick in tricks.TRICKS:
            for module, old, new in trick.undo:
                path = tricks.path_of(servers.ROOT, module)
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
        self.assertEqual(row, "| t | `m` | l | 20 | 40 | 1.50 (1.00-3.00) |")
