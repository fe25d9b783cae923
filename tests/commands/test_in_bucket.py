"""Commands about a bucket, with their arguments, over an engine in this process."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gostore.bucket.objects import s3_engine
from gostore.commands import main as cli
from gostore.prefixes import ByPrefix
from gostore.store.interface import Details, Lifetime
from tests.bucket.doubles import make_store
from tests.bucket.fake_s3 import BUCKET, FakeS3, error
from tests.store.doubles import FakeBody

PLACE = f"s3://{BUCKET}/main"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """An engine that has a store with two blobs, one of which expires."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    fake = FakeS3()
    store, _ = make_store(s3_engine(BUCKET, "main", fake.endpoint, None))
    for location, lifetime in (("hello", None), ("short", Lifetime(60))):
        store.create(location, FakeBody(b"Hello!"), Details(lifetime=lifetime))
    yield fake
    fake.close()


def run(engine: FakeS3, name: str, *arguments: str) -> int:
    """Run a command about the store."""
    return cli.main([name, "--store", PLACE, "--s3-endpoint", engine.endpoint, *arguments])


def test_undelete(engine: FakeS3, capsys: pytest.CaptureFixture[str]) -> None:
    """What was deleted is in the history, and comes back once, as in a directory."""
    kept = ByPrefix(3600.0)
    store, _ = make_store(s3_engine(BUCKET, "main", engine.endpoint, None), keep=kept)
    store.delete("hello")
    assert run(engine, "history", "hello") == 0
    assert re.fullmatch("[0-9]+: 6 bytes, .*Z, deleted .*Z\n", capsys.readouterr().out)
    assert run(engine, "undelete", "hello", ":none/") == 2
    said = capsys.readouterr().err
    assert said == "restored hello\ngostore: Nothing below none/ is deleted\n"
    assert run(engine, "undelete", "hello") == 2
    assert "hello is not deleted" in capsys.readouterr().err
    assert run(engine, "history", "--json", "hello") == 0
    current, deleted = map(json.loads, capsys.readouterr().out.splitlines())
    assert (current["state"], deleted["ended_by"]) == ("OK", "deleted")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("show", "hello"), "  location    hello\n"),
        (("show",), f"store: {PLACE} at http://"),
        (("why", "hello"), "hello has a blob of 6 bytes, with the id "),
        (("expire", "--dry-run"), "0 blobs of 0 bytes; the next of 1 expires at "),
        (("expire", "--dry-run", "--within", "2m"), "1 blob of 6 bytes"),
        (("fsck", "--digests"), "2 verified, 0 whose bytes were not read\nClean\n"),
        (("fsck", "--repair", "--json"), '"blobs": 2'),
    ],
)
def test_good(
    engine: FakeS3, command: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command says of a bucket what it says of a directory, and ends with 0."""
    assert run(engine, *command) == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [("show",), ("why", "hello"), ("expire", "--dry-run"), ("fsck",)]
)
def test_bad(engine: FakeS3, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """A bucket that cannot be asked, or is no store, is status 2 with the reason."""
    engine.trouble = lambda asked: error(403, "AccessDenied")
    assert run(engine, *command) == 2
    said = f"gostore: The bucket {PLACE} at {engine.endpoint} refused: AccessDenied\n"
    assert capsys.readouterr().err == said
    engine.trouble = lambda asked: None
    del engine.objects["main/store.json"]
    assert run(engine, *command) == 2
    assert "it has no store.json, and so is no store" in capsys.readouterr().err


def test_half_a_pair(
    engine: FakeS3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key without its secret is one line, and status 2."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert run(engine, "show") == 2
    said = f"gostore: {PLACE} cannot be used: AWS_SECRET_ACCESS_KEY is not set\n"
    assert capsys.readouterr().err == said


def test_migrate_home(engine: FakeS3, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a bucket to a directory, whatever the option for the engine is called."""
    command = ["migrate", "--from", PLACE, "--dir", str(tmp_path / "data")]
    assert cli.main([*command, "--from-s3-endpoint", engine.endpoint]) == 0
    assert "Moved 2 blobs of 12 bytes" in capsys.readouterr().out
    assert cli.main([*command, "--s3-endpoint", engine.endpoint]) == 0
    assert "2 of 2 were there" in capsys.readouterr().out
