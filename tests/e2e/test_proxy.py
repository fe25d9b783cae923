"""Behind proxies: nginx serves gostore below a path of its own, Squid adds fields to requests."""

from __future__ import annotations

import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.e2e.daemon import PATIENCE, Daemon, eventually
from tests.e2e.test_clients import needs, run, store

CONFIG = """
daemon off; worker_processes 1;
pid {here}/nginx.pid; error_log {here}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {here}/1; proxy_temp_path {here}/2; fastcgi_temp_path {here}/3;
    uwsgi_temp_path {here}/4; scgi_temp_path {here}/5;
    server {{
        listen 127.0.0.1:{port};
        location /blobs/ {{ proxy_pass {url}/; }}
    }}
}}
"""


@pytest.fixture
def proxy(daemon: Daemon, tmp_path: Path) -> Iterator[str]:
    """The URL below which nginx serves the daemon."""
    here = tmp_path / "nginx"
    here.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (here / "conf").write_text(CONFIG.format(here=here, port=port, url=daemon.url))
        process = subprocess.Popen(
            ["nginx", "-e", str(here / "error.log"), "-c", str(here / "conf")],
            # The way in which a new nginx takes over the sockets of an old one.
            env={**os.environ, "NGINX": f"{listening.fileno()};"},
            pass_fds=[listening.fileno()],
        )
    try:
        eventually(lambda: (here / "nginx.pid").exists(), "nginx runs")
        yield f"http://127.0.0.1:{port}/blobs"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@needs("nginx")
@needs("rclone")
def test_prefix(daemon: Daemon, proxy: str, tmp_path: Path) -> None:
    """rclone copies the whole tree through a proxy that gives gostore a part of its paths."""
    names = ["f07/a", "f07/b/c", "co:lon", "f07/d:e"]
    for name in names:
        store(daemon, name, name.encode())
    remote = (":http:", "--http-url", f"{proxy}/store/", "--config", "/dev/null")
    run("rclone", "copy", *remote, "copy", cwd=tmp_path)
    copied = {
        str(path.relative_to(tmp_path / "copy")): path.read_text()
        for path in (tmp_path / "copy").rglob("*")
        if path.is_file()
    }
    assert copied == {name: name for name in names}


@needs("nginx")
def test_location(proxy: str) -> None:
    """The Location of a new blob leads to it, below the proxy's path."""
    url = f"{proxy}/store/notes/to:day"
    asked = urllib.request.Request(url, b"data", {"Content-Type": "text/plain"}, method="POST")
    with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
        there = urljoin(url, answer.headers["Location"])
    assert there.startswith(f"{proxy}/store/notes/")
    with urllib.request.urlopen(there, timeout=PATIENCE) as answer:
        assert answer.read() == b"data"


SQUID = """
http_port 127.0.0.1:{port}
http_access allow all
cache deny all
access_log none
cache_log {here}/log
pid_filename {here}/pid
coredump_dir {here}
shutdown_lifetime 0 seconds
pinger_enable off
"""


@needs("squid")
def test_cache_control_of_squid(daemon: Daemon, tmp_path: Path) -> None:
    """Squid says max-age=259200 of a request; nobody is told that of the blob (RFC 9111 5.2.1)."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    (tmp_path / "conf").write_text(SQUID.format(port=port, here=tmp_path))
    process = subprocess.Popen(["squid", "-N", "-f", str(tmp_path / "conf")])
    try:
        proxy = urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{port}"})
        opener = urllib.request.build_opener(proxy)
        asked = urllib.request.Request(daemon.store("a"), b"data", method="POST")

        def stored() -> bool:
            try:
                return opener.open(asked, timeout=PATIENCE).status == 204
            except urllib.error.URLError:
                return False

        eventually(stored, "Squid forwards")
    finally:
        process.kill()
        process.wait(PATIENCE)
    assert daemon.ask("GET", "a").headers["Cache-Control"] == "no-cache"
