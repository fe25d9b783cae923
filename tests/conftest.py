"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, settings

from tests.e2e.daemon import SOAK

# A machine that has much else to do is no failure; and what a commit is held to is the same for all
# who run it, where a soak looks for more.
settings.register_profile(
    "gostore", deadline=None, derandomize=not SOAK, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gostore")

#: Coverage would cost these more time than all their work; what they run, other tests cover.
UNMEASURED = (
    "e2e/",
    "test_benchmarks.py",
    "test_faults",
    "test_layers.py",
    "test_simulation",
    "test_words.py",
    "web/test_hostile_fields.py",
)

#: What ``make check`` leaves out: what starts daemons, and the trials of the whole store.
LONG = (
    "tests/bucket/test_protocol.py",
    "tests/client/test_asynchronous.py",
    "tests/client/test_blocking.py",
    "tests/client/test_cli.py",
    "tests/client/test_filesystem.py",
    "tests/commands/test_main.py::test_selftest",
    "tests/commands/test_selftest.py::test_good",
    "tests/commands/test_trial_daemon.py::test_life",
    "tests/e2e/",
    "tests/test_benchmarks.py::CollectionTests",
    "tests/test_benchmarks.py::WatchTests::test_daemon",
    "tests/test_benchmarks.py::WrkTests",
    "tests/test_ci.py",
    "tests/test_faults",
    "tests/test_simulation",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is long."""
    for item in items:
        if item.nodeid.startswith(LONG):
            item.add_marker("long")


@pytest.fixture(autouse=True, scope="session")
def only_tests_are_measured() -> Iterator[None]:
    """Take no coverage in the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVERAGE_PROCESS_CONFIG", "")
        yield


@pytest.fixture(autouse=True, scope="module")
def unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take no coverage in some modules."""
    measuring = Coverage.current()
    place = request.path.relative_to(Path(__file__).parent).as_posix()
    if measuring is None or not place.startswith(UNMEASURED):
        yield
        return
    measuring.stop()
    yield
    measuring.start()
