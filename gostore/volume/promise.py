"""For how long history is kept, as a note in the data directory: `.keep`; see prefixes.py.

A start compares it with its settings: by them alone nobody could tell history
from garbage. Other programs, older versions among them, take the file for somebody else's.
"""

from __future__ import annotations

from contextlib import suppress

from gostore.prefixes import ByPrefix, dump_times, parse_times
from gostore.volume.directory import READ, Directory

NAME = ".keep"
_TMP = NAME + ".tmp"

#: No note is larger; prefixes are written by people.
_MOST = 1024 * 1024


def read_promise(directory: Directory) -> ByPrefix[float] | None:
    """Read the note; None if there is none, or none that makes sense. Raises OSError."""
    disk = directory.disk
    try:
        fd = disk.open(NAME, READ, dir_fd=directory.root)
    except FileNotFoundError:
        return None
    try:
        text = disk.read_fully(fd, _MOST, 0)
    finally:
        disk.close(fd)
    return parse_times(text)


def note_promise(directory: Directory, keep: ByPrefix[float]) -> None:
    """Write the note, durably. Raises OSError or OutcomeUnknown."""
    text = dump_times(keep)
    with suppress(FileNotFoundError):
        directory.unlink(_TMP)
    try:
        directory.write(_TMP, text.encode(), sync=True)
        directory.rename(_TMP, NAME)
    except OSError:
        # On a full disk others need the room.
        with suppress(OSError):
            directory.unlink(_TMP)
        raise
    directory.sync_root()
