"""docs/access.md: every command of the page, in its order, answers what the page shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.e2e.pages import HOST, check, examples

ROOT = Path(__file__).parent.parent.parent


def test_every_command(tmp_path: Path) -> None:
    """What the page shows is what a person gets who pastes it from top to bottom."""
    programs, here = tmp_path / "bin", tmp_path / "here"
    programs.mkdir()
    here.mkdir()
    gostore = programs / "gostore"
    gostore.write_text(f'#!/bin/sh\nexec {sys.executable} -m gostore.commands.main "$@"\n')
    gostore.chmod(0o755)
    path = f"{programs}{os.pathsep}/usr/local/bin:/usr/bin:/bin"
    for example in examples("access.md"):
        check(example, here, HOST, PATH=path, PYTHONPATH=str(ROOT))
