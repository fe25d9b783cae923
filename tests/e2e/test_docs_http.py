"""docs/http.md: every command of the page, in its order, answers what the page shows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.pages import HOST, check, examples

EXAMPLES = examples("http.md")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_command(make_daemon: Make, tmp_path: Path) -> None:
    """What the page shows is what a person gets who pastes it from top to bottom."""
    daemon = make_daemon().start()
    here = tmp_path / "here"
    here.mkdir()
    for example in EXAMPLES:
        check(example, here, daemon.url)


def test_the_page_is_read() -> None:
    """Each command of the page has its answer, and each status of the interface is on it."""
    assert len(EXAMPLES) > 40
    assert all(HOST in command for command, _ in EXAMPLES)
    answers = "".join(shown for _, shown in EXAMPLES)
    for status in (200, 204, 206, 304, 400, 404, 405, 409, 412, 416, 507):
        assert re.search(rf"\b{status}\b", answers), f"no command gets {status}"
