"""Uploads in several requests, with one system call after another failing.

Whatever a call fails with: no offset that was told shrinks, what is said to be a blob is one,
nothing stays open, and the upload goes on to its end, in the same life and in the next one. It is
over only after a flush of its files has failed, which is never tried again.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import define, field, frozen
from twisted.python.failure import Failure

from gostore.errors import NoUpload, StoreError, UploadOver
from gostore.store.interface import Details
from gostore.store.unfinished import Address, Chunk, Standing, Wanted
from tests.faults.deeds import MODES, Life, Mode
from tests.faults.trials import FLUSHES, MOVING, Fault, Figures
from tests.simulation.world import GENUINE, Violation
from tests.store.doubles import Call, FakeBody

FIRST, LAST = b"a" * 5000, b"b" * 4000
WHOLE = FIRST + LAST

#: For each call; the flushes and the moving ones get more.
ERRORS = (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.ENOMEM)

WANTED = Wanted(Details(), None, None)


@define(eq=False)
class Client:
    """What the client of one upload knows."""

    address: Address = field(factory=lambda: Address(0, "a"))
    told: int = 0
    #: What the last request came to.
    outcome: Any = None
    ended: bool = False


def ask(life: Life, asked: Any) -> Any:
    """What a request comes to: a result, or an error."""
    found: list[Any] = []
    asked.addBoth(found.append)
    life.drain()
    if not found:
        raise Violation("never answered")
    return found[0].value if isinstance(found[0], Failure) else found[0]


def begin(life: Life, client: Client) -> None:
    """Begin it."""
    uploads = life.store.resumable
    client.outcome = ask(life, uploads.begin(client.address, "text", len(WHOLE), WANTED))
    if isinstance(client.outcome, Address):
        client.address = client.outcome


def append(data: bytes, **said: Any) -> Callable[[Life, Client], None]:
    """Send a part of it."""

    def act(life: Life, client: Client) -> None:
        chunk = Chunk(client.told, **said)
        asked = life.store.resumable.append(client.address, chunk, FakeBody(data))
        client.outcome = ask(life, asked)
        if isinstance(client.outcome, Standing):
            client.told = client.outcome.offset

    return act


def finish(life: Life, client: Client) -> None:
    """Let it become a blob."""
    client.outcome = ask(life, life.store.resumable.finish(client.address, WANTED))


def terminate(life: Life, client: Client) -> None:
    """Give it up."""
    client.ended = True
    client.outcome = ask(life, life.store.resumable.terminate(client.address))


def stand(life: Life, client: Client) -> None:
    """Ask how far it is."""
    client.outcome = ask(life, life.store.resumable.stand(client.address))


def restart(life: Life, client: Client) -> None:
    """Let the next life begin; the hash of what has come is lost."""
    life.try_stop()
    life.start()


Step = Callable[[Life, Client], None]


@frozen
class Deed:
    """The last of some steps, during which calls fail."""

    name: str
    steps: tuple[Step, ...]


_FIRST, _LAST = append(FIRST), append(LAST)
_CHECKED = append(LAST, checksum=("sha256", hashlib.sha256(LAST).digest()))

DEEDS = (
    Deed("begin", (begin,)),
    Deed("first bytes", (begin, _FIRST)),
    Deed("last bytes", (begin, _FIRST, _LAST)),
    Deed("bytes with a checksum", (begin, _FIRST, _CHECKED)),
    Deed("bytes after a restart", (begin, _FIRST, restart, _LAST)),
    Deed("finish", (begin, _FIRST, _LAST, finish)),
    Deed("finish after a restart", (begin, _FIRST, _LAST, restart, finish)),
    Deed("asking after a restart", (begin, _FIRST, _LAST, finish, restart, stand)),
    Deed("terminate", (begin, _FIRST, terminate)),
)


#: Per commit one fault in so many of each mode; each mode has others.
SHARE = 3


class UploadTrials:
    """One deed in one mode, to be done again and again."""

    def __init__(
        self, deed: Deed, mode: Mode, directory: Path, modules: SimpleNamespace = GENUINE
    ) -> None:
        self.deed = deed
        self.mode = mode
        self.modules = modules
        self.figures = Figures()
        self._copies = 0
        self._directory = directory
        self.kinds = [call.kind for call in self.play(None)]

    def faults(self) -> Iterator[Fault]:
        """All there are."""
        for nth, kind in enumerate(self.kinds, 1):
            for error in ERRORS:
                yield Fault(nth, error)
            yield Fault(nth, errno.EIO, for_ever=True)
            yield Fault(nth, errno.ENOSPC, for_ever=True)
            if kind in MOVING:
                yield Fault(nth, None)
                yield Fault(nth, None, for_ever=True)

    @classmethod
    def share(
        cls, deed: Deed, directory: Path, modules: SimpleNamespace = GENUINE
    ) -> Iterator[tuple[UploadTrials, Fault]]:
        """Some of what there is to try of a deed in each mode."""
        for at, mode in enumerate(MODES):
            trials = cls(deed, mode, directory, modules)
            for fault in itertools.islice(trials.faults(), at, None, SHARE):
                yield trials, fault

    def play(self, fault: Fault | None) -> list[Call]:
        """Do it; raises Violation, or returns the calls of the last step."""
        self._copies += 1
        path = self._directory / f"upload-{self._copies}"
        try:
            return self._play(path, fault)
        except Exception as error:
            raise Violation(f"{self.deed.name}, {self.mode}, {fault}: {error!r}") from error
        finally:
            for left in self._directory.glob("upload-*"):
                shutil.rmtree(left)

    def _play(self, path: Path, fault: Fault | None) -> list[Call]:
        life, client = Life(path, self.mode, self.modules).start(), Client()
        *lead, act = self.deed.steps
        for step in lead:
            step(life, client)
        disk: Any = life.disk
        disk.clear()
        if fault is not None:
            fault.arm(disk, self.kinds)
        act(life, client)
        calls = list(disk.calls)
        disk.heal()
        self.figures.count(fault, calls)
        if isinstance(client.outcome, Exception) and not isinstance(client.outcome, StoreError):
            raise Violation(f"it came to {client.outcome!r}")
        if isinstance(client.outcome, StoreError) and (fault is None or fault.error is None):
            raise Violation(f"it came to {client.outcome!r} for nothing")
        if left := [name for name in disk.open_files if name and ".journal" not in name]:
            raise Violation(f"left open: {left}")
        copy = path.with_name(path.name + "-copy")
        shutil.copytree(path, copy)
        is_lost = any(
            call.failed and call.kind in FLUSHES and ".upload-" in call.name for call in calls
        )
        if life.volume.broken is None:
            _check(life, _another(client), path, is_lost)
        _check_flushes(disk.calls)
        life.end()
        life = Life(copy, self.mode, self.modules).start()
        _check(life, client, copy, is_lost, anew=True)
        life.end()
        return calls


def _another(client: Client) -> Client:
    """The same client, to go on with in one of two lives."""
    return Client(client.address, client.told, client.outcome, client.ended)


def _check(life: Life, client: Client, path: Path, is_lost: bool, *, anew: bool = False) -> None:
    """The upload is as far as its client knows, and goes on to its end."""
    uploads = life.store.resumable
    if client.address.number:
        found = ask(life, uploads.stand(client.address))
        if isinstance(found, (NoUpload, UploadOver)):
            if not (client.ended or is_lost):
                raise Violation(f"it is {found!r}")
        elif isinstance(found, Exception):
            raise Violation(f"it is {found!r}")
        else:
            _go_on(life, client, found)
    for _ in range(2):
        life.collect()
    left = [name for name in os.listdir(path) if name.startswith((".new", ".trash", ".upload"))]
    if client.address.number == 0 and anew:
        left = [name for name in left if not name.startswith(".upload")]  # nobody knows of it
    live = {blob.id for blob in life.store.index.blobs()}
    if left or set(life.store.index.ids) != live:
        raise Violation(f"left over: {left}, {set(life.store.index.ids)} and not {live}")


def _go_on(life: Life, client: Client, standing: Standing) -> None:
    if client.ended and isinstance(client.outcome, StoreError):
        terminate(life, client)
        if client.outcome is not None:
            raise Violation(f"it cannot be given up: {client.outcome!r}")
        return
    if client.ended:
        raise Violation("it was given up, and is there")
    if standing.offset < client.told:
        raise Violation(f"it has {standing.offset} bytes; told {client.told}")
    if not standing.is_complete:
        client.told = standing.offset
        append(WHOLE[standing.offset :])(life, client)
        if not isinstance(client.outcome, Standing):
            raise Violation(f"it does not go on: {client.outcome!r}")
    finish(life, client)
    value = hashlib.sha256(WHOLE).digest()
    if not isinstance(client.outcome, Standing) or client.outcome.sha256 != value:
        raise Violation(f"it does not come to its end: {client.outcome!r}")
    if life.read("a") != value:
        raise Violation("the blob is not what was sent")


def _check_flushes(calls: list[Call]) -> None:
    """No flush of a file of an upload is tried again after it has failed."""
    failed: set[str] = set()
    for call in calls:
        if call.kind in FLUSHES and re.search(r"\.upload-\d+/", call.name):
            if call.name in failed:
                raise Violation(f"{call} is tried again")
            if call.failed:
                failed.add(call.name)
        elif call.created:
            failed.discard(call.name)
