"""Directories in memory, for tests that are not about a real disk: a flush costs nothing there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unittest import TestCase

_MEMORY = "/dev/shm"

#: Containers often have 64 MiB there, which a few redo journals fill.
_ENOUGH = 1 << 30


def memory() -> str | None:
    """Return where there is a file system in memory with room; None: only the usual place."""
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return None
    return _MEMORY if found.f_bavail * found.f_frsize >= _ENOUGH else None


def directory_of(test: TestCase) -> Path:
    """Make a directory, in memory if possible, that goes when the test is over."""
    directory = tempfile.TemporaryDirectory(dir=memory())
    test.addCleanup(directory.cleanup)
    return Path(directory.name)
