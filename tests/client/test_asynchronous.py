"""Tests for asynchronous.py: the verbs of Client, in a running reactor."""

from __future__ import annotations

import doctest
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import blockingCallFromThread, deferToThread

from gostore.client import Memory, Patience, asynchronous
from gostore.client.asynchronous import AsyncClient
from gostore.client.errors import (
    AlreadyExists,
    BadAnswer,
    Changed,
    ConditionFailed,
    Damaged,
    NotFound,
    SourceFailed,
    Unreachable,
)
from gostore.client.sources import source_of
from tests.client.conftest import SHORT
from tests.client.liar import Cutter, Liar
from tests.client.test_blocking import DATA, reply, tag
from tests.client.test_resuming import Stopping, kept
from tests.e2e.conftest import Make
from tests.e2e.daemon import Daemon

Body = Callable[[AsyncClient], Coroutine[Any, Any, None]]


async def use(url: str, body: Body, patience: Patience = SHORT, **more: Any) -> None:
    """Run a coroutine with a client, and close it."""
    client = AsyncClient(reactor, url, patience=patience, **more)
    try:
        await body(client)
    finally:
        await client.close()


@pytest_twisted.ensureDeferred
async def test_examples(daemon: Daemon) -> None:
    """The example in the docstring does what it shows."""

    def run(main: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        start = partial(Deferred.fromCoroutine, main(reactor))
        blockingCallFromThread(reactor, start)

    names = {"AsyncClient": AsyncClient, "url": daemon.url, "run": run}
    found = doctest.DocTestFinder().find(asynchronous.AsyncClient, globs=names)
    for each in found:
        each.globs = dict(names)
    results = [await deferToThread(doctest.DocTestRunner().run, each) for each in found]
    assert sum(each.failed for each in results) == 0
    assert sum(each.attempted for each in results) >= 2


@pytest_twisted.ensureDeferred
async def test_life_of_a_blob(daemon: Daemon, tmp_path: Path) -> None:
    """What is put is there as it was put, until it is deleted."""
    (tmp_path / "file").write_bytes(DATA)

    async def body(client: AsyncClient) -> None:
        stored = await client.put("a b", tmp_path / "file", {"X-Gostore-Meta-Who": "me"})
        assert (stored.size, stored.etag) == (len(DATA), tag(DATA))
        assert (await client.stat("a b")).metadata == {"who": "me"}
        async with await client.get("a b") as download:
            pieces = [piece async for piece in download]
        assert b"".join(pieces) == DATA
        assert len(pieces) > 2
        assert await client.read(stored, 10, 20) == DATA[10:20]
        pipe = (DATA[n : n + 1000] for n in range(0, len(DATA), 1000))
        assert (await client.put("a b", pipe, if_match=stored.etag)).sha256 == stored.sha256
        await client.put("a b", b"")
        assert await (await client.get("a b")).read() == b""
        for n in range(5):
            await client.put(f"n{n}", b"x")
        assert [blob.location async for blob in client.ls("n", limit=2)] == [
            f"n{n}" for n in range(5)
        ]
        with pytest.raises(AlreadyExists):
            await client.put("a b", b"", create_only=True)
        with pytest.raises(ConditionFailed):
            await client.delete("a b", if_match=stored.etag)
        await client.delete("a b")
        for verb in (client.get, client.stat, client.delete):
            with pytest.raises(NotFound):
                await verb("a b")
        assert "token" not in repr(client)

    await use(daemon.url, body)


@pytest_twisted.ensureDeferred
async def test_through_cuts(daemon: Daemon) -> None:
    """A download goes on where it was cut, an upload begins again, and a lost answer is settled."""

    async def put(client: AsyncClient) -> None:
        assert (await client.put("a", DATA, create_only=True)).etag == tag(DATA)

    async def get(client: AsyncClient) -> None:
        assert await (await client.get("a")).read() == DATA

    with Cutter(daemon.port, requests=200_000, times=2) as cutter:
        await use(cutter.url, put)
    with Cutter(daemon.port, answers=150_000) as cutter:
        await use(cutter.url, get)
        assert cutter.connections > 5
    with Cutter(daemon.port, answers=1, times=1) as cutter:

        async def again(client: AsyncClient) -> None:
            await client.delete("a")

        await use(cutter.url, again)


@pytest_twisted.ensureDeferred
async def test_resumed(daemon: Daemon, tmp_path: Path) -> None:
    """An upload goes on where another client has left it, be it cut off again and again."""
    (tmp_path / "a").write_bytes(DATA)
    memory = Memory(tmp_path / "memory")

    async def put(client: AsyncClient) -> None:
        assert (await client.put("a", tmp_path / "a")).etag == tag(DATA)

    async def interrupted(client: AsyncClient) -> None:
        putting = Deferred.fromCoroutine(client.put("a", tmp_path / "a"))
        while kept(daemon) < 100_000:
            await deferLater(reactor, 0.01)
        putting.cancel()
        with pytest.raises(CancelledError):
            await putting

    with Stopping(daemon.port, 300_000) as proxy:
        await use(proxy.url, interrupted, resume_from=1, memory=memory)
        assert len(list((tmp_path / "memory").iterdir())) == 1
        proxy.go_on(daemon.port)
        await use(proxy.url, put, resume_from=1, memory=memory)
    with Cutter(daemon.port, requests=200_000) as cutter:
        await use(cutter.url, put, resume_from=1)
        assert cutter.connections > len(DATA) // 200_000
    assert list((tmp_path / "memory").iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_changed(daemon: Daemon) -> None:
    """The rest of another version is not appended."""

    async def body(client: AsyncClient) -> None:
        await client.put("a", DATA)
        with Cutter(daemon.port, answers=150_000) as cutter:
            cut_off = AsyncClient(reactor, cutter.url, patience=SHORT)
            download = await cut_off.get("a")
            await client.put("a", DATA[::-1])
            with pytest.raises(Changed):
                await download.read()
            await cut_off.close()

    await use(daemon.url, body)


@pytest_twisted.ensureDeferred
async def test_damaged() -> None:
    """Bytes without their digest are given to nobody, and a short answer is no blob."""

    async def body(client: AsyncClient) -> None:
        with pytest.raises(Damaged):
            await (await client.get("a")).read()

    with Liar(lambda heard: reply(200, b"x", f"ETag: {tag(b'y')}")) as liar:
        await use(liar.url, body)

    async def short(client: AsyncClient) -> None:
        with pytest.raises(Unreachable):
            await (await client.get("a")).read()

    with Liar(lambda heard: reply(200, b"x", f"ETag: {tag(b'xx')}", "Content-Length: 2")) as liar:
        await use(liar.url, short, Patience(0.3, 0.3))


@pytest_twisted.ensureDeferred
async def test_token() -> None:
    """The token is sent."""

    async def body(client: AsyncClient) -> None:
        await client.stat("a")

    with Liar(lambda heard: reply(200, b"", f"ETag: {tag(b'')}")) as liar:
        await use(liar.url, body, token="gst_token")
    assert liar.heard[0].fields["authorization"] == "Bearer gst_token"


@pytest_twisted.ensureDeferred
async def test_nobody_there() -> None:
    """Where nobody listens, or nobody says a word, the client gives up."""

    async def body(client: AsyncClient) -> None:
        with pytest.raises(Unreachable):
            await client.stat("a")

    await use("http://127.0.0.1:1", body, Patience(0, 0))

    class Silent(Cutter):
        """Takes connections, and that is all."""

        def serve(self, connection: Any) -> None:
            while connection.recv(65536):
                pass

    with Silent(1) as silent:
        await use(silent.url, body, Patience(0, 0), timeout=0.2)


@pytest_twisted.ensureDeferred
async def test_source_fails(daemon: Daemon, tmp_path: Path) -> None:
    """A file that changes while it is sent is not stored."""
    path = tmp_path / "a"
    path.write_bytes(DATA)
    source = source_of(path)
    path.write_bytes(DATA[1:] + b"!")

    async def body(client: AsyncClient) -> None:
        with pytest.raises(SourceFailed):
            await client.put("a", source)
        assert [blob async for blob in client.ls()] == []

    await use(daemon.url, body)


@pytest_twisted.ensureDeferred
async def test_history(make_daemon: Make) -> None:
    """The versions of a location are listed, newest first, and one becomes current again."""

    async def body(client: AsyncClient) -> None:
        for data in (b"1", b"2"):
            await client.put("a", data)
        versions = [version async for version in client.history("a")]
        assert [each.etag for each in versions] == [tag(b"2"), tag(b"1")]
        old = await client.get("a", version=versions[1].version)
        assert await old.read() == b"1"
        with pytest.raises(ConditionFailed):
            await client.restore("a", versions[1].version, if_match=tag(b"1"))
        await client.restore("a", versions[1].version, if_match=tag(b"2"))
        assert await (await client.get("a")).read() == b"1"
        assert [version async for version in client.deleted()] == []
        await client.delete("a")
        [deleted] = [version async for version in client.deleted("a")]
        assert (deleted.location, deleted.etag) == ("a", tag(b"1"))
        await client.restore("a", deleted.version)
        assert (await client.stat("a")).etag == tag(b"1")

    await use(make_daemon("--keep", "forever").start().url, body)


@pytest_twisted.ensureDeferred
async def test_copy_and_move(daemon: Daemon) -> None:
    """A copy has the type and the bytes, a move leaves nothing behind, and neither destroys."""

    async def body(client: AsyncClient) -> None:
        await client.put("a", b"1", {"Content-Type": "text/x"})
        copied = await client.copy("a", "b", create_only=True)
        assert copied.etag == tag(b"1")
        assert (await client.stat("b")).content_type == "text/x"
        await client.put("c", b"3")
        with pytest.raises(AlreadyExists):
            await client.move("a", "c", create_only=True)
        with pytest.raises(ConditionFailed):
            await client.copy("a", "c", if_match=tag(b"1"))
        moved = await client.move("a", "c", if_match=tag(b"3"))
        assert moved.etag == tag(b"1")
        assert [blob.location async for blob in client.ls()] == ["b", "c"]
        with pytest.raises(NotFound):
            await client.copy("a", "d")

    await use(daemon.url, body)


@pytest_twisted.ensureDeferred
async def test_endless_answer() -> None:
    """An answer that has far more bytes than any has is not read to its end."""

    async def body(client: AsyncClient) -> None:
        with pytest.raises(BadAnswer):
            _ = [blob async for blob in client.ls()]

    with Liar(lambda heard: reply(200, bytes(asynchronous.MOST + 1))) as liar:
        await use(liar.url, body)
