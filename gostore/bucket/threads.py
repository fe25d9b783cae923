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
from contextlib import suppress
from functools import partial
from operator import itemgetter
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from gostore.bucket.asking import RETRY_AFTER
from gostore.bucket.protocol import OutcomeUnknown
from gostore.errors import Busy
from gostore.store.workers import DaemonThread, Ongoing

T = TypeVar("T")

THREADS = 32
"""Requests that are at work at a time."""

LARGE_THREADS = 8
"""Threads for large spans: each keeps the memory of one, whether it needs it or not."""

WAITING = 512
"""Requests that wait for a thread; the next one is refused."""

CROWD = 64
"""Requests that wait for their turn at one location; the next one is refused."""

DEADLINE = 20.0
"""Seconds after which a request is answered, whether the bucket answers or not."""

TRYING = 12.0
"""Seconds after which nothing is tried again."""


class Pool:
    """Threads that call functions in the order in which they came.

    A request passes through here once or twice, and waits meanwhile. Twisted's pool needs five
    times as long to hand a function over.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._functions: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads = [
            DaemonThread(target=self._work, name=f"{name}-{number}") for number in range(threads)
        ]

    def start(self) -> None:
        """Start the threads. Raises RuntimeError if there is no room for them."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads once the queue is empty."""
        for _ in self._threads:
            self._functions.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def call(self, function: Callable[[], object]) -> None:
        """Let a thread call a function, which raises nothing."""
        self._functions.put(function)

    def _work(self) -> None:
        while (function := self._functions.get()) is not None:
            function()


class Threads:
    """Runs what blocks. ``judge`` is told the result, or the Failure, of each request."""

    def __init__(self, reactor: Any, judge: Callable[[object], None], uploads: int) -> None:
        """``uploads`` threads at most are for large uploads."""
        self._reactor = reactor
        self._judge = judge
        self._requests = Pool(THREADS, "bucket")
        self._large = Pool(LARGE_THREADS, "bucket-large")
        self._chores = Pool(1, "bucket-chore")
        self._most_uploads = uploads
        self._steps = Pool(2 * THREADS, "bucket-step")
        self._uploads: ThreadPoolExecutor | None = None
        self._asked = 0
        self._turns: dict[str, deque[Deferred[None]]] = {}
        self.ongoing = Ongoing()

    def start(self) -> None:
        """Start the threads. Raises RuntimeError if there is no room for them."""
        self._uploads = ThreadPoolExecutor(self._most_uploads, "bucket-upload")
        self._steps.start()
        self._requests.start()
        self._large.start()
        self._chores.start()

    def stop(self) -> None:
        """Stop the threads, and wait for the requests that they are at."""
        if self._uploads is not None:
            self._requests.stop()
            self._large.stop()
            self._chores.stop()
            self._steps.stop()
            self._uploads.shutdown(wait=False)

    def run(
        self,
        function: Callable[[float], T],
        over: Callable[[], None] = lambda: None,
        *,
        is_errand: bool = False,
        is_large: bool = False,
        after: Callable[[T], object] | None = None,
    ) -> Deferred[T]:
        """Run a function in a thread; it is given its deadline. Fails with Busy at ours.

        ``over`` is called when the thread is done with it, be it after the deadline. An errand may
        wait when a request is refused. What ``is_large`` brings many bytes into memory. ``after``
        is given the result in the same thread, once the answer is on its way; its errors are lost.
        """
        if self._asked >= THREADS + WAITING * (1 + is_errand):
            over()
            return fail(Busy("Too many requests wait for the bucket", RETRY_AFTER))
        self._asked += 1
        answer: Deferred[T] = Deferred()
        begun = time.monotonic()

        def work() -> None:
            result: T | Failure
            try:
                if time.monotonic() > begun + TRYING:
                    raise Busy("The bucket is too slow for so many requests", RETRY_AFTER)
                result = function(begun + TRYING)
            except Exception:
                result = Failure()
            self._reactor.callFromThread(done, result)
            if after is not None and not isinstance(result, Failure):
                with suppress(Exception):
                    after(result)

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
            self.ongoing.end(None)

        self.ongoing.begin()
        (self._large if is_large else self._requests).call(work)
        return answer

    def run_in_turn(
        self,
        location: str,
        function: Callable[[float], T],
        after: Callable[[T], object] | None = None,
    ) -> Deferred[T]:
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
        return turn.addCallback(
            lambda _: self.run(function, lambda: self._leave(location), after=after)
        )

    def _leave(self, location: str) -> None:
        waiting = self._turns[location]
        if waiting:
            waiting.popleft().callback(None)
        else:
            del self._turns[location]

    def chore(self, function: Callable[[], None]) -> Deferred[None]:
        """Run a function after the one before, for as long as it takes."""
        answer: Deferred[None] = Deferred()

        def work() -> None:
            try:
                function()
            except Exception:
                self._reactor.callFromThread(answer.errback, Failure())
            else:
                self._reactor.callFromThread(answer.callback, None)

        self._chores.call(work)
        return self.ongoing.watch(answer)

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
        # Futures need several times as long.
        done: SimpleQueue[tuple[int, T | None, BaseException | None]] = SimpleQueue()

        def make(number: int) -> None:
            try:
                result = calls[number]()
            except BaseException as error:
                done.put((number, None, error))
            else:
                done.put((number, result, None))

        for number in range(1, len(calls)):
            self._steps.call(partial(make, number))
        make(0)
        # None is left behind if one fails.
        made = sorted((done.get() for _ in calls), key=itemgetter(0))
        for _, _, error in made:
            if error is not None:
                raise error
        return [cast("T", result) for _, result, _ in made]
