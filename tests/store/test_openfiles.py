"""Tests for gostore.store.openfiles: which files are kept open, and for how long."""

from __future__ import annotations

import errno
import os

from gostore.blob import Committed
from gostore.errors import Damaged
from gostore.store.interface import Details
from tests.store.doubles import FILE, FakeBody
from tests.store.support import LARGE
from tests.store.test_reading import ContentCase


class OpenFilesTests(ContentCase):
    """Files are kept open for the next reader, and closed when nobody needs them."""

    on_disk = True

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
        self.open(max_open_files=0)
        for error, asked in ((errno.EAGAIN, 3), (errno.ENOSYS, 1)):
            self.disk.refusal = error
            self.disk.asked_now = 0
            for blob in (self.small, self.large, self.small):
                self.wait(self.store.content(blob)).close()
                self.workers.run_all()
            self.assertEqual(self.disk.asked_now, asked)

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
