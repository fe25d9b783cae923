"""The contract for uploads that come in several requests, beside that of interface.py.

An upload begins with the location that its blob shall have. Its bytes come in order, in as many
requests as it takes, across starts of the daemon too. Then it is finished: it becomes a blob, as if
all of it had come in one request just now. The store keeps what it has been told until then, and
forgets an upload that nobody goes on with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from gostore.store.interface import Body, Details, Precondition


@frozen
class Wanted:
    """What an upload is to become: as for `Store.create`, `Store.replace` or `Store.put`.

    ``exists`` is whether its location must have a blob, or must have none; None: either.
    """

    details: Details
    precondition: Precondition | None = None
    exists: bool | None = False


@frozen
class Address:
    """How a caller calls an upload: by its number, its location, and whose it is ("": anybody's).

    All three have to be right.
    """

    number: int
    location: str
    owner: str = ""


@frozen
class Chunk:
    """What a caller says of the bytes that follow.

    They begin at ``offset``. The whole upload has ``length`` bytes, if that is said only now.
    ``checksum`` is an algorithm of hashlib, and the digest that the bytes must have to be kept.
    ``on_flush`` hears how many bytes of the upload are flushed, whenever some are.
    """

    offset: int
    length: int | None = None
    checksum: tuple[str, bytes] | None = None
    on_flush: Callable[[int], object] | None = None


@frozen
class Standing:
    """How an upload stands: ``offset`` bytes of ``length`` are flushed to the disk.

    ``text`` is what its caller had kept with it, "" when it is over. It is forgotten at
    ``expires``, in nanoseconds since the epoch; None: not so soon. ``sha256`` is that of the blob
    that it has become.
    """

    offset: int
    length: int | None
    text: str
    expires: int | None = None
    sha256: bytes | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all bytes have come."""
        return self.offset == self.length


class Uploads(Protocol):
    """The verbs of uploads. All but `begin` fail with NoUpload or UploadOver."""

    @property
    def max_size(self) -> int | None:
        """The most bytes that an upload may have; None for no limit."""

    def begin(
        self, address: Address, text: str, length: int | None, wanted: Wanted
    ) -> Deferred[Address]:
        """Begin an upload; the store gives it its number. Fails as a write of it would now."""

    def stand(self, address: Address) -> Deferred[Standing]:
        """Say how an upload stands. A request that brings bytes meanwhile is cut short."""

    def append(self, address: Address, chunk: Chunk, body: Body) -> Deferred[Standing]:
        """Take more bytes.

        Fails with WrongOffset, LengthChanged, UploadTooLong, ChunkMismatch (none of the bytes are
        kept), BodyFailed or TakenOver (those that have come are kept), or as a write does.
        """

    def finish(self, address: Address, wanted: Wanted) -> Deferred[Standing]:
        """Make a blob of a complete upload, once. Fails as a write does.

        After a refusal that a repetition would get as well, the upload is over.
        """

    def terminate(self, address: Address) -> Deferred[None]:
        """Forget an upload, and remove its bytes."""
