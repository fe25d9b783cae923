"""The seam to the operating system: every system call that the volume makes goes through a `Disk`.

Tests pass their own: one that counts calls, fails or shortens the k-th, or forgets at a crash what
was never synced.  The methods are those of `os`, with its arguments and its `OSError`s; names are
relative to a directory descriptor (``dir_fd``), so that a renamed or re-mounted path above the
volume changes nothing.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import re

#: File systems whose ``syncfs(2)`` writes out data, metadata and directories like an ``fsync`` of
#: each would.  On others (FUSE, NFS) it may reach no disk, so each file is synced.
SYNCFS_TRUSTED = frozenset({"ext4", "ext3", "ext2", "xfs", "f2fs", "tmpfs"})

#: How opening or reading fails where somebody put a link, a FIFO, a device or a directory.
NOT_REGULAR = frozenset(
    {errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EISDIR, errno.ESPIPE, errno.ENODEV}
)

#: Before Linux 5.8 ``syncfs(2)`` did not report failed write-back.
_SYNCFS_REPORTS_ERRORS = (5, 8)

#: openat2(2), which has one number on all that Linux runs on but Alpha, and of <linux/openat2.h>.
_OPENAT2 = 437
_RESOLVE_CACHED = 0x20

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
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_MAP_FAILED = ctypes.c_void_p(-1).value


class Disk:
    """The system calls of one volume, as the kernel has them."""

    open = staticmethod(os.open)
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
    unlink = staticmethod(os.unlink)
    rmdir = staticmethod(os.rmdir)
    random = staticmethod(os.urandom)

    @staticmethod
    def open_cached(name: str, flags: int, dir_fd: int) -> int:
        """Open what can be opened from memory alone, or raise BlockingIOError.

        openat2(2) with RESOLVE_CACHED, of Linux 5.12; before it, and where a sandbox forbids it,
        another OSError.
        """
        how = (ctypes.c_uint64 * 3)(flags, 0, _RESOLVE_CACHED)
        fd: int = _libc.syscall(_OPENAT2, dir_fd, os.fsencode(name), how, ctypes.sizeof(how))
        if fd < 0:
            raise _last_error()
        return fd

    @staticmethod
    def rename(source: str, target: str, dir_fd: int) -> None:
        """Rename within one directory; ``target`` is replaced if it is a file."""
        os.rename(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    @staticmethod
    def lstat(name: str, dir_fd: int) -> os.stat_result:
        """Stat a name without following a symbolic link."""
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    @staticmethod
    def leads_to(path: bytes | str, dir_fd: int) -> bool:
        """Say whether a path leads to an open directory, through whatever links and mounts."""
        try:
            return os.path.samestat(os.stat(path), os.fstat(dir_fd))
        except (FileNotFoundError, NotADirectoryError):
            return False

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
    def lock(dir_fd: int) -> None:
        """Take the exclusive lock on an open directory, or raise BlockingIOError at once."""
        fcntl.flock(dir_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @staticmethod
    def syncfs(dir_fd: int) -> None:
        """Write out everything that the file system of ``dir_fd`` holds in memory (syncfs(2))."""
        if _libc.syncfs(dir_fd) != 0:
            raise _last_error()

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


class UnsyncedDisk(Disk):
    """A disk that is told to flush nothing: for scratch data, which may be lost in a power cut."""

    @staticmethod
    def fsync(fd: object) -> None:
        """Flush nothing."""

    @staticmethod
    def fdatasync(fd: object) -> None:
        """Flush nothing."""

    @staticmethod
    def syncfs(dir_fd: object) -> None:
        """Flush nothing."""


def _last_error() -> OSError:
    """What the last call of the C library by this thread has failed with."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


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
