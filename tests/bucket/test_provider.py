"""The store's interface over a bucket: what a caller gets, and what is in the bucket then."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gostore.bucket import provider
from gostore.bucket.engine import Found, Refused, Unsettled
from gostore.bucket.objects import memory_engine
from gostore.bucket.pointer import DATA, parse, pointer_key, record_key
from gostore.bucket.protocol import OutcomeUnknown
from gostore.bucket.threads import CROWD, DEADLINE, THREADS, WAITING, Threads
from gostore.errors import (
    Busy,
    Damaged,
    DiskFailed,
    NoIds,
    NotFound,
    ReadOnly,
    Stopping,
    VolumeUnusable,
)
from gostore.statefile import parse as parse_record
from gostore.store.interface import SMALL_BLOB, Details
from tests.bucket.doubles import InlineThreads, make_store
from tests.store.doubles import FakeBody

LARGE = b"0123456789abcdef" * 400_000


class ProviderTests(SynchronousTestCase):
    """A store over objects in memory."""

    def setUp(self) -> None:
        """Have no blobs."""
        self.store, self.engine = make_store()

    def test_objects(self) -> None:
        """A blob is a pointer, its bytes and a record; what is replaced gets a marker."""
        details = Details("text/plain", {"x-gostore-meta-a": "b"})
        made = self.successResultOf(self.store.create("a", FakeBody(b"1", origin="me"), details))
        blob = parse(self.engine.get(pointer_key("a")).data, "a").blob
        self.assertEqual(blob, made)
        record = parse_record(self.engine.get(record_key(made.id)).data, max_id=2**128)
        self.assertEqual([each.state.title for each in record.log], ["OK", "Pending", "OK"])
        self.assertIn("(me)", record.log[0].message)
        self.assertEqual(record.metadata, {"x-gostore-meta-a": "b"})
        self.successResultOf(self.store.replace("a", FakeBody(b"2"), Details(keeps_metadata=True)))
        kept = self.successResultOf(self.store.get("a"))
        self.assertEqual(
            (kept.content_type, kept.metadata), ("text/plain", {"x-gostore-meta-a": "b"})
        )
        self.assertGreater(kept.generation, made.generation)
        markers = [each.key for each in self.engine.list("garbage/")]
        self.assertEqual(markers, [f"garbage/{made.id}"])
        self.assertEqual(self.engine.get(markers[0]).data, b"a")

    def test_large(self) -> None:
        """A large blob is uploaded in parts and read in spans, in order or not."""
        body = FakeBody(LARGE[:100], LARGE[100:])
        blob = self.successResultOf(self.store.create("a", body, Details()))
        self.assertEqual(blob.sha256, hashlib.sha256(LARGE).digest())
        content = self.successResultOf(self.store.content(blob))
        found = b""
        while len(found) < len(LARGE):
            piece = content.read(len(found), min(65536, len(LARGE) - len(found)))
            found += piece if isinstance(piece, bytes) else self.successResultOf(piece)
        self.assertEqual(found, LARGE)
        piece = content.read(5, 3)
        assert isinstance(piece, Deferred)
        self.assertEqual(self.successResultOf(piece), LARGE[5:8])
        content.close()

    def test_damaged_large(self) -> None:
        """The last bytes of a large blob with another digest are never given."""
        blob = self.successResultOf(self.store.create("a", FakeBody(LARGE), Details()))
        pointer = self.engine.get(pointer_key("a"))
        wrong = pointer.data.replace(hashlib.sha256(LARGE).hexdigest().encode(), b"0" * 64)
        self.engine.swap(pointer_key("a"), wrong, pointer.etag)
        blob = self.successResultOf(self.store.get("a"))
        content = self.successResultOf(self.store.content(blob))
        with self.assertRaises(Damaged):
            for at in range(0, len(LARGE), 65536):
                piece = content.read(at, min(65536, len(LARGE) - at))
                if isinstance(piece, Deferred):
                    failures: list[Exception] = []
                    piece.addErrback(lambda failure, to=failures: to.append(failure.value))
                    if failures:
                        raise failures[0]

    def test_health(self) -> None:
        """A bucket that refuses, or does not answer, makes the store unhealthy until it does."""
        self.store.check_health()
        get = self.engine.get

        def fail(*arguments: object) -> None:
            raise Refused("InvalidAccessKeyId")

        self.engine.get = fail  # type: ignore[method-assign,assignment]
        refused = self.failureResultOf(self.store.get("a"), DiskFailed)
        self.assertEqual(str(refused.value), "The bucket refused: InvalidAccessKeyId")
        with self.assertRaises(ReadOnly) as caught:
            self.store.check_health()
        self.assertIn("InvalidAccessKeyId", str(caught.exception))
        self.engine.get = get  # type: ignore[method-assign]
        self.successResultOf(self.store.collect())
        self.store.check_health()
        self.successResultOf(self.store.stop())
        with self.assertRaises(Stopping):
            self.store.check_health()
        self.failureResultOf(self.store.create("a", FakeBody(b"x"), Details()), Stopping)
        self.failureResultOf(self.store.delete("a"), Stopping)

    def test_long_collection(self) -> None:
        """A collection may take hours: one is under way at a time, and the bucket is healthy."""
        self.patch(provider, "CHORES_EVERY", 0.0)
        begun: list[Deferred[None]] = []

        class Slow(InlineThreads):
            def chore(self, function: Callable[[], None]) -> Deferred[None]:
                begun.append(Deferred())
                return begun[-1]

        store, _ = make_store(threads=Slow)
        for _ in range(3):
            self.successResultOf(store.collect())
        self.assertEqual(len(begun), 1)
        store.check_health()
        begun[0].callback(None)
        self.successResultOf(store.collect())
        self.assertEqual(len(begun), 2)

    def test_fetch(self) -> None:
        """A blob is found and opened in one go, small or large, by two requests if it is small."""
        self.successResultOf(self.store.create("a", FakeBody(b"small"), Details()))
        self.successResultOf(self.store.create("b", FakeBody(LARGE), Details()))
        assert self.store.engine is not None
        before = self.store.engine.counts["get", "ok"]
        blob, content = self.successResultOf(self.store.fetch("a"))
        self.assertEqual(content.read(0, blob.size), b"small")
        self.assertEqual(self.store.engine.counts["get", "ok"], before + 2)
        blob, content = self.successResultOf(self.store.fetch("b"))
        self.assertEqual(self.successResultOf(content.read(0, 16)), LARGE[:16])  # type: ignore[arg-type]
        self.failureResultOf(self.store.fetch("c"), NotFound)

    def test_fetch_of_what_changes(self) -> None:
        """A blob that is collected between the two requests is looked for again, a few times."""
        self.successResultOf(self.store.create("a", FakeBody(b"first"), Details()))
        get, collected = self.engine.get, []

        def collect(key: str, *more: Any) -> Found:
            if key.endswith(DATA) and len(collected) < self.most:
                collected.append(key)
                self.engine.delete(key)
                self.successResultOf(self.store.replace("a", FakeBody(b"next"), Details()))
            return get(key, *more)

        self.engine.get = collect  # type: ignore[method-assign,assignment]
        self.most = 2
        _, content = self.successResultOf(self.store.fetch("a"))
        self.assertEqual(content.read(0, 4), b"next")
        self.most = 1000
        self.failureResultOf(self.store.fetch("a"), Busy)

    def test_other_bits(self) -> None:
        """A daemon that asks for ids of another width does not start, and says why."""
        with self.assertRaises(VolumeUnusable) as caught:
            make_store(self.engine, id_bits=64)
        self.assertIn("its ids have 128 bits, not 64", str(caught.exception))
        self.engine.put("store.json", b"<html>")
        with self.assertRaises(VolumeUnusable):
            make_store(self.engine)

    def test_narrow_ids(self) -> None:
        """When all ids of 16 bits are taken a write gets NoIds; those of what is collected return.

        The last free one is found, too, and a PUT needs one as a POST does.
        """
        engine = memory_engine()
        for blob_id in range(65536):
            if blob_id not in (7, 40_000):
                engine.put(record_key(blob_id), b"the record of a blob of somebody else")
        store, _ = make_store(engine, id_bits=16, grace=0.0)
        made = [
            self.successResultOf(store.create(name, FakeBody(b"x"), Details())) for name in "ab"
        ]
        self.assertEqual({blob.id for blob in made}, {7, 40_000})
        self.failureResultOf(store.create("c", FakeBody(b"x"), Details()), NoIds)
        self.failureResultOf(store.replace("a", FakeBody(b"x"), Details()), NoIds)
        self.successResultOf(store.delete("a"))
        store._protocol.staging._full_until = 0.0
        self.failureResultOf(store.create("c", FakeBody(b"x"), Details()), NoIds)
        self.assertEqual(store._collection.collect_marked(), 1)
        store._protocol.staging._full_until = 0.0
        again = self.successResultOf(store.create("c", FakeBody(b"again"), Details()))
        self.assertEqual(again.id, made[0].id)
        _, content = self.successResultOf(store.fetch("c"))
        self.assertEqual(content.read(0, 5), b"again")
        _, content = self.successResultOf(store.fetch("b"))
        self.assertEqual(content.read(0, 1), b"x")

    def test_unfit_engine(self) -> None:
        """An engine that ignores a condition is refused, and what it ignores is named."""
        for method, said in (("create", "If-None-Match"), ("swap", "If-Match")):
            _, engine = make_store()

            def ignore(key: str, data: bytes, etag: str = "", engine: object = engine) -> str:
                return type(self.engine).put(engine, key, data)  # type: ignore[arg-type]

            setattr(engine, method, ignore)
            with self.assertRaises(VolumeUnusable) as caught:
                make_store(engine)
            self.assertIn(said, str(caught.exception))

    def test_small_limit(self) -> None:
        """A chunked body beyond 64 KiB becomes an upload in parts."""
        body = FakeBody(bytes(SMALL_BLOB), b"x", length=None)
        blob = self.successResultOf(self.store.create("a", body, Details()))
        self.assertEqual(blob.size, SMALL_BLOB + 1)


class ThreadsTests(SynchronousTestCase):
    """What is refused, and what is answered at its deadline."""

    def setUp(self) -> None:
        """Have threads that are not started."""
        self.clock = Clock()
        self.judged: list[object] = []
        self.threads = Threads(self.clock, self.judged.append, 4)

    def test_bounds(self) -> None:
        """So many requests may be at work or wait; the next one is refused at once."""
        waiting = [self.threads.run(lambda until: None) for _ in range(THREADS + WAITING)]
        refused = self.failureResultOf(self.threads.run(lambda until: None), Busy)
        self.assertEqual(refused.value.retry_after, 1)
        self.clock.advance(DEADLINE)
        for each in waiting:
            self.failureResultOf(each, OutcomeUnknown)
        self.assertEqual(len(self.judged), len(waiting))

    def test_chores(self) -> None:
        """A chore has no deadline; one runs at a time, and an error of one is its own."""
        calls: SimpleQueue[Any] = SimpleQueue()
        reactor = SimpleNamespace(callFromThread=lambda *call: calls.put(call))
        threads = Threads(reactor, self.judged.append, 4)
        threads.start()
        self.addCleanup(threads.stop)

        def fail() -> None:
            raise Unsettled("lost")

        done = [threads.chore(lambda: None), threads.chore(fail)]
        self.assertEqual(threads.ongoing.count, 2)
        for _ in done:
            function, *arguments = calls.get(timeout=60)
            function(*arguments)
        self.successResultOf(done[0])
        self.failureResultOf(done[1], Unsettled)
        self.assertEqual(threads.ongoing.count, 0)

    def test_turns(self) -> None:
        """One request of a location is at work at a time, and so many may wait for it."""
        for _ in range(CROWD + 1):
            self.threads.run_in_turn("a", lambda until: None).addErrback(lambda failure: None)
        self.failureResultOf(self.threads.run_in_turn("a", lambda until: None), Busy)
        other = self.threads.run_in_turn("b", lambda until: None)
        self.assertNoResult(other)
        self.clock.advance(DEADLINE)
        self.failureResultOf(other, OutcomeUnknown)

    def test_real_threads(self) -> None:
        """Steps are taken at the same time, all are over before the first error is raised."""
        self.threads.start()
        self.addCleanup(self.threads.stop)
        over: list[int] = []

        failed = Event()

        def fail() -> None:
            failed.set()
            raise Unsettled("lost")

        def late() -> None:
            failed.wait(60)
            over.append(1)

        with self.assertRaises(Unsettled):
            self.threads.together([lambda: None, fail, late])
        self.assertEqual(over, [1])
        self.assertEqual(self.threads.together([lambda: 1, lambda: 2]), [1, 2])

    def test_after(self) -> None:
        """What comes after an answer is in its thread, only after a success; its error is lost."""
        calls: SimpleQueue[Any] = SimpleQueue()
        reactor = SimpleNamespace(
            callFromThread=lambda *call: calls.put(call), callLater=self.clock.callLater
        )
        threads = Threads(reactor, self.judged.append, 4)
        threads.start()
        seen: list[int] = []

        def after(result: int) -> None:
            seen.append(result)
            raise KeyError(result)

        def fail(until: float) -> int:
            raise Unsettled("lost")

        good = threads.run_in_turn("a", lambda until: 7, after)
        bad = threads.run_in_turn("b", fail, after)
        for _ in range(2):
            function, *arguments = calls.get(timeout=60)
            function(*arguments)
        self.assertEqual(self.successResultOf(good), 7)
        self.failureResultOf(bad, Unsettled)
        threads.stop()
        self.assertEqual(seen, [7])
