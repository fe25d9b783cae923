"""What can go wrong, in the store's own words.

Every error is a StoreError; str() of it is one sentence for people. There is no HTTP here: one
table in ``web`` gives each error its status code. No paths either, except in VolumeInUse,
VolumeUnusable and NoBlobs, which never reach a client.
"""

from __future__ import annotations

import errno
import os

from attrs import define, field

_WAY_OUT = ": replace it (PUT) or delete it (DELETE)"
"""What to do about a location whose blob is damaged."""


class StoreError(Exception):
    """Anything the store refuses or fails to do; the base of all errors here."""

    is_logged: bool = False
    """Whether the log has it, with more to go by than a later message could say."""


# The request cannot be met.


@define
class NotFound(StoreError):
    """No blob has this location."""

    location: str

    def __str__(self) -> str:
        return f"{self.location} does not exist"


@define
class NoVersion(NotFound):
    """The location has no version of this generation, or none any more."""

    generation: int

    def __str__(self) -> str:
        return f"{self.location} has no version {self.generation}"


@define
class AlreadyExists(StoreError):
    """The location has a blob, or one is being created there; the blob may be damaged."""

    location: str
    is_damaged: bool = False

    def __str__(self) -> str:
        if self.is_damaged:
            return f"{self.location} already exists, but is damaged{_WAY_OUT}"
        return f"{self.location} already exists"


@define
class ConditionFailed(StoreError):
    """The caller's condition does not hold for the blob that the location has now."""

    location: str

    def __str__(self) -> str:
        return f"The condition does not hold for {self.location}"


@define
class Damaged(StoreError):
    """The location's blob is on the disk, but differs from what was written."""

    location: str
    is_logged: bool = field(default=True, eq=False)
    """False for whoever finds the damage: the log does not say yet who that was."""

    def __str__(self) -> str:
        return f"{self.location} is damaged{_WAY_OUT}"


@define
class VersionDamaged(Damaged):
    """An old version differs from what was written; its location has another one."""

    def __str__(self) -> str:
        return f"This version of {self.location} is damaged"


@define
class DigestMismatch(StoreError):
    """The body does not have the digest that was announced; ``algorithm`` as "sha256"."""

    algorithm: str

    def __str__(self) -> str:
        return f"The body does not have the {self.algorithm} digest that was announced"


@define
class TooLarge(StoreError):
    """The body is, or is announced to be, larger than ``limit`` bytes; None: than a file may be."""

    limit: int | None

    def __str__(self) -> str:
        if self.limit is None:
            return "The body is larger than a file may be here"
        return f"The body is larger than the limit of {self.limit} bytes"


@define
class BodyFailed(StoreError):
    """The body never arrived whole: the client went away, was too slow, or sent it malformed."""

    reason: str

    def __str__(self) -> str:
        return self.reason


# An upload in several requests cannot go on like this.


@define
class NoUpload(StoreError):
    """There is no such upload, or not for the caller."""

    def __str__(self) -> str:
        return "There is no such upload"


@define
class UploadOver(StoreError):
    """The upload is over: ``reason`` is why it became no blob."""

    reason: str

    def __str__(self) -> str:
        return f"This upload is over: {self.reason}"


@define
class WrongOffset(StoreError):
    """The caller goes on at another place than behind the ``offset`` bytes that are here."""

    offset: int

    def __str__(self) -> str:
        return f"This upload has {self.offset} bytes; go on behind them"


@define
class TakenOver(StoreError):
    """Another request goes on with the upload."""

    def __str__(self) -> str:
        return "Another request has taken over this upload"


@define
class ChunkMismatch(StoreError):
    """A part of the upload does not have the checksum that was announced for it."""

    algorithm: str

    def __str__(self) -> str:
        return f"The bytes do not have the {self.algorithm} checksum that was announced"


@define
class LengthChanged(StoreError):
    """The caller gives an upload another length than before, or less than it has."""

    def __str__(self) -> str:
        return "The length of an upload does not change, and is no less than what has come"


@define
class UploadTooLong(TooLarge):
    """More bytes come than the upload was said to have: ``limit`` of them."""

    def __str__(self) -> str:
        return f"More bytes come than the {self.limit} that this upload was said to have"


# The store cannot do it, now or at all.


@define
class TooMuchMetadata(StoreError):
    """The metadata of a blob, with its type, are longer than this limit in bytes."""

    limit: int

    def __str__(self) -> str:
        return f"More than {self.limit} bytes of header fields are to be kept"


@define
class NoSpace(StoreError):
    """The disk, the quota or the reserve of free space is used up."""

    def __str__(self) -> str:
        return "There is no space left to store this"


@define
class QuotaExceeded(NoSpace):
    """The quota of a prefix has no room for this."""

    prefix: str

    def __str__(self) -> str:
        return f"There is no room for this in the quota of {self.prefix or 'the whole store'}"


@define
class NoIds(NoSpace):
    """Every id is taken."""

    def __str__(self) -> str:
        return "There is no free id left to store this under"


@define
class Busy(StoreError):
    """Too much is going on; the caller may try again after ``retry_after`` seconds."""

    reason: str
    retry_after: int

    def __str__(self) -> str:
        return self.reason


@define
class ReadOnly(StoreError):
    """Nothing can be written until somebody has looked at the ``reason``."""

    reason: str

    def __str__(self) -> str:
        return f"The store is read-only: {self.reason}"


@define
class Stopping(StoreError):
    """The daemon is shutting down."""

    def __str__(self) -> str:
        return "The store is shutting down"


@define
class DiskFailed(StoreError):
    """A system call, or a bucket, failed in a way that says nothing about the request."""

    reason: str

    def __str__(self) -> str:
        return f"The disk failed: {self.reason}"


@define
class BucketRefused(DiskFailed):
    """The engine of a bucket will not do it; ``bucket`` is its name for people, "" for clients."""

    bucket: str = ""

    def __str__(self) -> str:
        return f"{f'The bucket {self.bucket}'.strip()} refused: {self.reason}"


# The daemon cannot start, or there is nothing to look at. Only these errors name a directory.


@define
class VolumeInUse(StoreError):
    """Another daemon has the data directory."""

    path: str

    def __str__(self) -> str:
        return f"{self.path} is already served by another daemon"


@define
class VolumeUnusable(StoreError):
    """The data directory cannot be made, opened or written."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} cannot be used: {self.reason}"


@define
class NoBlobs(StoreError):
    """The directory has no blob at all; it may not be a data directory."""

    path: str

    def __str__(self) -> str:
        return f"There are no blobs in {self.path}"


# Lower rooms raise these for higher ones.


@define
class BadRecord(StoreError):
    """A state file that cannot be believed."""

    reason: str

    def __str__(self) -> str:
        return f"The state file cannot be believed: {self.reason}"


@define
class Spoiled(StoreError):
    """A blob that is read to be moved is not as it was written."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@define
class IllegalTransition(StoreError):
    """A blob was told to move along an edge that its state does not have.

    ``from_state`` and ``to_state`` are titles ("OK", "Failure", "Pending"); "new" is a blob whose
    log is still empty.
    """

    blob_id: int
    from_state: str
    to_state: str

    def __str__(self) -> str:
        return f"Blob {self.blob_id} cannot go from {self.from_state} to {self.to_state}"


def as_store_error(error: BaseException | None) -> StoreError:
    """Say what an exception means to the store; an unforeseen one gives away only its type.

    Only the name of the errno goes into the reason, never the error's file name.
    """
    if isinstance(error, StoreError):
        return error
    if not isinstance(error, (OSError, MemoryError)):
        return DiskFailed(type(error).__name__)
    match errno.ENOMEM if isinstance(error, MemoryError) else error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return NoSpace()
        case errno.EFBIG:
            return TooLarge(None)
        case errno.EMFILE | errno.ENFILE:
            return Busy("Too many files are open", retry_after=1)
        case errno.ENOMEM:
            return Busy("There is too little memory", retry_after=1)
        case errno.EROFS:
            return ReadOnly("the file system is read-only")
        case errno.EPERM:
            # Even root gets this for a change in a directory with `chattr +i`.
            return ReadOnly("the data directory may not be changed")
        case None:
            return DiskFailed("unknown error")
        case number:
            return DiskFailed(errno.errorcode.get(number, f"errno {number}"))


def as_read_error(error: BaseException) -> StoreError:
    """As `as_store_error`, for a failed read: it needs no room, and changes nothing."""
    found = as_store_error(error)
    if isinstance(error, OSError) and isinstance(found, (NoSpace, ReadOnly, TooLarge)):
        return DiskFailed(errno.errorcode[error.errno or 0])
    return found


def is_no_space(error: OSError) -> bool:
    """Say whether a system call failed because the disk or the quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def strerror_of(error: OSError) -> str:
    """Return the system's message for a failed call, without the name of a file."""
    return os.strerror(error.errno) if error.errno else str(error)
