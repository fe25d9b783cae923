"""Plots of what was measured, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from benchmarks.loads import Sample, connections
from benchmarks.report import number
from benchmarks.results import Results

# The same text gives the same file; letters stay letters.
STYLE = {"svg.hashsalt": "gostore", "svg.fonttype": "none", "font.size": 9}

NUMBER = "{x:,.7g}"

Figure = Callable[[Sample], float]


def draw(found: Results, where: Path) -> dict[str, str]:
    """Draw what there is, each as NAME.svg; returns the titles by name."""
    where.mkdir(parents=True, exist_ok=True)
    made = {}
    for name, (title, drawn) in PLOTS.items():
        with pyplot.rc_context(STYLE):
            plot = drawn(found)
            if plot is not None:
                plot.tight_layout()
                plot.savefig(where / f"{name}.svg", metadata={"Date": None})
                pyplot.close(plot)
                made[name] = title
    return made


def _requests(found: Results) -> Any:
    return _bars(found, "requests/s", lambda sample: sample.per_second)


def _processor(found: Results) -> Any:
    return _bars(found, "CPU µs a request", lambda sample: sample.cpu_us)


def _bars(found: Results, unit: str, figure: Figure) -> Any:
    """A panel for each load, a bar for each server: the median, and a line from least to most."""
    samples = [sample for sample in found.samples if connections(sample.load) is None]
    if not samples:
        return None
    loads = list(dict.fromkeys(sample.load for sample in samples))
    names = list(dict.fromkeys(sample.server for sample in samples))
    colours = {name: f"C{number}" for number, name in enumerate(names)}
    rows = -(-len(loads) // 2)
    plot, panels = pyplot.subplots(rows, 2, figsize=(9, 1.9 * rows), squeeze=False)
    for panel in panels.flat[len(loads) :]:
        panel.axis("off")
    for panel, load in zip(panels.flat, loads, strict=False):
        mine = {
            name: [figure(s) for s in samples if (s.load, s.server, s.errors) == (load, name, 0)]
            for name in names
        }
        # The first server on top.
        shown = [name for name in reversed(names) if mine[name]]
        middle = [median(mine[name]) for name in shown]
        panel.barh(
            shown,
            middle,
            xerr=_reach(middle, [mine[name] for name in shown]),
            color=[colours[name] for name in shown],
            alpha=0.5,
        )
        for row, value in enumerate(middle):
            panel.text(0, row, f" {number(value)}", va="center", ha="left")
        panel.set_title(load, fontsize=9)
        panel.set_xlabel(unit)
        panel.xaxis.set_major_locator(pyplot.MaxNLocator(4))
        panel.xaxis.set_major_formatter(NUMBER)
        panel.spines[["top", "right"]].set_visible(False)
    return plot


def _reach(middle: list[float], values: list[list[float]]) -> list[list[float]]:
    """How far the least and the most are from the median, as error bars want it."""
    return [
        [value - min(each) for value, each in zip(middle, values, strict=True)],
        [max(each) - value for value, each in zip(middle, values, strict=True)],
    ]


def _connections(found: Results) -> Any:
    """A panel for each figure, a line for each server that was measured over several counts."""
    samples = [each for each in found.samples if connections(each.load, plain=True) is not None]
    if not samples:
        return None
    figures: tuple[tuple[str, Figure], ...] = (
        ("requests/s", lambda sample: sample.per_second),
        ("CPU µs a request", lambda sample: sample.cpu_us),
        ("p99 ms", lambda sample: sample.p99_ms),
    )
    servers = dict.fromkeys(s.server for s in samples if connections(s.load) is not None)
    plot, panels = pyplot.subplots(1, len(figures), figsize=(9, 3))
    for panel, (unit, figure) in zip(panels, figures, strict=True):
        for marker, server in zip("os^v", servers, strict=False):
            mine: dict[int, list[float]] = {}
            for sample in samples:
                count = connections(sample.load, plain=True)
                if sample.server == server and not sample.errors and count is not None:
                    mine.setdefault(count, []).append(figure(sample))
            counts = sorted(mine)
            values = [mine[count] for count in counts]
            middle = [median(each) for each in values]
            panel.errorbar(
                counts, middle, yerr=_reach(middle, values), marker=marker, capsize=2, label=server
            )
        panel.set_ylabel(unit)
        _logarithmic(panel, "connections", (1, 8, 32, 128, 1000))
    panels[0].legend()
    return plot


def _growth(results: Results) -> Any:
    """Panels for start, memory, and what each request costs."""
    found = results.growth
    if not found:
        return None
    blobs = [each.blobs for each in found]
    plot, panels = pyplot.subplots(2, 2, figsize=(9, 5.5))
    start, memory, processor, requests = panels.flat

    def line(panel: Any, label: str | None, marker: str, values: Iterable[float]) -> None:
        panel.plot(blobs, list(values), marker=marker, label=label)

    line(start, None, "o", (median(each.start_seconds) for each in found))
    start.set_ylabel("start to first answer, s")
    start.set_yscale("log")
    start.yaxis.set_major_locator(pyplot.LogLocator(subs=(1, 2, 5)))
    line(memory, "after the start", "o", (each.rss_kib / 1024 for each in found))
    line(memory, "most", "s", (each.peak_kib / 1024 for each in found))
    memory.set_ylabel("memory, MiB")
    line(processor, "GET", "o", (each.get_cpu_us for each in found))
    line(processor, "PUT", "s", (each.put_cpu_us for each in found))
    processor.set_ylabel("CPU µs a request of 1 KiB")
    line(requests, "GET", "o", (each.get_per_second for each in found))
    line(requests, "PUT", "s", (each.put_per_second for each in found))
    requests.set_ylabel("requests/s of 1 KiB")
    for panel in (start, memory, processor, requests):
        _logarithmic(panel, "blobs", blobs)
        if panel is not start:
            panel.legend()
    return plot


def _logarithmic(panel: Any, what: str, at: Iterable[int]) -> None:
    """Let the x axis be logarithmic, with ticks at the values that were measured."""
    panel.set_xscale("log")
    panel.set_xlabel(what)
    panel.set_xticks(list(at), [f"{each:,}" for each in at], fontsize=8)
    panel.minorticks_off()
    panel.yaxis.set_major_formatter(NUMBER)
    if panel.get_yscale() == "linear":
        panel.set_ylim(0, 1.08 * panel.dataLim.y1)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


PLOTS: dict[str, tuple[str, Callable[[Results], Any]]] = {
    "requests": ("Requests a second", _requests),
    "processor": ("CPU time a request", _processor),
    "connections": ("GET 1 KiB from 1 to 1,000 connections", _connections),
    "growth": ("From 1 to 1,000,000 blobs", _growth),
}
"""Titles, and what draws them; None where there is nothing to draw."""
