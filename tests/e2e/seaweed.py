"""A SeaweedFS of the tests' own: a master, volume servers, a filer and its S3 gateway.

Each process starts once the one before it is healthy. A port is free when it is looked for; a
process that finds it taken is started once more with another.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.e2e.daemon import eventually

WEED = Path(sys.executable).with_name("weed")

KEY, SECRET = "gostore-tests", "not-a-secret"

STRANGER = "stranger"
"""The key of somebody who may only use the bucket `strangers`."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "us-east-1",
}
"""What a daemon's environment has to have."""

BUCKET = "blobs"

#: gRPC listens on this much more.
_GRPC = 10_000


#: Ports that the kernel gives to nobody who asks for any, nor those above by `_GRPC`: it begins at
#: 32,768. Else one that is free now could be somebody's, or a connection's, by the time it is used.
_PORTS = range(10_000, 22_000)

#: What was given out: no two processes of this one's get the same.
_given: set[int] = set()


def free_port() -> int:
    """A port that is free now, and whose gRPC twin is, too."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as first, socket.socket() as second, suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + _GRPC))
            if port not in _given:
                _given.add(port)
                return port


def status_of(
    port: int, path: str, method: str = "GET", host: str = "127.0.0.1"
) -> tuple[int, bytes]:
    """Ask a process something; status 0 if it does not answer."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
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

    def __init__(self, directory: Path, *, volumes: int = 1, masters: int = 1) -> None:
        self.directory = directory
        self.volumes = volumes
        self.masters = [free_port() for _ in range(masters)]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        #: What each process was started with, and the address where it says how it is.
        self._commands: dict[str, tuple[list[str], str, int]] = {}
        self.s3 = self.filer = 0

    @property
    def endpoint(self) -> str:
        """The URL of its S3 gateway."""
        return f"http://127.0.0.1:{self.s3}"

    def start(self) -> Seaweed:
        """Start all, and make the bucket."""
        masters = ",".join(f"127.0.0.1:{port}" for port in self.masters)
        replication = "001" if self.volumes > 1 else "000"
        for number, port in enumerate(self.masters):
            self._describe(
                f"master{number}",
                port,
                f"-mdir={self._make(f'master{number}')}",
                f"-peers={masters if len(self.masters) > 1 else 'none'}",
                "-telemetry=false",
                f"-defaultReplication={replication}",
                "-volumeSizeLimitMB=64",
            )
        # None of several is healthy alone.
        for name in list(self._commands):
            self._launch(name)
        for name in list(self._commands):
            self._wait_for(name)
        for number in range(self.volumes):
            self._run(
                f"volume{number}",
                free_port(),
                f"-dir={self._make(f'volume{number}')}",
                "-max=400",
                "-dataCenter=dc1",
                "-rack=r1",
                f"-master={masters}",
                "-preStopSeconds=0",
            )
        eventually(lambda: self._nodes() == self.volumes, "all volume servers are known")
        self.filer = filer = free_port()
        self._run(
            "filer",
            filer,
            f"-defaultStoreDir={self._make('filer')}",
            f"-master={masters}",
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
                        },
                        {
                            "name": "stranger",
                            "credentials": [{"accessKey": STRANGER, "secretKey": SECRET}],
                            "actions": ["Read:strangers", "Write:strangers", "List:strangers"],
                        },
                    ]
                }
            )
        )
        self.s3 = self.gateway("127.0.0.1")
        for bucket in (BUCKET, "strangers"):
            eventually(
                lambda bucket=bucket: (  # type: ignore[misc]
                    status_of(filer, f"/buckets/{bucket}/", "POST")[0] in (200, 201)
                ),
                "the bucket is made",
            )
        return self

    def gateway(self, host: str) -> int:
        """Start one more S3 gateway, at another address of this machine; return its port."""
        port = free_port()
        name = f"s3 at {host}" if self.s3 else "s3"
        self._run(
            name,
            port,
            f"-filer=127.0.0.1:{self.filer}",
            f"-config={self.directory}/s3.json",
            "-port.iceberg=0",
            "-port.lance=0",
            f"-localSocket={self.directory}/{port}.sock",
            host=host,
        )
        return port

    def leader(self) -> str:
        """The name of the master that leads, "" if none does."""
        for number, port in enumerate(self.masters):
            if f"master{number}" in self.processes:
                code, body = status_of(port, "/cluster/status")
                if code == 200 and json.loads(body).get("IsLeader"):
                    return f"master{number}"
        return ""

    def _make(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    def _nodes(self) -> int:
        found = [status_of(port, "/dir/status") for port in self.masters]
        for code, body in found:
            if code == 200:
                centers = json.loads(body)["Topology"].get("DataCenters") or []
                nodes = sum(len(rack["DataNodes"] or []) for dc in centers for rack in dc["Racks"])
                if nodes:
                    return nodes
        return 0

    def _run(self, name: str, port: int, *options: str, host: str = "127.0.0.1") -> None:
        self._describe(name, port, *options, host=host)
        self._launch(name)
        self._wait_for(name)

    def _describe(self, name: str, port: int, *options: str, host: str = "127.0.0.1") -> None:
        kind = "s3" if name.startswith("s3") else name.rstrip("0123456789")
        ip = [] if kind == "s3" else [f"-ip={host}"]
        # Not to files in /tmp, one for each level.
        command = [str(WEED), "-logtostderr", kind, *ip, f"-ip.bind={host}", f"-port={port}"]
        self._commands[name] = [*command, *options], host, port

    def _launch(self, name: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self._commands[name][0],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
            )

    def _wait_for(self, name: str) -> None:
        process, (_, host, port) = self.processes[name], self._commands[name]

        def is_up() -> bool:
            assert process.poll() is None, (self.directory / f"{name}.log").read_text()[-2000:]
            return status_of(port, "/healthz", host=host)[0] == 200

        eventually(is_up, f"weed {name} is healthy")

    def kill(self, name: str) -> None:
        """Kill one of the processes."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def restart(self, name: str) -> None:
        """Start a process again that was killed, on what it left behind."""
        self._launch(name)
        self._wait_for(name)

    def close(self) -> None:
        """Kill all, the last one first."""
        for name in reversed(list(self.processes)):
            self.kill(name)
        for _, _, port in self._commands.values():
            for socket_ in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + _GRPC}.sock"):
                socket_.unlink(missing_ok=True)


def start_seaweed(directory: Path, volumes: int = 1, masters: int = 1) -> Seaweed:
    """Start one; if a port was taken meanwhile, start another."""
    attempt = 0
    while True:
        place = directory / f"seaweed{attempt}"
        place.mkdir()
        seaweed = Seaweed(place, volumes=volumes, masters=masters)
        try:
            return seaweed.start()
        except AssertionError:
            seaweed.close()
            if attempt == 2:
                raise
            attempt += 1
