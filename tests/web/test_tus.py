"""The fields of tus: what they mean, and what is refused."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from gostore.store.interface import Details, Precondition, Versions
from gostore.store.unfinished import Chunk, Standing, Wanted
from gostore.web.answers import Refusal
from gostore.web.fields import tus
from gostore.wire import Headers


def headers(*pairs: tuple[str, str]) -> Headers:
    """The fields of a request."""
    return Headers.of([(name.lower().encode(), value.encode("latin-1")) for name, value in pairs])


def metadata(**values: str | bytes) -> str:
    """An Upload-Metadata; an underscore in a name stands for a hyphen."""
    pairs = []
    for name, value in values.items():
        data = value.encode() if isinstance(value, str) else value
        pairs.append(f"{name.replace('_', '-')} {base64.b64encode(data).decode()}")
    return ",".join(pairs)


class MetadataTests(SynchronousTestCase):
    """What an upload is to become."""

    def refused(self, text: str, code: int = 400) -> str:
        """The reason why this is refused."""
        with self.assertRaises(Refusal) as caught:
            tus.wanted_of(text)
        self.assertEqual(caught.exception.code, code, text)
        return caught.exception.text

    def test_location(self) -> None:
        """The location is UTF-8, and a legal one; without one it is refused."""
        self.assertEqual(tus.wanted_of(metadata(location="a/ü x"))[0], "a/ü x")
        self.assertEqual(tus.wanted_of("filename, " + metadata(location="a"))[0], "a")
        for text in ("", "   ", metadata(filename="a"), "location", metadata(location="")):
            self.assertIn("location", self.refused(text))
        for bad in ("a//b", "../x", "a\nb", "/a", "x" * 1025, b"\xff"):
            self.refused(metadata(location=bad))

    def test_create(self) -> None:
        """Without conditions it creates, as a POST does; with If-None-Match: * too."""
        _, wanted = tus.wanted_of(metadata(location="a"))
        self.assertEqual(wanted, Wanted(Details(), None, exists=False))
        _, wanted = tus.wanted_of(metadata(location="a", if_none_match="*"))
        expected = Precondition(None, Versions(any=True))
        self.assertEqual((wanted.exists, wanted.precondition), (False, expected))

    def test_replace(self) -> None:
        """With If-Match, or If-None-Match of a tag, it replaces, as a PUT does."""
        tag = "0" * 64
        _, wanted = tus.wanted_of(metadata(location="a", if_match=f'"{tag}"'))
        expected = Precondition(Versions(frozenset({tag})))
        self.assertEqual((wanted.exists, wanted.precondition), (True, expected))
        _, wanted = tus.wanted_of(metadata(location="a", if_none_match=f'"{tag}"'))
        self.assertIs(wanted.exists, True)

    def test_type(self) -> None:
        """The type is filetype, or that of the name; metadata of the blob are kept."""
        for filetype, name, found in (
            ("a/b", "a.txt", "a/b"),
            ("", "a.txt", "text/plain"),
            (None, "a.txt", "text/plain"),
            (None, "a.html", None),
        ):
            more = {} if filetype is None else {"filetype": filetype}
            _, wanted = tus.wanted_of(metadata(location=name, **more))
            self.assertEqual(wanted.details.content_type, found)
        _, wanted = tus.wanted_of(metadata(location="a", x_gostore_meta_mtime="5", other="x"))
        self.assertEqual(wanted.details.metadata, {"x-gostore-meta-mtime": "5"})
        self.refused(metadata(location="a", filetype="a\r\nb"))
        self.refused(metadata(location="a", x_gostore_meta_a="\0"))

    def test_sha256(self) -> None:
        """The digest of the whole is 64 hex digits."""
        _, wanted = tus.wanted_of(metadata(location="a", sha256="aB" * 32))
        self.assertEqual(wanted.details.digests, {"sha256": b"\xab" * 32})
        for bad in ("", "ab", "z" * 64, "ab" * 33):
            self.refused(metadata(location="a", sha256=bad))

    def test_malformed(self) -> None:
        """What is not pairs of a name and base64, or has a name twice, is refused."""
        good = metadata(location="a")
        for bad in (
            "location a",
            "location YQ",
            "location Y Q==",
            "location YQ==;",
            f"{good},",
            f",{good}",
            f"{good},{good}",
            f"a\u00e9 YQ==,{good}",
            "location \u00ff",
        ):
            self.refused(bad)
        with self.assertRaises(Refusal) as caught:
            tus.metadata_text(headers(("Upload-Metadata", "a " + "YQ==" * 2100)))
        self.assertEqual(caught.exception.code, 431)


class FieldTests(SynchronousTestCase):
    """The other fields."""

    def refused(self, parser: object, *pairs: tuple[str, str], code: int = 400) -> str:
        """The reason why these are refused."""
        with self.assertRaises(Refusal) as caught:
            parser(headers(*pairs))  # type: ignore[operator]
        self.assertEqual(caught.exception.code, code)
        return caught.exception.text

    def test_version(self) -> None:
        """Another version than ours, or none, is 412, and the answer names ours."""
        tus.check_version(headers(("Tus-Resumable", "1.0.0")))
        for pairs in ((), (("Tus-Resumable", "0.2.2"),)):
            with self.assertRaises(Refusal) as caught:
                tus.check_version(headers(*pairs))
            self.assertEqual(caught.exception.code, 412)
            self.assertEqual(caught.exception.fields, {b"tus-version": b"1.0.0"})

    def test_length(self) -> None:
        """The length is said, or that it comes later; not both, and nothing else."""
        length, defer = ("Upload-Length", "5"), ("Upload-Defer-Length", "1")
        self.assertEqual(tus.announced_length(headers(length)), 5)
        self.assertIsNone(tus.announced_length(headers(defer)))
        for pairs in (
            (),
            (length, defer),
            (("Upload-Defer-Length", "0"),),
            (("Upload-Length", "-1"),),
            (("Upload-Length", "1e3"),),
            (("Upload-Length", ""),),
            (("Upload-Length", "9" * 30),),
            (("Upload-Length", "5"), ("Upload-Length", "5")),
        ):
            self.refused(tus.announced_length, *pairs)
        text = self.refused(tus.announced_length, length, ("Upload-Concat", "partial"))
        self.assertIn("concatenation", text)

    def test_chunk(self) -> None:
        """A PATCH says its type and where it goes on."""
        kind = "Content-Type", "application/offset+octet-stream"
        offset = "Upload-Offset", "7"
        self.assertEqual(tus.chunk_of(headers(kind, offset)), Chunk(7))
        chunk = tus.chunk_of(headers(kind, offset, ("Upload-Length", "9")))
        self.assertEqual(chunk, Chunk(7, 9))
        self.refused(tus.chunk_of, offset, code=415)
        self.refused(tus.chunk_of, ("Content-Type", "text/plain"), offset, code=415)
        for bad in ((), (("Upload-Offset", "-1"),), (("Upload-Offset", "x"),)):
            self.refused(tus.chunk_of, kind, *bad)

    def test_checksum(self) -> None:
        """A checksum is SHA-1 or SHA-256 in base64; one in a trailer is refused by name."""
        digest = base64.b64encode(bytes(32)).decode()
        found = tus.checksum_of(headers(("Upload-Checksum", f"sha256 {digest}")))
        self.assertEqual(found, ("sha256", bytes(32)))
        self.assertIsNone(tus.checksum_of(headers()))
        for bad in (f"md5 {digest}", "sha256", "sha256 x", f"sha1 {digest}", digest, "sha256 YQ=="):
            self.refused(tus.checksum_of, ("Upload-Checksum", bad))
        text = self.refused(tus.checksum_of, ("Trailer", "Upload-Checksum"))
        self.assertIn("checksum-trailer", text)

    def test_discovery(self) -> None:
        """The answer to OPTIONS says what there is; the largest size if there is one."""
        fields = tus.discovery(None)
        self.assertEqual(fields[b"tus-version"], b"1.0.0")
        self.assertNotIn(b"concatenation", fields[b"tus-extension"])
        self.assertEqual(fields[b"tus-checksum-algorithm"], b"sha1,sha256")
        self.assertNotIn(b"tus-max-size", fields)
        self.assertEqual(tus.discovery(5)[b"tus-max-size"], b"5")

    def test_standing(self) -> None:
        """An answer says how far it is, when it expires, and which blob it is."""
        fields = tus.standing_fields(Standing(3, 5, "", 1_800_000_000_999_999_999))
        self.assertEqual(fields[b"upload-offset"], b"3")
        self.assertEqual(fields[b"upload-expires"], b"Fri, 15 Jan 2027 08:00:00 GMT")
        fields = tus.standing_fields(Standing(3, 3, "", None, bytes(32)))
        self.assertEqual(fields[b"etag"], b'"' + b"0" * 64 + b'"')
        self.assertNotIn(b"upload-expires", fields)
        self.assertEqual(tus.length_fields(Standing(3, None, "")), {b"upload-defer-length": b"1"})
        fields = tus.length_fields(Standing(3, 5, "a YQ=="))
        self.assertEqual(fields, {b"upload-length": b"5", b"upload-metadata": b"a YQ=="})
