"""Tests for what gostore.store tells: the first server's blobs, lists, and what is collected."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from gostore.blob import Committed
from gostore.errors import ConditionFailed, Damaged, DiskFailed, NotFound
from gostore.store import Details
from tests.doubles import FILE, FakeBody
from tests.store_support import StoreCase

GO_DATA = Path(__file__).parent / "fixtures" / "go-data"


class FirstServerTests(StoreCase):
    """Blobs that have no digest yet: it is computed when first needed, once."""

    def setUp(self) -> None:
        """Open a directory that the first server wrote."""
        super().setUp()
        self.close()
        shutil.copytree(GO_DATA, self.directory, dirs_exist_ok=True)
        self.open()
        self.foo = self.store._by_location["foo"]

    def test_digest(self) -> None:
        """Whoever asks meanwhile waits for the same computation, and nobody computes it again."""
        asked = [self.store.get("foo") for _ in range(3)]
        self.assertEqual(self.workers.names(), ["compute_digest"])
        self.workers.run_all()
        digest = hashlib.sha256(self.data(self.foo).read_bytes()).digest()
        for one in asked:
            self.assertEqual(self.successResultOf(one).sha256, digest)
        self.assertEqual(self.successResultOf(self.store.get("foo")).sha256, digest)
        self.assertEqual(self.workers.jobs, [])

    def test_generation(self) -> None:
        """A blob of ours comes after any of the first server's."""
        self.wait(self.store.replace("foo", FakeBody(b"new"), Details()))
        self.open()
        self.assertEqual(self.read("foo"), b"new")

    def test_condition(self) -> None:
        """A condition is asked when there is a digest to compare, of PUT and of DELETE."""
        digests: list[bytes | None] = []

        def condition(blob: Committed | None) -> None:
            assert blob is not None
            digests.append(blob.sha256)
            raise ConditionFailed("foo")

        body = FakeBody(b"new")
        self.fails(self.store.replace("foo", body, Details(), condition), ConditionFailed)
        self.open()
        self.fails(self.store.delete("foo", condition), ConditionFailed)
        self.assertEqual(digests, [hashlib.sha256(self.read("foo")).digest()] * 2)
        self.assertEqual(body.delivered, 0)

    def test_damaged(self) -> None:
        """A condition whose blob turns out to be damaged is asked all the same."""
        asked: list[Committed | None] = []
        self.data(self.foo).unlink()
        self.wait(self.store.replace("foo", FakeBody(b"new"), Details(), asked.append))
        self.assertEqual([blob.id for blob in asked if blob], [self.foo.id] * 2)
        self.assertEqual(self.read("foo"), b"new")

    def test_damaged_get(self) -> None:
        """To read it fails, for all who wait."""
        self.data(self.foo).write_bytes(b"")
        asked = [self.store.get("foo") for _ in range(2)]
        self.workers.run_all()
        for one in asked:
            self.failureResultOf(one, Damaged)

    def test_disk_fails(self) -> None:
        """If the disk fails the next one tries again, and a conditional write is refused."""
        for asked in (
            lambda: self.store.get("foo"),
            lambda: self.store.delete("foo", lambda blob: None),
        ):
            self.disk.fail("pread")
            self.fails(asked(), DiskFailed)
        self.assertIsNotNone(self.wait(self.store.get("foo")).sha256)

    def test_replaced_meanwhile(self) -> None:
        """Replaced while its digest is computed: a reader is told of one that was there."""
        asked = self.store.get("foo")
        job = self.workers.take(FILE)
        new = self.store_blob("foo", b"new")
        job.work()
        job.report()
        self.assertIn(self.wait(asked).id, (self.foo.id, new.id))
        self.assertEqual(self.successResultOf(self.store.get("foo")), new)

    def test_collected_meanwhile(self) -> None:
        """Collected before its digest is computed: a reader is told of its successor, or none."""
        asked = self.store.get("foo")
        job = self.workers.take(FILE)
        new = self.store_blob("foo", b"new")
        self.collect()
        job.work()
        job.report()
        self.assertEqual(self.wait(asked), new)
        self.open()
        other = self.store._by_location["empty"]
        asked = self.store.get("empty")
        job = self.workers.take(FILE)
        self.wait(self.store.delete("empty"))
        self.collect()
        self.assertNotIn(str(other.id), self.names())
        job.work()
        job.report()
        self.fails(asked, NotFound)
