"""kill -9 at every system call that changes the data directory, and what a restart finds then.

The daemon runs with killshim.so, which kills it at the call that the test chose.  Dying after one
call and dying before the next differ only in what other threads do in between, so a commit's run
dies before every third call, or every tenth of a recovery, which takes two starts; with
GOSTORE_SOAK=1 it dies before and after every single one.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from attrs import define

from tests.e2e import shims
from tests.e2e.conftest import Make
from tests.e2e.daemon import FIXTURES, PATIENCE, SOAK, Daemon, eventually
from tests.e2e.nursery import Nursery

SMALL = 1_000
#: Too much to be taken in one piece: the stage shows itself as Pending while the body arrives.
LARGE = 200_000

#: A sweep that has not come to an end by then never will.
MOST_POINTS = 200

#: The blobs of the Go server's that are alive, by location.
GO_BLOBS = {"foo": "13342", "picture.bin": "39822", "empty": "2422", "café menu": "2818"}

#: A body, or None for no blob.
Content = bytes | None


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """killshim.so, built."""
    return shims.build("killshim", tmp_path_factory.mktemp("killshim"))


@define(eq=False)
class Rig:
    """A daemon that dies when it is told to, and what its blobs may be then."""

    daemon: Daemon
    order: Path
    #: The contents that a GET may show, by location; one that was shown is the only one left.
    allowed: dict[str, list[Content]]
    ordered: bool = False
    acknowledged: int = 0

    def die_at(self, number: int, after: bool = False) -> None:
        """Order death at so many calls from now; 0 is never."""
        self.ordered = number > 0
        with open(self.order, "r+b") as file:
            file.write(struct.pack("=ii", number, after))

    def hit(self) -> bool:
        """Whether the call to die at has come, so that it is dead in a moment."""
        return self.ordered and struct.unpack("=ii", self.order.read_bytes())[0] <= 0

    def request(self, method: str, location: str, body: Content = None) -> None:
        """Send a request that may kill: done if it is answered, done or not if it is not."""
        after = None if method == "DELETE" else body
        before = self.allowed.get(location, [None])
        try:
            answer = self.daemon.ask(method, location, body)
        except (OSError, http.client.HTTPException):
            self.allowed[location] = [*before, after]
            return
        assert answer.status in (200, 204), answer
        self.acknowledged += 1
        self.allowed[location] = [after]

    def settle(self) -> bool:
        """Wait until the daemon is dead, or has made and collected all it has to; say if dead."""
        eventually(lambda: self.hit() or self.is_done(), "dead or done")
        if not self.hit():
            return False
        eventually(lambda: not self.daemon.running, "death")
        return True

    def leftovers(self) -> set[str]:
        """What is no blob; while the daemon renames, everything is."""
        try:
            return self.daemon.leftovers()
        except (OSError, ValueError):
            return {"?"}

    def restart(self) -> None:
        """Bury the dead daemon, and start one that lives."""
        assert self.daemon.ended() == -9
        self.die_at(0)
        self.daemon.start()

    def check(self, when: str) -> None:
        """Every blob is one of those it may be, and besides them there is nothing."""
        for location, contents in self.allowed.items():
            answer = self.daemon.ask("GET", quote(location))
            assert answer.status in (200, 404), f"{when}: {location} answers {answer}"
            got = answer.body if answer.status == 200 else None
            assert got in contents, f"{when}: {location} is {got and got[:20]!r}"
            self.allowed[location] = [got]
        eventually(self.is_done, f"{when}: every blob has its files, and nothing is left over")

    def is_done(self) -> bool:
        """Whether every blob that lives has its files, behind the answers, and no other."""
        try:
            kept = sorted(
                (record.location, (self.daemon.directory / name / "data.raw").read_bytes())
                for name, record in self.daemon.records().items()
            )
        except (OSError, ValueError):
            return False
        contents = self.allowed.items()
        live = [
            (name, each[0]) for name, each in contents if len(each) == 1 and each[0] is not None
        ]
        return kept == sorted(live) and not self.leftovers()


@pytest.fixture
def rig(make_daemon: Make, tmp_path: Path, shim: Path) -> Iterator[Rig]:
    """A daemon under the shim, not yet started."""
    order = tmp_path / "order"
    order.write_bytes(struct.pack("=ii", 0, 0))
    env = {
        "LD_PRELOAD": str(shim),
        "KILLSHIM_DIRECTORY": str((tmp_path / "data").resolve()),
        "KILLSHIM_ORDER": str(order),
    }
    # The shim counts nothing in there: it has no business in the directory.
    nursery = Nursery(**env)
    options = ("--gc-interval", "0.1", "--scrub-rate", "0")
    daemon = make_daemon(*options, env=env, nursery=lambda: nursery)
    yield Rig(daemon, order, {})
    nursery.close()


def points(step: int, first: int = 1) -> Iterator[tuple[int, bool]]:
    """Every call, and whether to die after it instead of before it.

    Without a soak only each ``step``-th from the ``first`` on.
    """
    for number in range(1, MOST_POINTS) if SOAK else range(first, MOST_POINTS, step):
        yield number, False
        if SOAK:
            yield number, True


def sweep(
    rig: Rig,
    prepare: Callable[[str], None],
    act: Callable[[str], None],
    first: int = 1,
    *,
    step: int = 3,
    name: str = "at",
) -> int:
    """Die at one call after the other of what ``act`` and its collection do to a fresh location.

    Returns the number of deaths.  The end is where the daemon lives through all of it. Each
    location has a ``name`` of this sweep's.
    """
    if not rig.daemon.running:
        rig.daemon.start()
    for deaths, (number, after) in enumerate(points(step, first)):
        location = f"{name}-{number}-{'after' if after else 'before'}"
        prepare(location)
        assert not rig.settle()
        rig.die_at(number, after)
        act(location)
        if not rig.settle():
            rig.die_at(0)
            rig.check("unharmed")
            print(f"\n{deaths} kill points, {rig.acknowledged} writes acknowledged, none lost")
            return deaths
        rig.restart()
        rig.check(f"killed {'after' if after else 'before'} call {number}")
    raise AssertionError(f"still calls to die at after {MOST_POINTS}")


#: Sizes, and the first call of a sweep: the one dies where the other does not.
SWEEPS = [(SMALL, 1), (LARGE, 2)]


@pytest.mark.parametrize(("size", "start"), SWEEPS)
def test_post(rig: Rig, size: int, start: int) -> None:
    """A POST killed at any call leaves a whole blob or none, and if it was answered a whole one."""
    body = os.urandom(size)

    def post(location: str) -> None:
        rig.request("POST", location, body)

    def nothing(location: str) -> None:
        pass

    if size == SMALL:
        # The first write makes the journal, by more calls than all that follows, and most alike.
        assert sweep(rig, nothing, post, step=6, name="first") >= 3
    deaths = sweep(rig, nothing, post, start)
    assert deaths >= 3


@pytest.mark.parametrize(("size", "start"), SWEEPS)
def test_put(rig: Rig, size: int, start: int) -> None:
    """A PUT killed at any call, or while the old blob is collected, leaves the old or the new."""
    old, new = os.urandom(size), os.urandom(size)
    deaths = sweep(
        rig,
        lambda location: rig.request("POST", location, old),
        lambda location: rig.request("PUT", location, new),
        start,
    )
    assert deaths >= 5
    assert [new] in rig.allowed.values()


def test_delete(rig: Rig) -> None:
    """A DELETE killed at any call, or in its collection, brings nothing back once answered."""
    deaths = sweep(
        rig,
        lambda location: rig.request("POST", location, b"old"),
        lambda location: rig.request("DELETE", location),
        2,
    )
    assert deaths >= 4


def test_delete_of_replaced(rig: Rig) -> None:
    """A PUT and a DELETE right after it, killed at any call, bring neither blob back."""

    def act(location: str) -> None:
        rig.request("PUT", location, b"new")
        if rig.allowed[location] == [b"new"]:
            rig.request("DELETE", location)

    deaths = sweep(rig, lambda location: rig.request("POST", location, b"old"), act)
    assert deaths >= 8


def test_abandoned_upload(rig: Rig) -> None:
    """A PUT whose client leaves half-way, killed at any call, leaves the old blob and no stage."""

    def abandon(location: str) -> None:
        head = f"PUT /store/{location} HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Length: {2 * LARGE}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", rig.daemon.port), PATIENCE) as client:
            try:
                client.sendall(head.encode() + bytes(LARGE))
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
            except OSError:
                pass  # it died meanwhile

    deaths = sweep(rig, lambda location: rig.request("POST", location, b"old"), abandon)
    assert deaths >= 3


def ruin(directory: Path, daemon: Daemon) -> dict[str, list[Content]]:
    """Make a directory in which recovery has one of each thing to do; return what it holds."""
    shutil.copytree(FIXTURES / "go-data", directory)
    daemon.start()
    assert daemon.ask("POST", "replaced", b"old").status == 204
    places = lambda: {each.location for each in daemon.records().values()}  # noqa: E731
    eventually(lambda: "replaced" in places(), "the files of the blob")
    daemon.clean()
    elder = next(name for name, each in daemon.records().items() if each.location == "replaced")
    shutil.copytree(directory / elder, directory.parent / "elder")
    assert daemon.ask("PUT", "replaced", b"new").status == 200
    eventually(lambda: elder not in daemon.names(), "the elder to be collected")
    daemon.clean()
    assert daemon.stop() == 0
    # As if it had died before the old blob was marked.
    shutil.copytree(directory.parent / "elder", directory / elder)
    # What the Go server left dead or half is there again.
    for name in set(os.listdir(FIXTURES / "go-data")) - set(os.listdir(directory)):
        shutil.copytree(FIXTURES / "go-data" / name, directory / name)
    (directory / ".new-60001").mkdir()
    (directory / ".new-60001" / "data.raw").write_bytes(b"half")
    (directory / ".trash-60002-1").mkdir()
    (directory / ".trash-60002-1" / "data.raw").write_bytes(b"gone")
    (directory / "60003").mkdir()
    (directory / "60003" / "data.raw").write_bytes(b"never committed")
    whole: dict[str, list[Content]] = {"replaced": [b"new"], "half": [None], "deleted": [None]}
    for location, name in GO_BLOBS.items():
        whole[location] = [(FIXTURES / "go-data" / name / "data.raw").read_bytes()]
    return whole


def test_recovery(rig: Rig, make_daemon: Make, tmp_path: Path) -> None:
    """A recovery killed at any call, and its collection, are just another crash."""
    ruins = tmp_path / "ruins"
    whole = ruin(ruins, make_daemon("--gc-interval", "0.1", directory=ruins))
    data = rig.daemon.directory
    deaths = 0
    # Each point costs two starts.
    for number, after in points(10):
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(ruins, data)
        rig.die_at(number, after)
        rig.allowed = dict(whole)
        rig.daemon.launch()
        if not rig.settle():
            rig.die_at(0)
            rig.daemon.kill()
            break
        deaths += 1
        rig.restart()
        rig.check(f"killed {'after' if after else 'before'} call {number}")
        rig.daemon.kill()
    print(f"\n{deaths} kill points, {len(whole)} locations each time, none lost")
    assert deaths >= 5
