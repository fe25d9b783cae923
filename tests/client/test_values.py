"""Tests for values.py: what header fields and JSON say of blobs."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.client.errors import BadAnswer
from gostore.client.values import (
    Blob,
    blob_of,
    entries_of,
    format_mtime,
    length_of,
    parse_mtime,
    repr_digest,
    said_in,
    sha256_of,
    versions_of,
)

DIGEST = hashlib.sha256(b"x").hexdigest()
OTHER = hashlib.sha256(b"y").hexdigest()


class FieldTests(SynchronousTestCase):
    """What the head of an answer says."""

    def test_digest(self) -> None:
        """The digest is that of Repr-Digest, or of the ETag."""
        for fields in (
            {"repr-digest": repr_digest(DIGEST)},
            {"repr-digest": f"sha-512=:AA==:, {repr_digest(DIGEST)}"},
            {"etag": f'"{DIGEST}"'},
            {"etag": f'W/"{DIGEST}"', "repr-digest": repr_digest(DIGEST)},
            {"etag": f'"{DIGEST}"', "repr-digest": "sha-256=:!:"},
        ):
            self.assertEqual(sha256_of(fields), DIGEST)
        for fields in ({}, {"etag": '"1"'}, {"repr-digest": "sha-256=:AAAA:"}):
            self.assertIsNone(sha256_of(fields))

    def test_contradiction(self) -> None:
        """Two digests that differ are none."""
        fields = {"etag": f'"{OTHER}"', "repr-digest": repr_digest(DIGEST)}
        self.assertRaises(BadAnswer, sha256_of, fields)

    def test_blob(self) -> None:
        """All that is kept with a blob is there, and what is nonsense is not."""
        fields = {
            "etag": f'"{DIGEST}"',
            "last-modified": "Mon, 30 Nov 2026 14:00:00 GMT",
            "expires-at": "never",
            "content-type": "text/plain",
            "x-gostore-meta-mtime": "1.5",
        }
        blob = blob_of("a", fields, 1)
        self.assertEqual(blob.modified, datetime(2026, 11, 30, 14, tzinfo=timezone.utc))
        self.assertEqual((blob.mtime, blob.expires), (1_500_000_000, None))
        self.assertEqual((blob.content_type, blob.sha256), ("text/plain", DIGEST))

    def test_length(self) -> None:
        """A length is a number, or a lie."""
        self.assertEqual(length_of({"content-length": "12"}), 12)
        self.assertIsNone(length_of({}))
        for text in ("", "-1", "+1", "1, 1", "1e3", "9" * 20):
            self.assertRaises(BadAnswer, length_of, {"content-length": text})

    @given(st.integers(-(10**18), 10**18))
    def test_mtime(self, nanoseconds: int) -> None:
        """The time of a file comes back to the nanosecond."""
        self.assertEqual(parse_mtime(format_mtime(nanoseconds)), nanoseconds)

    def test_bad_mtime(self) -> None:
        """What is no time is none."""
        for text in ("", "x", "1e9", "nan", "1" * 11, "1.", " 1", "1\n"):
            self.assertIsNone(parse_mtime(text), text)


class JsonTests(SynchronousTestCase):
    """What a body says."""

    def test_entries(self) -> None:
        """A page has blobs and prefixes."""
        body = b"""[{"prefix": "a/"}, {"location": "b", "size": 1, "etag": "\\"%b\\"",
        "modified": "2026-11-30T14:00:00.123456789Z", "content_type": "x/y", "damaged": true}]"""
        prefix, blob = entries_of(body % DIGEST.encode())
        assert isinstance(blob, Blob)
        self.assertEqual((prefix, blob.location, blob.sha256), ("a/", "b", DIGEST))
        self.assertEqual((blob.content_type, blob.is_damaged), ("x/y", True))
        when = datetime(2026, 11, 30, 14, 0, 0, 123456, tzinfo=timezone.utc)
        self.assertEqual(blob.modified, when)

    def test_nonsense(self) -> None:
        """A page that is no list of blobs is refused, not guessed at."""
        for body in (
            b"",
            b"{}",
            b"[1]",
            b"[{}]",
            b'[{"location": 1, "size": 1}]',
            b'[{"location": "a", "size": "1"}]',
            b'[{"location": "a", "size": true}]',
            b'[{"location": "a", "size": -1}]',
            b"[" * 100_000,
            b"\xff",
        ):
            self.assertRaises(BadAnswer, entries_of, body)

    def test_odd_times(self) -> None:
        """A time that is none costs nobody the list."""
        for text in ("1", '"yesterday"', '"2026-99-99T00:00:00Z"', "null"):
            [blob] = entries_of(f'[{{"location": "a", "size": 1, "modified": {text}}}]'.encode())
            assert isinstance(blob, Blob)
            self.assertIsNone(blob.modified)

    def test_versions(self) -> None:
        """A version has what the daemon says of it."""
        [version] = versions_of(b'[{"location": "a", "version": 7, "size": 1, "until": null}]')
        self.assertEqual((version.version, version.ended_by), (7, None))
        self.assertIn("until", version.fields)
        self.assertRaises(BadAnswer, versions_of, b'[{"location": "a", "size": 1}]')

    def test_errors(self) -> None:
        """Only what gostore says is repeated, and on one line."""
        self.assertEqual(said_in(b'{"code": 404, "text": "a\\nb  is gone"}'), "a b is gone")
        for body in (b"<html>", b"[]", b'{"text": 1}', b"\xff"):
            self.assertIsNone(said_in(body))
