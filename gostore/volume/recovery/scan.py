"""What a start makes of the data directory: first look, then mend.

`scan` only reads, so a daemon that finds its port taken has changed nothing.  What the redo
journal holds and the directory lacks takes part in it as if it were there.  `repair` then only
writes again what lives of that, renames, and marks and removes what is dead, so a crash inside it
is just another crash.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from attrs import define, field
from twisted.logger import Logger

from gostore import statefile
from gostore.blob import MAX_ID, Blob, Committed, State
from gostore.errors import BadRecord, VolumeUnusable, is_no_space, strerror_of
from gostore.volume.collect import Dead, collect, retire
from gostore.volume.directory import (
    DATA,
    NEW,
    PROBE,
    QUARANTINE,
    STATE,
    TIE,
    TRASH,
    DataDamaged,
    check_data,
    stage_name,
)
from gostore.volume.journal.journal import NAMES as JOURNAL
from gostore.volume.journal.journal import Entry
from gostore.volume.recovery.redo import holds, read_journal, restore
from gostore.volume.volume import Volume

T = TypeVar("T")

log = Logger()

_ID = re.compile("0|[1-9][0-9]{0,9}")
_STAGE = re.compile(re.escape(NEW) + f"(0|[1-9][0-9]{{0,9}}|{PROBE})")
_TRASHED = re.compile(re.escape(TRASH) + "[0-9]+-[0-9]+")
_QUARANTINED = re.compile(re.escape(QUARANTINE) + "([0-9]+)-[0-9]+")
_TIED = re.compile(_QUARANTINED.pattern + re.escape(TIE))


#: Failures that may be the file's own: a bad sector, or what a file system says that finds itself
#: damaged. No others judge a blob: they are this process's, or the network's.
OF_THE_FILE = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG})


@define
class Damage:
    """A location whose blob is damaged: what its record says, and where what is left of it lies."""

    blob: Committed
    name: str


@define
class Recovery:
    """What a scan found, and what `repair` is to do about it."""

    live: dict[str, Committed] = field(factory=dict)
    damaged: dict[str, Damage] = field(factory=dict)
    dead: list[Dead] = field(factory=list)
    #: Ids that no new blob may have while these directories stand.
    ids: set[int] = field(factory=set)
    generation: int = 0
    foreign: list[str] = field(factory=list)
    #: Of foreign directories with names like gostore's, what is wrong with them.
    held: dict[str, str] = field(factory=dict)
    #: What was set aside earlier.
    quarantined: list[str] = field(factory=list)

    #: Superseded blobs that are not marked so yet, each with the id of its successor.
    unmarked: list[tuple[Committed, int]] = field(factory=list)
    pending: list[Blob] = field(factory=list)
    uncommitted: list[int] = field(factory=list)
    #: Names of stages and trash, to be removed as they are.
    leftover: list[str] = field(factory=list)
    #: Quarantined blobs whose location has been replaced or deleted since.
    obsolete: list[str] = field(factory=list)
    #: To be set aside: id, reason, whether it is whole and has merely lost a tie.
    quarantine: list[tuple[int, str, bool]] = field(factory=list)
    #: What lives, and only the journal has it whole.
    undone: list[Entry] = field(factory=list)
    #: What is dead by the word of the journal, whatever its own state file says.
    overtaken: list[int] = field(factory=list)
    #: What is wrong with the journal: changes that were acknowledged may be missing in it.
    journal_damage: str | None = None

    def why_foreign(self, name: str) -> str:
        """What to say of something foreign."""
        return f"not gostore's: {self.held[name]}" if name in self.held else "not gostore's"

    def __str__(self) -> str:
        discarded = len(self.leftover) + len(self.uncommitted) + len(self.pending)
        return (
            f"restored {len(self.live)}, finished {len(self.unmarked)}, discarded {discarded}, "
            f"quarantined {len(self.quarantine)}, foreign {len(self.foreign)}"
        )


@define
class _Rival:
    """One of several blobs of a location, or one that is not simply alive."""

    blob: Committed
    dead: bool = False
    damage: str | None = None
    quarantined: str | None = None
    #: What the journal has of it, if the directory has not: it is missing, torn or of before that.
    entry: Entry | None = None

    @property
    def rank(self) -> tuple[int, bool, bool, int, bool]:
        """The highest decides; the time tells apart what the first server wrote.

        Of those none is a tombstone that stands above others: what that server deleted or replaced
        it marked in its own state file, and what it left Pending never was at the location. The
        same blob may be there twice: set aside as damaged, and whole again from the journal.
        Two of one generation are nobody's work; then a tombstone stands, whatever the time is, so
        that every start decides alike.
        """
        generation = self.blob.generation
        lives = generation > 0 or not self.dead
        tombstone = generation > 0 and self.dead
        return generation, lives, tombstone, self.blob.modified, self.quarantined is None


def _is_done(volume: Volume, entry: Entry) -> bool:
    """Whether the directory has a change whole, or something newer.

    What cannot be read is as good as torn: the journal has it whole.
    """
    try:
        return _twice(_looks_done, volume, entry)
    except OSError as error:
        if error.errno not in OF_THE_FILE:
            raise
        return False


def _looks_done(volume: Volume, entry: Entry) -> bool:
    name = str(entry.blob_id)
    wanted = statefile.parse(entry.state, entry.blob_id)
    try:
        found = volume.directory.read_record(name, entry.blob_id)
    except (FileNotFoundError, BadRecord):
        return False
    if found.generation != wanted.generation:
        # A number is given again only when its first bearer is gone for good.
        return found.generation > wanted.generation
    if found.state is State.FAILURE:
        return True
    return holds(volume, name, entry.data)


def scan(volume: Volume) -> Recovery:
    """Read the whole directory and decide what lives; nothing is changed.

    Raises VolumeUnusable, which names it, where a blob cannot be judged, for want of a permission
    say, or the journal cannot; OSError where the directory itself cannot be read.
    """
    found = Recovery()
    rivals: dict[str, list[_Rival]] = {}
    # Of each blob the newest entry: it may have been deleted after it was committed.
    undone = {entry.blob_id: entry for entry in read_journal(volume)}
    found.journal_damage = volume.protocol.journal.damage
    torn: set[int] = set()
    for name, is_directory in volume.directory.entries():
        try:
            _scan_name(volume, name, is_directory, found, rivals, undone, torn)
        except OSError as error:
            reason = f"{name}: {strerror_of(error)}"
            raise VolumeUnusable(volume.shown_path, reason) from error
    for blob_id, entry in undone.items():
        blob = statefile.parse(entry.state, blob_id)
        blob.size = blob.size or 0
        found.generation = max(found.generation, blob.generation)
        rival = _Rival(blob.committed(), dead=entry.data is None, entry=entry)
        rivals.setdefault(blob.location, []).append(rival)
    for location, group in rivals.items():
        if location in found.live:
            group.append(_Rival(found.live.pop(location)))
        _decide(location, group, found)
    missing = undone.keys() - torn
    found.overtaken = [blob_id for blob_id in found.overtaken if blob_id not in missing]
    again = {entry.blob_id for entry in found.undone}
    stages = set(map(stage_name, again))
    found.leftover = [name for name in found.leftover if name not in stages]
    # A link in its place is set aside when it is restored.
    found.quarantine = [one for one in found.quarantine if one[0] not in again]
    found.foreign = [name for name in found.foreign if name not in stages]
    for blob_id in sorted(again):
        if (held := found.held.get(str(blob_id))) is not None:
            reason = (
                f"{blob_id} is not gostore's ({held}), and stands where the journal has a blob;"
                " move it away and start again"
            )
            raise VolumeUnusable(volume.shown_path, reason)
    return found


def _scan_name(
    volume: Volume,
    name: str,
    is_directory: bool,
    found: Recovery,
    rivals: dict[str, list[_Rival]],
    undone: dict[int, Entry],
    torn: set[int],
) -> None:
    """Look at one thing in the directory.

    What it shows to be done is taken out of ``undone``; what it shows to be torn is put into
    ``torn``.
    """
    if _ID.fullmatch(name) and (blob_id := int(name)) <= MAX_ID:
        # Whatever bears the number, no new blob can take it.
        found.ids.add(blob_id)
        if not is_directory:
            if volume.directory.is_link(name):
                # What it leads to may be a blob that somebody has moved.
                found.quarantine.append((blob_id, "it is a symbolic link", False))
            else:
                found.foreign.append(name)
            return
        entry = undone.get(blob_id)
        if entry is not None and not _is_done(volume, entry):
            if volume.directory.stands(f"{name}/{STATE}") or not _is_foreign(volume, name, found):
                torn.add(blob_id)
        else:
            undone.pop(blob_id, None)
            _scan_blob(volume, blob_id, found, rivals)
    elif not is_directory:
        if _QUARANTINED.fullmatch(name) and volume.directory.is_link(name):
            found.quarantined.append(name)
        elif name not in JOURNAL:
            found.foreign.append(name)
    elif match := _STAGE.fullmatch(name):
        if match[1] != PROBE:
            found.ids.add(int(match[1]))
        if not _is_foreign(volume, name, found):
            found.leftover.append(name)
    elif _TRASHED.fullmatch(name):
        if not _is_foreign(volume, name, found):
            found.leftover.append(name)
    elif match := _QUARANTINED.fullmatch(name):
        found.quarantined.append(name)
        _scan_quarantined(volume, name, int(match[1]), rivals, found)
    elif _TIED.fullmatch(name):
        found.quarantined.append(name)
    else:
        found.foreign.append(name)


def _twice(look: Callable[..., T], *arguments: object) -> T:
    """Look at something, and again if that fails as if it were damaged: some failures pass."""
    try:
        return look(*arguments)
    except OSError as error:
        if error.errno not in OF_THE_FILE:
            raise
    return look(*arguments)


def _is_foreign(volume: Volume, name: str, found: Recovery) -> bool:
    """Say whether a directory that is no blob is not ours to remove either, and note that.

    What a crash, a deletion on a full disk or the first server leaves holds nothing of others.
    """
    try:
        held = _twice(volume.directory.foreign_in, name)
        if held is None:
            return False
        found.held[name] = f"it holds {held!r}"
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in OF_THE_FILE | {errno.EACCES, errno.EPERM}:
            raise
        found.held[name] = f"what it holds cannot be seen: {strerror_of(error)}"
    found.foreign.append(name)
    return True


def _scan_blob(
    volume: Volume, blob_id: int, found: Recovery, rivals: dict[str, list[_Rival]]
) -> None:
    name = str(blob_id)
    try:
        state = _twice(volume.directory.read_state, name)
        committed = statefile.parse_committed(state, blob_id)
        blob = statefile.parse(state, blob_id) if committed is None else None
    except (BadRecord, OSError) as error:
        if isinstance(error, FileNotFoundError):
            if not _is_foreign(volume, name, found):
                found.uncommitted.append(blob_id)
        elif isinstance(error, OSError) and error.errno not in OF_THE_FILE:
            raise
        else:
            found.quarantine.append((blob_id, str(error), False))
        return
    dead = False
    if committed is not None:
        damage, _ = _inspect(volume, name, committed.size)
    else:
        assert blob is not None
        if blob.state is State.PENDING:
            found.pending.append(blob)
            return
        dead = blob.state is State.FAILURE
        if dead:
            damage, blob.size = None, blob.size or 0
        else:
            damage, blob.size = _inspect(volume, name, blob.size)
        committed = blob.committed()
    found.generation = max(found.generation, committed.generation)
    if dead or damage or committed.location in found.live:
        rivals.setdefault(committed.location, []).append(_Rival(committed, dead, damage))
    else:
        found.live[committed.location] = committed


def _inspect(volume: Volume, name: str, size: int | None) -> tuple[str | None, int]:
    """Look at a blob's data.raw; return what is wrong with it, and its size in bytes."""
    try:
        data = _twice(volume.disk.lstat, f"{name}/{DATA}", volume.directory.root)
        check_data(data, size)
    except FileNotFoundError:
        return f"{DATA} is missing", size or 0
    except DataDamaged as error:
        return str(error), size or 0
    except OSError as error:
        if error.errno not in OF_THE_FILE:
            raise
        return str(error), size or 0
    return None, data.st_size


def _scan_quarantined(
    volume: Volume, name: str, blob_id: int, rivals: dict[str, list[_Rival]], found: Recovery
) -> None:
    """A blob set aside earlier still stands for its location, if its record can tell which."""
    try:
        blob = _twice(volume.directory.read_record, name, blob_id)
    except (BadRecord, FileNotFoundError):
        return
    except OSError as error:
        if error.errno not in OF_THE_FILE:
            raise
        return
    if blob.state is State.PENDING:
        return  # it never was committed, whoever put it there
    blob.size = blob.size or 0
    found.generation = max(found.generation, blob.generation)
    rivals.setdefault(blob.location, []).append(_Rival(blob.committed(), quarantined=name))


def _decide(location: str, rivals: list[_Rival], found: Recovery) -> None:
    """The one of the highest generation has the location, dead or alive, whole or damaged."""
    rivals.sort(key=lambda one: one.rank)
    winner = rivals.pop()
    blob = winner.blob
    # A tombstone that is not there need not be written, if nothing is left that it stands above.
    alone = winner.dead and winner.entry is not None
    if alone:
        found.overtaken.append(blob.id)
    elif winner.dead:
        found.dead.append(Dead(blob.id, location, blob.generation))
    elif winner.quarantined:
        found.damaged[location] = Damage(blob, winner.quarantined)
    elif winner.damage:
        found.quarantine.append((blob.id, winner.damage, False))
        found.damaged[location] = Damage(blob, str(blob.id))
    else:
        found.live[location] = blob
        if winner.entry is not None:
            found.undone.append(winner.entry)
            found.ids.add(blob.id)
    for loser in rivals:
        if loser.quarantined:
            found.obsolete.append(loser.quarantined)
        elif loser.entry is not None or (alone and not loser.dead):
            found.overtaken.append(loser.blob.id)
        elif loser.dead:
            found.dead.append(Dead(loser.blob.id, location, loser.blob.generation))
        elif loser.blob.generation == blob.generation:
            # The first server's blobs have no generation; its clock is no reason to delete one.
            reason = f"blob {blob.id} has its location {location!r}"
            found.quarantine.append((loser.blob.id, reason, True))
        else:
            found.unmarked.append((loser.blob, blob.id))
            found.dead.append(Dead(loser.blob.id, location, loser.blob.generation, blob.id))


def repair(volume: Volume, found: Recovery) -> None:
    """Do what the scan decided, and log it; what is to be removed is left to the collector.

    Raises OSError, or OutcomeUnknown, if the disk refuses.
    """
    for name in found.leftover:
        volume.trash.trashed[name] = None
        if stage := _STAGE.fullmatch(name):
            _log_pending_stage(volume, name)
            # A copy that was taken under a running daemon may have the blob, too.
            if stage[1] != PROBE and not volume.directory.stands(stage[1]):
                volume.trash.trashed[name] = int(stage[1])
    _redo(volume, found)
    for blob in found.pending:
        if _fail_pending(volume, str(blob.id), blob):
            found.dead.append(Dead(blob.id, blob.location, blob.generation))
    retire(volume, found.unmarked)
    volume.sync_tombstones(dead.id for dead in found.dead)
    for blob_id in found.uncommitted:
        log.warn("{id} has no state file, and is no blob - Deleting!", id=blob_id)
        volume.trash.put_or_unlink(str(blob_id), blob_id)
    damaged = {damage.name: damage for damage in found.damaged.values()}
    for blob_id, reason, tie in found.quarantine:
        aside = volume.trash.quarantine(str(blob_id), tie=tie)
        damage = damaged.get(str(blob_id))
        log.error(
            "Blob {id}{where} is quarantined as {name}: {reason}",
            id=blob_id,
            where="" if damage is None else f" of {damage.blob.location!r}",
            name=aside,
            reason=reason,
        )
        if aside is not None:
            found.ids.discard(blob_id)
            if damage is not None:
                damage.name = aside
    if found.uncommitted or found.quarantine:
        volume.directory.sync_root()
    for name in found.foreign:
        log.warn("{name!r} in the data directory is {why}", name=name, why=found.why_foreign(name))


def _redo(volume: Volume, found: Recovery) -> None:
    """Do again what the journal holds and the directory lacks; then the journal may forget it."""
    # Of all this the journal still knows, until it is told otherwise: in what order it is done, and
    # flushed, does not matter.
    for blob_id in found.overtaken:
        volume.trash.put_or_unlink(str(blob_id), blob_id)
    for name in found.obsolete:
        volume.trash.put_or_unlink(name)
    for entry in found.undone:
        _restore(volume, found, entry)
    if found.journal_damage is not None:
        log.error("Going on without what is missing: {damage}", damage=found.journal_damage)
    if volume.protocol.journal.last or found.journal_damage is not None:
        volume.protocol.flush_redone()
        if found.undone:
            log.info("Journal: {count} blobs written again", count=len(found.undone))
    elif found.obsolete:
        volume.directory.sync_root()


def _restore(volume: Volume, found: Recovery, entry: Entry) -> None:
    """Write a blob again; on a full disk, in the room of what is not needed."""
    for make_room in (_collect_early, _shrink_journal):
        try:
            restore(volume, entry)
            return
        except OSError as error:
            if not is_no_space(error):
                raise
        make_room(volume, found)
    try:
        restore(volume, entry)
    except OSError as error:
        if not is_no_space(error):
            raise
        reason = (
            f"there is no room to write blob {entry.blob_id} again, which a crash has torn;"
            " the journal has it, so make some and start again"
        )
        raise VolumeUnusable(volume.shown_path, reason) from error


def _collect_early(volume: Volume, found: Recovery) -> None:
    """What this removes was dead, or torn, and is superseded on the disk or in the journal."""
    volume.directory.sync_root()
    collected = collect(volume, found.dead)
    found.dead = [one for one in found.dead if one not in collected.blobs]
    found.ids.difference_update(collected.ids)


def _shrink_journal(volume: Volume, _found: Recovery) -> None:
    """Without the room behind its batches the journal is good for this one start."""
    volume.protocol.journal.shrink()


def _fail_pending(volume: Volume, name: str, blob: Blob) -> bool:
    """What the first server left when it crashed in the middle of a write; False if it is trash."""
    log.warn("Blob {id}: Found in Pending state during Restore - Deleting!", id=blob.id)
    blob.recover(volume.now())
    try:
        volume.replace_state(name, blob)
    except OSError as error:
        # On a full disk this makes room. Nothing needs the mark: it never was at its location.
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


def set_aside(volume: Volume, damage: Damage) -> None:
    """Quarantine a blob that was found damaged while it was being served."""
    # Its record goes on to stand for its location, and with another name no journal restores it.
    volume.protocol.checkpoint()
    name = volume.trash.quarantine(damage.name)
    if name is not None:
        damage.name = name
        volume.directory.sync_root()


def discard(volume: Volume, names: Iterable[str]) -> list[str]:
    """Give up what is left of damaged blobs whose location has been written again.

    Return the names that are gone, durably; the others may be tried again. Raises OutcomeUnknown.
    """
    gone = []
    moved = False
    for name in names:
        try:
            moved |= volume.trash.put_or_unlink(name)
        except OSError as error:
            log.warn("{name} is not discarded: {error}", name=name, error=error)
        else:
            gone.append(name)
    if moved:
        volume.directory.sync_root()
    return gone
