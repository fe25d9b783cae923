"""Tests for gostore.store: what each verb means while others are at it too."""

from __future__ import annotations

from gostore.errors import AlreadyExists, NoSpace, NotFound
from gostore.store import Details
from tests.doubles import COMMIT, FakeBody
from tests.store_support import StoreCase


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
        self.assertEqual(len(self.store._by_id), 0)
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
        self.fails(self.store.create("a", body, Details(), condition), Unforeseen)
        self.fails(self.store.delete("a", condition), Unforeseen)
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
        self.fails(self.store.create("a", body, Details(), condition), Unforeseen)
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
