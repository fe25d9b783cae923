"""The command line of ``gostore``: check a data directory, look into it, try the disk under it.

The exit status is 0 if all is well, 1 if something is damaged or lost, 2 for what cannot be done.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gostore import __version__
from gostore.errors import StoreError
from gostore.fsck import fsck
from gostore.selftest import Trial
from gostore.settings import printable
from gostore.show import show
from gostore.volume import Volume

GOOD, BAD, CANNOT = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    parsed = parser().parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except (StoreError, OSError) as error:
        print(f"gostore: {printable(str(error))}", file=sys.stderr)
        return CANNOT
    except KeyboardInterrupt:
        print("gostore: interrupted", file=sys.stderr)
        return CANNOT
    return status


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
    check.set_defaults(run=run_fsck)

    look = commands.add_parser("show", help="print a blob's record and its log")
    look.add_argument("--dir", "-d", required=True, help="the data directory")
    look.add_argument("blob", metavar="ID|LOCATION", help="which blob")
    look.set_defaults(run=run_show)

    trial = commands.add_parser(
        "selftest", help="kill -9 a daemon of its own, fill its disk, see that nothing is lost"
    )
    trial.add_argument(
        "--crash",
        metavar="DIR",
        required=True,
        help="a directory on the disk to try; a new one is made, and removed, under it",
    )
    trial.add_argument("--seconds", type=positive, default=20.0, help="how long [default: 20]")
    trial.add_argument("--kills", type=count, default=20, help="at most so many [default: 20]")
    trial.add_argument("--seed", type=int, help="of the random choices")
    trial.set_defaults(run=run_selftest)
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


def volume(directory: str) -> Volume:
    """The volume in a directory."""
    return Volume(os.path.abspath(directory))


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
    print("\n".join(show(volume(parsed.dir), parsed.blob)))
    return GOOD


def run_selftest(parsed: argparse.Namespace) -> int:
    """Try the disk, and print the verdict."""
    verdict = Trial(parsed.crash, parsed.seconds, parsed.kills, parsed.seed).run()
    print("\n".join(map(printable, verdict.as_lines())))
    return GOOD if verdict.good else BAD


if __name__ == "__main__":
    sys.exit(main())
