"""For how long history is kept, as a note in the data directory: `.keep`, in JSON.

    {"keep": 604800.0, "prefixes": {"scratch/": 0.0, "photos/": "forever"}}

Times are seconds. A start compares it with its settings: by them alone nobody could tell history
from garbage. Other programs, older versions among them, take the file for somebody else's.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress

from gostore.prefixes import ByPrefix
from gostore.volume.directory import READ, Directory

NAME = ".keep"
_TMP = NAME + ".tmp"

#: No note is larger; prefixes are written by people.
_MOST = 1024 * 1024

_FOREVER = "forever"


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
    try:
        found = json.loads(text)
        prefixes = {str(prefix): _read(value) for prefix, value in found["prefixes"].items()}
        return ByPrefix(_read(found["keep"]), prefixes)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def note_promise(directory: Directory, keep: ByPrefix[float]) -> None:
    """Write the note, durably. Raises OSError or OutcomeUnknown."""
    prefixes = {prefix: _shown(value) for prefix, value in keep.prefixes.items()}
    text = json.dumps({"keep": _shown(keep.default), "prefixes": prefixes}) + "\n"
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


def _read(value: object) -> float:
    seconds = math.inf if value == _FOREVER else float(value)  # type: ignore[arg-type]
    if not seconds >= 0:
        raise ValueError("no time")
    return seconds


def _shown(seconds: float) -> float | str:
    return _FOREVER if math.isinf(seconds) else seconds
