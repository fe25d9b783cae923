"""``gostore migrate``: move all blobs between a directory and a bucket, or between two buckets."""

from __future__ import annotations

import argparse

from gostore.bucket.moving import BucketSource, BucketTarget
from gostore.bucket.place import parse_endpoint, parse_place, parse_region
from gostore.bucket.visiting import Bucket
from gostore.commands.statuses import CONFLICT, DAMAGED, GOOD, SEVERAL
from gostore.commands.terminal import add_bucket, argument, bucket_of, read_directory, verifying
from gostore.daemon.parsers import parse_count
from gostore.migration.directory import DirectorySource, DirectoryTarget
from gostore.migration.ends import Source, Target
from gostore.migration.mover import Options, Report, migrate
from gostore.text import counted, escape, printable
from gostore.volume.changes import Sync
from gostore.volume.volume import Volume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Moves all blobs: from a directory (--dir) to a bucket (--to), from a bucket (--from) to a"
        " directory, or from a bucket to another. The source is left as it is, and no daemon may"
        " serve it. The target is empty, or it has what an interrupted run has moved: run the same"
        " command again, and it goes on. Each blob is compared with its digest. What is damaged is"
        " named and left out (status 8); what the target has and should not have is named and left"
        " alone (status 6)."
    )
    parser.add_argument("--dir", "-d", metavar="DIR", help="the data directory")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="s3://BUCKET/PREFIX",
        type=argument(parse_place),
        help="a bucket",
    )
    parser.add_argument(
        "--to",
        dest="target",
        metavar="s3://BUCKET/PREFIX",
        type=argument(parse_place),
        help="a bucket",
    )
    add_bucket(parser)
    parser.add_argument(
        "--from-s3-endpoint",
        metavar="URL",
        type=argument(parse_endpoint),
        help="the engine of --from, if it is another one than that of --to",
    )
    parser.add_argument(
        "--from-s3-region",
        metavar="NAME",
        type=argument(parse_region),
        help="the region of --from, if it is another one than that of --to",
    )
    parser.add_argument(
        "--from-s3-profile",
        metavar="NAME",
        help="the profile of --from, if it is another one than that of --to",
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=argument(parse_count),
        default=8,
        help="how many blobs are on their way at a time (default: 8)",
    )
    parser.add_argument(
        "--without-history",
        action="store_true",
        help="leave behind what was replaced or deleted, and is kept",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what there is to do")


def run(parsed: argparse.Namespace) -> int:
    """Move, and print what was done."""
    source, target = _ends(parsed)
    options = Options(parsed.jobs, parsed.dry_run, parsed.without_history)
    try:
        with verifying("Looking" if options.dry else "Moving") as move:
            report = migrate(
                source, target, options, lambda done, of, moved: move(done, of, moved, 0)
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("run the same command again, and it goes on") from None
    print("\n".join(map(printable, lines_of(report))))
    return status_of(report)


def _ends(parsed: argparse.Namespace) -> tuple[Source, Target]:
    if sum(each is not None for each in (parsed.dir, parsed.source, parsed.target)) != 2:
        parsed.command.error("say two of --dir, --from and --to")
    source: Source
    target: Target
    if parsed.target is None:
        volume = Volume(read_directory(parsed.dir), sync=Sync.FILES)
        return BucketSource(_from(parsed)), DirectoryTarget(volume)
    to = bucket_of(parsed.target, parsed.s3_endpoint, parsed.s3_region, parsed.s3_profile)
    target = BucketTarget(to)
    if parsed.source is None:
        source = DirectorySource(Volume(read_directory(parsed.dir), make=False))
    else:
        source = BucketSource(_from(parsed))
    if source.name == target.name:
        parsed.command.error("--from and --to are the same")
    return source, target


def _from(parsed: argparse.Namespace) -> Bucket:
    return bucket_of(
        parsed.source,
        parsed.from_s3_endpoint or parsed.s3_endpoint,
        parsed.from_s3_region or parsed.s3_region,
        parsed.from_s3_profile or parsed.s3_profile,
    )


def status_of(report: Report) -> int:
    """The exit status."""
    has_conflicts = bool(report.conflicts or report.changed)
    if has_conflicts and report.damaged:
        return SEVERAL
    if has_conflicts:
        return CONFLICT
    return DAMAGED if report.damaged else GOOD


def lines_of(report: Report) -> list[str]:
    """Everything, for people."""
    lines = [f"damaged: {escape(name)}: {escape(why)}" for name, why in report.damaged.items()]
    lines += [f"conflict: {escape(name)}: {escape(why)}" for name, why in report.conflicts.items()]
    left = [counted(number, what) for what, number in report.left.items()]
    if report.damaged:
        left.append(f"{len(report.damaged)} damaged")
    verb = "To be moved:" if report.dry else "Moved"
    lines.append(
        f"{verb} {counted(report.moved, 'blob')} of {report.bytes} bytes in"
        f" {report.seconds:.1f} seconds; {report.there} of {report.blobs} were there"
        + (f"; and {counted(report.versions, 'kept version')}" if report.versions else "")
        + (f"; left behind: {', '.join(left)}" if left else "")
    )
    if report.changed:
        lines.append(f"{report.source} was written to meanwhile: stop its daemons, and run again")
    if report.complete:
        lines.append(f"{report.target} is complete")
    elif report.dry:
        lines.append("Nothing was changed")
    else:
        lines.append(f"{report.target} is not complete, and no daemon will serve it")
    return lines
