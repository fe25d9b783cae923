"""Plots of what was measured, as SVG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from benchmarks.loads import Sample

# The same text gives the same file; letters stay letters.
STYLE = {"svg.hashsalt": "gostore", "svg.fonttype": "none", "font.size": 9}


def draw(samples: list[Sample], where: Path) -> list[Path]:
    """One plot of requests a second, one of processor time; returns the files."""
    figures = (
        ("requests", "requests a second", lambda sample: sample.per_second),
        ("processor", "CPU microseconds a request", lambda sample: sample.cpu_us),
    )
    where.mkdir(parents=True, exist_ok=True)
    made = []
    for name, title, figure in figures:
        made.append(where / f"{name}.svg")
        _bars(samples, title, figure, made[-1])
    return made


def _bars(samples: list[Sample], title: str, figure: Callable[[Sample], float], path: Path) -> None:
    """A panel for each load, a bar for each server: the median, and a line from least to most."""
    loads = list(dict.fromkeys(sample.load for sample in samples))
    names = list(dict.fromkeys(sample.server for sample in samples))
    colours = {name: f"C{number}" for number, name in enumerate(names)}
    rows = -(-len(loads) // 2)
    with pyplot.rc_context(STYLE):
        plot, panels = pyplot.subplots(rows, 2, figsize=(9, 1.9 * rows), squeeze=False)
        for panel in panels.flat[len(loads) :]:
            panel.axis("off")
        for panel, load in zip(panels.flat, loads, strict=False):
            mine = {
                name: [
                    figure(s) for s in samples if (s.load, s.server, s.errors) == (load, name, 0)
                ]
                for name in names
            }
            # The first server on top.
            shown = [name for name in reversed(names) if mine[name]]
            middle = [median(mine[name]) for name in shown]
            error = [
                [value - min(mine[name]) for value, name in zip(middle, shown, strict=True)],
                [max(mine[name]) - value for value, name in zip(middle, shown, strict=True)],
            ]
            panel.barh(
                shown, middle, xerr=error, color=[colours[name] for name in shown], alpha=0.5
            )
            for row, value in enumerate(middle):
                panel.text(
                    0,
                    row,
                    f" {value:,.0f}" if value >= 100 else f" {value:.3g}",
                    va="center",
                    ha="left",
                )
            panel.set_title(f"{load}: {title}", fontsize=9)
            panel.spines[["top", "right"]].set_visible(False)
        plot.tight_layout()
        plot.savefig(path, metadata={"Date": None})
        pyplot.close(plot)
