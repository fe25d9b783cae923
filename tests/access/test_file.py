"""Tests for gostore.access.file: reading and changing the file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gostore.access import file
from gostore.access.file import MAX_SIZE, change, others_may_read, read_rules, read_text
from gostore.ini import BadFile

GOOD = "[anonymous]\ngrant = read\n"


class FileTests(SynchronousTestCase):
    """A file, good or bad."""

    def setUp(self) -> None:
        """Have a good one."""
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text(GOOD)

    def reason(self) -> str:
        """Why the file is refused."""
        with self.assertRaises(BadFile) as caught:
            read_rules(str(self.path))
        return str(caught.exception).removeprefix(str(self.path))

    def test_good(self) -> None:
        """It is read, with a byte order mark too."""
        self.assertEqual(read_rules(str(self.path)).lines, {"anonymous": 1})
        self.path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
        self.assertEqual(read_rules(str(self.path)).lines, {"anonymous": 1})

    def test_refused(self) -> None:
        """What is not a small regular file with text in it is refused, and never waited for."""
        self.path.write_bytes(GOOD.encode() + b"# \xff\n")
        self.assertEqual(self.reason(), ", line 3: it is not UTF-8")
        self.path.write_bytes(b"#" * (10 << 20))
        self.assertEqual(self.reason(), f": it has more than {MAX_SIZE} bytes")
        self.path.unlink()
        self.assertEqual(self.reason(), ": No such file or directory")
        os.mkfifo(self.path)
        self.assertEqual(self.reason(), ": it is not a regular file")
        self.path.unlink()
        self.path.mkdir()
        self.assertEqual(self.reason(), ": Is a directory")

    def test_written_meanwhile(self) -> None:
        """A file that changes while it is read is read once more."""
        reads: list[bytes] = []

        def read(path: str, shown: str) -> tuple[bytes, bool]:
            found = original(path, shown)
            reads.append(found[0])
            return found if len(reads) > 1 else (found[0][:5], False)

        original = file._read
        self.patch(file, "_read", read)
        self.assertEqual(read_text(str(self.path)), GOOD)
        self.assertEqual(len(reads), 2)

    def test_mode(self) -> None:
        """It is known whether everybody may read it."""
        self.path.chmod(0o640)
        self.assertFalse(others_may_read(str(self.path)))
        self.path.chmod(0o604)
        self.assertTrue(others_may_read(str(self.path)))

    def test_change(self) -> None:
        """A change is written as a whole, with the mode that the file has; a link stays a link."""
        self.path.chmod(0o640)
        link = self.path.with_name(f"{self.path.name}-link")
        link.symlink_to(self.path)
        change(str(link), lambda text: text + "# one\n")
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.path.read_text(), GOOD + "# one\n")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)

    def test_new(self) -> None:
        """A missing file is made, and only its owner may read it."""
        self.path.unlink()
        change(str(self.path), lambda text: text + GOOD)
        self.assertEqual(self.path.read_text(), GOOD)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_refused_change(self) -> None:
        """A change after which the file would not load is refused, and nothing is written."""
        before = self.path.stat()
        with self.assertRaises(BadFile) as caught:
            change(str(self.path), lambda text: text + "oops\n")
        self.assertIn("line 3: neither a setting", str(caught.exception))
        self.assertEqual(self.path.stat(), before)
        self.assertEqual(self.path.read_text(), GOOD)
        self.path.write_text("oops\n")
        self.assertRaises(BadFile, change, str(self.path), lambda text: GOOD)

    def test_failed_change(self) -> None:
        """A change that fails on the disk leaves the file as it was, and nothing beside it."""
        new = Path(f"{self.path}.new")
        self.patch(os, "rename", os.rmdir)  # which fails here
        self.assertRaises(TypeError, change, str(self.path), lambda text: text + "# one\n")
        self.assertFalse(new.exists())
        self.assertEqual(self.path.read_text(), GOOD)

    def test_one_after_another(self) -> None:
        """While one change is made, another waits: the lock of the directory is taken."""
        import fcntl

        def edit(text: str) -> str:
            other = os.open(self.path.parent, os.O_RDONLY)
            self.addCleanup(os.close, other)
            with self.assertRaises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return text

        change(str(self.path), edit)
