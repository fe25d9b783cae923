"""gostore.store.history: what is kept, for how long, and who goes first."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.quotas import Quota, Quotas
from gostore.prefixes import ByPrefix
from gostore.store.history import FOREVER, History, room_of
from gostore.volume.collect import Dead

SECOND = 1_000_000_000

#: Blobs by location and by the second in which they died; generations grow in this order.
DEATHS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=12)


def dead(number: int, location: str, ended: int, by: int | None = None, size: int = 10) -> Dead:
    """A dead blob whose id is its generation, and which died in that second."""
    return Dead(number, location, number, by, ended=ended * SECOND, size=size)


def filled(
    keep: ByPrefix[float], deaths: list[tuple[str, int]], ledger: Quotas | None = None
) -> History:
    """A history in which these have died."""
    history = History(keep, ledger)
    for number, (location, ended) in enumerate(deaths):
        history.add(dead(number, location, ended), FOREVER)
    return history


class KeepTests(SynchronousTestCase):
    """For how long."""

    def test_keeps(self) -> None:
        """A location has a history if something is kept there for more than no time."""
        history = History(ByPrefix(0, {"a/": 5, "a/b/": 0, "c/": math.inf}))
        found = [history.keeps(each) for each in ("x", "a/x", "a/b/x", "c/x")]
        self.assertEqual(found, [False, True, False, True])

    def test_until(self) -> None:
        """A blob is kept from its end on; for ever has no end, whatever the clock says."""
        history = History(ByPrefix(5, {"c/": math.inf}))
        self.assertEqual(history.until(dead(1, "a", 3)), 8 * SECOND)
        self.assertIsNone(history.until(dead(1, "c/a", 3)))
        self.assertIsNone(history.until(Dead(1, "a", 1, ended=FOREVER)))

    def test_ahead(self) -> None:
        """A version that is dated ahead of the clock is kept from when it died, or was found."""
        history = History(ByPrefix(5))
        history.add(dead(1, "a", 300), 2 * SECOND)
        again = History(ByPrefix(5))
        again.restore([dead(1, "a", 300)], "a".__eq__, 4 * SECOND)
        found = [each.until(each.at("a")[0]) for each in (history, again)]
        self.assertEqual(found, [7 * SECOND, 9 * SECOND])


class ChangeTests(SynchronousTestCase):
    """Other times."""

    @given(
        DEATHS,
        st.sampled_from([0, 2, 5, math.inf]),
        st.dictionaries(st.sampled_from(["", "a", "b", "c"]), st.sampled_from([0, 2, 5])),
        st.integers(0, 20),
    )
    def test_change(
        self, deaths: list[tuple[str, int]], default: float, prefixes: dict[str, float], now: int
    ) -> None:
        """After a change it is as if these times had held from the beginning."""
        changed = filled(ByPrefix(5, {"b": 2}), deaths)
        changed.change(ByPrefix(default, prefixes))
        fresh = filled(ByPrefix(default, prefixes), deaths)
        expected = [each.id for each in fresh.take_due((now * SECOND).__ge__)]
        self.assertEqual(
            sorted(each.id for each in changed.take_due((now * SECOND).__ge__)), sorted(expected)
        )
        self.assertEqual(changed.at("a"), fresh.at("a"))

    def test_doomed(self) -> None:
        """Those are doomed that would be kept beyond a time, and will not be."""
        history = filled(ByPrefix(5, {"b": 9}), [("a", 0), ("a", 3), ("b", 0), ("c", 1)])
        doomed = [
            history.doomed(ByPrefix(*keep), 6 * SECOND) for keep in ((5,), (2,), (9, {"b": 1}))
        ]
        self.assertEqual(doomed, [(1, 10), (2, 20), (1, 10)])
        self.assertEqual(history.doomed(ByPrefix(5, {"b": 9, "c": 99}), 6 * SECOND), (0, 0))

    def test_until(self) -> None:
        """What goes by other times later is kept until then, or as long as both say."""
        history = History(ByPrefix(50))
        history.change(ByPrefix(50), (ByPrefix(5, {"b": 30}), 10 * SECOND))
        found = [history.until(dead(1, each, 3)) for each in "ab"]
        self.assertEqual(found, [10 * SECOND, 33 * SECOND])


class DueTests(SynchronousTestCase):
    """Whose time is over."""

    def test_in_time(self) -> None:
        """A blob is due when it was kept for as long as its prefix says."""
        history = filled(ByPrefix(5, {"b": 1}), [("a", 0), ("b", 3), ("a", 3)])
        self.assertEqual([each.id for each in history.take_due((4 * SECOND).__ge__)], [1])
        self.assertEqual([each.id for each in history.take_due((5 * SECOND).__ge__)], [0])
        self.assertEqual([each.id for each in history.take_due((8 * SECOND).__ge__)], [2])
        self.assertEqual((len(history), history.bytes), (0, 0))

    def test_clock_set_back(self) -> None:
        """A younger blob that died at an earlier time waits for its elder."""
        history = filled(ByPrefix(5), [("a", 9), ("a", 1)])
        self.assertEqual(history.take_due((10 * SECOND).__ge__), [])
        self.assertEqual([each.id for each in history.take_due((14 * SECOND).__ge__)], [0, 1])

    @given(DEATHS, st.integers(0, 20))
    def test_elders_first(self, deaths: list[tuple[str, int]], now: int) -> None:
        """Everything is taken that is due and has no elder that is not, elders first."""
        history = filled(ByPrefix(5, {"b": 2}), deaths)
        taken = [each.id for each in history.take_due((now * SECOND).__ge__)]
        expected = set()
        held = set()
        for number, (location, ended) in enumerate(deaths):
            if ended + (2 if location == "b" else 5) > now:
                held.add(location)
            elif location not in held:
                expected.add(number)
        self.assertEqual(set(taken), expected)
        for location in "abc":
            of_one = [each for each in taken if deaths[each][0] == location]
            self.assertEqual(of_one, sorted(of_one))

    def test_nothing_due(self) -> None:
        """To know that nothing is due takes no comparison of blobs, however many there are."""

        class Counted(Dead):
            looks = 0

            def __lt__(self, other: Dead) -> bool:
                Counted.looks += 1
                return super().__lt__(other)

        history = History(ByPrefix(5, {"b": 7}))
        for number in range(1000):
            location = f"{'ab'[number % 2]}{number}"
            history.add(Counted(number, location, number, ended=SECOND), FOREVER)
        Counted.looks = 0
        self.assertEqual(history.take_due((2 * SECOND).__ge__), [])
        self.assertEqual(Counted.looks, 0)


class RoomTests(SynchronousTestCase):
    """What goes before its time."""

    def test_oldest(self) -> None:
        """Those go first that died first, however long they would be kept, and no more than needed.

        An elder goes before a younger one that died at an earlier time.
        """
        history = filled(
            ByPrefix(5, {"b": math.inf}), [("a", 4), ("b", 2), ("c", 9), ("c", 3), ("b", 5)]
        )
        size = room_of(dead(0, "a", 0))
        self.assertEqual([each.id for each in history.take_oldest(2 * size)], [1, 0])
        self.assertEqual([each.id for each in history.take_oldest(1)], [4])
        self.assertEqual([each.id for each in history.take_oldest(0, 2)], [2, 3])
        self.assertEqual(history.take_oldest(1), [])
        self.assertEqual((history.given_up, history.bytes_given_up), (5, 50))


class QuotaTests(SynchronousTestCase):
    """What gives way to the quota of a prefix."""

    def test_below(self) -> None:
        """Only what is below its prefix goes, those first that died first, elders before others."""
        quotas = Quotas([Quota("a/", 25)])
        deaths = [("b", 1), ("a/x", 3), ("a/y", 2), ("a/x", 4), ("a/y", 1), ("a/\U0010ffffz", 9)]
        history = filled(ByPrefix(9, {"a/y": math.inf}), deaths, quotas)
        [usage] = quotas.usages()
        self.assertEqual((usage.kept_size, usage.kept_count), (50, 5))
        self.assertEqual([each.id for each in history.give_way("a/z")], [2, 4, 1])
        self.assertEqual(history.give_way("a/z"), [])
        quotas.count("a/z", 20, 1)
        self.assertEqual([each.id for each in history.give_way("b")], [])
        self.assertEqual([each.id for each in history.give_way("a/z")], [3, 5])
        self.assertEqual((history.given_up, history.bytes_given_up), (5, 50))
        self.assertEqual([each.id for each in history.take_due((99 * SECOND).__ge__)], [0])

    def test_number(self) -> None:
        """A quota of blobs counts versions; a tombstone is none."""
        quotas = Quotas([Quota("", 1 << 40, 2)])
        history = filled(ByPrefix(9), [("a", 1), ("b", 2), ("c", 3)], quotas)
        history.add(dead(9, "a", 0, size=-1), FOREVER)
        self.assertEqual([each.id for each in history.give_way("a")], [0])

    def test_several(self) -> None:
        """What goes for the quota of one prefix has made room in that of another."""
        quotas = Quotas([Quota("", 25), Quota("a/", 15)])
        history = filled(ByPrefix(9), [("b", 2), ("a/x", 1), ("a/y", 3)], quotas)
        self.assertEqual([each.id for each in history.give_way("a/x")], [1])

    @given(DEATHS, DEATHS, st.integers(0, 60), st.integers(0, 9))
    def test_no_more(
        self, first: list[tuple[str, int]], then: list[tuple[str, int]], size: int, due: int
    ) -> None:
        """Whatever dies and is due meanwhile, what is left fits, and one more would not."""
        quotas = Quotas([Quota("a", size)])
        history = filled(ByPrefix(5), first, quotas)
        history.give_way("a")
        history.take_due((due * SECOND).__ge__)
        for number, (location, ended) in enumerate(then, 100):
            history.add(dead(number, location, ended), FOREVER)
        taken = history.give_way("a")
        left = history.at("a")
        self.assertLessEqual(10 * len(left), size)
        if taken:
            self.assertGreater(10 * len(left) + 10, size)
        self.assertTrue(all(each.location == "a" for each in taken))
        self.assertEqual([each.generation for each in taken], sorted(e.generation for e in taken))

    def test_not_larger(self) -> None:
        """The heap of a quota does not grow with what has come and gone."""
        quotas = Quotas([Quota("a", 15)])
        history = filled(ByPrefix(5, {"a/": 1}), [("a", 0), ("a", 1)], quotas)
        history.give_way("a")
        for second in range(10, 2000):
            history.add(dead(second, f"a/{second}", second), FOREVER)
            history.take_due(((second + 1) * SECOND).__ge__)
            history.discard(1)
            history.add(dead(1, "a", 5), FOREVER)
        self.assertLess(len(history._below["a"]), 200)


class LookTests(SynchronousTestCase):
    """What there is."""

    def test_at(self) -> None:
        """A location's blobs are there, the newest first, and each by its generation."""
        history = filled(ByPrefix(5), [("a", 1), ("b", 2), ("a", 3)])
        self.assertEqual([each.id for each in history.at("a")], [2, 0])
        self.assertEqual(history.at("x"), [])
        found = history.find("a", 2)
        assert found is not None
        self.assertEqual(found.id, 2)
        self.assertIsNone(history.find("a", 1))

    def test_discard(self) -> None:
        """What is gone is not there any more, and is not taken."""
        history = filled(ByPrefix(5), [("a", 1), ("a", 2), ("b", 3)])
        history.discard(0)
        history.discard(7)
        self.assertEqual([each.id for each in history.take_due((99 * SECOND).__ge__)], [1, 2])
        self.assertEqual(history.bytes, 0)

    def test_deleted(self) -> None:
        """The deleted are those whose newest blob has no successor, until there is another one."""
        history = History(ByPrefix(5))
        for number, location, by in ((1, "b", None), (2, "a/x", 9), (3, "a/x", None), (4, "c", 5)):
            history.add(dead(number, location, 1, by), FOREVER)

        def deleted(prefix: str = "", after: str = "", limit: int = 9) -> list[tuple[str, int]]:
            found = history.deleted(prefix, after, limit)
            return [(location, newest.id) for location, newest in found]

        self.assertEqual(deleted(), [("a/x", 3), ("b", 1)])
        self.assertEqual(deleted("a/"), [("a/x", 3)])
        self.assertEqual(deleted(after="a/x"), [("b", 1)])
        self.assertEqual(deleted(limit=1), [("a/x", 3)])
        found = history.deleted("", "", 9, lambda location: "b" if location < "b" else location)
        self.assertEqual([location for location, _ in found], ["b"])
        history.revive("b")
        self.assertEqual(deleted(), [("a/x", 3)])

    @given(DEATHS, st.sets(st.sampled_from("abc")))
    def test_restore(self, deaths: list[tuple[str, int]], live: set[str]) -> None:
        """What a start finds, in any order, is what there was."""
        before = filled(ByPrefix(5, {"b": 2}), deaths)
        after = History(ByPrefix(5, {"b": 2}))
        after.restore(reversed(list(before)), live.__contains__, FOREVER)
        self.assertEqual(after.bytes, before.bytes)
        for location in "abc":
            self.assertEqual(after.at(location), before.at(location))
        dead_ones = {location for location, _ in deaths} - live
        self.assertEqual({at for at, _ in after.deleted("", "", 99)}, dead_ones)
        self.assertEqual(
            after.take_due((99 * SECOND).__ge__), before.take_due((99 * SECOND).__ge__)
        )
