"""What AWS's own library is asked in a process of its own, and which credentials are used."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gostore.bucket import aws
from gostore.bucket.aside import UploadsAside, ask_aside, profile_in
from gostore.bucket.connecting import connect
from gostore.bucket.engine import Refused, Unfinished, Unsettled
from gostore.bucket.objects import ObjectStoreEngine, s3_engine
from gostore.bucket.place import Place
from gostore.errors import VolumeUnusable
from tests.bucket.fake_s3 import BUCKET, HTML, Answer, FakeS3, error

#: Where credentials may come from.
SOURCES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)


@pytest.fixture(scope="module")
def lasting_engine() -> Iterator[FakeS3]:
    """An engine that does what tests say."""
    fake = FakeS3()
    yield fake
    fake.close()


@pytest.fixture
def engine(lasting_engine: FakeS3) -> Iterator[FakeS3]:
    """The engine, in no trouble, and empty."""
    lasting_engine.asked.clear()
    yield lasting_engine
    lasting_engine.trouble = lambda asked: None
    lasting_engine.uploads_page = 1000
    lasting_engine.uploads.clear()
    lasting_engine.objects.clear()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without credentials, whose home is empty."""
    for name in SOURCES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.fixture
def keys(environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with a key."""
    environment.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return environment


def connected(engine: FakeS3, profile: str | None = None) -> ObjectStoreEngine:
    """The engine, as a daemon asks it."""
    return s3_engine(BUCKET, "main", engine.endpoint, None, profile)


def signers(engine: FakeS3) -> list[str]:
    """The keys that requests were signed with."""
    found = [re.search("Credential=([^/]+)/", each.head["Authorization"]) for each in engine.asked]
    return [match[1] for match in found if match is not None]


def begin(engine: FakeS3, key: str) -> None:
    """Begin an upload."""
    name = f"upload-{len(engine.uploads)}"
    engine.uploads[name] = {}
    engine.begun[name] = f"main/{key}", 1_800_000_000.0


# -- uploads in parts -----------------------------------------------------------------------------


def test_uploads(engine: FakeS3, keys: pytest.MonkeyPatch) -> None:
    """All uploads of the store are told, however many an answer lists; those named are aborted."""
    for number in range(5):
        begin(engine, f"blobs/0{number}/{number}/data.raw")
    begin(engine, "elsewhere")
    engine.uploads_page = 2
    ours = connected(engine)
    found = ours.unfinished("blobs/")
    assert found[0] == Unfinished("blobs/00/0/data.raw", "upload-0", 1_800_000_000.0)
    assert [each.name for each in found] == [f"upload-{number}" for number in range(5)]
    ours.abort([*found[1:3], Unfinished("blobs/07/7/data.raw", "ended", 0.0)])
    assert sorted(engine.uploads) == ["upload-0", "upload-3", "upload-4", "upload-5"]
    assert set(signers(engine)) == {"from-environment"}


def test_page_without_end(engine: FakeS3, keys: pytest.MonkeyPatch) -> None:
    """An engine that lists the same again and again does not hold anybody up."""
    key = "<Key>main/blobs/x</Key><UploadId>1</UploadId><Initiated>2026-01-01T00:00:00Z</Initiated>"
    text = f"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><Upload>{key}</Upload>"
    answer = Answer(200, f"{text}</ListMultipartUploadsResult>".encode())
    engine.trouble = lambda asked: answer
    assert [each.name for each in connected(engine).unfinished("blobs/")] == ["1"]


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (error(501, "NotImplemented"), {"refused": "NotImplemented"}),
        (error(403, "AccessDenied"), {"refused": "AccessDenied"}),
        (error(503, "SlowDown"), {"unsettled": "SlowDown"}),
        (error(429, "SlowDown"), {"unsettled": "SlowDown"}),
        (HTML, {"uploads": []}),
    ],
    ids=["not implemented", "forbidden", "slow", "too many", "HTML"],
)
def test_trouble(
    engine: FakeS3, keys: pytest.MonkeyPatch, answer: Answer, wanted: dict[str, object]
) -> None:
    """What the engine will not do for good is told apart from what it cannot do now."""
    engine.trouble = lambda asked: answer
    assert aws.answer(question(engine.endpoint)) == wanted


def question(endpoint: str, **more: object) -> dict[str, object]:
    """Ask for the uploads."""
    return {"what": "uploads", "bucket": BUCKET, "prefix": "p/", "endpoint": endpoint, **more}


def test_abort_refused(engine: FakeS3, keys: pytest.MonkeyPatch) -> None:
    """An abort that is refused says so; one of an upload that has ended is none."""
    asked = question(engine.endpoint) | {"what": "abort", "uploads": [["main/a", "ended"]]}
    assert aws.answer(asked) == {}
    engine.trouble = lambda asked: error(403, "AccessDenied")
    assert aws.answer(asked) == {"refused": "AccessDenied"}


def test_no_engine(keys: pytest.MonkeyPatch) -> None:
    """An engine that does not answer may answer later; without a key nobody is asked."""
    aside = UploadsAside(BUCKET, "", "http://127.0.0.1:1", None, None)
    with pytest.raises(Unsettled, match="Could not connect"):
        aside.list("blobs/")
    keys.delenv("AWS_ACCESS_KEY_ID")
    keys.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Refused, match="credentials"):
        aside.list("blobs/")


def test_no_library() -> None:
    """Without botocore the reason says what to install; a process that dies says its last line."""
    with pytest.raises(Refused, match=r"pip install '\.\[s3\]'"):
        ask_aside({}, """raise ModuleNotFoundError("No module named 'botocore'")""")
    with pytest.raises(Unsettled, match="ValueError: no"):
        ask_aside({}, "raise ValueError('no')")
    with pytest.raises(Unsettled, match="ended with -9"):
        ask_aside({}, "import os; os.kill(os.getpid(), 9)")


# -- credentials ----------------------------------------------------------------------------------


class Giver:
    """A service that gives credentials, each time others, good for a minute."""

    def __init__(self) -> None:
        self.given = 0
        giver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                giver.given += 1
                self._send(giver.answer(self.path))

            def do_PUT(self) -> None:
                self._send("a-token")

            def _send(self, text: str) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str) -> str:
        """Credentials as a container or a machine gives them."""
        key, secret, token = f"key-{self.given}", "secret", "token"
        soon = datetime.now(timezone.utc) + timedelta(minutes=1)
        expires = soon.strftime("%Y-%m-%dT%H:%M:%SZ")
        if path.endswith("/security-credentials/"):
            return "role"
        given = {"AccessKeyId": key, "SecretAccessKey": secret, "Token": token}
        more = {
            "Expiration": expires,
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": expires,
        }
        return json.dumps({**given, **more})

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def giver() -> Iterator[Giver]:
    """A service that gives credentials."""
    made = Giver()
    yield made
    made.close()


def variables(source: str, giver: Giver, directory: Path) -> dict[str, str]:
    """What the environment says where credentials come from a service."""
    token = directory / "token"
    token.write_text("a-token")
    if source == "container":
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{giver.url}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        }
    return {"AWS_METADATA_ENDPOINT": giver.url}


@pytest.mark.parametrize("source", ["container", "machine"])
def test_services(
    engine: FakeS3, environment: pytest.MonkeyPatch, giver: Giver, tmp_path: Path, source: str
) -> None:
    """The role of a container or a machine: its credentials are fetched anew in time."""
    for name, value in variables(source, giver, tmp_path).items():
        environment.setenv(name, value)
    ours = connected(engine)
    before = 0
    for _ in range(3):
        ours.put("a", b"x")
        assert giver.given > before
        before = giver.given
        # obstore asks no service twice within a tenth of a second.
        threading.Event().wait(0.15)
    used = signers(engine)
    assert len(set(used)) == 3, used
    assert all(each.head["X-Amz-Security-Token"] == "token" for each in engine.asked)


def test_environment(engine: FakeS3, keys: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key in the environment comes first, and no file is read that nobody has named."""
    write_profiles(tmp_path, default="wrong", other="wrong")
    keys.setenv("AWS_PROFILE", "other")
    ours = connected(engine)
    ours.put("a", b"x")
    ours.unfinished("blobs/")
    assert set(signers(engine)) == {"from-environment"}
    keys.delenv("AWS_ACCESS_KEY_ID")
    keys.delenv("AWS_SECRET_ACCESS_KEY")
    keys.delenv("AWS_PROFILE")
    with pytest.raises(Unsettled, match="there are no credentials"):
        connected(engine).put("a", b"x")
    with pytest.raises(Refused):
        connected(engine).unfinished("blobs/")


def write_profiles(directory: Path, **keys: str) -> None:
    """Write ~/.aws/credentials."""
    (directory / ".aws").mkdir(exist_ok=True)
    lines = [
        f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = secret\n"
        for name, key in keys.items()
    ]
    (directory / ".aws" / "credentials").write_text("\n".join(lines))


def test_profile(engine: FakeS3, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile has the credentials and the region, by AWS_PROFILE or by its name."""
    write_profiles(tmp_path, default="wrong", work="from-work", home="from-home")
    (tmp_path / ".aws" / "config").write_text("[profile work]\nregion = eu-north-7\n")
    environment.setenv("AWS_PROFILE", "work")
    ours = connected(engine)
    ours.put("a", b"x")
    ours.unfinished("blobs/")
    assert signers(engine) == ["from-work"] * 2
    assert all("/eu-north-7/s3/" in each.head["Authorization"] for each in engine.asked[:1])
    engine.asked.clear()
    environment.setenv("AWS_ACCESS_KEY_ID", "wrong")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    theirs = connected(engine, "home")
    theirs.put("a", b"x")
    theirs.unfinished("blobs/")
    assert signers(engine) == ["from-home"] * 2


def test_expiring_profile(engine: FakeS3, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a program gives to a profile is asked for again before it expires."""
    soon = datetime.now(timezone.utc) + timedelta(minutes=1)
    given = {
        "Version": 1,
        "AccessKeyId": "key-NUMBER",
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": soon.isoformat(),
    }
    program = tmp_path / "give"
    program.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/given\n"
        f"echo '{json.dumps(given)}' | sed s/NUMBER/$(wc -l < {tmp_path}/given)/\n"
    )
    program.chmod(0o700)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(f"[profile work]\ncredential_process = {program}\n")
    ours = connected(engine, "work")
    ours.put("a", b"x")
    threading.Event().wait(0.15)
    ours.put("a", b"x")
    first, second = signers(engine)
    assert first != second
    program.write_text("#!/bin/sh\necho no >&2; exit 1\n")
    threading.Event().wait(0.15)
    with pytest.raises(Refused, match=r"the profile 'work' cannot be used: .*no"):
        ours.put("a", b"x")


def test_bad_profile(engine: FakeS3, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile that is not there, or has no credentials, is refused before anything is asked."""
    write_profiles(tmp_path, work="x")
    (tmp_path / ".aws" / "config").write_text("[profile empty]\nregion = x\n")
    for name, said in (("none", "could not be found"), ("empty", "it has no credentials")):
        with pytest.raises(VolumeUnusable, match=f"the profile '{name}' cannot be used: .*{said}"):
            connect(Place(BUCKET, "main"), engine.endpoint, None, name)
    assert not engine.asked


def test_profile_in() -> None:
    """AWS_PROFILE counts unless a key is there, too."""
    assert profile_in({}) is None
    assert profile_in({"AWS_PROFILE": ""}) is None
    assert profile_in({"AWS_PROFILE": "a"}) == "a"
    assert profile_in({"AWS_PROFILE": "a", "AWS_ACCESS_KEY_ID": "b"}) is None
