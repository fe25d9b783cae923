"""What an upload sends: bytes, a file, or something that can be read once."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol, runtime_checkable

from attrs import frozen

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


@frozen
class Identity:
    """Which file it is, and since when it is as it is: a write to it changes one of these."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, info: os.stat_result) -> Identity:
        """The identity of a file that the system describes so."""
        return cls(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


#: May tell the digest of a file by its path and identity.
Known = Callable[[str, Identity], str | None]


class Bytes:
    """Bytes in memory."""

    is_repeatable = True

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.sha256 = hashlib.sha256(data).hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """All of it, piece by piece."""
        return self.rest(0)

    def rest(self, start: int) -> Iterator[bytes]:
        """What follows the first bytes, piece by piece."""
        for begin in range(start, self.size, PIECE):
            yield self._data[begin : begin + PIECE]


class File:
    """A file that can be read again. It is read once before it is sent, for its digest.

    So the daemon can refuse what changes on the way, or while it is read, and a lost answer can be
    settled. ``known`` may tell the digest of a file that was read by an earlier command. ``moved``
    is told how many bytes have been sent, anew when it begins again.
    """

    is_repeatable = True

    def __init__(
        self,
        path: str | bytes | os.PathLike[str],
        moved: Callable[[int], object] | None = None,
        known: Known | None = None,
    ) -> None:
        self._path = path
        self._moved = moved
        with self._open() as file:
            info = os.fstat(file.fileno())
            self.identity = Identity.of(info)
            self.mtime_ns = info.st_mtime_ns
            is_file = stat.S_ISREG(info.st_mode)
            digest = known(self.path, self.identity) if known and is_file else None
            self.size, self.sha256 = (info.st_size, digest) if digest else _measured(file)

    @property
    def path(self) -> str:
        """Where it is, from the root of the file system."""
        return os.path.abspath(os.fsdecode(self._path))

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

    def rest(self, start: int) -> Iterator[bytes]:
        """What follows the first bytes, if the file is as it was. Raises SourceFailed.

        The daemon compares the digest of the whole.
        """
        sent = start
        if self._moved is not None:
            self._moved(sent)
        try:
            with self._open() as file:
                file.seek(start)
                for piece in _read(file):
                    sent += len(piece)
                    if sent >= self.size and Identity.of(os.fstat(file.fileno())) != self.identity:
                        break
                    yield piece
                    if self._moved is not None:
                        self._moved(sent)
                else:
                    if sent == self.size:
                        return
        except OSError as error:
            raise SourceFailed(f"{self._shown()}: {error.strerror}") from error
        raise SourceFailed(f"{self._shown()} changed while it was being sent")

    def _shown(self) -> str:
        return shown(os.fsdecode(self._path))

    def _open(self) -> BinaryIO:
        # A FIFO in place of a file must not hold up a whole directory.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        return os.fdopen(descriptor, "rb", buffering=0)


class Rest:
    """What follows the first bytes of a source, for a daemon that has those already."""

    is_repeatable = True
    #: Nobody asks: it is that of the whole that counts.
    sha256 = None

    def __init__(self, source: Bytes | File, start: int) -> None:
        self.size = source.size - start
        #: How many bytes of it somebody has asked for.
        self.taken = 0
        self._source = source
        self._start = start

    def pieces(self) -> Iterator[bytes]:
        """The bytes from there on."""
        for piece in self._source.rest(self._start):
            self.taken += len(piece)
            yield piece


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


def source_of(
    data: bytes | os.PathLike[str] | BinaryIO | Iterable[bytes] | Source, known: Known | None = None
) -> Source:
    """The source of what a caller gave: bytes, a path, a binary file, pieces, or a source."""
    if isinstance(data, Source):
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return Bytes(bytes(data))
    if isinstance(data, os.PathLike):
        return File(data, known=known)
    if isinstance(data, str):
        raise TypeError("A text is neither bytes nor a path: encode it, or make it a Path")
    if isinstance(data, io.BytesIO):
        return Bytes(data.read())
    return Stream(data)


def _measured(file: BinaryIO) -> tuple[int, str]:
    """How many bytes a file has, and their digest in hex."""
    size, hashed = 0, hashlib.sha256()
    for piece in _read(file):
        hashed.update(piece)
        size += len(piece)
    return size, hashed.hexdigest()


def _read(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece
