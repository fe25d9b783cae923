"""The whole store, with its volume and its recovery, on a simulated disk and without threads."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

import gostore.store.blobstore
import gostore.volume.volume
from gostore.errors import AlreadyExists, Damaged, NoIds, NoSpace, NotFound, ReadOnly
from gostore.prefixes import ByPrefix
from gostore.store.interface import Details, Lifetime
from gostore.store.versions import Restore, Version
from gostore.volume.changes import Sync
from tests.simulation.disk import WRITES, SimulatedDisk
from tests.store.doubles import APPLIER, CHORE, COMMIT, FILE, FakeBody, Job, ManualWorkers

#: The code under test; a mutant brings modules of its own.
GENUINE = SimpleNamespace(store=gostore.store.blobstore, volume=gostore.volume.volume)

POST = "POST"
PUT = "PUT"
#: A PUT that may make a blob.
PUT_ANEW = "PUT anew"
DELETE = "DELETE"
#: The oldest version of a location becomes current again.
RESTORE = "RESTORE"

LOCATIONS = ("a", "b", "c")

#: A body's size, and whether it is all here when its head is: one for each way of a body.
SMALL = (24, True)
STAGED = (24, False)
LARGE = (1024 * 1024 + 24, True)
#: More than a block of the journal.
BLOCKS = (6000, True)

#: A blob that expires; see `World.pass_time`.
BRIEF = (24, True, 60)

#: So small that the files of the journal take turns every few changes.
JOURNAL_SIZE = 16 * 1024

#: Between two lives of a store, in nanoseconds: longer than a file counts as changed just now.
PAUSE = 10 * 1_000_000_000

#: What a location has: the SHA-256 of its bytes, None if there is nothing, or `DAMAGED`.
Value = bytes | None
DAMAGED = b"damaged"

#: The versions of a location, the oldest first, and whether the newest one lives.
Versions = tuple[tuple[Value, ...], bool]

#: The answers that mean "not applied".
REFUSALS = (AlreadyExists, NotFound, NoIds, NoSpace, ReadOnly)

#: The jobs that make files of what the journal holds, behind the answers.
APPLYING = ("apply", "apply_due")

#: The wall clock stands still, so that the same deeds leave the same bytes on the disk. It goes on
#: only when a script says so, and a crash sets it back to here.
NOW = 1_800_000_000 * 1_000_000_000


class Violation(AssertionError):
    """The promise of the store does not hold."""


@define(eq=False)
class Operation:
    """A request on its way: what it is, what it would leave, and how it ended."""

    verb: str
    location: str
    value: Value
    body: FakeBody | None
    rest: bytes = b""
    done: bool = False
    error: Exception | None = None

    @property
    def possible(self) -> bool:
        """Whether a crash may leave its effect though nobody was told so."""
        return not self.done or (self.error is not None and not isinstance(self.error, REFUSALS))


class SimulatedWorkers(ManualWorkers):
    """Workers whose jobs run one at a time, in the order that a rank of their rooms says.

    A job can be held up at a call to the disk while those of other rooms run: see `World.preempt`.
    """

    def __init__(self, rank: tuple[str, ...] = (COMMIT, FILE, CHORE)) -> None:
        super().__init__()
        self.rank = rank
        self.busy: list[str] = []
        #: Whether what is to be done later waits until the test says so.
        self.late = False
        self.waiting: list[Callable[[], None]] = []
        #: Whether the files that are to be made behind an answer wait until somebody needs them.
        self.lazy = False
        self._looks = 0

    def seconds(self) -> float:
        """As the store's clock: a minute passes whenever somebody looks at it."""
        self._looks += 1
        return 60.0 * self._looks

    def callLater(self, seconds: float, function: Callable[..., None], *arguments: object) -> None:
        """As the store's clock: call it now, or when the seconds are over."""
        if self.late and seconds:
            self.waiting.append(function)
        else:
            function(*arguments)

    @property
    def writes(self) -> bool:
        """Whether a thread is at work that makes changes durable, or their files."""
        return COMMIT in self.busy or APPLIER in self.busy

    def stop(self) -> None:
        """Run what is left, as threads do before they end."""
        self.drain()

    def next(self) -> Job | None:
        """Take the next job out of the queue, of a room that is free to run one."""
        free = [
            job
            for job in self.jobs
            if (job.room == FILE or job.room not in self.busy)
            and not (self.lazy and job.name in APPLYING)
        ]
        if not free:
            return None
        job = min(free, key=lambda job: self._place(job.room))
        self.jobs.remove(job)
        return job

    def _place(self, room: str) -> int:
        """Where a room is in the rank: the applier comes with the commits, unless it is there."""
        return self.rank.index(room if room in self.rank else COMMIT)

    def drain(self) -> None:
        """Run jobs, and what they bring, until none is left that may run."""
        while job := self.next():
            self.busy.append(job.room)
            try:
                job.work()
            finally:
                self.busy.pop()
            job.report()


class Lowest:
    """Draws the lowest free id, so that each has a new bearer as soon as it can have one."""

    def randrange(self, space: int) -> int:
        """Not even try another one."""
        return 0


class World:
    """One life of a store on a disk: from its start to its end or a crash."""

    def __init__(
        self,
        disk: SimulatedDisk,
        modules: SimpleNamespace = GENUINE,
        *,
        sync: Sync = Sync.FILES,
        path: str = "/",
        rank: tuple[str, ...] = (COMMIT, FILE, CHORE),
        seen: Callable[[str, World], None] = lambda kind, world: None,
        journal_size: int = JOURNAL_SIZE,
        keep: float = 0,
    ) -> None:
        """``path`` is the data directory's; ``seen`` is called before each call, with its kind.

        With ``keep`` what each location had is kept for so many seconds, and is looked at, too.
        """
        self.keep = keep
        #: The versions of each location that were answered, and whether the newest one lives.
        self.model: dict[str, Versions] = {}
        #: Whether some of what was kept may be gone: its time was over, or there was no room. What
        #: is kept for ever goes only for that.
        self.lossy = math.isfinite(keep)
        self.disk = disk
        self.path = path
        self.sync = sync
        self.modules = modules
        self.workers = SimulatedWorkers(rank)
        self.seen = seen
        self._journal_size = journal_size
        self.operations: list[Operation] = []
        self.opened = False
        self.serving = False
        #: The kinds of the calls to the disk.
        self.calls: list[str] = []
        #: The number of the call at which the running job is held up while all others run; from 1.
        self.preempt: int | None = None
        self.held_up = False
        #: Whether its workers were lazy before it stopped.
        self.lazy = False
        self.store: Any = None
        self.volume: Any = None
        #: How far the wall clock has gone on, in nanoseconds.
        self.ahead = 0
        #: What a damaged location had, which the journal may have, too.
        self._healthy: dict[str, Value] = {}
        self._wrong: Failure | None = None
        disk.before = self._before

    def _before(self, kind: str, name: str) -> None:
        self.calls.append(kind)
        if len(self.calls) == self.preempt:
            self.held_up = True
            self.workers.drain()
            self.held_up = False
        if kind in WRITES and self.broken is not None and self.workers.writes:
            # Raised here it would be just another failure of that commit.
            self._wrong = Failure(Violation(f"{kind} {name!r} after a sync had failed"))
        self.seen(kind, self)

    @property
    def broken(self) -> str | None:
        """Why the volume may not be written any more, if so."""
        return None if self.store is None else self.volume.broken

    @property
    def waits(self) -> bool:
        """Whether something is in the journal and in no file yet."""
        return self.store is not None and self.volume.backlog.applier.waits

    def start(self) -> World:
        """Open the store as the daemon does, some seconds after whatever came before."""
        if isinstance(self.disk, SimulatedDisk):  # the trials of faults have a real one
            self.disk.now += PAUSE
        self.volume = self.modules.volume.Volume(
            self.path,
            disk=self.disk,
            now=lambda: NOW + self.ahead,
            sync=self.sync,
            journal_size=self._journal_size,
        )
        self.store = self.modules.store.BlobStore(
            self.volume,
            self.workers,
            self.workers,
            reserve=0,
            rng=Lowest(),
            keep=ByPrefix(self.keep),
        )
        self.store.open()
        self.opened = True
        self.store.start()
        self.serving = True
        return self

    def stop(self) -> None:
        """Stop the store as the daemon does."""
        self.lazy, self.workers.lazy = self.workers.lazy, False
        stopped = self.store.stop()
        self.workers.drain()
        assert stopped.called
        self.serving = False
        self.store.close()
        if self.disk.descriptors:
            raise Violation(f"left open: {self.disk.descriptors}")

    # -- requests -----------------------------------------------------------------------------

    def begin(self, verb: str, location: str, shape: tuple[int, ...] = SMALL) -> Operation:
        """Let a request arrive, as far as it goes without a worker."""
        if verb == RESTORE:
            return self.restore(location, self.versions(location)[0])
        if verb == DELETE:
            operation = Operation(verb, location, None, None)
            self.operations.append(operation)
            self._watch(operation, self.store.delete(location))
            return operation
        size, whole, *lifetime = shape
        data = f"{len(self.operations)} {verb} {location} ".encode().ljust(size, b".")
        here = data if whole else data[: size // 2]
        body = FakeBody(here, complete=bool(whole), length=size)
        value = hashlib.sha256(data).digest()
        operation = Operation(verb, location, value, body, data[len(here) :])
        self.operations.append(operation)
        ask = {POST: self.store.create, PUT: self.store.replace, PUT_ANEW: self.store.put}[verb]
        details = Details(lifetime=Lifetime(*lifetime) if lifetime else None)
        self._watch(operation, ask(location, body, details))
        return operation

    def restore(self, location: str, version: Version) -> Operation:
        """Let a request arrive that makes a version current again."""
        operation = Operation(RESTORE, location, version.blob.sha256, None)
        self.operations.append(operation)
        restore = Restore(version.blob.generation, "")
        self._watch(operation, self.store.past.restore(location, restore))
        return operation

    def versions(self, location: str) -> list[Version]:
        """What is kept of a location, and what it has: the oldest first."""
        found: list[Any] = []
        self.store.past.history(location).addBoth(found.append)
        self.workers.drain()
        (result,) = found
        if isinstance(result, Failure):
            assert isinstance(result.value, NotFound), result.value
            return []
        return result[::-1]  # type: ignore[no-any-return]

    def finish(self, operation: Operation) -> None:
        """Let the rest of a body arrive, if there is one and somebody wants it."""
        if operation.body is not None and operation.rest and operation.body.sink is not None:
            operation.body.finish(operation.rest)
            operation.rest = b""

    def request(self, verb: str, location: str, shape: tuple[int, ...] = SMALL) -> Operation:
        """A request from its begin to its answer, and all that it brings."""
        operation = self.begin(verb, location, shape)
        self.finish(operation)
        self.drain()
        return operation

    def drain(self) -> None:
        """Let everything that has begun come to its end."""
        self.workers.drain()
        if not all(operation.done for operation in self.operations):
            self._hurry()
        if self._wrong is not None:
            self._wrong.raiseException()
        for operation in self.operations:
            if not operation.done:
                raise Violation(f"{operation.verb} {operation.location} was never answered")

    def _watch(self, operation: Operation, answer: Deferred[Any]) -> None:
        def good(_: object) -> None:
            operation.done = True
            versions = self.model.get(operation.location, ((), False))
            self.model[operation.location] = after(versions, operation.value)
            if self.value(operation.location) != operation.value:
                raise Violation(f"{operation.verb} {operation.location} was answered, not shown")

        def bad(failure: Failure) -> None:
            operation.done = True
            operation.error = failure.value  # type: ignore[assignment]

        answer.addCallbacks(good, bad).addErrback(self._went_wrong)

    def _went_wrong(self, failure: Failure) -> None:
        self._wrong = failure

    def collect(self) -> None:
        """One run of the collector."""
        self.store.collect()
        self.drain()

    def apply(self) -> None:
        """Let the files be made of all that has been answered."""
        for _ in range(2):  # a timer that finds something new waits again
            due = [function for function in self.workers.waiting if function.__name__ == "_look"]
            for function in due:
                self.workers.waiting.remove(function)
                function()
        self._hurry()
        self.drain()

    def go_on(self) -> None:
        """Let the applier do what it has been asked to."""
        self._hurry()
        self.drain()

    def _hurry(self) -> None:
        """Let the applier have its turns though it is lazy."""
        lazy, self.workers.lazy = self.workers.lazy, False
        self.workers.drain()
        self.workers.lazy = lazy

    def wait(self) -> None:
        """Let the seconds go by after which something was to be done."""
        waiting, self.workers.waiting = self.workers.waiting, []
        for function in waiting:
            function()
        self.drain()

    def pass_time(self) -> None:
        """Let all be over that expires."""
        self.ahead += 2 * BRIEF[2] * 1_000_000_000

    def damage(self, location: str) -> None:
        """Let the blob of a location lose bytes, and find that out."""
        self._healthy[location] = self.value(location)
        self.disk.damage(f"{self.store.index.blob(location).id}/data.raw")
        assert self.read(location) == DAMAGED
        self.drain()

    # -- what there is ------------------------------------------------------------------------

    def value(self, location: str) -> Value:
        """What a GET would say now, as far as its head tells."""
        found: list[Any] = []
        self.store.get(location).addBoth(found.append)
        (result,) = found
        if isinstance(result, Failure):
            if isinstance(result.value, Damaged):
                return DAMAGED
            assert isinstance(result.value, NotFound), result.value
            return None
        return result.sha256  # type: ignore[no-any-return]

    def ask(self, location: str) -> list[Any]:
        """Begin to read; what is returned gets the digest of the bytes, or the error."""
        found: list[Any] = []
        self.store.get(location).addCallback(self._read).addBoth(
            lambda got: found.append(got.value if isinstance(got, Failure) else got)
        )
        return found

    def read(self, location: str) -> Value:
        """What a GET says, all its bytes read."""
        found: list[Any] = []
        self.store.get(location).addCallback(self._read).addBoth(found.append)
        self.workers.drain()
        (result,) = found
        if isinstance(result, Failure):
            if isinstance(result.value, NotFound):
                return None
            return DAMAGED
        return result  # type: ignore[no-any-return]

    def _read(self, blob: Any) -> Deferred[bytes]:
        return self.store.content(blob).addCallback(self._digest)  # type: ignore[no-any-return]

    def _digest(self, content: Any) -> bytes | Failure:
        """The digest of the bytes of a content, which is closed; or how its reading failed."""
        digest = hashlib.sha256()
        for offset in range(0, content.size, 1024 * 1024):
            length = min(1024 * 1024, content.size - offset)
            got: list[Any] = []
            maybeDeferred(content.read, offset, length).addBoth(got.append)
            self.workers.drain()
            if isinstance(got[0], Failure):
                content.close()
                return got[0]
            digest.update(got[0])
        content.close()
        return digest.digest()

    def read_version(self, location: str, generation: int) -> Deferred[bytes]:
        """Read one version of a location."""
        opened = self.store.past.version(location, generation)
        return opened.addCallback(lambda got: self._digest(got[1]))  # type: ignore[no-any-return]

    def values(self) -> dict[str, Value]:
        """What GETs of all locations say, and with ``keep`` those of all their versions."""
        values = {location: self.read(location) for location in LOCATIONS}
        if self.keep:
            values |= {f"{location}+": self.line(location) for location in LOCATIONS}
        return values

    def line(self, location: str) -> bytes:
        """All versions of a location, see `as_line`, as their bytes are read."""
        versions = self.versions(location)
        if [each.blob.generation for each in versions] != sorted(
            {each.blob.generation for each in versions}
        ):
            raise Violation(f"the history of {location} is in disorder: {versions}")
        for each, successor in itertools.pairwise(versions):
            if each.ending is None:
                raise Violation(f"{each} has a successor, and no end")
            by = each.ending.successor
            if by is not None and not self.lossy and by != successor.blob.id:
                raise Violation(f"{each} was not replaced by {by}")
        values = []
        for each in versions:
            got: list[Any] = []
            self.read_version(location, each.blob.generation).addBoth(got.append)
            self.workers.drain()
            if got[0] != each.blob.sha256 and not each.is_damaged:
                raise Violation(f"{each} has {got[0]}")
            values.append(each.blob.sha256)
        return as_line((tuple(values), bool(versions) and versions[-1].ending is None))

    def allowed(self) -> Mapping[str, frozenset[Value]]:
        """What each location may have after a crash now.

        What a GET shows, for then it is durable; or what a request would leave that has no answer,
        or none that says what became of it. A crash sets the clock back: what is over and not
        deleted yet may be there again, and nothing else.
        """
        allowed = {location: {self.value(location)} for location in LOCATIONS}
        if self.ahead:
            for location in LOCATIONS:
                standing = self.store.index.standing(location)
                if getattr(standing, "expires", None) is not None:
                    allowed[location].add(standing.sha256)
        for location, healthy in self._healthy.items():
            if allowed[location] == {DAMAGED}:
                allowed[location].add(healthy)
        for operation in self.operations:
            if operation.possible:
                allowed[operation.location].add(operation.value)
        if self.keep:
            allowed |= {f"{location}+": self._lines(location) for location in LOCATIONS}
        return {location: frozenset(values) for location, values in allowed.items()}

    def _lines(self, location: str) -> set[Value]:
        """The lines of all that a location may have had after a crash now."""
        possible = [
            operation.value
            for operation in self.operations
            if operation.possible and operation.location == location
        ]
        bases, candidates = self.pasts(location)
        for base, count in itertools.product(bases, range(len(possible) + 1)):
            for some in itertools.permutations(possible, count):
                versions = base
                for value in some:
                    versions = after(versions, value)
                candidates.append(versions)
        return self.as_lines(candidates)

    def pasts(self, location: str) -> tuple[list[Versions], list[Versions]]:
        """What was answered at a location, with its end if it is over, and what a look may show."""
        known = self.model.get(location, ((), False))
        if self.ahead and known[1]:
            standing = self.store.index.standing(location)
            if standing is None:
                return [(known[0], False)], []  # it is over, and deleted
            if getattr(standing, "expires", None) is not None:
                # Its deletion may have lasted already. Before that it is in no history.
                return [known, (known[0], False)], [(known[0][:-1], False)]
        return [known], []

    def as_lines(self, candidates: Iterable[Versions]) -> set[Value]:
        """The lines of some pasts, of which something may be gone if this world is `lossy`."""
        lines: set[Value] = set()
        for values, lives in candidates:
            past = values[: len(values) - lives]
            # Of what is collected at once a power cut may leave any.
            for left in range(len(past) + 1) if self.lossy else (len(past),):
                for some_left in itertools.combinations(past, left):
                    lines.add(as_line(((*some_left, *values[len(past) :]), lives)))
        return lines


def after(versions: Versions, value: Value) -> Versions:
    """The versions of a location when it has got another one, or its blob was deleted (None)."""
    values, _ = versions
    return (values, False) if value is None else ((*values, value), True)


def as_line(versions: Versions) -> bytes:
    """The digests of versions, the oldest first, and whether the newest one lives."""
    values, lives = versions
    return b"".join(value or b"" for value in values) + (b"!" if lives else b".")
