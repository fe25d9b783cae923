"""A whole data directory, as bad as it may be: a start serves what is whole, and loses nothing.

An input is a list of directories, eight bytes each: its name, what its record says, and what was
done to its state file and its data.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from os.path import lexists
from pathlib import Path

from attrs import frozen
from twisted.logger import globalLogBeginner

from gostore import statefile
from gostore.blob import Blob
from gostore.volume.collect import collect
from gostore.volume.directory import DATA, FILES, STATE, STATE_TMP
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.repair import repair
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume

IDS = ("0", "1", "2", "3", "4", "5")
LOCATIONS = ("a", "b", "c/d")
#: Names that begin with nothing that is anybody's blob.
OTHERS = (".new-1", ".new-probe", ".trash-2-1", ".new-x", ".trash-x", "00012", "lost+found", "x~")
#: Names of what was quarantined, which may still stand for its location.
QUARANTINED = (".quarantine-3-1", ".quarantine-4-1", ".quarantine-5-1-tie")
#: Those that are ours, if all in them is.
OURS = (".new-1", ".new-probe", ".trash-2-1")
FOREIGN = frozenset({".new-x", ".trash-x", "00012", "lost+found", "x~"})
WHEN = 1_800_000_000_000_000_000
MOST = 12

#: In memory, where a sync costs nothing.
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)


@frozen
class Entry:
    """One directory, as eight bytes describe it."""

    name: str
    blob: Blob
    data: bytes
    state_is_whole: bool
    data_is_whole: bool
    #: What somebody has put into it.
    foreign: tuple[str, ...]


def build(root: Path, data: bytes) -> Iterator[Entry]:
    """Make the directories that an input stands for."""
    for at in range(0, min(len(data), 8 * MOST) - 7, 8):
        named, says, state_damage, data_damage, where, generation, age, size = data[at : at + 8]
        names = [*IDS, *IDS, *QUARANTINED, *OTHERS]
        name = names[named % len(names)]
        if (root / name).exists():
            continue
        digits = "".join(filter(str.isdigit, name.split("-")[1] if name[0] == "." else name))
        body = bytes([size]) * size
        location = LOCATIONS[where % len(LOCATIONS)]
        blob = make_blob(int(digits or 1), location, says, generation % 8, WHEN + age, body)
        directory = root / name
        directory.mkdir()
        state_is_whole = spoil_state(directory, blob, state_damage)
        data_is_whole = spoil_data(directory, body, data_damage)
        if data_damage % 16 == 9:
            (directory / "notes.txt").write_bytes(body)
        foreign = tuple(
            each.name
            for each in directory.iterdir()
            if each.name not in FILES or (each.is_dir() and not each.is_symlink())
        )
        yield Entry(name, blob, body, state_is_whole, data_is_whole, foreign)


def make_blob(
    blob_id: int, location: str, says: int, generation: int, when: int, body: bytes
) -> Blob:
    """A record in one of the states that a server, or a crash, leaves behind."""
    blob = Blob(blob_id, location)
    blob.create(when)
    blob.start_writing(when)
    if says % 4 != 1:
        blob.finish_writing(when, len(body), sha256(body).digest(), generation)
    if says % 4 == 2:
        blob.delete(when)
    elif says % 4 == 3:
        blob.replace(when, 77)
    return blob


def spoil_state(directory: Path, blob: Blob, damage: int) -> bool:
    """Write the state file, or something in its place; say whether it is to be believed."""
    file = directory / STATE
    whole = statefile.dump(blob)
    match damage % 16:
        case 1:
            return False
        case 2:
            cut = damage * len(whole) // 256
            file.write_bytes(whole[:cut])
            return cut > whole.index(b"\n")  # the rest is for people
        case 3:
            at = damage * 7919 % whole.index(b"\n")
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        case 4:
            file.symlink_to("/etc/passwd")
        case 5:
            os.mkfifo(file)
        case 6:
            file.mkdir()
        case 7:
            other = Blob(blob.id + 1, blob.location, log=blob.log)
            file.write_bytes(statefile.dump(other))
        case 8:
            (directory / STATE_TMP).write_bytes(whole[:100])
            file.write_bytes(whole)
            return True
        case _:
            file.write_bytes(whole)
            return True
    return False


def spoil_data(directory: Path, body: bytes, damage: int) -> bool:
    """Write the data, or something in its place; say whether a start can take it."""
    file = directory / DATA
    match damage % 16:
        case 1:
            return False
        case 2:
            file.write_bytes(body + b"!")
        case 3 if body:
            file.write_bytes(body[:-1])
        case 4:
            file.symlink_to("/etc/passwd")
        case 5:
            os.mkfifo(file)
        case 6:
            file.mkdir()
        case 7:
            file.write_bytes(body)
            os.link(file, directory / "another")
        case _:
            file.write_bytes(body)
            return True
    return False


def expected(entries: list[Entry]) -> dict[str, int]:
    """The ids of the blobs that have to live: whole, alive, above all others of their location."""
    found = {}
    for location in LOCATIONS:
        # A blob that a start finds Pending never was committed: it stands above nothing.
        rivals = [
            entry
            for entry in entries
            if entry.blob.location == location
            and entry.state_is_whole
            and entry.name in (*IDS, *QUARANTINED[:2])
            and entry.blob.state.title != "Pending"
        ]
        if not rivals:
            continue
        top = max(entry.blob.generation for entry in rivals)
        best = [entry for entry in rivals if entry.blob.generation == top]
        if len(best) != 1 or best[0].name not in IDS or not best[0].data_is_whole:
            continue
        if best[0].blob.state.title == "OK":
            found[location] = best[0].blob.id
    return found


def start(path: str, finish: bool = False) -> Findings:
    """Start on a directory as the daemon does; with ``finish`` the collector runs, too."""
    volume = Volume(path, now=lambda: WHEN + 1_000_000_000)
    volume.open()
    try:
        found = scan(volume)
        repair(volume, found)
        for blob in found.live.values():
            fd = volume.open_data(blob)
            data = volume.read(fd, 0, blob.size)
            volume.close_data(fd)
            assert blob.sha256 is None or sha256(data).digest() == blob.sha256, "not its bytes"
        if finish:
            collect(volume, found.dead)
        return found
    finally:
        volume.close()


def find_somebodys(root: Path, entries: list[Entry]) -> dict[str, list[str]]:
    """The directories that are nobody's to touch, each with the names in it."""
    return {
        entry.name: os.listdir(root / entry.name)
        for entry in entries
        if entry.foreign
        and (entry.name in OURS or (entry.name in IDS and not lexists(root / entry.name / STATE)))
    }


def check(data: bytes) -> None:
    """Make a directory, start on it three times, and compare what lives."""
    path = tempfile.mkdtemp(dir=SCRATCH)
    try:
        entries = list(build(Path(path), data))
        somebodys = find_somebodys(Path(path), entries)
        first = start(path)
        assert somebodys.keys() <= set(first.foreign), f"{somebodys} and not {first.foreign}"
        for location, blob_id in expected(entries).items():
            assert location in first.live, f"{location} is lost"
            assert first.live[location].id == blob_id, f"another blob has {location}"
        for how in ("killed before the collector ran", "when it has run", "and once more"):
            again = start(path, finish=True)
            assert again.live == first.live, f"{how}: {again.live} is not {first.live}"
            assert set(again.damaged) == set(first.damaged), how
            for name, inside in somebodys.items():
                assert os.listdir(Path(path) / name) == inside, f"{name} is harmed"
            for entry in entries:
                for name in entry.foreign:
                    assert any(Path(path).rglob(name)), f"{entry.name}/{name} is lost"
        last = start(path)
        assert not last.dead and not last.pending and not last.uncommitted, "garbage for ever"
        for entry in entries:
            if entry.name in FOREIGN:
                assert (Path(path) / entry.name).is_dir(), f"{entry.name} was not ours to remove"
    finally:
        shutil.rmtree(path)
