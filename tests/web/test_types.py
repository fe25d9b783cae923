"""The type of a blob by its name."""

from __future__ import annotations

import mimetypes

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.web.fields.types import type_of_name


class TypeTests(SynchronousTestCase):
    """type_of_name."""

    def test_known(self) -> None:
        """The extension of the last segment tells the type, in whatever case."""
        for location, content_type in [
            ("a.txt", "text/plain"), ("a/b.c/d.MD", "text/markdown"),
            ("backup.tar", "application/x-tar"), ("backup.tar.gz", "application/gzip"),
            ("x.tgz", "application/gzip"), ("a.json", "application/json"),
            ("a.b.png", "image/png"), ("film.mp4", "video/mp4"), ("notes.html.txt", "text/plain"),
        ]:  # fmt: skip
            self.assertEqual(type_of_name(location), content_type, location)

    def test_unknown(self) -> None:
        """No extension, one that nobody knows, and a hidden file's name tell nothing."""
        for location in (
            "a", "a.", "a.unknown", "a.txt/b", ".txt", "a/.txt", "a.bin", "a.txt ", "a.txt?b",
            "a.tar.br", "a.%74xt", "a.;txt", "data:,a", "a. ",
        ):  # fmt: skip
            self.assertIsNone(type_of_name(location), location)

    def test_run(self) -> None:
        """Never a type that a browser would run (RFC 9110 section 17)."""
        for extension in (
            "html", "htm", "HTML", "xhtml", "xht", "shtml", "svg", "svgz", "xml", "xsl", "rdf",
            "mhtml", "mht", "eml", "js", "mjs", "cjs", "wasm", "swf", "atom", "hta", "htc",
        ):  # fmt: skip
            self.assertIsNone(type_of_name(f"a.{extension}"), extension)

    def test_python(self) -> None:
        """Nothing that Python's table knows for a script, a page or XML is a type here."""
        known = {type_of_name(f"a{each}") for each in mimetypes.MimeTypes().types_map[True]}
        for content_type in known - {None}:
            assert content_type is not None
            for part in ("html", "xml", "script", "flash"):
                allowed = {"application/postscript"}
                self.assertFalse(part in content_type and content_type not in allowed, content_type)

    @given(st.text())
    def test_anything(self, location: str) -> None:
        """Whatever the name, there is an answer."""
        type_of_name(location)
