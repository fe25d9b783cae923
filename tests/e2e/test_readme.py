"""What a newcomer pastes: the eight commands of the README, and what is in examples/."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from gostore.daemon.settings import Settings
from tests.e2e.conftest import Make
from tests.e2e.daemon import ANY_PORT, PATIENCE, TWISTD, Daemon, ask, environment, eventually
from tests.e2e.seaweed import free_port
from tests.e2e.test_tls import certify

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = sorted((ROOT / "examples").glob("*.sh"))
UNIT = ROOT / "examples" / "gostore.service"
HEALTH = ROOT / "examples" / "healthcheck.py"
#: Those of a number, for one blob.
EXAMPLES = [path for path in SCRIPTS if path.name[0].isdigit()]

#: A directory that every script has to bear.
ODD = 'it\'s a "$HOME" \\ \n `é`; x'

#: What each command of the README says that it prints.
SAID = (
    r"HTTP/1\.1 204 No Content\r\nETag: \"[0-9a-f]{64}\"",
    r"^Buy milk\.$",
    r"HTTP/1\.1 409 Conflict",
    r"HTTP/1\.1 200 OK\r\nETag: \"[0-9a-f]{64}\"",
    r"HTTP/1\.1 200 OK[^$]*Content-Length: 10\r\n",
    r"BLOB_BASE64_gostore1:[^\n]*\n\n[^\n]* - OK - Blob Data WR Complete!\n",
    r"HTTP/1\.1 200 OK",
    r'^"Ok!"$',
)


def run(command: str, daemon: Daemon, status: int = 0) -> subprocess.CompletedProcess[bytes]:
    """Run a shell command next to the daemon's data directory; it has to end with a status."""
    ended = subprocess.run(
        ["bash", "-c", command.replace("localhost:7777", f"127.0.0.1:{daemon.port}")],
        cwd=daemon.directory.parent,
        env={
            **environment(),
            "GOSTORE": f"http://{daemon.host}:{daemon.port}",
            "DATA": str(daemon.directory),
        },
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == status, ended.stderr.decode()
    return ended


def paste(command: str, daemon: Daemon) -> str:
    """Run a shell command that has to succeed, and return what it prints."""
    return run(command, daemon).stdout.decode()


def is_updated(daemon: Daemon) -> bool:
    """Whether all that is on the disk is one blob that has replaced another."""
    return ["Updated" in each.log[-1] for each in daemon.records().values()] == [True]


def test_eight_commands(daemon: Daemon) -> None:
    """Each of the README's commands, pasted one after the other, does what it says."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    # \d\. .*\n    (.+)$", text, re.MULTILINE)
    assert len(commands) == len(SAID) == 8
    for command, said in zip(commands, SAID, strict=True):
        if command.startswith("cat "):
            # The blob that was replaced has gone by then, if one does not paste as fast as this.
            eventually(lambda: is_updated(daemon), "the new blob is alone, and has its files")
        printed = paste(command, daemon)
        assert re.search(said, printed), f"{command} printed {printed!r}"
    eventually(lambda: not daemon.names(), "the deleted blob is collected")


def test_examples(make_daemon: Make, tmp_path: Path) -> None:
    """The scripts run one by one, in the order of their numbers, at any path."""
    assert len(EXAMPLES) == 9
    place = Path(shutil.copytree(ROOT / "examples", tmp_path / ODD))
    daemon = make_daemon(directory=place / "data").start()
    for script in EXAMPLES:
        ended = run(f"sh {shlex.quote(str(place / script.name))}", daemon)
        assert ended.stdout, script.name
        assert b"No such file" not in ended.stderr, ended.stderr
    assert daemon.ask("GET", "", None).status == 200


def copy(name: str, directory: Path) -> str:
    """The command that runs backup.sh or restore.sh."""
    return f"{shlex.quote(f'{ROOT}/examples/{name}.sh')} {shlex.quote(str(directory))}"


def test_backup(daemon: Daemon, tmp_path: Path) -> None:
    """What backup.sh fetches restore.sh puts back: each blob, whatever it is called, as it was."""
    to = tmp_path / ODD
    fields = {
        "Content-Type": "text/html",
        "X-Gostore-Meta-Author": "Ad\xe9",
        "X-Gostore-Meta-Empty": "",
        "Cache-Control": "private",
    }
    stored: dict[str, bytes] = {f"many/{number}": b"%d" % number for number in range(90)}
    stored |= {
        "empty": b"",
        "'a' \"b\" & <c> $(d) `e` %41": b"f",
        "-": b"x" * 70_000,
        "é/" * 300 + "é": b"g",
        "a:b/c": b"h",
        'quoted \\" and \\\\", "size": 5': b"i",
        "same/1": b"same",
        "same/2": b"same",
        "\u0085\u2028": b"j",
    }
    connection = daemon.connect()
    for location, body in stored.items():
        assert ask(connection, "POST", f"/store/{quote(location)}", body, fields).status == 204
    connection.close()

    # Of several pages, without a thousand blobs.
    script = (ROOT / "examples" / "backup.sh").read_text()
    assert "limit=1000" in script
    (tmp_path / "backup.sh").write_text(script.replace("limit=1000", "limit=40"))
    command = f"sh {tmp_path}/backup.sh {shlex.quote(str(to))}"
    assert paste(command, daemon) == f"{len(stored)} blobs are in {to}\n"
    assert {path.name for path in to.iterdir()} == {"index", "blobs", "heads"}
    daemon.empty()
    paste(copy("restore", to), daemon)
    for location, body in stored.items():
        answer = daemon.ask("GET", quote(location))
        assert (answer.status, answer.body) == (200, body), location
        assert {name: answer.headers[name] for name in fields} == fields, location
    again = run(copy("restore", to), daemon, status=1)
    assert again.stderr.decode().count(": 409\n") == len(stored)


def fetched(daemon: Daemon, command: str, status: int = 0) -> list[str]:
    """Run a command; return what it asked a daemon for besides the list."""
    before = len(daemon.log)
    run(command, daemon, status)
    # The log says so only after the answer.
    assert daemon.ask("GET", f"end-of-{before}").status == 404
    daemon.wait_for(f"end-of-{before}")
    lines = "\n".join(daemon.log[before:])
    asked = re.findall(r"(GET|HEAD) \S*?(/store/(?!end-of)[^'? ]+)", lines)
    return [f"{method} {path}" for method, path in asked]


def test_backup_again(make_daemon: Make, tmp_path: Path) -> None:
    """A second backup asks for what is new alone, and keeps nothing that is gone."""
    daemon = make_daemon("--debug").start()
    to = tmp_path / "to"
    for location in ("kept", "replaced", "deleted"):
        assert daemon.ask("POST", location, location.encode()).status == 204
    command = copy("backup", to)
    assert len(fetched(daemon, command)) == 3
    assert fetched(daemon, command) == []
    assert daemon.ask("PUT", "replaced", b"anew").status == 200
    assert daemon.ask("POST", "copied", b"kept", {"Content-Type": "text/html"}).status == 204
    assert daemon.ask("DELETE", "deleted").status == 200
    # Of bytes that are there already the header fields are enough.
    assert sorted(fetched(daemon, command)) == ["GET /store/replaced", "HEAD /store/copied"]
    bodies = {path.read_bytes() for path in (to / "blobs").iterdir()}
    assert bodies == {b"kept", b"anew"}
    assert len(list((to / "heads").iterdir())) == 3
    # As after a failure: without its list the bytes are good still.
    (to / "index").unlink()
    assert {each.partition(" ")[0] for each in fetched(daemon, command)} == {"HEAD"}
    daemon.empty()
    paste(copy("restore", to), daemon)
    assert [daemon.ask("GET", each).body for each in ("kept", "replaced", "copied", "deleted")][
        :3
    ] == [b"kept", b"anew", b"kept"]


def test_backup_of_nobody(daemon: Daemon, tmp_path: Path) -> None:
    """Where there is no daemon the backup that is there stays as it is."""
    assert daemon.ask("POST", "a", b"b").status == 204
    paste(copy("backup", tmp_path / "to"), daemon)
    before = (tmp_path / "to" / "index").read_bytes()
    for name, status in (("backup", 7), ("restore", 1)):
        ended = run(f"GOSTORE=http://127.0.0.1:1 {copy(name, tmp_path / 'to')}", daemon, status)
        assert b"Failed to connect" in ended.stderr or b"Could not connect" in ended.stderr
    assert (tmp_path / "to" / "index").read_bytes() == before
    assert paste(copy("backup", tmp_path / "to"), daemon).startswith("1 blobs are in ")


def test_backup_of_nothing(daemon: Daemon, tmp_path: Path) -> None:
    """A daemon that has lost all its blobs, for want of its disk say, empties no backup."""
    assert daemon.ask("POST", "a", b"b").status == 204
    paste(copy("backup", tmp_path / "to"), daemon)
    daemon.empty()
    ended = run(copy("backup", tmp_path / "to"), daemon, status=1)
    assert b"the daemon has no blobs" in ended.stderr
    paste(copy("restore", tmp_path / "to"), daemon)
    assert daemon.ask("GET", "a").body == b"b"


def test_backup_and_curlrc(daemon: Daemon, tmp_path: Path) -> None:
    """A ~/.curlrc confuses neither script."""
    (tmp_path / ".curlrc").write_text('include\nfail\nwrite-out = "x"\nuser-agent = "rclone/1"\n')
    assert daemon.ask("POST", "a", b"b").status == 204
    home = f"HOME={shlex.quote(str(tmp_path))}"
    paste(f"{home} {copy('backup', tmp_path / 'to')}", daemon)
    daemon.empty()
    paste(f"{home} {copy('restore', tmp_path / 'to')}", daemon)
    assert daemon.ask("GET", "a").body == b"b"


def test_restore_of_an_old_backup(daemon: Daemon, tmp_path: Path) -> None:
    """A backup of the kind that was made until 2026 can be put back, and is not written to."""
    (tmp_path / "paths").write_text("/store/a%20b\n/store/c\n")
    for number, body in (("1", b"x"), ("2", b"y")):
        (tmp_path / number).write_bytes(body)
        (tmp_path / f"{number}.head").write_bytes(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nX-Gostore-Meta-Empty: \r\n\r\n"
        )
    paste(copy("restore", tmp_path), daemon)
    answer = daemon.ask("GET", "a%20b")
    assert (answer.body, answer.headers["Content-Type"]) == (b"x", "text/css")
    assert answer.headers["X-Gostore-Meta-Empty"] == ""
    assert daemon.ask("GET", "c").body == b"y"
    assert b"an older kind" in run(copy("backup", tmp_path), daemon, status=1).stderr


def test_backup_of_damage(make_daemon: Make, tmp_path: Path) -> None:
    """A blob that is not as it was stored is in no backup, and not put back from a spoiled one."""
    daemon = make_daemon().start()
    for location in ("good", "large", "short"):
        assert daemon.ask("POST", location, location.encode() * 20_000).status == 204
    place = {record.location: daemon.directory / name for name, record in daemon.records().items()}
    old = tmp_path / "old"
    paste(copy("backup", old), daemon)
    with open(place["large"] / "data.raw", "r+b") as data:
        data.write(b"L")
    (place["short"] / "data.raw").write_bytes(b"")
    ended = run(copy("backup", tmp_path / "to"), daemon, status=1)
    assert ended.stdout == f"1 blobs are in {tmp_path}/to\n".encode()
    lines = ended.stderr.decode().splitlines()
    missing = [line for line in lines if line.startswith("missing: ")]
    assert missing == ["missing: /store/large", "missing: /store/short"]
    assert all(line.startswith(("missing: ", "curl: ")) for line in lines), lines
    # An older backup keeps what it has of them.
    assert paste(copy("backup", old), daemon).startswith("3 blobs are in ")

    assert daemon.ask("DELETE", "good").status == 200
    made = tmp_path / "to"
    [blob] = (made / "blobs").iterdir()
    blob.write_bytes(b"spoiled")
    ended = run(copy("restore", made), daemon, status=1)
    assert ended.stderr == b"/store/good: 400\n"
    assert daemon.ask("GET", "good").status == 404


def test_unit(tmp_path: Path) -> None:
    """What systemd is told to run is a daemon that stays in the foreground, and stops in time."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text(encoding="utf-8"))
    service = unit["Service"]
    program, *arguments = service["ExecStart"].split()
    assert program == "/opt/gostore/bin/twistd"
    assert arguments[:3] == ["-n", "--pidfile=", "gostore"]
    place = f"/var/lib/{service['StateDirectory']}/blobs"
    moved = {place: str(tmp_path / "blobs"), "127.0.0.1:7777": "127.0.0.1:0"}
    assert moved.keys() <= set(arguments)
    assert float(service["TimeoutStopSec"]) > Settings().shutdown_grace
    with subprocess.Popen(
        [*TWISTD, *(moved.get(each, each) for each in arguments)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = next(line.split()[-1] for line in process.stdout if "Listening on " in line)
            # Once it answers it handles its signals.
            with urlopen(f"{url}/healthz", timeout=PATIENCE) as answer:
                assert answer.status == 200
            process.send_signal(signal.Signals[service["KillSignal"]])
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def test_unit_is_hardened() -> None:
    """systemd rates the unit as well protected: 1.7 of 10, or better."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=17", str(UNIT)]
    rated = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if "nrecognized option" in rated.stderr or "nvalid option" in rated.stderr:
        pytest.skip("this systemd-analyze cannot judge a file")
    assert rated.returncode == 0, rated.stdout + rated.stderr


def system_calls(names: str) -> set[str]:
    """The system calls of a SystemCallFilter: calls, and systemd's sets of calls."""
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    ).stdout
    members: dict[str, list[str]] = {}
    for line in shown.splitlines():
        if line.startswith("@"):
            members[name := line.strip()] = []
        elif (call := line.strip()) and not call.startswith("#") and line.startswith(" "):
            members[name].append(call)
    found = names.split()
    for each in found:
        if each.startswith("@"):
            found += members[each]
    return set(found)


def test_unit_allows_what_is_needed(make_daemon: Make, tmp_path: Path) -> None:
    """The daemon makes no system call that its unit forbids."""
    for program in ("systemd-analyze", "strace"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")
    certify(tmp_path)
    trace = tmp_path / "trace"
    daemon = make_daemon(wrapper=("strace", "-f", "-qq", "-o", str(trace)))
    key = f"ssl:0:interface=127.0.0.1:privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    daemon.start("-s", ANY_PORT, "-s", f"unix:{tmp_path}/socket", "-s", key, "--gc-interval", "0.2")
    for size in (1, 100_000, 3 << 20):
        assert daemon.ask("POST", f"a{size}", b"x" * size).status == 204
        assert len(daemon.ask("GET", f"a{size}").body) == size
        assert daemon.ask("PUT", f"a{size}", b"y" * size).status == 200
        assert daemon.ask("DELETE", f"a{size}").status == 200
    assert daemon.ask("GET", "?format=json").status == 200
    daemon.clean()
    for child in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)
    assert daemon.ended() == 0

    allowed, forbidden = re.findall(r"^SystemCallFilter=~?(.+)$", UNIT.read_text(), re.MULTILINE)
    called = set(re.findall(r"^\d+ +([a-z]\w+)\(", trace.read_text(), re.MULTILINE))
    assert "fsync" in called or "fdatasync" in called
    assert called - (system_calls(allowed) - system_calls(forbidden)) == set()


def test_healthcheck(make_daemon: Make, tmp_path: Path) -> None:
    """The image's health check asks wherever the daemon listens, by options or by its file."""
    certify(tmp_path)
    # Nobody else has an address with our number.
    number = os.getpid()
    host = f"127.{number >> 16 & 255 | 128}.{number >> 8 & 255}.{number & 255}"
    key = f"privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    config = tmp_path / "its.conf"
    # Others may have a fixed port at every address.
    first, second = free_port(), free_port()
    config.write_text(f"[gostore]\nhosts = *.example.org\nlisten = {host}:{first}\n")
    # The check reads its command line.
    daemon = make_daemon(nursery=None)
    for options, asked in (
        (("-s", f"tcp:{first}:interface={host}", "-s", f"ssl:{second}:{key}:interface={host}"), 2),
        (("--listen=unix:x.sock", "--hosts", "blobs.example.org"), 1),
        (("--config", str(config)), 1),
    ):
        daemon.launch(*options).wait_for("Recovery: ")
        check = f"{sys.executable} {HEALTH} {daemon.pid}"
        assert paste(check, daemon).count('200 "Ok!"') == asked
        daemon.stop()
        assert run(check, daemon, status=1).stderr


def test_healthcheck_of_any_address() -> None:
    """A daemon that listens on every address is asked on this machine."""
    spec = importlib.util.spec_from_file_location("healthcheck", HEALTH)
    assert spec is not None and spec.loader is not None
    healthcheck = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(healthcheck)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for listen in (f"tcp:{port}", f"tcp:port={port}:interface=0.0.0.0"):
            with healthcheck.connect(listen) as client:
                assert client.getpeername() == ("127.0.0.1", port)


def test_line_to_paste(make_daemon: Make) -> None:
    """The command that the daemon prints at its start stores a blob."""
    daemon = make_daemon().start()
    command = daemon.wait_for(r"curl --request POST .*")
    paste(command, daemon)
    assert daemon.ask("GET", "hello").body == b"Hello!"


@pytest.mark.parametrize("example", [*SCRIPTS, UNIT, HEALTH], ids=lambda path: path.name)
def test_listed(example: Path) -> None:
    """The list of the examples has each of them."""
    assert example.name in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
