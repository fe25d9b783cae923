"""Uploads in several requests over a bucket: as over a directory, and by any daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from gostore.bucket import arriving, finishing
from gostore.bucket.engine import Full, Refused, Unsettled
from gostore.bucket.past import BucketPast
from gostore.bucket.pointer import pointer_key
from gostore.bucket.unfinished import parse, piece_key, upload_key
from gostore.errors import (
    AlreadyExists,
    BodyFailed,
    Busy,
    ChunkMismatch,
    NoSpace,
    NotFound,
    NoUpload,
    StoreError,
    TakenOver,
    UploadOver,
    WrongOffset,
)
from gostore.places import Places
from gostore.prefixes import ByPrefix
from gostore.store.interface import Details
from gostore.store.unfinished import Wanted
from tests.bucket.doubles import InlineReactor, make_store
from tests.store import uploads_contract as contract
from tests.store.doubles import FakeBody
from tests.store.uploads_contract import PLAIN, digest_of

HOUR = 3600


class BucketCase(contract.UploadsCase):
    """Has a store over objects in memory; `open` gives another daemon over the same ones."""

    much = arriving.PIECE

    def setUp(self) -> None:
        """Have an empty bucket."""
        self.engine: Any = None
        self.reactor = InlineReactor()
        #: How far the daemons' clock is ahead of the engine's.
        self.ahead = 0
        self.open()

    def open(self, **settings: Any) -> object:
        self.store, self.engine = make_store(
            self.engine, self.wall, reactor=self.reactor, **settings
        )
        return self.store

    def wall(self) -> int:
        return time.time_ns() + self.ahead * 1_000_000_000

    def pass_by(self, seconds: int) -> None:
        """Let so much time pass for everybody: ages go by the engine's clock."""
        self.ahead += seconds
        self.store._ask.ahead += seconds

    def settle(self) -> object:
        return None

    def collect(self) -> None:
        self.wait(self.store.collect())

    def keys(self, start: str) -> list[str]:
        """The keys there are."""
        return [each.key for each in self.engine.list(start)]

    def kept(self) -> list[str]:
        return [key for key in self.keys("uploads/") if not key.endswith("/upload.json")]

    def left(self) -> list[str]:
        return [*self.kept(), *{key.rpartition("/")[0] for key in self.keys("blobs/")}]

    def unfinished(self) -> int:
        states = [key for key in self.keys("uploads/") if key.endswith("/upload.json")]
        return sum(not parse(self.engine.get(key).data).is_over for key in states)

    def commits(self) -> int:
        return len({key.rpartition("/")[0] for key in self.keys("blobs/")})

    def expire(self) -> None:
        """Look for what has expired."""
        self.store.resumable.expire(lambda: True)

    def other(self) -> Any:
        """Another daemon."""
        return make_store(self.engine, self.wall, reactor=self.reactor)[0].resumable

    def places(self) -> Places:
        places: Places = self.store.places
        return places


class AppendTests(BucketCase, contract.AppendContract):
    """What counts of what comes."""

    def test_objects(self) -> None:
        """Each request leaves a piece, named by its offset; they go when the blob is there."""
        address = self.begin()
        self.add(address, 0, b"01234")
        self.add(address, 5, b"56789")
        pieces = [piece_key(address.number, offset) for offset in (0, 5)]
        self.assertEqual(self.kept(), pieces)
        self.assertEqual(self.engine.get(pieces[1]).data, b"56789")
        self.finish(address)
        self.assertEqual(self.kept(), [])

    def test_two_daemons(self) -> None:
        """Of two who saw the same offset, at two daemons, one goes on, the other learns where."""
        address = self.begin()
        first, second = (FakeBody(complete=False, length=10) for _ in range(2))
        one = self.ask(address, 0, first)
        two = self.other().append(address, contract.Chunk(0), second)
        first.finish(b"0123456789")
        second.finish(b"abcdefghij")
        self.assertEqual(self.wait(one).offset, 10)
        self.assertEqual(self.fails(two, WrongOffset).offset, 10)
        self.finish(address)
        self.assertEqual(self.read("a"), b"0123456789")

    def test_went_on_elsewhere(self) -> None:
        """A request that hangs at one daemon is refused once another daemon has gone on."""
        address = self.begin()
        slow = FakeBody(complete=False, length=10)
        hanging = self.ask(address, 0, slow)
        other = self.other()
        self.assertEqual(self.wait(other.stand(address)).offset, 0)
        self.wait(other.append(address, contract.Chunk(0), FakeBody(b"0123456789")))
        slow.feed(b"0123")
        slow.fail()
        self.assertEqual(self.fails(hanging, WrongOffset).offset, 10)

    def test_lost_answer_to_a_piece(self) -> None:
        """A piece whose answer is lost counts once."""
        address = self.begin()
        create, lost = self.engine.create, []

        def lose(key: str, data: bytes) -> str:
            done: str = create(key, data)
            if not lost:
                lost.append(key)
                raise Unsettled("lost")
            return done

        self.engine.create = lose
        self.assertEqual(self.add(address, 0, b"0123"), 4)
        self.assertEqual(lost, [piece_key(address.number, 0)])
        self.assertEqual(self.offset(address), 4)

    def test_list_that_lags(self) -> None:
        """What a list does not show counts: an offset that was told never shrinks."""
        address = self.begin()
        self.add(address, 0, b"0123")
        there = list(self.engine.list("uploads/"))
        self.add(address, 4, b"45")
        self.add(address, 6, b"6789")
        self.engine.list = lambda start, *_: (e for e in there if e.key.startswith(start))
        self.assertEqual(self.offset(address), 10)
        self.finish(address)
        self.assertEqual(self.read("a"), b"0123456789")

    def test_slow(self) -> None:
        """What comes slowly or in masses becomes a piece on its way; its client is told."""
        address = self.begin(None)
        told: list[int] = []
        body = FakeBody(b"a" * 3, complete=False, length=None)
        self.ask(address, 0, body, on_flush=told.append)
        self.assertEqual(self.kept(), [])
        self.reactor.time += arriving.SECONDS
        body.feed(b"b")
        body.feed(b"c")
        self.assertEqual((len(self.kept()), told), (1, [4]))
        body.feed(b"d" * arriving.PIECE)
        self.assertEqual((len(self.kept()), told), (2, [4, 5 + arriving.PIECE]))

    def test_paused(self) -> None:
        """A body that comes faster than the bucket takes it is paused, and resumed."""
        address = self.begin(None)
        waiting: list[Deferred[None]] = []
        run = self.store._threads.run

        def later(function: Any, *more: Any, **named: Any) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1].addCallback(lambda _: run(function, *more, **named))

        self.store._threads.run = later
        body = FakeBody(complete=False, length=None)
        asked = self.ask(address, 0, body)
        waiting[0].callback(None)
        for _ in range(3):
            body.feed(bytes(arriving.PIECE - 1))
        self.assertTrue(body.paused)
        waiting[1].callback(None)
        self.assertFalse(body.paused)
        body.finish()
        waiting[2].callback(None)
        self.assertEqual(self.successResultOf(asked).offset, 3 * (arriving.PIECE - 1))

    def test_full(self) -> None:
        """A full bucket keeps what counted; it goes on when there is room."""
        address = self.begin()
        self.add(address, 0, b"01234")
        create = self.engine.create

        def refuse(*arguments: object) -> None:
            raise Full("QuotaExceeded")

        self.engine.create = refuse
        self.fails(self.ask(address, 5, b"56789"), NoSpace)
        self.fails(self.uploads.begin(contract.Address(0, "b"), "", 1, PLAIN), NoSpace)
        self.engine.create = create
        self.assertEqual(self.offset(address), 5)
        self.add(address, 5, b"56789")


class ChecksumTests(BucketCase, contract.ChecksumContract):
    """Bytes with a checksum count together, or not at all."""

    def test_large(self) -> None:
        """What is more than a piece is put aside until its checksum is verified, and then gone."""
        data = bytes(range(256)) * (arriving.PIECE // 128)
        for checksum, offset in ((bytes(32), 0), (digest_of(data), len(data))):
            address = self.begin(len(data), location=f"{offset}")
            body = FakeBody(complete=False, length=len(data))
            asked = self.ask(address, 0, body, checksum=("sha256", checksum))
            body.feed(data[: arriving.PIECE])
            self.assertIn("/checked/", self.kept()[0])
            self.assertEqual(len(self.kept()), 1)
            body.finish(data[arriving.PIECE :])
            if offset:
                self.assertEqual(self.wait(asked).offset, offset)
            else:
                self.fails(asked, ChunkMismatch)
            self.assertEqual(self.offset(address), offset)
            self.assertFalse([key for key in self.kept() if "/checked/" in key])
        self.finish(address)
        self.assertEqual(self.read(f"{offset}")[:256], data[:256])


class TurnTests(BucketCase, contract.TurnContract):
    """Two clients on one upload."""

    def test_finished_by_two_daemons(self) -> None:
        """It is stored once, though another daemon finishes it while one copies."""
        address = self.begin(3)
        self.add(address, 0, b"abc")
        other = self.other()
        found: list[Any] = []
        put = self.engine.put

        def meanwhile(key: str, data: bytes) -> str:
            if key.endswith("data.raw") and not found:
                found.append(None)
                found[0] = self.wait(other.finish(address, PLAIN))
                self.wait(self.store.replace("a", FakeBody(b"other"), Details()))
            done: str = put(key, data)
            return done

        self.engine.put = meanwhile
        self.assertEqual(self.finish(address).sha256, digest_of(b"abc"))
        self.assertEqual(found[0].sha256, digest_of(b"abc"))
        self.assertEqual(self.read("a"), b"other")
        self.assertEqual(self.commits(), 2)

    def test_finished_while_looked_at(self) -> None:
        """Who asks while another daemon finishes it is never told of fewer bytes."""
        for ask in (self.uploads.stand, lambda address: self.uploads.finish(address, PLAIN)):
            address = self.begin(3, location=str(ask))
            self.add(address, 0, b"abc")
            other = self.other()
            get, asked = self.engine.get, []

            def meanwhile(
                key: str, *more: Any, get: Any = get, seen: Any = asked, to: Any = (other, address)
            ) -> Any:
                found = get(key, *more)
                if not seen:
                    seen.append(key)
                    self.wait(to[0].finish(to[1], PLAIN))
                return found

            self.engine.get = meanwhile
            standing = self.wait(ask(address))
            self.engine.get = get
            self.assertEqual((standing.offset, len(asked)), (3, 1))

    def test_terminated_while_published(self) -> None:
        """One that is terminated as its pointer is about to be swapped becomes no blob."""
        self.at_the_swap(lambda other, address: self.wait(other.terminate(address)))
        self.fails(self.store.get("a"), NotFound)
        self.fails(self.uploads.stand(self.address), UploadOver)

    def test_terminated_too_late(self) -> None:
        """One that has become a blob is not terminated, though nobody has noted that yet."""
        self.at_the_swap(
            lambda other, address: self.fails(other.terminate(address), UploadOver), late=True
        )
        self.assertEqual(self.read("a"), b"abc")
        self.assertEqual(self.wait(self.uploads.stand(self.address)).sha256, digest_of(b"abc"))

    def at_the_swap(self, act: Callable[[Any, Any], object], *, late: bool = False) -> None:
        """Finish an upload, and do something right before, or after, its pointer is swapped."""
        self.address = self.begin(3)
        self.add(self.address, 0, b"abc")
        other, create, done = self.other(), self.engine.create, []

        def meanwhile(key: str, data: bytes) -> str:
            if key != pointer_key("a") or done:
                found: str = create(key, data)
                return found
            done.append(key)
            found = create(key, data) if late else ""
            act(other, self.address)
            return found or create(key, data)

        self.engine.create = meanwhile
        asked = self.uploads.finish(self.address, PLAIN)
        self.engine.create = create
        if late:
            self.assertEqual(self.wait(asked).sha256, digest_of(b"abc"))
        else:
            self.fails(asked, Busy)


class AddressTests(BucketCase, contract.AddressContract):
    """Who finds an upload."""


class FinishTests(BucketCase, contract.FinishContract):
    """What an upload becomes."""

    def test_large(self) -> None:
        """A blob of more than one part is copied piece by piece."""
        self.patch(finishing, "WHOLE", 5)
        address = self.begin(10)
        self.add(address, 0, b"01234")
        self.add(address, 5, b"56789")
        self.finish(address)
        self.assertEqual(self.read("a"), b"0123456789")

    def test_history(self) -> None:
        """The version that an upload replaces is kept, if the bucket keeps a history."""
        self.open(keep=ByPrefix(7.0 * HOUR))
        self.store_blob("a", b"old")
        wanted = Wanted(Details(), None, exists=True)
        self.finish(self.complete(wanted), wanted)
        past = BucketPast(self.store)
        versions = self.wait(past.history("a"))
        self.assertEqual(
            [each.blob.sha256 for each in versions], [*map(digest_of, (b"new", b"old"))]
        )

    def test_created_by_another_daemon(self) -> None:
        """The pointer decides, not what was seen before the copy."""
        address = self.complete()
        put, done = self.engine.put, []

        def meanwhile(key: str, data: bytes) -> str:
            if not done:
                done.append(key)
                self.store_blob("a", b"other")
            found: str = put(key, data)
            return found

        self.engine.put = meanwhile
        self.fails(self.uploads.finish(address, PLAIN), AlreadyExists)
        self.fails(self.uploads.stand(address), UploadOver)
        self.assertEqual(self.read("a"), b"other")

    def test_collected_while_copied(self) -> None:
        """A copy that was collected because its daemon stood still is not published."""
        address = self.complete()
        get, done = self.engine.get, []

        def meanwhile(key: str, *more: Any) -> Any:
            copied = [each for each in self.keys("blobs/") if each.endswith("data.raw")]
            if key == upload_key(address.number) and copied and not done:
                done.append(key)
                self.pass_by(2 * HOUR)
                for shard in range(256):
                    self.store._collection.collect_unnamed(shard)
                self.pass_by(-2 * HOUR)
            return get(key, *more)

        self.engine.get = meanwhile
        self.fails(self.uploads.finish(address, PLAIN), Busy)
        self.fails(self.store.get("a"), NotFound)
        self.finish(address)
        self.assertEqual(self.read("a"), b"new")

    def test_died_after_the_swap(self) -> None:
        """After a daemon that died behind the swap the next one sees that it is a blob."""
        address = self.complete()
        swap = self.engine.swap

        def die(key: str, data: bytes, etag: str) -> str:
            if key == upload_key(address.number) and b'"done"' in data:
                raise Refused("dead")
            found: str = swap(key, data, etag)
            return found

        self.engine.swap = die
        self.assertEqual(self.finish(address).sha256, digest_of(b"new"))
        self.engine.swap = swap
        self.assertEqual(self.unfinished(), 1)
        self.assertEqual(self.read("a"), b"new")
        self.store_blob("a", b"other")
        self.open()
        self.assertEqual(self.finish(address).sha256, digest_of(b"new"))
        self.assertEqual((self.unfinished(), self.read("a")), (0, b"other"))

    def test_nobody_knows(self) -> None:
        """If a daemon died at the swap, and eight others wrote since, the upload is over."""
        for happened in (False, True):
            location = f"location {happened}"
            address = self.complete(location=location)
            create = self.engine.create

            def die(key: str, data: bytes, happened: bool = happened, create: Any = create) -> str:
                if happened:
                    create(key, data)
                raise Refused("dead")

            def at_the_pointer(key: str, data: bytes, die: Any = die, create: Any = create) -> str:
                is_it = key.startswith("locations/")
                found: str = die(key, data) if is_it else create(key, data)
                return found

            self.engine.create = at_the_pointer
            self.fails(self.uploads.finish(address, PLAIN), StoreError)
            self.engine.create = create
            for number in range(10):
                self.store_blob(location, b"%d" % number)
            self.wait(self.store.delete(location))
            error = self.fails(self.uploads.finish(address, PLAIN), UploadOver)
            self.assertIn("nobody knows", str(error))
            self.fails(self.store.get(location), NotFound)

    def test_spoilt(self) -> None:
        """One whose objects somebody has changed becomes no blob."""
        for spoil in (
            lambda number: self.engine.delete(piece_key(number, 0)),
            lambda number: self.engine.put(piece_key(number, 0), b"ne"),
            lambda number: self.engine.put(upload_key(number), b"<html>"),
        ):
            address = self.complete()
            spoil(address.number)
            self.fails(self.uploads.finish(address, PLAIN), WrongOffset, UploadOver)
            self.fails(self.store.get("a"), NotFound)


class LengthTests(BucketCase, contract.LengthContract):
    """A length that is said later."""


class ExpiryTests(BucketCase):
    """Uploads that nobody goes on with."""

    def test_expires(self) -> None:
        """One is over when its time is, counted from the last bytes, and forgotten after that."""
        old, young = self.begin(), self.begin(location="b")
        self.add(old, 0, b"x")
        standing = self.wait(self.uploads.stand(old))
        self.assertLess(abs(standing.expires - self.wall() - 24 * HOUR * 10**9), 60 * 10**9)
        self.expire()
        self.assertEqual(self.store.resumable.unfinished, (2, 1))
        self.pass_by(24 * HOUR + 60)
        there = list(self.engine.list("uploads/"))
        self.make_young(young)
        self.engine.list = lambda start, *_: (e for e in there if e.key.startswith(start))
        self.expire()
        del self.engine.list
        self.fails(self.uploads.stand(old), UploadOver)
        self.fails(self.ask(old, 1, b"x"), UploadOver)
        self.assertEqual(self.offset(young), 1)
        self.assertEqual(self.store.resumable.unfinished, (1, 0))
        late = piece_key(old.number, 1)
        self.engine.put(late, b"late")
        self.pass_by(2 * HOUR)
        self.expire()
        self.fails(self.uploads.stand(old), NoUpload)
        self.assertEqual(self.keys("uploads/")[0].split("/")[1], str(young.number))

    def make_young(self, address: Any) -> None:
        """Add a byte to an upload now, by the engine's clock."""
        get = self.engine.get
        self.add(address, 0, b"x")
        key = piece_key(address.number, 0)

        def young(asked: str, *more: Any) -> Any:
            found = get(asked, *more)
            return evolve(found, modified=self.wall() / 1e9) if asked == key else found

        self.engine.get = young

    def test_without_a_state(self) -> None:
        """Bytes that came when all of their upload was removed already go, too."""
        key = piece_key(10**38 + 5, 0)
        self.engine.put(key, b"late")
        self.expire()
        self.assertEqual(self.kept(), [key])
        self.pass_by(25 * HOUR)
        self.expire()
        self.assertEqual(self.keys("uploads/"), [])

    def test_remembered_by_its_blob(self) -> None:
        """A finished one that is forgotten is known by its blob, as long as that is there."""
        address = self.begin(3)
        self.add(address, 0, b"abc")
        self.finish(address)
        self.pass_by(2 * HOUR)
        self.expire()
        self.assertEqual(self.keys("uploads/"), [])
        self.assertEqual(self.wait(self.uploads.stand(address)).sha256, digest_of(b"abc"))
        self.assertEqual(self.add(address, 3, b""), 3)
        self.fails(self.uploads.terminate(address), UploadOver)
        self.wait(self.store.replace("a", FakeBody(b"other"), Details()))
        self.fails(self.uploads.stand(address), NoUpload)

    def test_terminate(self) -> None:
        """One is over when its client says so, at every daemon, and its bytes are gone."""
        address = self.begin()
        self.add(address, 0, b"x")
        self.wait(self.uploads.terminate(address))
        self.assertEqual(self.kept(), [])
        self.fails(self.other().stand(address), UploadOver)

    def test_hostile(self) -> None:
        """What somebody else has written of an upload is as good as none, and ends no expiry."""
        address, other = self.begin(), self.begin()
        key = upload_key(address.number)
        good = json.loads(self.engine.get(key).data)
        for change in (
            {"text": "\ud800"},
            {"text": "a\r\nX: 1"},
            {"text": "\u20ac"},
            {"owner": "\ud800"},
            {"nonce": "\ud800"},
            {"base": "short"},
            {"length": -1},
            {"sha256": "00"},
            {"location": "a//b"},
        ):
            self.engine.put(key, json.dumps({**good, **change}).encode())
            self.fails(self.uploads.stand(address), UploadOver)
            self.fails(self.ask(address, 0, b"x"), UploadOver)
        self.assertEqual(self.add(other, 0, b"x"), 1)
        self.expire()

    def test_numbers(self) -> None:
        """A number that no upload has is not even asked for."""
        for number in (0, 7, 10**38 - 1, 2 * 10**38, 10**4000):
            self.fails(self.uploads.stand(contract.Address(number, "a")), NoUpload)

    def test_failing_body(self) -> None:
        """A body that fails, and one that is taken over, are told so."""
        address = self.begin()
        for error in (BodyFailed, TakenOver):
            body = FakeBody(complete=False, length=10)
            asked = self.ask(address, 0, body)
            body.fail() if error is BodyFailed else self.offset(address)
            self.failureResultOf(asked, error)
