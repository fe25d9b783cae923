"""docs/performance.md: what stands between its markers is written from the results."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import plots, report, targets
from benchmarks.loads import Sample

DOCS = Path(__file__).parent.parent / "docs"


def update(found: Mapping[str, Any], docs: Path = DOCS) -> None:
    """Write tables and plots anew from what ``python -m benchmarks`` kept as JSON."""
    samples = [Sample(**each) for each in found["samples"]]
    made = plots.draw(samples, docs / "performance")
    rounds = len({sample.round for sample in samples})
    parts = {
        "machine": f"Measured on {found['machine']}, Python {found['python']}, "
        f"{found['file system']}; {rounds} rounds.",
        "targets": targets.table(samples),
        "samples": report.table(samples),
        "plots": "\n\n".join(f"![{path.stem}](performance/{path.name})" for path in made),
    }
    page = docs / "performance.md"
    page.write_text(filled(page.read_text(), parts))


def filled(text: str, parts: Mapping[str, str]) -> str:
    """Put each part between ``<!-- NAME -->`` and ``<!-- end -->``; KeyError for a missing one."""

    def part(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{parts[match[1]]}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n(?:.*?\n)?<!-- end -->", part, text, flags=re.DOTALL)


if __name__ == "__main__":
    update(json.loads(Path(sys.argv[1]).read_text()))
