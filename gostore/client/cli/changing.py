"""The commands that change what is at the daemon: rm."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import click
from attrs import frozen

from gostore.client.blocking import Client
from gostore.client.cli.copying import quoted
from gostore.client.cli.remotes import Target
from gostore.client.cli.report import Report
from gostore.client.cli.session import Session, command
from gostore.client.cli.transfers import Job, Transfers


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
            for blob in self.client.ls(place.location):
                yield blob.location, partial(self._delete, blob.location)
        else:
            yield place.location, partial(self._delete, place.location)

    def _delete(self, location: str) -> None:
        self.client.delete(location, if_match=self.if_match)
        self.report.done("deleted", location)
