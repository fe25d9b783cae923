"""Plots of what was measured, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from benchmarks.growth import WITHOUT_RECORDS, get_of
from benchmarks.loads import Sample, connections
from benchmarks.page import PLOTS
from benchmarks.report import SERVERS, middle, number, per_second, summary_loads
from benchmarks.results import Results
from benchmarks.targets import cpu, p99

# The same text gives the same file; letters stay letters.
STYLE = {"svg.hashsalt": "gostore", "svg.fonttype": "none", "font.size": 9}

NUMBER = "{x:,.7g}"

COLOURS = ("#1b6ca8", "#8fb8d8", "#7a7a7a", "#b0b0b0", "#c9c9c9", "#dcdcdc")
"""gostore stands out, its former self beside it; the others are grey."""


def draw(found: Results, where: Path) -> list[str]:
    """Draw what there is, each as NAME.svg; returns the names."""
    where.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Callable[[Results], Any]] = {
        "summary": _summary,
        "connections": _connections,
        "growth": _growth,
    }
    made = []
    for name in PLOTS:
        with pyplot.rc_context(STYLE):
            plot = drawn[name](found)
            if plot is not None:
                plot.tight_layout()
                plot.savefig(where / f"{name}.svg", metadata={"Date": None})
                pyplot.close(plot)
                made.append(name)
    return made


def _summary(found: Results) -> Any:
    """A panel for each load, a bar for each server: the median, and a line from least to most."""
    if not found.samples:
        return None
    plot, panels = pyplot.subplots(3, 2, figsize=(9, 6.6))
    for panel, load in zip(panels.flat, summary_loads(found.samples), strict=True):
        mine = {
            name: [
                per_second(each)
                for each in found.samples
                if (each.load, each.server, each.errors) == (load, name, 0)
            ]
            for name in SERVERS
        }
        # The first server on top.
        shown = [name for name in reversed(SERVERS) if mine[name]]
        medians = [median(mine[name]) for name in shown]
        panel.barh(
            shown,
            medians,
            xerr=_reach(medians, [mine[name] for name in shown]),
            color=[COLOURS[SERVERS.index(name)] for name in shown],
            ecolor="#555555",
        )
        for row, value in enumerate(medians):
            reach = max(mine[shown[row]])
            panel.text(reach, row, f" {number(value)}", va="center", ha="left")
        panel.margins(x=0.14)
        panel.set_title(load, fontsize=9, fontweight="bold", loc="left")
        panel.set_xlabel("requests/s")
        panel.xaxis.set_major_locator(pyplot.MaxNLocator(4))
        panel.xaxis.set_major_formatter(NUMBER)
        panel.spines[["top", "right"]].set_visible(False)
    return plot


def _reach(medians: list[float], values: list[list[float]]) -> list[list[float]]:
    """How far the least and the most are from the median, as error bars want it."""
    return [
        [value - min(each) for value, each in zip(medians, values, strict=True)],
        [max(each) - value for value, each in zip(medians, values, strict=True)],
    ]


def _connections(found: Results) -> Any:
    """A row for each kind of request, a panel for each figure, a line for now and for before."""
    kinds = [
        kind
        for kind in ("GET", "POST", "PUT")
        if any(connections(each.load, kind) for each in found.samples)
    ]
    if not kinds:
        return None
    figures: tuple[tuple[str, Callable[[Sample], float]], ...] = (
        ("requests/s", per_second),
        ("CPU µs a request", cpu),
        ("p99 ms", p99),
    )
    plot, rows = pyplot.subplots(len(kinds), 3, figsize=(9, 2.5 * len(kinds)), squeeze=False)
    for kind, panels in zip(kinds, rows, strict=True):
        for panel, (unit, figure) in zip(panels, figures, strict=True):
            for marker, server in (("o", "gostore"), ("s", "before")):
                mine: dict[int, list[float]] = {}
                for each in found.samples:
                    count = connections(each.load, kind)
                    if each.server == server and not each.errors and count is not None:
                        mine.setdefault(count, []).append(figure(each))
                counts = sorted(mine)
                values = [mine[count] for count in counts]
                medians = [median(each) for each in values]
                panel.errorbar(
                    counts,
                    medians,
                    yerr=_reach(medians, values),
                    marker=marker,
                    capsize=2,
                    label=server,
                    color=COLOURS[SERVERS.index(server)],
                )
            panel.set_title(f"{kind} 1 KiB", fontsize=9, loc="left")
            panel.set_ylabel(unit)
            _logarithmic(panel, "connections", (1, 8, 32, 128, 1000))
    rows[0][0].legend()
    return plot


def _growth(found: Results) -> Any:
    """Panels for start, memory, and what a scattered read costs."""
    if not found.starts:
        return None
    plot, (start, memory, reads) = pyplot.subplots(1, 3, figsize=(9, 3))
    lines = (("o", "gostore", 0), ("^", WITHOUT_RECORDS, 2), ("s", "before", 1))
    for marker, server, colour in lines:
        look = {"marker": marker, "color": COLOURS[colour]}
        at = sorted({each.blobs for each in found.starts if each.server == server})
        mine = {
            blobs: [each for each in found.starts if (each.server, each.blobs) == (server, blobs)]
            for blobs in at
        }
        seconds = [median(each.seconds for each in mine[blobs]) for blobs in at]
        start.plot(at, seconds, label=server, **look)
        if server == WITHOUT_RECORDS:
            # It is the same daemon once it has started.
            continue
        used = [median(each.rss_kib for each in mine[blobs]) / 1024 for blobs in at]
        memory.plot(at, used, **look)
        costs = {blobs: middle(found.scattered, server, get_of(blobs).name, cpu) for blobs in at}
        known = {blobs: cost for blobs, cost in costs.items() if cost is not None}
        reads.plot(list(known), list(known.values()), **look)
    start.set_ylabel("start to first blob, s")
    memory.set_ylabel("memory, MiB")
    reads.set_ylabel("CPU µs of a scattered GET")
    for panel in (start, memory, reads):
        _logarithmic(panel, "blobs", sorted({each.blobs for each in found.starts}))
    start.legend(fontsize=7)
    return plot


def _logarithmic(panel: Any, what: str, at: Iterable[int]) -> None:
    """Let the x axis be logarithmic, with ticks at the values that were measured."""
    panel.set_xscale("log")
    panel.set_xlabel(what)
    panel.set_xticks(list(at), [_short(each) for each in at], fontsize=8)
    panel.minorticks_off()
    panel.yaxis.set_major_formatter(NUMBER)
    panel.set_ylim(0, 1.08 * panel.dataLim.y1)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def _short(count: int) -> str:
    """65,536 as 66k."""
    if count >= 10**6:
        return f"{count / 10**6:.0f}M"
    return f"{count / 1000:.0f}k" if count >= 10_000 else f"{count:,}"
