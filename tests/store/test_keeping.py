"""gostore.store.keeping: what was promised holds for an hour after it is taken back."""

from __future__ import annotations

import errno
import math
from typing import Any

from gostore.errors import NotFound
from gostore.prefixes import ByPrefix
from gostore.store.interface import Summary
from gostore.store.keeping import GRACE, shown
from gostore.text import format_time
from gostore.volume.promise import NAME
from tests.store.doubles import SECOND
from tests.store.support import StoreCase

DAY = 86_400.0
WARNING = "History is to be kept for less time"


class KeepingCase(StoreCase):
    """A store whose history is kept for a week at first."""

    def setUp(self) -> None:
        """The clock stands still unless a test moves it."""
        super().setUp()
        self.clock.step = 0
        self.warned = self.logged(WARNING)

    def open(self, keep: ByPrefix[float] | float = 7 * DAY, **settings: Any) -> Summary:
        """Open it."""
        keep = ByPrefix(keep) if isinstance(keep, float | int) else keep
        return super().open(keep=keep, **settings)

    def die(self, *locations: str) -> None:
        """Store and delete a blob of four bytes at each location."""
        for location in locations:
            self.store_blob(location)
            self.wait(self.store.delete(location))

    def known(self) -> list[str]:
        """The locations that can be restored."""
        return [each.blob.location for each in self.wait(self.store.past.deleted()).versions]

    def pass_time(self, seconds: float) -> None:
        """Let both clocks go on, and the collector run."""
        self.clock.time += int(seconds * SECOND)
        self.timer.time += seconds
        self.collect()


class StartTests(KeepingCase):
    """A start with other settings than the one before."""

    def test_removed(self) -> None:
        """A start without --keep says what it will remove, and removes that an hour later."""
        self.die("a", "b")
        self.open(0)
        [warning] = self.warned
        self.assertEqual((warning["count"], warning["bytes"]), (2, 8))
        self.assertEqual(warning["before"], "--keep 7d")
        self.assertEqual(warning["when"], format_time(self.clock.time + int(GRACE) * SECOND))
        self.pass_time(5)
        self.assertEqual(self.known(), ["a", "b"])
        [version] = self.wait(self.store.past.history("a"))
        self.assertEqual(version.until, self.clock.time + int(GRACE - 5) * SECOND)
        self.pass_time(GRACE - 6)
        self.assertEqual(self.known(), ["a", "b"])
        self.pass_time(1)
        self.assertEqual(self.known(), [])
        self.assertEqual([name for name in self.names() if name.isdecimal()], [])

    def test_in_between(self) -> None:
        """What dies within the hour goes with the rest."""
        self.die("a")
        self.open(0)
        self.pass_time(5)
        self.die("b")
        self.assertEqual(self.known(), ["a", "b"])
        self.pass_time(GRACE)
        self.assertEqual(self.known(), [])
        self.die("c")
        self.pass_time(5)
        self.fails(self.store.past.history("c"), NotFound)

    def test_back_in_time(self) -> None:
        """Within the hour another start with the old settings keeps everything."""
        self.die("a")
        self.open(0)
        self.pass_time(GRACE / 2)
        self.open(0)
        self.assertEqual(len(self.warned), 2)
        self.pass_time(GRACE - 1)
        self.open()
        self.assertEqual(len(self.warned), 2)
        self.pass_time(6 * DAY)
        self.assertEqual(self.known(), ["a"])
        self.pass_time(DAY)
        self.assertEqual(self.known(), [])

    def test_too_late(self) -> None:
        """After the hour the old settings bring nothing back but what is still on the disk."""
        self.die("a")
        self.open(0)
        self.pass_time(GRACE)
        self.die("b")
        self.open()
        self.assertEqual(self.known(), ["b"])

    def test_shortened(self) -> None:
        """Only what goes by the new time counts, and nothing is said if that is none."""
        self.die("a")
        self.pass_time(2 * DAY)
        self.die("b")
        self.open(3 * DAY)
        self.assertEqual(self.warned, [])
        self.open(1 * DAY)
        self.assertEqual([each["count"] for each in self.warned], [1])
        self.pass_time(GRACE)
        self.assertEqual(self.known(), ["b"])
        self.pass_time(DAY - GRACE)
        self.assertEqual(self.known(), [])

    def test_lengthened(self) -> None:
        """A longer time holds at once, for what is kept already, too."""
        self.die("a")
        self.open(math.inf)
        self.pass_time(1000 * DAY)
        self.assertEqual((self.known(), self.warned), (["a"], []))

    def test_prefixes(self) -> None:
        """Each location has the longer of its times, until the hour is over."""
        before = ByPrefix(DAY, {"p/": 7 * DAY, "q/": 2 * DAY})
        self.open(before)
        self.die("p/a", "q/a", "x")
        self.open(ByPrefix(DAY, {"p/": 0.0, "q/": 9 * DAY}))
        self.assertEqual([each["count"] for each in self.warned], [1])
        self.assertEqual(self.warned[0]["before"], "--keep 1d and [keep] p/ = 7d, q/ = 9d")
        self.pass_time(GRACE)
        self.assertEqual(self.known(), ["q/a", "x"])
        self.pass_time(8 * DAY)
        self.assertEqual(self.known(), ["q/a"])

    def test_room(self) -> None:
        """Room comes before it all the same."""
        self.die("a", "b")
        self.open(0)
        self.assertEqual(len(self.store.history.take_oldest(1)), 1)

    def test_garbage(self) -> None:
        """Where nothing was promised, what is dead goes with the first collection."""
        self.open(0)
        (self.directory / NAME).unlink()
        self.die("a")
        self.open(0)
        self.assertEqual(self.known(), [])
        self.collect()
        self.assertEqual([name for name in self.names() if name.isdecimal()], [])
        self.assertNotIn(NAME, self.names())

    def test_no_note(self) -> None:
        """A note that cannot be read or written is said, and stops nothing."""
        said = self.logged("The note for how long")
        (self.directory / NAME).unlink()
        (self.directory / NAME).mkdir()
        self.open()
        self.assertEqual(len(said), 1)
        (self.directory / NAME).rmdir()
        said = self.logged("The directory does not note")
        self.disk.fail("writev", errno.ENOSPC, name=NAME)
        self.open()
        self.assertEqual(len(said), 1)
        self.die("a")
        self.assertEqual(self.known(), ["a"])


class ChangeTests(KeepingCase):
    """Other settings while the store runs."""

    def change(self, keep: float) -> None:
        """Go by another time."""
        self.store.garbage.keeping.change(ByPrefix(keep))
        self.workers.run_all()

    def test_shorter(self) -> None:
        """Less time holds an hour later, with a warning; within that it may be set back."""
        self.die("a")
        self.change(0)
        self.assertEqual(len(self.warned), 1)
        self.pass_time(GRACE - 1)
        self.change(7 * DAY)
        self.pass_time(DAY)
        self.assertEqual(self.known(), ["a"])
        self.change(0)
        self.pass_time(GRACE)
        self.assertEqual(self.known(), [])
        self.open(0)
        self.assertEqual(len(self.warned), 2)

    def test_longer(self) -> None:
        """More time holds at once, and at the next start."""
        self.open(0)
        self.die("x")
        self.change(DAY)
        self.die("a")
        self.pass_time(DAY - 1)
        self.assertEqual(self.known(), ["a"])
        self.open(0)
        self.assertEqual(self.known(), ["a"])

    def test_decided(self) -> None:
        """A change that was decided before is carried out as it was decided."""
        for before, after, known in ((0.0, DAY, []), (DAY, 0.0, [])):
            with self.subTest(before=before):
                self.open(before)
                self.store_blob("a")
                deleted = self.store.delete("a")
                self.change_now(after)
                self.wait(deleted)
                self.pass_time(5 + GRACE)
                self.assertEqual(self.known(), known)
                self.assertEqual([name for name in self.names() if name.isdecimal()], [])

    def change_now(self, keep: float) -> None:
        """Go by another time while something is on its way to the disk."""
        self.store.garbage.keeping.change(ByPrefix(keep))


class ShownTests(KeepingCase):
    """The settings for people."""

    def test_shown(self) -> None:
        """They are written as people write them."""
        self.assertEqual(shown(ByPrefix(0.0)), "--keep 0")
        self.assertEqual(
            shown(ByPrefix(math.inf, {"a/": 90.0})), "--keep forever and [keep] a/ = 90s"
        )


class ClockTests(KeepingCase):
    """A clock that jumps."""

    def test_jump(self) -> None:
        """What a jump makes due is kept for an hour more, also if no run has seen it before."""
        self.die("a")
        self.clock.time += int(30 * DAY) * SECOND
        self.collect()
        self.assertEqual(self.known(), ["a"])
        self.pass_time(GRACE - 1)
        self.assertEqual(self.known(), ["a"])
        self.pass_time(1)
        self.assertEqual(self.known(), [])

    def test_back_and_forth(self) -> None:
        """If it is set right within the hour nothing is lost."""
        self.die("a")
        for days in (30, -60, 30, 400, -400):
            self.clock.time += int(days * DAY) * SECOND
            self.pass_time(60)
            self.assertEqual(self.known(), ["a"])
        self.pass_time(7 * DAY)
        self.assertEqual(self.known(), [])
