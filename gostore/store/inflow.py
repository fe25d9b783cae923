"""The bytes of a body between the socket and its file."""

from __future__ import annotations

from attrs import define, field

from gostore.store.interface import Body


@define(eq=False)
class Inflow:
    """The pieces of a body that have come and are not written yet.

    The body is paused when ``most`` bytes wait, those that a worker is writing among them.
    """

    body: Body
    most: int
    pieces: list[bytes] = field(factory=list, init=False)
    """No worker has taken these."""
    _waiting: int = field(default=0, init=False)
    _paused: bool = field(default=False, init=False)

    def add(self, data: bytes) -> None:
        """Some bytes have come."""
        self.pieces.append(data)
        self._waiting += len(data)
        if self._waiting >= self.most and not self._paused:
            self._paused = True
            self.body.pauseProducing()

    def join(self) -> None:
        """Make one piece of all."""
        self.pieces = [b"".join(self.pieces)]

    def take(self) -> list[bytes]:
        """Hand out the pieces, to be written."""
        pieces, self.pieces = self.pieces, []
        return pieces

    def go_on(self) -> None:
        """What was handed out is written: let the body come again, if it was paused."""
        self._waiting = sum(map(len, self.pieces))
        if self._paused and self._waiting < self.most:
            self._paused = False
            self.body.resumeProducing()
