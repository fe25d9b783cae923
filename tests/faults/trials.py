"""One system call after another is made to fail, and the store is held to its promise.

A deed is done once to count its calls. Then it is done again and again on a copy of the same
directory, and each time another call fails or is cut short, once or from then on.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import define, field, frozen

from gostore.errors import (
    DiskFailed,
    NoSpace,
    ReadOnly,
    VolumeUnusable,
    as_read_error,
    as_store_error,
)
from gostore.volume.changes import Sync
from gostore.volume.directory import DATA, RECORDS, STATE
from gostore.volume.promise import NAME as PROMISE
from tests.faults.deeds import Deed, Life, Mode, make_room
from tests.simulation.disk import Entries, SimulatedDisk, Tree
from tests.simulation.world import (
    DELETE,
    GENUINE,
    POST,
    RESTORE,
    Operation,
    Value,
    Versions,
    Violation,
)
from tests.store.doubles import FOR_EVER, Call, FaultyDisk

ERRORS = (
    errno.EIO,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.EINTR,
    errno.ENOMEM,
)

#: The calls that move bytes, and may move fewer than they were asked to.
MOVING = ("writev", "pwrite", "pread", "preadv", "copy_range")
FLUSHES = ("fsync", "fdatasync", "syncfs")
#: Those that may be done though they are reported as failed, over a network say.
CHANGING = ("mkdir", "rename", "unlink", "rmdir")

#: What the applier makes of a new blob, and nobody else: behind the answer, in the journal already.
_BEHIND = re.compile(rf"(mkdir|writev|open) \d+(/{re.escape(DATA)}|/{re.escape(STATE)})?")
#: As before, and what others may do there, too.
_NUMBERED = re.compile(r"\w+ \d+(/|$)")

#: How many bytes are moved by a call that is cut short: once, and from then on.
CUT = 1
CUT_FOR_EVER = 1000

#: How many of the states are looked at that a power cut may leave, all kept and all lost first.
CUTS = 4

#: Where a write is tried when all is well again.
NEXT = "next"

#: What each location has, or may have.
Values = Mapping[str, Value]
Allowed = Mapping[str, set[Value]]


@frozen
class Fault:
    """The ``nth`` call of a deed fails with ``error``, or is cut short if that is None."""

    nth: int
    error: int | None
    for_ever: bool = False
    #: It is done, and reported as failed all the same.
    done: bool = False

    def __str__(self) -> str:
        what = "cut short" if self.error is None else errno.errorcode[self.error]
        more = " and all after it" if self.for_ever else ""
        return f"call {self.nth}{more}: {what}{' when it is done' if self.done else ''}"

    def arm(self, disk: FaultyDisk, kinds: Sequence[str]) -> None:
        """Let it happen to the calls from now on, which would be of these kinds."""
        times = FOR_EVER if self.for_ever else 1
        if self.error is not None:
            disk.fail(None, self.error, nth=self.nth, times=times, after=self.done)
        elif self.for_ever:
            for kind in MOVING:
                before = kinds[: self.nth - 1].count(kind)
                disk.shorten(kind, CUT_FOR_EVER, nth=before + 1, times=times)
        else:
            kind = kinds[self.nth - 1]
            disk.shorten(kind, CUT, nth=kinds[: self.nth].count(kind))


@define
class Figures:
    """How much has been tried."""

    trials: int = 0
    #: Calls that failed, by the error.
    failed: Counter[int] = field(factory=Counter)
    #: Trials in which calls were cut short.
    cut: int = 0

    def count(self, fault: Fault | None, calls: Sequence[Call]) -> None:
        """Add a trial with a fault, and the calls that there were in it."""
        if fault is None:
            return
        self.trials += 1
        if fault.error is None:
            self.cut += 1
        else:
            self.failed[fault.error] += sum(call.failed for call in calls)

    def add(self, other: Figures) -> None:
        """Add those of other trials."""
        self.trials += other.trials
        self.failed += other.failed
        self.cut += other.cut

    def __str__(self) -> str:
        each = ", ".join(
            f"{errno.errorcode[one]} {self.failed[one]}" for one in sorted(self.failed)
        )
        return (
            f"{self.trials} trials, {sum(self.failed.values())} calls failed ({each}), "
            f"{self.cut} trials with calls cut short"
        )


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for a while, in memory where there is one: no trial is about a real disk."""
    memory = "/dev/shm"
    where = memory if os.path.isdir(memory) else None
    with tempfile.TemporaryDirectory(dir=where) as directory:
        yield Path(directory)


class Trials:
    """One deed in one mode, to be done again and again in a directory for scratch."""

    def __init__(
        self, deed: Deed, mode: Mode, directory: Path, modules: SimpleNamespace = GENUINE
    ) -> None:
        self.deed = deed
        self.mode = mode
        self.modules = modules
        self.figures = Figures()
        self._directory = directory
        self._copies = 0
        self._template = directory / f"{deed.name}, {mode}"
        deed.make(self._template)
        #: What the locations have before a deed that is a start.
        self._given: Values = {}
        self._past: Mapping[str, Versions] = {}
        if deed.starts:
            life = self._life(self._copy(self._template)).start()
            self._given = life.found()
            life.remember()
            self._past = life.model
            life.end()
        #: The kinds of the calls of the deed, when nothing goes wrong.
        self.kinds: Sequence[str] = [call.kind for call in self.play(None)]

    def faults(self, errors: Sequence[int] = ERRORS) -> Iterator[Fault]:
        """All there are."""
        for nth, kind in enumerate(self.kinds, 1):
            if kind in CHANGING:
                yield Fault(nth, errno.EIO, done=True)
            for error in (*errors, *((None,) if kind in MOVING else ())):
                for for_ever in (False, True):
                    yield Fault(nth, error, for_ever)

    @staticmethod
    def share(modes: Sequence[Trials]) -> Iterator[tuple[Trials, Fault]]:
        """Some of what there is to try of a deed in each mode.

        Each call of the first mode, and each flush of all, with EIO; each call of the first mode
        that moves bytes cut short; each kind of call with each error, in one mode or another.
        """
        first = modes[0]
        for trials in modes:
            for nth, kind in enumerate(trials.kinds, 1):
                if trials is first or kind in FLUSHES:
                    yield trials, Fault(nth, errno.EIO)
                if trials is first and kind in MOVING:
                    yield trials, Fault(nth, None)
                if trials is first and kind in CHANGING:
                    yield trials, Fault(nth, errno.EIO, done=True)
        for at, kind in enumerate(sorted({kind for trials in modes for kind in trials.kinds})):
            having = [trials for trials in modes if kind in trials.kinds]
            # With EIO it has failed, if it is one of the first mode's.
            for number, error in enumerate(ERRORS[1:] if kind in first.kinds else ERRORS):
                turn, which = divmod(number + at, len(having))
                trials = having[which]
                calls = [nth for nth, other in enumerate(trials.kinds, 1) if other == kind]
                yield trials, Fault(calls[number % len(calls)], error, for_ever=turn % 2 == 0)

    def play(self, fault: Fault | None) -> Sequence[Call]:
        """Do the deed with something going wrong; raises Violation, or returns its calls."""
        path = self._copy(self._template)
        try:
            return self._play(path, fault)
        except Exception as error:
            raise Violation(f"{self.deed.name}, {self.mode}, {fault}: {error}") from error
        finally:
            for name in self._directory.glob("copy-*"):
                shutil.rmtree(name)

    def _life(self, path: Path, disk: FaultyDisk | None = None) -> Life:
        return Life(path, self.mode, self.modules, self.deed.rank, disk, self.deed.keep)

    def _copy(self, path: Path) -> Path:
        self._copies += 1
        copy = self._directory / f"copy-{self._copies}"
        if path.exists():
            shutil.copytree(path, copy)
        return copy

    def _play(self, path: Path, fault: Fault | None) -> Sequence[Call]:
        open_before = _open_files()
        life = self._life(path)
        calls, done, expected, allowed = self._do(life, fault)
        if life.serving:
            self._check_restart(self._copy(path), allowed)
            past = {name: lines for name, lines in allowed.items() if name.endswith("+")}
            _equal("what is shown", life.found(), expected)
            _check_values(life, "it", past)
            life.workers.lazy = False
            life.apply()
            _equal("what is shown", life.found(), expected)
            _check_values(life, "its files were made", past)
            allowed[NEXT] = {self._check_next(life)}
            if fault is not None and fault.done:
                allowed.update(self._check_deleted(life, done))
            if life.volume.broken is None:
                life.collect()
                _check_leaks(life, path, _unmoved(calls))
            life.end()
        _check_flushes(life, life.disk.calls, fault)
        _equal("open", (life.disk.descriptors, _open_files()), ({}, open_before))
        self._check_restart(path, allowed)
        return calls

    def _do(
        self, life: Life, fault: Fault | None
    ) -> tuple[Sequence[Call], Sequence[Operation], Values, dict[str, set[Value]]]:
        """Do the deed; return its calls and requests, and what there is, or may be, at the end."""
        before = self._given
        if not self.deed.starts:
            life.start()
            life.remember()
            self.deed.lead(life)
            before = life.shown()
        life.model.update(self._past)
        begun = len(life.operations)
        disk = life.disk
        disk.clear()
        if fault is not None:
            fault.arm(disk, self.kinds)
            # What is kept goes before a request that finds no room.
            life.lossy = life.lossy or fault.error in (errno.ENOSPC, errno.EDQUOT)
        self.deed.act(life)
        calls = list(disk.calls)
        disk.heal()
        make_room(life)
        self.figures.count(fault, calls)
        done = life.operations[begun:]
        _check_flushes(life, calls, fault)
        _check_answers(life, done, fault, self.deed.full)
        _check_success(life, done, calls)
        expected = {**before, **{each.location: each.value for each in done if not each.error}}
        allowed = {location: {value} for location, value in expected.items()}
        may_be = done if life.volume.broken or (fault is not None and fault.done) else []
        for each in may_be:
            allowed[each.location].add(each.value)
        if life.ahead:
            for location in allowed:
                # A restart sets the clock back; what is not deleted by then is there again.
                standing = life.store.index.standing(location)
                if getattr(standing, "expires", None) is not None:
                    allowed[location].add(standing.sha256)
        allowed |= life.lines([each for each in may_be if each.error is not None])
        return calls, done, expected, allowed

    def _check_next(self, life: Life) -> Value:
        """The next write works, unless the store is read-only."""
        operation = life.request(POST, NEXT)
        wanted = type(None) if life.volume.broken is None else ReadOnly
        _equal("the next write", type(operation.error), wanted)
        return None if operation.error else operation.value

    def _check_deleted(self, life: Life, done: Sequence[Operation]) -> dict[str, set[Value]]:
        """What may have been stored though nobody was told so does not survive a deletion."""
        deleted: dict[str, set[Value]] = {}
        for each in done:
            if each.error is not None and life.volume.broken is None:
                if life.value(each.location) is None:
                    _equal("a POST", life.request(POST, each.location).error, None)
                _equal("a DELETE", life.request(DELETE, each.location).error, None)
                deleted[each.location] = {None}
        return deleted | life.lines([each for each in done if each.error is not None])

    def _check_restart(self, path: Path, allowed: Allowed) -> None:
        """A start with a healthy disk finds what it may, and tidies up."""
        life = self._life(path).start()
        _check_values(life, "a restart", allowed)
        life.collect()
        _check_leaks(life, path)
        life.end()


class Forgetful(FaultyDisk):
    """A simulated disk; what a flush that fails was to write is lost, as Linux loses it."""

    under: SimulatedDisk

    def _call(self, kind: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        try:
            return super()._call(kind, arguments, keywords)
        except OSError:
            if kind in FLUSHES:
                self.under.lose(None if kind == "syncfs" else arguments[0])
            raise


class PowerCuts(Trials):
    """The same on a simulated disk, with a power cut at the end of each deed."""

    def _play(self, path: Path, fault: Fault | None) -> Sequence[Call]:
        under = SimulatedDisk(_tree(path), trusted=self.mode[1])
        life = self._life(Path("/"), Forgetful(under))
        calls, _, _, allowed = self._do(life, fault)
        for nth in range(CUTS):
            disk = FaultyDisk(under.cut(partial(_nth_state, under, nth)))
            again = self._life(Path("/"), disk).start()
            _check_values(again, "a power cut", allowed)
        return calls

    def faults(self, errors: Sequence[int] = ERRORS[:1]) -> Iterator[Fault]:
        """What is about the disk itself: flushes, renames, bytes on their way to it."""
        for nth, kind in enumerate(self.kinds, 1):
            if kind in (*FLUSHES, "rename"):
                yield from (Fault(nth, error) for error in errors)
            elif kind in ("writev", "pwrite"):
                yield Fault(nth, None)

    @staticmethod
    def share(modes: Sequence[Trials]) -> Iterator[tuple[Trials, Fault]]:
        """Every other one, in each mode."""
        for trials in modes:
            for fault in itertools.islice(trials.faults(), 0, None, 2):
                yield trials, fault


def _nth_state(disk: SimulatedDisk, nth: int, number: int) -> bytes | Entries:
    states = disk.inodes[number].variants()
    return states[min(nth, len(states) - 1)]


def _tree(path: Path) -> Tree:
    """A directory as a simulated disk has it."""
    return tuple(
        (each.name, _tree(each) if each.is_dir() else each.read_bytes())
        for each in sorted(path.iterdir())
    )


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _equal(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise Violation(f"{what}: {got!r}, and not {wanted!r}")


def _check_values(life: Life, what: str, allowed: Allowed) -> None:
    for location, values in allowed.items():
        if (value := life.look_up(location)) not in values:
            wanted = " or ".join(map(_words, values))
            raise Violation(f"{location} has {_words(value)} after {what}, and not {wanted}")


def _words(value: Value) -> str:
    """A digest, or those of a line, as people can compare them."""
    if value is None:
        return "nothing"
    digests = [value[at : at + 32].hex()[:6] for at in range(0, len(value) - 1, 32)]
    return "-".join(digests) + ("" if len(value) == 32 else value[-1:].decode("latin-1"))


def _check_answers(life: Life, done: Sequence[Operation], fault: Fault | None, full: bool) -> None:
    """Whatever failed says what it failed of; a call that is cut short is no failure."""
    errors = [each.error for each in done if each.error is not None]
    failed_reads = []
    wanted: Any
    for got, wanted in life.reads:
        if isinstance(got, Exception):
            failed_reads.append(got)
        elif isinstance(got, list) and fault is not None and fault.error == errno.EIO:
            # What the disk has lost is in no list, and hides nothing else.
            _equal("what is not in the list", [each for each in got if each not in wanted], [])
        else:
            _equal("read", got, wanted)
    if life.refusal is not None:
        _equal("the refusal", type(life.refusal), VolumeUnusable)
    if fault is None or fault.error is None:
        _equal("errors", (errors, failed_reads, life.refusal), ([], [], None))
        return
    cause = OSError(fault.error, "")
    written, read = type(as_store_error(cause)), type(as_read_error(cause))
    # What is restored is read first.
    restores = any(each.verb == RESTORE for each in done)
    for found, natural in (
        (errors, {written, *([read] if restores else []), *([NoSpace] if full else [])}),
        (failed_reads, {read}),
    ):
        for error in found:
            if type(error) not in natural and not (
                life.volume.broken and isinstance(error, (DiskFailed, ReadOnly))
            ):
                raise Violation(f"{error!r} instead of {natural}")


def _check_success(life: Life, done: Sequence[Operation], calls: Sequence[Call]) -> None:
    """Nobody is told of a success whose flush failed."""
    before = ""
    # A small change is answered as soon as the journal has it; what comes then is behind it.
    is_small = life.sync is Sync.JOURNAL and not any(
        call.name.startswith(".new-") for call in calls
    )
    committed = {call.name.partition(" -> ")[0] for call in calls if call.kind == "rename"}
    for call in calls if done else ():
        if is_small and len(done) == 1 and call.kind == "fdatasync" and not call.failed:
            break
        if call.failed and call.kind in FLUSHES and re.match(r"$|\.journal-|\.new-", call.name):
            # What a PUT has replaced of something damaged is removed when it has been answered.
            late = before.startswith("rename .quarantine-") and done[0].verb != DELETE
            # With a history a write that finds no room is done anew, with another stage.
            stage = call.name.partition("/")[0]
            anew = stage.startswith(".new-") and life.keep and stage not in committed
            late = late or bool(anew)
            if not late and not any(each.error for each in done):
                raise Violation(f"{call} failed, and was passed over")
        before = str(call)


def _check_flushes(life: Life, calls: Sequence[Call], fault: Fault | None) -> None:
    """No flush is tried again, and the store is read-only exactly if one failed that matters.

    Or if the applier failed, and not for want of room: the next start makes the files then.
    """
    is_broken = fault is not None and fault.error == errno.EIO
    made: Counter[str] = Counter()
    failed: set[tuple[str, int]] = set()
    must = may = False
    before = ""
    for call in calls:
        made[call.name] += call.created
        # At the end there is no way to go on without what the journal has to say; nor is there
        # one without an answer to whether a rename that failed is done.
        may = may or (call.failed and call.kind == "pwrite" and life.stopped)
        looks = before.startswith(("rename", "unlink"))
        may = may or (call.failed and call.kind == "lstat" and looks)
        if call.failed and is_broken and life.sync is Sync.JOURNAL:
            must = must or (
                _BEHIND.fullmatch(str(call)) is not None and (call.kind != "open" or call.created)
            )
            may = may or _NUMBERED.match(str(call)) is not None
        before = str(call)
        if call.kind not in FLUSHES:
            continue
        # A file made anew under the same name is another file.
        file = ("the file system", 0) if call.kind == "syncfs" else (call.name, made[call.name])
        if file in failed:
            raise Violation(f"{call} is tried again")
        if call.failed:
            failed.add(file)
            if call.kind == "syncfs" and life.sync is Sync.FILES:
                may = True
            elif call.kind == "syncfs" or re.fullmatch(r"|\.journal-.|\d+", call.name):
                must = True
    broken = life.volume.broken is not None or life.refusal is not None
    if life.refusal is None and broken and not (must or may):
        raise Violation(f"read-only for nothing: {life.volume.broken}")
    if must and not broken:
        raise Violation("not read-only")


def _unmoved(calls: Sequence[Call]) -> set[int]:
    """The damaged blobs that a start could not quarantine: they stay where they are."""
    failed = [call.name for call in calls if call.failed and call.kind in ("rename", "lstat")]
    names = [re.search(r"\.quarantine-(\d+)-", name) for name in failed]
    return {int(name[1]) for name in names if name is not None}


def _check_leaks(life: Life, path: Path, unmoved: Set[int] = frozenset()) -> None:
    """There are the blobs that are served, and nothing else; no number is taken by nobody."""
    # A part of a record cache that could not be removed stays until the next one is written.
    besides = (".journal-", ".quarantine-", RECORDS, PROMISE)
    names = {name for name in os.listdir(path) if not name.startswith(besides)}
    live = {blob.id for blob in life.store.index.blobs()}
    live |= {dead.id for dead in life.store.history}
    live |= {blob_id for blob_id in unmoved if str(blob_id) in names}
    _equal("directories", names, {str(blob_id) for blob_id in live})
    _equal("numbers", set(life.store.index.ids), live)
    counts = (
        life.store.admission.uploads,
        life.store.admission.announced,
        life.store.admission.in_memory,
        life.workers.ongoing.count,
        life.store.creating,
    )
    _equal("what is on its way", counts, (0, 0, 0, 0, set()))
