"""The threads that ask the bucket, so that the reactor never waits for it; none is without bounds.

Requests have one pool, the steps that a request takes at the same time another, and large uploads,
which may take hours, a third. A request that finds too many before it is refused at once, and each
is answered at its deadline, whatever its thread is at.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from gostore.bucket.asking import RETRY_AFTER
from gostore.bucket.protocol import OutcomeUnknown
from gostore.errors import Busy
from gostore.store.workers import Ongoing, Queue

T = TypeVar("T")

THREADS = 32
"""Requests that are at work at a time."""

WAITING = 512
"""Requests that wait for a thread; the next one is refused."""

CROWD = 64
"""Requests that wait for their turn at one location; the next one is refused."""

DEADLINE = 20.0
"""Seconds after which a request is answered, whether the bucket answers or not."""

TRYING = 12.0
"""Seconds after which nothing is tried again."""


class Threads:
    """Runs what blocks. ``judge`` is told the result, or the Failure, of each request."""

    def __init__(self, reactor: Any, judge: Callable[[object], None], uploads: int) -> None:
        """``uploads`` threads at most are for large uploads."""
        self._reactor = reactor
        self._judge = judge
        self._requests = Queue(reactor, THREADS, "bucket")
        self._most_uploads = uploads
        self._steps: ThreadPoolExecutor | None = None
        self._uploads: ThreadPoolExecutor | None = None
        self._asked = 0
        self._turns: dict[str, deque[Deferred[None]]] = {}
        self.ongoing = Ongoing()

    def start(self) -> None:
        """Start the threads. Raises RuntimeError if there is no room for them."""
        self._steps = ThreadPoolExecutor(2 * THREADS, "bucket-step")
        self._uploads = ThreadPoolExecutor(self._most_uploads, "bucket-upload")
        self._requests.start()

    def stop(self) -> None:
        """Stop the threads, and wait for the requests that they are at."""
        if self._steps is not None and self._uploads is not None:
            self._requests.stop()
            self._steps.shutdown(wait=False)
            self._uploads.shutdown(wait=False)

    def run(
        self,
        function: Callable[[float], T],
        over: Callable[[], None] = lambda: None,
        *,
        is_errand: bool = False,
    ) -> Deferred[T]:
        """Run a function in a thread; it is given its deadline. Fails with Busy at ours.

        ``over`` is called when the thread is done with it, be it after the deadline. An errand may
        wait when a request is refused.
        """
        if self._asked >= THREADS + WAITING * (1 + is_errand):
            over()
            return fail(Busy("Too many requests wait for the bucket", RETRY_AFTER))
        self._asked += 1
        answer: Deferred[T] = Deferred()
        begun = time.monotonic()

        def work() -> T:
            if time.monotonic() > begun + TRYING:
                raise Busy("The bucket is too slow for so many requests", RETRY_AFTER)
            return function(begun + TRYING)

        def give_up() -> None:
            error = OutcomeUnknown("The bucket does not answer in time", RETRY_AFTER)
            self._judge(Failure(error))
            answer.errback(error)

        timer = self._reactor.callLater(DEADLINE, give_up)

        def done(result: Any) -> None:
            self._asked -= 1
            over()
            self._judge(result)
            if timer.active():
                timer.cancel()
                answer.callback(result)

        self.ongoing.watch(self._requests.run(work).addBoth(done))
        return answer

    def run_in_turn(self, location: str, function: Callable[[float], T]) -> Deferred[T]:
        """Run what changes a location: one at a time, in the order in which they came."""
        waiting = self._turns.get(location)
        if waiting is None:
            self._turns[location] = deque()
            turn = succeed(None)
        elif len(waiting) >= CROWD:
            return fail(Busy("Too many requests wait for this location", RETRY_AFTER))
        else:
            turn = Deferred()
            waiting.append(turn)
        return turn.addCallback(lambda _: self.run(function, lambda: self._leave(location)))

    def _leave(self, location: str) -> None:
        waiting = self._turns[location]
        if waiting:
            waiting.popleft().callback(None)
        else:
            del self._turns[location]

    def upload(self, function: Callable[[], T]) -> Deferred[T]:
        """Run a function in a thread that it may keep for as long as it takes."""
        assert self._uploads is not None
        answer: Deferred[T] = Deferred()

        def work() -> None:
            try:
                result = function()
            except Exception:
                self._reactor.callFromThread(answer.errback, Failure())
            else:
                self._reactor.callFromThread(answer.callback, result)

        self._uploads.submit(work)
        return answer

    def together(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Make calls at the same time: one here, the others in threads for steps."""
        assert self._steps is not None
        others = [self._steps.submit(call) for call in calls[1:]]
        try:
            first = calls[0]()
        finally:
            # None is left behind if one fails.
            errors = [other.exception() for other in others]
        for error in errors:
            if error is not None:
                raise error
        return [first, *(other.result() for other in others)]
