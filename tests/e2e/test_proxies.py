"""The examples for nginx, Caddy and HAProxy: the real programs in front of a real daemon."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from attrs import frozen

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, ask, eventually
from tests.e2e.test_log import UnixConnection

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "proxies"

MIB = 1 << 20

SIZE = 1024 * MIB if SOAK else 48 * MIB

#: What the example for nginx is put into.
NGINX = """
daemon off; worker_processes 1; user {user};
pid {here}/pid; error_log {here}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {here}/1; proxy_temp_path {here}/2; fastcgi_temp_path {here}/3;
    uwsgi_temp_path {here}/4; scgi_temp_path {here}/5;
    server {{
        listen 127.0.0.1:8080;
        {example}
    }}
}}
"""

COMMANDS = {
    "nginx": ("nginx.conf", ["nginx", "-e", "{here}/error.log", "-c", "{conf}"]),
    "caddy": ("Caddyfile", ["caddy", "run", "--adapter", "caddyfile", "--config", "{conf}"]),
    "haproxy": ("haproxy.cfg", ["haproxy", "-db", "-f", "{conf}"]),
}


@frozen
class Proxied:
    """A daemon behind a proxy: the proxy's port and directory, and the daemon's socket and log."""

    daemon: Daemon
    port: int
    here: Path
    socket: Path
    log: Path

    def connect(self) -> http.client.HTTPConnection:
        """Connect to the proxy."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def uploads(self) -> int:
        """How many uploads the daemon has in progress."""
        direct = UnixConnection(self.socket)
        found: int = json.loads(ask(direct, "GET", "/healthz?verbose", None, HOST).body)["uploads"]
        direct.close()
        return found

    def spooled(self) -> int:
        """How many bytes lie in the proxy's directory."""
        files = [path for path in self.here.rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files)


@pytest.fixture(params=list(COMMANDS))
def proxied(request: pytest.FixtureRequest, make_daemon: Make, tmp_path: Path) -> Iterator[Proxied]:
    """A daemon on a unix socket behind each of the proxies, as the example has it."""
    program = request.param
    if shutil.which(program) is None:
        pytest.skip(f"NOT TESTED, there is no {program}")
    path, log, here = tmp_path / "socket", tmp_path / "access.log", tmp_path / "proxy"
    here.mkdir(mode=0o777)
    daemon = make_daemon(
        "-s", f"unix:{path}:mode=666", "--trusted-proxy", "unix", "--hosts", "blobs.example.com",
        "--access-log", str(log), "--access-log-format", "json",
    ).launch()  # fmt: skip
    eventually(path.is_socket, "the daemon listens")
    name, command = COMMANDS[program]
    text = (EXAMPLES / name).read_text()
    if program == "nginx":
        # Its workers have to get at the socket of the test.
        user = pwd.getpwuid(os.getuid()).pw_name
        text = NGINX.format(here=here, example=text, user=user)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    conf = tmp_path / "conf"
    conf.write_text(text.replace("/run/gostore/socket", str(path)).replace("8080", str(port)))
    words = [word.format(here=here, conf=conf) for word in command]
    environment = {**os.environ, "HOME": str(here), "TMPDIR": str(here), "XDG_DATA_HOME": str(here)}
    with (tmp_path / "proxy.log").open("w") as output:
        process = subprocess.Popen(words, cwd=here, env=environment, stdout=output, stderr=output)
    try:
        found = Proxied(daemon, port, here, path, log)

        def answers() -> bool:
            assert process.poll() is None, (tmp_path / "proxy.log").read_text()
            try:
                with socket.create_connection(("127.0.0.1", port), PATIENCE):
                    return True
            except ConnectionRefusedError:
                return False

        eventually(answers, f"{program} listens")
        yield found
    finally:
        process.terminate()
        process.wait(PATIENCE)


HOST = {"Host": "blobs.example.com"}


def test_streams(proxied: Proxied) -> None:
    """A large body passes through both ways as it comes, and the proxy keeps none of it."""
    connection = proxied.connect()
    connection.putrequest("POST", "/blobs/store/large", skip_host=True)
    connection.putheader("Host", HOST["Host"])
    connection.putheader("Content-Length", str(SIZE))
    connection.endheaders()
    piece = bytes(MIB)
    for _ in range(SIZE // MIB // 2):
        connection.send(piece)
    # Half of it is still the client's, and the daemon has begun.
    eventually(lambda: proxied.uploads() == 1, "the daemon gets what has come")
    for _ in range(SIZE // MIB // 2):
        connection.send(piece)
    assert connection.getresponse().read() == b""
    connection.request("GET", "/blobs/store/large", headers=HOST)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(SIZE))
    left = SIZE
    while left:
        assert proxied.spooled() < MIB
        got = len(answer.read(min(left, 16 * MIB)))
        assert got
        left -= got
    connection.close()


def test_chunks(proxied: Proxied) -> None:
    """A body in chunks comes through, and so does a part of it."""
    connection = proxied.connect()
    connection.request("POST", "/blobs/store/a", iter([b"one", b"two"]), HOST, encode_chunked=True)
    assert connection.getresponse().read() == b""
    answer = ask(connection, "GET", "/blobs/store/a", headers={**HOST, "Range": "bytes=2-3"})
    assert (answer.status, answer.body) == (206, b"et")
    connection.close()


def test_prefix(proxied: Proxied) -> None:
    """Below the proxy's path the links lead where they should."""
    connection = proxied.connect()
    answer = ask(connection, "POST", "/blobs/store/notes/to:day", b"data", HOST)
    assert answer.status == 204
    there = urljoin("/blobs/store/notes/to:day", answer.headers["Location"])
    assert ask(connection, "GET", there, headers=HOST).body == b"data"
    page = ask(connection, "GET", "/blobs/store/", headers={**HOST, "Accept": "text/html"})
    assert page.status == 200 and b'href="/' not in page.body
    connection.close()


def test_client(proxied: Proxied) -> None:
    """The log has the client's address and the proxy's id, whatever the client says itself."""
    connection = proxied.connect()
    forged = {
        **HOST,
        "X-Forwarded-For": "203.0.113.7",
        "Forwarded": "for=203.0.113.8",
        "X-Request-Id": "forged",
    }
    answer = ask(connection, "GET", "/blobs/store/a", headers=forged)
    assert answer.status == 404
    connection.close()
    eventually(lambda: proxied.log.read_text().count("\n") > 0, "the log is written")
    lines = [json.loads(line) for line in proxied.log.read_text().splitlines()]
    [line] = [line for line in lines if line.get("path") == "/store/a"]
    assert line["client"] == "127.0.0.1"
    assert line["id"] == answer.headers["X-Request-Id"] != "forged"


def test_expect(proxied: Proxied) -> None:
    """A refusal of a body that is not sent yet reaches the client that waits for leave."""
    with socket.create_connection(("127.0.0.1", proxied.port), PATIENCE) as client:
        head = "POST /blobs/store/a HTTP/1.1\r\nHost: blobs.example.com\r\nContent-Length: 4\r\n"
        client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        reader = client.makefile("rb")
        said = reader.readline()
        # Caddy passes gostore's own on, too, perhaps.
        for number in range(2):
            if said.startswith(b"HTTP/1.1 100 "):
                if not number:
                    client.sendall(b"data")
                while reader.readline() != b"\r\n":
                    pass
                said = reader.readline()
        assert said.startswith(b"HTTP/1.1 204 ")


def test_other_host(proxied: Proxied) -> None:
    """A page on a name that was pointed here gets 421, through the proxy, too."""
    connection = proxied.connect()
    headers = {"Host": "evil.example"}
    assert ask(connection, "GET", "/blobs/store/a", headers=headers).status == 421
    connection.close()
