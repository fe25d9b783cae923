"""Kill -9 at any time under load: what was acknowledged is never lost, stale or resurrected.

Eight clients write, delete and read a few locations and note what they are told; meanwhile the
daemon is killed and restarted. For each location, one order of the operations has to explain every
answer across all the restarts (tests/linearizability.py).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter

from tests.e2e.conftest import Make
from tests.e2e.daemon import SOAK, Daemon, eventually
from tests.e2e.storm import CLIENTS, LOCATIONS, Clients, verdicts
from tests.linearizability import DONE

SEED = int(os.environ.get("GOSTORE_SEED", "20261126"))
#: How often the daemon is started, and so ended.
LIVES = int(os.environ.get("GOSTORE_LIVES", "300" if SOAK else "8"))
#: How many writes are acknowledged before it is, at the least.
WRITES = 10


def test_random_kills(make_daemon: Make) -> None:
    """Across kills at random times the answers to each location are those of one blob."""
    chance = random.Random(SEED)
    daemon = make_daemon("--gc-interval", "0.05", doomed=True)
    clients = Clients(daemon, SEED)
    ways: Counter[str] = Counter()
    recovered: Counter[str] = Counter()
    pause = threading.Event()
    begun = time.monotonic()
    for _ in range(LIVES):
        if chance.random() < 0.2:
            # Killed while it recovers, or listens already; with luck not the first to try.
            daemon.launch()
            pause.wait(chance.uniform(0.2, 1.0))
            daemon.kill()
            ways["starting"] += 1
        daemon.start()
        clients.settle()
        recovered.update(summary(daemon))
        enough = acknowledged(clients) + WRITES
        clients.work()
        pause.wait(chance.uniform(0.05, 0.9))
        eventually(lambda enough=enough: acknowledged(clients) >= enough, "enough writes")
        if chance.random() < 0.1:
            assert daemon.stop() == 0
            ways["SIGTERM"] += 1
        else:
            daemon.kill()
            ways["SIGKILL"] += 1
        clients.rest()
    daemon.start()
    clients.settle()
    recovered.update(summary(daemon))
    clients.read_all()
    daemon.clean()
    unknown = sum(one.method != "GET" and one.status is None for one in clients.told)
    print(f"\nseed {SEED}, {CLIENTS} clients, {LOCATIONS} locations, {dict(ways)}")
    print(f"{len(clients.told)} operations, {acknowledged(clients)} writes acknowledged", end=", ")
    print(f"{unknown} unknown")
    print(f"recovered: {dict(recovered)}; other answers: {dict(clients.odd)}")
    print(f"{time.monotonic() - begun:.0f} seconds")
    wrong = "\n".join(f"{location}: {what}" for location, what in verdicts(clients.told).items())
    assert not wrong, wrong
    # One that is stopping refuses nothing: it answers what it has begun, and hangs up on the rest.
    assert not clients.odd
    assert recovered["quarantined"] == recovered["foreign"] == 0


def acknowledged(clients: Clients) -> int:
    """How many writes were."""
    return sum(one.method != "GET" and one.status == DONE[one.method] for one in clients.told)


def summary(daemon: Daemon) -> dict[str, int]:
    """What the daemon said it had found at its start."""
    words = daemon.wait_for("Recovery: .*").removeprefix("Recovery: ").split(", ")[:-1]
    return {what: int(count) for what, _, count in (word.partition(" ") for word in words)}
