"""A trial of this machine's disk: kill a daemon over and over, and see that nothing is lost.

Writers that each have locations of their own store, replace and delete, while the daemon is ended
by ``kill -9`` at random times and started again.  What it has answered with success has to be there
afterwards; where a kill took the answer away, the old or the new is right, and nothing else.  Then
the disk is made to look full, and must still be read and deleted from; and a write is made to fail
in the middle, and that must cost nothing either.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

import gostore
from gostore.commands.fsck import fsck
from gostore.errors import VolumeUnusable
from gostore.volume.journal.journal import SIZE
from gostore.volume.volume import Volume

WRITERS = 4
LOCATIONS = 5
#: Seconds after which a daemon that has not answered, or not come up, never will.
PATIENCE = 60.0
#: How much room the daemon is told that there is on the full disk, and the most it is given to use.
ROOM = 4 * 1024 * 1024
FILL = 256 * 1024
MOST_FILLS = 64
#: The largest file that a write may make where writes fail. The journal has its room already, and
#: no full disk takes that away.
FILE_LIMIT = SIZE
#: About how many seconds the trial takes, beside those of the kills.
REST = 10
#: How many of the things that are wrong are told one by one.
MOST_SHOWN = 20
SIZES = (0, 17, 1000, 20_000, 70_000, 300_000)

#: What each location holds, None where there is no blob.
Held = dict[str, bytes | None]

_TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
_OPTIONS = ("-s", "127.0.0.1:0", "--gc-interval", "0.2")
_LOST = (OSError, http.client.HTTPException)


@define
class Verdict:
    """What the trial came to; ``wrong`` says what was lost or is not as it should be.

    ``unjudged`` says what could not be seen, good or bad.
    """

    directory: str
    seed: int
    acknowledged: int = 0
    unknown: int = 0
    checked: int = 0
    kills: int = 0
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(factory=list)
    unjudged: list[str] = field(factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was lost."""
        return not self.wrong

    def as_lines(self) -> list[str]:
        """The verdict, for people."""
        lines = self.wrong[:MOST_SHOWN]
        if len(self.wrong) > MOST_SHOWN:
            lines.append(f"and {len(self.wrong) - MOST_SHOWN} more")
        if self.wrong:
            lines.append(f"What is left is in {self.directory}")
        return [
            *lines,
            *(f"Not judged: {each}" for each in self.unjudged),
            f"{self.acknowledged} operations acknowledged, {self.unknown} with an unknown outcome, "
            f"{self.kills} kills, {self.checked} checks",
            f"{self.refused} writes refused on a full disk, {self.failed} cut short",
            f"{'Good' if self.good else 'BAD'}: {len(self.wrong)} wrong, "
            f"{self.seconds:.1f} seconds, seed {self.seed}",
        ]


class Trial:
    """One trial in a new directory under ``parent``, which is removed if all is well."""

    def __init__(
        self,
        parent: str,
        seconds: float,
        kills: int,
        seed: int | None = None,
        subject: Callable[[str], Subject] | None = None,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        """Describe the trial; ``subject`` makes the daemon for a directory, by default a real one.

        The kills are over after so many seconds, or kills. ``tell`` is told what is being done.
        """
        self._tell = tell
        self._parent = parent
        self._subject = subject or Subject
        self._seconds = seconds
        self._kills = kills
        self._seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed

    def run(self) -> Verdict:
        """Do it. Blocks. Raises OSError, or VolumeUnusable if no daemon can be started there."""
        begun = time.monotonic()
        try:
            directory = tempfile.mkdtemp(prefix="gostore-selftest-", dir=self._parent)
        except OSError as error:
            # Nobody has named the directory that could not be made.
            raise VolumeUnusable(self._parent, error.strerror or str(error)) from error
        verdict = Verdict(directory, self._seed)
        daemon = self._subject(directory)
        try:
            daemon.start()
            try:
                self._crash(daemon, verdict)
                self._tell("Filling the disk")
                held = fill(daemon, verdict)
                self._tell("Cutting a write short")
                cut_short(daemon, verdict, held)
            except VolumeUnusable as error:
                verdict.wrong.append(str(error))
            self._tell("Checking what is left")
            verdict.wrong += [str(each) for each in fsck(Volume(daemon.data)).damage]
        finally:
            daemon.kill()
            if verdict.good:
                shutil.rmtree(directory)
        verdict.seconds = time.monotonic() - begun
        return verdict

    def _crash(self, daemon: Subject, verdict: Verdict) -> None:
        chosen = random.Random(self._seed)
        writers = [Writer(number, daemon, verdict, self._seed) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        end = time.monotonic() + self._seconds
        try:
            while time.monotonic() < end and verdict.kills < self._kills:
                self._tell(f"Killing the daemon, {verdict.kills} times until now")
                daemon.idle.wait(min(chosen.uniform(0.05, 1.0), max(0, end - time.monotonic())))
                daemon.kill()
                verdict.kills += 1
                daemon.start()
                for writer in writers:
                    writer.look_all.set()
        finally:
            for writer in writers:
                writer.enough.set()
            for writer in writers:
                writer.join(2 * PATIENCE)
        # Once more from the disk, when all is quiet.
        daemon.kill()
        daemon.start()
        for writer in writers:
            if writer.failure is not None:
                raise writer.failure
            writer.check_all()
            verdict.acknowledged += writer.acknowledged
            verdict.unknown += writer.unknown
            verdict.checked += writer.checked
            verdict.wrong += writer.wrong
        daemon.stop(verdict)


def fill(daemon: Subject, verdict: Verdict) -> Held:
    """See that a disk that looks full refuses writes, and nothing else; return what is there."""
    reserve = max(0, daemon.free() - ROOM)
    options = ("--free-space-reserve", str(reserve))
    daemon.start(*options)
    held: Held = {}
    status = before = 0
    for number in range(MOST_FILLS):
        location, body = f"full/{number}", bytes([number]) * FILL
        before = daemon.free()
        status, _ = _ask(daemon, "POST", location, body)
        if status != 204:
            break
        verdict.acknowledged += 1
        held[location] = body
    if status == 507:
        verdict.refused += 1
    elif status == 204 and max(before, daemon.free()) >= reserve:
        verdict.unjudged.append("a full disk: others have made room on it meanwhile")
    else:
        verdict.wrong.append(f"a full disk: POST {_answered(status)}, and not with 507")
    _look(daemon, verdict, held)
    for location in list(held)[::2]:
        _delete(daemon, verdict, held, location)
    _look(daemon, verdict, held)
    daemon.kill()
    daemon.start(*options)
    _look(daemon, verdict, held)
    daemon.stop(verdict)
    return held


def cut_short(daemon: Subject, verdict: Verdict, held: Held) -> None:
    """See that a write that fails in the middle takes nothing along, and leaves nothing."""
    daemon.start("--free-space-reserve", "0")
    # While it runs: Python ignores SIGXFSZ, so what is too large fails as a full disk does.
    daemon.limit(FILE_LIMIT)
    status, _ = _ask(daemon, "POST", "failing", b"!" * (FILE_LIMIT + 1))
    if status == 0 or status >= 500:
        verdict.failed += 1
        held["failing"] = None
    else:
        verdict.wrong.append(f"failing: a write that failed {_answered(status)}")
    _look(daemon, verdict, held)
    for location, body in list(held.items()):
        if body is not None:
            _delete(daemon, verdict, held, location)
    _look(daemon, verdict, held)
    daemon.stop(verdict)


def _look(daemon: Subject, verdict: Verdict, held: Held) -> None:
    for location, wanted in held.items():
        verdict.checked += 1
        status, body = _ask(daemon, "GET", location)
        if (status, wanted) != (404, None) and (status, body) != (200, wanted):
            verdict.wrong.append(f"{location}: {_answered(status)}, and not with what it holds")


def _delete(daemon: Subject, verdict: Verdict, held: Held, location: str) -> None:
    status, _ = _ask(daemon, "DELETE", location)
    if status == 200:
        verdict.acknowledged += 1
        held[location] = None
    else:
        verdict.wrong.append(f"{location}: DELETE {_answered(status)}")


def _ask(
    daemon: Subject, method: str, location: str, body: bytes | None = None
) -> tuple[int, bytes]:
    """Send one request; return status and body, 0 if there was no answer."""
    try:
        return daemon.ask(method, location, body)
    except _LOST:
        return 0, b""


def _answered(status: int) -> str:
    return f"answered {status}" if status else "not answered"


class Subject:
    """A daemon of the trial's own."""

    def __init__(self, directory: str) -> None:
        self.data = os.path.join(directory, "data")
        #: Never set: a wait on it is a pause.
        self.idle = threading.Event()
        self.up = threading.Event()
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._port = 0

    def start(self, *options: str) -> None:
        """Start it, and wait until it listens."""
        # The gostore that is on trial is this one.
        source = str(Path(gostore.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        process = self._process = subprocess.Popen(
            [*_TWISTD, "-n", "--pidfile=", "gostore", *_OPTIONS, "--dir", self.data, *options],
            cwd=self._directory,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
        )
        found = threading.Event()
        said: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            with process.stdout as lines:
                for line in lines:
                    said.append(line)
                    if match := re.search(r"Listening on http://127\.0\.0\.1:([0-9]+)", line):
                        self._port = int(match[1])
                        found.set()
            found.set()

        self._port = 0
        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()
        found.wait(PATIENCE)
        if not self._port:
            self.kill()
            last = said[-1].strip() if said else "it says nothing"
            raise VolumeUnusable(self._directory, f"no daemon starts there: {last}")
        self.up.set()

    def kill(self) -> None:
        """End it with kill -9."""
        self.up.clear()
        if self._process is not None:
            self._process.kill()
            self._gone()

    def stop(self, verdict: Verdict) -> None:
        """End it in peace, which it has to."""
        self.up.clear()
        assert self._process is not None
        self._process.terminate()
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            status = -1
        if status:
            verdict.wrong.append(f"the daemon ended with status {status}")
        self.kill()

    def _gone(self) -> None:
        assert self._process is not None and self._reader is not None
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self._process = None

    def free(self) -> int:
        """How many bytes are free on its disk."""
        found = os.statvfs(self.data)
        return found.f_bavail * found.f_frsize

    def limit(self, size: int) -> None:
        """From now on no file of its may grow beyond a size."""
        assert self._process is not None
        hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def ask(self, method: str, location: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Send one request; return status and body. Raises one of _LOST if there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request(method, f"/store/{location}", body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


class Writer(threading.Thread):
    """Writes to locations that nobody else writes to, and knows what each may hold.

    What a location holds is the SHA-256 of its bytes, or None if there is no blob.
    """

    def __init__(self, number: int, daemon: Subject, verdict: Verdict, seed: int) -> None:
        super().__init__(daemon=True)
        self.enough = threading.Event()
        self.look_all = threading.Event()
        self.failure: Exception | None = None
        self.acknowledged = 0
        self.unknown = 0
        self.checked = 0
        self.wrong: list[str] = []
        self._daemon = daemon
        self._random = random.Random(f"{seed}-{number}")
        self._may: dict[str, set[bytes | None]] = {
            f"{number}/{each}": {None} for each in range(LOCATIONS)
        }

    def run(self) -> None:
        """Write until it is enough."""
        try:
            while not self.enough.is_set():
                if not self._daemon.up.wait(0.1):
                    continue
                try:
                    if self.look_all.is_set():
                        self.look_all.clear()
                        self.check_all()
                    self._write()
                except _LOST:
                    self.enough.wait(0.01)
        except Exception as error:
            self.failure = error

    def check_all(self) -> None:
        """See that every location holds what it may."""
        for location in self._may:
            self._check(location)

    def _check(self, location: str) -> bytes | None:
        status, body = self._daemon.ask("GET", location)
        held = hashlib.sha256(body).digest() if status == 200 else None
        self.checked += 1
        if status not in (200, 404) or held not in self._may[location]:
            self.wrong.append(f"{location}: answered {status}, and not with what it holds")
        # From here on it is known.
        self._may[location] = {held}
        return held

    def _write(self) -> None:
        location = self._random.choice(list(self._may))
        if len(self._may[location]) > 1:
            self._check(location)
        [held] = self._may[location]
        after: bytes | None = None
        if held is not None and self._random.random() < 0.25:
            method, body, good = "DELETE", None, 200
        else:
            body = self._random.randbytes(self._random.choice(SIZES))
            after = hashlib.sha256(body).digest()
            method, good = ("POST", 204) if held is None else ("PUT", 200)
        self._may[location] = {held, after}
        try:
            status, _ = self._daemon.ask(method, location, body)
        except _LOST:
            self.unknown += 1
            raise
        if status == good:
            self.acknowledged += 1
            self._may[location] = {after}
        else:
            self.wrong.append(f"{location}: {method} answered {status}")
