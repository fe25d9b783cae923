"""The threads that may wait for the disk, so that the reactor never does.

Three rooms, each a queue of its own: ``commits``, one thread that makes batches durable;
``chores``, one thread that retires, collects and sets aside; ``files``, several threads for the
bodies that come and go.  Threads are started by `Workers.start`, which has to come after twistd
has forked: a fork keeps only the thread that called it.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread, stack_size
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

#: Enough for a few slow disks' worth of waiting; more would only fight for the interpreter lock.
FILE_THREADS = 16


#: Bytes of memory that each may use for its calls; what the system gives is eight times as much.
_STACK = 1024 * 1024


class _Thread(Thread):
    """One that keeps no process alive, where the reactor has failed and nobody stops it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, daemon=True, **named)


class _Pool(ThreadPool):
    threadFactory = _Thread


class Workers:
    """Runs functions in threads, and gives their results back to the reactor as Deferreds."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._commits = _Pool(1, 1, "commits")
        self._chores = _Pool(1, 1, "chores")
        # All of them at once: when they are needed there may be no memory to start one.
        self._files = _Pool(FILE_THREADS, FILE_THREADS, "files")
        self._running: list[_Pool] = []

    def start(self) -> None:
        """Start the threads. Raises RuntimeError if there is no room for them."""
        before = stack_size(_STACK)
        try:
            for pool in (self._commits, self._chores, self._files):
                pool.start()
                self._running.append(pool)
        finally:
            stack_size(before)

    def stop(self) -> None:
        """Stop the threads, waiting for the functions they are in."""
        while self._running:
            self._running.pop().stop()

    def soon(self, function: Callable[[], None], seconds: float = 0) -> None:
        """Call a function on the reactor's thread, when it has seen to what it is at now."""
        self._reactor.callLater(seconds, function)

    def commit(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Run a function among the commits, one after another."""
        return deferToThreadPool(self._reactor, self._commits, function, *arguments)

    def chore(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Run a function among the chores, one after another."""
        return deferToThreadPool(self._reactor, self._chores, function, *arguments)

    def file(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Run a function beside others of its kind."""
        return deferToThreadPool(self._reactor, self._files, function, *arguments)
