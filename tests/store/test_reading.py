"""Tests for gostore.store.reading: the bytes of an open blob, and whether they are right."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import Committed
from gostore.errors import Busy, Damaged, DiskFailed, NotFound
from gostore.store.blobstore import BlobStore
from gostore.store.content import SmallContent
from gostore.store.interface import SMALL_BLOB, VERIFIED_FOR, Details
from gostore.store.reading import VERIFIED_AT_ONCE
from gostore.volume.directory import DATA
from gostore.volume.volume import Volume
from tests.store.doubles import (
    FakeBody,
    FaultyDisk,
    InlineWorkers,
    ManualWorkers,
    PromptClock,
    ThreadlessWorkers,
)
from tests.store.support import LARGE, StoreCase


class ContentCase(StoreCase):
    """Reads of two blobs, a small one and a large one."""

    def setUp(self) -> None:
        """Store them, with room for two files kept open."""
        super().setUp()
        self.open(max_open_files=2)
        self.small = self.store_blob("small", b"0123456789")
        self.large = self.store_blob("large", LARGE)

    def content(self, blob: Committed) -> Any:
        """Open a blob."""
        return self.wait(self.store.content(blob))

    def open_data(self) -> list[str]:
        """The data files that are open."""
        return sorted(name for name in self.disk.open_files if name)


class SmallTests(ContentCase):
    """A small blob is read whole, and verified."""

    on_disk = True

    def test_read(self) -> None:
        """Any part of it is at hand at once, and there is no file to send it from."""
        content = self.content(self.small)
        self.assertEqual(content.size, 10)
        self.assertEqual(content.read(0, 10), b"0123456789")
        self.assertEqual(content.read(3, 4), b"3456")
        self.assertIsNone(content.load(0, 10))
        content.close()

    def test_sizes(self) -> None:
        """The largest small blob has SMALL_BLOB bytes; an empty one is one, too."""
        for size in (0, SMALL_BLOB):
            content = self.content(self.store_blob("a", b"x" * size))
            self.assertIsInstance(content, SmallContent)
            self.assertEqual(content.read(0, size), b"x" * size)
        self.assertNotIsInstance(
            self.content(self.store_blob("a", b"x" * (SMALL_BLOB + 1))), SmallContent
        )

    def test_at_once(self) -> None:
        """Read again it takes no worker: its file is open, and its bytes are in memory."""
        self.read("small")
        content = self.successResultOf(self.store.content(self.small))
        self.assertEqual(self.workers.jobs, [])
        self.assertEqual(content.read(0, 10), b"0123456789")

    def test_not_in_memory(self) -> None:
        """If its bytes are not in memory, or the kernel cannot say, a worker reads them."""
        for error in (errno.EAGAIN, errno.EOPNOTSUPP):
            self.read("small")
            self.disk.fail("preadv", error)
            asked = self.store.content(self.small)
            self.assertEqual(self.workers.names(), ["read_small"])
            self.assertEqual(self.wait(asked).read(0, 10), b"0123456789")

    def test_cached(self) -> None:
        """Where the kernel cannot read without waiting (tmpfs), it is asked what is in memory."""
        self.read("small")
        self.disk.fail("preadv", errno.EOPNOTSUPP)
        self.wait(self.store.content(self.small))
        self.disk.clear()
        self.disk.cached = True
        content = self.successResultOf(self.store.content(self.small))
        self.assertEqual(content.read(0, 10), b"0123456789")
        self.disk.cached = False
        self.store.content(self.small)
        self.assertEqual(self.workers.names(), ["read_small"])
        self.assertEqual(self.disk.count("preadv"), 0)

    def test_partly_in_memory(self) -> None:
        """If only some of its bytes are in memory, a worker reads them all."""
        self.read("small")
        self.disk.shorten("preadv", 5)
        asked = self.store.content(self.small)
        self.assertEqual(self.workers.names(), ["read_small"])
        self.assertEqual(self.wait(asked).read(0, 10), b"0123456789")

    def test_short_reads(self) -> None:
        """A read that brings less than was asked for is read on."""
        self.disk.shorten("pread", 3, times=9)
        self.assertEqual(self.content(self.small).read(0, 10), b"0123456789")

    def spoil(self) -> None:
        """Change a byte of the small blob."""
        self.data(self.small).write_bytes(b"0123x56789")

    def test_verified(self) -> None:
        """A changed byte is found by the first read, and by one a minute after the last check."""
        self.spoil()
        self.fails(self.store.content(self.small), Damaged)
        for opens_now in (False, True):
            self.disk.opens_now = opens_now
            self.small = self.store_blob("small", b"0123456789")
            self.timer.time += 1000
            self.read("small")
            self.timer.time += VERIFIED_FOR - 1
            self.assertEqual(self.read("small"), b"0123456789")
            self.spoil()
            self.read("small")
            self.timer.time += 1
            self.fails(self.store.content(self.small), Damaged)

    def test_verified_again(self) -> None:
        """A check that found nothing wrong is good for another minute, and no longer."""
        for _ in range(3):
            self.timer.time += VERIFIED_FOR
            self.read("small")
        self.spoil()
        self.timer.time += VERIFIED_FOR - 1
        self.read("small")
        self.timer.time += 1
        self.fails(self.store.content(self.small), Damaged)

    def test_read_now(self) -> None:
        """Only a whole small blob is given at once, and nothing if anything is wrong."""
        self.read("small")
        blob, data, _ = self.store.read_now("small")
        self.assertEqual((blob, data), (self.small, b"0123456789"))
        self.read("large")
        for location in ("large", "missing"):
            self.assertIsNone(self.store.read_now(location))
        self.disk.fail("preadv")
        self.assertIsNone(self.store.read_now("small"))
        self.timer.time += VERIFIED_FOR
        self.spoil()
        self.assertIsNone(self.store.read_now("small"))
        self.fails(self.store.content(self.small), Damaged)
        self.assertIsNone(self.store.read_now("small"))

    def test_clock_set_back(self) -> None:
        """A clock that is set back makes no minute longer: the bytes are verified again."""
        self.timer.time = 10_000.0
        self.content(self.small)
        self.data(self.small).write_bytes(b"0123456780")
        self.timer.time -= 3600
        self.fails(self.store.content(self.small), Damaged)

    def test_good_for(self) -> None:
        """What was read is good for the rest of the minute, whoever else keeps it."""
        self.read("small")
        for passes, left in ((0, 60), (20, 40), (39, 1), (1, 60)):
            self.timer.time += passes
            _, data, good_for = self.store.read_now("small")
            self.assertEqual((data, good_for), (b"0123456789", left))

    def test_verified_from_disk(self) -> None:
        """What has to come from the disk again is verified, however late the last check was."""
        self.read("small")
        self.spoil()
        self.disk.fail("preadv", errno.EAGAIN)
        self.fails(self.store.content(self.small), Damaged)

    def test_cut(self) -> None:
        """A file of another size than its blob is found by every read."""
        self.read("small")
        self.data(self.small).write_bytes(b"012345678")
        self.fails(self.store.content(self.small), Damaged)

    def test_disk_fails(self) -> None:
        """A disk that fails is not a damaged blob, and says nothing of a path."""
        for prepare in (lambda: None, lambda: self.read("small")):
            prepare()
            for kind in ("pread", "preadv"):
                self.disk.fail(kind, errno.EIO, times=2)
            self.assertEqual(
                str(self.fails(self.store.content(self.small), DiskFailed)), "The disk failed: EIO"
            )
            self.disk.heal()
        self.assertEqual(self.read("small"), b"0123456789")

    def test_files(self) -> None:
        """Without a descriptor to open it with the reader is to come back."""
        self.disk.fail("open", errno.EMFILE)
        self.fails(self.store.content(self.small), Busy)
        self.assertEqual(self.read("small"), b"0123456789")

    def test_collected(self) -> None:
        """A blob that has been collected since is not found, and nothing is damaged."""
        self.wait(self.store.delete("small"))
        self.collect()
        self.fails(self.store.content(self.small), NotFound)
        self.store_blob("small", b"new")
        self.fails(self.store.content(self.small), NotFound)
        self.assertEqual(self.read("small"), b"new")


class LargeTests(ContentCase):
    """A large blob is read piece by piece, or sent from its file."""

    def test_read(self) -> None:
        """A worker reads any part of it."""
        content = self.content(self.large)
        self.assertEqual(content.size, len(LARGE))
        read = content.read(99_000, 1000)
        self.assertEqual(self.workers.names(), ["read"])
        self.assertEqual(self.wait(read), LARGE[-1000:])

    def test_load(self) -> None:
        """A worker sees that it is in memory, and says which descriptor to send it from."""
        content = self.content(self.large)
        self.disk.cached = False
        loaded = content.load(5, 99_000)
        self.assertEqual(self.workers.names(), ["load"])
        fd = self.wait(loaded)
        self.assertEqual(os.pread(fd, 99_000, 5), LARGE[5:99_005])
        self.assertEqual(self.disk.descriptors[fd], f"{self.large.id}/data.raw")

    def test_loaded(self) -> None:
        """If it is there already no worker is asked."""
        content = self.content(self.large)
        self.disk.cached = True
        fd = self.successResultOf(content.load(5, 99_000))
        self.assertEqual(self.disk.descriptors[fd], f"{self.large.id}/data.raw")
        self.assertEqual(self.workers.jobs, [])

    def test_disk_fails(self) -> None:
        """A read that fails may be tried again."""
        content = self.content(self.large)
        self.disk.cached = False
        self.disk.fail("pread")
        self.fails(content.read(0, 10), DiskFailed)
        self.disk.fail("preadv")
        self.fails(content.load(0, 10), DiskFailed)
        self.assertEqual(self.wait(content.read(0, 10)), LARGE[:10])


class VerifyTests(SynchronousTestCase):
    """What the scrubber learns from the store."""

    def setUp(self) -> None:
        """A store of two blobs, a large one and a small one."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)
        self.disk = FaultyDisk()
        self.start(InlineWorkers())
        self.large = os.urandom(3 * VERIFIED_AT_ONCE + 1)
        for location, data in (("large", self.large), ("small", b"Hello!")):
            self.successResultOf(self.store.create(location, FakeBody(data), Details()))
        self.reads: list[int] = []

    def start(self, workers: ThreadlessWorkers) -> None:
        """Have a store with these workers."""
        self.store = BlobStore(
            Volume(str(self.path), disk=self.disk), workers, PromptClock(), reserve=0
        )
        self.store.open()
        self.store.start()
        self.addCleanup(self.store.close)

    def pace(self, length: int) -> Deferred[None]:
        """Note a read."""
        self.reads.append(length)
        return succeed(None)

    def verify(self, location: str) -> Deferred[None]:
        """Verify a blob; whatever comes of it, no file stays open for it."""
        before = len(self.disk.descriptors)
        result = self.store.verifier.verify(location, self.pace)
        self.assertEqual(len(self.disk.descriptors), before)
        return result

    def data(self, location: str) -> Path:
        """The data.raw of a blob."""
        blob = self.successResultOf(self.store.get(location))
        return self.path / str(blob.id) / DATA

    def test_locations(self) -> None:
        """The locations come one after the other, and then there is none."""
        self.assertEqual(self.store.verifier.next_location(""), "large")
        self.assertEqual(self.store.verifier.next_location("large"), "small")
        self.assertEqual(self.store.verifier.next_location("m"), "small")
        self.assertIsNone(self.store.verifier.next_location("small"))

    def test_whole(self) -> None:
        """A blob that is as it was committed is read in pieces, each paid for, and stays."""
        self.successResultOf(self.verify("large"))
        self.assertEqual(self.reads, [VERIFIED_AT_ONCE] * 3 + [1])
        self.successResultOf(self.store.get("large"))

    def test_damaged(self) -> None:
        """A changed byte, a missing file or another in its place quarantines the blob."""
        for damage in ("changed", "missing", "link", "fifo", "short", "long"):
            self.successResultOf(self.store.put("x", FakeBody(self.large), Details()))
            file = self.data("x")
            if damage in ("missing", "link", "fifo"):
                file.unlink()
            if damage == "link":
                file.symlink_to("/etc/passwd")
            elif damage == "fifo":
                os.mkfifo(file)
            elif damage == "changed":
                file.write_bytes(self.large[:-1] + bytes([self.large[-1] ^ 1]))
            elif damage == "short":
                file.write_bytes(self.large[:-1])
            elif damage == "long":
                file.write_bytes(self.large + b"!")
            self.failureResultOf(self.verify("x"), Damaged)
            self.failureResultOf(self.store.get("x"), Damaged)
            self.assertFalse(file.parent.exists(), damage)

    def test_gone(self) -> None:
        """A location that has no blob is not found; one deleted meanwhile is not quarantined."""
        self.failureResultOf(self.verify("nothing"), NotFound)
        file = self.data("large")
        file.write_bytes(bytes(len(self.large)))

        def delete(length: int) -> Deferred[None]:
            if not self.reads:
                self.successResultOf(self.store.delete("large"))
            return self.pace(length)

        self.failureResultOf(self.store.verifier.verify("large", delete), Damaged)
        self.failureResultOf(self.store.get("large"), NotFound)
        self.assertTrue(file.exists())

    def test_disk_fails(self) -> None:
        """A read that fails says nothing about the blob, which stays."""
        self.disk.fail("pread", nth=2)
        self.failureResultOf(self.verify("large"), DiskFailed)
        self.successResultOf(self.store.get("large"))

    def test_full(self) -> None:
        """A read needs no room: it is a fault of the disk if an open says that there is none."""
        for location in ("small", "large"):
            self.disk.fail("open", errno.ENOSPC, name=DATA)
            self.failureResultOf(self.verify(location), DiskFailed)
            blob = self.successResultOf(self.store.get(location))
            self.disk.fail("open", errno.ENOSPC, name=DATA)
            error = self.failureResultOf(self.store.content(blob), DiskFailed).value
            self.assertEqual(str(error), "The disk failed: ENOSPC")

    def test_pace_fails(self) -> None:
        """When the pace says no, the file is closed."""
        refused = self.store.verifier.verify("large", lambda _: fail(ZeroDivisionError()))
        self.failureResultOf(refused, ZeroDivisionError)
        self.assertNotIn("data", "".join(self.disk.descriptors.values()))

    def test_go_servers(self) -> None:
        """A blob whose digest nobody knows is opened, and not read."""
        blob = self.store.index.blob("small")
        object.__setattr__(blob, "sha256", None)
        self.successResultOf(self.verify("small"))
        self.assertEqual(self.reads, [])

    def test_in_workers(self) -> None:
        """Everything that may wait for the disk happens in a worker."""
        self.store.close()
        workers = ManualWorkers()
        self.start(workers)
        verified = self.store.verifier.verify("small", self.pace)
        self.assertEqual(workers.names(), ["open_data"])
        workers.run()
        self.assertEqual(workers.names(), ["step"])
        workers.run()
        self.assertEqual(workers.names(), ["close_data"])
        workers.run()
        self.successResultOf(verified)
