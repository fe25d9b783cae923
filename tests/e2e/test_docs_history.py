"""docs/history.md: every command of the page, in its order, answers what the page shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.pages import HOST, check, examples

EXAMPLES = examples("history.md")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_command(make_daemon: Make, tmp_path: Path) -> None:
    """What the page shows is what a person gets who pastes it from top to bottom."""
    daemon = make_daemon("--keep", "7d").start()
    here = tmp_path / "here"
    here.mkdir()
    for example in EXAMPLES:
        check(example, here, daemon.url)


def test_the_page_is_read() -> None:
    """Each command of the page has its answer."""
    assert len(EXAMPLES) > 6
    assert all(HOST in command for command, _ in EXAMPLES)
