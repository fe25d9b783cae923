"""Daemons over one bucket, and clients that note what they were told, for a judge."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Protocol

from gostore.bucket.objects import ObjectStoreEngine, s3_store
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
        return ObjectStoreEngine(s3_store(BUCKET, self.prefix, self.keeper.endpoint, None))

    def close(self) -> None:
        """End all daemons."""
        for each in self.daemons:
            each.close()


class Server(Protocol):
    """What a client asks: a daemon, or what is before several."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""

    def ask(self, method: str, location: str, body: bytes | None = None) -> Answer:
        """Send one request."""


class Front:
    """A load balancer, asked as a daemon is."""

    running = True

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> HTTPConnection:
        """A connection of the caller's own."""
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, method: str, location: str, body: bytes | None = None) -> Answer:
        """Send one request on a connection of its own."""
        connection = self.connect()
        try:
            return ask(connection, method, f"/store/{location}", body)
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


class Clients:
    """Clients that all change the same few locations, and what they were told."""

    def __init__(self, servers: Sequence[Server], clients: int, locations: int = 4) -> None:
        self.servers = servers
        self.history: dict[str, list[Operation]] = {f"shared/{n}": [] for n in range(locations)}
        self.failures: list[str] = []
        #: How many copies were made.
        self.copies = 0
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(clients)
        ]

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

    def _run(self, number: int) -> None:
        rng, count = random.Random(number), 0
        while not self.over.is_set():
            count += 1
            location = rng.choice(list(self.history))
            method = rng.choice(["POST", "PUT", "PUT", "DELETE", "GET", "GET"])
            value = f"{number}:{count}" if method in ("POST", "PUT") else None
            server = rng.choice(self.servers)
            query = ""
            if value is not None and rng.random() < 0.3:
                query = self._copied(rng, value)
            begun = time.monotonic()
            status: int | None = None
            try:
                body = None if value is None or query else value.encode()
                answer = server.ask(method, location + query, body)
                status = answer.status
                if method == "GET" and status == 200:
                    value = answer.body.decode()
            except ConnectionRefusedError:
                self.over.wait(0.01)
                continue  # it is dead, and nothing was asked of it
            except (OSError, HTTPException, AttributeError):
                pass  # http.client has no socket any more if it was reset before the request
            if status is not None and status >= 500:
                if status not in (502, 503):
                    self.failures.append(f"{method} {location}: {status} {answer.body!r}")
                status = None
            ended = time.monotonic() if status is not None else float("inf")
            with self._lock:
                self.copies += bool(query) and status in (200, 204)
                self.history[location].append(Operation(method, value, status, begun, ended))

    def _copied(self, rng: random.Random, value: str) -> str:
        """Store a value, and return the query that asks for a copy of it; "" if that fails."""
        with suppress(OSError, HTTPException):
            answer = rng.choice(self.servers).ask("POST", f"own/{value}", value.encode())
            if answer.status == 204:
                return f"?from=own/{value}"
        return ""

    def check(self, faults: int = 1) -> int:
        """See that all that was told can be true; return how many answers there were.

        It prints how much that was, for those who let it run for long.
        """
        assert not self.failures, self.failures[:3]
        for location, history in self.history.items():
            survivor = next(server for server in self.servers if server.running)
            begun = time.monotonic()
            got = survivor.ask("GET", location)
            assert got.status in (200, 404), got.body
            value = got.body.decode() if got.status == 200 else None
            history.append(Operation("GET", value, got.status, begun, time.monotonic()))
            assert violation(history) is None, violation(history)
        operations = [each for history in self.history.values() for each in history]
        answers = sum(each.status is not None for each in operations)
        unknown = len(operations) - answers
        print(f"{len(operations)} operations, {unknown} unknown; {faults} faults; 0 violations")
        return answers
