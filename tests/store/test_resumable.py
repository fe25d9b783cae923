"""Uploads in several requests: what counts, who goes on, what they become, when they are over."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import Any

from twisted.internet.defer import Deferred

from gostore.access.quotas import Quota, Quotas
from gostore.errors import (
    AlreadyExists,
    BodyFailed,
    Busy,
    ChunkMismatch,
    ConditionFailed,
    DigestMismatch,
    DiskFailed,
    LengthChanged,
    NoSpace,
    NotFound,
    NoUpload,
    QuotaExceeded,
    ReadOnly,
    Stopping,
    TakenOver,
    TooLarge,
    UploadOver,
    UploadTooLong,
    WrongOffset,
)
from gostore.store import appending, roster
from gostore.store.interface import Details, Precondition, Versions
from gostore.store.unfinished import Address, Chunk, Standing, Wanted
from gostore.volume.directory import DATA, STATE, kept_name
from tests.store.doubles import SECOND, FakeBody
from tests.store.support import StoreCase

PLAIN = Wanted(Details())
TEXT = "location YQ=="


class ResumableCase(StoreCase):
    """Has a store, and verbs that run to their end."""

    def begin(
        self, length: int | None = 10, wanted: Wanted = PLAIN, location: str = "a", owner: str = ""
    ) -> Address:
        """Begin an upload."""
        asked = self.store.resumable.begin(Address(0, location, owner), TEXT, length, wanted)
        return self.wait(asked)

    def ask(
        self, address: Address, offset: int, body: FakeBody | bytes, **said: Any
    ) -> Deferred[Standing]:
        """Ask to go on with it."""
        body = FakeBody(body) if isinstance(body, bytes) else body
        return self.store.resumable.append(address, Chunk(offset, **said), body)

    def add(self, address: Address, offset: int, data: bytes, **said: Any) -> int:
        """Go on with it; return how far it is."""
        return self.wait(self.ask(address, offset, data, **said)).offset

    def offset(self, address: Address) -> int:
        """How far it is."""
        return self.wait(self.store.resumable.stand(address)).offset

    def finish(self, address: Address, wanted: Wanted = PLAIN) -> Standing:
        """Finish it."""
        return self.wait(self.store.resumable.finish(address, wanted))

    def kept(self) -> list[str]:
        """The kept stages that lie there."""
        return [name for name in self.names() if name.startswith(".upload-")]


class AppendTests(ResumableCase):
    """What counts of what comes."""

    def test_one_after_another(self) -> None:
        """Bytes come in order, and make up a blob when all are here, and not before."""
        address = self.begin()
        self.assertEqual(self.add(address, 0, b"01234"), 5)
        self.fails(self.store.get("a"), NotFound)
        self.assertEqual(self.add(address, 5, b"56789"), 10)
        self.fails(self.store.get("a"), NotFound)
        standing = self.finish(address)
        self.assertEqual(self.read("a"), b"0123456789")
        self.assertEqual(standing.sha256, hashlib.sha256(b"0123456789").digest())
        self.assertEqual(standing.offset, 10)
        self.assertEqual(self.kept(), [])

    def test_restart_between(self) -> None:
        """It goes on after a restart, and its digest is right though its hash was lost."""
        address = self.begin(9000)
        self.add(address, 0, b"a" * 5000)
        self.open()
        self.assertEqual(self.offset(address), 5000)
        self.add(address, 5000, b"b" * 4000)
        self.assertEqual(self.finish(address).sha256, _digest(b"a" * 5000 + b"b" * 4000))
        self.assertEqual(self.read("a"), b"a" * 5000 + b"b" * 4000)
        blob = self.wait(self.store.get("a"))
        self.open()
        self.assertEqual(self.wait(self.store.get("a")).sha256, blob.sha256)

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

    def test_wrong_offset(self) -> None:
        """An offset that is behind or ahead is refused with the right one; nothing is taken."""
        address = self.begin()
        self.add(address, 0, b"01234")
        for offset in (0, 4, 6, 10, 1 << 60):
            body = FakeBody(b"x")
            error = self.fails(self.ask(address, offset, body), WrongOffset)
            self.assertEqual((error.offset, body.delivered), (5, 0))
        self.assertEqual(self.offset(address), 5)

    def test_cut_short(self) -> None:
        """What has come of a body counts when its client goes away."""
        address = self.begin()
        body = FakeBody(b"012", complete=False, length=10)
        asked = self.ask(address, 0, body)
        self.workers.run_all()
        body.feed(b"34")
        body.fail("Client went away")
        self.fails(asked, BodyFailed)
        self.assertEqual(self.offset(address), 5)
        self.open()
        self.assertEqual(self.offset(address), 5)

    def test_too_long(self) -> None:
        """More bytes than the upload has are refused, before the body if that is announced."""
        address = self.begin()
        body = FakeBody(b"0" * 11)
        self.fails(self.ask(address, 0, body), UploadTooLong)
        self.assertEqual(body.delivered, 0)
        self.fails(self.ask(address, 0, FakeBody(b"0" * 6, b"1" * 6, length=None)), UploadTooLong)
        self.assertEqual(self.offset(address), 0)
        self.assertEqual(self.add(address, 0, b"x" * 10), 10)

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

    def test_places(self) -> None:
        """A body takes a place among the uploads in progress, and leaves it."""
        self.open(max_uploads=1)
        first, second = self.begin(), self.begin(location="b")
        body = FakeBody(b"0", complete=False, length=10)
        asked = self.ask(first, 0, body)
        self.workers.run_all()
        self.assertEqual(self.store.uploads, 1)
        self.fails(self.ask(second, 0, b"x"), Busy)
        body.fail()
        self.fails(asked, BodyFailed)
        self.assertEqual(self.add(second, 0, b"x"), 1)
        self.assertEqual((self.store.uploads, self.store.admission.places.taken.total()), (0, 0))

    def test_read_only(self) -> None:
        """A store that may not write takes no bytes."""
        address = self.begin()
        self.volume.directory.give_up("for a test")
        self.fails(self.ask(address, 0, b"x"), ReadOnly)
        asked = self.store.resumable.begin(Address(0, "b"), TEXT, 1, PLAIN)
        self.fails(asked, ReadOnly)
        self.assertEqual(self.offset(address), 0)

    def test_stop(self) -> None:
        """A stop waits for the bytes that have come."""
        address = self.begin()
        body = FakeBody(b"01", complete=False, length=10)
        asked = self.ask(address, 0, body)
        stopped = self.store.stop()
        self.workers.run_all()
        self.assertNoResult(stopped)
        body.fail("Shutting down")
        self.fails(asked, BodyFailed)
        self.workers.run_all()
        self.successResultOf(stopped)
        self.fails(self.ask(address, 2, b"x"), Stopping)
        self.open()
        self.assertEqual(self.offset(address), 2)


class ChecksumTests(ResumableCase):
    """Bytes with a checksum count together, or not at all."""

    def test_right(self) -> None:
        """The right one is good."""
        address = self.begin()
        for offset, data in ((0, b"0123"), (4, b"456789")):
            checksum = "sha256", _digest(data)
            self.assertEqual(self.add(address, offset, data, checksum=checksum), offset + len(data))
        self.finish(address)
        self.assertEqual(self.read("a"), b"0123456789")

    def test_wrong(self) -> None:
        """With a wrong one nothing counts, now and after a restart; the upload goes on."""
        address = self.begin()
        self.add(address, 0, b"0123")
        asked = self.ask(address, 4, b"xxxxxx", checksum=("sha1", bytes(20)))
        self.fails(asked, ChunkMismatch)
        self.assertEqual(self.offset(address), 4)
        self.open()
        self.assertEqual(self.offset(address), 4)
        self.add(address, 4, b"456789")
        self.finish(address)
        self.assertEqual(self.read("a"), b"0123456789")

    def test_half_way(self) -> None:
        """Of a body that ends half-way nothing counts: nobody knows whether it is right."""
        address = self.begin(None)
        body = FakeBody(b"x" * appending.FLUSH_BYTES, complete=False, length=None)
        asked = self.ask(address, 0, body, checksum=("sha256", bytes(32)))
        self.workers.run_all()
        body.feed(b"x" * appending.FLUSH_BYTES)
        self.workers.run_all()
        body.fail()
        self.fails(asked, BodyFailed)
        self.assertEqual(self.offset(address), 0)


class TurnTests(ResumableCase):
    """Two clients on one upload."""

    def test_taken_over(self) -> None:
        """A later request takes over from one that brings bytes; what that has brought counts."""
        address = self.begin()
        body = FakeBody(b"012", complete=False, length=10)
        first = self.ask(address, 0, body)
        self.workers.run_all()
        second = self.ask(address, 3, b"3456789")
        body.feed(b"xxx")
        self.assertEqual(self.wait(second).offset, 10)
        self.failureResultOf(first, TakenOver)
        self.finish(address)
        self.assertEqual(self.read("a"), b"0123456789")

    def test_told(self) -> None:
        """A client who asks how far it is gets what stays so: the old request brings no more."""
        address = self.begin()
        body = FakeBody(b"012", complete=False, length=10)
        first = self.ask(address, 0, body)
        self.assertEqual(self.offset(address), 3)
        self.failureResultOf(first, TakenOver)
        body.feed(b"3")
        self.assertEqual(self.offset(address), 3)

    def test_both_wrong(self) -> None:
        """Of two who go on at one place, one goes on, and the other learns how far it is."""
        address = self.begin()
        first = self.ask(address, 0, b"01234")
        second = self.ask(address, 0, b"56789")
        self.workers.run_all()
        self.assertEqual(self.successResultOf(first).offset, 5)
        self.assertEqual(self.failureResultOf(second, WrongOffset).value.offset, 5)

    def test_finished_twice(self) -> None:
        """It is committed once, however many ask."""
        address = self.begin(3)
        self.add(address, 0, b"abc")
        asked = [self.store.resumable.finish(address, PLAIN) for _ in range(3)]
        self.workers.run_all()
        found = {self.successResultOf(each).sha256 for each in asked}
        self.assertEqual(found, {_digest(b"abc")})
        self.assertEqual(self.store.index.commits, 1)

    def test_over_meanwhile(self) -> None:
        """One that is terminated while others wait is over for them."""
        address = self.begin()
        body = FakeBody(b"012", complete=False, length=10)
        first = self.ask(address, 0, body)
        self.workers.run_all()
        ended = self.store.resumable.terminate(address)
        others = [
            self.store.resumable.stand(address),
            self.ask(address, 3, b"x"),
            self.store.resumable.finish(address, PLAIN),
        ]
        self.workers.run_all()
        self.failureResultOf(first, TakenOver)
        self.successResultOf(ended)
        for each in others:
            self.failureResultOf(each, UploadOver)


class AddressTests(ResumableCase):
    """Who finds an upload."""

    def test_others(self) -> None:
        """All of the number, the location and the owner have to be right, for every verb."""
        address = self.begin(3, owner="user alice")
        for wrong in (
            Address(address.number + 1, "a", "user alice"),
            Address(address.number, "b", "user alice"),
            Address(address.number, "a", "user bob"),
            Address(address.number, "a", ""),
        ):
            self.refuses(wrong)
        self.add(address, 0, b"abc")
        self.finish(address)
        self.assertEqual(self.offset(address), 3)
        self.refuses(Address(address.number, "a", "user bob"))
        self.open()
        self.refuses(Address(address.number, "a", "user bob"))
        self.assertEqual(self.offset(address), 3)

    def refuses(self, address: Address) -> None:
        """There is no such upload."""
        resumable = self.store.resumable
        for asked in (
            resumable.stand(address),
            self.ask(address, 0, b"x"),
            resumable.finish(address, PLAIN),
            resumable.terminate(address),
        ):
            self.fails(asked, NoUpload)


class FinishTests(ResumableCase):
    """What an upload becomes."""

    def complete(self, wanted: Wanted = PLAIN, location: str = "a") -> Address:
        """An upload, all of whose bytes are here."""
        address = self.begin(3, wanted, location)
        self.add(address, 0, b"new")
        return address

    def test_details(self) -> None:
        """The blob has the type and the metadata that are said."""
        details = Details("text/plain", {"x-gostore-meta-a": "1"}, {"sha256": _digest(b"new")})
        self.finish(self.complete(), Wanted(details))
        blob = self.wait(self.store.get("a"))
        self.assertEqual((blob.content_type, blob.metadata), ("text/plain", details.metadata))

    def test_empty(self) -> None:
        """An upload of no bytes is complete when it begins."""
        address = self.begin(0)
        self.assertTrue(self.wait(self.store.resumable.stand(address)).is_complete)
        self.finish(address)
        self.assertEqual(self.read("a"), b"")

    def test_incomplete(self) -> None:
        """An upload that is not complete is not finished."""
        self.fails(self.store.resumable.finish(self.begin(), PLAIN), WrongOffset)
        self.fails(self.store.resumable.finish(self.begin(None), PLAIN), WrongOffset)
        self.assertEqual(len(self.store.resumable), 2)

    def test_created_meanwhile(self) -> None:
        """It is over if another has created the location; that one keeps its bytes."""
        address = self.complete()
        self.store_blob("a", b"other")
        self.fails(self.store.resumable.finish(address, PLAIN), AlreadyExists)
        error = self.fails(self.store.resumable.stand(address), UploadOver)
        self.assertIn("already exists", str(error))
        self.assertEqual(self.read("a"), b"other")
        self.collect()
        self.assertEqual(len(self.names()), 1)

    def test_created_at_the_last_moment(self) -> None:
        """The check at the commit decides."""
        address = self.complete()
        finished = self.store.resumable.finish(address, PLAIN)
        created = self.store.create("a", FakeBody(b"other"), Details())
        self.workers.run_all()
        self.successResultOf(created)
        self.failureResultOf(finished, AlreadyExists)
        self.assertEqual(self.read("a"), b"other")

    def test_refused_at_once(self) -> None:
        """What could become nothing now does not begin."""
        blob = self.store_blob("a", b"old")
        begin = self.store.resumable.begin
        exact = Precondition(Versions(frozenset({"0" * 64})))
        for wanted, location, error in (
            (PLAIN, "a", AlreadyExists),
            (Wanted(Details(), None, exists=True), "b", NotFound),
            (Wanted(Details(), exact, exists=True), "a", ConditionFailed),
        ):
            self.fails(begin(Address(0, location), TEXT, 3, wanted), error)
        self.assertEqual((self.kept(), len(self.store.resumable)), ([], 0))
        self.assertIsNotNone(blob.sha256)
        exact = Precondition(Versions(frozenset({blob.sha256.hex()})))
        wanted = Wanted(Details(), exact, exists=True)
        self.finish(self.complete(wanted), wanted)
        self.assertEqual(self.read("a"), b"new")

    def test_replaced_meanwhile(self) -> None:
        """A condition that held at the beginning is checked again at the commit."""
        blob = self.store_blob("a", b"old")
        wanted = Wanted(Details(), Precondition(Versions(frozenset({blob.sha256.hex()}))), True)
        address = self.complete(wanted)
        self.store_blob("a", b"other")
        self.fails(self.store.resumable.finish(address, wanted), ConditionFailed)
        self.fails(self.store.resumable.stand(address), UploadOver)
        self.assertEqual(self.read("a"), b"other")

    def test_wrong_digest(self) -> None:
        """A blob that would not have the digest that was announced is none, and the upload over."""
        address = self.complete()
        wanted = Wanted(Details(digests={"sha256": bytes(32)}))
        self.fails(self.store.resumable.finish(address, wanted), DigestMismatch)
        self.fails(self.store.resumable.stand(address), UploadOver)
        self.fails(self.store.get("a"), NotFound)

    def test_lost_answer(self) -> None:
        """One that is finished says so, also after a restart, as long as its blob is there."""
        address = self.complete()
        standing = self.finish(address)
        for _ in range(2):
            again = self.wait(self.store.resumable.stand(address))
            self.assertEqual((again.offset, again.length), (3, 3))
            self.assertEqual(again.sha256, standing.sha256)
            self.assertEqual(self.finish(address).sha256, standing.sha256)
            self.assertEqual(self.add(address, 3, b""), 3)
            self.fails(self.ask(address, 0, b"x"), WrongOffset)
            self.fails(self.store.resumable.terminate(address), UploadOver)
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
        self.assertEqual(self.finish(address).sha256, _digest(b"new"))
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


class LengthTests(ResumableCase):
    """A length that is said later."""

    def test_later(self) -> None:
        """It is said with any bytes, or with none, and lasts."""
        for data in (b"c", b""):
            address = self.begin(None)
            self.assertIsNone(self.wait(self.store.resumable.stand(address)).length)
            self.add(address, 0, b"ab")
            self.add(address, 2, data, length=3)
            self.open()
            self.assertEqual(self.wait(self.store.resumable.stand(address)).length, 3)
            self.wait(self.store.resumable.terminate(address))

    def test_changed(self) -> None:
        """It does not change, and is not less than what has come."""
        address = self.begin(None)
        self.add(address, 0, b"abc")
        self.fails(self.ask(address, 3, b"", length=2), LengthChanged)
        self.add(address, 3, b"d", length=5)
        self.fails(self.ask(address, 4, b"", length=6), LengthChanged)
        self.assertEqual(self.add(address, 4, b"e", length=5), 5)

    def test_limit(self) -> None:
        """It obeys max-blob-size, as bytes of a length that is not known do."""
        self.open(max_blob_size=10)
        begin = self.store.resumable.begin
        self.fails(begin(Address(0, "a"), TEXT, 11, PLAIN), TooLarge)
        address = self.begin(None)
        self.fails(self.ask(address, 0, b"", length=11), TooLarge)
        self.fails(self.ask(address, 0, b"x" * 11), TooLarge)
        self.fails(self.ask(address, 0, FakeBody(b"x" * 11, length=None)), TooLarge)
        self.assertEqual(self.add(address, 0, b"x" * 10), 10)


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


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
