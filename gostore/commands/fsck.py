"""Is a data directory as it was written?  Every record, size and digest, with no daemon running.

A check only looks. A repair does what a start and its collector would do, and sets aside what the
digests tell on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from attrs import asdict, define, evolve, field, frozen

from gostore.blob import Committed
from gostore.errors import DiskFailed, VolumeUnusable, as_store_error, strerror_of
from gostore.store.content import check_digest, compute_digest
from gostore.text import escape
from gostore.volume import collect as sweep
from gostore.volume.directory import DataDamaged, OutcomeUnknown
from gostore.volume.recovery import scan as recovery
from gostore.volume.recovery.scan import Damage, Recovery
from gostore.volume.volume import Volume

#: What is told meanwhile: blobs and bytes checked, and how many there are to check.
Tell = Callable[[int, int, int, int], object]


@frozen
class Finding:
    """One thing that was found.

    ``kind`` is "journal" (a crash has torn it, the next start makes it whole), "damaged" (not as
    it was written), "tie" (another blob has its location),
    "quarantined" (set aside earlier), "dead" (to be removed) or "foreign" (not gostore's).
    ``name`` is that of the directory, ``location`` None where nobody can tell it.
    """

    kind: str
    name: str
    location: str | None
    reason: str
    #: Whether a repair takes care of it; after one, whether it has.
    mends: bool = True

    def __str__(self) -> str:
        where = "" if self.location is None else f" of {self.location!r}"
        return f"{self.kind}: {escape(self.name)}{where}: {escape(self.reason)}"


@define
class Report:
    """What a check found; ``verified`` blobs have the digest they were committed with."""

    directory: str
    blobs: int = 0
    bytes: int = 0
    verified: int = 0
    #: By the first server, which kept no digests.
    unverified: int = 0
    seconds: float = 0.0
    repaired: bool = False
    findings: list[Finding] = field(factory=list)

    @property
    def damage(self) -> list[Finding]:
        """The findings that make it a bad day."""
        return [each for each in self.findings if each.kind in ("damaged", "tie")]

    def as_json(self) -> dict[str, Any]:
        """Everything, for a program."""
        return {**asdict(self), "clean": not self.damage}

    def as_lines(self) -> list[str]:
        """Everything, for people."""
        mended = sum(each.mends for each in self.findings)
        left = len(self.findings) - mended
        if self.repaired:
            done = f"; {mended} repaired, {left} left" if left else "; repaired"
        elif mended:
            done = f"; --repair mends {mended if left else 'it'}"
        else:
            done = ""
        damaged = len(self.damage)
        return [
            *map(str, self.findings),
            f"{self.blobs} blobs of {self.bytes} bytes in {self.seconds:.1f} seconds: "
            f"{self.verified} verified, {self.unverified} without a digest to verify",
            f"{damaged} damaged, {len(self.findings) - damaged} other findings{done}"
            if self.findings
            else "Clean",
        ]


def fsck(volume: Volume, *, mend: bool = False, tell: Tell = lambda *_: None) -> Report:
    """Check a volume that nobody has opened yet; with ``mend`` repair it, too.

    Without it nothing is changed. Raises VolumeInUse, or VolumeUnusable if it cannot be judged or
    mended.
    """
    begun = time.monotonic()
    if mend:
        volume.open(make=False)
    else:
        volume.look()
    try:
        report = Report(escape(volume.shown_path))
        found = recovery.scan(volume)
        _verify(volume, found, report, tell)
        _report(found, report)
        if mend:
            _repair(volume, found, report)
            report.repaired = True
    except (OSError, OutcomeUnknown, DiskFailed) as error:
        reason = str(as_store_error(error) if isinstance(error, OSError) else error)
        raise VolumeUnusable(volume.shown_path, reason) from error
    finally:
        volume.close()
    report.seconds = time.monotonic() - begun
    return report


def _verify(volume: Volume, found: Recovery, report: Report, tell: Tell) -> None:
    """Read what lives; what is not what was committed joins the scan's damage."""
    # What is in the journal has been compared with a digest of its batch.
    undone = {entry.blob_id for entry in found.undone}
    blobs = sorted(
        (blob for blob in found.live.values() if blob.id not in undone), key=lambda blob: blob.id
    )
    total = sum(blob.size for blob in blobs)
    report.blobs, report.bytes = len(blobs), total
    read = 0

    def count(length: int) -> None:
        nonlocal read
        read += length
        tell(number - 1, len(blobs), read, total)

    for number, blob in enumerate(blobs, 1):
        try:
            digest = compute_digest(volume, blob, count)
            if blob.sha256 is not None:
                check_digest(digest, blob)
                report.verified += 1
            else:
                report.unverified += 1
        except (DataDamaged, FileNotFoundError) as error:
            _damaged(found, blob, str(error) or "it is gone")
        except OSError as error:
            if error.errno not in recovery.OF_THE_FILE:
                reason = f"{blob.id}: {strerror_of(error)}"
                raise VolumeUnusable(volume.shown_path, reason) from error
            # A bad sector, say. It may be read another day, and what was set aside is not.
            reason = f"it cannot be read: {as_store_error(error)}"
            finding = Finding("damaged", str(blob.id), blob.location, reason, mends=False)
            report.findings.append(finding)
        tell(number, len(blobs), read, total)


def _damaged(found: Recovery, blob: Committed, reason: str) -> None:
    del found.live[blob.location]
    found.damaged[blob.location] = Damage(blob, str(blob.id))
    found.quarantine.append((blob.id, reason, False))


def _report(found: Recovery, report: Report) -> None:
    locations = {damage.name: location for location, damage in found.damaged.items()}

    def add(kind: str, name: object, reason: str, location: str | None = None) -> None:
        place = location or locations.get(str(name))
        report.findings.append(Finding(kind, str(name), place, reason, kind != "foreign"))

    if found.journal_damage is not None:
        reason = f"{found.journal_damage}: a write or a delete may be lost"
        add("damaged", ".journal-*", reason)
    for entry in found.undone:
        add("journal", entry.blob_id, "to be written again from the journal")
    for blob_id in found.overtaken:
        add("dead", blob_id, "deleted or replaced by what is in the journal")
    for blob_id, reason, tie in found.quarantine:
        add("tie" if tie else "damaged", blob_id, reason)
    for name in found.quarantined:
        if name in locations:
            reason = "set aside earlier; its location answers 500 until it is replaced or deleted"
            location = locations[name]
            report.findings.append(Finding("damaged", name, location, reason, mends=False))
        elif name not in found.obsolete:
            report.findings.append(
                Finding("quarantined", name, None, "set aside earlier", mends=False)
            )
    for dead in found.dead:
        reason = "deleted" if dead.replaced_by is None else f"replaced by {dead.replaced_by}"
        add("dead", dead.id, reason, dead.location)
    for blob in found.pending:
        add("dead", blob.id, "Pending: a crash cut its write short", blob.location)
    for blob_id in found.uncommitted:
        add("dead", blob_id, "it has no state file, and is no blob")
    for name in found.leftover:
        add("dead", name, "left over by a crash")
    for name in found.obsolete:
        add("dead", name, "set aside earlier; its location has been written since")
    for name in found.foreign:
        add("foreign", name, found.why_foreign(name))


def _repair(volume: Volume, found: Recovery, report: Report) -> None:
    recovery.repair(volume, found)
    left = sweep.collect(volume, found.dead).left
    if volume.broken is not None:
        raise DiskFailed(volume.broken)
    for name, reason in left.items():
        _leave(report, name, volume.trash.trashed.get(name), reason)


def _leave(report: Report, name: str, blob_id: int | None, reason: str) -> None:
    """Say of something dead that it is there still, perhaps under another ``name`` than found."""
    for at, finding in enumerate(report.findings):
        if finding.kind == "dead" and finding.name in (name, str(blob_id)):
            where = "left" if finding.name == name else f"left as {name}"
            told = f"{finding.reason}; {where}: {reason}"
            report.findings[at] = evolve(finding, reason=told, mends=False)
            return
    report.findings.append(Finding("dead", name, None, f"left: {reason}", mends=False))
