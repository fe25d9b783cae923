"""Tests for gostore.store: what each verb means while others are at it too."""

from __future__ import annotations

from gostore.errors import AlreadyExists, NotFound
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
