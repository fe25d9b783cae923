"""Tests for gostore.volume.commit: the write protocol, call by call, and what fails in it."""

from __future__ import annotations

import errno
import os
import shutil
import stat

from gostore.blob import State
from gostore.errors import (
    Busy,
    DiskFailed,
    NoSpace,
    ReadOnly,
    StoreError,
)
from gostore.volume.changes import Commit, Delete, Discard, Sync
from gostore.volume.collect import collect
from gostore.volume.directory import DATA, STATE
from gostore.volume.journal.format import NAMES
from gostore.volume.recovery.repair import repair
from tests.store.doubles import FOR_EVER
from tests.volume.support import VolumeCase

FAILURES: list[tuple[int, type[StoreError]]] = [
    (errno.EIO, DiskFailed),
    (errno.ENOSPC, NoSpace),
    (errno.EDQUOT, NoSpace),
    (errno.EMFILE, Busy),
    (errno.ENFILE, Busy),
    (errno.EROFS, ReadOnly),
]


class CommitTests(VolumeCase):
    """Small blobs, each flushed for itself."""

    def test_order(self) -> None:
        """Data and record are flushed, then their directory, then renamed, then the root."""
        self.disk.clear()
        self.commit(7, "a")
        self.assertEqual(
            self.disk.trace(),
            [
                "mkdir .new-7",
                f"open .new-7/{DATA}",
                f"writev .new-7/{DATA}",
                f"fsync .new-7/{DATA}",
                f"open .new-7/{STATE}",
                f"writev .new-7/{STATE}",
                f"fsync .new-7/{STATE}",
                "fsync .new-7",
                "rename .new-7 -> 7",
                "fsync /",
            ],
        )
        self.assertEqual(self.data(7), b"data")
        self.assertEqual(stat.S_IMODE(os.stat(self.file("7", DATA)).st_mode) & 0o100, 0)

    def test_refused(self) -> None:
        """A call that fails before the rename fails that blob, and leaves nothing open."""
        for number, (code, kind) in enumerate(FAILURES):
            for at, call in enumerate(("mkdir", "open", "writev", "fsync")):
                change = self.change(10 * number + at, "a")
                self.disk.fail(call, code)
                (error,) = self.volume.protocol.carry_out([change])
                self.assertIsInstance(error, kind, call)
                self.assertEqual(self.disk.open_files, [""])
                self.assertIsNone(self.volume.broken)
                self.disk.heal()

    def test_never_onto_something(self) -> None:
        """A rename onto a directory that holds something fails that blob, and harms nobody."""
        self.put("7", b"photo", "a.jpg")
        changes = [self.change(7, "a"), self.change(8, "b")]
        errors = self.volume.protocol.carry_out(changes)
        self.assertIsInstance(errors[0], Busy)
        self.assertEqual((errors[1], self.volume.broken), (None, None))
        self.assertEqual(os.listdir(self.file("7")), ["a.jpg"])
        self.assertTrue(self.volume.trash.remove(".new-7"))

    def test_removed_by_hand(self) -> None:
        """A stage that somebody removes is no fault of the disk; the next try may do."""
        for call in ("open", "rename"):
            self.disk.before(call, lambda: shutil.rmtree(self.file(".new-7")), name=".new-7")
            (error,) = self.volume.protocol.carry_out([self.change(7, "a")])
            self.assertIsInstance(error, Busy, call)
            self.assertIn("Somebody", str(error))
            self.disk.heal()
        self.commit(7, "a")

    def test_others_go_on(self) -> None:
        """In a batch only the one that fails is refused; the rest shares one flush of the root."""
        changes = [self.change(number, f"b{number}") for number in (1, 2, 3)]
        self.disk.fail("mkdir", errno.ENOSPC, nth=2)
        self.disk.clear()
        errors = self.volume.protocol.carry_out(changes)
        self.assertEqual([error is None for error in errors], [True, False, True])
        self.assertEqual(self.disk.trace().count("fsync /"), 1)
        self.assertEqual(self.disk.trace()[-1], "fsync /")

    def test_root_not_flushed(self) -> None:
        """If the root cannot be flushed the outcome is unknown; nothing is tried again."""
        change = self.change(1, "a")
        self.disk.fail("fsync", errno.EIO, nth=4)
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsInstance(error, DiskFailed)
        self.assertIsNotNone(self.volume.broken)
        self.disk.clear()
        later = self.change(2, "b")
        (error,) = self.volume.protocol.carry_out([later])
        self.assertIsInstance(error, ReadOnly)
        self.assertEqual(self.disk.calls, [])

    def test_short_writes(self) -> None:
        """Writes that are cut short are gone on with."""
        self.disk.shorten("writev", 7, times=100)
        self.commit(1, "a", b"0123456789" * 10)
        self.assertEqual(self.data(1), b"0123456789" * 10)
        self.assertEqual(self.volume.directory.read_record("1", 1).location, "a")

    def test_not_over_another(self) -> None:
        """A commit never replaces a directory that is there."""
        self.commit(1, "a")
        change = self.change(1, "b", b"other")
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsNotNone(error)
        self.assertEqual(self.data(1), b"data")


class DeleteTests(VolumeCase):
    """Deleting blobs."""

    def test_order(self) -> None:
        """The tombstone is flushed, then renamed into place, then its directory is flushed."""
        blob = self.commit(1, "a")
        self.disk.clear()
        self.delete(blob)
        self.assertEqual(
            self.disk.trace(),
            [
                f"open 1/{STATE}.tmp",
                f"writev 1/{STATE}.tmp",
                f"fsync 1/{STATE}.tmp",
                f"rename 1/{STATE}.tmp -> 1/{STATE}",
                "fsync 1",
            ],
        )
        self.assertEqual(self.volume.directory.read_record("1", 1).log[-1].message, "Deleted!")

    def test_origin(self) -> None:
        """A tombstone says which request deleted the blob."""
        blob = self.commit(1, "a")
        self.volume.protocol.carry_out([Delete(blob, [], "7f3a")])
        record = self.volume.directory.read_record("1", 1)
        self.assertEqual(record.log[-1].message, "Deleted! (7f3a)")

    def test_left_over(self) -> None:
        """What an earlier attempt left in the tombstone's place does not matter."""
        blob = self.commit(1, "a")
        self.put("1", b"half", f"{STATE}.tmp")
        self.delete(blob)
        self.assertIs(self.volume.directory.read_record("1", 1).state, State.FAILURE)

    def test_record_lost(self) -> None:
        """A blob whose record is lost can be deleted all the same."""
        blob = self.commit(1, "a")
        os.unlink(self.file("1", STATE))
        self.delete(blob)
        self.assertIs(self.volume.directory.read_record("1", 1).state, State.FAILURE)

    def test_full_disk(self) -> None:
        """Without room for a tombstone the elders go first, durably, and then the blob."""
        self.commit(1, "a")
        blob = self.commit(2, "a")
        self.disk.fail("writev", errno.ENOSPC)
        self.disk.clear()
        self.delete(blob, [1])
        self.assert_order("rename 1 -> .trash-1-1", "fsync /", "rename 2 -> .trash-2-2", "fsync /")
        self.assertEqual(set(self.volume.trash.trashed.values()), {1, 2})

    def test_full_disk_without_room_for_a_name(self) -> None:
        """Where no directory can be renamed, either, what they lose is their state files."""
        self.commit(1, "a")
        blob = self.commit(2, "a")
        self.disk.fail("writev", errno.ENOSPC)
        self.disk.fail("rename", errno.ENOSPC, times=FOR_EVER)
        self.disk.clear()
        self.delete(blob, [1])
        self.assert_order(f"unlink 1/{STATE}", "fsync 1", f"unlink 2/{STATE}", "fsync 2")
        self.assertEqual(self.volume.trash.trashed, {"1": 1, "2": 2})
        found = self.restart()
        self.disk.fail("rename", errno.ENOSPC, times=FOR_EVER)
        self.assertEqual((found.live, sorted(found.uncommitted)), ({}, [1, 2]))
        repair(self.volume, found)
        self.assertEqual(sorted(collect(self.volume, []).ids), [1, 2])
        self.assertEqual(self.names(), [])

    def test_unlinked_all_the_same(self) -> None:
        """A state file that is gone is gone, whatever was reported of its removal."""
        blob = self.commit(1, "a")
        self.disk.fail("writev", errno.ENOSPC)
        self.disk.fail("rename", errno.ENOSPC, times=FOR_EVER)
        self.disk.fail("unlink", after=True)
        self.delete(blob)
        self.assertIsNone(self.volume.broken)

    def test_not_unlinked(self) -> None:
        """If the state file stays, so does the blob."""
        change = Delete(self.commit(1, "a").committed(), [])
        self.disk.fail("writev", errno.ENOSPC)
        self.disk.fail("rename", errno.ENOSPC, times=FOR_EVER)
        self.disk.fail("unlink", errno.EIO, name=f"1/{STATE}")
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsInstance(error, DiskFailed)
        self.assertEqual((self.volume.broken, self.volume.trash.trashed), (None, {}))

    def test_not_flushed(self) -> None:
        """If its directory cannot be flushed the outcome is unknown."""
        change = Delete(self.commit(1, "a").committed(), [])
        self.disk.fail("fsync", errno.EIO, nth=2)
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsInstance(error, DiskFailed)
        self.assertIsNotNone(self.volume.broken)

    def test_discard(self) -> None:
        """What is left of a damaged blob goes after its elders, and nothing if they stay."""
        self.commit(1, "a")
        self.commit(2, "a")
        name = self.volume.trash.quarantine("2")
        assert name is not None
        change = Discard(["1", name], 2)
        self.disk.fail("rename", errno.EIO)
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsInstance(error, DiskFailed)
        self.assertEqual(self.names(), [name, "1"])
        self.disk.clear()
        again = Discard(["1", name], 2)
        (error,) = self.volume.protocol.carry_out([again])
        self.assertIsNone(error)
        self.assert_order(
            "rename 1 -> .trash-1-3", "fsync /", f"rename {name} -> .trash-2-4", "fsync /"
        )

    def test_number_given_again(self) -> None:
        """A blob that bears the number of an elder that has been collected since stays."""
        blob = self.commit(2, "a")
        self.commit(1, "b")
        self.disk.fail("writev", errno.ENOSPC)
        self.delete(blob, [1])
        self.volume.protocol.carry_out([Discard(["1", "none"], blob.generation)])
        self.assertEqual(list(self.restart().live), ["b"])
        self.volume.protocol.carry_out([Discard(["1", "none"], self.generation)])
        self.assertEqual(list(self.restart().live), [])

    def test_tombstone_already(self) -> None:
        """A blob whose tombstone stands, though its rename was reported as failed, is deleted."""
        blob = self.commit(1, "a")
        self.disk.fail("rename", after=True)
        self.disk.fail("rename", nth=2)  # so that it cannot do without a tombstone either
        failed = Delete(blob.committed(), [])
        (error,) = self.volume.protocol.carry_out([failed])
        self.assertIsInstance(error, DiskFailed)
        beside = self.change(2, "b")
        again = Delete(blob.committed(), [])
        errors = self.volume.protocol.carry_out([again, beside])
        self.assertEqual(errors, [None, None])
        found = self.restart()
        self.assertEqual(([dead.id for dead in found.dead], list(found.live)), ([1], ["b"]))

    def test_renamed_all_the_same(self) -> None:
        """A rename that is done, and reported as failed, is seen to be done."""
        self.disk.fail("rename", after=True)
        blob = self.commit(1, "a")
        self.assertEqual(list(self.restart().live), ["a"])
        self.disk.fail("rename", after=True)
        self.assertTrue(self.volume.trash.put("1", blob.id))
        self.assertEqual(self.volume.trash.trashed, {".trash-1-1": 1})

    def test_rename_unknown(self) -> None:
        """Where the disk does not tell either, the outcome is unknown, and the volume read-only."""
        change = self.change(1, "a")
        self.disk.fail("rename", errno.EIO)
        self.disk.fail("lstat", errno.EIO)
        (error,) = self.volume.protocol.carry_out([change])
        self.assertIsInstance(error, DiskFailed)
        self.assertIn("a rename failed", self.volume.broken or "")

    def test_tombstone_not_reached(self) -> None:
        """Without a descriptor to flush a tombstone by, it is not revealed, nor is it needed."""
        blob = self.commit(1, "a")
        self.disk.clear()
        self.disk.fail("open", errno.EMFILE, nth=3)
        self.delete(blob)
        self.assertIsNone(self.volume.broken)
        self.assertEqual(self.disk.trace("rename"), ["rename 1 -> .trash-1-1"])
        self.assertEqual(self.disk.open_files, [""])

    def test_broken_meanwhile(self) -> None:
        """A flush that went well while another thread's failed proves nothing."""
        change = self.change(1, "a")
        directory = self.volume.directory
        self.disk.before("fsync", lambda: setattr(directory, "broken", "a sync failed"), nth=4)
        (error,) = self.volume.protocol.carry_out([change])
        self.assertEqual(self.disk.trace()[-1], "fsync /")
        self.assertIsInstance(error, DiskFailed)


class TogetherTests(VolumeCase):
    """Batches where one syncfs stands for many fsyncs."""

    trusted = True

    def test_order(self) -> None:
        """Everything is written, flushed at once, renamed, and then the root is flushed."""
        changes = [self.change(number, f"b{number}") for number in (1, 2)]
        self.disk.clear()
        self.volume.protocol.carry_out(changes)
        trace = self.disk.trace("fsync", "syncfs", "rename")
        self.assertEqual(trace, ["syncfs /", "rename .new-1 -> 1", "rename .new-2 -> 2", "fsync /"])

    def test_not_flushed(self) -> None:
        """If that flush fails none of the batch is there, and nothing is broken."""
        changes = [self.change(number, f"b{number}") for number in (1, 2)]
        self.disk.fail("syncfs", errno.EIO)
        errors = self.volume.protocol.carry_out(changes)
        self.assertEqual([type(error) for error in errors], [DiskFailed] * 2)
        self.assertIsNone(self.volume.broken)
        self.assertEqual(self.names(), [".new-1", ".new-2"])

    def test_not_trusted_again(self) -> None:
        """The failure may have been an upload's that is still coming: its own fsync will tell."""
        stage = self.volume.stage(self.start(3, "c"))
        self.volume.write(stage, [b"data"])
        self.disk.fail("syncfs", errno.EIO)
        self.volume.protocol.carry_out([self.change(number, f"b{number}") for number in (1, 2)])
        self.disk.clear()
        self.disk.fail("fsync", errno.EIO, name=".new-3/data.raw")
        late = Commit(self.finish(stage.blob, b"data"), stage)
        beside = self.change(4, "d")
        late_error, beside_error = self.volume.protocol.carry_out([late, beside])
        self.assertIsInstance(late_error, DiskFailed)
        self.assertIsNone(beside_error)
        self.assertEqual(self.disk.count("syncfs"), 0)
        self.assertIn("4", self.names())
        self.assertNotIn("3", self.names())

    def test_with_deletes(self) -> None:
        """With deletes among them a second syncfs makes the renames last."""
        delete = Delete(self.commit(1, "a").committed(), [])
        self.disk.clear()
        self.volume.protocol.carry_out([delete, self.change(2, "b")])
        trace = self.disk.trace("fsync", "syncfs")
        self.assertEqual(trace, ["syncfs /", "syncfs /"])
        self.assertEqual(self.disk.trace()[-1], "syncfs /")


def no_memory() -> None:
    """What a call comes to for which there is no memory."""
    raise MemoryError


class NoMemoryTests(VolumeCase):
    """Changes for which there is too little memory."""

    trusted = True

    def setUp(self) -> None:
        """Use the redo journal."""
        super().setUp()
        self.volume.close()
        self.volume = self.open(Sync.JOURNAL)

    def test_preparing(self) -> None:
        """A change that cannot be prepared is not done; the others of its batch are."""
        blob = self.commit(1, "b1")
        self.disk.before("pread", no_memory, name=f"1/{STATE}")
        changes = [Delete(blob.committed(), []), self.change(2, "b2")]
        errors = self.volume.protocol.carry_out(changes)
        self.assertEqual([type(error) for error in errors], [Busy, type(None)])
        self.assertIsNone(self.volume.broken)

    def test_applying(self) -> None:
        """What there is no memory for is made when there is."""
        self.disk.before("mkdir", no_memory)
        (error,) = self.volume.protocol.carry_out([self.change(1, "a")])
        self.assertIsNone(error)
        self.volume.backlog.apply()
        self.assertEqual(self.names(), [*NAMES])
        self.assertIsInstance(self.volume.backlog.applier.obstacle, Busy)
        self.commit(2, "b")
        self.assertEqual(self.names(), [*NAMES, "1", "2"])

    def test_no_journal(self) -> None:
        """Without memory for a journal blobs are stored without one."""
        self.disk.before("pwrite", no_memory)
        self.commit(1, "a")
        self.assertEqual(self.names(), ["1"])

    def test_unknown(self) -> None:
        """Where nobody can say what was done nothing is written any more."""
        for number, kind in enumerate(("pwrite", "fdatasync")):
            self.commit(10 + number, "before")
            self.disk.before(kind, no_memory)
            change = self.change(number, f"b{number}")
            (error,) = self.volume.protocol.carry_out([change])
            self.assertIsInstance(error, DiskFailed)
            self.assertIsNotNone(self.volume.broken)
            self.volume.close()
            self.volume = self.open(Sync.JOURNAL)
