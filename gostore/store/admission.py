"""Which uploads may begin: refused for lack of room before a byte of the body is asked for."""

from __future__ import annotations

from attrs import define

from gostore.errors import Busy, NoSpace, QuotaExceeded, StoreError, TooLarge
from gostore.places import Places
from gostore.store.interface import SMALL_BLOB, Body
from gostore.store.workers import Workers
from gostore.volume.journal.format import BLOCK, in_blocks
from gostore.volume.volume import Volume

#: Without a setting, this share of the file system stays free, and at least so many bytes.
_RESERVE_SHARE = 100
_RESERVE_BYTES = 64 * 1024 * 1024

#: Bodies that wait in memory for their commit may hold this many bytes together.
_IN_MEMORY = 32 * 1024 * 1024

#: How much of one body may wait in memory for the disk before its socket is paused,
WAITING = 256 * 1024

#: and how much of it while there are few others: each piece handed to a worker has its price.
WAITING_ALONE = 1024 * 1024

#: With fewer uploads than this in progress, each may hold more memory.
_FEW = 8

#: What a body on its way to the disk needs besides its own blocks: a stage, and its records.
BESIDE = 4 * BLOCK

#: The seconds after which a caller who was refused for lack of room may try again.
_RETRY_AFTER = 1


@define(eq=False)
class Ticket:
    """Permission for one upload: what it may use, and what it takes of what there is for all.

    Once its bytes go to the disk as they come, it takes a place and its announced size, until
    `arrived`; then the memory that it holds, until `release`.  ``max_size`` of its bytes may come,
    None for no limit; ``reserve`` bytes of the file system must stay free; ``waiting`` bytes may
    wait in memory for the disk.
    """

    max_size: int | None
    reserve: int
    waiting: int
    _admission: Admission
    _announced: int
    _sender: str | None
    _arriving: bool = True
    _has_place: bool = False
    _in_memory: int = 0
    _quota: str = ""

    @property
    def too_large(self) -> StoreError:
        """The error for more bytes than may come."""
        return QuotaExceeded(self._quota) if self._quota else TooLarge(self.max_size)

    def take_place(self) -> bool:
        """Take a place among the bodies on their way to the disk, if one is free."""
        self._has_place = self._admission.places.take(self._sender)
        if self._has_place:
            self._admission.announced += self._announced
        return self._has_place

    def arrived(self, in_memory: int) -> None:
        """The body is here, and so many bytes of it wait in memory for their commit."""
        self._leave()
        self._in_memory = in_memory
        self._admission.in_memory += in_memory

    def release(self) -> None:
        """The write is over, one way or the other."""
        self._leave()
        self._admission.in_memory -= self._in_memory
        self._in_memory = 0

    def _leave(self) -> None:
        if not self._arriving:
            return
        self._arriving = False
        self._admission.uploads -= 1
        if self._has_place:
            self._admission.announced -= self._announced
            self._admission.places.leave(self._sender)


class Admission:
    """Counts what the uploads in progress take, and gives tickets while there is room.

    ``uploads`` bodies are on their way; those that go to the disk as they come have one of the
    ``places``, and have ``announced`` so many bytes; ``in_memory`` bytes wait for their commit;
    ``free`` bytes of the file system were free when somebody last looked, and ``reserve`` of them
    no upload may use.
    """

    def __init__(
        self,
        volume: Volume,
        workers: Workers,
        *,
        max_blob_size: int | None,
        reserve: int | None,
        max_uploads: int,
    ) -> None:
        """The settings are those of `BlobStore`."""
        self._volume = volume
        self._workers = workers
        self._max_blob_size = max_blob_size
        self._reserve_setting = reserve
        #: How many bytes of the file system stay free.
        self.reserve = self._auto_reserve = 0
        self.uploads = 0
        self.places = Places(max_uploads)
        self.announced = 0
        self.in_memory = 0
        self.free = 0

    def start(self, free: int, total: int) -> None:
        """Begin with this much room on the file system."""
        self.free = free
        self._auto_reserve = max(total // _RESERVE_SHARE, _RESERVE_BYTES)
        self.tune(self._max_blob_size, self._reserve_setting, self.places.count)

    def tune(self, max_blob_size: int | None, reserve: int | None, max_uploads: int) -> None:
        """Go by other settings from now on; see `BlobStore`."""
        self._max_blob_size = max_blob_size
        self._reserve_setting = reserve
        self.reserve = self._auto_reserve if reserve is None else reserve
        self.places.count = max_uploads

    def admit(self, body: Body, room: tuple[int, str] | None = None) -> Ticket:
        """Give leave for a body to come.

        A body that is here, or is announced to be small, goes through memory.  It needs no place,
        and leave for larger ones is no obstacle to it.  ``room`` is the most bytes that it may
        have, and the prefix whose quota says so.  Raises TooLarge, Busy or NoSpace.
        """
        announced = body.length or 0
        if self._max_blob_size is not None and announced > self._max_blob_size:
            raise TooLarge(self._max_blob_size)
        if room is not None and announced > room[0]:
            raise QuotaExceeded(room[1])
        is_small = body.length is not None and body.length <= SMALL_BLOB
        needs_place = not (is_small or body.complete)
        if needs_place and not self.places.is_free_for(body.sender):
            raise too_many_uploads()
        if self.in_memory >= _IN_MEMORY:
            raise Busy("Too many uploads wait for the disk", _RETRY_AFTER)
        self.check_space(announced + (self.announced if needs_place else 0))
        waiting = WAITING_ALONE if self.uploads < _FEW else WAITING
        self.uploads += 1
        most = self._max_blob_size
        ticket = Ticket(most, self.reserve, waiting, self, announced, body.sender)
        if room is not None and (most is None or room[0] < most):
            ticket.max_size, ticket._quota = room
        return ticket

    def lacking(self, size: int) -> int:
        """How many bytes have to become free for a blob of so many, beside those on their way.

        None have to if that is 0 or less.
        """
        return self.reserve + self.announced + in_blocks(size) + 2 * BLOCK - self.free

    def lacking_for_more(self, size: int) -> int:
        """As `lacking`, for so many more bytes of a body on its way to the disk."""
        return self.reserve + in_blocks(size) + BESIDE - self.free

    def check_space(self, size: int) -> None:
        """Raise NoSpace unless so many bytes may come."""
        if self.free < self.reserve + size:
            # This may be some seconds old; the next caller shall have it fresh.
            self._workers.errand(self._volume.free).addCallback(self._refreshed)
            raise NoSpace()

    @property
    def max_blob_size(self) -> int | None:
        """The most bytes of one blob; None for no limit."""
        return self._max_blob_size

    def take_room(self, size: int) -> None:
        """Count what a blob of so many bytes takes: blocks of its own, a record, a directory."""
        self.free = max(self.free - in_blocks(size) - 2 * BLOCK, 0)

    def _refreshed(self, found: tuple[int, int] | None) -> None:
        if found is not None:
            self.free = found[0]


def too_many_uploads() -> Busy:
    """Say that there is no place."""
    return Busy("Too many uploads are in progress", _RETRY_AFTER)
