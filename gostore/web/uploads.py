"""Upload bodies as a store takes them: they know their request, and may have a trailer."""

from __future__ import annotations

from gostore.store.interface import Body, Sink
from gostore.web.answers import Refusal
from gostore.web.fields.digests import trailing_digests
from gostore.wire import Request


def body_of(request: Request) -> Body:
    """The body of an upload as a store takes it."""
    body = request.body
    body.origin = origin_of(request)
    return body if body.length is not None else TrailedBody(request)


def origin_of(request: Request) -> str:
    """What the log of a blob says of the request that changed it: who sent it, and its id."""
    name = request.id.decode("ascii")
    return name if request.principal is None else f"{request.principal.name}, {name}"


class NoBody:
    """No bytes, and all of them are here."""

    length = 0
    complete = True
    origin = ""

    def __init__(self, sender: str | None) -> None:
        self.sender = sender

    def deliver(self, sink: Sink) -> None:
        """End."""
        sink.finished()

    def pauseProducing(self) -> None:
        """Nothing comes."""

    def resumeProducing(self) -> None:
        """Nothing comes."""


class TrailedBody:
    """A body in chunks, and the digests in its trailer (RFC 9110 section 6.5)."""

    def __init__(self, request: Request) -> None:
        self.length = None
        self.sender = request.body.sender
        self.origin = request.body.origin
        self._headers = request.headers
        self._body = request.body
        self._sink: Sink | None = None

    @property
    def complete(self) -> bool:
        """Whether all bytes have arrived."""
        return self._body.complete

    def deliver(self, sink: Sink) -> None:
        """Begin."""
        self._sink = sink
        self._body.deliver(self)

    def pauseProducing(self) -> None:
        """Deliver no more for now."""
        self._body.pauseProducing()

    def resumeProducing(self) -> None:
        """Deliver on."""
        self._body.resumeProducing()

    # What the wire delivers.

    def received(self, data: bytes) -> None:
        """The next piece."""
        assert self._sink is not None
        self._sink.received(data)

    def finished(self) -> None:
        """The body is complete: tell the store its digests, or that it is not to be kept."""
        try:
            digests = trailing_digests(self._headers, self._body.trailer)
        except Refusal as refusal:
            self._last().failed(refusal.text)
        else:
            self._last().finished(digests)

    def failed(self, reason: str) -> None:
        """The rest will not come."""
        self._last().failed(reason)

    def _last(self) -> Sink:
        """The sink, which has this body and is let go of at the end."""
        sink, self._sink = self._sink, None
        assert sink is not None
        return sink
