"""What the end-to-end tests are given: daemons that are gone when the test is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon

Make = Callable[..., Daemon]


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Make]:
    """Make a daemon, not yet started, for a directory of the test's own."""
    made: list[Daemon] = []

    def make(*options: str, directory: Path | None = None, **more: object) -> Daemon:
        made.append(Daemon(directory or tmp_path / "data", *options, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def daemon(make_daemon: Make) -> Daemon:
    """A daemon that serves an empty directory and collects often."""
    return make_daemon("--gc-interval", "0.2").start()
