"""Tests for gostore.store.upload: one body on its way in."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from gostore.blob import State
from gostore.errors import (
    BodyFailed,
    Busy,
    DigestMismatch,
    DiskFailed,
    NoSpace,
    NotFound,
    TooLarge,
)
from gostore.store.admission import WAITING, WAITING_ALONE
from gostore.store.interface import SMALL_BLOB, Details
from gostore.store.upload import SEALED, STAGE_AFTER
from gostore.volume.directory import DATA, STATE
from tests.store.doubles import COMMIT, FILE, FakeBody
from tests.store.support import LARGE, StoreCase


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
        self.assertEqual(len(self.store.index.ids), 0)
        self.assertEqual(self.disk.open_files, [""])
        return reason


class ArrivalTests(UploadCase):
    """Where the bytes go, and when."""

    def test_small(self) -> None:
        """A small body that is here at once waits in memory for its commit, and has no stage."""
        stored = self.upload(FakeBody(b"1", b"23"))
        self.assertEqual(self.workers.names(), ["carry_out"])
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
        """The largest body that needs no stage has SMALL_BLOB bytes."""
        self.upload(FakeBody(b"x" * SMALL_BLOB))
        self.assertEqual(self.workers.names(), ["carry_out"])
        self.workers.run_all()
        self.store.create("b", FakeBody(b"x" * SMALL_BLOB, b"y"), Details())
        self.assertEqual(self.workers.names(), ["_write"])

    def test_origin(self) -> None:
        """The record says which request it was, be it a new blob, a replaced or a deleted one."""
        first = self.wait(self.store.create("b", FakeBody(b"1", origin="7f3a"), Details()))
        self.assertEqual(self.record(first.id).log[0].message, "Blob Created & Saved! (7f3a)")
        second = self.wait(self.store.replace("b", FakeBody(b"2", origin="8f3a"), Details()))
        self.assertEqual(self.record(second.id).log[0].message, "Blob Updated & Saved! (8f3a)")
        self.wait(self.store.delete("b", origin="9f3a"))
        self.assertEqual(self.record(second.id).log[-1].message, "Deleted! (9f3a)")

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
        """A stage is made with the first byte of its body, for people to see, and not before."""
        for length in (4, 1_000_000, None):
            body = FakeBody(complete=False, length=length)
            stored = self.upload(body)
            self.workers.run_all()
            self.assertEqual(self.names(), [])
            body.feed(b"1")
            self.workers.run_all()
            self.assertIs(self.record(self.stage()).state, State.PENDING)
            body.fail()
            self.fails(stored, BodyFailed)
            self.collect()

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
        self.assertEqual(self.workers.names(), ["_hash", "_append"])
        self.workers.run(FILE)
        self.workers.run(FILE)
        self.assertEqual(self.workers.names(), ["seal"])
        self.workers.run(FILE)
        self.assertEqual(self.disk.trace("fsync"), [f"fsync {self.stage()}/data.raw"])
        self.assertEqual(self.disk.open_files, [""])
        self.assertEqual(self.workers.names(), ["carry_out"])
        self.assertEqual(self.wait(stored).size, SEALED + 1)

    def test_not_sealed(self) -> None:
        """A stage that is not large is synced with its commit."""
        self.upload(FakeBody(LARGE))
        self.workers.run(FILE)
        self.assertEqual(self.workers.names(), ["carry_out"])
        name = self.stage()
        self.workers.run(COMMIT)
        self.assertEqual(self.disk.trace("fsync")[0], f"fsync {name}/data.raw")


class PatienceTests(UploadCase):
    """A small body that follows its head in a packet of its own is waited for, in memory."""

    def setUp(self) -> None:
        """Let the test say when it has been long enough."""
        super().setUp()
        self.timer.keeps = lambda seconds: True
        self.later = self.timer.kept

    def test_comes(self) -> None:
        """If it comes it has no stage, and what was to happen otherwise does nothing."""
        body = FakeBody(b"12", complete=False, length=4)
        stored = self.upload(body)
        body.finish(b"34")
        ((end, seconds), (flush, _)) = self.later
        self.assertEqual(seconds, STAGE_AFTER)
        end()
        self.assertEqual((self.workers.jobs, self.disk.trace()), ([], []))
        flush()
        blob = self.wait(stored)
        self.assertEqual(self.data(blob).read_bytes(), b"1234")
        self.assertEqual(blob.sha256, hashlib.sha256(b"1234").digest())

    def test_does_not_come(self) -> None:
        """If it does not, it has a stage, as any other."""
        body = FakeBody(b"12", complete=False, length=4)
        stored = self.upload(body)
        self.assertEqual(self.workers.jobs, [])
        self.later.pop()[0]()
        self.workers.run_all()
        self.assertIs(self.record(self.stage()).state, State.PENDING)
        body.finish(b"34")
        self.workers.run_all()
        self.later.pop()[0]()
        self.assertEqual(self.data(self.wait(stored)).read_bytes(), b"1234")

    def test_large(self) -> None:
        """One that is announced to be large, or not announced, is not waited for."""
        for location, length in (("a", SMALL_BLOB + 1), ("b", None)):
            body = FakeBody(b"1", complete=False, length=length)
            self.store.create(location, body, Details())
        self.assertEqual((self.workers.names(), self.later), (["_write"] * 2, []))

    def test_breaks(self) -> None:
        """If it breaks meanwhile nothing was written, and nothing is left."""
        body = FakeBody(b"12", complete=False, length=4)
        stored = self.upload(body)
        body.fail("Client went away after 2 of 4 bytes")
        self.later.pop()[0]()
        self.assertEqual(self.disk.trace(), [])
        reason = self.gives_up(stored, BodyFailed)
        self.assertEqual(reason, "Client went away after 2 of 4 bytes")

    def test_wrong(self) -> None:
        """It has to have the digest that was announced."""
        body = FakeBody(b"12", complete=False, length=4)
        stored = self.upload(body, md5=b"0" * 16)
        body.finish(b"34")
        self.gives_up(stored, DigestMismatch)


class PauseTests(UploadCase):
    """Back-pressure: a disk that is slower than the socket."""

    def test_pause(self) -> None:
        """A body is paused when WAITING_ALONE bytes of it wait for the disk, resumed with fewer."""
        body = FakeBody(b"a", complete=False, length=None)
        stored = self.upload(body)
        body.feed(b"x" * (WAITING_ALONE - 2))
        self.assertFalse(body.paused)
        body.feed(b"yz")
        self.assertTrue(body.paused)
        self.workers.run(FILE)  # the stage, and the byte that was here when it was asked for
        self.assertTrue(body.paused, "as much as is allowed waits for the disk")
        self.workers.run(FILE, at=1)
        self.assertTrue(body.paused, "it is written, and not hashed")
        self.workers.run(FILE)
        self.assertFalse(body.paused)
        body.finish()
        self.assertEqual(self.wait(stored).size, WAITING_ALONE + 1)

    def test_pause_among_others(self) -> None:
        """Where many bodies come at a time each is paused when WAITING bytes of it wait."""
        bodies = [FakeBody(b"x", complete=False, length=None) for _ in range(9)]
        for at, body in enumerate(bodies):
            self.store.create(f"{at}", body, Details())
        for body in (bodies[0], bodies[8]):
            body.feed(b"x" * WAITING)
        self.assertEqual((bodies[0].paused, bodies[8].paused), (False, True))

    def test_paused_once(self) -> None:
        """What is delivered in spite of the pause is taken, and pauses nothing twice."""
        body = FakeBody(b"x" * WAITING_ALONE, b"y" * WAITING_ALONE, complete=False, length=None)
        stored = self.upload(body)
        self.assertEqual((body.paused, body.pauses), (True, 1))
        self.workers.run_all()
        self.assertFalse(body.paused)
        body.finish()
        self.assertEqual(self.wait(stored).size, 2 * WAITING_ALONE)

    def test_written_counts(self) -> None:
        """What has been written waits no more: many pieces in a row need no pause."""
        body = FakeBody(complete=False, length=None)
        stored = self.upload(body)
        for _ in range(9):
            body.feed(b"x" * (WAITING_ALONE // 2))
            self.workers.run_all()
        body.finish()
        self.assertEqual((self.wait(stored).size, body.pauses), (9 * (WAITING_ALONE // 2), 0))

    def test_fails_paused(self) -> None:
        """A body that fails while it is paused is done with."""
        body = FakeBody(b"x" * WAITING_ALONE, complete=False, length=None)
        stored = self.upload(body)
        body.fail()
        self.gives_up(stored, BodyFailed)


class RefusalTests(UploadCase):
    """Bodies that are not stored, and what is left of them."""

    def test_client_goes_away(self) -> None:
        """The stage of a body that breaks off says Failure and why, until it is collected."""
        body = FakeBody(b"12345", complete=False, length=10)
        stored = self.upload(body)
        self.workers.run_all()
        body.fail("Client went away after 5 of 10 bytes")
        self.workers.run_all()
        last = self.record(self.stage()).log[-1]
        self.assertEqual(
            (last.state, last.message), (State.FAILURE, "Client went away after 5 of 10 bytes")
        )
        self.assertEqual(self.gives_up(stored, BodyFailed), "Client went away after 5 of 10 bytes")

    def test_goes_away_at_once(self) -> None:
        """A body that is broken when it is asked for leaves nothing on the disk."""
        body = FakeBody(b"12345", length=10)
        body.reason = "Client went away after 5 of 10 bytes"
        stored = self.upload(body)
        self.failureResultOf(stored, BodyFailed)
        self.assertEqual(self.disk.trace(), [])
        self.collect()
        self.assertEqual(len(self.store.index.ids), 0)

    def test_goes_away_while_written(self) -> None:
        """A body may break off while a worker writes what is here of it."""
        body = FakeBody(LARGE, complete=False, length=None)
        stored = self.upload(body)
        job = self.workers.take(FILE)
        body.fail()
        self.assertEqual(self.workers.jobs, [])
        job.work()
        job.report()
        self.gives_up(stored, BodyFailed)

    def test_goes_on_after_failure(self) -> None:
        """What a body delivers after it was refused is dropped, and so is its end."""
        self.open(max_blob_size=10)
        body = FakeBody(b"x" * 8, complete=False, length=None)
        stored = self.upload(body)
        self.workers.run_all()
        body.feed(b"yyy")
        body.feed(b"z" * WAITING_ALONE)
        self.assertEqual(body.pauses, 0)
        body.finish()
        body.fail()
        self.gives_up(stored, TooLarge)

    def test_digest(self) -> None:
        """A body with the digests that were announced is stored, small or large."""
        for location, data in (("a", b"data"), ("b", LARGE)):
            digests = {name: hashlib.new(name, data).digest() for name in ("md5", "sha512")}
            details = Details(digests={**digests, "sha256": hashlib.sha256(data).digest()})
            blob = self.wait(self.store.create(location, FakeBody(data), details))
            self.assertEqual(self.data(blob).read_bytes(), data)

    def test_digest_mismatch(self) -> None:
        """A small body without the digest that was announced is refused before it has a stage."""
        for name in ("md5", "sha256", "sha512"):
            stored = self.upload(FakeBody(b"data"), **{name: b"?"})
            self.assertEqual(self.disk.trace(), [])
            self.assertIn(name, self.gives_up(stored, DigestMismatch))

    def test_digest_mismatch_staged(self) -> None:
        """The stage of a large one says so."""
        stored = self.upload(FakeBody(LARGE), md5=b"?")
        self.workers.run_all()
        self.assertEqual(
            self.record(self.stage()).log[-1].message,
            "The body does not have the md5 digest that was announced",
        )
        self.gives_up(stored, DigestMismatch)

    def test_late_digest(self) -> None:
        """A body has to have the digests that come with its end, too, small or large."""
        for number, data in enumerate((b"data", LARGE)):
            good = {name: hashlib.new(name, data).digest() for name in ("md5", "sha256", "sha512")}
            for name in ("none", *good):
                body = FakeBody(data, complete=False, length=None)
                details = Details(late_digests=frozenset(("md5", "sha512")))
                stored = self.store.create(f"{number}{name}", body, details)
                self.workers.run_all()
                body.sink.finished({**good, name: b"?"} if name in good else good)
                if name in good:
                    self.assertIn(name, self.gives_up(stored, DigestMismatch))
                else:
                    self.assertEqual(self.data(self.wait(stored)).read_bytes(), data)
                    self.wait(self.store.delete(f"{number}{name}"))

    def test_late_and_early_digest(self) -> None:
        """One digest at each end of the body: both have to be the body's."""
        good = hashlib.sha256(b"data").digest()
        for early, late in ((good, b"?"), (b"?", good)):
            body = FakeBody(b"data", complete=False, length=None)
            stored = self.upload(body, sha256=early)
            self.workers.run_all()
            body.sink.finished({"sha256": late})
            self.gives_up(stored, DigestMismatch)


class DiskTests(UploadCase):
    """What the disk refuses."""

    def test_announced_limit(self) -> None:
        """A chunked body is refused with the byte that is one too many, and no sooner."""
        self.open(max_blob_size=10)
        body = FakeBody(b"x" * 10, complete=False, length=None)
        stored = self.upload(body)
        self.workers.run_all()
        self.assertNoResult(stored)
        body.feed(b"y")
        self.assertIn("10 bytes", self.gives_up(stored, TooLarge))
        whole = FakeBody(b"x" * 10, length=None)
        self.assertEqual(self.wait(self.upload(whole)).size, 10)

    def test_limit_in_memory(self) -> None:
        """One that is here at once is refused before anything is made on the disk."""
        self.open(max_blob_size=10)
        stored = self.upload(FakeBody(b"x" * 11, length=None))
        self.assertEqual(self.disk.trace(), [])
        self.gives_up(stored, TooLarge)

    def test_reserve(self) -> None:
        """A chunked body is written as long as the reserve stays free, and no longer."""
        self.open(reserve=1000)
        body = FakeBody(b"x" * 500, complete=False, length=None)
        self.disk.room = (1500, 10_000)
        stored = self.upload(body)
        self.workers.run_all()
        self.assertNoResult(stored)
        self.disk.room = (1000, 10_000)
        body.feed(b"y")
        self.gives_up(stored, NoSpace)

    def test_full(self) -> None:
        """A disk that is full makes it NoSpace, whichever call says so."""
        for kind in ("mkdir", "open", "writev"):
            for error in (errno.ENOSPC, errno.EDQUOT):
                self.disk.fail(kind, error)
                self.gives_up(self.upload(FakeBody(LARGE)), NoSpace)
                self.disk.heal()

    def test_full_to_the_last(self) -> None:
        """A stage that cannot even be told that it failed is removed all the same."""
        body = FakeBody(LARGE, complete=False, length=None)
        stored = self.upload(body)
        self.workers.run_all()
        self.disk.fail("writev", errno.ENOSPC, times=99)
        body.feed(b"more")
        self.workers.run_all()
        self.assertIs(self.record(self.stage()).state, State.PENDING)
        self.gives_up(stored, NoSpace)

    def test_short_writes(self) -> None:
        """What a short write leaves is written with the next."""
        self.disk.shorten("writev", 30_000, times=9)
        blob = self.wait(self.upload(FakeBody(b"x" * 7, LARGE)))
        self.assertEqual(self.data(blob).read_bytes(), b"x" * 7 + LARGE)

    def test_files(self) -> None:
        """Too many open files is a matter of another try, and one that works then."""
        self.disk.fail("open", errno.EMFILE)
        self.gives_up(self.upload(FakeBody(LARGE)), Busy)
        self.assertEqual(self.wait(self.upload(FakeBody(LARGE))).size, len(LARGE))

    def test_sync_fails(self) -> None:
        """A failed sync of a stage is no end of the store: nothing has been promised."""
        self.disk.fail("fsync")
        stored = self.upload(FakeBody(b"x" * (SEALED + 1)))
        self.assertEqual(self.gives_up(stored, DiskFailed), "The disk failed: EIO")
        self.assertEqual(self.disk.count("fsync"), 1, "never a second try")
        self.store.check_health()

    def test_not_dropped(self) -> None:
        """A close that fails is logged, and the upload has failed for its own reason."""
        body = FakeBody(LARGE, complete=False, length=None)
        stored = self.upload(body)
        self.workers.run_all()
        self.disk.fail("close")
        body.fail()
        self.gives_up(stored, BodyFailed)
        (failure,) = self.flushLoggedErrors(OSError)
        self.assertEqual(failure.value.errno, errno.EIO)

    def test_no_memory(self) -> None:
        """A worker that finds no memory fails the upload, for a while."""

        def none() -> None:
            raise MemoryError

        self.disk.before("writev", none)
        self.gives_up(self.upload(FakeBody(LARGE)), Busy)
        self.assertEqual(self.wait(self.upload(FakeBody(LARGE))).size, len(LARGE))

    def test_no_worker(self) -> None:
        """Bytes that no worker could be asked to write are missed: the upload fails."""
        body = FakeBody(LARGE, complete=False, length=None)
        stored = self.upload(body)
        body.feed(b"missed")
        self.workers.refusal = MemoryError()
        self.workers.run(FILE)
        body.feed(b"too late")
        body.finish()
        self.gives_up(stored, Busy)

    def test_no_system_call(self) -> None:
        """A worker that fails in no foreseen way is logged, and fails only that upload."""
        asked = self.upload(FakeBody(LARGE))
        job = self.workers.take(FILE)
        job.result.errback(ZeroDivisionError())
        self.assertIn("ZeroDivisionError", self.gives_up(asked, DiskFailed))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RemovedTests(UploadCase):
    """Somebody removes or changes a stage by hand while its body is coming."""

    def harm(self, size: int, harm: Callable[[Path], object]) -> None:
        """Harm a stage in the middle of a body, and see that the client is told to try again."""
        half = b"x" * (size // 2)
        body = FakeBody(half, complete=False, length=2 * len(half))
        stored = self.upload(body)
        self.workers.run_all()
        harm(self.directory / self.stage())
        body.finish(half)
        self.workers.run_all()
        error = self.fails(stored, Busy)
        self.assertIn("send it again", str(error))
        self.assertGreater(error.retry_after, 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.fails(self.store.get("a"), NotFound)
        self.collect()
        self.assertEqual(len(self.store.index.ids), 0)
        self.store.check_health()
        self.store_blob("a", b"again")
        self.wait(self.store.delete("a"))
        self.collect()

    def test_removed(self) -> None:
        """Nothing is acknowledged whose bytes are not there: the descriptor outlives the name."""
        for size in (2 * SMALL_BLOB, 2 * SEALED):
            self.harm(size, shutil.rmtree)
            self.harm(size, lambda stage: (stage / DATA).unlink())
            other = self.directory.parent / f"of-{self.directory.name}"
            self.harm(size, lambda stage, other=other: stage.rename(other))
            shutil.rmtree(other)

    def test_changed(self) -> None:
        """The same goes for another file in its place, and for one that has two names."""
        for size in (2 * SMALL_BLOB, 2 * SEALED):
            self.harm(size, swap)
            other = self.directory.parent / f"of-{self.directory.name}"
            self.harm(size, lambda stage, other=other: os.link(stage / DATA, other))
            other.unlink()

    def test_record_removed(self) -> None:
        """The Pending record is for people; without it the upload goes on."""
        body = FakeBody(LARGE, complete=False, length=len(LARGE) + 1)
        stored = self.upload(body)
        self.workers.run_all()
        (self.directory / self.stage() / STATE).unlink()
        body.finish(b"!")
        blob = self.wait(stored)
        self.assertEqual(self.read("a"), LARGE + b"!")
        self.assertIs(self.record(blob.id).state, State.OK)


def swap(stage: Path) -> None:
    """Put another file in the place of a stage's data."""
    (stage / DATA).unlink()
    (stage / DATA).write_bytes(b"other")


class SizeTests(UploadCase):
    """A file system, or a limit of the process, that takes no file of this size."""

    def test_too_large_a_file(self) -> None:
        """The body is too large, whichever way it comes."""
        self.disk.fail("writev", errno.EFBIG, name=DATA)
        reason = self.gives_up(self.upload(FakeBody(LARGE)), TooLarge)
        self.assertEqual(reason, "The body is larger than a file may be here")
        self.disk.fail("writev", errno.EFBIG, name=DATA)
        self.gives_up(self.upload(FakeBody(b"small")), TooLarge)
        self.assertEqual(self.flushLoggedErrors(), [])
