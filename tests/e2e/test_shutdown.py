"""Ending: what is in progress is finished or given up, and nothing is left behind."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from itertools import cycle
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import (
    ANY_PORT,
    PATIENCE,
    SOAK,
    Daemon,
    ask,
    environment,
    eventually,
)


def begin(daemon: Daemon, location: str, sent: bytes, length: int) -> socket.socket:
    """Begin an upload, and send a part of it."""
    connection = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
    head = f"POST /store/{location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


def staged(daemon: Daemon, count: int) -> None:
    """Wait until so many uploads have their stages."""
    eventually(lambda: sum(name.startswith(".new-") for name in daemon.names()) == count, "stages")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_grace(make_daemon: Make, number: signal.Signals) -> None:
    """Uploads that end within the grace are answered; the others are given up; status 0."""
    # The grace is long enough for a slow machine to send.
    daemon = make_daemon("--shutdown-grace", "4").start()
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
    quick = ("--body-window", "5", "--head-timeout", "5", "--idle-timeout", "5")
    daemon = make_daemon(*(() if SOAK else quick)).start()
    idle = daemon.connect()
    upload = begin(daemon, "a", b"half", 8)
    head = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
    head.sendall(b"GET /store/a HTTP/1.1\r\n")
    staged(daemon, 1)
    assert ask(idle, "GET", "/healthz").status == 200
    daemon.send(signal.SIGSTOP)
    end = time.monotonic() + (90 if SOAK else 8)
    eventually(lambda: time.monotonic() > end, "they would all be too late", 100)
    upload.sendall(b"half")
    daemon.send(signal.SIGCONT)
    assert upload.recv(1000).startswith(b"HTTP/1.1 204 ")
    head.sendall(b"Host: localhost\r\n\r\n")
    assert head.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert ask(idle, "GET", "/store/a").body == b"halfhalf"
    for connection in (idle, upload, head):
        connection.close()


def test_shutdown_delay(make_daemon: Make) -> None:
    """With --shutdown-delay /readyz says at once that it stops, and requests are still taken."""
    daemon = make_daemon("--shutdown-delay", "600").start()
    assert ask(daemon.connect(), "GET", "/readyz").status == 200
    daemon.send(signal.SIGTERM)
    daemon.wait_for("Shutting down")
    ready = ask(daemon.connect(), "GET", "/readyz")
    assert (ready.status, ready.body) == (503, b"running: The store is shutting down\n")
    assert daemon.ask("POST", "late", b"data").status == 204
    assert ask(daemon.connect(), "GET", "/livez").status == 200


def test_other_signals(make_daemon: Make, tmp_path: Path) -> None:
    """78: SIGPIPE is nothing; SIGUSR1 begins a new log, and without one it ends the daemon."""
    log = tmp_path / "its.log"
    daemon = make_daemon().start_with_log(log)
    upload = begin(daemon, "a", b"half", 8)
    staged(daemon, 1)
    daemon.send(signal.SIGPIPE)
    daemon.send(signal.SIGUSR1)
    eventually(lambda: "Recovery: " not in log.read_text(), "the log is a new one")
    assert "Recovery: " in (tmp_path / "its.log.1").read_text()
    upload.sendall(b"half")
    assert upload.recv(1000).startswith(b"HTTP/1.1 204 ")
    upload.close()
    assert daemon.ask("GET", "a").body == b"halfhalf"
    assert daemon.stop() == 0
    daemon.start().send(signal.SIGUSR1)
    assert daemon.ended() == -signal.SIGUSR1
    assert daemon.start().ask("GET", "a").body == b"halfhalf"


#: Runs twistd, and sends itself a signal at one of the moments after the first line of tap: Python
#: tells an audit hook of imports, opened files, bound sockets and the like. At 0, or where there
#: are fewer moments, that is when the reactor runs, which prints how many there were.
INTERRUPTED = """
import os, signal, sys
number, at = int(sys.argv.pop(1)), int(sys.argv.pop(1))
seen = 0

def hook(event, arguments):
    global seen
    if hasattr(sys.modules.get("gostore.tap"), "gostore"):
        seen += 1
        if seen == at:
            os.kill(os.getpid(), number)

def running():
    print("moments:", seen, file=sys.__stdout__, flush=True)
    if at == 0 or seen < at:
        os.kill(os.getpid(), number)

from twisted.internet import reactor
from twisted.scripts.twistd import run
sys.addaudithook(hook)
reactor.callWhenRunning(running)
run()
"""


def interrupt(tmp_path: Path, number: int, at: int, *wrapper: str) -> str:
    """Run a daemon that gets a signal at a moment of its start, and see that it ends well."""
    command = [*wrapper, sys.executable, "-c", INTERRUPTED, str(int(number)), str(at)]
    command += ["-n", "--pidfile=its.pid", "gostore", "-s", ANY_PORT]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, "Traceback" in ended.stdout) == (0, False), (at, ended.stdout)
    assert not (tmp_path / "its.pid").exists(), at
    return ended.stdout


def test_start_interrupted(tmp_path: Path) -> None:
    """A signal at any moment from the first line of tap on is an end with status 0."""
    # The first may have more moments than the others, if it compiles what it imports.
    interrupt(tmp_path, signal.SIGTERM, 0)
    told = re.search("moments: ([0-9]+)", interrupt(tmp_path, signal.SIGTERM, 0))
    assert told is not None
    last = int(told[1])
    signals = cycle((signal.SIGTERM, signal.SIGINT))
    for at, number in zip(range(1, last, last // (200 if SOAK else 8)), signals, strict=False):
        interrupt(tmp_path, number, at)


def test_start_interrupted_as_process_1(tmp_path: Path) -> None:
    """So it is for process 1, to which the kernel passes no signal that it does not handle."""
    alone = ("unshare", "--pid", "--fork", "--kill-child")
    probe = subprocess.run([*alone, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no process 1 of our own: {probe.stderr.decode().strip()}")
    for at in (1, 500, 0):
        interrupt(tmp_path, signal.SIGTERM, at, *alone)
