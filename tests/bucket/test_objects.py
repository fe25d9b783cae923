"""What the errors of obstore mean, and that its stores do what an engine has to do."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from obstore import exceptions

from gostore.bucket.connecting import connect, named
from gostore.bucket.engine import EngineError, Full, Mismatch, Missing, Refused, Unsettled
from gostore.bucket.objects import (
    AT_A_TIME,
    PART,
    SMALL_PART,
    UNDER_WAY,
    ObjectStoreEngine,
    meaning_of,
    memory_engine,
    parts_of,
    s3_store,
)
from gostore.bucket.place import Place
from gostore.bucket.probe import probe
from gostore.errors import VolumeUnusable

#: Messages as obstore 0.12 gives them, cut.
NO_KEY = "Client error with status 404 Not Found: <Error><Code>NoSuchKey</Code></Error>"
NO_BUCKET = "Client error with status 404 Not Found: <Error><Code>NoSuchBucket</Code></Error>"
FORBIDDEN = "status 403 Forbidden: <Error><Code>RequestTimeTooSkewed</Code></Error>"
EXPIRED = "Client { status: 400, body: <Error><Code>ExpiredToken</Code></Error> }"
WITHOUT = "http://x/y in 9ms - Received redirect without LOCATION, this normally indicates"
DENIED = "Error performing PUT http://169.254.169.254/latest/api/token in 6ms - Server returned"
SLOW = "Server { status: 503, body: <Error><Code>SlowDown</Code></Error> }"


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (FileNotFoundError(NO_KEY), Missing),
        (exceptions.NotFoundError(NO_KEY), Missing),
        (FileNotFoundError(NO_BUCKET), Refused),
        (FileNotFoundError("status code: 404 Not Found: <html>Not here</html>"), Refused),
        (FileNotFoundError("status code: 404 Not Found: <html>Not here</html>"), Refused),
        (exceptions.AlreadyExistsError("412"), Mismatch),
        (exceptions.PreconditionError("412"), Mismatch),
        (exceptions.PermissionDeniedError(FORBIDDEN), Refused),
        (exceptions.UnauthenticatedError("401"), Refused),
        (exceptions.GenericError(EXPIRED), Refused),
        (exceptions.GenericError("Client { status: 301, body: None }"), Refused),
        (exceptions.GenericError("Client { status: 409, body: None }"), Unsettled),
        (exceptions.GenericError("Client { status: 429, body: None }"), Unsettled),
        (exceptions.GenericError(SLOW), Unsettled),
        (exceptions.GenericError(f"Error performing PUT {WITHOUT} Debug source: x"), Refused),
        (exceptions.GenericError("HTTP error: error following redirect for url"), Refused),
        (exceptions.PermissionDeniedError("<Code>QuotaExceeded</Code>"), Full),
        (exceptions.GenericError("Server { status: 507, body: None }"), Full),
        (exceptions.GenericError("status: 507 Insufficient Storage: <html>"), Full),
        (
            exceptions.GenericError("Error performing PUT http://1.2.3.4/latest/api/token"),
            Unsettled,
        ),
        (exceptions.GenericError(f"{DENIED} inner: Status {{ status: 403,"), Refused),
        (FileNotFoundError(DENIED), Refused),
        (exceptions.GenericError("error sending request: connection refused"), Unsettled),
        (exceptions.GenericError("operation timed out"), Unsettled),
    ],
)
def test_meaning(error: Exception, meaning: type[EngineError]) -> None:
    """Only what was answered for good is settled, and a missing bucket is no missing blob."""
    assert type(meaning_of(error)) is meaning


def test_reason() -> None:
    """The engine's own code is the reason that people get; else the message, cut."""
    assert str(meaning_of(exceptions.PermissionDeniedError(FORBIDDEN))) == "RequestTimeTooSkewed"
    for none in (exceptions.GenericError(DENIED), FileNotFoundError(DENIED)):
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in str(
            meaning_of(none)
        )
    assert len(str(meaning_of(exceptions.GenericError("x\n" * 5000)))) == 200
    lost = (
        "Generic S3 error: Error performing PUT http://10.0.0.1:1/blobs/p/a in 322.407571ms, after"
        " 2 retries, max_retries: 2, retry_timeout: 6s  - HTTP error: error sending request\n\n"
        "Debug source:\nGeneric { ... }"
    )
    assert str(meaning_of(exceptions.GenericError(lost))) == "HTTP error: error sending request"


@pytest.mark.parametrize(
    ("below", "said"),
    [
        ('Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }', "Connection"),
        ('"dns error", Custom { error: "failed to lookup address information: x" }', "failed to"),
        ("error: InvalidMessage(\n  InvalidContentType,\n )", "the port speaks no TLS"),
        ("InvalidCertificate(\n  UnknownIssuer,\n )", "UnknownIssuer"),
        ("source: TimedOut,", "it takes too long"),
    ],
)
def test_cause(below: str, said: str) -> None:
    """Why there was no connection is told, and where that may be a surprise, where it went."""
    asked = "Error performing GET %s/blobs/p/a in 1ms - HTTP error: error sending request\n\n"
    asked += f"Debug source:\nGeneric {{ uri: x, source: {below} }}"
    lost = str(meaning_of(exceptions.GenericError(asked % "http://10.0.0.1:1")))
    assert lost.startswith(f"HTTP error: error sending request: {said}")
    lost = str(meaning_of(exceptions.GenericError(asked % "https://s3.amazonaws.com")))
    assert lost.endswith(" (without --s3-endpoint it is AWS)")


def test_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """obstore itself tells the cause so that it is found."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        store = s3_store("blobs", "", endpoint, "here")
        with pytest.raises(Unsettled, match=r"error sending request: Connection refused$"):
            ObjectStoreEngine(store).get("a")


def test_memory() -> None:
    """Objects in memory pass the probe of the start."""
    engine = memory_engine()
    assert abs(probe(engine, lambda: 0)) > 1e9
    assert not list(engine.list("gc/"))


def test_requests() -> None:
    """Each request does what the engine's contract says."""
    engine = memory_engine()
    with pytest.raises(Missing):
        engine.get("a/b")
    first = engine.create("a/b", b"0123456789")
    with pytest.raises(Mismatch):
        engine.create("a/b", b"")
    found = engine.get("a/b", first, (2, 5))
    assert (found.data, found.size, found.etag) == (b"234", 10, first)
    second = engine.swap("a/b", b"new", first)
    with pytest.raises(Mismatch):
        engine.swap("a/b", b"", first)
    with pytest.raises(Mismatch):
        engine.get("a/b", first)
    assert engine.get("a/b", second).data == b"new"
    engine.put("a/%2Fc%25", b"")
    assert [each.key for each in engine.list("a/")] == ["a/%2Fc%25", "a/b"]
    assert [each.key for each in engine.list("a/", "a/%2Fc%25")] == ["a/b"]
    engine.delete("a/b")
    engine.delete("a/b")
    assert [each.key for each in engine.list("a/")] == ["a/%2Fc%25"]


def test_upload() -> None:
    """An upload has all its pieces, or is not there and passes on why."""
    engine = memory_engine()
    engine.upload("a", iter([bytes(3_000_000)] * 4), None)
    assert engine.get("a").size == 12_000_000

    def broken() -> Iterator[bytes]:
        yield bytes(6_000_000)
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        engine.upload("b", broken(), 9_000_000)
    with pytest.raises(Missing):
        engine.get("b")


def test_upload_of_what_is_read() -> None:
    """A piece may be made by requests of its own: of what is copied, or to renew a record."""
    engine = memory_engine()
    engine.put("a", b"x" * 6_000_000)

    def copied() -> Iterator[bytes]:
        for at in range(0, 6_000_000, 2_000_000):
            yield engine.get("a", span=(at, at + 2_000_000)).data

    engine.upload("b", copied(), 6_000_000)
    assert engine.get("b").data == engine.get("a").data


def test_upload_that_fails_early() -> None:
    """An engine that fails leaves nobody waiting, however many pieces there are."""

    class Full:
        """A store that takes nothing."""

    engine = ObjectStoreEngine(Full())
    with pytest.raises(EngineError):
        engine.upload("a", iter([b"x"] * 100), 100)


def test_parts() -> None:
    """Few uploads have large parts, and several under way; of many each has a small one."""
    assert parts_of(None, 1) == parts_of(1 << 30, UNDER_WAY // AT_A_TIME) == (PART, AT_A_TIME)
    assert parts_of(1 << 30, UNDER_WAY // AT_A_TIME + 1) == (SMALL_PART, AT_A_TIME - 1)
    assert parts_of(1 << 30, 1000) == (SMALL_PART, 1)
    size, _ = parts_of(1 << 40, 1)
    assert 9_000 * size >= 1 << 40
    bytes_under_way = sum(size * count for size, count in (parts_of(None, n) for n in range(1, 21)))
    assert bytes_under_way <= 400 << 20


def test_uploads_are_counted() -> None:
    """An upload counts from its beginning to its end, whatever that is."""
    engine = memory_engine()
    seen: list[int] = []

    def beside() -> Iterator[bytes]:
        seen.append(engine.uploads)
        engine.upload("b", iter([b"x"]), 1)
        seen.append(engine.uploads)
        yield b"x"
        raise KeyError("broken")

    with pytest.raises(KeyError):
        engine.upload("a", beside(), 2)
    assert (seen, engine.uploads) == ([1, 1], 0)


@pytest.mark.parametrize("missing", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_half_a_pair(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a pair of credentials that lacks one the missing one is named."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv(missing)
    with pytest.raises(VolumeUnusable, match=f"s3://bucket cannot be used: {missing} is not set"):
        connect(Place("bucket", ""), None, None)


def test_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """People are told which engine it is; without an endpoint that is AWS."""
    place = Place("bucket", "prefix")
    for name in [each for each in os.environ if each.startswith("AWS_ENDPOINT")]:
        monkeypatch.delenv(name)
    assert named(place, "http://10.0.0.1:1") == "s3://bucket/prefix at http://10.0.0.1:1"
    assert named(place, None) == "s3://bucket/prefix at AWS"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://10.0.0.1:1")
    assert named(place, None) == "s3://bucket/prefix"
