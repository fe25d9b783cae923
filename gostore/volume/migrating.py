"""The mark of a directory into which blobs are being moved: no daemon serves it before the end.

``gostore migrate`` makes the file before the first blob, and removes it after the last one. It
holds the name of the source.
"""

from __future__ import annotations

from gostore.errors import BadRecord
from gostore.volume.directory import MIGRATING, Directory


def source_of(directory: Directory) -> str | None:
    """Return what the blobs come from; None if the directory has no mark.

    "" if a crash has torn the mark: then there is no blob yet.
    """
    try:
        found, _ = directory.read_state_at(MIGRATING, directory.root)
    except FileNotFoundError:
        return None
    except BadRecord as error:
        return f"something unknown ({error.reason})"
    return found.decode("utf-8", "backslashreplace")


def mark(directory: Directory, source: str) -> None:
    """Make the mark, durably. Raises OSError or OutcomeUnknown."""
    if directory.stands(MIGRATING):
        directory.unlink(MIGRATING)
    directory.write(MIGRATING, source.encode("utf-8"), sync=True)
    directory.sync_root()


def unmark(directory: Directory) -> None:
    """Remove the mark, durably. Raises OSError or OutcomeUnknown."""
    directory.unlink(MIGRATING)
    directory.sync_root()
