"""Every input that the fuzz targets begin with, and every one they have stumbled over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz import fields, journal, recovery, statefile, wire

CORPUS = Path(__file__).parent.parent / "fuzz" / "corpus"
TARGETS: dict[str, Callable[[bytes], None]] = {
    "fields": fields.check,
    "journal": journal.check,
    "recovery": recovery.check,
    "statefile": statefile.check,
    "wire": wire.check,
}
INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_input(path: Path) -> None:
    """What must always hold of a target holds of this input."""
    TARGETS[path.parent.name](path.read_bytes())


def test_corpora() -> None:
    """Each target has a corpus, and each corpus a target."""
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
