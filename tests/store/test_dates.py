"""gostore.store.dates: what is due, by a clock that may be wrong."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.store.dates import JUMP, SECOND, DueTime

NOW = 1_800_000_000


class DueTimeTests(SynchronousTestCase):
    """Two clocks that stand still unless a test moves them."""

    def setUp(self) -> None:
        """Look at them once."""
        self.wall, self.steady = float(NOW), 1000.0
        self.jumps: list[float] = []
        self.due = DueTime(lambda: int(self.wall * SECOND), lambda: self.steady, self.jumps.append)
        self.due()

    def come(self, *seconds: float) -> list[bool]:
        """Whether these seconds after `NOW` have come."""
        return [self.due.has_come(int((NOW + each) * SECOND)) for each in seconds]

    def test_goes_on(self) -> None:
        """A time comes when the clock is there."""
        self.wall += 10
        self.steady += 10
        self.assertEqual(self.come(9, 10, 11), [True, True, False])

    def test_small_jump(self) -> None:
        """A jump of up to an hour is believed."""
        self.wall += JUMP
        self.assertEqual(self.come(JUMP, JUMP + 1), [True, False])
        self.assertEqual(self.jumps, [])

    def test_jump(self) -> None:
        """What a larger one makes due waits for an hour; what was due or is new does not."""
        self.wall += 10 * JUMP
        self.assertEqual(self.come(0, 1, 10 * JUMP), [True, False, False])
        self.assertEqual(self.jumps, [10 * JUMP])
        self.wall += 60
        self.steady += 60
        self.assertEqual(self.come(1, 10 * JUMP, 10 * JUMP + 60), [False, False, True])
        self.wall += JUMP - 60
        self.steady += JUMP - 60
        self.assertEqual(self.come(1, 10 * JUMP), [True, True])

    def test_set_right(self) -> None:
        """A clock that is set right within the hour has made nothing due."""
        self.wall += 10 * JUMP
        self.assertEqual(self.come(JUMP), [False])
        self.wall -= 10 * JUMP
        self.assertEqual(self.come(0, 1, JUMP), [True, False, False])
        self.wall += JUMP
        self.steady += JUMP
        self.assertEqual(self.come(JUMP), [True])

    def test_back(self) -> None:
        """A clock that is set back is believed, and so is its way forth again of an hour."""
        self.wall -= 10 * JUMP
        self.assertEqual(self.come(0), [False])
        self.wall += 10 * JUMP
        self.assertEqual(self.come(0), [False])
        self.steady += JUMP
        self.wall += JUMP
        self.assertEqual(self.come(0), [True])
