"""Tests for the commands that ask a daemon, with hostile names, files and servers."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gostore.client import Client
from gostore.client.cli import files
from gostore.client.cli.program import run
from tests.client.liar import Cutter, Liar
from tests.client.test_blocking import DATA, reply, tag
from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, Daemon, eventually

Run = Callable[..., int]


@pytest.fixture
def gostore(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in an empty directory, with the daemon as GOSTORE_URL."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("GOSTORE_URL", daemon.url)
    return lambda *arguments: run([*arguments, "--retry", "5"])


def tree(directory: Path) -> dict[str, bytes]:
    """All files below a directory, hidden ones too."""
    found = directory.rglob("*")
    return {str(each.relative_to(directory)): each.read_bytes() for each in found if each.is_file()}


def test_one_file(gostore: Run, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """A file comes back as it went: bytes, time and type."""
    Path("page.html").write_bytes(DATA)
    os.utime("page.html", ns=(1, 1_234_567_890_123_456_789))
    assert gostore("put", "page.html", ":a/") == 0
    assert client.stat("a/page.html").content_type == "text/html"
    assert gostore("get", ":a/page.html", "copy") == 0
    assert gostore("get", ":a/page.html", ".") == 0
    assert Path("copy").read_bytes() == Path("page.html").read_bytes() == DATA
    assert os.stat("copy").st_mtime_ns == 1_234_567_890_123_456_789
    assert os.stat("copy").st_mode & 0o777 == 0o666 & ~umask()
    assert gostore("rm", ":a/page.html") == 0
    assert gostore("get", ":a/page.html") == 5
    assert "a/page.html does not exist" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["copy", "page.html"]


def umask() -> int:
    """The umask of this process."""
    found = os.umask(0)
    os.umask(found)
    return found


def test_directory(gostore: Run, client: Client) -> None:
    """A directory comes back as it went, whatever its files are called."""
    names = ["a", "A", "b/c/d", "-rf", " ", "ä", "a\u0308", "x" * 255, "%41", "..x", "#?&"]
    for name in names:
        path = Path("tree", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    assert gostore("put", "tree", ":deep/er", "--jobs", "3") == 0
    assert sorted(blob.location for blob in client.ls()) == sorted(
        (f"deep/er/{name}" for name in names), key=str.encode
    )
    assert gostore("get", ":deep/er/", "back") == 0
    assert tree(Path("back")) == tree(Path("tree"))
    assert gostore("verify", ":deep/") == 0
    assert gostore("rm", "-r", ":deep/") == 0
    assert list(client.ls()) == []


def test_several_sources(gostore: Run, client: Client) -> None:
    """Several sources go below their own names."""
    Path("d").mkdir()
    Path("d/x").write_bytes(b"x")
    Path("f").write_bytes(b"f")
    assert gostore("put", "d", "f", ":") == 0
    assert [blob.location for blob in client.ls()] == ["d/x", "f"]
    assert gostore("put", "d", "f", ":a") == 2


def test_hostile_files(gostore: Run, client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    """What no location can be, and what is no file, is reported; the others are stored."""
    Path("d/sub").mkdir(parents=True)
    Path("d/good").write_bytes(b"x")
    for name in (b"d/new\nline", b"d/not\xffutf8", b"d/\x7f"):
        Path(os.fsdecode(name)).write_bytes(b"x")
    Path("d/link").symlink_to("/etc/passwd")
    Path("d/loop").symlink_to(".")
    os.mkfifo("d/fifo")
    assert gostore("put", "d", ":d") == 1
    assert [blob.location for blob in client.ls()] == ["d/good"]
    said = capfd.readouterr().err
    for words in (
        "new\\nline",
        "not UTF-8",
        "link is a link",
        "loop is a link",
        "fifo is not a file",
    ):
        assert words in said
    assert "new\nline" not in said


def test_missing_sources(gostore: Run) -> None:
    """A file that is not there is not stored, and nothing hangs on a FIFO."""
    assert gostore("put", "nothing", ":a") == 1
    assert gostore("put", "nothing", ":a/") == 1


def test_stdin_and_stdout(gostore: Run, client: Client, daemon: Daemon, tmp_path: Path) -> None:
    """A pipe can be stored, and a blob written to one."""
    command = [sys.executable, "-m", "gostore.commands.main"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    subprocess.run([*command, "put", "-", ":pipe"], input=DATA, check=True, env=env)
    for arguments in (["cat", ":pipe"], ["get", ":pipe", "-"]):
        done = subprocess.run([*command, *arguments], check=True, env=env, stdout=subprocess.PIPE)
        assert done.stdout == DATA
    assert gostore("put", "-", ":a/") == 2


def test_conditions(gostore: Run, client: Client) -> None:
    """Nothing is replaced or deleted but what is meant."""
    Path("f").write_bytes(b"1")
    assert gostore("put", "f", ":f", "--create-only") == 0
    assert gostore("put", "f", ":f", "--create-only") == 6
    etag = client.stat("f").etag
    assert etag is not None
    Path("f").write_bytes(b"2")
    assert gostore("put", "f", ":f", "--if-match", etag) == 0
    assert gostore("put", "f", ":f", "--if-match", etag.strip('"')) == 6
    assert gostore("rm", ":f", "--if-match", etag) == 6
    assert gostore("rm", ":f", "--if-match", tag(b"2")) == 0
    assert gostore("put", "f", ":f", "--if-match", etag, "--create-only") == 2
    assert gostore("rm", ":f/") == 2


def test_targets(gostore: Run, client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    """A target that is no file to write to is left as it is."""
    client.put("a/b", b"new")
    Path("dir/b").mkdir(parents=True)
    assert gostore("get", ":a/b", "dir") == 1
    assert "b is a directory" in capfd.readouterr().err
    os.mkfifo("fifo")
    assert gostore("get", ":a/b", "fifo") == 1
    assert gostore("get", ":a/b", "/dev/null") == 1
    Path("real").write_bytes(b"old")
    Path("real").chmod(0o640)
    Path("link").symlink_to("real")
    assert gostore("get", ":a/b", "link") == 0
    assert Path("link").is_symlink()
    assert Path("real").read_bytes() == b"new"
    assert Path("real").stat().st_mode & 0o777 == 0o640
    Path("file").write_bytes(b"")
    assert gostore("get", ":a/", "file") == 1
    client.put("a/b/c", b"x")
    assert gostore("get", ":a/", "both") == 1
    assert not [name for name in tree(Path()) if "gostore-part" in name]


def test_read_only_target(gostore: Run, client: Client) -> None:
    """A directory that nobody may write to, not even root, gets nothing."""
    client.put("a", b"x")
    assert gostore("get", ":a", "/sys/kernel/a") == 1
    assert gostore("get", ":", "/sys/kernel") == 1


def test_full_target(gostore: Run, client: Client) -> None:
    """A full disk is said to be full, and nothing half of it is left."""
    client.put("a", DATA)
    with pytest.MonkeyPatch.context() as patch:

        def fail(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(files.os, "fsync", fail)
        assert gostore("get", ":a", "a") == 7
    assert os.listdir() == []


def test_names_of_a_liar(gostore: Run, capfd: pytest.CaptureFixture[str]) -> None:
    """A list with names that lead elsewhere writes nothing there."""
    names = ["d/../../evil", "d//etc/evil", "d/\n"]
    listed = json.dumps([{"location": name, "size": 1} for name in names]).encode()
    with Liar(lambda heard: reply(200, listed)) as liar:
        assert gostore("get", f"{liar.url}/store/d/", "below") == 1
    assert not Path("../evil").exists()
    assert tree(Path("..")) == {}
    assert "the segment .." in capfd.readouterr().err


def test_paths_elsewhere() -> None:
    """No name is a path to somewhere else, should any get so far."""
    assert files.path_below("d", "a/b") == "d/a/b"
    for name in ("", "/etc/passwd", "..", "a/../../b", "a//b", "a\nb", "\udcff"):
        with pytest.raises(files.FileFailed):
            files.path_below("d", name)


def test_same_name_here(tmp_path: Path, client: Client) -> None:
    """Where two names are one file, the second blob does not replace the first in silence."""
    client.put("a", b"1")
    client.put("A", b"2")
    writer = files.Writer()
    with client.get("a") as download:
        writer.save(download, str(tmp_path / "a"))
    # As a file system does that takes both for one name.
    os.link(tmp_path / "a", tmp_path / "A")
    with client.get("A") as download, pytest.raises(files.FileFailed, match="same file"):
        writer.save(download, str(tmp_path / "A"))
    assert (tmp_path / "a").read_bytes() == b"1"


def test_left_by_a_kill(gostore: Run, daemon: Daemon, client: Client) -> None:
    """What a kill -9 has left is gone on with; what is wrong with it does not last."""
    client.put("a", DATA)
    digest = hashlib.sha256(DATA).hexdigest()
    name = f".gostore-part-{hashlib.sha256(b'a').hexdigest()[:16]}-{digest[:16]}"
    for left in (DATA[:300_000], DATA, b"wrong" * 1000, DATA + b"more", b""):
        Path(name).write_bytes(left)
        assert gostore("get", ":a") == 0
        assert tree(Path()) == {"a": DATA}
    Path(name).write_bytes(DATA[:-10])
    with Cutter(daemon.port, answers=5000, times=1) as cutter:
        assert gostore("get", f"{cutter.url}/store/a") == 0
    Path(name).symlink_to("a")
    assert gostore("get", ":a") == 1
    assert Path("a").read_bytes() == DATA


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(gostore: Run, client: Client, daemon: Daemon, number: int) -> None:
    """Interrupted at any time, a download leaves nothing, and an upload nothing at the daemon."""
    client.put("a", DATA)
    command = [sys.executable, "-m", "gostore.commands.main"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    # Where the tests run in the background of a shell, SIGINT is ignored, and so inherited.
    heed = partial(signal.signal, number, signal.SIG_DFL)
    stalled = threading.Event()

    class Stalling(Cutter):
        """Stops in the middle, and says nothing any more."""

        passed = 0

        def _pass(self, source, target, limit):  # type: ignore[no-untyped-def]
            if limit is None:
                return super()._pass(source, target, None)
            while self.passed < 600_000 and (piece := source.recv(65536)):
                target.sendall(piece)
                self.passed += len(piece)
            stalled.wait(PATIENCE)

    with Stalling(daemon.port, answers=1) as slow:
        process = subprocess.Popen(
            [*command, "get", f"{slow.url}/store/a"], env=env, preexec_fn=heed
        )
        eventually(lambda: any(each.stat().st_size for each in Path().iterdir()), "it has begun")
        process.send_signal(number)
        assert process.wait(PATIENCE) == 1
        stalled.set()
    assert os.listdir() == []
    stalled.clear()
    Path("f").write_bytes(DATA)
    with Stalling(daemon.port, requests=1) as slow:
        process = subprocess.Popen(
            [*command, "put", "f", f"{slow.url}/store/f"], env=env, preexec_fn=heed
        )
        eventually(lambda: slow.passed > 300_000, "it has begun")
        process.send_signal(number)
        assert process.wait(PATIENCE) == 1
        stalled.set()
    assert [blob.location for blob in client.ls()] == ["a"]


def test_sync(gostore: Run, client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    """Both ways, only what differs goes, and only what is meant is deleted."""
    Path("d/sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c", "d.tmp"):
        Path("d", name).write_bytes(name.encode())
    client.put("p/old", b"old")
    client.put("p/old.tmp", b"old")
    client.put("p/a", b"a")
    before = client.stat("p/a").modified
    exclude = ("--exclude", "*.tmp")
    assert gostore("sync", "d", ":p", "--delete", "--dry-run", *exclude) == 0
    assert [blob.location for blob in client.ls()] == ["p/a", "p/old", "p/old.tmp"]
    said = capfd.readouterr().err
    assert "would store p/b" in said
    assert "would delete p/old\n" in said
    assert gostore("sync", "d", ":p", "--delete", *exclude) == 0
    assert [blob.location for blob in client.ls()] == ["p/a", "p/b", "p/old.tmp", "p/sub/c"]
    assert client.stat("p/a").modified == before
    Path("e").mkdir()
    for name, data in (("a", b"x"), ("b", b"b"), ("gone", b"gone"), ("keep.tmp", b"")):
        Path("e", name).write_bytes(data)
    inode = os.stat("e/b").st_ino
    assert gostore("sync", ":p/", "e", "--delete", *exclude) == 0
    assert tree(Path("e")) == {"a": b"a", "b": b"b", "keep.tmp": b"", "sub/c": b"sub/c"}
    assert os.stat("e/b").st_ino == inode
    assert gostore("sync", ":p/", "f", "--include", "sub/*") == 0
    assert tree(Path("f")) == {"sub/c": b"sub/c"}
    assert gostore("sync", ":p/", ":q/") == 2
    assert gostore("sync", "nothing", ":p/", "--delete") == 1
    there = sorted(os.listdir("e"))
    assert there and gostore("sync", ":mistyped/", "e", "--delete") == 5
    assert sorted(os.listdir("e")) == there
    assert len(list(client.ls("p/"))) == 4


def test_copy_and_move(gostore: Run, client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    """A copy and a move happen at the daemon; nothing is overwritten that should be new."""
    client.put("a/x", DATA, {"Content-Type": "text/x"})
    client.put("b", b"old")
    assert gostore("cp", ":a/x", ":b", "--create-only") == 6
    assert gostore("cp", ":a/x", ":b") == 0
    assert client.stat("b").content_type == "text/x"
    assert gostore("mv", ":a/x", ":c/") == 0
    assert [blob.location for blob in client.ls()] == ["b", "c/x"]
    assert client.get("c/x").read() == DATA
    assert gostore("mv", ":a/x", ":d") == 5
    assert gostore("mv", ":b", ":b") == 1
    assert gostore("cp", ":a/", ":b/") == 2
    assert gostore("cp", ":b", "http://other.example/store/b") == 2


def test_history(
    make_daemon: Make,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What was replaced or deleted is listed, fetched and brought back."""
    daemon = make_daemon("--keep", "1h").start()
    monkeypatch.setenv("GOSTORE_URL", daemon.url)
    monkeypatch.chdir(tmp_path)
    with Client(daemon.url) as client:
        for data in (b"one", DATA, b"three"):
            client.put("d/a", data)
        client.put("d/b", b"b")
        newest, second, first = client.history("d/a")
        assert (newest.ended_by, second.ended_by, first.size) == (None, "replaced", 3)
        assert run(["get", ":d/a", "a", "--version", str(second.version)]) == 0
        assert Path("a").read_bytes() == DATA
        assert run(["get", ":d/a", "a", "--version", "12345"]) == 5
        assert run(["restore", ":d/a", "--version", str(second.version)]) == 0
        assert client.get("d/a").read() == DATA
        assert run(["undelete", ":d/a"]) == 6
        assert run(["rm", "-r", ":d/"]) == 0
        assert [each.location for each in client.deleted("d/")] == ["d/a", "d/b"]
        assert run(["undelete", ":d/a"]) == 0
        assert run(["undelete", ":d/"]) == 0
        assert client.get("d/a").read() == DATA
        assert client.get("d/b").read() == b"b"
        assert run(["undelete", ":nothing"]) == 5
        capfd.readouterr()
        assert run(["history", ":d/b"]) == 0
        assert len(capfd.readouterr().out.splitlines()) == 2
        assert run(["history", ":d/b", "--json"]) == 0
        assert json.loads(capfd.readouterr().out.splitlines()[1])["ended_by"] == "deleted"


def test_list(gostore: Run, client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    """A list is for pipes, and JSON for programs."""
    client.put("a/b", b"1")
    client.put("c", b"22")
    assert gostore("ls") == 0
    assert capfd.readouterr().out == "a/\nc\n"
    assert gostore("ls", "-r", ":") == 0
    assert capfd.readouterr().out == "a/b\nc\n"
    assert gostore("ls", "--json") == 0
    prefix, blob = map(json.loads, capfd.readouterr().out.splitlines())
    assert (prefix, blob["size"], blob["etag"]) == ({"prefix": "a/"}, 2, tag(b"22"))
    assert gostore("stat", ":c", "--json") == 0
    assert json.loads(capfd.readouterr().out)["location"] == "c"
    assert gostore("stat", ":c") == 0
    assert "size: 2\n" in capfd.readouterr().out


def test_prefix_without_blobs(
    gostore: Run, client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    """A prefix that has no blob may be a typo, so it does not count as done."""
    client.put("a/b", b"1")
    for arguments in (["get", ":d/", "x"], ["rm", "-r", ":d/"], ["verify", ":d/"]):
        assert gostore(*arguments) == 5
        assert capfd.readouterr().err == "gostore: d/ has no blob\n"
    assert os.listdir() == []
    assert gostore("verify", ":nothing/", ":a/") == 5
    said = capfd.readouterr().err
    assert "verified a/b" in said and "nothing/ has no blob" in said
    assert gostore("verify", ":nothing/", "--json") == 5
    assert json.loads(capfd.readouterr().out) == {
        "outcome": "not found",
        "location": "nothing/",
        "text": "nothing/ has no blob",
    }
    assert gostore("ls", ":nothing/") == 0
    assert gostore("rm", "-r", ":") == 0
    assert gostore("verify", ":") == 5
    assert "The daemon has no blob" in capfd.readouterr().err


def test_json(gostore: Run, capfd: pytest.CaptureFixture[str]) -> None:
    """JSON says in words what the exit status says, for each blob."""
    Path("f").write_bytes(b"1")
    assert gostore("put", "f", ":f", "--json") == 0
    assert json.loads(capfd.readouterr().out)["outcome"] == "stored"
    assert gostore("put", "f", ":f", "--json", "--create-only") == 6
    assert json.loads(capfd.readouterr().out)["outcome"] == "condition failed"
    assert gostore("get", ":g", "--json") == 5
    found = json.loads(capfd.readouterr().out)
    assert (found["outcome"], found["location"]) == ("not found", "g")


def test_statuses(gostore: Run, capfd: pytest.CaptureFixture[str]) -> None:
    """Each kind of failure has its status; failures of several kinds are 1."""
    with Liar(lambda heard: reply(401, b'{"code": 401, "text": "who?"}')) as liar:
        assert gostore("stat", f"{liar.url}/store/a") == 4
    with Liar(lambda heard: reply(507, b"", "Connection: close")) as liar:
        Path("f").write_bytes(b"1")
        assert gostore("put", "f", f"{liar.url}/store/a") == 7
    with Liar(lambda heard: reply(200, b"x", f"ETag: {tag(b'y')}")) as liar:
        assert gostore("get", f"{liar.url}/store/a") == 8
        assert gostore("verify", f"{liar.url}/store/a") == 8
        assert gostore("cat", f"{liar.url}/store/a") == 8
    assert run(["stat", "http://127.0.0.1:1/store/a", "--retry", "0"]) == 3
    for arguments in (["stat", "nonsense"], ["get"], ["put", "f"], ["ls", "--jobs", "0"], ["nope"]):
        assert gostore(*arguments) == 2
    assert run(["put", "--help"]) == 0
    assert "Traceback" not in capfd.readouterr().err


def test_gives_up(gostore: Run, capfd: pytest.CaptureFixture[str]) -> None:
    """With a thousand files and no daemon it does not try a thousand times."""
    Path("d").mkdir()
    for n in range(1000):
        Path("d", str(n)).touch()
    assert run(["put", "d", "http://127.0.0.1:1/store/d/", "--retry", "0", "--jobs", "2"]) == 3
    assert len(capfd.readouterr().err.splitlines()) < 10
