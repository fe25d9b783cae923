"""The bytes of one request on their way to an upload's pieces; what has come of them counts.

Everything happens in the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from gostore.errors import BodyFailed, StoreError, TakenOver
from gostore.store.inflow import Inflow
from gostore.store.interface import NO_DIGESTS, Body

PIECE = 4 * 1024 * 1024
"""What has come becomes a piece, and counts, whenever it is so many bytes,"""

SECONDS = 5.0
"""or when more comes after so many seconds: a slow client must not lose minutes."""


class Arriving:
    """Takes one body. While one piece is written, the next one may come; then its socket pauses."""

    def __init__(self, clock: Any, body: Body, most: tuple[int | None, StoreError]) -> None:
        """``most`` is how many bytes may come, None for no limit, and the error for more."""
        self._clock = clock
        self._inflow = Inflow(body, 2 * PIECE)
        self._most, self._too_many = most
        self._size = 0
        self._waiting = 0
        self._since = clock.seconds()
        self._asked: Deferred[bytes] | None = None
        self._failure: StoreError | None = None
        #: Whether all of it is here.
        self.complete = False
        #: Why no more comes; what has come counts all the same.
        self.end: StoreError | None = None

    def begin(self) -> None:
        """Ask for the body."""
        self._inflow.body.deliver(self)

    def more(self) -> Deferred[bytes]:
        """Give the next piece; b"" if there is none. Fails if what waits shall not count."""
        self._inflow.go_on()
        assert self._asked is None, "one at a time"
        asked: Deferred[bytes] = Deferred()
        self._asked = asked
        self._hand_out()
        return asked

    def cut_short(self) -> None:
        """Take no more: another request goes on with the upload."""
        self._stop(TakenOver())

    def give_up(self, error: StoreError) -> None:
        """Want nothing of it any more."""
        if self._failure is None:
            self._failure = error
            self._inflow.pieces.clear()
            self._waiting = 0
            self._hand_out()

    # -- what the body delivers -------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Some bytes have come."""
        if self.end is not None or self._failure is not None:
            return
        self._size += len(data)
        if self._most is not None and self._size > self._most:
            self.give_up(self._too_many)
            return
        self._waiting += len(data)
        self._inflow.add(data)
        self._hand_out()

    def finished(self, digests: Mapping[str, bytes] = NO_DIGESTS) -> None:
        """All bytes have come."""
        self.complete = True
        self._hand_out()

    def failed(self, reason: str) -> None:
        """No more bytes will come; ``reason`` is for people."""
        self._stop(BodyFailed(reason))

    def _stop(self, error: StoreError) -> None:
        if self.end is None and not self.complete:
            self.end = error
            self._hand_out()

    def _hand_out(self) -> None:
        if self._asked is None or not self._is_due():
            return
        asked, self._asked = self._asked, None
        if self._failure is not None:
            asked.errback(self._failure)
            return
        self._waiting, self._since = 0, self._clock.seconds()
        asked.callback(b"".join(self._inflow.take()))

    def _is_due(self) -> bool:
        if self.complete or self.end is not None or self._failure is not None:
            return True
        is_late = self._clock.seconds() - self._since >= SECONDS
        return self._waiting >= PIECE or (is_late and self._waiting > 0)
