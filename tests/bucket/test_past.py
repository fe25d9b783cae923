"""What a bucket that keeps no history answers about versions, and copies within it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.bucket.past import BucketPast
from gostore.bucket.pointer import data_key, parse, pointer_key
from gostore.errors import (
    AlreadyExists,
    ConditionFailed,
    Damaged,
    NotFound,
    NoVersion,
)
from gostore.store.interface import Details, Precondition, Versions
from gostore.store.versions import Restore
from tests.bucket.doubles import make_store
from tests.bucket.test_provider import LARGE
from tests.store.doubles import FakeBody


class PastTests(SynchronousTestCase):
    """A store with a small and a large blob."""

    def setUp(self) -> None:
        """Store them."""
        self.store, self.engine = make_store()
        self.past = BucketPast(self.store)
        details = Details("text/plain", {"x-gostore-meta-a": "b"})
        for location, data in (("small", b"small"), ("large", LARGE), ("empty", b"")):
            body = FakeBody(data, origin="alice, 7")
            self.successResultOf(self.store.create(location, body, details))

    def read(self, location: str) -> bytes:
        """The bytes that the bucket has for a location."""
        blob = parse(self.engine.get(pointer_key(location)).data, location).blob
        assert blob is not None
        return self.engine.get(data_key(blob.id), blob.detag).data

    def test_copy(self) -> None:
        """A copy has the bytes, the type and the metadata, and objects of its own."""
        for source, data in (("small", b"small"), ("large", LARGE), ("empty", b"")):
            copy = Restore(None, "bob, 8", exists=False, source=source)
            made, is_new = self.successResultOf(self.past.restore(f"{source}2", copy))
            before = self.successResultOf(self.store.get(source))
            self.assertTrue(is_new)
            self.assertEqual(
                (made.sha256, made.content_type, made.metadata),
                (before.sha256, before.content_type, before.metadata),
            )
            self.assertNotEqual(made.id, before.id)
            self.assertEqual(self.read(f"{source}2"), data)
            [version] = self.successResultOf(self.past.history(f"{source}2"))
            self.assertEqual(version.origin, "bob, 8")

    def test_demands(self) -> None:
        """A copy obeys the rules of POST or PUT, and its conditions."""
        for exists, target, error in (
            (False, "large", AlreadyExists),
            (True, "none", NotFound),
        ):
            copy = Restore(None, "", exists=exists, source="small")
            self.failureResultOf(self.past.restore(target, copy), error)
        copy = Restore(None, "", source="small")
        wrong = Precondition(expected=Versions(frozenset({"0" * 64})))
        self.failureResultOf(self.past.restore("large", copy, wrong), ConditionFailed)
        self.assertEqual(self.read("large"), LARGE)
        _, is_new = self.successResultOf(self.past.restore("large", copy))
        self.assertFalse(is_new)
        self.assertEqual(self.read("large"), b"small")
        missing = Restore(None, "", source="nothing")
        error = self.failureResultOf(self.past.restore("large", missing), NotFound)
        self.assertEqual(error.value.location, "nothing")

    def test_damaged_source(self) -> None:
        """A damaged blob is not copied, be that seen at its end only; the target stays."""
        for source in ("small", "large"):
            blob = self.successResultOf(self.store.get(source))
            pointer = self.engine.get(pointer_key(source))
            assert blob.sha256 is not None
            wrong = pointer.data.replace(blob.sha256.hex().encode(), b"0" * 64)
            self.engine.swap(pointer_key(source), wrong, pointer.etag)
            copy = Restore(None, "", source=source)
            error = self.failureResultOf(self.past.restore("empty", copy), Damaged)
            self.assertEqual(error.value.location, source)
            self.assertEqual(self.read("empty"), b"")

    def test_versions(self) -> None:
        """The version that a location has is its history; there is no other."""
        blob = self.successResultOf(self.store.get("small"))
        [version] = self.successResultOf(self.past.history("small"))
        self.assertEqual((version.blob, version.origin), (blob, "alice, 7"))
        self.assertEqual(
            self.successResultOf(self.past.history("small", before=blob.generation)), []
        )
        found, content = self.successResultOf(self.past.version("small", blob.generation))
        self.assertEqual((found, content.read(0, 5)), (blob, b"small"))
        self.failureResultOf(self.past.version("small", blob.generation + 1), NoVersion)
        self.failureResultOf(self.past.version("nothing", 1), NoVersion)
        self.failureResultOf(self.past.history("nothing"), NotFound)
        again = self.past.restore("small", Restore(blob.generation, ""))
        made, is_new = self.successResultOf(again)
        self.assertFalse(is_new)
        self.assertGreater(made.generation, blob.generation)
        self.failureResultOf(self.past.restore("small", Restore(blob.generation, "")), NoVersion)
        self.assertEqual(self.successResultOf(self.past.deleted()).versions, [])
