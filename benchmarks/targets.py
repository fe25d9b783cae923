"""What is wanted of gostore, and whether the results show it."""

from __future__ import annotations

from attrs import frozen

from benchmarks.growth import bytes_a_blob
from benchmarks.loads import Sample
from benchmarks.report import Spread, ratios, spread
from benchmarks.results import Results

SHORT = 65_536
LONG = 1_000_000


@frozen
class Target:
    """Requests a second of ``server`` over those of ``base`` under a load: at least ``wanted``.

    Without a base it is processor microseconds a request: at most ``wanted``.
    """

    load: str
    base: str | None
    wanted: float
    server: str = "gostore"

    def seen(self, samples: list[Sample]) -> Spread | None:
        """What the rounds gave; None where they did not measure it."""
        if self.base is not None:
            return ratios(samples, self.server, self.base, self.load)
        mine = [
            sample.cpu_us
            for sample in samples
            if (sample.server, sample.load, sample.errors) == (self.server, self.load, 0)
        ]
        return spread(mine) if mine else None

    def is_met(self, seen: Spread) -> bool:
        """Whether the median is on the right side."""
        return seen.median <= self.wanted if self.base is None else seen.median >= self.wanted


def targets(large: str | None) -> list[Target]:
    """All of them; ``large`` is the size of the large loads, as their names have it."""
    small = [
        Target("GET 1 KiB", "klein", 3.5),
        Target("GET 1 KiB", "seaweedfs", 2),
        Target("GET 1 KiB", "nginx", 0.5),
        Target("GET 1 KiB", None, 50),
    ]
    for method in ("PUT", "POST"):
        small.append(Target(f"{method} 1 KiB", "nginx", 0.5))
        small.append(Target(f"{method} 1 KiB", "seaweedfs", 0.6))
        small.append(Target(f"{method} 1 KiB", "nginx", 0.8, "gostore --sync none"))
    if large is None:
        return small
    peers = ("nginx", "klein", "seaweedfs", "putfs")
    return [
        *small,
        Target(f"GET {large}", "nginx", 1),
        # At least 1.0 x the best peer is at least 1.0 x each.
        *(Target(f"PUT {large}", peer, 1) for peer in peers),
    ]


@frozen
class Limit:
    """Something that is to be at most ``most``, in what was measured of it."""

    what: str
    most: float
    unit: str
    seen: Spread | None
    always: bool = False
    """Whether the highest figure counts, not the median."""

    @property
    def is_met(self) -> bool:
        """Whether it stays within the limit."""
        if self.seen is None:
            return False
        return (self.seen.max if self.always else self.seen.median) <= self.most


def limits(found: Results) -> list[Limit]:
    """All of them."""
    starts = {each.blobs: spread(each.start_seconds) for each in found.growth}
    memory = bytes_a_blob(found.growth)
    idle = [ms for each in found.collections if not each.garbage for ms in each.wall_ms]
    walls = [each.longest_ms for each in found.holds]
    cpus = [each.longest_cpu_ms for each in found.holds]

    def known(values: list[float]) -> Spread | None:
        return spread(values) if values else None

    return [
        Limit(f"start with {SHORT:,} blobs", 3, "s", starts.get(SHORT)),
        Limit(f"start with {LONG:,} blobs", 40, "s", starts.get(LONG)),
        Limit("memory a blob", 600, "bytes", known(list(memory.values())), always=True),
        Limit("collection without garbage", 1, "ms", known(idle)),
        Limit("longest turn of the reactor, each load", 20, "ms", known(walls), always=True),
        Limit("processor time of a turn, each load", 20, "ms", known(cpus), always=True),
    ]


def table(found: Results) -> str:
    """Wanted, seen, and met or not, as a Markdown table."""
    names = [s.load.removeprefix("PUT ") for s in found.samples if s.load.startswith("PUT ")]
    large = next((name for name in names if name.endswith(" MiB")), None)
    lines = ["| server | what | wanted | seen: median (min-max) | |", "|---|---|--:|--:|---|"]

    def row(server: str, what: str, wanted: str, seen: Spread | None, is_met: bool) -> str:
        verdict = "not measured" if seen is None else "met" if is_met else "MISSED"
        return f"| {server} | {what} | {wanted} | {seen or '-'} | {verdict} |"

    for target in targets(large):
        seen = target.seen(found.samples)
        if target.base is None:
            wanted = f"<= {target.wanted:g} us of CPU"
        else:
            wanted = f">= {target.wanted:g} x {target.base}"
        is_met = seen is not None and target.is_met(seen)
        lines.append(row(target.server, target.load, wanted, seen, is_met))
    for limit in limits(found):
        wanted = f"<= {limit.most:g} {limit.unit}"
        lines.append(row("gostore", limit.what, wanted, limit.seen, limit.is_met))
    return "\n".join(lines)
