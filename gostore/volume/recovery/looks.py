"""A look at a file that may fail, and what a failure says of the file."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Failures that may be the file's own: a bad sector, or a file system that finds itself damaged.
#: No other judges a blob: it is about this process, or the network.
_OF_THE_FILE = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG})

#: Failures to reach a file that is there: rights or links are wrong, and its bytes may be good.
OUT_OF_REACH = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG})

_JUDGED = _OF_THE_FILE | OUT_OF_REACH


class Unreadable(OSError):
    """A file could not be read, and that may be the file's own fault."""


class OutOfReach(OSError):
    """This process may not read a file that is there."""


def look(reader: Callable[..., T], *arguments: object) -> T:
    """Read something; raises Unreadable, OutOfReach, or any other OSError: nobody can judge then.

    Unreadable says that the file may be at fault.
    """
    try:
        return reader(*arguments)
    except OSError as error:
        if error.errno in _OF_THE_FILE:
            raise Unreadable(error.errno, error.strerror, error.filename) from error
        if error.errno in OUT_OF_REACH:
            raise OutOfReach(error.errno, error.strerror, error.filename) from error
        raise


def look_twice(reader: Callable[..., T], *arguments: object) -> T:
    """As `look`, but at a second look only: some failures pass."""
    try:
        return reader(*arguments)
    except OSError as error:
        if error.errno not in _JUDGED:
            raise
    return look(reader, *arguments)
