"""The SHA-256 of a blob's file: computed piece by piece, and compared with the blob's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from gostore.blob import Committed
from gostore.volume.directory import DATA, DataDamaged
from gostore.volume.volume import Volume

#: How many bytes are read at once.
PIECE = 1024 * 1024


class Hashing:
    """Hashes an open data.raw of ``size`` bytes, one piece with each `step`."""

    def __init__(self, volume: Volume, fd: int, size: int, piece: int = PIECE) -> None:
        self._volume = volume
        self._fd = fd
        self._left = size
        self._offset = 0
        self._piece = piece
        self._hash = hashlib.sha256()

    @property
    def done(self) -> bool:
        """Whether all of the file has been hashed."""
        return not self._left

    def step(self) -> int:
        """Read and hash the next piece; return its length."""
        length = min(self._piece, self._left)
        self._hash.update(self._volume.read(self._fd, self._offset, length))
        self._offset += length
        self._left -= length
        return length

    def digest(self) -> bytes:
        """Return the digest of what has been read, as 32 bytes."""
        return self._hash.digest()


def compute_digest(volume: Volume, blob: Committed, tell: Callable[[int], object] = int) -> bytes:
    """Read a blob and return its SHA-256, as 32 bytes; ``tell`` is given each piece's length."""
    fd = volume.open_data(blob)
    try:
        hashing = Hashing(volume, fd, blob.size)
        while not hashing.done:
            tell(hashing.step())
    finally:
        volume.close_data(fd)
    return hashing.digest()


def verified(data: bytes, blob: Committed) -> bytes:
    """Return the bytes of a blob if they have its digest; raises DataDamaged."""
    check_digest(hashlib.sha256(data).digest(), blob)
    return data


def check_digest(digest: bytes, blob: Committed) -> None:
    """Raise DataDamaged unless this is the digest of a blob."""
    if digest != blob.sha256:
        raise DataDamaged(f"{DATA} does not have the digest it was committed with")
