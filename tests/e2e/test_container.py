"""The image, and what runs it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.e2e.daemon import PATIENCE, ask, eventually
from tests.e2e.test_clients import needs
from tests.e2e.test_log import UnixConnection

ROOT = Path(__file__).parent.parent.parent
COMPOSE = ROOT / "examples" / "compose.yml"

BASE = os.environ.get("GOSTORE_IMAGE_BASE", "docker.io/library/python:3.13-slim")
"""An image with Python and pip that buildah has already."""

PATH = "/usr/local/bin:/usr/bin:/bin"

USER = 12345
"""Some user that the image does not know."""


def test_compose(tmp_path: Path) -> None:
    """The example runs the image as closed as it can be, and its ports and files are there."""
    found = yaml.safe_load(COMPOSE.read_text())
    gostore = found["services"]["gostore"]
    assert (gostore["read_only"], gostore["cap_drop"]) == (True, ["ALL"])
    assert (COMPOSE.parent / gostore["build"] / "Dockerfile").exists()
    assert set(found["volumes"]) == {"blobs", "figures"}
    files = [each for each in found["services"]["prometheus"]["volumes"] if each.startswith(".")]
    assert [(COMPOSE.parent / each.split(":")[0]).exists() for each in files] == [True]
    config = yaml.safe_load(found["configs"]["prometheus"]["content"])
    [target] = config["scrape_configs"][0]["static_configs"][0]["targets"]
    assert f"tcp:{target.removeprefix('gostore:')}" in gostore["command"]


@needs("promtool")
def test_compose_prometheus(tmp_path: Path) -> None:
    """Prometheus accepts the configuration that the example gives it."""
    found = yaml.safe_load(COMPOSE.read_text())
    (tmp_path / "prometheus.yml").write_text(found["configs"]["prometheus"]["content"])
    shutil.copy(COMPOSE.parent / "prometheus" / "alerts.yml", tmp_path)
    command = ["promtool", "check", "config", "prometheus.yml"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def has_base() -> bool:
    """Whether buildah is here, and has the image to build on. No registry is asked for it."""
    if shutil.which("buildah") is None or os.getuid() != 0:
        return False
    command = ["buildah", "inspect", "--type", "image", BASE]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_base(), reason=f"NOT TESTED: root has no buildah, or that no {BASE}")
def test_image(tmp_path: Path) -> None:
    """The image is built, and serves as any user on a root that nobody can write to."""
    tag = f"gostore-trial-{os.getpid()}"

    def buildah(*words: str) -> str:
        done = subprocess.run(
            ["buildah", *words], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    arguments = shlex.split(os.environ.get("GOSTORE_BUILD_ARGUMENTS", ""))
    options = ["--format", "docker", "--isolation", "chroot", "--build-arg", f"BASE={BASE}"]
    buildah("build", *options, *arguments, "--tag", tag, ".")
    container = buildah("from", tag)
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, USER, USER)
    log = (tmp_path / "log").open("wb")
    process: subprocess.Popen[bytes] | None = None
    try:
        root = buildah("mount", container)
        config = json.loads(buildah("inspect", "--type", "image", tag))["Docker"]["config"]
        assert (config["User"], config["Cmd"]) == ("65534:65534", ["--listen", "tcp:7777"])
        script = (
            'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount --bind "$1" "$0/data"'
            ' && mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && cd "$0" && shift'
            f' && exec chroot --userspec={USER}:{USER} . "$@"'
        )
        # In place of --listen: the port of the image may be taken here.
        inside = ["env", "-i", f"PATH={PATH}", "sh", "-c", 'cd /data && exec "$@"', "sh"]
        inside += [*config["Entrypoint"], "--listen", "unix:/data/socket"]
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        process = subprocess.Popen([*command, root, str(data), *inside], stdout=log, stderr=log)
        socket = data / "socket"

        def listens() -> bool:
            assert process is not None and process.poll() is None, (tmp_path / "log").read_text()
            return socket.is_socket()

        eventually(listens, "it listens")
        connection = UnixConnection(socket)
        assert ask(connection, "POST", "/store/a", b"data").status == 204
        assert ask(connection, "GET", "/store/a").body == b"data"
        connection.close()
        # The first process of its own, whose children are seen from here.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        check = config["Healthcheck"]["Test"]
        assert check[0] == "CMD"
        within = ["nsenter", "--target", children.strip(), "--mount", "--pid", "chroot"]
        within += [f"--userspec={USER}:{USER}", root, "env", "-i", f"PATH={PATH}"]

        def run_within(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*within, *words], capture_output=True, text=True, timeout=PATIENCE, check=False
            )

        health = run_within(*check[1:])
        assert (health.returncode, health.stdout) == (0, 'unix:/data/socket: 200 "Ok!"\n')
        assert "Read-only file system" in run_within("touch", "/tmp/x").stderr
        os.kill(int(children), signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    finally:
        if process is not None:
            process.kill()
            process.wait(PATIENCE)
        log.close()
        buildah("rm", container)
        buildah("rmi", tag)
