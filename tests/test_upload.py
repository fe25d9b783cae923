"""Tests for gostore.upload: one body on its way in."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import Deferred

from gostore.blob import State
from gostore.store import Details
from gostore.upload import SEALED, SMALL
from tests.doubles import COMMIT, FILE, FakeBody
from tests.store_support import LARGE, StoreCase


class UploadCase(StoreCase):
    """Uploads through the store, each to a location of its own."""

    def upload(self, body: FakeBody, **digests: bytes) -> Deferred[Any]:
        """Store the body, whose digests are announced to be these."""
        self.disk.clear()
        return self.store.create("a", body, Details(digests=digests))

    def stage(self) -> str:
        """The name of the one stage there is."""
        (name,) = (name for name in self.names() if name.startswith(".new-"))
        return name

    def gives_up(self, asked: Deferred[Any], error: type[Exception]) -> str:
        """See that an upload fails, and leaves nothing; return what the failure says."""
        reason = str(self.fails(asked, error))
        self.collect()
        self.assertEqual(self.names(), [])
        self.assertEqual(len(self.store._by_id), 0)
        self.assertEqual(self.disk.open_files, [""])
        return reason


class ArrivalTests(UploadCase):
    """Where the bytes go, and when."""

    def test_small(self) -> None:
        """A small body that is here at once waits in memory for its commit, and has no stage."""
        stored = self.upload(FakeBody(b"1", b"23"))
        self.assertEqual(self.workers.names(), ["commit"])
        self.assertEqual(self.disk.trace(), [])
        blob = self.wait(stored)
        self.assertEqual((blob.size, blob.sha256), (3, hashlib.sha256(b"123").digest()))
        self.assertEqual(self.data(blob).read_bytes(), b"123")

    def test_empty(self) -> None:
        """A body of no bytes is one, too."""
        blob = self.wait(self.upload(FakeBody()))
        self.assertEqual((blob.size, self.data(blob).read_bytes()), (0, b""))

    def test_empty_later(self) -> None:
        """So is one that turns out to have none."""
        body = FakeBody(complete=False, length=None)
        stored = self.upload(body)
        body.finish()
        blob = self.wait(stored)
        self.assertEqual((blob.size, self.data(blob).read_bytes()), (0, b""))

    def test_small_edge(self) -> None:
        """The largest body that needs no stage has SMALL bytes."""
        self.upload(FakeBody(b"x" * SMALL))
        self.assertEqual(self.workers.names(), ["commit"])
        self.workers.run_all()
        self.store.create("b", FakeBody(b"x" * SMALL, b"y"), Details())
        self.assertEqual(self.workers.names(), ["_write"])

    def test_pending(self) -> None:
        """While a body is coming its stage has the record of a Pending blob, not yet synced."""
        body = FakeBody(b"12", complete=False, length=4)
        self.upload(body)
        self.workers.run_all()
        record = self.record(self.stage())
        self.assertEqual(
            [(step.state, step.message) for step in record.log],
            [(State.OK, "Blob Created & Saved!"), (State.PENDING, "Starting Data WR")],
        )
        self.assertEqual(self.disk.count("fsync"), 0)

    def test_stage_first(self) -> None:
        """The stage of a body of which nothing is here yet is made at once, for people to see."""
        self.upload(FakeBody(complete=False, length=4))
        self.workers.run_all()
        self.assertIs(self.record(self.stage()).state, State.PENDING)

    def test_pieces(self) -> None:
        """What arrives while a worker is at the last pieces is written together, in order."""
        body = FakeBody(b"a", complete=False, length=None)
        stored = self.upload(body)
        for piece in (b"b", b"c", b"d"):
            body.feed(piece)
        self.workers.run(FILE)
        self.assertEqual(self.workers.names(), ["_write"])
        body.finish(b"e")
        blob = self.wait(stored)
        self.assertEqual(self.data(blob).read_bytes(), b"abcde")
        self.assertEqual(self.disk.count("writev"), 5)  # the data in three, two records

    def test_sealed(self) -> None:
        """A large stage is synced before its commit, on the descriptor that wrote it."""
        stored = self.upload(FakeBody(b"x" * (SEALED + 1)))
        self.workers.run(FILE)
        self.assertEqual(self.workers.names(), ["seal"])
        self.workers.run(FILE)
        self.assertEqual(self.disk.trace("fsync"), [f"fsync {self.stage()}/data.raw"])
        self.assertEqual(self.disk.open_files, [""])
        self.assertEqual(self.workers.names(), ["commit"])
        self.assertEqual(self.wait(stored).size, SEALED + 1)

    def test_not_sealed(self) -> None:
        """A stage that is not large is synced with its commit."""
        self.upload(FakeBody(LARGE))
        self.workers.run(FILE)
        self.assertEqual(self.workers.names(), ["commit"])
        name = self.stage()
        self.workers.run(COMMIT)
        self.assertEqual(self.disk.trace("fsync")[0], f"fsync {name}/data.raw")
