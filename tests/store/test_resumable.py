"""Uploads in several requests: what counts, who goes on, what they become, when they are over."""

from __future__ import annotations

import errno
import os

from gostore.access.quotas import Quota, Quotas
from gostore.errors import (
    AlreadyExists,
    DiskFailed,
    NoSpace,
    NoUpload,
    QuotaExceeded,
    ReadOnly,
    Stopping,
    UploadOver,
)
from gostore.places import Places
from gostore.store import appending, roster
from gostore.store.interface import Details
from gostore.store.unfinished import Address
from gostore.volume.directory import DATA, STATE, kept_name
from tests.store import uploads_contract as contract
from tests.store.doubles import SECOND, FakeBody
from tests.store.support import StoreCase
from tests.store.uploads_contract import PLAIN, TEXT, digest_of


class ResumableCase(StoreCase, contract.UploadsCase):
    """Has a store on a directory."""

    much = appending.FLUSH_BYTES

    def settle(self) -> object:
        return self.workers.run_all()

    def kept(self) -> list[str]:
        return [name for name in self.names() if name.startswith(".upload-")]

    def left(self) -> list[str]:
        return self.names()

    def unfinished(self) -> int:
        return len(self.store.resumable)

    def commits(self) -> int:
        return self.store.index.commits

    def places(self) -> Places:
        return self.store.admission.places


class AppendTests(ResumableCase, contract.AppendContract):
    """What counts of what comes."""

    def test_only_flushed(self) -> None:
        """An offset that is told has been flushed before, with the note that says so."""
        address = self.begin()
        self.disk.clear()
        self.add(address, 0, b"01234")
        trace = self.disk.trace("pwrite", "fdatasync")
        name = kept_name(address.number)
        self.assertEqual(
            trace,
            [f"{kind} {name}/{file}" for file in (DATA, STATE) for kind in ("pwrite", "fdatasync")],
        )

    def test_slow(self) -> None:
        """What comes slowly or in masses is flushed on its way, and counts after a kill."""
        address = self.begin(None)
        body = FakeBody(b"a" * 3, complete=False, length=None)
        self.ask(address, 0, body)
        self.workers.run_all()
        self.assertNotIn("flush", self.workers.names())
        self.timer.time += appending.FLUSH_SECONDS
        body.feed(b"b")
        self.workers.run_all()
        body.feed(b"c")
        self.workers.run_all()
        self.open()
        self.assertEqual(self.offset(address), 4)
        body = FakeBody(b"d" * appending.FLUSH_BYTES, complete=False, length=None)
        self.ask(address, 4, body)
        self.workers.run_all()
        body.feed(b"e")
        self.workers.run_all()
        self.open()
        self.assertEqual(self.offset(address), 4 + appending.FLUSH_BYTES)

    def test_paused(self) -> None:
        """A body that comes faster than the disk takes it is paused, and resumed."""
        address = self.begin(None)
        body = FakeBody(b"x" * (2 << 20), complete=False, length=None)
        asked = self.ask(address, 0, body)
        self.assertTrue(body.paused)
        self.workers.run_all()
        self.assertFalse(body.paused)
        body.finish()
        self.assertEqual(self.wait(asked).offset, 2 << 20)

    def test_read_only(self) -> None:
        """A store that may not write takes no bytes."""
        address = self.begin()
        self.volume.directory.give_up("for a test")
        self.fails(self.ask(address, 0, b"x"), ReadOnly)
        asked = self.store.resumable.begin(Address(0, "b"), TEXT, 1, PLAIN)
        self.fails(asked, ReadOnly)
        self.assertEqual(self.offset(address), 0)


class ChecksumTests(ResumableCase, contract.ChecksumContract):
    """Bytes with a checksum count together, or not at all."""


class TurnTests(ResumableCase, contract.TurnContract):
    """Two clients on one upload."""


class AddressTests(ResumableCase, contract.AddressContract):
    """Who finds an upload."""


class FinishTests(ResumableCase, contract.FinishContract):
    """What an upload becomes."""

    def test_created_at_the_last_moment(self) -> None:
        """The check at the commit decides."""
        address = self.complete()
        finished = self.store.resumable.finish(address, PLAIN)
        created = self.store.create("a", FakeBody(b"other"), Details())
        self.workers.run_all()
        self.successResultOf(created)
        self.failureResultOf(finished, AlreadyExists)
        self.assertEqual(self.read("a"), b"other")

    def test_replaced_after_a_restart(self) -> None:
        """Nobody remembers one after a restart whose blob was replaced."""
        address = self.complete()
        self.finish(address)
        self.open()
        self.store_blob("a", b"other")
        self.fails(self.store.resumable.stand(address), NoUpload)

    def test_failed_commit(self) -> None:
        """After a commit that failed for lack of room it is finished later, and no id is lost."""
        for kind, name in (("rename", ".upload-"), ("open", ".tmp"), ("fsync", ".tmp")):
            address = self.complete(location=f"{kind}{name}")
            taken = len(self.store.index.ids)
            self.disk.fail(kind, errno.ENOSPC, name=name)
            wanted = self.store.resumable.finish(address, PLAIN)
            self.fails(wanted, NoSpace)
            self.disk.heal()
            self.assertEqual(len(self.store.index.ids), taken)
            self.assertEqual(self.offset(address), 3)
            self.open()
            self.assertEqual(self.offset(address), 3)
            self.finish(address)
            self.assertEqual(self.read(f"{kind}{name}"), b"new")

    def test_unknown_outcome(self) -> None:
        """If the flush after the rename fails, a restart tells whether it is a blob."""
        address = self.complete()
        self.disk.fail("fsync", errno.EIO, name="", nth=3)
        self.fails(self.store.resumable.finish(address, PLAIN), DiskFailed)
        self.assertIsNotNone(self.volume.broken)
        self.open()
        self.assertEqual(self.finish(address).sha256, digest_of(b"new"))
        self.assertEqual(self.read("a"), b"new")

    def test_stop_while_hashing(self) -> None:
        """A stop does not wait for a long file to be hashed; the upload stays complete."""
        address = self.complete()
        self.open()
        asked = self.store.resumable.finish(address, PLAIN)
        while "feed" not in self.workers.names():
            self.workers.run()
        stopped = self.store.stop()
        self.fails(asked, Stopping)
        self.workers.run_all()
        self.successResultOf(stopped)
        self.open()
        self.finish(address)
        self.assertEqual(self.read("a"), b"new")

    def test_changed_by_hand(self) -> None:
        """One whose files somebody has spoilt is over."""
        for spoil in (
            lambda path: os.unlink(path / DATA),
            lambda path: os.unlink(path / STATE),
            lambda path: (path / DATA).write_bytes(b"a" * 4095),
            lambda path: (path / STATE).write_bytes(b""),
        ):
            address = self.begin(5001)
            self.add(address, 0, b"a" * 5000)
            spoil(self.directory / kept_name(address.number))
            self.workers.run_all()
            self.fails(self.ask(address, 5000, b"b"), UploadOver)
            self.fails(self.store.resumable.stand(address), UploadOver)
            self.collect()


class LengthTests(ResumableCase, contract.LengthContract):
    """A length that is said later."""


class ExpiryTests(ResumableCase):
    """Uploads that nobody goes on with."""

    def test_expires(self) -> None:
        """One is forgotten when its time is over, counted from the last bytes, and is removed."""
        old, young = self.begin(), self.begin(location="b")
        self.clock.time += 86_000 * SECOND
        self.add(young, 0, b"x")
        standing = self.wait(self.store.resumable.stand(young))
        self.assertGreater(standing.expires, self.clock.time + 86_000 * SECOND)
        self.clock.time += 1_000 * SECOND
        self.collect()
        self.fails(self.store.resumable.stand(old), UploadOver)
        self.assertEqual(self.offset(young), 1)
        self.collect()
        self.assertEqual(len(self.names()), 1)
        self.open()
        self.fails(self.store.resumable.stand(old), NoUpload)
        self.assertEqual(self.offset(young), 1)

    def test_expires_after_restart(self) -> None:
        """The time of one goes on across a restart, and by the setting of that."""
        address = self.begin()
        self.open()
        self.store.resumable.expires = 50.0
        self.clock.time += 100 * SECOND
        self.collect()
        self.fails(self.store.resumable.stand(address), UploadOver)

    def test_in_use(self) -> None:
        """One that somebody goes on with does not expire."""
        address = self.begin()
        body = FakeBody(b"01", complete=False, length=10)
        asked = self.ask(address, 0, body)
        self.workers.run_all()
        self.clock.time += 200_000 * SECOND
        self.collect()
        body.finish(b"23456789")
        self.assertEqual(self.wait(asked).offset, 10)

    def test_terminate(self) -> None:
        """One is forgotten when its client says so, durably."""
        address = self.begin()
        self.disk.clear()
        self.wait(self.store.resumable.terminate(address))
        renamed = f"rename {kept_name(address.number)} -> .trash-{address.number}-1"
        self.assertEqual(self.disk.trace("rename", "fsync"), [renamed, "fsync /"])
        self.open()
        self.fails(self.store.resumable.stand(address), NoUpload)

    def test_not_removed(self) -> None:
        """What cannot be renamed is found by the next start, and still there."""
        address = self.begin()
        self.disk.fail("rename", errno.EIO)
        self.fails(self.store.resumable.terminate(address), DiskFailed)
        self.open()
        self.assertEqual(self.offset(address), 0)

    def test_removed_later(self) -> None:
        """What cannot be renamed is tried again by each run of the collector."""
        address = self.begin()
        self.disk.fail("rename", errno.EIO, times=2)
        self.fails(self.store.resumable.terminate(address), DiskFailed)
        logged = self.logged("{name} is not removed")
        self.collect()
        self.assertEqual((len(self.kept()), len(logged)), (1, 1))
        self.collect()
        self.collect()
        self.assertEqual(self.names(), [])

    def test_memory(self) -> None:
        """Of those that are over not all are remembered."""
        self.patch(roster, "_REMEMBERED", 2)
        addresses = [self.begin(location=name) for name in "abc"]
        for address in addresses:
            self.wait(self.store.resumable.terminate(address))
        self.fails(self.store.resumable.stand(addresses[0]), NoUpload)
        self.fails(self.store.resumable.stand(addresses[2]), UploadOver)


class RoomTests(ResumableCase):
    """Space and quotas."""

    def quota(self, size: int, count: int | None = None) -> Quotas:
        """A store with a quota for everything."""
        quotas = Quotas([Quota("", size, count)])
        self.open(ledger=quotas)
        return quotas

    def test_quota(self) -> None:
        """An upload counts in full from its beginning, and until it is over."""
        quotas = self.quota(20)
        address = self.begin(15)
        asked = self.store.resumable.begin(Address(0, "b"), TEXT, 6, PLAIN)
        self.fails(asked, QuotaExceeded)
        self.fails(self.store.create("b", FakeBody(b"x" * 6), Details()), QuotaExceeded)
        self.add(address, 0, b"x" * 15)
        self.finish(address)
        (usage,) = quotas.usages()
        self.assertEqual((usage.size, usage.count), (15, 1))
        self.assertEqual((usage.claimed_size, usage.claimed_count), (0, 0))
        self.wait(self.store.resumable.terminate(self.begin(5, location="b")))
        self.assertEqual((usage.claimed_size, usage.claimed_count), (0, 0))

    def test_quota_after_restart(self) -> None:
        """It counts after a restart, too."""
        self.quota(20)
        self.begin(15)
        self.quota(20)
        self.fails(self.store.create("b", FakeBody(b"x" * 6), Details()), QuotaExceeded)

    def test_quota_of_unknown_length(self) -> None:
        """If the length is unknown, what has come counts; no more comes than there is room for."""
        quotas = self.quota(20)
        address = self.begin(None)
        self.add(address, 0, b"x" * 15)
        self.assertEqual(quotas.usages()[0].claimed_size, 15)
        self.fails(self.ask(address, 15, FakeBody(b"x" * 6, length=None)), QuotaExceeded)
        self.fails(self.ask(address, 15, b"", length=21), QuotaExceeded)
        self.assertEqual(self.add(address, 15, b"x" * 5, length=20), 20)
        self.finish(address)
        self.assertEqual(quotas.usages()[0].claimed_size, 0)

    def test_quota_lowered(self) -> None:
        """A quota that is lowered meanwhile is obeyed at the commit; raised, it goes on."""
        quotas = self.quota(20)
        address = self.begin(15)
        self.add(address, 0, b"x" * 15)
        quotas.change([Quota("", 10)], lambda *_: [], lambda go_on: go_on())
        self.store.resumable.claim_anew()
        self.fails(self.store.resumable.finish(address, PLAIN), QuotaExceeded)
        quotas.change([Quota("", 15)], lambda *_: [], lambda go_on: go_on())
        self.store.resumable.claim_anew()
        self.finish(address)
        self.assertEqual(quotas.usages()[0].size, 15)

    def test_full_disk(self) -> None:
        """A full disk in the middle keeps what was flushed; it goes on when there is room."""
        address = self.begin()
        self.add(address, 0, b"01234")
        for kind in ("pwrite", "ftruncate"):
            self.disk.fail(kind, errno.ENOSPC, name=DATA)
            self.fails(self.ask(address, 5, b"56789"), NoSpace)
            self.disk.heal()
            self.assertEqual(self.offset(address), 5)
        self.disk.room = (0, 1 << 41)
        self.fails(self.ask(address, 5, FakeBody(b"5", length=None)), NoSpace)
        self.disk.room = (1 << 40, 1 << 41)
        self.add(address, 5, b"56789")
        self.finish(address)
        self.assertEqual(self.read("a"), b"0123456789")

    def test_no_space_to_begin(self) -> None:
        """One for which there is no room does not begin, nor does one that cannot be made."""
        self.store.admission.free = 100
        self.fails(self.store.resumable.begin(Address(0, "a"), TEXT, 101, PLAIN), NoSpace)
        self.store.admission.free = 1 << 40
        for kind, name in (("mkdir", ""), ("open", STATE), ("fsync", STATE), ("fsync", ".upload")):
            self.disk.fail(kind, errno.ENOSPC, name=name)
            self.fails(self.store.resumable.begin(Address(0, "a"), TEXT, 1, PLAIN), NoSpace)
            self.disk.heal()
        self.collect()
        self.assertEqual((self.names(), len(self.store.resumable)), ([], 0))

    def test_lost_flush(self) -> None:
        """After a flush that failed the upload is over: nobody knows what the disk has."""
        for file in (DATA, STATE):
            address = self.begin()
            self.disk.fail("fdatasync", errno.EIO, name=file)
            self.fails(self.ask(address, 0, b"x"), DiskFailed)
            self.disk.heal()
            self.fails(self.store.resumable.stand(address), UploadOver)

    def test_figures(self) -> None:
        """It counts the uploads, and their bytes."""
        self.add(self.begin(), 0, b"abc")
        self.begin(location="b")
        resumable = self.store.resumable
        self.assertEqual((len(resumable), resumable.size), (2, 3))
