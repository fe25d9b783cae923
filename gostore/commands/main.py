"""The command line of ``gostore``: check a data directory, look into it, try the disk under it.

The exit status is 0 if all is well, 1 if something is damaged or lost, 2 for what cannot be done,
and 141 if nobody reads what is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gostore import __version__
from gostore.commands.fsck import fsck
from gostore.commands.selftest import REST, Trial
from gostore.commands.show import show
from gostore.daemon.parsers import absolute
from gostore.errors import StoreError, VolumeUnusable
from gostore.text import printable
from gostore.volume.volume import Volume

GOOD, BAD, CANNOT = 0, 1, 2
#: What a shell makes of a program that SIGPIPE has ended.
UNREAD = 128 + signal.SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    try:
        try:
            return _run(arguments)
        finally:
            # What cannot be written is to be known here, not when Python ends.
            print(end="", flush=True)
    except BrokenPipeError:
        # head(1), say, has seen enough.
        _hush()
        return UNREAD
    except (StoreError, OSError) as error:
        if isinstance(error, OSError):
            _hush()
        print(f"gostore: {printable(_reason(error))}", file=sys.stderr)
        return CANNOT
    except KeyboardInterrupt:
        print("gostore: interrupted", file=sys.stderr)
        return CANNOT


def _run(arguments: Sequence[str] | None) -> int:
    parsed, unknown = parser().parse_known_args(arguments)
    if unknown:
        # argparse would show the usage of gostore, not of the command.
        parsed.command.error(f"unrecognized arguments: {' '.join(unknown)}")
    status: int = parsed.run(parsed)
    return status


def _hush() -> None:
    """Let Python end without writing what it has not written yet, which would fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reason(error: Exception) -> str:
    """An error for people."""
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror
        )
    return str(error)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(
        prog="gostore",
        description="Tools for the directories that twistd gostore serves.",
        epilog="Exit status: 0 all is well, 1 something is damaged or lost, 2 it cannot be done.",
    )
    made.add_argument("--version", action="version", version=f"gostore {__version__}")
    commands = made.add_subparsers(metavar="COMMAND", required=True)

    check = commands.add_parser("fsck", help="verify every blob; no daemon may run")
    check.add_argument("--dir", "-d", required=True, help="the data directory")
    check.add_argument(
        "--repair",
        action="store_true",
        help="set aside what is damaged, remove what is dead; else nothing is changed",
    )
    check.add_argument("--json", action="store_true", help="print what is found as JSON")
    check.set_defaults(run=run_fsck, command=check)

    look = commands.add_parser("show", help="print a blob's record and its log")
    look.add_argument("--dir", "-d", required=True, help="the data directory")
    look.add_argument(
        "--location",
        action="store_true",
        help="what is named is a location, even if it looks like an id",
    )
    look.add_argument(
        "blob",
        metavar="ID|LOCATION",
        type=name,
        help="which blob; a number is an id if any blob bears it, else a location; "
        "the name of what was set aside will do, too, as fsck prints it",
    )
    look.set_defaults(run=run_show, command=look)

    trial = commands.add_parser(
        "selftest",
        help="kill -9 a daemon of its own on a disk, fill that, see that nothing is lost",
        description="Kill a daemon of its own over and over (kill -9), fill its disk, and see that "
        "nothing is lost. This tries gostore on a disk. It cuts no power: that the disk keeps what "
        "fsync has flushed is believed.",
    )
    trial.add_argument(
        "--crash",
        metavar="DIR",
        required=True,
        help="a directory on the disk to try; a new one is made, and removed, under it",
    )
    trial.add_argument(
        "--seconds",
        type=positive,
        default=20.0,
        help=f"how long it kills [default: 20]; the rest takes about {REST} seconds",
    )
    trial.add_argument("--kills", type=count, default=20, help="at most so many [default: 20]")
    trial.add_argument("--seed", type=int, help="of the random choices")
    trial.set_defaults(run=run_selftest, command=trial)
    return made


def positive(text: str) -> float:
    """Read a number of seconds. Raises ValueError."""
    value = float(text)
    if not 0 < value <= 86400:
        raise ValueError(text)
    return value


def count(text: str) -> int:
    """Read a whole number, 0 or more. Raises ValueError."""
    value = int(text)
    if not 0 <= value <= 1_000_000:
        raise ValueError(text)
    return value


def name(text: str) -> str:
    """Read what has a name. Raises ArgumentTypeError."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def volume(directory: str) -> Volume:
    """The volume in a directory."""
    return Volume(place(directory))


def place(directory: str) -> str:
    """The absolute path of a directory. Raises VolumeUnusable."""
    try:
        return absolute(directory)
    except ValueError as error:
        raise VolumeUnusable(directory, str(error)) from error


def run_fsck(parsed: argparse.Namespace) -> int:
    """Check, and show how far it is where there is somebody to see it."""
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

        def tell(blobs: int, of_blobs: int, done: int, of_bytes: int) -> None:
            text = f"{blobs}/{of_blobs} blobs, {decimal(done)} of {decimal(of_bytes)}"
            progress.update(
                task, description="Verifying", completed=done, total=of_bytes, done=text
            )

        report = fsck(volume(parsed.dir), mend=parsed.repair, tell=tell)
    if parsed.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("\n".join(map(printable, report.as_lines())))
    return BAD if report.damage else GOOD


def run_show(parsed: argparse.Namespace) -> int:
    """Print what there is to say of one blob."""
    print("\n".join(show(volume(parsed.dir), parsed.blob, location=parsed.location)))
    return GOOD


def run_selftest(parsed: argparse.Namespace) -> int:
    """Try the disk, show how far it is where there is somebody to see it, and print the verdict."""
    console = Console(stderr=True)
    long = f"about {parsed.seconds + REST:.0f} seconds in all"
    # Nothing is shown, and nothing written, where there is no terminal.
    with console.status(f"Starting ({long})") as status:

        def tell(text: str) -> None:
            status.update(f"{text} ({long})")

        trial = Trial(place(parsed.crash), parsed.seconds, parsed.kills, parsed.seed)
        verdict = trial.run(tell)
    print("\n".join(map(printable, verdict.as_lines())))
    return GOOD if verdict.good else BAD


if __name__ == "__main__":
    sys.exit(main())
