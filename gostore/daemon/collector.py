"""The garbage collector as a service: it asks the store for a collection run at an interval.

Garbage (store/) knows what is dead, collect (volume/) removes it, and the collector asks for it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()


class Collector(Service):
    """Runs ``collect`` every ``interval`` seconds, one run at a time, for as long as it is running.

    ``collect`` returns a Deferred that fires when its run is over. A run longer than the interval
    makes the next one wait. The next run comes after a failed one, too. A failure is logged when it
    is another one than before, and counted otherwise.
    """

    def __init__(
        self, collect: Callable[[], Deferred[None]], interval: float, clock: IReactorTime
    ) -> None:
        self.setName("collector")
        self._collect = collect
        self._interval = interval
        self._loop = LoopingCall(self._run)
        self._loop.clock = clock
        self._stopped: Deferred[LoopingCall] | None = None
        #: The runs that have failed in a row, and why the last one did.
        self._failures = 0
        self._reason = ""
        #: How many runs have ended well, and how many have failed.
        self.succeeded = self.failed = 0

    def startService(self) -> None:
        """Start the loop. The first run comes one interval from now."""
        super().startService()
        self._stopped = self._loop.start(self._interval, now=False)

    def stopService(self) -> Deferred[LoopingCall] | None:
        """Stop the loop. The Deferred fires when a run in progress is over."""
        super().stopService()
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            self._loop.stop()
        return stopped

    def _run(self) -> Deferred[None]:
        # A LoopingCall stops for ever, without a word, at the first failure.
        return maybeDeferred(self._collect).addCallbacks(self._succeeded, self._failed)

    def _succeeded(self, result: object) -> None:
        self.succeeded += 1
        if self._failures:
            log.info("A collection run has succeeded after {count} failed", count=self._failures)
        self._failures, self._reason = 0, ""

    def _failed(self, failure: Failure) -> None:
        self.failed += 1
        self._failures += 1
        reason = repr(failure.value)
        if reason == self._reason:
            return
        self._reason = reason
        log.failure(
            "A collection run failed; the next one is in {interval} s",
            failure=failure,
            interval=self._interval,
        )
