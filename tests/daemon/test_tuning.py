"""Tests for gostore.daemon.tuning: what of the settings changes while the daemon runs."""

from __future__ import annotations

import math

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.reloading import CannotReload
from gostore.daemon.settings import Settings
from gostore.daemon.tuning import Tuning
from gostore.prefixes import ByPrefix
from gostore.web.lifetimes import LifetimeRule


class TuningTests(SynchronousTestCase):
    """A configuration file that changes."""

    def setUp(self) -> None:
        """Begin with the defaults."""
        self.found = Settings()
        self.tuned: list[Settings] = []
        self.tuning = Tuning(self.found, lambda: self.found, self.tuned.append)

    def test_nothing(self) -> None:
        """Settings that are as before are nothing."""
        self.assertEqual((self.tuning.reload(), self.tuned), ("", []))

    def test_limits(self) -> None:
        """Limits are handed over, and said with what they were, once."""
        self.found = evolve(self.found, max_connections=9, idle_timeout=2.5, max_blob_size=7)
        said = self.tuning.reload()
        self.assertEqual(
            said,
            "max-blob-size was 0 and is 7; max-connections was auto and is 9;"
            " idle-timeout was 75 and is 2.5",
        )
        self.assertEqual(self.tuned, [self.found])
        self.assertEqual(self.tuning.reload(), "")

    def test_prefixes(self) -> None:
        """What differs by prefix is said as the file has it."""
        keep = ByPrefix(7 * 86_400.0, {"a/": math.inf, "b/": 0.0})
        expire = ByPrefix(LifetimeRule(), {"tmp/": LifetimeRule(86_400, 7 * 86_400)})
        self.found = evolve(self.found, keep=keep, expire=expire)
        self.assertEqual(
            self.tuning.reload(),
            "expire was never and is never, tmp/ = 1d max 7d;"
            " keep was 0 and is 7d, a/ = forever, b/ = 0",
        )
        self.assertEqual(self.tuned, [self.found])

    def test_later(self) -> None:
        """Others wait for a restart; they are named each time, and not handed over."""
        self.found = evolve(self.found, gc_interval=9, max_lists=3)
        later = "gc-interval waits for a restart"
        self.assertEqual(self.tuning.reload(), f"max-lists was 32 and is 3; {later}")
        self.assertEqual(self.tuned, [evolve(Settings(), max_lists=3)])
        self.assertEqual(self.tuning.reload(), later)

    def test_bad(self) -> None:
        """A file that cannot be read changes nothing."""

        def read() -> Settings:
            raise CannotReload("gone")

        tuning = Tuning(self.found, read, self.tuned.append)
        self.assertRaises(CannotReload, tuning.reload)
        self.assertEqual(self.tuned, [])
