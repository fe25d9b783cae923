"""The contract of store.interface: one suite for every provider, and the values of a request."""

from __future__ import annotations

import hashlib
import inspect
import tempfile
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.bucket.provider import BucketStore
from gostore.errors import (
    AlreadyExists,
    BodyFailed,
    ConditionFailed,
    DigestMismatch,
    NotFound,
    TooLarge,
    TooMuchMetadata,
)
from gostore.store import interface
from gostore.store.blobstore import BlobStore
from gostore.store.interface import (
    MAX_METADATA,
    SMALL_BLOB,
    Details,
    Lifecycle,
    Lifetime,
    Precondition,
    Store,
    Summary,
    Verifier,
    Versions,
)
from gostore.volume.volume import Volume
from tests.bucket.doubles import make_store
from tests.store.doubles import SECOND, FakeBody, InlineWorkers, PromptClock, Ticks
from tests.store.memory_store import START, MemoryStore

ANY = Versions(any=True)


def version(data: bytes) -> Versions:
    """The version of a blob that has these bytes."""
    return Versions(frozenset({hashlib.sha256(data).hexdigest()}))


class SignatureTests(SynchronousTestCase):
    """Providers have each method of their protocols, with the same parameters."""

    def check(self, protocol: type, *providers: type) -> None:
        """Compare the providers' methods with a protocol's."""
        names = [name for name in vars(protocol) if not name.startswith("_")]
        self.assertGreater(len(names), 1)
        for provider in providers:
            for name in names:
                if isinstance(vars(protocol)[name], property):
                    self.assertTrue(hasattr(provider, name), f"{provider.__name__}.{name}")
                    continue
                wanted = inspect.signature(getattr(protocol, name)).parameters.values()
                found = inspect.signature(getattr(provider, name)).parameters.values()
                self.assertEqual(
                    [(each.name, each.default) for each in found],
                    [(each.name, each.default) for each in wanted],
                    f"{provider.__name__}.{name}",
                )

    def test_store(self) -> None:
        """BlobStore, BucketStore and the tests' MemoryStore have the verbs."""
        self.check(Store, BlobStore, BucketStore, MemoryStore)

    def test_lifecycle(self) -> None:
        """BlobStore has a life that the daemon can direct, and a verifier."""
        self.check(Lifecycle, BlobStore, BucketStore)
        with tempfile.TemporaryDirectory() as directory:
            store = BlobStore(Volume(directory), InlineWorkers(), PromptClock())
            self.check(Verifier, type(store.verifier))

    def test_alone(self) -> None:
        """The contract pulls in no provider and no wire."""
        source = inspect.getsource(interface)
        imported = [line for line in source.splitlines() if line.startswith("from gostore")]
        self.assertEqual(
            imported,
            [
                "from gostore.blob import Committed",
                "from gostore.errors import ConditionFailed, TooMuchMetadata",
            ],
        )


class PreconditionTests(SynchronousTestCase):
    """What a write expects at its location."""

    OLD = Committed(1, "a", 1, 3, hashlib.sha256(b"old").digest(), 5_999_999_999, None, None)
    UNKNOWN = Committed(1, "a", 0, 3, None, 5_000_000_000, None, None)

    def test_versions(self) -> None:
        """A set of versions has those blobs whose digest it names, or every blob, or none."""
        self.assertIn(self.OLD, version(b"old"))
        self.assertNotIn(self.OLD, version(b"new"))
        self.assertNotIn(self.OLD, Versions())
        self.assertIn(self.OLD, ANY)
        self.assertIn(self.UNKNOWN, ANY)
        self.assertNotIn(self.UNKNOWN, version(b"old"))
        self.assertNotIn(None, ANY)

    def test_holds(self) -> None:
        """The blob is expected, or not newer than a time, and it is not unwanted."""
        for precondition, old, none in (
            (Precondition(), True, True),
            (Precondition(expected=version(b"old")), True, False),
            (Precondition(expected=version(b"new")), False, False),
            (Precondition(unwanted=version(b"old")), False, True),
            (Precondition(unwanted=ANY), False, True),
            (Precondition(unmodified_since=5), True, True),
            (Precondition(unmodified_since=4), False, True),
            (Precondition(expected=ANY, unmodified_since=4), True, False),
            (Precondition(expected=ANY, unwanted=version(b"old")), False, False),
        ):
            self.assertEqual(precondition.holds(self.OLD), old, precondition)
            self.assertEqual(precondition.holds(None), none, precondition)

    def test_value(self) -> None:
        """It can be compared, hashed and shown."""
        one, other = Precondition(version(b"a")), Precondition(version(b"a"))
        self.assertEqual({one: 1}, {other: 1})
        self.assertIn("expected=Versions", repr(one))

    def test_check(self) -> None:
        """What is not judged passes."""
        strict = Precondition(expected=version(b"new"))
        self.assertRaises(ConditionFailed, strict.check, "a", self.OLD)
        self.assertRaises(ConditionFailed, strict.check, "a", None)
        Precondition(version(b"new"), judged_if_missing=False).check("a", None)
        Precondition(version(b"new"), judged_if_present=False).check("a", self.OLD)

    def test_lifetime(self) -> None:
        """A blob stays for as long as was asked, and for less than a second more."""
        for now, end in ((0, 60), (1, 61), (SECOND, 61), (SECOND + 1, 62)):
            self.assertEqual(Lifetime(60).end(now), end)
        self.assertEqual(Lifetime(until=5).end(10 * SECOND), 5)

    def test_summary(self) -> None:
        """A start sums itself up in one line."""
        self.assertEqual(
            str(Summary(1, 2, 3, 4, 5, 0.678)),
            "Recovery: restored 1, finished 2, discarded 3, quarantined 4, foreign 5, 0.68 seconds",
        )


class Suite:
    """What every provider does; `store` is one without blobs."""

    store: Any
    clock: Ticks

    def write(self, verb: str, location: str, data: bytes, *rest: Any, **details: Any) -> Any:
        """Ask for a write of a body that is here."""
        return getattr(self.store, verb)(location, FakeBody(data), Details(**details), *rest)

    def made(self, location: str, data: bytes = b"data", **details: Any) -> Committed:
        """Create a blob."""
        return self.successResultOf(self.write("create", location, data, **details))

    def read(self, location: str) -> bytes:
        """All bytes of a blob."""
        blob = self.successResultOf(self.store.get(location))
        content = self.successResultOf(self.store.content(blob))
        data = content.read(0, blob.size)
        found = self.successResultOf(data) if isinstance(data, Deferred) else data
        content.close()
        return found

    def refused(self, verb: str, error: type[Exception], *rest: Any) -> None:
        """See that a write to "a" is refused before its body is asked for."""
        body = FakeBody(complete=False, length=3)
        self.failureResultOf(getattr(self.store, verb)("a", body, Details(), *rest), error)
        self.assertEqual(body.delivered, 0)

    def test_create(self) -> None:
        """A new blob has its bytes, their digest and what was said of them."""
        for size in (0, 5, SMALL_BLOB + 1):
            data = b"x" * size
            blob = self.made(f"a{size}", data, content_type="text/plain", metadata={"m": "1"})
            self.assertEqual(blob, self.successResultOf(self.store.get(f"a{size}")))
            self.assertEqual((blob.location, blob.size), (f"a{size}", size))
            self.assertEqual(blob.sha256, hashlib.sha256(data).digest())
            self.assertEqual((blob.content_type, blob.metadata), ("text/plain", {"m": "1"}))
            self.assertEqual(self.read(f"a{size}"), data)

    def test_create_twice(self) -> None:
        """A location has one blob; a second is refused."""
        self.made("a")
        self.refused("create", AlreadyExists)
        self.assertEqual(self.read("a"), b"data")

    def test_replace(self) -> None:
        """A replacement is another blob, and only where there is one."""
        self.refused("replace", NotFound)
        old = self.made("a")
        new = self.successResultOf(self.write("replace", "a", b"new"))
        self.assertEqual(self.successResultOf(self.store.get("a")), new)
        self.assertNotEqual(old.id, new.id)
        self.assertGreater(new.generation, old.generation)
        self.assertEqual(self.read("a"), b"new")
        if not self.keeps_replaced:
            self.failureResultOf(self.store.content(old), NotFound)

    #: Whether it knows, without asking anybody, that a blob is still what its location has.
    knows_what_is_current = True

    #: Whether the bytes of a replaced blob can be read for a while.
    keeps_replaced = False

    def test_put(self) -> None:
        """A put creates or replaces, and says which."""
        self.assertTrue(self.successResultOf(self.write("put", "a", b"1"))[1])
        self.assertFalse(self.successResultOf(self.write("put", "a", b"2"))[1])
        self.assertEqual(self.read("a"), b"2")

    def test_keep_metadata(self) -> None:
        """What is kept is that of the version which is replaced, as it is when the body is here."""
        first = Details("text/plain", {"x-gostore-meta-a": "1", "x-gostore-meta-b": "1"})
        self.successResultOf(self.store.create("a", FakeBody(b"1"), first))
        slow = FakeBody(complete=False, length=4)
        keep = Details(None, {"x-gostore-meta-b": "3"}, keeps_metadata=True)
        replaced = self.store.replace("a", slow, keep)
        second = Details("text/html", {"x-gostore-meta-a": "2"})
        self.successResultOf(self.store.replace("a", FakeBody(b"2"), second))
        slow.finish(b"slow")
        blob = self.successResultOf(replaced)
        self.assertEqual(blob.content_type, "text/html")
        self.assertEqual(blob.metadata, {"x-gostore-meta-a": "2", "x-gostore-meta-b": "3"})

    def test_keep_too_much(self) -> None:
        """More metadata than one upload may bring are not kept, and the old version stays."""
        half = "a" * (MAX_METADATA // 2)
        first = Details(None, {"x-gostore-meta-a": half})
        self.successResultOf(self.store.create("a", FakeBody(b"old"), first))
        more = Details(None, {"x-gostore-meta-b": half}, keeps_metadata=True)
        replaced = self.store.replace("a", FakeBody(b"new"), more)
        self.failureResultOf(replaced, TooMuchMetadata)
        self.assertEqual(self.read("a"), b"old")

    def test_delete(self) -> None:
        """A deleted blob is gone, and its location free."""
        self.failureResultOf(self.store.delete("a"), NotFound)
        self.made("a")
        self.assertIsNone(self.successResultOf(self.store.delete("a")))
        self.failureResultOf(self.store.get("a"), NotFound)
        self.made("a", b"again")
        self.assertEqual(self.read("a"), b"again")

    def test_preconditions(self) -> None:
        """A write whose precondition does not hold is refused, and changes nothing."""
        self.made("a", b"old")
        wrong = Precondition(expected=version(b"older"))
        for verb in ("create", "replace", "put"):
            self.refused(verb, ConditionFailed, wrong)
        self.failureResultOf(self.store.delete("a", wrong), ConditionFailed)
        self.assertEqual(self.read("a"), b"old")
        right = Precondition(expected=version(b"old"))
        self.successResultOf(self.write("replace", "a", b"new", right))
        self.failureResultOf(self.store.delete("a", right), ConditionFailed)
        self.successResultOf(self.store.delete("a", Precondition(version(b"new"))))
        self.failureResultOf(self.store.get("a"), NotFound)

    def test_precondition_at_commit(self) -> None:
        """A precondition must still hold when the body is here."""
        self.made("a", b"old")
        slow = FakeBody(complete=False, length=4)
        right = Precondition(expected=version(b"old"))
        replaced = self.store.replace("a", slow, Details(), right)
        self.successResultOf(self.write("replace", "a", b"fast", right))
        slow.finish(b"slow")
        self.failureResultOf(replaced, ConditionFailed)
        self.assertEqual(self.read("a"), b"fast")

    def test_lost_race(self) -> None:
        """What a verb needs must still be so when the body is here."""
        slow = FakeBody(complete=False, length=4)
        created = self.store.create("a", slow, Details())
        self.successResultOf(self.write("put", "a", b"fast"))
        slow.finish(b"slow")
        self.failureResultOf(created, AlreadyExists)
        slow = FakeBody(complete=False, length=4)
        replaced = self.store.replace("a", slow, Details())
        self.successResultOf(self.store.delete("a"))
        slow.finish(b"slow")
        self.failureResultOf(replaced, NotFound)

    def test_bad_body(self) -> None:
        """A body that breaks off, or has another digest than announced, leaves nothing."""
        body = FakeBody(b"12", complete=False, length=4)
        created = self.store.create("a", body, Details())
        body.fail("Client went away after 2 of 4 bytes")
        self.failureResultOf(created, BodyFailed)
        for name in ("md5", "sha256", "sha512"):
            wrong = self.write("create", "a", b"data", digests={name: b"no digest"})
            self.failureResultOf(wrong, DigestMismatch)
        self.failureResultOf(self.store.get("a"), NotFound)
        self.made("a", digests={"md5": hashlib.md5(b"data").digest()})

    def test_too_large(self) -> None:
        """A body that is announced larger than the limit is refused."""
        body = FakeBody(length=self.limit + 1)
        self.failureResultOf(self.store.create("a", body, Details()), TooLarge)
        self.assertEqual(body.delivered, 0)

    limit = 1_000_000

    def test_list(self) -> None:
        """Pages are in the order of the locations' bytes, each blob once, groups rolled up."""
        for location in ("b/2", "a", "é", "b/1", "c"):
            self.made(location)

        def page(**what: Any) -> tuple[list[str], str | None]:
            page = self.successResultOf(self.store.list(**what))
            names = [one if isinstance(one, str) else one.location for one in page.entries]
            return names, page.next_after

        self.assertEqual(page(), (["a", "b/1", "b/2", "c", "é"], None))
        self.assertEqual(page(limit=2), (["a", "b/1"], "b/1"))
        self.assertEqual(page(after="b/1", limit=3), (["b/2", "c", "é"], None))
        self.assertEqual(page(delimiter="/"), (["a", "b/", "c", "é"], None))
        self.assertEqual(page(prefix="b/"), (["b/1", "b/2"], None))
        self.assertEqual(page(prefix="x"), ([], None))

    def test_list_of_some(self) -> None:
        """A list steps over what it may not show, and its last page knows that it is the last."""
        for location in ("a/1", "b/1", "b/2", "c/1"):
            self.made(location)

        def seek(location: str) -> str | None:
            return location if location.startswith("b/") else "b/" if location < "b/" else None

        page = self.successResultOf(self.store.list(limit=2, seek=seek))
        self.assertEqual([getattr(each, "location", each) for each in page.entries], ["b/1", "b/2"])
        self.assertIsNone(page.next_after)
        page = self.successResultOf(self.store.list(delimiter="/", seek=seek))
        self.assertEqual(page.entries, ["b/"])

    def test_expires(self) -> None:
        """A blob is there until its second comes, and no verb finds it from then on."""
        blob = self.made("a", lifetime=Lifetime(60))
        self.assertEqual(blob.expires, START // SECOND + 60)
        self.made("b")
        self.clock.time = START + 60 * SECOND - 1
        self.assertEqual(self.successResultOf(self.store.get("a")), blob)
        content = self.successResultOf(self.store.content(blob))
        self.assertIs(self.store.is_current(blob), self.knows_what_is_current)
        self.refused("create", AlreadyExists)
        self.clock.time += 1
        self.failureResultOf(self.store.get("a"), NotFound)
        self.failureResultOf(self.store.content(blob), NotFound)
        self.assertFalse(self.store.is_current(blob))
        self.assertIsNone(self.store.read_now("a"))
        self.failureResultOf(self.store.delete("a"), NotFound)
        self.refused("replace", NotFound)
        self.refused("replace", ConditionFailed, Precondition(expected=version(b"data")))
        (entry,) = self.successResultOf(self.store.list()).entries
        self.assertEqual(entry.location, "b")
        # Whoever has begun to read gets all of it.
        data = content.read(0, 4)
        found = self.successResultOf(data) if isinstance(data, Deferred) else data
        self.assertEqual(found, b"data")
        content.close()

    def test_after_expiry(self) -> None:
        """The location of a blob that is over is free, and nothing of that is kept for the next."""
        details = {"content_type": "text/plain", "lifetime": Lifetime(60)}
        for verb in ("create", "put"):
            self.made(verb, **details)
            self.clock.time += 60 * SECOND
            new = self.successResultOf(self.write(verb, verb, b"new", keeps_metadata=True))
            if verb == "put":
                new, is_new = new
                self.assertTrue(is_new)
            self.assertEqual((new.content_type, new.expires), (None, None))
            self.assertEqual(self.read(verb), b"new")

    def test_expiry_anew(self) -> None:
        """A new version expires as its own upload says, or not at all."""
        self.made("a", lifetime=Lifetime(60))
        until = START // SECOND + 90
        for lifetime, expires in ((Lifetime(until=until), until), (None, None)):
            details = {"lifetime": lifetime, "keeps_metadata": True}
            blob = self.successResultOf(self.write("replace", "a", b"new", **details))
            self.assertEqual(blob.expires, expires)
        self.clock.time += 1000 * SECOND
        self.assertEqual(self.read("a"), b"new")

    def test_expired_by_the_commit(self) -> None:
        """A PUT whose blob is over when its body is here replaces nothing."""
        self.made("a", lifetime=Lifetime(60))
        slow = FakeBody(complete=False, length=4)
        replaced = self.store.replace("a", slow, Details())
        self.clock.time += 60 * SECOND
        slow.finish(b"slow")
        self.failureResultOf(replaced, NotFound)

    def test_healthy(self) -> None:
        """A store in good health says nothing."""
        self.store.check_health()


class MemoryStoreTests(Suite, SynchronousTestCase):
    """The suite on the tests' own provider."""

    def setUp(self) -> None:
        """Have no blobs."""
        self.clock = Ticks(START, step=0)
        self.store = MemoryStore(max_blob_size=self.limit)
        self.store.now = self.clock


class BlobStoreTests(Suite, SynchronousTestCase):
    """The suite on a directory."""

    def setUp(self) -> None:
        """Open an empty directory."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.clock = Ticks(START, step=0)
        self.store = BlobStore(
            Volume(directory.name, now=self.clock),
            InlineWorkers(),
            PromptClock(),
            reserve=0,
            max_blob_size=self.limit,
        )
        self.store.open()
        self.store.start()
        self.addCleanup(self.store.close)


class BucketStoreTests(Suite, SynchronousTestCase):
    """The suite on a bucket."""

    keeps_replaced = True
    knows_what_is_current = False

    def setUp(self) -> None:
        """Have an empty bucket."""
        self.clock = Ticks(START, step=0)
        self.store, _ = make_store(wall=self.clock, max_blob_size=self.limit)
