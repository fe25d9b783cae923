"""A real daemon to talk to: ``twistd gostore`` in a process of its own, on a port nobody else has.

Nothing here sleeps for a fixed time: what is waited for is seen the moment it happens, and after
`PATIENCE` seconds it is an error.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from attrs import frozen

import gostore
from gostore.volume.journal.journal import NAMES as JOURNAL

#: Seconds after which something that should have happened has not; machines can be slow.
PATIENCE = 60.0

#: Seconds after which a daemon that was asked to end, and that no test looks at, is killed.
GRACE = 5.0

#: Long runs, of sizes and counts that no commit should wait for.
SOAK = os.environ.get("GOSTORE_SOAK") == "1"

#: ``python -m twisted`` is ``twist``; this is what the script ``twistd`` does.
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")

#: A port that is free when the daemon binds it.
ANY_PORT = "tcp:0:interface=127.0.0.1"

FIXTURES = Path(__file__).parent.parent / "fixtures"

STATE = "blob_state.base64.json"

#: Of a request: an iterable comes in chunks, and does not say how long it is.
Body = bytes | Iterable[bytes] | None

T = TypeVar("T")


def environment(**more: str) -> dict[str, str]:
    """The environment of a daemon: it runs the gostore that these tests import."""
    source = str(Path(gostore.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


def eventually(look: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """Look until what is seen is true, and return it; an AssertionError says what never was."""
    end = time.monotonic() + timeout
    pause = threading.Event()
    while not (seen := look()):
        assert time.monotonic() < end, f"not in {timeout} s: {what} (last seen: {seen!r})"
        pause.wait(0.01)
    return seen


@frozen
class Answer:
    """What the daemon answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Daemon:
    """One data directory, and the daemon that serves it, started as often as one likes.

    ``options`` are gostore's; ``wrapper`` is a command that runs the daemon; ``host`` is where it
    listens. One that is ``doomed`` to be killed anyway is not measured, because what it has covered
    would die with it, and so it starts sooner.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        host: str = "127.0.0.1",
        doomed: bool = False,
    ) -> None:
        self.directory = directory
        self.options = options
        self.env = {**(env or {}), **({"COVERAGE_PROCESS_CONFIG": ""} if doomed else {})}
        self.wrapper = wrapper
        self.host = host
        self.doomed = doomed
        self.log: list[str] = []
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._news = threading.Condition()
        self._ended = False

    # -- life ---------------------------------------------------------------------------------

    def launch(self, *options: str, twistd: Sequence[str] = ()) -> Daemon:
        """Start the process and wait for nothing; ``twistd`` are twistd's options."""
        assert self._process is None, "it runs already"
        self.log = []
        self.port = 0
        self._ended = False
        command = [*self.wrapper, *TWISTD, "-n", "--pidfile=", *twistd, "gostore"]
        command += ["-s", f"tcp:0:interface={self.host}"]
        command += ["--dir", str(self.directory), *self.options, *options]
        self._process = subprocess.Popen(
            command,
            cwd=self.directory.parent,
            env=environment(**self.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )
        self._reader = threading.Thread(target=self._read_log, args=(self._process.stdout,))
        self._reader.start()
        return self

    def start(self, *options: str) -> Daemon:
        """Start it and wait until it says where it listens."""
        self.launch(*options)
        line = self.wait_for(rf"Listening on http://{re.escape(self.host)}:[0-9]+")
        self.port = int(line.rpartition(":")[2])
        # The last of what it says before it serves.
        self.wait_for("Recovery: ")
        return self

    def start_with_log(self, log: Path) -> Daemon:
        """Start it with its log in a file, which nothing here reads but this."""
        self.launch(twistd=("--logfile", str(log)))
        eventually(lambda: log.exists() and "Recovery: " in log.read_text(), "it serves")
        self.port = int(log.read_text().partition(f"http://{self.host}:")[2].split()[0])
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
        """Wait for it to end; return its exit status, or minus the signal that ended it."""
        assert self._reader is not None
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._process = None
        return status

    def kill(self) -> None:
        """End it with kill -9."""
        self.process.kill()
        self.ended()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit status."""
        self.send(number)
        return self.ended()

    def close(self) -> None:
        """Make sure that it is gone: asked to end, so that its coverage is kept, or else killed."""
        if self._process is None:
            return
        if not self.doomed:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)
        self.kill()

    # -- what it says -------------------------------------------------------------------------

    def _read_log(self, output: object) -> None:
        for line in output:  # type: ignore[attr-defined]
            with self._news:
                self.log.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Wait for its log to say something; return the text that matches."""
        end = time.monotonic() + PATIENCE
        seen = 0
        with self._news:
            while True:
                for line in self.log[seen:]:
                    if match := re.search(pattern, line):
                        return match[0]
                seen = len(self.log)
                assert not self._ended, f"it ended before saying {pattern!r}:\n" + self.said
                left = end - time.monotonic()
                assert left > 0, f"it never said {pattern!r}:\n" + self.said
                self._news.wait(left)

    @property
    def said(self) -> str:
        """Its whole log."""
        return "\n".join(self.log)

    # -- talking to it ------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self.port, "it is not ready"
        return f"http://{self.host}:{self.port}"

    def store(self, location: str) -> str:
        """The URL of a location, which has to be plain ASCII."""
        return f"{self.url}/store/{location}"

    def connect(self) -> http.client.HTTPConnection:
        """A connection of one's own."""
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)

    def ask(
        self,
        method: str,
        location: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own; OSError or HTTPException if it is lost."""
        connection = self.connect()
        try:
            return ask(connection, method, f"/store/{location}", body, headers)
        finally:
            connection.close()

    # -- what it keeps ------------------------------------------------------------------------

    def names(self) -> set[str]:
        """Everything that lies in the data directory, but for the redo journal."""
        return set(os.listdir(self.directory)) - set(JOURNAL)

    def records(self) -> dict[str, Record]:
        """Each directory with a state file, and what a person reads in it."""
        found = {}
        for name in self.names():
            try:
                found[name] = read_record(self.directory / name)
            except FileNotFoundError:
                continue  # none, or collected while we looked
        return found

    def leftovers(self) -> set[str]:
        """The names of what is not a blob that exists: stages, trash, the dead, whatever."""
        living = {name: each for name, each in self.records().items() if each.state == "OK"}
        # One of two at a location has been replaced, and is not marked yet.
        count = Counter(record.location for record in living.values())
        live = {name for name, record in living.items() if count[record.location] == 1}
        return {name for name in self.names() if name not in live or not name.isdecimal()}

    def clean(self) -> None:
        """Wait until the collector has left nothing but blobs that exist."""
        eventually(lambda: not self.leftovers(), f"nothing left over in {self.directory}")

    def files(self) -> list[str]:
        """What it has open, as /proc names it."""
        found = []
        for number in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed while we looked
                found.append(os.readlink(f"/proc/{self.pid}/fd/{number}"))
        return found

    def sockets(self) -> int:
        """How many sockets it has open."""
        return sum(name.startswith("socket:") for name in self.files())

    def forget_peak(self) -> None:
        """Let VmHWM begin anew with what is in use now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def empty(self) -> None:
        """Delete every blob, wait until nothing is left of them, and forget what was said."""
        connection = self.connect()
        listed = ask(connection, "GET", "/store/?limit=10000&format=json")
        for entry in json.loads(listed.body):
            deleted = ask(connection, "DELETE", f"/store/{quote(entry['location'])}")
            assert deleted.status == 200, entry
        connection.close()
        eventually(lambda: not self.names(), f"nothing left in {self.directory}")
        with self._news:
            self.log.clear()

    def status(self, field: str) -> int:
        """A number of its /proc status: VmHWM and VmRSS in KiB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(f"{field}:"))


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Body = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request on a connection and read the whole answer."""
    # Whose body nobody wants to read may be disconnected, but is told before.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, path, body, dict(headers or {}))
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


@frozen
class Record:
    """A state file as a person reads it: what it is of, and its log, newest first."""

    location: str
    log: list[str]

    @property
    def state(self) -> str:
        """OK, Pending or Failure."""
        return self.log[0].partition(" - ")[0]


def read_record(directory: Path) -> Record:
    """Read a state file without any of gostore's code; FileNotFoundError if there is none."""
    try:
        text = (directory / STATE).read_text(encoding="utf-8")
    except NotADirectoryError as error:
        raise FileNotFoundError(directory) from error
    if not text and directory.name.startswith(".new-"):
        # Only a stage is written in place: this one is made right now.
        raise FileNotFoundError(directory)
    head, _, *log = text.splitlines()
    location = json.loads(base64.b64decode(head.partition(":")[2], validate=True))["location"]
    return Record(location, [line.partition(" - ")[2] for line in log if line])


def run_twistd(arguments: Sequence[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``twistd`` with arguments until it ends, or has gone to the background."""
    return subprocess.run(
        [*TWISTD, *arguments],
        cwd=cwd,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def run_fsck(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``gostore fsck`` on a data directory until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "gostore.commands.main", "fsck", "--dir", str(directory), *options],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
