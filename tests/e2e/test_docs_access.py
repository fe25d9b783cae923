"""docs/access.md: every command of the page, in its order, answers what the page shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.e2e.conftest import Make
from tests.e2e.pages import HOST, check, examples
from tests.e2e.test_clients import needs

ROOT = Path(__file__).parent.parent.parent


@needs("curl")
def test_every_command(make_daemon: Make, tmp_path: Path) -> None:
    """What the page shows is what a person gets who pastes it from top to bottom."""
    programs, here = tmp_path / "bin", tmp_path / "here"
    programs.mkdir()
    here.mkdir()
    gostore = programs / "gostore"
    gostore.write_text(f'#!/bin/sh\nexec {sys.executable} -m gostore.commands.main "$@"\n')
    gostore.chmod(0o755)
    path = f"{programs}{os.pathsep}/usr/local/bin:/usr/bin:/bin"
    daemon = make_daemon("--access", str(here / "access.conf"))
    for example in examples("access.md"):
        if HOST in example[0] and not daemon.running:
            daemon.start()
        url = daemon.url if daemon.running else HOST
        check(example, here, url, PATH=path, PYTHONPATH=str(ROOT))
    assert daemon.running
