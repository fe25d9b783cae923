"""Ending: what is in progress is finished or given up, and nothing is left behind."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, ask, eventually


def begin(daemon: Daemon, location: str, sent: bytes, length: int) -> socket.socket:
    """Begin an upload, and send a part of it."""
    connection = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
    head = f"POST /store/{location} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


def staged(daemon: Daemon, count: int) -> None:
    """Wait until so many uploads have their stages."""
    eventually(lambda: sum(name.startswith(".new-") for name in daemon.names()) == count, "stages")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_grace(make_daemon: Make, number: signal.Signals) -> None:
    """Uploads that end within the grace are answered; the others are given up; status 0."""
    daemon = make_daemon("--shutdown-grace", "2").start()
    good = [begin(daemon, f"good/{n}", b"half", 8) for n in range(5)]
    idle = [begin(daemon, f"idle/{n}", b"half", 8) for n in range(5)]
    staged(daemon, 10)
    daemon.send(number)
    daemon.wait_for("Shutting down")
    for connection in good:
        connection.sendall(b"half")
    for connection in good:
        assert connection.recv(1000).startswith(b"HTTP/1.1 204 ")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
    assert daemon.ended() == 0
    for connection in good + idle:
        connection.close()
    assert all(name.isdecimal() for name in daemon.names()) and len(daemon.names()) == 5
    daemon.start()
    assert [daemon.ask("GET", f"good/{n}").body for n in range(5)] == [b"halfhalf"] * 5
    assert daemon.ask("GET", "idle/0").status == 404


def test_twice(make_daemon: Make) -> None:
    """A second signal changes nothing: it ends as it would have."""
    daemon = make_daemon("--shutdown-grace", "1").start()
    upload = begin(daemon, "a", b"half", 8)
    staged(daemon, 1)
    daemon.send(signal.SIGTERM)
    daemon.wait_for("Shutting down")
    daemon.send(signal.SIGTERM)
    assert daemon.ended() == 0
    upload.close()
    assert daemon.names() == set()


def test_commits(make_daemon: Make) -> None:
    """What is answered with success while it ends is there after the next start."""
    daemon = make_daemon().start()
    acknowledged: list[str] = []

    def write(writer: int) -> None:
        for number in range(1000):
            location = f"{writer}/{number}"
            try:
                if daemon.ask("POST", location, location.encode()).status != 204:
                    return
            except OSError:
                return
            acknowledged.append(location)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(5)]
    for writer in writers:
        writer.start()
    eventually(lambda: len(acknowledged) > 50, "writes")
    assert daemon.stop() == 0
    for writer in writers:
        writer.join()
    assert not [name for name in daemon.names() if not name.isdecimal()]
    daemon.start()
    for location in acknowledged:
        assert daemon.ask("GET", location).body == location.encode()


def test_stopped_and_continued(make_daemon: Make) -> None:
    """78: time in which it was stopped is held against nobody (SIGSTOP, SIGCONT).

    With GOSTORE_SOAK=1 it is stopped for 90 seconds, and has the deadlines that it has by default.
    """
    quick = ("--body-window", "2", "--head-timeout", "2", "--idle-timeout", "2")
    daemon = make_daemon(*(() if SOAK else quick)).start()
    idle = daemon.connect()
    upload = begin(daemon, "a", b"half", 8)
    head = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
    head.sendall(b"GET /store/a HTTP/1.1\r\n")
    staged(daemon, 1)
    assert ask(idle, "GET", "/healthz").status == 200
    daemon.send(signal.SIGSTOP)
    end = time.monotonic() + (90 if SOAK else 4)
    eventually(lambda: time.monotonic() > end, "they would all be too late", 100)
    upload.sendall(b"half")
    daemon.send(signal.SIGCONT)
    assert upload.recv(1000).startswith(b"HTTP/1.1 204 ")
    head.sendall(b"Host: x\r\n\r\n")
    assert head.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert ask(idle, "GET", "/store/a").body == b"halfhalf"
    for connection in (idle, upload, head):
        connection.close()


def test_other_signals(make_daemon: Make, tmp_path: Path) -> None:
    """78: SIGPIPE is nothing, SIGUSR1 begins a new log, SIGHUP ends it at once and loses nothing.

    SIGUSR1 ends it, too, if it has no log to begin anew.
    """
    log = tmp_path / "its.log"
    # Below nohup it would ignore a SIGHUP.
    daemon = make_daemon(wrapper=("env", "--default-signal=HUP")).start_with_log(log)
    upload = begin(daemon, "a", b"half", 8)
    staged(daemon, 1)
    daemon.send(signal.SIGPIPE)
    daemon.send(signal.SIGUSR1)
    eventually(lambda: "Recovery: " not in log.read_text(), "the log is a new one")
    assert "Recovery: " in (tmp_path / "its.log.1").read_text()
    upload.sendall(b"half")
    assert upload.recv(1000).startswith(b"HTTP/1.1 204 ")
    upload.close()
    for ending in (signal.SIGHUP, signal.SIGUSR1):
        assert daemon.ask("GET", "a").body == b"halfhalf"
        daemon.send(ending)
        assert daemon.ended() == -ending
        daemon.start()
    assert daemon.ask("GET", "a").body == b"halfhalf"
