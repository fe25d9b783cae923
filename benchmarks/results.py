"""All that was measured, by the part of the benchmarks that did, and the same as JSON.

Each part has a file of its own. Both sides of a ratio are in one file, so both come from one run.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from attrs import asdict, define, evolve, field, frozen

from benchmarks.calls import Calls
from benchmarks.collection import Collection
from benchmarks.growth import Start
from benchmarks.holds import Hold
from benchmarks.installed import ROOT
from benchmarks.layout import Limit
from benchmarks.loads import Sample
from benchmarks.scale import Asked, Scaled, Simulated
from benchmarks.sustained import Sustained
from benchmarks.tricks import Effect
from benchmarks.upkeep import Sizes, Upkeep

COMMITTED = Path(__file__).parent / "results"
"""What docs/performance.md says."""

SECOND = COMMITTED / "second"
"""What a second run gave, for comparison."""

KINDS: dict[str, dict[str, Any]] = {
    "loads": {"samples": Sample, "layouts": Limit},
    "sustained": {"sustained": Sustained},
    "turns": {"holds": Hold},
    "growth": {
        "starts": Start,
        "scattered": Sample,
        "grown_holds": Hold,
        "collections": Collection,
    },
    "calls": {"calls": Calls},
    "tricks": {"tricks": Effect},
    "scale": {
        "scaled": Scaled,
        "asked": Asked,
        "simulated": Simulated,
        "upkeep": Upkeep,
        "sizes": Sizes,
    },
}
"""The parts, and what each has measured."""


IDLE = 1.5
"""A machine with a higher load average does something else meanwhile."""


@frozen
class Heading:
    """What a part was run on, and how."""

    date: str
    commit: str
    command: str
    machine: str
    python: str
    file_system: str
    load_average: float
    """Over the minute before the beginning: of what else the machine was at."""
    seconds: float = 0.0
    """What all of the part took."""

    @property
    def caveat(self) -> str | None:
        """Why its figures say little, if they do."""
        reasons = []
        if "--quick" in self.command:
            reasons.append("one short round")
        if self.load_average > IDLE:
            reasons.append(f"a machine that did other work (load average {self.load_average:.1f})")
        return f"a first look: {' on '.join(reasons)}" if reasons else None

    @classmethod
    def now(cls, arguments: Iterable[str], file_system: str) -> Heading:
        """Of a part that begins now."""
        given = " ".join(arguments)
        return cls(
            date=datetime.now(timezone.utc).date().isoformat(),
            commit=_commit(),
            command=f'make bench ARGS="{given}"' if given else "make bench",
            machine=f"{platform.platform()}, {os.cpu_count()} processors",
            python=platform.python_version(),
            file_system=file_system,
            load_average=os.getloadavg()[0],
        )


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=, changed", "--abbrev=7"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


@define
class Results:
    """What was measured, by its kind; what was left out is empty."""

    headings: dict[str, Heading] = field(factory=dict)
    samples: list[Sample] = field(factory=list)
    layouts: list[Limit] = field(factory=list)
    sustained: list[Sustained] = field(factory=list)
    holds: list[Hold] = field(factory=list)
    starts: list[Start] = field(factory=list)
    scattered: list[Sample] = field(factory=list)
    grown_holds: list[Hold] = field(factory=list)
    collections: list[Collection] = field(factory=list)
    calls: list[Calls] = field(factory=list)
    tricks: list[Effect] = field(factory=list)
    scaled: list[Scaled] = field(factory=list)
    asked: list[Asked] = field(factory=list)
    simulated: list[Simulated] = field(factory=list)
    upkeep: list[Upkeep] = field(factory=list)
    sizes: list[Sizes] = field(factory=list)

    def took(self, part: str, seconds: float) -> None:
        """Note how long a part took."""
        self.headings[part] = evolve(self.headings[part], seconds=round(seconds, 1))

    def save(self, directory: Path) -> None:
        """Write a file for each part that was measured; other files stay."""
        directory.mkdir(parents=True, exist_ok=True)
        for part, heading in self.headings.items():
            lines = ["{", f'"heading": {json.dumps(asdict(heading), indent=1)}']
            for name in KINDS[part]:
                figures = ",\n".join(_line(each) for each in getattr(self, name))
                lines[-1] += ","
                lines.append(f'"{name}": [\n{figures}\n]')
            (directory / f"{part}.json").write_text("\n".join([*lines, "}"]) + "\n")


def _line(figure: Any) -> str:
    """One figure a line; no more digits than mean something."""
    short = {
        key: float(f"{value:.6g}") if isinstance(value, float) else value
        for key, value in asdict(figure).items()
    }
    return json.dumps(short)


def load(directory: Path = COMMITTED) -> Results:
    """Read what `Results.save` wrote."""
    found = Results()
    for part, kinds in KINDS.items():
        path = directory / f"{part}.json"
        if path.exists():
            data = json.loads(path.read_text())
            found.headings[part] = Heading(**data["heading"])
            for name, kind in kinds.items():
                setattr(found, name, [kind(**each) for each in data[name]])
    return found


def headings_table(found: Results, second: Results | None = None) -> str:
    """What each part was run on, as Markdown."""
    lines = [
        "| part | date | commit | command | minutes | load average at its beginning |",
        "|---|---|---|---|--:|--:|",
    ]
    parts = list(found.headings.items())
    if second is not None:
        parts += [(f"{part}, second run", each) for part, each in second.headings.items()]
    for part, each in parts:
        lines.append(
            f"| {part} | {each.date} | {each.commit} | `{each.command}` "
            f"| {each.seconds / 60:.1f} | {each.load_average:.1f} |"
        )
    machines = dict.fromkeys(
        f"{each.machine}, Python {each.python}, {each.file_system}." for _, each in parts
    )
    return "\n".join([*machines, "", *lines])
