"""Daemons over one bucket, and clients that note what they were told, for a judge."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Protocol

from attrs import evolve

from gostore.bucket.objects import ObjectStoreEngine, s3_engine
from gostore.commands.trial_daemon import Answer
from tests.e2e.daemon import PATIENCE, Daemon, ask
from tests.e2e.seaweed import BUCKET, CREDENTIALS
from tests.linearizability import Operation, violation


class Engine(Protocol):
    """What has a bucket: a SeaweedFS, or another."""

    @property
    def endpoint(self) -> str:
        """Its URL."""


class Bucket:
    """A prefix in the bucket, and the daemons over it."""

    def __init__(self, engine: Engine, directory: Path, prefix: str) -> None:
        self.keeper = engine
        self.directory = directory
        self.prefix = prefix
        self.daemons: list[Daemon] = []

    @property
    def options(self) -> tuple[str, ...]:
        """What a daemon is told."""
        return ("--store", f"s3://{BUCKET}/{self.prefix}", "--s3-endpoint", self.keeper.endpoint)

    def make(
        self, *options: str, env: dict[str, str] | None = None, wrapper: Sequence[str] = ()
    ) -> Daemon:
        """Describe one more daemon."""
        env = CREDENTIALS if env is None else env
        made = Daemon(self.directory / "none", *self.options, *options, env=env, wrapper=wrapper)
        self.daemons.append(made)
        return made

    def engine(self) -> ObjectStoreEngine:
        """The objects themselves, in this process."""
        os.environ.update(CREDENTIALS)
        return s3_engine(BUCKET, self.prefix, self.keeper.endpoint, None)

    def close(self) -> None:
        """End all daemons."""
        for each in self.daemons:
            each.close()


class Server(Protocol):
    """What a client asks: a daemon, or what is before several."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""

    @property
    def said(self) -> str:
        """Its log."""

    def ask(
        self,
        method: str,
        location: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request."""


class Front:
    """A load balancer, asked as a daemon is."""

    running = True
    said = ""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> HTTPConnection:
        """A connection of the caller's own."""
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(
        self,
        method: str,
        location: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own."""
        connection = self.connect()
        try:
            return ask(connection, method, f"/store/{location}", body, headers)
        finally:
            connection.close()


class UnixConnection(HTTPConnection):
    """A connection to a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class ByUnixSocket(Front):
    """A daemon that listens on a socket in the file system, whatever network it is in."""

    def __init__(self, path: Path) -> None:
        super().__init__(0)
        self.path = path

    def connect(self) -> HTTPConnection:
        """A connection of the caller's own."""
        return UnixConnection(self.path)


#: How large the bodies are. The last ones are stored in parts, and read in spans.
SIZES = (*10 * (0,), *8 * (1_000,), 70_000, 5_500_000)

SEED = int(os.environ.get("GOSTORE_SEED", "0"))
"""What the clients draw from: another number, other requests."""

#: What the clients ask for, by which method; see `_Client`.
METHODS = {
    "create": "POST",
    "create if none": "PUT",
    "replace": "PUT",
    "swap": "PUT",
    "copy": "POST",
    "copy over": "PUT",
    "delete": "DELETE",
    "delete if": "DELETE",
    "read": "GET",
    "part": "GET",
    "unless": "GET",
    "head": "HEAD",
    "list": "GET",
}

#: How often they ask for what. A list costs the engine more than hundred of the others.
WEIGHTS = (2, 1, 3, 2, 1, 1, 2, 1, 3, 1, 1, 1, 0.1)

#: A lost connection. http.client has no socket any more if it was reset before the request.
LOST = (OSError, HTTPException, AttributeError)


def value_of(name: str, size: int) -> str:
    """What stands for a body in the history: a name that no other has, and its size."""
    return f"{name}:{max(size, len(name) + 12)}"


def body_of(value: str) -> bytes:
    """The body that a value stands for; no other has a piece of it."""
    line, size = f"{value}\n".encode(), int(value.rpartition(":")[2])
    return (line * (size // len(line) + 1))[:size]


class Clients:
    """Clients that all change the same few locations, and what they were told.

    They ask for whatever the verbs offer: conditions, ranges, copies, lists, and large bodies.
    """

    def __init__(self, servers: Sequence[Server], clients: int, locations: int = 4) -> None:
        self.servers = servers
        self.history: dict[str, list[Operation]] = {}
        self.failures: list[str] = []
        #: What was asked for how often, and answered how.
        self.told: Counter[tuple[str, int | None]] = Counter()
        self.over = threading.Event()
        #: What each ETag stands for, and the other way round; noted before the body is sent.
        self.values: dict[str, str] = {}
        self.etags: dict[str, str] = {}
        #: Where they are at work.
        self.locations: list[str] = []
        self._count, self._pages = locations, 0
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=_Client(self, number).run) for number in range(clients)
        ]
        self.move_on()

    def move_on(self) -> None:
        """Go on with other locations, so that no history has too many unknown outcomes."""
        self._pages += 1
        new = [f"shared/{self._pages}/{number}" for number in range(self._count)]
        self.history.update({location: [] for location in new})
        self.locations = new

    def run(self, disturb: Callable[[], None], seconds: float) -> None:
        """Let them all run for a while, and disturb them in the middle of it."""
        for thread in self._threads:
            thread.start()
        try:
            self.over.wait(seconds / 3)
            disturb()
            self.over.wait(2 * seconds / 3)
        finally:
            self.over.set()
            for thread in self._threads:
                thread.join()

    @property
    def answers(self) -> int:
        """How many answers there were that tell of a blob."""
        return sum(count for (_, status), count in list(self.told.items()) if status is not None)

    @property
    def done(self) -> set[str]:
        """What was asked for, and happened."""
        return {kind for kind, status in list(self.told) if status in (200, 204)}

    def note(self, kind: str, location: str, operation: Operation) -> None:
        """Note an operation that has ended."""
        with self._lock:
            self.history[location].append(operation)
            self.told[kind, operation.status] += 1

    def check(self, faults: int = 1) -> int:
        """See that all that was told can be true; return how many answers there were.

        It prints how much that was, for those who let it run for long.
        """
        assert not self.failures, self.failures[:3]
        for server in self.servers:
            assert "is damaged" not in server.said, server.said
        for location, history in self.history.items():
            survivor = next(server for server in self.servers if server.running)
            begun = time.monotonic()
            got = survivor.ask("GET", location)
            assert got.status in (200, 404), got.body
            value = self.values[got.headers["ETag"]] if got.status == 200 else None
            assert value is None or got.body == body_of(value)
            history.append(Operation("GET", value, got.status, begun, time.monotonic()))
            assert violation(history) is None, violation(history)
        operations = [each for history in self.history.values() for each in history]
        answers = sum(each.status is not None for each in operations)
        unknown = len(operations) - answers
        large = sum(int((each.value or "0").rpartition(":")[2]) > 1 << 20 for each in operations)
        print(
            f"\n{len(operations)} operations, {large} of them on large bodies, {unknown} unknown;"
            f" {faults} faults; 0 violations; seed {SEED}"
        )
        return answers


class _Client:
    """One client."""

    def __init__(self, clients: Clients, number: int) -> None:
        self._clients = clients
        self._number = number
        self._rng = random.Random(f"{SEED}:{number}")
        self._count = 0
        #: What was seen last at a location, to be asked for in conditions.
        self._seen: dict[str, str] = {}

    def run(self) -> None:
        """Ask for this and that until it is over."""
        rng, clients = self._rng, self._clients
        while not clients.over.is_set():
            [kind] = rng.choices(list(METHODS), WEIGHTS)
            location = rng.choice(clients.locations)
            server = rng.choice(clients.servers)
            try:
                if kind == "list":
                    self._list(server, location.rpartition("/")[0] + "/")
                elif METHODS[kind] in ("GET", "HEAD"):
                    self._read(kind, location, server)
                else:
                    self._write(kind, location, server)
            except ConnectionRefusedError:
                clients.over.wait(0.01)  # it is dead, and nothing was asked of it
            except LOST:
                pass
            except Exception as error:
                clients.failures.append(f"{kind} {location}: {error!r}")
                clients.over.set()

    def _ask(self, server: Server, method: str, path: str, *more: Any) -> tuple[int | None, Answer]:
        """Ask for something; the status is None if the answer tells nothing of the blob."""
        answer = server.ask(method, path, *more)
        if answer.status >= 500:
            if answer.status not in (502, 503):
                reason = f"{method} {path}: {answer.status} {answer.body!r}"
                self._clients.failures.append(reason)
            return None, answer
        return answer.status, answer

    # -- writing ------------------------------------------------------------------------------

    def _write(self, kind: str, location: str, server: Server) -> None:
        method = METHODS[kind]
        headers, path, expected = {}, location, None
        value, body = (None, None) if method == "DELETE" else self._new_value()
        if kind == "create if none":
            headers["If-None-Match"] = "*"
        if kind in ("swap", "delete if") and (expected := self._seen.get(location)) is not None:
            headers["If-Match"] = self._clients.etags[expected]
        if kind.startswith("copy"):
            if self._ask(server, "POST", f"own/{value}", body)[0] != 204:
                return
            body, path = None, f"{location}?from=own/{value}"
        begun, status = time.monotonic(), None
        try:
            status = self._ask(server, method, path, body, headers)[0]
        except ConnectionRefusedError:
            raise
        except LOST:
            pass
        if status in (200, 204) and value is not None:
            self._seen[location] = value
        if kind == "create if none":
            method = "POST"  # It asks for the same.
        # A location of a bucket never seems to have what is only on its way to it.
        status = 412 if status == 409 else status
        self._note(kind, location, Operation(method, value, status, begun, 0.0, expected))

    def _new_value(self) -> tuple[str, bytes]:
        self._count += 1
        value = value_of(f"{self._number}.{self._count}", self._rng.choice(SIZES))
        body = body_of(value)
        etag = f'"{sha256(body).hexdigest()}"'
        self._clients.etags[value], self._clients.values[etag] = etag, value
        return value, body

    # -- reading ------------------------------------------------------------------------------

    def _read(self, kind: str, location: str, server: Server) -> None:
        headers, expected = {}, self._seen.get(location)
        if kind == "part":
            headers["Range"] = "bytes=5-2999999"
        if kind == "unless" and expected is not None:
            headers["If-None-Match"] = self._clients.etags[expected]
        begun = time.monotonic()
        status, answer = self._ask(server, METHODS[kind], location, None, headers)
        value = None
        if status in (200, 206, 304):
            value = self._clients.values[answer.headers["ETag"]]
            body = {200: body_of(value), 206: body_of(value)[5:3_000_000], 304: b""}[status]
            assert answer.body == (b"" if kind == "head" else body), f"not the bytes of {value}"
            assert status != 304 or value == expected
            self._seen[location], status = value, 200
        self._note(kind, location, Operation("GET", value, status, begun, 0.0))

    def _list(self, server: Server, prefix: str) -> None:
        """A list reads each location at some moment, and misses none that is there."""
        begun = time.monotonic()
        status, answer = self._ask(server, "GET", f"?format=json&prefix={prefix}")
        if status is None:
            return
        assert status == 200, answer.body
        etags = {entry["location"]: entry["etag"] for entry in json.loads(answer.body)}
        for location in list(self._clients.history):
            if location.startswith(prefix):
                etag = etags.get(location)
                value = None if etag is None else self._clients.values[etag]
                told = Operation("GET", value, 404 if etag is None else 200, begun, 0.0)
                self._note("list", location, told)

    def _note(self, kind: str, location: str, operation: Operation) -> None:
        ended = time.monotonic() if operation.status is not None else float("inf")
        self._clients.note(kind, location, evolve(operation, ended=ended))
