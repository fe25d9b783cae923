"""What the commands share: the options of all of them, and how they reach which daemon."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import click
from attrs import define

from gostore.client.blocking import Client
from gostore.client.cli.files import FileFailed
from gostore.client.cli.remotes import Remotes, Target, read_remotes
from gostore.client.cli.report import Report
from gostore.client.errors import ClientError
from gostore.client.memory import Memory
from gostore.client.patience import Patience

F = TypeVar("F", bound=Callable[..., Any])


@define(eq=False)
class Session:
    """What all commands of one run share: where to report, and how to reach which daemon."""

    report: Report
    jobs: int
    retry: float
    remotes: Remotes
    stopped: threading.Event

    def target(self, text: str) -> Target:
        """The target that an argument names. Raises UsageError."""
        try:
            return self.remotes.target(text)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    def blob(self, text: str) -> Target:
        """A target that has to be one blob. Raises UsageError."""
        target = self.target(text)
        if target.is_prefix:
            raise click.UsageError(f"{text} is no blob, but a prefix")
        return target

    def client(self, target: Target, resume_from: int | None = None) -> Client:
        """A client for a target, with its credentials. Raises UsageError, FileFailed.

        Uploads of at least ``resume_from`` bytes go on where an earlier command was cut off.
        """
        try:
            token = self.remotes.token(target.address)
            patience = Patience(self.retry, min(self.retry, Patience().unanswered))
            return Client(
                target.address.url,
                token,
                patience=patience,
                connections=self.jobs,
                resume_from=resume_from,
                memory=Memory.of_user(os.environ),
                sleep=self._sleep,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        except OSError as error:
            raise FileFailed(f"The token cannot be read: {error}") from None

    def _sleep(self, seconds: float) -> None:
        if self.stopped.wait(seconds):
            raise FileFailed("Interrupted")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def program() -> None:
    """Store blobs at a gostore daemon, fetch them, and look at them."""


def command(name: str) -> Callable[[F], click.Command]:
    """Make a command of a function that takes a Session and the command's own arguments."""

    def decorate(function: F) -> click.Command:
        def run(
            quiet: bool, as_json: bool, no_progress: bool, jobs: int, retry: float, **own: Any
        ) -> int:
            report = Report(quiet, as_json, not no_progress)
            try:
                remotes = read_remotes(os.environ)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            stopped = threading.Event()
            session = Session(report, jobs, retry, remotes, stopped)
            try:
                function(session, **own)
            except ClientError as error:
                report.failed(own_name(own), error)
            finally:
                stopped.set()
            return report.status

        run.__doc__ = function.__doc__
        # click keeps what it was told of a function in this attribute of it.
        run.__click_params__ = list(getattr(function, "__click_params__", []))  # type: ignore[attr-defined]
        for option in reversed(_SHARED):
            option(run)
        return program.command(name)(run)

    return decorate


def own_name(arguments: dict[str, Any]) -> str:
    """Under which name the failure of a whole command is reported: its first argument."""
    first = next(iter(arguments.values()), "")
    return str(first[0] if isinstance(first, tuple) and first else first)


_SHARED = (
    click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong."),
    click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each result."),
    click.option("--no-progress", is_flag=True, help="Show no progress."),
    click.option(
        "--jobs",
        type=click.IntRange(1, 256),
        default=8,
        show_default=True,
        metavar="N",
        help="Work on N blobs at a time.",
    ),
    click.option(
        "--retry",
        type=click.FloatRange(0, 86400),
        default=Patience().seconds,
        show_default=True,
        metavar="SECONDS",
        help="Give up after so many seconds without progress.",
    ),
)
