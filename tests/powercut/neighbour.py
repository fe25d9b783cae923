"""Another program on the disk under trial: it takes the room that there is, and gives it back."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path

from attrs import define, field

MIB = 1024 * 1024

BLOCK = 4096

#: How many bytes it may leave the others, from one moment to the next.
ROOMS = (0, 0, 100_000, MIB, 4 * MIB)

#: Seconds from one moment to the next.
PAUSES = (0.02, 0.3)


@define(eq=False)
class Neighbour:
    """It has one file, which grows and shrinks."""

    path: Path
    chance: random.Random
    faults: list[BaseException] = field(init=False, factory=list)
    _thread: threading.Thread | None = field(init=False, default=None)
    _resting: threading.Event = field(init=False, factory=threading.Event)

    def leave(self, room: int) -> None:
        """Take all but so many bytes, or give back what is missing of them."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if (missing := room - free(file)) > 0:
                os.ftruncate(file, max(0, os.fstat(file).st_size - missing))
            step = -missing
            while (step := min(step, free(file) - room)) >= BLOCK:
                try:
                    os.posix_fallocate(file, os.fstat(file).st_size, step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2
            os.fsync(file)
        finally:
            os.close(file)

    def leave_some(self) -> None:
        """Leave more or less, or nothing."""
        self.leave(self.chance.choice(ROOMS))

    def work(self) -> None:
        """Let it begin to take and to give."""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def rest(self) -> None:
        """Let it end."""
        assert self._thread is not None
        self._resting.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._resting.wait(self.chance.uniform(*PAUSES)):
                self.leave_some()
        except BaseException as error:
            self.faults.append(error)


def free(file: int) -> int:
    """How many bytes are free where this file is."""
    found = os.fstatvfs(file)
    return found.f_bavail * found.f_frsize
