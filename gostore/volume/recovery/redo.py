"""What recovery does again: blobs that are complete in the journal but not in their directories."""

from __future__ import annotations

import errno

from gostore.errors import BadRecord, VolumeUnusable, is_no_space, strerror_of
from gostore.volume.directory import DATA, READ, STATE, DataDamaged, check_data, stage_name
from gostore.volume.disk import NOT_REGULAR
from gostore.volume.journal.format import Entry
from gostore.volume.journal.journal import NotAJournal
from gostore.volume.volume import Volume


def read_journal(volume: Volume) -> list[Entry]:
    """Return what the journal has; raises VolumeUnusable if it cannot be read."""
    try:
        return volume.backlog.journal.read()
    except NotAJournal as error:  # somebody put something in its place
        raise VolumeUnusable(volume.shown_path, str(error)) from error
    except OSError as error:
        reason = f"the redo journal: {strerror_of(error)}"
        raise VolumeUnusable(volume.shown_path, reason) from error


def holds(volume: Volume, name: str, data: bytes | None) -> bool:
    """Say whether the data.raw in a directory is a regular file of exactly these bytes."""
    if data is None:
        return False
    disk = volume.disk
    try:
        fd = disk.open(f"{name}/{DATA}", READ, dir_fd=volume.directory.root)
        try:
            check_data(disk.fstat(fd), len(data))
            return volume.read(fd, 0, len(data)) == data
        finally:
            disk.close(fd)
    except (FileNotFoundError, DataDamaged):
        return False
    except OSError as error:
        if error.errno in NOT_REGULAR:
            return False
        raise


def restore(volume: Volume, entry: Entry) -> None:
    """Make a blob's directory as the journal has it, in place of a torn one; not synced.

    A mere kill leaves it whole, if perhaps under the name of its stage: then this takes no room.
    If it fails, what it has written is in the trash, and it may be tried again.
    """
    name, stage = str(entry.blob_id), stage_name(entry.blob_id)
    _clear(volume, name)
    if not _is_whole(volume, stage, entry):
        _clear(volume, stage)
        try:
            _restage(volume, stage, entry)
        except OSError:
            volume.trash.put(stage)
            raise
    volume.disk.rename(stage, name, volume.directory.root)


def _clear(volume: Volume, name: str) -> None:
    """Make way for a directory; anything else, a link say, is not ours to remove."""
    if not volume.directory.is_directory(name):
        volume.trash.quarantine(name)
        return
    try:
        volume.trash.put(name)
    except OSError as error:
        # A lower layer of overlayfs, or no room for a name; the journal has what this removes.
        is_stuck = error.errno == errno.EXDEV or is_no_space(error)
        if not is_stuck or not volume.trash.remove(name):
            raise


def _is_whole(volume: Volume, name: str, entry: Entry) -> bool:
    if not volume.directory.is_directory(name):
        return False
    try:
        is_record = volume.directory.read_state(name) == entry.state
        return is_record and holds(volume, name, entry.data)
    except (OSError, BadRecord):
        return False  # as far as anybody can see


def _restage(volume: Volume, stage: str, entry: Entry) -> None:
    assert entry.data is not None, "a deletion needs no room"
    directory = volume.directory
    sync = not directory.syncfs_trusted
    directory.make(stage)
    directory.write(f"{stage}/{DATA}", entry.data, sync=sync)
    directory.write(f"{stage}/{STATE}", entry.state, sync=sync)
    if sync:
        directory.sync(stage)
