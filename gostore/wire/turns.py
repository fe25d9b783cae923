"""Turns: a client whose work takes long lets others have theirs in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

REQUESTS_A_TURN = 16
"""How many requests of one client are read in a turn: it may send a thousand at once."""

CHUNKS_A_TURN = 128
"""How many chunks of one body are read in a turn. One of a single byte costs as much as any."""

PIECES_A_TURN = 16
"""How many pieces of one response are written in a turn, if the client takes them at once."""


class Turns:
    """Work that waits for its turn. Each turn of the reactor does one piece, the oldest first.

    So those who wait slow each other down, and nobody else.
    """

    __slots__ = ("_clock", "_waiting")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, work: Callable[[], None]) -> None:
        """Do some work in a later turn of the reactor."""
        self._waiting.append(work)
        if len(self._waiting) == 1:
            self._clock.callLater(0, self._do_one)

    def _do_one(self) -> None:
        work = self._waiting[0]
        try:
            work()
        finally:
            self._waiting.popleft()
            if self._waiting:
                self._clock.callLater(0, self._do_one)
