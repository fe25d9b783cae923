"""docs/access.md: every command of the page, in its order, answers what the page shows."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tests.e2e.conftest import Make
from tests.e2e.pages import DOCS, EXAMPLE, HOST, check
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
    page = (DOCS / "access.md").read_text(encoding="utf-8")
    assert page.count("```sh\n") == len(EXAMPLE.findall(page))
    # Each line that starts a daemon, and what is pasted after it.
    first, *parts = re.split(r"^    twistd -n gostore (.*)$", page, flags=re.MULTILINE)
    for example in EXAMPLE.findall(first):
        check(example, here, HOST, PATH=path, PYTHONPATH=str(ROOT))
    for options, part in zip(parts[::2], parts[1::2], strict=True):
        options = options.replace("access.conf", str(here / "access.conf"))
        daemon = make_daemon(*options.split()).start()
        for example in EXAMPLE.findall(part):
            check(example, here, daemon.url, PATH=path, PYTHONPATH=str(ROOT))
        daemon.stop()
