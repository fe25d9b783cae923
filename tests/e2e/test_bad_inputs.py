"""Every bad input of the table, against a real daemon, and the table against itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.bad_inputs import CASES, OPTIONS, Case, prepare, run
from tests.e2e.daemon import Daemon


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for the whole table: what a case did to it, the next one would feel.

    After all of that it runs, and has logged no traceback and no failure.
    """
    daemon = Daemon(tmp_path_factory.mktemp("bad") / "data", *OPTIONS).start()
    prepare(daemon)
    yield daemon
    try:
        assert daemon.running
        assert "Traceback" not in daemon.said
        assert "raised an exception" not in daemon.said
    finally:
        daemon.close()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input(case: Case, served: Daemon) -> None:
    """A bad input gets its answers and its end of the connection, and harms nothing else."""
    assert not run(case, served).problems, case.rfc


def test_no_row_is_missing() -> None:
    """Rows 1 to 45, 52 and 83 to 85 are there, and each case names its RFC."""
    assert {case.row for case in CASES} == {*range(1, 46), 52, 83, 84, 85}
    assert all(case.rfc.startswith(("RFC ", "Fetch ")) for case in CASES)
    assert len({str(case) for case in CASES}) == len(CASES)
