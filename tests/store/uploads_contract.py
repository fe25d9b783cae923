"""What every provider's uploads in several requests do; each provider has these as its tests.

A provider's case opens a store. `open` opens another one on what the one before has left, be it a
start of the daemon or another daemon.
"""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gostore.errors import (
    AlreadyExists,
    BodyFailed,
    Busy,
    ChunkMismatch,
    ConditionFailed,
    DigestMismatch,
    LengthChanged,
    NotFound,
    NoUpload,
    Stopping,
    TakenOver,
    TooLarge,
    UploadOver,
    UploadTooLong,
    WrongOffset,
)
from gostore.places import Places
from gostore.store.interface import Details, Precondition, Versions
from gostore.store.unfinished import Address, Chunk, Standing, Uploads, Wanted
from tests.store.doubles import FakeBody

PLAIN = Wanted(Details())
TEXT = "location YQ=="


class UploadsCase(SynchronousTestCase):
    """Has a `store`, and verbs that run to their end."""

    store: Any
    #: So many bytes count before more come.
    much: int

    # What a provider's case has:

    def open(self, **settings: Any) -> object:
        """Open a store on what the one before has left."""
        raise NotImplementedError

    def settle(self) -> object:
        """Run what there is to run."""
        raise NotImplementedError

    def collect(self) -> None:
        """Let the collector run once."""
        raise NotImplementedError

    def kept(self) -> list[str]:
        """What is kept of the bytes of uploads."""
        raise NotImplementedError

    def left(self) -> list[str]:
        """What is kept of blobs and of uploads that are not over."""
        raise NotImplementedError

    def unfinished(self) -> int:
        """How many uploads are not over."""
        raise NotImplementedError

    def commits(self) -> int:
        """How many blobs were stored."""
        raise NotImplementedError

    def places(self) -> Places:
        """The places that bodies take."""
        raise NotImplementedError

    # What all have:

    @property
    def uploads(self) -> Uploads:
        """The verbs."""
        found: Uploads = self.store.resumable
        return found

    def wait(self, asked: Deferred[Any]) -> Any:
        """Run what there is to run, and return the result."""
        self.settle()
        return self.successResultOf(asked)

    def fails(self, asked: Deferred[Any], *errors: type[Exception]) -> Any:
        """Run what there is to run, and return the error it came to."""
        self.settle()
        return self.failureResultOf(asked, *errors).value

    def store_blob(self, location: str, data: bytes = b"data") -> Any:
        """Store a blob, whether there is one or not."""
        return self.wait(self.store.put(location, FakeBody(data), Details()))[0]

    def read(self, location: str) -> bytes:
        """What a GET is given."""
        blob = self.wait(self.store.get(location))
        content = self.wait(self.store.content(blob))
        data = content.read(0, blob.size)
        found: bytes = data if isinstance(data, bytes) else self.wait(data)
        content.close()
        self.settle()
        return found

    def begin(
        self, length: int | None = 10, wanted: Wanted = PLAIN, location: str = "a", owner: str = ""
    ) -> Address:
        """Begin an upload."""
        found: Address = self.wait(
            self.uploads.begin(Address(0, location, owner), TEXT, length, wanted)
        )
        return found

    def ask(
        self, address: Address, offset: int, body: FakeBody | bytes, **said: Any
    ) -> Deferred[Standing]:
        """Ask to go on with it."""
        body = FakeBody(body) if isinstance(body, bytes) else body
        return self.uploads.append(address, Chunk(offset, **said), body)

    def add(self, address: Address, offset: int, data: bytes, **said: Any) -> int:
        """Go on with it; return how far it is."""
        standing: Standing = self.wait(self.ask(address, offset, data, **said))
        return standing.offset

    def offset(self, address: Address) -> int:
        """How far it is."""
        standing: Standing = self.wait(self.uploads.stand(address))
        return standing.offset

    def finish(self, address: Address, wanted: Wanted = PLAIN) -> Standing:
        """Finish it."""
        standing: Standing = self.wait(self.uploads.finish(address, wanted))
        return standing


class AppendContract(UploadsCase):
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
        self.assertEqual(self.finish(address).sha256, digest_of(b"a" * 5000 + b"b" * 4000))
        self.assertEqual(self.read("a"), b"a" * 5000 + b"b" * 4000)
        blob = self.wait(self.store.get("a"))
        self.open()
        self.assertEqual(self.wait(self.store.get("a")).sha256, blob.sha256)

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
        self.settle()
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

    def test_places(self) -> None:
        """A body takes a place among the uploads in progress, and leaves it."""
        self.open(max_uploads=1)
        first, second = self.begin(), self.begin(location="b")
        body = FakeBody(b"0", complete=False, length=10)
        asked = self.ask(first, 0, body)
        self.settle()
        self.assertEqual(self.store.uploads, 1)
        self.fails(self.ask(second, 0, b"x"), Busy)
        body.fail()
        self.fails(asked, BodyFailed)
        self.assertEqual(self.add(second, 0, b"x"), 1)
        self.assertEqual((self.store.uploads, self.places().taken.total()), (0, 0))

    def test_stop(self) -> None:
        """A stop waits for the bytes that have come."""
        address = self.begin()
        body = FakeBody(b"01", complete=False, length=10)
        asked = self.ask(address, 0, body)
        stopped = self.store.stop()
        self.settle()
        self.assertNoResult(stopped)
        body.fail("Shutting down")
        self.fails(asked, BodyFailed)
        self.settle()
        self.successResultOf(stopped)
        self.fails(self.ask(address, 2, b"x"), Stopping)
        self.open()
        self.assertEqual(self.offset(address), 2)


class ChecksumContract(UploadsCase):
    """Bytes with a checksum count together, or not at all."""

    def test_right(self) -> None:
        """The right one is good."""
        address = self.begin()
        for offset, data in ((0, b"0123"), (4, b"456789")):
            checksum = "sha256", digest_of(data)
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
        body = FakeBody(b"x" * self.much, complete=False, length=None)
        asked = self.ask(address, 0, body, checksum=("sha256", bytes(32)))
        self.settle()
        body.feed(b"x" * self.much)
        self.settle()
        body.fail()
        self.fails(asked, BodyFailed)
        self.assertEqual(self.offset(address), 0)


class TurnContract(UploadsCase):
    """Two clients on one upload."""

    def test_taken_over(self) -> None:
        """A later request takes over from one that brings bytes; what that has brought counts."""
        address = self.begin()
        body = FakeBody(b"012", complete=False, length=10)
        first = self.ask(address, 0, body)
        self.settle()
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
        self.settle()
        self.assertEqual(self.successResultOf(first).offset, 5)
        self.assertEqual(self.failureResultOf(second, WrongOffset).value.offset, 5)

    def test_finished_twice(self) -> None:
        """It is committed once, however many ask."""
        address = self.begin(3)
        self.add(address, 0, b"abc")
        asked = [self.uploads.finish(address, PLAIN) for _ in range(3)]
        self.settle()
        found = {self.successResultOf(each).sha256 for each in asked}
        self.assertEqual(found, {digest_of(b"abc")})
        self.assertEqual(self.commits(), 1)

    def test_over_meanwhile(self) -> None:
        """One that is terminated while others wait is over for them."""
        address = self.begin()
        body = FakeBody(b"012", complete=False, length=10)
        first = self.ask(address, 0, body)
        self.settle()
        ended = self.uploads.terminate(address)
        others = [
            self.uploads.stand(address),
            self.ask(address, 3, b"x"),
            self.uploads.finish(address, PLAIN),
        ]
        self.settle()
        self.failureResultOf(first, TakenOver)
        self.successResultOf(ended)
        for each in others:
            self.failureResultOf(each, UploadOver)


class AddressContract(UploadsCase):
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
        uploads = self.uploads
        for asked in (
            uploads.stand(address),
            self.ask(address, 0, b"x"),
            uploads.finish(address, PLAIN),
            uploads.terminate(address),
        ):
            self.fails(asked, NoUpload)


class FinishContract(UploadsCase):
    """What an upload becomes."""

    def complete(self, wanted: Wanted = PLAIN, location: str = "a") -> Address:
        """An upload, all of whose bytes are here."""
        address = self.begin(3, wanted, location)
        self.add(address, 0, b"new")
        return address

    def test_details(self) -> None:
        """The blob has the type and the metadata that are said."""
        details = Details("text/plain", {"x-gostore-meta-a": "1"}, {"sha256": digest_of(b"new")})
        self.finish(self.complete(), Wanted(details))
        blob = self.wait(self.store.get("a"))
        self.assertEqual((blob.content_type, blob.metadata), ("text/plain", details.metadata))

    def test_empty(self) -> None:
        """An upload of no bytes is complete when it begins."""
        address = self.begin(0)
        self.assertTrue(self.wait(self.uploads.stand(address)).is_complete)
        self.finish(address)
        self.assertEqual(self.read("a"), b"")

    def test_incomplete(self) -> None:
        """An upload that is not complete is not finished."""
        self.fails(self.uploads.finish(self.begin(), PLAIN), WrongOffset)
        self.fails(self.uploads.finish(self.begin(None), PLAIN), WrongOffset)
        self.assertEqual(self.unfinished(), 2)

    def test_created_meanwhile(self) -> None:
        """It is over if another has created the location; that one keeps its bytes."""
        address = self.complete()
        self.store_blob("a", b"other")
        self.fails(self.uploads.finish(address, PLAIN), AlreadyExists)
        error = self.fails(self.uploads.stand(address), UploadOver)
        self.assertIn("already exists", str(error))
        self.assertEqual(self.read("a"), b"other")
        self.collect()
        self.assertEqual(len(self.left()), 1)

    def test_refused_at_once(self) -> None:
        """What could become nothing now does not begin."""
        blob = self.store_blob("a", b"old")
        begin = self.uploads.begin
        exact = Precondition(Versions(frozenset({"0" * 64})))
        for wanted, location, error in (
            (PLAIN, "a", AlreadyExists),
            (Wanted(Details(), None, exists=True), "b", NotFound),
            (Wanted(Details(), exact, exists=True), "a", ConditionFailed),
        ):
            self.fails(begin(Address(0, location), TEXT, 3, wanted), error)
        self.assertEqual((self.kept(), self.unfinished()), ([], 0))
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
        self.fails(self.uploads.finish(address, wanted), ConditionFailed)
        self.fails(self.uploads.stand(address), UploadOver)
        self.assertEqual(self.read("a"), b"other")

    def test_wrongdigest_of(self) -> None:
        """A blob that would not have the digest that was announced is none, and the upload over."""
        address = self.complete()
        wanted = Wanted(Details(digests={"sha256": bytes(32)}))
        self.fails(self.uploads.finish(address, wanted), DigestMismatch)
        self.fails(self.uploads.stand(address), UploadOver)
        self.fails(self.store.get("a"), NotFound)

    def test_lost_answer(self) -> None:
        """One that is finished says so, also after a restart, as long as its blob is there."""
        address = self.complete()
        standing = self.finish(address)
        for _ in range(2):
            again = self.wait(self.uploads.stand(address))
            self.assertEqual((again.offset, again.length), (3, 3))
            self.assertEqual(again.sha256, standing.sha256)
            self.assertEqual(self.finish(address).sha256, standing.sha256)
            self.assertEqual(self.add(address, 3, b""), 3)
            self.fails(self.ask(address, 0, b"x"), WrongOffset)
            self.fails(self.uploads.terminate(address), UploadOver)
            self.open()


class LengthContract(UploadsCase):
    """A length that is said later."""

    def test_later(self) -> None:
        """It is said with any bytes, or with none, and lasts."""
        for data in (b"c", b""):
            address = self.begin(None)
            self.assertIsNone(self.wait(self.uploads.stand(address)).length)
            self.add(address, 0, b"ab")
            self.add(address, 2, data, length=3)
            self.open()
            self.assertEqual(self.wait(self.uploads.stand(address)).length, 3)
            self.wait(self.uploads.terminate(address))

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
        begin = self.uploads.begin
        self.fails(begin(Address(0, "a"), TEXT, 11, PLAIN), TooLarge)
        address = self.begin(None)
        self.fails(self.ask(address, 0, b"", length=11), TooLarge)
        self.fails(self.ask(address, 0, b"x" * 11), TooLarge)
        self.fails(self.ask(address, 0, FakeBody(b"x" * 11, length=None)), TooLarge)
        self.assertEqual(self.add(address, 0, b"x" * 10), 10)


def digest_of(data: bytes) -> bytes:
    """The SHA-256 of some bytes."""
    return hashlib.sha256(data).digest()
