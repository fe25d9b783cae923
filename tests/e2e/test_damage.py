"""Damage under a daemon's feet, and before its start: found, quarantined, mended by a write."""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gostore.volume.directory import DATA
from tests.e2e.conftest import Make
from tests.e2e.daemon import STATE, eventually, read_record

SIZES = (1000, 300_000)


def link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/etc/passwd")


def fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def flip(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "short": lambda file: os.truncate(file, 10),
    "long": lambda file: os.truncate(file, 400_000),
    "missing": Path.unlink,
    "changed": flip,
    "link": link,
    "fifo": fifo,
}


@pytest.mark.parametrize("before", [False, True], ids=["while it runs", "before it starts"])
def test_data(make_daemon: Make, before: bool) -> None:
    """Rows 62, 64, 65, 69: the scrub, or the start, finds it; 500 until a write or a delete."""
    pause = "3600" if before else "0.05"
    daemon = make_daemon("--scrub-rate", "1G", "--scrub-pause", pause).start()
    places = [(f"{name}-{size}", size, name) for name in DAMAGES for size in SIZES]
    for location, size, _ in places:
        assert daemon.ask("POST", location, os.urandom(size)).status == 204
    if before:
        assert daemon.stop() == 0
    for location, _, name in places:
        DAMAGES[name](daemon.place(location) / "data.raw")
    if before:
        daemon.start()
    for number, (location, _, name) in enumerate(places):
        # Nobody reads a large blob that has merely changed: the scrub has to come by.
        if name == "changed" or not before:
            daemon.wait_for(re.escape(repr(location)))
        assert daemon.ask("GET", location).status == 500, location
        if number % 2:
            assert daemon.ask("DELETE", location).status == 200
            assert daemon.ask("GET", location).status == 404
        else:
            assert daemon.ask("PUT", location, b"new").status == 200
            assert daemon.ask("GET", location).body == b"new"
    assert daemon.stop() == 0


@pytest.mark.parametrize("size", [10, 300_000])
def test_link(make_daemon: Make, tmp_path: Path, size: int) -> None:
    """A link in the place of a blob is not followed: nothing is served or removed behind it."""
    daemon = make_daemon("--gc-interval", "0.1").start()
    bodies = {name: name.encode() * size for name in ("read", "replaced", "deleted")}
    for location, body in bodies.items():
        assert daemon.ask("POST", location, body).status == 204
    for location in bodies:
        place = daemon.place(location)
        place.rename(tmp_path / location)
        place.symlink_to(tmp_path / location)
    assert daemon.ask("GET", "read").status == 500
    assert daemon.ask("PUT", "replaced", b"new").status == 200
    assert daemon.ask("DELETE", "deleted").status == 200
    numbers = [daemon.directory / name for name in daemon.names() if name.isdecimal()]
    eventually(lambda: not any(map(Path.is_symlink, numbers)), "no link has the id of a blob")
    daemon.stop()
    daemon.start()
    assert daemon.ask("GET", "replaced").body == b"new"
    assert daemon.ask("GET", "deleted").status == 404
    for location, body in bodies.items():
        assert (tmp_path / location / DATA).read_bytes() == body
        assert read_record(tmp_path / location).state == "OK"
    assert daemon.stop() == 0


def test_cut_while_sent(make_daemon: Make) -> None:
    """Row 62: a large blob that is cut while it is sent is quarantined; a line has the request."""
    daemon = make_daemon("--scrub-pause", "3600").start()
    size = 32 << 20
    assert daemon.ask("POST", "a", bytes(size)).status == 204
    connection = daemon.connect()
    connection.request("GET", "/store/a")
    response = connection.getresponse()
    os.truncate(daemon.place("a") / "data.raw", 0)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        response.read()
    connection.close()
    assert "its file ends at byte" in daemon.wait_for("Blob [0-9]+ of 'a' is damaged: .*")
    assert daemon.ask("GET", "a").status == 500
    eventually(
        lambda: any(each.startswith(".quarantine-") for each in daemon.names()), "quarantined"
    )
    assert daemon.stop() == 0
    # The store tells of the damage, and the wire of the request that it broke off.
    assert daemon.said.count("damaged") == 2
    name = re.escape(response.headers["X-Request-Id"])
    assert re.search(rf"Reading a response body failed: a is damaged.* \({name}\)", daemon.said)
    assert "Traceback" not in daemon.said


def test_state_files(make_daemon: Make) -> None:
    """Row 60: a state file that was cut or changed is quarantined, and the start goes on."""
    daemon = make_daemon().start()
    for number in range(30):
        assert daemon.ask("POST", f"x{number}", b"x").status == 204
    assert daemon.ask("POST", "good", b"good").status == 204
    assert daemon.stop() == 0
    files = [daemon.place(f"x{number}") / STATE for number in range(30)]
    for number, file in enumerate(files):
        whole = file.read_bytes()
        at = whole.index(b"\n") * number // 30
        file.write_bytes(whole[:at] if number % 2 else whole[:at] + b"\1" + whole[at + 1 :])
    daemon.start()
    assert daemon.ask("GET", "good").body == b"good"
    for number in range(30):
        assert daemon.ask("GET", f"x{number}").status in (404, 500)
    assert sum(name.startswith(".quarantine-") for name in daemon.names()) == 30
    assert daemon.stop() == 0


def test_out_of_reach(make_daemon: Make, tmp_path: Path) -> None:
    """A directory that the daemon may not read is 500, and named; all others are served."""
    # Root may read everything, unless it does without.
    wrapper = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    daemon = make_daemon(wrapper=wrapper if os.getuid() == 0 else ()).start()
    for location in ("closed", "good"):
        assert daemon.ask("POST", location, location.encode()).status == 204
    assert daemon.stop() == 0
    closed = daemon.place("closed")
    closed.chmod(0)
    try:
        daemon.start()
        said = f"'{closed.name}' of 'closed' in the data directory cannot be read"
        assert said in daemon.said
        assert "restored 1, finished 0, discarded 0, quarantined 1" in daemon.said
        assert daemon.ask("GET", "closed").status == 500
        assert daemon.ask("GET", "good").body == b"good"
        assert daemon.ask("POST", "new", b"new").status == 204
        assert daemon.stop() == 0
        assert closed.exists()
        closed.chmod(0o755)
        daemon.start()
        assert daemon.ask("GET", "closed").body == b"closed"
        assert daemon.stop() == 0
        closed.chmod(0)
        daemon.start()
        assert daemon.ask("PUT", "closed", b"again").status == 200
        assert daemon.ask("GET", "closed").body == b"again"
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.ask("GET", "closed").body == b"again"
        assert daemon.stop() == 0
    finally:
        for path in daemon.directory.iterdir():
            path.chmod(0o755)
