"""Tests of gostore.web.fields.locations."""

from __future__ import annotations

from urllib.parse import quote, urljoin

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import check_location
from gostore.web.answers import Refusal
from gostore.web.fields.locations import (
    STORE,
    decode_location,
    directory_of,
    parse_query,
    reference,
    reference_to_itself,
)


def legal(location: str) -> bool:
    """Whether it may name a blob."""
    try:
        check_location(location)
    except ValueError:
        return False
    return True


class DecodeLocationTests(SynchronousTestCase):
    """From the raw path to the location (http.md, "Locations"; bad-inputs.md 35 to 45)."""

    def assert_refused(self, code: int, *raws: str) -> None:
        """Each is refused with this code."""
        for raw in raws:
            self.assertEqual(self.assertRaises(Refusal, decode_location, raw).code, code, raw)

    def test_encoded_slash(self) -> None:
        """An encoded slash and a plain one are the same (row 35)."""
        self.assertEqual(decode_location("a%2Fb"), "a/b")
        self.assertEqual(decode_location("a%2fb"), decode_location("a/b"))

    def test_decoded_once(self) -> None:
        """Percent-decoding happens exactly once (RFC 3986 section 2.4; row 36)."""
        self.assertEqual(decode_location("%252F"), "%2F")

    def test_dots(self) -> None:
        """Segments of one or two dots are refused however they are written (rows 37 and 38)."""
        self.assert_refused(400, ".", "..", "%2e%2e", "%2E.", "../store/a", "./a", "a/.", "a/../b")

    def test_three_dots(self) -> None:
        """Three dots are a name like any other."""
        self.assertEqual(decode_location("..."), "...")

    def test_empty_segments(self) -> None:
        """Empty segments are refused wherever they are (row 38)."""
        self.assert_refused(400, "/a", "a/", "a//b", "a%2F%2Fb", "/", "%2F", "")

    def test_controls(self) -> None:
        """Control characters are refused (row 39)."""
        self.assert_refused(400, "%00", "a%0d%0ab", "%1b", "%7F", "%7f", "%09")

    def test_bad_escapes(self) -> None:
        """Broken percent-encoding is refused, never guessed at (RFC 3986 section 2.1; row 40)."""
        self.assert_refused(400, "%zz", "%", "%u0041", "a%2", "%%41", "%+1")

    def test_not_utf8(self) -> None:
        """Bytes that are not strict UTF-8 are refused, surrogates too (RFC 3629; row 41)."""
        self.assert_refused(400, "%FF", "%C0%AE", "%ED%A0%80", "%F5%80%80%80", "%E2%82")

    def test_no_normalisation(self) -> None:
        """Forms of one text, cases and invisible characters are distinct (row 42)."""
        names = ["%C3%A9", "e%CC%81", "I", "%C4%B1", "%E2%80%AEa", "%F0%9F%98%80"]
        names += ["%EF%BB%BFa", "a"]
        self.assertEqual(len({decode_location(name) for name in names}), len(names))
        self.assertEqual(decode_location("%EF%BB%BFa"), "\ufeffa")

    def test_length(self) -> None:
        """1,024 bytes after decoding are a location, 1,025 are 414 (RFC 9110 15.5.15; row 43)."""
        self.assertEqual(decode_location("%C3%A9" * 512), "é" * 512)
        self.assert_refused(414, "a" * 1025, "%C3%A9" * 512 + "a", "%41" * 1025)

    def test_fragment(self) -> None:
        """A fragment has no place in a request (RFC 9112 section 3.2; row 45)."""
        self.assert_refused(400, "a#frag")

    def test_dot_before_a_colon(self) -> None:
        """A ./ before a first segment with a colon is no part of the name; every other is 400."""
        self.assertEqual(decode_location("./a:b"), "a:b")
        self.assertEqual(decode_location("./a:b/c"), "a:b/c")
        self.assertEqual(reference("a:b", directory_of("/store/./a:b")), "a%3Ab")
        for raw in ("./a", "./a/b:c", "././a:b", "a/./b:c", "./", "."):
            self.assertEqual(self.assertRaises(Refusal, decode_location, raw).code, 400, raw)

    def test_literals(self) -> None:
        """Semicolon and plus stand for themselves (RFC 3986 section 3.3; row 45)."""
        self.assertEqual(decode_location("a;param+b"), "a;param+b")

    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(legal))
    def test_round_trip(self, location: str) -> None:
        """A reference leads to its location, and needs no escaping in HTML or a Link."""
        path = reference(location, "")
        self.assertEqual(decode_location(path), location)
        self.assertFalse(set(path) & set("\"'<>&?# ;,+\\"))

    @given(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(legal),
        st.lists(st.booleans(), min_size=40, max_size=40),
    )
    def test_relative(self, location: str, encoded: list[bool]) -> None:
        """A reference from a path in the same directory leads there, below any prefix (4.2)."""
        slashes = iter(encoded)
        raw = "".join(
            ("%2F" if next(slashes) else "/") if char == "/" else quote(char, safe="")
            for char in location
        )
        relative = reference(location, directory_of(STORE + raw))
        for root in ("http://a", "http://a/blobs"):
            resolved = urljoin(root + STORE + raw, relative)
            self.assertEqual(decode_location(resolved.removeprefix(root + STORE)), location)

    def test_colon(self) -> None:
        """A colon in the first segment makes no scheme of it (4.2)."""
        self.assertEqual(urljoin("http://a/store/", reference("a:b", "")), "http://a/store/a%3Ab")

    @given(st.lists(st.sampled_from([*"a~_.-/%:+&<", "./", "%41", "%2F", "%c3%a9", "b.c"])))
    def test_to_itself(self, parts: list[str]) -> None:
        """A reference from a path to its own location is the same by the short way."""
        raw = "".join(parts)
        try:
            location = decode_location(raw)
        except Refusal:
            return
        path = STORE + raw
        found = reference_to_itself(path, location)
        self.assertEqual(found, reference(location, directory_of(path)))

    @given(st.text())
    def test_anything(self, raw: str) -> None:
        """Any path is a legal location, or refused with 400 or 414."""
        try:
            self.assertTrue(legal(decode_location(raw)))
        except Refusal as refusal:
            self.assertIn(refusal.code, (400, 414))


class ParseQueryTests(SynchronousTestCase):
    """From the raw query to its parameters."""

    def test_parameters(self) -> None:
        """Names and values are decoded as a form's; empty values count."""
        self.assertEqual(
            parse_query("prefix=a%2Fb+c&delimiter=&x=%C3%A9"),
            {"prefix": "a/b c", "delimiter": "", "x": "é"},
        )

    def test_nothing(self) -> None:
        """No query has no parameters."""
        self.assertEqual(parse_query(""), {})

    def test_refused(self) -> None:
        """Bad encoding, controls, doubled or 33 parameters are 400, too long a query is 414."""
        for query in ("prefix=%zz", "prefix=%FF", "prefix=%00", "prefix=%0a", "a=1&a=2", "&" * 32):
            self.assertEqual(self.assertRaises(Refusal, parse_query, query).code, 400, query)
        self.assertEqual(self.assertRaises(Refusal, parse_query, "a" * 8193).code, 414)
