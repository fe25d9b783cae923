"""What all commands share: readers of arguments, and progress on a terminal.

Progress needs rich (``pip install '.[cli]'``). Without it, or without a terminal on stderr,
the commands are silent until they are done.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from gostore.blob import check_location
from gostore.bucket.connecting import connect, named
from gostore.bucket.place import Place, parse_endpoint, parse_place, parse_region
from gostore.bucket.visiting import Bucket
from gostore.daemon.parsers import absolute, parse_text
from gostore.errors import VolumeUnusable

T = TypeVar("T")


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Make a type for argparse of a parser: argparse shows only an ArgumentTypeError's reason."""

    def read(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def add_blob(
    parser: argparse.ArgumentParser, metavar: str, what: str, nargs: str | None = None
) -> None:
    """Let a command name a directory or a bucket, and a blob in it by its id or its location."""
    add_place(parser)
    parser.add_argument(
        "--location",
        action="store_true",
        help="look for a location, even if the name looks like an id",
    )
    parse = argument(parse_text)
    parser.add_argument("blob", metavar=metavar, type=parse, help=what, nargs=nargs)


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Let a command be told where the blobs are, and how to print; else the client has it."""
    add_place(parser, "; without it a daemon is asked")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each result")


def target_of(text: str) -> str:
    """A location or a prefix, perhaps after a colon, as the client has it. Raises ValueError."""
    target = parse_text(text).removeprefix(":")
    if target:
        check_location(target.removesuffix("/"))
    return target


def location_of(text: str) -> str:
    """A location, perhaps after a colon. Raises ValueError."""
    location = target_of(text)
    if not location or location.endswith("/"):
        raise ValueError(f"{text} is no blob, but a prefix")
    return location


def read_directory(text: str) -> str:
    """The absolute path of a directory. Raises VolumeUnusable."""
    try:
        return absolute(text)
    except ValueError as error:
        raise VolumeUnusable(text, str(error)) from error


def bucket_named(parsed: argparse.Namespace) -> Bucket:
    """The bucket that ``--store`` names. Raises VolumeUnusable if its library is missing."""
    return bucket_of(parsed.store, parsed.s3_endpoint, parsed.s3_region, parsed.s3_profile)


def bucket_of(
    place: Place, endpoint: str | None, region: str | None, profile: str | None
) -> Bucket:
    """Describe a bucket. Raises VolumeUnusable if its library or its profile is missing."""
    name = str(place) if endpoint is None else f"{place} at {endpoint}"
    bucket = Bucket(connect(place, endpoint, region, profile), name)
    # Its own name stays as it was: a migration that has begun knows it.
    bucket.ask.name = named(place, endpoint)
    return bucket


def add_place(parser: argparse.ArgumentParser, otherwise: str = "") -> None:
    """Let a command be told where the blobs are: in a directory, or in a bucket."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dir", "-d", help=f"the data directory{otherwise}")
    what.add_argument(
        "--store",
        metavar="s3://BUCKET/PREFIX",
        type=argument(parse_place),
        help="the bucket, and the prefix",
    )
    add_bucket(parser)


def add_bucket(parser: argparse.ArgumentParser) -> None:
    """Let a command say how a bucket is reached."""
    parser.add_argument(
        "--s3-endpoint", metavar="URL", type=argument(parse_endpoint), help="the bucket's engine"
    )
    parser.add_argument(
        "--s3-region", metavar="NAME", type=argument(parse_region), help="the bucket's region"
    )
    parser.add_argument(
        "--s3-profile",
        metavar="NAME",
        help="the profile in ~/.aws that has the credentials, in place of the environment's",
    )


Move = Callable[[int, int, int, int], None]
"""Moves a bar: blobs and bytes done, each of how many; of 0 bytes if nobody knows."""


@contextmanager
def verifying(what: str = "Verifying") -> Iterator[Move]:
    """Show a bar; give the function that moves it."""
    try:
        from rich.console import Console
        from rich.filesize import decimal
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        yield lambda blobs, of_blobs, done, of_bytes: None
        return
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("Reading the records", total=None, done="")

        def move(blobs: int, of_blobs: int, done: int, of_bytes: int) -> None:
            of = f" of {decimal(of_bytes)}" if of_bytes else ""
            progress.update(
                task,
                description=what,
                completed=done if of_bytes else blobs,
                total=of_bytes or of_blobs,
                done=f"{blobs}/{of_blobs} blobs, {decimal(done)}{of}",
            )

        yield move


@contextmanager
def step(text: str) -> Iterator[Callable[[str], None]]:
    """Show a step that is being done; give the function that changes its text."""
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        yield lambda text: None
        return
    with Console(stderr=True).status(text) as status:
        yield lambda text: status.update(text)
