"""The cache of whole answers: nobody can tell that it is there, but by the time and the memory."""

from __future__ import annotations

import gc
import itertools
import os
import tracemalloc
from collections.abc import Callable
from copy import copy
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.errors import Damaged
from gostore.store.interface import Details
from gostore.text import wall_seconds
from gostore.web.answer_cache import AnswerCache
from gostore.web.browsers import Browsers
from gostore.web.dispatch import Dispatcher
from gostore.web.routes.blobs import Blobs
from gostore.web.routes.lists import Lists
from gostore.web.routes.status import Status
from gostore.wire import HTTPFactory, Limits, Request
from tests.store.doubles import FakeBody
from tests.store.memory_store import START, MemoryStore
from tests.store.support import StoreCase
from tests.wire.support import Client, Response, Turning, head

MIB = 1 << 20
SIZE = MIB // 2
NOW = 1 << 31


def get(target: str, *fields: str, host: str = "blobs.example") -> bytes:
    """A GET."""
    lines = [field.encode("latin-1") for field in fields]
    return head(*lines, line=f"GET {target} HTTP/1.1".encode(), host=b"Host: " + host.encode())


class Time:
    """Two clocks: one that only runs, and one that people set."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.wall = wall_seconds()


class Server:
    """A daemon on a store. ``dispatched`` are the requests that were no repetitions."""

    def __init__(
        self,
        store: Any,
        answers: AnswerCache | None,
        names: set[str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.dispatched: list[Request] = []
        self.dispatcher = Dispatcher(
            [Blobs(store), Lists(store), Status(store)], Browsers(names), answers
        )
        self.factory = HTTPFactory(self.dispatch, limits or Limits(), Turning(), wall=lambda: NOW)
        self.factory.shortcut = self.dispatcher.shortcut
        # The ids of requests, which are random else.
        self.factory.new_id = map(b"%d".__mod__, itertools.count()).__next__

    def dispatch(self, request: Request) -> None:
        """Dispatch a request."""
        self.dispatched.append(request)
        self.dispatcher.dispatch(request)

    def connect(self) -> Client:
        """One more client."""
        return Client(self.dispatch, factory=self.factory)


class Pair:
    """A client of a daemon with the cache, and one of a daemon without, on one store."""

    def __init__(
        self,
        store: Any,
        names: set[str] | None = None,
        capacity: int = MIB,
        limits: Limits | None = None,
    ) -> None:
        self.time = Time()
        self.answers = AnswerCache(
            capacity, store, lambda: self.time.seconds, lambda: self.time.wall
        )
        self._with = Server(store, self.answers, names, limits)
        self._without = Server(store, None, names, limits)
        self.connect()

    def connect(self) -> None:
        """Begin anew, on connections of their own."""
        self.cached, self.plain = self._with.connect(), self._without.connect()

    def beside(self) -> Pair:
        """More clients of the same daemons."""
        other = copy(self)
        other.connect()
        return other

    @property
    def saved(self) -> int:
        """How many requests the cache has answered."""
        return len(self._without.dispatched) - len(self._with.dispatched)

    def send(self, data: bytes) -> None:
        """Send both the same; connections that are at an end are made anew before."""
        if self.plain.wire.ending:
            self.connect()
        for client in (self.cached, self.plain):
            client.wire.clear()
            client.send(data)
        self.compare()

    def compare(self) -> None:
        """Compare what both got."""
        cached, plain = self.cached.wire.value(), self.plain.wire.value()
        assert cached == plain, (cached[-999:], plain[-999:])
        assert self.cached.wire.ending == self.plain.wire.ending


class SameTests(SynchronousTestCase):
    """Answers with and without the cache are the same, byte by byte."""

    def setUp(self) -> None:
        """Store blobs of every kind."""
        self.store = MemoryStore()
        self.store.add("plain", b"data")
        self.store.add("empty", b"")
        self.store.add("most", b"x" * 65536)
        self.store.add("more", b"x" * 65537)
        self.store.add("page", b"<html>", content_type="text/html")
        self.store.add("text", b"text", content_type="text/plain")
        self.store.add("meta", b"1", metadata={"x-gostore-meta-a": "\xe9", "cache-control": "a"})
        self.store.add("a/\xe9 b", b"name")
        self.etag = f'"{self.store.blobs["plain"][0].sha256.hex()}"'  # type: ignore[union-attr]

    targets = (
        "/store/plain",
        "/store/empty",
        "/store/most",
        "/store/more",
        "/store/page",
        "/store/text",
        "/store/meta",
        "/store/a/%C3%A9%20b",
        "/store/a%2f%c3%a9%20b",
        "/store/plain?",
        "/store/plain?format=json",
        "/store/none",
        "/store/a//b",
        "/store/",
        "/healthz",
        "/livez",
        "/nowhere",
        "http://blobs.example/store/plain",
        "http://elsewhere.example/store/plain",
        "*",
    )

    def fields(self) -> list[list[str]]:
        """Fields that change the answer, and such that do not."""
        return [
            [],
            ["User-Agent: a", "Accept: */*", "Accept-Encoding: gzip, br"],
            ["Accept: application/json"],
            ["Cache-Control: no-cache", "Pragma: no-cache"],
            ["Range: bytes=1-2"],
            ["Range: bytes=1-2", f"If-Range: {self.etag}"],
            ["Range: bytes=99-"],
            [f"If-None-Match: {self.etag}"],
            ["If-None-Match: *"],
            ['If-Match: "a"'],
            ["If-Modified-Since: Tue, 14 Nov 2033 22:13:20 GMT"],
            ["If-Unmodified-Since: Tue, 14 Nov 2013 22:13:20 GMT"],
            ["Sec-Fetch-Mode: navigate"],
            ["Upgrade-Insecure-Requests: 1"],
            ["Origin: http://elsewhere.example", "Sec-Fetch-Site: cross-site"],
            ["Content-Length: 0"],
            ["Expect: 100-continue"],
            ["Expect: tea"],
            ["Connection: keep-alive"],
            ["Connection: close"],
            ["Authorization: Basic YTpi"],
            ["Want-Repr-Digest: sha-512=1"],
        ]

    def test_matrix(self) -> None:
        """Whatever is asked for, and whatever was asked for before."""
        for names in (None, {"blobs.example"}):
            pair = Pair(self.store, names)
            for target, fields in itertools.product(self.targets, self.fields()):
                with self.subTest(target=target, fields=fields):
                    for _ in range(3):
                        pair.send(get(target, *fields))
            self.assertGreater(len(pair.answers), 5)

    def test_side_by_side(self) -> None:
        """What one client's fields say changes nothing for another."""
        one = Pair(self.store)
        for target, fields in itertools.product(self.targets[:8], self.fields()):
            with self.subTest(target=target, fields=fields):
                one.send(get(target))
                two = one.beside()
                for _ in range(2):
                    two.send(get(target, *fields))
                    one.send(get(target))
        self.assertGreater(one.saved, len(self.targets[:8]) * len(self.fields()))

    def test_versions_and_methods(self) -> None:
        """An old client, a HEAD and a write are answered as ever between two GETs."""
        pair = Pair(self.store)
        for line in (
            "GET /store/plain HTTP/1.0",
            "GET /store/plain HTTP/1.2",
            "HEAD /store/plain HTTP/1.1",
            "OPTIONS /store/plain HTTP/1.1",
            "DELETE /store/none HTTP/1.1",
            "PATCH /store/plain HTTP/1.1",
        ):
            for connection in ([], [b"Connection: keep-alive"]):
                for _ in range(2):
                    pair.send(get("/store/plain"))
                    pair.send(head(*connection, line=line.encode(), host=b"Host: blobs.example"))

    def test_foreign_host(self) -> None:
        """A foreign Host is refused although the answer is kept, and gets no shortcut."""
        pair = Pair(self.store, {"blobs.example"})
        for _ in range(3):
            pair.send(get("/store/plain"))
        self.assertEqual(pair.saved, 2)
        for _ in range(3):
            pair.send(get("/store/plain", host="elsewhere.example"))
        self.assertEqual(pair.saved, 2)
        self.assertEqual(pair.cached.responses()[-1].code, 421)

    def test_saved(self) -> None:
        """What is plain and small is not dispatched from the second request of a client on."""
        pair = Pair(self.store)
        pair.send(get("/healthz"))
        for target in ("/store/plain", "/store/most", "/store/meta", "/store/a/%C3%A9%20b"):
            for _ in range(2):
                saved = pair.saved
                pair.send(get(target))
                self.assertEqual(pair.saved, saved + 1, target)
        for target in ("/store/more", "/store/none", "/store/plain?a", "/healthz", "/store/"):
            saved = pair.saved
            for _ in range(3):
                pair.send(get(target))
            self.assertEqual(pair.saved, saved, target)
        pair.connect()
        for _ in range(2):
            pair.send(get("/store/plain"))
        self.assertEqual(pair.saved, saved + 1)

    def test_long_location(self) -> None:
        """A location that is too long is refused, and so is a target that is."""
        pair = Pair(self.store, limits=Limits(max_uri_size=1100))
        self.store.add("a" * 1024)
        self.store.add("b" * 1024)
        pair.send(get("/healthz"))
        for target, code in [
            ("/store/" + "a" * 1024, 200),
            ("/store/" + "a" * 1025, 414),
            ("/store/" + "a" * 1000 + "%61" * 24, 200),
            ("/store/" + "b" * 900 + "%62" * 124, 414),
        ]:
            for _ in range(2):
                if pair.plain.wire.ending:
                    pair.connect()
                    pair.send(get("/healthz"))
                pair.send(get(target))
                self.assertEqual(pair.cached.responses()[-1].code, code, target)
        self.assertEqual(pair.saved, 4)


class Machine(RuleBasedStateMachine):
    """GETs with writes in between: with and without the cache they see the same."""

    locations = st.sampled_from(["a", "b", "c"])

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.pair = Pair(self.store, capacity=6000)

    @rule(location=locations, data=st.sampled_from([b"", b"1", b"2" * 900, b"3" * 70_000]))
    def write(self, location: str, data: bytes) -> None:
        self.store.add(location, data)

    @rule(location=locations)
    def delete(self, location: str) -> None:
        self.store.blobs.pop(location, None)

    @rule(location=locations, times=st.integers(1, 3), fields=st.sampled_from([[], ["Accept: a"]]))
    def read(self, location: str, times: int, fields: list[str]) -> None:
        if self.store.holding:
            for client in (self.pair.cached, self.pair.plain):
                if not client.wire.paused:
                    client.send(get(f"/store/{location}", *fields))
        else:
            self.pair.send(get(f"/store/{location}", *fields) * times)

    @rule(seconds=st.sampled_from([1.0, 59.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.pair.time.seconds += seconds

    @rule(seconds=st.sampled_from([-(1 << 30), 1 << 30]))
    def set_clock(self, seconds: int) -> None:
        self.pair.time.wall += seconds

    @rule()
    def hold(self) -> None:
        """From now on a read waits for the disk."""
        self.store.holding = True

    @rule()
    def release(self) -> None:
        """What was read is given, although its blob may have been replaced meanwhile."""
        while self.store.holding or self.store._kept:
            self.store.release()
        for client in (self.pair.cached, self.pair.plain):
            client.settle()

    def teardown(self) -> None:
        while self.store.holding or self.store._kept:
            self.store.release()


class MachineTests(Machine.TestCase):  # type: ignore[misc, name-defined]
    """The state machine, as a test."""

    settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class DiskTests(StoreCase):
    """The cache on a real store, whose disk may rot."""

    on_disk = True

    def setUp(self) -> None:
        """Store a blob and read it until its answer is kept."""
        super().setUp()
        assert self.store is not None
        self.clock.time = START
        self.blob = self.store_blob("a", b"data")
        self.answers = AnswerCache(MIB, self.store, self.timer.seconds)
        server = Server(self.store, self.answers)
        self.client, self.dispatched = server.connect(), server.dispatched
        for _ in range(3):
            self.assertEqual(self.ask().body, b"data")
        self.assertEqual(len(self.dispatched), 1)
        self.assertEqual(len(self.answers), 1)

    def ask(self) -> Response:
        """A GET and its answer."""
        count = len(self.client.responses())
        self.client.send(get("/store/a"))
        self.workers.run_all()
        self.client.settle()
        found = self.client.responses()
        self.assertEqual(len(found), count + 1)
        return found[-1]

    def test_damage_is_found(self) -> None:
        """A minute after the bytes were verified they are verified again, and 500 if damaged."""
        self.data(self.blob).write_bytes(b"rots")
        self.timer.time = 59.9
        self.assertEqual(self.ask().body, b"data")
        self.timer.time = 60.0
        self.assertEqual(self.ask().code, 500)
        self.assertEqual(self.ask().code, 500)

    def test_verified_again(self) -> None:
        """Bytes that are still good are read again each minute, and nobody notices."""
        hour = 3600
        for second in range(0, hour, 59):
            self.timer.time = second
            self.assertEqual(self.ask().body, b"data")
        self.assertEqual(len(self.dispatched), 1)

    def test_rest_of_the_minute(self) -> None:
        """An answer is good only for what its bytes were when it was made."""
        assert self.store is not None
        answers = AnswerCache(MIB, self.store, self.timer.seconds)
        line = b"GET /store/a HTTP/1.1"
        self.timer.time = 50.0
        self.assertIsNotNone(answers.find(line))
        self.data(self.blob).write_bytes(b"rots")
        self.timer.time = 59.9
        self.assertIsNotNone(answers.find(line))
        self.timer.time = 60.0
        self.assertIsNone(answers.find(line))

    def test_quarantined(self) -> None:
        """Damage that anybody finds, such as the scrub, ends the answer at once."""
        assert self.store is not None
        self.data(self.blob).write_bytes(b"rots")
        self.fails(self.store.verifier.verify("a", lambda size: succeed(None)), Damaged)
        self.assertEqual(self.ask().code, 500)

    def test_writes(self) -> None:
        """From the turn on in which a write is answered nobody gets the old answer."""
        assert self.store is not None
        self.store_blob("a", b"new")
        self.assertEqual(self.ask().body, b"new")
        self.wait(self.store.delete("a"))
        self.assertEqual(self.ask().code, 404)
        self.store_blob("a", b"data")
        found = self.ask()
        self.assertEqual(found.body, b"data")

    def test_until_the_switch(self) -> None:
        """While a replacement is being committed the old blob is what there is."""
        assert self.store is not None
        replaced = self.store.put("a", FakeBody(b"new"), Details())
        self.client.send(get("/store/a"))
        self.assertEqual(self.client.responses()[-1].body, b"data")
        self.wait(replaced)
        self.assertEqual(self.ask().body, b"new")


class Given:
    """A store that has what the test gives it."""

    def __init__(self) -> None:
        self.found: tuple[Committed, bytes, float] | None = None
        self.current = True
        self.reads = 0

    def read_now(self, location: str) -> tuple[Committed, bytes, float] | None:
        """Count the reads."""
        self.reads += 1
        return self.found

    def is_current(self, blob: Committed) -> bool:
        """Say what the test says."""
        return self.current


class KeptTests(SynchronousTestCase):
    """What is kept, and for how long."""

    def setUp(self) -> None:
        """A cache of a megabyte on a store where every blob is current until the test says so."""
        self.time = Time()
        self.store = Given()
        self.answers = self.cache(MIB)
        self.blob = self.committed("a", 4)

    def cache(self, capacity: int) -> AnswerCache:
        """A cache of this size."""
        store: Any = self.store
        return AnswerCache(capacity, store, lambda: self.time.seconds, lambda: self.time.wall)

    def committed(
        self, location: str, size: int, metadata: dict[str, str] | None = None
    ) -> Committed:
        """A blob."""
        return Committed(1, location, 1, size, os.urandom(32), START, None, metadata)

    def keep(
        self, blob: Committed, answers: AnswerCache | None = None, good_for: float = 60.0
    ) -> bytes:
        """Have the answer to a GET of a blob made; return its line."""
        raw = "".join(f"%{byte:02x}" for byte in blob.location.encode())
        line = f"GET /store/{raw} HTTP/1.1".encode()
        self.store.found = blob, os.urandom(blob.size), good_for
        (self.answers if answers is None else answers).find(line)
        self.store.found = None
        return line

    def test_kept(self) -> None:
        """An answer is found by its line, as long as its bytes are good."""
        line = self.keep(self.blob, good_for=7)
        self.assertIsNotNone(self.answers.find(line))
        self.assertIsNone(self.answers.find(line[:-1] + b"0"))
        self.time.seconds += 6.9
        self.assertIsNotNone(self.answers.find(line))
        self.time.seconds += 0.1
        self.assertIsNone(self.answers.find(line))
        self.assertEqual(len(self.answers), 0)

    def test_not_asked(self) -> None:
        """The store is asked for nothing but the GET of one location."""
        for line in (
            "HEAD /store/a HTTP/1.1",
            "GET /store/a HTTP/1.0",
            "GET /store/a HTTP/1.2",
            "GET /store/a/ HTTP/1.1",
            "GET /store/ HTTP/1.1",
            "GET /store/a?b HTTP/1.1",
            "GET /store/a#b HTTP/1.1",
            "GET /store/a//b HTTP/1.1",
            "GET /store/a/../b HTTP/1.1",
            "GET /store/%zz HTTP/1.1",
            "GET /store/a b HTTP/1.1",
            "GET /store/\xe9 HTTP/1.1",
            "GET  /store/a HTTP/1.1",
            "GET /stores/a HTTP/1.1",
            "GET //store/a HTTP/1.1",
            "GET http://x/store/a HTTP/1.1",
            "GET /store/a HTTP/1.1 ",
            "GET /store/a HTTP/1.1\n",
            "",
        ):
            self.assertIsNone(self.answers.find(line.encode("latin-1")))
            self.assertEqual(self.store.reads, 0, line)

    def test_may_read(self) -> None:
        """What a client may not read is not given to it, nor read for it."""
        asked: list[str] = []
        line = self.keep(self.blob)
        self.store.found = self.committed("b", 4), b"data", 60.0
        self.store.reads = 0
        for each, location in ((line, "a"), (b"GET /store/%62 HTTP/1.1", "b")):
            self.assertIsNone(self.answers.find(each, lambda location: asked.append(location)))
            self.assertEqual(asked.pop(), location)
        self.assertEqual(self.store.reads, 0)
        self.assertIsNotNone(self.answers.find(line, lambda location: location == "a"))

    def test_not_current(self) -> None:
        """An answer about a blob that is not current any more is dropped, and stays so."""
        line = self.keep(self.blob)
        self.store.current = False
        self.assertIsNone(self.answers.find(line))
        self.store.current = True
        self.assertIsNone(self.answers.find(line))

    def test_future(self) -> None:
        """An answer whose Last-Modified depends on the time is not made (RFC 9110 8.8.2.1)."""
        self.time.wall = START // 10**9 - 1
        self.keep(self.blob)
        self.assertEqual(len(self.answers), 0)
        self.time.wall += 1
        line = self.keep(self.blob)
        self.assertIsNotNone(self.answers.find(line))
        self.time.wall -= 1
        self.assertIsNone(self.answers.find(line))

    def test_oldest_goes(self) -> None:
        """When there is no room, the answers that were made first go first."""
        cache = self.cache(8000)
        lines = [self.keep(self.committed(name, 1000), cache) for name in "abcd"]
        found = [cache.find(line) is not None for line in lines]
        self.assertEqual(found, [False, True, True, True])

    def test_again(self) -> None:
        """An answer that is made anew takes the room of the one before."""
        cache = self.cache(8000)
        lines = [self.keep(self.committed(name, 1000), cache) for name in "bc"]
        for _ in range(9):
            self.keep(self.committed("a", 1000), cache, good_for=1)
            self.time.seconds += 1
        self.assertEqual([line for line in lines if cache.find(line) is None], [])

    def test_too_large(self) -> None:
        """An answer larger than the cache does not empty it."""
        cache = self.cache(8000)
        line = self.keep(self.committed("a", 100), cache)
        self.keep(self.committed("b", 8000), cache)
        self.assertIsNotNone(cache.find(line))

    def measured(self, make: Callable[[int], Committed]) -> tuple[int, int]:
        """How many bytes a cache of SIZE takes when it is full of these, and how many there are.

        All other memory is that of the test.
        """
        for number in range(20):
            self.keep(make(number), self.cache(SIZE))
        gc.collect()
        tracemalloc.start()
        try:
            cache = self.cache(SIZE)
            number = 0
            while number < 100 or len(cache) == number:
                number += 1
                self.keep(make(number), cache)
            for more in range(number):
                self.keep(make(number + more), cache)
            gc.collect()
            return tracemalloc.get_traced_memory()[0], len(cache)
        finally:
            tracemalloc.stop()

    def test_memory(self) -> None:
        """All that an answer keeps in memory counts: many small ones, long names, metadata."""
        many = {f"x-gostore-meta-{number}": "" for number in range(100)}
        kinds: list[Callable[[int], Committed]] = [
            lambda number: self.committed(f"blob-{number}", 0),
            lambda number: self.committed(f"blob-{number}", 1024),
            lambda number: self.committed(f"blob-{number}", 65536),
            lambda number: self.committed(f"{number}" + "\U0001f600" * 250, 10),
            lambda number: self.committed(
                f"blob-{number}", 10, {name + f"-{number}": "" for name in many}
            ),
        ]
        for at, kind in enumerate(kinds):
            with self.subTest(at):
                taken, count = self.measured(kind)
                self.assertGreater(count, 3)
                self.assertLessEqual(taken, SIZE)
                self.assertGreater(taken, SIZE // 3)
