"""The list of a bucket is that of a directory, whatever the engine makes of the names."""

from __future__ import annotations

import json
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.bucket.asking import Seen
from gostore.bucket.objects import ObjectStoreEngine
from gostore.bucket.pointer import LOCATIONS, pointer_key
from gostore.bucket.provider import BucketStore
from gostore.errors import Damaged
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Details, Lifetime, Page, Seek, Store
from gostore.volume.changes import Sync
from gostore.volume.volume import Volume
from tests.bucket.doubles import make_store
from tests.store.doubles import FakeBody, InlineWorkers, PromptClock

LONG = "long/" + "é" * 400

#: Names that are prefixes of each other, that sort otherwise when they are quoted, and cut ones.
NAMES = (
    *("a", "a-b", "a/1", "a/10", "a/b", "a/b/1", "a/b/2", "a0", "a~", "a~~b", "ab", "abb", "aé"),
    *("%", "%25", "-", "Z", "Z/a", "_", "b", "b.c", "b/.c", "bb/b", "c/b/c/b", "z/~", "~", "~a"),
    *("é", "é/a", "éa", "€/\U0001f600", "x" * 150, "x" * 151, "x" * 200, "x" * 201, "x" * 250),
    *(LONG, LONG + "/é", "long/" + "é" * 399, "l" * 140 + "/" + "m" * 100),
)

TEXTS = sorted(
    {
        name[:length]
        for name in NAMES
        for length in (*range(6), *range(138, 154), *range(198, 204), len(name) - 1, len(name))
    }
)

DELIMITERS = ("", "/", "b", "/b", "bb", "~", "é")

SEEKS: dict[str, Seek | None] = {
    "all": None,
    "none": lambda location: None,
    "from b": lambda location: max(location, "b"),
    "odd": lambda location: next((n for n in sorted(NAMES)[::2] if n >= location), None),
}


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

    def test_hostile(self) -> None:
        """A pointer that somebody else has written, or that cannot be read, hides no other."""
        good = json.loads(self.engine.get(pointer_key("a")).data)
        whole = self.names()
        for change in ({"expires": 253402300800}, {"type": "\ud800"}, {"detag": "a\r\nb"}):
            self.engine.put(pointer_key("a"), json.dumps({**good, **change}).encode())
            listed = self.names()
            self.assertEqual(listed, whole[1:])
            self.failureResultOf(self.store.get("a"), Damaged)
        ask = self.store._ask
        read = ask.read

        def fail(location: str, until: float) -> Seen:
            if location == "ab":
                raise UnicodeEncodeError("utf-8", "b", 0, 1, "no such thing")
            return read(location, until)

        ask.read = fail  # type: ignore[method-assign]
        listed = self.names()
        self.assertEqual(listed, [each for each in whole[1:] if each != "ab"])
        self.assertEqual(len(self.flushLoggedErrors(UnicodeEncodeError)), 1)

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


def names_of(page: Page) -> list[tuple[str, bool]]:
    """What is on a page, and whether it is a group."""
    return [(e, True) if isinstance(e, str) else (e.location, False) for e in page.entries]


class TwinTests(SynchronousTestCase):
    """A bucket and a directory with the same blobs."""

    def setUp(self) -> None:
        """Make them, empty."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        volume = Volume(directory.name, sync=Sync.NONE)
        self.directory = BlobStore(volume, InlineWorkers(), PromptClock(), reserve=0)
        self.directory.open()
        self.directory.start()
        self.addCleanup(self.directory.close)
        self.bucket, _ = make_store()

    def store(self, location: str, details: Details) -> None:
        """Store a blob in both."""
        for store in (self.directory, self.bucket):
            self.successResultOf(store.create(location, FakeBody(b"x"), details))

    def pages(self, store: Store, **query: object) -> list[Page]:
        """All pages of a list."""
        found: list[Page] = []
        after: str | None = ""
        while after is not None:
            deferred = store.list(after=after, **query)  # type: ignore[arg-type]
            found.append(self.successResultOf(deferred))
            after = found[-1].next_after
        return found

    def test_prefixes(self) -> None:
        """Each prefix of each location lists the same in both, the location itself included."""
        for name in NAMES:
            self.store(name, Details())
        for prefix in TEXTS:
            wanted, found = (
                [names_of(page) for page in self.pages(store, prefix=prefix)]
                for store in (self.directory, self.bucket)
            )
            self.assertEqual(found, wanted, prefix)

    def test_queries(self) -> None:
        """Whatever is asked, a page is the same in both, and so is where the next one begins."""
        for name in NAMES:
            self.store(name, Details())
        texts = st.sampled_from(TEXTS) | st.text("ab/~-%é", max_size=3)

        @settings(max_examples=60)
        @given(
            texts, st.sampled_from(DELIMITERS), texts, st.integers(1, 50), st.sampled_from([*SEEKS])
        )
        def compare(prefix: str, delimiter: str, after: str, limit: int, seek: str) -> None:
            query = prefix, delimiter, after, limit, SEEKS[seek]
            wanted = self.successResultOf(self.directory.list(*query))
            found = self.successResultOf(self.bucket.list(*query))
            self.assertEqual(names_of(found), names_of(wanted))
            self.assertEqual(found.next_after, wanted.next_after)

        compare()

    def test_expired(self) -> None:
        """Blobs whose time is over are listed in neither, nor is a group that has no others."""
        over = Details(lifetime=Lifetime(until=1))
        for number, name in enumerate(sorted(NAMES)):
            self.store(name, over if number % 3 or name.startswith("a/b") else Details())
        for number in range(35):
            self.store(f"gone/{number:02}", over)
            self.store(f"late/{number:02}", Details() if number == 34 else over)
        for delimiter in ("", "/", "b"):
            for limit in (7, 1000):
                query = {"delimiter": delimiter, "limit": limit}
                wanted, found = (
                    [each for page in self.pages(store, **query) for each in names_of(page)]
                    for store in (self.directory, self.bucket)
                )
                self.assertEqual(found, wanted, delimiter)
                if delimiter == "/":
                    self.assertIn(("late/", True), found)
                    self.assertNotIn(("gone/", True), found)
