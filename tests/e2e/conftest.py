"""What the end-to-end tests are given: daemons that are gone when the test is."""

from __future__ import annotations

import shutil
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


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon that the tests of a module are given one after another."""
    daemon = Daemon(tmp_path_factory.mktemp("lasting") / "data", "--gc-interval", "0.2")
    yield daemon
    daemon.close()


@pytest.fixture
def daemon(lasting: Daemon) -> Iterator[Daemon]:
    """A daemon that serves an empty directory and collects often.

    It may be killed and started again; the next test gets it as it is then, without the blobs.
    """
    if not lasting.running:
        lasting.start()
    yield lasting
    try:
        lasting.empty()
    except BaseException:
        # Nobody else is to suffer for it.
        lasting.close()
        shutil.rmtree(lasting.directory)
        raise
