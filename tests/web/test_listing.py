"""The list: its pages, its three forms, and what a page costs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.store.index import Index
from gostore.store.interface import Page
from gostore.web.answers import Refusal
from gostore.web.list_forms import AS_JSON, AS_TREE, Form
from gostore.web.listing import (
    MAX_LIMIT,
    STEP,
    Document,
    Query,
    query_of,
)
from tests.store.memory_store import MemoryContent, MemoryStore

NOW = 1_700_000_000
"""Tue, 14 Nov 2023 22:13:20 GMT."""

NASTY = "<script>alert('\"&amp;')</script>"


class Locations(str):
    """A location that counts how often anybody looks at it."""

    __slots__ = ()
    looks = 0

    def __lt__(self, other: str) -> bool:
        Locations.looks += 1
        return str.__lt__(self, other)

    def __gt__(self, other: str) -> bool:
        Locations.looks += 1
        return str.__gt__(self, other)

    __hash__ = str.__hash__

    def startswith(self, *args: object) -> bool:
        """Count this, too."""
        Locations.looks += 1
        return str.startswith(self, *args)  # type: ignore[arg-type]


class Ordered:
    """Lists some locations as BlobStore does."""

    def __init__(self, locations: list[str], least_listed: int = 1) -> None:
        self.least_listed = least_listed
        #: How often it was asked for a page.
        self.asked = 0
        memory = MemoryStore()
        self.index = Index()
        for location in locations:
            self.index.put(memory.add(location))

    def list(self, *args: object) -> Deferred[Page]:
        """One page."""
        self.asked += 1
        return succeed(self.index.page(*args))  # type: ignore[arg-type]


def shown(page: bytes) -> list[str]:
    """The locations on a page in JSON or HTML; they are numbers."""
    return re.findall('(?:location": "|<bdi>)([0-9]+)(?:"|</bdi></a>)', page.decode())


class ListingTests(SynchronousTestCase):
    """Document and query_of."""

    def page(self, store: object, query: str, form: Form = AS_JSON) -> Document:
        """One page of a store."""
        page = Document(
            store,  # type: ignore[arg-type]
            query_of(query, form),
            NOW,
            partial(succeed, None),
            lambda: None,
        )
        self.successResultOf(ensureDeferred(page.begin(lambda: True)))
        return page

    def slow_page(self, store: object, query: Query, pause: Callable[[], object]) -> Document:
        """One page of a store, that calls `pause` before each step but the first."""
        turns: list[Deferred[None]] = []

        def turn() -> Deferred[None]:
            turns.append(Deferred())
            return turns[-1]

        page = Document(store, query, NOW, turn, lambda: None)  # type: ignore[arg-type]
        done = ensureDeferred(page.begin(lambda: True))
        turns.pop().callback(None)
        while turns:
            pause()
            turns.pop().callback(None)
        self.successResultOf(done)
        return page

    def test_bad_queries(self) -> None:
        """An impossible value is 400, and so is an unknown parameter."""
        for query in (
            "limit=0", "limit=00", "limit=-1", "limit=x", "limit=", "limit=1.5", "format=xml",
            "prefix=%ff", "prefix=%", "after=%00", "limit=1&limit=2", "limit=%D9%A1",
        ):  # fmt: skip
            self.assertEqual(self.assertRaises(Refusal, query_of, query, AS_JSON).code, 400, query)
        refusal = self.assertRaises(Refusal, query_of, "Limit=1", AS_JSON)
        self.assertEqual(refusal.code, 400)
        self.assertIn("prefix, delimiter, after, limit and format", refusal.text)
        for huge in (str(MAX_LIMIT + 1), "9" * 5000):
            self.assertEqual(query_of(f"limit={huge}", AS_JSON).limit, MAX_LIMIT)

    def test_nasty_names(self) -> None:
        """In HTML a location, a prefix and a type are text, whatever characters they have."""
        store = MemoryStore()
        store.add(NASTY.replace("/", "|"), content_type=NASTY)
        store.add(f"{NASTY.replace('/', '|')}-/a")
        html = (self.page(store, "format=html").small or b"").decode()
        self.assertNotIn("<script", html)
        self.assertNotIn("'\"", html)
        self.assertIn("&lt;script&gt;", html)
        prefix = self.page(store, "format=html&prefix=%3Cscript").small or b""
        self.assertIn(b"<title>/store/&lt;script</title>", prefix)

    def test_next_page(self) -> None:
        """The reference to the next page repeats the query, and goes on after the last entry."""
        store = Ordered(["a&b", "b", "c"])
        page = self.page(store, "limit=1&format=text")
        self.assertEqual(page.next_page, "?prefix=&delimiter=&after=a%26b&limit=1&format=text")
        self.assertIsNone(self.page(store, "limit=3").next_page)

    def test_empty(self) -> None:
        """With no blobs there is still a whole document."""
        self.assertEqual(json.loads(self.page(MemoryStore(), "").small or b""), [])
        self.assertEqual(self.page(MemoryStore(), "format=text").small, b"")
        self.assertIn(b"</html>", self.page(MemoryStore(), "format=html").small or b"")

    def test_rest_deleted(self) -> None:
        """A page is whole even if clients delete the rest of the blobs between two steps."""
        store = Ordered([f"{number:04d}" for number in range(STEP + 1)])

        def pause() -> None:
            store.index.remove(list(store.index.blobs())[-1].location)

        page = self.slow_page(store, query_of("delimiter=", AS_TREE), pause)
        self.assertEqual((page.small or b"").count(b"<tr><td>"), STEP)
        self.assertTrue((page.small or b"").endswith(b"</html>\n"))

    def test_large_page(self) -> None:
        """A page too large to keep is read in parts until there are none, and is the whole list."""
        locations = [f"{number:0900d}" for number in range(1500)]
        for form, query in ((AS_JSON, f"limit={MAX_LIMIT}"), (AS_TREE, "delimiter=")):
            page = self.page(Ordered(locations), query, form)
            self.assertIsNone(page.small)
            self.assertIsNone(page.length)
            pieces: list[bytes] = []
            while not pieces or pieces[-1]:
                piece = page.read()
                pieces.append(piece if isinstance(piece, bytes) else self.successResultOf(piece))
            page.close()
            self.assertGreater(len(pieces), 3)
            self.assertEqual(shown(b"".join(pieces)), locations)

    def test_steps(self) -> None:
        """A step has 100 entries, with a limit and without."""
        for query, form in (("limit=300", AS_JSON), ("delimiter=", AS_TREE)):
            asked: list[int] = []
            store = Ordered([f"{number:03d}" for number in range(3 * STEP)])
            page = self.slow_page(store, query_of(query, form), partial(asked.append, 1))
            self.assertEqual(len(shown(page.small or b"")), 3 * STEP)
            self.assertEqual(len(asked), 2)

    def test_least_listed(self) -> None:
        """A store whose pages cost a look at all names is asked for few of them."""
        for query, form in (("limit=3000", AS_JSON), ("delimiter=", AS_TREE)):
            turns: list[int] = []
            store = Ordered([f"{number:04d}" for number in range(12 * STEP)], 12 * STEP)
            page = self.slow_page(store, query_of(query, form), partial(turns.append, 1))
            self.assertEqual(len(shown(page.small or b"")), 12 * STEP)
            self.assertEqual(store.asked, 1)
            self.assertEqual(len(turns), 11, "they are written in the steps that there always are")

    def test_future(self) -> None:
        """A time recorded by a clock that was ahead is shown as the present one."""
        store = MemoryStore()
        for number in range(3):
            store.add(str(number))  # each is a second later
        page = Document(store, query_of("", AS_JSON), NOW + 1, partial(succeed, None), lambda: None)
        self.successResultOf(ensureDeferred(page.begin(lambda: True)))
        times = [entry["modified"] for entry in json.loads(page.small or b"")]
        self.assertEqual(times, ["2023-11-14T22:13:20Z", *["2023-11-14T22:13:21Z"] * 2])

    def test_cost(self) -> None:
        """The cost of a page grows with the page, and only as the logarithm of the store."""
        costs = []
        for count in (1_000, 30_000):
            store = Ordered([Locations(f"{n % 100:02d}/{n:06d}") for n in range(count)])
            Locations.looks = 0
            self.page(store, "limit=100&after=50/")
            self.page(store, "limit=100&delimiter=/")
            costs.append(Locations.looks)
        self.assertLess(costs[1], 3 * costs[0])

    @settings(max_examples=100, deadline=None)
    @given(
        st.sets(st.text("ab/é\U0001f600", min_size=1, max_size=6), max_size=20),
        st.text("ab/", max_size=2),
        st.sampled_from(["", "/", "b", "ab"]),
        st.integers(1, 5),
    )
    def test_pages(self, found: set[str], prefix: str, delimiter: str, limit: int) -> None:
        """The pages, one after the other, are the whole list, in the order of the bytes."""
        store = Ordered(sorted(found))
        memory = MemoryStore()
        for location in found:
            memory.add(location)
        whole = self.successResultOf(memory.list(prefix, delimiter, "", 1000)).entries
        entries: list[Committed | str] = []
        after: str | None = ""
        while after is not None:
            page = store.index.page(prefix, delimiter, after, limit)
            entries += page.entries
            after = page.next_after
            self.assertTrue(after is None or len(page.entries) == limit)

        def name(entry: Committed | str) -> str:
            return entry if isinstance(entry, str) else entry.location

        self.assertEqual(list(map(name, entries)), list(map(name, whole)))

    @settings(max_examples=200, deadline=None)
    @given(
        st.sets(st.text("ab/é", min_size=1, max_size=5), max_size=20),
        st.text("ab/", max_size=2),
        st.sampled_from(["", "/", "b", "ab"]),
        st.text("ab/é", max_size=4),
        st.integers(1, 5),
    )
    def test_after(
        self, found: set[str], prefix: str, delimiter: str, after: str, limit: int
    ) -> None:
        """Both providers give the same page, wherever it begins, inside a group too."""
        store = Ordered(sorted(found))
        memory = MemoryStore()
        memory.blobs = {blob.location: (blob, MemoryContent(b"")) for blob in store.index.blobs()}
        page = self.successResultOf(memory.list(prefix, delimiter, after, limit))
        self.assertEqual(page, store.index.page(prefix, delimiter, after, limit))
