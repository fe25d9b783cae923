"""Tests for gostore.volume.disk: the system calls that os lacks, and their doubles."""

from __future__ import annotations

import errno
import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from gostore.volume.disk import NOT_REGULAR, SYNCFS_TRUSTED, Disk, UnsyncedDisk, file_system
from tests.volume.support import OldKernel


class DiskTests(SynchronousTestCase):
    """A real directory."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        os.mkdir(self.path)
        self.fd = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, self.fd)

    def test_rename(self) -> None:
        """Both names are within the directory."""
        with open(os.path.join(self.path, "a"), "wb"):
            pass
        Disk.rename("a", "b", self.fd)
        self.assertEqual(os.listdir(self.path), ["b"])

    def test_listdir(self) -> None:
        """A link to a directory is no directory."""
        os.mkdir(os.path.join(self.path, "d"))
        os.symlink("d", os.path.join(self.path, "l"))
        self.assertEqual(sorted(Disk.listdir(self.fd)), [("d", True), ("l", False)])

    def test_lstat(self) -> None:
        """A link is not followed."""
        os.symlink("/nowhere", os.path.join(self.path, "l"))
        self.assertEqual(Disk.lstat("l", self.fd).st_size, len("/nowhere"))
        self.assertRaises(FileNotFoundError, Disk.lstat, "x", self.fd)

    def test_new_file(self) -> None:
        """A file of a directory is made with the mode that is asked for, and not inherited."""
        os.mkdir(os.path.join(self.path, "d"))
        for number, disk in enumerate((Disk(), OldKernel())):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = disk.open(f"d/{number}", flags, 0o600, dir_fd=self.fd)
            self.addCleanup(os.close, fd)
            self.assertEqual(stat.S_IMODE(os.fstat(fd).st_mode), 0o600)
            self.assertFalse(os.get_inheritable(fd))
            self.assertRaises(FileExistsError, disk.open, f"d/{number}", flags, dir_fd=self.fd)
            self.assertRaises(FileNotFoundError, disk.open, "d/x", os.O_RDONLY, dir_fd=self.fd)
            self.assertRaises(FileNotFoundError, disk.open, "x/x", os.O_RDONLY, dir_fd=self.fd)

    def test_names_of_two_parts(self) -> None:
        """A file of a directory is looked at, renamed and removed by both its names."""
        os.mkdir(os.path.join(self.path, "d"))
        with open(os.path.join(self.path, "d", "a"), "wb"):
            pass
        Disk.rename("d/a", "d/b", self.fd)
        self.assertEqual(Disk.lstat("d/b", self.fd).st_size, 0)
        self.assertRaises(FileNotFoundError, Disk.lstat, "d/a", self.fd)
        Disk.unlink("d/b", dir_fd=self.fd)
        self.assertEqual(os.listdir(os.path.join(self.path, "d")), [])

    def test_no_link_on_the_way(self) -> None:
        """A link in the place of a directory is followed by no call, on no kernel."""
        elsewhere = self.mktemp()
        os.mkdir(elsewhere)
        with open(os.path.join(elsewhere, "f"), "wb") as file:
            file.write(b"photo")
        os.symlink(os.path.abspath(elsewhere), os.path.join(self.path, "absolute"))
        os.symlink(os.path.relpath(elsewhere, self.path), os.path.join(self.path, "relative"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        for disk in (Disk(), OldKernel()):
            for name in ("absolute", "relative"):
                for call in (
                    lambda path, disk=disk: disk.open(path, os.O_RDONLY, dir_fd=self.fd),
                    lambda path, disk=disk: disk.open(f"{path}.new", flags, dir_fd=self.fd),
                    lambda path, disk=disk: disk.open_cached(path, os.O_RDONLY, self.fd),
                    lambda path, disk=disk: disk.lstat(path, self.fd),
                    lambda path, disk=disk: disk.unlink(path, dir_fd=self.fd),
                    lambda path, disk=disk: disk.rename(path, f"{path}.new", self.fd),
                ):
                    error = self.assertRaises(OSError, call, f"{name}/f")
                    self.assertIn(error.errno, NOT_REGULAR | {errno.ENOSYS})
        self.assertEqual(os.listdir(elsewhere), ["f"])

    def test_lock(self) -> None:
        """A lock that somebody has is refused at once."""
        Disk.lock(self.fd)
        other = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, other)
        self.assertRaises(BlockingIOError, Disk.lock, other)

    def test_syncfs(self) -> None:
        """syncfs raises what the kernel says."""
        Disk.syncfs(self.fd)
        self.assertRaises(OSError, Disk.syncfs, -1)

    def test_trusted(self) -> None:
        """syncfs is trusted on file systems where it is known to do the work of fsync, only."""
        name = file_system(self.fd)
        self.assertNotEqual(name, "")
        self.assertEqual(Disk.syncfs_trusted(self.fd), name in SYNCFS_TRUSTED)
        proc = os.open("/proc", os.O_RDONLY)
        self.addCleanup(os.close, proc)
        self.assertEqual(file_system(proc), "proc")
        self.assertFalse(Disk.syncfs_trusted(proc))

    def test_open_cached(self) -> None:
        """A file that was just there is opened; one that is not there, or is a link, is not."""
        path = self.mktemp()
        os.mkdir(path)
        root = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, root)
        os.symlink("file", os.path.join(path, "link"))
        with open(os.path.join(path, "file"), "wb") as file:
            file.write(b"hello")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = Disk().open_cached("file", flags, root)
        self.addCleanup(os.close, fd)
        self.assertEqual(os.pread(fd, 10, 0), b"hello")
        self.assertFalse(os.get_inheritable(fd))
        for name in ("missing", "link"):
            self.assertRaises(OSError, Disk().open_cached, name, flags, root)

    def test_cached(self) -> None:
        """What was just written is in memory; what a file does not have, or is no file, is not."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(bytes(10_000))
        fd = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        for offset, length in ((0, 10_000), (5000, 5000), (4095, 2), (9999, 1)):
            self.assertTrue(Disk.is_cached(fd, offset, length), (offset, length))
        for offset, length in ((0, 20_000), (12_288, 1), (0, 0)):
            self.assertFalse(Disk.is_cached(fd, offset, length), (offset, length))
        self.assertFalse(Disk.is_cached(self.fd, 0, 10))
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        if file_system(fd) != "tmpfs":  # has no other place for it
            self.assertFalse(Disk.is_cached(fd, 0, 10_000))

    def test_kernels(self) -> None:
        """Before Linux 5.8, and of a kernel that cannot be told, it is not trusted."""
        self.assertFalse(Disk.syncfs_trusted(self.fd, release="5.7.19-generic"))
        self.assertFalse(Disk.syncfs_trusted(self.fd, release="unknown"))
        for release in ("5.8.0", "6.1-rc1", "10.0.1"):
            self.assertEqual(
                Disk.syncfs_trusted(self.fd, release=release),
                file_system(self.fd) in SYNCFS_TRUSTED,
            )

    def test_file_system(self) -> None:
        """The type is that of the device's line; without one, or without a table, it is unknown."""
        path = os.path.abspath(self.mktemp())
        os.mkdir(path)
        fd = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        device = os.fstat(fd).st_dev
        table = os.path.join(path, "mounts")
        self.assertEqual(file_system(fd, table), "")
        ours = f"{os.major(device)}:{os.minor(device)}"
        other = "36 35 999:9 / /other rw shared:1 - ext4 /dev/sda1 rw\n"
        for lines, kind in (
            (other, ""),
            (f"{other}37 35 {ours} / /a\\040b rw - xfs /dev/sdb rw\n", "xfs"),
        ):
            with open(table, "w", encoding="utf-8") as out:
                out.write(lines)
            self.assertEqual(file_system(fd, table), kind)

    def test_unsynced(self) -> None:
        """A disk that flushes nothing does not even look at what it is given."""
        scratch = UnsyncedDisk()
        for flush in (scratch.fsync, scratch.fdatasync, scratch.syncfs):
            flush(-1)
        self.assertIs(scratch.rename, Disk.rename)
        # For what must be flushed all the same.
        self.assertIs(scratch.flushing.fsync, os.fsync)
