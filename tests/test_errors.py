"""gostore.errors: sentences for people, and what a failed system call means."""

from __future__ import annotations

import errno

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gostore import errors

SENTENCES = [
    (errors.NotFound("foo"), "foo does not exist"),
    (errors.AlreadyExists("foo"), "foo already exists"),
    (errors.ConditionFailed("foo"), "The condition does not hold for foo"),
    (errors.Spoiled("its data is gone"), "its data is gone"),
    (errors.Damaged("foo"), "foo is damaged: replace it (PUT) or delete it (DELETE)"),
    (
        errors.AlreadyExists("foo", is_damaged=True),
        "foo already exists, but is damaged: replace it (PUT) or delete it (DELETE)",
    ),
    (
        errors.DigestMismatch("sha256"),
        "The body does not have the sha256 digest that was announced",
    ),
    (errors.TooLarge(10), "The body is larger than the limit of 10 bytes"),
    (errors.TooLarge(None), "The body is larger than a file may be here"),
    (
        errors.BodyFailed("Client went away after 5 of 10 bytes"),
        "Client went away after 5 of 10 bytes",
    ),
    (errors.TooMuchMetadata(9), "More than 9 bytes of header fields are to be kept"),
    (errors.NoSpace(), "There is no space left to store this"),
    (errors.QuotaExceeded("logs/"), "There is no room for this in the quota of logs/"),
    (errors.NoIds(), "There is no free id left to store this under"),
    (errors.Busy("Too many uploads", 2), "Too many uploads"),
    (errors.ReadOnly("an fsync failed"), "The store is read-only: an fsync failed"),
    (errors.Stopping(), "The store is shutting down"),
    (errors.DiskFailed("EIO"), "The disk failed: EIO"),
    (errors.BucketRefused("NoSuchBucket"), "The bucket refused: NoSuchBucket"),
    (
        errors.BucketRefused("NoSuchBucket", "s3://blobs/a"),
        "The bucket s3://blobs/a refused: NoSuchBucket",
    ),
    (errors.VersionDamaged("foo"), "This version of foo is damaged"),
    (errors.NoVersion("foo", 3), "foo has no version 3"),
    (errors.NoUpload(), "There is no such upload"),
    (errors.UploadOver("it has expired"), "This upload is over: it has expired"),
    (errors.WrongOffset(5), "This upload has 5 bytes; go on behind them"),
    (errors.TakenOver(), "Another request has taken over this upload"),
    (
        errors.ChunkMismatch("sha256"),
        "The bytes do not have the sha256 checksum that was announced",
    ),
    (
        errors.LengthChanged(),
        "The length of an upload does not change, and is no less than what has come",
    ),
    (
        errors.UploadTooLong(9),
        "More bytes come than the 9 that this upload was said to have",
    ),
    (errors.VolumeInUse("data"), "data is already served by another daemon"),
    (errors.VolumeUnusable("data", "not a directory"), "data cannot be used: not a directory"),
    (errors.NoBlobs("data"), "There are no blobs in data"),
    (errors.BadRecord("no checksum"), "The state file cannot be believed: no checksum"),
    (
        errors.IllegalTransition(7, "Failure", "OK"),
        "Blob 7 cannot go from Failure to OK",
    ),
]


class SentenceTests(SynchronousTestCase):
    """str() of an error."""

    def test_each_error_says_its_sentence(self) -> None:
        """Every StoreError reads as one sentence, also through a Failure."""
        for error, sentence in SENTENCES:
            self.assertEqual(str(error), sentence)
            self.assertEqual(Failure(error).getErrorMessage(), sentence)

    def test_every_error_is_in_the_table(self) -> None:
        """No error class is without a sentence of its own."""
        classes = {
            value
            for value in vars(errors).values()
            if isinstance(value, type) and issubclass(value, errors.StoreError)
        }
        self.assertEqual(
            classes - {errors.StoreError}, {type(error) for error, sentence in SENTENCES}
        )

    def test_errors_can_be_raised_and_chained(self) -> None:
        """An error carries a traceback and a cause like any other exception."""
        cause = OSError(errno.ENOSPC, "No space left on device")
        with self.assertRaises(errors.NoSpace) as caught:
            raise errors.NoIds() from cause
        self.assertIs(caught.exception.__cause__, cause)


class OSErrorTests(SynchronousTestCase):
    """as_store_error with a failed system call, and is_no_space."""

    def test_a_full_disk_or_quota_is_no_space(self) -> None:
        """ENOSPC and EDQUOT are NoSpace."""
        for number in (errno.ENOSPC, errno.EDQUOT):
            error = OSError(number, "full")
            self.assertIs(type(errors.as_store_error(error)), errors.NoSpace)
            self.assertTrue(errors.is_no_space(error))
        self.assertFalse(errors.is_no_space(OSError(errno.EMFILE, "many")))

    def test_no_descriptors_and_no_memory_are_busy(self) -> None:
        """EMFILE, ENFILE, ENOMEM and MemoryError are Busy, worth another try after a second."""
        calls = [OSError(number, "many") for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)]
        for failed in (*calls, MemoryError()):
            error = errors.as_store_error(failed)
            assert isinstance(error, errors.Busy)
            self.assertEqual(error.retry_after, 1)

    def test_a_read_only_file_system_is_read_only(self) -> None:
        """EROFS is ReadOnly."""
        self.assertIsInstance(errors.as_store_error(OSError(errno.EROFS, "ro")), errors.ReadOnly)

    def test_an_immutable_directory_is_read_only(self) -> None:
        """EPERM, which is what root gets of `chattr +i`, is ReadOnly."""
        self.assertIsInstance(errors.as_store_error(OSError(errno.EPERM, "no")), errors.ReadOnly)

    def test_anything_else_is_disk_failed_without_the_path(self) -> None:
        """Any other errno is named in a DiskFailed, which does not tell the file's name."""
        error = errors.as_store_error(OSError(errno.EIO, "Input/output error", "/secret/name"))
        assert isinstance(error, errors.DiskFailed)
        self.assertEqual(str(error), "The disk failed: EIO")

    def test_an_unknown_errno_is_disk_failed(self) -> None:
        """An OSError with a strange errno, or none, is DiskFailed too."""
        for error, reason in [
            (OSError(99999, "?"), "errno 99999"),
            (OSError("?"), "unknown error"),
        ]:
            found = errors.as_store_error(error)
            assert isinstance(found, errors.DiskFailed)
            self.assertEqual(found.reason, reason)


class AnyErrorTests(SynchronousTestCase):
    """as_store_error with any exception, and strerror_of."""

    def test_any(self) -> None:
        """The store's own errors are themselves, system calls as ever; others are their type."""
        own = errors.Busy("Too many uploads are in progress", 1)
        self.assertIs(errors.as_store_error(own), own)
        for error, words in [
            (OSError(errno.ENOSPC, "full"), "There is no space left to store this"),
            (MemoryError(), "There is too little memory"),
            (ZeroDivisionError("a secret"), "The disk failed: ZeroDivisionError"),
        ]:
            self.assertEqual(str(errors.as_store_error(error)), words)

    def test_too_large_a_file(self) -> None:
        """A file that may not grow so large is the fault of the body's size."""
        found = errors.as_store_error(OSError(errno.EFBIG, "no"))
        assert isinstance(found, errors.TooLarge)
        self.assertIsNone(found.limit)

    def test_read(self) -> None:
        """A read that fails has no fault that only a write can have; the rest is as ever."""
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EPERM):
            found = errors.as_read_error(OSError(number, "no"))
            self.assertEqual(str(found), f"The disk failed: {errno.errorcode[number]}")
        for error in (OSError(errno.EMFILE, "no"), MemoryError()):
            self.assertIsInstance(errors.as_read_error(error), errors.Busy)
        strange = errors.as_read_error(OSError("?"))
        self.assertEqual(str(strange), "The disk failed: unknown error")
        own = errors.NoSpace()
        self.assertIs(errors.as_read_error(own), own)

    def test_strerror(self) -> None:
        """The message of a failed call has no file name; without an errno it is the error's own."""
        failed = OSError(errno.ENOENT, "whatever", "/secret/name")
        self.assertEqual(errors.strerror_of(failed), "No such file or directory")
        self.assertEqual(errors.strerror_of(OSError("strange")), "strange")
