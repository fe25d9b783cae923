"""The contract of a provider of blobs: its verbs, its life, and the values they exchange.

A provider is asked by its verbs alone; the daemon opens, starts and stops it.  A verb answers with
a Deferred that fails with an error of errors.py.  A write that can be refused before its body has
arrived is refused before the body is asked for.

This module imports no wire and no provider, so a provider and its callers can each live alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

from attrs import Factory, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gostore.blob import Committed
from gostore.errors import ConditionFailed, TooMuchMetadata

SMALL_BLOB = 64 * 1024
"""A blob of at most this many bytes goes through memory whole, on its way in and out."""

NO_DIGESTS: Mapping[str, bytes] = MappingProxyType({})

MAX_METADATA = 8192
"""The most bytes of names and values in the metadata of a blob, its type included."""

_NANOSECONDS = 1_000_000_000


# -- what a write brings --------------------------------------------------------------------------


class Sink(Protocol):
    """Takes a body: pieces in order, then exactly one of finished and failed, once."""

    def received(self, data: bytes) -> None:
        """Take the next piece, never empty."""

    def finished(self, digests: Mapping[str, bytes] = NO_DIGESTS) -> None:
        """The body is complete. It must have these digests, which came after it, too.

        They are like those of Details, and of no algorithm but "sha256" and ``late_digests``.
        """

    def failed(self, reason: str) -> None:
        """The rest of the body will not come; ``reason`` is a phrase for people."""


class Body(Protocol):
    """The bytes of a new blob, on their way in."""

    @property
    def length(self) -> int | None:
        """The announced size in bytes; None if it is unknown."""

    @property
    def complete(self) -> bool:
        """Whether all bytes have arrived."""

    @property
    def sender(self) -> str | None:
        """The IP address that it comes from; None if it comes over a Unix socket."""

    @property
    def origin(self) -> str:
        """The sender, for the log of the blob: the id of a request, perhaps with a name."""

    def deliver(self, sink: Sink) -> None:
        """Begin. Bytes that have arrived are delivered before this returns. Call it once."""

    def pauseProducing(self) -> None:
        """Deliver no more for now."""

    def resumeProducing(self) -> None:
        """Deliver on."""


@frozen
class Lifetime:
    """How long a blob stays: so many ``seconds`` from its commit on, or ``until`` a time.

    That is the second since the epoch from which on the blob is gone.
    """

    seconds: int = 0
    until: int | None = None

    def end(self, now: int) -> int:
        """The second from which on a blob is gone that is committed at ``now``, in nanoseconds."""
        # Not a moment earlier than was asked for: there are no fractions.
        return self.until if self.until is not None else -(-now // _NANOSECONDS) + self.seconds


@frozen
class Details:
    """What a caller says of a new blob besides its bytes.

    ``metadata`` maps lower-case header names to values; ``digests`` maps "md5", "sha256" or
    "sha512" to the raw digest that the body must have; ``late_digests`` has the names of those that
    may only come with its end. With ``keeps_metadata`` a new version has the type and the metadata
    of the one before it, but for what is given here. Without a ``lifetime`` it stays.
    """

    content_type: str | None = None
    metadata: Mapping[str, str] = Factory(dict)
    digests: Mapping[str, bytes] = Factory(dict)
    late_digests: frozenset[str] = frozenset()
    keeps_metadata: bool = False
    lifetime: Lifetime | None = None

    def labels(self, previous: Committed | None) -> tuple[str | None, dict[str, str]]:
        """The type and the metadata of a version that follows this one, or none.

        Raises TooMuchMetadata if both together have more than one upload may bring.
        """
        if not self.keeps_metadata or previous is None:
            return self.content_type, dict(self.metadata)
        content_type = self.content_type or previous.content_type
        metadata = {**(previous.metadata or {}), **self.metadata}
        texts = [content_type or "", *metadata, *metadata.values()]
        if sum(map(len, texts)) > MAX_METADATA:
            raise TooMuchMetadata(MAX_METADATA)
        return content_type, metadata


@frozen
class Versions:
    """A set of versions of a blob, each known by its SHA-256 in hex; ``any`` has every version."""

    digests: frozenset[str] = frozenset()
    any: bool = False

    def __contains__(self, blob: Committed | None) -> bool:
        if blob is None or self.any:
            return blob is not None
        return blob.sha256 is not None and blob.sha256.hex() in self.digests


@frozen
class Precondition:
    """What a write expects at its location, when it begins and again when it is committed.

    The blob there must be one of ``expected`` and none of ``unwanted``.  Without ``expected`` it
    must not be newer than ``unmodified_since``, in whole seconds (RFC 9110 section 13.2.2).  A
    missing or a present blob that is not judged passes: the write fails without its precondition.
    """

    expected: Versions | None = None
    unwanted: Versions | None = None
    unmodified_since: int | None = None
    judged_if_missing: bool = True
    judged_if_present: bool = True

    def check(self, location: str, current: Committed | None) -> None:
        """Raise ConditionFailed unless what the location has now allows the write."""
        judged = self.judged_if_missing if current is None else self.judged_if_present
        if judged and not self.holds(current):
            raise ConditionFailed(location)

    def holds(self, current: Committed | None) -> bool:
        """Say whether this blob, or none, is as expected."""
        if self.expected is not None:
            if current not in self.expected:
                return False
        elif (
            self.unmodified_since is not None
            and current is not None
            and current.modified // _NANOSECONDS > self.unmodified_since
        ):
            return False
        return self.unwanted is None or current not in self.unwanted


VERIFIED_FOR = 60.0
"""Seconds after which bytes have to be compared with their digest anew."""

# -- what a read gives ----------------------------------------------------------------------------


class Content(Protocol):
    """The bytes of one blob, which do not change until `close`."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    def read(self, offset: int, length: int) -> bytes | Deferred[bytes]:
        """Read exactly ``length`` bytes from within the blob, at most 1 MiB; at once if at hand.

        The Deferred fails with Damaged or DiskFailed.
        """

    def load(self, offset: int, length: int) -> Deferred[int] | None:
        """Bring at most 4 MiB into memory and give the descriptor to send them from.

        None if they are in no file. The Deferred fails as that of `read` does.
        """

    def failed(self, failure: Failure) -> Failure:
        """Turn a failure to send loaded bytes into the failure that `read` would give."""

    def close(self) -> None:
        """Let go of the blob."""


@frozen
class DamagedBlob:
    """What a listing says of a location whose blob is damaged: what was committed there.

    A read fails with Damaged until somebody replaces or deletes the blob.
    """

    blob: Committed

    @property
    def location(self) -> str:
        """The location that has it."""
        return self.blob.location


Entry = Committed | DamagedBlob | str
"""One entry of a listing: a blob, a damaged one, or the prefix that a group has in common."""


@frozen
class Page:
    """Part of a listing, in the order of the locations.

    ``next_after`` is the ``after`` of the next page, None if this is the last.
    """

    entries: list[Entry]
    next_after: str | None


@frozen
class Figures:
    """What a provider counts: its blobs, the damaged ones apart, and the bodies on their way.

    ``free`` bytes were free when somebody last looked; uploads leave ``reserve`` of them alone.
    So many ``kept`` bytes of history are given up for the room that they take. The blobs that are
    not damaged have ``size`` bytes together.
    """

    blobs: int
    damaged: int
    uploads: int
    free: int
    reserve: int
    kept: int = 0
    size: int = 0


Seek = Callable[[str], str | None]
"""Says which locations a listing may show: the first one from a location on, that one included.

It need not have a blob. None if there is none.
"""


Fetch = Callable[[str], "Deferred[tuple[Committed, Content]]"]
"""Finds the blob at a location and opens it, for a caller that will want all of it.

It fails as `Store.get` does.
"""


# -- a provider -----------------------------------------------------------------------------------


class Store(Protocol):
    """The verbs. What they mean when several callers use them at once is the provider's affair."""

    def get(self, location: str) -> Deferred[Committed]:
        """Find the blob at a location, its digest included. Fails with NotFound or Damaged."""

    def content(self, blob: Committed) -> Deferred[Content]:
        """Open a blob that `get` returned. Fails with NotFound if it was collected since."""

    @property
    def fetch(self) -> Fetch | None:
        """What does both in one go, for a provider whose steps are trips to another machine."""

    def read_now(self, location: str) -> tuple[Committed, bytes, float] | None:
        """Give a small blob and all of its bytes, if they are at hand; else `get` tells why not.

        Whoever keeps the bytes may go on giving them to readers for so many seconds, at most
        `VERIFIED_FOR` after they were compared with their digest.
        """

    def is_current(self, blob: Committed) -> bool:
        """Say whether a blob that `get` returned is still what its location has, undamaged."""

    def create(
        self,
        location: str,
        body: Body,
        details: Details,
        precondition: Precondition | None = None,
    ) -> Deferred[Committed]:
        """Store a new blob. Fails with AlreadyExists."""

    def replace(
        self,
        location: str,
        body: Body,
        details: Details,
        precondition: Precondition | None = None,
    ) -> Deferred[Committed]:
        """Store a blob in place of another. Fails with NotFound."""

    def put(
        self,
        location: str,
        body: Body,
        details: Details,
        precondition: Precondition | None = None,
    ) -> Deferred[tuple[Committed, bool]]:
        """Store a blob, and say whether the location had none."""

    def delete(
        self, location: str, precondition: Precondition | None = None, origin: str = ""
    ) -> Deferred[None]:
        """Delete a blob. Fails with NotFound. ``origin`` is like that of a body."""

    def list(
        self,
        prefix: str = "",
        delimiter: str = "",
        after: str = "",
        limit: int = 1000,
        seek: Seek | None = None,
    ) -> Deferred[Page]:
        """List some of the blobs, ordered by location: only those that ``seek`` lets through."""

    @property
    def least_listed(self) -> int:
        """The fewest entries worth asking `list` for, if more are wanted; fewer cost as much."""

    def check_health(self, *, lately: bool = False) -> None:
        """Raise ReadOnly or Stopping if writes are refused.

        With ``lately`` what was known within the last second is good enough.
        """

    def figures(self) -> Figures:
        """Count what there is."""


class Verifier(Protocol):
    """Verifies blobs one by one, for a provider whose own storage may rot."""

    def next_location(self, after: str) -> str | None:
        """Return the first location after this one that has a blob; "" is before them all."""

    def verify(self, location: str, pace: Callable[[int], Deferred[None]]) -> Deferred[None]:
        """Compare a blob with its digest, and quarantine it if it is damaged.

        ``pace`` is given the number of bytes of each read and says when the next may come.
        """


@frozen
class Summary:
    """What a start found and did: how many of each, and how long it took.

    ``finished`` replacements were cut short by a crash and ``discarded`` uploads and deletes were;
    ``quarantined`` directories are kept for people to see, from earlier starts too, and ``foreign``
    names are not gostore's.
    """

    restored: int
    finished: int
    discarded: int
    quarantined: int
    foreign: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"Recovery: restored {self.restored}, finished {self.finished},"
            f" discarded {self.discarded}, quarantined {self.quarantined},"
            f" foreign {self.foreign}, {self.seconds:.2f} seconds"
        )


class Ledger(Protocol):
    """Counts what is stored, and says what else may be."""

    def count(self, location: str, size: int, blobs: int) -> None:
        """So many more bytes and blobs are at a location; fewer if negative."""

    def room(self, location: str, replaced: int | None) -> tuple[int, str] | None:
        """The most bytes of a blob there, and the prefix whose quota says so; None: no limit.

        ``replaced`` is the size of the one that is there. Raises QuotaExceeded.
        """

    def claim(self, blob_id: int, location: str, size: int, replaced: int | None) -> None:
        """Keep room for a blob that is on its way to the disk. Raises QuotaExceeded."""

    def unclaim(self, blob_id: int) -> None:
        """The blob is counted, or will never be."""

    def keep(self, location: str, size: int, blobs: int) -> None:
        """So many more bytes and blobs are kept as history of a location; fewer if negative."""

    def excess(self, location: str) -> Iterator[tuple[str, int, int]]:
        """The history that has to give way to what a location has: a prefix, bytes and blobs."""


class Lifecycle(Protocol):
    """The life of a provider, as the daemon directs it."""

    def open(self) -> None:
        """Find the blobs and keep others out. Blocks. Raises VolumeInUse, VolumeUnusable."""

    def start(self) -> Summary:
        """Make what `open` found ready to serve. Blocks. Raises VolumeUnusable."""

    def collect(self) -> Deferred[None]:
        """Run the garbage collector once."""

    @property
    def verifier(self) -> Verifier | None:
        """What the scrubber asks; None if somebody else looks after the bytes."""

    @property
    def uploads(self) -> int:
        """How many bodies are on their way."""

    def stop(self) -> Deferred[None]:
        """Refuse new writes and finish the commits in progress."""

    def close(self) -> Deferred[None] | None:
        """Release everything that `open` and `start` took."""
