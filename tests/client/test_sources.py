"""Tests for sources.py: what is sent is what was there when its digest was computed."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest

from gostore.client.errors import SourceFailed
from gostore.client.sources import Bytes, File, Stream, source_of


def test_bytes() -> None:
    """Bytes know their size and digest, and can be sent again."""
    source = Bytes(b"x" * 600_000)
    assert source.sha256 == hashlib.sha256(b"x" * 600_000).hexdigest()
    assert [len(piece) for piece in source.pieces()] == [262_144, 262_144, 75_712]
    assert b"".join(source.pieces()) == b"x" * 600_000
    assert list(Bytes(b"").pieces()) == []


def test_file(tmp_path: Path) -> None:
    """A file says how much of it is sent, from the beginning each time."""
    path = tmp_path / "a"
    path.write_bytes(b"y" * 300_000)
    told: list[int] = []
    source = File(path, told.append)
    assert (source.size, source.mtime_ns) == (300_000, path.stat().st_mtime_ns)
    for _ in range(2):
        assert b"".join(source.pieces()) == b"y" * 300_000
    assert told == [262_144, 300_000] * 2


@pytest.mark.parametrize("now", [b"z" * 10, b"y" * 9, b"y" * 11, b""])
def test_file_changes(tmp_path: Path, now: bytes) -> None:
    """A file that changes meanwhile is never sent whole."""
    path = tmp_path / "a"
    path.write_bytes(b"y" * 10)
    source = File(path)
    path.write_bytes(now)
    sent = []
    with pytest.raises(SourceFailed, match="changed"):
        for piece in source.pieces():
            sent.append(piece)
    assert len(b"".join(sent)) < 10
    path.unlink()
    with pytest.raises(SourceFailed, match="No such file"):
        list(source.pieces())


def test_no_file(tmp_path: Path) -> None:
    """What is no file is an error at once, and a FIFO without a writer waits for nobody."""
    with pytest.raises(OSError, match="directory"):
        File(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert File(tmp_path / "fifo").size == 0


def test_stream() -> None:
    """A stream has its digest once it is read."""
    source = Stream([b"a", b"", b"b"])
    assert (source.sha256, source.size, source.is_repeatable) == (None, None, False)
    assert list(source.pieces()) == [b"a", b"b"]
    assert source.sha256 == hashlib.sha256(b"ab").hexdigest()


def test_kinds(tmp_path: Path) -> None:
    """What a caller gives is what it is; a text is nothing."""
    (tmp_path / "a").write_bytes(b"a")
    assert isinstance(source_of(b"a"), Bytes)
    assert isinstance(source_of(bytearray(b"a")), Bytes)
    assert isinstance(source_of(io.BytesIO(b"a")), Bytes)
    assert isinstance(source_of(tmp_path / "a"), File)
    assert isinstance(source_of(iter([b"a"])), Stream)
    with open(tmp_path / "a", "rb") as file:
        assert list(source_of(file).pieces()) == [b"a"]
    with pytest.raises(TypeError):
        source_of("a")
