"""What a newcomer pastes: the eight commands of the README, and the scripts in examples/."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, Daemon, eventually

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.sh"))

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


def paste(command: str, daemon: Daemon) -> str:
    """Run a shell command next to the daemon's data directory, and return what it prints."""
    ended = subprocess.run(
        ["bash", "-c", command.replace("localhost:7777", f"127.0.0.1:{daemon.port}")],
        cwd=daemon.directory.parent,
        env={**os.environ, "GOSTORE": daemon.url, "DATA": str(daemon.directory)},
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    return ended.stdout.decode()


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


def test_line_to_paste(make_daemon: Make) -> None:
    """The command that the daemon prints at its start stores a blob."""
    daemon = make_daemon().start()
    command = daemon.wait_for(r"curl --request POST .*")
    paste(command, daemon)
    assert daemon.ask("GET", "hello").body == b"Hello!"


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_listed(script: Path) -> None:
    """The list of the examples has each of them."""
    assert script.name in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
