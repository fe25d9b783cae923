"""Check a data directory while no daemon runs, or a bucket: every record, size and digest.

A check only looks. A repair does the same as a start and its collector, and quarantines the blobs
whose digests are wrong.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from attrs import asdict, define, evolve, field, frozen

from gostore.blob import Committed
from gostore.bucket.check import Check
from gostore.bucket.visiting import Bucket
from gostore.commands.records import keeps_all, lacking
from gostore.commands.statuses import BAD, GOOD
from gostore.commands.terminal import add_place, bucket_named, read_directory, verifying
from gostore.commands.unfinished import DAY, Unfinished, add_period, unfinished
from gostore.errors import DiskFailed, VolumeUnusable, as_store_error, strerror_of
from gostore.text import counted, escape, printable
from gostore.volume.changes import Sync
from gostore.volume.collect import collect
from gostore.volume.digests import check_digest, compute_digest
from gostore.volume.directory import MIGRATING, DataDamaged, OutcomeUnknown
from gostore.volume.migrating import source_of
from gostore.volume.recovery.findings import Damage, Findings, Suspect
from gostore.volume.recovery.looks import OutOfReach, Unreadable, look
from gostore.volume.recovery.repair import repair
from gostore.volume.recovery.scan import keeps_nothing, scan
from gostore.volume.volume import Volume

#: Called during a check: blobs checked of how many, bytes checked of how many.
Tell = Callable[[int, int, int, int], object]


class Kind(Enum):
    """The kinds of findings."""

    JOURNAL = "journal"
    """A crash has torn it, and the next start makes it whole."""
    DAMAGED = "damaged"
    """It is not as it was written."""
    TIE = "tie"
    """Another blob has its location."""
    INCOMPLETE = "incomplete"
    """A migration into it has not ended: blobs are lacking."""
    QUARANTINED = "quarantined"
    """It was quarantined earlier, and no location answers 500 for it."""
    UNFINISHED = "unfinished"
    """It is an upload in several requests, and may go on."""
    DEAD = "dead"
    """It is to be removed."""
    FOREIGN = "foreign"
    """It is not gostore's."""

    @property
    def is_damage(self) -> bool:
        """Whether a blob is lost or in doubt."""
        return self in (Kind.DAMAGED, Kind.TIE, Kind.INCOMPLETE)


@frozen
class Finding:
    """One directory that is not a sound blob.

    ``name`` is the directory's, ``location`` the blob's, None if nobody can tell it.
    """

    kind: Kind
    name: str
    location: str | None
    reason: str
    #: Whether a repair takes care of it; after a repair, whether it has.
    mends: bool = True

    def __str__(self) -> str:
        where = "" if self.location is None else f" of {self.location!r}"
        return f"{self.kind.value}: {escape(self.name)}{where}: {escape(self.reason)}"


@define
class Report:
    """The outcome of a check. ``verified`` blobs have the digest they were committed with."""

    directory: str
    blobs: int = 0
    bytes: int = 0
    verified: int = 0
    #: The Go server wrote these, and kept no digests; or the bytes of a bucket were not read.
    unverified: int = 0
    seconds: float = 0.0
    repaired: bool = False
    findings: list[Finding] = field(factory=list)
    uploads: list[Unfinished] = field(factory=list)
    #: Why an engine does not tell which uploads in parts have not ended.
    untold: str = ""

    @property
    def damage(self) -> list[Finding]:
        """The findings that mean a blob is lost or in doubt."""
        return [each for each in self.findings if each.kind.is_damage]

    def as_json(self) -> dict[str, Any]:
        """Everything, for a program."""
        return {**asdict(self, value_serializer=_value_of), "clean": not self.damage}

    def as_lines(self) -> list[str]:
        """Everything, for people."""
        # What may go on is as it should be.
        count = sum(each.kind is not Kind.UNFINISHED for each in self.findings)
        mended = sum(each.mends for each in self.findings)
        left = count - mended
        if self.repaired:
            done = f"; {mended} repaired, {left} left" if left else "; repaired"
        elif mended:
            done = f"; --repair mends {mended if left else 'it'}"
        else:
            done = ""
        damaged = sum(each.kind is not Kind.INCOMPLETE for each in self.damage)
        others = counted(count - damaged, "other finding")
        why = escape(self.untold)
        untold = [f"The engine does not tell its uploads in parts: {why}"] if why else []
        is_bucket = self.directory.startswith("s3://")
        unread = "without a digest to verify"
        if is_bucket:
            unread = "whose bytes were not read"
            unread += "; --digests reads them" if self.unverified and not self.verified else ""
        return [
            *map(str, self.findings),
            *untold,
            f"{counted(self.blobs, 'blob')} of {counted(self.bytes, 'byte')}"
            f" in {self.seconds:.1f} seconds: "
            f"{self.verified} verified, {self.unverified} {unread}",
            f"{damaged} damaged, {others}{done}" if count else "Clean",
        ]


def _value_of(owner: object, attribute: object, value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add_place(parser)
    parser.add_argument(
        "--digests",
        action="store_true",
        help="read all bytes of a bucket; those of a directory are always read",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="quarantine the damaged, remove the dead; without it nothing changes. In a bucket:"
        " write lost records again, remove what is dead and older than an hour",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    add_period(parser)


def run(parsed: argparse.Namespace) -> int:
    """Check, and print the report."""
    with verifying() as tell:
        if parsed.store is not None:
            bucket = bucket_named(parsed)
            report = fsck_bucket(bucket, mend=parsed.repair, digests=parsed.digests, tell=tell)
        else:
            volume = Volume(read_directory(parsed.dir), sync=Sync.JOURNAL, make=False)
            # For how long the dead are kept, only the daemon's settings tell.
            keeps, period = keeps_all, parsed.upload_expires
            report = fsck(volume, mend=parsed.repair, tell=tell, keeps=keeps, period=period)
    if parsed.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("\n".join(map(printable, report.as_lines())))
    return BAD if report.damage else GOOD


def fsck_bucket(
    bucket: Bucket, *, mend: bool = False, digests: bool = False, tell: Tell = lambda *_: None
) -> Report:
    """Check a bucket, whether daemons run or not; see bucket/check.py. Raises StoreError.

    Without ``digests`` only the sizes of the data are compared.
    """
    begun = time.monotonic()
    found = Check(bucket, digests=digests).run(tell, mend=mend)
    report = Report(bucket.name, found.blobs, found.bytes, found.verified)
    report.unverified = found.blobs + found.kept - found.verified
    report.findings = [
        Finding(Kind(each.kind), each.name, each.location, each.reason, each.mends)
        for each in found.troubles
    ]
    description = bucket.describe()
    if description is not None and description.migrating:
        report.findings.insert(0, _incomplete("store.json", description.migrating))
    report.untold = found.untold
    report.repaired = mend
    report.seconds = time.monotonic() - begun
    return report


def fsck(
    volume: Volume,
    *,
    mend: bool = False,
    tell: Tell = lambda *_: None,
    keeps: Callable[[str], bool] = keeps_nothing,
    period: float = DAY,
) -> Report:
    """Check a volume that is not open yet. With ``mend``, repair it too; without it change nothing.

    ``keeps`` says of a location whether what is dead there is left to the daemon, as history;
    ``period`` is the daemon's --upload-expires.
    Raises VolumeInUse, or VolumeUnusable if it cannot be judged or repaired.
    """
    begun = time.monotonic()
    if mend:
        volume.open()
    else:
        volume.look()
    try:
        report = Report(escape(volume.shown_path))
        if (source := source_of(volume.directory)) is not None:
            report.findings.append(_incomplete(MIGRATING, source))
        found = scan(volume, afresh=True, keeps=keeps)
        _verify(volume, found, report, tell)
        _report(found, report)
        _report_uploads(found, report, period)
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


def _incomplete(name: str, source: str) -> Finding:
    return Finding(
        Kind.INCOMPLETE, name, None, f"{lacking(source)}: go on with gostore migrate", mends=False
    )


def _verify(volume: Volume, found: Findings, report: Report, tell: Tell) -> None:
    """Read the live blobs, and add those with wrong bytes to the scan's damage."""
    # The scan has compared the journal's blobs with the digest of their batch.
    undone = {entry.blob_id for entry in found.undone}
    blobs = sorted(
        (blob for blob in found.live.values() if blob.id not in undone), key=lambda blob: blob.id
    )
    total = sum(blob.size for blob in blobs)
    report.blobs, report.bytes = len(blobs), total
    read = 0

    def add(done: int, length: int) -> None:
        nonlocal read
        read += length
        tell(done, len(blobs), read, total)

    for done, blob in enumerate(blobs):
        try:
            digest = look(compute_digest, volume, blob, partial(add, done))
            if blob.sha256 is not None:
                check_digest(digest, blob)
                report.verified += 1
            else:
                report.unverified += 1
        except (DataDamaged, FileNotFoundError) as error:
            _damaged(found, blob, str(error) or "it is gone")
        except (Unreadable, OutOfReach) as error:
            # A bad sector, say. Another read may succeed some day, but not from the quarantine.
            reason = f"it cannot be read: {strerror_of(error)}"
            finding = Finding(Kind.DAMAGED, str(blob.id), blob.location, reason, mends=False)
            report.findings.append(finding)
        except OSError as error:
            reason = f"{blob.id}: {strerror_of(error)}"
            raise VolumeUnusable(volume.shown_path, reason) from error
        tell(done + 1, len(blobs), read, total)


def _damaged(found: Findings, blob: Committed, reason: str) -> None:
    del found.live[blob.location]
    found.damaged[blob.location] = Damage(blob, str(blob.id))
    found.suspects.append(Suspect(blob.id, reason))


def _report(found: Findings, report: Report) -> None:
    locations = {damage.name: location for location, damage in found.damaged.items()}

    def add(kind: Kind, name: object, reason: str, location: str | None = None) -> None:
        place = location or locations.get(str(name))
        report.findings.append(Finding(kind, str(name), place, reason, kind is not Kind.FOREIGN))

    if found.journal_damage is not None:
        reason = f"{found.journal_damage}: a write or a delete may be lost"
        add(Kind.DAMAGED, ".journal-*", reason)
    for entry in found.undone:
        add(Kind.JOURNAL, entry.blob_id, "to be written again from the journal")
    for blob_id in found.overtaken:
        add(Kind.DEAD, blob_id, "deleted or replaced by what is in the journal")
    for suspect in found.suspects:
        add(Kind.TIE if suspect.is_tie else Kind.DAMAGED, suspect.blob_id, suspect.reason)
    for name in found.quarantined:
        if name in locations:
            reason = "quarantined earlier; its location answers 500 until it is replaced or deleted"
            location = locations[name]
            report.findings.append(Finding(Kind.DAMAGED, name, location, reason, mends=False))
        elif name not in found.obsolete:
            report.findings.append(
                Finding(Kind.QUARANTINED, name, None, "quarantined earlier", mends=False)
            )
    for name, reason in found.unreadable.items():
        reason = f"it cannot be read, and is left as it is: {reason}"
        report.findings.append(
            Finding(Kind.DAMAGED, name, locations.get(name), reason, mends=False)
        )
    for dead in found.dead:
        reason = "deleted" if dead.replaced_by is None else f"replaced by {dead.replaced_by}"
        add(Kind.DEAD, dead.id, reason, dead.location)
    for dead in found.history.values():
        reason = "deleted" if dead.replaced_by is None else f"replaced by {dead.replaced_by}"
        reason += "; the daemon keeps it as history, or removes it"
        report.findings.append(Finding(Kind.DEAD, str(dead.id), dead.location, reason, mends=False))
    for blob in found.pending:
        add(Kind.DEAD, blob.id, "Pending: a crash cut its write short", blob.location)
    for blob_id in found.uncommitted:
        add(Kind.DEAD, blob_id, "it has no state file, and is no blob")
    for name in found.leftover:
        add(Kind.DEAD, name, "left over by a crash")
    for name in found.obsolete:
        add(Kind.DEAD, name, "quarantined earlier; its location has been written since")
    for name in found.foreign:
        add(Kind.FOREIGN, name, found.why_foreign(name))


def _report_uploads(found: Findings, report: Report, period: float) -> None:
    report.uploads = unfinished(found, period)
    for each in report.uploads:
        report.findings.append(
            Finding(Kind.UNFINISHED, each.name, each.location, each.standing, mends=False)
        )


def _repair(volume: Volume, found: Findings, report: Report) -> None:
    unmoved = repair(volume, found)
    left = collect(volume, found.dead).left
    # On a full disk the journal has kept what found no room; there may be some now.
    volume.backlog.finish()
    waiting = {
        str(entry.blob_id)
        for entry in found.undone
        if volume.backlog.applier.state_of(entry.blob_id) is not None
    }
    if volume.broken is not None:
        raise DiskFailed(volume.broken)
    for at, finding in enumerate(report.findings):
        if finding.kind.is_damage and (why := unmoved.get(finding.name)) is not None:
            longer = f"{finding.reason}; not quarantined: {why}"
            report.findings[at] = evolve(finding, reason=longer, mends=False)
        elif finding.kind is Kind.JOURNAL and finding.name in waiting:
            longer = f"{finding.reason}, when there is room for it"
            report.findings[at] = evolve(finding, reason=longer, mends=False)
    for name, reason in left.items():
        _leave(report, name, volume.trash.trashed.get(name), reason)


def _leave(report: Report, name: str, blob_id: int | None, reason: str) -> None:
    """Report something dead as left, perhaps under another ``name`` than the scan found."""
    for at, finding in enumerate(report.findings):
        if finding.kind is Kind.DEAD and finding.name in (name, str(blob_id)):
            where = "left" if finding.name == name else f"left as {name}"
            longer = f"{finding.reason}; {where}: {reason}"
            report.findings[at] = evolve(finding, reason=longer, mends=False)
            return
    report.findings.append(Finding(Kind.DEAD, name, None, f"left: {reason}", mends=False))
