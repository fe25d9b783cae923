"""What a migration does with each blob, whatever it comes from and wherever it goes.

The source is only read. Each blob is compared with its digest before it counts. Nothing that the
target has is changed: a target is empty, or it has what an earlier, interrupted run has moved.
The target is marked until all is there, so that no daemon serves a part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from enum import Enum
from itertools import pairwise
from threading import Event
from typing import Any, TypeVar

from attrs import define, field, frozen

from gostore.blob import Committed
from gostore.errors import AlreadyExists, Busy, NotFound, Spoiled, StoreError, VolumeUnusable
from gostore.migration.ends import Source, Target
from gostore.store.versions import Kept

_T = TypeVar("_T")

#: How many blobs are settled together.
BATCH = 64

#: How often a blob is tried while a bucket does not answer.
_TRIES = 3

#: What has to be the same about a blob that both have.
_KEPT = ("size", "generation", "modified", "content_type", "metadata", "expires")


@frozen
class Options:
    """What a migration is told: how many blobs are on their way at a time, and what else.

    ``pause`` is how many seconds pass before a blob is tried once more.
    """

    jobs: int = 8
    dry: bool = False
    without_history: bool = False
    pause: float = 1.0


@define
class Report:
    """The outcome of a migration."""

    source: str
    target: str
    dry: bool = False
    blobs: int = 0
    #: Blobs that this run has moved, and their bytes; or that it would move.
    moved: int = 0
    #: Versions that were kept as history, and were moved.
    versions: int = 0
    bytes: int = 0
    #: Blobs that an earlier run had moved.
    there: int = 0
    damaged: dict[str, str] = field(factory=dict)
    conflicts: dict[str, str] = field(factory=dict)
    left: dict[str, int] = field(factory=dict)
    changed: bool = False
    complete: bool = False
    seconds: float = 0.0


class _Outcome(Enum):
    """What has become of one blob."""

    RECEIVED = 1
    THERE = 2
    GONE = 3
    DAMAGED = 4
    CONFLICT = 5


@frozen
class _Done:
    """The outcome for a location: why, what is to be settled, and the bytes."""

    location: str
    outcome: _Outcome
    reason: str = ""
    received: Any = None
    size: int = 0


Tell = Callable[[int, int, int], object]
"""Called during a migration: blobs done of how many, bytes moved."""


class NotEmpty(VolumeUnusable):
    """The target has something else than this migration would have put there."""


def migrate(
    source: Source, target: Target, options: Options, tell: Tell = lambda *_: None
) -> Report:
    """Move all blobs. Raises StoreError if that cannot be done."""
    begun = time.monotonic()
    source.open()
    try:
        target.open(source.name, dry=options.dry)
        try:
            report = Migration(source, target, options, tell).run()
        finally:
            target.close()
    finally:
        source.close()
    report.seconds = time.monotonic() - begun
    return report


class Migration:
    """One run of a migration, between a source and a target that are open."""

    def __init__(self, source: Source, target: Target, options: Options, tell: Tell) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._tell = tell
        self._stopped = Event()
        self._report = Report(source.name, target.name, options.dry)

    def run(self) -> Report:
        """Do it. Raises NotEmpty, or another StoreError."""
        source, target, report = self._source, self._target, self._report
        locations = source.locations()
        report.blobs = len(locations)
        report.damaged = dict(source.damaged)
        report.left = {what: number for what, number in source.left.items() if number}
        versions: dict[Kept, int | None] = {}
        if not self._options.without_history:
            versions = _with_successors(source.versions())
            report.left.pop("kept version", None)
        target.expect(versions)
        others = target.others(locations)
        if not (target.is_empty or target.is_marked):
            self._check_complete(locations, versions, others)
            return report
        report.conflicts = dict.fromkeys(others, "the source has no such blob")
        if not (target.is_marked or self._options.dry):
            target.begin(source.name)
        # Elders first: a location never has a blob and lacks what that has replaced.
        for done in self._each(self._move_version, versions):
            self._count(done, is_version=True)
        for done in self._each(self._look if self._options.dry else self._move, locations):
            self._count(done)
        report.changed = source.has_changed()
        if not (report.conflicts or report.changed or self._options.dry):
            target.finish()
            report.complete = True
        return report

    def _check_complete(
        self, locations: Sequence[str], versions: Iterable[Kept], others: Sequence[str]
    ) -> None:
        """Accept a target without a mark only if an earlier run has brought all of it."""
        report, name = self._report, self._target.name
        if others:
            raise NotEmpty(name, f"it is not empty: it has {others[0]!r}")
        with self._pool() as pool:
            for done in pool.map(self._miss, locations):
                if done.outcome is _Outcome.THERE:
                    report.there += 1
                elif done.outcome is _Outcome.DAMAGED:
                    report.damaged[done.location] = done.reason
                else:
                    reason = done.reason or "the target lacks it"
                    raise NotEmpty(name, f"it is not empty, and {done.location!r}: {reason}")
            for done in pool.map(self._miss_version, versions):
                if done.outcome is _Outcome.DAMAGED:
                    report.damaged[done.location] = done.reason
                elif done.outcome is not _Outcome.THERE:
                    reason = done.reason or "the target lacks it"
                    raise NotEmpty(name, f"it is not empty, and {done.location!r}: {reason}")
        report.complete = True

    @contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor]:
        """Threads that end soon if something goes wrong here, be it Ctrl-C."""
        self._stopped.clear()
        pool = ThreadPoolExecutor(self._options.jobs, "migrate")
        try:
            yield pool
        finally:
            self._stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _each(self, work: Callable[[_T], _Done], places: Iterable[_T]) -> Iterator[_Done]:
        """Have all of them moved; give each when it is settled."""
        left, waiting, received = iter(places), set[Future[_Done]](), list[_Done]()
        with self._pool() as pool:
            while True:
                for place in left:
                    waiting.add(pool.submit(work, place))
                    if len(waiting) >= self._options.jobs + BATCH:
                        break
                if not waiting:
                    break
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for each in (future.result() for future in done):
                    if each.outcome is _Outcome.RECEIVED and not self._options.dry:
                        received.append(each)
                    else:
                        yield each
                if received and (len(received) >= BATCH or not waiting):
                    self._target.settle([each.received for each in received])
                    yield from received
                    received.clear()

    def _count(self, done: _Done, *, is_version: bool = False) -> None:
        report = self._report
        match done.outcome:
            case _Outcome.RECEIVED:
                report.versions += is_version
                report.moved += not is_version
                report.bytes += done.size
            case _Outcome.THERE:
                report.there += not is_version
            case _Outcome.DAMAGED:
                report.damaged[done.location] = done.reason
            case _Outcome.CONFLICT:
                report.conflicts[done.location] = done.reason
            case _Outcome.GONE:
                pass  # the source has changed
        self._tell(report.moved + report.there, report.blobs, report.bytes)

    # -- in a thread of the pool ---------------------------------------------------------------

    def _look(self, location: str) -> _Done:
        """Compare a location's blobs; say whether one is to be moved."""
        return self._try(location, self._compare)

    def _miss(self, location: str) -> _Done:
        """As `_look`; what the target lacks may be damaged, and so have been left out."""
        done = self._look(location)
        return self._try(location, self._read) if done.outcome is _Outcome.RECEIVED else done

    def _read(self, location: str) -> _Done:
        for _ in self._until_stopped(self._source.read(location)[1]):
            pass
        return _Done(location, _Outcome.RECEIVED)

    def _move(self, location: str) -> _Done:
        """Move a blob, unless it is there."""
        return self._try(location, self._bring)

    def _move_version(self, kept: Kept) -> _Done:
        """Move a version, unless it is there."""

        def bring(name: str) -> _Done:
            if self._target.has_version(kept):
                return _Done(name, _Outcome.THERE)
            blob, ending, pieces = self._source.read_version(kept)
            size, received = blob.size or 0, None
            if not self._options.dry:
                received = self._target.receive_version(blob, ending, self._until_stopped(pieces))
            return _Done(name, _Outcome.RECEIVED, received=received, size=size)

        return self._try(kept.name, bring)

    def _miss_version(self, kept: Kept) -> _Done:
        """As `_miss`."""

        def look(name: str) -> _Done:
            if self._target.has_version(kept):
                return _Done(name, _Outcome.THERE)
            for _ in self._until_stopped(self._source.read_version(kept)[2]):
                pass
            return _Done(name, _Outcome.RECEIVED)

        return self._try(kept.name, look)

    def _try(self, location: str, work: Callable[[str], _Done]) -> _Done:
        for attempt in range(1, _TRIES + 1):
            try:
                return work(location)
            except Busy:
                if attempt == _TRIES or self._stopped.wait(self._options.pause):
                    raise
            except NotFound:
                return _Done(location, _Outcome.GONE)
            except Spoiled as error:
                return _Done(location, _Outcome.DAMAGED, error.reason)
            except AlreadyExists as error:
                reason = "it is damaged there" if error.is_damaged else "it was written there"
                return _Done(location, _Outcome.CONFLICT, reason)
        raise AssertionError("unreachable")

    def _compare(self, location: str) -> _Done:
        theirs = self._target.find(location)
        ours = self._source.find(location)
        if theirs is None:
            return _Done(location, _Outcome.RECEIVED, size=ours.size)
        if difference := difference_of(ours, theirs):
            return _Done(location, _Outcome.CONFLICT, difference)
        return _Done(location, _Outcome.THERE)

    def _bring(self, location: str) -> _Done:
        done = self._compare(location)
        if done.outcome is not _Outcome.RECEIVED:
            return done
        blob, pieces = self._source.read(location)
        size = blob.size or 0
        received = self._target.receive(blob, self._until_stopped(pieces))
        return _Done(location, _Outcome.RECEIVED, received=received, size=size)

    def _until_stopped(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self._stopped.is_set():
                raise Interrupted()
            yield piece


class Interrupted(StoreError):
    """Nobody waits for this blob any more."""


def _with_successors(versions: Sequence[Kept]) -> dict[Kept, int | None]:
    """The versions as `Target.expect` wants them, a location's elders first."""
    order = sorted(versions, key=lambda kept: (kept.location, kept.generation))
    after: dict[Kept, int | None] = dict.fromkeys(order)
    for kept, successor in pairwise(order):
        if successor.location == kept.location:
            after[kept] = successor.generation
    return after


def difference_of(ours: Committed, theirs: Committed) -> str:
    """Say how two blobs of a location differ, "" if they do not."""
    if ours.sha256 is not None and ours.sha256 != theirs.sha256:
        return "other bytes are there"
    for name in _KEPT:
        if (getattr(ours, name) or None) != (getattr(theirs, name) or None):
            return f"its {name.replace('_', ' ')} is another there"
    return ""
