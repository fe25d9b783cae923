"""Servers that no client should have to do with: one that says what it likes, and one that cuts."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

from attrs import frozen

_CUT = struct.pack("ii", 1, 0)


@frozen
class Heard:
    """A request as it came: its first line, its fields in lower case, and its body."""

    line: str
    fields: dict[str, str]
    body: bytes


class _Listener:
    """Serves each connection in a thread of its own, until the test is over."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self):  # type: ignore[no-untyped-def]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                self._open.append(connection)
                thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.serve(connection)
        with contextlib.suppress(OSError):
            connection.close()

    def serve(self, connection: socket.socket) -> None:
        """Do what this one does with a connection; it is closed afterwards."""
        raise NotImplementedError


class Liar(_Listener):
    """Answers each request with the bytes that ``say`` makes of it, and closes the connection."""

    def __init__(self, say: Callable[[Heard], bytes]) -> None:
        self.heard: list[Heard] = []
        self._say = say
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        """Read one request and answer it."""
        file = connection.makefile("rb")
        line = file.readline().decode("latin-1").strip()
        fields = {}
        while text := file.readline().decode("latin-1").strip():
            name, _, value = text.partition(":")
            fields[name.lower()] = value.strip()
        heard = Heard(line, fields, file.read(int(fields.get("content-length", "0"))))
        self.heard.append(heard)
        connection.sendall(self._say(heard))
        file.close()


class Cutter(_Listener):
    """Passes everything on to a daemon, and resets each connection after so many bytes.

    ``answers`` counts the bytes of the answers, ``requests`` those of the requests; None: no end.
    Only the first ``times`` connections are cut.
    """

    def __init__(
        self,
        port: int,
        *,
        answers: int | None = None,
        requests: int | None = None,
        times: int | None = None,
    ) -> None:
        self._to = port
        self._answers = answers
        self._requests = requests
        self._times = times
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        """Pass on what comes, both ways."""
        is_cut = self._times is None or self.connections <= self._times
        daemon = socket.create_connection(("127.0.0.1", self._to))
        self._open.append(daemon)
        up = threading.Thread(
            target=self._pass,
            args=(connection, daemon, self._requests if is_cut else None),
            daemon=True,
        )
        up.start()
        self._pass(daemon, connection, self._answers if is_cut else None)
        up.join(10)
        daemon.close()

    def _pass(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if limit is not None and passed + len(piece) >= limit:
                    target.sendall(piece[: limit - passed])
                    for each in (source, target):
                        # A reset, as of a machine that has lost its memory of the connection.
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CUT)
                        each.shutdown(socket.SHUT_RDWR)
                    return
                target.sendall(piece)
                passed += len(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
