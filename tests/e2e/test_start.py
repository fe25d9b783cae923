"""Starting, or refusing to, in one line; and going to the background."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import ANY_PORT, Daemon, eventually, run_twistd
from tests.e2e.mounts import tmpfs


@pytest.fixture
def make_daemon(make_daemon: Make) -> Make:
    """Daemons that are started as a user does it."""
    return partial(make_daemon, nursery=None)


def refused(arguments: list[str], cwd: Path) -> str:
    """Run twistd, which has to end at once; return the one line that it prints."""
    ended = run_twistd(["-n", "--pidfile=", *arguments], cwd)
    assert ended.returncode != 0
    lines = [
        line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("gostore: ")
    ]
    assert len(lines) == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    return lines[0]


def test_port_in_use(tmp_path: Path) -> None:
    """A port in use: one line, status not 0, and no directory is left that was not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(["gostore", "-s", f"127.0.0.1:{port}", "-d", "data"], tmp_path)
    assert "cannot listen" in line and str(port) in line
    assert os.listdir(tmp_path) == []


def test_directory_in_use(daemon: Daemon, tmp_path: Path) -> None:
    """A directory that is served already, by whatever path: one line, before anything is bound."""
    link = tmp_path / "link"
    link.symlink_to(daemon.directory)
    for path in (daemon.directory, link):
        line = refused(["gostore", "-s", ANY_PORT, "-d", str(path)], tmp_path)
        assert "already served by another daemon" in line
    assert daemon.ask("POST", "still/here", b"1").status == 204


def test_after_kill_9(make_daemon: Make) -> None:
    """The lock of a daemon that was killed keeps nobody out."""
    daemon = make_daemon().start()
    daemon.kill()
    daemon.start()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-d", "file"], "File exists"),
        (["-d", "file/data"], "Not a directory"),
        (["-d", "unmounted/data", "--make-dir", "no"], "No such file or directory"),
        (["-s", "nonsense"], "nonsense"),
        (["-s", "tcp:99999"], "99999"),
        (["--gc-interval", "-1"], "--gc-interval"),
        (["--id-bits", "17"], "--id-bits"),
        (["--config", "missing.conf"], "missing.conf"),
        (["--config", "unknown.conf"], "unknown.conf, line 3: unknown setting 'colour'"),
        (["--config", "bad.conf"], "bad.conf, line 2: gc-interval"),
    ],
)
def test_mistakes(arguments: list[str], said: str, tmp_path: Path) -> None:
    """A mistake on the command line or in the file: one line that says where and why."""
    (tmp_path / "file").write_text("")
    (tmp_path / "unknown.conf").write_text("[gostore]\n# hm\ncolour = red\n")
    (tmp_path / "bad.conf").write_text("[gostore]\ngc-interval = often\n")
    before = sorted(os.listdir(tmp_path))
    listen = [] if "-s" in arguments else ["-s", ANY_PORT]
    assert said in refused(["gostore", *listen, *arguments], tmp_path)
    assert sorted(os.listdir(tmp_path)) == before


def test_what_is_said(make_daemon: Make) -> None:
    """A start tells the address, the directory, what recovery found, and a line to paste."""
    daemon = make_daemon().start()
    assert f"Listening on {daemon.url}" in daemon.said
    assert f"Keeping blobs in {daemon.directory}" in daemon.said
    assert "restored 0, finished 0, discarded 0, quarantined 0, foreign 0" in daemon.said
    assert f"curl --request POST http://127.0.0.1:{daemon.port}/store/hello" in daemon.said
    assert "no authentication" not in daemon.said


def test_warnings(make_daemon: Make) -> None:
    """Listening beyond this machine is warned of, and so is flushing nothing."""
    daemon = make_daemon()
    daemon.launch("-s", "tcp:0", "--sync", "none")
    daemon.wait_for("There is no authentication")
    assert "Nothing is flushed" in daemon.said


def test_file_system(make_daemon: Make, tmp_path: Path) -> None:
    """A file system that cannot keep the promise is named at the start, in one line."""
    with tmpfs(tmp_path / "disk", "size=64m") as disk:
        daemon = make_daemon(directory=disk / "data").start()
        daemon.wait_for(
            f"{disk}/data is on tmpfs: it is in memory, and lost when the machine stops"
        )
        daemon.close()


def test_unix_socket(make_daemon: Make, tmp_path: Path) -> None:
    """A Unix socket is listened on, and curl is told how."""
    path = tmp_path / "socket"
    make_daemon().launch("-s", f"unix:{path}").wait_for("--unix-socket")
    assert path.is_socket()


def test_several_addresses(make_daemon: Make, tmp_path: Path) -> None:
    """Each -s is listened on."""
    path = tmp_path / "socket"
    daemon = make_daemon().start("-s", ANY_PORT, "-s", f"unix:{path}")
    assert daemon.ask("GET", "a").status == 404
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert daemon.stop() == 0
    assert not path.exists()


def test_socket_after_kill(make_daemon: Make, tmp_path: Path) -> None:
    """After kill -9 its socket is no obstacle, though another process has its number by now."""
    path = tmp_path / "socket"
    daemon = make_daemon()
    for _ in range(2):
        daemon.launch("-s", f"unix:{path}").wait_for("Recovery: ")
        daemon.kill()
        Path(f"{path}.lock").unlink(missing_ok=True)
        os.symlink(str(os.getpid()), f"{path}.lock")
    assert path.is_socket()


def test_socket_for_all(make_daemon: Make, tmp_path: Path) -> None:
    """A socket has the permissions of the umask, and one that all may use is warned of."""
    path = tmp_path / "socket"
    daemon = make_daemon(wrapper=("sh", "-c", 'umask 077; exec "$@"', "sh"))
    daemon.launch("-s", f"unix:{path}").wait_for("Recovery: ")
    assert path.stat().st_mode & 0o777 == 0o600
    assert "no authentication" not in daemon.said
    assert daemon.stop() == 0
    daemon.launch("-s", f"unix:{path}:mode=666").wait_for("There is no authentication: every user")


def test_no_systemd_socket(tmp_path: Path) -> None:
    """A socket that systemd has not passed is missed in words."""
    done = run_twistd(["-n", "gostore", "-s", "systemd:domain=INET:index=0"], tmp_path)
    assert done.returncode == 1
    assert "needs a socket from systemd" in done.stderr


def in_background(tmp_path: Path, *options: str) -> int:
    """Start a daemon in the background, of a relative directory; return its process id."""
    ended = run_twistd(
        ["--pidfile=its.pid", "--logfile=its.log", "gostore", "-d", "data", *options], tmp_path
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return int((tmp_path / "its.pid").read_text())


def ended(pid: int) -> Callable[[], bool]:
    """Whether a process that is no child of ours has ended."""

    def look() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    return look


def test_background(tmp_path: Path) -> None:
    """In the background the directory stays the one that was meant; SIGTERM ends it cleanly."""
    pid = in_background(tmp_path, "-s", f"unix:{tmp_path}/socket")
    try:
        log = tmp_path / "its.log"
        eventually(lambda: "Recovery: " in log.read_text(), "it starts")
        # Only when the reactor runs a signal is more than an end.
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "socket"))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert (tmp_path / "data").is_dir()
    finally:
        os.kill(pid, signal.SIGTERM)
    eventually(ended(pid), "it ends")
    assert not (tmp_path / "its.pid").exists()
    assert "Shut down" in log.read_text() and "Traceback" not in log.read_text()


def test_stale_pid(tmp_path: Path) -> None:
    """81: the pid of a foreign process in the file refuses no start; that of a daemon does.

    The other kinds of a stale file are in test_tap.py.
    """
    file, log = tmp_path / "its.pid", tmp_path / "its.log"
    with subprocess.Popen(["sleep", "600"]) as foreign:
        try:
            file.write_text(str(foreign.pid))
            pid = in_background(tmp_path, "-s", f"unix:{tmp_path}/socket")
            try:
                command = ["--pidfile=its.pid", "gostore", "-d", "other", "-s", ANY_PORT]
                assert "is running" in run_twistd(command, tmp_path).stderr
                assert file.read_text() == str(pid)
            finally:
                os.kill(pid, signal.SIGTERM)
            eventually(ended(pid), "it ends")
            assert foreign.poll() is None
        finally:
            foreign.kill()
    assert "Traceback" not in log.read_text()


def test_background_refused(daemon: Daemon, tmp_path: Path) -> None:
    """In the background, too, the one who started it is told why it does not start."""
    command = ["--pidfile=its.pid", "--logfile=its.log", "gostore", "-s", ANY_PORT]
    done = run_twistd([*command, "-d", str(daemon.directory)], tmp_path)
    assert done.returncode != 0
    assert "gostore: " in done.stdout + done.stderr
    assert not (tmp_path / "its.pid").exists()
