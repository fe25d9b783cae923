"""What becomes of each blob that a scan has looked at: noted in the findings, for `repair`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from contextlib import suppress

from attrs import define, field

from gostore import statefile
from gostore.blob import Blob, Committed
from gostore.errors import BadRecord, VolumeUnusable
from gostore.volume.collect import Dead, Replaced
from gostore.volume.directory import DataDamaged, stage_name
from gostore.volume.recovery.findings import Damage, Ended, Findings, Suspect
from gostore.volume.recovery.rivals import Fate, Rival, decide
from gostore.volume.volume import Volume

Keeps = Callable[[str], bool]
"""Says of a location whether it has a history: what dies there is kept for a while."""


@define(eq=False)
class Decisions:
    """Takes in what a scan sees, and then decides."""

    _volume: Volume
    _keeps: Keeps
    _findings: Findings
    #: Each location with more than a live blob, and all that stand for it.
    rivals: dict[str, list[Rival]] = field(init=False, factory=dict)
    #: Blobs whose own records say that they are dead.
    _dead: list[Dead] = field(init=False, factory=list)

    def note_generation(self, blob: Committed) -> None:
        """No new blob may have a generation below this one's."""
        if blob.generation > self._findings.generation:
            self._findings.generation = blob.generation

    def add_rival(self, rival: Rival) -> None:
        """Take in one of several blobs of a location, or one that is not simply alive."""
        self.note_generation(rival.blob)
        self.rivals.setdefault(rival.blob.location, []).append(rival)

    def add_dead(self, blob: Committed, *, has_data: bool) -> None:
        """Take in a blob whose own record says that it is dead."""
        size = blob.size if has_data else -1
        self.bury_later(
            Dead(blob.id, blob.location, blob.generation, ended=blob.modified, size=size)
        )

    def bury_later(self, dead: Dead) -> None:
        """Take in a dead blob."""
        if dead.generation > self._findings.generation:
            self._findings.generation = dead.generation
        self._dead.append(dead)

    def settle(self) -> None:
        """Note what becomes of every blob that is not simply alive."""
        live = self._findings.live
        self._place_dead()
        for location, rivals in self.rivals.items():
            if location in live:
                rivals.append(Rival(live.pop(location)))
            self._settle(location, rivals)

    def _place_dead(self) -> None:
        """Let the dead take part where they may decide something; most are below what lives."""
        live = self._findings.live
        for dead in self._dead:
            current = live.get(dead.location)
            is_below = current is None or current.generation > dead.generation
            if is_below and dead.location not in self.rivals:
                self._bury(dead)
            else:
                self.add_rival(Rival(_of_dead(dead), dead=True))

    def _bury(self, dead: Dead) -> None:
        """Note a dead blob, to be kept or removed."""
        if self._keeps(dead.location):
            self._findings.history[dead.id] = dead
        else:
            self._findings.dead.append(dead)

    def _end(self, rival: Rival, successor: Rival | None) -> None:
        """Note a dead blob that is kept, as far as its bytes are still there."""
        findings, blob, entry = self._findings, rival.blob, rival.entry
        has_data = self._fits(blob) if entry is None or entry.data is None else True
        if rival.damage is not None or not has_data:
            findings.overtaken.append(blob.id)
            return
        replaced = None
        if not rival.dead:
            assert successor is not None
            replaced = self._replaced(blob, successor)
        findings.history[blob.id] = _dead_of(blob, replaced)
        findings.ended.append(Ended(blob.id, entry, replaced))
        findings.ids.add(blob.id)

    def _fits(self, blob: Committed) -> bool:
        try:
            self._volume.directory.check_data_in(str(blob.id), blob.size)
        except (OSError, DataDamaged):
            return False
        return True

    def _replaced(self, blob: Committed, successor: Rival) -> Replaced:
        """Say how a blob was replaced, by what its successor's record says of its own beginning."""
        when, origin = successor.blob.modified, ""
        if not self._keeps(blob.location):
            return Replaced(blob, successor.blob.id, when)
        name = successor.quarantined or str(successor.blob.id)
        with suppress(OSError, BadRecord):
            record = (
                self._volume.directory.read_record(name, successor.blob.id)
                if successor.entry is None
                else statefile.parse(successor.entry.state)
            )
            when, origin = record.finished or when, record.origin
        return Replaced(blob, successor.blob.id, when, origin)

    def _settle(self, location: str, rivals: list[Rival]) -> None:
        """Note what becomes of all that stand for a location."""
        findings = self._findings
        keeps = self._keeps(location)
        (winner, _), *losers = decided = decide(rivals, keeps=keeps)
        younger = [None, *(rival for rival, _ in losers[1:]), winner]
        for (rival, fate), successor in zip(decided, younger, strict=False):
            blob = rival.blob
            match fate:
                case Fate.LIVE:
                    findings.live[location] = blob
                case Fate.UNDONE:
                    assert rival.entry is not None
                    findings.live[location] = blob
                    findings.undone.append(rival.entry)
                    findings.ids.add(blob.id)
                case Fate.DAMAGED:
                    if rival.damage is not None:
                        findings.suspects.append(Suspect(blob.id, rival.damage))
                    findings.damaged[location] = Damage(blob, rival.quarantined or str(blob.id))
                case Fate.DEAD if rival.damage is not None:
                    findings.suspects.append(Suspect(blob.id, rival.damage))
                case Fate.DEAD:
                    self._bury(_dead_of(blob))
                case Fate.REPLACED:
                    assert successor is not None
                    replaced = self._replaced(blob, successor)
                    findings.unmarked.append(replaced)
                    dead = _dead_of(blob, replaced)
                    if rival.damage is None:
                        self._bury(dead)
                    else:
                        findings.dead.append(dead)
                case Fate.ENDED:
                    self._end(rival, successor)
                case Fate.OVERTAKEN:
                    findings.overtaken.append(blob.id)
                case Fate.TIED:
                    reason = f"blob {winner.blob.id} has its location {location!r}"
                    findings.suspects.append(Suspect(blob.id, reason, is_tie=True))
                case Fate.OBSOLETE:
                    assert rival.quarantined is not None
                    findings.obsolete.append(rival.quarantined)
                case Fate.LEFT:
                    pass

    def make_way(self, undone: Iterable[int], torn: Set[int]) -> None:
        """Leave nothing else to be done to what `repair` writes again, or finds missing."""
        findings = self._findings
        missing = set(undone) - torn
        findings.overtaken = [each for each in findings.overtaken if each not in missing]
        again = {entry.blob_id for entry in findings.undone}
        again |= {each.blob_id for each in findings.ended if each.entry and each.entry.data}
        stages = set(map(stage_name, again))
        findings.leftover = [name for name in findings.leftover if name not in stages]
        # A link in its place is quarantined when the blob is written again.
        findings.suspects = [each for each in findings.suspects if each.blob_id not in again]
        for name in stages:
            findings.foreign.pop(name, None)
        for blob_id in sorted(again):
            if why := findings.foreign.get(str(blob_id)):
                reason = (
                    f"{blob_id} is not gostore's ({why}), and stands where the journal has a blob;"
                    " move it away and start again"
                )
                raise VolumeUnusable(self._volume.shown_path, reason)


def as_committed(blob: Blob) -> Committed:
    """Take a record as what the maps keep of it; a size that nobody knows is as good as 0."""
    blob.size = blob.size or 0
    return blob.committed()


def _dead_of(blob: Committed, replaced: Replaced | None = None) -> Dead:
    """Take a blob that is dead, by its own record or since it was replaced."""
    by, ended = (None, blob.modified) if replaced is None else (replaced.by, replaced.when)
    return Dead(blob.id, blob.location, blob.generation, by, ended=ended, size=blob.size)


def _of_dead(dead: Dead) -> Committed:
    """Take a dead blob as a rival of others."""
    return Committed(
        dead.id, dead.location, dead.generation, dead.size, None, dead.ended, None, None
    )
