"""Tests for gostore.commands.migrate: its arguments, its lines and its exit statuses."""

from __future__ import annotations

import pytest
from attrs import evolve

from gostore.commands import main as cli
from gostore.commands.migrate import lines_of, status_of
from gostore.migration.mover import Report

DONE = Report("directory /a", "s3://b", blobs=3, moved=2, bytes=10, there=1, complete=True)


@pytest.mark.parametrize(
    ("report", "status", "last"),
    [
        (DONE, 0, "s3://b is complete"),
        (evolve(DONE, damaged={"x": "gone"}), 8, "s3://b is complete"),
        (
            evolve(DONE, complete=False, conflicts={"x": "other bytes are there"}),
            6,
            "s3://b is not complete, and no daemon will serve it",
        ),
        (
            evolve(DONE, complete=False, changed=True, damaged={"x": "gone"}),
            1,
            "s3://b is not complete, and no daemon will serve it",
        ),
        (evolve(DONE, complete=False, dry=True), 0, "Nothing was changed"),
    ],
)
def test_outcome(report: Report, status: int, last: str) -> None:
    """The exit status says what went wrong, the last line whether the target can be served."""
    assert status_of(report) == status
    assert lines_of(report)[-1] == last


def test_lines() -> None:
    """What is damaged, in the way or left behind is named; nothing that is named moves a cursor."""
    report = evolve(
        DONE,
        damaged={"\x1b[31mred": "gone"},
        conflicts={"c": "other bytes are there"},
        left={"kept version": 2, "unfinished upload": 1},
        changed=True,
        complete=False,
    )
    damaged, conflict, moved, changed, _ = lines_of(report)
    assert damaged == "damaged: \\x1b[31mred: gone"
    assert conflict == "conflict: c: other bytes are there"
    assert moved == (
        "Moved 2 blobs of 10 bytes in 0.0 seconds; 1 of 3 were there;"
        " left behind: 2 kept versions, 1 unfinished upload, 1 damaged"
    )
    assert "stop its daemons" in changed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say two of --dir, --from and --to"),
        (["--dir", "/a"], "say two of --dir, --from and --to"),
        (["--dir", "/a", "--to", "s3://bucket/x", "--from", "s3://bucket/y"], "say two of"),
        (["--to", "s3://bucket/x", "--from", "s3://bucket/x/"], "are the same"),
        (["--dir", "/a", "--to", "http://x"], "is not like s3://bucket/prefix"),
        (["--dir", "/a", "--to", "s3://bucket/x", "--jobs", "0"], "--jobs"),
    ],
)
def test_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that makes no sense is status 2, with the reason."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["migrate", *arguments])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_no_source(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    """A source that is not there is status 2, and nothing is asked of the bucket."""
    missing = f"{tmp_path}/missing"
    command = ["migrate", "--dir", missing, "--to", "s3://bucket/x"]
    assert cli.main([*command, "--s3-endpoint", "http://127.0.0.1:1"]) == 2
    assert "No such file or directory" in capsys.readouterr().err
