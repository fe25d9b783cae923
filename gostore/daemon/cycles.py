"""When Python's gc looks for cycles of objects: seldom under load, and thoroughly at rest.

By default it looks at every 700 new objects, which took a tenth of the reactor's time, and finds
next to nothing. No blob is in a cycle, and neither a request nor a connection leaves one; only each
job of Twisted's thread pool does. Objects in no cycle need no gc: they are freed as soon as nothing
refers to them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

#: How many more objects there may be before the gc looks at these, also under load: 2 MB of
#: cycles, say. It looks in some milliseconds. Each third time it looks at those before, too.
MANY = 10_000
_OLDER = 1

#: Seconds between two looks at whether there is nothing else to do, and of processor time that
#: counts as nothing in between.
INTERVAL = 5.0
REST = 0.05

#: Seconds that a full look may take. What is left by then is never looked at again.
_LONG = 0.005


class Cycles(Service):
    """Has Python's gc look for cycles when that keeps nobody waiting.

    It hides from the gc all objects that are there at the start, and later those that are left
    when a full look has taken long: with a million blobs it would hold the reactor for half a
    second.
    ``used`` is the processor time used so far, in seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        used: Callable[[], float] = time.process_time,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.setName("cycles")
        self._used = used
        self._seconds = seconds
        self._last = 0.0
        self._begun = 0.0
        self._thresholds = gc.get_threshold()
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def startService(self) -> None:
        """Hide what is there, and look seldom from now on."""
        super().startService()
        gc.freeze()
        self._thresholds = gc.get_threshold()
        gc.set_threshold(MANY, _OLDER, _OLDER)
        gc.callbacks.append(self._watch)
        self._last = self._used()
        self._loop.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Leave the gc as it was."""
        super().stopService()
        self._loop.stop()
        gc.callbacks.remove(self._watch)
        gc.set_threshold(*self._thresholds)

    def _look(self) -> None:
        last, self._last = self._last, self._used()
        if self._last - last < REST:
            gc.collect()
            self._last = self._used()

    def _watch(self, phase: str, collection: Mapping[str, int]) -> None:
        # What has been looked at twice before is most likely there to stay, and in no cycle yet.
        if collection["generation"] < 2:
            return
        if phase == "start":
            self._begun = self._seconds()
        elif self._seconds() - self._begun > _LONG:
            gc.freeze()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep Python's gc from looking again and again at objects that stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
