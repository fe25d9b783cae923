"""Tests for gostore.access.quotas: what is counted, and what fits."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.quotas import SLICE, Quota, Quotas
from gostore.errors import QuotaExceeded

LOCATIONS = ["a/1", "a/2", "a/b/1", "a/b/2", "c"]


def later(work: Callable[[], None]) -> None:
    """Do it now."""
    work()


class QuotasTests(SynchronousTestCase):
    """Quotas alone."""

    def test_room(self) -> None:
        """The tightest quota of a location counts, and the room of what is replaced is free."""
        quotas = Quotas([Quota("a/", 100), Quota("a/b/", 10)])
        self.assertIsNone(quotas.room("c", None))
        self.assertEqual(quotas.room("a/x", None), (100, "a/"))
        self.assertEqual(quotas.room("a/b/x", None), (10, "a/b/"))
        quotas.count("a/y", 95, 1)
        self.assertEqual(quotas.room("a/b/x", None), (5, "a/"))
        self.assertEqual(quotas.room("a/y", 95), (100, "a/"))

    def test_count(self) -> None:
        """A quota may limit the number of blobs: replacing one needs no more."""
        quotas = Quotas([Quota("a/", 100, 1)])
        quotas.count("a/x", 10, 1)
        self.assertRaises(QuotaExceeded, quotas.room, "a/y", None)
        self.assertEqual(quotas.room("a/x", 10), (100, "a/"))

    def test_over(self) -> None:
        """Where more is stored than a quota has, what makes nothing larger still fits."""
        quotas = Quotas([Quota("a/", 100)])
        quotas.count("a/x", 300, 1)
        self.assertRaises(QuotaExceeded, quotas.room, "a/y", None)
        self.assertEqual(quotas.room("a/x", 50), (50, "a/"))
        quotas.claim(1, "a/x", 50, 50)
        self.assertRaises(QuotaExceeded, quotas.claim, 2, "a/x", 51, 50)

    def test_claims(self) -> None:
        """What is claimed has no room for others, until it is counted or given up."""
        quotas = Quotas([Quota("a/", 100, 3)])
        quotas.claim(1, "a/x", 60, None)
        self.assertEqual(quotas.room("a/y", None), (40, "a/"))
        self.assertRaises(QuotaExceeded, quotas.claim, 2, "a/y", 41, None)
        quotas.claim(2, "a/y", 40, None)
        quotas.unclaim(1)
        quotas.unclaim(1)
        self.assertEqual(quotas.room("a/x", None), (60, "a/"))

    def test_smaller(self) -> None:
        """What a smaller blob will free has room for others only when it is counted."""
        quotas = Quotas([Quota("a/", 100)])
        quotas.count("a/x", 100, 1)
        quotas.claim(1, "a/x", 10, 100)
        self.assertRaises(QuotaExceeded, quotas.claim, 2, "a/y", 90, None)
        quotas.unclaim(1)
        quotas.count("a/x", -90, 0)
        quotas.claim(2, "a/y", 90, None)

    def test_change(self) -> None:
        """Other quotas count from what is there; those that stay keep their count and claims."""
        quotas = Quotas([Quota("a/", 100)])
        quotas.count("a/x", 10, 1)
        quotas.claim(1, "a/y", 20, None)
        new = [Quota("a/", 50), Quota("c", 20)]
        quotas.change(
            new, lambda *asked: {("c", "", SLICE): [("c/1", 5), ("c/2", 6)]}[asked], later
        )
        self.assertEqual(quotas.room("a/z", None), (20, "a/"))
        self.assertEqual(quotas.room("c/x", None), (9, "c"))
        quotas.unclaim(1)
        self.assertEqual(quotas.room("a/z", None), (40, "a/"))
        quotas.change([], lambda *asked: [], later)
        self.assertIsNone(quotas.room("a/z", None))

    def test_slices(self) -> None:
        """What a new quota has is counted in steps, right also if blobs come and go in between."""
        blobs = {f"a/{number:05}": 1 for number in range(3 * SLICE)}
        turns: list[Callable[[], None]] = []
        quotas = Quotas()

        def behind(prefix: str, location: str, most: int) -> list[tuple[str, int]]:
            found = [each for each in sorted(blobs) if each > location and each.startswith(prefix)]
            return [(each, blobs[each]) for each in found[:most]]

        def put(location: str, size: int | None) -> None:
            before = blobs.pop(location, None)
            if size is not None:
                blobs[location] = size
            more = int(size is not None) - int(before is not None)
            quotas.count(location, (size or 0) - (before or 0), more)

        quotas.change([Quota("a/", 5 * SLICE)], behind, turns.append)
        [usage] = quotas.usages()
        self.assertEqual((usage.size, usage.count), (SLICE, SLICE))
        # Until all is counted it limits nothing, but what is claimed then counts later.
        quotas.claim(1, "a/x", 6 * SLICE, None)
        quotas.unclaim(1)
        quotas.claim(2, "a/y", 7, None)
        put("a/00000", 10)
        put("a/00001", None)
        put("a/02000", None)
        put("a/02001", 20)
        put("a/00001x", 30)
        put("a/02001x", 40)
        while turns:
            turns.pop()()
        self.assertEqual((usage.size, usage.count), (sum(blobs.values()), len(blobs)))
        self.assertEqual(quotas.room("a/z", None), (5 * SLICE - usage.size - 7, "a/"))
        self.assertRaises(QuotaExceeded, quotas.claim, 3, "a/x", 6 * SLICE, None)

    def test_kept(self) -> None:
        """History counts apart: it takes no room, and what does not fit beside it has to go."""
        quotas = Quotas([Quota("a/", 100, 3)])
        quotas.count("a/x", 60, 1)
        quotas.keep("a/x", 30, 1)
        self.assertEqual(quotas.room("a/y", None), (40, "a/"))
        self.assertEqual(list(quotas.excess("a/x")), [])
        quotas.keep("a/y", 50, 2)
        self.assertEqual(list(quotas.excess("a/x")), [("a/", 40, 1)])
        self.assertEqual(list(quotas.excess("b")), [])
        quotas.count("a/y", 200, 1)
        self.assertEqual(list(quotas.excess("a/x")), [("a/", 80, 2)])

    def test_kept_slices(self) -> None:
        """A new quota counts history in steps beside what lives, each change of it once."""
        for step, old_step in ((3, 2), (1, 2)):
            with self.subTest(step=step):
                self.count_in_slices(step, old_step)

    def count_in_slices(self, step: int, old_step: int) -> None:
        """Count what lives at each so many-th location, and what is kept."""
        live = {f"a/{number:05}": 1 for number in range(0, 3 * SLICE, step)}
        kept = {f"a/{number:05}": (2, 1) for number in range(0, 4 * SLICE, old_step)}
        turns: list[Callable[[], None]] = []
        quotas = Quotas()

        def behind(prefix: str, location: str, most: int) -> list[tuple[str, int]]:
            return [(each, live[each]) for each in sorted(live) if each > location][:most]

        def kept_behind(prefix: str, location: str, most: int) -> list[tuple[str, int, int]]:
            return [(each, *kept[each]) for each in sorted(kept) if each > location][:most]

        quotas.change([Quota("a/", 5)], behind, turns.append, kept_behind)
        [usage] = quotas.usages()
        self.assertEqual(list(quotas.excess("a/x")), [])
        for location, size in (("a/00000", 7), ("a/03998", 9), ("a/03999", 11)):
            before = kept.get(location, (0, 0))
            kept[location] = (before[0] + size, before[1] + 1)
            quotas.keep(location, size, 1)
        while turns:
            turns.pop()()
        self.assertEqual((usage.size, usage.count), (len(live), len(live)))
        sizes, counts = zip(*kept.values(), strict=True)
        self.assertEqual((usage.kept_size, usage.kept_count), (sum(sizes), sum(counts)))

    def test_slices_end(self) -> None:
        """A quota that is gone before all is counted is counted no further."""
        turns: list[Callable[[], None]] = []
        quotas = Quotas()
        quotas.change([Quota("a", 5)], lambda *asked: [("a", 1)] * SLICE, turns.append)
        quotas.change([], lambda *asked: [], turns.append)
        turns.pop()()
        self.assertEqual(turns, [])

    @given(
        st.lists(
            st.tuples(st.sampled_from(LOCATIONS), st.integers(0, 40), st.booleans()), max_size=30
        )
    )
    def test_never_exceeded(self, writes: list[tuple[str, int, bool]]) -> None:
        """Whatever is written, replaced and given up: sums are right, and within the quotas."""
        limits = [Quota("a/", 100, 3), Quota("a/b/", 50), Quota("", 130)]
        quotas = Quotas(limits)
        blobs: dict[str, int] = {}
        for number, (location, size, lasts) in enumerate(writes):
            replaced = blobs.get(location)
            try:
                quotas.claim(number, location, size, replaced)
            except QuotaExceeded:
                after = {**blobs, location: size}
                self.assertTrue(any(exceeded(limit, after) for limit in limits))
                continue
            quotas.unclaim(number)
            if lasts:
                quotas.count(location, size - (replaced or 0), int(replaced is None))
                blobs[location] = size
            for usage in quotas.usages():
                below = [size for at, size in blobs.items() if at.startswith(usage.quota.prefix)]
                self.assertEqual((usage.size, usage.count), (sum(below), len(below)))
                self.assertEqual((usage.claimed_size, usage.claimed_count), (0, 0))
                self.assertFalse(exceeded(usage.quota, blobs))


def exceeded(quota: Quota, blobs: dict[str, int]) -> bool:
    """Whether blobs are more than a quota has."""
    below = [size for location, size in blobs.items() if location.startswith(quota.prefix)]
    return sum(below) > quota.size or (quota.count is not None and len(below) > quota.count)
