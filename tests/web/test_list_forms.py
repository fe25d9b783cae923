"""Tests of gostore.web.list_forms: the form that each client gets."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.store.interface import DamagedBlob
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


class DamagedTests(SynchronousTestCase):
    """A damaged blob in each form of the list."""

    def test_shown(self) -> None:
        """Each form shows the blob that was stored, and that it is damaged."""
        blob = Committed(1, "a", 1, 3, b"\xab" * 32, 1_700_000_000 * 10**9, "text/plain", None)
        damaged = DamagedBlob(blob)
        shown = json.loads(AS_JSON.entry(damaged, ""))
        self.assertIs(shown.pop("damaged"), True)
        self.assertEqual(shown, json.loads(AS_JSON.entry(blob, "")))
        self.assertEqual(AS_TEXT.entry(damaged, "").split("\t")[5:], ["damaged\n"])
        self.assertEqual(AS_TEXT.entry(blob, "").split("\t")[5:], [])
        self.assertIn("<td>text/plain<td>damaged\n", AS_HTML.entry(damaged, ""))
        self.assertNotIn("damaged", AS_HTML.entry(blob, ""))
