"""The access file on the disk: read with care, and changed as a whole."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from gostore.access.rules import Rules, parse_rules
from gostore.ini import BadFile, read_ini
from gostore.text import printable

MAX_SIZE = 4 << 20
"""The most bytes of an access file: some 20,000 principals."""

_MODE = 0o600


def read_rules(path: str) -> Rules:
    """Read an access file. Raises BadFile."""
    return parse_rules(read_text(path), printable(path))


def read_text(path: str) -> str:
    """The text of an access file, as it was at one moment. Raises BadFile.

    Nobody needs to stop while it is read: it is replaced as a whole, or read again.
    """
    shown = printable(path)
    try:
        while True:
            data, is_whole = _read(path, shown)
            if is_whole:
                break
    except OSError as error:
        raise BadFile(shown, 0, os.strerror(error.errno or 0)) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadFile(shown, line, "it is not UTF-8") from None


def _read(path: str, shown: str) -> tuple[bytes, bool]:
    """All bytes, and whether nobody wrote to the file meanwhile."""
    # A FIFO must not block.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(number, "rb") as file:
        before = os.fstat(number)
        if not stat.S_ISREG(before.st_mode):
            raise BadFile(shown, 0, "it is not a regular file")
        data = file.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise BadFile(shown, 0, f"it has more than {MAX_SIZE} bytes")
        return data, seen(before) == seen(os.fstat(number))


def seen(status: os.stat_result) -> tuple[int, ...]:
    """What tells one content of a file from another."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def others_may_read(path: str) -> bool:
    """Whether everybody on this machine may read the file."""
    return bool(os.stat(path).st_mode & stat.S_IROTH)


def change(path: str, edit: Callable[[str], str]) -> None:
    """Write what ``edit`` makes of the text of an access file; of none, if it is missing.

    Changes come one after another, and each is written as a whole and durably. Raises BadFile, and
    writes nothing, if the file would not load, or does not load now.
    """
    # A link stays a link.
    path = os.path.realpath(path)
    with _locked(os.path.dirname(path)) as directory:
        exists = os.path.lexists(path)
        text = read_text(path) if exists else ""
        read_ini(text, printable(path))
        text = edit(text)
        parse_rules(text, printable(path))
        _write(path, text, os.stat(path) if exists else None)
        os.fsync(directory)


@contextmanager
def _locked(path: str) -> Iterator[int]:
    """Lock a directory: the file itself is replaced, and may not be there yet."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(directory)


def _write(path: str, text: str, old: os.stat_result | None) -> None:
    """Write a file beside it, with the same owner and mode, and rename that."""
    new = f"{path}.new"
    number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _MODE)
    try:
        with os.fdopen(number, "wb") as file:
            if old is not None:
                with suppress(PermissionError):
                    os.fchown(number, old.st_uid, old.st_gid)
                os.fchmod(number, stat.S_IMODE(old.st_mode))
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(number)
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise
