"""A store whose ledger has quotas: what is refused, when, and what is counted."""

from __future__ import annotations

import errno

from gostore.access.quotas import Quota, Quotas
from gostore.errors import NoSpace, NotFound, QuotaExceeded
from gostore.prefixes import ByPrefix
from gostore.store.interface import Details
from tests.store.doubles import FakeBody
from tests.store.support import LARGE, StoreCase


class QuotaTests(StoreCase):
    """At most 100 bytes and 3 blobs below a/."""

    def setUp(self) -> None:
        """Open the store again, with quotas."""
        super().setUp()
        self.quotas = Quotas([Quota("a/", 100, 3)])
        self.open(ledger=self.quotas)

    def used(self) -> tuple[int, int, int]:
        """Bytes, blobs, and bytes claimed."""
        [usage] = self.quotas.usages()
        return usage.size, usage.count, usage.claimed_size

    def test_counted(self) -> None:
        """Creates, replacements and deletes are counted, and so is what a start finds."""
        self.store_blob("a/1", b"x" * 60)
        self.store_blob("a/1", b"x" * 50)
        self.store_blob("a/2", b"x" * 10)
        self.store_blob("b", b"x" * 500)
        self.assertEqual(self.used(), (60, 2, 0))
        self.wait(self.store.delete("a/2"))
        self.assertEqual(self.used(), (50, 1, 0))
        self.quotas = Quotas([Quota("a/", 100)])
        self.open(ledger=self.quotas)
        self.assertEqual(self.used(), (50, 1, 0))

    def test_announced(self) -> None:
        """A body that is announced to be too large is refused before any of it is asked for."""
        self.store_blob("a/1", b"x" * 60)
        body = FakeBody(length=41, complete=False)
        error = self.fails(self.store.create("a/2", body, Details()), QuotaExceeded)
        self.assertEqual(str(error), "There is no room for this in the quota of a/")
        self.assertIsInstance(error, NoSpace)
        self.assertEqual(body.delivered, 0)
        self.store_blob("a/2", b"x" * 40)
        self.store_blob("a/1", b"x" * 60)

    def test_chunked(self) -> None:
        """A body of unknown length is refused as soon as it is too large."""
        body = FakeBody(b"x" * 60, length=None, complete=False)
        created = self.store.create("a/1", body, Details())
        self.workers.run_all()
        self.assertNoResult(created)
        body.sink.received(b"x" * 41)
        self.fails(created, QuotaExceeded)
        self.assertEqual(self.used(), (0, 0, 0))

    def test_number(self) -> None:
        """A blob too many is refused, however small."""
        for number in range(3):
            self.store_blob(f"a/{number}", b"")
        self.fails(self.store.create("a/x", FakeBody(b""), Details()), QuotaExceeded)
        self.store_blob("a/0", b"x")
        self.wait(self.store.delete("a/1"))
        self.store_blob("a/x", b"")

    def test_exact_at_commit(self) -> None:
        """Of several bodies that fit one by one, only those are committed that fit together."""
        bodies = [FakeBody(b"x" * 60, length=None, complete=False) for _ in range(3)]
        created = [
            self.store.create(f"a/{number}", body, Details()) for number, body in enumerate(bodies)
        ]
        for body in bodies:
            body.sink.finished()
        self.workers.run_all()
        self.successResultOf(created[0])
        for each in created[1:]:
            self.failureResultOf(each, QuotaExceeded)
        self.assertEqual(self.used(), (60, 1, 0))

    def test_failed_commit(self) -> None:
        """What a failed write has claimed is free again."""
        body = FakeBody(b"x" * 60, length=None, complete=False)
        created = self.store.create("a/1", body, Details())
        body.sink.failed("gone")
        self.workers.run_all()
        self.failureResultOf(created)
        self.assertEqual(self.used(), (0, 0, 0))
        for kind in ("mkdir", "write", "writev", "pwrite"):
            self.disk.fail(kind, errno.ENOSPC)
        self.fails(self.store.create("a/1", FakeBody(b"x" * 60), Details()), NoSpace)
        self.assertEqual(self.used(), (0, 0, 0))

    def test_damaged(self) -> None:
        """A damaged blob counts until it is replaced or deleted."""
        behind = self.store.index.sizes_behind
        self.quotas.change([Quota("a/", 1 << 20)], behind, lambda work: work())
        blob = self.store_blob("a/1", LARGE)
        (self.directory / str(blob.id) / "data.raw").write_bytes(b"x")
        self.open(ledger=(quotas := Quotas([Quota("a/", 1 << 20)])))
        self.quotas = quotas
        self.assertEqual(self.used(), (len(LARGE), 1, 0))
        behind = self.store.index.sizes_behind
        self.assertEqual(behind("a/", "", 9), [("a/1", len(LARGE))])
        self.store_blob("a/1", b"x")
        self.assertEqual(self.used(), (1, 1, 0))

    def test_behind(self) -> None:
        """Blobs below a prefix are given in slices, in order, and no others."""
        for location in ("a", "a/1", "a/2", "a/3", "b"):
            self.store_blob(location, b"x")
        behind = self.store.index.sizes_behind
        self.assertEqual(behind("a/", "", 2), [("a/1", 1), ("a/2", 1)])
        self.assertEqual(behind("a/", "a/2", 2), [("a/3", 1)])
        self.assertEqual(behind("a/", "a/3", 2), [])
        self.assertEqual(len(behind("", "", 9)), 5)


class HistoryTests(StoreCase):
    """At most 100 bytes and 3 blobs below a/, history included."""

    def setUp(self) -> None:
        """Open the store again, with quotas and a history."""
        super().setUp()
        self.start()

    def start(self) -> None:
        """Open it, once more."""
        self.quotas = Quotas([Quota("a/", 100, 3)])
        self.open(ledger=self.quotas, keep=ByPrefix(1000.0))

    def used(self) -> tuple[int, int, int, int]:
        """Bytes and blobs that live, and that are kept."""
        [usage] = self.quotas.usages()
        return usage.size, usage.count, usage.kept_size, usage.kept_count

    def versions(self, location: str) -> list[int]:
        """The sizes of the versions that are known of a location, newest first."""
        found = self.wait(self.store.past.history(location))
        return [each.blob.size for each in found]

    def test_gives_way(self) -> None:
        """The oldest version below the prefix goes when a write needs its part of the quota."""
        self.store_blob("b", b"x" * 90)
        self.wait(self.store.delete("b"))
        for size in (40, 30, 20):
            self.store_blob("a/1", b"x" * size)
        self.assertEqual(self.used(), (20, 1, 70, 2))
        self.store_blob("a/2", b"x" * 15)
        self.assertEqual((self.used(), self.versions("a/1")), ((35, 2, 30, 1), [20, 30]))
        self.assertEqual(self.store.history.given_up, 1)
        self.collect()
        self.assertEqual(len([name for name in self.names() if name.isdecimal()]), 4)
        self.assertEqual(self.versions("b"), [90])

    def test_full(self) -> None:
        """A quota that is full of what lives keeps no history, and refuses nothing for it."""
        self.store_blob("a/1", b"x" * 100)
        self.store_blob("a/1", b"y" * 100)
        self.assertEqual((self.used(), self.versions("a/1")), ((100, 1, 0, 0), [100]))
        self.fails(self.store.create("a/2", FakeBody(b"x"), Details()), QuotaExceeded)
        self.wait(self.store.delete("a/1"))
        self.assertEqual(self.used(), (0, 0, 100, 1))
        self.store_blob("a/2", b"x" * 100)
        self.assertEqual(self.used(), (100, 1, 0, 0))
        self.fails(self.store.past.history("a/1"), NotFound)

    def test_number(self) -> None:
        """The number of versions counts, too."""
        for number in range(4):
            self.store_blob("a/1", b"%d" % number)
        self.assertEqual(self.used(), (1, 1, 2, 2))

    def test_start(self) -> None:
        """A start counts what is kept; the next write makes it fit."""
        for size in (40, 30, 20):
            self.store_blob("a/1", b"x" * size)
        self.collect()
        self.start()
        self.assertEqual(self.used(), (20, 1, 70, 2))
        self.quotas.change([Quota("a/", 25)], self.store.index.sizes_behind, lambda work: work())
        self.assertEqual(self.versions("a/1"), [20, 30, 40])
        self.store_blob("a/2", b"x")
        self.assertEqual((self.used(), self.versions("a/1")), ((21, 2, 0, 0), [20]))

    def test_elders(self) -> None:
        """What gives way is an elder that a deletion has to know of, until it is removed."""
        for size in (70, 60):
            self.store_blob("a/1", b"x" * size)
        self.assertEqual(self.used(), (60, 1, 0, 0))
        [elder] = self.store.garbage.dead
        self.assertEqual(self.store.garbage.dead_ids("a/1"), [elder.id])
        self.wait(self.store.delete("a/1"))
        self.start()
        self.assertIsNone(self.store.index.blob("a/1"))
        self.assertEqual(self.versions("a/1"), [60, 70])
