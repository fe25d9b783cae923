"""Tests for gostore.cli: arguments, output, exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gostore import cli
from gostore.volume import DATA
from tests.e2e.daemon import FIXTURES

GO = FIXTURES / "go-data"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that the Go server wrote, for us to spoil."""
    return Path(shutil.copytree(GO, tmp_path / "data"))


def test_fsck(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound directory is status 0, a damaged one 1, one that cannot be judged 2."""
    assert cli.main(["fsck", "--dir", str(directory)]) == 0
    assert "without a digest to verify" in capsys.readouterr().out
    live = next(path for path in directory.glob(f"*/{DATA}") if path.read_bytes() != b"")
    for path in directory.glob(f"*/{DATA}"):
        path.unlink()
    assert live.parent.is_dir()
    assert cli.main(["fsck", "--dir", str(directory), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["clean"]
    assert {each["kind"] for each in report["findings"]} >= {"damaged"}
    assert cli.main(["fsck", "--dir", str(directory), "--repair"]) == 1
    assert "repaired" in capsys.readouterr().out
    assert cli.main(["fsck", "--dir", str(directory / "missing")]) == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_show(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A blob's record is printed; one that is not there is status 2."""
    assert cli.main(["show", "--dir", str(directory), "13342"]) == 0
    assert capsys.readouterr().out.startswith("Blob 13342\n")
    assert cli.main(["show", "--dir", str(directory), "nothing"]) == 2
    assert capsys.readouterr().err == "gostore: nothing does not exist\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fsck"],
        ["what"],
        ["selftest", "--crash", ".", "--seconds", "0"],
        ["selftest", "--crash", ".", "--kills", "-1"],
    ],
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that makes no sense is status 2, with the reason."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: gostore" in capsys.readouterr().err


def test_selftest_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trial in a directory that is not there is status 2."""
    assert cli.main(["selftest", "--crash", str(tmp_path / "missing")]) == 2
    assert "No such file" in capsys.readouterr().err
