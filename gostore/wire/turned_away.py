"""A connection too many: it answers a probe, and tells everybody else to come again."""

from __future__ import annotations

from attrs import evolve

from gostore.wire.connection import Connection
from gostore.wire.head import Fields
from gostore.wire.limits import TICK
from gostore.wire.request import Listening, Request
from gostore.wire.states import State

_RETRY_AFTER = ((b"retry-after", b"10"),)


class TurnedAway(Connection):
    """One client beyond max_connections. It has a second or two for one request head."""

    def __init__(self, factory: Listening) -> None:
        super().__init__(factory)
        self._limits = evolve(factory.limits, idle_timeout=TICK, head_timeout=TICK)

    def _begin(self, request: Request, fields: Fields) -> None:
        if request.path in self._limits.probes:
            super()._begin(request, evolve(fields, keep_alive=False))
        else:
            self._request = request
            self._turn_away()

    def expired(self) -> None:
        """The client has said nothing, or not all of a head."""
        if self._state is State.OPEN and self._request is None and not self._output.blocked:
            self._turn_away()
        else:
            super().expired()

    def _turn_away(self) -> None:
        self._refuse(503, "Too many connections", _RETRY_AFTER)
