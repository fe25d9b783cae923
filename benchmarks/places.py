"""Where the servers keep their data: file systems made for a run. Only root can mount them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BYTES_A_BLOB = 6 * 1024
"""Room for a blob of 1 KiB on blocks of 1 KiB: a directory, two files, their inodes."""

SPARE = 1024**3
"""Room for a journal, and for what requests write."""


IMAGE = 12
"""GiB of the image for everything else. It is sparse."""


@contextmanager
def ext4(gibibytes: int) -> Iterator[Path]:
    """A journaled ext4 file system in a sparse file on a loop device."""
    with _ext4(gibibytes * 1024**3, "-i", "4096") as where:
        yield where


@contextmanager
def ext4_for_blobs(count: int) -> Iterator[Path]:
    """An ext4 file system for so many small blobs.

    Its blocks are of 1 KiB, so that a million blobs and the cache of the image fit in memory
    together; one directory of them has more entries than ext4 lets it have by default.
    """
    inodes = 3 * count + 200_000
    options = ("-b", "1024", "-N", str(inodes), "-O", "large_dir")
    with _ext4(SPARE + count * BYTES_A_BLOB, *options) as where:
        yield where


@contextmanager
def _ext4(size: int, *options: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gostore-bench-") as name:
        image, where = Path(name) / "image", Path(name) / "mounted"
        where.mkdir()
        with image.open("wb") as file:
            file.truncate(size)
        # Tables that are zeroed while it is mounted would be written during the measurements.
        lazy = ("-E", "lazy_itable_init=0,lazy_journal_init=0")
        subprocess.run(["mkfs.ext4", "-q", "-F", *lazy, *options, str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(where)], check=True)
        where.chmod(0o755)
        Path(name).chmod(0o755)
        try:
            yield where
        finally:
            subprocess.run(["umount", str(where)], check=True)
