"""Samples to ratios: a server's figure over another's in the same round, then median, min, max."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from attrs import frozen

from benchmarks.loads import Sample

BASE = "nginx"


@frozen
class Spread:
    """The median, the least and the most of several rounds."""

    median: float
    min: float
    max: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.min:.2f}-{self.max:.2f})"


def spread(values: Iterable[float]) -> Spread:
    """Of at least one value."""
    found = sorted(values)
    return Spread(median(found), found[0], found[-1])


def ratios(samples: Iterable[Sample], server: str, base: str, load: str) -> Spread | None:
    """Requests a second of a server over those of another, round by round.

    A POST is held against the PUT of a base that has no POST. A sample with errors is no figure;
    None where no round has both.
    """
    good = {(s.server, s.load, s.round): s.per_second for s in samples if not s.errors}
    found = []
    for (name, what, number), figure in good.items():
        if (name, what) == (server, load):
            under = good.get((base, load, number))
            if under is None and load.startswith("POST "):
                under = good.get((base, "PUT " + load.removeprefix("POST "), number))
            if under:
                found.append(figure / under)
    return spread(found) if found else None


#: What a reader wants to know first.
SUMMARY = ("GET 1 KiB", "POST 1 KiB", "GET 64 KiB", "POST 64 KiB", "GET 512 MiB", "PUT 512 MiB")
SERVERS = ("gostore", "nginx", "seaweedfs", "klein", "putfs")


def summary(samples: Iterable[Sample]) -> str:
    """Requests a second of each server under six loads, as a Markdown table of medians.

    Under a POST load a server that has no POST has the figure of its PUT.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        if not sample.errors:
            found.setdefault((sample.server, sample.load), []).append(sample.per_second)

    def cell(server: str, load: str) -> str:
        figures = found.get((server, load))
        if figures is None and server != "gostore":
            figures = found.get((server, load.replace("POST", "PUT")))
        return number(median(figures)) if figures else "-"

    return "\n".join(
        [
            f"| requests/s | {' | '.join(SERVERS)} |",
            "|---" + "|--:" * len(SERVERS) + "|",
            *(
                f"| {load} | {' | '.join(cell(server, load) for server in SERVERS)} |"
                for load in SUMMARY
            ),
        ]
    )


def number(value: float) -> str:
    """Three digits at least, and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(samples: list[Sample], base: str = BASE) -> str:
    """All there is, as a Markdown table: medians over the rounds, and the ratio to ``base``."""
    lines = [
        f"| load | server | requests/s | x {base}: median (min-max) "
        "| p50 ms | p99 ms | CPU us | peak MiB | errors |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for load in dict.fromkeys(s.load for s in samples):
        for server in dict.fromkeys(s.server for s in samples if s.load == load):
            mine = [s for s in samples if (s.load, s.server) == (load, server)]
            ratio = ratios(samples, server, base, load)
            lines.append(
                f"| {load} | {server} | {number(median(s.per_second for s in mine))} "
                f"| {ratio or '-'} "
                f"| {median(s.p50_ms for s in mine):.2f} | {median(s.p99_ms for s in mine):.2f} "
                f"| {number(median(s.cpu_us for s in mine))} "
                f"| {median(s.peak_kib for s in mine) / 1024:.0f} | {sum(s.errors for s in mine)} |"
            )
    return "\n".join(lines)
