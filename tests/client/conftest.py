"""What the tests of the client are given: a daemon, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gostore.client import Client, Patience
from tests.e2e.conftest import daemon, lasting, make_daemon
from tests.e2e.daemon import Daemon

__all__ = ["client", "daemon", "lasting", "make_daemon", "no_settings"]

SHORT = Patience(10, 1)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody's proxy, token or .netrc has a part in a test."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("GOSTORE_TOKEN", "GOSTORE_URL", "NETRC", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    """A client of the daemon."""
    with Client(daemon.url, patience=SHORT) as one:
        yield one
