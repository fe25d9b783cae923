"""The seam to the engine: every request to a bucket, and the ways in which one can fail.

Every call blocks. An engine may ask the bucket several times itself, so a condition that does not
hold may be the effect of an earlier try of the same call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from attrs import define, frozen


class EngineError(Exception):
    """A request that failed; the base of all errors here."""


class Missing(EngineError):
    """There is no object with this key."""


class Mismatch(EngineError):
    """The condition did not hold, when the request was carried out last."""


@define
class Unsettled(EngineError):
    """No answer, or that of a server in trouble: it may have happened, or happen yet, or never."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@define
class Refused(EngineError):
    """The engine will not do it: the key is wrong, the bucket is missing, or it is no S3."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@define
class Full(Refused):
    """The bucket has no room, or not that much: its quota is used up, or the engine's disks are."""


@frozen
class Found:
    """An object, or a span of it: its bytes, and the ETag and the size of the whole.

    ``modified`` is when it was written, in seconds since the epoch, by the engine's own clock.
    """

    data: bytes
    etag: str
    size: int
    modified: float


@frozen
class Listed:
    """An entry of a listing; see `Found`."""

    key: str
    size: int
    modified: float


@frozen
class Unfinished:
    """An upload in parts that has not ended: its key, its name, and when it began; see `Found`."""

    key: str
    name: str
    begun: float


class Engine(Protocol):
    """The requests. Each raises an EngineError; keys are below the prefix of the store."""

    def get(self, key: str, etag: str | None = None, span: tuple[int, int] | None = None) -> Found:
        """Read an object, if it has this ETag; of a span only the bytes from its start to its end.

        Raises Missing, or Mismatch. The span must be within the object.
        """

    def put(self, key: str, data: bytes) -> str:
        """Write an object; return its ETag."""

    def create(self, key: str, data: bytes) -> str:
        """Write an object that is not there; return its ETag. Raises Mismatch."""

    def swap(self, key: str, data: bytes, etag: str) -> str:
        """Write an object in place of the one with this ETag. Raises Mismatch or Missing."""

    def delete(self, key: str) -> None:
        """Delete an object, whether it is there or not."""

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """List the objects whose keys begin with a prefix that ends in a slash, in their order.

        "" is all of them. ``after`` is a key: only those behind it.
        """

    def upload(self, key: str, pieces: Iterable[bytes], length: int | None) -> str:
        """Write an object in parts, of this announced size; return its ETag.

        When ``pieces`` raises, the parts are removed and the error is passed on.
        """

    def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """List the uploads in parts below a prefix that have not ended; some engines refuse."""

    def abort(self, uploads: Sequence[Unfinished]) -> None:
        """Remove the parts of uploads; those of one that has ended are gone already."""
