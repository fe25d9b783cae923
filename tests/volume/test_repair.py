"""Tests for gostore.volume.recovery.repair: what a start, or a running store, does about damage."""

from __future__ import annotations

import errno
import os
import shutil

from twisted.logger import capturedLogs, formatEvent

from gostore import statefile
from gostore.blob import Blob, State
from gostore.volume.changes import Commit, Delete, Sync
from gostore.volume.collect import Dead, Replaced, collect
from gostore.volume.directory import DATA, STATE
from gostore.volume.recovery.findings import Damage, Ended, Findings
from gostore.volume.recovery.repair import (
    quarantine,
    quarantine_dead,
    remove_quarantined,
    repair,
)
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume
from tests.store.doubles import FOR_EVER
from tests.volume.support import RecoveryCase, VolumeCase


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


class HistoryTests(VolumeCase):
    """Dead blobs that are kept, and that a crash has left half."""

    trusted = True

    def open(self, sync: Sync = Sync.JOURNAL) -> Volume:
        """The volume as a start finds it."""
        return super().open(sync)

    def write(self, *changes: Commit | Delete) -> None:
        """Carry changes out; only the journal has them."""
        self.assertEqual(self.volume.protocol.carry_out(changes), [None] * len(changes))

    def end(self, blob_id: int, location: str, *, apply: bool = False) -> Blob:
        """Commit a blob and delete it, so that it is kept; ``apply``: with its files."""
        change = self.change(blob_id, location, b"bytes of %d" % blob_id)
        self.write(change)
        if apply:
            self.volume.backlog.apply()
        self.write(Delete(change.blob.committed(), (), keeps=True))
        if apply:
            self.volume.backlog.apply()
        return change.blob

    def restart(self) -> Findings:
        """Crash, start again, and look."""
        self.volume.close()
        self.volume = self.open()
        return scan(self.volume, keeps=lambda location: True)

    def repair(self, found: Findings) -> list[str | None]:
        """Mend; return what is logged."""
        with capturedLogs() as logged:
            repair(self.volume, found)
        return list(map(formatEvent, logged))

    def fill(self) -> None:
        """From now on nothing can be made or written where nothing was."""
        for kind in ("mkdir", "writev"):
            self.disk.fail(kind, errno.ENOSPC, times=FOR_EVER)

    def state_of(self, blob_id: int) -> State:
        """What the record of a blob says."""
        return self.volume.directory.read_record(str(blob_id)).state

    def test_written_again(self) -> None:
        """A deleted blob that only the journal has gets its files, with the tombstone in them."""
        self.end(1, "a")
        found = self.restart()
        self.assertEqual([each.blob_id for each in found.ended], [1])
        self.repair(found)
        self.assertEqual((self.data(1), self.state_of(1)), (b"bytes of 1", State.FAILURE))
        again = self.restart()
        self.assertEqual((list(again.history), again.ended, again.live), ([1], [], {}))

    def test_tombstone(self) -> None:
        """A deleted blob whose files are there gets its tombstone, and keeps its bytes."""
        change = self.change(1, "a", b"data")
        self.write(change)
        self.volume.backlog.apply()
        self.write(Delete(change.blob.committed(), (), keeps=True))
        found = self.restart()
        self.assertEqual(self.state_of(1), State.OK)
        self.repair(found)
        self.assertEqual((self.data(1), self.state_of(1)), (b"data", State.FAILURE))
        self.assertEqual(list(found.history), [1])

    def test_replaced(self) -> None:
        """A replaced blob whose record does not say so is marked with who replaced it, and when."""
        blob = self.commit(1, "a").committed()
        found = Findings(
            history={1: Dead(1, "a", blob.generation, 2, ended=7, size=4)},
            ended=[Ended(1, None, Replaced(blob, 2, 7_000_000_000, "somebody"))],
        )
        self.repair(found)
        record = self.volume.directory.read_record("1", 1)
        self.assertEqual((record.state, self.data(1)), (State.FAILURE, b"data"))
        self.assertIn("somebody", record.log[-1].message)
        self.assertIn("2", record.log[-1].message)

    def test_spoilt(self) -> None:
        """A dead blob whose record cannot be read is not kept, and keeps no start away."""
        blob = self.commit(1, "a").committed()
        self.put("1", b"nonsense")
        found = Findings(
            history={1: Dead(1, "a", blob.generation, 2)},
            ended=[Ended(1, None, Replaced(blob, 2, 7))],
        )
        [said] = self.repair(found)
        self.assertIn("Blob 1 is not kept as history", said or "")
        self.assertEqual(found.history, {})
        self.assertNotIn("1", self.names())

    def test_full(self) -> None:
        """Without any room a dead blob that only the journal has is not kept, and is not missed."""
        other = self.change(2, "b")
        self.write(other)
        self.volume.backlog.apply()
        self.end(1, "a")
        found = self.restart()
        self.fill()
        said = self.repair(found)
        self.assertIn("Blob 1 is not kept as history", "".join(map(str, said)))
        self.assertEqual((found.history, found.live), ({}, {"b": other.blob.committed()}))
        self.disk.heal()
        again = self.restart()
        self.assertEqual((again.history, again.live), ({}, {"b": other.blob.committed()}))

    def test_older_goes(self) -> None:
        """An older one makes room for a younger, and none for an elder."""
        self.end(1, "a", apply=True)
        self.end(2, "b")
        found = self.restart()
        self.fill()
        self.disk.before("rmdir", self.disk.heal)
        said = self.repair(found)
        self.assertIn("There is no room: blob 1 of the history is given up", said)
        self.assertEqual((list(found.history), self.data(2)), ([2], b"bytes of 2"))
        self.assertNotIn("1", self.names())

    def test_for_the_living(self) -> None:
        """For a blob that lives as many go as are needed, the oldest first."""
        for number in (1, 2, 3):
            self.end(number, f"dead{number}", apply=True)
        change = self.change(4, "b")
        self.write(change)
        found = self.restart()
        self.fill()
        self.disk.before("rmdir", self.disk.heal, nth=2)
        said = self.repair(found)
        self.assertEqual(
            [each for each in said if "given up" in (each or "")],
            [f"There is no room: blob {n} of the history is given up" for n in (1, 2)],
        )
        self.assertEqual((list(found.history), self.data(4)), ([3], b"data"))
        self.assertEqual(found.live, {"b": change.blob.committed()})

    def test_disk_fails(self) -> None:
        """A disk that fails is no lack of room: nothing is given up, and no start goes on."""
        self.end(1, "a", apply=True)
        self.end(2, "b")
        found = self.restart()
        self.disk.fail("mkdir", errno.EIO, times=FOR_EVER)
        self.assertRaises(OSError, repair, self.volume, found)
        self.assertEqual(self.data(1), b"bytes of 1")
        self.disk.heal()
        found = self.restart()
        self.repair(found)
        self.assertEqual(sorted(found.history), [1, 2])
        self.assertEqual(self.data(2), b"bytes of 2")


class QuarantineDeadTests(RecoveryCase):
    """A blob of the history that turns out to be damaged while a store runs."""

    def test_marked(self) -> None:
        """It is marked before it is moved: under its new name it must not seem to live."""
        generation = self.commit(1, "a").generation
        name = quarantine_dead(self.volume, Dead(1, "a", generation, 2))
        self.assertEqual((name, self.names()), (".quarantine-1-1", [".quarantine-1-1"]))
        record = self.volume.directory.read_record(".quarantine-1-1", 1)
        self.assertEqual(record.state, State.FAILURE)
        self.assertEqual(self.disk.trace()[-1], "fsync /")

    def test_unreadable(self) -> None:
        """One whose record cannot be read is moved as it is."""
        generation = self.commit(1, "a").generation
        self.put("1", b"nonsense")
        self.assertEqual(quarantine_dead(self.volume, Dead(1, "a", generation)), ".quarantine-1-1")
        self.assertEqual(self.state(".quarantine-1-1"), b"nonsense")

    def test_gone(self) -> None:
        """What was collected meanwhile is not looked for, and another blob with its id stays."""
        self.assertIsNone(quarantine_dead(self.volume, Dead(1, "a", 1)))
        blob = self.commit(1, "b")
        self.assertIsNone(quarantine_dead(self.volume, Dead(1, "a", blob.generation + 1)))
        self.assertEqual(self.names(), ["1"])
        self.assertEqual(statefile.parse(self.state("1"), 1).state, State.OK)
        self.assertEqual(sorted(os.listdir(self.file("1"))), sorted([DATA, STATE]))
