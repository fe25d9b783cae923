"""Tests for gostore.commands.fsck, on directories that were written by a store and then damaged."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Blob
from gostore.commands.fsck import Report, fsck
from gostore.commands.main import main
from gostore.errors import VolumeInUse, VolumeUnusable
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Details
from gostore.volume.changes import Sync
from gostore.volume.directory import DATA, STATE
from gostore.volume.journal.format import NAMES
from gostore.volume.migrating import mark
from gostore.volume.volume import Volume
from tests.store.doubles import FOR_EVER, FakeBody, FaultyDisk, InlineWorkers, PromptClock


class SpoiledTestCase(SynchronousTestCase):
    """A directory with three blobs, and no daemon."""

    def setUp(self) -> None:
        """Store them."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)
        self.ids: dict[str, int] = {}
        store = self.store()
        for location in ("a", "b", "c"):
            body = FakeBody(location.encode() * 100_000)
            details = Details("text/plain", {"x-gostore-meta-a": "\x1b[31mred"})
            blob = self.successResultOf(store.create(location, body, details))
            self.ids[location] = blob.id
        store.close()

    def store(self) -> BlobStore:
        """A store of the directory, started."""
        store = BlobStore(Volume(str(self.path)), InlineWorkers(), PromptClock(), reserve=0)
        store.open()
        store.start()
        return store

    def directory(self, location: str) -> Path:
        """The directory of a blob."""
        return self.path / str(self.ids[location])

    def fsck(self, mend: bool = False) -> Report:
        """Check it."""
        return fsck(Volume(str(self.path)), mend=mend)

    def everything(self) -> dict[str, bytes]:
        """All files there are."""
        files = [path for path in self.path.rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in files}


class FsckTests(SpoiledTestCase):
    """What is found, and what is done about it."""

    def test_clean(self) -> None:
        """What a store has written is clean, and every digest has been compared."""
        told: list[tuple[int, ...]] = []
        report = fsck(Volume(str(self.path)), tell=lambda *numbers: told.append(numbers))
        self.assertEqual((report.blobs, report.bytes, report.verified), (3, 300_000, 3))
        self.assertEqual(report.findings, [])
        self.assertEqual(report.as_lines()[-1], "Clean")
        self.assertEqual(told[0], (0, 3, 100_000, 300_000))
        self.assertEqual(told[-1], (3, 3, 300_000, 300_000))

    def test_incomplete(self) -> None:
        """A directory into which a migration has not ended is not clean, though all is sound."""
        volume = Volume(str(self.path))
        volume.open()
        mark(volume.directory, "s3://bucket/x")
        volume.close()
        report = self.fsck()
        told = ".migrating: it lacks blobs that are to come from s3://bucket/x: go on with"
        self.assertEqual(report.as_lines()[0], f"incomplete: {told} gostore migrate")
        self.assertEqual(report.as_lines()[-1], "0 damaged, 1 other finding")
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            self.assertEqual(main(["fsck", "--dir", str(self.path)]), 1)
            self.assertEqual(main(["show", "--dir", str(self.path), "a"]), 0)
        self.assertIn("is incomplete: it lacks blobs that are to come from s3://", err.getvalue())

    def test_digest(self) -> None:
        """Other bytes of the right size are found by their digest, and nothing is changed."""
        (self.directory("a") / DATA).write_bytes(b"b" * 100_000)
        before = self.everything()
        [finding] = self.fsck().damage
        self.assertEqual((finding.name, finding.location), (str(self.ids["a"]), "a"))
        self.assertIn("digest", finding.reason)
        self.assertEqual(self.everything(), before)

    def test_repair(self) -> None:
        """A repair quarantines what is damaged: from then on it is damaged, and no other."""
        (self.directory("a") / DATA).write_bytes(b"b" * 100_000)
        (self.directory("b") / DATA).unlink()
        report = self.fsck(mend=True)
        self.assertEqual(sorted(str(each.location) for each in report.damage), ["a", "b"])
        self.assertFalse(self.directory("a").exists())
        aside = [name for name in os.listdir(self.path) if name.startswith(".quarantine-")]
        self.assertEqual(len(aside), 2)
        # It is not well before somebody has written the locations anew.
        self.assertEqual({each.name for each in self.fsck().damage}, set(aside))
        store = self.store()
        self.successResultOf(store.replace("a", FakeBody(b"new"), Details()))
        self.successResultOf(store.delete("b"))
        self.successResultOf(store.get("c"))
        store.close()
        self.assertEqual(self.fsck(mend=True).damage, [])

    def test_record(self) -> None:
        """A record with one flipped bit is damage, though nobody can tell whose."""
        state = self.directory("a") / STATE
        whole = state.read_bytes()
        state.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
        [finding] = self.fsck().damage
        self.assertEqual((finding.name, finding.location), (str(self.ids["a"]), None))
        self.fsck(mend=True)
        self.assertEqual([each.kind.value for each in self.fsck().findings], ["quarantined"])

    def test_journal(self) -> None:
        """What a crash has torn and the journal holds is no damage; a repair writes it again."""
        volume = Volume(str(self.path), disk=FaultyDisk(trusted=True), sync=Sync.JOURNAL)
        store = BlobStore(volume, InlineWorkers(), PromptClock(), reserve=0)
        store.open()
        store.start()
        blob = self.successResultOf(store.create("small", FakeBody(b"data"), Details()))
        store.close()  # without a stop, as if it had been killed
        state = self.path / str(blob.id) / STATE
        state.write_bytes(b"")
        before = self.everything()
        report = self.fsck()
        self.assertEqual(
            [(each.kind.value, each.name) for each in report.findings], [("journal", str(blob.id))]
        )
        self.assertEqual(report.damage, [])
        self.assertEqual(self.everything(), before)
        self.assertEqual(self.fsck(mend=True).damage, [])
        self.assertEqual(self.fsck().findings, [])
        self.assertEqual(self.fsck().blobs, 4)

    def test_full_disk(self) -> None:
        """What a full disk has no room for stays in the journal, and the rest is repaired."""
        disk = FaultyDisk(trusted=True)
        repair = lambda: fsck(  # noqa: E731
            Volume(str(self.path), disk=disk, sync=Sync.JOURNAL), mend=True
        )
        store = BlobStore(
            Volume(str(self.path), disk=disk, sync=Sync.JOURNAL),
            InlineWorkers(),
            PromptClock(),
            reserve=0,
        )
        store.open()
        store.start()
        blob = self.successResultOf(store.create("small", FakeBody(b"data"), Details()))
        store.close()
        (self.path / str(blob.id) / STATE).write_bytes(b"")
        (self.directory("a") / DATA).write_bytes(b"b" * 100_000)
        for kind in ("mkdir", "writev"):
            disk.fail(kind, errno.ENOSPC, times=FOR_EVER)
        for damaged in ([str(self.ids["a"])], []):
            report = repair()
            told = {each.name: (each.mends, each.reason) for each in report.findings}
            reason = "to be written again from the journal, when there is room for it"
            self.assertEqual(told[str(blob.id)], (False, reason))
            self.assertEqual([each.name for each in report.damage if each.mends], damaged)
        disk.heal()
        told = {each.name: each.mends for each in repair().findings}
        self.assertTrue(told[str(blob.id)])
        self.assertEqual((self.path / str(blob.id) / DATA).read_bytes(), b"data")
        self.assertNotIn(str(blob.id), [each.name for each in self.fsck().findings])

    def test_lost_journal(self) -> None:
        """After damage to the journal a repair leaves none, in which more would not be missed."""
        for name in NAMES:
            volume = Volume(str(self.path), disk=FaultyDisk(trusted=True), sync=Sync.JOURNAL)
            store = BlobStore(volume, InlineWorkers(), PromptClock(), reserve=0)
            store.open()
            store.start()
            self.successResultOf(store.put("small", FakeBody(b"data"), Details()))
            store.close()
            (self.path / name).unlink()
            volume = Volume(str(self.path), disk=FaultyDisk(trusted=True), sync=Sync.JOURNAL)
            [finding] = fsck(volume, mend=True).damage
            self.assertEqual((finding.name, finding.mends), (".journal-*", True))
            self.assertEqual([each for each in NAMES if (self.path / each).exists()], [])
            self.assertEqual(self.fsck().damage, [])

    def test_dead(self) -> None:
        """What is dead is no damage; a repair removes it, and leaves alone what is not ours."""
        blob = Blob(self.ids["a"], "a", log=[])
        blob.delete(1)
        volume = Volume(str(self.path))
        volume.look()
        volume.replace_state(str(blob.id), blob)
        volume.close()
        (self.path / ".new-5").mkdir()
        (self.path / "lost+found").mkdir()
        report = self.fsck()
        self.assertEqual(report.damage, [])
        kinds = sorted((each.kind.value, each.name) for each in report.findings)
        dead = [("dead", ".new-5"), ("dead", str(blob.id)), ("foreign", "lost+found")]
        self.assertEqual(kinds, sorted(dead))
        self.fsck(mend=True)
        self.assertFalse(self.directory("a").exists())
        self.assertEqual([each.kind.value for each in self.fsck().findings], ["foreign"])

    def kill(self, *locations: str) -> None:
        """Mark blobs as deleted, with no collector to remove them."""
        volume = Volume(str(self.path))
        volume.look()
        for location in locations:
            blob = Blob(self.ids[location], location, log=[])
            blob.delete(1)
            volume.replace_state(str(blob.id), blob)
        volume.close()

    def test_left(self) -> None:
        """What a repair cannot remove it says to be left, and why, in words and to programs."""
        self.kill("a", "b", "c")
        (self.directory("a") / "notes.txt").write_text("mine")
        for name in (".new-5", ".new-6", ".trash-7-1"):
            (self.path / name).mkdir()
            (self.path / name / DATA).write_bytes(b"x")
        (self.path / ".trash-7-1" / "notes.txt").write_text("mine")
        disk = FaultyDisk()
        disk.fail("unlink", errno.EACCES, name=".new-5/", times=FOR_EVER)
        disk.fail("rename", errno.EIO, name=f"{self.ids['b']} ")
        report = fsck(Volume(str(self.path), disk=disk), mend=True)
        told = {each.name: (each.mends, each.reason) for each in report.findings}
        aside = next(self.path.glob(f".trash-{self.ids['a']}-*")).name
        held = "it holds 'notes.txt'"
        self.assertEqual(
            told,
            {
                str(self.ids["a"]): (
                    False,
                    f"deleted; left as {aside}: {held}, which is not gostore's",
                ),
                str(self.ids["b"]): (False, "deleted; left: The disk failed: EIO"),
                str(self.ids["c"]): (True, "deleted"),
                ".new-5": (False, "left over by a crash; left: Permission denied"),
                ".new-6": (True, "left over by a crash"),
                ".trash-7-1": (False, f"not gostore's: {held}"),
            },
        )
        self.assertIn("0 damaged, 6 other findings; 2 repaired, 4 left", report.as_lines()[-1])
        self.assertEqual(sum(each["mends"] for each in report.as_json()["findings"]), 2)
        report = self.fsck()
        self.assertIn("4 other findings; --repair mends 2", report.as_lines()[-1])
        report = self.fsck(mend=True)
        self.assertIn("4 other findings; 2 repaired, 2 left", report.as_lines()[-1])
        self.assertEqual({each.kind.value for each in self.fsck(mend=True).findings}, {"foreign"})

    def test_left_of_a_quarantined(self) -> None:
        """So it says of what is only moved by the repair, too."""
        (self.directory("a") / DATA).write_bytes(b"short")
        self.fsck(mend=True)
        (aside,) = self.path.glob(".quarantine-*")
        (aside / "notes.txt").write_text("mine")
        store = self.store()
        self.successResultOf(store.put("a", FakeBody(b"new"), Details()))
        store.close()
        (trash,) = self.path.glob(".trash-*")
        trash.rename(aside)
        findings = self.fsck(mend=True).findings
        self.assertEqual([each.mends for each in findings], [True, False])
        self.assertIn("left: it holds 'notes.txt', which is not gostore's", findings[1].reason)

    def test_in_use(self) -> None:
        """A directory in use is refused."""
        store = self.store()
        for mend in (False, True):
            with self.assertRaises(VolumeInUse):
                self.fsck(mend)
        store.close()

    def test_missing(self) -> None:
        """A directory that is not there is refused, and not made."""
        missing = self.path / "missing"
        for mend in (False, True):
            with self.assertRaises(VolumeUnusable):
                fsck(Volume(str(missing), make=False), mend=mend)
        self.assertFalse(missing.exists())

    def test_reading_fails(self) -> None:
        """A bad sector is damage that no repair touches; want of files says nothing at all."""
        for number, mended in ((errno.EIO, True), (errno.EMFILE, False)):
            disk = FaultyDisk()
            disk.fail("pread", number, name=DATA)
            if mended:
                [finding] = fsck(Volume(str(self.path), disk=disk), mend=True).damage
                self.assertIn(os.strerror(number), finding.reason)
            else:
                with self.assertRaises(VolumeUnusable) as raised:
                    fsck(Volume(str(self.path), disk=disk))
                first = min(self.ids.values())
                self.assertEqual(raised.exception.reason, f"{first}: {os.strerror(number)}")
            self.assertEqual(disk.open_files, [])
        self.assertEqual(self.fsck().findings, [])

    def test_repair_fails(self) -> None:
        """A repair that the disk refuses says so; what it could not move is there still."""
        (self.directory("a") / DATA).write_bytes(b"b" * 100_000)
        disk = FaultyDisk()
        disk.fail("rename")
        report = fsck(Volume(str(self.path), disk=disk), mend=True)
        [finding] = report.damage
        self.assertTrue(finding.reason.endswith("; not quarantined: Input/output error"))
        self.assertIn("0 repaired, 1 left", report.as_lines()[-1])
        self.assertTrue(self.directory("a").exists())
        [again] = self.fsck(mend=True).damage
        self.assertTrue(again.mends)
        disk.fail("fsync", times=2)
        (self.directory("b") / DATA).write_bytes(b"c" * 100_000)
        with self.assertRaises(VolumeUnusable):
            fsck(Volume(str(self.path), disk=disk), mend=True)

    def test_out_of_reach(self) -> None:
        """One blob that may not be read is named, and keeps no other from being checked."""
        for path in (STATE, DATA):
            disk = FaultyDisk()
            blob_id = self.ids["a"]
            disk.fail("open", errno.EACCES, name=f"{blob_id}/{path}", times=FOR_EVER)
            report = fsck(Volume(str(self.path), disk=disk), mend=True)
            [finding] = report.damage
            self.assertEqual((finding.name, finding.mends), (str(blob_id), False))
            self.assertIn("Permission denied", finding.reason)
            self.assertEqual(report.verified, len(self.ids) - 1)
        self.assertEqual(self.fsck().findings, [])
