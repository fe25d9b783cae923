"""Tests for gostore.wire.head, beyond what those of the whole wire hold."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.wire.head import Headers


class MeaningTests(SynchronousTestCase):
    """Parsed values of fields that many requests share."""

    def setUp(self) -> None:
        """Fields, and a function that notes when it is asked."""
        self.asked: list[bytes | None] = []
        self.headers = Headers([(b"a", b"1")], {b"a": b"1"})

    def read(self, headers: Headers) -> bytes | None:
        """Make something of the fields."""
        self.asked.append(headers.get(b"a"))
        return headers.get(b"a")

    def test_once(self) -> None:
        """It is made once."""
        self.assertEqual([self.headers.parsed(self.read) for _ in range(3)], [b"1"] * 3)
        self.assertEqual(self.asked, [b"1"])

    def test_each(self) -> None:
        """By each function for itself."""
        self.headers.parsed(self.read)
        self.assertEqual(self.headers.parsed(lambda headers: b"a" in headers), True)

    def test_failure(self) -> None:
        """A function that raised is asked again."""

        def refuse(headers: Headers) -> None:
            self.read(headers)
            raise ValueError

        for _ in range(2):
            self.assertRaises(ValueError, self.headers.parsed, refuse)
        self.assertEqual(self.asked, [b"1"] * 2)
