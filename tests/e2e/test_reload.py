"""SIGHUP: what changes without a restart, and without a request that notices."""

from __future__ import annotations

import json
import re
import signal
import ssl
import subprocess
import threading
from pathlib import Path

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, SOAK, ask, eventually
from tests.e2e.test_clients import needs
from tests.e2e.test_tls import Authority, certify, connect

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "gostore.logrotate"


def test_hangups_under_load(make_daemon: Make, tmp_path: Path) -> None:
    """78: a thousand SIGHUPs while others read and write: no request fails, no line is lost."""
    log = tmp_path / "access.log"
    daemon = make_daemon("--access-log", str(log)).start()
    done = threading.Event()
    counts: list[int] = []
    failures: list[object] = []

    def work(number: int) -> None:
        connection = daemon.connect()
        count = 0
        try:
            while not done.is_set():
                location = f"/store/{number}/{count}"
                written = ask(connection, "POST", location, b"data")
                read = ask(connection, "GET", location)
                if (written.status, read.body) != (204, b"data"):
                    failures.append((written, read))
                count += 1
        except Exception as error:  # the thread's, which the test has to see
            failures.append(error)
        counts.append(2 * count)
        connection.close()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for number in range(1000 if SOAK else 300):
        if number % 100 == 50:
            eventually(log.exists, "the log is open anew")
            log.rename(f"{log}.{number}")
        daemon.send(signal.SIGHUP)
    eventually(log.exists, "the log is open anew")
    done.set()
    for worker in workers:
        worker.join(PATIENCE)
    assert not failures and sum(counts) > 0
    assert daemon.stop() == 0
    lines = [
        line for each in tmp_path.glob("access.log*") for line in each.read_text().splitlines()
    ]
    assert len(lines) == sum(counts)
    assert f"Reloaded: {log} is open anew" in daemon.said


def test_settings(make_daemon: Make, tmp_path: Path) -> None:
    """Limits of the configuration file change; a file with a mistake changes none of them."""
    file = tmp_path / "its.conf"
    text = "[gostore]\nlisten = 127.0.0.1:0\nmax-blob-size = {}\ngc-interval = {}\n"
    file.write_text(text.format(10, 5))
    daemon = make_daemon("--config", str(file)).start()
    assert daemon.ask("POST", "a", bytes(11)).status == 413
    file.write_text(text.format(20, 6))
    daemon.send(signal.SIGHUP)
    said = "Reloaded: max-blob-size was 10 and is 20; gc-interval waits for a restart"
    daemon.wait_for(said)
    assert daemon.ask("POST", "a", bytes(11)).status == 204
    assert daemon.ask("POST", "b", bytes(21)).status == 413
    file.write_text(text.format("large", 5))
    daemon.send(signal.SIGHUP)
    daemon.wait_for(f"Reloaded: not reloaded: {file}, line 3: max-blob-size: 'large'")
    assert daemon.ask("POST", "c", bytes(21)).status == 413
    file.unlink()
    daemon.send(signal.SIGHUP)
    daemon.wait_for(f"not reloaded: {file}: No such file or directory")
    assert daemon.stop() == 0


def test_lifetimes(make_daemon: Make, tmp_path: Path) -> None:
    """[expire] and [keep] change for what comes; a mistake leaves both as they were."""
    file = tmp_path / "its.conf"
    text = "[gostore]\nlisten = 127.0.0.1:0\ngc-interval = 0.1\n"
    text += "[expire]\ntmp/ = {}\n[keep]\nkept/ = {}\n"
    file.write_text(text.format("1d", "0"))
    daemon = make_daemon("--config", str(file)).start()

    def put(location: str) -> bool:
        """Whether a new blob expires."""
        return "Expires-At" in dict(daemon.ask("POST", location, b"data").headers)

    assert put("tmp/a") and daemon.ask("POST", "kept/a", b"a").status == 204
    assert daemon.ask("DELETE", "kept/a").status == 200
    file.write_text(text.format("never", "7d"))
    daemon.send(signal.SIGHUP)
    daemon.wait_for("Reloaded: expire was never, tmp/ = 1d and is never, tmp/ = never; keep was")
    assert not put("tmp/b") and daemon.ask("POST", "kept/b", b"data").status == 204
    assert daemon.ask("DELETE", "kept/b").status == 200
    assert daemon.ask("GET", "kept/b?history").status == 200
    file.write_text(text.format("1d", "sometimes"))
    daemon.send(signal.SIGHUP)
    daemon.wait_for(f"not reloaded: {file}, line 7: 'sometimes'")
    assert not put("tmp/c")
    file.write_text(text.format("1d", "0"))
    daemon.send(signal.SIGHUP)
    daemon.wait_for("1 versions of 4 bytes will be removed in an hour.*--keep 0 and .* kept/ = 7d")
    assert put("tmp/d")
    eventually(lambda: daemon.ask("GET", "tmp/d").status == 200, "the collector has run")
    assert daemon.ask("GET", "kept/b?history").status == 200
    assert daemon.stop() == 0
    again = make_daemon("--gc-interval", "0.1").start()
    again.wait_for("1 versions of 4 bytes will be removed in an hour")
    assert again.ask("POST", "kept/b?restore=4").status == 204
    assert again.ask("GET", "kept/b").body == b"data"
    assert again.stop() == 0


def test_certificate(make_daemon: Make, tmp_path: Path) -> None:
    """New connections get the new certificate, open ones go on; a bad one changes nothing."""
    certify(tmp_path)
    files = f"privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    daemon = make_daemon()
    daemon.launch("-s", f"ssl:0:interface=127.0.0.1:{files}").serves("https")
    first = connect(daemon, tmp_path / "cert.pem", "http/1.1")
    assert ask(first, "GET", "/healthz").status == 200
    (tmp_path / "cert.pem").rename(tmp_path / "old.pem")
    certify(tmp_path)
    daemon.send(signal.SIGHUP)
    daemon.wait_for("Reloaded: the certificate of ssl:0:.* is a new one, until 20")
    second = connect(daemon, tmp_path / "cert.pem", "http/1.1")
    assert second.sock.selected_alpn_protocol() == "http/1.1"  # type: ignore[attr-defined]
    assert ask(second, "POST", "/store/a", bytes(100_000)).status == 204
    assert ask(first, "GET", "/store/a").body == bytes(100_000)
    try:
        connect(daemon, tmp_path / "old.pem")
    except ssl.SSLCertVerificationError:
        pass
    else:
        raise AssertionError("the old certificate is still sent")
    (tmp_path / "key.pem").write_bytes(Authority("other").private)
    daemon.send(signal.SIGHUP)
    daemon.wait_for("not reloaded: the certificate of ssl:0:")
    third = connect(daemon, tmp_path / "cert.pem")
    assert ask(third, "GET", "/healthz").status == 200
    for connection in (first, second, third):
        connection.close()


@needs("logrotate")
def test_logrotate(make_daemon: Make, tmp_path: Path) -> None:
    """The example for logrotate: each log is renamed, and the daemon goes on in new ones."""
    logs = tmp_path / "log"
    logs.mkdir(mode=0o755)
    access, own = logs / "access.log", logs / "gostore.log"
    daemon = make_daemon("--access-log", str(access), "--access-log-format", "json")
    daemon.start_with_log(own)
    assert daemon.ask("POST", "before", b"data").status == 204
    eventually(lambda: "before" in access.read_text(), "the log is written")
    example = EXAMPLE.read_text().replace("/var/log/gostore/", f"{logs}/")
    signalled, count = re.subn("systemctl kill .*", f"kill -HUP {daemon.pid}", example)
    assert count == 1
    # logrotate trusts no file that others may write.
    config = tmp_path / "conf"
    config.write_text(signalled)
    config.chmod(0o644)
    state = str(tmp_path / "state")
    command = ["logrotate", "--force", "--state", state, str(config)]
    subprocess.run(command, check=True, timeout=PATIENCE)
    eventually(lambda: access.exists() and own.exists(), "the logs are open anew")
    eventually(lambda: f"{access} is open anew" in own.read_text(), "the daemon says so")
    assert daemon.ask("POST", "after", b"data").status == 204
    eventually(lambda: "after" in access.read_text(), "the new log is written")
    assert daemon.stop() == 0
    paths = [json.loads(line)["path"] for line in (logs / "access.log.1").open()]
    assert paths == ["/store/before"]
    paths = [json.loads(line)["path"] for line in access.open()]
    assert paths == ["/store/after"]
    assert "Recovery: " in (logs / "gostore.log.1").read_text()
    assert "Shut down" in own.read_text()


def test_json_log(make_daemon: Make, tmp_path: Path) -> None:
    """With --log-format json every line is an object, from the first to the last."""
    log = tmp_path / "its.log"
    daemon = make_daemon("--log-format", "json").start_with_log(log)
    assert daemon.ask("POST", "a", b"data").status == 204
    (daemon.place("a") / "data.raw").write_bytes(b"other")
    answer = daemon.ask("GET", "a")
    assert answer.status == 500
    assert daemon.stop() == 0
    events = [json.loads(line) for line in log.open()]
    assert {"time", "level", "logger", "message"} <= events[0].keys()
    damage, finder = [each for each in events if "is damaged" in each["message"]]
    assert finder["message"].endswith(f"({answer.headers['X-Request-Id']})")
    assert damage["level"] in ("error", "critical") and damage["logger"].startswith("gostore.")
    assert events[-1]["message"] == "Server Shut Down."
