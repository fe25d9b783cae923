"""The daemon as a person with curl and cat sees it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest
from attrs import frozen

from tests.e2e.conftest import Make
from tests.e2e.daemon import FIXTURES, STATE, Daemon, eventually

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


@frozen
class Curled:
    """What curl printed."""

    status: int
    headers: dict[str, str]
    body: bytes


def curl(*arguments: str) -> Curled:
    """Run curl as a person would, with the head of the answer shown."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--include", *arguments],
        capture_output=True,
        timeout=60,
        check=True,
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while re.match(rb"HTTP/1\.1 1[0-9][0-9] ", head):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *fields = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in fields)}
    return Curled(int(first.split()[1]), headers, body)


def test_every_verb(daemon: Daemon) -> None:
    """POST, GET, PUT, HEAD and DELETE do what the Go server's did, twice 409 and twice 404."""
    foo = daemon.store("foo")

    created = curl("--request", "POST", foo, "--data", "11111111111111111")
    assert (created.status, created.body) == (204, b"")
    assert urljoin(foo, created.headers["location"]) == foo

    again = curl("--request", "POST", foo, "--data", "2")
    assert again.status == 409
    assert again.body.strip() == b'{"code": 409, "text": "foo already exists"}'

    got = curl(foo)
    assert (got.status, got.body) == (200, b"11111111111111111")
    assert got.headers["content-length"] == "17"
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["etag"] == created.headers["etag"]

    replaced = curl("--request", "PUT", foo, "--data", "22222222222222222")
    assert (replaced.status, replaced.body) == (200, b"")
    assert curl(foo).body == b"22222222222222222"

    head = curl("--head", foo)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == "17"
    assert head.headers["etag"] == replaced.headers["etag"] != created.headers["etag"]

    missing = curl("--request", "PUT", daemon.store("bar"), "--data", "3")
    assert missing.status == 404
    text = "bar does not exist: POST creates, or --put-creates"
    assert json.loads(missing.body) == {"code": 404, "text": text}
    assert curl(daemon.store("bar")).status == 404

    deleted = curl("--request", "DELETE", foo)
    assert (deleted.status, deleted.body) == (200, b"")
    assert curl("--request", "DELETE", foo).status == 404
    assert curl(foo).status == 404

    assert curl(f"{daemon.url}/healthz").body.strip() == b'"Ok!"'


def test_a_file_comes_back_as_it_was_sent(daemon: Daemon, tmp_path: Path) -> None:
    """A file of 3 MB sent with curl comes back byte for byte, whole and in parts."""
    sent = tmp_path / "sent"
    sent.write_bytes(bytes(range(256)) * 12_000)
    picture = daemon.store("a/picture")
    assert curl("--request", "POST", picture, "--data-binary", f"@{sent}").status == 204
    assert curl(picture).body == sent.read_bytes()
    assert curl("--range", "1000-1999", picture).body == sent.read_bytes()[1000:2000]
    # As a stream of a length that is not announced.
    chunked = ("--header", "Transfer-Encoding: chunked", "--upload-file", str(sent))
    assert curl("--request", "PUT", *chunked, picture).status == 200
    assert curl(picture).body == sent.read_bytes()


def test_the_state_file_is_for_people(daemon: Daemon) -> None:
    """``cat`` of the state file shows the blob's log, newest first."""
    asked = curl("--request", "POST", daemon.store("foo"), "--data", "1")
    place = daemon.place("foo")
    text = (place / STATE).read_text()
    head, empty, *log = text.splitlines()
    assert head.startswith("BLOB_BASE64_")
    assert empty == ""
    told = [re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ - (.*)", line) for line in log if line]
    assert [match and match[1] for match in told] == [
        "OK - Blob Data WR Complete!",
        "Pending - Starting Data WR",
        f"OK - Blob Created & Saved! ({asked.headers['x-request-id']})",
    ]
    assert (place / "data.raw").read_bytes() == b"1"


def test_a_deleted_blob_leaves_the_disk(make_daemon: Make) -> None:
    """A DELETE marks the blob Failure, and within the interval of the collector it is gone."""
    daemon = make_daemon("--gc-interval", "3600").start()
    curl("--request", "POST", daemon.store("foo"), "--data", "1")
    name = daemon.place("foo").name
    deleted = curl("--request", "DELETE", daemon.store("foo"))
    assert deleted.status == 200
    # Until the collector comes the record says so.
    said = f"Failure - Deleted! ({deleted.headers['x-request-id']})"
    eventually(lambda: daemon.records()[name].log[0] == said, "it is marked")
    assert daemon.stop() == 0
    daemon.start("--gc-interval", "1")
    eventually(lambda: not daemon.names(), "foo is collected by the first run")
    curl("--request", "POST", daemon.store("bar"), "--data", "1")
    begun = time.monotonic()
    curl("--request", "DELETE", daemon.store("bar"))
    eventually(lambda: not daemon.names(), "bar is collected by a later one")
    assert time.monotonic() - begun < 1 + 10, "within the interval, and what a slow machine needs"


def test_a_replaced_blob_leaves_the_disk(make_daemon: Make) -> None:
    """A PUT makes a new blob, and marks the old one Failure, naming the new one."""
    daemon = make_daemon("--gc-interval", "3600").start()
    curl("--request", "POST", daemon.store("foo"), "--data", "1")
    old = daemon.place("foo").name
    replaced = curl("--request", "PUT", daemon.store("foo"), "--data", "2")
    (new,) = eventually(lambda: daemon.records().keys() - {old}, "the files of the new one")
    by = replaced.headers["x-request-id"]
    said = f"Failure - Deleted! Replaced by {new} ({by})"
    eventually(lambda: daemon.records()[old].log[0] == said, "the old blob is marked")
    assert daemon.records()[new].log[-1] == f"OK - Blob Updated & Saved! ({by})"
    assert daemon.stop() == 0
    daemon.start("--gc-interval", "0.1")
    eventually(lambda: daemon.names() == {new}, "the old blob is collected")
    assert curl(daemon.store("foo")).body == b"2"


def test_kill_9_loses_nothing(daemon: Daemon) -> None:
    """After kill -9 and a restart everything acknowledged is there, and what was deleted is not."""
    for number in range(20):
        assert curl("--request", "POST", daemon.store(f"b/{number}"), "--data", "1").status == 204
    for number in range(0, 20, 2):
        body = f"new {number}"
        assert curl("--request", "PUT", daemon.store(f"b/{number}"), "--data", body).status == 200
    for number in range(0, 20, 5):
        assert curl("--request", "DELETE", daemon.store(f"b/{number}")).status == 200
    daemon.kill()
    daemon.start()
    for number in range(20):
        got = curl(daemon.store(f"b/{number}"))
        if number % 5 == 0:
            assert got.status == 404
        else:
            assert got.body == (b"1" if number % 2 else b"new %d" % number)
    daemon.clean()
    assert len(daemon.names()) == 16


def test_a_directory_of_the_first_server(make_daemon: Make, tmp_path: Path) -> None:
    """What the Go server wrote is served byte for byte; what it left dead or half is collected."""
    shutil.copytree(FIXTURES / "go-data", tmp_path / "data")
    daemon = make_daemon("--gc-interval", "0.2").start()
    wanted = {"foo": "13342", "picture.bin": "39822", "empty": "2422", "café menu": "2818"}
    for location, name in wanted.items():
        got = curl(daemon.store(quote(location)))
        assert got.status == 200, location
        assert got.body == (FIXTURES / "go-data" / name / "data.raw").read_bytes(), location
    for location in ("deleted", "half"):
        assert curl(daemon.store(location)).status == 404
    eventually(lambda: daemon.names() == set(wanted.values()), "the dead are collected")
    assert "Found in Pending state during Restore - Deleting!" in daemon.said
    # And it goes on from there.
    assert curl("--request", "PUT", daemon.store("foo"), "--data", "3").status == 200
    assert curl("--request", "POST", daemon.store("half"), "--data", "4").status == 204
    daemon.kill()
    daemon.start()
    assert curl(daemon.store("foo")).body == b"3"
    assert curl(daemon.store("half")).body == b"4"
    assert curl(daemon.store("empty")).body == b""
