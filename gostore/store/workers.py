"""The threads that may wait for the disk, so that the reactor never does.

Four queues, each with threads of its own: ``commits``, one thread that makes batches durable;
``applying``, one thread that makes the files of small changes behind it; ``chores``, one thread
that retires, collects and quarantines; ``files``, several threads for the bodies that come and go.
`Workers.start` starts the threads, after twistd has forked: a fork keeps only the thread that
called it.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread, stack_size
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

#: Enough for a few slow disks' worth of waiting; more would only fight for the interpreter lock.
FILE_THREADS = 16

#: Bytes of stack that each thread may use for its calls; the system's default is eight times this.
_STACK = 1024 * 1024

log = Logger()


class DaemonThread(Thread):
    """A thread that keeps no process alive when the reactor has failed and nobody stops it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, daemon=True, **named)


class Queue:
    """Functions that wait for one of a few threads, in the order in which they came."""

    def __init__(
        self, reactor: Any, threads: int, name: str, thread: type[Thread] = DaemonThread
    ) -> None:
        self._reactor = reactor
        # All threads from the start: when they are needed there may be no memory for a new one.
        self._pool = ThreadPool(threads, threads, name)
        self._pool.threadFactory = thread

    def start(self) -> None:
        """Start the threads. Raises RuntimeError if there is no room for them."""
        self._pool.start()

    def stop(self) -> None:
        """Stop the threads once the queue is empty."""
        self._pool.stop()

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Run a function in a thread, and give its result to the reactor."""
        return deferToThreadPool(self._reactor, self._pool, function, *arguments)


class Ongoing:
    """Work that has begun and not ended: ``count`` pieces of it, for which a stop waits."""

    def __init__(self) -> None:
        self.count = 0
        self._idle: Deferred[None] | None = None

    def begin(self) -> None:
        """Count some work until `end`."""
        self.count += 1

    def end(self, result: T) -> T:
        """The work is over; pass its result on."""
        self.count -= 1
        if not self.count and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)
        return result

    def watch(self, work: Deferred[T]) -> Deferred[T]:
        """Count some work until its Deferred fires."""
        self.begin()
        return work.addBoth(self.end)

    def wait(self) -> Deferred[None]:
        """Wait until there is no work. Call it once."""
        if not self.count:
            return succeed(None)
        self._idle = Deferred()
        return self._idle


class Workers:
    """The four queues, and what is under way in them or on its way there."""

    def __init__(self, reactor: Any, thread: type[Thread] = DaemonThread) -> None:
        self.commits = Queue(reactor, 1, "commits", thread)
        self.applying = Queue(reactor, 1, "applying", thread)
        self.chores = Queue(reactor, 1, "chores", thread)
        self.files = Queue(reactor, FILE_THREADS, "files", thread)
        self.ongoing = Ongoing()
        self._running: list[Queue] = []

    def start(self) -> None:
        """Start the threads. Raises RuntimeError if there is no room for them."""
        before = stack_size(_STACK)
        try:
            for queue in (self.commits, self.applying, self.chores, self.files):
                queue.start()
                self._running.append(queue)
        finally:
            stack_size(before)

    def stop(self) -> None:
        """Stop the threads, and wait for the functions that they run."""
        while self._running:
            self._running.pop().stop()

    def errand(self, function: Callable[..., T], *arguments: Any) -> Deferred[T | None]:
        """Run a chore that only a stop waits for. A failure is logged, and the result is None."""
        done = self.chores.run(function, *arguments).addErrback(
            lambda failure: log.failure("A chore failed", failure=failure)
        )
        return self.ongoing.watch(done)
