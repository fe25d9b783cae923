"""A line of so many bytes a second between clients and a server, in a process of its own.

It stands for a network: with an engine on the same machine the processors are the limit, which
daemon, engine and client share.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Thread

PIECE = 65536
"""How many bytes are passed on at once."""


class Pace:
    """Says when the next bytes may go, whoever sends them."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free = 0.0
        self._lock = Lock()

    def wait(self, size: int) -> None:
        """Wait until so many bytes are through."""
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now) + size / self._rate
            left = self._free - now
        time.sleep(left)


def _pass_on(source: socket.socket, target: socket.socket, pace: Pace) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE):
            pace.wait(len(data))
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def serve(server: int, rate: float) -> None:
    """Pass on what comes and what goes, each at this rate. Prints the port; does not return."""
    there, back = Pace(rate), Pace(rate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            engine = socket.create_connection(("127.0.0.1", server))
            for each in (client, engine):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Thread(target=_pass_on, args=(client, engine, there), daemon=True).start()
            Thread(target=_pass_on, args=(engine, client, back), daemon=True).start()


@contextmanager
def line(server: int, rate: float) -> Iterator[int]:
    """Have a line to the server at a port; gives the port at its other end."""
    command = [sys.executable, "-m", "benchmarks.line", str(server), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]))
