"""A SeaweedFS of the tests' own: a master, volume servers, a filer and its S3 gateway.

Each process starts once the one before it is healthy. A port is free when it is looked for; a
process that finds it taken is started once more with another.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.e2e.daemon import eventually

WEED = Path(sys.executable).with_name("weed")

KEY, SECRET = "gostore-tests", "not-a-secret"

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "us-east-1",
}
"""What a daemon's environment has to have."""

BUCKET = "blobs"

#: gRPC listens on this much more.
_GRPC = 10_000


def free_port() -> int:
    """A port that is free now, and whose gRPC twin is, too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            if port + _GRPC > 65_535:
                continue
            with suppress(OSError):
                second.bind(("127.0.0.1", port + _GRPC))
                return port


def status_of(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Ask a process something; status 0 if it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class Seaweed:
    """The processes, started by `start` and killed by `close`."""

    def __init__(self, directory: Path, *, volumes: int = 1) -> None:
        self.directory = directory
        self.volumes = volumes
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.s3 = self.filer = 0

    @property
    def endpoint(self) -> str:
        """The URL of its S3 gateway."""
        return f"http://127.0.0.1:{self.s3}"

    def start(self) -> Seaweed:
        """Start all, and make the bucket."""
        master, replication = free_port(), "001" if self.volumes > 1 else "000"
        self._run(
            "master",
            master,
            f"-mdir={self._make('master')}",
            "-peers=none",
            "-telemetry=false",
            f"-defaultReplication={replication}",
            "-volumeSizeLimitMB=64",
        )
        for number in range(self.volumes):
            self._run(
                f"volume{number}",
                free_port(),
                f"-dir={self._make(f'volume{number}')}",
                "-max=60",
                "-dataCenter=dc1",
                "-rack=r1",
                f"-master=127.0.0.1:{master}",
                "-preStopSeconds=0",
                command="volume",
            )
        eventually(lambda: self._nodes(master) == self.volumes, "all volume servers are known")
        self.filer = filer = free_port()
        self._run(
            "filer",
            filer,
            f"-defaultStoreDir={self._make('filer')}",
            f"-master=127.0.0.1:{master}",
            f"-localSocket={self.directory}/filer.sock",
        )
        (self.directory / "s3.json").write_text(
            json.dumps(
                {
                    "identities": [
                        {
                            "name": "tests",
                            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
                            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                        }
                    ]
                }
            )
        )
        self.s3 = free_port()
        self._run(
            "s3",
            self.s3,
            f"-filer=127.0.0.1:{filer}",
            f"-config={self.directory}/s3.json",
            "-port.iceberg=0",
            "-port.lance=0",
            f"-localSocket={self.directory}/s3.sock",
        )
        eventually(
            lambda: status_of(filer, f"/buckets/{BUCKET}/", "POST")[0] in (200, 201),
            "the bucket is made",
        )
        return self

    def _make(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    def _nodes(self, master: int) -> int:
        code, body = status_of(master, "/dir/status")
        if code != 200:
            return 0
        centers = json.loads(body)["Topology"].get("DataCenters") or []
        return sum(len(rack["DataNodes"] or []) for dc in centers for rack in dc["Racks"])

    def _run(self, name: str, port: int, *options: str, command: str = "") -> None:
        bind = "-ip.bind=127.0.0.1"
        ip = [] if name == "s3" else ["-ip=127.0.0.1"]
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [WEED, command or name, *ip, bind, f"-port={port}", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
            )
        self.processes[name] = process

        def is_up() -> bool:
            assert process.poll() is None, (self.directory / f"{name}.log").read_text()[-2000:]
            return status_of(port, "/healthz")[0] == 200

        eventually(is_up, f"weed {name} is healthy")

    def kill(self, name: str) -> None:
        """Kill one of the processes."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def close(self) -> None:
        """Kill all, the last one first."""
        for name in reversed(list(self.processes)):
            self.kill(name)


def start_seaweed(directory: Path, volumes: int = 1) -> Seaweed:
    """Start one; if a port was taken meanwhile, start another."""
    attempt = 0
    while True:
        place = directory / f"seaweed{attempt}"
        place.mkdir()
        seaweed = Seaweed(place, volumes=volumes)
        try:
            return seaweed.start()
        except AssertionError:
            seaweed.close()
            if attempt == 2:
                raise
            attempt += 1
