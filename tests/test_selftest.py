"""Tests for gostore.selftest, with daemons of its own."""

from __future__ import annotations

from pathlib import Path

from gostore import cli
from gostore.selftest import Trial, Verdict


def test_good(tmp_path: Path) -> None:
    """A short trial acknowledges, kills and fills, loses nothing, and leaves what was there."""
    (tmp_path / "mine").write_text("mine")
    verdict = Trial(str(tmp_path), seconds=20, kills=2, seed=1).run()
    assert verdict.wrong == []
    assert verdict.kills == 2
    assert verdict.acknowledged > 0 and verdict.checked > 0 and verdict.failed == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_verdict() -> None:
    """A verdict with a loss is bad, and says what and where."""
    verdict = Verdict("/srv/gostore-selftest-x", seed=7, wrong=["0/1: answered 404"])
    assert not verdict.good
    lines = verdict.as_lines()
    assert lines[0] == "0/1: answered 404"
    assert "/srv/gostore-selftest-x" in lines[1]
    assert lines[-1].startswith("BAD: lost 1")
    assert cli.BAD == 1
