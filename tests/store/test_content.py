"""Tests for gostore.store.content: the bytes of an open blob, and the files kept open."""

from __future__ import annotations

import errno
import os
from typing import Any
from unittest import mock

from gostore.blob import Committed
from gostore.errors import Busy, Damaged, DiskFailed, NotFound
from gostore.store.content import SmallContent
from gostore.store.interface import SMALL_BLOB, Details
from tests.store.doubles import FILE, FakeBody
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


class OpenFilesTests(ContentCase):
    """Files are kept open for the next reader, and closed when nobody needs them."""

    def file(self, blob: Committed) -> str:
        """The name of a blob's data file."""
        return f"{blob.id}/data.raw"

    def test_opened_once(self) -> None:
        """Readers of one blob, one after another or together, share one open file."""
        self.disk.clear()
        first, second = self.content(self.large), self.content(self.large)
        self.read("large")
        self.assertEqual(self.disk.count("open"), 1)
        first.close()
        second.close()
        self.workers.run_all()
        self.assertEqual(self.open_data(), [self.file(self.large)])

    def test_opened_now(self) -> None:
        """One that can be opened without the disk is, and no worker is asked."""
        self.disk.opens_now = True
        content = self.successResultOf(self.store.content(self.small))
        self.assertEqual(content.read(0, 10), b"0123456789")
        self.successResultOf(self.store.content(self.large)).close()
        self.assertEqual(self.workers.jobs, [])
        self.assertEqual(self.open_data(), sorted([self.file(self.small), self.file(self.large)]))
        # The one that is too many is closed at once, too.
        other = self.store_blob("other")
        self.successResultOf(self.store.content(other))
        self.assertEqual(self.workers.jobs, [])
        self.assertEqual(self.open_data(), sorted([self.file(other), self.file(self.large)]))

    def test_damaged_now(self) -> None:
        """What is wrong with one that could be opened at once is for a worker to find."""
        self.disk.opens_now = True
        os.truncate(self.data(self.large), 5)
        self.fails(self.store.content(self.large), Damaged)
        self.assertEqual(self.open_data(), [])

    def test_never_now(self) -> None:
        """A kernel that knows no such opening is asked once."""
        for error in (errno.EAGAIN, errno.ENOSYS):
            refuse = mock.Mock(side_effect=OSError(error, ""))
            self.disk.open_cached = refuse
            for blob in (self.small, self.large, self.small):
                self.wait(self.store.content(blob)).close()
                self.store._files.clear()
            self.assertEqual(refuse.call_count, 3 if error == errno.EAGAIN else 1)

    def test_opened_twice(self) -> None:
        """Two that come before the file is open have one each, of which one is kept."""
        asked = [self.store.content(self.large) for _ in range(2)]
        self.workers.run_all()
        contents = [self.successResultOf(one) for one in asked]
        self.assertEqual(len(self.open_data()), 2)
        for content in contents:
            self.assertEqual(self.wait(content.read(0, 10)), LARGE[:10])
            content.close()
        self.workers.run_all()
        self.assertEqual(self.open_data(), [self.file(self.large)])

    def test_opened_after(self) -> None:
        """The second of them may come when the first is done; none stays open unseen."""
        first, second = (self.store.content(self.large) for _ in range(2))
        self.workers.run(FILE)
        self.successResultOf(first).close()
        self.workers.run(FILE)
        self.successResultOf(second).close()
        self.workers.run_all()
        self.assertEqual(self.open_data(), [self.file(self.large)])

    def test_two_readers(self) -> None:
        """A reader that lets go of a deleted blob, even twice, takes no file from another."""
        first, second = self.content(self.large), self.content(self.large)
        self.wait(self.store.delete("large"))
        first.close()
        first.close()
        self.workers.run_all()
        self.assertEqual(self.wait(second.read(0, 10)), LARGE[:10])
        second.close()
        self.workers.run_all()
        self.assertEqual(self.open_data(), [])

    def test_capacity(self) -> None:
        """No more files are kept than allowed; the one used longest ago is closed."""
        other = self.store_blob("other", LARGE)
        for location in ("small", "large", "small", "other"):
            self.read(location)
        self.assertEqual(self.open_data(), sorted([self.file(self.small), self.file(other)]))

    def test_in_use(self) -> None:
        """One that is read is not closed for being one too many, but when its reader is done."""
        content = self.content(self.large)
        for location in ("small", "a", "b"):
            self.store_blob(location, b"x")
            self.read(location)
        self.assertEqual(self.wait(content.read(0, 10)), LARGE[:10])
        content.close()
        self.workers.run_all()
        self.assertNotIn(self.file(self.large), self.open_data())
        self.assertEqual(len(self.open_data()), 2)

    def test_close_under_way(self) -> None:
        """A content that is closed while a worker reads lets go of the file after that."""
        content = self.content(self.large)
        read = content.read(0, 10)
        job = self.workers.take(FILE)
        content.close()
        content.close()
        self.wait(self.store.delete("large"))
        self.assertEqual(self.open_data(), [self.file(self.large)])
        job.work()
        job.report()
        self.assertEqual(self.wait(read), LARGE[:10])
        self.assertEqual(self.open_data(), [])

    def test_replaced(self) -> None:
        """The file of a replaced or deleted blob is closed as soon as nobody reads it."""
        self.read("small")
        self.read("large")
        self.store_blob("small", b"new")
        self.assertEqual(self.open_data(), [self.file(self.large)])
        self.wait(self.store.delete("large"))
        self.assertEqual(self.open_data(), [])

    def test_slow_reader(self) -> None:
        """A reader gets all bytes of what is replaced or deleted and collected (bad-inputs 75)."""
        for change in (
            lambda: self.store.put("large", FakeBody(b"new"), Details()),
            lambda: self.store.delete("large"),
        ):
            blob = self.store_blob("large", LARGE)
            content = self.content(blob)
            found = self.wait(content.read(0, 50_000))
            self.wait(change())
            self.collect()
            self.assertNotIn(str(blob.id), self.names())
            found += self.wait(content.read(50_000, len(LARGE) - 50_000))
            self.assertEqual(found, LARGE)
            fd = self.wait(content.load(0, 10))
            self.assertEqual(os.pread(fd, 10, 0), LARGE[:10])
            content.close()
            self.workers.run_all()
            self.assertEqual(self.open_data(), [])

    def test_deleted_while_opened(self) -> None:
        """A file that is opened while its blob is deleted is read, and not kept."""
        asked = self.store.content(self.large)
        job = self.workers.take(FILE)
        job.work()
        self.wait(self.store.delete("large"))
        job.report()
        content = self.successResultOf(asked)
        self.assertEqual(self.wait(content.read(0, 10)), LARGE[:10])
        content.close()
        self.workers.run_all()
        self.assertEqual(self.open_data(), [])
