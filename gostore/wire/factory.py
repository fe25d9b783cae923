"""The factory: it makes a connection for each client, and ends all of them at a stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from email.utils import formatdate

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from gostore.wire.connection import Connection, Request
from gostore.wire.head import Limits

TICK = 1.0
"""Seconds between two looks at the deadlines."""


@implementer(IProtocolNegotiationFactory)
class HTTPFactory(ServerFactory):
    """Listens for HTTP.

    `dispatch` is called with each request at the end of its head. `clock` is a reactor; wall
    clock time, for Date, comes from `wall`. `access_log` logs each response at debug level.
    """

    noisy = False

    def __init__(
        self,
        dispatch: Callable[[Request], None],
        limits: Limits,
        clock: IReactorTime,
        *,
        access_log: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.dispatch = dispatch
        self.limits = limits
        self.access_log = access_log
        self.stopping = False
        # Ticks since the factory was made, while there were connections.
        self.now = 0
        self._tail = b""
        self._second = -1
        self._clock = clock
        self._wall = wall
        self._ticking: IDelayedCall | None = None
        self._grace: IDelayedCall | None = None
        self._stopped: list[Deferred[None]] = []
        self._connections: set[Connection] = set()

    def acceptableProtocols(self) -> list[bytes]:
        """What a TLS client may choose from (ALPN, RFC 7301)."""
        return [b"http/1.1"]

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        """One more connection; past max_connections one that is only told so, or none."""
        excess = len(self._connections) - self.limits.max_connections
        if self.stopping or excess >= self.limits.turned_away:
            return None
        connection = Connection(self, turned_away=excess >= 0)
        connection.factory = self
        self._connections.add(connection)
        if self._ticking is None:
            self._tick()
        return connection

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self._check_stopped()

    def stop(self, grace: float) -> Deferred[None]:
        """Close idle connections, let requests in progress end; fires when no connection is left.

        After `grace` seconds uploads that are not complete and clients that have not taken their
        response are cut off; requests the application works on are still waited for.
        """
        done: Deferred[None] = Deferred()
        self._stopped.append(done)
        if not self.stopping:
            self.stopping = True
            for connection in list(self._connections):
                connection.stop()
            self._grace = self._clock.callLater(grace, self._give_up, grace)
        self._check_stopped()
        return done

    def _give_up(self, grace: float) -> None:
        for connection in list(self._connections):
            connection.give_up()
        # Those left wait for the application. Their clients get no longer to take the answer.
        self._grace = self._clock.callLater(max(grace, TICK), self._give_up, grace)

    def _check_stopped(self) -> None:
        if self.stopping and not self._connections:
            if self._grace is not None:
                self._grace.cancel()
                self._grace = None
            if self._ticking is not None:
                self._ticking.cancel()
                self._ticking = None
            waiting, self._stopped = self._stopped, []
            for done in waiting:
                done.callback(None)

    # Time.

    @property
    def tail(self) -> bytes:
        """The end of every response head.

        Its Date is never behind: a Last-Modified must not be later (RFC 9110 section 8.8.2.1).
        """
        second = int(self._wall())
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True)
            self._tail = f"Date: {date}\r\nServer: gostore\r\n\r\n".encode("ascii")
        return self._tail

    def ticks(self, seconds: float) -> int:
        """At least this long, in ticks."""
        return math.ceil(seconds / TICK)

    def after(self, seconds: float) -> int:
        """A deadline no sooner than this: the tick that comes next may come at once."""
        return self.now + math.ceil(seconds / TICK) + 1

    def _tick(self) -> None:
        self._ticking = None
        self.now += 1
        now = self.now
        if self._connections:
            self._ticking = self._clock.callLater(TICK, self._tick)
        for connection in [each for each in self._connections if each.deadline <= now]:
            connection.expired()
