"""The command line of ``gostore``: those for a directory or a bucket, and the client's.

Each command for a directory is a module here with ``add_arguments(parser)`` and ``run(parsed)``,
which returns the exit status. ``gostore`` imports only the one it is told to run. The commands that
ask a daemon are the client's, in client/cli/, and need its libraries.

The exit status of a command for a directory is 0 if all is well, 1 if something is damaged or lost,
2 if it cannot be done. The client has more (docs/client.md). 141: nobody reads the output.
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
from gostore.commands.statuses import CANNOT
from gostore.errors import StoreError
from gostore.text import printable

#: The commands, by the names of their modules.
COMMANDS = {
    "fsck": "verify every blob; no daemon may have the directory, those over a bucket may run",
    "show": "print a blob's record and its log",
    "why": "tell the whole life of a blob in plain words",
    "history": "list the versions of a location",
    "undelete": "bring back what was deleted",
    "expire": "show which blobs have expired, and would be removed",
    "migrate": "move all blobs between a directory and a bucket; no daemon may run",
    "check-config": "say whether a configuration file would be accepted",
    "access": "edit and try out an access file: users, tokens, grants, quotas",
    "selftest": "kill -9 a daemon of its own on a disk, fill that, see that nothing is lost",
    "completion": "print what a shell needs to complete these commands",
}

#: The commands that ask a daemon, as client/cli/ has them.
ASKING = {
    "put": "store files, or all of a directory, at a daemon",
    "get": "fetch a blob, or all below a prefix",
    "cat": "write blobs to stdout",
    "ls": "list blobs",
    "stat": "say what is known of a blob",
    "rm": "delete blobs",
    "mv": "move a blob at the daemon",
    "cp": "copy a blob at the daemon",
    "history": "list the versions of a location; with --dir or --store, without a daemon",
    "restore": "make a version current again",
    "undelete": "bring back what was deleted; with --dir or --store, without a daemon",
    "sync": "make a prefix what a directory is, or the other way round",
    "verify": "read blobs and compare them with their digests",
    "open": "show a blob, or the list, in the browser",
}

#: In the environment when a shell asks what fits, as click's scripts for the shells have it.
COMPLETES = "_GOSTORE_COMPLETE"

#: What to install for them.
_CLIENT = "pip install '.[client]' in a clone of gostore"

#: A shell's status for a program that SIGPIPE has ended.
UNREAD = 128 + signal.SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    if arguments is None:
        arguments = sys.argv[1:]
    try:
        try:
            return _run(arguments)
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
    except KeyboardInterrupt as error:
        # A command may say what to do now.
        print(": ".join(["gostore: interrupted", *map(str, error.args)]), file=sys.stderr)
        # The client says 1 as well, once it is imported.
        return 1 if _asks_a_daemon(arguments) else CANNOT


def _run(arguments: Sequence[str]) -> int:
    try:
        if COMPLETES in os.environ:
            return _complete()
        if _asks_a_daemon(arguments):
            program = import_module("gostore.client.cli.program")
            asked: int = program.run(arguments)
            return asked
        parser = make_parser(arguments)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("gostore"):
            raise
        library = error.name.partition(".")[0]
        text = f"gostore {_chosen(arguments) or ''} needs {library}: {_CLIENT}"
        print(f"gostore: {text}", file=sys.stderr)
        return CANNOT
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        # argparse would show the usage of gostore, not of the command.
        parsed.command.error(f"unrecognized arguments: {' '.join(unknown)}")
    status: int = parsed.run(parsed)
    return status


def _complete() -> int:
    """Tell a shell what fits, of all commands and their options."""
    completion = import_module("gostore.commands.completion")
    found = {name: parser_of(name) for name in COMMANDS}
    status: int = completion.answer(found)
    return status


def parser_of(name: str) -> argparse.ArgumentParser:
    """Describe one of the commands for a directory."""
    parser = argparse.ArgumentParser(prog=f"gostore {name}")
    import_module(f"gostore.commands.{name.replace('-', '_')}").add_arguments(parser)
    return parser


def _asks_a_daemon(arguments: Sequence[str]) -> bool:
    """Whether the client has this command; some are also for a directory or a bucket."""
    chosen = _chosen(arguments)
    is_local = any(each == "-d" or each.startswith(("--dir", "--store")) for each in arguments)
    return chosen in ASKING and not (chosen in COMMANDS and is_local)


def _chosen(arguments: Sequence[str]) -> str | None:
    """The name of the command; no option before it takes a value."""
    return next((each for each in arguments if not each.startswith("-")), None)


def make_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Describe the command line, in full only for the command that the arguments name."""
    parser = argparse.ArgumentParser(
        prog="gostore",
        description="Tools for what twistd gostore serves, and clients of it.",
        epilog=(
            "Exit status: 0 all is well, 1 something is damaged or lost, 2 it cannot be done."
            f" The commands from put on ask a daemon, have more, and need {_CLIENT}."
        ),
    )
    parser.add_argument("--version", action="version", version=f"gostore {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    chosen = _chosen(arguments)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=ASKING.get(name, text))
        if name == chosen:
            module = import_module(f"gostore.commands.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.set_defaults(run=module.run, command=command)
    for name, text in ASKING.items():
        if name not in COMMANDS:
            # Only to be listed.
            commands.add_parser(name, help=text)
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
