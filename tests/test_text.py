"""Tests for gostore.text: what people are shown of paths, messages and times."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.text import (
    LAST_TIME,
    Repeats,
    escape,
    format_time,
    printable,
    wall_clock,
    wall_seconds,
)


class TextTests(SynchronousTestCase):
    """printable, escape and format_time."""

    def test_printable(self) -> None:
        """A path that is not UTF-8 can be shown."""
        self.assertEqual(printable("/café/\udcff"), "/café/\\xff")

    def test_escape(self) -> None:
        """A message stays on one line and moves no cursor; letters of any script stay."""
        for message, shown in [
            ("café", "café"),
            ("a\nb", "a\\nb"),
            ("\x1b[2J", "\\x1b[2J"),
            ("\u202eabc", "\\u202eabc"),
            ("\udcff", "\\udcff"),
        ]:
            self.assertEqual(escape(message), shown)
            self.assertTrue(escape(message).isprintable())

    def test_wall_clock(self) -> None:
        """The clock tells nanoseconds and whole seconds, and no more than an int64 holds."""
        self.assertEqual(wall_clock() // 10**18, 1)
        self.assertEqual(len(str(wall_seconds())), 10)
        self.assertEqual(LAST_TIME, 2**63 - 1)

    def test_format_time(self) -> None:
        """A time is in RFC 3339 and UTC, with as many decimals as it needs."""
        for when, shown in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
            (1_500_000_000, "1970-01-01T00:00:01.5Z"),
            (-1_000_000_000, "1969-12-31T23:59:59Z"),
            (-62_135_596_800_000_000_000, "0001-01-01T00:00:00Z"),
            (253_402_300_799_000_000_000, "9999-12-31T23:59:59Z"),
        ]:
            self.assertEqual(format_time(when), shown)

    def test_times_beyond_the_calendar(self) -> None:
        """A time outside the years 1 to 9999 is a ValueError."""
        for when in (-62_135_596_800_000_000_001, 253_402_300_800_000_000_000, 10**30):
            self.assertRaises(ValueError, format_time, when)


class RepeatsTests(SynchronousTestCase):
    """Messages that every run of something would repeat."""

    def test_due(self) -> None:
        """The first is due, and then the 10th and the 100th, with the count."""
        repeats = Repeats()
        due = [repeats.due("7", "it is full") for _ in range(200)]
        self.assertEqual(
            [(number, each) for number, each in enumerate(due, 1) if each is not None],
            [
                (1, "it is full"),
                (10, "it is full (said 10 times)"),
                (100, "it is full (said 100 times)"),
            ],
        )

    def test_anew(self) -> None:
        """Another message, another thing, or one that was forgotten begins anew."""
        repeats = Repeats()
        self.assertEqual(repeats.due("7", "a"), "a")
        self.assertEqual(repeats.due("8", "a"), "a")
        self.assertEqual(repeats.due("7", "b"), "b")
        self.assertIsNone(repeats.due("7", "b"))
        repeats.forget("7")
        repeats.forget("9")
        self.assertEqual(repeats.due("7", "b"), "b")
