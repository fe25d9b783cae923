"""docs/monitoring.md: every command of the page, in its order, answers what the page shows."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import eventually
from tests.e2e.pages import DOCS, check, examples, is_right

PAGE = (DOCS / "monitoring.md").read_text(encoding="utf-8")

#: The options of the daemon that all commands of the page ask.
[OPTIONS] = re.findall(r"^    twistd -n gostore --dir /tmp/blobs ?(.*)$", PAGE, re.MULTILINE)

EXAMPLES = examples("monitoring.md")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_command(make_daemon: Make, tmp_path: Path) -> None:
    """What the page shows is what a person gets who pastes it from top to bottom."""
    options = OPTIONS.replace("/tmp", str(tmp_path)).split()
    daemon = make_daemon(*options, directory=tmp_path / "blobs").start()
    for command, shown in EXAMPLES:
        example = (command.replace("/tmp", str(tmp_path)), shown)
        if "tail " in command:
            # The files are written behind the answers.
            eventually(partial(is_right, example, tmp_path, daemon.url), command)
        check(example, tmp_path, daemon.url)


def test_the_page_is_read() -> None:
    """The page has commands."""
    assert len(EXAMPLES) > 2
