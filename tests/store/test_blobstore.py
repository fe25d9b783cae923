"""Tests for gostore.store.blobstore: what each verb means while others are at it too."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from gostore.blob import Committed
from gostore.errors import (
    AlreadyExists,
    Busy,
    ConditionFailed,
    NoIds,
    NoSpace,
    NotFound,
    TooLarge,
)
from gostore.store.index import KEPT_FOR_REPLACING
from gostore.store.interface import Details
from tests.store.doubles import COMMIT, FakeBody, Judge
from tests.store.support import StoreCase


class RaceTests(StoreCase):
    """Verbs that overlap."""

    def test_create_create(self) -> None:
        """Of two POSTs the second is refused at once, also while a small first one commits."""
        first = self.store.create("a", FakeBody(b"1"), Details())
        body = FakeBody(b"2")
        self.failureResultOf(self.store.create("a", body, Details()), AlreadyExists)
        self.assertEqual(body.delivered, 0)
        self.assertEqual(self.wait(first).size, 1)

    def test_create_free_again(self) -> None:
        """A POST whose client goes away leaves the location free at once."""
        body = FakeBody(b"12345", complete=False, length=10)
        first = self.store.create("a", body, Details())
        body.fail()
        self.workers.run_all()
        self.failureResultOf(first)
        self.wait(self.store.create("a", FakeBody(b"2"), Details()))

    def test_old_until_durable(self) -> None:
        """Until its commit is flushed, a GET sees what was there before."""
        old = self.wait(self.store.create("a", FakeBody(b"1"), Details()))
        new = self.store.replace("a", FakeBody(b"22"), Details())
        self.assertEqual(self.successResultOf(self.store.get("a")), old)
        self.workers.run(COMMIT)
        self.assertEqual(self.successResultOf(self.store.get("a")), self.wait(new))

    def test_delete_while_put_uploads(self) -> None:
        """A replacement whose blob is deleted under way answers NotFound and revives nothing."""
        self.wait(self.store.create("a", FakeBody(b"1"), Details()))
        body = FakeBody(complete=False, length=2)
        replaced = self.store.replace("a", body, Details())
        self.wait(self.store.delete("a"))
        body.finish(b"22")
        self.workers.run_all()
        self.failureResultOf(replaced, NotFound)
        self.failureResultOf(self.store.get("a"), NotFound)


class Unforeseen(Exception):
    """Not one of the store's errors."""


class LeakTests(StoreCase):
    """A write that fails in a way nobody foresaw takes nothing with it."""

    def check_nothing_taken(self) -> None:
        """See that the location, the only upload slot and the ids are free."""
        self.collect()
        self.assertEqual(len(self.store.index.ids), 0)
        self.assertEqual(self.wait(self.store.create("a", FakeBody(b"1"), Details())).size, 1)

    def setUp(self) -> None:
        """Have room for a single upload, of ten bytes."""
        super().setUp()
        self.disk.room = (10, 1000)
        self.open(max_uploads=1)

    def test_condition(self) -> None:
        """A condition that breaks when the head is here fails the write."""

        def condition(blob: object) -> None:
            raise Unforeseen

        body = FakeBody(b"0123456789")
        self.fails(self.store.create("a", body, Details(), Judge(condition)), Unforeseen)
        self.fails(self.store.delete("a", Judge(condition)), Unforeseen)
        self.assertEqual(body.delivered, 0)
        self.check_nothing_taken()

    def test_condition_at_commit(self) -> None:
        """So does one that breaks when the body is here, and the location's turn comes."""
        asked: list[object] = []

        def condition(blob: object) -> None:
            asked.append(blob)
            if len(asked) == 2:
                raise Unforeseen

        body = FakeBody(b"0123456789")
        self.fails(self.store.create("a", body, Details(), Judge(condition)), Unforeseen)
        self.check_nothing_taken()

    def test_algorithm(self) -> None:
        """A digest that nobody can compute fails the upload."""
        details = Details(digests={"crc": b""})
        self.fails(self.store.create("a", FakeBody(b"0123456789"), details), ValueError)
        self.check_nothing_taken()

    def test_body(self) -> None:
        """A body that cannot be delivered fails the upload."""

        class Broken(FakeBody):
            def deliver(self, sink: object) -> None:
                raise Unforeseen

        self.fails(self.store.create("a", Broken(b"0123456789"), Details()), Unforeseen)
        self.check_nothing_taken()

    def test_free_space_unknown(self) -> None:
        """Where the disk does not even say how much is free, what was known stands."""
        self.disk.fail("free")
        self.fails(self.store.create("a", FakeBody(b"0123456789+"), Details()), NoSpace)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.fails(self.store.create("a", FakeBody(b"0123456789+"), Details()), NoSpace)
        self.assertEqual(self.wait(self.store.create("a", FakeBody(b"1"), Details())).size, 1)


class AdmissionTests(StoreCase):
    """What a write is refused for before its body is asked for, and after it came."""

    def refused(self, asked: Deferred[Any], body: FakeBody, error: type[Exception]) -> Any:
        """See that a write is refused at once, with no byte asked for and nothing taken."""
        found = self.failureResultOf(asked, error).value
        self.assertEqual(body.delivered, 0)
        return found

    def test_exists(self) -> None:
        """A POST where there is a blob, a PUT or DELETE where there is none, is refused at once."""
        body = FakeBody(b"1")
        self.refused(self.store.replace("a", body, Details()), body, NotFound)
        self.failureResultOf(self.store.delete("a"), NotFound)
        self.store_blob("a")
        self.refused(self.store.create("a", body, Details()), body, AlreadyExists)

    def test_put_says_whether(self) -> None:
        """A PUT that may create says whether it did."""
        self.assertTrue(self.wait(self.store.put("a", FakeBody(b"1"), Details()))[1])
        self.assertFalse(self.wait(self.store.put("a", FakeBody(b"2"), Details()))[1])

    def test_details(self) -> None:
        """Type and metadata are part of the blob, also after a restart."""
        details = Details("text/plain", {"x-gostore-meta-a": "1"})
        blob = self.wait(self.store.create("a", FakeBody(b"1"), details))
        self.open()
        found = self.wait(self.store.get("a"))
        self.assertEqual(found, blob)
        self.assertEqual((found.content_type, found.metadata), ("text/plain", details.metadata))

    def test_condition_at_dispatch(self) -> None:
        """A condition that does not hold for what is there refuses the body."""
        asked: list[object] = []

        def condition(blob: object) -> None:
            asked.append(blob)
            raise ConditionFailed("a")

        body = FakeBody(b"1")
        for verb in (self.store.create, self.store.replace, self.store.put):
            self.refused(verb("a", body, Details(), Judge(condition)), body, ConditionFailed)
        self.failureResultOf(self.store.delete("a", Judge(condition)), ConditionFailed)
        blob = self.store_blob("a")
        self.refused(self.store.put("a", body, Details(), Judge(condition)), body, ConditionFailed)
        self.assertEqual(asked, [None, None, None, None, blob])

    def test_condition_at_commit(self) -> None:
        """Of two PUTs with the same If-Match the one whose body is here first wins."""
        old = self.store_blob("a")

        def condition(blob: Committed | None) -> None:
            if blob != old:
                raise ConditionFailed("a")

        slow, fast = FakeBody(complete=False, length=4), FakeBody(b"fast")
        first = self.store.replace("a", slow, Details(), Judge(condition))
        second = self.store.replace("a", fast, Details(), Judge(condition))
        self.wait(second)
        slow.finish(b"slow")
        self.fails(first, ConditionFailed)
        self.assertEqual(self.read("a"), b"fast")

    def test_condition_in_turn(self) -> None:
        """A condition is asked when the changes before it are durable, not when it is queued."""
        old = self.store_blob("a")

        def condition(blob: Committed | None) -> None:
            if blob != old:
                raise ConditionFailed("a")

        asked = [
            self.store.put("a", FakeBody(b"%d" % i), Details(), Judge(condition)) for i in range(3)
        ]
        deleted = self.store.delete("a", Judge(condition))
        self.workers.run_all()
        self.successResultOf(asked[0])
        for one in (*asked[1:], deleted):
            self.failureResultOf(one, ConditionFailed)
        self.assertEqual(self.read("a"), b"0")

    def test_announced_size(self) -> None:
        """A body that is announced larger than the limit is not asked for; the limit itself is."""
        self.open(max_blob_size=10)
        body = FakeBody(length=11)
        error = self.refused(self.store.create("a", body, Details()), body, TooLarge)
        self.assertEqual(error.limit, 10)
        self.wait(self.store.create("a", FakeBody(b"0123456789"), Details()))

    def test_reserve(self) -> None:
        """A body that would eat into the reserve is not asked for."""
        self.disk.room = (1000, 10_000)
        self.open(reserve=990)
        body = FakeBody(length=11)
        self.refused(self.store.create("a", body, Details()), body, NoSpace)
        self.wait(self.store.create("a", FakeBody(b"0123456789"), Details()))
        body = FakeBody(length=1)
        self.refused(self.store.create("b", body, Details()), body, NoSpace)

    def test_reserve_by_itself(self) -> None:
        """Without a setting 1 % of the file system stays free, and 64 MiB at least."""
        mib = 1 << 20
        for total, reserve in ((1000 * mib, 64 * mib), (10_000 * mib, 100 * mib)):
            self.disk.room = (reserve + 10, total)
            self.open(reserve=None)
            body = FakeBody(length=11)
            self.refused(self.store.create("a", body, Details()), body, NoSpace)
            asked = self.store.create("a", FakeBody(length=10, complete=False), Details())
            self.assertNoResult(asked)

    def test_announced_together(self) -> None:
        """What uploads have announced is no room for the next, until they end."""
        self.disk.room = (1_000_000, 10_000_000)
        self.open()
        body = FakeBody(b"x", complete=False, length=999_990)
        first = self.store.create("a", body, Details())
        second = FakeBody(complete=False, length=100_000)
        self.refused(self.store.create("b", second, Details()), second, NoSpace)
        self.wait(self.store.create("small", FakeBody(b"there is room for this"), Details()))
        self.wait(self.store.delete("small"))
        self.workers.run_all()
        body.fail()
        self.fails(first)
        self.disk.room = (1_000_000, 10_000_000)
        self.collect()
        second = FakeBody(b"x" * 400_001)
        self.wait(self.store.create("b", second, Details()))

    def test_room_again(self) -> None:
        """Who is refused for want of room has the disk asked, for the next."""
        self.disk.room = (10, 10_000)
        self.open()
        body = FakeBody(length=11)
        self.refused(self.store.create("a", body, Details()), body, NoSpace)
        self.disk.room = (11, 10_000)
        self.workers.run_all()
        self.assertNoResult(self.store.create("a", FakeBody(length=11), Details()))

    def test_uploads(self) -> None:
        """One upload more than allowed is to come back later, and may."""
        self.open(max_uploads=2)
        bodies = [FakeBody(b"0", complete=False, length=None) for _ in range(2)]
        asked = [self.store.put("a", body, Details()) for body in bodies]
        third = FakeBody(b"3", complete=False, length=None)
        busy = self.refused(self.store.put("a", third, Details()), third, Busy)
        self.assertGreater(busy.retry_after, 0)
        self.assertEqual(self.store.uploads, 2)
        bodies[0].finish(b"1")
        self.wait(asked[0])
        self.assertEqual(self.store.uploads, 1)
        put = self.store.put("a", third, Details())
        third.finish()
        self.wait(put)

    def test_memory(self) -> None:
        """Small bodies that wait for their commit hold a bounded number of bytes together."""
        piece = b"x" * 65536
        asked = [self.store.put(str(i), FakeBody(piece), Details()) for i in range(512)]
        body = FakeBody(b"1")
        busy = self.refused(self.store.put("a", body, Details()), body, Busy)
        self.assertGreater(busy.retry_after, 0)
        self.workers.run(COMMIT)
        self.wait(self.store.put("a", body, Details()))
        for one in asked:
            self.successResultOf(one)

    def test_ids(self) -> None:
        """Without a free id a POST is refused; a PUT over a blob has some ids kept for it."""
        blob = self.store_blob("a")
        self.open(id_bits=9)
        for taken in range(512 - KEPT_FOR_REPLACING):
            self.store.index.ids.reserve(taken + 1000 if taken == blob.id else taken)
        body = FakeBody(b"1")
        self.refused(self.store.create("b", body, Details()), body, NoIds)
        self.wait(self.store.replace("a", body, Details()))


class StormTests(StoreCase):
    """Many verbs at one location at a time, and every order of the jobs (bad-inputs 73)."""

    def test_storm(self) -> None:
        """Every GET is one complete version, none older than what was answered; so is the last."""
        self.answered: Committed | None = None
        for seed in range(15):
            self.storm(random.Random(seed))
            self.workers.run_all()
            self.check_version()
            before = list(self.store.index.blobs())
            if seed % 2:
                self.collect()
            self.open()
            self.assertEqual(list(self.store.index.blobs()), before)

    def storm(self, chance: random.Random) -> None:
        """Ask for many things, and do some jobs of each room after each."""
        collected: Deferred[None] = succeed(None)
        for number in range(40):
            match chance.randrange(5):
                case 0 | 1:
                    body = FakeBody(b"%d " % number * chance.choice((1, 30_000)))
                    self.store.put("a", body, Details()).addBoth(self.note)
                case 2:
                    self.store.delete("a").addBoth(self.note)
                case 3:
                    self.check_version()
                case 4 if collected.called:  # one run at a time, as the collector has it
                    collected = self.store.collect()
            while self.workers.jobs and chance.random() < 0.6:
                self.workers.run(chance.choice(self.workers.jobs).room)

    def note(self, result: tuple[Committed, bool] | Failure | None) -> None:
        """What was answered last is what there is: changes are answered in their turn."""
        if isinstance(result, Failure):
            result.trap(NotFound)
        else:
            self.answered = None if result is None else result[0]

    def check_version(self) -> None:
        """See that a GET sees what was answered last, whole."""
        blob = self.store.index.blob("a")
        self.assertEqual(blob, self.answered)
        if blob is not None:
            self.assertEqual(hashlib.sha256(self.data(blob).read_bytes()).digest(), blob.sha256)
