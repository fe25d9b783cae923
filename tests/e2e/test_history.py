"""The history in a daemon that is asked for nonsense, is full, or changes meanwhile."""

from __future__ import annotations

import json
import os
import threading
import time
from hashlib import sha256
from pathlib import Path

import pytest

from gostore.blob import Blob, UploadNote
from gostore.volume.changes import Sync
from gostore.volume.directory import DATA
from gostore.volume.kept import Note
from gostore.volume.volume import Volume
from tests.e2e.conftest import Clock, Make
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, ask, eventually
from tests.e2e.mounts import tmpfs

LARGE = os.urandom(64) * 20_000
DAY = 86_400


def text_of(daemon: Daemon, method: str, location: str) -> tuple[int, str]:
    """What a request gets: the status, and the text of the error."""
    answer = daemon.ask(method, location)
    return answer.status, json.loads(answer.body)["text"]


def versions(daemon: Daemon, location: str) -> list[int]:
    """The versions that are known of a location, newest first."""
    answer = daemon.ask("GET", f"{location}?history&format=json")
    return [each["version"] for each in json.loads(answer.body)] if answer.status == 200 else []


def test_no_such_version(make_daemon: Make) -> None:
    """A version that never was, or is another location's, is 404, to be read and to be restored."""
    daemon = make_daemon("--keep", "1h").start()
    for location, body in (("a", b"a1"), ("b", b"b1")):
        assert daemon.ask("POST", location, body).status == 204
    assert daemon.ask("PUT", "a", b"a2").status == 200
    assert versions(daemon, "a") == [3, 1]
    for number in ("0", "2", "4", "9223372036854775807", "9999999999999999999"):
        told = (404, f"a has no version {number}")
        assert text_of(daemon, "GET", f"a?version={number}") == told
        assert text_of(daemon, "POST", f"a?restore={number}") == told
    for number in ("-1", "x", "", "1.0", "%D9%A1", "1e3", "99999999999999999999"):
        for method, word in (("GET", "version"), ("POST", "restore")):
            assert daemon.ask(method, f"a?{word}={number}").status == 400
    assert text_of(daemon, "GET", "none?version=1") == (404, "none has no version 1")
    assert daemon.ask("GET", "a").body == b"a2"
    assert daemon.ask("GET", "a?version=1").body == b"a1"
    assert daemon.stop() == 0


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
def test_quarantined(make_daemon: Make, body: bytes) -> None:
    """A damaged version is quarantined when it is read or restored; what is current stays."""
    daemon = make_daemon("--keep", "1h").start()
    ids = {}
    for location in ("read", "restored"):
        assert daemon.ask("POST", location, body).status == 204
        ids[location] = daemon.place(location)
        assert daemon.ask("PUT", location, b"current").status == 200
        (ids[location] / DATA).write_bytes(body[:-1] + b"?")
    assert daemon.ask("POST", f"restored?restore={versions(daemon, 'restored')[1]}").status == 500
    generation = versions(daemon, "read")[1]
    connection = daemon.connect()
    if body is LARGE:
        # The scrub reads no history: a large one is served as it is, and verified when restored.
        assert ask(connection, "GET", f"/store/read?version={generation}").body != body
        assert daemon.ask("POST", f"read?restore={generation}").status == 500
    else:
        assert ask(connection, "GET", f"/store/read?version={generation}").status == 500
    for location in ("read", "restored"):
        assert daemon.ask("GET", location).body == b"current"
        assert len(versions(daemon, location)) == 1
        eventually(lambda at=location: not ids[at].exists(), "it is quarantined")  # type: ignore[misc]
        assert daemon.ask("GET", f"{location}?version={generation}").status == 404
    connection.close()
    assert daemon.stop() == 0
    assert daemon.start().ask("GET", "read").body == b"current"


def test_collected_meanwhile(make_daemon: Make) -> None:
    """A version that is collected while it is read gives all its bytes, and a restore 404."""
    body = os.urandom(16) * 1_000_000
    daemon = make_daemon("--keep", "1", "--gc-interval", "0.1").start()
    assert daemon.ask("POST", "a", body).status == 204
    place = daemon.place("a")
    assert daemon.ask("DELETE", "a").status == 200
    connection = daemon.connect()
    connection.request("GET", f"/store/a?version={versions(daemon, 'a')[0]}")
    answer = connection.getresponse()
    digest = sha256(answer.read(1000))
    eventually(lambda: not place.exists(), "it is collected")
    while piece := answer.read(1_000_000):
        digest.update(piece)
    assert digest.digest() == sha256(body).digest()
    connection.close()
    statuses = []
    for number in range(8):
        location = f"r{number}"
        assert daemon.ask("POST", location, body[: 2_000_000 + number]).status == 204
        assert daemon.ask("DELETE", location).status == 200
        [version] = versions(daemon, location)
        time.sleep(0.85 + number / 25)
        statuses.append(daemon.ask("POST", f"{location}?restore={version}").status)
        read = daemon.ask("GET", location)
        assert (statuses[-1], read.status) in ((204, 200), (404, 404))
        assert read.status == 404 or read.body == body[: 2_000_000 + number]
    assert daemon.stop() == 0


def test_changes_meanwhile(make_daemon: Make) -> None:
    """A restore over a blob that changes meanwhile is a write like any other."""
    daemon = make_daemon("--keep", "1h").start()
    bodies = [bytes([number]) * 300_000 for number in range(4)]
    assert daemon.ask("POST", "a", bodies[0]).status == 204
    first = daemon.ask("GET", "a").headers["ETag"]
    assert daemon.ask("PUT", "a", bodies[1]).status == 200
    assert daemon.ask("POST", "a?restore=1", headers={"If-Match": first}).status == 412
    assert daemon.ask("GET", "a").body == bodies[1]
    failures: list[object] = []

    def work(method: str, path: str, body: bytes | None, known: tuple[int, ...]) -> None:
        connection = daemon.connect()
        for _ in range(30):
            answer = ask(connection, method, path, body)
            is_read = (method, answer.status) == ("GET", 200)
            if answer.status not in known or (is_read and answer.body not in bodies):
                failures.append((method, answer.status, len(answer.body)))
        connection.close()

    workers = [
        threading.Thread(target=work, args=asked)
        for asked in (
            ("POST", "/store/a?restore=1", None, (200, 204)),
            ("PUT", "/store/a", bodies[2], (200, 404)),
            ("POST", "/store/a", bodies[3], (204, 409)),
            ("DELETE", "/store/a", None, (200, 404)),
            ("GET", "/store/a", None, (200, 404)),
        )
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    assert not failures
    found = versions(daemon, "a")
    assert found == sorted(found, reverse=True)
    assert daemon.ask("GET", "a?version=1").body == bodies[0]
    current = daemon.ask("GET", "a")
    assert daemon.stop() == 0
    again = daemon.start()
    assert versions(again, "a") == found
    assert again.ask("GET", "a").status == current.status
    assert again.ask("GET", "a?version=1").body == bodies[0]


def test_nothing_but_history(make_daemon: Make, tmp_path: Path) -> None:
    """A full disk that has nothing but history takes writes, restores and resumed uploads."""
    with tmpfs(tmp_path / "disk", "size=64m") as disk:
        options = ("--keep", "forever", "--free-space-reserve", "1MiB")
        daemon = make_daemon(*options, directory=disk / "data").start()
        body = os.urandom(1024) * 2048
        for number in range(40):
            assert daemon.ask("POST", f"h{number}", body).status == 204, number
            assert daemon.ask("DELETE", f"h{number}").status == 200
        assert daemon.ask("GET", "?deleted&format=text").body.count(b"\n") < 40
        left = [f"h{number}" for number in range(40) if versions(daemon, f"h{number}")]
        assert left[-1] == "h39" and left == [f"h{number}" for number in range(40 - len(left), 40)]
        assert daemon.ask("POST", f"h39?restore={versions(daemon, 'h39')[0]}").status == 204
        assert daemon.ask("GET", "h39").body == body
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.ask("GET", "h39").body == body
        begun = daemon.connect()
        where = ask(
            begun,
            "POST",
            "/uploads/",
            headers={
                "Tus-Resumable": "1.0.0",
                "Upload-Length": str(8 * len(body)),
                "Upload-Metadata": "location bG9uZw==",
            },
        )
        assert where.status == 201, where
        for number in range(8):
            patched = ask(
                begun,
                "PATCH",
                f"/uploads/{where.headers['Location']}",
                body,
                {
                    "Tus-Resumable": "1.0.0",
                    "Upload-Offset": str(number * len(body)),
                    "Content-Type": "application/offset+octet-stream",
                },
            )
            assert patched.status == 204, (number, patched)
        assert daemon.ask("GET", "long").body == 8 * body
        assert daemon.ask("POST", "too-large", 32 * body).status == 507
        assert daemon.ask("GET", "h39").body == body
        begun.close()
        assert daemon.stop() == 0


def test_clock(make_daemon: Make, clock: Clock) -> None:
    """A clock that jumps both ways collects no history early, and none is lost."""
    daemon = make_daemon("--keep", "1d", "--gc-interval", "0.1", env=clock.environment).start()

    def runs() -> int:
        connection = daemon.connect()
        text = ask(connection, "GET", "/metrics").body.decode()
        connection.close()
        [line] = [
            each
            for each in text.splitlines()
            if each.startswith("gostore_collector_runs_total") and "success" in each
        ]
        return int(float(line.rpartition(" ")[2]))

    def collect() -> None:
        before = runs()
        eventually(lambda: runs() > before + 2, "the collector has come")

    assert daemon.ask("POST", "a", b"data").status == 204
    assert daemon.ask("DELETE", "a").status == 200
    for days in (3, -6, 4, 365, -400, 34):
        clock.jump(days * DAY)
        collect()
        assert versions(daemon, "a") == [1], days
        assert daemon.ask("POST", f"{days}", b"data").status == 204
        assert daemon.ask("DELETE", f"{days}").status == 200
        collect()
        assert len(versions(daemon, f"{days}")) == 1
    assert daemon.stop() == 0
    again = daemon.start()
    assert versions(again, "a") == [1]
    # A start believes the clock.
    assert again.stop() == 0
    clock.jump(2 * DAY)
    daemon.start()
    eventually(lambda: not versions(daemon, "a"), "its time is over")


def test_many_unfinished_uploads(make_daemon: Make, tmp_path: Path) -> None:
    """Thousands of unfinished uploads cost a start no more than a look at each; all may go on."""
    path = tmp_path / "data"
    volume = Volume(str(path), sync=Sync.NONE)
    volume.open()
    first, count = 10**38, 10_000 if SOAK else 1_000
    now = time.time_ns()
    for number in range(first, first + count):
        blob = Blob(0, f"u/{number}")
        blob.upload = UploadNote(number, "", "location dQ==")
        blob.create(now)
        blob.start_writing(now)
        volume.kept.make(blob, Note(0, 1000, now))
    volume.close()
    begun = time.monotonic()
    daemon = make_daemon("--gc-interval", "0.1").start()
    assert time.monotonic() - begun < PATIENCE
    assert f"Unfinished uploads: {count}, 0 bytes" in daemon.said
    connection = daemon.connect()
    for number in (first, first + count - 1):
        patched = ask(
            connection,
            "PATCH",
            f"/uploads/{number}/u/{number}",
            bytes(1000),
            {
                "Tus-Resumable": "1.0.0",
                "Upload-Offset": "0",
                "Content-Type": "application/offset+octet-stream",
            },
        )
        assert patched.status == 204, patched
        assert daemon.ask("GET", f"u/{number}").body == bytes(1000)
    metrics = ask(connection, "GET", "/metrics").body
    assert b"gostore_unfinished_uploads %d.0" % (count - 2) in metrics
    connection.close()
    assert daemon.stop() == 0
    # And all of them may expire at once.
    daemon.start("--upload-expires", "1")
    eventually(lambda: len(daemon.names()) == 2, "nothing is left of them", 3 * PATIENCE)
    assert daemon.ask("POST", "a", b"data").status == 204
    assert daemon.stop() == 0
