"""What came of a command, for people and for programs: lines, progress, and the exit status."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from attrs import define, field
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gostore.client.address import shown
from gostore.client.errors import ClientError

#: The exit status of a command whose failures are not all of one kind.
NOT_DONE = 1

#: More bars than this at a time would not fit on many terminals.
_BARS = 8


@define(eq=False)
class Report:
    """Takes what happens, from any thread, and says it.

    A program gets one JSON object per line on stdout; people get the failures on stderr, and what
    was done unless it is ``quiet``.
    """

    quiet: bool = False
    as_json: bool = False
    progress: bool = True
    _statuses: set[int] = field(factory=set)
    _lock: threading.Lock = field(factory=threading.Lock)
    _shown: Progress | None = None

    @property
    def status(self) -> int:
        """The exit status: 0, or that of all failures, if they have the same."""
        if not self._statuses:
            return 0
        return next(iter(self._statuses)) if len(self._statuses) == 1 else NOT_DONE

    def done(self, outcome: str, name: str, **more: Any) -> None:
        """Say that something was done: ``outcome`` to ``name``."""
        if self.as_json:
            self.data({"outcome": outcome, "location": name, **more})
        elif not self.quiet:
            self.line(f"{outcome} {shown(name)}", sys.stderr)

    def failed(self, name: str, error: ClientError) -> None:
        """Say that something was not done, and why."""
        with self._lock:
            self._statuses.add(error.exit_status)
        if self.as_json:
            self.data({"outcome": error.word, "location": name, "text": str(error)})
        else:
            self.line(f"gostore: {shown(str(error))}", sys.stderr)

    def data(self, found: dict[str, Any]) -> None:
        """Print an object for programs."""
        self.line(json.dumps(found, default=_plain), sys.stdout)

    def line(self, text: str, stream: Any) -> None:
        """Print a line, whole, whatever the other threads print."""
        with self._lock:
            if self._shown is not None and stream.isatty():
                # Above the bars, which would overwrite it.
                self._shown.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=stream, flush=True)

    @contextmanager
    def bars(self) -> Iterator[Bars]:
        """Show how far transfers are, if somebody watches."""
        console = Console(stderr=True)
        if self.quiet or self.as_json or not self.progress or not console.is_terminal:
            yield Bars(None)
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as shown_now:
            self._shown = shown_now
            try:
                yield Bars(shown_now)
            finally:
                self._shown = None


class Bars:
    """A bar for each of the transfers in progress, and one for all of them."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._count = 0
        self._total = 0
        self._lock = threading.Lock()
        self._all: TaskID | None = None if progress is None else progress.add_task("all", total=0)

    @contextmanager
    def transfer(self, name: str, size: int | None) -> Iterator[Callable[[int], None]]:
        """Show one transfer; give what takes the number of bytes that have gone so far."""
        progress = self._progress
        if progress is None:
            yield _nobody_watches
            return
        with self._lock:
            self._count += 1
            self._total += size or 0
            visible = self._count <= _BARS
            assert self._all is not None
            progress.update(self._all, total=self._total)
        task = progress.add_task(shown(name)[-40:], total=size, visible=visible)
        moved = 0

        def move(position: int) -> None:
            nonlocal moved
            assert self._all is not None
            progress.update(task, completed=position)
            progress.advance(self._all, position - moved)
            moved = position

        try:
            yield move
        finally:
            progress.remove_task(task)
            with self._lock:
                self._count -= 1


def _nobody_watches(position: int) -> None:
    """Nothing is shown."""


def _plain(value: object) -> str:
    """How JSON has what it has no form for."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
