"""A log that cannot be written: the daemon serves as if it were."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.bad_inputs import talk
from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, ask, eventually
from tests.e2e.mounts import fill, tmpfs


class UnixConnection(http.client.HTTPConnection):
    """A connection to a daemon that cannot say where it listens: a path is agreed upon."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


#: How a shell starts a daemon whose output goes nowhere, by what is wrong with it.
NOWHERE = {
    "a full disk": ">/dev/full 2>&1",
    "closed": "<&- >&- 2>&-",
    "a pipe that nobody reads": "> >(true) 2>&1",
}


@pytest.mark.parametrize("where", NOWHERE if SOAK else ["closed"])
def test_no_output(make_daemon: Make, tmp_path: Path, where: str) -> None:
    """82: whatever stdout and stderr are, requests are served, and the end is an orderly one."""
    daemon = make_daemon("-D", wrapper=("bash", "-c", f'exec "$@" {NOWHERE[where]}', "bash"))
    path = tmp_path / "socket"
    daemon.launch("-s", f"unix:{path}")
    eventually(path.is_socket, "it listens")
    connection = UnixConnection(path)
    for number in range(10):
        assert ask(connection, "POST", f"/store/{number}", b"%d" % number).status == 204
    assert ask(connection, "POST", "/store/large", bytes(1 << 20)).status == 204
    assert ask(connection, "DELETE", "/store/0").status == 200
    assert ask(connection, "GET", "/store/9").body == b"9"
    # A log line of the worst kind goes nowhere, too.
    (daemon.place("8") / "data.raw").write_bytes(b"other bytes")
    assert ask(connection, "GET", "/store/8").status == 500
    assert ask(connection, "GET", "/store/large").body == bytes(1 << 20)
    connection.close()
    assert daemon.stop() == 0


def test_log_disk_full(make_daemon: Make, tmp_path: Path) -> None:
    """82: when the disk of the log is full all goes on, and so does the log when there is room."""
    with tmpfs(tmp_path / "disk", "size=64k") as disk:
        log = disk / "its.log"
        daemon = make_daemon("-D", "--gc-interval", "0.2").start_with_log(log)
        filler = fill(disk)
        before = log.stat().st_size
        for number in range(200):
            assert daemon.ask("POST", f"{number}", b"%d" % number).status == 204
        for number in range(200):
            assert daemon.ask("DELETE" if number % 2 else "GET", f"{number}").status == 200
        # Into the last page of what is there already, and no more.
        assert log.stat().st_size - before < 4096
        eventually(lambda: len(daemon.names()) == 100, "the collector works")
        filler.unlink()
        assert daemon.ask("GET", "198").body == b"198"
        eventually(lambda: "/store/198' 200 3" in log.read_text(), "it writes its log again")
        assert daemon.stop() == 0
        assert "Shut down" in log.read_text()
        daemon.close()


def test_what_is_logged(daemon: Daemon) -> None:
    """82: what a client sends is escaped in the log, and starts no line of its own there."""
    location = "a\u2028\u0085\u202eb"
    assert daemon.ask("POST", quote(location), b"data").status == 204
    (daemon.place(location) / "data.raw").write_bytes(b"other")
    assert daemon.ask("GET", quote(location)).status == 500
    line = daemon.wait_for("Blob .* is damaged")
    assert r"a\u2028\x85\u202eb" in line
    # Whoever finds it is named: by the id that the answer has.
    path = quote(location)
    said = rf"GET '/store/{path}' failed: a\\u2028\\x85\\u202eb is damaged.*\([0-9a-f-]{{36}}\)"
    daemon.wait_for(said)
    assert daemon.ask("DELETE", quote(location)).status == 200
    assert not set(daemon.said) & set("\u2028\u0085\u202e\x1b")


def test_requests_are_logged(make_daemon: Make) -> None:
    """With -D each request has a line, also one that never gets past the wire, and no secret."""
    daemon = make_daemon("-D").start()
    assert daemon.ask("GET", "a?token=s3cr3t").status == 404
    answers = talk(daemon.port, b"GET /store/a?s3cr3t HTTP/1.1\r\nAuthorization: s3cr3t\0\r\n\r\n")
    assert [answer.status for answer in answers] == [400]
    daemon.wait_for(r"127\.0\.0\.1:\d+ GET '/store/a' 404 ")
    daemon.wait_for(r"127\.0\.0\.1:\d+ - '-' 400 \d+ \(A control character .*\)|\(Malformed .*\)")
    assert "s3cr3t" not in daemon.said
