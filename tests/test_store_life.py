"""Tests for the life of a gostore.store: health, stops, restarts and what is collected."""

from __future__ import annotations

from gostore.errors import (
    DiskFailed,
    ReadOnly,
)
from gostore.store import Details
from tests.doubles import SECOND, FakeBody
from tests.store_support import LARGE, StoreCase

YEARS = 25 * 365 * 86400 * SECOND


class HealthTests(StoreCase):
    """Read-only: after a sync whose outcome nobody knows."""

    def break_down(self) -> FakeBody:
        """Store a and b, begin a body for c, and fail the sync that is to make a PUT last."""
        self.store_blob("a")
        self.store_blob("b", LARGE)
        body = FakeBody(b"c", complete=False, length=None)
        self.begun = self.store.create("c", body, Details())
        self.workers.run_all()
        self.store.check_health()
        self.disk.clear()
        self.store_blob("b", LARGE)
        root = 1 + self.disk.trace("fsync").index("fsync /")
        self.disk.fail("fsync", nth=root)
        self.fails(self.store.replace("b", FakeBody(LARGE + b"new"), Details()), DiskFailed)
        self.disk.heal()
        return body

    def test_writes(self) -> None:
        """Every write is refused, and says why; the body of none is asked for."""
        self.break_down()
        body = FakeBody(b"1")
        for verb in (self.store.create, self.store.replace, self.store.put):
            self.failureResultOf(verb("a", body, Details()), ReadOnly)
        error = self.failureResultOf(self.store.delete("a"), ReadOnly).value
        self.assertEqual(body.delivered, 0)
        self.assertIn("EIO", str(error))
        self.assertRaises(ReadOnly, self.store.check_health)

    def test_upload_under_way(self) -> None:
        """An upload that was under way is refused when it is here, and its stage removed."""
        body = self.break_down()
        body.finish(b"c")
        self.fails(self.begun, ReadOnly)
        self.collect()
        self.assertFalse([name for name in self.names() if name.startswith(".new-")])

    def test_reads(self) -> None:
        """Reading goes on, of what was durable before."""
        self.break_down()
        self.assertEqual(self.read("a"), b"data")
        self.assertEqual(self.read("b"), LARGE)

    def test_ids(self) -> None:
        """No id is free again that the disk may bear (bad-inputs 58)."""
        self.break_down()
        for _ in range(2):
            self.collect()
        for name in self.names():
            if name.isdecimal():
                self.assertIn(int(name), self.store._by_id)

    def test_restart(self) -> None:
        """A restart decides from the disk, and all is well again."""
        self.break_down()
        self.open()
        self.store.check_health()
        self.assertIn(self.read("b"), (LARGE, LARGE + b"new"))
        self.store_blob("b")
