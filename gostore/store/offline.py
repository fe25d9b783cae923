"""A store that no reactor runs: for a command that changes a directory while no daemon does.

It is the same store, so the same happens on the disk. Each step is taken at once, by the caller's
thread, and what waits for a time does not have to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gostore.prefixes import ByPrefix
from gostore.store.blobstore import BlobStore
from gostore.store.workers import Ongoing, Queue, Workers
from gostore.volume.volume import Volume

T = TypeVar("T")


class _AtOnce(Queue):
    """A queue in which nobody waits."""

    def __init__(self) -> None:
        """There are no threads to be made."""

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Call a function, and give its result."""
        return execute(function, *arguments)


class _Alone(Workers):
    """The four queues of a store that has one thread."""

    def __init__(self) -> None:
        self.commits = self.applying = self.chores = self.files = _AtOnce()
        self.ongoing = Ongoing()

    def start(self) -> None:
        """There are no threads to be started."""

    def stop(self) -> None:
        """There are no threads to be stopped."""


class Offline:
    """A store that is open; it gives up none of its history before there is need."""

    def __init__(self, volume: Volume) -> None:
        self._clock = Clock()
        self.store = BlobStore(volume, _Alone(), self._clock, reserve=0, keep=ByPrefix(math.inf))
        self.store.garbage.keeping.is_noted = False

    def wait(self, asked: Deferred[T]) -> T:
        """Give the result of what was asked of the store, or raise what it fails with."""
        results: list[T | Failure] = []
        asked.addBoth(results.append)
        while not results:
            assert self._clock.getDelayedCalls(), "nothing will happen any more"
            self._clock.advance(1.0)
        result = results[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result


@contextmanager
def opened(volume: Volume) -> Iterator[Offline]:
    """Open a store, and start it as a daemon would; stop it at the end.

    Raises VolumeInUse or VolumeUnusable.
    """
    offline = Offline(volume)
    offline.store.open()
    try:
        offline.store.start()
        try:
            yield offline
        finally:
            offline.wait(offline.store.stop())
    finally:
        offline.store.close()
