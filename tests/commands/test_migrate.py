"""Tests for gostore.commands.migrate: its arguments, its lines and its exit statuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from gostore.bucket.objects import s3_engine
from gostore.commands import main as cli
from gostore.commands.migrate import lines_of, status_of
from gostore.migration.mover import Report
from gostore.store.interface import Details
from tests.bucket.doubles import make_store
from tests.bucket.fake_s3 import BUCKET, FakeS3
from tests.store.doubles import FakeBody

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


def test_accounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the engine of one account to that of another, each by its own profile or environment."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ours")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "".join(
            f"[{name}]\naws_access_key_id = key-{name}\naws_secret_access_key = secret\n"
            for name in ("old", "new")
        )
    )
    old, new = FakeS3(), FakeS3()
    try:
        make_store(s3_engine(BUCKET, "a", old.endpoint, None))[0].create(
            "x", FakeBody(b"data"), Details()
        )
        old.asked.clear()
        command = ["migrate", "--from", f"s3://{BUCKET}/a", "--from-s3-endpoint", old.endpoint]
        command += ["--to", f"s3://{BUCKET}/b", "--s3-endpoint", new.endpoint]
        assert cli.main([*command, "--from-s3-profile", "old"]) == 0
        assert (old.signers(), new.signers()) == ({"key-old"}, {"ours"})
        assert any(kept.data == b"data" for kept in new.objects.values())
        new.asked.clear()
        assert cli.main([*command, "--from-s3-profile", "old", "--s3-profile", "new"]) == 0
        assert (old.signers(), new.signers()) == ({"key-old"}, {"key-new"})
        assert cli.main([*command, "--from-s3-profile", "none"]) == 2
    finally:
        old.close()
        new.close()


def test_no_source(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    """A source that is not there is status 2, and nothing is asked of the bucket."""
    missing = f"{tmp_path}/missing"
    command = ["migrate", "--dir", missing, "--to", "s3://bucket/x"]
    assert cli.main([*command, "--s3-endpoint", "http://127.0.0.1:1"]) == 2
    assert "No such file or directory" in capsys.readouterr().err
