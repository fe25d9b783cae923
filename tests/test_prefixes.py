"""gostore.prefixes: a value for each location, by its prefix."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.prefixes import ByPrefix

TEXTS = st.text("ab/", max_size=4)


class ByPrefixTests(SynchronousTestCase):
    """The longest prefix wins."""

    def test_longest(self) -> None:
        """A location has the value of its longest prefix, whole segment or not, or the default."""
        value = ByPrefix(0, {"a": 1, "a/b": 2, "c/": 3})
        self.assertEqual(
            [value.of(each) for each in ("a", "ab", "a/b", "a/bc", "c")], [1, 1, 2, 2, 0]
        )

    def test_all(self) -> None:
        """The empty prefix is that of every location."""
        self.assertEqual(ByPrefix(0, {"": 7}).of("x"), 7)

    @given(st.dictionaries(TEXTS, st.integers()), TEXTS)
    def test_naive(self, prefixes: dict[str, int], location: str) -> None:
        """It is what a look at every prefix finds."""
        fitting = [each for each in prefixes if location.startswith(each)]
        expected = prefixes[max(fitting, key=len)] if fitting else None
        self.assertEqual(ByPrefix(None, prefixes).of(location), expected)

    @given(st.dictionaries(TEXTS, st.integers()), st.dictionaries(TEXTS, st.integers()), TEXTS)
    def test_merged(self, one: dict[str, int], other: dict[str, int], location: str) -> None:
        """What is merged has for each location the choice between what both have."""
        first, second = ByPrefix(5, one), ByPrefix(7, other)
        merged = first.merged(second, max)
        self.assertEqual(merged.of(location), max(first.of(location), second.of(location)))
