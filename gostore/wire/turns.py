"""Turns: a client whose work takes long lets others have theirs in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime

REQUESTS_A_TURN = 16
"""How many requests of one client are read in a turn: it may send a thousand at once."""

CHUNKS_A_TURN = 128
"""How many chunks of one body are read in a turn. One of a single byte costs as much as any."""

PIECES_A_TURN = 16
"""How many pieces of one response are written in a turn, if the client takes them at once."""

SOCKETS_A_TURN = 32
"""How many sockets are served in a turn: with a thousand ready ones no timer would fire."""


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


class ShortPolls:
    """Takes the place of a reactor's epoll object. A poll reports no more sockets than a turn has.

    The kernel reports the others first the next time (epoll_wait(2)), so all get their turns.
    """

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        # What the reactor calls for each socket needs no call of ours.
        self.register = poller.register
        self.modify = poller.modify
        self.unregister = poller.unregister

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """Wait until sockets are ready; return some of them, each with its events."""
        most = SOCKETS_A_TURN if maxevents < 0 else min(maxevents, SOCKETS_A_TURN)
        found: list[tuple[int, int]] = self._poller.poll(timeout, most)
        return found

    def __getattr__(self, name: str) -> Any:
        """Everything else is the epoll object's."""
        return getattr(self._poller, name)


def shorten_polls(reactor: Any) -> None:
    """Let each turn of a reactor serve a few sockets only, if it is Twisted's epoll reactor.

    Twisted has no setting for that: it asks for as many events as there are sockets. By now twistd
    has installed a reactor, and any other kind stays as it is.
    """
    from twisted.internet.epollreactor import EPollReactor

    poller = getattr(reactor, "_poller", None)
    if isinstance(reactor, EPollReactor) and poller and not isinstance(poller, ShortPolls):
        vars(reactor)["_poller"] = ShortPolls(poller)
