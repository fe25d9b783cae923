"""Uploads in several requests, crashed everywhere: what their client was told of stays.

A client sends parts, some of them cut off or with a wrong checksum. Whatever it sends again is of
other bytes, so that none of an earlier try can pass for it. After each crash another life goes on
with the upload to its end, and the blob has to be what the client sent, byte for byte.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.python.failure import Failure

from gostore.errors import ChunkMismatch, NoUpload, StoreError
from gostore.store.interface import Details
from gostore.store.unfinished import Address, Chunk, Standing, Wanted
from tests.simulation.disk import CHANGES, Entries, SimulatedDisk
from tests.simulation.explorer import Explorer
from tests.simulation.world import DELETE, LOCATIONS, POST, PUT_ANEW, Value, Violation, World
from tests.store.doubles import FakeBody

#: More than two blocks, and none of them whole at the end.
LENGTH = 9000

LOCATION = "a"
OTHER = "b"

WANTED = Wanted(Details(), None, None)

Step = Callable[["Client"], None]


@frozen
class Promise:
    """What a client has been told, and what it may find besides.

    ``sent`` are bytes on their way behind those that it was told are there. Of `finished` and
    `terminated` None means that it has not asked, False that it has no answer yet.
    """

    begun: bool = False
    told: bytes = field(default=b"", repr=False)
    sent: bytes = field(default=b"", repr=False)
    finished: bool | None = None
    terminated: bool | None = None
    #: What the location had before, or OTHER has now.
    old: tuple[Value, ...] = (None,)
    other: tuple[Value, ...] = (None,)


@frozen
class Crash:
    """A moment: the disk, and what was promised."""

    disk: SimulatedDisk
    promise: Promise


@define(eq=False)
class Client:
    """A client with one upload, and the life of the store that it talks to."""

    explorer: Explorer
    disk: SimulatedDisk
    promise: Promise = Promise()
    crashes: list[Crash] = field(factory=list)
    address: Address = field(factory=lambda: Address(0, LOCATION))
    length: int | None = LENGTH
    watched: bool = True
    tries: int = 0
    world: World = field(init=False)

    def live(self) -> None:
        """Begin another life of the store."""

        def seen(kind: str, world: World) -> None:
            if self.watched and kind in CHANGES:
                self.crashes.append(Crash(self.disk.copy(), self.promise))

        self.world = World(self.disk, self.explorer.modules, sync=self.explorer.sync, seen=seen)
        self.world.start()

    @property
    def uploads(self) -> Any:
        """The verbs."""
        return self.world.store.resumable

    def ask(self, asked: Any) -> Any:
        """Let a request come to its end; return its result, or the error."""
        found: list[Any] = []
        asked.addBoth(found.append)
        self.world.drain()
        if not found:
            raise Violation("never answered")
        return found[0].value if isinstance(found[0], Failure) else found[0]

    def get(self, asked: Any) -> Any:
        """As `ask`; it has to go well."""
        found = self.ask(asked)
        if isinstance(found, Exception):
            raise Violation(f"failed: {found!r} {found}") from found
        return found

    def bytes(self, size: int) -> bytes:
        """So many bytes as have not been sent before."""
        self.tries += 1
        return bytes([self.tries]) * size

    # -- steps --------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin the upload."""
        address = self.get(self.uploads.begin(self.address, "text", self.length, WANTED))
        self.address = address
        self.promise = evolve(self.promise, begun=True)

    def append(
        self, size: int, *, cut: bool = False, wrong: bool = False, length: int | None = None
    ) -> None:
        """Send a part: so many bytes, or all that are missing with 0."""
        told = self.promise.told
        data = self.bytes(size or (self.length or 0) - len(told))
        body = FakeBody(data, complete=not cut, length=None)
        if cut:
            body.reason = "Client went away"
        if not wrong:
            self.promise = evolve(self.promise, sent=data)
        checksum = ("sha256", bytes(32)) if wrong else None
        asked = self.uploads.append(self.address, Chunk(len(told), length, checksum), body)
        found = self.ask(asked)
        if wrong and not isinstance(found, ChunkMismatch):
            raise Violation(f"a wrong checksum came to {found!r}")
        if not cut and not wrong and isinstance(found, Exception):
            raise Violation(f"a part came to {found!r}") from found
        self.learn()

    def say(self, length: int) -> None:
        """Say how long it is, and send nothing."""
        self.length = length
        chunk = Chunk(len(self.promise.told), length)
        self.get(self.uploads.append(self.address, chunk, FakeBody()))

    def learn(self) -> Standing:
        """Ask how far it is: no less than before, and no more than was sent."""
        promise = self.promise
        standing: Standing = self.get(self.uploads.stand(self.address))
        if standing.sha256 is None:
            more = standing.offset - len(promise.told)
            if not 0 <= more <= len(promise.sent):
                raise Violation(f"{standing.offset} bytes; told {len(promise.told)}")
            self.promise = evolve(promise, told=promise.told + promise.sent[:more], sent=b"")
        return standing

    def finish(self) -> None:
        """Let it become a blob."""
        self.promise = evolve(self.promise, finished=False)
        self.get(self.uploads.finish(self.address, WANTED))
        self.promise = evolve(self.promise, finished=True)

    def finish_together(self) -> None:
        """The same in one batch with another blob."""
        self.promise = evolve(self.promise, finished=False)
        workers = self.world.workers
        first = self.world.begin(PUT_ANEW, OTHER)
        self.promise = evolve(self.promise, other=(None, first.value))
        # That batch is on its way; the next two changes share one.
        held = workers.take()
        asked = self.uploads.finish(self.address, WANTED)
        workers.drain()
        self.world.begin(PUT_ANEW, "c")
        workers.jobs.insert(0, held)
        self.get(asked)
        self.promise = evolve(self.promise, finished=True, other=(first.value,))

    def terminate(self) -> None:
        """Give it up."""
        self.promise = evolve(self.promise, terminated=False)
        self.get(self.uploads.terminate(self.address))
        self.promise = evolve(self.promise, terminated=True)

    def put(self) -> None:
        """Store another blob at its location, before."""
        operation = self.world.begin(PUT_ANEW, LOCATION)
        self.promise = evolve(self.promise, old=(None, operation.value))
        self.world.drain()
        self.promise = evolve(self.promise, old=(operation.value,))

    def restart(self) -> None:
        """Stop the store, and start it."""
        self.world.stop()
        self.live()
        self.learn()

    def kill(self) -> None:
        """Kill the store, and start it."""
        self.disk = self.disk.copy()
        self.live()
        self.learn()

    # -- after a crash ------------------------------------------------------------------------

    def go_on(self) -> None:
        """Find what was promised, and bring the upload to its end."""
        promise = self.promise
        if self.world.read(OTHER) not in promise.other:
            raise Violation("the blob beside it is lost")
        there = self.world.value(LOCATION)
        if not promise.begun:
            self._tidy()
            return
        found = self.ask(self.uploads.stand(self.address))
        if isinstance(found, NoUpload):
            if promise.terminated is None:
                raise Violation("there is no such upload any more")
            self._tidy()
            return
        if promise.terminated:
            raise Violation(f"it was terminated, and is {found}")
        if isinstance(found, StoreError):
            raise Violation(f"it is {found!r}") from found
        if found.sha256 is None:
            if promise.finished:
                raise Violation("it was finished, and is not")
            if there not in promise.old:
                raise Violation("its location has something else before it is finished")
            self.length = self.learn().length
            if self.length is None:
                self.say(len(self.promise.told))
            elif len(self.promise.told) < self.length:
                self.append(0)
            self.get(self.uploads.finish(self.address, WANTED))
        elif promise.finished is None:
            raise Violation("it is finished, and nobody has asked")
        expected = hashlib.sha256(self.promise.told).digest()
        for _ in range(2):
            standing = self.get(self.uploads.stand(self.address))
            values = {standing.sha256, self.world.value(LOCATION), self.world.read(LOCATION)}
            if values != {expected}:
                raise Violation("the blob is not what was sent")
            self._tidy()
            self.world.stop()
            self.live()

    def _tidy(self) -> None:
        """After two runs of the collector there is nothing but blobs, each once."""
        for _ in range(2):
            self.world.collect()
        wanted = len([at for at in LOCATIONS if self.world.value(at) is not None])
        numbers = [name for name in self.disk.names if name.isdecimal()]
        others = [name for name in self.disk.names if name.startswith((".new", ".trash", ".quar"))]
        begun = [name for name in self.disk.names if name.startswith(".upload-")]
        is_unknown = not self.promise.begun or self.promise.terminated is False
        if len(numbers) != wanted or others or (begun and not is_unknown):
            raise Violation(f"left over: {self.disk.names}")


def part(size: int, **how: Any) -> Step:
    """Send so many bytes."""

    def step(client: Client) -> None:
        client.append(size, **how)

    return step


def deferred(client: Client) -> None:
    """Begin without saying how long it is."""
    client.length = None
    client.begin()


def say(client: Client) -> None:
    """Say that there is no more."""
    client.say(len(client.promise.told))


def again(client: Client) -> None:
    """Delete what the location has: its number is given again."""
    client.promise = evolve(client.promise, old=(None, *client.promise.old))
    client.world.request(DELETE, LOCATION)
    client.promise = evolve(client.promise, old=(None,))
    client.world.collect()
    operation = client.world.begin(POST, OTHER)
    client.promise = evolve(client.promise, other=(None, operation.value))
    client.world.drain()
    client.promise = evolve(client.promise, other=(operation.value,))


SCRIPTS: tuple[tuple[Step, ...], ...] = (
    (Client.begin, part(0), Client.finish),
    (Client.begin, part(100), part(4000), part(5000, cut=True), part(0), Client.finish),
    (Client.begin, part(5000), part(300, cut=True), part(0), Client.finish),
    (Client.begin, part(5000), part(700, wrong=True), part(0), Client.finish),
    (Client.begin, part(4096), Client.kill, part(1), Client.restart, part(0), Client.finish),
    (Client.begin, part(5000), part(700, wrong=True), Client.kill, part(0), Client.finish),
    (deferred, part(5000), part(3000, wrong=True), say, Client.finish),
    (deferred, part(5000), Client.kill, part(700, wrong=True), Client.kill, say, Client.finish),
    (Client.put, Client.begin, part(0), Client.finish),
    (Client.put, Client.begin, again, part(6000), Client.kill, part(0), Client.finish),
    (Client.begin, part(0), Client.finish_together),
    (Client.put, Client.begin, part(100), Client.terminate),
    (Client.begin, part(5000), part(100, cut=True), Client.kill, Client.terminate),
)


def uploads(explorer: Explorer) -> None:
    """Every script, crashed at every call, with what a kill and some power cuts leave."""
    _play(explorer, SCRIPTS)


def of_unknown_length(explorer: Explorer) -> None:
    """The same for the scripts that say the length last."""
    _play(explorer, [script for script in SCRIPTS if say in script])


def finished_together(explorer: Explorer) -> None:
    """The same for those that share the batch of the commit."""
    _play(explorer, [script for script in SCRIPTS if Client.finish_together in script])


def terminated(explorer: Explorer) -> None:
    """The same for those that give it up."""
    _play(explorer, [script for script in SCRIPTS if Client.terminate in script])


def _play(explorer: Explorer, scripts: Sequence[tuple[Step, ...]]) -> None:
    for script in explorer.some(scripts):
        client = Client(explorer, SimulatedDisk(explorer.start))
        client.live()
        for step in script:
            step(client)
        client.crashes.append(Crash(client.disk.copy(), client.promise))
        explorer.figures.scripts += 1
        for crash in client.crashes:
            explorer.figures.crashes += 1
            _after(client, crash)


#: How many of the states are looked at that a power cut may leave, beside the two extremes.
_SOME = 6


def _after(client: Client, crash: Crash) -> None:
    rng = random.Random(client.explorer.figures.crashes)
    picks: list[Callable[[int], int]] = [lambda most: 0, lambda most: min(1, most - 1)]
    picks += [rng.randrange for _ in range(_SOME)]
    disks = [crash.disk.copy()]
    for pick in picks:

        def settle(number: int, pick: Callable[[int], int] = pick) -> bytes | Entries:
            variants = crash.disk.inodes[number].variants()
            return variants[pick(len(variants))]

        disks.append(crash.disk.cut(settle))
    for disk in disks:
        explorer = client.explorer
        explorer.figures.states += 1
        explorer.figures.lives += 1
        life = Client(explorer, disk, crash.promise, address=client.address, length=client.length)
        life.watched = False
        life.tries = client.tries
        try:
            life.live()
        except (StoreError, OSError) as error:
            raise Violation(f"no start: {error!r}") from error
        life.go_on()
