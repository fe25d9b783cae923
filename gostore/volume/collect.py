"""Retiring and collecting: how blobs that nobody can ask for any more leave the disk.

A blob is dead when its state file says Failure.  The collector acts on the state files alone. The
store (store/garbage.py) only says where to look, so the cost of a run grows with what there is to
remove, not with what there is to keep.  daemon/collector.py says when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from attrs import define, field, frozen
from twisted.logger import Logger

from gostore.blob import Blob, Committed, State
from gostore.errors import BadRecord, as_store_error
from gostore.volume.directory import OutcomeUnknown, stage_name
from gostore.volume.volume import Volume

log = Logger()


@frozen(weakref_slot=False)
class Dead:
    """A dead blob on the disk: where to look, and its place among the blobs of its location.

    ``replaced_by`` is the id of its successor, None if it was deleted. It may be collected when the
    journal's ``batch`` is in its files. ``size`` is that of its bytes; -1: it has none, and is a
    tombstone. Its life ``ended`` at that time, in nanoseconds, if it is kept as history.
    """

    id: int
    location: str
    generation: int
    replaced_by: int | None = None
    batch: int = 0
    size: int = field(default=0, eq=False)
    ended: int = field(default=0, eq=False)

    def __lt__(self, other: Dead) -> bool:
        """The one that died first is the least."""
        return (self.ended, self.generation) < (other.ended, other.generation)


@frozen
class Replaced:
    """A blob that the blob with the id ``by`` replaced at that time, since ``origin`` asked."""

    blob: Committed
    by: int
    when: int
    origin: str = ""


@define
class Collected:
    """What one run did: the blobs that are durably gone, and the ids that are free again."""

    blobs: list[Dead] = field(factory=list)
    ids: list[int] = field(factory=list)
    #: Why something is still there, by name.
    left: dict[str, str] = field(factory=dict)


def retire(volume: Volume, replaced: Iterable[Replaced]) -> None:
    """Mark each blob Failure.

    A crash may undo this: the newer generation decides.  But the new record is synced before it
    takes the place of the old one; otherwise a start could find a torn one, and quarantine the
    blob.  If a blob cannot be marked now, `collect` marks it, or removes it unmarked.
    """
    failures: list[tuple[int, Exception]] = []
    marked = []
    for each in replaced:
        try:
            blob = _marked(volume, each)
        except (OSError, BadRecord) as error:
            failures.append((each.blob.id, error.with_traceback(None)))  # see replace_states
        else:
            if blob is not None:
                marked.append(blob)
    failures += volume.replace_states(marked)
    for blob_id, reason in failures:
        # The blob is gone if its successor was deleted: that deletes both.
        if not isinstance(reason, FileNotFoundError):
            log.warn("Blob {id} is not marked Failure: {error}", id=blob_id, error=reason)


def _marked(volume: Volume, replaced: Replaced) -> Blob | None:
    """Return the blob with its mark; None if it has one, or if the id is another blob's by now.

    A run of the collector may come first and remove the blob, and its id is free then.
    """
    blob_id, generation = replaced.blob.id, replaced.blob.generation
    blob = volume.directory.read_record(str(blob_id), blob_id)
    if blob.generation != generation or blob.state is State.FAILURE:
        return None
    blob.replace(replaced.when, replaced.by, replaced.origin)
    return blob


def collect(volume: Volume, dead: Iterable[Dead], stages: Iterable[int] = ()) -> Collected:
    """Remove dead blobs, dropped stages, and what is in the trash.

    A tombstone has the highest generation of its location. It goes only when all its elders are
    durably gone; otherwise a crash could bring one of them back.  What cannot be removed stays for
    the next run.  If ``dead`` holds a tombstone, it has to hold all its elders on the disk.
    """
    done = Collected()
    if volume.broken is None:
        # An unknown outcome is logged, and the volume read-only: the next start decides.
        with suppress(OutcomeUnknown):
            _collect_blobs(volume, dead, done)
    for blob_id in stages:
        if volume.trash.remove(stage_name(blob_id)) and not _is_taken(volume, blob_id):
            done.ids.append(blob_id)
    for name in list(volume.trash.trashed):
        if volume.trash.remove(name):
            # A deletion may just have given it another name, and the id is still taken.
            freed = volume.trash.trashed.pop(name, None)
            if freed is not None:
                done.ids.append(freed)
        else:
            done.left[name] = volume.trash.why_kept[name]
    if volume.broken is not None:
        # Nobody knows which renames will last. The next start sees which ids are taken.
        done.ids.clear()
    return done


def _is_taken(volume: Volume, blob_id: int) -> bool:
    """Say whether something else has a failed upload's id: it was in the upload's way."""
    try:
        return volume.directory.stands(str(blob_id))
    except OSError:
        return True  # perhaps; the next run asks again


def _collect_blobs(volume: Volume, dead: Iterable[Dead], done: Collected) -> None:
    by_location: dict[str, list[Dead]] = {}
    for one in dead:
        by_location.setdefault(one.location, []).append(one)
    first: list[Dead] = []
    last: list[Dead] = []
    for group in by_location.values():
        group.sort(key=lambda one: one.generation)
        youngest = group.pop()
        # Alone it waits for nobody.
        (last if group else first).append(youngest)
        first.extend(group)
    standing = _trash(volume, first, done)
    for one in last:
        if one.location in standing:
            done.left[str(one.id)] = "an older blob of its location is not removed"
    _trash(volume, [one for one in last if one.location not in standing], done)


def _trash(volume: Volume, dead: Sequence[Dead], done: Collected) -> set[str]:
    """Move the dead to the trash, durably; return the locations of those that still stand."""
    standing = set()
    moved = []
    for one in dead:
        try:
            is_dead = _is_dead(volume, one)
            if is_dead is None:
                done.blobs.append(one)
            elif not is_dead:
                _keep(volume, one, done, "it is not marked Failure")
                standing.add(one.location)
            elif volume.trash.put_or_unlink(str(one.id), one.id):
                moved.append(one)
            else:
                done.blobs.append(one)
                # Either its successor's deletion put it into the trash, which still has its id, or
                # somebody removed it by hand.
                if one.id not in volume.trash.trashed.values():
                    done.ids.append(one.id)
        except OSError as error:
            _keep(volume, one, done, str(as_store_error(error)))
            standing.add(one.location)
    if moved:
        volume.directory.sync_root()
        done.blobs.extend(moved)
    for one in done.blobs:
        volume.trash.repeats.forget(str(one.id))
        volume.trash.repeats.forget(f"the mark of {one.id}")
    return standing


def _keep(volume: Volume, one: Dead, done: Collected, reason: str) -> None:
    """Note that a blob stays until the next run; every run tries again."""
    done.left[str(one.id)] = reason
    if (due := volume.trash.repeats.due(str(one.id), reason)) is not None:
        log.warn("Blob {id} is not collected: {reason}", id=one.id, reason=due)


def _is_dead(volume: Volume, one: Dead) -> bool | None:
    """Say whether the state file marks the blob Failure; if it was replaced, mark it first.

    None if the id is another blob's by now: this one is gone.
    """
    name = str(one.id)
    try:
        blob = volume.directory.read_record(name, one.id)
    except FileNotFoundError:
        return True  # without a state file it is no blob
    except BadRecord as error:
        # Nobody can tell whether it is dead: keep it for people to see.
        aside = volume.trash.quarantine(name)
        log.warn("Blob {id} is quarantined as {name}: {error}", id=one.id, name=aside, error=error)
        return True
    if blob.generation != one.generation:
        return None
    if blob.state is State.FAILURE:
        return True
    if one.replaced_by is None:
        return False
    try:
        blob.replace(volume.now(), one.replaced_by)
        volume.replace_state(name, blob)
    except OSError as error:
        # On a full disk this makes room. Nothing depends on the mark: the blob's successor is
        # durable, and has a higher generation.
        if (due := volume.trash.repeats.due(f"the mark of {one.id}", str(error))) is not None:
            log.warn("Blob {id} is collected unmarked: {error}", id=one.id, error=due)
    return True
