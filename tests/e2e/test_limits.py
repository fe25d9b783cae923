"""A daemon at the limits of its machine: a full disk, a read-only one, too few files, no memory.

The numbers are the rows of the table of bad inputs that a test holds.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from gostore import statefile
from gostore.blob import Blob
from gostore.volume.directory import DATA
from gostore.volume.disk import Disk
from gostore.volume.journal.format import NAMES as JOURNAL
from gostore.volume.journal.journal import Journal
from tests.e2e.conftest import Make
from tests.e2e.daemon import SOAK, STATE, Daemon, ask, eventually
from tests.e2e.mounts import (
    ext4,
    fill,
    fill_inodes,
    mounted,
    mounted_device,
    run,
    tmpfs,
    tmpfs_or_ext4,
)

MIB = 1024 * 1024


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    with tmpfs_or_ext4(request.param, tmp_path, "size=16m", 16 * MIB) as disk:
        yield disk


def chunks(size: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(size // MIB):
        yield bytes(MIB)


def test_disk_full_of_history(make_daemon: Make, small_disk: Path) -> None:
    """54: on a disk full of history a body that does not say how long it is gets the room."""
    daemon = make_daemon(
        *("--put-creates", "--keep", "forever", "--gc-interval", "60", "--free-space-reserve", "0"),
        directory=small_disk / "data",
    ).start()
    for number in range(20):
        assert daemon.ask("PUT", "dead", bytes([number]) * MIB).status in (200, 204)
    assert daemon.ask("DELETE", "dead").status == 200
    for number in range(3):
        assert daemon.ask("POST", f"new/{number}", chunks(3 * MIB)).status == 204
        assert daemon.ask("GET", f"new/{number}").body == bytes(3 * MIB)
    assert b"space: ok" in ask(daemon.connect(), "GET", "/readyz?verbose").body
    assert daemon.ask("POST", "endless", chunks(20 * MIB)).status == 507
    assert daemon.ask("GET", "new/0").body == bytes(3 * MIB)


def test_disk_full_of_bytes(make_daemon: Make, small_disk: Path) -> None:
    """54: on a full disk uploads get 507, reads go on, deletes work and last, room comes back."""
    daemon = make_daemon(
        "--gc-interval", "60", "--free-space-reserve", "0", directory=small_disk / "data"
    ).start()
    blobs = {f"blob/{n}": b"%d" % n * (1000 + n * 9000) for n in range(8)}
    for location, body in blobs.items():
        assert daemon.ask("POST", location, b"an older version").status == 204
        assert daemon.ask("PUT", location, body).status == 200
    assert daemon.ask("POST", "endless", chunks(20 * MIB)).status == 507
    assert daemon.ask("GET", "endless").status == 404
    living = lambda: [each for each in daemon.records().values() if each.state == "OK"]  # noqa: E731
    eventually(lambda: len(living()) == len(blobs), "the files behind the answers")
    filler = fill(small_disk)
    for method, location, body in (
        ("POST", "new", b"x" * 100),
        ("POST", "new", b""),
        ("POST", "new", bytes(100_000)),
        ("PUT", "blob/0", b"x" * 100),
        ("PUT", "blob/0", bytes(100_000)),
    ):
        assert daemon.ask(method, location, body).status == 507
    assert daemon.ask("GET", "new").status == 404
    assert daemon.ask("POST", "endless", chunks(MIB)).status == 507
    for location, body in blobs.items():
        assert daemon.ask("GET", location).body == body
    # Not one byte for a tombstone, and older versions that could come back.
    for location in ("blob/6", "blob/7"):
        assert daemon.ask("DELETE", location).status == 200
        assert daemon.ask("GET", location).status == 404
        del blobs[location]
    daemon.kill()
    daemon.start("--gc-interval", "0.2")
    assert daemon.ask("GET", "blob/6").status == daemon.ask("GET", "blob/7").status == 404
    for location, body in blobs.items():
        assert daemon.ask("GET", location).body == body
    eventually(
        lambda: daemon.ask("POST", "instead", bytes(40_000)).status == 204,
        "the collector has made room",
    )
    filler.unlink()
    eventually(
        lambda: daemon.ask("POST", "large", bytes(MIB)).status == 204,
        "the daemon has noticed the room",
    )
    assert daemon.ask("PUT", "blob/0", b"x" * 100).status == 200
    eventually(lambda: len(daemon.records()) == len(blobs) + 2, "what was replaced is gone")


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_disk_full_of_inodes(make_daemon: Make, tmp_path: Path, kind: str) -> None:
    """54: without an inode left it is the same, and what is collected gives back its inodes."""
    with tmpfs_or_ext4(kind, tmp_path, "nr_inodes=100", 16 * MIB, "-N", "128") as at:
        daemon = make_daemon(
            "--gc-interval", "0.2", "--free-space-reserve", "0", directory=at / "data"
        ).start()
        stored = []
        for number in range(100):
            status = daemon.ask("POST", f"blob/{number}", b"%d" % number).status
            if status != 204:
                break
            stored.append(number)
        assert status == 507 and len(stored) > 10
        for number in stored:
            assert daemon.ask("GET", f"blob/{number}").body == b"%d" % number
        # A blob whose files were never made gives back no inodes when it is collected.
        eventually(lambda: len(daemon.records()) == len(stored), "the files behind the answers")
        fillers = fill_inodes(at)
        assert daemon.ask("POST", "small", b"x").status == 507
        assert daemon.ask("POST", "large", bytes(100_000)).status == 507
        # Not one inode for a tombstone.
        for number in stored[:3]:
            assert daemon.ask("DELETE", f"blob/{number}").status == 200
        daemon.kill()
        daemon.start()
        for number in stored:
            answer = daemon.ask("GET", f"blob/{number}")
            assert answer.status == (404 if number in stored[:3] else 200)
        eventually(
            lambda: daemon.ask("POST", "instead", b"x").status == 204,
            "the collector has made room",
        )
        for filler in fillers:
            filler.unlink()
        # The first of the deleted ones was room enough for that, and the others may still be there.
        daemon.clean()
        assert daemon.ask("POST", "large", bytes(100_000)).status == 204
        daemon.clean()
        eventually(
            lambda: len(daemon.records()) == len(stored) - 3 + 2, "the files behind the answers"
        )
        daemon.close()


@pytest.fixture(params=["tmpfs", "ext4"])
def roomy_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a redo journal."""
    with tmpfs_or_ext4(request.param, tmp_path, "size=96m", 128 * MIB) as disk:
        yield disk


def test_kill_on_a_full_disk(make_daemon: Make, roomy_disk: Path) -> None:
    """54: killed on a full disk it starts again, with all it has answered; deletes make room."""
    daemon = make_daemon("--free-space-reserve", "0", directory=roomy_disk / "data")
    daemon.start("--gc-interval", "0.2")
    # What the journal still holds of these has been collected meanwhile.
    for number in range(20):
        assert daemon.ask("POST", f"gone/{number}", b"x" * 20_000).status == 204
        assert daemon.ask("POST", f"kept/{number}", b"x").status == 204
        assert daemon.ask("PUT", f"kept/{number}", b"%d" % number * 9000).status == 200
        assert daemon.ask("DELETE", f"gone/{number}").status == 200
    daemon.clean()
    assert (daemon.directory / JOURNAL[0]).exists()
    fill(roomy_disk)
    daemon.kill()
    daemon.start("--gc-interval", "60")
    for number in range(20):
        assert daemon.ask("GET", f"kept/{number}").body == b"%d" % number * 9000
        assert daemon.ask("GET", f"gone/{number}").status == 404
    assert daemon.ask("POST", "new", b"x").status == 507
    for number in range(10):
        assert daemon.ask("DELETE", f"kept/{number}").status == 200
    daemon.kill()
    daemon.start("--gc-interval", "0.2")
    for number in range(20):
        status = 404 if number < 10 else 200
        assert daemon.ask("GET", f"kept/{number}").status == status
    eventually(
        lambda: daemon.ask("POST", "new", b"x" * 1000).status == 204,
        "the collector has made room",
    )
    daemon.close()


@pytest.mark.parametrize("dead", [True, False], ids=["dead", "none dead"])
def test_torn_on_a_full_disk(make_daemon: Make, roomy_disk: Path, dead: bool) -> None:
    """54: what a crash has torn is whole again, in room of the dead, or served from the journal."""
    daemon = make_daemon("--free-space-reserve", "0", directory=roomy_disk / "data")
    daemon.start("--gc-interval", "60")
    bodies = {f"kept/{number}": b"%d" % number * 20_000 for number in range(8)}
    for number, (location, body) in enumerate(bodies.items()):
        assert daemon.ask("POST", location, body).status == 204
        if dead:
            assert daemon.ask("POST", f"gone/{number}", body * 2).status == 204
            wanted = number + 1 + number + 1
            eventually(lambda: len(daemon.records()) == wanted, "the files")  # noqa: B023
            assert daemon.ask("DELETE", f"gone/{number}").status == 200
    alive = lambda: [each for each in daemon.records().values() if each.state == "OK"]  # noqa: E731
    eventually(lambda: len(alive()) == len(bodies), "the files behind the answers")
    daemon.kill()
    root = os.open(daemon.directory, os.O_RDONLY)
    newest = {entry.blob_id: entry for entry in Journal(Disk(), root).read()}
    os.close(root)
    torn = [blob_id for blob_id, entry in newest.items() if entry.data is not None]
    assert len(torn) > 2
    for blob_id in torn:
        if not (daemon.directory / str(blob_id)).exists():
            continue  # it was deleted before it had files
        # As a file that was never flushed is after a power cut.
        os.truncate(daemon.directory / str(blob_id) / "data.raw", 0)
        os.truncate(daemon.directory / str(blob_id) / STATE, 0)
    filler = fill(roomy_disk)
    daemon.start("--gc-interval", "0.2")
    for number, (location, body) in enumerate(bodies.items()):
        assert daemon.ask("GET", location).body == body
        assert daemon.ask("GET", f"gone/{number}").status == 404
    assert daemon.ask("DELETE", "kept/0").status == 200
    assert daemon.ask("GET", "kept/0").status == 404
    if not dead:
        # What was deleted had no files, and leaves no room.
        assert daemon.ask("POST", "new", bytes(10_000)).status == 507
        filler.unlink()
    eventually(
        lambda: daemon.ask("POST", "new", bytes(10_000)).status == 204,
        "the collector has made room, or somebody else",
    )
    eventually(lambda: len(daemon.records()) == len(bodies), "the files behind the answers")
    daemon.close()


def refused(daemon: Daemon) -> str:
    """Start a daemon that has to refuse, before it binds anything; return what it said."""
    daemon.launch()
    assert daemon.ended() != 0
    assert "Listening" not in daemon.said and "Traceback" not in daemon.said
    return daemon.said


def writes(daemon: Daemon) -> set[int]:
    """The statuses of writes of each kind; "kept" is a blob that is there before and after."""
    asked = [
        ("POST", "new", b"x"),
        ("POST", "large", bytes(100_000)),
        ("PUT", "kept", b"x"),
        ("DELETE", "kept", None),
    ]
    answers = [daemon.ask(*one) for one in asked]
    assert all("Retry-After" in one.headers for one in answers if one.status == 503)
    return {one.status for one in answers}


def test_read_only_file_system(make_daemon: Make, tmp_path: Path) -> None:
    """56: when the file system becomes read-only writes get 503, reads go on; none starts on it."""
    with tmpfs(tmp_path / "disk", "size=256m") as disk:
        # The journal is a file open for writing: nobody may remount beside that.
        daemon = make_daemon("--gc-interval", "0.1", directory=disk / "data")
        daemon.start("--sync", "files")
        assert daemon.ask("POST", "kept", b"kept").status == 204
        assert daemon.ask("POST", "gone", b"gone").status == 204
        assert daemon.ask("DELETE", "gone").status == 200
        daemon.clean()
        run("mount", "-o", "remount,ro", disk)
        assert writes(daemon) == {503}
        assert daemon.ask("GET", "kept").body == b"kept"
        run("mount", "-o", "remount,rw", disk)
        assert daemon.ask("POST", "new", b"x").status == 204
        assert daemon.stop() == 0
        run("mount", "-o", "remount,ro", disk)
        assert "Read-only file system" in refused(daemon)
        run("mount", "-o", "remount,rw", disk)
        daemon.start()
        assert daemon.ask("GET", "kept").body == b"kept"
        daemon.close()


def test_file_system_with_an_error(make_daemon: Make, tmp_path: Path) -> None:
    """56: when the kernel makes a file system read-only for an error nothing acknowledged is lost.

    Writes get 503 or, if that is when a sync fails, 500; reads go on.
    """
    image = tmp_path / "image"
    with ext4(tmp_path / "disk", image, 128 * MIB, "-e", "remount-ro") as disk:
        daemon = make_daemon("--free-space-reserve", "0", directory=disk / "data").start()
        assert daemon.ask("POST", "kept", b"kept").status == 204
        assert daemon.ask("POST", "big", bytes(100_000)).status == 204
        device = os.path.basename(mounted_device(disk))
        trigger = Path("/sys/fs/ext4", device, "trigger_fs_error")
        if not trigger.exists():
            pytest.skip(f"NOT TESTED, no {trigger}")
        trigger.write_text("1")
        assert writes(daemon) <= {500, 503}
        assert daemon.ask("GET", "kept").body == b"kept"
        daemon.kill()
        assert "Read-only file system" in refused(daemon)
    done = subprocess.run(["e2fsck", "-fy", image], capture_output=True, check=False)
    assert done.returncode in (0, 1), done
    with mounted(tmp_path / "again", "-o", "loop", image) as disk:
        daemon = make_daemon("--free-space-reserve", "0", directory=disk / "data").start()
        assert daemon.ask("GET", "kept").body == b"kept"
        assert daemon.ask("GET", "big").body == bytes(100_000)
        assert daemon.ask("GET", "new").status == 404
        daemon.close()


def test_immutable_directory(make_daemon: Make, tmp_path: Path) -> None:
    """56: on a directory that becomes immutable no write gets a 2xx; none starts on it."""
    with ext4(tmp_path / "disk", tmp_path / "image", 16 * MIB) as disk:
        daemon = make_daemon("--gc-interval", "0.1", directory=disk / "data")
        daemon.start("--free-space-reserve", "0")
        assert daemon.ask("POST", "kept", b"kept").status == 204
        run("chattr", "+i", daemon.directory)
        for method, location, body in (("POST", "new", b"x"), ("PUT", "kept", b"x")):
            assert daemon.ask(method, location, body).status == 503
        assert daemon.ask("GET", "kept").body == b"kept"
        assert daemon.stop() == 0
        assert "Operation not permitted" in refused(daemon)
        run("chattr", "-i", daemon.directory)
        daemon.start("--free-space-reserve", "0")
        assert daemon.ask("GET", "kept").body == b"kept"
        assert daemon.ask("GET", "new").status == 404
        daemon.close()


def test_second_daemon(make_daemon: Make, tmp_path: Path) -> None:
    """70: a second daemon on a directory is refused, by whatever path it comes; kill -9 unlocks."""
    first = make_daemon().start()
    link = tmp_path / "link"
    link.symlink_to(first.directory)
    words = "is already served by another daemon"
    assert words in refused(make_daemon())
    assert words in refused(make_daemon(directory=link))
    first.kill()
    second = make_daemon(directory=link).start()
    assert second.ask("POST", "a", b"x").status == 204
    assert words in refused(first)


def test_second_daemon_by_a_bind_mount(make_daemon: Make, tmp_path: Path) -> None:
    """70: a bind mount of the directory is the same directory."""
    first = make_daemon().start()
    with mounted(tmp_path / "other", "--bind", first.directory) as other:
        assert "is already served by another daemon" in refused(make_daemon(directory=other))


def limit(daemon: Daemon, name: str, soft: int) -> None:
    """Change a limit of the running daemon."""
    run("prlimit", f"--pid={daemon.pid}", f"--{name}={soft}:")


def test_too_few_files(make_daemon: Make) -> None:
    """51: without a file left to open it is 503, on a connection that is kept; then all is well."""
    daemon = make_daemon("--gc-interval", "0.2").start()
    for number in range(40):
        assert daemon.ask("POST", f"blob/{number}", b"%d" % number * 1000).status == 204
        assert daemon.ask("POST", f"kept/{number}", b"%d" % number * 1000).status == 204
    eventually(lambda: len(daemon.records()) == 80, "the files behind the answers")
    connection = daemon.connect()
    assert ask(connection, "GET", "/healthz").status == 200
    # Fewer than are open already: whatever happens meanwhile, there is none left.
    limit(daemon, "nofile", 8)
    statuses: dict[str, set[int]] = {}
    for number in range(40):
        for method, location, body in (
            ("POST", f"new/{number}", b"x"),
            ("PUT", f"blob/{number}", b"%d" % number * 1000),
            ("GET", f"kept/{number}", None),
        ):
            answer = ask(connection, method, f"/store/{location}", body)
            statuses.setdefault(method, set()).add(answer.status)
            if answer.status == 503:
                assert "Retry-After" in answer.headers
    assert {status for found in statuses.values() for status in found} <= {200, 204, 503}, statuses
    # The journal is open: what goes by it needs no file before its answer.
    assert 503 in statuses["GET"]
    large = ask(connection, "POST", "/store/large", bytes(100_000))
    assert large.status == 503 and "Retry-After" in large.headers
    limit(daemon, "nofile", 1024)
    assert ask(connection, "POST", "/store/new", b"x").status == 204
    assert ask(connection, "POST", "/store/large", bytes(100_000)).status == 204
    for number in range(40):
        got = ask(connection, "GET", f"/store/blob/{number}")
        assert (got.status, got.body) == (200, b"%d" % number * 1000)
    connection.close()
    daemon.clean()


def is_over(client: socket.socket) -> bool:
    """Whether the daemon has hung up on a client that never said anything."""
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_no_file_for_a_connection(make_daemon: Make) -> None:
    """51: who comes when there is no file for it is hung up on, and the log has a line of that."""
    daemon = make_daemon().start()
    served = daemon.connect()
    assert ask(served, "GET", "/healthz").status == 200
    limit(daemon, "nofile", len(daemon.files()) + 5)
    crowd = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(50)]
    for client in crowd:
        client.setblocking(False)
    daemon.wait_for("No room for more connections: Too many open files")
    eventually(lambda: sum(map(is_over, crowd)) >= 40, "all that were not let in are hung up on")
    assert ask(served, "GET", "/healthz").status == 200
    for client in crowd:
        client.close()
    assert daemon.ask("GET", "nothing").status == 404
    served.close()
    assert daemon.stop() == 0
    assert len(daemon.log) < 20
    assert "Traceback" not in daemon.said


@pytest.mark.parametrize("kind", ["data", "as"] if SOAK else ["data"])
def test_too_little_memory(make_daemon: Make, kind: str) -> None:
    """59: short of memory it answers 5xx or nothing, or it dies; what was acknowledged is there.

    With memory again it stores again, and has nothing open of what failed.
    """
    # What had no memory to be closed is closed when it has been idle.
    daemon = make_daemon("--gc-interval", "0.2", "--idle-timeout", "5").start()
    alone = daemon.sockets()
    assert daemon.ask("POST", "kept", b"kept").status == 204
    # What is mapped already is free to be used; that is less than what comes needs.
    limit(daemon, kind, daemon.status("VmSize" if kind == "as" else "VmData") * 1024)
    acknowledged: dict[str, bytes] = {}
    statuses: Counter[int] = Counter()

    def write(writer: int) -> None:
        for number in range(2):
            for size in (1, 30_000, 1_000_000):
                location, body = f"blob/{writer}/{number}/{size}", b"%d" % number * size
                try:
                    status = daemon.ask("POST", location, body).status
                except (OSError, http.client.HTTPException):
                    status = 0
                statuses[status] += 1
                if status == 204:
                    acknowledged[location] = body

    writers = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    print(f"RLIMIT_{kind.upper()}: {dict(statuses)}")
    # 500 where there is no memory even to say that there is none.
    assert statuses.keys() <= {0, 204, 500, 503}, statuses
    if daemon.running:
        run("prlimit", f"--pid={daemon.pid}", f"--{kind}=unlimited:")
        eventually(lambda: daemon.sockets() == alone, "nobody is left")
        assert daemon.ask("POST", "small", b"x").status == 204
        assert daemon.ask("POST", "large", bytes(MIB)).status == 204
        daemon.clean()
        assert not [name for name in daemon.files() if name.endswith("(deleted)")]
    daemon.close()
    daemon.start()
    assert daemon.ask("GET", "kept").body == b"kept"
    for location, body in acknowledged.items():
        assert daemon.ask("GET", location).body == body
    daemon.clean()
    assert not [name for name in daemon.names() if "quarantine" in name]


def make_blobs(directory: Path, ids: Iterable[int]) -> None:
    """Make blobs without a daemon: blob ``n`` at the location ``n``, with its number as bytes."""
    for number in ids:
        data = b"%d" % number
        blob = Blob(number, str(number))
        blob.create(1)
        blob.start_writing(1)
        blob.finish_writing(1, len(data), hashlib.sha256(data).digest(), number + 1)
        # Not by pathlib, which takes longer than the disk.
        place = f"{directory}/{number}"
        os.mkdir(place)
        for name, held in ((DATA, data), (STATE, statefile.dump(blob))):
            with open(f"{place}/{name}", "wb", 0) as file:
                file.write(held)


def test_no_id_left(make_daemon: Make, tmp_path: Path) -> None:
    """57, 58: of 65,536 ids the last few are kept for PUT; a deleted blob's is free once collected.

    Without --id-bits 16 the ids are wider then.
    """
    with tmpfs(tmp_path / "disk", "size=2g,nr_inodes=400k") as disk:
        directory = disk / "data"
        directory.mkdir()
        free = 100
        make_blobs(directory, range(65536 - free))  # quicker than by HTTP
        daemon = make_daemon("--id-bits", "16", "--gc-interval", "0.2", directory=directory)
        daemon.start("--scrub-rate", "0")
        created = 0
        while (status := daemon.ask("POST", f"new/{created}", b"x").status) == 204:
            created += 1
            assert created <= free
        assert status == 507
        for number in range(20):
            assert daemon.ask("PUT", str(number), b"changed").status == 200
        assert daemon.ask("GET", "0").body == b"changed"
        assert daemon.ask("GET", "1000").body == b"1000"
        for number in range(1000, 1000 + 2 * free):
            assert daemon.ask("DELETE", str(number)).status == 200
        eventually(
            lambda: daemon.ask("POST", "again", b"x").status == 204, "the collector frees ids"
        )
        daemon.kill()
        wide = make_daemon("--gc-interval", "0.2", directory=directory).start("--scrub-rate", "0")
        for number in range(3 * free):
            assert wide.ask("POST", f"wide/{number}", b"x").status == 204
        eventually(
            lambda: max(int(name) for name in wide.names() if name.isdecimal()) > 65535,
            "the files of wide ids",
        )
        wide.close()


def test_a_sync_that_fails(make_daemon: Make, tmp_path: Path) -> None:
    """A disk that takes writes and then cannot keep them: no false 2xx, read-only, nothing lost.

    The image promises more than the file system has in which it lies, as a thin volume does.
    """
    acknowledged = {}
    with tmpfs(tmp_path / "thin", "size=96m") as thin:
        image = thin / "image"
        with ext4(tmp_path / "disk", image, 512 * MIB) as disk:
            daemon = make_daemon("--gc-interval", "60", directory=disk / "data").start()
            statuses = []
            for number in range(200):
                body = b"%03d" % number * (MIB // 3)
                status = daemon.ask("POST", f"blob/{number}", body).status
                statuses.append(status)
                if status != 204:
                    break
                acknowledged[f"blob/{number}"] = body
            assert statuses[-1] in (500, 507), statuses
            # Small ones meet the broken disk at their own sync, if they did not know of it.
            later = [daemon.ask("POST", f"small/{n}", b"x").status for n in range(20)]
            assert later[-1] in (500, 503)
            for number, status in enumerate(later):
                if status == 204:
                    acknowledged[f"small/{number}"] = b"x"
            daemon.kill()
        run("mount", "-o", "remount,size=1g", thin)
        subprocess.run(["e2fsck", "-fy", image], capture_output=True, check=False)
        with mounted(tmp_path / "again", "-o", "loop", image) as disk:
            daemon = make_daemon(directory=disk / "data").start()
            assert len(acknowledged) > 20
            for location, body in acknowledged.items():
                assert daemon.ask("GET", location).body == body
            assert daemon.ask("POST", "more", b"x").status == 204
            daemon.close()
