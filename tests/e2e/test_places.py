"""71: where the data directory may lie: on FUSE, behind a link, under any name."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from gostore.commands.trial_daemon import Answer
from gostore.volume.directory import DATA, RECORDS
from gostore.volume.journal.format import NAMES as JOURNAL
from tests.e2e.conftest import Make
from tests.e2e.daemon import Daemon, ask, eventually, read_record
from tests.e2e.mounts import fuse, mount, overlay, run

MIB = 1 << 20


def health(daemon: Daemon) -> Answer:
    """Ask for its health."""
    with contextlib.closing(daemon.connect()) as connection:
        return ask(connection, "GET", "/healthz")


def test_fuse(make_daemon: Make, tmp_path: Path) -> None:
    """On FUSE, where one flush does not stand for all, there is no journal; the promise holds."""
    below = tmp_path / "below"
    below.mkdir()
    with fuse(tmp_path / "fuse", below) as at:
        daemon = make_daemon("--gc-interval", "0.2", directory=at / "data").start()
        blobs = {f"{number}": b"%d" % number * 7000**number for number in range(3)}
        for location, body in blobs.items():
            assert daemon.ask("POST", location, b"old").status == 204
            assert daemon.ask("PUT", location, body).status == 200
        assert daemon.ask("POST", "gone", b"x").status == 204
        assert daemon.ask("DELETE", "gone").status == 200
        daemon.kill()
        assert not set(os.listdir(below / "data")) & set(JOURNAL)
        daemon.start()
        for location, body in blobs.items():
            assert daemon.ask("GET", location).body == body
        assert daemon.ask("GET", "gone").status == 404
        daemon.clean()
        assert len(daemon.names()) == len(blobs)
        assert daemon.stop() == 0


def test_overlayfs(make_daemon: Make, tmp_path: Path) -> None:
    """Blobs in a lower layer of overlayfs are replaced, deleted, collected and quarantined."""
    lower = tmp_path / "lower"
    daemon = make_daemon(directory=lower).start()
    for location in ("replaced", "deleted", "damaged", "cut", "kept"):
        assert daemon.ask("POST", location, location.encode() * 20_000).status == 204
    assert daemon.stop() == 0
    with overlay(tmp_path / "merged", lower, tmp_path / "scratch") as at:
        daemon = make_daemon("--gc-interval", "0.1", directory=at)
        ids = {record.location: name for name, record in daemon.records().items()}
        os.truncate(at / ids["cut"] / DATA, 3)
        daemon.start()
        assert daemon.ask("PUT", "replaced", b"new").status == 200
        assert daemon.ask("DELETE", "deleted").status == 200
        with (at / ids["damaged"] / DATA).open("ab") as file:
            file.write(b"more")
        for location in ("damaged", "cut"):
            assert daemon.ask("GET", location).status == 500
        eventually(
            lambda: not daemon.names() & {ids[name] for name in ids if name != "kept"},
            "everything that is dead or damaged is out of the way",
        )
        left = {name for name in daemon.names() if not name.isdecimal()}
        assert sorted(read_record(at / name).location for name in left) == ["cut", "damaged"]
        daemon.stop()
        daemon.start()
        assert daemon.ask("GET", "replaced").body == b"new"
        assert daemon.ask("GET", "kept").body == b"kept" * 20_000
        assert daemon.ask("GET", "deleted").status == 404
        for location in ("damaged", "cut"):
            assert daemon.ask("GET", location).status == 500
            assert daemon.ask("DELETE", location).status == 200
            assert daemon.ask("GET", location).status == 404
        daemon.clean()
        lines = [line.partition("] ")[2] for line in daemon.log]
        assert not [line for line in set(lines) if "not" in line and lines.count(line) > 1]
        assert daemon.stop() == 0


def test_link(make_daemon: Make, tmp_path: Path) -> None:
    """A link, of a name that is not UTF-8, is followed at start. Moved, it stops the writing."""
    link = tmp_path / os.fsdecode(b"\xff")
    first, second = tmp_path / "first", tmp_path / "second"
    for one in (first, second):
        one.mkdir()
    link.symlink_to(first)
    daemon = make_daemon("--gc-interval", "0.2", directory=link).start()
    assert rf"Keeping blobs in {tmp_path}/\xff" in daemon.said
    assert daemon.ask("POST", "before", b"1").status == 204
    link.unlink()
    link.symlink_to(second)
    assert daemon.ask("POST", "after", bytes(MIB)).status == 503
    assert daemon.ask("GET", "before").body == b"1"
    assert health(daemon).status == 503
    link.unlink()
    link.symlink_to(first)
    assert health(daemon).status == 200
    assert daemon.ask("POST", "after", bytes(MIB)).status == 204
    assert daemon.ask("PUT", "before", b"2").status == 200
    assert daemon.ask("GET", "before").body == b"2"
    found = lambda: ["Updated" in each.log[-1] for each in daemon.records().values()]  # noqa: E731
    eventually(lambda: sorted(found()) == [False, True], "the old one is collected, the new there")
    assert daemon.stop() == 0
    assert os.listdir(second) == []
    assert len(set(os.listdir(first)) - {*JOURNAL, RECORDS}) == 2


@pytest.mark.parametrize("how", ["mounted over", "mounted over, above", "another", "none"])
def test_hidden(make_daemon: Make, tmp_path: Path, how: str) -> None:
    """While its path leads elsewhere nothing is written, and healthz and the log say why."""
    above = tmp_path / "above"
    above.mkdir()
    daemon = make_daemon("--gc-interval", "0.2", directory=above / "data").start()
    assert daemon.ask("POST", "a", b"1").status == 204
    moved = tmp_path / "moved"
    at = above if how.endswith("above") else daemon.directory
    if how.startswith("mounted"):
        mount("-t", "tmpfs", "gostore-test", at)
    else:
        daemon.directory.rename(moved)
        if how == "another":
            daemon.directory.mkdir()
    try:
        asked = [daemon.ask(*each) for each in (("POST", "b", b"2"), ("PUT", "a", b"2"))]
        for answer in (*asked, daemon.ask("DELETE", "a"), health(daemon)):
            assert (answer.status, b"leads elsewhere" in answer.body) == (503, True), answer
        assert daemon.ask("GET", "a").body == b"1"
    finally:
        if how.startswith("mounted"):
            run("umount", at)
        else:
            if how == "another":
                daemon.directory.rmdir()
            moved.rename(daemon.directory)
    assert health(daemon).status == 200
    assert daemon.ask("PUT", "a", b"2").status == 200
    assert daemon.stop() == 0
    assert daemon.said.count("leads elsewhere") == 1
    assert daemon.said.count("leads to it again") == 1
    assert daemon.start().ask("GET", "a").body == b"2"


def test_removed(make_daemon: Make) -> None:
    """Removed under the daemon: it says so, takes nothing any more, and can be told to end."""
    daemon = make_daemon().start()
    assert daemon.ask("POST", "a", b"1").status == 204
    shutil.rmtree(daemon.directory)
    connection = daemon.connect()
    answer = ask(connection, "GET", "/healthz")
    assert answer.status == 503
    assert b"the data directory has been removed" in answer.body
    connection.close()
    for verb, location in (("POST", "b"), ("PUT", "a"), ("DELETE", "a")):
        assert daemon.ask(verb, location, b"2").status == 503
    assert daemon.stop() == 0
