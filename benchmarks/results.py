"""All that a run has measured, and the same as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from attrs import asdict, define, field

from benchmarks.calls import Calls
from benchmarks.collection import Collection
from benchmarks.growth import Growth
from benchmarks.holds import Hold
from benchmarks.loads import Sample
from benchmarks.tricks import Effect


@define
class Results:
    """What was measured, by its kind; what was left out is empty."""

    machine: str
    python: str
    file_system: str
    load_average: float
    """Over the minute before the beginning: of what else the machine was at."""
    seconds: float = 0.0
    """What all of it took."""
    samples: list[Sample] = field(factory=list)
    holds: list[Hold] = field(factory=list)
    growth: list[Growth] = field(factory=list)
    collections: list[Collection] = field(factory=list)
    calls: list[Calls] = field(factory=list)
    tricks: list[Effect] = field(factory=list)

    @property
    def heading(self) -> str:
        """On what, and how often."""
        rounds = len({sample.round for sample in self.samples})
        return (
            f"Measured on {self.machine}, Python {self.python}, {self.file_system}; "
            f"{rounds} rounds; {self.seconds / 60:.0f} minutes in all; "
            f"load average at the beginning {self.load_average:.1f}."
        )

    def save(self, path: Path) -> None:
        """Write the JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def load(path: Path) -> Results:
    """Read what `Results.save` wrote."""
    found = json.loads(path.read_text())
    kinds = {
        "samples": Sample,
        "holds": Hold,
        "growth": Growth,
        "collections": Collection,
        "calls": Calls,
        "tricks": Effect,
    }
    for name, kind in kinds.items():
        found[name] = [kind(**each) for each in found[name]]
    return Results(**found)
