"""The doubles of the store's tests: workers without threads, a body to feed, a disk that fails.

They are passed in where the real ones would be; nothing is patched.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, execute

from gostore.store.workers import Ongoing, Queue, Workers
from gostore.volume.disk import Disk

COMMIT = "commit"
APPLIER = "applier"
CHORE = "chore"
FILE = "file"

SECOND = 1_000_000_000


class Ticks:
    """A wall clock in nanoseconds that moves a second on whenever somebody looks at it."""

    def __init__(self, now: int = 1_800_000_000 * SECOND, step: int = SECOND) -> None:
        self.time = now
        self.step = step

    def __call__(self) -> int:
        self.time += self.step
        return self.time


# -- workers ------------------------------------------------------------------------------------


class PromptClock:
    """A clock for which "later" is now, except for calls after seconds that it ``keeps``."""

    def __init__(self) -> None:
        self.keeps: Callable[[float], bool] = lambda seconds: False
        #: The calls that are kept, each with its seconds.
        self.kept: list[tuple[Callable[..., Any], float]] = []
        self.time = 0.0

    def seconds(self) -> float:
        """The time, which stands still until a test moves it."""
        return self.time

    def callLater(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> None:
        if self.keeps(seconds):
            self.kept.append((partial(function, *arguments), seconds))
        else:
            function(*arguments)


class Draws(random.Random):
    """Draws at random, or ``next`` while the test has set it."""

    next: int | None = None

    def randrange(self, *arguments: int) -> int:  # type: ignore[override]
        return super().randrange(*arguments) if self.next is None else self.next


class FakeQueue(Queue):
    """A queue without threads: it hands its functions on, with its own name."""

    def __init__(self, name: str, to: Callable[..., Deferred[Any]]) -> None:
        self.name = name
        self.to = to

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return self.to(self.name, function, arguments)


class ThreadlessWorkers(Workers):
    """Workers without threads: a subclass says how to run; `started` and `stopped` count."""

    def __init__(self) -> None:
        self.commits = FakeQueue(COMMIT, self._run)
        self.applying = FakeQueue(APPLIER, self._run)
        self.chores = FakeQueue(CHORE, self._run)
        self.files = FakeQueue(FILE, self._run)
        self.ongoing = Ongoing()
        self.started = 0
        self.stopped = 0

    def start(self) -> None:
        self.started += 1

    def stop(self) -> None:
        self.stopped += 1

    def _run(
        self, room: str, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> Deferred[Any]:
        raise NotImplementedError


class InlineWorkers(ThreadlessWorkers):
    """Workers that do everything at once, before they return.

    ``failing`` is what their start fails with.
    """

    def __init__(self, failing: Exception | None = None) -> None:
        super().__init__()
        self.failing = failing

    def start(self) -> None:
        if self.failing is not None:
            raise self.failing
        super().start()

    def _run(
        self, room: str, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> Deferred[Any]:
        return execute(function, *arguments)


@define(eq=False)
class Job:
    """Something a `ManualWorkers` was asked to do: `work` is the thread's part, `report` the rest.

    ``room`` is "commit", "applier", "chore" or "file".
    """

    room: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    result: Deferred[Any] = field(factory=Deferred)
    outcome: Deferred[Any] | None = None

    @property
    def name(self) -> str:
        """The name of the function."""
        return getattr(self.function, "__name__", repr(self.function))

    def work(self) -> None:
        """Call the function, as the thread would; the reactor does not know of it yet."""
        assert self.outcome is None, f"{self.name} was run twice"
        self.outcome = execute(self.function, *self.arguments)

    def report(self) -> None:
        """Give the reactor what the function returned or raised."""
        assert self.outcome is not None, f"{self.name} has not run"
        self.outcome.chainDeferred(self.result)


class ManualWorkers(ThreadlessWorkers):
    """Workers that do nothing until the test says which queued job is next.

    ``jobs`` are those that have not run, in the order in which they were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []
        #: What the next request for a job fails with.
        self.refusal: Exception | None = None

    def _run(
        self, room: str, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> Deferred[Any]:
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            raise refusal
        job = Job(room, function, arguments)
        self.jobs.append(job)
        return job.result

    def queued(self, room: str | None = None) -> list[Job]:
        """The jobs that wait, all of them or those of one room."""
        return [job for job in self.jobs if room is None or job.room == room]

    def names(self, room: str | None = None) -> list[str]:
        """The names of the functions that wait."""
        return [job.name for job in self.queued(room)]

    def take(self, room: str | None = None, at: int = 0) -> Job:
        """Take a job out of the queue, for a test that does its two parts itself."""
        job = self.queued(room)[at]
        self.jobs.remove(job)
        return job

    def run(self, room: str | None = None, at: int = 0) -> None:
        """Do one job, the first that waits unless ``at`` says otherwise, and report it."""
        job = self.take(room, at)
        job.work()
        job.report()

    def run_all(self, room: str | None = None) -> int:
        """Do jobs, and what they bring, until none is left; return how many there were."""
        done = 0
        while self.queued(room):
            self.run(room)
            done += 1
        return done


# -- preconditions ------------------------------------------------------------------------------


class Judge:
    """A precondition that asks a function of the test's: it is given the blob, and may raise."""

    def __init__(self, judge: Callable[[Any], object]) -> None:
        self.judge = judge

    def check(self, location: str, current: Any) -> None:
        self.judge(current)


# -- bodies -------------------------------------------------------------------------------------


class FakeBody:
    """A request body that the test feeds.

    ``pieces`` are here when the store asks for the body; with ``complete`` that is all of it.
    ``length`` is the announced size, by default that of the pieces; None: chunked. ``sender`` is
    the IP address that it comes from.
    """

    def __init__(
        self,
        *pieces: bytes,
        complete: bool = True,
        length: int | str | None = "known",
        sender: str | None = None,
        origin: str = "",
    ) -> None:
        self.sender = sender
        self.origin = origin
        self.length: int | None = sum(map(len, pieces)) if isinstance(length, str) else length
        self.pieces = list(pieces)
        self.complete = complete
        self.sink: Any = None
        self.delivered = 0
        self.paused = False
        self.pauses = 0
        self.reason: str | None = None

    def deliver(self, sink: Any) -> None:
        assert self.sink is None, "a body is delivered once"
        self.sink = sink
        self.delivered += 1
        for piece in self.pieces:
            sink.received(piece)
        if self.reason is not None:
            sink.failed(self.reason)
        elif self.complete:
            sink.finished()

    def pauseProducing(self) -> None:
        assert not self.paused, "paused twice"
        self.paused = True
        self.pauses += 1

    def resumeProducing(self) -> None:
        assert self.paused, "resumed, but not paused"
        self.paused = False

    def feed(self, data: bytes) -> None:
        """Some more bytes come."""
        self.sink.received(data)

    def finish(self, data: bytes = b"") -> None:
        """The last bytes come."""
        if data:
            self.sink.received(data)
        self.sink.finished()

    def fail(self, reason: str = "Client went away after 5 of 10 bytes") -> None:
        """No more bytes will come."""
        self.sink.failed(reason)


# -- disks --------------------------------------------------------------------------------------

KINDS = (
    "open",
    "close",
    "write",
    "writev",
    "pwrite",
    "pread",
    "preadv",
    "clone",
    "copy_range",
    "fsync",
    "fdatasync",
    "fstat",
    "ftruncate",
    "mkdir",
    "unlink",
    "rmdir",
    "rename",
    "lstat",
    "peek",
    "listdir",
    "free",
    "lock",
    "syncfs",
)

#: The calls that change something or make it last: those whose order the write protocol is about.
CHANGES = (
    "open",
    "writev",
    "pwrite",
    "fsync",
    "fdatasync",
    "mkdir",
    "unlink",
    "rmdir",
    "rename",
    "syncfs",
)


@define(eq=False)
class Call:
    """One system call: its kind and the name it is about, relative to the volume ("" the root).

    ``failed``: the disk was told to let it fail.
    """

    kind: str
    name: str
    created: bool = False
    failed: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name or '/'}"


@define(eq=False)
class Fault:
    """What goes wrong with some calls; ``nth`` of the ``kind`` (None: of any), then ``times``."""

    kind: str | None
    nth: int
    times: int
    name: str | None
    error: int | None
    length: int | None
    hook: Callable[[], object] | None
    after: bool
    seen: int = 0

    def hits(self, call: Call) -> bool:
        """Count a call, and say whether it is one of those that go wrong."""
        if self.kind is not None and call.kind != self.kind:
            return False
        if self.name is not None and self.name not in call.name:
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


FOR_EVER = 1 << 60


class FaultyDisk(Disk):
    """A disk that records its calls and fails, shortens or delays those it is told to.

    It stands on another `Disk`, by default the real one.  ``trusted`` is what it answers to
    `syncfs_trusted`; None: what the other one says.  ``calls`` is all that was asked for, in
    order; `clear` begins anew, `trace` gives the calls of some kinds as text.
    """

    def __init__(self, under: Disk | None = None, *, trusted: bool | None = None) -> None:
        self.under = under or Disk()
        self.trusted = trusted
        #: What it answers to `ctime_trusted`; None: what the other one says.
        self.ctime_is_trusted: bool | None = None
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.descriptors: dict[int, str] = {}
        self.room: tuple[int, int] | None = None
        #: What `is_cached` says; None for what is so.
        self.cached: bool | None = None
        #: Whether `open_cached` opens what there is, or says that it would have to wait.
        self.opens_now = False
        #: What it refuses such an opening with, and how often it was asked for one.
        self.refusal = errno.EAGAIN
        self.asked_now = 0
        #: The names of the files that the kernel was told to write out.
        self.written_back: list[str] = []

    def fail(
        self,
        kind: str | None,
        error: int = errno.EIO,
        *,
        nth: int = 1,
        times: int = 1,
        name: str | None = None,
        after: bool = False,
    ) -> Fault:
        """Fail the ``nth`` call of a kind, counted from now, and so many ``times``.

        ``name``: count only calls whose name has this in it; ``after``: fail, but do it first.
        """
        return self._add(Fault(kind, nth, times, name, error, None, None, after))

    def shorten(
        self, kind: str, length: int, *, nth: int = 1, times: int = 1, name: str | None = None
    ) -> Fault:
        """Let a write or a read move no more than ``length`` bytes."""
        return self._add(Fault(kind, nth, times, name, None, length, None, False))

    def before(
        self,
        kind: str | None,
        hook: Callable[[], object],
        *,
        nth: int = 1,
        times: int = 1,
        name: str | None = None,
    ) -> Fault:
        """Delay a call until ``hook`` has been called: what may happen in the meantime does."""
        return self._add(Fault(kind, nth, times, name, None, None, hook, False))

    def heal(self) -> None:
        """From now on everything works."""
        self.faults.clear()

    def clear(self) -> None:
        """Forget the calls so far."""
        self.calls.clear()

    def trace(self, *kinds: str) -> list[str]:
        """The calls of these kinds, as "fsync .new-7/data.raw"; by default those of `CHANGES`.

        Of the opens only those that make a file.
        """
        return [
            str(call)
            for call in self.calls
            if call.kind in (kinds or CHANGES) and (kinds or call.kind != "open" or call.created)
        ]

    def count(self, kind: str) -> int:
        """How many calls of a kind there were."""
        return sum(call.kind == kind for call in self.calls)

    @property
    def open_files(self) -> list[str]:
        """The names behind the descriptors that have been opened and not closed."""
        return list(self.descriptors.values())

    def syncfs_trusted(self, dir_fd: int) -> bool:  # type: ignore[override]
        return self.under.syncfs_trusted(dir_fd) if self.trusted is None else self.trusted

    def ctime_trusted(self, dir_fd: int) -> bool:  # type: ignore[override]
        trusted = self.ctime_is_trusted
        return self.under.ctime_trusted(dir_fd) if trusted is None else trusted

    def leads_to(self, path: bytes | str, directory: os.stat_result) -> bool:  # type: ignore[override]
        return self.under.leads_to(path, directory)

    def open_cached(self, name: str, flags: int, dir_fd: int) -> int:
        """Open as the test says."""
        self.asked_now += 1
        if not self.opens_now:
            raise OSError(self.refusal, "not in memory")
        return self.open(name, flags, dir_fd=dir_fd)

    def is_cached(self, fd: int, offset: int, length: int) -> bool:  # type: ignore[override]
        """Say what the test says, or else the kernel."""
        if self.cached is None:
            return self.under.is_cached(fd, offset, length)
        return self.cached

    def write_back(self, fd: int) -> None:  # type: ignore[override]
        self.written_back.append(self.descriptors.get(fd, "?"))
        self.under.write_back(fd)

    def free(self, dir_fd: int) -> tuple[int, int]:  # type: ignore[override]
        found = self._call("free", (dir_fd,), {})
        return self.room or found

    def free_inodes(self, dir_fd: int) -> int | None:  # type: ignore[override]
        return self.under.free_inodes(dir_fd)

    def _add(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    def _describe(self, kind: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Call:
        first = arguments[0]
        if kind == "rename":
            return Call(kind, f"{first} -> {arguments[1]}")
        if isinstance(first, int):
            return Call(kind, self.descriptors.get(first, "?"))
        flags = arguments[1] if kind == "open" else 0
        name = os.fsdecode(first)
        # What is looked up in a blob's open directory is called as if it were looked up from above.
        below = arguments[1] if kind == "lstat" else keywords.get("dir_fd")
        if above := self.descriptors.get(-1 if below is None else below, ""):
            name = f"{above}/{name}"
        return Call(kind, name, created=bool(flags & os.O_CREAT))

    def _call(self, kind: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        call = self._describe(kind, arguments, keywords)
        self.calls.append(call)
        after = 0
        for fault in [fault for fault in self.faults if fault.hits(call)]:
            if fault.hook is not None:
                fault.hook()
            elif fault.length is not None:
                arguments = _shortened(kind, arguments, fault.length)
            elif fault.after:
                after = fault.error or 0
            else:
                assert fault.error is not None
                call.failed = True
                if kind == "close":  # the kernel lets go of it all the same
                    self._do(kind, arguments, keywords)
                raise OSError(fault.error, os.strerror(fault.error))
        result = self._do(kind, arguments, keywords)
        if kind == "open":
            self.descriptors[result] = call.name if "dir_fd" in keywords else ""
        if after:
            call.failed = True
            raise OSError(after, os.strerror(after))
        return result

    def _do(self, kind: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        result = getattr(self.under, kind)(*arguments, **keywords)
        if kind == "close":
            self.descriptors.pop(arguments[0], None)
        return result


def _shortened(kind: str, arguments: tuple[Any, ...], length: int) -> tuple[Any, ...]:
    if kind == "pread":
        fd, wanted, offset = arguments
        return fd, min(wanted, length), offset
    if kind == "pwrite":
        fd, data, offset = arguments
        return fd, data[:length], offset
    if kind == "copy_range":
        source, target, offset, wanted = arguments
        return source, target, offset, min(wanted, length)
    if kind == "preadv":
        fd, (buffer,), *rest = arguments
        return fd, [memoryview(buffer)[:length]], *rest
    fd, data = arguments
    if kind == "write":
        return fd, data[:length]
    assert kind == "writev", kind
    return fd, list(_first(data, length))


def _first(pieces: list[bytes], length: int) -> Iterator[bytes]:
    for piece in pieces:
        if length <= 0:
            return
        yield piece[:length]
        length -= len(piece)


def _method(kind: str) -> Callable[..., Any]:
    def method(self: FaultyDisk, *arguments: Any, **keywords: Any) -> Any:
        return self._call(kind, arguments, keywords)

    method.__name__ = kind
    return method


for _kind in KINDS:
    if _kind != "free":
        setattr(FaultyDisk, _kind, _method(_kind))
