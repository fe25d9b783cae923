"""What somebody does by hand in the directory of a running daemon, and files that may not grow."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gostore.volume.directory import DATA
from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, Daemon, eventually

MIB = 1024 * 1024


def chunks(size: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(size // MIB):
        yield bytes(MIB)


def end(daemon: Daemon) -> None:
    """Stop a daemon, and see that nothing in its log has a traceback."""
    assert daemon.stop() == 0
    assert not [line for line in daemon.log if "Traceback" in line]


def test_file_size(make_daemon: Make) -> None:
    """A body larger than a file may be gets 413, however it comes, and no traceback."""
    daemon = make_daemon(wrapper=("prlimit", f"--fsize={10 * MIB}")).start()
    assert daemon.ask("POST", "small", b"small").status == 204
    for body in (bytes(11 * MIB), chunks(11 * MIB)):
        answer = daemon.ask("POST", "large", body)
        assert (answer.status, daemon.ask("GET", "large").status) == (413, 404)
        assert b"larger than a file may be" in answer.body
    assert daemon.ask("PUT", "small", bytes(11 * MIB)).status == 413
    assert daemon.ask("GET", "small").body == b"small"
    end(daemon)


def remove_data(stage: Path) -> None:
    """Remove the data of a stage alone."""
    (stage / DATA).unlink()


@pytest.mark.parametrize("size", [100_000, 4 * MIB])
def test_stage_removed(make_daemon: Make, size: int) -> None:
    """An upload whose stage is removed by hand gets 503, and is not acknowledged."""
    daemon = make_daemon("--gc-interval", "0.2").start()
    harms: tuple[Callable[[Path], object], ...] = (shutil.rmtree, remove_data)
    for harm in harms:
        with socket.create_connection(("127.0.0.1", daemon.port), PATIENCE) as upload:
            head = f"POST /store/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
            upload.sendall(head.encode() + bytes(size - 1))
            eventually(lambda: list(daemon.directory.glob(f".new-*/{DATA}")), "there is a stage")
            (stage,) = daemon.directory.glob(".new-*")
            eventually(lambda stage=stage: (stage / DATA).stat().st_size == size - 1, "it is here")
            harm(stage)
            upload.sendall(b"x")
            assert upload.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert daemon.ask("GET", "a").status == 404
        daemon.clean()
    assert daemon.ask("POST", "a", b"again").status == 204
    end(daemon)


def test_directory_removed(make_daemon: Make) -> None:
    """When somebody removes the directory a GET says so, and a stop has nothing to complain of."""
    daemon = make_daemon().start()
    for location, body in (("small", b"small"), ("large", bytes(MIB)), ("other", b"old")):
        assert daemon.ask("POST", location, body).status == 204
    assert daemon.ask("GET", "small").status == 200
    assert daemon.ask("PUT", "other", b"new").status == 200
    logs = lambda: [each.log[-1] for each in daemon.records().values()]  # noqa: E731
    eventually(lambda: any("Updated" in log for log in logs()), "the files behind the answers")
    shutil.rmtree(daemon.directory)
    for location in ("small", "large", "other"):
        answer = daemon.ask("GET", location)
        assert (answer.status, b"has been removed" in answer.body) == (503, True)
    end(daemon)
    assert daemon.said.count("has been removed") == 1
