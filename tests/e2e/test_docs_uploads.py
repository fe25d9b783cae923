"""docs/uploads.md: every command of the page, in its order, prints what the page shows."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.daemon import Daemon
from tests.e2e.pages import check, examples
from tests.e2e.test_clients import needs


@needs("curl")
def test_every_command(daemon: Daemon, tmp_path: Path) -> None:
    """What the page shows is what a person gets who pastes it from top to bottom."""
    for example in examples("uploads.md"):
        check(example, tmp_path, daemon.url)
