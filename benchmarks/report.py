"""Samples to ratios: a server's figure over another's in the same round, then median, min, max."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

from attrs import frozen

from benchmarks import loads
from benchmarks.loads import Sample

BASE = "nginx"

Figure = Callable[[Sample], float]


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


def per_second(sample: Sample) -> float:
    """The figure that most ratios are of."""
    return sample.per_second


def ratios(
    samples: Iterable[Sample],
    server: str,
    base: str,
    load: str,
    figure: Figure = per_second,
) -> Spread | None:
    """A figure of a server over that of another, round by round.

    A sample with errors is no figure; None where no round has both.
    """
    good = {(s.server, s.load, s.round): figure(s) for s in samples if not s.errors}
    found = []
    for (name, what, number), value in good.items():
        under = good.get((base, load, number))
        if (name, what) == (server, load) and under:
            found.append(value / under)
    return spread(found) if found else None


def middle(
    samples: Iterable[Sample], server: str, load: str, figure: Figure = per_second
) -> float | None:
    """The median over the rounds without errors."""
    found = [figure(s) for s in samples if (s.server, s.load, s.errors) == (server, load, 0)]
    return median(found) if found else None


SERVERS = ("gostore", "before", "nginx + sync", "nginx", "seaweedfs", "klein")
FLUSHES = ("yes", "yes", "the file, by the load script", "no", "no", "keeps it in memory")


def summary_loads(samples: Iterable[Sample]) -> list[str]:
    """The six loads that a reader wants to know first."""
    upload = next((s.load for s in samples if is_large(s.load) and s.load.startswith("PUT")), "")
    small = (loads.GET, loads.GET_64, loads.POST, loads.PUT, loads.POST_64)
    return [*(load.name for load in small), upload or "PUT 512 MiB"]


def is_large(load: str) -> bool:
    """Whether these are transfers of a large blob."""
    return load.endswith(" MiB")


def summary(samples: list[Sample]) -> str:
    """Requests a second of each server under six loads, as a Markdown table of medians."""

    def cell(server: str, load: str) -> str:
        figure = middle(samples, server, load)
        return "-" if figure is None else number(figure)

    return "\n".join(
        [
            f"| requests/s | {' | '.join(SERVERS)} |",
            "|---" + "|--:" * len(SERVERS) + "|",
            f"| *flushes a write before it answers* | {' | '.join(FLUSHES)} |",
            *(
                f"| {load} | {' | '.join(cell(server, load) for server in SERVERS)} |"
                for load in summary_loads(samples)
            ),
        ]
    )


WHY = {
    ("nginx", "GET"): "compiled code in two processes; gostore has one thread of CPython",
    ("nginx", "POST"): "one file and no flush; gostore makes a directory and two files, flushed",
    ("nginx", "PUT"): "one file and no flush; gostore also hashes what it stores",
    ("nginx + sync", "POST"): "one file; gostore makes a directory and two files",
    ("nginx + sync", "PUT"): "compiled code in two processes; gostore also hashes what it stores",
    ("nginx + sync", "GET"): "compiled code in two processes; gostore has one thread of CPython",
    ("seaweedfs", "GET"): "compiled code that uses both processors",
    ("seaweedfs", "POST"): "no flush, and no file for each blob: it appends to one",
    ("seaweedfs", "PUT"): "no flush, and no file for each blob: it appends to one",
    ("klein", "GET"): "it answers from memory",
    ("klein", "POST"): "it stores nothing",
    ("klein", "PUT"): "it stores nothing",
    ("before", "GET"): "it did less for each of these requests",
    ("before", "POST"): "it did less for each of these requests",
    ("before", "PUT"): "it did less for each of these requests",
}
"""Why a server does more of a kind of request than gostore."""

NOTICED = 1.05
"""A smaller lead is noise."""


def slower(samples: list[Sample]) -> str:
    """Every load of the summary under which another server is faster, as Markdown."""
    lines = ["| load | server | x requests/s of gostore | why |", "|---|---|--:|---|"]
    for load in summary_loads(samples):
        for server in SERVERS[1:]:
            ratio = ratios(samples, server, "gostore", load)
            if ratio is not None and ratio.median > NOTICED:
                why = WHY[server, load.split()[0]]
                lines.append(f"| {load} | {server} | {number(ratio.median)} | {why} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits at least, and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(samples: list[Sample], base: str = BASE, old: str = "before") -> str:
    """All there is, as a Markdown table: medians over the rounds, and ratios to two servers."""
    lines = [
        f"| load | server | requests/s | x {old}: median (min-max) | x {base} "
        "| p50 ms | p99 ms | p99.9 ms | CPU us | x CPU of before | peak MiB | errors |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for load in dict.fromkeys(s.load for s in samples):
        for server in dict.fromkeys(s.server for s in samples if s.load == load):
            mine = [s for s in samples if (s.load, s.server) == (load, server)]
            ratio = ratios(samples, server, base, load)
            processor = ratios(samples, server, old, load, lambda sample: sample.cpu_us)
            lines.append(
                f"| {load} | {server} | {number(median(s.per_second for s in mine))} "
                f"| {ratios(samples, server, old, load) or '-'} "
                f"| {f'{ratio.median:.2f}' if ratio else '-'} "
                f"| {median(s.p50_ms for s in mine):.2f} | {median(s.p99_ms for s in mine):.2f} "
                f"| {median(s.p999_ms for s in mine):.2f} "
                f"| {number(median(s.cpu_us for s in mine))} "
                f"| {f'{processor.median:.2f}' if processor else '-'} "
                f"| {median(s.peak_kib for s in mine) / 1024:.0f} | {sum(s.errors for s in mine)} |"
            )
    return "\n".join(lines)
