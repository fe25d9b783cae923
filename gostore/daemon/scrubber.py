"""The scrub as a service: it has every blob verified, one after another, at a gentle pace.

What is read rarely may rot unseen.  A small blob is verified whenever it is read, a large one is
not, since its first byte leaves before its last is known; the scrub comes by for both.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.errors import Busy, Damaged, DiskFailed, NotFound

#: A blob is paid for like so many bytes at least: to open a small one is work, too.
LEAST = 64 * 1024


class Stopped(Exception):
    """The service was stopped in the middle of a blob."""


class Scrubber(Service):
    """Calls ``verify`` for each location that ``following`` gives, reading ``rate`` bytes a second.

    ``following`` returns the location after the one it is given, "" before the first, or None.
    ``verify`` takes a location and the function that tells it how to pace its reads, and returns a
    Deferred; sets aside what is damaged, and logs it. When all have been verified, the next round
    comes ``pause`` seconds later. A rate of 0 turns it off.
    """

    log = Logger()

    def __init__(
        self,
        following: Callable[[str], str | None],
        verify: Callable[[str, Callable[[int], Deferred[None]]], Deferred[None]],
        rate: int,
        pause: float,
        clock: IReactorTime,
    ) -> None:
        self.setName("scrubber")
        self._following = following
        self._verify = verify
        self._rate = rate
        self._pause = pause
        self._clock = clock
        #: When what has been read so far is paid for.
        self._due = 0.0
        self._unpaid = 0
        self._waiting: Deferred[None] | None = None
        self._stopped: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin with the first blob, in a turn of the reactor of its own."""
        super().startService()
        if self._rate:
            self._stopped = self._run()

    def stopService(self) -> Deferred[None] | None:
        """Leave off. The Deferred fires when no read is in progress any more."""
        super().stopService()
        stopped, self._stopped = self._stopped, None
        if self._waiting is not None:
            self._waiting.cancel()
        return stopped

    @inlineCallbacks
    def _run(self) -> Generator[Deferred[Any], Any, None]:
        try:
            yield self._sleep(0)
            while True:
                yield maybeDeferred(self._round).addErrback(self._round_failed)
                yield self._sleep(self._pause)
        except Stopped:
            pass

    @inlineCallbacks
    def _round(self) -> Generator[Deferred[Any], Any, None]:
        location = self._following("")
        while location is not None:
            self._unpaid = LEAST
            # A Deferred of its own, so that a failure is seen here and nowhere else.
            verified = maybeDeferred(self._verify, location, self._read)
            yield verified.addErrback(self._failed, location)
            yield self._pay(self._unpaid)
            location = self._following(location)

    def _failed(self, failure: Failure, location: str) -> None:
        """Nothing that is wrong with one blob keeps the next from being looked at."""
        if failure.check(Busy, DiskFailed):
            self.log.warn(
                "{location!r} is not verified: {reason}", location=location, reason=failure.value
            )
        # What is damaged the store has told of; what is gone need not be looked at.
        elif not failure.check(Damaged, NotFound, Stopped):
            self.log.failure("{location!r} is not verified", failure=failure, location=location)

    def _round_failed(self, failure: Failure) -> None:
        if not failure.check(Stopped):
            self.log.failure("A round of the scrub failed", failure=failure)

    def _read(self, length: int) -> Deferred[None]:
        """Pay for a read of so many bytes; the next may come when the Deferred fires."""
        self._unpaid = max(0, self._unpaid - length)
        return self._pay(length)

    def _pay(self, length: int) -> Deferred[None]:
        now = self._clock.seconds()
        self._due = max(self._due, now) + length / self._rate
        return self._sleep(self._due - now)

    def _sleep(self, seconds: float) -> Deferred[None]:
        """Wait; fails with Stopped when the service has been stopped."""
        self._waiting = deferLater(self._clock, seconds)
        if not self.running:
            self._waiting.cancel()
        return self._waiting.addBoth(self._awake)

    def _awake(self, result: object) -> None:
        self._waiting = None
        if not self.running:
            raise Stopped()
