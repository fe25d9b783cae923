"""Tests for gostore.store.expiry: which blobs are over, also when the clock is set."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.store.dates import JUMP, SECOND
from gostore.store.expiry import Expiry

NOW = 1_800_000_000
HOUR = int(JUMP)
YEAR = 365 * 86_400


def blob(blob_id: int, expires: int | None) -> Committed:
    """A blob that expires so many seconds after `NOW`, or stays."""
    when = None if expires is None else NOW + expires
    return Committed(blob_id, f"a{blob_id}", blob_id, 0, None, 0, None, None, when)


class ExpiryTests(SynchronousTestCase):
    """The blobs in their order, and the two clocks."""

    def setUp(self) -> None:
        """Have clocks that stand still."""
        self.wall, self.steady = float(NOW), 1000.0
        self.expiry = Expiry(lambda: int(self.wall * SECOND), lambda: self.steady)

    def add(self, *expires: int | None) -> list[Committed]:
        """Take in blobs, whose ids are 0, 1, 2 and so on."""
        blobs = [blob(blob_id, when) for blob_id, when in enumerate(expires)]
        for each in blobs:
            self.expiry.add(each)
        return blobs

    def go(self, seconds: float) -> None:
        """Let time go by."""
        self.wall += seconds
        self.steady += seconds

    def over(self, blobs: list[Committed]) -> list[int]:
        """The ids of those that are over, which are all that are due."""
        over = [each.id for each in blobs if self.expiry.is_over(each)]
        self.assertEqual(sorted(self.expiry.due(100)), over)
        return over

    def test_order(self) -> None:
        """A blob is over from its second on; those that are due come in their order."""
        blobs = self.add(20, 10, None, 30)
        self.assertEqual(len(self.expiry), 3)
        self.assertEqual(self.over(blobs), [])
        self.go(9.999)
        self.assertEqual(self.over(blobs), [])
        self.go(0.001)
        self.assertEqual(self.over(blobs), [1])
        self.go(1000)
        self.assertEqual(self.expiry.due(100), [1, 0, 3])
        self.assertEqual(self.expiry.due(2), [1, 0])

    def test_restored(self) -> None:
        """What a start finds is due when it is."""
        self.expiry.restore([blob(1, 5), blob(2, -5), blob(3, None)])
        self.assertEqual((len(self.expiry), self.expiry.due(9)), (2, [2]))

    def test_discarded(self) -> None:
        """What has left its location is never due."""
        blobs = self.add(10, 10, None)
        for each in (blobs[0], blobs[0], blobs[2]):
            self.expiry.discard(each)
        self.go(10)
        self.assertEqual((len(self.expiry), self.expiry.due(9)), (1, [1]))

    def test_small_jump(self) -> None:
        """A clock that is set forth by an hour is believed, and one that is set back."""
        blobs = self.add(HOUR, HOUR + 10)
        self.wall += HOUR
        self.assertEqual(self.over(blobs), [0])
        self.wall -= 1
        self.assertEqual(self.over(blobs), [])

    def test_jump(self) -> None:
        """What becomes due by a jump waits for an hour; all else expires when it is due."""
        blobs = self.add(-5, 10, HOUR, 2 * YEAR, 3 * YEAR)
        self.assertEqual(self.over(blobs), [0])
        self.wall += 2 * YEAR
        self.assertEqual(self.over(blobs), [0])
        after = blob(5, 2 * YEAR + 7)
        self.expiry.add(after)
        blobs.append(after)
        self.go(6)
        self.assertEqual(self.over(blobs), [0])
        self.go(1)
        self.assertEqual(self.over(blobs), [0, 5])
        self.go(HOUR - 8)
        self.assertEqual(self.over(blobs), [0, 5])
        self.go(1)
        self.assertEqual(self.over(blobs), [0, 1, 2, 3, 5])

    def test_undone(self) -> None:
        """A jump that is undone has changed nothing."""
        blobs = self.add(10, HOUR, YEAR)
        self.wall += 2 * YEAR
        self.assertEqual(self.over(blobs), [])
        self.wall -= 2 * YEAR
        self.go(10)
        self.assertEqual(self.over(blobs), [0])
        self.go(HOUR)
        self.assertEqual(self.over(blobs), [0, 1])

    def test_again(self) -> None:
        """Another jump begins the hour anew."""
        blobs = self.add(10, YEAR + 10)
        self.wall += YEAR
        self.assertEqual(self.over(blobs), [])
        self.go(HOUR - 1)
        self.wall += YEAR
        self.assertEqual(self.over(blobs), [])
        self.go(HOUR - 1)
        self.assertEqual(self.over(blobs), [])
        self.go(1)
        self.assertEqual(self.over(blobs), [0, 1])
