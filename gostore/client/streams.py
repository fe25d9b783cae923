"""The bytes of requests and answers as Twisted takes and gives them, a few pieces in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import CooperativeTask, TaskFinished, TaskStopped, cooperate
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from gostore.client.errors import Lost
from gostore.client.sources import Source


class Silence:
    """Ends what has been silent for too long."""

    def __init__(self, reactor: Any, seconds: float) -> None:
        self._reactor = reactor
        self._seconds = seconds
        #: Whether it has ended something.
        self.is_over = False
        self._call: IDelayedCall | None = None

    def begin(self, end: Callable[[], object]) -> None:
        """Call ``end`` when it has been silent for so long."""
        self._call = self._reactor.callLater(self._seconds, self._over, end)

    def _over(self, end: Callable[[], object]) -> None:
        self.is_over = True
        end()

    def broken(self) -> None:
        """Something was heard, or said."""
        if self._call is not None and self._call.active():
            self._call.reset(self._seconds)

    def end(self) -> None:
        """It may be silent now."""
        if self._call is not None and self._call.active():
            self._call.cancel()


@implementer(IBodyProducer)
class Producer:
    """The pieces of a source, as fast as the connection takes them."""

    def __init__(self, source: Source, moved: Callable[[], None]) -> None:
        self.length: Any = UNKNOWN_LENGTH if source.size is None else source.size
        #: Why the source could not be read.
        self.failed: Exception | None = None
        self._source = source
        self._moved = moved
        self._task: CooperativeTask[Iterator[None]] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it."""
        self._task = task = cooperate(self._write(consumer))
        finished: Deferred[None] = Deferred()
        done = task.whenDone()
        done.addCallbacks(
            lambda _: finished.callback(None), self._not_done, errbackArgs=(finished,)
        )
        return finished

    def _not_done(self, failure: Failure, finished: Deferred[None]) -> None:
        # A producer that was told to stop says no more.
        if isinstance(failure.value, Exception) and not failure.check(TaskStopped):
            self.failed = failure.value
            finished.errback(failure)

    def _write(self, consumer: IConsumer) -> Iterator[None]:
        for piece in self._source.pieces():
            consumer.write(piece)
            self._moved()
            yield None

    def pauseProducing(self) -> None:
        """Write no more for now."""
        if self._task is not None:
            self._task.pause()

    def resumeProducing(self) -> None:
        """Write on."""
        if self._task is not None:
            self._task.resume()

    def stopProducing(self) -> None:
        """The connection is gone."""
        if self._task is not None:
            with suppress(TaskFinished):
                self._task.stop()


class Pieces(Protocol):
    """The body of an answer, a few pieces of it in memory at a time."""

    def __init__(self, silence: Silence) -> None:
        self._silence = silence
        self._pieces: deque[bytes] = deque()
        self._waiting: Deferred[None] | None = None
        self._end: Failure | None = None

    @property
    def _body(self) -> Any:
        """What can be paused: Twisted gives a body's Protocol a transport that is a producer."""
        return self.transport

    def connectionMade(self) -> None:
        """Nothing is read before it is asked for."""
        self._pause()

    def dataReceived(self, data: bytes) -> None:
        """A piece has come."""
        self._silence.broken()
        self._pieces.append(data)
        self._pause()
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """That was all, or all that there will be."""
        self._end = reason
        self._wake()

    async def next(self) -> bytes:
        """The next piece; nothing at the end. Raises Lost."""
        while not self._pieces:
            if self._end is not None:
                if self._end.check(ResponseDone):
                    return b""
                raise Lost(f"The answer was cut off: {self._end.getErrorMessage()}")
            self._waiting = Deferred()
            self._body.resumeProducing()
            self._silence.begin(self.stop)
            try:
                await self._waiting
            finally:
                self._silence.end()
        return self._pieces.popleft()

    def stop(self) -> None:
        """Want no more: close the connection, unless all has come."""
        if self._end is None:
            self._body.stopProducing()

    def _pause(self) -> None:
        if self._end is None:
            self._body.pauseProducing()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


def innermost(error: BaseException) -> BaseException:
    """What an error of Twisted's client began with."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return error


def in_words(error: BaseException) -> str:
    """An error for people: what the innermost one says."""
    error = innermost(error)
    return " ".join(str(error).split())[:200] or type(error).__name__
