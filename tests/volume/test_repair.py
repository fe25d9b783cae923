"""Tests for gostore.volume.recovery.repair: what a start, or a running store, does about damage."""

from __future__ import annotations

import errno
import os
import shutil

from twisted.logger import capturedLogs, formatEvent

from gostore import statefile
from gostore.blob import Blob
from gostore.volume.collect import collect
from gostore.volume.directory import DATA
from gostore.volume.recovery.findings import Damage
from gostore.volume.recovery.repair import quarantine, remove_quarantined, repair
from tests.volume.support import RecoveryCase


class RepairTests(RecoveryCase):
    """What is quarantined, and what is removed from the quarantine."""

    def test_said(self) -> None:
        """The log tells the location of what is quarantined, where it is known."""
        self.commit(1, "a")
        os.unlink(self.file("1", DATA))
        self.put("2", b"nonsense")
        with capturedLogs() as logged:
            self.recover()
        said = sorted(map(formatEvent, logged))
        name = ".quarantine-1-"
        self.assertTrue(said[0].startswith(f"Blob 1 of 'a' is quarantined as {name}"), said)
        self.assertTrue(said[1].startswith("Blob 2 is quarantined as .quarantine-2-"), said)

    def test_not_moved(self) -> None:
        """A damaged blob that cannot be renamed keeps its location damaged, and no start away."""
        self.commit(1, "a")
        other = self.commit(2, "b")
        os.unlink(self.file("1", DATA))
        found = self.restart()
        self.disk.fail("rename", errno.EBUSY)
        with capturedLogs() as logged:
            left = repair(self.volume, found)
        self.assertEqual(left, {"1": os.strerror(errno.EBUSY)})
        self.assertEqual(found.damaged["a"].name, "1")
        self.assertEqual((found.damage, found.live), (1, {"b": other.committed()}))
        self.assertIn(1, found.ids)
        [said] = map(formatEvent, logged)
        self.assertIn("Blob 1 of 'a' is damaged, and stays where it is", said or "")
        found = self.recover()
        self.assertEqual(found.damaged["a"].name, ".quarantine-1-1")
        self.assertEqual(found.damage, 1)
        self.assertEqual(self.recover().damage, 1)

    def test_at_run_time(self) -> None:
        """quarantine and remove_quarantined do for a running store what a start does."""
        blob = self.commit(1, "a").committed()
        damage = Damage(blob, "1")
        quarantine(self.volume, damage)
        self.assertEqual((damage.name, self.names()), (".quarantine-1-1", [".quarantine-1-1"]))
        self.assertEqual(remove_quarantined(self.volume, [damage.name]), [damage.name])
        self.assertEqual(self.names(), [".trash-1-2"])
        self.disk.clear()
        self.assertEqual(remove_quarantined(self.volume, [damage.name]), [damage.name])
        self.assertNotIn("fsync /", self.disk.trace())

    def test_discard_fails(self) -> None:
        """What cannot be moved is told from what is gone, and keeps none from being so."""
        for number in (1, 2):
            self.put(f".quarantine-{number}-9", b"x", DATA)
        self.disk.fail("rename", name=".quarantine-1-9")
        names = [".quarantine-1-9", ".quarantine-2-9"]
        self.assertEqual(remove_quarantined(self.volume, names), names[1:])
        self.assertEqual(self.disk.trace()[-1], "fsync /")


class CrashTests(RecoveryCase):
    """Recoveries that do not get to their end."""

    def ruins(self) -> None:
        """One of each thing that recovery has to mend."""
        self.commit(1, "replaced", b"old")
        self.commit(2, "replaced", b"new")
        self.delete(self.commit(3, "deleted"))
        self.commit(4, "damaged")
        os.unlink(self.file("4", DATA))
        self.legacy(5, "tie", 0, -2, 0, seconds=1)
        self.legacy(6, "tie", 0, -2, 0, seconds=2)
        self.legacy(7, "half", 0, -2)
        self.put("8", b"x", DATA)
        self.put("9", b"nonsense")
        self.put(".new-10", b"half", DATA)

    def test_every_call(self) -> None:
        """A start whose k-th call fails, whatever k, leaves the next one the same to find."""
        self.assertGreater(self.fail_every_call(after=False), 15)

    def test_after_every_call(self) -> None:
        """So does one whose k-th call is reported as failed, but has been done."""
        self.assertGreater(self.fail_every_call(after=True), 15)

    def fail_every_call(self, *, after: bool) -> int:
        """Let a repair and a collection run fail at each of their calls; return how many."""
        calls = 0
        while True:
            calls += 1
            self.volume.close()
            shutil.rmtree(self.path)
            self.disk.heal()
            self.generation = 0
            self.volume = self.open()
            self.ruins()
            found = self.restart()
            fault = self.disk.fail(None, errno.EIO, nth=calls, after=after)
            try:
                repair(self.volume, found)
                collect(self.volume, found.dead)
            except Exception:  # what it raises is another test's business
                self.assertGreaterEqual(fault.seen, calls)
            done = fault.seen < calls
            self.disk.heal()
            again = self.recover()
            self.assertEqual(set(again.live), {"replaced", "tie"}, calls)
            self.assertEqual(again.live["replaced"].id, 2)
            self.assertEqual(again.live["tie"].id, 6)
            self.assertEqual(set(again.damaged), {"damaged"})
            if not after:  # an open that fails has opened nothing
                self.assertEqual(self.disk.open_files, [""], calls)
            # Whatever the run that failed has left, this one removes.
            collect(self.volume, again.dead)
            kept = [name for name in self.names() if not name.startswith(".")]
            self.assertEqual(kept, ["2", "6"], calls)
            if done:
                return calls

    def test_blob_of_committed(self) -> None:
        """A record that was lost can be made again of what the maps know."""
        blob = self.commit(1, "a")
        made = Blob.of(blob.committed())
        again = statefile.parse(statefile.dump(made), 1)
        self.assertEqual(again.committed(), blob.committed())
