"""What the end-to-end tests are given: daemons that are gone when the test is."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define

from tests.e2e import shims
from tests.e2e.daemon import Daemon
from tests.e2e.seaweed import Seaweed, start_seaweed

Make = Callable[..., Daemon]


@define(eq=False)
class Clock:
    """The wall clock of the daemons that are started with its `environment`."""

    offset: Path
    environment: dict[str, str]
    ahead: int = 0

    def jump(self, seconds: int) -> None:
        """Set it back or forth."""
        self.ahead += seconds
        with self.offset.open("r+b") as file:
            file.write(struct.pack("=q", self.ahead))


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


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """An engine that no test stops; each uses a prefix of its own in the bucket."""
    running = start_seaweed(tmp_path_factory.mktemp("engine"))
    yield running
    running.close()


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock that is right, so far."""
    offset = tmp_path / "offset"
    offset.write_bytes(bytes(8))
    shim = shims.build("clockshim", tmp_path)
    return Clock(offset, {"LD_PRELOAD": str(shim), "CLOCKSHIM_OFFSET": str(offset)})
