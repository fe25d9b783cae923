"""Keeps the record cache: writes it anew while nobody commits, and at the end.

To write it after a start without one is to read every record once more. So while the store serves,
this goes on in small steps, with a rest after each, and waits for whoever writes blobs.  Without
the cache nothing but the next start is slower, so a failure is a line in the log.
"""

from __future__ import annotations

import time

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gostore.blob import Committed
from gostore.errors import ReadOnly
from gostore.store.history import History
from gostore.store.index import Index
from gostore.store.workers import Workers
from gostore.text import Repeats
from gostore.volume.collect import Dead
from gostore.volume.recovery.records import RecordWriter
from gostore.volume.volume import Volume

#: While the store serves, the cache may lack so few records: a start reads them in no time.
_FEW = 1024

#: The cache may lack one in so many of all records.
_SHARE = 64

#: How many blobs one step is about, while the store serves and at its end.
_STEP, _LAST_STEP = 64, 4096

#: Seconds of rest after a step, and after one during which a blob was committed.
_REST, _LONG_REST = 0.01, 1.0

#: For so many seconds at most a stopping store reads records.
_PATIENCE = 2.0

log = Logger()


class Recording:
    """Knows how much the record cache lacks, and has it written."""

    def __init__(
        self,
        volume: Volume,
        workers: Workers,
        index: Index,
        history: History,
        clock: IReactorTime,
    ) -> None:
        self._volume = volume
        self._history = history
        self._workers = workers
        self._index = index
        self._clock = clock
        self._reserve = 0
        #: How many records the cache lacked after so many commits.
        self._lacked = 0
        self._lacked_after = 0
        #: How many commits there were when `tick` looked last.
        self._seen = -1
        self._writing = False
        self._stopping = False
        self._resting: Deferred[None] | None = None
        self._repeats = Repeats()

    def begin(self, lacked: int, reserve: int) -> None:
        """Take in how many records a start had to read, and how many bytes are to stay free."""
        self._lacked, self._reserve = lacked, reserve

    @property
    def _all(self) -> int:
        return len(self._index) + len(self._history)

    @property
    def _lacking(self) -> int:
        return self._lacked + self._index.commits - self._lacked_after

    def tick(self) -> None:
        """Write the cache if that is worth while, and nobody has committed since the last tick."""
        idle, self._seen = self._seen == self._index.commits, self._index.commits
        least = max(_FEW, self._all // _SHARE)
        if idle and self._lacking >= least and not (self._writing or self._stopping):
            self._workers.ongoing.watch(Deferred.fromCoroutine(self._write(is_last=False)))

    def stop(self) -> None:
        """Give up what is being written; `finish` does it better."""
        self._stopping = True
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.callback(None)

    async def finish(self) -> None:
        """Write the cache, if more has changed than a start reads in no time."""
        if self._lacking > self._all // _SHARE:
            await self._write(is_last=True)

    async def _write(self, *, is_last: bool) -> None:
        commits, chores = self._index.commits, self._workers.chores
        writer = RecordWriter(self._volume.directory, self._reserve)
        self._writing = True
        try:
            # What could not be flushed may be otherwise on the disk than in memory.
            self._volume.check()
            if await chores.run(writer.begin):
                if not await self._add_all(writer, is_last):
                    await chores.run(writer.abandon)
                    return
                await chores.run(writer.finish)
        except ReadOnly:  # it is logged
            await chores.run(writer.abandon)
        except (OSError, MemoryError) as error:
            await chores.run(writer.abandon)
            if (due := self._repeats.due("", str(error))) is not None:
                log.info("The record cache is not written: {error}", error=due)
        finally:
            self._writing = False
        # After a failure, too: another try fares no better before there is more to write.
        self._lacked, self._lacked_after = 0, commits

    async def _add_all(self, writer: RecordWriter, is_last: bool) -> bool:
        """Add all blobs, step by step; False if somebody has called `stop` meanwhile."""
        impatient = time.monotonic() + _PATIENCE
        location = ""
        while blobs := self._behind(location, _LAST_STEP if is_last else _STEP):
            if self._stopping and not is_last:
                return False
            commits = self._index.commits
            may_look = not is_last or time.monotonic() < impatient
            await self._workers.chores.run(writer.add, blobs, may_look)
            location = blobs[-1].location
            if not is_last:
                await self._rest(_REST if commits == self._index.commits else _LONG_REST)
        return True

    def _behind(self, location: str, most: int) -> list[Committed | Dead]:
        """Return some of the blobs behind a location, alive or kept: all of each location."""
        alive = self._index.blobs_behind(location, most)
        dead = self._history.behind(location, most)
        ends = [found[-1].location for found in (alive, dead) if len(found) >= most]
        both: list[Committed | Dead] = [*alive, *dead]
        if ends:
            both = [blob for blob in both if blob.location <= min(ends)]
        both.sort(key=lambda blob: (blob.location, blob.generation))
        return both

    def _rest(self, seconds: float) -> Deferred[None]:
        self._resting = resting = Deferred[None]()

        def wake() -> None:
            if self._resting is resting:
                self._resting = None
                resting.callback(None)

        if self._stopping:
            wake()
        else:
            self._clock.callLater(seconds, wake)
        return resting
