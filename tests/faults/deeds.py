"""Everything the store does, as deeds to be done while a system call fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from gostore import statefile
from gostore.blob import Blob
from gostore.store.versions import Version
from gostore.volume.changes import Sync
from gostore.volume.directory import DATA, STATE
from gostore.volume.disk import UnsyncedDisk
from gostore.volume.journal.format import BLOCK
from tests.simulation.disk import SimulatedDisk, used
from tests.simulation.world import (
    BRIEF,
    DELETE,
    GENUINE,
    LARGE,
    NOW,
    POST,
    PUT,
    PUT_ANEW,
    SMALL,
    STAGED,
    Operation,
    Value,
    Violation,
    World,
)
from tests.store.doubles import CHORE, COMMIT, FILE, FaultyDisk

#: A body that is staged, but not sealed before its commit.
MIDDLING = (70_000, True)
#: One that takes several reads.
BIG = (140_000, True)

LOCATIONS = ("a", "b", "c", "d", "e", "f")

#: How changes are made durable, and whether one syncfs stands for a flush of every file.
Mode = tuple[Sync, bool]
MODES: tuple[Mode, ...] = ((Sync.JOURNAL, True), (Sync.FILES, True), (Sync.FILES, False))


class ReadyDisk(UnsyncedDisk):
    """Real files, never flushed, that can be read at once on any file system.

    With a ``limit`` it tells of the room there would be if all files had so many bytes together.
    """

    limit: int | None = None

    def free(self, dir_fd: int) -> tuple[int, int]:  # type: ignore[override]
        """Return (bytes free to us, bytes in all)."""
        if self.limit is None:
            return UnsyncedDisk.free(dir_fd)
        return max(0, self.limit - bytes_in(f"/proc/self/fd/{dir_fd}")), self.limit

    @staticmethod
    def preadv(fd: int, buffers: list[bytearray], offset: int, flags: int = 0) -> int:
        """Read without asking the kernel for what some file systems cannot tell."""
        return os.preadv(fd, buffers, offset)


def bytes_in(path: str) -> int:
    """How many bytes the blocks of a directory's files have, and those of its directories."""
    return sum(
        os.lstat(os.path.join(above, name)).st_blocks * 512 + BLOCK * (name in directories)
        for above, directories, files in os.walk(path)
        for name in (*directories, *files)
    )


class Life(World):
    """A store on real files, or another disk, each call of which can fail.

    Nothing is really flushed: what is asked here is what an answer says, and what a kill leaves.
    """

    def __init__(
        self,
        path: Path,
        mode: Mode,
        modules: SimpleNamespace = GENUINE,
        rank: tuple[str, ...] = (COMMIT, FILE, CHORE),
        disk: FaultyDisk | None = None,
        keep: float = 0,
    ) -> None:
        sync, trusted = mode
        on: Any = disk or FaultyDisk(ReadyDisk(), trusted=trusted)
        super().__init__(on, modules, sync=sync, rank=rank, path=str(path), keep=keep)
        #: The version of each location that a deed is about.
        self.chosen: dict[str, Version] = {}
        #: Why it did not start.
        self.refusal: Exception | None = None
        self.stopped = False
        #: What reading deeds came to: a digest or an error, and the digest it has to be.
        self.reads: list[tuple[object, object]] = []

    def try_start(self) -> None:
        """Start as the daemon does, and be refused as it is."""
        try:
            self.start()
        except Exception as error:
            self.refusal = error
            if not self.opened and self.disk.descriptors:
                raise Violation("what cannot be opened is left open") from error
            self.end()

    def try_stop(self) -> None:
        """Stop as the daemon does."""
        self.stopped = True
        self.workers.lazy = False
        ended: list[object] = []
        self.store.stop().addBoth(ended.append)
        self.workers.drain()
        if not ended:
            raise Violation("a stop never came to its end")
        self.end()

    def end(self) -> None:
        """Let go of the volume and change nothing in it, as a kill does."""
        self.serving = False
        with suppress(OSError):
            self.store.close()

    def shown(self) -> dict[str, Value]:
        """What GETs of all locations say, as far as their heads tell."""
        return {location: self.value(location) for location in LOCATIONS}

    def found(self) -> dict[str, Value]:
        """What GETs of all locations say, all their bytes read."""
        return {location: self.read(location) for location in LOCATIONS}

    def remember(self) -> None:
        """Take what there is of the past for what was answered in this life."""
        for location in LOCATIONS if self.keep else ():
            versions = self.versions(location)
            lives = bool(versions) and versions[-1].ending is None
            self.model[location] = (tuple(each.blob.sha256 for each in versions), lives)

    def lines(self, may_be: Sequence[Operation]) -> dict[str, set[Value]]:
        """The lines that locations may have (see `line`) if what failed has come true, or not.

        Of those that may have there is one at most for each location. What came after it was
        answered.
        """
        found = {}
        for location in LOCATIONS if self.keep else ():
            bases, candidates = self.pasts(location)
            for values, lives in bases:
                candidates.append((values, lives))
                for value in (each.value for each in may_be if each.location == location):
                    if value is None:
                        candidates.append((values, False))
                        continue
                    candidates.append(((*values, value), True))
                    for at in range(len(values) + 1):
                        candidates.append(((*values[:at], value, *values[at:]), lives))
            found[f"{location}+"] = self.as_lines(candidates)
        return found

    def look_up(self, name: str) -> Value:
        """What a location has, or with a plus behind it what it has had."""
        return self.line(name[:-1]) if name.endswith("+") else self.read(name)

    def abandon(self, location: str) -> None:
        """Let the client of an upload go away."""
        operation = self.begin(POST, location, STAGED)
        self.workers.drain()
        assert operation.body is not None
        operation.body.fail()
        self.drain()

    def look(self, location: str) -> None:
        """Read a blob as a GET does, into memory before it is sent, and note what came of it."""
        got = self.store.get(location).addCallback(self._loaded)
        self._note(location, got, self.value(location))

    def look_back(self, location: str) -> None:
        """Read the chosen version of a location."""
        version = self.chosen[location]
        read = self.read_version(location, version.blob.generation)
        self._note(location, read, version.blob.sha256)

    def look_through(self, location: str) -> None:
        """Ask for the versions of a location."""

        def digests(versions: Sequence[Version]) -> list[Value]:
            return [each.blob.sha256 for each in versions]

        wanted = list(self.model[location][0][::-1])
        self._note(location, self.store.past.history(location).addCallback(digests), wanted)

    def restore_chosen(self, location: str) -> None:
        """Make the chosen version of a location current again."""
        self.restore(location, self.chosen[location])
        self.drain()

    def verify(self, location: str) -> None:
        """Have a blob compared with its digest, and note what came of it."""
        verified = self.store.verifier.verify(location, lambda length: succeed(None))
        value = self.value(location)
        self._note(location, verified.addCallback(lambda _: self.value(location)), value)

    def _loaded(self, blob: Any) -> Deferred[Any]:
        def opened(content: Any) -> Any:
            loaded = content.load(0, content.size) or succeed(None)
            return loaded.addBoth(closed, content)

        def closed(result: Any, content: Any) -> Any:
            content.close()
            return result if isinstance(result, Failure) else self._read(blob)

        return self.store.content(blob).addCallback(opened)  # type: ignore[no-any-return]

    def _note(self, location: str, asked: Deferred[Any], value: object) -> None:
        got: list[Any] = []
        asked.addBoth(got.append)
        self.workers.drain()
        if not got:
            raise Violation(f"a read of {location} never came to its end")
        self.reads.append((got[0].value if isinstance(got[0], Failure) else got[0], value))


def _make_plain(path: Path) -> None:
    """A directory that was in use, and has no journal."""
    life = Life(path, (Sync.FILES, True)).start()
    for location, shape in (("a", SMALL), ("b", SMALL), ("c", BIG), ("e", SMALL)):
        life.request(POST, location, shape)
    life.try_stop()


def fill_up(life: Life) -> None:
    """Let the disk have no room for more; what is kept may go for it."""
    life.apply()
    under: Any = life.disk.under  # type: ignore[attr-defined]
    if isinstance(under, SimulatedDisk):
        under.room = used(under.tree)
    else:
        under.limit = bytes_in(life.path)
    life.collect()
    life.lossy = True


def make_room(life: Life) -> None:
    """Let there be room again."""
    under: Any = life.disk.under  # type: ignore[attr-defined]
    if isinstance(under, SimulatedDisk):
        under.room = None
    elif under.limit is not None:
        under.limit = None
        life.store.admission.free, _ = under.free(life.volume.directory.root)


def make_ruins(path: Path, keep: float = 0) -> None:
    """A directory after a crash, with one of each thing that a start has to mend."""
    _make_plain(path)
    life = Life(path, (Sync.JOURNAL, True), keep=keep).start()
    life.request(POST, "d")
    life.request(POST, "f")
    damaged = life.store.index.blob("f").id
    life.collect()
    life.request(PUT, "a")
    life.request(DELETE, "d")
    life.begin(PUT, "e")
    life.workers.run_all(COMMIT)  # and so it is not marked what it replaced
    torn = life.store.index.blob("a").id
    life.workers.jobs.clear()
    life.end()
    (path / str(torn) / STATE).write_bytes(b"BLOB_BASE64_gostore1:eyJ")
    os.truncate(path / str(damaged) / DATA, 5)
    for blob_id, name in ((77, ".new-77"), (88, "88")):
        pending = Blob(blob_id, "pending")
        pending.create(NOW)
        pending.start_writing(NOW)
        _put(path / name, statefile.dump(pending))
    _put(path / "99", None)
    _put(path / ".trash-66-1", None)
    _put(path / ".quarantine-55-1", b"nonsense")


def _put(directory: Path, state: bytes | None) -> None:
    directory.mkdir()
    (directory / DATA).write_bytes(b"half")
    if state is not None:
        (directory / STATE).write_bytes(state)


def _make_nothing(path: Path) -> None:
    """The directory itself is still to be made."""


def _nothing(life: Life) -> None:
    """No lead is needed."""


@frozen
class Deed:
    """Something the store does: ``act``, after ``lead`` in the same life.

    ``make`` lays out the directory; one that ``starts`` is itself the begin of a life. ``keep`` is
    for how many seconds what dies is kept. On a disk that is ``full`` a request may find no room.
    """

    name: str
    act: Callable[[Life], object]
    lead: Callable[[Life], object] = _nothing
    make: Callable[[Path], None] = _make_plain
    starts: bool = False
    rank: tuple[str, ...] = (COMMIT, FILE, CHORE)
    keep: float = 0
    full: bool = False


def _verbs() -> Iterator[Deed]:
    for shape, how in ((SMALL, "in memory"), (MIDDLING, "staged"), (LARGE, "sealed")):
        for verb, location in ((POST, "d"), (PUT, "a"), (PUT_ANEW, "d")):
            yield Deed(f"{verb}, {how}", requesting(verb, location, shape), warm)
    yield Deed("DELETE", requesting(DELETE, "a"), warm)
    yield Deed("DELETE of what was replaced", requesting(DELETE, "e"), warm)
    yield Deed("POST, the first", requesting(POST, "d"))
    yield Deed("DELETE, the first", requesting(DELETE, "a"))
    yield Deed("PUT, the journal full", requesting(PUT, "a"), fill)


def requesting(verb: str, location: str, shape: tuple[int, bool] = SMALL) -> Callable[[Life], Any]:
    return lambda life: life.request(verb, location, shape)


def warm(life: Life) -> None:
    """What a first write has to make is made, and something can be replaced that is kept open."""
    life.request(PUT, "e")
    life.read("a")


def fill(life: Life) -> None:
    """Write until the next batch has to begin the other file of the journal."""
    for _ in range(5):
        life.request(PUT, "e")


def _at_once(shape: tuple[int, bool]) -> Callable[[Life], None]:
    def act(life: Life) -> None:
        # The first is flushed alone, the others together.
        life.begin(PUT, "b", shape)
        life.begin(PUT, "a", shape)
        life.begin(POST, "d", shape)
        life.begin(DELETE, "e")
        life.drain()

    return act


def _open_at_once(life: Life) -> None:
    """What is in memory need not wait for a thread."""
    disk: Any = life.disk
    disk.opens_now = True


def _forget_data(life: Life) -> None:
    """Nothing is in memory."""
    disk: Any = life.disk
    disk.cached = False


def damage(life: Life) -> None:
    """A blob loses bytes, and is found to have lost them."""
    os.truncate(os.path.join(life.path, str(life.store.index.blob("a").id), DATA), 5)
    life.read("a")


def _litter(life: Life) -> None:
    """Leave something for the collector: replaced, deleted, deleted and replaced, given up."""
    life.request(PUT, "a")
    life.request(PUT, "e")
    life.request(DELETE, "e")
    life.request(POST, "f")
    life.request(DELETE, "f")
    life.abandon("d")


def outlive(life: Life) -> None:
    """Let blobs be over: with an elder that is not marked yet, without, and without files."""
    warm(life)
    life.request(POST, "d", BRIEF)
    life.request(PUT, "a", BRIEF)
    life.workers.lazy = True
    life.request(PUT, "b", BRIEF)
    life.pass_time()


def leave_behind(life: Life) -> None:
    """Let there be no files yet of what is new, replaced, deleted with and without an elder."""
    warm(life)
    life.workers.lazy = True
    for verb, location in (
        (POST, "d"),
        (PUT, "d"),
        (PUT, "a"),
        (PUT, "b"),
        (DELETE, "b"),
        (DELETE, "e"),
        (POST, "f"),
        (DELETE, "f"),
    ):
        life.request(verb, location)


def hurry(act: Callable[[Life], object]) -> Callable[[Life], None]:
    """Do something while nothing holds the applier up."""

    def hurried(life: Life) -> None:
        life.workers.lazy = False
        act(life)

    return hurried


REQUESTS = (
    *_verbs(),
    Deed("requests at once", _at_once(SMALL), warm),
    Deed("large requests at once", _at_once(MIDDLING), warm, rank=(FILE, COMMIT, CHORE)),
)

#: What is done with blobs that have no files yet, and to give them some.
BEHIND = (
    Deed("applying", hurry(Life.apply), leave_behind),
    Deed("applying and a collection", hurry(Life.collect), leave_behind),
    Deed("applying at a stop", Life.try_stop, leave_behind),
    Deed("POST behind others", hurry(requesting(POST, "f")), leave_behind),
    Deed("PUT, staged, of what has no files", requesting(PUT, "d", MIDDLING), leave_behind),
    Deed("DELETE of what has no files", requesting(DELETE, "d"), leave_behind),
    Deed("DELETE of what has no files, but an elder", requesting(DELETE, "a"), leave_behind),
    Deed("GET of what has no files", lambda life: life.look("d"), leave_behind),
)

#: What is done with blobs that have expired.
OVER = (Deed("collection of what is over", hurry(Life.collect), outlive),)

DEEDS = (
    *REQUESTS,
    *BEHIND,
    *OVER,
    Deed("DELETE of what is damaged", requesting(DELETE, "a"), damage),
    Deed("PUT over what is damaged", requesting(PUT, "a"), damage),
    Deed("collection", Life.collect, _litter),
    Deed("collection, the first", Life.collect, make=make_ruins),
    Deed("GET, small", lambda life: life.look("a")),
    Deed("GET, small and opened at once", lambda life: life.look("a"), _open_at_once),
    Deed("GET, small and kept open", lambda life: life.look("a"), lambda life: life.look("a")),
    Deed("GET, large", lambda life: life.look("c"), _forget_data),
    Deed("GET, large and opened at once", lambda life: life.look("c"), _open_at_once),
    Deed("GET, large and kept open", lambda life: life.look("c"), lambda life: life.look("c")),
    Deed("verifying", lambda life: life.verify("c")),
    Deed("start", Life.try_start, make=make_ruins, starts=True),
    Deed("start in a new directory", Life.try_start, make=_make_nothing, starts=True),
    Deed("stop", Life.try_stop, _litter),
)
