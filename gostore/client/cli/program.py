"""The commands that ask a daemon, as one program; its exit statuses are those of errors.py."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import click

from gostore.client.cli import changing, copying, looking
from gostore.client.cli.session import program

__all__ = ["changing", "copying", "looking", "program", "run"]

USAGE = 2
"""The exit status for arguments that make no sense."""


def run(arguments: Sequence[str]) -> int:
    """Run a command; return the exit status. Raises KeyboardInterrupt."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        status: int | None = program.main(
            args=list(arguments), prog_name="gostore", standalone_mode=False
        )
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("gostore: interrupted", file=sys.stderr)
        return 1
    # --help gives no status.
    return status or 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
