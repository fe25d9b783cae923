"""Turns: a client whose work takes long lets others have theirs in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

REQUESTS_A_TURN = 16
"""How many requests of one client are read in a turn: it may send a thousand at once."""

CHUNKS_A_TURN = 128
"""How many chunks of one body are read in a turn. One of a single byte costs as much as any."""

PIECES_A_TURN = 16
"""How many pieces of one response are written in a turn, if the client takes them at once."""

SOCKETS_A_TURN = 32
"""How many sockets are served in a turn: with a thousand ready ones no timer would fire."""

log = Logger()


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


def shorten_turns(reactor: Any) -> None:
    """Let each turn of a reactor serve a few sockets only, if it is Twisted's epoll reactor.

    Twisted has no setting for that: it asks for as many events as there are sockets. The kernel
    reports the others first the next time (epoll_wait(2)), so all get their turns. Twisted also
    makes a context for the log around each event, at a tenth of the price of a small GET. Our log
    lines do not use it.

    By now twistd has installed a reactor. Any other kind stays as it is, and so does an epoll
    reactor that is not made as we know it.
    """
    from twisted.internet.epollreactor import EPollReactor

    parts = ("_poller", "_selectables", "_doReadOrWrite")
    if type(reactor) is EPollReactor and all(hasattr(reactor, name) for name in parts):
        poller, selectables, serve = (getattr(reactor, name) for name in parts)
        vars(reactor)["doIteration"] = partial(_serve_some, poller, selectables, serve)


def _serve_some(
    poller: Any,
    selectables: Mapping[int, object],
    serve: Callable[[object, int, int], None],
    timeout: float | None,
) -> None:
    """Wait until sockets are ready and serve some of them, as EPollReactor.doPoll() serves all."""
    for fd, event in poller.poll(timeout, SOCKETS_A_TURN):
        # The socket before it may have closed this one, although it was ready.
        selectable = selectables.get(fd)
        if selectable is not None:
            try:
                serve(selectable, fd, event)
            except Exception:
                log.failure("Serving a socket failed")
