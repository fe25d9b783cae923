"""Clients that write, delete and read a few locations at once and note what they are told."""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from attrs import define, field

from tests.e2e.daemon import PATIENCE, Daemon, ask
from tests.linearizability import DONE, Operation, violation

CLIENTS = 8
LOCATIONS = 4
#: Most blobs are small; some go through a stage, and some of those come in many pieces.
SIZES = (0, 100, 1000, 5000, 70_000, 300_000)
WEIGHTS = (1, 8, 6, 3, 2, 1)

METHODS = ("GET", "PUT", "POST", "DELETE")
SHARES = (6, 5, 4, 3)


def body_of(value: str, size: int) -> bytes:
    """Bytes that no other upload has a piece of, so that a mixture of two is neither."""
    line = f"{value} {size}\n".encode()
    return line * max(1, size // len(line))


def value_of(body: bytes) -> str:
    """What was uploaded by these bytes; an AssertionError if no upload was of just these."""
    value, _, size = body.partition(b"\n")[0].decode().rpartition(" ")
    assert body == body_of(value, int(size)), f"{len(body)} bytes are not as sent: {body[:80]!r}"
    return value


@define
class Told:
    """An operation before it has an end, if it never gets one."""

    location: str
    method: str
    value: str | None
    status: int | None
    begun: float
    ended: float | None
    #: The digest of what was sent, or got.
    digest: str | None = None


@define(eq=False)
class Clients:
    """Threads that ask for this and that while the daemon lives, and rest when it is killed."""

    daemon: Daemon
    seed: int
    #: Told of each operation when it begins and when it has ended.
    listener: Callable[[Told], None] = lambda told: None
    #: How often the daemon has been started.
    life: int = 0
    told: list[Told] = field(init=False, factory=list)
    #: Answers that are none of the verbs' own, by method and status.
    odd: Counter[tuple[str, int]] = field(init=False, factory=Counter)
    faults: list[BaseException] = field(init=False, factory=list)
    _threads: list[threading.Thread] = field(init=False, factory=list)
    _resting: threading.Event = field(init=False, factory=threading.Event)

    def work(self) -> None:
        """Let them begin, against a daemon that has just started."""
        self.life += 1
        self._resting.clear()
        self._threads = [
            threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def rest(self) -> None:
        """Wait until all have noticed that the daemon is gone."""
        self._resting.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        if self.faults:
            raise self.faults[0]

    @property
    def busy(self) -> int:
        """How many are at work, and have not lost their connection."""
        return sum(thread.is_alive() for thread in self._threads)

    def settle(self) -> None:
        """What has no answer when the daemon is restarted has happened by now, or never will."""
        now = time.monotonic()
        for one in self.told:
            one.ended = one.ended or now

    def _client(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {self.life} {number}")
        connection = self.daemon.connect()
        turn = 0
        try:
            while not self._resting.is_set():
                turn += 1
                self.request(connection, chance, f"{self.life}.{number}.{turn}")
        except (OSError, http.client.HTTPException):
            pass  # killed
        except BaseException as error:
            self.faults.append(error)
        finally:
            connection.close()

    def request(
        self, connection: http.client.HTTPConnection, chance: random.Random, value: str
    ) -> None:
        """Do one thing or another."""
        (method,) = chance.choices(METHODS, SHARES)
        writes = method in ("POST", "PUT")
        location = f"key/{chance.randrange(LOCATIONS)}"
        body = body_of(value, chance.choices(SIZES, WEIGHTS)[0]) if writes else None
        self.send(connection, method, location, value if writes else None, body)

    def send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        location: str,
        value: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Told:
        """Send a request and note what was told; raise what it raises if the connection is lost."""
        digest = None if body is None else hashlib.sha256(body).hexdigest()
        note = Told(location, method, value, None, time.monotonic(), None, digest)
        self.told.append(note)
        self.listener(note)
        answer = ask(connection, method, f"/store/{location}", body, headers or {})
        if answer.status not in (DONE[method], 404, 409):
            self.odd[method, answer.status] += 1
            if answer.status != 507 or method not in ("POST", "PUT"):
                return note  # it may have happened
        if method == "GET" and answer.status == 200:
            digest = hashlib.sha256(answer.body).hexdigest()
            assert digest in answer.headers["ETag"], "the entity tag of another version"
            note.value = value_of(answer.body)
        note.status, note.ended = answer.status, time.monotonic()
        self.listener(note)
        return note

    def read_all(self) -> None:
        """Read every location once."""
        connection = self.daemon.connect()
        for number in range(LOCATIONS):
            self.send(connection, "GET", f"key/{number}")
        connection.close()


def verdicts(told: Iterable[Told]) -> dict[str, str]:
    """The locations whose answers no order explains, with what is wrong."""
    told = list(told)
    sent = {one.digest: one.value for one in told if one.digest is not None and one.value}
    histories: dict[str, list[Operation]] = {}
    for one in told:
        assert one.ended is not None
        # A look at a history shows digests alone.
        value = one.value if one.digest is None else sent.get(one.digest, one.digest)
        operation = Operation(one.method, value, one.status, one.begun, one.ended)
        histories.setdefault(one.location, []).append(operation)
    found = {location: violation(history) for location, history in histories.items()}
    return {location: wrong for location, wrong in found.items() if wrong is not None}
