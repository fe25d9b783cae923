"""Tests for gostore.commands.selftest: a daemon of its own, and doubles that lose things."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Mapping
from http.client import HTTPMessage
from pathlib import Path

import pytest

from gostore.commands.selftest import (
    FILE_LIMIT,
    MOST_FILLS,
    MOST_SHOWN,
    Trial,
    Verdict,
    Writer,
    cut_short,
    fill,
)
from gostore.commands.statuses import BAD
from gostore.commands.trial_daemon import Answer as RealAnswer
from gostore.commands.trial_daemon import Body, NeverSaid, TrialDaemon
from gostore.errors import VolumeUnusable
from tests.e2e.daemon import Daemon
from tests.e2e.mounts import tmpfs

Answer = tuple[int, bytes]


class FakeDaemon(TrialDaemon):
    """A daemon that is a dictionary, with room for some blobs; ``spoil`` changes its answers.

    It is given the method, the location, whether the daemon has room, and the right answer.
    """

    def __init__(self, directory: Path, room: int = 3) -> None:
        super().__init__(directory)
        self.room = room
        directory.mkdir(exist_ok=True)
        self.blobs: dict[str, bytes] = {}
        self.starts: list[tuple[str, ...]] = []
        self.limited = False
        self.spoil: Callable[[str, str, Answer], Answer] = lambda method, location, answer: answer

    def start(self, *options: str) -> FakeDaemon:
        self.starts.append(options)
        self.up.set()
        return self

    def kill(self) -> None:
        self.up.clear()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.kill()
        return 0

    def free(self) -> int:
        return (1 << 40) - sum(map(len, self.blobs.values()))

    def limit_files(self, size: int) -> None:
        self.limited = True

    def ask(
        self,
        method: str,
        location: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> RealAnswer:
        assert body is None or isinstance(body, bytes)
        status, got = self.spoil(method, location, self._answer(method, location, body))
        return RealAnswer(status, HTTPMessage(), got)

    def _answer(self, method: str, location: str, body: bytes | None) -> Answer:
        if body is not None:
            if self.limited and len(body) > FILE_LIMIT:
                return 413, b""
            if len(self.blobs) == self.room:
                return 507, b""
            self.blobs[location] = body
            return (204 if method == "POST" else 200), b""
        if location not in self.blobs:
            return 404, b""
        if method == "DELETE":
            del self.blobs[location]
            return 200, b""
        return 200, self.blobs[location]


def forked(directory: Path) -> TrialDaemon:
    """A daemon as the trial's own, which starts sooner."""
    return Daemon(directory, "--gc-interval", "0.2")


def tried(directory: Path, spoil: Callable[[str, str, Answer], Answer] | None = None) -> Verdict:
    """What comes of filling such a daemon, and of cutting a write short."""
    daemon = FakeDaemon(directory)
    daemon.spoil = spoil or daemon.spoil
    verdict = Verdict(str(directory), seed=1)
    cut_short(daemon, verdict, fill(daemon, verdict))
    assert len(daemon.starts) == 3 and daemon.starts[0] == daemon.starts[1]
    return verdict


def test_good(tmp_path: Path) -> None:
    """A short trial acknowledges, kills and fills, loses nothing, and leaves what was there."""
    # Of its own: another test that gives room back would keep it from being full.
    with tmpfs(tmp_path / "disk", "size=512m") as disk:
        (disk / "mine").write_text("mine")
        verdict = Trial(str(disk), 20, kills=2, seed=1, make_daemon=forked).run()
        left = [path.name for path in disk.iterdir()]
    assert verdict.wrong == []
    assert verdict.kills == 2
    assert verdict.acknowledged > 0 and verdict.checked > 0
    assert (verdict.refused, verdict.failed) == (1, 1)
    assert left == ["mine"]


def test_nothing_wrong(tmp_path: Path) -> None:
    """Reads and deletes are tried while the disk is full, and after a kill, and are counted."""
    verdict = tried(tmp_path)
    assert verdict.wrong == []
    assert (verdict.refused, verdict.failed) == (1, 1)
    # 3 stored, 2 of them deleted while it was full, and the last at the end.
    assert (verdict.acknowledged, verdict.checked) == (6, 3 * 3 + 4 + 4)


@pytest.mark.parametrize(
    ("method", "location", "answer", "wrong"),
    [
        ("POST", "full/3", (204, b""), "full/3: answered 404, and not with what it holds"),
        ("POST", "full/1", (500, b""), "a full disk: POST answered 500, and not with 507"),
        ("GET", "full/1", (404, b""), "full/1: answered 404, and not with what it holds"),
        ("GET", "full/1", (200, b"other"), "full/1: answered 200, and not with what it holds"),
        ("DELETE", "full/2", (507, b""), "full/2: DELETE answered 507"),
        ("GET", "full/0", (200, b"back"), "full/0: answered 200, and not with what it holds"),
        ("POST", "failing", (204, b""), "failing: a write that failed answered 204"),
        ("GET", "failing", (200, b"!"), "failing: answered 200, and not with what it holds"),
    ],
)
def test_wrong(tmp_path: Path, method: str, location: str, answer: Answer, wrong: str) -> None:
    """One false answer, to whatever request, and the verdict is bad and says which."""

    def spoil(asked: str, where: str, right: Answer) -> Answer:
        return answer if (asked, where) == (method, location) else right

    verdict = tried(tmp_path, spoil)
    assert wrong in verdict.wrong
    assert not verdict.good


def test_never_full(tmp_path: Path) -> None:
    """A disk that is said to be full, and on which everything can be stored, is not good."""
    daemon = FakeDaemon(tmp_path, room=1000)
    verdict = Verdict(str(tmp_path), seed=1)
    fill(daemon, verdict)
    assert verdict.wrong == ["a full disk: POST answered 204, and not with 507"]
    assert (verdict.refused, verdict.unjudged) == (0, [])


@pytest.mark.parametrize("at", [0, MOST_FILLS - 1, MOST_FILLS])
def test_made_room(tmp_path: Path, at: int) -> None:
    """If others make room, and be it for the last write alone, nobody can say that it was full."""
    daemon = FakeDaemon(tmp_path, room=1000)
    looks = itertools.count()
    free = daemon.free
    daemon.free = lambda: free() + (1 << 30) * (next(looks) > at)  # type: ignore[method-assign]
    verdict = Verdict(str(tmp_path), seed=1)
    fill(daemon, verdict)
    assert (verdict.wrong, verdict.refused) == ([], 0)
    assert verdict.good
    assert any(each.startswith("Not judged: a full disk") for each in verdict.as_lines())


def test_no_answer(tmp_path: Path) -> None:
    """A daemon that dies of a write that fails has cut it short; one that dies of a read is bad."""

    def spoil(method: str, location: str, right: Answer) -> Answer:
        if location == "failing" and method == "POST":
            raise ConnectionResetError
        if location == "full/1" and method == "GET":
            raise ConnectionRefusedError
        return right

    verdict = tried(tmp_path, spoil)
    assert verdict.failed == 1
    assert set(verdict.wrong) == {"full/1: not answered, and not with what it holds"}


def test_writer(tmp_path: Path) -> None:
    """A writer takes any answer but the right one for wrong, a 5xx too."""
    daemon = FakeDaemon(tmp_path)
    daemon.up.set()
    writer = Writer(0, daemon, Verdict(str(tmp_path), seed=1), seed=1)
    asked: list[str] = []

    def spoil(method: str, location: str, right: Answer) -> Answer:
        asked.append(method)
        if method == "GET":
            return right
        if len(asked) > 3:
            writer.enough.set()
        return 503, b""

    daemon.spoil = spoil
    writer.start()
    writer.join(60)
    assert not writer.is_alive() and writer.failure is None
    assert writer.wrong and all(each.endswith(" answered 503") for each in writer.wrong)
    assert writer.acknowledged == 0


def test_no_start(tmp_path: Path) -> None:
    """If no daemon starts nothing could be tried; one that starts no more is a bad sign."""

    class Dying(FakeDaemon):
        starts_left = 1

        def start(self, *options: str) -> FakeDaemon:
            if not self.starts_left:
                raise NeverSaid("it ended", ["one", "the port is in use"])
            self.starts_left -= 1
            return self

    trial = Trial(str(tmp_path), seconds=0, kills=0, seed=1, make_daemon=Dying)
    verdict = trial.run()
    assert [each.partition(": ")[2] for each in verdict.wrong] == [
        "no daemon starts there: the port is in use"
    ]
    Dying.starts_left = 0
    with pytest.raises(VolumeUnusable):
        trial.run()


def test_verdict() -> None:
    """A verdict with a loss is bad, says what and where, and does not go on for ever."""
    verdict = Verdict("/srv/gostore-selftest-x", seed=7, wrong=["0/1: answered 404"])
    assert not verdict.good
    lines = verdict.as_lines()
    assert lines[0] == "0/1: answered 404"
    assert "/srv/gostore-selftest-x" in lines[1]
    assert lines[-1].startswith("BAD: 1 wrong")
    assert BAD == 1
    verdict.wrong *= MOST_SHOWN + 5
    assert verdict.as_lines()[MOST_SHOWN] == "and 5 more"
