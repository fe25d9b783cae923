"""A daemon with an access file: who may do what, by real clients, and what becomes of bad input."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import threading
import time
from base64 import b64encode
from pathlib import Path

import bcrypt
import pytest

from gostore.access.tokens import digest_of
from tests.e2e.conftest import Make
from tests.e2e.daemon import ANY_PORT, PATIENCE, Daemon, eventually, run_twistd
from tests.e2e.test_clients import needs, run

FILTER = Path(__file__).parent.parent.parent / "examples" / "fail2ban.conf"

#: Cheap to compare, unlike what people should have.
GEHEIM = bcrypt.hashpw(b"geheim", bcrypt.gensalt(4)).decode()

TEXT = f"""\
[anonymous]
grant = read public/

[user alice]
password = {GEHEIM}
grant = all

[token append]
secret = sha256:{digest_of("gst_append").hex()}
grant = append backups/
"""

ALICE = {"Authorization": "Basic " + b64encode(b"alice:geheim").decode()}
APPEND = {"Authorization": "Bearer gst_append"}
AS_PASSWORD = {"Authorization": "Basic " + b64encode(b"anybody:gst_append").decode()}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """An access file."""
    path = tmp_path / "access.conf"
    write(path, TEXT)
    return path


@pytest.fixture
def guarded(make_daemon: Make, rules: Path) -> Daemon:
    """A daemon that goes by it."""
    return make_daemon("--access", str(rules)).start()


def write(path: Path, text: str) -> None:
    """Replace a file as a whole."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.rename(path)


def status(daemon: Daemon, method: str, location: str, headers: dict[str, str]) -> int:
    """The status of one request."""
    body = b"x" if method in ("POST", "PUT") else None
    return daemon.ask(method, location, body, headers).status


@pytest.mark.parametrize("append", [APPEND, AS_PASSWORD])
def test_append_only(guarded: Daemon, append: dict[str, str]) -> None:
    """A token that may only create can do nothing else, by whatever verb or header."""
    assert status(guarded, "POST", "backups/a", append) == 204
    assert status(guarded, "POST", "backups/a", append) == 409
    assert status(guarded, "POST", "other/a", append) == 403
    for method in ("GET", "HEAD", "DELETE", "PUT"):
        for headers in ({}, {"If-Match": "*"}, {"X-HTTP-Method-Override": "POST"}):
            assert status(guarded, method, "backups/a", {**append, **headers}) == 403
    star = {"If-None-Match": "*"}
    assert status(guarded, "PUT", "backups/a", {**append, **star}) == 412
    assert status(guarded, "PUT", "backups/b", {**append, **star}) == 204
    assert guarded.ask("GET", "?prefix=backups/", None, append).status == 403
    assert guarded.ask("GET", "backups/a", None, ALICE).body == b"x"


@needs("curl")
@needs("wget")
@needs("rclone")
def test_clients(guarded: Daemon, tmp_path: Path) -> None:
    """curl, wget and rclone are append-only with a token as the password, and read as a user."""
    host = guarded.url.removeprefix("http://")
    (tmp_path / "file").write_bytes(b"hello")
    url = guarded.store("backups/")
    curl = ("curl", "--silent", "--fail", "--user", "x:gst_append")
    run(*curl, "--request", "POST", "--upload-file", "file", f"{url}curl", cwd=tmp_path)
    run(*curl, "--upload-file", "file", f"{url}curl", cwd=tmp_path, status=22)
    run(*curl, "--request", "DELETE", f"{url}curl", cwd=tmp_path, status=22)
    run(*curl, f"{url}curl", cwd=tmp_path, status=22)
    run("curl", "-sf", "--oauth2-bearer", "gst_append", "-d", "x", f"{url}b", cwd=tmp_path)
    wget = ("wget", "--quiet", "--tries=1", "--user=x", "--password=gst_append", "-O", "-")
    post = ("--method=POST", "--body-file=file")
    run(*wget, *post, f"{url}wget", cwd=tmp_path)
    run(*wget, "--method=DELETE", f"{url}wget", cwd=tmp_path, status=8)
    run(*wget, f"{url}wget", cwd=tmp_path, status=8)
    rclone = ("rclone", "--config=", "--retries=1", "--low-level-retries=1")
    denied = f"http://x:gst_append@{host}/store/"
    run(*rclone, "lsf", "--http-url", denied, ":http:backups", cwd=tmp_path, status=1)
    run(*rclone, "cat", "--http-url", denied, ":http:backups/curl", cwd=tmp_path, status=1)
    allowed = f"http://alice:geheim@{host}/store/"
    listed = run(*rclone, "lsf", "--http-url", allowed, ":http:backups", cwd=tmp_path)
    assert listed.split() == ["b", "curl", "wget"]
    read = ("wget", "--quiet", "--user=alice", "--password=geheim", "-O", "-")
    assert run(*read, f"{url}wget", cwd=tmp_path) == "hello"


def test_refused_upload(guarded: Daemon) -> None:
    """A refusal comes at the end of the head, with or without Expect, before any of the body."""
    for credentials, code in ((b"", b"401"), (b"Authorization: Bearer gst_append\r\n", b"403")):
        for expect in (b"", b"Expect: 100-continue\r\n"):
            with socket.create_connection((guarded.host, guarded.port), PATIENCE) as client:
                client.sendall(
                    b"POST /store/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n"
                    + credentials
                    + expect
                    + b"\r\n"
                )
                assert client.recv(1000).startswith(b"HTTP/1.1 " + code)


def test_accepted_upload(guarded: Daemon) -> None:
    """A client that waits for 100 gets it once its password has been compared."""
    with socket.create_connection((guarded.host, guarded.port), PATIENCE) as client:
        client.sendall(
            b"POST /store/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\nAuthorization: "
            + ALICE["Authorization"].encode()
            + b"\r\n\r\n"
        )
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        assert client.recv(1000).startswith(b"HTTP/1.1 204")


def test_revoked(guarded: Daemon, rules: Path) -> None:
    """A token that is revoked is refused within seconds, on an open connection too."""
    client = guarded.connect()

    def delete() -> int:
        client.request("DELETE", "/store/backups/a", headers=APPEND)
        answer = client.getresponse()
        answer.read()
        return answer.status

    # Its token may not do this, but is somebody's.
    assert delete() == 403
    used = client.sock
    write(rules, TEXT[: TEXT.index("[token")])
    eventually(lambda: delete() == 401, "it is refused")
    assert client.sock is used


def test_bad_reload(guarded: Daemon, rules: Path) -> None:
    """A file that has an error, or is gone, changes nothing, and /readyz says so meanwhile."""

    def ready() -> tuple[int, bytes]:
        client = guarded.connect()
        client.request("GET", "/readyz")
        answer = client.getresponse()
        return answer.status, answer.read()

    assert ready() == (200, b"ok\n")
    write(rules, TEXT + "[user bob]\n")
    eventually(lambda: ready()[0] == 503, "it is not ready")
    # Strangers see that it is bad, and only the log why.
    assert ready()[1] == b"access: the file has an error, which the log tells\n"
    guarded.wait_for("The access file cannot be used, .*line 11: .user bob. has no password")
    assert status(guarded, "GET", "a", ALICE) == 404
    rules.unlink()
    guarded.wait_for("The access file cannot be used, .*No such file")
    assert ready()[0] == 503
    assert status(guarded, "POST", "backups/a", APPEND) == 204
    write(rules, TEXT.replace("backups/", "other/"))
    eventually(lambda: ready()[0] == 200, "it is ready")
    assert status(guarded, "POST", "backups/b", APPEND) == 403


def test_sighup(guarded: Daemon, rules: Path) -> None:
    """SIGHUP has the file read at once, and the log says in one line what came of it."""
    write(rules, TEXT.replace("grant = all", "grant = list"))
    guarded.send(signal.SIGHUP)
    guarded.wait_for("Reloaded: .*access file: 1 user, 1 token, 0 quotas")
    assert status(guarded, "GET", "a", ALICE) == 403
    write(rules, "oops\n")
    guarded.send(signal.SIGHUP)
    guarded.wait_for(
        r"Reloaded: .*not reloaded: access file: .*line 1: no \[anonymous\] line above"
    )
    assert status(guarded, "GET", "a", ALICE) == 403
    for _ in range(100):
        guarded.send(signal.SIGHUP)
        assert status(guarded, "POST", "backups/a", APPEND) in (204, 409)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nobody is in it"),
        ("[anonymous]\ngrant = raed\n", "line 2: unknown verb 'raed'"),
        ("[user anonymous]\n", "line 1: anonymous is nobody's name"),
        ("#" * (10 << 20), "it has more than"),
        (None, "No such file or directory"),
    ],
)
def test_bad_start(tmp_path: Path, text: str | None, reason: str) -> None:
    """A file that cannot be used keeps the daemon from starting: one line says where and why."""
    path = tmp_path / "bad.conf"
    if text is not None:
        path.write_text(text)
    done = run_twistd(
        ["-n", "--pidfile=", "gostore", "-d", "data", "-s", "tcp:0", "--access", "bad.conf"],
        tmp_path,
    )
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("gostore:")]
    assert reason in line and str(path) in line
    assert not (tmp_path / "data").exists()


def test_fifo(tmp_path: Path) -> None:
    """A FIFO is refused at once, and not waited for."""
    os.mkfifo(tmp_path / "fifo")
    done = run_twistd(
        ["-n", "--pidfile=", "gostore", "-d", "data", "-s", "tcp:0", "--access", "fifo"], tmp_path
    )
    assert done.returncode == 1 and "not a regular file" in done.stderr


def test_replaced_while_read(guarded: Daemon, rules: Path) -> None:
    """However often the file is replaced, every request is judged by one whole version of it."""
    done = threading.Event()

    def replace() -> None:
        while not done.is_set():
            write(rules, TEXT)
            guarded_text = TEXT + "# " + "x" * 100_000
            write(rules, guarded_text)
            guarded.send(signal.SIGHUP)
            done.wait(0.01)

    replacing = threading.Thread(target=replace)
    replacing.start()
    end = time.monotonic() + PATIENCE
    while guarded.said.count("Reloaded: ") < 50:
        assert time.monotonic() < end
        assert status(guarded, "GET", "a", ALICE) == 404
        assert status(guarded, "GET", "a", APPEND) == 403
    done.set()
    replacing.join()
    assert "cannot be used" not in guarded.said


BAD = [
    b"Authorization: Basic YWxpY2U6Z2V o ZWlt\r\n",
    b"Authorization: Basic \xff\xfe\r\n",
    b"Authorization: Bearer \xc3\xa9\r\n",
    b"Authorization: Bearer gst_append\r\nAuthorization: Bearer gst_append\r\n",
    b"Authorization: Digest username=alice\r\n",
    b"Authorization: \r\n",
    b"Authorization: Bearer gst_append\r\n\tx\r\n",
    b"Authorization: Bearer gst_append\nX: y\r\n",
    b"Authorization: Bearer " + b"a" * 16384 + b"\r\n",
    b"Authorization: Bearer " + b"a" * 15000 + b"\r\n",
]


@pytest.mark.parametrize(
    ("lines", "code"),
    list(zip(BAD, [401, 401, 401, 401, 401, 401, 400, 400, 431, 401], strict=True)),
)
def test_bad_fields(guarded: Daemon, lines: bytes, code: int) -> None:
    """A field that says nothing clear is wrong credentials, and nothing of it is repeated."""
    with socket.create_connection((guarded.host, guarded.port), PATIENCE) as client:
        client.sendall(b"GET /store/public/a HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()
        body = answer.read()
    assert answer.status == code
    assert b"gst_" not in body and b"aaa" not in body
    assert (
        "gst_" not in guarded.said and "aaa" not in guarded.said and "Traceback" not in guarded.said
    )


def test_attack(guarded: Daemon) -> None:
    """While wrong passwords pour in, whoever is known is served; new ones from there are not."""
    assert status(guarded, "POST", "a", ALICE) == 204
    known = guarded.connect()
    done = threading.Event()
    seen: set[int] = set()

    def attack() -> None:
        number = 0
        client = guarded.connect()
        while not done.is_set():
            number += 1
            wrong = "Basic " + b64encode(b"alice:%d" % number).decode()
            client.request("GET", "/store/a", headers={"Authorization": wrong})
            answer = client.getresponse()
            answer.read()
            seen.add(answer.status)

    attacking = [threading.Thread(target=attack) for _ in range(3)]
    for each in attacking:
        each.start()
    eventually(lambda: 429 in seen, "it is throttled")
    for _ in range(300):
        known.request("GET", "/store/a", headers=ALICE)
        answer = known.getresponse()
        assert (answer.status, answer.read()) == (200, b"x")
    answer_to_new = guarded.ask("POST", "backups/a", b"x", APPEND)
    assert answer_to_new.status == 429
    assert 1 <= int(answer_to_new.headers["Retry-After"]) <= 60
    done.set()
    for each in attacking:
        each.join()
    assert seen == {401, 429}
    assert guarded.said.count("Authentication failed from 127.0.0.1") == 10


@needs("fail2ban-regex")
@pytest.mark.parametrize("form", ["text", "json"])
def test_fail2ban(make_daemon: Make, rules: Path, tmp_path: Path, form: str) -> None:
    """The filter in examples/ finds the line of a failure and no other: in a file, in the journal.

    The journal of systemd has the line of the daemon behind a time, a host and a name of its own.
    """
    log = tmp_path / "its.log"
    daemon = make_daemon("--access", str(rules), "--log-format", form).start_with_log(log)
    assert status(daemon, "GET", "a", {"Authorization": "Bearer gst_wrong"}) == 401
    eventually(lambda: "Authentication failed" in log.read_text(), "it is logged")
    assert "gst_wrong" not in log.read_text()
    lines = log.read_text().splitlines()
    journal = tmp_path / "journal"
    journal.write_text("".join(f"2026-11-30T11:02:07.9 a gostore[7]: {line}\n" for line in lines))
    for file in (log, journal):
        command = ["fail2ban-regex", "--out", "ip", str(file), str(FILTER)]
        assert run(*command, cwd=tmp_path).split() == ["127.0.0.1"]
        # fail2ban itself takes the time of the journal, and this program has only the file.
        shown = run("fail2ban-regex", str(file), str(FILTER), cwd=tmp_path)
        assert f"Lines: {len(lines)} lines, 0 ignored, 1 matched" in shown
        assert (f"[{len(lines)}] ^" in shown) is (file is log)


def test_quota(make_daemon: Make, rules: Path) -> None:
    """A write beyond a quota is 507, before its body; a new quota counts what is there."""
    write(rules, TEXT + "[quota]\nbackups/ = 100 2\n")
    daemon = make_daemon("--access", str(rules)).start()
    assert daemon.ask("POST", "backups/a", b"x" * 60, APPEND).status == 204
    answer = daemon.ask("POST", "backups/b", b"x" * 41, APPEND)
    assert (answer.status, b"the quota of backups/" in answer.body) == (507, True)
    with socket.create_connection((daemon.host, daemon.port), PATIENCE) as client:
        client.sendall(
            b"POST /store/backups/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n"
            b"Expect: 100-continue\r\nAuthorization: Bearer gst_append\r\n\r\n"
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 507")
    chunks = iter([b"x" * 30, b"x" * 30])
    connection = daemon.connect()
    connection.request("POST", "/store/backups/b", chunks, APPEND, encode_chunked=True)
    assert connection.getresponse().status == 507
    assert daemon.ask("PUT", "backups/a", b"x" * 100, ALICE).status == 200
    assert daemon.ask("POST", "other", b"x" * 1000, ALICE).status == 204
    write(rules, TEXT + "[quota]\nother = 1500\n")
    daemon.wait_for("Read the access file: 1 user, 1 token, 1 quota")
    assert daemon.ask("POST", "backups/b", b"x" * 41, APPEND).status == 204
    assert daemon.ask("POST", "other2", b"x" * 501, ALICE).status == 507
    assert daemon.ask("POST", "other2", b"x" * 500, ALICE).status == 204
    connection = daemon.connect()
    connection.request("GET", "/metrics", headers=ALICE)
    metrics = connection.getresponse().read()
    assert b'gostore_quota_limit_bytes{prefix="other"} 1500.0\n' in metrics
    assert b'gostore_quota_used_bytes{prefix="other"} 1500.0\n' in metrics
    daemon.stop()
    daemon.start()
    assert daemon.ask("POST", "other3", b"x", ALICE).status == 507
    assert daemon.ask("DELETE", "other", None, ALICE).status == 200
    assert daemon.ask("POST", "other3", b"x", ALICE).status == 204


NGINX = """
user root; daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {here}/1; proxy_temp_path {here}/2; fastcgi_temp_path {here}/3;
    uwsgi_temp_path {here}/4; scgi_temp_path {here}/5;
    server {{
        listen unix:{here}/nginx.sock;
        set_real_ip_from unix:; real_ip_header X-Client;
{location}
    }}
}}
"""


@needs("nginx")
@needs("curl")
def test_proxy(make_daemon: Make, rules: Path, tmp_path: Path) -> None:
    """As docs/access.md sets it up, nginx says who asks, and passes on nothing forged."""
    page = (Path(__file__).parent.parent.parent / "docs" / "access.md").read_text()
    [location] = re.findall(r"^    location / \{\n.*?^    \}\n", page, re.MULTILINE | re.DOTALL)
    location = location.replace("/run/gostore/gostore.sock", f"{tmp_path}/gostore.sock")
    location = location.replace("$remote_user", "$http_x_login")
    (tmp_path / "conf").write_text(NGINX.format(here=tmp_path, location=location))
    options = ("--access", str(rules), "--trusted-proxy", "unix", "--remote-user", "X-Remote-User")
    listen = ("-s", ANY_PORT, "-s", f"unix:{tmp_path}/gostore.sock")
    daemon = make_daemon("-D", *listen, *options).start()
    nginx = subprocess.Popen(["nginx", "-e", f"{tmp_path}/error.log", "-c", f"{tmp_path}/conf"])
    try:
        eventually(lambda: (tmp_path / "nginx.pid").exists(), "nginx runs")
        curl = (
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--unix-socket",
            "nginx.sock",
        )
        forged = ("-H", "X-Forwarded-For: 6.6.6.6", "-H", "Forwarded: for=6.6.6.6")
        client = ("-H", "X-Client: 192.0.2.1", "http://localhost/store/a")
        user = ("-H", "X-Remote-User: alice")
        assert run(*curl, *forged, *user, *client, cwd=tmp_path) == "401"
        daemon.wait_for(r"192\.0\.2\.1:0 GET .*/store/a.* 401")
        assert run(*curl, *forged, "-H", "X-Login: alice", *client, cwd=tmp_path) == "404"
        for _ in range(10):
            assert run(*curl, "-u", "alice:no", *client, cwd=tmp_path) == "401"
        assert run(*curl, "-u", "alice:no", *client, cwd=tmp_path) == "429"
        other = ("-H", "X-Client: 192.0.2.2", "http://localhost/store/a")
        assert run(*curl, "-u", "alice:geheim", *other, cwd=tmp_path) == "404"
        assert status(daemon, "GET", "a", {"X-Remote-User": "alice"}) == 401
        assert "6.6.6.6" not in daemon.said
    finally:
        nginx.terminate()
        nginx.wait(PATIENCE)
