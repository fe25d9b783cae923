"""docs/client.md: every command of the page, in its order, answers what the page shows."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tests.e2e.conftest import Make
from tests.e2e.pages import HOST, check, examples

ROOT = Path(__file__).parent.parent.parent


def installed(here: Path) -> Path:
    """A directory that says of gostore what an installation says to fsspec."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    found = re.findall(r'"(gostores? = gostore\.client\.[\w.:]+)"', setup)
    info = here / "site" / "gostore-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gostore\nVersion: 0\n")
    (info / "entry_points.txt").write_text("\n".join(["[fsspec.specs]", *found, ""]))
    return info.parent


def test_every_command(make_daemon: Make, tmp_path: Path) -> None:
    """What the page shows is what a person gets who pastes it from top to bottom."""
    programs, here = tmp_path / "bin", tmp_path / "here"
    programs.mkdir()
    here.mkdir()
    for name, command in (("gostore", "-m gostore.commands.main"), ("python3", "")):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@" 2>&1\n')
        script.chmod(0o755)
    daemon = make_daemon().start()
    env = {
        "PATH": f"{programs}{os.pathsep}/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{installed(tmp_path)}",
        "GOSTORE_URL": daemon.url,
        "NO_PROXY": "*",
    }
    page = examples("client.md")
    assert len(page) > 8
    for command, shown in page:
        command = command.replace(HOST, daemon.url)
        command = command.replace("gostore://localhost:7777", f"gostore://{daemon.url[7:]}")
        check((command, shown), here, daemon.url, **env)
