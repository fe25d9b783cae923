"""What a newcomer pastes: the eight commands of the README, and what is in examples/."""

from __future__ import annotations

import configparser
import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from gostore.daemon.settings import Settings
from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, TWISTD, Daemon, environment, eventually

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = sorted((ROOT / "examples").glob("*.sh"))
UNIT = ROOT / "examples" / "gostore.service"
#: Those of a number, for one blob.
EXAMPLES = [path for path in SCRIPTS if path.name[0].isdigit()]

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
        env={**os.environ, "GOSTORE": daemon.url, "DATA": str(daemon.directory)},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == status, ended.stderr.decode()
    return ended


def paste(command: str, daemon: Daemon) -> str:
    """Run a shell command that has to succeed, and return what it prints."""
    return run(command, daemon).stdout.decode()


def test_eight_commands(daemon: Daemon) -> None:
    """Each of the README's commands, pasted one after the other, does what it says."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    # \d\. .*\n    (.+)$", text, re.MULTILINE)
    assert len(commands) == len(SAID) == 8
    for command, said in zip(commands, SAID, strict=True):
        if command.startswith("cat "):
            # The blob that was replaced has gone by then, if one does not paste as fast as this.
            eventually(lambda: len(daemon.names()) == 1, "the old blob is collected")
        printed = paste(command, daemon)
        assert re.search(said, printed), f"{command} printed {printed!r}"
    eventually(lambda: not daemon.names(), "the deleted blob is collected")


def test_examples(daemon: Daemon) -> None:
    """The scripts run one by one, in the order of their numbers, and each shows something."""
    assert len(EXAMPLES) == 9
    for script in EXAMPLES:
        assert paste(f"bash {script}", daemon), script.name
    assert daemon.ask("GET", "", None).status == 200


def test_backup(daemon: Daemon, tmp_path: Path) -> None:
    """What backup.sh fetches restore.sh puts back: each blob, whatever it is called, as it was."""
    backup, restore = (f"{ROOT}/examples/{name}.sh {tmp_path}/to" for name in ("backup", "restore"))
    fields = {
        "Content-Type": "text/html",
        "X-Gostore-Meta-Author": "Ad\xe9",
        "Cache-Control": "private",
    }
    stored: dict[str, bytes] = {f"many/{number}": b"%d" % number for number in range(100)}
    stored |= {
        "empty": b"",
        "'a' \"b\" & <c> $(d) `e` %41": b"f",
        "-": b"x" * 70_000,
        "é/" * 300 + "é": b"g",
    }
    for location, body in stored.items():
        assert daemon.ask("POST", quote(location), body, fields).status == 204

    assert paste(backup, daemon) == f"{len(stored)} blobs are in {tmp_path}/to\n"
    assert b"File exists" in run(backup, daemon, status=1).stderr
    daemon.empty()
    paste(restore, daemon)
    for location, body in stored.items():
        answer = daemon.ask("GET", quote(location))
        assert (answer.status, answer.body) == (200, body), location
        assert {name: answer.headers[name] for name in fields} == fields, location
    assert run(restore, daemon, status=1).stderr.decode().count(": 409\n") == len(stored)


def test_backup_of_damage(make_daemon: Make, tmp_path: Path) -> None:
    """A blob that is not as it was stored is in no backup, and not put back from a spoiled one."""
    daemon = make_daemon().start()
    for location in ("good", "large", "short"):
        assert daemon.ask("POST", location, location.encode() * 20_000).status == 204
    place = {record.location: daemon.directory / name for name, record in daemon.records().items()}
    with open(place["large"] / "data.raw", "r+b") as data:
        data.write(b"L")
    (place["short"] / "data.raw").write_bytes(b"")
    ended = run(f"{ROOT}/examples/backup.sh to", daemon, status=1)
    assert ended.stdout == b"1 blobs are in to\n"
    lines = ended.stderr.decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["/store/large", "/store/short"]

    assert daemon.ask("DELETE", "good").status == 200
    made = tmp_path / "to"
    assert {path.name for path in made.iterdir()} == {"1", "1.head", "paths"}
    (made / "1").write_bytes(b"spoiled")
    ended = run(f"{ROOT}/examples/restore.sh to", daemon, status=1)
    assert ended.stderr == b"/store/good: 400\n"
    assert daemon.ask("GET", "good").status == 404


def test_unit(tmp_path: Path) -> None:
    """What systemd is told to run is a daemon that stays in the foreground, and stops in time."""
    unit = configparser.RawConfigParser()
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


def test_line_to_paste(make_daemon: Make) -> None:
    """The command that the daemon prints at its start stores a blob."""
    daemon = make_daemon().start()
    command = daemon.wait_for(r"curl --request POST .*")
    paste(command, daemon)
    assert daemon.ask("GET", "hello").body == b"Hello!"


@pytest.mark.parametrize("example", [*SCRIPTS, UNIT], ids=lambda path: path.name)
def test_listed(example: Path) -> None:
    """The list of the examples has each of them."""
    assert example.name in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
