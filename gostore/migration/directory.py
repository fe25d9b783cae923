"""A data directory as the source, and as the target, of a migration."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from math import inf
from threading import Lock

from gostore.blob import Blob, Committed, EndedBy, Ending, State
from gostore.errors import (
    AlreadyExists,
    BadRecord,
    DiskFailed,
    Spoiled,
    VolumeUnusable,
    as_store_error,
    strerror_of,
)
from gostore.prefixes import ByPrefix
from gostore.statefile import parse
from gostore.store.interface import SMALL_BLOB
from gostore.store.versions import Kept
from gostore.text import printable
from gostore.volume.changes import Commit, Stage
from gostore.volume.collect import Dead, collect
from gostore.volume.digests import PIECE, check_digest, compute_digest
from gostore.volume.directory import DataDamaged, OutcomeUnknown
from gostore.volume.migrating import mark, source_of, unmark
from gostore.volume.promise import note_promise
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.looks import OutOfReach, Unreadable, look
from gostore.volume.recovery.repair import repair
from gostore.volume.recovery.scan import scan
from gostore.volume.volume import Volume

#: What an empty directory may have: a file system of its own does.
_NOTHING = {"lost+found"}


def name_of(volume: Volume) -> str:
    """What a directory is called, in the mark of a target, too."""
    return f"directory {printable(volume.shown_path)}"


class DirectorySource:
    """The blobs of a directory that no daemon has; it is locked, and nothing in it is changed."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.name = name_of(volume)
        self.left: Mapping[str, int] = {}
        self.damaged: Mapping[str, str] = {}
        self._live: Mapping[str, Committed] = {}
        self._dead: dict[Kept, Dead] = {}
        #: What is in the redo journal alone: the records and the bytes, by id.
        self._undone: dict[int, tuple[bytes, bytes]] = {}

    def open(self) -> None:
        """Look at all records, as a start of the daemon would. Raises StoreError."""
        volume = self._volume
        volume.look()
        if (source := source_of(volume.directory)) is not None:
            reason = f"it lacks blobs that are to come from {source or 'elsewhere'}"
            raise VolumeUnusable(volume.shown_path, reason)
        try:
            # What is dead may be history: only the daemon's settings tell.
            found = scan(volume, afresh=True, keeps=lambda _: True)
        except OSError as error:
            raise VolumeUnusable(volume.shown_path, str(as_store_error(error))) from error
        if found.journal_damage is not None:
            # A start of the daemon refuses, too.
            reason = f"{found.journal_damage}: a write or a delete may be lost (gostore fsck)"
            raise VolumeUnusable(volume.shown_path, reason)
        self._live = found.live
        self._undone = {
            entry.blob_id: (entry.state, entry.data)
            for entry in found.undone
            if entry.data is not None
        }
        self.damaged = _damaged(found)
        self._dead = {
            Kept(dead.location, dead.generation): dead
            for dead in found.history.values()
            if dead.size >= 0
        }
        self.left = {"kept version": len(self._dead), "unfinished upload": len(found.kept)}

    def locations(self) -> Sequence[str]:
        """Where there are blobs."""
        return sorted(self._live)

    def find(self, location: str) -> Committed:
        """What the scan has found."""
        return self._live[location]

    def read(self, location: str) -> tuple[Blob, Iterator[bytes]]:
        """Read a record, and then its bytes; see `Source.read`."""
        committed = self._live[location]
        blob, undone = self._record_of(committed.id, committed.size)
        return blob, self._pieces(blob.committed()) if undone is None else iter((undone,))

    def _record_of(self, blob_id: int, size: int) -> tuple[Blob, bytes | None]:
        """Read a record, and the bytes if they are in the journal alone. Raises Spoiled."""
        undone = self._undone.get(blob_id)
        try:
            if undone is not None:
                return parse(undone[0], blob_id), undone[1]
            blob = look(self._volume.directory.read_record, str(blob_id), blob_id)
            blob.size = size
            if blob.sha256 is None:
                # The Go server kept none.
                blob.sha256 = look(compute_digest, self._volume, blob.committed())
        except (OSError, DataDamaged, BadRecord) as error:
            raise _spoiled(error) from error
        return blob, None

    def _pieces(self, blob: Committed) -> Iterator[bytes]:
        digest, offset, last = hashlib.sha256(), 0, b""
        try:
            fd = look(self._volume.open_data, blob)
            try:
                while offset < blob.size:
                    if last:
                        yield last
                    last = look(self._volume.read, fd, offset, min(PIECE, blob.size - offset))
                    digest.update(last)
                    offset += len(last)
            finally:
                self._volume.close_data(fd)
            check_digest(digest.digest(), blob)
        except (OSError, DataDamaged) as error:
            raise _spoiled(error) from error
        # Only now: whoever has all the bytes knows that they are good.
        if last:
            yield last

    def versions(self) -> Sequence[Kept]:
        """What the scan has found."""
        return list(self._dead)

    def read_version(self, kept: Kept) -> tuple[Blob, Ending, Iterator[bytes]]:
        """Read the record of a dead blob, and then its bytes."""
        dead = self._dead[kept]
        blob, undone = self._record_of(dead.id, dead.size)
        # The collector may not have come to it.
        by = EndedBy.DELETED if dead.replaced_by is None else EndedBy.REPLACED
        ending = blob.ending or Ending(dead.ended, by)
        blob.log = [each for each in blob.log if each.state is not State.FAILURE]
        return blob, ending, self._pieces(blob.committed()) if undone is None else iter((undone,))

    def has_changed(self) -> bool:
        """It is locked."""
        return False

    def close(self) -> None:
        """Unlock it."""
        self._volume.close()


def _spoiled(error: Exception) -> Exception:
    """What a failure to read a blob means: it is the blob's, or nobody can judge."""
    if isinstance(error, (Unreadable, OutOfReach)):
        return Spoiled(f"it cannot be read: {strerror_of(error)}")
    if isinstance(error, FileNotFoundError):
        return Spoiled("it is gone")
    if isinstance(error, (DataDamaged, BadRecord)):
        return Spoiled(str(error))
    return as_store_error(error)


def _damaged(found: Findings) -> dict[str, str]:
    """What the scan has found damaged, by name: the location, where one is known."""
    places = {damage.name: location for location, damage in found.damaged.items()}
    reasons = {str(suspect.blob_id): suspect.reason for suspect in found.suspects}
    reasons |= {name: f"it cannot be read: {reason}" for name, reason in found.unreadable.items()}
    for name in found.quarantined:
        if name not in found.obsolete:
            reasons[name] = f"it was quarantined earlier, as {name}"
    return {places.get(name, name): reason for name, reason in reasons.items()}


class DirectoryTarget:
    """A directory that no daemon has, to be filled.

    Blobs get the lowest ids that are free, so the Go server can read the first 65,536. A version
    is a blob whose record says from the first moment on how it ended. So no crash brings it back,
    in whatever order they come.
    """

    def __init__(self, volume: Volume) -> None:
        """The volume flushes files, not the journal: a batch is durable before the next."""
        self._volume = volume
        self.name = name_of(volume)
        self.is_marked = self.is_empty = False
        self._live: Mapping[str, Committed] = {}
        self._damaged: set[str] = set()
        #: The versions that it has, each with the id that its record names as its successor's.
        self._kept: dict[Kept, int | None] = {}
        #: What it is to have of them; see `Target.expect`.
        self._expected: Mapping[Kept, int | None] = {}
        #: The ids of what is here, and of what is to come: a record names one before it is taken.
        #: By location and generation; None is for what the location has.
        self._id_of: dict[tuple[str, int | None], int] = {}
        self._taken: set[int] = set()
        self._ids: Iterator[int] = count()
        self._lock = Lock()

    def open(self, source: str, *, dry: bool) -> None:
        """Lock it, and see what is there; mend what an interrupted run has left."""
        volume = self._volume
        if dry:
            try:
                volume.look()
            except VolumeUnusable as error:
                self.is_empty = isinstance(error.__cause__, FileNotFoundError)
                if self.is_empty:
                    return
                raise
        else:
            volume.open(migrating=True)
        marked = source_of(volume.directory)
        if marked and marked != source:
            reason = f"it lacks blobs that are to come from {marked}, not from {source}"
            raise VolumeUnusable(volume.shown_path, reason)
        self.is_marked = bool(marked)
        try:
            self._see(mend=self.is_marked and not dry)
        except OSError as error:
            raise VolumeUnusable(volume.shown_path, str(as_store_error(error))) from error

    def _see(self, *, mend: bool) -> None:
        volume = self._volume
        # What is dead may be history: only the daemon's settings tell.
        found = scan(volume, afresh=True, keeps=lambda _: True)
        if mend:
            repair(volume, found)
            found.ids.difference_update(collect(volume, found.dead).ids)
        self._live, self._damaged = found.live, set(found.damaged)
        self._note(found, has_begun=mend)
        self.is_empty = not (found.live or found.ids or found.quarantined or found.kept)
        strange = sorted(found.foreign.keys() - _NOTHING)
        if strange and self.is_empty and not self.is_marked:
            reason = f"it is not empty: it has {strange[0]!r}"
            raise VolumeUnusable(volume.shown_path, reason)

    def _note(self, found: Findings, *, has_begun: bool) -> None:
        """Note who has which id, and which ids an interrupted run has named."""
        for location, blob in found.live.items():
            self._id_of[location, None] = blob.id
        for dead in found.history.values():
            if dead.size >= 0:
                self._id_of[dead.location, dead.generation] = dead.id
                successor = self._successor_of(dead) if has_begun else None
                self._kept[Kept(dead.location, dead.generation)] = successor
        self._taken = found.ids
        named = set(self._kept.values())
        self._ids = (each for each in count() if each not in found.ids and each not in named)

    def _successor_of(self, dead: Dead) -> int | None:
        """The id that the record of a dead blob names."""
        try:
            ending = self._volume.directory.read_record(str(dead.id), dead.id).ending
        except BadRecord:
            return None
        return None if ending is None else ending.successor

    def expect(self, versions: Mapping[Kept, int | None]) -> None:
        """Let what an interrupted run has named, and not brought, have the id that it named."""
        self._expected = versions
        for kept, successor in versions.items():
            named, place = self._kept.get(kept), (kept.location, successor)
            if named is not None and named not in self._taken and place not in self._id_of:
                self._id_of[place] = named
                self._taken.add(named)

    def begin(self, source: str) -> None:
        """Mark it."""
        self._do(lambda: mark(self._volume.directory, source))

    def others(self, locations: Sequence[str]) -> list[str]:
        """The blobs that it should not have, dead or alive."""
        others = (self._live.keys() | self._damaged).difference(locations)
        versions = self._kept.keys() - self._expected.keys()
        return sorted(others.union(kept.name for kept in versions))

    def find(self, location: str) -> Committed | None:
        """What the scan has found."""
        if location in self._damaged:
            raise AlreadyExists(location, is_damaged=True)
        return self._live.get(location)

    def receive(self, blob: Blob, pieces: Iterator[bytes]) -> Commit:
        """Take a small blob into memory, a large one to a stage."""
        blob.id = self._id_for(blob.location, None)
        return self._take(blob, pieces)

    def _id_for(self, location: str, generation: int | None) -> int:
        with self._lock:
            blob_id = self._id_of.get((location, generation))
            if blob_id is None:
                blob_id = self._id_of[location, generation] = next(self._ids)
            return blob_id

    def _take(self, blob: Blob, pieces: Iterator[bytes]) -> Commit:
        try:
            if (blob.size or 0) <= SMALL_BLOB:
                return Commit(blob, b"".join(pieces))
            return Commit(blob, self._stage(blob, pieces))
        except OSError as error:
            raise as_store_error(error) from error

    def _stage(self, blob: Blob, pieces: Iterator[bytes]) -> Stage:
        stage = self._volume.stage(blob)
        try:
            for piece in pieces:
                self._volume.write(stage, [piece])
            self._volume.seal(stage)
        except BaseException:
            self._volume.directory.finish(stage.release(), sync=False)
            self._volume.trash.remove(stage.name)
            raise
        return stage

    def has_version(self, kept: Kept) -> bool:
        """What the scan has found."""
        if kept in self._kept:
            return True
        current = self.find(kept.location)
        if current is not None and 0 < current.generation <= kept.generation:
            # The version would bury it.
            raise AlreadyExists(kept.location)
        return False

    def receive_version(self, blob: Blob, ending: Ending, pieces: Iterator[bytes]) -> Commit:
        """Take a version as a blob that has ended."""
        location, kept = blob.location, Kept(blob.location, blob.generation)
        blob.id = self._id_for(location, blob.generation)
        match ending.by:
            case EndedBy.REPLACED:
                by = self._id_for(location, self._expected[kept])
                blob.replace(ending.when, by, ending.origin)
            case EndedBy.DELETED:
                blob.delete(ending.when, ending.origin)
            case EndedBy.EXPIRED:
                blob.expire(ending.when)
        return self._take(blob, pieces)

    def settle(self, received: Sequence[Commit]) -> None:
        """Commit a batch."""
        for error in self._volume.protocol.carry_out(received):
            if error is not None:
                raise error

    def finish(self) -> None:
        """Remove the mark."""
        if self._expected:
            # A start without --keep, by mistake, warns before it removes them.
            self._do(lambda: note_promise(self._volume.directory, ByPrefix(inf)))
        self._do(lambda: unmark(self._volume.directory))

    def _do(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            raise as_store_error(error) from error
        except OutcomeUnknown as error:
            raise DiskFailed(str(error)) from error

    def close(self) -> None:
        """Unlock it."""
        self._volume.close()
