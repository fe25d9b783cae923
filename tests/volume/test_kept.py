"""Kept stages on real files: notes, torn notes, going on, and what a look makes of them."""

from __future__ import annotations

import errno
import hashlib
import os

from gostore import statefile
from gostore.blob import Blob, UploadNote
from gostore.errors import BadRecord
from gostore.volume.directory import DATA, STATE, Kind, kept_name, kind_of
from gostore.volume.journal.format import BLOCK
from gostore.volume.kept import Note, read_kept
from gostore.volume.recovery.repair import repair
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume
from tests.volume.support import VolumeCase

NUMBER = 10**38 + 7
NAME = kept_name(NUMBER)
NOW = 1_800_000_000_000_000_000


def pending(number: int = NUMBER) -> Blob:
    """The blob of an upload that has begun."""
    blob = Blob(0, "photos/x", upload=UploadNote(number, "user alice", "location cGhvdG9zL3g="))
    blob.create(NOW)
    blob.start_writing(NOW)
    return blob


class KeptCase(VolumeCase):
    """Has one kept stage with nothing in it, of 20,000 bytes to come."""

    def setUp(self) -> None:
        super().setUp()
        self.kept = self.volume.kept
        self.kept.make(pending(), Note(0, 20_000, NOW))

    def add(self, *pieces: bytes, flush: bool = True, when: int = NOW) -> None:
        """Go on with it."""
        opened = self.kept.open(NUMBER)
        self.kept.append(opened, pieces)
        if flush:
            self.kept.flush(opened, opened.note.length, when)
        self.kept.close(opened)

    def file_of(self, file: str) -> str:
        """The path of one of its files."""
        return os.path.join(self.volume.path, NAME, file)

    def content(self) -> bytes:
        """The bytes in its file."""
        with open(self.file_of(DATA), "rb") as file:
            return file.read()

    def spoil(self, file: str, at: int, data: bytes) -> None:
        """Write over some bytes of a file."""
        with open(self.file_of(file), "r+b") as opened:
            opened.seek(at)
            opened.write(data)

    def note(self) -> Note:
        """Its newest note."""
        return read_kept(self.volume.directory, NAME).note


class KeptTests(KeptCase):
    """What is kept, and what of it counts."""

    def test_name(self) -> None:
        """The name has a number of up to 39 digits; old versions know what it is in the trash."""
        self.assertIs(kind_of(NAME), Kind.KEPT)
        for foreign in (".upload-", ".upload-0", ".upload-01", ".upload-a", NAME + "00"):
            self.assertIs(kind_of(foreign), Kind.FOREIGN)
        self.kept.discard(NUMBER, sync=True)
        (trashed,) = self.volume.trash.trashed
        self.assertEqual(trashed, f".trash-{NUMBER}-1")
        self.assertIs(kind_of(trashed), Kind.TRASH)

    def test_begin(self) -> None:
        """What it is to become is flushed, with the names of its files, before it is answered."""
        self.assertEqual(
            self.disk.trace(),
            [
                f"mkdir {NAME}",
                f"open {NAME}/{STATE}",
                f"writev {NAME}/{STATE}",
                f"fsync {NAME}/{STATE}",
                f"open {NAME}/{DATA}",
                f"writev {NAME}/{DATA}",
                f"fsync {NAME}/{DATA}",
                f"fsync {NAME}",
                "fsync /",
            ],
        )
        found = read_kept(self.volume.directory, NAME)
        self.assertEqual((found.number, found.blob.location), (NUMBER, "photos/x"))
        self.assertEqual(found.blob.upload, pending().upload)
        self.assertEqual(found.note, Note(0, 20_000, NOW))

    def test_flush(self) -> None:
        """Bytes are flushed before the note that tells of them."""
        self.disk.clear()
        self.add(b"x" * 5000, when=NOW + 1)
        self.assertEqual(
            self.disk.trace("ftruncate", "pwrite", "fdatasync"),
            [
                f"ftruncate {NAME}/{DATA}",
                f"pwrite {NAME}/{DATA}",
                f"fdatasync {NAME}/{DATA}",
                f"pwrite {NAME}/{STATE}",
                f"fdatasync {NAME}/{STATE}",
            ],
        )
        self.assertEqual(self.note(), Note(5000, 20_000, NOW + 1, 1, b"x" * (5000 - BLOCK)))

    def test_pieces(self) -> None:
        """Pieces of any size add up to the bytes that came, however often it is opened."""
        expected = b""
        for size in (1, 4095, 1, 4096, 0, 3000, 5000, 2, 3805):
            piece = bytes([size % 251]) * size
            self.add(piece[: size // 2], piece[size // 2 :])
            expected += piece
            self.assertEqual((self.note().offset, self.content()), (len(expected), expected))
        digest = hashlib.sha256()
        self.kept.feed(NUMBER, digest, 0, len(expected))
        self.assertEqual(digest.digest(), hashlib.sha256(expected).digest())

    def test_unflushed(self) -> None:
        """What was not flushed does not count, and is cut off when it goes on."""
        self.add(b"a" * 5000)
        self.add(b"b" * 9000, flush=False)
        self.assertEqual(self.note().offset, 5000)
        self.add(b"c")
        self.assertEqual((self.note().offset, self.content()), (5001, b"a" * 5000 + b"c"))

    def test_torn_block(self) -> None:
        """A torn write may harm all of its block; what was flushed in it is in the note."""
        self.add(b"a" * 5000)
        self.add(b"b" * 100, flush=False)
        self.spoil(DATA, BLOCK, bytes(1004))
        self.assertEqual(scan(self.volume).kept[0].note.offset, 5000)
        self.kept.complete(NUMBER)
        self.assertEqual(self.content(), b"a" * 5000)
        self.spoil(DATA, BLOCK, bytes(904))
        self.kept.complete(NUMBER)
        self.assertEqual(self.content(), b"a" * 5000)
        with open(self.file_of(DATA), "r+b") as file:
            file.truncate(BLOCK)
        self.kept.complete(NUMBER)
        self.assertEqual(self.content(), b"a" * 5000)

    def test_torn_note(self) -> None:
        """A torn note leaves the one before it, wherever it is torn."""
        self.add(b"a" * 100)
        self.add(b"b" * 100)
        self.add(b"c" * 100)
        notes = os.path.getsize(self.file_of(STATE)) - 4 * BLOCK
        for at, left in ((notes + 2 * BLOCK + 3, 200), (notes + 100, None)):
            self.spoil(STATE, at, b"#" * 20)
            if left is None:
                with self.assertRaises(BadRecord):
                    self.note()
            else:
                self.assertEqual(self.note().offset, left)

    def test_note_of_another(self) -> None:
        """A note of another upload is none of this one's."""
        note = Note(5, None, NOW, 3, b"abcde")
        self.assertEqual(Note.parse(note.text(7), 7), note)
        self.assertIsNone(Note.parse(note.text(7), 8))
        self.assertIsNone(Note.parse(note.text(7)[:-8100], 7))

    def test_failed_flush(self) -> None:
        """After a flush that failed nobody goes on: the upload is lost."""
        opened = self.kept.open(NUMBER)
        self.kept.append(opened, [b"a"])
        self.disk.fail("fdatasync", errno.EIO)
        with self.assertRaises(OSError):
            self.kept.flush(opened, 20_000, NOW)
        self.assertTrue(opened.is_lost)
        self.kept.close(opened)

    def test_no_state(self) -> None:
        """Without files to open nothing is left open."""
        for kind in ("open", "fstat"):
            for nth in range(1, 6):
                self.disk.fail(kind, errno.EMFILE, nth=nth, name=NAME)
                try:
                    opened = self.kept.open(NUMBER)
                except OSError:
                    pass
                else:
                    self.kept.close(opened)
                self.disk.heal()
                self.assertEqual([name for name in self.disk.open_files if NAME in name], [])


class LookTests(KeptCase):
    """What a start makes of kept stages."""

    def start(self) -> tuple[list[int], list[str], dict[str, str]]:
        """What it finds: offsets, what is to be removed, and what is foreign."""
        found = scan(self.volume)
        return [each.note.offset for each in found.kept], found.leftover, found.foreign

    def test_found(self) -> None:
        """One that is whole is found, and left as it is."""
        self.add(b"a" * 5000)
        before = self.content()
        found = scan(self.volume)
        repair(self.volume, found)
        self.assertEqual([each.note.offset for each in found.kept], [5000])
        self.assertEqual((self.volume.trash.trashed, self.content()), ({}, before))

    def test_unbegun(self) -> None:
        """One that a crash has cut short at its making is removed."""
        os.unlink(self.file_of(DATA))
        self.assertEqual(self.start(), ([], [NAME], {}))
        os.unlink(self.file_of(STATE))
        self.assertEqual(self.start(), ([], [NAME], {}))

    def test_bad_record(self) -> None:
        """One whose record is not its own, has failed, or is torn is removed."""
        with open(self.file_of(STATE), "rb") as file:
            good = file.read()
        other, failed = pending(8), pending()
        failed.fail(NOW, "x")
        plain = pending()
        plain.upload = None
        texts = [statefile.dump(blob) + good[-4 * BLOCK :] for blob in (other, failed, plain)]
        for bad in (*texts, good[:-1], good[:50], b""):
            with open(self.file_of(STATE), "wb") as file:
                file.write(bad)
            self.assertEqual(self.start(), ([], [NAME], {}), bad[:100])

    def test_short(self) -> None:
        """One that has lost bytes which its client knows to be here is removed."""
        self.add(b"a" * 5000)
        with open(self.file_of(DATA), "r+b") as file:
            file.truncate(BLOCK - 1)
        self.assertEqual(self.start(), ([], [NAME], {}))

    def test_finished_record(self) -> None:
        """One whose commit a crash has cut short is complete: its record is OK, and has a size."""
        self.add(b"a" * 5000)
        blob = pending()
        blob.finish_writing(NOW, 5000, bytes(32), 3)
        self.volume.directory.write_state_tmp(NAME, statefile.dump(blob), sync=True)
        self.volume.directory.put_state_in_place(NAME)
        (found,) = scan(self.volume).kept
        self.assertEqual((found.note.offset, found.note.length), (5000, 5000))
        self.kept.complete(NUMBER)
        with open(self.file_of(DATA), "ab") as file:
            file.write(b"b")
        self.assertEqual(self.start(), ([], [NAME], {}))

    def test_foreign(self) -> None:
        """One that holds something else, and is no upload, is somebody's; so are links."""
        os.unlink(self.file_of(STATE))
        with open(self.file_of("mine"), "wb"):
            pass
        offsets, leftover, foreign = self.start()
        self.assertEqual((offsets, leftover, list(foreign)), ([], [], [NAME]))
        root = os.fspath(self.volume.path)
        os.symlink(NAME, os.path.join(root, ".upload-5"))
        with open(os.path.join(root, ".upload-6"), "wb"):
            pass
        self.assertEqual(sorted(self.start()[2]), [NAME, ".upload-5", ".upload-6"])

    def test_unreadable(self) -> None:
        """One that the disk does not give is left alone."""
        self.disk.fail("pread", errno.EIO, times=2, name=NAME)
        found = scan(self.volume)
        self.assertEqual((list(found.unreadable), found.kept, found.leftover), ([NAME], [], []))

    def test_many(self) -> None:
        """Ten thousand of them are found by reading one file each."""
        count = 10_000 if os.environ.get("GOSTORE_SOAK") else 300
        for number in range(1, count):
            self.kept.make(pending(number), Note(0, None, NOW))
        self.disk.clear()
        found = scan(self.volume)
        self.assertEqual(len(found.kept), count)
        self.assertEqual(self.disk.count("pread"), count)

    def test_other_volume(self) -> None:
        """It is found by another process as well."""
        self.add(b"a" * 300)
        self.volume.close()
        volume = Volume(self.volume.path)
        volume.open()
        self.addCleanup(volume.close)
        self.assertEqual(scan(volume).kept[0].note.tail, b"a" * 300)
