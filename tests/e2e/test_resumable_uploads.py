"""tuspy and tus-js-client upload through a proxy that cuts them off, to a daemon that is killed.

What is stored at the end is what was sent, by its digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, SOAK, Daemon
from tests.e2e.test_clients import needs, noise

UPLOADS = 100 if SOAK else 5
"""For each of the two clients."""

LARGEST = 1_500_000

HERE = Path(__file__).parent
MODULES = Path(sys.prefix) / "node" / "node_modules"

_RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Passes each connection on to a daemon, and resets it after some bytes of either way.

    Every so many connections ``between`` is called before the next one is passed on.
    """

    def __init__(self, daemon: Daemon, seed: int, every: int, between: Callable[[], None]) -> None:
        self.daemon = daemon
        self.connections = self.cuts = 0
        self._rng = random.Random(seed)
        self._every = every
        self._between = between
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/uploads/"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Let nobody in any more, and wait for those who are."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.connections += 1
                if self.connections % self._every == 0:
                    self._between()
                server = socket.create_connection(("127.0.0.1", self.daemon.port))
                # Some get far, and some hear nothing of an answer to what has been done.
                up = int(10 ** self._rng.uniform(2.5, 6.5))
                down = int(10 ** self._rng.uniform(1.5, 4.5))
                for source, target, limit in ((client, server, up), (server, client, down)):
                    passing = threading.Thread(
                        target=self._pass, args=(source, target, limit), daemon=True
                    )
                    passing.start()
                    self._threads.append(passing)

    def _pass(self, source: socket.socket, target: socket.socket, limit: int) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece[:limit])
                limit -= len(piece)
                if limit <= 0:
                    self.cuts += 1
                    for end in (source, target):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        end.shutdown(socket.SHUT_RDWR)
                    break
            else:
                target.shutdown(socket.SHUT_WR)


class Trial:
    """A daemon, the proxy before it, and the files that are uploaded."""

    def __init__(self, daemon: Daemon, here: Path, seed: int) -> None:
        rng = random.Random(seed)
        self.kills = 0
        self.daemon = daemon.start()
        self.proxy = CuttingProxy(self.daemon, seed, 8, self.kill)
        self.files: dict[str, Path] = {}
        for number in range(UPLOADS):
            file = here / f"{number}.bin"
            file.write_bytes(noise(int(10 ** rng.uniform(0, 6.18)) if number else LARGEST))
            self.files[f"up/{number}"] = file

    def kill(self) -> None:
        """Kill the daemon, and start it again."""
        self.kills += 1
        self.daemon.kill()
        self.daemon.start()

    def check(self) -> None:
        """Every file is stored, whole, as one blob."""
        self.proxy.close()
        for location, file in self.files.items():
            data = file.read_bytes()
            answer = self.daemon.ask("GET", location)
            assert answer.status == 200, location
            assert answer.body == data, location
            digest = hashlib.sha256(data).hexdigest()
            assert answer.headers["ETag"] == f'"{digest}"'
        answer = self.daemon.ask("GET", "")
        assert len(json.loads(answer.body)) == len(self.files)
        print(f"{len(self.files)} uploads, {self.proxy.connections} connections", end=", ")
        print(f"{self.proxy.cuts} cut off, {self.kills} times killed")
        assert self.proxy.cuts and self.kills


def doomed(make_daemon: Make) -> Daemon:
    """A daemon that is to be killed."""
    return make_daemon("--gc-interval", "0.5")


@pytest.mark.skipif(find_spec("tusclient") is None, reason="NOT TESTED: tuspy is not installed")
def test_tuspy(make_daemon: Make, tmp_path: Path) -> None:
    """tuspy: what it uploads in parts is whole, whatever happens on the way."""
    upload_by_tuspy(Trial(doomed(make_daemon), tmp_path, 1))


def upload_by_tuspy(trial: Trial) -> None:
    """Let tuspy upload all files of a trial."""
    from tusclient.client import TusClient
    from tusclient.exceptions import TusCommunicationError, TusUploadFailed

    client = TusClient(trial.proxy.url)
    for number, (location, file) in enumerate(trial.files.items()):
        metadata, size = {"location": location}, (0, 64_000, 700_000)[number % 3]
        url = None
        for _ in range(1000):
            try:
                uploader = client.uploader(
                    str(file),
                    metadata=metadata,
                    url=url,
                    chunk_size=size or file.stat().st_size,
                    upload_checksum=bool(number % 2),
                )
                uploader.set_url(url or uploader.create_url())
                url = uploader.url
                uploader.upload()
                break
            except (TusCommunicationError, TusUploadFailed) as error:
                # An answer may be cut in its head, and tuspy takes that for a whole one.
                assert error.status_code in (None, 200, 201, 204, 404, 409, 423), error
                if error.status_code == 404:
                    url = None
            except (requests.RequestException, ValueError):
                pass
        else:
            raise AssertionError(f"{location} never came to its end")
    trial.check()


@needs("node")
@pytest.mark.skipif(
    not MODULES.exists(),
    reason="NOT TESTED: tus-js-client is not installed: see .ci/node in the Makefile",
)
def test_tus_js_client(make_daemon: Make, tmp_path: Path) -> None:
    """tus-js-client: the same, by its own rules of when to try again."""
    upload_by_tus_js_client(Trial(doomed(make_daemon), tmp_path, 2))


def upload_by_tus_js_client(trial: Trial) -> None:
    """Let tus-js-client upload all files of a trial."""
    chunks = (0, 100_000, 700_000)
    jobs = [
        {"file": str(file), "location": location, "chunk": chunks[number % 3]}
        for number, (location, file) in enumerate(trial.files.items())
    ]
    ended = subprocess.run(
        ["node", str(HERE / "node" / "tus.mjs"), trial.proxy.url],
        input=json.dumps(jobs),
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(MODULES)},
        capture_output=True,
        text=True,
        timeout=3000 if SOAK else 300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.split() == list(trial.files)
    trial.check()
