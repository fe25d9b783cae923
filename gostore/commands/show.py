"""Print a blob's record and its log, read from the disk, whether a daemon runs or not."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress

from gostore.blob import MAX_ID, Blob, State
from gostore.bucket.exhibit import Exhibit
from gostore.bucket.visiting import Bucket
from gostore.commands.records import lacking
from gostore.commands.statuses import GOOD
from gostore.commands.terminal import add_blob, bucket_named, read_directory
from gostore.commands.unfinished import (
    DAY,
    Unfinished,
    add_period,
    unfinished,
    unfinished_in_bucket,
)
from gostore.errors import BadRecord, NoBlobs, NotFound, VolumeUnusable, as_store_error
from gostore.statefile import parse
from gostore.text import escape, format_time
from gostore.volume.directory import QUARANTINE, TIE, Kind, kind_of, stage_name
from gostore.volume.migrating import source_of
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.scan import journaled, keeps_nothing, scan
from gostore.volume.volume import Volume

#: Instead of the name of a directory that does not have all of a blob yet.
IN_THE_JOURNAL = "none yet: it is in the redo journal"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add_blob(
        parser,
        "ID|LOCATION",
        "the blob; a number is an id if any blob has it, else a location; the name of a"
        " quarantined directory or of an unfinished upload, as fsck prints it, will also do. Of a"
        " bucket without it: what all its daemons have agreed on",
        nargs="?",
    )
    parser.add_argument(
        "--uploads", action="store_true", help="list the unfinished uploads, in place of a blob"
    )
    add_period(parser)


def run(parsed: argparse.Namespace) -> int:
    """Print all that there is to say of one blob."""
    if parsed.uploads and parsed.blob is not None:
        parsed.command.error("--uploads lists all that there are: leave out the blob")
    if parsed.uploads and parsed.store is not None:
        there = unfinished_in_bucket(bucket_named(parsed), parsed.upload_expires)
        lines = list(map(str, there))
    elif parsed.store is not None:
        lines = show_in_bucket(bucket_named(parsed), parsed.blob, location=parsed.location)
    elif parsed.uploads:
        found = show_uploads(Volume(read_directory(parsed.dir)), parsed.upload_expires)
        lines = list(map(str, found))
    elif parsed.blob is None:
        parsed.command.error("the following arguments are required: ID|LOCATION")
    else:
        lines = show(Volume(read_directory(parsed.dir)), parsed.blob, location=parsed.location)
    print("\n".join(lines))
    return GOOD


def show_in_bucket(bucket: Bucket, wanted: str | None, *, location: bool = False) -> list[str]:
    """As `show`, for a bucket; without ``wanted`` what all its daemons have agreed on.

    Raises NotFound, Spoiled or another StoreError.
    """
    if wanted is None:
        return [
            f"{escape(label)}: {escape(text)}" for label, text in Exhibit(bucket).store().items()
        ]
    found = Exhibit(bucket).blob(wanted, is_location=location)
    return _describe(found.folder, found.blob, found.remark, place="objects")


def show(volume: Volume, wanted: str, *, location: bool = False) -> list[str]:
    """Return lines about the blob with an id, or in a quarantine of this name, or at a location.

    With ``location``, ``wanted`` is a location, whatever it looks like. If a blob or a stage has
    the id, this reads its record and the journal, else every record. If only quarantined blobs have
    the id, this shows all of them: a store may use an id again, and the names do not tell the
    newest.
    Raises NotFound, NoBlobs, BadRecord, or VolumeUnusable.
    """
    volume.look(lock=False)
    try:
        # Somebody who looks for a blob in vain should know it, too.
        if (source := source_of(volume.directory)) is not None:
            reason = escape(f"{volume.shown_path} is incomplete: {lacking(source)}")
            print(f"gostore: {reason}", file=sys.stderr)
        blob_id = None if location else _read_id(wanted)
        if lines := _show_id(volume, blob_id):
            return lines
        if not location and kind_of(wanted) is Kind.KEPT:
            return _describe(wanted, volume.directory.read_record(wanted))
        found = scan(volume)
        if not (found.ids or found.live or found.quarantined):
            raise NoBlobs(volume.shown_path)
        names = [] if location else _find_quarantined(found, blob_id, wanted)
        names = names or [_find_location(found, wanted)]
        return [line for name in names for line in _show_found(volume, found, name)]
    except FileNotFoundError:
        raise NotFound(wanted) from None
    except OSError as error:
        raise VolumeUnusable(volume.shown_path, str(as_store_error(error))) from error
    finally:
        volume.close()


def show_uploads(volume: Volume, period: float = DAY) -> list[Unfinished]:
    """Return the unfinished uploads; ``period`` is the daemon's --upload-expires.

    Raises VolumeUnusable.
    """
    volume.look(lock=False)
    try:
        return unfinished(scan(volume), period)
    except OSError as error:
        raise VolumeUnusable(volume.shown_path, str(as_store_error(error))) from error
    finally:
        volume.close()


def _read_id(wanted: str) -> int | None:
    """The id, if the text can be one."""
    if not (wanted.isascii() and wanted.isdecimal()) or int(wanted) > MAX_ID:
        return None
    return int(wanted)


def _show_id(volume: Volume, blob_id: int | None) -> list[str]:
    """Show the blob or the stage with an id, if there is one.

    The journal is asked, too: the directory may lack what was stored or deleted a moment ago.
    """
    if blob_id is None:
        return []
    name = _find_id(volume, blob_id)
    blob = None if name is None else volume.directory.read_record(name)
    entry = journaled(volume, keeps_nothing).get(blob_id)
    if entry is not None:
        newer = parse(entry.state, blob_id)
        is_behind = newer.state is State.FAILURE and blob is not None and blob.state is State.OK
        if blob is None or newer.generation > (blob.generation or 0) or is_behind:
            return _describe(IN_THE_JOURNAL, newer)
    return [] if name is None or blob is None else _describe(name, blob)


def _find_id(volume: Volume, blob_id: int | None) -> str | None:
    """The directory with an id, committed or not; None if there is none."""
    if blob_id is None:
        return None
    for name in (str(blob_id), stage_name(blob_id)):
        with suppress(FileNotFoundError, NotADirectoryError, BadRecord):
            volume.directory.read_state(name)
            return name
    return None


def _find_quarantined(found: Findings, blob_id: int | None, wanted: str) -> list[str]:
    """The quarantined directories that had an id, or have this very name."""
    stem = f"{QUARANTINE}{blob_id}-"
    return sorted(name for name in found.quarantined if name.startswith(stem) or name == wanted)


def _find_location(found: Findings, wanted: str) -> str:
    """The directory of the blob at a location, or of a dead blob that is still there."""
    if wanted in found.live:
        return str(found.live[wanted].id)
    if wanted in found.damaged:
        return found.damaged[wanted].name
    dead = [one for one in found.dead if one.location == wanted]
    if not dead:
        raise NotFound(wanted)
    return str(max(dead, key=lambda one: one.generation).id)


def _show_found(volume: Volume, found: Findings, name: str) -> list[str]:
    """Show a directory that a scan found, perhaps a quarantined one or one that is to be made."""
    undone = {str(entry.blob_id): entry for entry in found.undone}
    if name in undone:
        return _describe(IN_THE_JOURNAL, parse(undone[name].state))
    if not name.startswith(QUARANTINE):
        return _describe(name, volume.directory.read_record(name))
    try:
        # Its record says what it was before.
        return _describe(name, volume.directory.read_record(name), _why_quarantined(found, name))
    except (BadRecord, FileNotFoundError) as error:
        reason = error if isinstance(error, BadRecord) else "It has no state file"
        return [f"Quarantined as {name}: {reason}"]


def _why_quarantined(found: Findings, name: str) -> str:
    if any(name == damage.name for damage in found.damaged.values()):
        return ", but quarantined as damaged: it answers 500 until it is replaced or deleted"
    if name.endswith(TIE):
        return ", but quarantined, since another blob had its location"
    if name in found.obsolete:
        return ", but quarantined as damaged; its location has been written since"
    return ", but quarantined as damaged"


def _describe(name: str, blob: Blob, remark: str = "", *, place: str = "directory") -> list[str]:
    rows: list[tuple[str, object]] = [
        ("location", blob.location),
        ("state", blob.state.title + remark),
        (place, name),
        ("generation", blob.generation or "none: the Go server wrote it"),
        ("size", "not recorded" if blob.size is None else f"{blob.size} bytes"),
        ("sha256", "not recorded" if blob.sha256 is None else blob.sha256.hex()),
    ]
    if blob.created is not None:
        rows.append(("created", format_time(blob.created)))
    if blob.expires is not None:
        rows.append(("expires", format_time(blob.expires * 1_000_000_000)))
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
