"""gostore.volume.recovery.records: a start with the cache finds what a start without it finds."""

from __future__ import annotations

import errno
import os
import random
import shutil
import socket
from collections.abc import Callable
from typing import Any

from attrs import fields
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gostore.blob import Blob
from gostore.volume.changes import Commit
from gostore.volume.directory import DATA, RECORDS, RECORDS_TMP, STATE
from gostore.volume.disk import CTIME_TRUSTED, Disk, file_system
from gostore.volume.recovery import records
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.records import RecordWriter
from gostore.volume.recovery.scan import scan
from tests.store.doubles import FOR_EVER
from tests.volume.support import RecoveryCase

BLOBS = 5


class RecordsCase(RecoveryCase):
    """A directory of a few blobs, and its cache."""

    def setUp(self) -> None:
        super().setUp()
        self.disk.ctime_is_trusted = True

    def wait_for_the_clock(self) -> None:
        """Until what changes now gets another ctime than what has changed so far."""
        path = f"{self.path}-clock"

        def now() -> int:
            with open(path, "w"):
                return os.stat(path).st_mtime_ns

        begun = now()
        while now() == begun:
            pass

    def write(self, *, may_look: bool = True, recent: int = 0) -> None:
        """Write the cache."""
        self.wait_for_the_clock()
        writer = RecordWriter(self.volume.directory, 0, recent)
        self.assertTrue(writer.begin())
        live = scan(self.volume, afresh=True).live
        writer.add([live[location] for location in sorted(live)], may_look)
        writer.finish()
        self.wait_for_the_clock()

    def fill(self) -> None:
        """Commit some blobs, with labels and without."""
        for blob_id in range(1, BLOBS + 1):
            blob = self.start(blob_id, f"caf\u00e9/{blob_id}")
            if blob_id % 2:
                blob.content_type = "text/plain"
                blob.metadata = {"x-gostore-meta-a": "\u00e4\n"} if blob_id > 2 else {}
                blob.expires = blob_id - 1
            change = Commit(self.finish(blob, b"data %d" % blob_id), b"data %d" % blob_id)
            self.assertEqual(self.volume.protocol.carry_out([change]), [None])

    def assert_same(self, trusted: int | None = None) -> Findings:
        """A scan with the cache finds what a scan without it does."""
        found = scan(self.volume)
        self.assertEqual(told(found), told(scan(self.volume, afresh=True)))
        if trusted is not None:
            self.assertEqual(found.trusted, trusted)
        return found


def told(found: Findings) -> dict[str, Any]:
    """Everything that a scan has found, in no order."""
    return {
        each.name: sorted(map(repr, value)) if isinstance(value, list) else value
        for each in fields(Findings)
        if each.name != "trusted"
        for value in [getattr(found, each.name)]
    }


class RecordsTests(RecordsCase):
    """The cache as it is meant to be."""

    def test_trusted(self) -> None:
        """What is in the cache is not read again, and is the same, labels and all."""
        self.fill()
        self.write()
        self.disk.clear()
        found = self.assert_same(BLOBS)
        self.assertEqual(len(found.live), BLOBS)
        self.disk.clear()
        scan(self.volume)
        self.assertEqual(
            [call for call in self.disk.calls if STATE in call.name and call.kind != "peek"], []
        )

    def test_what_is_new_is_read(self) -> None:
        """Blobs that came, went or were replaced since are as they are, whatever the cache has."""
        self.fill()
        self.write()
        self.commit(11, "new")
        self.commit(12, "caf\u00e9/1")
        self.delete(self.restart_blob("caf\u00e9/2"))
        found = self.assert_same(BLOBS - 1)
        self.assertEqual(found.live["caf\u00e9/1"].id, 12)
        self.assertEqual([dead.id for dead in found.dead], [2, 1])

    def restart_blob(self, location: str) -> Blob:
        """The blob at a location, to be deleted."""
        return Blob.of(scan(self.volume).live[location])

    def test_recent(self) -> None:
        """A file that changed in the last two seconds is not trusted: it may change once more."""
        self.fill()
        self.write(recent=records.RECENT)
        self.assertEqual((self.assert_same(0).live != {}, self.names().count(RECORDS)), (True, 0))

    def test_carried_over(self) -> None:
        """A writer that may not look at files keeps what the old cache has."""
        self.fill()
        self.write()
        self.commit(11, "new")
        self.disk.clear()
        writer = RecordWriter(self.volume.directory, 0)
        writer.begin()
        live = scan(self.volume).live
        self.disk.clear()
        writer.add([live[location] for location in sorted(live)], may_look=False)
        writer.finish()
        self.assertEqual([call for call in self.disk.calls if STATE in call.name], [])
        self.assert_same(BLOBS)

    def test_a_stale_row_is_made_anew(self) -> None:
        """A writer that may look reads what is not as the old cache has it, after a copy say."""
        self.fill()
        self.write()
        self.volume.close()
        shutil.copytree(self.path, f"{self.path}-copy")
        self.path += "-copy"
        self.volume = self.open()
        self.assert_same(0)
        self.write()
        self.assert_same(BLOBS)

    def test_many(self) -> None:
        """More blobs than one block holds are all there."""
        self.patch(records, "_ROWS", 2)
        self.fill()
        self.write()
        self.assert_same(BLOBS)
        with open(self.file(RECORDS), "r+b") as file:
            file.truncate(os.path.getsize(self.file(RECORDS)) - 1)
        self.assert_same(BLOBS - 1)

    def test_long_locations_end_a_block(self) -> None:
        """A block that a start would not read for its length is not written."""
        self.patch(records, "_BLOCK", 10)
        self.patch(records, "_LONGEST", 400)
        self.fill()
        self.write()
        self.assert_same(BLOBS)

    def test_other_file_systems(self) -> None:
        """Where a ctime says nothing there is no cache, and none is believed."""
        self.fill()
        self.write()
        self.disk.ctime_is_trusted = False
        self.assert_same(0)
        self.assertFalse(RecordWriter(self.volume.directory, 0).begin())
        self.assertNotIn(RECORDS_TMP, self.names())

    def test_which_file_systems(self) -> None:
        """The ones of this machine are told from those of others by name."""
        root = self.volume.directory.root
        self.assertEqual(Disk.ctime_trusted(root), file_system(root) in CTIME_TRUSTED)
        self.assertTrue(CTIME_TRUSTED.isdisjoint({"nfs", "nfs4", "fuse", "fuseblk", "vfat", ""}))

    def test_the_reserve(self) -> None:
        """No room that others may need is taken: the old cache stays, and nothing beside it."""
        self.fill()
        writer = RecordWriter(self.volume.directory, 1 << 60, -(1 << 60))
        writer.begin()
        writer.add(scan(self.volume).live.values())
        error = self.assertRaises(OSError, writer.finish)
        writer.abandon()
        self.assertEqual(error.errno, errno.ENOSPC)
        self.assertEqual([name for name in self.names() if name.startswith(".rec")], [])

    def test_a_crashed_writer(self) -> None:
        """What a crash left of a writing is neither foreign nor in the way."""
        self.fill()
        self.put("", b"torn", RECORDS_TMP)
        self.assertEqual(self.assert_same(0).foreign, {})
        self.write()
        self.assert_same(BLOBS)

    def test_not_a_file(self) -> None:
        """A link, a FIFO, a socket or a directory of its name is as good as no cache."""
        self.fill()
        self.write()
        os.rename(self.file(RECORDS), f"{self.path}-moved")

        def bound() -> None:
            with socket.socket(socket.AF_UNIX) as server:
                here = os.getcwd()
                os.chdir(self.path)
                try:
                    server.bind(RECORDS)
                finally:
                    os.chdir(here)

        makers: list[Callable[[], object]] = [
            lambda: os.symlink(f"{self.path}-moved", self.file(RECORDS)),
            lambda: os.mkfifo(self.file(RECORDS)),
            bound,
        ]
        for make in makers:
            make()
            self.assertEqual(self.assert_same(0).foreign, {})
            self.write()
            self.assert_same(BLOBS)
            os.unlink(self.file(RECORDS))
        os.mkdir(self.file(RECORDS))
        self.assertEqual(self.assert_same(0).foreign, {RECORDS: ""})
        self.assertRaises(OSError, self.write)

    def test_huge(self) -> None:
        """A huge file costs nothing: reading ends at the first block that is none."""
        self.fill()
        self.write()
        with open(self.file(RECORDS), "r+b") as file:
            file.truncate(1 << 40)
        self.disk.clear()
        self.assert_same(BLOBS)
        self.assertLess(self.disk.count("pread"), 100)

    def test_any_byte(self) -> None:
        """A cache with any byte changed, or cut off anywhere, misleads nobody."""
        self.fill()
        self.write()
        with open(self.file(RECORDS), "rb") as file:
            whole = file.read()
        wanted = told(scan(self.volume, afresh=True))
        rng = random.Random(1)
        for at in sorted(rng.sample(range(len(whole)), 150)):
            spoilt = bytearray(whole)
            spoilt[at] ^= 1 << rng.randrange(8)
            for text in (bytes(spoilt), whole[:at]):
                self.put("", text, RECORDS)
                found = scan(self.volume)
                self.assertEqual((told(found), found.trusted), (wanted, 0))

    def test_every_call_fails(self) -> None:
        """Whatever call for the cache fails, a start finds the same, and nothing stays open."""
        self.fill()
        self.write()
        wanted = told(scan(self.volume, afresh=True))
        opened = len(self.disk.open_files)
        for kind in ("open", "fstat", "pread"):
            self.disk.fail(kind, name=RECORDS, times=FOR_EVER)
            found = scan(self.volume)
            self.assertEqual((told(found), found.trusted), (wanted, 0))
            self.disk.heal()
        for name in (STATE, DATA):
            self.disk.fail("peek", name=f"1/{name}", times=FOR_EVER)
            found = scan(self.volume)
            self.assertEqual((told(found), found.trusted), (wanted, BLOBS - 1))
            self.disk.heal()
        self.assertEqual(len(self.disk.open_files), opened)

    def test_every_call_of_a_writing_fails(self) -> None:
        """Whatever call of a writing fails, the old cache or the new one is there, and whole."""
        self.fill()
        self.write()
        live = scan(self.volume).live
        nth = 0
        while True:
            nth += 1
            opened = len(self.disk.open_files)
            fault = self.disk.fail(None, errno.EIO, nth=nth)
            writer = RecordWriter(self.volume.directory, 0, 0)
            try:
                writer.begin()
                writer.add([live[location] for location in sorted(live)])
                writer.finish()
            except OSError:
                writer.abandon()
            self.disk.heal()
            self.assertEqual(len(self.disk.open_files), opened)
            found = self.assert_same()
            self.assertGreaterEqual(found.trusted, BLOBS - 1)
            if fault.seen < nth:
                break
            self.write()
        self.assertGreater(nth, 10)


class EditedTests(RecordsCase):
    """Somebody else works in the directory between two starts."""

    @given(st.data())
    @settings(
        max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    def test_any_edit(self, data: st.DataObject) -> None:
        """Whatever was done to a directory, a start with the cache finds what one without does."""
        self.volume.close()
        shutil.rmtree(self.path)
        self.volume = self.open()
        self.generation = 0
        self.fill()
        self.write()
        edits = data.draw(
            st.lists(
                st.tuples(st.sampled_from(EDITS), st.integers(1, BLOBS), st.integers(0, 1 << 16)),
                min_size=1,
                max_size=3,
            )
        )
        for edit, blob_id, number in edits:
            if os.path.isdir(self.file(str(blob_id))):
                edit(self, str(blob_id), number)
        self.assert_same()
        if os.path.isfile(self.file(RECORDS)) or not os.path.lexists(self.file(RECORDS)):
            self.write()
            self.assert_same()


def _flip(case: RecordsCase, path: str, number: int) -> None:
    """Change one byte in place."""
    if os.path.isfile(case.file(path)) and (size := os.path.getsize(case.file(path))):
        with open(case.file(path), "r+b") as file:
            file.seek(number % size)
            old = file.read(1)
            file.seek(number % size)
            file.write(bytes([old[0] ^ 1]))


def _flip_state(case: RecordsCase, name: str, number: int) -> None:
    # In the line that counts.
    _flip(case, f"{name}/{STATE}", number % 500)


def _flip_data(case: RecordsCase, name: str, number: int) -> None:
    _flip(case, f"{name}/{DATA}", number)


def _flip_records(case: RecordsCase, name: str, number: int) -> None:
    _flip(case, RECORDS, number)


def _cut(case: RecordsCase, path: str, number: int) -> None:
    if os.path.isfile(case.file(path)):
        os.truncate(case.file(path), number % (os.path.getsize(case.file(path)) + 5))


def _cut_state(case: RecordsCase, name: str, number: int) -> None:
    _cut(case, f"{name}/{STATE}", number)


def _cut_data(case: RecordsCase, name: str, number: int) -> None:
    _cut(case, f"{name}/{DATA}", number)


def _cut_records(case: RecordsCase, name: str, number: int) -> None:
    _cut(case, RECORDS, number)


def _remove(case: RecordsCase, name: str, number: int) -> None:
    path = case.file(name, (STATE, DATA)[number % 2])
    if os.path.exists(path):
        os.unlink(path)


def _remove_all(case: RecordsCase, name: str, number: int) -> None:
    shutil.rmtree(case.file(name))


def _link(case: RecordsCase, name: str, number: int) -> None:
    """Give a second name to a file, or a link in the place of the directory."""
    if number % 2:
        os.rename(case.file(name), f"{case.path}-{name}-{number}")
        os.symlink(f"{case.path}-{name}-{number}", case.file(name))
    elif os.path.isfile(case.file(name, DATA)):
        os.link(case.file(name, DATA), f"{case.path}-{case.mktemp().replace(os.sep, '-')}")


def _swap(case: RecordsCase, name: str, number: int) -> None:
    """Exchange two directories."""
    other = case.file(str(number % BLOBS + 1))
    if os.path.isdir(other) and not os.path.islink(other) and other != case.file(name):
        os.rename(case.file(name), f"{case.path}-swap")
        os.rename(other, case.file(name))
        os.rename(f"{case.path}-swap", other)


def _copy(case: RecordsCase, name: str, number: int) -> None:
    """Put an exact copy in the place of a directory, or of another one."""
    target = case.file(str(number % BLOBS + 1))
    shutil.copytree(case.file(name), f"{case.path}-copied", symlinks=True)
    if os.path.islink(target) or not os.path.isdir(target):
        shutil.rmtree(f"{case.path}-copied")
        return
    shutil.rmtree(target)
    os.rename(f"{case.path}-copied", target)


def _serve(case: RecordsCase, name: str, number: int) -> None:
    """Another daemon: it deletes or replaces a blob, and may use its id again."""
    blob = scan(case.volume, afresh=True).live.get(f"caf\u00e9/{name}")
    if blob is None or str(blob.id) != name:
        return
    if number % 3:
        case.delete(Blob.of(blob))
    if number % 3 == 2:
        shutil.rmtree(case.file(name))
        case.commit(int(name), f"caf\u00e9/{number % BLOBS + 1}", b"other")
    elif number % 3 == 0:
        case.commit(100 + case.generation, blob.location, b"newer")


def _replace_records(case: RecordsCase, name: str, number: int) -> None:
    if os.path.lexists(case.file(RECORDS)):
        os.unlink(case.file(RECORDS))
    if number % 2:
        os.mkfifo(case.file(RECORDS))


EDITS = (
    _flip_state,
    _flip_data,
    _flip_records,
    _cut_state,
    _cut_data,
    _cut_records,
    _remove,
    _remove_all,
    _link,
    _swap,
    _copy,
    _serve,
    _replace_records,
)
