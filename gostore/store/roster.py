"""The book of uploads in several requests: those that go on, those that are over, and their limits.

Everything here happens in the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from attrs import define, evolve, field, frozen
from twisted.internet.defer import DeferredLock

from gostore.errors import (
    LengthChanged,
    NoUpload,
    QuotaExceeded,
    StoreError,
    TooLarge,
    UploadTooLong,
)
from gostore.store.admission import Admission
from gostore.store.appending import Appending, Most, Progress
from gostore.store.index import Index
from gostore.store.unfinished import Address, Standing

#: How many uploads that are over are remembered, for clients who have not heard of it.
_REMEMBERED = 10_000


@define(eq=False)
class Upload:
    """An upload that is not finished."""

    address: Address
    text: str
    progress: Progress
    #: The key of what it claims of its quota. No blob has a negative one.
    claim: int
    #: When somebody last went on with it, in nanoseconds.
    active: int
    appending: Appending | None = None
    lock: DeferredLock = field(factory=DeferredLock)

    @property
    def number(self) -> int:
        """What it is known by, here and on the disk."""
        return self.progress.number


class Turn:
    """The turn to go on with an upload: a request that takes bytes is cut short."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    async def __aenter__(self) -> None:
        if self._upload.appending is not None:
            self._upload.appending.cut_short()
        await self._upload.lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._upload.lock.release()


@frozen
class Over:
    """An upload that is over: the blob that it became, or why it became none."""

    address: Address
    outcome: Standing | StoreError


class Roster:
    """The uploads of one store."""

    def __init__(self, index: Index, admission: Admission, now: Callable[[], int]) -> None:
        self._index = index
        self._admission = admission
        self._now = now
        #: By number; those that nobody goes on with come first.
        self._uploads: dict[int, Upload] = {}
        self._over: dict[int, Over] = {}
        self._claims = 0

    def __len__(self) -> int:
        return len(self._uploads)

    def __iter__(self) -> Iterator[Upload]:
        """The uploads that are not finished, those first that nobody has gone on with."""
        return iter(self._uploads.values())

    def __contains__(self, upload: Upload) -> bool:
        """Whether an upload is not finished."""
        return upload.number in self._uploads

    def add(self, address: Address, text: str, progress: Progress) -> Upload:
        """Take in an upload, and claim its room."""
        self._claims -= 1
        upload = Upload(address, text, progress, self._claims, progress.when)
        self._uploads[address.number] = upload
        self.claim(upload)
        return upload

    def find(self, address: Address) -> Upload | None:
        """The upload, or None if it is over. Raises NoUpload."""
        found: Upload | Over | None = self._uploads.get(address.number)
        if found is None:
            found = self._over.get(address.number)
        if found is None or found.address != address:
            raise NoUpload()
        return found if isinstance(found, Upload) else None

    def outcome(self, address: Address) -> Standing:
        """What an upload that is over came to. Raises what it failed with."""
        outcome = self._over[address.number].outcome
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    def touch(self, upload: Upload) -> None:
        """Somebody goes on with it: its time begins anew."""
        upload.active = self._now()
        if self._uploads.pop(upload.number, None) is not None:
            self._uploads[upload.number] = upload

    def forget(self, upload: Upload, outcome: Standing | StoreError) -> None:
        """The upload is over; give back what it has claimed."""
        self._uploads.pop(upload.number, None)
        self._index.unclaim(upload.claim)
        self.remember(upload.address, outcome)

    def remember(self, address: Address, outcome: Standing | StoreError) -> None:
        """Keep in mind for a while what an upload came to."""
        if isinstance(outcome, Standing):
            outcome = evolve(outcome, text="")  # ten thousand of them would fill the memory
        self._over[address.number] = Over(address, outcome)
        if len(self._over) > _REMEMBERED:
            del self._over[next(iter(self._over))]

    # -- limits -------------------------------------------------------------------------------

    def set_length(self, upload: Upload, length: int | None) -> None:
        """Learn how long an upload is. Raises LengthChanged, TooLarge or QuotaExceeded."""
        progress = upload.progress
        if length is None or length == progress.length:
            return
        if progress.length is not None or length < progress.offset:
            raise LengthChanged()
        self._index.unclaim(upload.claim)
        try:
            self.check_length(upload.address.location, length)
            progress.length = length
        finally:
            self.claim(upload)

    def check_length(self, location: str, length: int) -> None:
        """Raise TooLarge or QuotaExceeded for an upload of so many bytes."""
        most = self._admission.max_blob_size
        if most is not None and length > most:
            raise TooLarge(most)
        room = self._index.room(location)
        if room is not None and length > room[0]:
            raise QuotaExceeded(room[1])

    def most(self, upload: Upload) -> Most:
        """How many more bytes may come."""
        progress = upload.progress
        if progress.length is not None:
            return Most(progress.length - progress.offset, UploadTooLong(progress.length))
        limits: list[tuple[int, StoreError]] = []
        if (most := self._admission.max_blob_size) is not None:
            limits.append((most, TooLarge(most)))
        self._index.unclaim(upload.claim)
        try:
            if (room := self._index.room(upload.address.location)) is not None:
                limits.append((room[0], QuotaExceeded(room[1])))
        finally:
            self.claim(upload)
        if not limits:
            return Most(None, TooLarge(None))
        size, error = min(limits, key=lambda limit: limit[0])
        return Most(max(0, size - progress.offset), error)

    def claim(self, upload: Upload) -> None:
        """Claim what it will have of its quota; what it has, if nobody knows how much it will be.

        Its commit checks the quota again, so it may do without.
        """
        index, progress = self._index, upload.progress
        index.unclaim(upload.claim)
        if upload.number in self._uploads:
            size = progress.offset if progress.length is None else progress.length
            with suppress(QuotaExceeded):
                index.claim(upload.claim, upload.address.location, size)
