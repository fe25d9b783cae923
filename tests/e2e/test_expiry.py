"""Blobs that expire, in a daemon: gone at once, then from the disk, and never back."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from email.utils import parsedate_to_datetime

from tests.e2e.brief import Brief, make_brief
from tests.e2e.conftest import Clock, Make
from tests.e2e.daemon import SOAK, Daemon, ask, eventually
from tests.e2e.storm import Clients, verdicts

HOUR = {"Expires-In": "1h"}
LARGE = b"large" * 20_000

#: How often the daemon is killed.
LIVES = int(os.environ.get("GOSTORE_LIVES", "100" if SOAK else "3"))
SEED = int(os.environ.get("GOSTORE_SEED", "20261130"))


def test_every_path(make_daemon: Make, clock: Clock) -> None:
    """When its second comes a blob is gone on every path, the collector has not come yet."""
    daemon = make_daemon("--gc-interval", "3600", env=clock.environment).start()
    for location, body in (("small", b"data"), ("large", LARGE), ("again", b"old")):
        assert daemon.ask("POST", location, body, headers=HOUR).status == 204
    assert daemon.ask("POST", "stays", b"data").status == 204
    reader = daemon.connect()
    for _ in range(5):  # from the disk, then from memory, then without a look at the fields
        for location in ("small", "large"):
            answer = ask(reader, "GET", f"/store/{location}")
            assert answer.status == 200
    left = parsedate_to_datetime(answer.headers["Expires-At"]) - parsedate_to_datetime(
        answer.headers["Date"]
    )
    assert 3500 < left.total_seconds() <= 3601
    etag = answer.headers["ETag"]
    clock.jump(3590)
    assert ask(reader, "GET", "/store/small").status == 200
    clock.jump(15)
    for location in ("small", "large"):
        path = f"/store/{location}"
        for _ in range(2):
            assert ask(reader, "GET", path).status == 404
        assert ask(reader, "HEAD", path).status == 404
        for name in ("If-None-Match", "If-Match"):
            assert ask(reader, "GET", path, headers={name: etag}).status == 404
        assert ask(reader, "GET", path, headers={"Range": "bytes=0-1"}).status == 404
        assert ask(reader, "DELETE", path).status == 404
        assert ask(reader, "PUT", path, b"new").status == 404
        assert ask(reader, "PUT", path, b"new", headers={"If-Match": etag}).status == 412
    (entry,) = json.loads(ask(reader, "GET", "/store/").body)
    assert entry["location"] == "stays"
    assert daemon.ask("POST", "again", b"new").status == 204
    assert daemon.ask("GET", "again").body == b"new"
    daemon.kill()
    daemon.start()
    assert daemon.ask("GET", "again").body == b"new"
    assert daemon.ask("GET", "small").status == 404
    assert daemon.stop() == 0


def test_collected(make_daemon: Make, clock: Clock) -> None:
    """The collector leaves nothing of it, and counts it; the clock may then be set back."""
    daemon = make_daemon("--gc-interval", "0.2", env=clock.environment).start()
    for number in range(200):
        assert daemon.ask("POST", f"it/{number}", b"data", headers=HOUR).status == 204
    assert daemon.ask("POST", "later", b"data", headers={"Expires-In": "2h"}).status == 204
    clock.jump(3600)
    eventually(lambda: len(daemon.names()) == 1, "nothing but what is not due")
    daemon.clean()
    metrics = daemon.connect()
    text = ask(metrics, "GET", "/metrics").body.decode()
    metrics.close()
    assert "gostore_expired_total 200.0" in text
    daemon.kill()
    clock.jump(-7200)
    daemon.start()
    assert daemon.ask("GET", "it/7").status == 404
    assert daemon.ask("GET", "later").status == 200
    assert daemon.stop() == 0


def test_jump(make_daemon: Make, clock: Clock) -> None:
    """76: a clock that is set forth by more than an hour expires nothing at once."""
    daemon = make_daemon("--gc-interval", "0.2", env=clock.environment).start()
    assert daemon.ask("POST", "it", b"data", headers=HOUR).status == 204
    reader = daemon.connect()
    assert ask(reader, "GET", "/store/it").status == 200
    clock.jump(365 * 86_400)
    daemon.wait_for("The clock was set forth by .* seconds; what expires by that waits")
    for _ in range(3):
        assert ask(reader, "GET", "/store/it").body == b"data"
    assert len(json.loads(ask(reader, "GET", "/store/").body)) == 1
    # What comes from now on goes by the new time.
    assert daemon.ask("POST", "new", b"data", headers={"Expires-In": "1"}).status == 204
    eventually(lambda: daemon.ask("GET", "new").status == 404, "it is over")
    eventually(lambda: len(daemon.names()) == 1, "it is gone before the clock is set back")
    clock.jump(-365 * 86_400)
    assert ask(reader, "GET", "/store/it").body == b"data"
    # By an hour in two steps: a larger one at once would wait again.
    clock.jump(1800)
    assert ask(reader, "GET", "/store/it").body == b"data"
    clock.jump(1800)
    assert ask(reader, "GET", "/store/it").status == 404
    eventually(lambda: not daemon.names(), "nothing is left")
    assert daemon.stop() == 0


def test_kills(make_daemon: Make) -> None:
    """Kills at random times: no blob is gone before its time, and none is there afterwards."""
    chance = random.Random(SEED)
    daemon = make_daemon("--gc-interval", "0.05")
    clients = Clients(daemon, SEED)
    made: list[Brief] = []
    pause = threading.Event()
    for life in range(LIVES):
        daemon.start()
        clients.settle()
        reader = daemon.connect()
        for each in made[-100:]:
            each.check(reader)
        reader.close()
        clients.work()
        end = time.monotonic() + chance.uniform(0.3, 1.5)
        make_brief(daemon, chance, life, made, end)
        pause.wait(chance.uniform(0, 0.05))
        daemon.kill()
        clients.rest()
    daemon.start()
    clients.settle()
    reader = daemon.connect()
    eventually(
        lambda: all(each.check(reader) == 404 for each in made if not each.is_unknown(reader)),
        "all are over",
    )
    reader.close()
    daemon.clean()
    eventually(lambda: not _left(daemon), "all have left the disk")
    assert sum(each.expires is not None for each in made) > 5 * LIVES
    wrong = verdicts(clients.told)
    assert not wrong, wrong


def _left(daemon: Daemon) -> int:
    """How many of the blobs that expire are still on the disk."""
    return sum(record.location.startswith("brief/") for record in daemon.records().values())
