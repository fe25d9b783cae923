"""REDbot looks at every kind of resource that a daemon has."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.e2e.daemon import PATIENCE, Daemon

RESOURCES = (
    "/store/page.md",
    "/store/empty",
    "/store/large",
    "/store/?format=json",
    "/store/?format=text",
    "/store/?format=html",
    "/healthz",
    "/openapi.json",
)

#: Warnings that are meant: the form of the list depends on the client, such as rclone; what has
#: no validator (a page of the list, the description) costs no more to send than to compare.
MEANT = {"VARY_USER_AGENT", "FRESHNESS_NO_CACHE_NO_VALIDATOR"}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A daemon with some blobs."""
    daemon = Daemon(tmp_path_factory.mktemp("redbot") / "data").start()
    for location, body in (
        ("page.md", b"# Hello\n" * 50),
        ("empty", b""),
        ("large", bytes(1 << 20)),
    ):
        headers = {"Content-Type": "text/markdown"}
        assert daemon.ask("POST", location, body, headers).status == 204
    yield daemon
    daemon.close()


@pytest.mark.parametrize("resource", RESOURCES)
def test_redbot(furnished: Daemon, resource: str) -> None:
    """REDbot finds nothing bad, and warns of nothing but what is meant."""
    command = [sys.executable, "-c", "from redbot.cli import main; main()", "-o", "har"]
    ended = subprocess.run(
        [*command, furnished.url + resource],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    notes = [
        note
        for entry in json.loads(ended.stdout)["log"]["entries"]
        for note in entry["_red_messages"]
    ]
    assert len(notes) > 3
    found = {note["note_id"]: note for note in notes if note["level"] not in ("GOOD", "INFO")}
    assert set(found) <= MEANT, found
