"""Tests for gostore.web.routes.page: the files of the page."""

from __future__ import annotations

from gostore.web.page.files import files
from tests.web.support import WebCase


class FileTests(WebCase):
    """/page/."""

    def test_kept(self) -> None:
        """A file may be kept for good, since another version has another path."""
        for name, file in files().by_name.items():
            request = self.ask("GET", f"/{files().path}{name}")
            self.assertEqual((request.code, request.content), (200, file.data))
            self.assertIn("immutable", request.answer["cache-control"])
            self.assertEqual(request.answer["x-content-type-options"], "nosniff")
            self.assertEqual(request.answer["content-type"].encode(), file.content_type)
            known = ("If-None-Match", request.answer["etag"])
            again = self.ask("GET", f"/{files().path}{name}", known)
            self.assertEqual((again.code, again.content), (304, b""))

    def test_another_version(self) -> None:
        """The path of another version leads to this one's file, which nobody keeps."""
        request = self.ask("GET", "/page/0123456789abcdef/page.js")
        self.assertEqual(request.code, 200)
        self.assertEqual(request.answer["cache-control"], "no-cache")

    def test_none(self) -> None:
        """There are no other files, and no way out of the folder."""
        for name in ("x.js", "page.html", "..%2fpage.html", "%2e%2e", ""):
            self.assert_refused(self.ask("GET", f"/{files().path}{name}"), 404)

    def test_size(self) -> None:
        """Each file is short enough to be read in one go."""
        for name, file in files().by_name.items():
            self.assertLessEqual(file.data.count(b"\n"), 450, name)
