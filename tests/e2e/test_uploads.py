"""Large uploads over an existing blob: whatever happens to them, the old one is whole."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import shutil
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from attrs import frozen

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
    head = f"{method} /store/big HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
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


@frozen
class Shape:
    """A body that somebody might look into: what is said of it, and a piece of it again and again.

    A ``chunk`` is what a piece is wrapped in, if its length is not announced.
    """

    said: str
    start: bytes
    piece: bytes
    chunk: int = 0


FORM = "Content-Type: application/x-www-form-urlencoded"
PARTS = "Content-Type: multipart/form-data; boundary=b"
GZIP = "Content-Encoding: gzip"
PART = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b'
SHAPES = {
    "a form of tiny fields": Shape(FORM, b"", b"a=1&"),
    "a form of one endless name": Shape(FORM, b"", b"%41"),
    "a multipart of tiny parts": Shape(PARTS, b"", PART % (b"n", b"f", b"v\r\n")),
    "a multipart of one endless part": Shape(PARTS, PART % (b"n", b"../../x", b""), b"--a\r\n"),
    "a multipart of one endless head": Shape(PARTS, b"--b\r\nX: ", b"y"),
    "a list of lists": Shape("Content-Type: application/json", b"", b"["),
    "what says that it is compressed": Shape(GZIP, b"", b"but it is not"),
    "chunks of one byte": Shape("X-Form: none", b"", b"1", 1),
    "chunks of three bytes": Shape(FORM, b"", b"a=&", 3),
    "large chunks": Shape(PARTS, PART % (b"n", b"f", b""), PIECE, 4 * MIB),
}


def test_any_body(make_daemon: Make) -> None:
    """52: whatever a body looks like, it is stored as it is sent, in memory that does not grow."""
    daemon = make_daemon("--gc-interval", "0.2", "--store-forms").start()
    assert daemon.ask("POST", "it", bytes(MIB)).status == 204
    for what, shape in SHAPES.items():
        # Beyond 32 bits, and what is sent is many times as much where chunks are small.
        size = (4096 * MIB if SOAK else 16 * MIB) // (64 if 0 < shape.chunk < 64 else 1) + 1
        daemon.forget_peak()
        before = daemon.status("VmHWM")
        connection = daemon.connect()
        sent = send_shape(connection, shape, size)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b""), what
        connection.request("GET", "/store/it")
        response = connection.getresponse()
        got = hashlib.sha256()
        while piece := response.read(MIB):
            got.update(piece)
        connection.close()
        assert got.digest() == sent, what
        assert response.headers["Content-Length"] == str(size)
        growth = daemon.status("VmHWM") - before
        print(f"{what}, {size} bytes: peak memory grew by {growth} KiB")
        assert growth < 8 * 1024, what


def send_shape(connection: http.client.HTTPConnection, shape: Shape, size: int) -> bytes:
    """PUT so many bytes of it; return their digest."""
    connection.putrequest("PUT", "/store/it")
    connection.putheader(*shape.said.split(": "))
    if shape.chunk:
        connection.putheader("Transfer-Encoding", "chunked")
    else:
        connection.putheader("Content-Length", str(size))
    connection.endheaders()
    sent = hashlib.sha256()
    for piece in pieces(shape, size):
        sent.update(piece)
        connection.send(chunked(piece, shape.chunk) if shape.chunk else piece)
    if shape.chunk:
        connection.send(b"0\r\n\r\n")
    return sent.digest()


def pieces(shape: Shape, size: int) -> Iterator[bytes]:
    """So many bytes of a body."""
    yield shape.start[:size]
    size -= len(shape.start)
    whole = shape.piece * max(1, MIB // len(shape.piece))
    for _ in range(size // len(whole)):
        yield whole
    yield whole[: size % len(whole)]


def chunked(data: bytes, size: int) -> bytes:
    """Some bytes in chunks of so many each."""
    chunks = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


def test_gzip_bomb(make_daemon: Make) -> None:
    """52: what would be large if somebody unpacked it is a small blob."""
    daemon = make_daemon("--gc-interval", "0.2").start()
    bomb = gzip.compress(bytes(64 * MIB), 1)
    before = daemon.status("VmHWM")
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}
    assert daemon.ask("POST", "bomb", bomb, headers).status == 204
    answer = daemon.ask("GET", "bomb")
    assert (answer.body, answer.headers["Content-Encoding"]) == (bomb, "gzip")
    assert daemon.status("VmHWM") - before < 8 * 1024


def test_memory(make_daemon: Make) -> None:
    """53: many large uploads and downloads at a time hardly move the daemon's memory."""
    daemon = make_daemon("--gc-interval", "0.2").start()
    count, size = (64, 1024 * MIB) if SOAK else (8, 32 * MIB)
    # Twice what there will be, for others' sake.
    while shutil.disk_usage(daemon.directory).free < 2 * count * size:
        size //= 2
    assert daemon.ask("POST", "warm", bytes(MIB)).status == 204
    before = daemon.status("VmHWM")
    digest = hashlib.sha256(PIECE * (size // MIB)).hexdigest()
    failures: list[str] = []

    def both_ways(number: int) -> None:
        connection = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
        target = f"/store/many/{number} HTTP/1.1\r\nHost: localhost\r\n"
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
    assert daemon.status("VmHWM") < 200 * 1024
