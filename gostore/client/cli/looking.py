"""The commands that look: ls, stat, cat, verify and open."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial

import click
from attrs import frozen
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from gostore.client.address import shown
from gostore.client.blocking import Client
from gostore.client.cli.remotes import Target
from gostore.client.cli.report import Bars, Report
from gostore.client.cli.session import Session, command
from gostore.client.cli.transfers import Job, Transfers, blobs_below
from gostore.client.errors import ClientError
from gostore.client.values import Blob


@command("ls")
@click.option("-r", "--recursive", is_flag=True, help="List all that is below, not only prefixes.")
@click.argument("target", metavar="[URL|:PREFIX]", default=":")
def ls(session: Session, target: str, recursive: bool) -> None:
    """List blobs.

    A prefix that ends with / lists what is right below it, and any other what begins with it. A
    terminal gets sizes and times, and a pipe the locations alone, one in each line.
    """
    where = session.target(target)
    with session.client(where) as client:
        found = client.ls(where.location) if recursive else client.ls_directory(where.location)
        if session.report.as_json:
            for entry in found:
                session.report.data({"prefix": entry} if isinstance(entry, str) else _data(entry))
        elif sys.stdout.isatty():
            _show(found)
        else:
            for entry in found:
                print(entry if isinstance(entry, str) else entry.location)


def _show(entries: Iterator[Blob | str]) -> None:
    """A table for people; nothing in a name is a command to the terminal."""
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column(overflow="fold")
    for entry in entries:
        if isinstance(entry, str):
            table.add_row("", "", Text(shown(entry), style="bold blue"))
            continue
        when = f"{entry.modified:%Y-%m-%d %H:%M:%S}" if entry.modified else ""
        style = "red" if entry.is_damaged else ""
        name = Text(shown(entry.location) + ("  (damaged)" if entry.is_damaged else ""), style)
        table.add_row(decimal(entry.size), when, name)
    console.print(table)


@command("stat")
@click.argument("targets", metavar="URL|:LOCATION...", nargs=-1, required=True)
def stat(session: Session, targets: tuple[str, ...]) -> None:
    """Say what is known of blobs: size, time, type, digest, and what was kept with them."""
    for where in [session.blob(each) for each in targets]:
        with session.client(where) as client:
            blob = client.stat(where.location)
        if session.report.as_json:
            session.report.data(_data(blob))
            continue
        for name, text in _data(blob).items():
            if isinstance(text, dict):
                for key, value in text.items():
                    print(f"{shown(key)}: {shown(value)}")
            elif text is not None and text is not False:
                print(f"{name}: {shown(str(text))}")


def _data(blob: Blob) -> dict[str, object]:
    """A blob for programs."""
    return {
        "location": blob.location,
        "size": blob.size,
        "etag": blob.etag,
        "modified": blob.modified,
        "content_type": blob.content_type,
        "metadata": dict(blob.metadata),
        "expires": blob.expires,
        "damaged": blob.is_damaged,
    }


@command("cat")
@click.argument("targets", metavar="URL|:LOCATION...", nargs=-1, required=True)
def cat(session: Session, targets: tuple[str, ...]) -> None:
    """Write blobs to stdout.

    What comes is verified at its end only. So the exit status says whether it was right: a program
    that must not use bytes that are wrong should get a file.
    """
    for where in [session.blob(each) for each in targets]:
        with session.client(where) as client, client.get(where.location) as download:
            for piece in download:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


@command("verify")
@click.argument("targets", metavar="URL|:PREFIX...", nargs=-1, required=True)
def verify(session: Session, targets: tuple[str, ...]) -> None:
    """Read blobs and compare each with its digest.

    A target that ends with / stands for all blobs below it. Nothing is kept. The exit status is 8
    if one is damaged, and 5 if there is none.
    """
    for where in [session.target(each) for each in targets]:
        with session.client(where) as client, session.report.bars() as bars:
            verifying = _Verifying(client, session.report, bars)
            transfers = Transfers(client, session.report, bars)
            transfers.run(verifying.jobs(where), session.jobs)


@frozen
class _Verifying:
    """Reads blobs to their end."""

    client: Client
    report: Report
    bars: Bars

    def jobs(self, where: Target) -> Iterator[Job]:
        """One job for each blob."""
        if not where.is_prefix:
            yield where.location, partial(self._verify, where.location)
            return
        for blob in blobs_below(self.client, where.location, self.report):
            yield blob.location, partial(self._verify, blob.location)

    def _verify(self, location: str) -> None:
        with self.client.get(location) as download:
            size = download.blob.size
            with self.bars.transfer(location, size) as moved:
                for _ in download:
                    moved(download.offset)
        self.report.done("verified", location, size=download.offset)


@command("open")
@click.argument("target", metavar="URL|:LOCATION")
def open_(session: Session, target: str) -> None:
    """Show a blob, or the page of a prefix, in the browser."""
    where = session.target(target)
    base = where.address.of(None)
    location = where.location
    if where.is_prefix and location:
        # The page of a directory, whose path ends with a slash.
        location, base = "", f"{where.address.of(location.rstrip('/'))}/"
    url = where.address.of(location) if location else base
    if click.launch(url):
        raise ClientError(f"No browser was found; the URL is {url}")
    session.report.done("opened", url)
