"""A cable that is pulled: the client is not gone for TCP, it is silent, and for ever.

The cable is a pair of virtual interfaces, one end of it in a network of its own, where the clients
are.  To make one needs root and iproute2; where it cannot be, the test is skipped and says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest
from attrs import frozen

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, eventually
from tests.e2e.mounts import run

MIB = 1 << 20

#: setns(2), which Python has only since 3.12.
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


@frozen
class Cable:
    """A cable between this machine and the network ``name``, where clients are."""

    name: str
    host: str
    plug: str

    def connect(self, port: int) -> socket.socket:
        """Connect from the other end; a socket stays in the network that it was made in."""
        made: list[socket.socket] = []

        def make() -> None:
            with open(f"/run/netns/{self.name}", "rb") as network:
                assert _libc.setns(network.fileno(), _CLONE_NEWNET) == 0
            made.append(socket.create_connection((self.host, port), PATIENCE))

        # In a thread that ends with it: the test itself stays where it is.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def pull(self) -> None:
        """From now on nothing comes through, and nobody is told."""
        run("ip", "-n", self.name, "link", "set", self.plug, "down")


@pytest.fixture
def cable() -> Iterator[Cable]:
    """A cable, with addresses out of those for trials (RFC 2544), which no real machine has."""
    number = os.getpid() % 16384 * 4
    host, client = (f"198.18.{number >> 8}.{(number & 255) + n}" for n in (1, 2))
    name, ours, theirs = (f"{kind}{os.getpid()}" for kind in ("gostore-", "gs-h", "gs-c"))
    try:
        done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("NOT TESTED, no cable: there is no program ip (iproute2)")
    if done.returncode:
        pytest.skip(f"NOT TESTED, no cable: ip netns add (root?): {done.stderr.strip()}")
    with contextlib.ExitStack() as stack:
        stack.callback(run, "ip", "netns", "delete", name)
        run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        # By itself: the other network outlives its name while a socket in it has something to say.
        stack.callback(run, "ip", "link", "delete", ours)
        run("ip", "address", "add", f"{host}/30", "dev", ours)
        run("ip", "link", "set", ours, "up")
        run("ip", "-n", name, "address", "add", f"{client}/30", "dev", theirs)
        run("ip", "-n", name, "link", "set", theirs, "up")
        yield Cable(name, host, theirs)


def test_cable(make_daemon: Make, cable: Cable) -> None:
    """49: who is cut off in an upload or a download is given up at the deadline, without a trace.

    The old blob is there, no stage is left, the disk has its bytes back, and the slots are free.
    """
    daemon = make_daemon(
        *("--gc-interval", "0.2", "--max-uploads", "6", "--max-connections", "12"),
        # Time enough for a slow machine to come to the pulling.
        *("--body-window", "8", "--send-timeout", "8", "--idle-timeout", "10"),
        host=cable.host,
    ).start()
    alone = daemon.sockets()
    assert daemon.ask("POST", "old", b"old").status == 204
    assert daemon.ask("POST", "big", bytes(32 * MIB)).status == 204
    eventually(lambda: len(daemon.records()) == 2, "the files behind the answers")
    daemon.clean()
    names = daemon.names()
    clients = [cable.connect(daemon.port) for _ in range(12)]
    uploads, downloads, idle = clients[:4], clients[4:10], clients[10:]
    # All but the last of it.
    head = b"%b /store/%b HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(99_000)
    for number, upload in enumerate(uploads):
        upload.sendall(head % ((b"PUT", b"old") if number % 2 else (b"POST", b"new%d" % number)))
    for download in downloads:
        download.sendall(b"GET /store/big HTTP/1.1\r\nHost: x\r\n\r\n")
        assert download.recv(1000).startswith(b"HTTP/1.1 200 ")
    eventually(lambda: len(daemon.names()) == len(names) + 4, "the uploads have begun")
    cable.pull()
    for upload in uploads:
        upload.sendall(b"the rest, which stays on this side")
    assert daemon.sockets() > alone
    eventually(lambda: daemon.sockets() == alone, "all of them are given up")
    assert not [name for name in daemon.files() if name.endswith("(deleted)")]
    assert daemon.ask("GET", "old").body == b"old"
    daemon.clean()
    assert daemon.names() == names
    # As many as before, now that the slots of those are free.
    clients = [socket.create_connection((cable.host, daemon.port), PATIENCE) for _ in range(12)]
    for client in clients[:4]:
        client.sendall(b"PUT /store/old HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
    eventually(lambda: daemon.sockets() == alone + 12, "all of them are let in")
    for client in clients[:4]:
        client.sendall(b"new")
    for client in clients[:4]:
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    for client in (*clients, *uploads, *downloads, *idle):
        client.close()
    eventually(lambda: daemon.sockets() == alone, "they have left")
    assert daemon.ask("GET", "old").body == b"new"
    assert daemon.ask("GET", "new0").status == 404
