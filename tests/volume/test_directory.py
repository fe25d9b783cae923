"""Tests for gostore.volume.directory: whether the path still leads to the directory."""

from __future__ import annotations

import errno
import os

from twisted.logger import capturedLogs, formatEvent

from gostore.errors import ReadOnly
from gostore.volume.changes import Delete, Discard
from tests.volume.support import VolumeCase


class PlaceTests(VolumeCase):
    """A data directory that is not where the next start will look for it."""

    def setUp(self) -> None:
        super().setUp()
        self.blob = self.commit(1, "a")
        self.moved = f"{self.path}.moved"

    def check(self) -> str | None:
        """Why nothing may be written."""
        try:
            self.volume.directory.check()
        except ReadOnly as error:
            return error.reason
        return None

    def assert_refused(self) -> None:
        """Nothing is written, and nothing is even tried."""
        self.assertIn("leads elsewhere", self.check() or "")
        self.disk.clear()
        changes = [self.change(2, "b"), Delete(self.blob.committed(), []), Discard(["1"], 0)]
        errors = self.volume.protocol.carry_out(changes)
        self.assertEqual([type(error) for error in errors], [ReadOnly] * 3)
        self.assertEqual(self.disk.trace(), [])
        self.assertIsNone(self.volume.broken, "it may come back")

    def test_another_in_its_place(self) -> None:
        """Nothing is written while another directory has its place; then writing goes on."""
        os.rename(self.path, self.moved)
        os.mkdir(self.path)
        self.assert_refused()
        self.assertEqual(self.names(), [], "the other one is left alone")
        os.close(self.volume.open_data(self.blob.committed()))
        os.rmdir(self.path)
        os.rename(self.moved, self.path)
        self.assertIsNone(self.check())
        self.commit(3, "c")

    def test_moved_away(self) -> None:
        """A path that leads nowhere is as bad: the next start would make an empty directory."""
        os.rename(self.path, self.moved)
        self.assert_refused()
        os.rename(self.moved, self.path)

    def test_moved_above(self) -> None:
        """The same goes for a directory above it."""
        self.volume.close()
        above = os.path.abspath(self.mktemp())
        self.path = os.path.join(above, "data")
        self.volume = self.open()
        os.rename(above, f"{above}.moved")
        self.assert_refused()
        with open(above, "wb"):
            self.assert_refused()

    def test_link(self) -> None:
        """A link is followed: it has to lead to the directory that was opened."""
        self.volume.close()
        place, self.path = self.path, f"{self.path}.link"
        os.symlink(place, self.path)
        self.volume = self.open()
        self.commit(4, "d")
        os.mkdir(self.moved)
        os.unlink(self.path)
        os.symlink(self.moved, self.path)
        self.assert_refused()

    def test_said_once(self) -> None:
        """The log says it once, and once that it is over."""
        with capturedLogs() as captured:
            os.rename(self.path, self.moved)
            for _ in range(3):
                self.assertIsNotNone(self.check())
            os.rename(self.moved, self.path)
            for _ in range(3):
                self.assertIsNone(self.check())
        said = [formatEvent(event) for event in captured]
        self.assertEqual([line.split(":")[0] for line in said][:1], ["Read-only"])
        self.assertEqual(len(said), 2)
        self.assertIn("goes on", said[1])

    def test_cannot_be_seen(self) -> None:
        """A path that may not be looked at proves nothing: a daemon may drop its rights."""

        def leads_to(path: object, dir_fd: object) -> bool:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        self.disk.leads_to = leads_to  # type: ignore[method-assign]
        self.assertIsNone(self.check())
