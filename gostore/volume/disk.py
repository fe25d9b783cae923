"""The only interface to the operating system: all system calls of the volume go through a `Disk`.

Tests pass their own: one that counts calls, fails or shortens the k-th, or forgets at a crash what
was never synced.  The methods are those of `os`, with its arguments and its `OSError`s; names are
relative to a directory descriptor (``dir_fd``), so that a renamed or re-mounted path above the
volume changes nothing.

A name may have two parts, a directory and a file in it.  If somebody puts a symbolic link in the
directory's place it is not followed: the call fails with one of `NOT_REGULAR`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

#: File systems whose ``syncfs(2)`` writes out data, metadata and directories like an ``fsync`` of
#: each would.  On others (FUSE, NFS) it may reach no disk, so each file is synced.
SYNCFS_TRUSTED = frozenset({"ext4", "ext3", "ext2", "xfs", "f2fs", "tmpfs"})

#: File systems of this machine on which every change of a file changes its ctime for all to see. On
#: others (FUSE, NFS) a stat may be old, and on some (FAT) the ctime or the inode is made up.
CTIME_TRUSTED = frozenset({*SYNCFS_TRUSTED, "btrfs"})

#: How opening or reading fails where somebody put a link, a FIFO, a device or a directory.
NOT_REGULAR = frozenset(
    {errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EISDIR, errno.ESPIPE, errno.ENODEV}
)

#: How a step fails that finds something else than what the step before has left.
CHANGED = NOT_REGULAR | {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY}

#: Before Linux 5.8 ``syncfs(2)`` did not report failed write-back.
_SYNCFS_REPORTS_ERRORS = (5, 8)

#: openat2(2), which has one number on all that Linux runs on but Alpha, and of <linux/openat2.h>.
_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RESOLVE_CACHED = 0x20
#: How openat2(2) fails before Linux 5.6, and in a sandbox that does not know it.
_NO_OPENAT2 = frozenset({errno.ENOSYS, errno.EPERM})

#: A directory below which to look up a name; it need not be readable.
ABOVE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_MAP_FAILED = ctypes.c_void_p(-1).value


#: A flag of sync_file_range(2).
_BEGIN_WRITING = 2

#: An ioctl(2) of <linux/fs.h>.
_FICLONE = 0x40049409


class Disk:
    """The system calls of one volume, as the kernel has them."""

    close = staticmethod(os.close)
    write = staticmethod(os.write)
    writev = staticmethod(os.writev)
    pwrite = staticmethod(os.pwrite)
    pread = staticmethod(os.pread)
    preadv = staticmethod(os.preadv)
    fsync = staticmethod(os.fsync)
    fdatasync = staticmethod(os.fdatasync)
    fstat = staticmethod(os.fstat)
    ftruncate = staticmethod(os.ftruncate)
    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)
    random = staticmethod(os.urandom)
    #: As `lstat`, but a link in the place of the directory is followed. This costs half as much,
    #: and is for whoever has seen that there is none, and expects one certain file.
    peek = staticmethod(os.lstat)

    @property
    def flushing(self) -> Disk:
        """This disk; of one that flushes nothing, one that does."""
        return self

    def open(
        self, name: bytes | str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        """Open a path, or a name below a directory."""
        if dir_fd is None or isinstance(name, bytes) or "/" not in name:
            return os.open(name, flags, mode, dir_fd=dir_fd)
        try:
            return self._openat2(name, flags, mode, dir_fd=dir_fd)
        except OSError as error:
            if error.errno not in _NO_OPENAT2:
                raise
        with _above(name, dir_fd) as (above, last):
            return os.open(last, flags, mode, dir_fd=above)

    def read_fully(self, fd: int, length: int, offset: int) -> bytes:
        """Read so many bytes, or fewer if the file ends before."""
        pieces = []
        while length and (piece := self.pread(fd, length, offset)):
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def open_cached(self, name: str, flags: int, dir_fd: int) -> int:
        """Open what can be opened from memory alone, or raise BlockingIOError.

        openat2(2) with RESOLVE_CACHED, of Linux 5.12; before it, and where a sandbox forbids it,
        another OSError.
        """
        return self._openat2(name, flags, dir_fd=dir_fd, resolve=_RESOLVE_CACHED)

    @staticmethod
    def _openat2(name: str, flags: int, mode: int = 0, *, dir_fd: int, resolve: int = 0) -> int:
        """Open a name below a directory, following no symbolic link."""
        how = _how(flags, mode if flags & os.O_CREAT else 0, resolve)
        while True:
            fd: int = _libc.syscall(_OPENAT2, dir_fd, os.fsencode(name), how, ctypes.sizeof(how))
            if fd >= 0:
                return fd
            if (error := _last_error(name)).errno != errno.EINTR:
                raise error

    @staticmethod
    def unlink(name: str, *, dir_fd: int) -> None:
        """Remove a file."""
        with _above(name, dir_fd) as (above, last):
            os.unlink(last, dir_fd=above)

    @staticmethod
    def rename(source: str, target: str, dir_fd: int) -> None:
        """Rename something; ``target`` is replaced if it is a file."""
        with _above(source, dir_fd) as (above, last), _above(target, dir_fd) as (there, name):
            os.rename(last, name, src_dir_fd=above, dst_dir_fd=there)

    @staticmethod
    def lstat(name: str, dir_fd: int) -> os.stat_result:
        """Stat a name without following a symbolic link."""
        first, between, last = name.partition("/")
        if not between:
            return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        # As `_above`, at half its cost: a start stats a million files.
        above = os.open(first, ABOVE, dir_fd=dir_fd)
        try:
            return os.stat(last, dir_fd=above, follow_symlinks=False)
        finally:
            os.close(above)

    @staticmethod
    def leads_to(path: bytes | str, directory: os.stat_result) -> bool:
        """Say whether a path leads to a directory, through whatever links and mounts."""
        try:
            return os.path.samestat(os.stat(path), directory)
        except (FileNotFoundError, NotADirectoryError):
            return False

    @staticmethod
    def clone(source: int, target: int) -> None:
        """Let an empty file share the blocks of another one (FICLONE), where that can be done."""
        fcntl.ioctl(target, _FICLONE, source)

    @staticmethod
    def copy_range(source: int, target: int, offset: int, length: int) -> int:
        """Copy bytes from file to file, at the same offset, and return how many it were."""
        return os.copy_file_range(source, target, length, offset, offset)

    @staticmethod
    def listdir(dir_fd: int) -> list[tuple[str, bool]]:
        """Return the names in an open directory, each with whether it is a real directory."""
        with os.scandir(dir_fd) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]

    @staticmethod
    def free(dir_fd: int) -> tuple[int, int]:
        """Return (bytes free to us, bytes in all) of the file system."""
        found = os.fstatvfs(dir_fd)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    @staticmethod
    def free_inodes(dir_fd: int) -> int | None:
        """Return how many inodes are free to us; None where the file system has no such limit."""
        found = os.fstatvfs(dir_fd)
        return found.f_favail if found.f_files else None

    @staticmethod
    def lock(dir_fd: int) -> None:
        """Take the exclusive lock on an open directory, or raise BlockingIOError at once."""
        fcntl.flock(dir_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @staticmethod
    def syncfs(dir_fd: int) -> None:
        """Write out everything that the file system of ``dir_fd`` holds in memory (syncfs(2))."""
        if _libc.syncfs(dir_fd) != 0:
            raise _last_error()

    @staticmethod
    def write_back(fd: int) -> None:
        """Let the kernel begin to write out what it has of a file (sync_file_range(2)).

        This makes nothing durable, and a failure is for the fsync(2) that does.
        """
        _libc.sync_file_range(fd, 0, 0, _BEGIN_WRITING)

    @staticmethod
    def is_cached(fd: int, offset: int, length: int) -> bool:
        """Say whether these bytes of a file are in the page cache (mincore(2)).

        False, too, where nobody can tell, and for bytes that the file does not have.
        """
        start = offset - offset % mmap.PAGESIZE
        size = offset + length - start
        pages = -(-size // mmap.PAGESIZE)
        address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, start)
        if address in (None, _MAP_FAILED):
            return False
        try:
            found = ctypes.create_string_buffer(pages)
            return _libc.mincore(address, size, found) == 0 and found.raw.count(b"\1") == pages
        finally:
            _libc.munmap(address, size)

    @staticmethod
    def syncfs_trusted(dir_fd: int, release: str | None = None) -> bool:
        """Say whether one `syncfs` here stands for an `fsync` of every file written before it.

        ``release`` is the kernel's, by default of the one that runs.
        """
        numbers = re.match(r"(\d+)\.(\d+)", os.uname().release if release is None else release)
        if numbers is None:
            return False
        kernel = (int(numbers[1]), int(numbers[2]))
        return kernel >= _SYNCFS_REPORTS_ERRORS and file_system(dir_fd) in SYNCFS_TRUSTED

    @staticmethod
    def ctime_trusted(dir_fd: int) -> bool:
        """Say whether a file with the inode, ctime and size that it had is as it was."""
        return file_system(dir_fd) in CTIME_TRUSTED


class UnsyncedDisk(Disk):
    """A disk that is told to flush nothing: for scratch data, which may be lost in a power cut."""

    @property
    def flushing(self) -> Disk:
        """One for what must be flushed all the same."""
        return Disk()

    @staticmethod
    def fsync(fd: object) -> None:
        """Flush nothing."""

    @staticmethod
    def fdatasync(fd: object) -> None:
        """Flush nothing."""

    @staticmethod
    def syncfs(dir_fd: object) -> None:
        """Flush nothing."""

    @staticmethod
    def write_back(fd: object) -> None:
        """Leave that to the kernel."""


@lru_cache
def _how(flags: int, mode: int, resolve: int) -> ctypes.Array[ctypes.c_uint64]:
    """Return the open_how of <linux/openat2.h>; the kernel only reads it."""
    resolve |= _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS
    return (ctypes.c_uint64 * 3)(flags, mode, resolve)


@contextmanager
def _above(name: str, dir_fd: int) -> Iterator[tuple[int, str]]:
    """Open the directory that a name of two parts begins with; give it, and the last part."""
    first, between, last = name.partition("/")
    if not between:
        yield dir_fd, name
        return
    above = os.open(first, ABOVE, dir_fd=dir_fd)
    try:
        yield above, last
    finally:
        os.close(above)


def _last_error(name: str | None = None) -> OSError:
    """What the last call of the C library by this thread has failed with."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), name)


def file_system(dir_fd: int, mounts: str = "/proc/self/mountinfo") -> str:
    """Return the type of the file system of an open directory, as /proc names it; "" if unknown."""
    device = os.fstat(dir_fd).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                # "36 35 98:0 /root /mount options [optional fields] - type source super-options"
                before, _, after = line.partition(" - ")
                if before.split()[2] == wanted:
                    return after.split()[0]
    except OSError:
        pass
    return ""
