"""Tests for patience.py: how long a client tries again."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gostore.client.patience import Patience, Pauses, seconds_asked


class PauseTests(SynchronousTestCase):
    """The pauses between attempts."""

    def setUp(self) -> None:
        """A clock that stands still."""
        self.clock = Clock()
        self.pauses = Pauses(Patience(60, 2), self.clock.seconds, lambda: 1.0)

    def spend(self, asked: float | None = None, *, reached: bool = True) -> list[float]:
        """All pauses until there are no more."""
        spent = []
        while (pause := self.pauses.next(asked, reached=reached)) is not None:
            self.clock.advance(pause)
            spent.append(pause)
        return spent

    def test_longer_and_longer(self) -> None:
        """Each pause is twice the last one, up to 15 seconds, and together at most the limit."""
        self.assertEqual(self.spend(), [0.25, 0.5, 1, 2, 4, 8, 15, 15])

    def test_nobody_there(self) -> None:
        """Where nobody listens the client gives up soon."""
        self.assertEqual(self.spend(reached=False), [0.25, 0.5, 1])

    def test_asked(self) -> None:
        """A Retry-After is kept, as long as it is within the limit."""
        self.assertEqual(self.spend(20.0), [20, 20, 20])
        self.pauses.restart()
        self.assertEqual(self.spend(61.0), [])

    def test_never_early(self) -> None:
        """A Retry-After of nothing does not make a client hammer."""
        self.assertEqual(self.spend(0.0)[:3], [0.25, 0.5, 1])

    def test_progress(self) -> None:
        """Progress gives all the patience back."""
        self.spend()
        self.pauses.restart()
        self.assertEqual(self.pauses.next(), 0.25)

    def test_jitter(self) -> None:
        """No two clients come back together."""
        pauses = Pauses(Patience(), self.clock.seconds, lambda: 0.0)
        self.assertEqual(pauses.next(), 0.125)

    def test_retry_after(self) -> None:
        """Only a number of seconds counts."""
        self.assertEqual(seconds_asked("12"), 12)
        for text in (None, "", "-1", "1.5", "²", "Mon, 30 Nov 2026 14:00:00 GMT"):
            self.assertIsNone(seconds_asked(text))
        self.assertEqual(seconds_asked("9" * 400), 999_999_999)
