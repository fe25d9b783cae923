"""Kill -9 at any time under load: what was acknowledged is never lost, stale or resurrected.

Eight clients write, delete and read a few locations and note what they are told; meanwhile the
daemon is killed and restarted. For each location, one order of the operations has to explain every
answer across all the restarts (tests/linearizability.py).

Where the daemon keeps what dies, they read and restore old versions, too, and each start is asked
for all of them: none is lost or out of order, and nothing is there that nobody has written
(tests/histories.py). Some blobs expire meanwhile.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from attrs import define, field

from gostore.volume.promise import NAME as PROMISE
from tests.e2e.brief import Brief, make_brief
from tests.e2e.conftest import Make
from tests.e2e.daemon import SOAK, Daemon, ask, eventually
from tests.e2e.historians import Historians, wrong_looks
from tests.e2e.storm import CLIENTS, LOCATIONS, Clients, value_of, verdicts
from tests.linearizability import is_done

SEED = int(os.environ.get("GOSTORE_SEED", "20261126"))
#: How often the daemon is started, and so ended.
LIVES = int(os.environ.get("GOSTORE_LIVES", "300" if SOAK else "8"))
#: How many writes are acknowledged before it is, at the least.
WRITES = 10


@define(eq=False)
class Kills:
    """A daemon that is killed and started again while clients are at work."""

    daemon: Daemon
    clients: Clients
    chance: random.Random
    ways: Counter[str] = field(init=False, factory=Counter)
    recovered: Counter[str] = field(init=False, factory=Counter)
    _pause: threading.Event = field(init=False, factory=threading.Event)
    _begun: float = field(init=False, factory=time.monotonic)

    def start(self) -> None:
        """Start it, and let what has no answer have happened, or never happen."""
        self.daemon.start()
        self.clients.settle()
        words = self.daemon.wait_for("Recovery: .*").removeprefix("Recovery: ").split(", ")[:-1]
        self.recovered.update(
            {what: int(count) for what, _, count in (w.partition(" ") for w in words)}
        )

    def play(self, meanwhile: Callable[[float], None] | None = None) -> None:
        """Let it live once: ``meanwhile`` does something else until a time."""
        if self.chance.random() < 0.2:
            # Killed while it recovers, or listens already; with luck not the first to try.
            self.daemon.launch()
            self._pause.wait(self.chance.uniform(0.2, 1.0))
            self.daemon.kill()
            self.ways["starting"] += 1
        self.start()
        enough = self.acknowledged + WRITES
        if meanwhile is not None:
            meanwhile(0)
        self.clients.work()
        seconds = self.chance.uniform(0.05, 0.9)
        if meanwhile is None:
            self._pause.wait(seconds)
        else:
            meanwhile(time.monotonic() + seconds)
        eventually(lambda: self.acknowledged >= enough, "enough writes")
        if self.chance.random() < 0.1:
            assert self.daemon.stop() == 0
            self.ways["SIGTERM"] += 1
        else:
            self.daemon.kill()
            self.ways["SIGKILL"] += 1
        self.clients.rest()

    @property
    def acknowledged(self) -> int:
        """How many writes were."""
        told = self.clients.told
        return sum(one.method != "GET" and is_done(one.method, one.status) for one in told)

    def check(self) -> None:
        """Hold the answers to the promise, and print what there was."""
        told = self.clients.told
        unknown = sum(one.method != "GET" and one.status is None for one in told)
        print(f"\nseed {SEED}, {CLIENTS} clients, {LOCATIONS} locations, {dict(self.ways)}")
        print(f"{len(told)} operations, {self.acknowledged} writes acknowledged", end=", ")
        print(f"{unknown} unknown")
        print(f"recovered: {dict(self.recovered)}; other answers: {dict(self.clients.odd)}")
        print(f"{time.monotonic() - self._begun:.0f} seconds")
        wrong = "\n".join(f"{location}: {what}" for location, what in verdicts(told).items())
        assert not wrong, wrong
        # One that is stopping refuses nothing: it answers what it has begun, and hangs up on the
        # rest.
        assert not self.clients.odd
        assert self.recovered["quarantined"] == self.recovered["foreign"] == 0


def test_random_kills(make_daemon: Make) -> None:
    """Across kills at random times the answers to each location are those of one blob."""
    daemon = make_daemon("--gc-interval", "0.05")
    clients = Clients(daemon, SEED)
    kills = Kills(daemon, clients, random.Random(SEED))
    for _ in range(LIVES):
        kills.play()
    kills.start()
    clients.read_all()
    daemon.clean()
    kills.check()


def test_random_kills_with_a_history(make_daemon: Make) -> None:
    """Where what dies is kept, each version is there after each kill, in order, and whole.

    What was deleted or has expired comes back if somebody asks for it, and not of its own accord.
    """
    daemon = make_daemon("--keep", "forever", "--gc-interval", "0.05")
    clients = Historians(daemon, SEED)
    kills = Kills(daemon, clients, random.Random(SEED))
    made: list[Brief] = []

    def meanwhile(end: float) -> None:
        if end:
            make_brief(daemon, kills.chance, clients.life, made, end)
        else:
            clients.look_at_all()

    for _ in range(LIVES):
        kills.play(meanwhile)
    kills.start()
    clients.look_at_all()
    clients.read_all()
    _bring_back(daemon, made)
    brought_back = clients.bring_back_all()
    clients.read_all()
    versions = sum(len(look.versions) for look in clients.looks[-LOCATIONS:])
    print(f"\n{versions} versions, {len(clients.looks)} looks, {len(made)} that expire", end=", ")
    print(f"{brought_back} brought back")
    wrong = wrong_looks(clients.looks, clients.told)
    assert not wrong, wrong
    kills.check()
    # There are the versions that are kept, each once, and nothing else.
    eventually(lambda: all(name.isdecimal() for name in daemon.names() - {PROMISE}), "it is tidy")


def _bring_back(daemon: Daemon, made: list[Brief]) -> None:
    """Let all be over that expires: it has become history, and comes back."""
    reader = daemon.connect()
    known = [each for each in made if not each.is_unknown(reader)]
    eventually(lambda: all(each.check(reader) == 404 for each in known), "all are over")
    for each in [each for each in known if each.expires is not None][-50:]:
        path = f"/store/{each.location}"

        def entries(path: str = path) -> list[dict[str, object]]:
            answer = ask(reader, "GET", f"{path}?history&format=json")
            return json.loads(answer.body) if answer.status == 200 else []  # type: ignore[no-any-return]

        (entry,) = eventually(entries, "it is in its history")
        assert entry["ended_by"] == "expired"
        assert ask(reader, "POST", f"{path}?restore={entry['version']}").status == 204
        assert value_of(ask(reader, "GET", path).body) == each.value
    reader.close()
