"""The bucket's provider without threads: everything happens before it returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.python.failure import Failure

from gostore.bucket.engine import Unfinished
from gostore.bucket.objects import ObjectStoreEngine, memory_engine
from gostore.bucket.options import Options
from gostore.bucket.provider import BucketStore
from gostore.bucket.threads import TRYING, Threads
from gostore.text import wall_clock

T = TypeVar("T")


class InlineThreads(Threads):
    """Threads that are none."""

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def run(
        self,
        function: Callable[[float], T],
        over: Callable[[], None] = lambda: None,
        *,
        is_errand: bool = False,
        is_large: bool = False,
        after: Callable[[T], object] | None = None,
    ) -> Deferred[T]:
        def done(result: Any) -> Any:
            over()
            self._judge(result)
            if after is not None and not isinstance(result, Failure):
                with suppress(Exception):
                    after(result)
            return result

        return execute(function, time.monotonic() + TRYING).addBoth(done)

    def chore(self, function: Callable[[], None]) -> Deferred[None]:
        return execute(function)

    def upload(self, function: Callable[[], T]) -> Deferred[T]:
        return execute(function)

    def together(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        return [call() for call in calls]


class KnownUploads:
    """The uploads in parts that an engine in memory tells, as aside.py would."""

    def __init__(self) -> None:
        self.there: list[Unfinished] = []
        self.aborted: list[str] = []
        #: What it fails with.
        self.trouble: Exception | None = None
        #: Whether it says that they are aborted, and keeps them.
        self.keeps = False

    def begin(self, key: str, age: float) -> None:
        """Have one that began so many seconds ago."""
        begun = wall_clock() / 1e9 - age
        self.there.append(Unfinished(key, str(len(self.there)), begun))

    def list(self, prefix: str) -> Sequence[Unfinished]:
        """Those below a prefix."""
        if self.trouble is not None:
            raise self.trouble
        return [each for each in self.there if each.key.startswith(prefix)]

    def abort(self, uploads: Sequence[Unfinished]) -> None:
        """Remove some."""
        self.aborted += [each.key for each in uploads]
        if not self.keeps:
            self.there = [each for each in self.there if each not in uploads]


class InlineReactor:
    """A reactor that is in every thread, and whose time a test moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def seconds(self) -> float:
        """The time."""
        return self.time

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call it now."""
        function(*arguments)


def make_store(
    engine: ObjectStoreEngine | None = None,
    wall: Callable[[], int] = wall_clock,
    threads: type[Threads] = InlineThreads,
    reactor: InlineReactor | None = None,
    **what: Any,
) -> tuple[BucketStore, ObjectStoreEngine]:
    """A store over objects in memory, which runs, and these objects."""
    engine = engine or memory_engine()
    options = Options("s3://bucket/prefix", **what)
    store = BucketStore(lambda: engine, reactor or InlineReactor(), options, threads, wall)
    store.open()
    store.start()
    return store, engine
