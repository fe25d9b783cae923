"""The order of changes: which is next at a location, and which become durable together.

Changes of one location happen one after another.  The next is decided only when the one before it
is durable and the maps show it, so every decision sees the current state, and generations grow in
the order of the commits.  Changes of different locations share flushes: those decided while one
batch is on its way to the disk make up the next.  Other work on a location's blob gets a turn too,
and takes part in no flush.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from gostore.errors import StoreError
from gostore.store.measures import Commits
from gostore.store.workers import Workers
from gostore.volume.changes import Change
from gostore.volume.volume import Volume

T = TypeVar("T")

#: Seconds without a commit after which the applier makes the files of small changes.
REST = 0.015

#: Under load it looks after so many times that what has waited too long: for a second at most.
_PATIENCE = 15

#: How many changes are made durable together.  With more, each of them waits longer than the
#: sharing saves.
BATCH = 64


#: For how many turns of the reactor a batch waits, at most, for more changes.
TURNS = 4


@define(eq=False)
class _Turn:
    location: str
    decide: Callable[[], Change | Deferred[None]]
    switch: Callable[[], Any]
    done: Deferred[Any] = field(factory=Deferred)


class Committer:
    """Takes changes in turn for each location and makes them durable in batches."""

    def __init__(self, volume: Volume, workers: Workers, clock: IReactorTime) -> None:
        self._volume = volume
        self._workers = workers
        self._clock = clock
        #: The turns that wait for a location, without the one that is changing it.
        self._waiting: dict[str, deque[_Turn]] = {}
        self._ready: list[tuple[_Turn, Change]] = []
        #: What is measured of the batches, and when the next one and the one in progress began.
        self.measured = Commits()
        self._first = self._flushed_from = 0.0
        self._flushing = False
        #: How many changes the last batch had.
        self._expected = 0
        self._checkpointing = False
        self._applying = False
        #: How many batches there were, and how many when the timer was set; -1: it is not.
        self._flushes = 0
        self._seen = -1
        self._looks = 0

    @property
    def busy(self) -> set[str]:
        """The locations that somebody is changing."""
        return set(self._waiting)

    def change(
        self, location: str, decide: Callable[[], Change], switch: Callable[[], T]
    ) -> Deferred[T]:
        """Change a location when its turn comes.

        ``decide`` then returns the change, or raises to refuse it.  When the change is durable,
        ``switch`` lets the maps show it, before the next turn comes.  The Deferred fires with the
        result of ``switch``, or fails with the reason why nothing was done, or nothing certain.
        """
        return self._queue(_Turn(location, decide, switch))

    def exclude(self, location: str, work: Callable[[], Deferred[None]]) -> Deferred[None]:
        """Work on a location when its turn comes, and let nobody change it meanwhile.

        The Deferred fires when the work is done, or fails as it does.
        """
        return self._queue(_Turn(location, work, lambda: None))

    def _queue(self, turn: _Turn) -> Deferred[Any]:
        queue = self._waiting.get(turn.location)
        if queue is None:
            self._waiting[turn.location] = deque((turn,))
            self._enter(turn.location)
        else:
            queue.append(turn)
        return turn.done

    def _enter(self, location: str) -> None:
        """Give the next caller at a location its turn."""
        queue = self._waiting[location]
        while queue:
            turn = queue.popleft()
            try:
                change = turn.decide()
            except Exception:
                turn.done.errback(Failure())
                continue
            if isinstance(change, Deferred):
                change.addBoth(self._excluded, turn)
                return
            if not self._ready:
                self._first = self._clock.seconds()
            self._ready.append((turn, change))
            if not self._flushing:
                self._flushing = True
                self._clock.callLater(0, self._gather, 0)
            return
        del self._waiting[location]

    def _excluded(self, result: Failure | None, turn: _Turn) -> None:
        turn.done.callback(result)
        self._enter(turn.location)

    def _gather(self, seen: int, turns: int = TURNS) -> None:
        """Flush, unless more changes are about to come: they shall share the flush.

        Those who were answered together ask again together. So as long as each turn of the reactor
        brings another change, wait some turns for as many as the last batch had.
        """
        if seen < len(self._ready) < self._expected and turns:
            self._clock.callLater(0, self._gather, len(self._ready), turns - 1)
        else:
            self._flush()

    def _flush(self) -> None:
        self._expected = min(len(self._ready), BATCH)
        batch, self._ready = self._ready[:BATCH], self._ready[BATCH:]
        self._flushed_from = self._clock.seconds()
        self.measured.sizes.add(len(batch))
        self.measured.waits.add(self._flushed_from - self._first)
        flushed = self._workers.commits.run(
            self._volume.protocol.carry_out, [change for _, change in batch]
        )
        flushed.addBoth(self._flushed, batch)

    def _flushed(
        self, result: list[StoreError | None] | Failure, batch: list[tuple[_Turn, Change]]
    ) -> None:
        self.measured.flushes.add(self._clock.seconds() - self._flushed_from)
        errors = [None] * len(batch) if isinstance(result, Failure) else result
        # `_flushing` stays set: the turns below make up one batch, not several.
        for (turn, _), error in zip(batch, errors, strict=True):
            if isinstance(result, Failure):
                self._lost(turn, result)
            elif error is not None:
                turn.done.errback(Failure(error))
            else:
                self._switch(turn)
            self._enter(turn.location)
        backlog = self._volume.backlog
        if backlog.is_checkpoint_due and not self._checkpointing:
            self._checkpointing = True
            self.measured.checkpoints += 1
            self._workers.chores.run(backlog.checkpoint).addBoth(self._checkpointed)
        if backlog.is_look_due:
            self._looks = 0
            backlog.look()
        if backlog.is_apply_due:
            self._apply(backlog.apply_due)
        self._flushes += 1
        self._flushing = bool(self._ready)
        if self._ready:
            self._clock.callLater(0, self._gather, 0)
        self._look_later()

    # -- the files behind ---------------------------------------------------------------------

    def _look_later(self) -> None:
        """See after a while whether there is time to make files."""
        if self._seen < 0 and self._volume.backlog.applier.waits:
            self._seen = self._flushes
            self._clock.callLater(REST, self._look)

    def _look(self) -> None:
        at_rest = self._seen == self._flushes and not self._flushing
        self._seen = -1
        if at_rest:
            self._apply(self._volume.backlog.apply)
            return
        self._looks += 1
        if self._looks % _PATIENCE == 0:
            self._volume.backlog.look()
        if not self._flushing:
            self._look_later()

    def _apply(self, work: Callable[[], None]) -> None:
        if not self._applying:
            self._applying = True
            self._workers.ongoing.begin()
            self._workers.applying.run(work).addBoth(self._applied)

    def _applied(self, result: Failure | None) -> None:
        self._applying = False
        self._workers.ongoing.end(None)
        backlog = self._volume.backlog
        if isinstance(result, Failure):
            self._volume.directory.give_up(f"a write failed: {type(result.value).__name__}")
        if backlog.applier.obstacle or self._volume.broken:
            return
        if self._flushing and backlog.is_apply_due:
            self._apply(backlog.apply_due)
        elif not self._flushing and backlog.applier.waits:
            self._apply(backlog.apply)

    def _switch(self, turn: _Turn) -> None:
        try:
            result = turn.switch()
        except Exception:
            self._lost(turn, Failure())
        else:
            turn.done.callback(result)

    def _lost(self, turn: _Turn, failure: Failure) -> None:
        """Stop writing: after an unforeseen failure the maps may not show what is durable."""
        self._volume.directory.give_up(f"a commit failed: {type(failure.value).__name__}")
        turn.done.errback(failure)

    def _checkpointed(self, result: Failure | None) -> None:
        # A checkpoint that failed has made the volume read-only, and has said so.
        self._checkpointing = False
