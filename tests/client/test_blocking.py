"""Tests for blocking.py: a real daemon, one behind a proxy that cuts, and servers that lie."""

from __future__ import annotations

import doctest
import hashlib
import resource
import socket
from pathlib import Path

import pytest

from gostore.client import Client, Patience, blocking
from gostore.client.errors import (
    AlreadyExists,
    BadAnswer,
    BadLocation,
    Changed,
    ClientError,
    ConditionFailed,
    Damaged,
    NotFound,
    Refused,
    SourceFailed,
    Unavailable,
    Unreachable,
)
from tests.client.conftest import SHORT
from tests.client.liar import Cutter, Heard, Liar
from tests.e2e.conftest import Make
from tests.e2e.daemon import SOAK, Daemon

DATA = bytes(range(256)) * 4000


def tag(data: bytes) -> str:
    """The ETag of these bytes."""
    return f'"{hashlib.sha256(data).hexdigest()}"'


def reply(code: int, body: bytes = b"", *fields: str) -> bytes:
    """An answer as it is sent; without a Content-Length among the fields it gets the true one."""
    lines = [f"HTTP/1.1 {code} Said", "Connection: close", *fields]
    if not any(each.lower().startswith("content-length") for each in fields):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_examples(client: Client) -> None:
    """The examples in the docstrings do what they show."""
    test = doctest.DocTestFinder().find(blocking, globs={"client": client})
    for each in test:
        each.globs = {"client": client, "Client": Client, "url": client.address.url}
        result = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(each)
        assert result.failed == 0, each.name
    assert sum(len(each.examples) for each in test) > 8


def test_life_of_a_blob(client: Client) -> None:
    """What is put is there as it was put, until it is deleted."""
    stored = client.put("a b/ä", DATA, {"Content-Type": "text/x", "X-Gostore-Meta-Who": "me"})
    assert (stored.size, stored.etag) == (len(DATA), tag(DATA))
    seen = client.stat("a b/ä")
    assert (seen.content_type, seen.metadata, seen.size) == ("text/x", {"who": "me"}, len(DATA))
    assert client.get("a b/ä").read() == DATA
    assert client.put("a b/ä", b"").size == 0
    assert client.get("a b/ä").read() == b""
    client.delete("a b/ä")
    for verb in (client.get, client.stat, client.delete):
        with pytest.raises(NotFound, match="a b/ä does not exist"):
            verb("a b/ä")


def test_streams(client: Client, tmp_path: Path) -> None:
    """Files, pipes and pieces are sent as they come, and come back in pieces."""
    (tmp_path / "file").write_bytes(DATA)
    with open(tmp_path / "file", "rb") as file:
        for data in (tmp_path / "file", file, (DATA[n : n + 1000] for n in range(0, 10**7, 1000))):
            client.put("x", data)  # type: ignore[arg-type]
            pieces = list(client.get("x"))
            assert b"".join(pieces) == DATA
            assert len(pieces) > 2


def test_conditions(client: Client) -> None:
    """Nobody's blob is replaced or deleted by accident."""
    first = client.put("a", b"1", create_only=True)
    with pytest.raises(AlreadyExists):
        client.put("a", b"2", create_only=True)
    second = client.put("a", b"2", if_match=first.etag)
    with pytest.raises(ConditionFailed):
        client.put("a", b"3", if_match=first.etag)
    with pytest.raises(ConditionFailed):
        client.delete("a", if_match=first.etag)
    with pytest.raises(ConditionFailed):
        client.get("a", if_match=first.etag)
    with pytest.raises(ConditionFailed):
        client.put("b", b"3", if_match=first.etag)
    with pytest.raises(ValueError, match="created"):
        client.put("b", b"3", create_only=True, if_match=first.etag)
    client.delete("a", if_match=second.etag)


def test_list(client: Client) -> None:
    """The list is asked for page by page."""
    names = [*(f"d/{n}" for n in range(7)), "e/f/g", "h"]
    for name in names:
        client.put(name, b"x")
    assert [blob.location for blob in client.ls(limit=2)] == names
    assert [blob.location for blob in client.ls("d/", limit=3)] == names[:7]
    below = [each if isinstance(each, str) else each.location for each in client.ls_directory()]
    assert below == ["d/", "e/", "h"]


def test_parts(client: Client) -> None:
    """A part of a blob is that of the version that was seen."""
    client.put("a", DATA)
    blob = client.stat("a")
    assert client.read(blob, 10, 20) == DATA[10:20]
    assert client.read(blob, len(DATA) - 5, len(DATA) + 5) == DATA[-5:]
    client.put("a", DATA[1:])
    with pytest.raises(ConditionFailed):
        client.read(blob, 10, 20)


@pytest.mark.parametrize("bad", ["", "a/../b", "a//b", "a\nb", "\udcff", "x" * 1025])
def test_hostile_locations(client: Client, bad: str) -> None:
    """A name that is no location is refused before anybody is asked."""
    for verb in (client.get, client.stat, client.delete):
        with pytest.raises(BadLocation):
            verb(bad)
    with pytest.raises(BadLocation):
        client.put(bad, b"x")


def test_token(make_daemon: Make, tmp_path: Path) -> None:
    """A token is sent, whatever .netrc says, and is shown nowhere."""
    access = tmp_path / "access"
    access.write_text("[anonymous]\ngrant = read public/\n")
    access.chmod(0o600)
    daemon = make_daemon("--access", str(access)).start()
    with Client(daemon.url, "gst_" + "0" * 40, patience=SHORT) as client:
        assert "gst_" not in repr(client)
        with pytest.raises(Refused) as raised:
            client.stat("a")
        assert "gst_" not in str(raised.value)


def test_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a token .netrc is asked, and a token goes before it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password gst_secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Liar(lambda heard: reply(200, b"", f"ETag: {tag(b'')}")) as liar:
        Client(liar.url, patience=SHORT).stat("a")
        Client(liar.url, "gst_token", patience=SHORT).stat("a")
    assert liar.heard[0].fields["authorization"].startswith("Basic ")
    assert liar.heard[1].fields["authorization"] == "Bearer gst_token"


def test_injection(client: Client) -> None:
    """A field with a line end is not sent."""
    with pytest.raises(ClientError, match="cannot be sent"):
        client.put("a", b"x", {"X-Gostore-Meta-A": "b\r\nX-Evil: c"})


# -- the network ----------------------------------------------------------------------------------


def test_download_through_cuts(daemon: Daemon, client: Client) -> None:
    """A download goes on where each connection was cut, to the last byte."""
    client.put("a", DATA)
    with Cutter(daemon.port, answers=100_000) as cutter, quick(cutter.url) as cut_off:
        assert cut_off.get("a").read() == DATA
        assert cutter.connections > 10


def test_changed_between_cuts(daemon: Daemon, client: Client) -> None:
    """The rest of another version is not appended."""
    client.put("a", DATA)
    with Cutter(daemon.port, answers=100_000) as cutter, quick(cutter.url) as cut_off:
        download = iter(cut_off.get("a"))
        next(download)
        client.put("a", DATA[::-1])
        with pytest.raises(Changed):
            list(download)


def test_upload_through_cuts(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    """An upload that was cut off begins again, and is stored once."""
    (tmp_path / "a").write_bytes(DATA)
    with (
        Cutter(daemon.port, requests=200_000, times=3) as cutter,
        quick(cutter.url) as cut_off,
    ):
        assert cut_off.put("a", tmp_path / "a", create_only=True).etag == tag(DATA)
    assert client.get("a").read() == DATA


def test_lost_answers(daemon: Daemon, client: Client) -> None:
    """A write whose answer is lost was done, and is not taken for somebody else's."""
    for lost in (1, 2):
        with Cutter(daemon.port, answers=1, times=lost) as cutter, quick(cutter.url) as cut_off:
            cut_off.put("a", b"new", create_only=True)
        first = client.stat("a")
        with Cutter(daemon.port, answers=1, times=lost) as cutter, quick(cutter.url) as cut_off:
            cut_off.put("a", b"newer", if_match=first.etag)
        with Cutter(daemon.port, answers=1, times=lost) as cutter, quick(cutter.url) as cut_off:
            cut_off.delete("a")
        assert list(client.ls()) == []


def test_pipe_is_cut(daemon: Daemon) -> None:
    """A pipe cannot be sent again, and nobody pretends that it was."""
    pieces = (DATA for _ in range(3))
    with (
        Cutter(daemon.port, requests=200_000, times=1) as cutter,
        quick(cutter.url) as cut_off,
        pytest.raises(Unreachable),
    ):
        cut_off.put("a", pieces, create_only=True)


def test_daemon_restarts(make_daemon: Make) -> None:
    """A daemon that is away for a moment is waited for."""
    daemon = make_daemon().start()
    url, port = daemon.url, daemon.port
    daemon.stop()

    def restart(seconds: float) -> None:
        if not daemon.running:
            daemon.launch("-s", f"tcp:{port}:interface=127.0.0.1").serves()

    with Client(url, patience=SHORT, sleep=restart) as client:
        client.put("a", b"x")


def test_nobody_there() -> None:
    """Where nobody listens the client says so, after a while."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Unreachable, match="Connection refused"):
            Client(url, patience=Patience(0, 0)).stat("a")
    with pytest.raises(Unreachable):
        Client("http://gostore.invalid", patience=Patience(0, 0)).stat("a")
    with pytest.raises(Unreachable):
        Client("https" + url[4:], patience=Patience(0, 0)).stat("a")


def test_busy_for_a_minute() -> None:
    """A daemon that is busy is asked again when it says, and not for ever."""
    busy = [reply(503, b'{"code": 503, "text": "busy"}', "Retry-After: 20")] * 3
    good = reply(200, b"", f"ETag: {tag(b'')}", "Content-Length: 0")
    slept: list[float] = []

    def say(heard: Heard) -> bytes:
        return busy.pop() if busy else good

    with Liar(say) as liar:
        with Client(liar.url, patience=Patience(120), sleep=slept.append) as client:
            client.stat("a")
        assert slept == [20, 20, 20]
        busy += [reply(503, b'{"text": "busy"}', "Retry-After: 86400")]
        with pytest.raises(Unavailable, match="busy"):
            Client(liar.url, sleep=slept.append).get("a")
    assert len(slept) == 3


# -- servers that lie -----------------------------------------------------------------------------


def quick(url: str) -> Client:
    """A client that does not wait."""
    return Client(url, patience=Patience(100, 100), sleep=lambda seconds: None)


def read(*answers: bytes) -> bytes:
    """Read a blob from a server that gives these answers, the last one again and again."""
    left = list(answers)

    def say(heard: Heard) -> bytes:
        return left.pop(0) if len(left) > 1 else left[0]

    with Liar(say) as liar, Client(liar.url, patience=Patience(0.5, 0.5)) as client:
        return client.get("a").read()


def test_lies_about_length() -> None:
    """A blob is neither longer nor shorter than it is."""
    data = b"0123456789"
    with pytest.raises(Unreachable, match=r"5 of 10|cut off"):
        read(reply(200, data[:5], f"ETag: {tag(data)}", "Content-Length: 10"))
    with pytest.raises(Damaged):
        read(reply(200, data, f"ETag: {tag(data)}", "Content-Length: 5"))
    for length in ("-1", "ten", "1e1", "99999999999999999999"):
        with pytest.raises(ClientError):
            read(reply(200, data, f"ETag: {tag(data)}", f"Content-Length: {length}"))
    assert read(reply(200, data, f"ETag: {tag(data)}", "X: Content-Length")) == data


def test_lies_about_digest() -> None:
    """Bytes without their digest are given to nobody."""
    with pytest.raises(Damaged):
        read(reply(200, b"x", f"ETag: {tag(b'y')}"))
    with pytest.raises(BadAnswer):
        read(reply(200, b"x"))
    with pytest.raises(BadAnswer):
        read(reply(200, b"x", f"ETag: {tag(b'x')}", f"Repr-Digest: sha-256=:{'A' * 43}=:"))


def test_lies_about_ranges() -> None:
    """A part that is not the one that was asked for is not believed."""
    data = b"0123456789"
    etag = f"ETag: {tag(data)}"
    begun = reply(200, data[:5], etag, "Content-Length: 10")
    good = reply(206, data[5:], etag, "Content-Range: bytes 5-9/10")
    assert read(begun, good) == data
    assert read(begun, reply(200, data, etag)) == data
    with pytest.raises(BadAnswer):
        read(begun, reply(206, data[4:9], etag, "Content-Range: bytes 4-8/10"))
    with pytest.raises(Damaged):
        read(begun, reply(206, b"XXXXX", etag, "Content-Range: bytes 5-9/10"))
    with pytest.raises(Changed):
        read(begun, reply(206, data[5:], f"ETag: {tag(b'x')}", "Content-Range: bytes 5-9/10"))


def test_speaks_something_else() -> None:
    """A server that speaks no HTTP, or sends the client elsewhere, is no daemon."""
    with pytest.raises(Unreachable):
        read(b"220 smtp ready\r\n")
    with pytest.raises(Unreachable):
        read(b"")
    with pytest.raises(ClientError, match="302"):
        read(reply(302, b"", "Location: http://127.0.0.1:1/store/a"))


def test_encoded() -> None:
    """A blob is what was stored, not what its Content-Encoding makes of it."""
    data = b"not really gzip"
    assert read(reply(200, data, f"ETag: {tag(data)}", "Content-Encoding: gzip")) == data


def test_cookies_and_pages() -> None:
    """A server gets no cookie back, and a page of the list has an end."""
    with Liar(lambda heard: reply(200, b"[]", "Set-Cookie: a=b")) as liar:
        client = Client(liar.url, patience=SHORT)
        assert [*client.ls(), *client.ls()] == []
        assert "cookie" not in liar.heard[1].fields


def test_source_fails(client: Client, tmp_path: Path) -> None:
    """A file that changes while it is sent is not stored, and it is not the network's fault."""
    path = tmp_path / "a"
    path.write_bytes(DATA)
    source = blocking.source_of(path)
    path.write_bytes(DATA[1:] + b"!")
    with pytest.raises(SourceFailed, match="changed"):
        client.put("a", source, create_only=True)
    assert list(client.ls()) == []


def test_flat_memory(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    """A large file needs no more memory than a small one."""
    size = (256 if SOAK else 64) * 1024 * 1024
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stored = client.put("large", path)
    count = sum(len(piece) for piece in client.get("large"))
    assert count == stored.size == size
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024
