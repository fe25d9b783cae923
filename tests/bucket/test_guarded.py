"""A bucket that has become another one is asked for nothing, whatever it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from obstore.store import MemoryStore
from twisted.trial.unittest import SynchronousTestCase

from gostore.bucket.engine import Full, Missing, Refused, Unsettled
from gostore.bucket.guarded import GuardedEngine
from gostore.bucket.objects import ObjectStoreEngine, memory_engine
from gostore.bucket.pointer import STORE
from gostore.bucket.probe import Description
from gostore.errors import DiskFailed, NotFound, ReadOnly
from gostore.store.interface import Details
from tests.bucket.doubles import make_store
from tests.store.doubles import FakeBody


def fail_once(
    engine: ObjectStoreEngine, error: Exception, then: Callable[[], None] = lambda: None
) -> None:
    """Let the next read fail, and something happen with it."""
    get = engine.get

    def fail(*_: object) -> None:
        engine.get = get  # type: ignore[method-assign]
        then()
        raise error

    engine.get = fail  # type: ignore[method-assign,assignment]


def empty(engine: ObjectStoreEngine) -> None:
    """Delete the bucket, and make it again."""
    engine._store = MemoryStore()


class GuardedEngineTests(SynchronousTestCase):
    """An engine that is guarded."""

    def setUp(self) -> None:
        """Have a store."""
        self.engine = memory_engine()
        self.description = Description(128, "2026-11-22T11:01:42Z")
        self.engine.put(STORE, self.description.dump())
        self.engine.put("a", b"1")
        self.guarded = GuardedEngine(self.engine, self.description)

    def test_trouble(self) -> None:
        """After a refusal, and after no answer, nothing is passed on before a good look."""
        requests: list[Callable[[], Any]] = [
            lambda: self.guarded.get("a"),
            lambda: self.guarded.put("a", b"2"),
            lambda: self.guarded.create("b", b"2"),
            lambda: self.guarded.swap("a", b"2", ""),
            lambda: self.guarded.delete("a"),
            lambda: list(self.guarded.list("")),
            lambda: self.guarded.upload("a", iter([b"2"]), 1),
        ]
        for error in (Refused("NoSuchBucket"), Unsettled("SlowDown")):
            fail_once(self.engine, error)
            self.assertRaises(type(error), self.guarded.get, "a")
            self.assertTrue(self.guarded.in_doubt)
            self.engine.delete(STORE)
            for request in requests:
                with self.assertRaisesRegex(Refused, "store.json is gone"):
                    request()
            self.assertEqual([each.key for each in self.engine.list("")], ["a"])
            self.engine.put(STORE, self.description.dump())
            self.assertEqual(self.guarded.get("a").data, b"1")
            self.assertFalse(self.guarded.in_doubt)

    def test_no_trouble(self) -> None:
        """What is missing and what is full say nothing of whose bucket it is."""
        self.engine.delete(STORE)
        self.assertRaises(Missing, self.guarded.get, "b")
        fail_once(self.engine, Full("it has no room"))
        self.assertRaises(Full, self.guarded.get, "b")
        self.assertFalse(self.guarded.in_doubt)

    def test_trouble_meanwhile(self) -> None:
        """A request that finds nothing, while another meets trouble, is not believed."""
        get = self.engine.get

        def beside(key: str, *more: Any) -> Any:
            self.engine.get = get  # type: ignore[method-assign]
            fail_once(self.engine, Refused("NoSuchBucket"))
            self.assertRaises(Refused, self.guarded.get, "a")
            empty(self.engine)
            return get(key, *more)

        self.engine.get = beside  # type: ignore[method-assign]
        self.assertRaises(Refused, self.guarded.get, "b")

    def test_another(self) -> None:
        """The description of another store, and what is none, are refused."""
        others = [
            Description(128, "2026-11-23T11:01:42Z").dump(),
            Description(64, self.description.created).dump(),
            b"{}",
        ]
        for other in others:
            self.engine.put(STORE, other)
            self.assertRaises(Refused, self.guarded.look)
            self.assertRaises(Refused, self.guarded.get, "a")
        migrating = Description(128, self.description.created, "directory /srv/blobs")
        self.engine.put(STORE, migrating.dump())
        self.guarded.look()


class LostBucketTests(SynchronousTestCase):
    """A store whose bucket is taken from it."""

    def setUp(self) -> None:
        """Have a blob."""
        self.store, self.engine = make_store()
        self.successResultOf(self.store.create("a", FakeBody(b"1"), Details()))

    def is_refused(self) -> None:
        """Nothing is found, written or deleted, and the health says so."""
        for _ in range(2):
            self.failureResultOf(self.store.fetch("a"), DiskFailed)
            self.failureResultOf(self.store.get("b"), DiskFailed)
            self.failureResultOf(self.store.create("b", FakeBody(b"1"), Details()), DiskFailed)
            self.failureResultOf(self.store.delete("a"), DiskFailed)
            self.failureResultOf(self.store.list(), DiskFailed)
            # What asks for nothing heals nothing.
            self.successResultOf(self.store.ask(lambda until: None))
            with self.assertRaisesRegex(ReadOnly, "store.json"):
                self.store.check_health()

    def test_deleted(self) -> None:
        """A bucket that was deleted and comes back empty has no answer, and no write is taken."""
        fail_once(self.engine, Refused("NoSuchBucket"), lambda: empty(self.engine))
        self.failureResultOf(self.store.create("c", FakeBody(b"1"), Details()), DiskFailed)
        self.is_refused()
        self.assertEqual(list(self.engine.list("")), [])

    def test_lost(self) -> None:
        """The look that is taken now and then sees that store.json is gone, or is back."""
        kept = self.engine.get(STORE).data
        self.engine.delete(STORE)
        self.successResultOf(self.store.collect())
        self.is_refused()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.engine.put(STORE, kept)
        self.successResultOf(self.store.collect())
        self.store.check_health()
        self.successResultOf(self.store.fetch("a"))
        self.failureResultOf(self.store.get("b"), NotFound)

    def test_replaced(self) -> None:
        """A bucket with the store.json of another store is not used."""
        members = json.loads(self.engine.get(STORE).data)
        members["created"] = "2001-02-03T04:05:06Z"
        self.engine.put(STORE, json.dumps(members).encode())
        self.successResultOf(self.store.collect())
        self.is_refused()
