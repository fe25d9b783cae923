"""The store's garbage: it knows what is dead on the disk, and has it retired and collected.

The daemon's collector asks for a run, and volume.collect does it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gostore.blob import Blob, Committed
from gostore.store.dates import DueTime
from gostore.store.history import History
from gostore.store.index import Ids
from gostore.store.keeping import Keeping
from gostore.store.workers import Workers
from gostore.volume.collect import Collected, Dead, Replaced, collect, retire
from gostore.volume.directory import OutcomeUnknown
from gostore.volume.recovery.findings import Findings
from gostore.volume.recovery.repair import remove_quarantined
from gostore.volume.volume import Volume

#: Seconds after which a replaced blob is marked: those of a second share a flush.
RETIRE_AFTER = 1.0

#: This many deleted blobs have their times remembered, should the clock be set back.
_REMEMBERED = 10_000

SECOND = 1_000_000_000
"""In nanoseconds, as the store counts."""

log = Logger()


class Garbage:
    """Dead blobs, dropped stages and quarantined remains that are still on the disk.

    Dead blobs that are kept are in ``history``, until their time is over.
    """

    def __init__(
        self, volume: Volume, workers: Workers, ids: Ids, clock: IReactorTime, history: History
    ) -> None:
        self._volume = volume
        self._workers = workers
        self._ids = ids
        self._clock = clock
        self.now = volume.now
        self.history = history
        self.keeping = Keeping(volume, workers, clock, history)
        self._due_time = DueTime(volume.now, clock.seconds)
        self._dead: dict[int, Dead] = {}
        #: When each of them was taken in, the first one first.
        self._since: dict[int, float] = {}
        #: How many bytes they have.
        self.bytes = 0
        #: The ids of the dead blobs of each location, in the order in which they died.
        self._dead_at: dict[str, dict[int, None]] = {}
        #: The recorded times of deleted blobs, until they are collected and those seconds past.
        self._deleted_at: dict[str, int] = {}
        #: Dead blobs that have never had files, each after the number of a batch at its end.
        self._unwritten: deque[tuple[int, int]] = deque()
        self._stages: set[int] = set()
        #: How many blobs and stages the runs have removed.
        self.collected = 0
        #: Directories of damaged blobs whose location has been written since.
        self._remains: dict[str, set[str]] = {}
        #: The blobs to be marked.
        self._replaced: list[Replaced] = []
        #: Blobs to be kept that had no files yet when their turn came.
        self._fileless: list[Replaced] = []
        self._retiring = False
        self._stopping = False

    @property
    def dead(self) -> list[Dead]:
        """The dead blobs."""
        return list(self._dead.values())

    @property
    def stages(self) -> list[int]:
        """The ids of the dropped stages."""
        return list(self._stages)

    def dead_ids(self, location: str) -> list[int]:
        """Return the ids of the dead blobs of a location."""
        kept = (dead.id for dead in self.history.at(location))
        return [*self._dead_at.get(location, ()), *kept]

    def remains(self, location: str) -> set[str]:
        """Return the names of a location's quarantined directories that are to be removed."""
        return self._remains.get(location, set())

    @property
    def age(self) -> float:
        """Seconds that the dead blob has been known that has waited longest; 0 if there is none."""
        since = next(iter(self._since.values()), None)
        return 0.0 if since is None else self._clock.seconds() - since

    def restore(self, found: Findings, is_live: Callable[[str], bool]) -> None:
        """Take in what a start has found; ``is_live`` says which locations have a blob."""
        for dead in found.dead:
            self.add(dead)
        self.history.restore(found.history.values(), is_live, self._volume.now())
        self.keeping.start()
        self._due_time()

    def add(self, dead: Dead) -> None:
        """Take in a dead blob."""
        self._take_out(dead.id)
        self._dead[dead.id] = dead
        self._since[dead.id] = self._clock.seconds()
        self.bytes += max(dead.size, 0)
        self._dead_at.setdefault(dead.location, {})[dead.id] = None

    def add_stage(self, blob_id: int) -> None:
        """Take in a stage that nobody writes any more."""
        self._stages.add(blob_id)

    def add_deleted(self, blob: Committed, when: int, *, keeps: bool) -> None:
        """Take in a blob that was deleted, and remember its time for the next one there.

        ``keeps`` says whether it is kept as history: so it was decided, and so it is on the disk.
        """
        written = self._volume.backlog.journal.written
        if keeps:
            self.history.add(_dead(blob, None, written, when), self._volume.now())
        elif not self._is_unwritten(blob):
            self.add(_dead(blob, None, written, when))
        self._deleted_at[blob.location] = blob.modified
        if len(self._deleted_at) > _REMEMBERED:
            del self._deleted_at[next(iter(self._deleted_at))]

    def deleted_at(self, location: str) -> int | None:
        """Return the recorded time of a blob that was deleted at a location not long ago."""
        return self._deleted_at.get(location)

    def _is_unwritten(self, blob: Committed) -> bool:
        """Say whether a dead blob has never had files; then only its id is kept for a while.

        A start that finds its batch in the journal knows blobs by their ids alone.
        """
        backlog = self._volume.backlog
        if not backlog.applier.forget(blob.id):
            return False
        self._unwritten.append((backlog.journal.written, blob.id))
        self._release_unwritten()
        return True

    def _release_unwritten(self) -> None:
        recorded = self._volume.backlog.journal.recorded_synced
        while self._unwritten and self._unwritten[0][0] <= recorded:
            self._ids.release(self._unwritten.popleft()[1])

    # -- retiring -----------------------------------------------------------------------------

    def add_replaced(self, blob: Committed, by: Blob, *, keeps: bool) -> None:
        """Take in a blob that another has replaced; have it marked soon, with others.

        ``keeps`` is as for `add_deleted`.
        """
        written = self._volume.backlog.journal.written
        if keeps:
            self.history.add(_dead(blob, by.id, written, by.changed), self._volume.now())
        elif self._is_unwritten(blob):
            return
        else:
            self.add(_dead(blob, by.id, written, by.changed))
        self._replaced.append(Replaced(blob, by.id, by.changed, by.origin))
        if not (self._retiring or self._stopping):
            self._retiring = True
            self._clock.callLater(RETIRE_AFTER, self._retire_now)

    def unmarked(self, ids: Container[int]) -> dict[int, Replaced]:
        """Return how those of these blobs were replaced whose records do not say so yet."""
        waiting = (*self._replaced, *self._fileless)
        return {each.blob.id: each for each in waiting if each.blob.id in ids}

    def _retire_now(self) -> None:
        if not self._stopping:  # else `finish` does it, while there are threads
            self._retire()

    def _retire(self) -> None:
        ready: list[Replaced] = []
        fileless: list[Replaced] = []
        for each in (*self._fileless, *self._replaced):
            has_files = self._volume.backlog.applier.data_of(each.blob.id) is None
            (ready if has_files else fileless).append(each)
        self._replaced, self._fileless = [], fileless
        self._workers.errand(retire, self._volume, ready).addBoth(self._retired)

    def _retired(self, _: object) -> None:
        self._retiring = bool(self._replaced) and not self._stopping
        if self._retiring:
            self._clock.callLater(RETIRE_AFTER, self._retire_now)

    # -- quarantined remains ------------------------------------------------------------------

    def add_remains(self, location: str, name: str) -> None:
        """Take in the directory of a damaged blob whose location has been written; remove it.

        Until it is gone a DELETE has to see to it.
        """
        self._remains.setdefault(location, set()).add(name)
        self._remove_remains(location)

    def forget_remains(self, location: str) -> None:
        """A DELETE has seen to a location's remains."""
        self._remains.pop(location, None)

    def _remove_remains(self, location: str) -> None:
        names = list(self._remains[location])
        removed = self._workers.errand(remove_quarantined, self._volume, names)
        removed.addCallback(self._remains_removed, location)

    def _remains_removed(self, gone: Iterable[str] | None, location: str) -> None:
        # A DELETE may have seen to them meanwhile.
        names = self._remains.get(location, set())
        names.difference_update(gone or ())
        if not names:
            self._remains.pop(location, None)

    # -- collecting ---------------------------------------------------------------------------

    def collect(self) -> Deferred[int | None]:
        """Remove what is dead, in one run; give how many bytes are free then, None if unknown."""
        # After an unknown outcome only a restart can tell what is done.
        if self._volume.broken is None:
            for location in list(self._remains):
                self._remove_remains(location)
        if self._fileless and not (self._retiring or self._stopping):
            self._retiring = True
            self._retire()
        self.keeping.tick()
        # It has to see each jump, whether something is kept by then or not.
        self._due_time()
        for dead in self.history.take_due(self._due_time.has_come):
            self.add(dead)
        return Deferred.fromCoroutine(self._collect(self.dead))

    async def give_up(self, dead: Sequence[Dead]) -> None:
        """Have blobs collected with the next run that would have been kept for longer."""
        backlog = self._volume.backlog
        # At once: a deletion has to know of all elders that may be on the disk.
        for each in dead:
            self.add(each)
        fileless = [each.id for each in dead if backlog.applier.data_of(each.id) is not None]
        if fileless:
            gone = await self._workers.commits.run(backlog.applier.give_up, fileless)
            # A run may have found one gone meanwhile, and have freed its id.
            for blob_id in self._dead.keys() & gone:
                self._take_out(blob_id)
                self._unwritten.append((backlog.journal.written, blob_id))

    def give_way(self, location: str) -> None:
        """A location has been written: give up the history that its quotas have no room for."""
        if taken := self.history.give_way(location):
            self._workers.ongoing.watch(Deferred.fromCoroutine(self.give_up(taken)))

    def stop(self) -> None:
        """Begin nothing more of its own accord; `finish` does the rest."""
        self._stopping = True

    async def finish(self) -> None:
        """Retire what was replaced, and remove the stages."""
        if len(self.history):
            await self._workers.commits.run(self._volume.backlog.retry)
        self._retire()
        await self._collect([])

    async def _collect(self, dead: Sequence[Dead]) -> int | None:
        stages = self.stages
        journal = self._volume.backlog.journal
        await self._workers.chores.run(self._checkpoint)
        if dead or self._unwritten:
            await self._workers.commits.run(self._tell_journal)
            self._release_unwritten()
        # The files of later ones may be there, and not flushed, or about to be made.
        dead = [one for one in dead if one.batch <= journal.synced]
        collected, free = await self._workers.chores.run(self._collect_in_worker, dead, stages)
        self._forget(collected)
        self.collected += len(collected.ids)
        if self._volume.backlog.applier.obstacle is not None:
            # There may be room now.
            await self._workers.commits.run(self._volume.backlog.retry)
        for blob_id in collected.ids:
            # A run may remove a deleted blob before the maps show the deletion. Then the blob is
            # dead only after this, and the next run finds it gone.
            if self._ids.get(blob_id) is None:
                self._ids.release(blob_id)
        return free

    def _forget(self, collected: Collected) -> None:
        """Take out what a run has removed, and whatever had the ids that are free now.

        A run may free more ids than it was given: a concurrent delete may have moved a blob to the
        trash.
        """
        for blob_id in {*collected.ids, *(dead.id for dead in collected.blobs)}:
            self._take_out(blob_id)
        self._stages.difference_update(collected.ids)
        second = self._volume.now() // SECOND
        while self._deleted_at:
            location, time = next(iter(self._deleted_at.items()))
            if location in self._dead_at or time // SECOND >= second:
                break
            del self._deleted_at[location]

    def _take_out(self, blob_id: int) -> None:
        dead = self._dead.pop(blob_id, None)
        if dead is None:
            # A deletion without a tombstone takes its elders with it.
            self.history.discard(blob_id)
            return
        del self._since[blob_id]
        self.bytes -= max(dead.size, 0)
        group = self._dead_at[dead.location]
        del group[blob_id]
        if not group:
            del self._dead_at[dead.location]

    # In a worker:

    def _checkpoint(self) -> None:
        with suppress(OutcomeUnknown):  # it is logged, and collect then leaves the blobs alone
            self._volume.backlog.checkpoint()

    def _tell_journal(self) -> None:
        """Record that a start need not look in the journal for what is about to be removed.

        A start would judge rightly by a whole journal, but the deletion's batch may be damaged.
        """
        try:
            self._volume.backlog.record_checkpoint()
        except OutcomeUnknown:
            pass  # as above
        except OSError as error:
            if (due := self._volume.trash.repeats.due("the journal", str(error))) is not None:
                log.warn("The journal is not told of what is collected: {error}", error=due)

    def _collect_in_worker(
        self, dead: Iterable[Dead], stages: Iterable[int]
    ) -> tuple[Collected, int | None]:
        collected = collect(self._volume, dead, stages)
        try:
            return collected, self._volume.free()[0]
        except OSError as error:
            if (due := self._volume.trash.repeats.due("the room", str(error))) is not None:
                log.warn("How much room is left is not known: {error}", error=due)
            return collected, None


def _dead(blob: Committed, by: int | None, batch: int, ended: int) -> Dead:
    """Take a blob that has died."""
    return Dead(blob.id, blob.location, blob.generation, by, batch, blob.size, ended)
