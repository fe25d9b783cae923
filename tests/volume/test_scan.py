"""Tests for gostore.volume.recovery.scan: what a start makes of whatever lies in the directory."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from unittest import SkipTest

from twisted.logger import capturedLogs, formatEvent

from gostore.errors import VolumeUnusable
from gostore.volume.collect import collect
from gostore.volume.directory import DATA, STATE
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.repair import repair
from gostore.volume.recovery.scan import scan
from tests.store.doubles import FOR_EVER
from tests.volume.support import RecoveryCase

FIXTURES = Path(__file__).parent.parent / "fixtures" / "go-data"


class ScanTests(RecoveryCase):
    """Finding what lives."""

    def test_empty(self) -> None:
        """In an empty directory there is nothing."""
        found = self.recover()
        self.assertEqual(found, Findings())
        self.assertIn("restored 0, finished 0, discarded 0, quarantined 0, foreign 0", str(found))

    def test_restored(self) -> None:
        """What was committed is there again, with all that is known of it."""
        blobs = [self.commit(number, f"b{number}") for number in range(1, 5)]
        found = self.recover()
        self.assertEqual(found.live, {blob.location: blob.committed() for blob in blobs})
        self.assertEqual((found.ids, found.generation), ({1, 2, 3, 4}, 4))
        self.again(found)

    def test_only_looks(self) -> None:
        """A scan changes nothing, whatever it finds."""
        self.commit(1, "a")
        self.put("2", b"nonsense")
        self.put(".new-3", b"x", DATA)
        self.volume.close()
        before = sorted(os.walk(self.path))
        self.volume = self.open()
        self.disk.clear()
        scan(self.volume)
        self.assertEqual(self.disk.trace(), [])
        self.assertEqual(sorted(os.walk(self.path)), before)

    def test_go_data(self) -> None:
        """A directory by the Go server is restored: four blobs live, the others are dead."""
        self.volume.close()
        shutil.rmtree(self.path)
        shutil.copytree(FIXTURES, self.path)
        for path in Path(self.path).rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.volume = self.open()
        found = self.recover()
        self.assertEqual(sorted(found.live), ["café menu", "empty", "foo", "picture.bin"])
        self.assertEqual(len(found.dead), 3)
        self.assertEqual(found.suspects, [])
        self.again(found)

    def test_foreign(self) -> None:
        """Names that are not gostore's are reported, and left alone."""
        for name in ("00012", "lost+found", "-1", "4294967296", ".new-x", ".trash-x", "1e3", "²"):
            os.mkdir(self.file(name))
        for name in ("notes.txt", ".new-1", ".trash-1-1", "7", ".quarantine-1-1"):
            with open(self.file(name), "wb"):
                pass
        names = self.names()
        found = self.recover()
        self.assertEqual(sorted(found.foreign), names)
        self.assertEqual(self.names(), names)
        self.assertIn(7, found.ids)

    def test_journal_is_ours(self) -> None:
        """The journal's files are not foreign."""
        for name in (".journal-0", ".journal-1"):
            with open(self.file(name), "wb"):
                pass
        self.assertEqual(self.recover().foreign, {})

    def test_leftovers(self) -> None:
        """Stages and trash are removed by the collector; their ids are not drawn before that."""
        self.volume.stage(self.start(5, "a"))
        self.put(".trash-6-1", b"x", DATA)
        os.mkdir(self.file(".new-probe"))
        found = self.recover()
        self.assertEqual(found.ids, {5})
        self.assertEqual(set(self.volume.trash.trashed), {".new-5", ".trash-6-1"})

    def test_stage_of_a_blob(self) -> None:
        """A stage beside the blob that it became, in a copy say, is removed; the id stays taken."""
        blob = self.commit(5, "a")
        os.mkdir(self.file(".new-5"))
        found = self.recover()
        self.assertEqual(found.live, {"a": blob.committed()})
        self.assertEqual(collect(self.volume, found.dead).ids, [])
        self.assertEqual(self.names(), ["5"])

    def test_short_reads(self) -> None:
        """A read that is cut short does not make a blob damaged."""
        blob = self.commit(1, "a")
        self.disk.shorten("pread", 10, times=FOR_EVER)
        self.assertEqual(self.recover().live, {"a": blob.committed()})

    def test_want(self) -> None:
        """A blob that cannot be judged for want of files or memory is no damage: no start."""
        self.commit(1, "a")
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            self.disk.fail("open", number, name=STATE)
            error = self.assertRaises(VolumeUnusable, scan, self.volume)
            self.assertEqual(error.reason, f"1: {os.strerror(number)}")
            self.disk.heal()

    def test_out_of_reach(self) -> None:
        """One blob that may not be read is named and left alone, and the others are served."""
        self.commit(1, "a")
        other = self.commit(2, "b")
        self.put(".quarantine-3-9", b"nonsense")
        for number in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG):
            for kind, name in (("lstat", "1/"), ("pread", "1/"), ("open", ".quarantine-3-9/")):
                if (kind, number) in (("open", errno.ELOOP), ("pread", errno.ELOOP)):
                    continue  # a link in the place of the state file: no record, as ever
                self.disk.fail(kind, number, name=name, times=FOR_EVER)
                found = self.recover()
                self.disk.heal()
                name = name.rstrip("/")
                self.assertEqual(found.unreadable, {name: os.strerror(number)})
                self.assertEqual(found.live["b"], other.committed())
                self.assertEqual("a" in found.live, name != "1")
                self.assertEqual((found.suspects, found.damaged), ([], {}))
                self.assertEqual(found.ids, {1, 2})
                self.assertEqual(found.damage, 1 if name == ".quarantine-3-9" else 2)
                self.assertEqual(self.names(), [".quarantine-3-9", "1", "2"])
        self.assertEqual(set(self.recover().live), {"a", "b"})

    def test_nothing_in_reach(self) -> None:
        """Where no blob may be read, of several, that is nobody's own fault: no start."""
        self.commit(1, "a")
        self.commit(2, "b")
        os.mkdir(self.file(".new-3"))
        self.disk.fail("open", errno.EACCES, name=STATE, times=FOR_EVER)
        error = self.assertRaises(VolumeUnusable, scan, self.volume)
        self.assertIn(error.reason, {f"{name}: {os.strerror(errno.EACCES)}" for name in (1, 2)})


class DamageTests(RecoveryCase):
    """Records and data that are not as they were written."""

    def damage(self, harm: Callable[[], None]) -> Findings:
        """Harm the newer of two blobs of a location; what a start makes of it."""
        self.generation = 0
        self.commit(1, "a", b"old")
        self.commit(2, "a", b"data")
        harm()
        return self.recover()

    def empty(self) -> None:
        """Begin anew with an empty directory."""
        self.volume.close()
        shutil.rmtree(self.path)
        self.volume = self.open()

    def test_data(self) -> None:
        """Damaged data is quarantined: the location is damaged, not gone, not an older version."""
        path = self.file("2", DATA)

        def listen() -> None:
            here = os.getcwd()
            os.chdir(self.file("2"))
            server = socket.socket(socket.AF_UNIX)
            server.bind(DATA)
            server.close()
            os.chdir(here)

        makers: list[Callable[[], None]] = [
            lambda: None,
            lambda: self.put("2", b"dat", DATA),
            lambda: self.put("2", b"data!", DATA),
            lambda: os.symlink("/etc/passwd", path),
            lambda: os.symlink("../1/data.raw", path),
            lambda: os.symlink("nowhere", path),
            lambda: os.symlink(DATA, path),
            lambda: os.mkfifo(path),
            lambda: os.mkdir(path),
            listen,
            lambda: os.link(self.file("1", DATA), path),
        ]
        for number, make in enumerate(makers):

            def harm(make: Callable[[], None] = make) -> None:
                os.unlink(path)
                make()

            found = self.damage(harm)
            self.assertEqual(found.live, {}, number)
            self.assertEqual(found.damaged["a"].name, ".quarantine-2-1", number)
            self.assertEqual(len(found.suspects), 1, number)
            self.again(found)
            self.empty()

    def test_device(self) -> None:
        """A device is not opened, nor read without end: it is damage like the others."""
        for name in (DATA, STATE):
            path = self.file("2", name)

            def harm(path: str = path) -> None:
                os.unlink(path)
                try:
                    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
                except PermissionError as error:
                    raise SkipTest(f"NOT TESTED, no device can be made (root?): {error}") from error

            found = self.damage(harm)
            self.assertEqual([suspect.blob_id for suspect in found.suspects], [2], name)
            self.empty()

    def harmed_records(self, state: bytes) -> list[bytes]:
        """A state file, cut at every byte and with a bit flipped in every byte of its record."""
        line = state.index(b"\n") + 1
        cut = [state[:length] for length in range(line)]
        flipped = [
            state[:at] + bytes([state[at] ^ (1 << at % 8)]) + state[at + 1 :] for at in range(line)
        ]
        return cut + flipped

    def test_every_byte(self) -> None:
        """A record cut or changed at any byte is quarantined, and nothing else is hurt."""
        other = self.commit(1, "b")
        self.commit(2, "a")
        state = self.state("2")
        for harmed in self.harmed_records(state):
            self.put("2", harmed)
            found = scan(self.volume)
            self.assertEqual(found.live, {"b": other.committed()}, harmed)
            self.assertEqual([suspect.blob_id for suspect in found.suspects], [2], harmed)
        self.put("2", state[: state.index(b"\n") + 1])
        self.assertEqual(set(scan(self.volume).live), {"a", "b"})

    def test_records(self) -> None:
        """Another blob's record, a link, a FIFO or a giant for a state file is quarantined."""
        self.commit(1, "b")
        self.commit(2, "a")
        path = self.file("2", STATE)
        makers: list[Callable[[], None]] = [
            lambda: self.put("2", self.state("1")),
            lambda: self.put("2", b"BLOB_BASE64_v1:" + b"A" * 70_000 + b"\n"),
            lambda: os.symlink("../1/" + STATE, path),
            lambda: os.symlink("/etc/passwd", path),
            lambda: os.symlink(STATE, path),
            lambda: os.mkfifo(path),
            lambda: os.mkdir(path),
        ]
        for make in makers:
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
            make()
            found = scan(self.volume)
            self.assertEqual((set(found.live), len(found.suspects)), ({"b"}, 1))

    def test_link_for_a_directory(self) -> None:
        """A link in the place of `<id>` is not followed, but quarantined; a file is foreign."""
        self.commit(1, "a")
        os.rename(self.file("1"), self.file("elsewhere"))
        os.symlink("elsewhere", self.file("1"))
        self.put("", b"", "2")
        found = self.recover()
        self.assertEqual((found.live, sorted(found.foreign)), ({}, ["2", "elsewhere"]))
        self.assertEqual(self.names(), [".quarantine-1-1", "2", "elsewhere"])
        found = self.recover()
        self.assertEqual((found.live, found.damaged), ({}, {}))
        self.assertEqual(found.quarantined, [".quarantine-1-1"])
        self.assertEqual(sorted(os.listdir(self.file("elsewhere"))), [STATE, DATA])

    def test_links_one_after_another(self) -> None:
        """A link that is quarantined does not take the place of one of an earlier start."""
        for where in ("here", "there"):
            os.symlink(where, self.file("1"))
            self.recover()
        aside = self.names()
        self.assertEqual(aside, [".quarantine-1-1", ".quarantine-1-2"])
        self.assertEqual([os.readlink(self.file(name)) for name in aside], ["here", "there"])

    def test_no_record(self) -> None:
        """A directory without a state file was never committed, and is removed."""
        self.put("3", b"x", DATA)
        os.mkdir(self.file("4"))
        found = self.recover()
        self.assertEqual(sorted(found.uncommitted), [3, 4])
        self.assertEqual(set(self.volume.trash.trashed.values()), {3, 4})

    def test_somebodys_directory(self) -> None:
        """A number without a state file that holds anything else is somebody's, and untouched."""
        self.put("2023", b"photo", "a.jpg")
        self.put("2024/trip", b"photo", "b.jpg")
        self.put("2025", b"raw", DATA)
        self.put("2025", b"mine", "notes.txt")
        os.makedirs(self.file("2026", DATA))
        self.put("2027", b"ours", DATA)
        self.put("2027", b"ours", STATE + ".tmp")
        before = sorted(os.walk(self.path))[1:-1]
        found = self.restart()
        with capturedLogs() as logged:
            repair(self.volume, found)
        self.assertEqual(found.uncommitted, [2027])
        foreign = ["2023", "2024", "2025", "2026"]
        self.assertEqual(sorted(found.foreign), foreign)
        self.assertEqual(found.ids, {*map(int, foreign), 2027})
        warned = sorted(map(formatEvent, logged))
        self.assertEqual(len(warned), 5)
        self.assertEqual(
            warned[0], "'2023' in the data directory is not gostore's: it holds 'a.jpg'"
        )
        self.assertEqual(collect(self.volume, found.dead).ids, [2027])
        self.assertEqual(sorted(os.walk(self.path))[1:], before)
        self.assertEqual(scan(self.volume).foreign, found.foreign)

    def test_somebodys_leftovers(self) -> None:
        """A stage or trash that holds anything else is reported, and not removed."""
        for name in (".new-5", ".new-probe", ".trash-6-1"):
            self.put(name, b"raw", DATA)
            self.put(name, b"mine", "notes.txt")
        before = sorted(os.walk(self.path))
        found = self.recover()
        self.assertEqual(sorted(found.foreign), [".new-5", ".new-probe", ".trash-6-1"])
        self.assertEqual((found.leftover, found.ids, self.volume.trash.trashed), ([], {5}, {}))
        self.assertIn("discarded 0, quarantined 0, foreign 3", str(found))
        collect(self.volume, found.dead)
        self.assertEqual(sorted(os.walk(self.path)), before)

    def test_not_seen_whose(self) -> None:
        """What cannot be looked into may be anybody's; want of files says nothing."""
        for name in ("3", ".trash-4-1"):
            self.put(name, b"x", DATA)
        for number in (errno.EACCES, errno.EPERM, errno.EIO):
            self.disk.fail("listdir", number, nth=2, times=FOR_EVER)
            found = scan(self.volume)
            self.assertEqual(sorted(found.foreign), [".trash-4-1", "3"])
            self.assertIn(os.strerror(number), found.foreign["3"])
            self.assertEqual((found.uncommitted, found.leftover), ([], []))
            self.disk.heal()
        self.disk.fail("listdir", errno.EIO, nth=2)
        self.assertEqual(scan(self.volume).foreign, {})
        self.disk.heal()
        self.disk.fail("listdir", errno.EMFILE, nth=2)
        self.assertRaises(VolumeUnusable, scan, self.volume)
        self.assertEqual(self.disk.open_files, [""])

    def test_cost(self) -> None:
        """Only what has no state file is listed."""
        for number in range(1, 20):
            self.commit(number, f"b{number}")
        self.put("20", b"x", DATA)
        self.disk.clear()
        scan(self.volume)
        self.assertEqual(self.disk.trace("listdir"), ["listdir /", "listdir 20"])

    def test_data_not_seen(self) -> None:
        """Where the disk cannot tell what data.raw is, that blob is damaged, and no other."""
        self.commit(1, "a")
        other = self.commit(2, "b")
        self.volume.close()
        self.volume = self.open()
        self.disk.fail("lstat", errno.EIO, name="1/", times=2)
        found = scan(self.volume)
        repair(self.volume, found)
        self.assertEqual((list(found.damaged), found.live), (["a"], {"b": other.committed()}))
        self.assertEqual(self.names(), [".quarantine-1-1", "2"])

    def test_no_files_left(self) -> None:
        """Where it is not the file that fails nothing is judged, neither state nor data: no start.

        Nor is what was quarantined.
        """
        self.commit(1, "a")
        self.commit(2, "b")
        self.volume.trash.quarantine("1")
        for number in (errno.EMFILE, errno.ETIMEDOUT):
            for kind, name in (("open", ".quarantine-1-1"), ("open", "2/"), ("lstat", "2/")):
                self.volume.close()
                self.volume = self.open()
                fault = self.disk.fail(kind, number, name=name)
                error = self.assertRaises(VolumeUnusable, scan, self.volume)
                refused = f"{name.rstrip('/')}: {os.strerror(number)}"
                self.assertEqual((error.reason, fault.seen), (refused, 1))

    def test_passing_failure(self) -> None:
        """A blob that can be read at the second look is not quarantined."""
        # A number that the name of no temporary directory ends with.
        blob = self.commit(123456789, "a").committed()
        for kind in ("open", "pread", "lstat"):
            self.disk.fail(kind, errno.EIO, name="123456789/")
            found = self.recover()
            self.assertEqual((found.live, found.suspects), ({"a": blob}, []))

    def test_replaced_since(self) -> None:
        """A quarantined blob whose location was written or deleted since is given up."""
        found = self.damage(lambda: os.unlink(self.file("2", DATA)))
        self.assertEqual(found.damaged["a"].blob.id, 2)
        new = self.commit(3, "a")
        found = self.recover()
        self.assertEqual((found.live, found.damaged), ({"a": new.committed()}, {}))
        self.assertEqual(found.obsolete, [".quarantine-2-1"])
        self.assertNotIn(".quarantine-2-1", self.names())

    def test_unreadable_quarantine(self) -> None:
        """A quarantined blob whose record is lost stands for no location, and stays."""
        self.put(".quarantine-9-1", b"nonsense")
        found = self.recover()
        self.assertEqual((found.live, found.damaged, found.foreign), ({}, {}, {}))
        self.assertIn(".quarantine-9-1", self.names())
