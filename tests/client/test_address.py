"""Tests for address.py: locations in URLs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import check_location as daemons_rule
from gostore.client.address import Address, check_location, encode_query, shown, split_url
from gostore.client.errors import BadLocation


class LocationTests(SynchronousTestCase):
    """What may be the name of a blob."""

    def test_hostile(self) -> None:
        """A name that means something else on the way, or nothing to the daemon, is refused."""
        for bad in ("", "/", "a//b", "a/", "/a", ".", "..", "a/../b", "a\nb", "\x7f", "\udcff"):
            self.assertRaises(BadLocation, check_location, bad)
        self.assertRaises(BadLocation, check_location, "ä" * 513)

    def test_odd(self) -> None:
        """Every other name is passed on as it is."""
        for good in ("-rf", "a b", "..a", "a..", "...", "ä" * 512, "C:\\x", "A", "a", "%2e%2e"):
            self.assertEqual(check_location(good), good)

    @given(st.text(st.characters(codec="utf-8"), max_size=20))
    def test_same_rule(self, location: str) -> None:
        """The client refuses what the daemon refuses, and nothing else."""
        try:
            daemons_rule(location)
        except ValueError:
            self.assertRaises(BadLocation, check_location, location)
        else:
            check_location(location)

    @given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
    def test_round_trip(self, location: str) -> None:
        """A URL names the location that it was made of."""
        try:
            url = Address("http://h:1/below").of(location)
        except BadLocation:
            return
        self.assertTrue(url.isascii())
        self.assertEqual(split_url(url), (Address("http://h:1/below"), location))


class UrlTests(SynchronousTestCase):
    """What a URL says."""

    def test_daemon(self) -> None:
        """Without a location a URL names the daemon."""
        for url in ("http://h", "http://h/", "http://h/store", "http://h/store/"):
            self.assertEqual(split_url(url), (Address("http://h"), ""))
        self.assertEqual(split_url("https://h:1/p/store/a/store/b")[1], "a/store/b")

    def test_refused(self) -> None:
        """A URL with a password, a query or another scheme is refused."""
        for url in (
            "ftp://h/store/a",
            "h/store/a",
            "http://",
            "http://u:p@h/store/a",
            "http://h/store/a?b",
            "http://h/store/a#b",
            "http://h:x/store/a",
            "http://h/store/%ff",
        ):
            self.assertRaises(ValueError, split_url, url)

    def test_query(self) -> None:
        """A query has what it is given, and switches as they are."""
        query = {"deleted": "", "prefix": "a b&c=d/ä"}
        self.assertEqual(encode_query(query), "deleted&prefix=a+b%26c%3Dd%2F%C3%A4")

    def test_shown(self) -> None:
        """No name on a terminal is a command to it."""
        self.assertEqual(shown("a\x1b[2Jä\u202e\udcff"), "a\\x1b[2Jä\\u202e\\udcff")
