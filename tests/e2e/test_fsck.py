"""``gostore fsck`` as a process, on a directory that a daemon has written and somebody spoiled."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Make
from tests.e2e.daemon import STATE, Daemon, eventually, run_fsck

DATA = "data.raw"


def findings(directory: Path) -> tuple[int, dict[str, Any]]:
    """Its exit status, and each finding by the name of its directory."""
    ended = run_fsck(directory, "--json")
    assert ended.stderr == ""
    report = json.loads(ended.stdout)
    assert report["clean"] == (ended.returncode == 0)
    return ended.returncode, {each["name"]: each for each in report["findings"]}


def stored(make_daemon: Make, *locations: str) -> tuple[Daemon, dict[str, Path]]:
    """A daemon that has been stopped, and the directory of each of its blobs."""
    daemon = make_daemon().start()
    for location in locations:
        assert daemon.ask("POST", location, location.encode() * 50_000).status == 204
    assert daemon.stop() == 0
    return daemon, {
        record.location: daemon.directory / name for name, record in daemon.records().items()
    }


def everything(directory: Path) -> dict[str, bytes | str]:
    """All there is: files with their bytes, links with where they lead."""
    paths = sorted(directory.rglob("*"))
    links = {str(path): os.readlink(path) for path in paths if path.is_symlink()}
    return {**links, **{str(path): path.read_bytes() for path in paths if path.is_file()}}


def test_spoiled(make_daemon: Make, tmp_path: Path) -> None:
    """60, 62, 64: each kind of damage is found, told, and changed only by a repair."""
    places = ("linked-state", "linked", "short", "torn", "whole")
    daemon, at = stored(make_daemon, *places)
    assert findings(daemon.directory) == (0, {})
    assert run_fsck(daemon.directory).stdout.endswith("\nClean\n")

    state = at["linked-state"] / STATE
    state.rename(tmp_path / "moved-state")
    state.symlink_to(tmp_path / "moved-state")
    at["linked"].rename(tmp_path / "moved")
    at["linked"].symlink_to(tmp_path / "moved")
    os.truncate(at["short"] / DATA, 100)
    torn = (at["torn"] / STATE).read_bytes()
    (at["torn"] / STATE).write_bytes(torn[: len(torn) // 3])

    before = everything(tmp_path)
    status, found = findings(daemon.directory)
    assert status == 1
    assert {each["kind"] for each in found.values()} == {"damaged"}
    told = {
        location: (found[path.name]["location"], found[path.name]["reason"])
        for location, path in at.items()
        if path.name in found
    }
    size = len("short") * 50_000
    assert told.pop("short") == ("short", f"data.raw has 100 bytes instead of {size}")
    where, reason = told.pop("linked-state")
    assert where is None and "it is not a regular file" in reason
    assert told.pop("linked") == (None, "it is a symbolic link")
    where, reason = told.pop("torn")
    assert where is None and "cannot be believed" in reason
    assert told == {}
    said = run_fsck(daemon.directory)
    assert said.returncode == 1 and "4 damaged, 0 other findings; --repair mends it" in said.stdout
    assert everything(tmp_path) == before

    repaired = run_fsck(daemon.directory, "--repair")
    assert repaired.returncode == 1
    assert "4 damaged, 0 other findings; repaired" in repaired.stdout
    assert daemon.names() == {at["whole"].name, *aside(daemon)}
    assert len(aside(daemon)) == 4
    # What the links led to is not touched.
    assert (tmp_path / "moved-state").exists()
    assert {path.name for path in (tmp_path / "moved").iterdir()} == {STATE, DATA}
    # What still knows its location stands for it until somebody writes there.
    status, found = findings(daemon.directory)
    assert status == 1
    kinds = sorted((each["kind"], each["location"]) for each in found.values())
    assert kinds == [("damaged", "short"), *[("quarantined", None)] * 3]

    daemon.start()
    assert daemon.ask("GET", "whole").body == b"whole" * 50_000
    assert daemon.ask("GET", "short").status == 500
    for location in ("linked-state", "linked", "torn"):
        assert daemon.ask("GET", location).status == 404
    assert daemon.ask("PUT", "short", b"anew").status == 200
    assert daemon.stop() == 0
    status, found = findings(daemon.directory)
    assert (status, {each["kind"] for each in found.values()}) == (0, {"quarantined"})


def test_journal_damaged(make_daemon: Make) -> None:
    """Over a damaged journal, which may have lost a write, no daemon starts; a repair goes on."""
    daemon = make_daemon().start()
    for location in ("first", "second", "third"):
        assert daemon.ask("POST", location, location.encode()).status == 204
    eventually(lambda: len(daemon.records()) == 3, "the files behind the answers")
    daemon.kill()
    with open(daemon.directory / ".journal-0", "r+b") as journal:
        at = mmap.mmap(journal.fileno(), 0).find(b"second")
        assert at >= 4096
        journal.seek(at)
        journal.write(b"S")
    daemon.launch()
    assert daemon.ended() != 0
    assert "batch 3 of the redo journal is damaged, or was never written" in daemon.said
    assert "Traceback" not in daemon.said
    status, found = findings(daemon.directory)
    assert status == 1
    [finding] = found.values()
    assert finding["kind"] == "damaged" and "batch 3 of the redo journal" in finding["reason"]
    assert run_fsck(daemon.directory, "--repair").returncode == 1
    assert findings(daemon.directory) == (0, {})
    daemon.start()
    # After a mere kill nothing was lost.
    for location in ("first", "second", "third"):
        assert daemon.ask("GET", location).body == location.encode()


def test_somebodys(make_daemon: Make) -> None:
    """63, 66: photos in directories with numbers for names are not touched, but told of."""
    daemon = make_daemon()
    for name in ("2023/a.jpg", "2024/trip/b.jpg", "2025/data.raw", "2025/notes.txt"):
        path = daemon.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (daemon.directory / ".trash-1-1").mkdir()
    (daemon.directory / ".trash-1-1" / "notes.txt").write_text("mine")
    (daemon.directory / ".new-2").mkdir()
    before = everything(daemon.directory)
    foreign = {"2023", "2024", "2025", ".trash-1-1"}
    repaired = run_fsck(daemon.directory, "--repair")
    assert repaired.returncode == 0
    assert "0 damaged, 5 other findings; 1 repaired, 4 left" in repaired.stdout
    assert "foreign: 2024: not gostore's: it holds 'trip'" in repaired.stdout
    status, found = findings(daemon.directory)
    assert (status, set(found)) == (0, foreign)
    assert not any(each["mends"] for each in found.values())
    daemon.start()
    assert "discarded 0, quarantined 0, foreign 4" in daemon.said
    assert "'2025' in the data directory is not gostore's: it holds 'notes.txt'" in daemon.said
    assert daemon.ask("POST", "a", b"x").status == 204
    assert daemon.ask("DELETE", "a").status == 200
    eventually(lambda: daemon.names() == foreign, "only what is ours is collected")
    assert daemon.stop() == 0
    assert daemon.names() == foreign
    for name in ("0", "1"):
        (daemon.directory / f".journal-{name}").unlink()
    assert everything(daemon.directory) == before


def aside(daemon: Daemon) -> set[str]:
    """The names of what is quarantined."""
    return {name for name in daemon.names() if name.startswith(".quarantine-")}


def test_cannot(make_daemon: Make, tmp_path: Path) -> None:
    """A directory in use, or missing, or with a link for a journal, is status 2 and one line."""
    daemon = make_daemon().start()
    for options in ((), ("--repair",), ("--json",)):
        ended = run_fsck(daemon.directory, *options)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "is already served by another daemon" in ended.stderr
    assert daemon.ask("POST", "a", b"x").status == 204
    daemon.kill()
    journal = daemon.directory / ".journal-1"
    journal.unlink()
    journal.symlink_to("/etc/passwd")
    for directory, reason in (
        (tmp_path / "missing", "No such file or directory"),
        (daemon.directory, ".journal-1, of the redo journal, is not a regular file"),
    ):
        for option in ("--json", "--repair"):
            ended = run_fsck(directory, option)
            assert (ended.returncode, ended.stdout) == (2, "")
            assert reason in ended.stderr and len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "missing").exists()
