"""What is wanted of gostore, and whether the results show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

from attrs import frozen

from benchmarks import growth, loads, scale, sustained
from benchmarks.growth import WITHOUT_RECORDS, bytes_a_blob, cache_mib, start_ratios
from benchmarks.holds import Hold
from benchmarks.loads import Sample
from benchmarks.report import Spread, is_large, per_second, ratios, spread
from benchmarks.results import Results

SHORT = 65_536
LONG = 1_000_000

CACHE_MIB = 32
"""What --memory-cache is if nobody sets it."""

FLAT_MIB = 8
"""More memory than this after the first third of a minute is no longer flat."""


@frozen
class Target:
    """Something that is to be at least, or at most, so much."""

    what: str
    wanted: float
    of: str
    """The unit, or what the ratio is to."""
    seen: Spread | None
    at_least: bool = False
    always: bool = False
    """Whether the highest figure counts, not the median."""

    @property
    def kind(self) -> tuple[str, float, str]:
        """What the same target of another run has, too."""
        return self.what.partition(" (most:")[0], self.wanted, self.of

    @property
    def is_met(self) -> bool:
        """Whether the figure is on the right side."""
        if self.seen is None:
            return False
        if self.at_least:
            return self.seen.median >= self.wanted
        return (self.seen.max if self.always else self.seen.median) <= self.wanted

    @property
    def row(self) -> str:
        """As a row of Markdown."""
        sign = ">=" if self.at_least else "<="
        verdict = "not measured" if self.seen is None else "met" if self.is_met else "**missed**"
        return (
            f"| {self.what} | {sign} {self.wanted:g} {self.of} | {self.seen or '-'} | {verdict} |"
        )


def cpu(sample: Sample) -> float:
    """Processor time of a request."""
    return sample.cpu_us


def p50(sample: Sample) -> float:
    """Half of the requests are faster."""
    return sample.p50_ms


def p99(sample: Sample) -> float:
    """One request of a hundred is slower."""
    return sample.p99_ms


def targets(found: Results) -> list[Target]:
    """All of them, as the results have them."""
    return [
        *_of_loads(found.samples),
        *_of_sustained(found),
        *_of_turns([each for each in found.holds + found.grown_holds if each.server == "gostore"]),
        *_of_growth(found),
        *_of_scale(found),
    ]


def _of_loads(samples: list[Sample]) -> list[Target]:
    def at_least(wanted: float, load: str, base: str = "before") -> Target:
        seen = ratios(samples, "gostore", base, load)
        return Target(f"{load}: requests", wanted, f"x {base}", seen, at_least=True)

    def at_most(wanted: float, load: str, figure: Callable[[Sample], float], name: str) -> Target:
        seen = ratios(samples, "gostore", "before", load, figure)
        return Target(f"{load}: {name}", wanted, "x before", seen)

    found = [
        at_least(2, loads.POST.name),
        at_most(0.6, loads.POST.name, cpu, "CPU"),
        at_least(1, loads.POST.name, "seaweedfs"),
        at_least(3, loads.PUT.name),
        at_most(0.4, loads.PUT.name, cpu, "CPU"),
    ]
    for load in loads.MORE:
        if load.writes and load.connections < 1000:
            found.append(at_least(1.3, load.name))
            found.append(at_most(1, load.name, p50, "p50"))
            found.append(at_most(1, load.name, p99, "p99"))
    upload = next((s.load for s in samples if is_large(s.load) and s.load.startswith("PUT")), "")
    return [
        *found,
        at_least(1.5, loads.POST_64.name),
        at_least(1.5, loads.PUT_64.name),
        at_least(2, loads.GET.name),
        at_most(0.55, loads.GET.name, cpu, "CPU"),
        at_least(5, loads.GET.name, "klein"),
        at_least(1.8, loads.GET_64.name),
        at_most(0.7, loads.BESIDE.name, p99, "p99"),
        at_least(1, upload or "PUT 512 MiB", "nginx + sync"),
    ]


def _of_sustained(found: Results) -> list[Target]:
    def figures(server: str, load: str, figure: Callable[[sustained.Sustained], float]) -> float:
        mine = [each for each in found.sustained if (each.server, each.load) == (server, load)]
        return median(figure(each) for each in mine) if mine else 0.0

    made = []
    for wanted, load in ((1.5, loads.POST.name), (2.5, loads.PUT.name)):
        now, old = (figures(each, load, lambda s: s.per_second) for each in ("gostore", "before"))
        seen = spread([now / old]) if now and old else None
        what = f"{load}, sustained, files made: requests"
        made.append(Target(what, wanted, "x before", seen, at_least=True))
    grew = [
        each.growth_kib / 1024
        for each in found.sustained
        if (each.server, each.load) == ("gostore", loads.PUT.name)
    ]
    what = f"{loads.PUT.name}, sustained: memory that came after the first third"
    return [*made, Target(what, FLAT_MIB, "MiB", known(grew), always=True)]


def _of_turns(holds: list[Hold]) -> list[Target]:
    def worst(figure: Callable[[Hold], float]) -> str:
        return f" (most: {max(holds, key=figure).load})" if holds else ""

    longest, rare = (lambda each: each.longest_ms), (lambda each: each.p999_ms)
    return [
        Target(
            f"longest turn of the reactor, each load{worst(longest)}",
            25,
            "ms",
            known(map(longest, holds)),
            always=True,
        ),
        Target(
            f"p99.9 of the reactor's turns, each load{worst(rare)}",
            10,
            "ms",
            known(map(rare, holds)),
            always=True,
        ),
    ]


def _of_growth(found: Results) -> list[Target]:
    def start(server: str, blobs: int) -> Spread | None:
        return known(
            each.seconds for each in found.starts if (each.server, each.blobs) == (server, blobs)
        )

    load = growth.get_of(growth.SCATTERED).name
    seen = ratios(found.scattered, "gostore", "before", load, per_second)
    made = [Target(f"{load}: requests", 1.8, "x before", seen, at_least=True)]
    for blobs, seconds in ((SHORT, 1), (LONG, 12)):
        made.append(Target(f"start with {blobs:,} blobs", seconds, "s", start("gostore", blobs)))
        slower = known(start_ratios(found.starts, WITHOUT_RECORDS, "before", blobs))
        made.append(Target(f"the same without {growth.RECORDS}", 1, "x before", slower))
    cache = cache_mib(found.starts)
    idle = [ms for each in found.collections if not each.garbage for ms in each.wall_ms]
    return [
        *made,
        Target(
            "memory a blob", 600, "bytes", known(bytes_a_blob(found.starts).values()), always=True
        ),
        Target(
            "memory of the answer cache", CACHE_MIB, "MiB", known([] if cache is None else [cache])
        ),
        Target("collection without garbage", 1, "ms", known(idle)),
    ]


def _of_scale(found: Results) -> list[Target]:
    get = loads.GET.name
    asked = [each.total for each in found.asked if each.request == get]
    what = f"{get} over a bucket: "
    made = [
        Target(f"{what}requests to the engine", 2, "", known(asked), always=True),
        Target(
            f"{what}p50 added to the engine's", 1, "ms", known(scale.added_ms(found.scaled, get))
        ),
    ]
    for load in dict.fromkeys(each.load for each in found.scaled if is_large(each.load)):
        seen = known(scale.of_alone(found.scaled, load))
        what = f"{load} over a bucket: bytes a second"
        made.append(Target(what, 0.9, "x engine", seen, at_least=True))
    for load in dict.fromkeys(each.load for each in found.simulated):
        seen = known(scale.times_one(found.simulated, load))
        what = f"{load} by {max(scale.DAEMONS)} daemons, simulated: requests"
        made.append(Target(what, 3, "x 1 daemon", seen, at_least=True))
    return made


def known(values: Iterable[float]) -> Spread | None:
    """Their spread, if there are any."""
    found = list(values)
    return spread(found) if found else None


def table(found: Results, second: Results | None = None) -> str:
    """Wanted, seen, and met or not, as a Markdown table; beside a second run if there was one."""
    lines = ["| what | wanted | seen: median (min-max) | |", "|---|--:|--:|---|"]
    rows = [each.row for each in targets(found)]
    if second is not None:
        lines = [f"{lines[0]} second run |", f"{lines[1]}--:|"]
        again = {each.kind: each for each in targets(second)}
        rows = [f"{each.row} {again[each.kind].seen or '-'} |" for each in targets(found)]
    return "\n".join([*lines, *rows])
