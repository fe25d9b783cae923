"""Under systemd: its notifications, its sockets, and its own checks of the unit."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gostore.commands.trial_daemon import TWISTD
from tests.e2e.conftest import Make
from tests.e2e.daemon import ANY_PORT, PATIENCE, SOAK, ask, environment, eventually
from tests.e2e.test_clients import needs

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_notifications(make_daemon: Make, tmp_path: Path) -> None:
    """systemd hears of the start, of reloads and of the stop, and the watchdog is fed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(PATIENCE)

        def hear(wanted: str) -> str:
            while not re.search(wanted, said := bound.recv(4096).decode()):
                pass
            return said

        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        daemon = make_daemon(env=env).launch("-s", ANY_PORT)
        assert hear("READY") == "READY=1"
        # By now it listens.
        daemon.serves()
        assert daemon.ask("POST", "a", b"data").status == 204
        # It may take some time to see that the client has left.
        hear("^STATUS=1 blobs, 0 damaged; 0 uploads, 0 connections\nWATCHDOG=1$")
        daemon.send(signal.SIGHUP)
        hear("^RELOADING=1\nMONOTONIC_USEC=[0-9]+$")
        hear("^READY=1$")
        # A process that hangs feeds no watchdog.
        daemon.send(signal.SIGSTOP)
        bound.settimeout(1)
        try:
            while True:
                bound.recv(4096)
        except TimeoutError:
            pass
        bound.settimeout(PATIENCE)
        daemon.send(signal.SIGCONT)
        hear("WATCHDOG=1")
        daemon.send(signal.SIGTERM)
        hear("STOPPING=1")
        assert daemon.ended() == 0


@needs("systemd-socket-activate")
def test_socket_activation(tmp_path: Path) -> None:
    """systemd's own tool passes a socket on, and the daemon serves it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    # It passes on only what it is told to of the environment.
    kept = [f"--setenv={name}" for name in environment() if name in ("PATH", "PYTHONPATH", "HOME")]
    command = ["systemd-socket-activate", f"--listen=127.0.0.1:{port}", "--fdname=http", *kept]
    command += [*TWISTD, "-n", "--pidfile=", "gostore", "-s", "systemd:domain=INET:index=0"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=log, stderr=log)
    try:

        def first() -> bool:
            try:
                with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                    client.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    return client.recv(1000).startswith(b"HTTP/1.1 200 ")
            except ConnectionRefusedError:
                return False  # The tool does not listen yet.

        eventually(first, "the first client starts the daemon and is served")
        # The health check finds the socket, although nobody but the daemon has been given it.
        command = [sys.executable, str(EXAMPLES / "healthcheck.py"), str(process.pid)]
        asked = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        assert asked.stdout == f'tcp:{port}:interface=127.0.0.1: 200 "Ok!"\n'
        process.terminate()
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait(PATIENCE)


def test_upgrade(make_daemon: Make, tmp_path: Path) -> None:
    """Behind a socket that systemd holds one daemon follows another, and no request is lost."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        port = listening.getsockname()[1]
        stored: list[str] = []
        failures: list[object] = []
        done = threading.Event()

        def work(number: int) -> None:
            count = 0
            while not done.is_set():
                location = f"{number}/{count}"
                try:
                    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                        client.sendall(
                            f"POST /store/{location} HTTP/1.1\r\nHost: localhost\r\n"
                            "Connection: close\r\nContent-Length: 4\r\n\r\ndata".encode()
                        )
                        answer = client.recv(1000)
                except OSError as error:
                    failures.append(error)
                    continue
                if answer.startswith(b"HTTP/1.1 204 "):
                    stored.append(location)
                else:
                    failures.append(answer)
                count += 1

        def start() -> subprocess.Popen[bytes]:
            # LISTEN_PID is the number of the process that listens.
            script = 'export LISTEN_PID=$$; exec "$@"'
            command = ["sh", "-c", script, "sh", sys.executable, "-c", ADOPT]
            command += [
                str(listening.fileno()),
                "-n",
                "--pidfile=",
                "gostore",
                "-s",
                "systemd:domain=INET:index=0",
            ]
            return subprocess.Popen(
                command,
                cwd=tmp_path,
                env=environment(LISTEN_FDS="1", LISTEN_FDNAMES="http"),
                pass_fds=[listening.fileno()],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        process = start()
        workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        try:
            for worker in workers:
                worker.start()
            for _ in range(5 if SOAK else 2):
                count = len(stored)
                eventually(lambda count=count: len(stored) > count + 50, "writes")  # type: ignore[misc]
                process.terminate()
                assert process.wait(PATIENCE) == 0
                process = start()
            count = len(stored)
            eventually(lambda: len(stored) > count + 50, "writes by the last one")
        finally:
            done.set()
            for worker in workers:
                worker.join(PATIENCE)
            process.terminate()
            process.wait(PATIENCE)
    assert not failures
    daemon = make_daemon(directory=tmp_path / "data").start()
    connection = daemon.connect()
    for location in stored:
        assert ask(connection, "GET", f"/store/{location}").body == b"data"
    connection.close()


#: Puts a socket where systemd would, at 3, and becomes twistd.
ADOPT = """
import os, sys
os.dup2(int(sys.argv.pop(1)), 3)
from twisted.scripts.twistd import run
run()
"""


@needs("systemd-analyze")
@pytest.mark.parametrize("user", ["", "DynamicUser=yes\n"])
def test_security(tmp_path: Path, user: str) -> None:
    """The unit is as closed as systemd can make it, whoever its user: an exposure up to 1.5."""
    unit = tmp_path / "gostore.service"
    text = (EXAMPLES / unit.name).read_text()
    unit.write_text(text.replace("User=gostore\n", f"User=gostore\n{user}", 1))
    shown = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--no-pager",
            "--threshold=15",
            str(unit),
        ],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert re.search(r"exposure level for gostore\.service: (1\.[0-5]|0\.[0-9])", shown.stdout)


@needs("systemd-analyze")
def test_verify(tmp_path: Path) -> None:
    """systemd finds no mistake in the unit and its socket, but for programs that are not here."""
    for name in ("gostore.service", "gostore.socket"):
        (tmp_path / name).write_text((EXAMPLES / name).read_text())
    shown = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "gostore.service", "gostore.socket"],
        cwd=tmp_path,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    lines = [
        line
        for line in (shown.stdout + shown.stderr).splitlines()
        if "gostore" in line and "is not executable" not in line
    ]
    assert lines == []


@needs("systemd-sysusers")
@needs("systemd-tmpfiles")
def test_snippets(tmp_path: Path) -> None:
    """The snippets make the user, its directories and their modes, in a root of the test's own."""
    (tmp_path / "etc").mkdir()
    for program, name in (
        ("systemd-sysusers", "gostore.sysusers"),
        ("systemd-tmpfiles", "gostore.tmpfiles"),
    ):
        command = [program, f"--root={tmp_path}", *(["--create"] if "tmp" in program else [])]
        done = subprocess.run(
            [*command, str(EXAMPLES / name)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    passwd = (tmp_path / "etc" / "passwd").read_text()
    [found] = [line.split(":") for line in passwd.splitlines() if line.startswith("gostore:")]
    assert found[5:] == ["/var/lib/gostore", "/usr/sbin/nologin"]
    for path, mode in (("var/lib/gostore", 0o700), ("var/log/gostore", 0o750)):
        status = (tmp_path / path).stat()
        assert (status.st_mode & 0o777, status.st_uid) == (mode, int(found[2]))
