"""Uploads by the IETF's draft, from a client that is cut off, to a daemon that is killed."""

from __future__ import annotations

import hashlib
import http.client
import random
import socket
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, SOAK, Daemon
from tests.e2e.test_clients import noise

VERSION = {"Upload-Draft-Interop-Version": "8"}
PART = {"Content-Type": "application/partial-upload"}
UPLOADS = 100 if SOAK else 6


class Sender:
    """Sends one blob as the draft says, and is cut off now and then."""

    def __init__(self, daemon: Daemon, path: str, data: bytes, rng: random.Random) -> None:
        self.daemon = daemon
        self.data = data
        self.path = path
        self.place: str | None = None
        self.cuts = 0
        self._rng = rng

    def send(self) -> str:
        """Begin, and go on until it is stored; return its ETag."""
        while True:
            try:
                answer = self._begin() if self.place is None else self._go_on(self.place)
            except (OSError, http.client.HTTPException):
                self.cuts += 1
                continue
            if answer is not None:
                return answer

    def _begin(self) -> str | None:
        head = {**VERSION, "Upload-Complete": "?1", "Content-Type": "text/x"}
        return self._exchange("POST", self.path, head, self.data)

    def _go_on(self, place: str) -> str | None:
        connection = self.daemon.connect()
        connection.request("HEAD", place, headers=VERSION)
        answer = connection.getresponse()
        assert answer.status == 204, answer.status
        assert answer.headers["Cache-Control"] == "no-store"
        offset = int(answer.headers["Upload-Offset"])
        connection.close()
        assert offset <= len(self.data)
        if answer.headers["Upload-Complete"] == "?1":
            return f'"{hashlib.sha256(self.data).hexdigest()}"'
        head = {**VERSION, **PART, "Upload-Complete": "?1", "Upload-Offset": str(offset)}
        return self._exchange("PATCH", place, head, self.data[offset:])

    def _exchange(self, method: str, path: str, head: dict[str, str], body: bytes) -> str | None:
        """Send a request, perhaps not to its end, and read whatever comes."""
        with socket.create_connection(("127.0.0.1", self.daemon.port), PATIENCE) as connection:
            lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in head.items()]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            file = connection.makefile("rb")
            if method == "POST":
                # It comes before any byte of the body is sent.
                code, fields = _read_head(file)
                assert (code, fields["upload-draft-interop-version"]) == (104, "8")
                assert "upload-limit" in fields
                self.place = urlsplit(urljoin(f"http://x{path}", fields["location"])).path
            if self._rng.random() < 0.6:
                connection.sendall(body[: self._rng.randrange(len(body) + 1)])
                raise OSError("cut off")
            connection.sendall(body)
            while True:
                code, fields = _read_head(file)
                if code != 104:
                    break
                assert 0 < int(fields["upload-offset"]) <= len(self.data)
        if code == 423:
            return None
        assert (code, fields["upload-complete"]) == (204, "?1"), (code, fields)
        return fields["etag"]


def _read_head(file) -> tuple[int, dict[str, str]]:  # type: ignore[no-untyped-def]
    line = file.readline()
    if not line:
        raise OSError("gone")
    fields = {}
    while text := file.readline().strip():
        name, _, value = text.decode().partition(":")
        fields[name.lower()] = value.strip()
    return int(line.split()[1]), fields


def test_cut_and_killed(make_daemon: Make, tmp_path: Path) -> None:
    """What is cut off at random, while the daemon is killed as well, is whole in the end."""
    rng = random.Random(3)
    daemon = make_daemon("--draft-resumable-uploads").start()
    cuts = 0
    for number in range(UPLOADS):
        data = noise(rng.randint(70_000, 1_500_000))
        sender = Sender(daemon, f"/store/d/{number}", data, rng)
        etag = sender.send()
        cuts += sender.cuts
        answer = daemon.ask("GET", f"d/{number}")
        assert answer.body == data
        assert answer.headers["ETag"] == etag == f'"{hashlib.sha256(data).hexdigest()}"'
        assert answer.headers["Content-Type"] == "text/x"
        daemon.kill()
        daemon.start()
    assert cuts


def test_off_by_default(daemon: Daemon) -> None:
    """Without the switch there is no such path, and no 104; a part is refused."""
    assert daemon.ask("POST", "a", b"abc", {**VERSION, "Upload-Complete": "?0"}).status == 400
    assert daemon.ask("POST", "a", b"abc", {**VERSION, "Upload-Complete": "?1"}).status == 204
    connection = daemon.connect()
    connection.request("HEAD", "/uploads/draft/1/a", headers=VERSION)
    assert connection.getresponse().status in (400, 404)
    connection.close()
