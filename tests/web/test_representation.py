"""Tests of gostore.web.fields.representation: the fields of an upload, and of an answer."""

from __future__ import annotations

import hashlib

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from werkzeug.http import http_date

from gostore.blob import DEFAULT_TYPE, Committed
from gostore.store.interface import MAX_METADATA
from gostore.web.answers import Refusal
from gostore.web.fields.conditions import END_OF_TIME
from gostore.web.fields.representation import (
    Representation,
    RepresentationCache,
    kept_fields,
    kept_type,
)
from gostore.web.fields.safety import VARY, safety_fields
from gostore.wire.head import Headers
from tests.web.fake_request import FakeRequest

DATA = b"hello"
SHA256 = hashlib.sha256(DATA).digest()
NOON = 1_700_000_000_000_000_000
NOW = 1 << 40
"""Seconds since the epoch, later than any blob here unless the test says so."""


def headers(*pairs: tuple[str, str]) -> Headers:
    """The header of a request with these fields, in this order."""
    return Headers([(name.encode(), value.encode("latin-1")) for name, value in pairs], {})


def blob(
    *,
    sha256: bytes | None = SHA256,
    modified: int = NOON,
    content_type: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Committed:
    """A blob of which this is known."""
    return Committed(1, "foo", 1, len(DATA), sha256, modified, content_type, metadata)


class KeptTests(SynchronousTestCase):
    """kept_type and kept_fields: the fields that are kept with an upload."""

    def test_type(self) -> None:
        """A Content-Type is kept as sent, with its parameters."""
        for value in ("text/plain", "Text/HTML; charset=UTF-8", "nonsense", "x/é"):
            self.assertEqual(kept_type(headers(("content-type", value))), value)

    def test_no_type(self) -> None:
        """No type, an empty one and what curl --data says of everything are the default."""
        for value in (
            "",
            ";charset=x",
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-URLEncoded ; charset=UTF-8",
        ):
            self.assertIsNone(kept_type(headers(("content-type", value))), value)
        self.assertIsNone(kept_type(headers()))

    def test_types(self) -> None:
        """Several Content-Types are a 400, even if they are the same."""
        twice = headers(("content-type", "a/b"), ("content-type", "a/b"))
        self.assertEqual(self.assertRaises(Refusal, kept_type, twice).code, 400)

    def test_fields(self) -> None:
        """The fields that are kept are, exactly as sent; all others are not."""
        kept = {
            "content-encoding": "gzip",
            "content-language": "de, en",
            "content-disposition": 'attachment; filename="é"',
            "cache-control": "max-age=60",
            "x-gostore-meta-": "nameless",
            "x-gostore-meta-mtime": "1  2",
        }
        others = {"content-type": "a/b", "x-gostore": "1", "x-gostore-met": "1", "etag": '"1"'}
        self.assertEqual(kept_fields(headers(*kept.items(), *others.items())), kept)

    def test_lines(self) -> None:
        """Several lines of one name are one value (RFC 9110 section 5.3)."""
        two = headers(("cache-control", "no-store"), ("cache-control", "private"))
        self.assertEqual(kept_fields(two), {"cache-control": "no-store, private"})

    def test_limit(self) -> None:
        """8 KiB of names and values are kept, the type included; one byte more is a 431."""
        name = "x-gostore-meta-a"
        room = MAX_METADATA - len(name) - len("text/plain")
        most = headers(("content-type", "text/plain"), (name, "v" * room))
        self.assertEqual(len(kept_fields(most)[name]), room)
        for over in (
            headers(("content-type", "text/plain"), (name, "v" * (room + 1))),
            headers(("content-type", "text/plain2"), (name, "v" * room)),
            headers(("content-type", "a/" + "b" * MAX_METADATA)),
            headers(*((f"x-gostore-meta-{number:04d}", "") for number in range(432))),
        ):
            self.assertEqual(self.assertRaises(Refusal, kept_fields, over).code, 431)

    def test_cache_control_of_a_proxy(self) -> None:
        """What a proxy says of the request is not said of the blob (RFC 9111 section 5.2.1)."""
        for fields, kept in [
            ([("cache-control", "public, max-age=60")], "public, max-age=60"),
            ([("cache-control", "max-age=259200"), ("via", "1.1 proxy (squid/5.7)")], None),
            ([("cache-control", "public"), ("via", "")], None),
            ([("cache-control", "max-stale=5")], None),
            ([("cache-control", "no-cache"), ("cache-control", "Min-Fresh = 1")], None),
            ([("cache-control", "only-if-cached, max-age=1")], None),
        ]:
            found = kept_fields(FakeRequest("PUT", "/store/a", fields).headers)
            self.assertEqual(found.get("cache-control"), kept, fields)

    def test_others_cost_nothing(self) -> None:
        """Fields that are not kept do not count towards the limit."""
        self.assertEqual(kept_fields(headers(("cookie", "c" * MAX_METADATA * 2))), {})


class RepresentationTests(SynchronousTestCase):
    """Representation: the header fields of an answer."""

    def test_headers(self) -> None:
        """A blob has a type, a date, a strong tag, a digest, and what keeps a browser safe."""
        found = Representation.of(blob(content_type="text/plain"), NOW)
        self.assertEqual(found.content_type, b"text/plain")
        self.assertEqual(
            dict(found.headers),
            {
                b"content-type": b"text/plain",
                b"last-modified": b"Tue, 14 Nov 2023 22:13:20 GMT",
                b"accept-ranges": b"bytes",
                b"cache-control": b"no-cache",
                b"etag": f'"{SHA256.hex()}"'.encode(),
                b"repr-digest": b"sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:",
                b"x-content-type-options": b"nosniff",
                **safety_fields("text/plain"),
            },
        )

    def test_not_modified(self) -> None:
        """A 304 has the fields that update a cached copy, and none about a body (15.4.5)."""
        found = Representation.of(blob(metadata={"cache-control": "max-age=9"}), NOW)
        self.assertEqual(
            dict(found.not_modified),
            {
                b"etag": f'"{SHA256.hex()}"'.encode(),
                b"cache-control": b"max-age=9",
                **safety_fields(DEFAULT_TYPE),
                b"vary": VARY,
            },
        )

    def test_unknown_digest(self) -> None:
        """A blob without a computed digest has neither ETag nor Repr-Digest."""
        found = Representation.of(blob(sha256=None), NOW)
        for fields in (dict(found.headers), dict(found.not_modified)):
            self.assertTrue(fields.keys().isdisjoint({b"etag", b"repr-digest"}))

    def test_kept(self) -> None:
        """Kept fields are returned, and a kept Cache-Control outranks the default."""
        kept = {"cache-control": "max-age=60", "x-gostore-meta-a": "é", "content-encoding": "br"}
        found = dict(Representation.of(blob(metadata=kept), NOW).headers)
        self.assertEqual(found[b"cache-control"], b"max-age=60")
        self.assertEqual(found[b"x-gostore-meta-a"], b"\xe9")
        self.assertEqual(found[b"content-encoding"], b"br")

    def test_hand_made(self) -> None:
        """A hand-made state file cannot give a blob other fields than an upload can."""
        metadata = {
            "set-cookie": "a=b",
            "location": "http://elsewhere/",
            "content-security-policy": "script-src *",
            "content-length": "0",
            "X-Gostore-Meta-Case": "1",
            "x-gostore-meta-CASE": "1",
            "x-gostore-meta-a\r\nset-cookie": "a=b",
            "x-gostore-meta-é": "1",
            "x-gostore-meta-split": "1\r\nset-cookie: a=b",
            "x-gostore-meta-null": "\0",
            "x-gostore-meta-wide": "\u0431",
        }
        self.assertEqual(
            Representation.of(blob(metadata=metadata), NOW).headers,
            Representation.of(blob(), NOW).headers,
        )
        for bad in ("text/html\r\nset-cookie: a=b", "\u0431", "a\0", ""):
            found = Representation.of(blob(content_type=bad), NOW)
            self.assertEqual(found.content_type, DEFAULT_TYPE.encode(), bad)

    def test_dates(self) -> None:
        """Any recorded time becomes a valid date of HTTP (RFC 9110 section 5.6.7)."""
        for modified, date in [
            (-1, b"Thu, 01 Jan 1970 00:00:00 GMT"),
            (NOON + 999_999_999, b"Tue, 14 Nov 2023 22:13:20 GMT"),
            (1 << 80, b"Fri, 31 Dec 9999 23:59:59 GMT"),
        ]:
            found = Representation.of(blob(modified=modified), NOW)
            self.assertEqual(dict(found.headers)[b"last-modified"], date)

    @given(st.integers(0, END_OF_TIME))
    @example(59)
    @example(86_399)
    @example(951_782_400)  # 29 February 2000
    def test_any_date(self, seconds: int) -> None:
        """Last-Modified is the date that the library would write."""
        found = Representation.of(blob(modified=seconds * 10**9), NOW)
        self.assertEqual(dict(found.headers)[b"last-modified"], http_date(seconds).encode())

    def test_future(self) -> None:
        """A time that the clock has not reached is not sent, but Date's (RFC 9110 8.8.2.1)."""
        found = Representation.of(blob(), NOON // 10**9 - 1)
        self.assertEqual(dict(found.headers)[b"last-modified"], b"Tue, 14 Nov 2023 22:13:19 GMT")
        self.assertEqual(found.modified, NOON // 10**9)

    @given(st.dictionaries(st.text(), st.text()), st.text(), st.booleans())
    def test_anything(self, metadata: dict[str, str], content_type: str, meta: bool) -> None:
        """Any kept metadata makes one valid head, with each name once."""
        prefix = "x-gostore-meta-" if meta else ""
        kept = {prefix + name: value for name, value in metadata.items()}
        found = Representation.of(blob(metadata=kept, content_type=content_type), NOW).headers
        names = [name for name, _ in found]
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual(found.lines.count(b"\n"), len(found))
        safety = safety_fields(dict(found)[b"content-type"].decode("latin-1"))
        self.assertLessEqual(set(safety.items()), set(found))


class NavigationTests(SynchronousTestCase):
    """What a browser gets that is led to a blob."""

    navigation = FakeRequest("GET", "/", [("Sec-Fetch-Mode", "navigate")]).headers

    def disposition(self, content_type: str | None, kept: str | None = None) -> bytes | None:
        """The Content-Disposition of a blob for a navigation."""
        metadata = {} if kept is None else {"content-disposition": kept}
        found = Representation.of(blob(content_type=content_type, metadata=metadata), NOW)
        self.assertIs(found.headers_for(headers(("accept", "*/*"))), found.headers)
        fields = found.headers_for(self.navigation)
        self.assertEqual(len(dict(fields)), len(fields))
        return dict(fields).get(b"content-disposition")

    def test_saved(self) -> None:
        """A type that could hold a script is saved, by the name that the blob has for it."""
        for content_type in (None, "text/html", "text/javascript", "a/b", "image/png, text/html"):
            self.assertEqual(self.disposition(content_type), b"attachment", content_type)
        for kept, sent in [
            ("inline", b"attachment"),
            ('inline; filename="a;b.html"', b'attachment; filename="a;b.html"'),
            ("attachment; filename=a", b"attachment; filename=a"),
            ("", b"attachment"),
        ]:
            self.assertEqual(self.disposition("text/html", kept), sent)

    def test_shown(self) -> None:
        """Images, sounds, films, plain text and PDF are shown, as the blob says."""
        for content_type in ("image/svg+xml", "audio/ogg", "VIDEO/mp4; codecs=x", "text/plain"):
            self.assertIsNone(self.disposition(content_type), content_type)
        self.assertEqual(self.disposition("application/pdf", "inline"), b"inline")

    def test_vary(self) -> None:
        """What depends on whether it is a navigation says so to caches (RFC 9110 12.5.5)."""
        for content_type, vary in ((None, VARY), ("image/png", None)):
            found = Representation.of(blob(content_type=content_type), NOW)
            for fields in (found.headers, found.not_modified):
                self.assertEqual(dict(fields).get(b"vary"), vary)


class RepresentationCacheTests(SynchronousTestCase):
    """RepresentationCache: what it remembers."""

    def test_remembered(self) -> None:
        """A blob is described once."""
        known, one = RepresentationCache(), blob()
        self.assertIs(known.of(one), known.of(one))

    def test_future(self) -> None:
        """Before the recorded time Last-Modified moves with the clock, even backwards."""
        now = NOON // 10**9
        known, one = RepresentationCache(wall=lambda: now), blob()

        def sent() -> bytes:
            return dict(known.of(one).headers)[b"last-modified"]

        self.assertEqual(sent(), b"Tue, 14 Nov 2023 22:13:20 GMT")
        now += 5
        self.assertEqual(sent(), b"Tue, 14 Nov 2023 22:13:20 GMT")
        now -= 10
        self.assertEqual(sent(), b"Tue, 14 Nov 2023 22:13:15 GMT")
        now += 2
        self.assertEqual(sent(), b"Tue, 14 Nov 2023 22:13:17 GMT")
        now += 100
        self.assertEqual(sent(), b"Tue, 14 Nov 2023 22:13:20 GMT")
        self.assertIs(known.of(one), known.of(one))

    def test_same_id(self) -> None:
        """Another blob under an id that was free again is described anew."""
        known = RepresentationCache()
        known.of(blob(content_type="a/b"))
        self.assertEqual(known.of(blob(content_type="c/d")).content_type, b"c/d")

    def test_bounded(self) -> None:
        """No more than so many are remembered."""
        known = RepresentationCache(2)
        for number in range(5):
            known.of(Committed(number, "foo", 1, 0, None, 0, None, None))
            self.assertLessEqual(len(known._known), 2)
