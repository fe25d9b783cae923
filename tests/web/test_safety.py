"""What keeps a reader's browser from running what a stranger stored."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.web.fields.safety import is_navigation, is_shown, safety_fields
from tests.web.fake_request import FakeRequest


def policy(content_type: str) -> dict[str, str]:
    """The Content-Security-Policy of a type, each directive with its value."""
    text = safety_fields(content_type)[b"content-security-policy"].decode("ascii")
    return {name: value for name, _, value in (each.partition(" ") for each in text.split("; "))}


class PolicyTests(SynchronousTestCase):
    """Content-Security-Policy by type."""

    def test_media(self) -> None:
        """A sound or a film may be read by the page that plays it, which has this origin."""
        for content_type in ("video/mp4", "Audio/OGG", 'video/webm; codecs="vp8"'):
            found = policy(content_type)
            self.assertEqual(found["media-src"], "'self'")
            self.assertEqual(found["sandbox"], "allow-same-origin")

    def test_image(self) -> None:
        """A picture keeps the styles that are in it."""
        found = policy("image/svg+xml")
        self.assertEqual((found["style-src"], found["sandbox"]), ("'unsafe-inline'", ""))

    def test_other(self) -> None:
        """Every other type, and what several types could be read from, may nothing at all."""
        for content_type in (
            "text/html", "text/plain", "application/pdf", "a", "", "video/mp4, text/html",
            "audio/ogg;a=b, text/html", "video/mp4;,text/html", "video", "application/video/mp4",
        ):  # fmt: skip
            found = policy(content_type)
            self.assertEqual(set(found), {"sandbox", "default-src", "frame-ancestors"})
            self.assertEqual(found["sandbox"], "")

    @given(st.text() | st.sampled_from(["audio/", "video/", "image/"]).flatmap(
        lambda family: st.text().map(lambda rest: family + rest)
    ))  # fmt: skip
    def test_no_script(self, content_type: str) -> None:
        """Whatever the type, no script runs, and pages of other sites do not show it."""
        fields = safety_fields(content_type)
        found = policy(content_type)
        self.assertEqual(found["default-src"], "'none'")
        self.assertEqual(found["frame-ancestors"], "'self'")
        self.assertIn("sandbox", found)
        self.assertNotIn("script", "".join(found) + "".join(found.values()))
        self.assertEqual(fields[b"x-content-type-options"], b"nosniff")
        self.assertEqual(fields[b"cross-origin-resource-policy"], b"same-origin")


class NavigationTests(SynchronousTestCase):
    """Whether a browser is led to a blob, and what it then shows."""

    def test_shown(self) -> None:
        """Only types that hold no scripts, or whose scripts the sandbox stops, are shown."""
        for content_type, shown in [
            ("image/png", True), ("image/svg+xml", True), ("audio/mpeg", True),
            ("video/mp4", True), ("text/plain; charset=utf-8", True), ("Application/PDF", True),
            ("text/html", False), ("application/octet-stream", False), ("text/plainer", False),
            ("text/plain, text/html", False), ("", False), ("image", False),
        ]:  # fmt: skip
            self.assertIs(is_shown(content_type), shown, content_type)

    def test_navigation(self) -> None:
        """Browsers say so in Sec-Fetch-Mode; where they leave that out, they ask for TLS."""
        for fields, navigates in [
            ([], False),
            ([("Sec-Fetch-Mode", "navigate")], True),
            ([("Sec-Fetch-Mode", "cors")], False),
            ([("Sec-Fetch-Mode", "no-cors"), ("Upgrade-Insecure-Requests", "1")], False),
            ([("Upgrade-Insecure-Requests", "1")], True),
        ]:
            headers = FakeRequest("GET", "/", fields).headers
            self.assertIs(is_navigation(headers), navigates, fields)
