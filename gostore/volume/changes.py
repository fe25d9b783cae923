"""What can be asked of a volume's write protocol: to commit, to delete, to discard."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import define, frozen

from gostore.blob import Blob, Committed
from gostore.volume.directory import stage_name


@define(eq=False)
class Stage:
    """An upload in `.new-<id>`: its record and its open data.raw (-1 once closed).

    Or ``kept`` in a directory that outlives a start, all flushed.
    """

    blob: Blob
    fd: int = -1
    kept: str | None = None
    #: How many bytes have been written that the kernel has not been told to write out.
    held_back: int = 0

    @property
    def name(self) -> str:
        """The stage's directory."""
        return stage_name(self.blob.id) if self.kept is None else self.kept

    def release(self) -> int:
        """Return the descriptor, which is the caller's to close now; -1 if it has been closed."""
        fd, self.fd = self.fd, -1
        return fd


@frozen(eq=False)
class Commit:
    """Make a blob exist: its finished record, and its bytes or the stage that holds them.

    ``replaces`` is the id of the blob that its location has, None if it has none; ``keeps`` says
    whether that one stays on the disk, as history.
    """

    blob: Blob
    data: bytes | Stage
    replaces: int | None = None
    keeps: bool = False


@frozen(eq=False)
class Delete:
    """Make a blob not exist, for good.

    ``elders`` are the ids of superseded blobs of its location that may still be on the disk. They
    would come back if this one were merely removed. ``origin`` is for the blob's log, which says
    that it has expired if it ``is_over``, and ``when`` in nanoseconds, None for now. ``keeps`` says
    whether its bytes stay on the disk, as history.
    """

    blob: Committed
    elders: Sequence[int]
    origin: str = ""
    is_over: bool = False
    when: int | None = None
    keeps: bool = False


@frozen(eq=False)
class Discard:
    """Remove damaged directories, the last name only when the others are durably gone.

    ``newest`` is the generation up to which blobs had been committed when it was decided. ``kept``
    are superseded blobs that stay, as history, each with its successor's id: they have to be marked
    Failure first.
    """

    names: Sequence[str]
    newest: int
    kept: Sequence[tuple[int, int]] = ()


Change = Commit | Delete | Discard


class Sync(Enum):
    """What makes a change durable before it is reported as done."""

    #: One flush of the redo journal for many small changes; the rest as with FILES.
    JOURNAL = "journal"
    #: A flush of each file and each directory.
    FILES = "files"
    #: Nothing: a power cut may lose what was reported as done.
    NONE = "none"
