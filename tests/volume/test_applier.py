"""Tests for gostore.volume.applier: what is made behind the answers, and what never is."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from attrs import evolve
from twisted.logger import capturedLogs, formatEvent

from gostore.blob import State
from gostore.errors import NoSpace, ReadOnly, StoreError
from gostore.volume.applier import INODES
from gostore.volume.backlog import LOOK_AT, LOOKS
from gostore.volume.changes import Change, Commit, Delete, Sync
from gostore.volume.collect import Dead, collect
from gostore.volume.directory import DATA, STATE
from gostore.volume.journal.format import BLOCK, NAMES, Entry
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.repair import repair
from gostore.volume.volume import Volume
from tests.store.doubles import FOR_EVER
from tests.volume.support import VolumeCase


class ApplierCase(VolumeCase):
    """A volume whose changes are in its journal before they are in its files."""

    trusted = True

    def open(self, sync: Sync = Sync.JOURNAL) -> Volume:
        """The volume as a start finds it."""
        return super().open(sync)

    def write(self, *changes: Change) -> list[StoreError | None]:
        """Carry changes out; nothing is applied."""
        return self.volume.protocol.carry_out(changes)

    def replacement(self, blob_id: int, location: str, replaces: int) -> Commit:
        """The commit of a small blob in place of another."""
        return evolve(self.change(blob_id, location), replaces=replaces)

    def directories(self) -> list[str]:
        """What lies there beside the journal."""
        return [name for name in self.names() if name not in NAMES]

    def recover(self) -> Findings:
        """Crash, and start again."""
        found = self.restart()
        repair(self.volume, found)
        return found


class ApplierTests(ApplierCase):
    """Small changes, and what becomes of them before they have files."""

    def test_behind(self) -> None:
        """A blob is read from memory until its files are made, and they hold what was committed."""
        applier = self.volume.backlog.applier
        self.assertEqual(self.write(self.change(1, "a"), self.change(2, "b", b"")), [None, None])
        self.assertEqual(self.directories(), [])
        self.assertEqual((applier.data_of(1), applier.data_of(2)), (b"data", b""))
        self.disk.clear()
        self.volume.backlog.apply()
        self.assertEqual(self.disk.trace("fsync", "fdatasync", "syncfs", "rename"), [])
        self.assertEqual((self.data(1), self.data(2)), (b"data", b""))
        self.assertEqual((applier.data_of(1), applier.waits), (None, False))
        self.assertFalse(applier.forget(1))

    def test_replaced(self) -> None:
        """What is replaced before it has files never gets any, and is read until that is shown."""
        applier = self.volume.backlog.applier
        self.write(self.change(1, "a"))
        self.write(self.replacement(2, "a", 1))
        self.volume.backlog.apply()
        self.assertEqual(self.directories(), ["2"])
        self.assertEqual(applier.data_of(1), b"data")
        self.assertTrue(applier.forget(1))
        self.assertIsNone(applier.data_of(1))
        self.assertFalse(applier.forget(2))

    def test_replaced_by_a_large_one(self) -> None:
        """A large blob has its files when it is committed, and what it replaces needs none."""
        self.write(self.change(1, "a"))
        stage = self.volume.stage(self.start(2, "a"))
        self.volume.write(stage, [b"large"])
        blob = self.finish(stage.blob, b"large")
        self.assertEqual(self.write(Commit(blob, stage, 1)), [None])
        self.volume.backlog.apply()
        self.assertEqual(self.directories(), ["2"])
        self.assertTrue(self.volume.backlog.applier.forget(1))

    def test_deleted(self) -> None:
        """What is deleted before it has files leaves nothing, if it had no elders."""
        change = self.change(1, "a")
        self.write(change)
        self.write(Delete(change.blob.committed(), []))
        self.volume.backlog.apply()
        self.assertEqual(self.directories(), [])
        self.assertTrue(self.volume.backlog.applier.forget(1))
        self.volume.backlog.forget_journal()
        self.assertEqual(self.recover().live, {})

    def test_deleted_above_an_elder(self) -> None:
        """Above an elder with files it leaves a tombstone: the journal will not tell for ever."""
        self.commit(1, "a")
        change = self.replacement(2, "a", 1)
        self.write(change)
        self.write(Delete(change.blob.committed(), [1]))
        self.volume.backlog.apply()
        self.assertEqual(self.directories(), ["1", "2"])
        self.assertEqual(os.listdir(self.file("2")), [STATE])
        self.assertIs(self.volume.directory.read_record("2", 2).state, State.FAILURE)
        self.assertFalse(self.volume.backlog.applier.forget(2))
        self.volume.backlog.forget_journal()
        self.assertEqual(self.recover().live, {})

    def test_checkpoint(self) -> None:
        """A checkpoint covers what is applied, and no batch of which something waits."""
        backlog = self.volume.backlog
        self.commit(1, "a")
        backlog.checkpoint()
        synced = backlog.journal.synced
        self.write(self.change(2, "b"), self.change(3, "c"))
        backlog.applier.apply(backlog.journal.written, at_most=1)
        backlog.applier.pass_to(backlog.journal.written)
        backlog.checkpoint()
        self.assertEqual((self.directories(), backlog.journal.synced), (["1", "2"], synced))
        backlog.apply()
        backlog.checkpoint()
        self.assertEqual(backlog.journal.synced, backlog.journal.written)

    def test_overdue(self) -> None:
        """What has been seen often enough may wait no longer; what is newer may."""
        backlog = self.volume.backlog
        self.write(self.change(1, "a"))
        backlog.look()
        self.write(self.change(2, "b"))
        for _ in range(LOOKS - 1):
            self.assertFalse(backlog.is_apply_due)
            backlog.look()
        self.assertTrue(backlog.is_apply_due)
        backlog.apply_due()
        self.assertEqual(self.directories(), ["1"])
        self.assertFalse(backlog.is_apply_due)

    def test_looks(self) -> None:
        """Under load a look is due after so many bytes of the journal, whatever the time."""
        backlog = self.volume.backlog
        self.write(self.change(1, "a", bytes(LOOK_AT - 4 * BLOCK)))
        self.assertFalse(backlog.is_look_due)
        self.write(self.change(2, "b", bytes(4 * BLOCK)))
        self.assertTrue(backlog.is_look_due)
        backlog.look()
        self.assertFalse(backlog.is_look_due)

    # -- in hand ------------------------------------------------------------------------------

    def while_in_hand(self, *changes: Change, kind: str = "mkdir") -> None:
        """Apply, and carry changes out before the first call of a kind: its blob is in hand."""
        done: list[StoreError | None] = []
        self.disk.before(kind, lambda: done.extend(self.write(*changes)))
        self.volume.backlog.apply()
        self.assertEqual(done, [None] * len(changes))

    def test_in_hand(self) -> None:
        """What is in hand is read from memory, takes its room, and no checkpoint passes it."""
        backlog = self.volume.backlog
        applier = backlog.applier
        self.write(self.change(1, "a"))
        room = applier.room
        seen: list[object] = []

        def look() -> None:
            seen.extend((applier.data_of(1), applier.room, applier.inodes, applier.waits))
            self.write(self.change(2, "b"))
            backlog.checkpoint()
            seen.append(backlog.journal.synced)

        synced = backlog.journal.synced
        self.disk.before("writev", look)
        backlog.apply()
        self.assertEqual(seen, [b"data", room, INODES, True, synced])
        self.assertEqual(self.directories(), ["1"])
        backlog.apply()
        backlog.checkpoint()
        self.assertEqual((self.directories(), backlog.journal.synced), (["1", "2"], 3))
        self.assertEqual((applier.room, applier.waits), (0, False))

    def test_taken_in_hand(self) -> None:
        """What is taken in hand is found at each moment, also by who does not wait for that."""
        applier = self.volume.backlog.applier
        found: list[bytes | None] = []

        class Watched(int):
            """An id that somebody else asks about whenever it is looked up."""

            def __hash__(self) -> int:
                found.append(applier.state_of(int(self)))
                return super().__hash__()

        applier.commit(evolve(self._entry(1, b"data"), blob_id=Watched(1)), 1, None)
        found.clear()
        self.disk.before("mkdir", lambda: found.append(b"being made"))
        applier.apply(1)
        self.assertEqual(found[:3], [b"state", b"state", b"being made"])
        self.assertIsNone(applier.state_of(1))

    def test_replaced_in_hand(self) -> None:
        """What is replaced while it is in hand has files, and is collected as such."""
        applier = self.volume.backlog.applier
        self.write(self.change(1, "a"))
        self.while_in_hand(self.replacement(2, "a", 1))
        self.assertEqual(self.directories(), ["1"])
        self.assertFalse(applier.forget(1))
        self.volume.backlog.apply()
        self.assertEqual(self.directories(), ["1", "2"])
        self.volume.backlog.forget_journal()
        self.assertEqual([*self.recover().live], ["a"])

    def test_deleted_in_hand(self) -> None:
        """What is deleted while it is in hand gets a tombstone when it has its files."""
        change = self.change(1, "a")
        self.write(change)
        self.while_in_hand(Delete(change.blob.committed(), []))
        self.assertFalse(self.volume.backlog.applier.forget(1))
        self.assertTrue(self.volume.backlog.applier.waits)
        self.volume.backlog.apply()
        self.assertIs(self.volume.directory.read_record("1", 1).state, State.FAILURE)
        self.volume.backlog.forget_journal()
        self.assertEqual(self.recover().live, {})

    def test_deleted_in_hand_in_vain(self) -> None:
        """What is deleted in hand, and finds no room, leaves nothing."""
        change = self.change(1, "a")
        self.write(change, self.change(2, "b"))
        self.disk.fail("writev", errno.ENOSPC, name="1/")
        self.while_in_hand(Delete(change.blob.committed(), []))
        self.assertEqual(self.directories(), [])
        self.volume.backlog.retry()
        self.assertEqual(self.directories(), ["2"])
        self.volume.backlog.forget_journal()
        self.assertEqual([*self.recover().live], ["b"])

    def test_replaced_in_hand_in_vain(self) -> None:
        """What is replaced in hand, and finds no room, gets no files: nothing would bury them."""
        self.write(self.change(1, "a"))
        self.disk.fail("writev", errno.ENOSPC, name="1/", times=FOR_EVER)
        second = self.replacement(2, "a", 1)
        self.while_in_hand(second)
        self.write(Delete(second.blob.committed(), [1]))
        self.volume.backlog.apply()
        self.disk.heal()
        self.volume.backlog.retry()
        self.assertFalse(self.volume.backlog.applier.waits)
        self.volume.backlog.forget_journal()
        self.assertEqual(self.recover().live, {})

    def test_kept_in_hand_in_vain(self) -> None:
        """What is kept, deleted in hand, and finds no room, gets its files with the tombstone."""
        change = self.change(1, "a")
        self.write(change)
        batch = self.volume.backlog.journal.written
        self.disk.fail("writev", errno.ENOSPC, name="1/")
        self.while_in_hand(Delete(change.blob.committed(), [], keeps=True))
        self.assertEqual(self.directories(), [])
        self.volume.backlog.checkpoint()
        self.assertLess(self.volume.backlog.journal.synced, batch)
        self.volume.backlog.retry()
        self.assertEqual(self.data(1), b"data")
        self.assertIs(self.volume.directory.read_record("1", 1).state, State.FAILURE)
        self.assertEqual(
            (self.volume.backlog.applier.room, self.volume.backlog.applier.waits), (0, False)
        )

    def test_far_behind(self) -> None:
        """Commits wait for an applier that has been behind for too long."""
        self.write(self.change(1, "a"))
        for _ in range(LOOKS + 1):
            self.assertEqual(self.directories(), [])
            self.volume.backlog.look()
        self.write(self.change(2, "b"))
        self.assertEqual(self.directories(), ["1"])

    def test_room(self) -> None:
        """What has no files yet takes its room already, in whole blocks."""
        self.disk.room = (100 * BLOCK, 200 * BLOCK)
        self.volume.backlog.journal.open = lambda: None
        before = self.volume.free()[0]
        applier = self.volume.backlog.applier
        applier.commit(self._entry(1, b"x" * (BLOCK + 1)), 1, None)
        self.assertEqual(before - self.volume.free()[0], 4 * BLOCK)
        applier.supersede(1)
        self.assertEqual(self.volume.free()[0], before)

    def test_link(self) -> None:
        """A link that somebody puts in the place of a new directory is not followed."""
        elsewhere = self.mktemp()
        os.mkdir(elsewhere)
        make = self.volume.directory.make

        def make_link(name: str) -> None:
            make(name)
            os.rmdir(self.file(name))
            os.symlink(os.path.abspath(elsewhere), self.file(name))

        self.volume.directory.make = make_link
        self.write(self.change(1, "a"))
        self.volume.backlog.apply()
        self.assertEqual(os.listdir(elsewhere), [])
        self.assertEqual(self.volume.backlog.applier.data_of(1), b"data")
        with self.assertRaises(ReadOnly):
            self.volume.check()

    def _entry(self, blob_id: int, data: bytes) -> Entry:
        return Entry(blob_id, b"state", data)

    def test_no_room(self) -> None:
        """Without room for a blob's files it is refused before it is in the journal."""
        self.commit(1, "a")
        self.disk.room = (2 * BLOCK, 200 * BLOCK)
        gone = self.change(2, "b")
        self.assertIsInstance(self.write(gone)[0], NoSpace)
        self.disk.room = (3 * BLOCK, 200 * BLOCK)
        self.assertEqual(self.write(gone), [None])

    def test_no_room_behind(self) -> None:
        """What finds none all the same is read, and made later; meanwhile only deletions go on."""
        old = self.commit(1, "a")
        change = self.change(2, "b")
        for kind in ("mkdir", "open", "writev"):
            self.disk.fail(kind, errno.ENOSPC, times=FOR_EVER)
        self.write(change)
        for _ in range(2):
            self.volume.backlog.apply()
            self.assertEqual(self.directories(), ["1"])
        self.assertEqual(self.volume.backlog.applier.data_of(2), b"data")
        later = self.change(3, "c")
        refused, deleted = self.write(later, Delete(old.committed(), []))
        self.assertIsInstance(refused, NoSpace)
        self.assertIsNone(deleted)
        self.assertIsNone(self.volume.broken)
        self.disk.heal()
        self.assertEqual(self.write(later), [None])
        self.volume.backlog.apply()
        self.assertEqual(self.directories(), ["1", "2", "3"])
        self.assertEqual(sorted(self.recover().live), ["b", "c"])

    def test_begun(self) -> None:
        """What was begun, and could not even be taken back, is made again or taken back later."""
        for number, then in enumerate((None, "replace", "delete")):
            change = self.change(2 * number, "a")
            self.write(change)
            self.disk.fail("open", errno.EMFILE, name=STATE, times=FOR_EVER)
            self.disk.fail("unlink", errno.EMFILE, times=FOR_EVER)
            self.volume.backlog.apply()
            self.volume.backlog.apply()
            self.assertEqual(self.directories(), [str(change.blob.id)])
            self.assertIsNone(self.volume.broken)
            self.disk.heal()
            if then == "replace":
                self.write(self.replacement(2 * number + 1, "a", change.blob.id))
            elif then == "delete":
                self.write(Delete(change.blob.committed(), []))
            self.volume.backlog.apply()
            found = self.recover()
            self.assertEqual("a" in found.live, then != "delete")
            collect(self.volume, found.dead)
            if then != "delete":
                self.assertEqual(self.directories(), [str(found.live["a"].id)])
                self.delete_all(found)
            self.assertEqual(self.directories(), [])

    def delete_all(self, found: Findings) -> None:
        """Delete what lives, and collect it."""
        blob = found.live["a"]
        self.write(Delete(blob, []))
        self.volume.backlog.apply()
        collect(self.volume, [Dead(blob.id, "a", blob.generation)])

    def test_tail(self) -> None:
        """While nothing can be applied the journal keeps room that only deletions may use."""
        blobs = [self.change(number, f"b{number}", bytes(60_000)) for number in range(400)]
        self.write(*blobs[:2])
        self.disk.fail("mkdir", errno.ENOSPC, times=FOR_EVER)
        refused = 0
        for change in blobs[2:]:
            self.volume.backlog.applier.obstacle = None  # as if nobody had tried
            refused += self.write(change) != [None]
        self.assertGreater(refused, 50)
        deletes = [self.write(Delete(change.blob.committed(), [])) for change in blobs[2:100]]
        self.assertEqual(deletes, [[None]] * 98)
        self.disk.heal()
        self.volume.backlog.forget_journal()
        self.assertEqual(len(self.recover().live), 400 - refused - 98)

    def test_beyond_the_tail(self) -> None:
        """When that is used up, too, a deletion takes the room of those before it at once."""
        self.volume.close()
        self.volume = Volume(
            self.path, disk=self.disk, now=self.ticks, sync=Sync.JOURNAL, journal_size=32 * BLOCK
        )
        self.volume.open()
        self.addCleanup(self.volume.close)
        blobs = [self.commit(number, f"b{number}") for number in range(8)]
        waiting = self.change(90, "waiting")
        self.write(waiting)
        self.disk.fail("mkdir", errno.ENOSPC, times=FOR_EVER)
        number = 100
        while not (refused := self.write(self.change(number, f"b{number}"))[0]):
            self.volume.backlog.applier.obstacle = None  # as if nobody had tried
            number += 1
        self.assertIsInstance(refused, NoSpace)
        # One file has a block for a checkpoint and two for deletions; then the trash has room.
        self.disk.before("rmdir", self.disk.heal, nth=2, name=".trash-")
        self.disk.clear()
        for blob in blobs:
            self.assertEqual(self.write(Delete(blob.committed(), [])), [None])
        trashed = [call for call in self.disk.trace("rename", "rmdir", "fsync") if call[0] != "m"]
        first = next(at for at, call in enumerate(trashed) if call.startswith("rmdir .trash-"))
        self.assertEqual(trashed[first - 1], "fsync /")
        self.volume.backlog.apply()
        self.assertEqual(self.volume.backlog.applier.waits, False)
        # The collector frees their ids, each once.
        dead = [Dead(blob.id, blob.location, blob.generation) for blob in blobs]
        self.assertEqual(sorted(collect(self.volume, dead).ids), list(range(8)))
        found = self.recover()
        self.assertEqual(len(found.live), 1 + number - 100)
        self.assertIn("waiting", found.live)

    def test_too_large(self) -> None:
        """A batch that no file of the journal can hold is stored nowhere, and nothing after it."""
        self.volume.close()
        self.volume = Volume(
            self.path, disk=self.disk, now=self.ticks, sync=Sync.JOURNAL, journal_size=8 * BLOCK
        )
        self.volume.open()
        self.addCleanup(self.volume.close)
        self.commit(1, "a", bytes(4 * BLOCK))
        with self.assertRaises(AssertionError):
            self.write(self.change(2, "b", bytes(7 * BLOCK)))
        self.assertEqual(list(self.recover().live), ["a"])

    def test_something_in_the_way(self) -> None:
        """Nothing is written over or through what has the name; the blob is read from memory."""
        for number, put in enumerate((os.mkdir, lambda path: os.symlink("/tmp", path))):
            name = str(number)
            self.write(self.change(number, "a"))
            put(self.file(name))
            with capturedLogs():
                self.volume.backlog.apply()
            reason = f"{name} stands where a blob belongs, and is not gostore's"
            self.assertEqual(self.volume.broken, reason)
            self.assertEqual(self.volume.backlog.applier.data_of(number), b"data")
            self.assertEqual(os.path.islink(self.file(name)), bool(number))
            self.assertFalse(os.path.exists(self.file(name, DATA)))
            self.assertIsInstance(self.write(self.change(9, "b"))[0], ReadOnly)
            os.unlink(self.file(name)) if number else os.rmdir(self.file(name))
            self.assertEqual(list(self.recover().live), ["a"])

    def test_disk_fails(self) -> None:
        """A disk that fails makes the volume read-only, and the next start makes the files."""
        for number, kind in enumerate(("mkdir", "open", "writev", "close")):
            self.write(self.change(number, f"b{number}"))
            self.disk.fail(kind, errno.EIO)
            with capturedLogs() as logged:
                self.volume.backlog.apply()
            self.assertEqual(formatEvent(logged[-1]), f"Read-only until a restart: {self.broken}")
            self.assertEqual(self.broken, "a write failed: EIO")
            self.assertEqual(self.volume.backlog.applier.data_of(number), b"data")
            self.disk.clear()
            self.volume.backlog.apply()
            self.assertEqual(self.disk.calls, [], "nothing is tried again")
            self.assertIn(f"b{number}", self.recover().live)
            self.assertEqual(self.data(number), b"data")

    @property
    def broken(self) -> str | None:
        """Why nothing may be written."""
        return self.volume.broken


class KeptTests(ApplierCase):
    """Blobs that are kept as history, and had no files when they died."""

    def end(self, blob_id: int, elders: Sequence[int] = ()) -> Commit:
        """Commit a small blob, and delete it so that it is kept."""
        change = self.change(blob_id, f"b{blob_id}")
        self.write(change)
        self.write(Delete(change.blob.committed(), elders, keeps=True))
        return change

    def test_replaced(self) -> None:
        """A kept blob gets its files although it was replaced before it had any."""
        applier = self.volume.backlog.applier
        self.write(self.change(1, "a"))
        self.write(evolve(self.replacement(2, "a", 1), keeps=True))
        self.volume.backlog.apply()
        self.assertEqual(self.directories(), ["1", "2"])
        self.assertEqual(self.data(1), b"data")
        self.assertFalse(applier.forget(1))
        self.write(evolve(self.replacement(3, "a", 2), keeps=True))
        self.volume.backlog.apply()
        self.assertEqual(self.directories(), ["1", "2", "3"])

    def test_given_up(self) -> None:
        """One that is given up before its turn leaves nothing, and takes no room any more."""
        applier = self.volume.backlog.applier
        self.write(self.change(1, "a"))
        before = (applier.room, applier.inodes)
        self.end(2)
        self.assertEqual(applier.give_up([2, 1, 9]), [2])
        self.assertEqual((applier.room, applier.inodes), before)
        self.assertIsNone(applier.data_of(2))
        self.assertEqual(applier.data_of(1), b"data")
        self.volume.backlog.apply()
        self.assertEqual(self.directories(), ["1"])
        self.assertEqual(list(self.recover().live), ["a"])

    def test_given_up_above_an_elder(self) -> None:
        """Above an elder that may have files it leaves a tombstone, and no bytes."""
        self.commit(1, "b2")
        self.end(2, [1])
        self.assertEqual(self.volume.backlog.applier.give_up([2]), [])
        self.volume.backlog.apply()
        self.assertEqual(os.listdir(self.file("2")), [STATE])
        self.assertIs(self.volume.directory.read_record("2").state, State.FAILURE)

    def test_given_up_begun(self) -> None:
        """One whose files were begun is taken back; while that fails, it stays to be made."""
        applier = self.volume.backlog.applier
        self.end(1)
        self.disk.fail("open", errno.EMFILE, name=STATE, times=FOR_EVER)
        self.disk.fail("unlink", errno.EMFILE, times=FOR_EVER)
        self.volume.backlog.apply()
        self.assertEqual(self.directories(), ["1"])
        self.assertEqual(applier.give_up([1]), [])
        self.assertTrue(applier.waits)
        self.disk.heal()
        self.assertEqual(applier.give_up([1]), [1])
        self.assertEqual((self.directories(), applier.waits), ([], False))
