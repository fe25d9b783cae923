"""The image, and what runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import yaml

from tests.e2e.daemon import PATIENCE
from tests.e2e.test_clients import needs

ROOT = Path(__file__).parent.parent.parent
COMPOSE = ROOT / "examples" / "compose.yml"

BASE = os.environ.get("GOSTORE_IMAGE_BASE", "")
"""An image with Python and pip that buildah has already: no registry is asked for one."""


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
