"""What a real browser does with blobs, and what a page of another site can do with it: Chromium."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import threading
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, Daemon, eventually
from tests.e2e.test_clients import needs

pytestmark = needs("chromium")

#: A picture whose style makes it green, and whose script would make it a page that says "ran".
PICTURE = b"""<svg xmlns="http://www.w3.org/2000/svg"><style>rect{fill:lime}</style><rect id="r"/>
<script>document.title = "ran"; document.documentElement.setAttribute("ran", "1")</script></svg>"""


def sound() -> bytes:
    """A second of silence."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * 8000)
    return data.getvalue()


def visit(url: str, profile: Path, *options: str) -> tuple[str, str]:
    """Open a page; return what it is in the end, and what Chromium said."""
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--timeout=20000"]
    done = subprocess.run(
        [*command, *options, url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    console = "\n".join(re.findall(r"CONSOLE.*", done.stderr))
    return done.stdout, console


@contextlib.contextmanager
def open_page(url: str, profile: Path) -> Iterator[None]:
    """Have a page open, for as long as what it does takes."""
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={profile}", "--remote-debugging-port=0", url]
    null = subprocess.DEVNULL
    browser = subprocess.Popen(
        command, stdin=null, stdout=null, stderr=null, start_new_session=True
    )
    try:
        yield
    finally:
        # With all the processes that it has started.
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait(PATIENCE)


@pytest.fixture
def logging_daemon(make_daemon: Make) -> Daemon:
    """A daemon that logs each request."""
    return make_daemon("-D").start()


def store(daemon: Daemon, location: str, data: bytes, content_type: str) -> str:
    """Store a blob; return its URL."""
    assert daemon.ask("POST", location, data, {"Content-Type": content_type}).status == 204
    return daemon.store(location)


def test_sound(logging_daemon: Daemon, tmp_path: Path) -> None:
    """A sound plays: the page that Chromium makes for it may read the blob."""
    url = store(logging_daemon, "a.wav", sound(), "audio/wav")
    page, console = visit(url, tmp_path / "profile")
    assert "<video" in page
    assert "Content Security Policy" not in console
    # The page itself, and then the sound in it, which Chromium has by then, or asks for in parts.
    logging_daemon.wait_for("GET .*/store/a.wav.* (304|206) ")


def test_picture(logging_daemon: Daemon, tmp_path: Path) -> None:
    """An SVG keeps its style, and its script does not run."""
    url = store(logging_daemon, "a.svg", PICTURE, "image/svg+xml")
    page, console = visit(url, tmp_path / "profile")
    assert "<rect" in page and 'ran="1"' not in page
    assert "Blocked script execution" in console
    assert "inline style" not in console


@pytest.fixture
def reporting() -> Iterator[tuple[int, dict[str, bytes], list[str]]]:
    """The port of a site, its pages, and what its pages report to it."""
    pages: dict[str, bytes] = {}
    reports: list[str] = []

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/report?"):
                reports.append(self.path.partition("?")[2])
            page = pages.get(self.path, b"")
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield server.server_port, pages, reports
    server.shutdown()
    serving.join(PATIENCE)
    server.server_close()


@pytest.fixture
def evil(reporting: tuple[int, dict[str, bytes], list[str]]) -> tuple[int, dict[str, bytes]]:
    """The port of a site of somebody else, and its pages, which report nothing."""
    port, pages, _ = reporting
    return port, pages


def test_page_of_another_site(
    logging_daemon: Daemon, evil: tuple[int, dict[str, bytes]], tmp_path: Path
) -> None:
    """A page of another site writes nothing, neither by script nor by a form, and shows no blob."""
    port, pages = evil
    url = store(logging_daemon, "kept.svg", PICTURE, "image/svg+xml")
    planted = logging_daemon.store("planted")
    pages["/"] = f"""<img src="{url}" onload="document.title='shown'">
        <script>fetch("{planted}", {{method: "POST", mode: "no-cors", body: "evil"}})
        .finally(() => document.forms[0].submit())</script>
        <form method="post" enctype="text/plain" action="{planted}"><input name="a"></form>
        """.encode()

    def refused() -> int:
        return len(re.findall("POST .*/store/planted.* 403 ", logging_daemon.said))

    with open_page(f"http://evil.localhost:{port}/", tmp_path / "profile"):
        eventually(lambda: refused() >= 2, "the script and the form are refused")
    assert logging_daemon.ask("GET", "planted").status == 404


def test_rebound_name(logging_daemon: Daemon, tmp_path: Path) -> None:
    """A name that was pointed at 127.0.0.1 (DNS rebinding) gets nothing to see."""
    store(logging_daemon, "secret.txt", b"the secret", "text/plain")
    page, _ = visit(
        f"http://evil.example:{logging_daemon.port}/store/secret.txt",
        tmp_path / "profile",
        "--host-resolver-rules=MAP evil.example 127.0.0.1",
    )
    assert "the secret" not in page
    assert "421" in page
    logging_daemon.wait_for("GET .*/store/secret.txt.* 421 ")


SCRIPT = """<script>
(async () => {
    const found = [];
    const tries = [
        ["GET", "kept"], ["POST", "new", "text/plain"], ["POST", "newer", "application/json"],
        ["PUT", "kept"], ["DELETE", "kept"], ["GET", "?format=text"],
    ];
    for (const [method, location, type] of tries) {
        try {
            const body = method == "POST" || method == "PUT" ? "evil" : undefined;
            const headers = type ? {"Content-Type": type} : {};
            const answer = await fetch("URL" + location, {method, body, headers});
            found.push(answer.status + (answer.headers.get("ETag") ? "+" : ""));
        } catch (error) {
            found.push("failed");
        }
    }
    await fetch("/report?" + found.join(","));
})();
</script>"""


@pytest.mark.parametrize("allowed", [False, True])
def test_cross_origin(
    make_daemon: Make,
    reporting: tuple[int, dict[str, bytes], list[str]],
    tmp_path: Path,
    allowed: bool,
) -> None:
    """A page of another origin can use the daemon if its origin is allowed, and else in no way."""
    port, pages, reports = reporting
    origin = f"http://page.localhost:{port}"
    other = origin if allowed else "https://another.example"
    daemon = make_daemon("--allow-origin", other).start()
    store(daemon, "kept", b"kept", "text/plain")
    pages["/"] = SCRIPT.replace("URL", daemon.store("")).encode()
    with open_page(f"{origin}/", tmp_path / "profile"):
        eventually(lambda: reports, "the page reports")
    if allowed:
        assert reports == ["200+,204+,204+,200+,200,200"]
        assert daemon.ask("GET", "new").body == b"evil"
    else:
        assert reports == ["failed,failed,failed,failed,failed,failed"]
        assert daemon.ask("GET", "kept").body == b"kept"
        assert daemon.ask("GET", "new").status == 404
