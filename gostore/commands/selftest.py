"""A trial of this machine's disk: kill a daemon over and over, and see that nothing is lost.

Writers store, replace and delete, each at locations of its own. Meanwhile ``kill -9`` ends the
daemon at random times, and it starts again. Every acknowledged write must be there afterwards.
Where a kill took the answer away, the old version or the new one must be there, and nothing else.
Then the daemon takes the disk for full: reads and deletes must still work. At last a write fails in
the middle, and that must cost nothing either.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import define, field

from gostore.commands.fsck import fsck
from gostore.commands.statuses import BAD, GOOD
from gostore.commands.terminal import argument, read_directory, step
from gostore.commands.trial_daemon import PATIENCE, NeverSaid, TrialDaemon
from gostore.daemon.parsers import parse_count, parse_seconds_above_zero
from gostore.errors import VolumeUnusable
from gostore.text import printable
from gostore.volume.journal.format import SIZE
from gostore.volume.volume import Volume

WRITERS = 4
LOCATIONS = 5
#: The daemon may use about this much of the disk before it takes it for full.
ROOM = 4 * 1024 * 1024
FILL = 256 * 1024
MOST_FILLS = 64
#: No file may grow beyond this where a write has to fail. The journal has its room already, and no
#: full disk takes that away.
FILE_LIMIT = SIZE
#: About how many seconds the trial takes besides the kills.
REST = 10
#: The report shows at most so many faults one by one.
MOST_SHOWN = 20
SIZES = (0, 17, 1000, 20_000, 70_000, 300_000)

#: What each location holds, None where there is no blob.
Expected = dict[str, bytes | None]

_LOST = (OSError, http.client.HTTPException)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Kill a daemon of its own over and over (kill -9), fill its disk, and see that nothing is"
        " lost. This tries gostore on a disk. It cuts no power: it believes that the disk keeps"
        " what fsync has flushed."
    )
    parser.add_argument(
        "--crash",
        metavar="DIR",
        required=True,
        help="a directory on the disk to try; the trial makes a new one under it, and removes it",
    )
    parser.add_argument(
        "--seconds",
        type=argument(parse_seconds_above_zero),
        default=20.0,
        help=f"how long it kills [default: 20]; the rest takes about {REST} seconds",
    )
    parser.add_argument(
        "--kills",
        type=argument(partial(parse_count, least=0)),
        default=20,
        help="the most kills [default: 20]",
    )
    parser.add_argument("--seed", type=int, help="the seed of the random choices")


def run(parsed: argparse.Namespace) -> int:
    """Try the disk, and print the verdict."""
    long = f"about {parsed.seconds + REST:.0f} seconds in all"
    trial = Trial(read_directory(parsed.crash), parsed.seconds, parsed.kills, parsed.seed)
    with step(f"Starting ({long})") as show:
        verdict = trial.run(lambda text: show(f"{text} ({long})"))
    print("\n".join(map(printable, verdict.as_lines())))
    return GOOD if verdict.good else BAD


@define
class Verdict:
    """The outcome of a trial. ``wrong`` lists each loss and each wrong answer.

    ``unjudged`` lists what the trial could not judge.
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


def _make_daemon(directory: Path) -> TrialDaemon:
    return TrialDaemon(directory, "--gc-interval", "0.2")


class Trial:
    """One trial in a new directory under ``parent``, which is removed if all is well."""

    def __init__(
        self,
        parent: str,
        seconds: float,
        kills: int,
        seed: int | None = None,
        make_daemon: Callable[[Path], TrialDaemon] = _make_daemon,
    ) -> None:
        """Describe the trial; ``make_daemon`` makes the daemon of a data directory.

        The kills end after so many seconds, or so many kills.
        """
        self._parent = parent
        self._make_daemon = make_daemon
        self._seconds = seconds
        self._kills = kills
        self._seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed

    def run(self, tell: Callable[[str], object] = lambda text: None) -> Verdict:
        """Run the trial, and call ``tell`` with each step. Blocks.

        Raises OSError, or VolumeUnusable if no daemon starts there.
        """
        begun = time.monotonic()
        try:
            directory = tempfile.mkdtemp(prefix="gostore-selftest-", dir=self._parent)
        except OSError as error:
            # The error does not name the parent.
            raise VolumeUnusable(self._parent, error.strerror or str(error)) from error
        verdict = Verdict(directory, self._seed)
        data = Path(directory) / "data"
        daemon = self._make_daemon(data)
        try:
            _start(daemon)
            try:
                self._crash(daemon, verdict, tell)
                tell("Filling the disk")
                expected = fill(daemon, verdict)
                tell("Cutting a write short")
                cut_short(daemon, verdict, expected)
            except VolumeUnusable as error:
                verdict.wrong.append(str(error))
            tell("Checking what is left")
            verdict.wrong += [str(each) for each in fsck(Volume(str(data))).damage]
        finally:
            daemon.close()
            if verdict.good:
                shutil.rmtree(directory)
        verdict.seconds = time.monotonic() - begun
        return verdict

    def _crash(self, daemon: TrialDaemon, verdict: Verdict, tell: Callable[[str], object]) -> None:
        chosen = random.Random(self._seed)
        writers = [Writer(number, daemon, verdict, self._seed) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        pause = threading.Event()
        end = time.monotonic() + self._seconds
        try:
            while time.monotonic() < end and verdict.kills < self._kills:
                tell(f"Killing the daemon, {verdict.kills} times until now")
                pause.wait(min(chosen.uniform(0.05, 1.0), max(0, end - time.monotonic())))
                daemon.kill()
                verdict.kills += 1
                _start(daemon)
                for writer in writers:
                    writer.look_all.set()
        finally:
            for writer in writers:
                writer.enough.set()
            for writer in writers:
                writer.join(2 * PATIENCE)
        # Once more from the disk, when all is quiet.
        daemon.kill()
        _start(daemon)
        for writer in writers:
            if writer.failure is not None:
                raise writer.failure
            writer.check_all()
            verdict.acknowledged += writer.acknowledged
            verdict.unknown += writer.unknown
            verdict.checked += writer.checked
            verdict.wrong += writer.wrong
        _stop(daemon, verdict)


def fill(daemon: TrialDaemon, verdict: Verdict) -> Expected:
    """See that a full disk refuses writes, and nothing else. Return what each location holds."""
    reserve = max(0, daemon.free() - ROOM)
    options = ("--free-space-reserve", str(reserve))
    _start(daemon, *options)
    expected: Expected = {}
    status = before = 0
    for number in range(MOST_FILLS):
        location, body = f"full/{number}", bytes([number]) * FILL
        before = daemon.free()
        status, _ = _ask(daemon, "POST", location, body)
        if status != 204:
            break
        verdict.acknowledged += 1
        expected[location] = body
    if status == 507:
        verdict.refused += 1
    elif status == 204 and max(before, daemon.free()) >= reserve:
        verdict.unjudged.append("a full disk: others have made room on it meanwhile")
    else:
        verdict.wrong.append(f"a full disk: POST {_answered(status)}, and not with 507")
    _look(daemon, verdict, expected)
    for location in list(expected)[::2]:
        _delete(daemon, verdict, expected, location)
    _look(daemon, verdict, expected)
    daemon.kill()
    _start(daemon, *options)
    _look(daemon, verdict, expected)
    _stop(daemon, verdict)
    return expected


def cut_short(daemon: TrialDaemon, verdict: Verdict, expected: Expected) -> None:
    """See that a write that fails in the middle harms nothing else, and leaves nothing."""
    _start(daemon, "--free-space-reserve", "0")
    # Python ignores SIGXFSZ, so a write beyond the limit fails: 413, as of a file that is too large
    # for its file system.
    daemon.limit_files(FILE_LIMIT)
    status, _ = _ask(daemon, "POST", "failing", b"!" * (FILE_LIMIT + 1))
    if status in (0, 413) or status >= 500:
        verdict.failed += 1
        expected["failing"] = None
    else:
        verdict.wrong.append(f"failing: a write that failed {_answered(status)}")
    _look(daemon, verdict, expected)
    for location, body in list(expected.items()):
        if body is not None:
            _delete(daemon, verdict, expected, location)
    _look(daemon, verdict, expected)
    _stop(daemon, verdict)


def _look(daemon: TrialDaemon, verdict: Verdict, expected: Expected) -> None:
    for location, wanted in expected.items():
        verdict.checked += 1
        status, body = _ask(daemon, "GET", location)
        if (status, wanted) != (404, None) and (status, body) != (200, wanted):
            verdict.wrong.append(f"{location}: {_answered(status)}, and not with what it holds")


def _delete(daemon: TrialDaemon, verdict: Verdict, expected: Expected, location: str) -> None:
    status, _ = _ask(daemon, "DELETE", location)
    if status == 200:
        verdict.acknowledged += 1
        expected[location] = None
    else:
        verdict.wrong.append(f"{location}: DELETE {_answered(status)}")


def _ask(
    daemon: TrialDaemon, method: str, location: str, body: bytes | None = None
) -> tuple[int, bytes]:
    """Send one request. Return status and body, 0 if no answer came."""
    try:
        answer = daemon.ask(method, location, body)
    except _LOST:
        return 0, b""
    return answer.status, answer.body


def _start(daemon: TrialDaemon, *options: str) -> None:
    """Start the daemon. Raises VolumeUnusable."""
    try:
        daemon.start(*options)
    except NeverSaid as error:
        daemon.close()
        last = error.said[-1].strip() if error.said else "it says nothing"
        reason = f"no daemon starts there: {last}"
        raise VolumeUnusable(str(daemon.directory.parent), reason) from error


def _stop(daemon: TrialDaemon, verdict: Verdict) -> None:
    """Ask the daemon to end, which it has to do with status 0."""
    try:
        status = daemon.stop()
    except subprocess.TimeoutExpired:
        status = -1
    if status:
        verdict.wrong.append(f"the daemon ended with status {status}")
    daemon.close()


def _answered(status: int) -> str:
    return f"answered {status}" if status else "not answered"


class Writer(threading.Thread):
    """Writes to locations that nobody else writes to, and knows what each may hold.

    A location holds the SHA-256 of its bytes, or None if there is no blob.
    """

    def __init__(self, number: int, daemon: TrialDaemon, verdict: Verdict, seed: int) -> None:
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
        """Write until ``enough`` is set."""
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
        """Check every location."""
        for location in self._may:
            self._check(location)

    def _check(self, location: str) -> bytes | None:
        answer = self._daemon.ask("GET", location)
        found = hashlib.sha256(answer.body).digest() if answer.status == 200 else None
        self.checked += 1
        if answer.status not in (200, 404) or found not in self._may[location]:
            self.wrong.append(f"{location}: answered {answer.status}, and not with what it holds")
        self._may[location] = {found}
        return found

    def _write(self) -> None:
        location = self._random.choice(list(self._may))
        if len(self._may[location]) > 1:
            self._check(location)
        [before] = self._may[location]
        after: bytes | None = None
        if before is not None and self._random.random() < 0.25:
            method, body, good = "DELETE", None, 200
        else:
            body = self._random.randbytes(self._random.choice(SIZES))
            after = hashlib.sha256(body).digest()
            method, good = ("POST", 204) if before is None else ("PUT", 200)
        self._may[location] = {before, after}
        try:
            status = self._daemon.ask(method, location, body).status
        except _LOST:
            self.unknown += 1
            raise
        if status == good:
            self.acknowledged += 1
            self._may[location] = {after}
        else:
            self.wrong.append(f"{location}: {method} answered {status}")
