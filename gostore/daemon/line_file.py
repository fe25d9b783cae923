"""A file of lines, such as the access log, which a thread of its own writes.

Nobody waits for it. When the thread cannot keep up, or the disk is full, lines are dropped and
counted.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from gostore.daemon.reloading import CannotReload

log = Logger()

STDOUT = "-"
"""The path that stands for the standard output."""

MOST = 10_000
"""How many lines may wait for the thread."""

GATHER = 0.1
"""Seconds that the thread gathers lines for, so that it wakes up seldom."""

LAST = 5.0
"""Seconds that a stop waits for the last lines: a pipe may have nobody who reads."""

_NEWLINE = ord("\n")

# A FIFO without a reader, or one that is full, must not hold anybody.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class CannotOpen(Exception):
    """A file cannot be written; str() says which, and why."""


class LineFile(Service):
    """Writes what is added to the end of a file, a line each.

    ``form`` makes a line, with its end, of the time and what was added, in the thread. ``dropped``
    lines were not written.
    """

    def __init__(self, path: str, form: Callable[[float, Any], str]) -> None:
        self.setName("line file")
        self.path = path
        self._form = form
        self._waiting: deque[tuple[float, Any]] = deque()
        self._news = threading.Event()
        # Whether the thread knows that there is something.
        self._is_awake = False
        self._ending = threading.Event()
        self._fd = -1
        self._next_fd = -1
        self._overflowed = self._failed = 0
        # Whether the last write ended in the middle of a line, and whether it failed.
        self._torn = self._failing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="line file", daemon=True)

    @property
    def dropped(self) -> int:
        """How many lines were dropped."""
        return self._overflowed + self._failed

    def open(self) -> None:
        """Open the file; raises CannotOpen."""
        try:
            self._fd = self._opened()
        except OSError as error:
            raise CannotOpen(f"cannot write to {self.path}: {error.strerror}") from error

    def startService(self) -> None:
        """Start the thread."""
        super().startService()
        self._thread.start()

    def stopService(self) -> None:
        """Write what waits, and close the file. If that takes long, leave it."""
        super().stopService()
        self._ending.set()
        self._news.set()
        self._thread.join(LAST)

    def add(self, item: Any) -> None:
        """Add a line."""
        if len(self._waiting) >= MOST:
            self._overflowed += 1
            return
        self._waiting.append((time.time(), item))
        if not self._is_awake:
            self._is_awake = True
            self._news.set()

    def reload(self) -> str:
        """Write to what the path leads to now, because the file was renamed."""
        if self.path == STDOUT:
            return ""
        try:
            opened = self._opened()
        except OSError as error:
            raise CannotReload(f"{self.path} ({error.strerror})") from error
        with self._lock:
            previous, self._next_fd = self._next_fd, opened
        if previous >= 0:  # The thread has not come to it.
            os.close(previous)
        self._news.set()
        return f"{self.path} is open anew"

    def _opened(self) -> int:
        return os.dup(1) if self.path == STDOUT else os.open(self.path, _FLAGS, 0o640)

    # In the thread:

    def _run(self) -> None:
        while not self._ending.is_set():
            self._news.wait()
            self._ending.wait(GATHER)
            self._news.clear()
            self._is_awake = False
            self._write_all()
        os.close(self._fd)

    def _write_all(self) -> None:
        with self._lock:
            opened, self._next_fd = self._next_fd, -1
        if opened >= 0:
            os.close(self._fd)
            self._fd = opened
            self._torn = False
        while self._waiting:
            lines: list[str] = []
            with suppress(IndexError):
                while len(lines) < 1000:
                    lines.append(self._line(*self._waiting.popleft()))
            self._write("".join(lines).encode(), len(lines))

    def _line(self, when: float, item: Any) -> str:
        try:
            return self._form(when, item)
        except Exception:
            log.failure("A line of {path} cannot be written", path=self.path)
            self._failed += 1
            return ""

    def _write(self, data: bytes, count: int) -> None:
        if self._torn:
            data = b"\n" + data
        try:
            while data:
                written = os.write(self._fd, data)
                self._torn = data[written - 1] != _NEWLINE
                data = data[written:]
        except OSError as error:
            self._failed += min(count, data.count(_NEWLINE))
            if not self._failing:
                self._failing = True
                reason = error.strerror
                log.error("Lines of {path} are dropped: {reason}", path=self.path, reason=reason)
            return
        if self._failing:
            self._failing = False
            log.info(
                "{path} is written again; {count} lines were dropped",
                path=self.path,
                count=self.dropped,
            )
