"""Copies at the daemon: ``POST /store/L?from=OTHER``, by the rules of POST and PUT."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from gostore.commands.trial_daemon import Answer
from tests.e2e.conftest import Make
from tests.e2e.daemon import Daemon

LARGE = bytes(range(256)) * 4096


def ask(daemon: Daemon, method: str, target: str, body: bytes = b"", **fields: str) -> Answer:
    """Send one request."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return daemon.ask(method, target.removeprefix("/store/"), body, named)


def copy(daemon: Daemon, method: str, target: str, source: str, **fields: str) -> Answer:
    """Copy one location to another."""
    return ask(daemon, method, f"/store/{target}?from={quote(source, safe='')}", **fields)


@pytest.mark.parametrize("data", [b"", b"small", LARGE])
def test_copied(daemon: Daemon, data: bytes) -> None:
    """A copy has the bytes, the type and the metadata of its source, and a life of its own."""
    ask(daemon, "POST", "/store/a/b", data, Content_Type="text/x", X_Gostore_Meta_Who="me")
    made = copy(daemon, "POST", "c", "a/b")
    assert (made.status, made.headers["location"]) == (204, "c")
    ask(daemon, "DELETE", "/store/a/b")
    got = ask(daemon, "GET", "/store/c")
    assert got.body == data
    assert (got.headers["content-type"], got.headers["x-gostore-meta-who"]) == ("text/x", "me")
    assert got.headers["etag"] == made.headers["etag"]
    daemon.kill()
    daemon.start()
    assert ask(daemon, "GET", "/store/c").body == data


def test_rules(daemon: Daemon) -> None:
    """POST creates, PUT replaces, and conditions are about the target."""
    ask(daemon, "POST", "/store/a", b"a")
    etag = ask(daemon, "POST", "/store/b", b"b").headers["etag"]
    assert copy(daemon, "POST", "b", "a").status == 409
    assert copy(daemon, "PUT", "c", "a").status == 404
    assert copy(daemon, "PUT", "b", "a", If_Match='"x"').status == 412
    assert copy(daemon, "PUT", "b", "a", If_Match=etag).status == 200
    assert copy(daemon, "PUT", "b", "a", If_None_Match="*").status == 412
    assert copy(daemon, "PUT", "c", "a", If_None_Match="*").status == 204
    missing = copy(daemon, "POST", "d", "nothing")
    assert (missing.status, b"nothing does not exist" in missing.body) == (404, True)
    assert ask(daemon, "GET", "/store/b").body == ask(daemon, "GET", "/store/c").body == b"a"
    assert copy(daemon, "PUT", "a", "a").status == 200


@pytest.mark.parametrize(
    "query", ["from=", "from=a/../b", "from=a%0Ab", "from=a&to=b", "from=a&from=b"]
)
def test_bad_sources(daemon: Daemon, query: str) -> None:
    """What is no location is no source."""
    ask(daemon, "POST", "/store/a", b"a")
    for method in ("POST", "PUT"):
        assert ask(daemon, method, f"/store/c?{query}").status == 400
    assert ask(daemon, "POST", "/store/c?from=a", b"a body").status == 400
    assert ask(daemon, "GET", "/store/c").status == 404
    # The query is no part of the name, and nobody asks for a copy here.
    assert ask(daemon, "POST", "/store/c?color=from", b"c").status == 204


def test_damaged(daemon: Daemon) -> None:
    """What is damaged is not copied: the bytes are compared with their digest first."""
    ask(daemon, "POST", "/store/a", LARGE)
    data = daemon.place("a") / "data.raw"
    with open(data, "r+b") as file:
        file.seek(500_000)
        file.write(b"!")
    assert copy(daemon, "POST", "b", "a").status == 500
    assert ask(daemon, "GET", "/store/b").status == 404


def test_grants(make_daemon: Make, tmp_path: Path) -> None:
    """A copy needs the right to read its source, and that to write its target."""
    access = tmp_path / "access"
    grants = ["read pub/", "create pub/", "create new/", "replace in/"]
    access.write_text("\n    ".join(["[anonymous]\ngrant =", *grants]) + "\n")
    access.chmod(0o600)
    daemon = make_daemon().start()
    for name in ("pub/a", "secret/a", "in/a"):
        assert ask(daemon, "POST", f"/store/{name}", b"x").status == 204
    daemon.stop()
    daemon.start("--access", str(access))
    for method, target, source, status in (
        ("POST", "new/a", "pub/a", 204),
        ("POST", "new/b", "secret/a", 401),
        ("POST", "in/b", "pub/a", 401),
        ("PUT", "in/a", "pub/a", 200),
        ("PUT", "in/b", "pub/a", 401),
        ("PUT", "pub/a", "pub/a", 401),
    ):
        assert copy(daemon, method, target, source).status == status, (method, target)
    new = copy(daemon, "PUT", "new/c", "pub/a", If_None_Match="*")
    again = copy(daemon, "PUT", "new/c", "pub/a", If_None_Match="*")
    assert (new.status, again.status) == (204, 412)
