"""Principal x verb x location: a real daemon decides each cell as the naive model does."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from itertools import product
from pathlib import Path
from urllib.parse import quote

import bcrypt
import pytest

from gostore.access.tokens import digest_of
from gostore.commands.trial_daemon import ask
from tests.access import naive
from tests.e2e.conftest import Make
from tests.e2e.daemon import SOAK

WORDS = ["read", "list", "create", "replace", "delete", "append", "write", "all"]
PREFIXES = ["", "a", "a/", "a/b", "a/b/", "ab", "b/", "é/", "a b/", "b/c/d"]
LOCATIONS = [
    *("a", "ab", "abc", "a/b", "a/b/c", "a/c", "a/bc", "b", "b/c", "b/c/d/e", "c", "é/x", "é"),
    *("a b/c", "a b", "A/b"),
]
REQUESTS = {
    "GET": {},
    "HEAD": {},
    "POST": {},
    "PUT": {},
    "PUT if none": {"If-None-Match": "*"},
    "PUT if there": {"If-Match": "*"},
    "DELETE": {},
}
PRINCIPALS = 60 if SOAK else 16


def principals(rng: random.Random) -> dict[str, list[str]]:
    """Names, each with random grants; a few of them with none."""
    found: dict[str, list[str]] = {"anonymous": ["read a/b"]}
    for number in range(PRINCIPALS):
        grants = []
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            words = ",".join(rng.sample(WORDS, rng.choice((1, 1, 2))))
            grants.append(f"{words} {rng.choice(PREFIXES)}".rstrip(" "))
        found[f"{'user' if number % 4 == 0 else 'token'}{number}"] = grants
    return found


def text_of(found: dict[str, list[str]]) -> str:
    """The access file."""
    hashed = bcrypt.hashpw(b"pw", bcrypt.gensalt(4)).decode()
    lines = []
    for name, grants in found.items():
        if name == "anonymous":
            lines.append("[anonymous]")
        elif name.startswith("user"):
            lines += [f"[user {name}]", f"password = {hashed}"]
        else:
            lines += [f"[token {name}]", f"secret = sha256:{digest_of(f'gst_{name}').hex()}"]
        if grants:
            lines.append("grant = " + "\n  ".join(grants))
    return "\n".join(lines) + "\n"


def credentials(name: str, number: int) -> dict[str, str]:
    """The field of a principal; tokens come in both ways."""
    if name == "anonymous":
        return {}
    if name.startswith("user"):
        return {"Authorization": "Basic " + b64encode(f"{name}:pw".encode()).decode()}
    if number % 2:
        return {"Authorization": "Basic " + b64encode(f"x:gst_{name}".encode()).decode()}
    return {"Authorization": f"Bearer gst_{name}"}


@pytest.mark.parametrize("creates", [False, True])
def test_matrix(make_daemon: Make, tmp_path: Path, creates: bool) -> None:
    """Every cell has the status of the model, and the blobs are those of the model afterwards."""
    rng = random.Random(7 + creates)
    found = principals(rng)
    path = tmp_path / "access.conf"
    path.write_text(text_of({**found, "token-all": ["all"]}))
    path.chmod(0o600)
    options = ("--put-creates",) if creates else ()
    daemon = make_daemon("--access", str(path), *options).start()
    connection = daemon.connect()
    everything = {"Authorization": "Bearer gst_token-all"}
    blobs: dict[str, bytes] = {}
    cells = list(product(found, REQUESTS, LOCATIONS))
    rng.shuffle(cells)
    for number, (name, request, location) in enumerate(cells):
        exists, grants = location in blobs, found[name]
        wanted = naive.expected(grants, request, location, exists, creates)
        if name == "anonymous" and wanted == 403:
            wanted = 401
        method = request.partition(" ")[0]
        body = b"%d" % number if method in ("POST", "PUT") else None
        fields = {**credentials(name, number), **REQUESTS[request]}
        answer = ask(connection, method, f"/store/{quote(location)}", body, fields)
        assert answer.status == wanted, (name, grants, request, location, exists)
        if method == "GET" and wanted == 200:
            assert answer.body == blobs[location]
        if body is not None and wanted in (200, 204):
            blobs[location] = body
        if method == "DELETE" and wanted == 200:
            del blobs[location]
        if answer.headers.get("Connection") == "close":
            connection.close()
    for name, prefix, delimiter in product(found, ["", "a", "b/c/d", "é"], ["", "/", "b"]):
        query = f"/store/?format=json&prefix={quote(prefix)}&delimiter={quote(delimiter)}"
        answer = ask(connection, "GET", query, None, credentials(name, 0))
        if not any(naive.may([grant], "list", grant.partition(" ")[2]) for grant in found[name]):
            assert answer.status == (401 if name == "anonymous" else 403), (name, found[name])
            continue
        shown = [each.get("location", each.get("prefix")) for each in json.loads(answer.body)]
        wanted_list = naive.listed(found[name], list(blobs), prefix, delimiter, "")
        assert shown == wanted_list, (name, found[name], prefix, delimiter)
    answer = ask(connection, "GET", "/store/?format=json&limit=10000", None, everything)
    assert [each["location"] for each in json.loads(answer.body)] == sorted(blobs)
    print(f"{len(cells)} cells")
    connection.close()
