"""The command line of ``gostore``: check a data directory, look into it, try the disk under it.

Each command is a module here with ``add_arguments(parser)`` and ``run(parsed)``, which returns the
exit status. ``gostore`` imports only the one it is told to run.

The exit status is 0 if all is well, 1 if something is damaged or lost, 2 if it cannot be done, and
141 if nobody reads the output.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from gostore import __version__
from gostore.commands.terminal import CANNOT
from gostore.errors import StoreError
from gostore.text import printable

#: The commands, by the names of their modules.
COMMANDS = {
    "fsck": "verify every blob; no daemon may run",
    "show": "print a blob's record and its log",
    "check-config": "say whether a configuration file would be accepted",
    "access": "edit and try out an access file: users, tokens, grants, quotas",
    "selftest": "kill -9 a daemon of its own on a disk, fill that, see that nothing is lost",
}

#: A shell's status for a program that SIGPIPE has ended.
UNREAD = 128 + signal.SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            # A failure to write must show here, not when Python ends.
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


def _run(arguments: Sequence[str]) -> int:
    parsed, unknown = make_parser(arguments).parse_known_args(arguments)
    if unknown:
        # argparse would show the usage of gostore, not of the command.
        parsed.command.error(f"unrecognized arguments: {' '.join(unknown)}")
    status: int = parsed.run(parsed)
    return status


def make_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Describe the command line, in full only for the command that the arguments name."""
    parser = argparse.ArgumentParser(
        prog="gostore",
        description="Tools for the directories that twistd gostore serves, and its access file.",
        epilog="Exit status: 0 all is well, 1 something is damaged or lost, 2 it cannot be done.",
    )
    parser.add_argument("--version", action="version", version=f"gostore {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    # No option before the command takes a value.
    chosen = next((each for each in arguments if not each.startswith("-")), None)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name == chosen:
            module = import_module(f"gostore.commands.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.set_defaults(run=module.run, command=command)
    return parser


def _hush() -> None:
    """Let Python end without another attempt to write, which would fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reason(error: Exception) -> str:
    """An error for people."""
    if isinstance(error, OSError) and error.strerror:
        return (
            f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror
        )
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
