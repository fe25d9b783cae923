"""The commands that change what is at the daemon: rm, cp, mv, restore, undelete; and history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import click
from attrs import frozen

from gostore.client.address import shown
from gostore.client.blocking import Client
from gostore.client.cli.copying import quoted
from gostore.client.cli.remotes import Target
from gostore.client.cli.report import Report
from gostore.client.cli.session import Session, command
from gostore.client.cli.transfers import Job, Transfers, blobs_below
from gostore.client.errors import AlreadyExists, NotFound


@command("rm")
@click.option("-r", "--recursive", is_flag=True, help="Delete all that is below a prefix.")
@click.option("--if-match", metavar="ETAG", help="Delete only the version with this ETag.")
@click.argument("targets", metavar="URL|:LOCATION...", nargs=-1, required=True)
def rm(session: Session, targets: tuple[str, ...], recursive: bool, if_match: str | None) -> None:
    """Delete blobs.

    With -r a target that ends with / stands for all blobs below it.
    """
    places = [session.target(each) for each in targets]
    if any(place.is_prefix for place in places) and not recursive:
        raise click.UsageError("To delete all that is below a prefix, say -r")
    if if_match is not None and (len(places) > 1 or places[0].is_prefix):
        raise click.UsageError("--if-match is about one blob")
    for place in places:
        with session.client(place) as client, session.report.bars() as bars:
            deleting = _Deleting(client, session.report, quoted(if_match))
            Transfers(client, session.report, bars).run(deleting.jobs(place), session.jobs)


@frozen
class _Deleting:
    """Deletes blobs."""

    client: Client
    report: Report
    if_match: str | None

    def jobs(self, place: Target) -> Iterator[Job]:
        """One job for each blob."""
        if place.is_prefix:
            for blob in blobs_below(self.client, place.location, self.report):
                yield blob.location, partial(self._delete, blob.location)
        else:
            yield place.location, partial(self._delete, place.location)

    def _delete(self, location: str) -> None:
        self.client.delete(location, if_match=self.if_match)
        self.report.done("deleted", location)


@command("cp")
@click.option("--create-only", is_flag=True, help="Fail where there is a blob.")
@click.argument("source", metavar="URL|:LOCATION")
@click.argument("target", metavar="URL|:LOCATION")
def cp(session: Session, source: str, target: str, create_only: bool) -> None:
    """Copy a blob at the daemon, with its type and metadata; no byte of it comes here.

    A target that ends with / is a prefix: the copy gets the last part of the source's location.
    """
    here, there = _both(session, source, target)
    with session.client(here) as client:
        client.copy(here.location, there, create_only=create_only)
    session.report.done("copied", here.location, to=there)


@command("mv")
@click.option("--create-only", is_flag=True, help="Fail where there is a blob.")
@click.argument("source", metavar="URL|:LOCATION")
@click.argument("target", metavar="URL|:LOCATION")
def mv(session: Session, source: str, target: str, create_only: bool) -> None:
    """Move a blob at the daemon: copy it, and delete the source unless that has changed meanwhile.

    The blob is at its source, then at both, then at the target: never at neither.
    """
    here, there = _both(session, source, target)
    with session.client(here) as client:
        client.move(here.location, there, create_only=create_only)
    session.report.done("moved", here.location, to=there)


def _both(session: Session, source: str, target: str) -> tuple[Target, str]:
    """A blob, and another location at the same daemon."""
    here, there = session.blob(source), session.target(target)
    if here.address != there.address:
        raise click.UsageError("Both have to be at one daemon: get from one and put to the other")
    name = here.location.rpartition("/")[2]
    return here, there.location + (name if there.is_prefix else "")


@command("history")
@click.argument("target", metavar="URL|:LOCATION")
def history(session: Session, target: str) -> None:
    """List the versions of a location, newest first: its number, size, time, and what ended it.

    With --dir DIR or --store s3://BUCKET/PREFIX it looks there itself, without a daemon.
    """
    where = session.blob(target)
    with session.client(where) as client:
        for each in client.history(where.location):
            if session.report.as_json:
                session.report.data(dict(each.fields))
                continue
            line = f"{each.version}: {each.size} bytes, {_time(each.fields, 'created')}"
            if each.ended_by is not None:
                line += f", {each.ended_by} {_time(each.fields, 'ended')}"
            print(shown(line))


def _time(fields: object, name: str) -> str:
    found = fields.get(name) if isinstance(fields, Mapping) else None
    return str(found.get("time", "")) if isinstance(found, Mapping) else ""


@command("restore")
@click.option("--version", type=click.IntRange(0), required=True, metavar="G", help="From history.")
@click.option("--if-match", metavar="ETAG", help="Only in place of the version with this ETag.")
@click.argument("target", metavar="URL|:LOCATION")
def restore(session: Session, target: str, version: int, if_match: str | None) -> None:
    """Make a version of a blob current again."""
    where = session.blob(target)
    with session.client(where) as client:
        client.restore(where.location, version, if_match=quoted(if_match))
    session.report.done("restored", where.location, version=version)


@command("undelete")
@click.argument("targets", metavar="URL|:LOCATION...", nargs=-1, required=True)
def undelete(session: Session, targets: tuple[str, ...]) -> None:
    """Bring back what was deleted, as long as its history is kept.

    A target that ends with / stands for all that was deleted below it. With --dir DIR or --store
    s3://BUCKET/PREFIX it works there itself, without a daemon.
    """
    for place in [session.target(each) for each in targets]:
        with session.client(place) as client, session.report.bars() as bars:
            undeleting = _Undeleting(client, session.report)
            Transfers(client, session.report, bars).run(undeleting.jobs(place), session.jobs)


@frozen
class _Undeleting:
    """Restores the newest version of what has none that is current."""

    client: Client
    report: Report

    def jobs(self, place: Target) -> Iterator[Job]:
        """One job for each location."""
        if place.is_prefix:
            has_any = False
            for each in self.client.deleted(place.location):
                has_any = True
                yield each.location, partial(self._restore, each.location, each.version)
            if not has_any:
                text = f"Nothing below {place.location or 'the root'} is deleted"
                self.report.failed(place.location, NotFound(text))
        else:
            yield place.location, partial(self._undelete, place.location)

    def _undelete(self, location: str) -> None:
        newest = next(self.client.history(location), None)
        if newest is None:
            raise NotFound(f"Nothing is known of {location}")
        if newest.ended_by is None:
            raise AlreadyExists(f"{location} is not deleted")
        self._restore(location, newest.version)

    def _restore(self, location: str, version: int) -> None:
        self.client.restore(location, version)
        self.report.done("restored", location, version=version)
