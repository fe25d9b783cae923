"""A trial daemon that the end-to-end tests can also look into: its files, its disk, its memory."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import quote

from attrs import frozen

from gostore.commands.trial_daemon import (
    PATIENCE,
    TWISTD,
    TrialDaemon,
    ask,
    environment,
)
from gostore.volume.directory import RECORDS
from gostore.volume.journal.format import NAMES as JOURNAL
from gostore.volume.promise import NAME as PROMISE
from tests.e2e.nursery import Nursery

#: Seconds after which a daemon that was asked to end, and that no test looks at, is killed.
GRACE = 5.0

#: Long runs, of sizes and counts that no commit should wait for.
SOAK = os.environ.get("GOSTORE_SOAK") == "1"

#: A port that is free when the daemon binds it.
ANY_PORT = "tcp:0:interface=127.0.0.1"

FIXTURES = Path(__file__).parent.parent / "fixtures"

STATE = "blob_state.base64.json"

T = TypeVar("T")


def eventually(look: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """Look until what is seen is true, and return it; an AssertionError says what never was."""
    end = time.monotonic() + timeout
    pause = threading.Event()
    while not (seen := look()):
        assert time.monotonic() < end, f"not in {timeout} s: {what} (last seen: {seen!r})"
        pause.wait(0.01)
    return seen


@functools.cache
def shared_nursery() -> Nursery:
    """The nursery of all tests in this process. It ends with that."""
    return Nursery()


class Daemon(TrialDaemon):
    """A trial daemon that tests can look into.

    The ``nursery`` forks it, so that it starts sooner, if it needs no interpreter of its own,
    nor a process around it. If that is None, `twistd` is run as a user runs it.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        host: str = "127.0.0.1",
        nursery: Callable[[], Nursery] | None = shared_nursery,
    ) -> None:
        self._nursery = nursery
        super().__init__(directory, *options, env=env, wrapper=wrapper, host=host)

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[str]:
        env = environment(**self.env)
        if self._nursery is None or self.wrapper or not self._nursery().suits(env):
            return super()._spawn(command)
        born = self._nursery().spawn(command, self.directory.parent, env)
        return cast("subprocess.Popen[str]", born)

    def start_with_log(self, log: Path) -> Daemon:
        """Start it with its log in a file, which nothing here reads but this."""
        self.launch(twistd=("--logfile", str(log)))
        eventually(lambda: log.exists() and "Recovery: " in log.read_text(), "it serves")
        found = re.search(rf"http://{re.escape(self.host)}:([0-9]+)", log.read_text())
        assert found is not None
        self.port = int(found[1])
        return self

    def close(self) -> None:
        """Make sure that it is gone."""
        if self._process is None:
            return
        if self.wrapper:
            # What runs below it would outlive it.
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)
        self.kill()

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self.port, "it is not ready"
        return f"http://{self.host}:{self.port}"

    def store(self, location: str) -> str:
        """The URL of a location, which has to be plain ASCII."""
        return f"{self.url}/store/{location}"

    # -- what it keeps ------------------------------------------------------------------------

    def names(self) -> set[str]:
        """Everything that lies in the data directory, but for the redo journal and its like."""
        return set(os.listdir(self.directory)) - {*JOURNAL, RECORDS, PROMISE}

    def records(self) -> dict[str, Record]:
        """Each directory with a state file, and what a person reads in it."""
        found = {}
        for name in self.names():
            try:
                found[name] = read_record(self.directory / name)
            except FileNotFoundError:
                continue  # none, or collected while we looked
        return found

    def place(self, location: str) -> Path:
        """The directory of a new blob. A small one has its files soon after its answer."""

        def look() -> list[Path]:
            found = self.records().items()
            is_it = (location, "OK")
            return [self.directory / name for name, it in found if (it.location, it.state) == is_it]

        [place] = eventually(look, f"the files of {location}")
        return place

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
    if not text:
        # In a new directory it is written in place: it is made right now.
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
