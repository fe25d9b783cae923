"""Tests for gostore.commands.trial_daemon; the end-to-end tests use the rest of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gostore.commands.trial_daemon import NeverSaid, TrialDaemon


def test_no_start(tmp_path: Path) -> None:
    """A process that ends without serving is an error with its whole log."""
    daemon = TrialDaemon(tmp_path / "data", wrapper=("echo", "no daemon:"))
    with pytest.raises(NeverSaid, match="it ended before saying") as caught:
        daemon.start()
    assert [line[:11] for line in caught.value.said] == ["no daemon: "]
    assert not daemon.up.is_set()
    daemon.close()
    assert not daemon.running
    daemon.close()


def test_life(tmp_path: Path) -> None:
    """It serves after start, ends with status 0 when asked, and by a signal when killed."""
    daemon = TrialDaemon(tmp_path / "data", "--gc-interval", "1")
    try:
        assert daemon.start().up.is_set() and daemon.running
        assert daemon.ask("POST", "a", b"b").status == 204
        assert daemon.stop() == 0
        assert not daemon.up.is_set()
        assert daemon.start().ask("GET", "a").body == b"b"
        daemon.kill()
        assert not daemon.running
    finally:
        daemon.close()
