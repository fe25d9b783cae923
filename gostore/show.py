"""A blob's record and its log, for people; read from the disk, whether a daemon runs or not."""

from __future__ import annotations

from contextlib import suppress

from gostore import recovery
from gostore.blob import MAX_ID, Blob
from gostore.errors import BadRecord, NotFound, VolumeUnusable, from_os_error
from gostore.statefile import escape, format_time
from gostore.volume import QUARANTINE, Volume, stage_name


def show(volume: Volume, wanted: str) -> list[str]:
    """Return lines about the blob with an id, or else the one at a location.

    An id is looked up alone; for a location every record is read. Raises NotFound, BadRecord, or
    VolumeUnusable.
    """
    volume.look(lock=False)
    try:
        name = _find_id(volume, wanted) or _find_location(volume, wanted)
        return _describe(name, volume.read_record(name))
    except FileNotFoundError:
        raise NotFound(wanted) from None
    except OSError as error:
        raise VolumeUnusable(volume.shown_path, str(from_os_error(error))) from error
    finally:
        volume.close()


def _find_id(volume: Volume, wanted: str) -> str | None:
    """The directory that bears an id, committed or not; None if there is none."""
    if not (wanted.isascii() and wanted.isdecimal()) or int(wanted) > MAX_ID:
        return None
    for name in (str(int(wanted)), stage_name(int(wanted))):
        with suppress(FileNotFoundError, NotADirectoryError, BadRecord):
            volume.read_state(name)
            return name
    return None


def _find_location(volume: Volume, wanted: str) -> str:
    """The directory of the blob at a location; of the one that was, if it is still there."""
    found = recovery.scan(volume)
    if wanted in found.live:
        return str(found.live[wanted].id)
    if wanted in found.damaged:
        return found.damaged[wanted].name
    dead = [one for one in found.dead if one.location == wanted]
    if not dead:
        raise NotFound(wanted)
    return str(max(dead, key=lambda one: one.generation).id)


def _describe(name: str, blob: Blob) -> list[str]:
    state = blob.state.title
    if name.startswith(QUARANTINE):
        # Its record says what it was.
        state += ", but set aside as damaged: it answers 500 until it is replaced or deleted"
    rows: list[tuple[str, object]] = [
        ("location", blob.location),
        ("state", state),
        ("directory", name),
        ("generation", blob.generation or "none: by the first server"),
        ("size", "not recorded" if blob.size is None else f"{blob.size} bytes"),
        ("sha256", "not recorded" if blob.sha256 is None else blob.sha256.hex()),
    ]
    if blob.created is not None:
        rows.append(("created", format_time(blob.created)))
    if blob.content_type is not None:
        rows.append(("content type", blob.content_type))
    rows += blob.metadata.items()
    width = max(len(label) for label, _ in rows)
    return [
        f"Blob {blob.id}",
        *(f"  {escape(label).ljust(width)}  {escape(str(value))}" for label, value in rows),
        "Log, newest first:",
        *(
            f"  {format_time(entry.when)} - {entry.state.title} - {escape(entry.message)}"
            for entry in reversed(blob.log)
        ),
    ]
