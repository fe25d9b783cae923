"""Acts on what a scan found, at a start; quarantines blobs while a store runs.

`repair` writes again what lives only in the journal, renames, and marks and removes what is dead.
So a crash inside it is just another crash.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger

from gostore import statefile
from gostore.blob import Blob, State
from gostore.errors import BadRecord, VolumeUnusable, is_no_space, strerror_of
from gostore.volume.collect import Dead, collect, retire
from gostore.volume.directory import Kind, id_in, kind_of
from gostore.volume.journal.format import Entry
from gostore.volume.recovery.findings import Damage, Ended, Findings
from gostore.volume.recovery.redo import restore
from gostore.volume.volume import Volume

log = Logger()


def repair(volume: Volume, found: Findings) -> dict[str, str]:
    """Do what the scan decided, and log it; the collector removes what is to be removed.

    Return the names of suspects that could not be quarantined, each with the reason. Raises
    OSError, or OutcomeUnknown, if the disk refuses.
    """
    for name in found.leftover:
        volume.trash.trashed[name] = None
        kind = kind_of(name)
        if kind is not Kind.TRASH:
            _log_pending_stage(volume, name)
        # A copy that was taken under a running daemon may have the blob, too.
        if kind is Kind.STAGE and not volume.directory.stands(str(id_in(name))):
            volume.trash.trashed[name] = id_in(name)
    _redo(volume, found)
    for blob in found.pending:
        if _fail_pending(volume, str(blob.id), blob):
            found.dead.append(Dead(blob.id, blob.location, blob.generation))
    retire(volume, found.unmarked)
    volume.sync_tombstones(dead.id for dead in found.dead)
    volume.sync_tombstones(found.history)
    for blob_id in found.uncommitted:
        log.warn("{id} has no state file, and is no blob - Deleting!", id=blob_id)
        volume.trash.put_or_unlink(str(blob_id), blob_id)
    left = _quarantine_suspects(volume, found)
    if found.uncommitted or found.suspects:
        volume.directory.sync_root()
    _log_unreadable(found)
    for name in found.foreign:
        log.warn("{name!r} in the data directory is {why}", name=name, why=found.why_foreign(name))
    return left


def _quarantine_suspects(volume: Volume, found: Findings) -> dict[str, str]:
    left = {}
    damaged = {damage.name: damage for damage in found.damaged.values()}
    for suspect in found.suspects:
        blob_id = suspect.blob_id
        damage = damaged.get(str(blob_id))
        where = _of(damage)
        try:
            name = volume.trash.quarantine(str(blob_id), tie=suspect.is_tie)
        except OSError as error:
            # The maps know of the damage, and the next start will find it again.
            left[str(blob_id)] = strerror_of(error)
            log.error(
                "Blob {id}{where} is damaged, and stays where it is ({error}): {reason}",
                id=blob_id,
                where=where,
                error=strerror_of(error),
                reason=suspect.reason,
            )
            continue
        log.error(
            "Blob {id}{where} is quarantined as {name}: {reason}",
            id=blob_id,
            where=where,
            name=name,
            reason=suspect.reason,
        )
        if name is not None:
            found.ids.discard(blob_id)
            if damage is not None:
                damage.name = name
    return left


def _log_unreadable(found: Findings) -> None:
    damaged = {damage.name: damage for damage in found.damaged.values()}
    for name, reason in found.unreadable.items():
        log.error(
            "{name!r}{where} in the data directory cannot be read, and is left as it is: {reason}",
            name=name,
            where=_of(damaged.get(name)),
            reason=reason,
        )


def _of(damage: Damage | None) -> str:
    return "" if damage is None else f" of {damage.blob.location!r}"


def _redo(volume: Volume, found: Findings) -> None:
    """Do again what the journal holds and the directory lacks; then the journal may forget it."""
    # Until it is told otherwise the journal still knows all of this: the order of the steps and of
    # their flushes does not matter.
    for blob_id in found.overtaken:
        volume.trash.put_or_unlink(str(blob_id), blob_id)
    for name in found.obsolete:
        volume.trash.put_or_unlink(name)
    for entry in found.undone:
        _restore(volume, found, entry)
    found.ended.sort(key=lambda each: found.history[each.blob_id])
    while found.ended:
        _restore_ended(volume, found, found.ended.pop(0))
    if found.journal_damage is not None:
        log.error("Going on without what is missing: {damage}", damage=found.journal_damage)
    if volume.backlog.journal.written or found.journal_damage is not None:
        volume.backlog.flush_redone()
        if found.undone:
            log.info("Journal: {count} blobs written again", count=len(found.undone))
    elif found.obsolete:
        volume.directory.sync_root()


def _restore(volume: Volume, found: Findings, entry: Entry) -> None:
    """Write a blob again; on a full disk, make room first, or leave it to the applier."""
    if _is_restored(volume, entry):
        return
    _collect_early(volume, found)
    if _is_restored(volume, entry):
        return
    for dead in _oldest_history(found):
        _give_up(volume, found, dead)
        if _is_restored(volume, entry):
            return
    if found.journal_damage is None and volume.backlog.postpone(entry):
        log.error(
            "There is no room to write blob {id} again; it is served from the journal",
            id=entry.blob_id,
        )
        return
    # Give back the room behind the journal's batches: it is good for this one start, then.
    volume.backlog.journal.shrink()
    if not _is_restored(volume, entry):
        reason = (
            f"there is no room to write blob {entry.blob_id} again, which a crash has torn;"
            " the journal has it, so make some and start again"
        )
        raise VolumeUnusable(volume.shown_path, reason)


def _is_restored(volume: Volume, entry: Entry) -> bool:
    """Write a blob again; False if there is no room."""
    try:
        restore(volume, entry)
    except OSError as error:
        if not is_no_space(error):
            raise
        return False
    return True


def _collect_early(volume: Volume, found: Findings) -> None:
    """Collect now what is dead or torn: a newer version is on the disk or in the journal."""
    volume.directory.sync_root()
    collected = collect(volume, found.dead)
    found.dead = [dead for dead in found.dead if dead not in collected.blobs]
    found.ids.difference_update(collected.ids)


def _oldest_history(found: Findings) -> list[Dead]:
    """What may be given up for a blob that lives, oldest first, and elders before the younger.

    What is written again itself takes no room yet.
    """
    again = {ended.blob_id for ended in found.ended}
    by_location: dict[str, list[Dead]] = {}
    for dead in sorted(found.history.values(), key=lambda dead: dead.generation):
        by_location.setdefault(dead.location, []).append(dead)
    order = []
    for group in by_location.values():
        ended = 0
        for dead in group:
            if dead.id in again:
                break  # and with it the younger ones
            ended = max(ended, dead.ended)
            order.append((ended, dead.generation, dead))
    return [dead for *_, dead in sorted(order)]


def _give_up(volume: Volume, found: Findings, dead: Dead) -> None:
    """Remove one dead blob that was to be kept."""
    log.warn("There is no room: blob {id} of the history is given up", id=dead.id)
    collected = collect(volume, [dead])
    del found.history[dead.id]
    found.ids.difference_update(collected.ids)
    if dead not in collected.blobs:
        found.dead.append(dead)


def _restore_ended(volume: Volume, found: Findings, ended: Ended) -> None:
    """Let the directory of a dead blob say that it is, and keep it.

    Older ones go if there is no room, and at last this one. Nothing below it on the disk needs its
    tombstone: all of that is marked before the journal may forget this.
    """
    blob_id = ended.blob_id
    older = [each for each in _oldest_history(found) if each < found.history[blob_id]]
    while True:
        try:
            _write_ended(volume, ended)
            return
        except (OSError, BadRecord) as error:
            if isinstance(error, OSError) and not is_no_space(error):
                raise
            reason = error
        if isinstance(reason, BadRecord) or not older:
            break
        volume.directory.sync_root()
        _give_up(volume, found, older.pop(0))
    log.warn("Blob {id} is not kept as history: {error}", id=blob_id, error=reason)
    volume.trash.put_or_unlink(str(blob_id), blob_id)
    del found.history[blob_id]


def _write_ended(volume: Volume, ended: Ended) -> None:
    blob_id, entry, replaced = ended.blob_id, ended.entry, ended.replaced
    name = str(blob_id)
    if entry is None:
        blob = volume.directory.read_record(name, blob_id)
    else:
        blob = statefile.parse(entry.state, blob_id)
    if replaced is not None and blob.state is not State.FAILURE:
        blob.replace(replaced.when, replaced.by, replaced.origin)
    if entry is None or entry.data is None:
        volume.replace_state(name, blob)
    else:
        restore(volume, Entry(blob_id, statefile.dump(blob), entry.data))


def _fail_pending(volume: Volume, name: str, blob: Blob) -> bool:
    """Mark a blob that the Go server was writing when it crashed; False if it is trash instead."""
    log.warn("Blob {id}: Found in Pending state during Restore - Deleting!", id=blob.id)
    blob.recover(volume.now())
    try:
        volume.replace_state(name, blob)
    except OSError as error:
        # On a full disk this makes room. Nothing needs the mark: the blob was never visible.
        log.warn("Blob {id} is removed unmarked: {error}", id=blob.id, error=error)
        volume.trash.put_or_unlink(name, blob.id)
        return False
    return True


def _log_pending_stage(volume: Volume, name: str) -> None:
    try:
        blob = volume.directory.read_record(name)
    except (OSError, BadRecord):
        return
    if blob.state is State.PENDING:
        log.warn(
            "Stage {name} of {location!r}: Found in Pending state during Restore - Deleting!",
            name=name,
            location=blob.location,
        )


def quarantine(volume: Volume, damage: Damage) -> None:
    """Quarantine a blob that was found damaged while it was being served."""
    # Its record goes on to stand for its location. Under its new name no journal restores it.
    volume.backlog.checkpoint()
    name = volume.trash.quarantine(damage.name)
    if name is not None:
        damage.name = name
        volume.directory.sync_root()


def quarantine_dead(volume: Volume, dead: Dead) -> str | None:
    """Quarantine a damaged blob of the history; return its new name, None if it is gone."""
    name = str(dead.id)
    try:
        record = volume.directory.read_record(name, dead.id)
        if record.generation != dead.generation:
            return None
        if record.state is not State.FAILURE:
            record.replace(volume.now(), dead.replaced_by or 0)
            volume.replace_state(name, record)
    except FileNotFoundError:
        return None
    except (OSError, BadRecord):
        pass  # that is the damage
    volume.backlog.checkpoint()
    moved = volume.trash.quarantine(name)
    if moved is not None:
        volume.directory.sync_root()
    return moved


def remove_quarantined(volume: Volume, names: Iterable[str]) -> list[str]:
    """Trash the remains of damaged blobs whose location has been written again.

    Return the names that are gone, durably; the others may be tried again. Raises OutcomeUnknown.
    """
    gone = []
    moved = False
    for name in names:
        try:
            moved |= volume.trash.put_or_unlink(name)
        except OSError as error:
            log.warn("{name} is not removed: {error}", name=name, error=error)
        else:
            gone.append(name)
    if moved:
        volume.directory.sync_root()
    return gone
