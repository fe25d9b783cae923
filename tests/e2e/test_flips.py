"""Every byte of a blob changed or cut off, one in each of many blobs: no wrong byte is served.

Rows 60 and 62.  A GET answers 500, 404, or all the right bytes.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import SOAK, STATE, Daemon, ask, eventually, run_fsck

#: In bytes; the last is the largest that a GET verifies.
SMALL = (1, 17, 1000, 65_536)
LARGE = 200_000
#: Of a large file so many bytes.
PLACES = 1000 if SOAK else 60

Blobs = dict[str, bytes]


def stored(daemon: Daemon, name: str, size: int, count: int) -> Blobs:
    """Store so many blobs of a size."""
    blobs = {f"{name}-{number}": os.urandom(size) for number in range(count)}
    connection = daemon.connect()
    for location, body in blobs.items():
        assert ask(connection, "POST", f"/store/{location}", body).status == 204
    connection.close()
    return blobs


def files(daemon: Daemon, name: str) -> dict[str, Path]:
    """The files of that name, by location."""
    records = daemon.records().items()
    return {record.location: daemon.directory / directory / name for directory, record in records}


def places(size: int) -> list[int]:
    """All the bytes of a small file, else some from its first to its last."""
    return sorted({number * (size - 1) // (PLACES - 1) for number in range(PLACES)})


def flip(file: Path, at: int) -> None:
    """Change a bit, another one for each place."""
    with open(file, "r+b") as opened:
        opened.seek(at)
        [byte] = opened.read(1)
        opened.seek(at)
        opened.write(bytes([byte ^ 1 << at % 8]))


def flip_data(daemon: Daemon, blobs: Blobs, at: list[int]) -> None:
    """Change a bit of each blob, at one place each."""
    there = lambda: files(daemon, "data.raw").keys() >= blobs.keys()  # noqa: E731
    eventually(there, "the files behind the answers")
    raw = files(daemon, "data.raw")
    for location, place in zip(blobs, at, strict=True):
        flip(raw[location], place)


def answers(daemon: Daemon, blobs: Blobs) -> Iterator[tuple[str, str]]:
    """What GETs answer: the right bytes, the wrong ones, or a status."""
    connection = daemon.connect()
    for location, body in blobs.items():
        answer = ask(connection, "GET", f"/store/{location}")
        if answer.status == 200:
            yield location, "right" if answer.body == body else "wrong"
        else:
            yield location, str(answer.status)
    connection.close()


def assert_not_served(daemon: Daemon, blobs: Blobs, what: str) -> None:
    """Each GET of the blobs is answered with 500."""
    told = Counter(word for _, word in answers(daemon, blobs))
    print(f"\n{len(blobs)} of {what}, served: {dict(told)}")
    assert told == {"500": len(blobs)}


def test_data(make_daemon: Make) -> None:
    """A changed byte of a small blob is never served; of a large one the scrub finds each."""
    daemon = make_daemon("--scrub-rate", "0").start()
    for size in SMALL:
        flips = places(size)
        blobs = stored(daemon, f"data-{size}", size, len(flips))
        flip_data(daemon, blobs, flips)
        assert_not_served(daemon, blobs, f"{size} bytes of data.raw flipped")
    assert daemon.stop() == 0


@pytest.mark.parametrize("found_by", ["scrub", "fsck"])
def test_large_data(make_daemon: Make, found_by: str) -> None:
    """A changed byte of a large blob is found by the scrub, and by fsck; never served again."""
    daemon = make_daemon("--scrub-rate", "0").start()
    flips = places(LARGE)[:: 1 if SOAK else 4]
    blobs = stored(daemon, "large", LARGE, len(flips))
    assert daemon.stop() == 0
    flip_data(daemon, blobs, flips)
    if found_by == "fsck":
        report = run_fsck(daemon.directory, "--repair")
        assert report.returncode == 1, report
        daemon.start()
    else:
        daemon.start("--scrub-rate", "1G", "--scrub-pause", "0.05")
        eventually(
            lambda: sum(name.startswith(".quarantine-") for name in daemon.names()) == len(flips),
            "all are quarantined",
        )
    assert_not_served(daemon, blobs, f"{LARGE} bytes of data.raw flipped, {found_by}")
    assert daemon.stop() == 0


@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_state_files(make_daemon: Make, how: str) -> None:
    """A state file that was changed, or cut, at any byte is quarantined by the start, and reported.

    But for what is below its first line, which is for people.
    """
    daemon = make_daemon("--scrub-rate", "0").start()
    [sample] = stored(daemon, "sample", 17, 1)
    size = (daemon.place(sample) / STATE).stat().st_size
    step = 1 if SOAK else 8
    blobs = stored(daemon, how, 17, len(range(0, size, step)))
    assert daemon.stop() == 0
    states = files(daemon, STATE)
    harmless = set()
    flips = 0
    for location, at in zip(blobs, itertools.count(0, step), strict=False):
        state = states[location]
        whole = state.read_bytes()
        if at >= len(whole):
            harmless.add(location)
        elif how == "cut":
            os.truncate(state, at)
            flips += 1
        else:
            flip(state, at)
            flips += 1
        if at > whole.index(b"\n"):
            harmless.add(location)
    daemon.start()
    told: Counter[str] = Counter()
    for location, word in answers(daemon, blobs):
        told[word] += 1
        assert (word == "right") == (location in harmless), (location, word)
    print(f"\n{flips} of {size} bytes of state files {how}, served: {dict(told)}")
    assert told.keys() <= {"right", "404", "500"}
    assert daemon.stop() == 0
