"""What a start makes of a volume: look at it, mend it, and say what was found. All of it blocks."""

from __future__ import annotations

from contextlib import suppress

from twisted.logger import Logger

from gostore.errors import VolumeUnusable, as_read_error, as_store_error
from gostore.store.interface import Summary
from gostore.store.keeping import Keeping
from gostore.volume.directory import OutcomeUnknown
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.repair import repair
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume

#: How many damaged locations a start names in the log.
_NAMED = 10

log = Logger()


def open_and_scan(volume: Volume, keeping: Keeping) -> Findings:
    """Lock a volume and read it, changing nothing; ``keeping`` reads what was promised.

    Raises VolumeInUse or VolumeUnusable.
    """
    volume.open()
    try:
        keeping.open()
        found = scan(volume, keeps=keeping.history.keeps)
        if found.journal_damage is not None:
            reason = (
                f"{found.journal_damage}, so that a write or a delete may be lost;"
                " gostore fsck tells what is there, and with --repair it goes on with that"
            )
            raise VolumeUnusable(volume.shown_path, reason)
    except (VolumeUnusable, OSError) as error:
        with suppress(OSError):
            volume.close()
        if isinstance(error, VolumeUnusable):
            raise
        raise VolumeUnusable(volume.shown_path, str(as_read_error(error))) from error
    return found


def mend(volume: Volume, found: Findings) -> tuple[int, int]:
    """Mend what was found; return the bytes free, and in all. Raises VolumeUnusable."""
    try:
        repair(volume, found)
        return volume.free()
    except (OSError, OutcomeUnknown) as error:
        reason = str(as_store_error(error) if isinstance(error, OSError) else error)
        raise VolumeUnusable(volume.shown_path, reason) from error


def summary_of(found: Findings, seconds: float) -> Summary:
    """Say what was found; what is damaged is named in the log."""
    if found.damaged:
        log.warn(
            "Damaged, and answered with 500 until replaced or deleted: {count} locations,"
            " {locations!r} among them",
            count=len(found.damaged),
            locations=sorted(found.damaged)[:_NAMED],
        )
    return Summary(
        restored=len(found.live),
        finished=len(found.unmarked),
        discarded=len(found.leftover) + len(found.uncommitted) + len(found.pending),
        quarantined=found.damage,
        foreign=len(found.foreign),
        seconds=seconds,
    )
