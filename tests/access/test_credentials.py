"""Tests for gostore.access.credentials: what an Authorization field says."""

from __future__ import annotations

import contextlib
from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.credentials import Credentials, Malformed, parse_credentials


def basic(text: str | bytes) -> bytes:
    """Basic credentials."""
    return b"Basic " + b64encode(text if isinstance(text, bytes) else text.encode())


class CredentialTests(SynchronousTestCase):
    """Basic (RFC 7617) and Bearer (RFC 6750)."""

    def test_basic(self) -> None:
        """A user has all before the first colon, in UTF-8, and the password all behind it."""
        self.assertEqual(parse_credentials(basic("a:b:c")), Credentials(b"b:c", "a"))
        self.assertEqual(parse_credentials(basic("é:ü")), Credentials("ü".encode(), "é"))
        self.assertEqual(parse_credentials(basic(":")), Credentials(b"", ""))
        self.assertEqual(parse_credentials(b"bAsIc  YTpi"), Credentials(b"b", "a"))

    def test_bearer(self) -> None:
        """A token is all behind the scheme."""
        self.assertEqual(parse_credentials(b"Bearer gst_a-b_c"), Credentials(b"gst_a-b_c"))
        self.assertEqual(parse_credentials(b"bearer x=="), Credentials(b"x=="))

    def test_malformed(self) -> None:
        """Anything else is malformed; the reason repeats nothing of it."""
        for value in (
            b"",
            b"Basic",
            b"Basic ",
            b"Basic Y Tpi",
            b"Basic\tYTpi",
            b"Basic YTpi, Basic YTpi",
            b"Bearer hunter2, Bearer hunter2",
            b"Basic YTp",
            b"Basic YTpi====",
            b"Basic _-_-",
            b"Basic \xc3\xa9",
            basic("no colon"),
            basic(b"\xff:x"),
            b"Bearer a b",
            b"Bearer \xff",
            b"Digest username=hunter2",
            b"Negotiate YTpi",
            b"hunter2",
        ):
            with self.assertRaises(Malformed) as caught:
                parse_credentials(value)
            self.assertNotIn("hunter2", str(caught.exception))
            self.assertLess(len(str(caught.exception)), 100)

    def test_nothing_in_repr(self) -> None:
        """The secret is not shown where the value is."""
        self.assertNotIn("hunter2", repr(parse_credentials(b"Bearer hunter2")))

    @given(st.binary(max_size=40), st.sampled_from([b"", b"Basic ", b"Bearer "]))
    def test_any_bytes(self, data: bytes, scheme: bytes) -> None:
        """No bytes do more than be malformed."""
        for value in (scheme + data, scheme + b64encode(data)):
            with contextlib.suppress(Malformed):
                parse_credentials(value)
