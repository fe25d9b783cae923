"""Large uploads over an existing blob: whatever happens to them, the old one is whole."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, eventually

MIB = 1 << 20
SIZE = 1024 * MIB if SOAK else 64 * MIB
PIECE = bytes(range(256)) * 4096

#: How much the daemon's memory may grow, in KiB, whatever is uploaded and downloaded.
GROWTH = 64 * 1024


def begin(daemon: Daemon, size: int = SIZE, method: str = "PUT") -> socket.socket:
    """Begin an upload over the blob "big"."""
    connection = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
    head = f"{method} /store/big HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def send(connection: socket.socket, size: int) -> None:
    """Send so many bytes of the body."""
    while size > 0:
        connection.sendall(PIECE[:size])
        size -= len(PIECE)


def test_killed_in_the_middle(make_daemon: Make) -> None:
    """GET gives the old content while a large PUT runs; kill -9: the old, and nothing left over."""
    daemon = make_daemon("--gc-interval", "0.2").start()
    assert daemon.ask("POST", "big", b"old").status == 204
    upload = begin(daemon)
    send(upload, SIZE // 2)
    assert daemon.ask("GET", "big").body == b"old"
    daemon.kill()
    upload.close()
    daemon.start()
    assert daemon.ask("GET", "big").body == b"old"
    daemon.clean()
    assert len(daemon.names()) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_abandoned(make_daemon: Make, reset: bool) -> None:
    """A client that goes away at 99 %, politely or not, leaves the old content and its reason."""
    daemon = make_daemon("--gc-interval", "3600").start()
    assert daemon.ask("POST", "big", b"old").status == 204
    upload = begin(daemon)
    send(upload, SIZE * 99 // 100)
    if reset:
        upload.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    upload.close()

    def reasons() -> list[str]:
        stages = [r for name, r in daemon.records().items() if name.startswith(".new-")]
        return [r.log[0] for r in stages if r.state == "Failure"]

    [reason] = eventually(reasons, "the stage says why")
    assert reason.startswith("Failure - Client went away after ")
    assert reason.endswith(f" of {SIZE} bytes")
    assert daemon.ask("GET", "big").body == b"old"
    assert daemon.stop() == 0
    assert len(daemon.names()) == 1


def test_too_slow(make_daemon: Make) -> None:
    """An upload slower than it may be gets 408, and its stage goes."""
    daemon = make_daemon("--body-window", "1", "--gc-interval", "0.2").start()
    upload = begin(daemon, 100_000, "POST")
    upload.sendall(b"slow")
    assert upload.recv(1000).startswith(b"HTTP/1.1 408 ")
    upload.close()
    daemon.clean()
    assert daemon.names() == set()


def test_memory(daemon: Daemon) -> None:
    """Many large uploads and downloads at a time hardly move the daemon's memory."""
    count, size = (64, 256 * MIB) if SOAK else (8, 32 * MIB)
    assert daemon.ask("POST", "warm", bytes(MIB)).status == 204
    before = daemon.status("VmHWM")
    digest = hashlib.sha256(PIECE * (size // MIB)).hexdigest()
    failures: list[str] = []

    def both_ways(number: int) -> None:
        connection = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
        target = f"/store/many/{number} HTTP/1.1\r\nHost: x\r\n"
        connection.sendall(f"POST {target}Content-Length: {size}\r\n\r\n".encode())
        send(connection, size)
        if not connection.recv(1000).startswith(b"HTTP/1.1 204 "):
            failures.append(f"{number} was not stored")
        connection.sendall(f"GET {target}Connection: close\r\n\r\n".encode())
        got = hashlib.sha256()
        head, _, rest = connection.recv(1 << 16).partition(b"\r\n\r\n")
        got.update(rest)
        while piece := connection.recv(MIB):
            got.update(piece)
        if got.hexdigest() != digest:
            failures.append(f"{number} came back changed: {head!r}")
        connection.close()

    threads = [threading.Thread(target=both_ways, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    growth = daemon.status("VmHWM") - before
    print(f"{count} x {size // MIB} MiB up and down: peak memory grew by {growth} KiB")
    assert growth < GROWTH
