"""What is wanted of gostore, and whether the samples show it."""

from __future__ import annotations

from attrs import frozen

from benchmarks.loads import Sample
from benchmarks.report import Spread, ratios, spread


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


def table(samples: list[Sample]) -> str:
    """Wanted, seen, and met or not, as a Markdown table."""
    sizes = [s.load.removeprefix("PUT ") for s in samples if s.load.startswith("PUT ")]
    large = next((size for size in sizes if size.endswith(" MiB")), None)
    lines = ["| server | load | wanted | seen: median (min-max) | |", "|---|---|--:|--:|---|"]
    for target in targets(large):
        seen = target.seen(samples)
        if target.base is None:
            wanted = f"<= {target.wanted:g} us of CPU"
        else:
            wanted = f">= {target.wanted:g} x {target.base}"
        verdict = "not measured" if seen is None else "met" if target.is_met(seen) else "MISSED"
        lines.append(f"| {target.server} | {target.load} | {wanted} | {seen or '-'} | {verdict} |")
    return "\n".join(lines)
