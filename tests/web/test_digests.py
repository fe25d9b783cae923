"""Tests of gostore.web.fields.digests."""

from __future__ import annotations

import base64
import hashlib

import http_sf
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.web.answers import Refusal
from gostore.web.fields.digests import announced_digests, repr_digest
from gostore.wire.head import Headers

DATA = b"hello"
MD5 = hashlib.md5(DATA).digest()
SHA256 = hashlib.sha256(DATA).digest()
SHA512 = hashlib.sha512(DATA).digest()


def text(digest: bytes) -> str:
    """The digest in base64."""
    return base64.b64encode(digest).decode()


def announced(**fields: str) -> dict[str, bytes]:
    """The digests that these fields announce."""
    joined = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    return announced_digests(Headers(list(joined.items()), joined))


class AnnouncedDigestsTests(SynchronousTestCase):
    """The digests that an upload announces (RFC 9530, RFC 1864)."""

    def assert_refused(self, **fields: str) -> None:
        """These fields are a 400."""
        self.assertEqual(self.assertRaises(Refusal, announced, **fields).code, 400, fields)

    def test_none(self) -> None:
        """Nothing announced is nothing to check."""
        self.assertEqual(announced(), {})

    def test_content_md5(self) -> None:
        """Content-MD5 is the base64 of the MD5 (RFC 1864 section 2)."""
        self.assertEqual(announced(content_md5=text(MD5)), {"md5": MD5})

    def test_structured(self) -> None:
        """Content-Digest and Repr-Digest name SHA-256 and SHA-512 (RFC 9530 sections 2, 3)."""
        both = f"sha-256=:{text(SHA256)}:, sha-512=:{text(SHA512)}:"
        for field in ("content_digest", "repr_digest"):
            self.assertEqual(announced(**{field: both}), {"sha256": SHA256, "sha512": SHA512})

    def test_unknown(self) -> None:
        """An unknown or an insecure algorithm is ignored (RFC 9530 section 5)."""
        self.assertEqual(
            announced(content_digest=f"sha=:{text(MD5)}:, crc32c=:AAAAAA==:, unixsum=3"), {}
        )
        self.assertEqual(
            announced(repr_digest=f"new=:AA==:, sha-256=:{text(SHA256)}:"), {"sha256": SHA256}
        )

    def test_malformed(self) -> None:
        """A digest that cannot be read cannot be checked either: 400."""
        for value in ("x", "", text(SHA256), text(MD5)[:-1], f"{text(MD5)}, {text(MD5)}", "é"):
            self.assert_refused(content_md5=value)
        for value in (
            f"sha-256={text(SHA256)}",
            "sha-256",
            "sha-256=1",
            "sha-256=:AAAA:",
            f"sha-256=:{text(SHA512)}:",
            f"sha-256=:{text(SHA256)}",
            f"SHA-256=:{text(SHA256)}:",
            f"sha-256=(:{text(SHA256)}:)",
            "é",
        ):
            self.assert_refused(content_digest=value)
            self.assert_refused(repr_digest=value)

    def test_too_much(self) -> None:
        """A field with more than 32 members, parameters and items together, is 431."""
        whole = f"sha-256=:{text(SHA256)}:"
        self.assertEqual(announced(repr_digest=f"{whole}{', a=1' * 31}"), {"sha256": SHA256})
        for long in (
            f"{whole}{', a=1' * 32}", f"{whole}{';a' * 32}", f"{whole}, a=({'1 ' * 31})",
            f'{whole}, a="{"x" * 2048}"',
        ):  # fmt: skip
            for field in ("content_digest", "repr_digest"):
                refusal = self.assertRaises(Refusal, announced, **{field: long})
                self.assertEqual(refusal.code, 431, long)

    def test_agreeing(self) -> None:
        """The same digest in two fields is one to check; two different ones are a 400."""
        mine, other = f"sha-256=:{text(SHA256)}:", f"sha-256=:{text(SHA512[:32])}:"
        self.assertEqual(announced(content_digest=mine, repr_digest=mine), {"sha256": SHA256})
        self.assert_refused(content_digest=mine, repr_digest=other)

    @given(st.text())
    def test_anything(self, value: str) -> None:
        """Any fields are read, or refused with 400."""
        try:
            announced(content_md5=value, content_digest=value, repr_digest=value)
        except Refusal as refusal:
            self.assertEqual(refusal.code, 400)


class ReprDigestTests(SynchronousTestCase):
    """The digest in an answer."""

    def test_repr_digest(self) -> None:
        """It can be sent back as it came (RFC 9530 section 3)."""
        value = repr_digest(SHA256)
        self.assertEqual(value, f"sha-256=:{text(SHA256)}:".encode())
        self.assertEqual(announced(repr_digest=value.decode()), {"sha256": SHA256})
        self.assertEqual(value, http_sf.ser({"sha-256": (SHA256, {})}).encode())
