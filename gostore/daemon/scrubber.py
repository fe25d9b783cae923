"""The scrub as a service: it verifies every blob, one after another, at a gentle pace.

A blob that nobody reads may rot unseen. Each GET verifies a small blob. It cannot verify a large
one, whose first byte leaves before the last is known. The scrub verifies both.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gostore.errors import Busy, Damaged, DiskFailed, NotFound, ReadOnly

log = Logger()

#: Each blob costs as many bytes as this at least, because opening a small one is work, too.
LEAST = 64 * 1024


class Stopped(Exception):
    """The service was stopped in the middle of a blob."""


class Scrubber(Service):
    """Calls ``verify`` for each location that ``following`` gives, reading ``rate`` bytes a second.

    ``following`` returns the location after a given one, "" for the first, or None after the last.
    ``verify`` takes a location and the function that paces its reads, and returns a Deferred. It
    quarantines a damaged blob, and logs that. The next round begins ``pause`` seconds after the
    last one ended. A rate of 0 turns the scrub off.
    """

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
        #: The time at which all bytes read so far are paid for.
        self._due = 0.0
        self._unpaid = 0
        #: Why the last round has left blobs out: the next one only counts these.
        self._reasons: set[str] = set()
        #: The bytes read and the damaged blobs found since the start, and when the last round
        #: ended, in seconds since the epoch; 0 if none has.
        self.bytes_read = self.damaged = 0
        self.last_round = 0.0
        self._waiting: Deferred[None] | None = None
        self._stopped: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin with the first blob, in a turn of the reactor of its own."""
        super().startService()
        if self._rate:
            self._stopped = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None] | None:
        """Stop. The Deferred fires when no read is in progress."""
        super().stopService()
        stopped, self._stopped = self._stopped, None
        if self._waiting is not None:
            self._waiting.cancel()
        return stopped

    async def _run(self) -> None:
        try:
            await self._sleep(0)
            while True:
                try:
                    await self._round()
                except Stopped:
                    raise
                except Exception:
                    log.failure("A round of the scrub failed")
                await self._sleep(self._pause)
        except Stopped:
            pass

    async def _round(self) -> None:
        skipped: Counter[str] = Counter()
        location = self._following("")
        while location is not None:
            self._unpaid = LEAST
            try:
                await self._verify(location, self._read)
            except Damaged:
                self.damaged += 1  # The store reports it.
            except (NotFound, ReadOnly, Stopped):
                pass  # What is gone needs no look.
            except (Busy, DiskFailed) as error:
                reason = str(error)
                skipped[reason] += 1
                if skipped[reason] == 1 and reason not in self._reasons:
                    log.warn(
                        "{location!r} is not verified: {reason}", location=location, reason=reason
                    )
            except Exception:
                log.failure("{location!r} is not verified", location=location)
            await self._pay(self._unpaid)
            location = self._following(location)
        for reason, count in skipped.items():
            if count > 1 or reason in self._reasons:
                log.warn("{count} blobs are not verified: {reason}", count=count, reason=reason)
        self._reasons = set(skipped)
        self.last_round = time.time()

    def _read(self, length: int) -> Deferred[None]:
        """Pay for a read of this length. The next read may begin when the Deferred fires."""
        self.bytes_read += length
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
