"""Tests for gostore.web.page.names: what people see of names, sizes and times."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.web.page.names import shown, size_in_words, time_in_words


class NameTests(SynchronousTestCase):
    """Names are a stranger's."""

    def test_markup(self) -> None:
        """Markup in a name is text."""
        text = shown("""<img src=x onerror="alert(1)">'&amp;""")
        self.assertNotIn("<img", text)
        self.assertIn("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&#x27;&amp;amp;", text)

    def test_direction(self) -> None:
        """A name is isolated from what is around it, and what turns its direction is visible."""
        self.assertEqual(shown("שלום"), '<bdi dir="auto">שלום</bdi>')
        text = shown("photo\u202egpj.exe")
        self.assertNotIn("\u202e", text)
        self.assertIn('photo<span class="hidden-char">U+202E</span>gpj.exe', text)

    def test_hidden(self) -> None:
        """What takes no place is visible, too."""
        for code in (0x200B, 0x200F, 0x2028, 0x2066, 0x2069, 0xFEFF, 0x85, 0x061C):
            self.assertIn(f">U+{code:04X}<", shown(f"a{chr(code)}b"))

    def test_sizes(self) -> None:
        """A size has at most four digits and a unit."""
        for size, text in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1023 * 1024, "1.0 MiB"),
            (20 << 30, "20.0 GiB"),
            (5 << 60, "5120.0 PiB"),
        ]:
            self.assertEqual(size_in_words(size), text)

    def test_times(self) -> None:
        """A time is short for people and whole for programs."""
        text = '<time datetime="2023-11-14T22:13:20Z">2023-11-14 22:13</time>'
        self.assertEqual(time_in_words(1_700_000_000 * 10**9), text)
