"""Tests for memory.py: what is remembered of an upload, and by whom it may be found."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from attrs import evolve

from gostore.client.memory import Memory, Unfinished, Way
from gostore.client.sources import Identity

WAY = Way("http://127.0.0.1:7777", "a/b", "/home/me/b")
IDENTITY = Identity(1, 2, 3, 4, 5)
UNFINISHED = Unfinished("123", "0" * 64, IDENTITY, "location YQ==", "")


def test_across_a_kill(tmp_path: Path) -> None:
    """What is kept is found by whoever comes later, and nobody else may read it."""
    memory = Memory(tmp_path / "state" / "uploads")
    assert memory.sha256_of(WAY, IDENTITY) is None
    with memory.take(WAY) as slot:
        assert slot.found is None
        slot.keep(UNFINISHED)
    with memory.take(WAY) as slot:
        assert slot.found == UNFINISHED
        slot.keep(evolve(UNFINISHED, number="124"))
        assert memory.sha256_of(WAY, IDENTITY) == "0" * 64
    assert memory.sha256_of(WAY, evolve(IDENTITY, ctime_ns=6)) is None
    assert memory.sha256_of(evolve(WAY, location="a/c"), IDENTITY) is None
    [file] = (tmp_path / "state" / "uploads").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert json.loads(file.read_bytes())["number"] == "124"
    with memory.take(WAY) as slot:
        slot.forget()
    assert list((tmp_path / "state" / "uploads").iterdir()) == []


@pytest.mark.parametrize("other", ["location", "url", "path"])
def test_one_for_each_way(tmp_path: Path, other: str) -> None:
    """Each daemon, location and file has an upload of its own."""
    memory = Memory(tmp_path)
    for way in (WAY, evolve(WAY, **{other: "x\udcff"})):
        with memory.take(way) as slot:
            assert slot.found is None
            slot.keep(UNFINISHED)
    assert len(list(tmp_path.iterdir())) == 2


def test_two_clients(tmp_path: Path) -> None:
    """A client that has an upload has it alone: another one neither finds nor forgets it."""
    memory = Memory(tmp_path)
    with memory.take(WAY) as first:
        first.keep(UNFINISHED)
        with memory.take(WAY) as second:
            assert second.found is None
            second.keep(evolve(UNFINISHED, number="9"))
            second.forget()
        first.keep(evolve(UNFINISHED, number="124"))
        with memory.take(WAY) as third:
            assert third.found is None
    with memory.take(WAY) as slot:
        assert slot.found is not None and slot.found.number == "124"


def test_two_at_once(tmp_path: Path) -> None:
    """Of two clients that begin at once one is remembered, and the other forgets only its own."""
    memory = Memory(tmp_path)
    with memory.take(WAY) as first, memory.take(WAY) as second:
        first.keep(UNFINISHED)
        second.keep(evolve(UNFINISHED, number="9"))
        first.forget()
        assert memory.sha256_of(WAY, IDENTITY) is not None
    with memory.take(WAY) as slot:
        assert slot.found is not None and slot.found.number == "9"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 60_000,
        json.dumps({"number": "1"}).encode(),
        json.dumps({"number": "../1", "sha256": "0" * 64}).encode(),
    ],
)
def test_damaged(tmp_path: Path, text: bytes) -> None:
    """A file that a crash of the machine has left, or somebody else, is as good as none."""
    memory = Memory(tmp_path)
    with memory.take(WAY) as slot:
        slot.keep(UNFINISHED)
    [file] = tmp_path.iterdir()
    said = json.loads(file.read_bytes())
    if text.startswith(b'{"'):
        text = json.dumps({**said, **json.loads(text), "identity": [1]}).encode()
    file.write_bytes(text)
    assert memory.sha256_of(WAY, IDENTITY) is None
    with memory.take(WAY) as slot:
        assert slot.found is None
        slot.keep(UNFINISHED)
    for name, value in (("number", "../1"), ("number", ""), ("sha256", "x"), ("identity", {})):
        file.write_text(json.dumps({**said, name: value}))
        assert memory.take(WAY).found is None


def test_nowhere(tmp_path: Path) -> None:
    """Without a place for it nothing is remembered, and nothing fails."""
    (tmp_path / "file").write_bytes(b"")
    memory = Memory(tmp_path / "file" / "uploads")
    with memory.take(WAY) as slot:
        slot.keep(UNFINISHED)
        slot.forget()
    assert memory.sha256_of(WAY, IDENTITY) is None


def test_old(tmp_path: Path) -> None:
    """What has expired at every daemon is removed."""
    memory = Memory(tmp_path)
    with memory.take(WAY) as slot:
        slot.keep(UNFINISHED)
    [old] = tmp_path.iterdir()
    os.utime(old, (1, 1))
    with memory.take(evolve(WAY, location="z")) as slot:
        slot.keep(UNFINISHED)
    assert old not in tmp_path.iterdir()


def test_of_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's state is where XDG says."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for env, home in (({}, ".local/state"), ({"XDG_STATE_HOME": str(tmp_path / "s")}, "s")):
        with Memory.of_user(env).take(WAY) as slot:
            slot.keep(UNFINISHED)
        assert len(list((tmp_path / home / "gostore" / "uploads").iterdir())) == 1
