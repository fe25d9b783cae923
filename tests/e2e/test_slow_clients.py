"""Clients that take their time, on purpose: they cost little, and not for long (slowhttptest).

Each kind of slowhttptest is here: slow heads (-H), slow bodies (-B), range headers (-R) and slow
readers (-X). What runs per commit has short limits. The real thing, with the defaults:

    GOSTORE_SOAK=1 python -m pytest -s -k real tests/e2e/test_slow_clients.py
"""

from __future__ import annotations

import contextlib
import http.client
import resource
import select
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, field

from tests.e2e.bad_inputs import Conversation, request
from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, ask, eventually

MIB = 1 << 20

#: How many come at a time, and how many are let in: what a daemon with many files lets in if it is
#: not told, and all of them.
CONNECTIONS = 10_000 if SOAK else 1_000
CAPS = (4_096, 11_000) if SOAK else (600,)
#: As many files as that needs, in the tests and in the daemon.
FILES = CONNECTIONS + 1_000

HEAD = b"GET /store/small HTTP/1.1\r\nHost: localhost\r\nX-Slow: "


@define(eq=False)
class Member:
    """One slow client: its socket, and when it sends its next byte."""

    socket: socket.socket
    due: float
    came: float
    got: bytes = b""


@define(eq=False)
class Crowd:
    """Clients in a thread of their own: each says ``first``, then ``more`` every ``pace`` seconds.

    Those that do not ``listen`` never read what they are answered. Who is thrown out is counted in
    ``ended``, by the status that it was told (0 for none), and comes back if the crowd ``returns``;
    ``longest`` is how long the most patient of them was let stay.
    """

    port: int
    count: int
    first: bytes
    more: bytes = b""
    pace: float = 0.2
    listens: bool = True
    returns: bool = False
    ended: Counter[int] = field(init=False, factory=Counter)
    longest: float = field(init=False, default=0.0)
    _members: dict[int, Member] = field(init=False, factory=dict)
    _poll: select.epoll = field(init=False, factory=select.epoll)
    _leaving: threading.Event = field(init=False, factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Crowd:
        for _ in range(self.count):
            self._come()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._leaving.set()
        self._thread.join()
        for member in self._members.values():
            member.socket.close()
        self._poll.close()

    @property
    def present(self) -> int:
        """How many there are."""
        return len(self._members)

    @property
    def gone(self) -> bool:
        """Whether all of them have been thrown out."""
        return not self._members

    def _come(self) -> None:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        made.sendall(self.first)
        made.setblocking(False)
        now = time.monotonic()
        self._members[made.fileno()] = Member(made, now + self.pace, now)
        self._poll.register(made, select.EPOLLIN if self.listens else 0)

    def _run(self) -> None:
        while not self._leaving.is_set():
            for number, event in self._poll.poll(0.05):
                self._hear(self._members[number], event)
            now = time.monotonic()
            for member in list(self._members.values() if self.more else ()):
                if member.due <= now:
                    member.due = now + self.pace
                    with contextlib.suppress(OSError):
                        member.socket.send(self.more)

    def _hear(self, member: Member, event: int) -> None:
        if self.listens:
            try:
                data = member.socket.recv(4096)
            except OSError:
                data = b""
            member.got += data
            if data:
                return
        elif not event & (select.EPOLLERR | select.EPOLLHUP):
            return
        self._poll.unregister(member.socket)
        del self._members[member.socket.fileno()]
        member.socket.close()
        self.longest = max(self.longest, time.monotonic() - member.came)
        self.ended[int(member.got[9:12] or 0)] += 1
        if self.returns:
            self._come()


def good_client(daemon: Daemon, seconds: float) -> Iterator[float]:
    """A client like any other, for a while: how many seconds each of its requests took."""
    connection = daemon.connect()
    yield from latencies(connection, seconds)
    connection.close()


def latencies(connection: http.client.HTTPConnection, seconds: float) -> Iterator[float]:
    """Ask on a connection for a while: how many seconds each request took."""
    end = time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        assert ask(connection, "GET", "/store/small").status == 200
        yield time.monotonic() - begun


def percentile(times: list[float], share: float) -> float:
    """Milliseconds that this share of the requests took at most."""
    return sorted(times)[int(len(times) * share)] * 1000


@pytest.fixture
def make(make_daemon: Make) -> Make:
    """Make a daemon that runs and has a small blob."""

    def make(*options: str) -> Daemon:
        daemon = make_daemon("--gc-interval", "0.2", *options).start()
        assert daemon.ask("POST", "small", b"x" * 1024).status == 204
        return daemon

    return make


def test_slow_heads(make: Make) -> None:
    """Heads that come byte by byte get 408 when their time is up, and hold nobody up (15.5.9)."""
    daemon = make("--head-timeout", "1")
    with Crowd(daemon.port, 50, HEAD, b"x") as crowd:
        times = list(good_client(daemon, 1))
        eventually(lambda: crowd.gone, "all of them are thrown out")
    assert crowd.ended == {408: 50}
    # A second and what a slow machine needs, but less than the 10 that it would be by default.
    assert crowd.longest < 1 + 8
    assert percentile(times, 0.5) < 500


def test_slow_bodies(make: Make) -> None:
    """Bodies slower than allowed get 408; their places are free again, nothing is left of them.

    All of them come from one address, which may have six of the eight places.
    """
    daemon = make("--body-window", "6", "--chunked-window", "6", "--max-uploads", "8")
    counted = b"POST /store/%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nbegun"
    chunked = (
        b"PUT /store/small HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n99\r\nbegun"
    )
    with contextlib.ExitStack() as stack:
        crowds = [Crowd(daemon.port, 1, counted % b"%d" % n, b"x") for n in range(4)]
        crowds.append(Crowd(daemon.port, 4, chunked, b"x"))
        for crowd in crowds:
            stack.enter_context(crowd)
        refused = ask_for_place(daemon)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in refused.lower()
        assert daemon.ask("POST", "small-one", b"x").status == 204
        assert daemon.ask("GET", "small").status == 200
        eventually(lambda: all(crowd.gone for crowd in crowds), "all of them are thrown out")
    assert sum((crowd.ended for crowd in crowds), Counter()) == {408: 6, 503: 2}
    assert daemon.ask("POST", "tenth", b"x").status == 204
    assert daemon.ask("GET", "small").body == b"x" * 1024
    daemon.clean()


def ask_for_place(daemon: Daemon, address: str = "127.0.0.1") -> bytes:
    """Ask from an address whether a large upload may begin, and go; the head of the answer."""
    head = b"PUT /store/small HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
    got = b""
    with socket.create_connection(
        ("127.0.0.1", daemon.port), PATIENCE, source_address=(address, 0)
    ) as connection:
        connection.sendall(head + b"Content-Length: 1000000\r\n\r\n")
        while b"\r\n\r\n" not in got and (data := connection.recv(4096)):
            got += data
    return got


def test_silent_crowd(make: Make) -> None:
    """Heads without a body keep no small blob out, and one address no large one from another."""
    daemon = make("--max-uploads", "4")
    silent = b"POST /store/silent%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
    begun = b"PUT /store/small HTTP/1.1\r\nHost: localhost\r\n"
    begun += b"Transfer-Encoding: chunked\r\n\r\n5\r\nbegun"
    with contextlib.ExitStack() as stack:
        for number in range(12):
            stack.enter_context(Crowd(daemon.port, 1, silent % number))
        large = b"PUT /store/small HTTP/1.1\r\nHost: localhost\r\n"
        for framing in (b"Content-Length: 1000000", b"Transfer-Encoding: chunked"):
            stack.enter_context(Crowd(daemon.port, 4, large + framing + b"\r\n\r\n"))
        assert ask_for_place(daemon).startswith(b"HTTP/1.1 100 ")
        answers = [daemon.ask("POST", f"good{number}", b"12345") for number in range(20)]
        assert [answer.status for answer in answers] == [204] * 20
        stack.enter_context(Crowd(daemon.port, 4, begun))
        eventually(
            lambda: ask_for_place(daemon).startswith(b"HTTP/1.1 503 "), "the address has its share"
        )
        assert ask_for_place(daemon, "127.0.0.2").startswith(b"HTTP/1.1 100 ")
        assert daemon.ask("POST", "last", b"12345").status == 204


def test_fast_enough_bodies(make: Make) -> None:
    """A body that is slow, but not slower than allowed, is stored."""
    daemon = make("--body-window", "4", "--body-rate", "20")
    conversation = Conversation(daemon.port)
    conversation.send(b"POST /store/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2500\r\n\r\n")
    pause = threading.Event()
    for _ in range(25):
        conversation.send(b"x" * 100)
        conversation.read_to_end(0)
        pause.wait(0.2)
    conversation.read(1)
    conversation.close()
    assert [answer.status for answer in conversation.answers] == [204]


def test_readers_that_never_read(make: Make) -> None:
    """Who takes nothing of an answer is thrown out, and costs a few kilobytes until then."""
    daemon = make("--send-timeout", "6")
    daemon.ask("POST", "big", bytes(32 * MIB))
    before = daemon.status("VmRSS")
    with Crowd(daemon.port, 30, request("GET", "big"), listens=False) as crowd:
        times = list(good_client(daemon, 0.5))
        assert crowd.present == 30
        held = daemon.status("VmRSS") - before
        eventually(lambda: crowd.gone, "all of them are thrown out")
    assert crowd.longest < 6 + 30
    assert held < 16 * 1024, f"{held} KiB for 30 readers"
    assert percentile(times, 0.5) < 500
    assert daemon.ask("GET", "big").body == bytes(32 * MIB)


def test_readers_that_do_read(make: Make) -> None:
    """Who takes an answer slowly but steadily gets all of it, however long it takes."""
    daemon = make("--send-timeout", "2")
    data = bytes(range(256)) * (48 * 1024)
    daemon.ask("POST", "big", data)
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    reader.settimeout(PATIENCE)
    reader.connect(("127.0.0.1", daemon.port))
    reader.sendall(request("GET", "big"))
    begun = time.monotonic()
    pause = threading.Event()
    got = b""
    while len(got) < len(data):
        piece = reader.recv(4 * MIB)
        assert piece, f"cut after {len(got)} bytes"
        got += piece
        if len(got) < 6 * MIB:
            pause.wait(0.05)
    reader.close()
    assert got.partition(b"\r\n\r\n")[2] == data[: len(got.partition(b"\r\n\r\n")[2])]
    assert time.monotonic() - begun > 2, "it did not take long enough to show anything"


def test_ranges_without_end(make: Make) -> None:
    """A head full of ranges gets the blob once, at once, and no memory for each (9110 14.2)."""
    daemon = make()
    data = bytes(4 * MIB)
    daemon.ask("POST", "big", data)
    before = daemon.status("VmHWM")
    for ranges in (
        "bytes=0-," + ",".join(f"5-{n}" for n in range(1300)),
        "bytes=" + ",".join(["0-"] * 2000),
        "bytes=" + ",".join(["-1"] * 2000),
    ):
        for _ in range(10):
            answer = daemon.ask("GET", "big", headers={"Range": ranges})
            assert (answer.status, answer.body) == (200, data)
    assert daemon.status("VmHWM") - before < 16 * 1024


def test_idle_connections(make: Make) -> None:
    """Connections that say nothing are closed; while there are too many, the next is told so."""
    daemon = make("--idle-timeout", "6", "--max-connections", "10")
    served = daemon.connect()
    assert ask(served, "GET", "/store/small").status == 200
    with Crowd(daemon.port, 9, b"") as crowd:
        refused = daemon.ask("GET", "small")
        assert (refused.status, refused.headers["Connection"]) == (503, "close")
        assert "Retry-After" in refused.headers
        for path in ("/livez", "/readyz", "/healthz"):
            assert ask(daemon.connect(), "GET", path).status == 200
        assert ask(served, "GET", "/store/small").status == 200
        eventually(lambda: crowd.gone, "all of them are thrown out")
    assert crowd.ended == {0: 9}
    assert daemon.ask("GET", "small").status == 200
    served.close()


def test_a_crowd_at_once(make: Make) -> None:
    """Many that come while the daemon is held up are let in, none has to try again."""
    count = min(500, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    daemon = make()
    daemon.send(signal.SIGSTOP)
    # The kernel lets them in, as far as they may wait.
    crowd = [socket.create_connection(("127.0.0.1", daemon.port), PATIENCE) for _ in range(count)]
    daemon.send(signal.SIGCONT)
    for one in crowd:
        one.sendall(request("GET", "small"))
    for one in crowd:
        assert one.recv(100).startswith(b"HTTP/1.1 200 ")
        one.close()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, and the daemons it starts, have many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(FILES, hard)))
    except (OSError, ValueError) as error:
        pytest.skip(f"NOT TESTED, no more than {hard} files may be open, not {FILES}: {error}")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("most", CAPS)
def test_too_many_connections(make: Make, many_files: None, most: int) -> None:
    """50: of very many connections as many are held as may be, for little; the next is refused.

    Who is served already goes on being served, and quickly.
    """
    daemon = make("--max-connections", str(most))
    served = daemon.connect()
    assert ask(served, "GET", "/store/small").status == 200
    before = daemon.status("VmRSS")
    held = min(most - 1, CONNECTIONS)
    silent = Crowd(daemon.port, CONNECTIONS // 2, b"")
    answered = Crowd(daemon.port, CONNECTIONS // 2, request("GET", "small"))
    with silent, answered:
        eventually(lambda: silent.present + answered.present <= held, "the newest are refused")
        grown = daemon.status("VmRSS") - before
        times = list(latencies(served, 5 if SOAK else 1))
        assert silent.present + answered.present == held
        if held < CONNECTIONS:
            newest = daemon.ask("GET", "small")
            assert (newest.status, newest.headers["Connection"]) == (503, "close")
            assert "Retry-After" in newest.headers
    served.close()
    refused = silent.ended + answered.ended
    print(f"{CONNECTIONS} connections, {most} allowed: {held} held for {grown} KiB, beside them ")
    print(f"p50 {percentile(times, 0.5):.2f} ms, p99 {percentile(times, 0.99):.2f} ms;", end=" ")
    print(f"refused: {dict(refused)} (0 is disconnected)")
    assert refused.keys() <= {0, 503}
    assert grown < 10 * held, f"{grown} KiB for {held} connections"
    assert percentile(times, 0.5) < 500
    eventually(lambda: daemon.ask("GET", "small").status == 200, "there is room again")


@pytest.mark.skipif(not SOAK, reason="a minute and more of slow clients: GOSTORE_SOAK=1")
def test_the_real_thing(make: Make) -> None:
    """500 slow heads and 100 readers that never read 1 GiB: a good client hardly notices."""
    seconds = 75
    daemon = make()
    connection = daemon.connect()
    connection.request("POST", "/store/big", (bytes(MIB) for _ in range(1024)))
    assert connection.getresponse().status == 204
    connection.close()
    alone = list(good_client(daemon, 15))
    before = daemon.status("VmRSS")
    reads = Crowd(daemon.port, 100, request("GET", "big"), listens=False, returns=True)
    with Crowd(daemon.port, 500, HEAD, b"x", pace=9, returns=True) as heads, reads:
        beside = list(good_client(daemon, seconds))
        held = daemon.status("VmRSS") - before
        assert heads.present > 490 and reads.present > 90
    print()
    for what, times in (("alone", alone), ("beside", beside)):
        shares = ", ".join(
            f"p{s * 100:g} {percentile(times, s):.2f} ms" for s in (0.5, 0.99, 0.999)
        )
        print(f"{what}: {len(times)} requests, {shares}, at most {max(times) * 1000:.1f} ms")
    print(f"memory: {before} KiB alone, {held:+} KiB beside, peak {daemon.status('VmHWM')} KiB")
    print(f"thrown out: heads {dict(heads.ended)}, at most {heads.longest:.1f} s; ", end="")
    print(f"readers {sum(reads.ended.values())}, at most {reads.longest:.1f} s")
    assert heads.ended.keys() == {408} and heads.longest < 10 + 4
    assert sum(reads.ended.values()) >= 100 and reads.longest < 60 + 15
    assert held < 64 * 1024
    assert percentile(beside, 0.99) < 10 * percentile(alone, 0.99) + 20
