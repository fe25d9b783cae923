"""Tests for gostore.volume.recovery.rivals: a table without a disk, and several blobs on one."""

from __future__ import annotations

import errno
import itertools
import os

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed, State
from gostore.volume.collect import Dead, Replaced, collect, retire
from gostore.volume.directory import DATA
from gostore.volume.journal.format import Entry
from gostore.volume.recovery.repair import repair
from gostore.volume.recovery.rivals import Fate, Rival, decide
from tests.store.doubles import FOR_EVER
from tests.volume.support import RecoveryCase


def blob(blob_id: int, generation: int, modified: int = 0) -> Committed:
    """A blob at some location."""
    return Committed(blob_id, "a", generation, 1, None, modified, None, None)


def whole(blob_id: int, generation: int, modified: int = 0) -> Rival:
    """A blob that is alive and whole on the disk."""
    return Rival(blob(blob_id, generation, modified))


def tombstone(blob_id: int, generation: int, modified: int = 0) -> Rival:
    """A blob whose own record says Failure."""
    return Rival(blob(blob_id, generation, modified), dead=True)


def damaged(blob_id: int, generation: int) -> Rival:
    """A blob whose data is not what its record says."""
    return Rival(blob(blob_id, generation), damage="data.raw is missing")


def quarantined(blob_id: int, generation: int) -> Rival:
    """A blob that was quarantined earlier."""
    return Rival(blob(blob_id, generation), quarantined=f".quarantine-{blob_id}-1")


def out_of_reach(blob_id: int, generation: int) -> Rival:
    """A blob that may not be read, and that the journal remembers."""
    return Rival(blob(blob_id, generation), out_of_reach=True)


def written(blob_id: int, generation: int) -> Rival:
    """A blob that only the journal has whole."""
    return Rival(blob(blob_id, generation), entry=Entry(blob_id, b"state", b"x"))


def deleted(blob_id: int, generation: int) -> Rival:
    """A deletion that only the journal has."""
    return Rival(blob(blob_id, generation), dead=True, entry=Entry(blob_id, b"state", None))


#: The rivals of a location, the winner first, each with its fate.
TABLE: list[list[tuple[Rival, Fate]]] = [
    [(whole(1, 1), Fate.LIVE)],
    [(tombstone(1, 1), Fate.DEAD)],
    [(damaged(1, 1), Fate.DAMAGED)],
    [(quarantined(1, 1), Fate.DAMAGED)],
    [(written(1, 1), Fate.UNDONE)],
    [(deleted(1, 1), Fate.OVERTAKEN)],
    # The highest generation decides, whatever the time is.
    [(whole(2, 2, 0), Fate.LIVE), (whole(1, 1, 9), Fate.REPLACED)],
    [(whole(3, 3), Fate.LIVE), (whole(1, 1), Fate.REPLACED), (whole(2, 2), Fate.REPLACED)],
    [(whole(2, 2), Fate.LIVE), (tombstone(1, 1), Fate.DEAD)],
    [(tombstone(2, 2), Fate.DEAD), (whole(1, 1), Fate.REPLACED)],
    # Never an older version in the place of a damaged one.
    [(damaged(2, 2), Fate.DAMAGED), (whole(1, 1), Fate.REPLACED)],
    [(quarantined(2, 2), Fate.DAMAGED), (whole(1, 1), Fate.REPLACED)],
    [(whole(2, 2), Fate.LIVE), (damaged(1, 1), Fate.REPLACED)],
    [(whole(2, 2), Fate.LIVE), (quarantined(1, 1), Fate.OBSOLETE)],
    [(tombstone(2, 2), Fate.DEAD), (quarantined(1, 1), Fate.OBSOLETE)],
    # Nobody touches what is out of reach; its location is damaged if it is the newest.
    [(out_of_reach(1, 1), Fate.DAMAGED)],
    [(out_of_reach(2, 2), Fate.DAMAGED), (whole(1, 1), Fate.REPLACED)],
    [(whole(2, 2), Fate.LIVE), (out_of_reach(1, 1), Fate.LEFT)],
    [(tombstone(2, 2), Fate.DEAD), (out_of_reach(1, 1), Fate.LEFT)],
    [(deleted(2, 2), Fate.OVERTAKEN), (out_of_reach(1, 1), Fate.LEFT)],
    # The journal's blobs compete as if they were there.
    [(written(2, 2), Fate.UNDONE), (whole(1, 1), Fate.REPLACED)],
    [(whole(2, 2), Fate.LIVE), (written(1, 1), Fate.OVERTAKEN)],
    [(whole(2, 2), Fate.LIVE), (deleted(1, 1), Fate.OVERTAKEN)],
    [(written(1, 1), Fate.UNDONE), (quarantined(1, 1), Fate.OBSOLETE)],
    # A tombstone that only the journal has is never written: all below it goes with it.
    [(deleted(2, 2), Fate.OVERTAKEN), (whole(1, 1), Fate.OVERTAKEN)],
    [(deleted(2, 2), Fate.OVERTAKEN), (damaged(1, 1), Fate.OVERTAKEN)],
    [(deleted(2, 2), Fate.OVERTAKEN), (tombstone(1, 1), Fate.DEAD)],
    [(deleted(2, 2), Fate.OVERTAKEN), (quarantined(1, 1), Fate.OBSOLETE)],
    # Blobs of the Go server have no generation: the time decides, and a tie is not deleted.
    [(whole(1, 0, 9), Fate.LIVE), (whole(2, 0, 8), Fate.TIED)],
    [(whole(1, 0, 8), Fate.LIVE), (tombstone(2, 0, 9), Fate.DEAD)],
    [(whole(2, 1, 0), Fate.LIVE), (whole(1, 0, 9), Fate.REPLACED)],
    [(tombstone(2, 1, 0), Fate.DEAD), (whole(1, 0, 9), Fate.REPLACED)],
    # Two of one generation are not gostore's work; a tombstone wins, whatever the time is.
    [(whole(1, 5, 9), Fate.LIVE), (whole(2, 5, 8), Fate.TIED)],
    [(tombstone(1, 5, 8), Fate.DEAD), (whole(2, 5, 9), Fate.TIED)],
]


class DecideTests(SynchronousTestCase):
    """decide."""

    def test_table(self) -> None:
        """Each rival has its fate, in whatever order they were found."""
        for row in TABLE:
            wanted = {
                rival.blob.id if not rival.quarantined else rival.quarantined: fate
                for rival, fate in row
            }
            for order in itertools.permutations(rival for rival, _ in row):
                decided = decide(order)
                self.assertEqual(decided[0], row[0])
                self.assertEqual(
                    {rival.quarantined or rival.blob.id: fate for rival, fate in decided}, wanted
                )

    def test_one_winner(self) -> None:
        """A location is served by one blob at most, and never by one below a dead one."""
        makers = (whole, tombstone, damaged, quarantined, out_of_reach, written, deleted)
        for first, second in itertools.product(makers, repeat=2):
            decided = decide([first(1, 1), second(2, 2)])
            self.assertEqual(decided[0][0].blob.id, 2)
            serving = {Fate.LIVE, Fate.UNDONE, Fate.DAMAGED}
            self.assertNotIn(decided[1][1], serving)


class OnDiskTests(RecoveryCase):
    """Several blobs at one location, and a start."""

    def test_highest(self) -> None:
        """The highest generation is served, whatever the clock said; the others are retired."""
        self.commit(1, "a", b"old")
        self.ticks.time -= 25 * 365 * 86400 * 10**9
        new = self.commit(2, "a", b"new")
        found = self.recover()
        self.assertEqual(found.live, {"a": new.committed()})
        self.assertEqual(found.dead, [Dead(1, "a", 1, 2)])
        self.assertEqual(
            self.volume.directory.read_record("1").log[-1].message, "Deleted! Replaced by 2"
        )
        self.again(found)

    def test_tombstone(self) -> None:
        """A deletion stands above what was there before it."""
        self.commit(1, "a")
        self.delete(self.commit(2, "a"), [1])
        found = self.recover()
        self.assertEqual(found.live, {})
        self.assertEqual({(one.id, one.replaced_by) for one in found.dead}, {(1, 2), (2, None)})
        self.assertEqual(found.generation, 2)

    def test_retired(self) -> None:
        """What is marked already is only collected."""
        old, new = self.commit(1, "a"), self.commit(2, "a")
        retire(self.volume, [Replaced(old.committed(), 2, 9)])
        found = self.recover()
        self.assertEqual((found.live, found.unmarked), ({"a": new.committed()}, []))
        self.assertEqual([one.id for one in found.dead], [1])

    def test_legacy_tie(self) -> None:
        """Of two blobs of the Go server the newer is served, the other quarantined."""
        self.legacy(1, "a", 0, -2, 0, seconds=10)
        self.legacy(2, "a", 0, -2, 0, seconds=20)
        found = self.recover()
        self.assertEqual(found.live["a"].id, 2)
        self.assertEqual(self.names(), [".quarantine-1-1-tie", "2"])
        self.assertEqual(os.listdir(self.file(".quarantine-1-1-tie")).count(DATA), 1)
        self.again(found)

    def test_legacy_dead(self) -> None:
        """What the Go server deleted does not stand above what it has at the location."""
        self.legacy(1, "a", 0, -2, 0, seconds=10)
        self.legacy(2, "a", 0, -1, seconds=20)
        self.assertEqual(self.recover().live["a"].id, 1)

    def test_legacy_pending(self) -> None:
        """What the Go server left half is marked Failure, and the blob before it lives on."""
        self.legacy(1, "a", 0, -2, 0, seconds=10)
        self.legacy(2, "a", 0, -2, seconds=20)
        found = self.recover()
        self.assertEqual(found.live["a"].id, 1)
        blob = self.volume.directory.read_record("2")
        self.assertIs(blob.state, State.FAILURE)
        self.assertIn("Found in Pending state during Restore", blob.log[-1].message)
        self.again(found)

    def test_legacy_pending_on_a_full_disk(self) -> None:
        """Without room for the mark it is trash at once, and the start goes on."""
        self.legacy(1, "a", 0)
        self.legacy(2, "a", 0, -2, seconds=9)
        found = self.restart()
        self.disk.fail("writev", errno.ENOSPC, times=FOR_EVER)
        repair(self.volume, found)
        self.assertEqual((found.live["a"].id, found.dead), (1, []))
        self.assertEqual(self.volume.trash.trashed, {".trash-2-1": 2})
        self.assertEqual(collect(self.volume, found.dead).ids, [2])
        self.again(found)

    def test_legacy_replaced(self) -> None:
        """A blob with a generation stands above one without."""
        self.legacy(1, "a", 0, -2, 0, seconds=59)
        new = self.commit(2, "a")
        self.assertEqual(self.recover().live, {"a": new.committed()})
