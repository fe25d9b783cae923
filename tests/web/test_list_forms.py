"""Tests of gostore.web.list_forms: the form that each client gets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.web.list_forms import AS_HTML, AS_JSON, AS_TEXT, AS_TREE, form_for


class FormForTests(SynchronousTestCase):
    """form_for."""

    def test_forms(self) -> None:
        """The form is the one that Accept likes best, JSON if none (RFC 9110 section 12.5.1)."""
        for accept, form in [
            (None, AS_JSON),
            (b"", AS_JSON),
            (b"*/*", AS_JSON),
            (b"text/html", AS_HTML),
            (b"text/plain", AS_TEXT),
            (b"text/html;q=0.5, text/plain;q=0.9", AS_TEXT),
            (b"text/html, application/xhtml+xml, */*;q=0.8", AS_HTML),
            (b"image/png", AS_JSON),
            (b"application/json;q=0, text/html", AS_HTML),
            (b"\xff;;;q=x", AS_JSON),
            (b"text/html" + b", a/b;q=0.5" * 15, AS_HTML),
            (b"text/html" + b", a/b;q=0.5" * 16, AS_JSON),
            (b"text/html;a=" + b"b" * 2048, AS_JSON),
        ]:
            self.assertIs(form_for(accept, None), form, accept)
        self.assertIs(form_for(None, b"rclone/v1.60"), AS_TREE)
        self.assertIs(form_for(b"text/plain", b"rclone/v1.60"), AS_TEXT)
