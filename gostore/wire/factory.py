"""The factory: it makes a connection for each client, and ends all of them at a stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from gostore.wire.connection import Connection
from gostore.wire.handshakes import Handshakes
from gostore.wire.identity import identities
from gostore.wire.limits import TICK, Limits, Ticks
from gostore.wire.request import Exchange, Find, Request
from gostore.wire.tally import Tally
from gostore.wire.turned_away import TurnedAway
from gostore.wire.turns import Turns


@implementer(IProtocolNegotiationFactory)
class HTTPFactory(ServerFactory):
    """Listens for HTTP.

    `dispatch` is called with each request at the end of its head, `answered` with each answer at
    its end. `clock` is a reactor; wall clock time, for Date, comes from `wall`.

    `shortcut`, if it is set, is called with a plain GET before it is dispatched. It may return what
    finds the answers to further requests with the same fields (repeats.py).
    """

    noisy = False
    shortcut: Callable[[Request], Find | None] | None = None

    def __init__(
        self,
        dispatch: Callable[[Request], None],
        limits: Limits,
        clock: IReactorTime,
        *,
        answered: Callable[[Exchange], None] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.dispatch = dispatch
        self.limits = limits
        self.answered = answered
        self.stopping = False
        self.new_id = identities()
        self.tally = Tally()
        self.handshakes = Handshakes(clock.seconds)
        # The time, to measure how long something takes.
        self.seconds: Callable[[], float] = clock.seconds
        self.ticks = Ticks()
        self.turns = Turns(clock)
        self._tail = b""
        self._second = -1
        self.clock = clock
        self._wall = wall
        self._ticking: IDelayedCall | None = None
        self._grace: IDelayedCall | None = None
        self._stopped: list[Deferred[None]] = []
        self._connections: set[Connection] = set()

    def acceptableProtocols(self) -> list[bytes]:
        """The protocols that a TLS client may choose from (ALPN, RFC 7301)."""
        return [b"http/1.1"]

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        """One more connection. Past max_connections it answers probes only, or there is none."""
        excess = len(self._connections) - self.limits.max_connections
        if self.stopping or excess >= self.limits.turned_away:
            self.tally.cut_off += 1
            return None
        if excess >= 0:
            self.tally.turned_away += 1
        connection = Connection(self) if excess < 0 else TurnedAway(self)
        connection.factory = self
        self._connections.add(connection)
        if self._ticking is None:
            self._tick()
        return connection

    def forget(self, connection: object) -> None:
        """A connection is gone."""
        self._connections.discard(cast(Connection, connection))
        self._check_stopped()

    def stop(self, grace: float) -> Deferred[None]:
        """Close idle connections, let requests in progress end; fires when no connection is left.

        After `grace` seconds it cuts off uploads that are not complete and clients that have not
        taken their response. It still waits for requests that the application works on.
        """
        done: Deferred[None] = Deferred()
        self._stopped.append(done)
        if not self.stopping:
            self.stopping = True
            for connection in list(self._connections):
                connection.stop()
            self._grace = self.clock.callLater(grace, self._give_up, grace)
        self._check_stopped()
        return done

    def _give_up(self, grace: float) -> None:
        for connection in list(self._connections):
            connection.give_up()
        # The others wait for the application. Their clients get as long again to take the answer.
        self._grace = self.clock.callLater(max(grace, TICK), self._give_up, grace)

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
        Without a clock there is no Date (section 6.6.1).
        """
        try:
            second = int(self._wall())
        except OverflowError:  # Python tells no time after 2261
            return b"Server: gostore\r\n\r\n"
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True)
            self._tail = f"Date: {date}\r\nServer: gostore\r\n\r\n".encode("ascii")
        return self._tail

    def _tick(self) -> None:
        self._ticking = None
        self.ticks.now += 1
        now = self.ticks.now
        if self._connections:
            self._ticking = self.clock.callLater(TICK, self._tick)
        for connection in [each for each in self._connections if each.deadline.at <= now]:
            connection.expired()
