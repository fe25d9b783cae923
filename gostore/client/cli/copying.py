"""The commands that copy between files and blobs: put, get and sync."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import click
from attrs import frozen

from gostore.client.address import shown
from gostore.client.cli.files import FileFailed, Found, files_below, path_below, said
from gostore.client.cli.remotes import Target
from gostore.client.cli.report import Report
from gostore.client.cli.session import Session, command
from gostore.client.cli.transfers import Job, Transfers, Upload, blobs_below
from gostore.client.errors import NotFound
from gostore.client.resuming import THRESHOLD
from gostore.client.sources import File, Stream
from gostore.client.values import Blob

_STDIN = "-"

F = TypeVar("F", bound=Callable[..., Any])


def resuming(function: F) -> F:
    """Give a command that uploads files the options for how it resumes that."""
    for option in (
        click.option(
            "--resume-from",
            type=click.IntRange(0),
            default=THRESHOLD,
            show_default=True,
            metavar="BYTES",
            help="Files of so many bytes or more go on where a command was cut off.",
        ),
        click.option("--no-resume", is_flag=True, help="Send each file in one request."),
    ):
        function = option(function)
    return function


def _resume_from(options: Mapping[str, Any]) -> int | None:
    return None if options["no_resume"] else options["resume_from"]


@command("put")
@click.option("--create-only", is_flag=True, help="Fail where there is a blob.")
@click.option("--if-match", metavar="ETAG", help="Replace only the version with this ETag.")
@click.option("--type", "content_type", metavar="TYPE", help="The Content-Type.")
@resuming
@click.argument("sources", metavar="FILE|DIR|-...", nargs=-1, required=True)
@click.argument("target", metavar="URL|:LOCATION")
def put(
    session: Session,
    sources: tuple[str, ...],
    target: str,
    create_only: bool,
    **options: Any,
) -> None:
    """Store files.

    A target that ends with / is a prefix: the file gets its own name below it. What is in a
    directory goes below the target; if there are several sources, below the directory's name there.
    Links below a directory are not followed. `-` is stdin. After an interruption the same command
    goes on with the bytes of a large file that the daemon has already.
    """
    if_match = options["if_match"]
    if create_only and if_match is not None:
        raise click.UsageError("--create-only and --if-match contradict each other")
    where = session.target(target)
    if len(sources) > 1 and not where.is_prefix:
        raise click.UsageError(f"{target} has to end with / for several sources")
    put_one = partial(
        Upload,
        create_only=create_only,
        if_match=quoted(if_match),
        content_type=options["content_type"],
    )
    if _STDIN in sources:
        if len(sources) > 1 or where.is_prefix:
            raise click.UsageError("stdin is one source, and needs the whole location")
        _put_stdin(session, where, put_one(Found(_STDIN, _STDIN), where.location))
        return
    with session.client(where, _resume_from(options)) as client, session.report.bars() as bars:
        transfers = Transfers(client, session.report, bars)
        jobs = (
            (location, partial(transfers.send, put_one(found, location)))
            for found, location in _sent(session.report, sources, where)
        )
        transfers.run(jobs, session.jobs)


def _put_stdin(session: Session, where: Target, upload: Upload) -> None:
    fields = {} if upload.content_type is None else {"Content-Type": upload.content_type}
    with (
        session.client(where) as client,
        session.report.bars() as bars,
        bars.transfer(where.location, None) as moved,
    ):
        blob = client.put(
            where.location,
            Stream(sys.stdin.buffer, moved),
            fields,
            create_only=upload.create_only,
            if_match=upload.if_match,
        )
    session.report.done("stored", where.location, etag=blob.etag)


def _sent(report: Report, sources: tuple[str, ...], where: Target) -> Iterator[tuple[Found, str]]:
    """The files to send, each with its location; what cannot be sent is reported."""
    for source in sources:
        name = os.path.basename(os.path.abspath(source))
        if not os.path.isdir(source):
            location = where.location + name if where.is_prefix else where.location
            size = os.path.getsize(source) if os.path.isfile(source) else 0
            yield Found(source, name, size), location
            continue
        below = where.location + (f"{name}/" if len(sources) > 1 else "")
        if below and not below.endswith("/"):
            below += "/"
        for found in _files(report, source):
            yield found, below + found.relative


def _files(report: Report, directory: str) -> Iterator[Found]:
    """The files below a directory that can be sent; the others are reported."""
    try:
        for found in files_below(directory):
            if found.reason is not None:
                report.failed(found.relative, FileFailed(found.reason))
            else:
                yield found
    except OSError as error:
        report.failed(directory, FileFailed(said(error)))


@command("get")
@click.option("--version", type=click.IntRange(0), metavar="G", help="A version from the history.")
@click.argument("source", metavar="URL|:LOCATION")
@click.argument("target", metavar="[FILE|DIR|-]", required=False)
def get(session: Session, source: str, target: str | None, version: int | None) -> None:
    """Fetch a blob into a file, or all blobs below a prefix into a directory.

    A source that ends with / is a prefix. Without a target the file gets the last part of the
    location for a name. A file appears under its name when it is whole and verified, and not
    before; `-` is stdout.
    """
    where = session.target(source)
    if target == _STDIN:
        blob = session.blob(source)
        with session.client(blob) as client:
            for piece in client.get(blob.location, version=version):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        return
    name = where.location.rstrip("/").rpartition("/")[2]
    with session.client(where) as client, session.report.bars() as bars:
        transfers = Transfers(client, session.report, bars)
        if where.is_prefix:
            if version is not None:
                raise click.UsageError("A version is one of a blob, and not of a prefix")
            directory = target or name or "."
            jobs: Iterable[Job] = (
                (blob.location, partial(_get_below, transfers, blob, where, directory))
                for blob in blobs_below(client, where.location, session.report)
            )
        else:
            path = path_below(".", name) if target is None else target
            if target is not None and os.path.isdir(target):
                path = path_below(target, name)
            jobs = [(where.location, partial(transfers.fetch, where.location, path, version))]
        transfers.run(jobs, session.jobs)


def _get_below(transfers: Transfers, blob: Blob, where: Target, directory: str) -> None:
    relative = blob.location.removeprefix(where.location)
    transfers.fetch(blob.location, path_below(directory, relative))


@command("sync")
@click.option("--delete", "deletes", is_flag=True, help="Delete what the source lacks.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only what matches one of these.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Nothing that matches one of these.")
@resuming
@click.argument("source", metavar="DIR|URL|:PREFIX")
@click.argument("target", metavar="DIR|URL|:PREFIX")
def sync(
    session: Session, source: str, target: str, include: tuple[str, ...], **options: Any
) -> None:
    """Make a prefix what a directory is, or the other way round; only what differs is sent.

    Files and blobs are compared by their digests. Blobs that somebody else changes meanwhile are
    neither replaced nor deleted. GLOBs match the whole name below DIR, and * matches / as well.
    What they leave out is not deleted either.
    """
    knows = session.remotes.knows
    if knows(source) == knows(target):
        raise click.UsageError("One of both has to be a directory, and the other URL|:PREFIX")
    is_up = knows(target)
    where = session.target(target if is_up else source)
    if where.location and not where.is_prefix:
        where = Target(where.address, f"{where.location}/")
    with session.client(where, _resume_from(options)) as client, session.report.bars() as bars:
        transfers = Transfers(client, session.report, bars)
        syncing = _Syncing(
            transfers,
            session.report,
            where,
            source if is_up else target,
            Names(include, options["exclude"]),
            options["dry_run"],
        )
        jobs = syncing.up if is_up else syncing.down
        transfers.run(jobs(options["deletes"]), session.jobs)


@frozen
class Names:
    """Which names are meant: those that match ``include``, if it has any, and not ``exclude``."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        if any(fnmatch.fnmatchcase(name, each) for each in self.exclude):
            return False
        return not self.include or any(fnmatch.fnmatchcase(name, each) for each in self.include)


@frozen
class _Syncing:
    """Compares a directory with a prefix, and makes jobs of what differs."""

    transfers: Transfers
    report: Report
    where: Target
    directory: str
    names: Names
    is_dry: bool

    def _blobs(self) -> dict[str, Blob]:
        prefix = self.where.location
        listed = self.transfers.client.ls(prefix)
        below = ((blob.location.removeprefix(prefix), blob) for blob in listed)
        return {name: blob for name, blob in below if name in self.names}

    def up(self, deletes: bool) -> Iterator[Job]:
        """The jobs that make the prefix what the directory is."""
        blobs = self._blobs()
        seen = set()
        # A directory that is not there must not count as an empty one.
        if not os.path.isdir(self.directory):
            raise FileFailed(f"{shown(self.directory)} is not a directory")
        for found in files_below(self.directory):
            seen.add(found.relative)
            if found.relative not in self.names:
                continue
            if found.reason is not None:
                self.report.failed(found.relative, FileFailed(found.reason))
                continue
            location = self.where.location + found.relative
            yield location, partial(self._send, found, location, blobs.get(found.relative))
        if self.report.status and deletes:
            raise FileFailed("Nothing is deleted, because not all of the source could be read")
        for name, blob in blobs.items():
            if deletes and name not in seen:
                yield blob.location, partial(self._delete, blob)

    def _send(self, found: Found, location: str, blob: Blob | None) -> None:
        same = blob.sha256 if blob is not None and blob.size == found.size else None
        if self.is_dry:
            if same is None or same != _digest(found.path):
                self.report.done("would store", location)
            return
        is_new = blob is None
        etag = None if blob is None else blob.etag
        self.transfers.send(Upload(found, location, is_new, etag, unless=same))

    def _delete(self, blob: Blob) -> None:
        if not self.is_dry:
            self.transfers.client.delete(blob.location, if_match=blob.etag)
        self.report.done("would delete" if self.is_dry else "deleted", blob.location)

    def down(self, deletes: bool) -> Iterator[Job]:
        """The jobs that make the directory what the prefix is."""
        blobs = self._blobs()
        if deletes and not blobs:
            # A name that is mistyped must not empty the directory.
            prefix = self.where.location or "The daemon"
            raise NotFound(f"{prefix} has no blob; nothing is deleted")
        for name, blob in blobs.items():
            yield blob.location, partial(self._fetch, name, blob)
        if deletes and os.path.isdir(self.directory):
            for found in files_below(self.directory):
                is_meant = found.reason is None and found.relative in self.names
                if is_meant and found.relative not in blobs:
                    yield found.relative, partial(self._unlink, found)

    def _fetch(self, name: str, blob: Blob) -> None:
        path = path_below(self.directory, name)
        has_size = os.path.isfile(path) and os.path.getsize(path) == blob.size
        if has_size and _digest(path) == blob.sha256:
            return
        if self.is_dry:
            self.report.done("would fetch", blob.location)
        else:
            self.transfers.fetch(blob.location, path)

    def _unlink(self, found: Found) -> None:
        try:
            if not self.is_dry:
                os.unlink(found.path)
        except OSError as error:
            raise FileFailed(said(error)) from error
        self.report.done("would delete" if self.is_dry else "deleted", found.relative)


def _digest(path: str) -> str:
    try:
        return File(path).sha256
    except OSError as error:
        raise FileFailed(said(error)) from error


def quoted(etag: str | None) -> str | None:
    """An ETag as the field has it: its quotes get lost in many shells."""
    if etag is None or etag.startswith(('"', "W/")) or etag == "*":
        return etag
    return f'"{etag}"'
