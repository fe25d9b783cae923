"""The arithmetic of the benchmarks' report; no server is run."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loads import Sample
from benchmarks.report import Spread, ratios, spread, table


def sample(server: str, load: str, number: int, per_second: float, errors: int = 0) -> Sample:
    """A sample of which only the speed matters."""
    return Sample(server, load, number, per_second, 1.0, 2.0, 3.0, 4096, errors)


class RatioTests(SynchronousTestCase):
    """Ratios are taken within a round, then spread over the rounds."""

    def test_spread(self) -> None:
        """The median of an even number of values lies between the middle two."""
        self.assertEqual(spread([4, 1, 3, 2]), Spread(2.5, 1, 4))

    def test_round_by_round(self) -> None:
        """A figure is divided by the other server's of the same round, not of another."""
        fast = [sample("a", "GET", number, speed) for number, speed in enumerate((10, 40, 90))]
        slow = [sample("b", "GET", number, speed) for number, speed in enumerate((10, 20, 30))]
        self.assertEqual(ratios(fast + slow, "a", "b", "GET"), Spread(2, 1, 3))

    def test_post_beside_put(self) -> None:
        """A POST is held against the PUT of a server that has no POST."""
        found = ratios(
            [sample("a", "POST 1", 0, 6), sample("b", "PUT 1", 0, 3)], "a", "b", "POST 1"
        )
        self.assertEqual(found, Spread(2, 2, 2))

    def test_errors_are_no_figure(self) -> None:
        """A round in which requests failed counts for nothing, and its errors are shown."""
        samples = [sample("a", "GET", 0, 6, errors=7), sample("b", "GET", 0, 3)]
        self.assertIsNone(ratios(samples, "a", "b", "GET"))
        self.assertIn("| GET | a | 6 | - | 1.00 | 2.00 | 3 | 4 | 7 |", table(samples, "b"))
