"""The list of a bucket is that of a directory, whatever the engine makes of the names."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.bucket.objects import ObjectStoreEngine
from gostore.bucket.pointer import LOCATIONS, pointer_key
from gostore.bucket.provider import BucketStore
from gostore.store.interface import Details, Page
from tests.bucket.doubles import make_store
from tests.store.doubles import FakeBody

LONG = "long/" + "é" * 400


class ListingTests(SynchronousTestCase):
    """A store over objects in memory."""

    store: BucketStore
    engine: ObjectStoreEngine

    def setUp(self) -> None:
        """Have some blobs, and a tombstone."""
        self.store, self.engine = make_store()
        for location in ("a", "a-b", "a/1", "a/2", "a/b/1", "ab", "c/1", LONG, "gone"):
            self.successResultOf(self.store.create(location, FakeBody(b"x"), Details()))
        self.successResultOf(self.store.delete("gone"))

    def page(self, **query: object) -> Page:
        """A page of the list."""
        return self.successResultOf(self.store.list(**query))  # type: ignore[arg-type]

    def names(self, **query: object) -> list[str]:
        """What is listed; groups as they are."""
        entries = self.page(**query).entries
        return [each if isinstance(each, str) else each.location for each in entries]

    def test_all(self) -> None:
        """All blobs are listed in the order of their bytes, and no tombstone."""
        wanted = ["a", "a-b", "a/1", "a/2", "a/b/1", "ab", "c/1", LONG]
        self.assertEqual(self.names(), wanted)
        self.assertTrue(all(isinstance(each, Committed) for each in self.page().entries))
        self.assertEqual(self.names(after="c/1", limit=1), [LONG], "it takes no place in a page")

    def test_prefix(self) -> None:
        """A prefix is a text: it need not end at a slash, and may be longer than a name is."""
        self.assertEqual(self.names(prefix="a/"), ["a/1", "a/2", "a/b/1"])
        self.assertEqual(self.names(prefix="a-"), ["a-b"])
        self.assertEqual(self.names(prefix=LONG[:-1]), [LONG])
        self.assertEqual(self.names(prefix=f"{LONG}x"), [])

    def test_groups(self) -> None:
        """Behind the delimiter all is one group, which is listed once."""
        wanted = ["a", "a-b", "a/", "ab", "c/", "long/"]
        self.assertEqual(self.names(delimiter="/"), wanted)
        self.assertEqual(self.names(prefix="a/", delimiter="/"), ["a/1", "a/2", "a/b/"])

    def test_pages(self) -> None:
        """Each page ends with what the next one begins behind, and the last one says so."""
        for delimiter in ("", "/"):
            found: list[str] = []
            after: str | None = ""
            while after is not None:
                page = self.page(delimiter=delimiter, after=after, limit=2)
                self.assertLessEqual(len(page.entries), 2)
                found += [e if isinstance(e, str) else e.location for e in page.entries]
                after = page.next_after
            self.assertEqual(found, self.names(delimiter=delimiter))

    def test_seek(self) -> None:
        """What the caller may not see is passed over."""
        names = self.names(seek=lambda location: location if "1" in location else None)
        self.assertEqual(names, ["a/1", "a/b/1", "c/1"])

    def test_not_ours(self) -> None:
        """Objects that are no pointers are not listed, be their names ever so like one."""
        key = pointer_key(LONG)
        self.engine.put(f"{LOCATIONS}00/a.b", b"x" * 300)
        self.engine.put(f"{key[:-1]}z", self.engine.get(key).data)
        self.engine.put(f"{key[:-1]}y", b"<html>" * 100)
        self.assertEqual(self.names(prefix="long/"), [LONG])
        self.assertEqual(len(self.names()), 8)

    def test_damaged(self) -> None:
        """A pointer that is damaged has no blob to list, and the others are listed."""
        self.engine.put(pointer_key("a/1"), b"<html>" * 100)
        self.assertEqual(self.names(prefix="a/"), ["a/2", "a/b/1"])
