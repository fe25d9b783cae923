"""Tests for gostore.access.grants: who may do what, and where."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.grants import WORDS, Principal, Scope, Verb, parse_grant
from gostore.blob import Committed
from gostore.store.index import Index
from tests.access import naive

LETTERS = ["a", "b", "/", "é", "\U0010ffff"]
texts = st.one_of(
    st.sampled_from(["a", "b", "a/", "b/", "ab", "a/b", "b/a", "a/b/", "a/b/a", "b/ab"]),
    st.text(st.sampled_from(LETTERS), min_size=1, max_size=5),
)


def legal(text: str) -> bool:
    """Whether the text is a location."""
    return "" not in text.split("/")


locations = texts.filter(legal)
prefixes = st.one_of(st.just(""), texts.filter(lambda text: legal(text.removesuffix("/"))))
words = st.lists(st.sampled_from(list(WORDS)), min_size=1, max_size=3).map(",".join)


@st.composite
def grants(draw: st.DrawFn) -> str:
    """A grant as a file has it."""
    verbs, prefix = draw(words), draw(prefixes)
    if "metrics" in verbs.split(","):
        prefix = ""
    return f"{verbs} {prefix}".rstrip(" ")


def principal(*texts: str) -> Principal:
    """Somebody with these grants."""
    return Principal("alice", "user", tuple(map(parse_grant, texts)))


def index_of(*locations: str) -> Index:
    """An index with a blob at each location."""
    index = Index()
    for number, location in enumerate(locations):
        index.put(Committed(number, location, number, 0, b"", 0, None, None))
    return index


class GrantTests(SynchronousTestCase):
    """Reading a grant."""

    def test_words(self) -> None:
        """Each word stands for its verbs, with or without a prefix."""
        self.assertEqual(parse_grant("read").verbs, {Verb.READ})
        self.assertEqual(parse_grant("append").verbs, {Verb.CREATE})
        self.assertEqual(parse_grant("write").verbs, {Verb.CREATE, Verb.REPLACE, Verb.DELETE})
        self.assertEqual(parse_grant("all").verbs, set(Verb))
        grant = parse_grant("create,read   my backups/x", 7)
        self.assertEqual(grant.verbs, {Verb.CREATE, Verb.READ})
        self.assertEqual((grant.prefix, grant.line), ("my backups/x", 7))

    def test_refused(self) -> None:
        """A mistake is refused with a reason that names it."""
        for text, reason in (
            ("", "unknown verb ''; there are read, list, create,"),
            ("raed a/", "unknown verb 'raed'"),
            ("Read", "unknown verb 'Read'"),
            ("read, list a/", "unknown verb ''"),
            ("read ..", "no location begins with '..': the location has the segment .."),
            ("read a/../b", "the segment .."),
            ("read ./a", "the segment ."),
            ("read /a", "an empty segment"),
            ("read /", "the location is empty"),
            ("read a//b", "an empty segment"),
            ("read a\x01", "a control character"),
            ("read \udcff", "a lone surrogate"),
            ("read " + 1025 * "a", "longer than 1024 bytes"),
            ("read " + 1024 * "a" + "/", "longer than 1024 bytes"),
            ("read a/ # of all", "a comment has a line of its own"),
            ("metrics a/", "metrics are of the whole store"),
        ):
            with self.assertRaises(ValueError) as caught:
                parse_grant(text)
            self.assertIn(reason, str(caught.exception))
            self.assertLess(len(str(caught.exception)), 200)


class PrincipalTests(SynchronousTestCase):
    """The decision."""

    def test_append_only(self) -> None:
        """Who may only create may do nothing else, and only there."""
        nightly = principal("append backups/")
        found = {verb for verb in Verb if nightly.may(verb, "backups/a")}
        self.assertEqual(found, {Verb.CREATE})
        self.assertEqual({verb for verb in Verb if nightly.may(verb, "backup")}, set())

    def test_deciding(self) -> None:
        """The grant that decides is the first that covers the location."""
        alice = principal("read a", "read a/b", "list")
        self.assertIs(alice.deciding(Verb.READ, "a/b"), alice.grants[0])
        self.assertIs(alice.deciding(Verb.LIST, "x"), alice.grants[2])
        self.assertIsNone(alice.deciding(Verb.READ, "b"))

    def test_scope(self) -> None:
        """A list without bounds has no scope; others have their prefixes, each once."""
        self.assertIsNone(principal("list", "list a/").scope)
        self.assertEqual(principal("list b/", "list a/b", "list a/").scope, Scope(("a/", "b/")))
        self.assertFalse(principal("read").may_somewhere(Verb.LIST))

    @given(st.lists(grants(), max_size=5), st.lists(locations, max_size=10))
    def test_as_the_naive_model(self, texts: list[str], where: list[str]) -> None:
        """Every decision is the naive model's."""
        alice = principal(*texts)
        for location in [*where, ""]:
            for verb in Verb:
                wanted = naive.may(texts, verb.value, location)
                self.assertEqual(alice.may(verb, location), wanted)
                self.assertEqual(alice.deciding(verb, location) is not None, wanted)

    @given(
        st.lists(prefixes.map("list {}".format).map(str.rstrip), max_size=5),
        st.lists(locations, unique=True, max_size=20),
        st.one_of(st.just(""), texts),
        st.sampled_from(["", "/", "b", "a/"]),
        st.integers(1, 4),
    )
    def test_list(
        self, texts: list[str], where: list[str], prefix: str, delimiter: str, limit: int
    ) -> None:
        """Page by page, a list has what the naive model has, and no page is empty but the first."""
        scope = principal(*texts).scope
        index = index_of(*where)
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            seek = None if scope is None else scope.seek
            page = index.page(prefix, delimiter, after, limit, seek)
            self.assertTrue(page.entries or not found)
            found += [str(getattr(entry, "location", entry)) for entry in page.entries]
            after = page.next_after
        self.assertEqual(found, naive.listed(texts, where, prefix, delimiter, ""))

    def test_cost(self) -> None:
        """A page looks at what it shows, and a few steps more, however much is hidden."""
        index = index_of(
            *(f"{each:05}" for each in range(20_000)), *(f"5/{each}" for each in range(3))
        )
        scope = principal("list 5/", *(f"list x{each}" for each in range(1000))).scope
        assert scope is not None
        sought: list[str] = []

        def seek(location: str) -> str | None:
            sought.append(location)
            return scope.seek(location)

        page = index.page("", "", "", 10, seek)
        self.assertEqual(len(page.entries), 3)
        self.assertLessEqual(len(sought), 6)
