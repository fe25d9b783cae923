"""Tests of gostore.web.list_forms: the form that each client gets."""

from __future__ import annotations

import json
from urllib.parse import unquote

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.store.interface import DamagedBlob
from gostore.web.list_forms import AS_HTML, AS_JSON, AS_TEXT, AS_TREE, Form, form_for


class FormForTests(SynchronousTestCase):
    """form_for."""

    def test_forms(self) -> None:
        """The form is the one that Accept prefers, else JSON (RFC 9110 section 12.5.1)."""
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
        for agent in (b"rclone/v1.60", b"Wget/1.21.3"):
            self.assertIs(form_for(None, agent), AS_TREE)
            self.assertIs(form_for(b"*/*", agent), AS_TREE)
        for agent in (b"curl/7.88.1", b"", b"xWget/1", None):
            self.assertIs(form_for(b"*/*", agent), AS_JSON)
        self.assertIs(form_for(b"text/plain", b"rclone/v1.60"), AS_TEXT)


class DamagedTests(SynchronousTestCase):
    """A damaged blob in each form of the list."""

    def test_shown(self) -> None:
        """Each form shows the blob that was stored, and that it is damaged."""
        blob = Committed(1, "a", 1, 3, b"\xab" * 32, 1_700_000_000 * 10**9, "text/plain", None)
        damaged = DamagedBlob(blob)
        shown = json.loads(AS_JSON.entry(damaged, "", 1 << 40))
        self.assertIs(shown.pop("damaged"), True)
        self.assertEqual(shown, json.loads(AS_JSON.entry(blob, "", 1 << 40)))
        self.assertEqual(AS_TEXT.entry(damaged, "", 1 << 40).split("\t")[5:], ["damaged\n"])
        self.assertEqual(AS_TEXT.entry(blob, "", 1 << 40).split("\t")[5:], [])
        self.assertIn("<td>text/plain<td>damaged\n", AS_HTML.entry(damaged, "", 1 << 40))
        self.assertNotIn("damaged", AS_HTML.entry(blob, "", 1 << 40))


class EntryTests(SynchronousTestCase):
    """Entries whose text has characters that a terminal obeys, or that end a line for some."""

    nasty = "a\x85b\x9b31m\u2028c\u2029"

    def entry(self, form: Form, text: str) -> str:
        """The entry of a blob with this text for a location and a type."""
        blob = Committed(1, text, 1, 0, None, 0, text, None)
        return form.entry(blob, "", 0)

    def test_text(self) -> None:
        """The text form percent-encodes them, and decoding gives the location again."""
        for text in (self.nasty, "100%", "%85", "%%41\x85", "%4\x85", "%\x85", "%C2%85", "é"):
            for line in (self.entry(AS_TEXT, text), AS_TEXT.entry(text, "", 0)):
                self.assertEqual(len(line.splitlines()), 1, text)
                self.assertEqual(unquote(line.rstrip("\n").partition("\t")[0]), text)
        self.assertTrue(self.entry(AS_TEXT, self.nasty).startswith("a%C2%85b%C2%9B31m%E2%80%A8c"))
        self.assertTrue(self.entry(AS_TEXT, "100% é").startswith("100% é\t"))

    def test_json(self) -> None:
        """JSON escapes them."""
        for line in (self.entry(AS_JSON, self.nasty), AS_JSON.entry(self.nasty, "", 0)):
            self.assertEqual(len(line.splitlines()), 1)
            self.assertFalse(set(line) & set("\x85\x9b\u2028\u2029"))
            self.assertIn(self.nasty, json.loads(line).values())
