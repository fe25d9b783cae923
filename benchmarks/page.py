"""docs/performance.md: what stands between its markers is written from the results."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import calls, collection, growth, holds, report, results, targets, tricks
from benchmarks.results import Results

NOTHING = "Not measured."

DOCS = Path(__file__).parent.parent / "docs"


def tables(found: Results) -> dict[str, str]:
    """Every table by the name of its place in the page."""
    made = {
        "summary": report.summary(found.samples) if found.samples else None,
        "samples": report.table(found.samples) if found.samples else None,
        "holds": holds.table(found.holds) if found.holds else None,
        "growth": growth.table(found.growth) if found.growth else None,
        "collections": collection.table(found.collections) if found.collections else None,
        "calls": calls.table(found.calls) if found.calls else None,
        "tricks": tricks.table(found.tricks) if found.tricks else None,
    }
    return {
        "machine": found.heading,
        "targets": targets.table(found),
        **{name: text or NOTHING for name, text in made.items()},
    }


def text(found: Results) -> str:
    """All tables, for a terminal."""
    return "\n\n".join(tables(found).values()) + "\n"


def update(found: Results, docs: Path = DOCS) -> None:
    """Write the tables and the plots anew."""
    # Here, since all else does without matplotlib.
    from benchmarks import plots

    pictures = dict.fromkeys((f"{name}_plot" for name in plots.PLOTS), NOTHING)
    for name, title in plots.draw(found, docs / "performance").items():
        pictures[f"{name}_plot"] = f"![{title}](performance/{name}.svg)"
    page = docs / "performance.md"
    page.write_text(filled(page.read_text(), tables(found) | pictures))


def filled(text: str, parts: Mapping[str, str]) -> str:
    """Put each part between ``<!-- NAME -->`` and ``<!-- end -->``; KeyError for a missing one."""

    def part(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{parts[match[1]]}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n(?:.*?\n)??<!-- end -->", part, text, flags=re.DOTALL)


if __name__ == "__main__":
    update(results.load(Path(sys.argv[1])))
