"""What an upload sends: bytes, a file, or something that can be read once."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol, runtime_checkable

from gostore.client.address import shown
from gostore.client.errors import SourceFailed

#: Bytes that are read at a time.
PIECE = 256 * 1024


@runtime_checkable
class Source(Protocol):
    """The bytes of an upload. ``pieces`` may be asked again if it ``is_repeatable``."""

    @property
    def size(self) -> int | None:
        """How many bytes there are; None if nobody knows."""

    @property
    def is_repeatable(self) -> bool:
        """Whether the bytes can be sent again."""

    @property
    def sha256(self) -> str | None:
        """The digest in hex; None before a source that is not repeatable was read to its end."""

    def pieces(self) -> Iterator[bytes]:
        """Read it from its beginning, no piece empty."""


class Bytes:
    """Bytes in memory."""

    is_repeatable = True

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.sha256 = hashlib.sha256(data).hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """All of it, piece by piece."""
        for start in range(0, self.size, PIECE):
            yield self._data[start : start + PIECE]


class File:
    """A file that can be read again. It is read once before it is sent, for its digest.

    So the daemon can refuse what changes on the way, or while it is read, and a lost answer can be
    settled. ``moved`` is told how many bytes have been sent, anew when it begins again.
    """

    is_repeatable = True

    def __init__(
        self, path: str | bytes | os.PathLike[str], moved: Callable[[int], object] | None = None
    ) -> None:
        self._path = path
        self._moved = moved
        self.size = 0
        hashed = hashlib.sha256()
        with self._open() as file:
            self.mtime_ns = os.fstat(file.fileno()).st_mtime_ns
            for piece in _read(file):
                hashed.update(piece)
                self.size += len(piece)
        self.sha256 = hashed.hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """The bytes that there were when the digest was computed. Raises SourceFailed."""
        sent, hashed = 0, hashlib.sha256()
        try:
            with self._open() as file:
                for piece in _read(file):
                    sent += len(piece)
                    hashed.update(piece)
                    if sent > self.size:
                        break
                    if sent == self.size and self.sha256 != hashed.hexdigest():
                        break
                    yield piece
                    if self._moved is not None:
                        self._moved(sent)
        except OSError as error:
            # Else the libraries would take it for a failure of the network.
            raise SourceFailed(f"{self._shown()}: {error.strerror}") from error
        if sent != self.size or hashed.hexdigest() != self.sha256:
            raise SourceFailed(f"{self._shown()} changed while it was being sent")

    def _shown(self) -> str:
        return shown(os.fsdecode(self._path))

    def _open(self) -> BinaryIO:
        # A FIFO in place of a file must not hold up a whole directory.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        return os.fdopen(descriptor, "rb", buffering=0)


class Stored:
    """A blob that the daemon has already, and copies by itself: nothing is sent."""

    size = 0
    is_repeatable = True

    def __init__(self, location: str, sha256: str | None) -> None:
        self.location = location
        self.sha256 = sha256

    def pieces(self) -> Iterator[bytes]:
        """Nothing is sent."""
        return iter(())


class Stream:
    """Something that can be read once: a pipe, or an iterable of bytes."""

    is_repeatable = False
    size = None

    def __init__(
        self, stream: BinaryIO | Iterable[bytes], moved: Callable[[int], object] | None = None
    ) -> None:
        self._pieces: Iterator[bytes] = (
            _read(stream) if hasattr(stream, "read") else iter(stream)  # type: ignore[arg-type]
        )
        self._moved = moved
        self.sha256: str | None = None

    def pieces(self) -> Iterator[bytes]:
        """All that there is."""
        hashed = hashlib.sha256()
        sent = 0
        try:
            for piece in self._pieces:
                if piece:
                    hashed.update(piece)
                    sent += len(piece)
                    yield piece
                    if self._moved is not None:
                        self._moved(sent)
        except OSError as error:
            raise SourceFailed(f"The stream cannot be read: {error.strerror}") from error
        self.sha256 = hashed.hexdigest()


def source_of(data: bytes | os.PathLike[str] | BinaryIO | Iterable[bytes]) -> Source:
    """The source of what a caller gave: bytes, a path, a binary file, or pieces."""
    if isinstance(data, bytes | bytearray | memoryview):
        return Bytes(bytes(data))
    if isinstance(data, os.PathLike):
        return File(data)
    if isinstance(data, str):
        raise TypeError("A text is neither bytes nor a path: encode it, or make it a Path")
    if isinstance(data, io.BytesIO):
        return Bytes(data.read())
    return Stream(data)


def _read(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece
