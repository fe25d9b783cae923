"""Tests for resuming.py: answers that a test has written down, and a daemon behind cuts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from gostore.client import Client, Memory, Patience
from gostore.client.errors import (
    AlreadyExists,
    BadAnswer,
    ClientError,
    ConditionFailed,
    Damaged,
    Lost,
    NoRoom,
    NotFound,
    Refused,
    SourceFailed,
    Unavailable,
)
from gostore.client.resuming import Resuming, wanted_of
from gostore.client.sources import Bytes, File, Source
from gostore.client.steps import Answer, Ask
from gostore.client.values import Blob
from tests.client.conftest import SHORT
from tests.client.liar import Cutter, Heard, Liar
from tests.client.script import answer, play
from tests.client.test_blocking import DATA, reply, tag
from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, Daemon, eventually

LOST = Lost("gone")
TEN = b"0123456789"
TUS = {"tus_resumable": "1.0.0"}
BEGUN = answer(201, location="77/a", upload_offset="0", **TUS)
STORED = answer(204, upload_offset="10", etag=tag(TEN), **TUS)
GONE = answer(404, **TUS)


def at(offset: int | str, length: int = 10, **more: str) -> Answer:
    """What a HEAD says of an upload."""
    return answer(200, upload_offset=str(offset), upload_length=str(length), **TUS, **more)


DONE = at(10, etag=tag(TEN))


def send(
    *answers: Answer | Lost,
    memory: Memory | None = None,
    source: Source | None = None,
    ask: Ask | None = None,
) -> tuple[Blob, list[str]]:
    """Send ten bytes; what was stored, and what was asked, with the offsets of the PATCHes."""
    source = source or Bytes(TEN)
    ask = ask or Ask("POST", "a", {}, {}, source)
    verb = Resuming("http://d", 10, memory).write(ask, SHORT)
    blob, asked, _ = play(verb, answers)
    return blob, [each.method + each.fields.get("Upload-Offset", "") for each in asked]


# -- by the script --------------------------------------------------------------------------------


def test_whole() -> None:
    """An upload is one request to begin it, and one with all bytes."""
    blob, asked = send(BEGUN, STORED)
    assert asked == ["POST", "PATCH0"]
    assert (blob.size, blob.etag, blob.location) == (10, tag(TEN), "a")


@pytest.mark.parametrize(
    "cut", [LOST, answer(503), answer(423, **TUS), answer(409, upload_offset="4", **TUS)]
)
def test_cut(cut: Answer | Lost) -> None:
    """What is cut off, refused for now or taken over goes on where the daemon says that it is."""
    assert send(BEGUN, cut, at(4), cut, at(7), STORED)[1] == [
        *("POST", "PATCH0", "HEAD", "PATCH4", "HEAD", "PATCH7")
    ]


def test_lost_last_answer() -> None:
    """If the answer to the last byte is lost, the daemon says what the upload has become."""
    assert send(BEGUN, LOST, DONE)[1] == ["POST", "PATCH0", "HEAD"]


def test_forgotten() -> None:
    """What the daemon does not know any more begins anew, and not for ever."""
    assert send(BEGUN, LOST, GONE, BEGUN, STORED)[1] == [
        *("POST", "PATCH0", "HEAD", "POST", "PATCH0")
    ]
    with pytest.raises(ClientError, match="again and again"):
        send(*[BEGUN, answer(410, **TUS)] * 8)


def test_no_uploads() -> None:
    """A daemon without uploads gets a POST, and is not asked about them again."""
    for code in (404, 405, 501):
        resuming = Resuming("http://d", 10, None)
        ask = Ask("POST", "a", {}, {}, Bytes(TEN))
        stored = answer(204, etag=tag(TEN))
        _, asked, _ = play(resuming.write(ask, SHORT), [answer(code), stored])
        assert [each.upload for each in asked] == ["", None]
        _, asked, _ = play(resuming.write(ask, SHORT), [stored])
        assert [each.upload for each in asked] == [None]


def test_small_and_plain() -> None:
    """What is small, or has fields that no upload can have, is sent in one request."""
    stored = [answer(204, etag=tag(TEN))]
    ask = Ask("POST", "a", {}, {}, Bytes(TEN))
    for threshold in (11, None):
        assert len(play(Resuming("http://d", threshold, None).write(ask, SHORT), stored)[1]) == 1
    for fields in ({"Content-Language": "de"}, {"X-Gostore-Meta-A": "x" * 7000}):
        ask = Ask("POST", "a", {}, fields, Bytes(TEN))
        assert len(play(Resuming("http://d", 10, None).write(ask, SHORT), stored)[1]) == 1


def test_metadata() -> None:
    """The upload is told what a POST or PUT would say."""
    fields = {"Content-Type": "text/x", "X-Gostore-Meta-Who": "ä", "If-Match": '"t"'}
    wanted = wanted_of(Ask("PUT", "a", {}, fields, Bytes(b"")))
    assert wanted is not None
    names = [pair.partition(" ")[0] for pair in wanted.text.split(",")]
    assert names == ["location", "filetype", "x-gostore-meta-who", "sha256", "if-match"]
    assert "location YQ==,filetype dGV4dC94,x-gostore-meta-who w6Q=," in wanted.text
    for method, fields, condition in (
        ("POST", {}, ""),
        ("PUT", {}, "if-match Kg=="),
        ("PUT", {"If-None-Match": "*"}, "if-none-match Kg=="),
    ):
        wanted = wanted_of(Ask(method, "a", {}, fields, Bytes(b"")))
        assert wanted is not None and wanted.condition == condition


@pytest.mark.parametrize(
    ("refusal", "method", "error"),
    [
        (answer(409, **TUS), "POST", AlreadyExists),
        (answer(412, **TUS), "PUT", NotFound),
        (answer(413, **TUS), "POST", NoRoom),
        (answer(507, **TUS), "POST", NoRoom),
        (answer(403, **TUS), "POST", Refused),
        (answer(400, **TUS), "POST", ClientError),
    ],
)
def test_refusals(refusal: Answer, method: str, error: type[ClientError]) -> None:
    """An upload is refused as a POST or PUT is: when it begins, or with its last byte."""
    ask = Ask(method, "a", {}, {}, Bytes(TEN))
    for before in ([], [BEGUN], [BEGUN, LOST]):
        with pytest.raises(error):
            send(*before, refusal, ask=ask)


def test_lies() -> None:
    """Numbers that cannot be are believed by nobody."""
    for begun in (answer(201, **TUS), answer(201, location="/uploads/x/a", **TUS)):
        with pytest.raises(BadAnswer, match="goes on"):
            send(begun)
    for standing in (at(11), at("ten"), at(-1), at(4, 11), answer(200, **TUS), at(10)):
        with pytest.raises(BadAnswer):
            send(BEGUN, LOST, standing)
    with pytest.raises(BadAnswer):
        send(BEGUN, answer(204, **TUS))
    last = answer(204, upload_offset="10", etag=tag(b"x"), **TUS)
    for answers in ([BEGUN, LOST, at(10, etag=tag(b"x"))], [BEGUN, last]):
        with pytest.raises(Damaged, match="not stored as it was sent"):
            send(*answers)


def test_ahead() -> None:
    """A daemon cannot have bytes that were not sent."""
    verb = Resuming("http://d", 1, None).write(Ask("POST", "a", {}, {}, Bytes(TEN)), SHORT)
    next(verb)
    verb.send(BEGUN)
    verb.throw(LOST)
    with pytest.raises(BadAnswer, match="more bytes of a than were sent"):
        verb.send(at(4))


def test_behind() -> None:
    """A daemon that has lost bytes gets them again; one that never gets further is given up."""
    assert send(BEGUN, LOST, at(6), LOST, at(2), STORED)[1][-1] == "PATCH2"
    verb = Resuming("http://d", 1, None).write(Ask("POST", "a", {}, {}, Bytes(TEN)), Patience(0, 0))
    with pytest.raises(Unavailable):
        play(verb, [BEGUN, answer(503), at(0)])
    verb = Resuming("http://d", 1, None).write(Ask("POST", "a", {}, {}, Bytes(TEN)), Patience(0, 0))
    with pytest.raises(Unavailable):
        play(verb, [BEGUN, answer(503), at(3), answer(503), at(3)])
    verb = Resuming("http://d", 1, None).write(Ask("POST", "a", {}, {}, Bytes(TEN)), Patience(0, 0))
    with pytest.raises(ClientError):
        play(verb, [BEGUN, answer(204, upload_offset="0", **TUS)])


# -- what an earlier command has left -------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of ten bytes."""
    (tmp_path / "file").write_bytes(TEN)
    return tmp_path / "file"


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    """A memory with nothing in it."""
    return Memory(tmp_path / "memory")


def kill(memory: Memory, *answers: Answer | Lost, ask: Ask) -> None:
    """A command that is killed after these answers."""
    verb = Resuming("http://d", 1, memory).write(ask, SHORT)
    next(verb)
    for each in answers:
        assert isinstance(each, Answer)
        verb.send(each)
    verb.close()


def ask_for(file: Path, method: str = "POST", **fields: str) -> Ask:
    """To store a file."""
    named = {name.replace("_", "-"): text for name, text in fields.items()}
    return Ask(method, "a", {}, named, File(file))


def test_killed(file: Path, memory: Memory) -> None:
    """The next command goes on with the upload of the same file, without reading it once more."""
    kill(memory, BEGUN, ask=ask_for(file))
    known = partial(Resuming("http://d", 1, memory).sha256_of, "a")
    source = File(file, known=known)
    assert source.sha256 == hashlib.sha256(TEN).hexdigest()
    ask = Ask("POST", "a", {}, {}, source)
    assert send(at(3), STORED, memory=memory, ask=ask)[1] == ["HEAD", "PATCH3"]
    # It is forgotten now.
    assert send(BEGUN, STORED, memory=memory, ask=ask)[1] == ["POST", "PATCH0"]


@pytest.mark.parametrize("gone", [GONE, answer(410, **TUS), answer(412, **TUS)])
def test_killed_and_expired(file: Path, memory: Memory, gone: Answer) -> None:
    """What has expired, or has been refused meanwhile, begins anew."""
    kill(memory, BEGUN, ask=ask_for(file))
    asked = send(gone, BEGUN, STORED, memory=memory, ask=ask_for(file))[1]
    assert asked == ["HEAD", "POST", "PATCH0"]


def test_changed_file(file: Path, memory: Memory) -> None:
    """A file that changed begins anew, and the daemon drops the old upload without finishing it."""
    kill(memory, BEGUN, ask=ask_for(file))
    info = file.stat()
    file.write_bytes(TEN)
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert Resuming("http://d", 1, memory).sha256_of("a", str(file), File(file).identity) is None
    answers = (answer(204, **TUS), BEGUN, STORED)
    asked = send(*answers, memory=memory, ask=ask_for(file))[1]
    assert asked == ["DELETE", "POST", "PATCH0"]


@pytest.mark.parametrize("fields", [{}, {"If_Match": '"t"'}, {"Content_Type": "text/x"}])
def test_another_wish(file: Path, memory: Memory, fields: dict[str, str]) -> None:
    """An upload under another condition, or with another type, is not what is wanted now."""
    kill(memory, BEGUN, ask=ask_for(file))
    ask = ask_for(file, "PUT", **fields)
    asked = send(LOST, BEGUN, STORED, memory=memory, ask=ask)[1]
    assert asked == ["DELETE", "POST", "PATCH0"]


def test_finished_unheard(file: Path, memory: Memory) -> None:
    """What was stored just before the kill is found, under whichever condition of the two."""
    there = answer(200, content_length="10", etag=tag(TEN))
    for before, after in (("PUT", {}), ("PUT", {"If_None_Match": "*"})):
        kill(memory, BEGUN, ask=ask_for(file, before, If_None_Match="*"))
        ask = ask_for(file, "PUT", **after)
        assert send(DONE, there, memory=memory, ask=ask)[1] == ["HEAD", "HEAD"]
    kill(memory, BEGUN, ask=ask_for(file))
    replaced = answer(200, content_length="1", etag=tag(b"x"))
    asked = send(DONE, replaced, BEGUN, STORED, memory=memory, ask=ask_for(file))[1]
    assert asked == ["HEAD", "HEAD", "POST", "PATCH0"]


def test_other_condition_now(file: Path, memory: Memory) -> None:
    """What was to create has to begin anew if it has to replace now."""
    kill(memory, BEGUN, ask=ask_for(file, "PUT", If_None_Match="*"))
    asked = send(at(4), answer(204), BEGUN, STORED, memory=memory, ask=ask_for(file, "PUT"))[1]
    assert asked == ["HEAD", "DELETE", "POST", "PATCH0"]


def test_refused_for_now(file: Path, memory: Memory) -> None:
    """A full disk, or credentials that do not do, cost none of the bytes that are there."""
    for refusal in (answer(507, **TUS), answer(401, **TUS)):
        with pytest.raises(ClientError):
            send(
                *([BEGUN] if refusal.code == 507 else []), refusal, memory=memory, ask=ask_for(file)
            )
    assert send(at(3), STORED, memory=memory, ask=ask_for(file))[1] == ["HEAD", "PATCH3"]
    kill(memory, BEGUN, ask=ask_for(file))
    with pytest.raises(AlreadyExists):
        send(at(3), answer(409, **TUS), memory=memory, ask=ask_for(file))
    assert send(BEGUN, STORED, memory=memory, ask=ask_for(file))[1] == ["POST", "PATCH0"]


def test_file_changes_on_the_way(file: Path) -> None:
    """The last bytes of a file that changes are not sent."""
    source = File(file)
    file.write_bytes(TEN)
    os.utime(file, ns=(0, 0))
    with pytest.raises(SourceFailed, match="changed"):
        list(source.rest(3))
    file.write_bytes(TEN[:5])
    with pytest.raises(SourceFailed, match="changed"):
        list(File(file).rest(6))
    file.unlink()
    with pytest.raises(SourceFailed, match="No such file"):
        list(source.rest(3))


# -- with a daemon --------------------------------------------------------------------------------


def test_through_cuts(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    """Through a proxy that cuts each connection every byte is sent about once."""
    (tmp_path / "a").write_bytes(DATA)
    told: list[int] = []
    fields = {"Content-Type": "text/x", "X-Gostore-Meta-Mtime": "1.5"}
    for expected in ({"create_only": True}, {}, {"if_match": tag(DATA)}):
        with Cutter(daemon.port, requests=200_000) as cutter, resumes(cutter.url) as cut_off:
            source = File(tmp_path / "a", told.append)
            assert cut_off.put("a", source, fields, **expected).etag == tag(DATA)
            assert cutter.connections > len(DATA) // 200_000
    blob = client.stat("a")
    assert (blob.content_type, blob.mtime) == ("text/x", 1_500_000_000)
    assert client.get("a").read() == DATA
    # A progress bar goes on where the daemon was.
    assert any(0 < offset < len(DATA) for offset in told[1:] if offset % 262_144)
    with resumes(daemon.url) as again, pytest.raises(AlreadyExists):
        again.put("a", DATA, create_only=True)
    with resumes(daemon.url) as again, pytest.raises(ConditionFailed):
        again.put("a", DATA, if_match=tag(b"x"))
    assert not list(daemon.directory.glob(".upload-*"))


def resumes(url: str, memory: Memory | None = None) -> Client:
    """A client that does not wait, and resumes whatever it can."""
    return Client(
        url, patience=Patience(100, 100), sleep=lambda _: None, resume_from=1, memory=memory
    )


def kept(daemon: Daemon) -> int:
    """How many bytes of unfinished uploads the daemon has on its disk."""
    return sum(each.stat().st_size for each in daemon.directory.glob(".upload-*/data.raw"))


def test_somebody_is_faster(daemon: Daemon, client: Client) -> None:
    """A put that takes what it finds takes what another client has stored meanwhile."""
    began: list[str] = []

    class Meddling(Cutter):
        """Lets another client store something when the upload has begun."""

        def _pass(self, source, target, limit):  # type: ignore[no-untyped-def]
            if not began:
                began.append("")
                client.put("a", b"theirs")
            super()._pass(source, target, limit)

    with Meddling(daemon.port) as proxy, resumes(proxy.url) as slow:
        assert slow.put("a", DATA).etag == tag(DATA)
    assert client.get("a").read() == DATA


def test_unknown_to_an_older_daemon(client: Client) -> None:
    """A server that knows nothing of uploads gets a PUT."""

    def say(heard: Heard) -> bytes:
        if "/uploads/" in heard.line:
            return reply(501, b'{"code": 501, "text": "not here"}')
        if heard.line.startswith("HEAD"):
            return reply(404)
        return reply(204, b"", f"ETag: {tag(heard.body)}", "Content-Length: 0")

    with Liar(say) as liar, resumes(liar.url) as simple:
        simple.put("a", DATA)
        simple.put("b", DATA)
    lines = [heard.line.split()[0] + heard.line.split()[1][:3] for heard in liar.heard]
    assert lines == ["HEAD/st", "POST/up", "PUT/st", "HEAD/st", "PUT/st"]


# -- the commands ---------------------------------------------------------------------------------


PUT = (sys.executable, "-m", "gostore.commands.main", "put")


class Putting:
    """`gostore put` of one file, as a process of its own."""

    def __init__(self, url: str, here: Path, *more: str) -> None:
        root = Path(__file__).parent.parent.parent
        env = {**os.environ, "PYTHONPATH": str(root), "XDG_STATE_HOME": str(here / "state")}
        self.process = subprocess.Popen(
            [*PUT, "file", f"{url}/store/file", "--resume-from", "1", "--retry", "60", *more],
            cwd=here,
            env=env,
            stderr=subprocess.PIPE,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
        )

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Send it a signal, and wait for its end: its status, and what it said."""
        if number is not None:
            self.process.send_signal(number)
        said = self.process.communicate(timeout=PATIENCE)[1]
        return self.process.returncode, said.decode()


class Stopping(Cutter):
    """Passes on no more than so many bytes in all, and then says nothing any more."""

    def __init__(self, port: int, most: int) -> None:
        self.most = most
        self.passed = 0
        super().__init__(port, requests=1)

    def go_on(self, port: int) -> None:
        """Stop no more; this is where the daemon is now."""
        self._to, self.most, self.passed = port, 10**9, 0

    def _pass(self, source, target, limit):  # type: ignore[no-untyped-def]
        if limit is None:
            return super()._pass(source, target, None)
        with contextlib.suppress(OSError):
            while self.passed < self.most and (piece := source.recv(65536)):
                target.sendall(piece)
                self.passed += len(piece)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_client_is_killed(daemon: Daemon, client: Client, tmp_path: Path, number: int) -> None:
    """Whatever ends the command, the same command goes on with what the daemon has."""
    (tmp_path / "file").write_bytes(DATA)
    with Stopping(daemon.port, 600_000) as proxy:
        putting = Putting(proxy.url, tmp_path)
        eventually(lambda: kept(daemon) > 300_000, "most of it is there")
        status, said = putting.end(number)
        assert status == (-9 if number == signal.SIGKILL else 1), said
        assert list(client.ls()) == []
        proxy.go_on(daemon.port)
        there = kept(daemon)
        assert Putting(proxy.url, tmp_path).end() == (0, "stored file\n")
        assert proxy.passed < len(DATA) - there + 10_000
    assert client.get("file").read() == DATA
    assert client.stat("file").mtime == (tmp_path / "file").stat().st_mtime_ns
    assert list((tmp_path / "state/gostore/uploads").iterdir()) == []
    assert not list(daemon.directory.glob(".upload-*"))


def test_daemon_is_killed(make_daemon: Make, tmp_path: Path) -> None:
    """A command outlives its daemon."""
    (tmp_path / "file").write_bytes(DATA)
    daemon = make_daemon().start()
    with Stopping(daemon.port, 600_000) as proxy:
        putting = Putting(proxy.url, tmp_path)
        eventually(lambda: kept(daemon) > 300_000, "most of it is there")
        daemon.kill()
        daemon.start()
        proxy.go_on(daemon.port)
        assert putting.end() == (0, "stored file\n")
    assert daemon.ask("GET", "file").body == DATA


def test_not_resumed(daemon: Daemon, tmp_path: Path) -> None:
    """With --no-resume nothing is left of what was cut off, neither here nor there."""
    (tmp_path / "file").write_bytes(DATA)
    with Stopping(daemon.port, 600_000) as proxy:
        putting = Putting(proxy.url, tmp_path, "--no-resume")
        eventually(lambda: proxy.passed >= 600_000, "it has begun")
        assert putting.end(signal.SIGINT)[0] == 1
    assert not (tmp_path / "state").exists()
    assert not list(daemon.directory.glob(".upload-*"))


def test_no_place_to_remember(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    """Where nothing can be remembered files are stored all the same."""
    (tmp_path / "file").write_bytes(DATA)
    (tmp_path / "state").write_bytes(b"")
    assert Putting(daemon.url, tmp_path).end() == (0, "stored file\n")
    assert client.get("file").read() == DATA


def test_for_a_minute() -> None:
    """A daemon that is busy for a minute in the middle of an upload is asked when it says."""
    busy = [reply(503, b'{"text": "busy"}', "Retry-After: 20")] * 3
    slept: list[float] = []

    def say(heard: Heard) -> bytes:
        tus = ("Tus-Resumable: 1.0.0", "Content-Length: 0")
        if heard.line.startswith("HEAD /store"):
            return reply(404)
        if heard.line.startswith("POST"):
            return reply(201, b"", "Location: 7/a", *tus)
        if busy:
            return busy.pop()
        if heard.line.startswith("HEAD"):
            return reply(200, b"", "Upload-Offset: 500", f"Upload-Length: {len(DATA)}", *tus)
        return reply(204, b"", f"Upload-Offset: {len(DATA)}", f"ETag: {tag(DATA)}", *tus)

    with (
        Liar(say) as liar,
        Client(liar.url, patience=Patience(120), sleep=slept.append, resume_from=1) as one,
    ):
        one.put("a", DATA)
    assert slept == [20, 20]
    assert liar.heard[-1].fields["upload-offset"] == "500"
