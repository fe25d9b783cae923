"""docs/performance.md, written from the committed results and ``performance.md.in``.

``python -m benchmarks.page`` writes the page, its plots and the figures in the README anew, without
measuring. In the template ``{{name}}`` is a table and ``{{name|argument|...}}`` a figure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from statistics import median

from attrs import frozen

from benchmarks import (
    calls,
    collection,
    growth,
    holds,
    layout,
    report,
    results,
    scale,
    sustained,
    targets,
    tricks,
    upkeep,
)
from benchmarks.installed import COMMIT, ROOT
from benchmarks.results import Results

NOTHING = "Not measured."

TEMPLATE = Path(__file__).with_name("performance.md.in")
DOCS = ROOT / "docs"
README = ROOT / "README.md"

PLOTS = {
    "summary": "Requests a second beside other servers",
    "connections": "1 KiB from 1 to 1,000 connections",
    "growth": "From 1 to 1,000,000 blobs",
}
"""The pictures, and what they show."""


def tables(found: Results, second: Results | None = None) -> dict[str, str]:
    """Every table by its name in the template."""
    made = {
        "summary": found.samples and report.summary(found.samples),
        "slower": found.samples and report.slower(found.samples),
        "samples": found.samples and report.table(found.samples),
        "layouts": found.layouts and layout.table(found.layouts, found.samples),
        "sustained": found.sustained and sustained.table(found.sustained),
        "holds": found.holds and holds.table(found.holds + found.grown_holds),
        "starts": found.starts and growth.table(found.starts),
        "scattered": found.scattered and growth.requests_table(found.scattered),
        "collections": found.collections and collection.table(found.collections),
        "calls": found.calls and calls.table(found.calls),
        "tricks": found.tricks and tricks.table(found.tricks),
        "scaled": found.scaled and scale.table(found.scaled),
        "asked": found.asked and scale.asked_table(found.asked),
        "upkeep": found.upkeep and upkeep.table(found.upkeep, found.sizes),
        "simulated": found.simulated and scale.simulated_table(found.simulated),
    }
    return {
        "targets": targets.table(found, second),
        "headings": results.headings_table(found, second),
        **{name: text or NOTHING for name, text in made.items()},
    }


@frozen
class Figures:
    """Single figures of the results, as the page's sentences have them."""

    found: Results

    def before(self) -> str:
        """The commit that today's gostore is held against."""
        return f"`{COMMIT}`"

    def date(self, part: str) -> str:
        """When a part was measured."""
        heading = self.found.headings.get(part)
        return "(not measured)" if heading is None else heading.date

    def caveat(self, part: str) -> str:
        """Why the figures of a part say little, if they do."""
        heading = self.found.headings.get(part)
        reason = None if heading is None else heading.caveat
        return "" if reason is None else f" **These figures are only {reason}.**"

    def command(self, part: str) -> str:
        """How a part was measured."""
        heading = self.found.headings.get(part)
        return "(not measured)" if heading is None else f"`{heading.command}`"

    def rate(self, server: str, load: str) -> str:
        """Requests a second."""
        return _said(report.middle(self.found.samples, server, load))

    def cpu(self, server: str, load: str) -> str:
        """Microseconds of processor time of a request."""
        return _said(report.middle(self.found.samples, server, load, targets.cpu))

    def p99(self, server: str, load: str) -> str:
        """Milliseconds that one request of a hundred takes longer than."""
        return _said(report.middle(self.found.samples, server, load, targets.p99))

    def ratio(self, server: str, base: str, load: str) -> str:
        """Requests a second of one over those of another."""
        seen = report.ratios(self.found.samples, server, base, load)
        return _said(None if seen is None else seen.median)

    def peak(self, server: str) -> str:
        """The most memory under any load, in MiB."""
        kib = [each.peak_kib for each in self.found.samples if each.server == server]
        return _said(max(kib) / 1024 if kib else None)

    def layout(self, kind: str, language: str) -> str:
        """Microseconds of processor time in which a bare loop makes the files of a blob."""
        mine = [
            each.cpu_us
            for each in self.found.layouts
            if (each.kind, each.language) == (kind, language)
        ]
        return _said(median(mine) if mine else None)

    def blob(self) -> str:
        """Bytes of memory for each blob, where there are most, and how many that is."""
        found = growth.bytes_a_blob(self.found.starts)
        return f"{_said(found[most := max(found)])} bytes, of {most:,}" if found else _said(None)

    def cache(self) -> str:
        """MiB of memory that the answer cache takes."""
        return _said(growth.cache_mib(self.found.starts))

    def start(self, server: str, blobs: str) -> str:
        """Seconds of a start."""
        mine = [
            each.seconds
            for each in self.found.starts
            if (each.server, each.blobs) == (server, int(blobs))
        ]
        return _said(median(mine) if mine else None)

    def turn(self, server: str, load: str) -> str:
        """Milliseconds of the longest turn of the reactor."""
        mine = [
            each.longest_ms
            for each in self.found.holds
            if (each.server, each.load) == (server, load)
        ]
        return _said(max(mine, default=None))


def _said(value: float | None) -> str:
    return "(not measured)" if value is None else report.number(value)


def rendered(template: str, found: Results, second: Results | None = None) -> str:
    """The template with the tables and figures. Raises KeyError for one that there is not."""
    made, figures = tables(found, second), Figures(found)

    def part(match: re.Match[str]) -> str:
        name, *arguments = match[1].split("|")
        if not arguments and name in made:
            return made[name]
        try:
            figure: Callable[..., str] = getattr(figures, name)
        except AttributeError as error:
            raise KeyError(name) from error
        return figure(*arguments)

    return re.sub(r"\{\{(.+?)\}\}", part, template)


def filled(text: str, name: str, part: str) -> str:
    """Put a part between ``<!-- NAME -->`` and ``<!-- end -->``. Raises KeyError if it has none."""
    pattern = rf"<!-- {name} -->\n.*?<!-- end -->"
    made, count = re.subn(
        pattern, lambda _: f"<!-- {name} -->\n{part}\n<!-- end -->", text, flags=re.DOTALL
    )
    if count != 1:
        raise KeyError(name)
    return made


IN_README = """\
| performance | |
|---|---|
| store 1 KiB, flushed to the disk before the answer | {{rate|gostore|POST 1 KiB}} a second |
| overwrite 1 KiB, flushed, too | {{rate|gostore|PUT 1 KiB over 500 keys}} a second |
| read 1 KiB | {{rate|gostore|GET 1 KiB}} a second |
| memory, whatever the size of the blobs | {{peak|gostore}} MiB at most, and for a blob {{blob}} |

Measured on {{date|loads}} with {{command|loads}}: 32 connections, two cores, ext4.{{caveat|loads}}
[docs/performance.md](docs/performance.md) has the method, other servers, and known slow spots."""


def pages(found: Results, second: Results | None) -> dict[Path, str]:
    """The text of each file that has figures."""
    return {
        DOCS / "performance.md": rendered(TEMPLATE.read_text(), found, second),
        README: filled(README.read_text(), "performance", rendered(IN_README, found)),
    }


def text(found: Results) -> str:
    """All tables of what was measured, for a terminal."""
    all_tables = "\n\n".join(each for each in tables(found).values() if each != NOTHING)
    return "\n".join(row for row in all_tables.splitlines() if "| not measured |" not in row) + "\n"


def committed() -> tuple[Results, Results | None]:
    """The results that the pages are written from, and those of a second run if there was one."""
    second = results.load(results.SECOND)
    return results.load(), second if second.headings else None


def update() -> None:
    """Write the pages and the plots anew."""
    # Here, since all else does without matplotlib.
    from benchmarks import plots

    found, second = committed()
    plots.draw(found, DOCS / "performance")
    for path, page in pages(found, second).items():
        path.write_text(page)


if __name__ == "__main__":
    update()
