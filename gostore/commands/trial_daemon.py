"""A gostore daemon in a process of its own, to be talked to, killed and started again.

The selftest uses it, and the end-to-end tests subclass it. Nothing here sleeps for a fixed time: a
wait ends the moment the event happens, and is an error after `PATIENCE` seconds.
"""

from __future__ import annotations

import http.client
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

from attrs import frozen

import gostore

#: Seconds after which an event will not come any more. Machines can be slow.
PATIENCE = 180.0

#: The same as the script ``twistd``; ``python -m twisted`` is ``twist``.
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")

#: The body of a request: an iterable goes out in chunks, without an announced length.
Body = bytes | Iterable[bytes] | None


D = TypeVar("D", bound="TrialDaemon")


class NeverSaid(Exception):
    """The daemon ended, or let `PATIENCE` seconds pass, without the line that was waited for.

    ``said`` is its whole log.
    """

    def __init__(self, reason: str, said: Sequence[str]) -> None:
        super().__init__("\n".join([f"{reason}:", *said]))
        self.said = said


@frozen
class Answer:
    """An answer of the daemon."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def environment(**more: str) -> dict[str, str]:
    """The environment of a daemon: it runs this gostore, and its log comes line by line."""
    source = str(Path(gostore.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


class TrialDaemon:
    """A data directory, and the daemon that serves it on a free port, started any number of times.

    ``options`` are gostore's. ``wrapper`` is a command that runs the daemon. ``host`` is the
    address to listen on.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        host: str = "127.0.0.1",
    ) -> None:
        self.directory = directory
        self.options = options
        self.env = dict(env or {})
        self.wrapper = wrapper
        self.host = host
        self.log: list[str] = []
        self.port = 0
        #: Set while it serves.
        self.up = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._news = threading.Condition()
        self._ended = False

    # -- life ---------------------------------------------------------------------------------

    def launch(self: D, *options: str, twistd: Sequence[str] = ()) -> D:
        """Start the process and wait for nothing; ``twistd`` are twistd's options."""
        assert self._process is None, "it runs already"
        self.log = []
        self.port = 0
        self._ended = False
        command = [*self.wrapper, *TWISTD, "-n", "--pidfile=", *twistd, "gostore"]
        given = (*self.options, *options)
        if not any(each.startswith(("-s", "--listen", "--config")) for each in given):
            command += ["-s", f"tcp:0:interface={self.host}"]
        if "--store" not in given:
            command += ["--dir", str(self.directory)]
        command += given
        self._process = self._spawn(command)
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read_log, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()
        return self

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.directory.parent,
            env=environment(**self.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )

    def start(self: D, *options: str) -> D:
        """Start it and wait until it serves. Raises NeverSaid."""
        return self.launch(*options).serves()

    def serves(self: D, scheme: str = "http") -> D:
        """Wait until it says its port and that it serves. Raises NeverSaid."""
        line = self.wait_for(rf"Listening on {scheme}://{re.escape(self.host)}:[0-9]+")
        self.port = int(line.rpartition(":")[2])
        # The last line before it serves.
        self.wait_for("Recovery: ")
        self.up.set()
        return self

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process, running or just ended."""
        assert self._process is not None, "it is not running"
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for it to end. Return its exit status, or minus the signal that ended it."""
        assert self._reader is not None
        status = self.process.wait(PATIENCE)
        self.up.clear()
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._process = None
        return status

    def kill(self) -> None:
        """End it with kill -9."""
        self.up.clear()
        self.process.kill()
        self.ended()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit status. Raises TimeoutExpired."""
        self.up.clear()
        self.send(number)
        return self.ended()

    def close(self) -> None:
        """End it with kill -9, if it runs."""
        if self._process is not None:
            self.kill()

    # -- its log ------------------------------------------------------------------------------

    def _read_log(self, output: IO[str]) -> None:
        for line in output:
            with self._news:
                self.log.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Wait for a line in its log; return the text that matches. Raises NeverSaid."""
        end = time.monotonic() + PATIENCE
        seen = 0
        with self._news:
            while True:
                for line in self.log[seen:]:
                    if match := re.search(pattern, line):
                        return match[0]
                seen = len(self.log)
                if self._ended:
                    raise NeverSaid(f"it ended before saying {pattern!r}", self.log)
                left = end - time.monotonic()
                if left <= 0:
                    raise NeverSaid(f"it never said {pattern!r}", self.log)
                self._news.wait(left)

    @property
    def said(self) -> str:
        """Its whole log."""
        return "\n".join(self.log)

    # -- talking to it ------------------------------------------------------------------------

    def connect(self) -> http.client.HTTPConnection:
        """A connection of the caller's own."""
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)

    def ask(
        self,
        method: str,
        location: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own. Raises OSError or HTTPException."""
        connection = self.connect()
        try:
            return ask(connection, method, f"/store/{location}", body, headers)
        finally:
            connection.close()

    # -- its disk -----------------------------------------------------------------------------

    def free(self) -> int:
        """How many bytes are free on its disk."""
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize

    def limit_files(self, size: int) -> None:
        """Let no file of it grow beyond a size from now on."""
        hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, hard))


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Body = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request on a connection and read the whole answer."""
    # A daemon that wants no body may disconnect, but it answers first.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, path, body, dict(headers or {}))
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())
