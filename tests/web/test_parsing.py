"""Tests of gostore.web.fields.parsing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.web.fields.parsing import MAX_LIST_SIZE, has_few_members, is_short_list, parsed


class ParsingTests(SynchronousTestCase):
    """What stands between a field and a parser."""

    def test_parsed(self) -> None:
        """The parser's result, or None for whatever it raises."""
        self.assertEqual(parsed(int, b"12"), 12)
        self.assertIsNone(parsed(int, b"x"))

        def overflow(value: bytes) -> int:
            raise OverflowError

        def recurse(value: bytes) -> int:
            return recurse(value)

        for parser in (overflow, recurse):
            self.assertIsNone(parsed(parser, b""))

    def test_members(self) -> None:
        """32 members are few, 33 are not, whatever is in them."""
        for member in (b"", b"a", b" ", b'"a"'):
            self.assertTrue(has_few_members(b",".join([member] * 32)))
            self.assertFalse(has_few_members(b",".join([member] * 33)))

    def test_short_list(self) -> None:
        """Parameters and the items of an inner list count as members."""
        for separator in (b",", b", ", b";", b"; ", b" ", b"(", b"\t"):
            self.assertTrue(is_short_list(separator.join([b"a"] * 32)), separator)
            self.assertFalse(is_short_list(separator.join([b"a"] * 33)), separator)
        self.assertTrue(is_short_list(b"x" * MAX_LIST_SIZE))
        self.assertFalse(is_short_list(b"x" * (MAX_LIST_SIZE + 1)))
