"""A wall clock that is set while the daemon runs: it dates things, and decides nothing."""

from __future__ import annotations

import json
import signal
import socket
from datetime import datetime
from email.utils import parsedate_to_datetime

from tests.e2e.conftest import Clock, Make
from tests.e2e.daemon import PATIENCE, Daemon, ask, eventually

YEAR = 365 * 24 * 3600


def begin(daemon: Daemon, text: bytes) -> socket.socket:
    """Connect, and say something that is no whole request."""
    connection = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
    connection.sendall(text)
    return connection


def upload(daemon: Daemon, location: str) -> socket.socket:
    """Begin an upload of "begun" and "done"."""
    head = f"PUT /store/{location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    return begin(daemon, head.encode() + b"begun")


def test_after_2261(make_daemon: Make, clock: Clock) -> None:
    """A clock that Python cannot tell refuses writes at once, with the reason; reading goes on."""
    daemon = make_daemon("--gc-interval", "0.2", env=clock.environment).start()
    for location in ("a", "b"):
        assert daemon.ask("POST", location, b"1").status == 204
    clock.jump(300 * YEAR)
    connection = daemon.connect()
    for method, path, body in (
        ("POST", "/store/c", b"2"),
        ("PUT", "/store/a", b"2"),
        ("PUT", "/store/a", bytes(2 << 20)),
        ("DELETE", "/store/a", None),
        ("GET", "/healthz", None),
    ):
        answer = ask(connection, method, path, body)
        assert (answer.status, b"the clock" in answer.body) == (503, True), answer
        assert answer.headers["Date"] is None
        connection.close()
    assert daemon.ask("GET", "a").body == b"1"
    assert ask(connection, "GET", "/store/").status == 200
    clock.jump(-300 * YEAR)
    assert daemon.ask("PUT", "a", b"2").status == 200
    assert daemon.ask("DELETE", "b").status == 200
    daemon.clean()
    assert daemon.stop() == 0


def test_jumps(make_daemon: Make, clock: Clock) -> None:
    """76: after a jump all goes on: nobody is timed out early or for ever, the dead are removed.

    The newest write wins, before and after a restart; an end takes as long as it may.
    """
    daemon = make_daemon(
        *("--gc-interval", "0.2", "--head-timeout", "1", "--shutdown-grace", "1"),
        *("--body-window", "600", "--idle-timeout", "600"),
        env=clock.environment,
    ).start()
    assert daemon.ask("POST", "it", b"old").status == 204
    begun, kept = upload(daemon, "it"), daemon.connect()
    slow = begin(daemon, b"GET /store/it HTTP/1.1\r\n")
    for seconds in (-25 * YEAR, 50 * YEAR):
        assert ask(kept, "GET", "/store/it").status == 200
        clock.jump(seconds)
        assert ask(kept, "GET", "/store/it").status == 200
        assert daemon.ask("PUT", "it", b"%d" % seconds).status == 200
        assert daemon.ask("POST", "gone", b"x").status == 204
        assert daemon.ask("DELETE", "gone").status == 200
        if seconds < 0:
            assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
            slow.close()
        assert daemon.ask("GET", "it").body == b"%d" % seconds
        # Nothing is left but the blob and the upload.
        eventually(lambda: len(daemon.records()) == 2, "the dead are collected")
    kept.close()
    begun.sendall(b"done")
    assert begun.recv(1000).startswith(b"HTTP/1.1 200 ")
    begun.close()
    clock.jump(-40 * YEAR)
    assert daemon.ask("GET", "it").body == b"begundone"
    assert daemon.ask("PUT", "it", b"newest").status == 200
    assert daemon.ask("POST", "gone", b"x").status == 204
    assert daemon.ask("DELETE", "gone").status == 200
    daemon.kill()
    clock.jump(-10 * YEAR)
    daemon.start()
    assert daemon.ask("GET", "it").body == b"newest"
    assert daemon.ask("GET", "gone").status == 404
    never = upload(daemon, "it")
    eventually(lambda: len(daemon.names()) == 2, "the upload has begun")
    daemon.send(signal.SIGTERM)
    daemon.wait_for("Shutting down")
    clock.jump(-YEAR)
    assert daemon.ended() == 0
    never.close()


def test_dates(make_daemon: Make, clock: Clock) -> None:
    """No date is in the future, and a replaced version is never taken for the newest one.

    RFC 9110 sections 8.8.2.1, 8.8.2.2, 13.1.3, 13.1.4 and 13.1.5. Both versions may have the same
    second; afterwards the clock is set back.
    """
    daemon = make_daemon(env=clock.environment).start()
    assert daemon.ask("POST", "it", b"oldest").status == 204
    seen = []
    for data in (b"older", b"newer", b"newest"):
        seen.append(daemon.ask("GET", "it").headers["Last-Modified"])
        assert daemon.ask("PUT", "it", data).status == 200
        for date in seen:
            since = {"If-Modified-Since": date}
            assert daemon.ask("GET", "it", headers=since).body == data
            until = {"If-Unmodified-Since": date}
            assert daemon.ask("PUT", "it", b"no", headers=until).status == 412
            rest = {"If-Range": date, "Range": "bytes=2-"}
            assert daemon.ask("GET", "it", headers=rest).body == data
        answer = daemon.ask("GET", "it")
        sent = parsedate_to_datetime(answer.headers["Last-Modified"])
        assert sent <= parsedate_to_datetime(answer.headers["Date"])
        (entry,) = json.loads(daemon.ask("GET", "").body)
        answer = daemon.ask("GET", "it")
        now = parsedate_to_datetime(answer.headers["Date"])
        assert datetime.fromisoformat(entry["modified"].replace("Z", "+00:00")) <= now
        clock.jump(-3600)
