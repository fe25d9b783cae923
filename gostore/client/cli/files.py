"""The user's files: which of them to send, and how one is written so that it is never half there.

A file is written under a name of its own beside its target, flushed, and renamed. What a kill -9
leaves under that name the next command goes on with, if it is for the same version of the blob.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress

from attrs import frozen

from gostore.client.address import check_location, shown
from gostore.client.blocking import Download
from gostore.client.errors import BadLocation, ClientError, NoRoom

_PART = ".gostore-part-"


class FileFailed(ClientError):
    """A file of the user cannot be read or written."""

    word = "file failed"


@frozen
class Found:
    """A file below a directory, or what is there and cannot be sent, and why."""

    path: str
    #: The names from the directory to the file, with slashes between them.
    relative: str
    size: int = 0
    reason: str | None = None


def files_below(directory: str) -> Iterator[Found]:
    """Every file below a directory, in the order of the names. Links are not followed.

    Raises OSError if the directory itself cannot be read.
    """
    yield from _below(directory, "")


def _below(directory: str, before: str) -> Iterator[Found]:
    with os.scandir(directory) as scanned:
        entries = sorted(scanned, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        relative = before + entry.name
        try:
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                yield from _below(entry.path, f"{relative}/")
            elif entry.name.startswith(_PART):
                continue
            elif stat.S_ISREG(info.st_mode):
                check_location(relative)
                yield Found(entry.path, relative, info.st_size)
            else:
                kind = "a link" if stat.S_ISLNK(info.st_mode) else "not a file"
                yield Found(entry.path, relative, reason=f"{shown(entry.path)} is {kind}")
        except BadLocation as error:
            yield Found(entry.path, relative, reason=str(error))
        except OSError as error:
            yield Found(entry.path, relative, reason=said(error))


def path_below(directory: str, relative: str) -> str:
    """The path of what has this name below a directory. Raises FileFailed if it would be elsewhere.

    The daemon refuses such locations, but who knows whether it is one.
    """
    try:
        check_location(relative)
    except BadLocation as error:
        raise FileFailed(str(error)) from None
    return os.path.join(directory, *relative.split("/"))


class Writer:
    """Writes files, and knows which ones, so that no two blobs become one file.

    That happens where a file system takes ``a`` and ``A`` for one name.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written: dict[tuple[int, int], str] = {}
        self._parts: set[str] = set()
        self._is_stopped = False

    def save(self, download: Download, path: str) -> None:
        """Write a blob to a file, in place of the one that is there. Raises FileFailed."""
        try:
            target = os.path.realpath(path) if os.path.islink(path) else path
            self._check_target(target)
            os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
            self._save(download, target)
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise (NoRoom if is_full else FileFailed)(said(error)) from error

    def stop(self) -> None:
        """Remove what is half written; nothing more is written."""
        with self._lock:
            self._is_stopped = True
            for part in self._parts:
                with suppress(OSError):
                    os.unlink(part)

    def check(self) -> None:
        """Raise FileFailed after `stop`."""
        if self._is_stopped:
            raise FileFailed("Interrupted")

    def _check_target(self, target: str) -> None:
        with suppress(FileNotFoundError):
            info = os.lstat(target)
            if not stat.S_ISREG(info.st_mode):
                kind = "a directory" if stat.S_ISDIR(info.st_mode) else "not a file"
                raise FileFailed(f"{shown(target)} is {kind}")
            with self._lock:
                before = self._written.get((info.st_dev, info.st_ino))
            if before is not None:
                text = f"{shown(target)} is the same file here as {shown(before)}"
                raise FileFailed(text)

    def _save(self, download: Download, target: str) -> None:
        part, descriptor = self._open(download, target)
        try:
            with suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(os.stat(target).st_mode))
            with os.fdopen(descriptor, "wb", buffering=0, closefd=False) as file:
                for piece in download:
                    self.check()
                    file.write(piece)
            if (mtime := download.blob.mtime) is not None:
                os.utime(descriptor, ns=(mtime, mtime))
            os.fsync(descriptor)
            info = os.fstat(descriptor)
            with self._lock:
                self.check()
                os.rename(part, target)
                self._parts.discard(part)
                self._written[info.st_dev, info.st_ino] = target
        except BaseException:
            with self._lock, suppress(OSError):
                self._parts.discard(part)
                os.unlink(part)
            raise
        finally:
            os.close(descriptor)

    def _open(self, download: Download, target: str) -> tuple[str, int]:
        """Open the file that becomes the target; go on with what an earlier command has left."""
        directory = os.path.dirname(target) or "."
        digest = download.blob.sha256 or ""
        named = hashlib.sha256(os.fsencode(os.path.basename(target))).hexdigest()
        part = os.path.join(directory, f"{_PART}{named[:16]}-{digest[:16]}")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with self._lock:
            self.check()
            descriptor = os.open(part, flags, 0o666)
            self._parts.add(part)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            info = os.fstat(descriptor)
            # Another command may have made the target of it since it was opened.
            is_ours = os.path.samestat(info, os.lstat(part)) and info.st_uid == os.geteuid()
            if not (is_ours and info.st_nlink == 1 and stat.S_ISREG(info.st_mode)):
                raise FileFailed(f"{shown(part)} is in the way")
            if 0 < info.st_size <= max(download.blob.size, 0):
                with os.fdopen(os.dup(descriptor), "rb") as file:
                    download.resume(file)
            os.ftruncate(descriptor, download.offset)
            os.lseek(descriptor, download.offset, os.SEEK_SET)
        except BaseException as error:
            os.close(descriptor)
            with self._lock:
                self._parts.discard(part)
            if isinstance(error, BlockingIOError):
                raise FileFailed(f"Another command is writing {shown(target)}") from error
            raise
        return part, descriptor


def said(error: OSError) -> str:
    """An error of the system for people."""
    name = f"{shown(os.fsdecode(error.filename))}: " if error.filename else ""
    return f"{name}{error.strerror or error}"
