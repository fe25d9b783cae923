"""The look at a data directory that decides what lives. It only reads.

So a daemon that finds its port taken has changed nothing. What the redo journal holds and the
directory lacks takes part as if it were there.
"""

from __future__ import annotations

import os

from attrs import define, evolve, field

from gostore import statefile
from gostore.blob import Committed, State
from gostore.errors import BadRecord, VolumeUnusable, strerror_of
from gostore.volume.collect import Dead
from gostore.volume.directory import (
    DATA,
    STATE,
    DataDamaged,
    Kind,
    check_data,
    id_in,
    kind_of,
)
from gostore.volume.journal.format import Entry
from gostore.volume.kept import read_kept
from gostore.volume.recovery.decisions import Decisions, Keeps, as_committed
from gostore.volume.recovery.findings import Findings, Suspect
from gostore.volume.recovery.looks import OUT_OF_REACH, OutOfReach, Unreadable, look_twice
from gostore.volume.recovery.records import read_records, stamp_of
from gostore.volume.recovery.redo import holds, read_journal
from gostore.volume.recovery.rivals import Rival
from gostore.volume.volume import Volume

#: Files that lie beside the blobs.
_BESIDE = (Kind.JOURNAL, Kind.RECORDS, Kind.MIGRATING, Kind.PROMISE)


def journaled(volume: Volume, keeps: Keeps) -> dict[int, Entry]:
    """Return the newest entry of each blob that may be in the journal alone, by its id.

    A deletion has the bytes of what it deletes, if these are there, too, and kept. Raises
    VolumeUnusable if the journal cannot be read.
    """
    entries: dict[int, Entry] = {}
    for entry in read_journal(volume):
        before = entries.get(entry.blob_id)
        if entry.data is None and before is not None and before.data is not None:
            old, new = (statefile.parse(each.state) for each in (before, entry))
            if old.generation == new.generation and keeps(new.location):
                entry = evolve(entry, data=before.data)
        entries[entry.blob_id] = entry
    return entries


def keeps_nothing(_: str) -> bool:
    """No location has a history."""
    return False


def scan(volume: Volume, *, afresh: bool = False, keeps: Keeps = keeps_nothing) -> Findings:
    """Read the whole directory and decide what lives; nothing is changed.

    ``keeps`` says which locations have a history. State files that are as the record cache has them
    are read only if it is to be done ``afresh``.
    A blob that this daemon may not read is left where it is, and so is its location, if the
    journal remembers that. Raises VolumeUnusable, which names it, where a blob cannot be judged
    for want of files or memory, say, or the journal cannot; and where no blob may be read at all,
    of several. Raises OSError where the directory itself cannot be read.
    """
    return Scan(volume, afresh, keeps).run()


@define(eq=False)
class Scan:
    """One scan, and what it has found so far."""

    _volume: Volume
    _afresh: bool
    _keeps: Keeps
    _findings: Findings = field(init=False, factory=Findings)
    _decisions: Decisions = field(init=False)
    #: The journal's newest entry for each blob, unless its directory has shown that it is done.
    _undone: dict[int, Entry] = field(init=False, factory=dict)
    #: Blobs whose directory exists, and lacks what the journal has of them.
    _torn: set[int] = field(init=False, factory=set)
    #: What the journal's files still have of each blob, be it synced; None before that is wanted.
    _recalled: dict[int, Entry] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._decisions = Decisions(self._volume, self._keeps, self._findings)

    def run(self) -> Findings:
        """Look at everything, and decide."""
        # The newest entry only: a blob may have been deleted after it was committed.
        self._undone = journaled(self._volume, self._keeps)
        self._findings.journal_damage = self._volume.backlog.journal.damage
        names = dict(self._volume.directory.entries())
        if not self._afresh:
            self._trust_records(names)
        for name, is_directory in names.items():
            try:
                self._look_at(name, is_directory)
            except OSError as error:
                if error.errno not in OUT_OF_REACH:
                    reason = f"{name}: {strerror_of(error)}"
                    raise VolumeUnusable(self._volume.shown_path, reason) from error
                self._leave(name, strerror_of(error))
        self._check_reach()
        for blob_id, entry in self._undone.items():
            blob = statefile.parse(entry.state, blob_id)
            is_dead = blob.state is State.FAILURE
            self._decisions.add_rival(Rival(as_committed(blob), is_dead, entry=entry))
        self._decisions.settle()
        self._decisions.make_way(self._undone, self._torn)
        return self._findings

    # -- looking ------------------------------------------------------------------------------

    def _trust_records(self, names: dict[str, bool]) -> None:
        """Take in the blobs whose files are as the record cache has them; out of ``names``.

        All others, and all that anything is wrong with, are left to a closer look.
        """
        directory, findings, undone = self._volume.directory, self._findings, self._undone
        peek, root, live = directory.disk.peek, directory.root, findings.live
        trusted, dead = set(), []
        for blob, stamp in read_records(directory):
            name, is_dead = str(blob.id), isinstance(blob, Dead)
            if not names.get(name) or blob.id in undone or (not is_dead and blob.location in live):
                continue
            try:
                if stamp_of(peek(f"{name}/{STATE}", dir_fd=root)) != stamp:
                    continue
                if blob.size >= 0:
                    check_data(peek(f"{name}/{DATA}", dir_fd=root), blob.size)
            except (OSError, DataDamaged):
                continue
            del names[name]
            trusted.add(blob.id)
            if isinstance(blob, Dead):
                dead.append(blob)
            else:
                live[blob.location] = blob
        findings.ids |= trusted
        findings.trusted = len(trusted)
        findings.generation = max((blob.generation for blob in live.values()), default=0)
        for blob in dead:
            self._decisions.bury_later(blob)

    def _look_at(self, name: str, is_directory: bool) -> None:
        kind = kind_of(name)
        if kind is Kind.BLOB:
            blob_id = int(name)
            # No new blob can take the number, even if this is none.
            self._findings.ids.add(blob_id)
            if is_directory:
                self._look_at_number(name, blob_id)
            elif self._volume.directory.is_link(name):
                # It may lead to a blob that somebody has moved.
                self._findings.suspects.append(Suspect(blob_id, "it is a symbolic link"))
            else:
                self._findings.foreign[name] = ""
        elif not is_directory:
            if kind is Kind.QUARANTINE and self._volume.directory.is_link(name):
                self._findings.quarantined.append(name)
            elif kind not in _BESIDE:
                self._findings.foreign[name] = ""
        elif kind in (Kind.STAGE, Kind.PROBE, Kind.TRASH):
            if kind is Kind.STAGE:
                self._findings.ids.add(id_in(name))
            if not self._is_foreign(name):
                self._findings.leftover.append(name)
        elif kind is Kind.KEPT:
            self._look_at_kept(name)
        elif kind in (Kind.QUARANTINE, Kind.TIE):
            self._findings.quarantined.append(name)
            if kind is Kind.QUARANTINE:
                self._look_at_quarantined(name, id_in(name))
        else:
            self._findings.foreign[name] = ""

    def _look_at_number(self, name: str, blob_id: int) -> None:
        entry = self._undone.get(blob_id)
        if entry is None or self._is_done(entry):
            self._undone.pop(blob_id, None)
            self._look_at_blob(name, blob_id)
        elif self._volume.directory.stands(f"{name}/{STATE}") or not self._is_foreign(name):
            self._torn.add(blob_id)

    def _look_at_blob(self, name: str, blob_id: int) -> None:
        try:
            state, data = look_twice(self._read_blob, name)
            plain = statefile.parse_plain(state, blob_id)
            blob = statefile.parse(state, blob_id) if plain is None else None
        except FileNotFoundError:
            if not self._is_foreign(name):
                self._findings.uncommitted.append(blob_id)
            return
        except (BadRecord, Unreadable) as error:
            self._findings.suspects.append(Suspect(blob_id, str(error)))
            return
        if plain is not None:
            committed, dead = plain
            size: int | None = committed.size
        else:
            assert blob is not None
            if blob.state is State.PENDING:
                self._findings.pending.append(blob)
                return
            dead = blob.state is State.FAILURE
            size = blob.size
            if size is None and isinstance(data, os.stat_result):
                blob.size = data.st_size
            committed = as_committed(blob)
        has_data = not isinstance(data, FileNotFoundError)
        # Without a history nobody will read what is dead.
        is_wanted = self._keeps(committed.location) and has_data if dead else True
        damage = _damage(data, size) if is_wanted else None
        if dead and damage is None:
            self._decisions.add_dead(committed, has_data=has_data)
        elif damage or committed.location in self._findings.live:
            self._decisions.add_rival(Rival(committed, dead, damage))
        else:
            self._decisions.note_generation(committed)
            self._findings.live[committed.location] = committed

    def _read_blob(self, name: str) -> tuple[bytes, os.stat_result | OSError]:
        """Return a blob's state file, and the stat of its data.raw or why there is none."""
        disk, directory = self._volume.disk, self._volume.directory
        inside = directory.enter(name)
        try:
            state, _ = directory.read_state_at(STATE, inside)
            try:
                return state, look_twice(disk.lstat, DATA, inside)
            except (FileNotFoundError, Unreadable) as error:
                return state, error
        finally:
            disk.close(inside)

    def _look_at_kept(self, name: str) -> None:
        """An upload may go on if all of it is there that its client has been told of."""
        try:
            self._findings.kept.append(look_twice(read_kept, self._volume.directory, name))
        except (BadRecord, FileNotFoundError):
            if self._is_foreign(name):
                return
            self._findings.leftover.append(name)
        except Unreadable as error:
            self._leave(name, strerror_of(error))

    def _look_at_quarantined(self, name: str, blob_id: int) -> None:
        """A quarantined blob still stands for its location, if its record can tell which."""
        try:
            blob = look_twice(self._volume.directory.read_record, name, blob_id)
        except (BadRecord, FileNotFoundError, Unreadable):
            return
        # A Pending one never was committed, whoever put it there.
        if blob.state is not State.PENDING:
            is_dead = blob.state is State.FAILURE
            self._decisions.add_rival(Rival(as_committed(blob), is_dead, quarantined=name))

    def _is_done(self, entry: Entry) -> bool:
        """Say whether the directory has all of a change, or something newer.

        A directory that cannot be read is as good as torn: the journal has the blob whole.
        """
        try:
            return look_twice(self._looks_done, entry)
        except Unreadable:
            return False

    def _looks_done(self, entry: Entry) -> bool:
        name = str(entry.blob_id)
        wanted = statefile.parse(entry.state, entry.blob_id)
        try:
            found = self._volume.directory.read_record(name, entry.blob_id)
        except (FileNotFoundError, BadRecord):
            return False
        if found.generation != wanted.generation:
            # An id is used again only when its first blob is gone for good.
            return found.generation > wanted.generation
        is_kept = entry.data is not None and self._keeps(wanted.location)
        if found.state is State.FAILURE and not is_kept:
            return True
        if is_kept and found.state is not State.FAILURE and wanted.state is State.FAILURE:
            return False
        return holds(self._volume, name, entry.data)

    def _is_foreign(self, name: str) -> bool:
        """Say whether a directory that is no blob is not ours to remove either, and note that.

        A crash, a deletion on a full disk and the Go server leave only gostore's files in one.
        """
        try:
            inside = look_twice(self._volume.directory.foreign_in, name)
            if inside is None:
                return False
            self._findings.foreign[name] = f"it holds {inside!r}"
        except FileNotFoundError:
            return False
        except (Unreadable, OutOfReach) as error:
            self._findings.foreign[name] = f"its contents cannot be listed: {strerror_of(error)}"
        return True

    def _leave(self, name: str, reason: str) -> None:
        """Leave alone what this daemon may not read; its location, if known, answers 500."""
        blob_id = int(name) if kind_of(name) is Kind.BLOB else None
        if blob_id in self._undone:
            # The journal has it whole: it is written again, in place of this.
            self._torn.add(blob_id)
            return
        self._findings.unreadable[name] = reason
        if blob_id is not None and (blob := self._recall(blob_id)) is not None:
            self._decisions.add_rival(Rival(blob, out_of_reach=True))

    def _recall(self, blob_id: int) -> Committed | None:
        """Say what a blob is by what is left in the journal's files; None if that is not sure."""
        if self._recalled is None:
            self._recalled = self._volume.backlog.journal.recall()
        entry = self._recalled.get(blob_id)
        if entry is None or entry.data is None:
            return None
        blob = statefile.parse(entry.state, blob_id)
        others = (statefile.parse(other.state) for other in self._recalled.values())
        newest = max(each.generation for each in others if each.location == blob.location)
        return as_committed(blob) if blob.generation == newest else None

    def _check_reach(self) -> None:
        """Refuse to serve nothing: that more than one may not be read is no blob's own fault."""
        findings = self._findings
        names = [name for name in findings.unreadable if kind_of(name) is Kind.BLOB]
        rivals = (rival for rivals in self._decisions.rivals.values() for rival in rivals)
        is_any_read = any(not rival.out_of_reach for rival in rivals)
        if len(names) > 1 and not (
            is_any_read or findings.live or findings.pending or findings.suspects or self._undone
        ):
            reason = f"{names[0]}: {self._findings.unreadable[names[0]]}"
            raise VolumeUnusable(self._volume.shown_path, reason)


def _damage(data: os.stat_result | OSError, size: int | None) -> str | None:
    """Say what is wrong with a data.raw of this stat, or without one, for a blob of this size."""
    if isinstance(data, FileNotFoundError):
        return f"{DATA} is missing"
    if isinstance(data, OSError):
        return str(data)
    try:
        check_data(data, size)
    except DataDamaged as error:
        return str(error)
    return None
