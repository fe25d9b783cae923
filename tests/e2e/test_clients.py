"""What people already have: curl, wget, aria2c, rclone and treq, each against a real daemon."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_twisted
import treq
from twisted.internet.defer import Deferred, DeferredList

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, Daemon, eventually

MIB = 1 << 20


def needs(program: str) -> pytest.MarkDecorator:
    """A test that needs a program; `make test` sees that all of them are there."""
    missing = shutil.which(program) is None
    return pytest.mark.skipif(missing, reason=f"{program} is missing: see .ci/have in the Makefile")


def run(*command: str, cwd: Path, status: int = 0) -> str:
    """Run a program in a directory of its own; return what it printed, if it ended as it should."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    text = done.stdout.decode("utf-8", "backslashreplace")
    assert done.returncode == status, f"{command} ended with {done.returncode}: {text}"
    return text


def cut(*command: str, cwd: Path, file: str) -> int:
    """Run a download until it has something, cut it, and return how many bytes it had."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        eventually(lambda: (cwd / file).exists() and (cwd / file).stat().st_size, f"some of {file}")
    finally:
        process.kill()
        process.wait(PATIENCE)
    # Only now: it has written on until it was dead.
    return (cwd / file).stat().st_size


def store(daemon: Daemon, location: str, data: bytes, **headers: str) -> str:
    """Store a blob; return its entity tag."""
    answer = daemon.ask("POST", location, data, headers)
    assert answer.status == 204
    return answer.headers["ETag"]


def noise(size: int) -> bytes:
    """Bytes in which every misplaced piece shows."""
    return random.Random(size).randbytes(size)


# curl


@needs("curl")
def test_curl_head(daemon: Daemon, tmp_path: Path) -> None:
    """``curl -sI`` shows all about a blob and not a byte of it (RFC 9110 section 9.3.2)."""
    store(daemon, "foo", b"0123456789")
    first, *lines = run("curl", "-sI", daemon.store("foo"), cwd=tmp_path).splitlines()
    assert first == "HTTP/1.1 200 OK"
    headers = dict(line.split(": ", 1) for line in lines if line)
    assert headers["Content-Length"] == "10"
    assert headers["ETag"] == f'"{hashlib.sha256(b"0123456789").hexdigest()}"'
    assert headers["Accept-Ranges"] == "bytes"
    assert "Last-Modified" in headers and "Repr-Digest" in headers


@needs("curl")
def test_curl_ranges(daemon: Daemon, tmp_path: Path) -> None:
    """``curl -r`` gets one part, several parts and the last bytes (RFC 9110 section 14)."""
    store(daemon, "foo", b"abcdefghijklmnopqrstuvwxyz", **{"Content-Type": "text/plain"})

    def part(wanted: str) -> str:
        return run("curl", "-s", "-r", wanted, daemon.store("foo"), cwd=tmp_path)

    assert part("0-9") == "abcdefghij"
    assert part("20-") == "uvwxyz"
    assert part("-5") == "vwxyz"
    assert part("0-99") == "abcdefghijklmnopqrstuvwxyz"
    several = part("-5,0-1")
    boundary = several.split("\r\n")[1]
    assert several == (
        f"\r\n{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 21-25/26\r\n\r\nvwxyz"
        f"\r\n{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/26\r\n\r\nab"
        f"\r\n{boundary}--\r\n"
    )
    run("curl", "-sf", "-r", "26-", daemon.store("foo"), cwd=tmp_path, status=22)


@needs("curl")
def test_curl_dates(daemon: Daemon, tmp_path: Path) -> None:
    """``curl -z`` fetches what has changed since, and nothing else (RFC 9110 section 13.1.3)."""
    store(daemon, "foo", b"hello")
    # -R gives the file the blob's Last-Modified, -z sends the file's date.
    run("curl", "-sR", "-o", "foo", daemon.store("foo"), cwd=tmp_path)
    code = ("-s", "-o", "again", "-w", "%{http_code}")
    url = daemon.store("foo")
    assert run("curl", *code, "-z", "foo", url, cwd=tmp_path) == "304"
    assert run("curl", *code, "-z", "1 Jan 2001", url, cwd=tmp_path) == "200"
    # With a dash: only if it has not changed since (13.1.4).
    assert run("curl", *code, "-z", "-1 Jan 2001", url, cwd=tmp_path) == "412"


@needs("curl")
def test_curl_etags(daemon: Daemon, tmp_path: Path) -> None:
    """``curl --etag-save`` and ``--etag-compare`` fetch a blob once (RFC 9110 section 13.1.2)."""
    store(daemon, "foo", b"hello")
    command = ["curl", "-s", "-o", "foo", "-w", "%{http_code}", "--etag-save", "tag"]
    assert run(*command, daemon.store("foo"), cwd=tmp_path) == "200"
    compare = [*command, "--etag-compare", "tag", daemon.store("foo")]
    assert run(*compare, cwd=tmp_path) == "304"
    assert (tmp_path / "foo").read_bytes() == b"hello"
    assert daemon.ask("PUT", "foo", b"other").status == 200
    assert run(*compare, cwd=tmp_path) == "200"
    assert (tmp_path / "foo").read_bytes() == b"other"


@needs("curl")
def test_curl_resumes(daemon: Daemon, tmp_path: Path) -> None:
    """A download that was cut goes on with ``curl -C -`` where it was (RFC 9110 section 14.2)."""
    data = noise(16 * MIB)
    store(daemon, "foo", data)
    command = ("curl", "-s", "-o", "foo", daemon.store("foo"))
    # curl looks at its limit only when it has read a megabyte or so.
    had = cut(*command, "--limit-rate", "10k", cwd=tmp_path, file="foo")
    assert 0 < had < len(data)
    told = run(*command, "-C", "-", "-w", "%{http_code} %{size_download}", cwd=tmp_path)
    assert told == f"206 {len(data) - had}"
    assert (tmp_path / "foo").read_bytes() == data


@needs("curl")
def test_curl_uploads_files(make_daemon: Make, tmp_path: Path) -> None:
    """``curl -T`` creates and replaces where plain PUT may create, of a known length or not."""
    daemon = make_daemon("--put-creates").start()
    (tmp_path / "file").write_bytes(noise(3 * MIB))
    code = ("-s", "-w", "%{http_code}")
    assert run("curl", *code, "-T", "file", daemon.store("dir/"), cwd=tmp_path) == "204"
    chunked = ("-H", "Transfer-Encoding: chunked")
    assert run("curl", *code, *chunked, "-T", "file", daemon.store("dir/"), cwd=tmp_path) == "200"
    assert daemon.ask("GET", "dir/file").body == noise(3 * MIB)


@needs("curl")
def test_curl_is_refused_before_it_sends(daemon: Daemon, tmp_path: Path) -> None:
    """A refusal answers Expect: 100-continue, and not a byte is sent (RFC 9110 10.1.1)."""
    store(daemon, "foo", b"hello")
    (tmp_path / "file").write_bytes(bytes(8 * MIB))
    command = ["curl", "-s", "-o", "-", "-w", "%{http_code} %{size_upload}"]
    command += ["-H", "Expect: 100-continue", "-T", "file", daemon.store("foo")]
    told = run(*command, "-H", "If-None-Match: *", cwd=tmp_path)
    assert told.splitlines()[-1] == "412 0"
    assert run(*command, cwd=tmp_path) == f"200 {8 * MIB}"


@needs("curl")
def test_curl_hears_a_refusal_while_it_sends(daemon: Daemon, tmp_path: Path) -> None:
    """Who sends without asking is refused, too, and gets to read why (RFC 9112 section 9.6)."""
    store(daemon, "foo", b"hello")
    (tmp_path / "file").write_bytes(bytes(8 * MIB))
    command = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", "-T", "file")
    for fields in (("-H", "Expect:"), ("-H", "Expect:", "-H", "Transfer-Encoding: chunked")):
        for _ in range(10):
            assert run(*command, *fields, daemon.store("foo"), cwd=tmp_path) == "409"


@needs("curl")
def test_curl_compressed(daemon: Daemon, tmp_path: Path) -> None:
    """``curl --compressed`` gets the bytes as they are; nothing is compressed (8.4)."""
    data = bytes(100_000)
    store(daemon, "foo", data)
    told = run(
        "curl", "-s", "--compressed", "-D", "-", "-o", "foo", daemon.store("foo"), cwd=tmp_path
    )
    assert "content-encoding" not in told.lower()
    assert (tmp_path / "foo").read_bytes() == data


@needs("curl")
def test_curl_keeps_a_connection(daemon: Daemon, tmp_path: Path) -> None:
    """Several requests of one curl go over one connection (RFC 9112 section 9.3)."""
    store(daemon, "foo", b"hello")
    urls = [daemon.store("foo"), daemon.store("nothing"), daemon.url + "/healthz"]
    outputs = ["-o", "/dev/null"] * 3
    told = run("curl", "-s", "-w", "%{http_code} %{num_connects}\n", *outputs, *urls, cwd=tmp_path)
    assert told.splitlines() == ["200 1", "404 0", "200 0"]


# wget, aria2c


@needs("wget")
def test_wget_resumes(daemon: Daemon, tmp_path: Path) -> None:
    """A download that was cut goes on with ``wget -c``; one that is whole is left alone."""
    data = noise(8 * MIB)
    store(daemon, "foo", data)
    command = ("wget", "--no-verbose", daemon.store("foo"))
    had = cut(*command, "--limit-rate=500k", cwd=tmp_path, file="foo")
    assert 0 < had < len(data)
    told = run(*command, "-c", "-S", cwd=tmp_path)
    assert "206 Partial Content" in told
    assert (tmp_path / "foo").read_bytes() == data
    assert "416 " in run(*command, "-c", "-S", cwd=tmp_path)
    assert (tmp_path / "foo").read_bytes() == data


@needs("aria2c")
def test_aria2c_in_parts(make_daemon: Make, tmp_path: Path) -> None:
    """``aria2c -x8`` fetches a blob in parts over 8 connections, and its digest is right."""
    daemon = make_daemon("--debug").start()
    data = noise(16 * MIB)
    store(daemon, "foo", data)
    digest = hashlib.sha256(data).hexdigest()
    command = ["aria2c", "-x8", "-s8", "-k1M", "--file-allocation=none", "--no-conf"]
    command += [f"--checksum=sha-256={digest}", daemon.store("foo")]
    run(*command, cwd=tmp_path)
    assert (tmp_path / "foo").read_bytes() == data
    eventually(lambda: daemon.said.count("/store/foo' 206 ") >= 7, "the parts in the log")


@needs("aria2c")
def test_aria2c_resumes(daemon: Daemon, tmp_path: Path) -> None:
    """What aria2c was fetching when it was cut, it fetches the rest of."""
    data = noise(16 * MIB)
    store(daemon, "foo", data)
    command = ["aria2c", "-x8", "-s8", "-k1M", "--file-allocation=none", "--no-conf"]
    command += ["--auto-save-interval=1", daemon.store("foo")]
    # Its control file tells that it has begun; without one it would not know what is missing.
    cut(*command, "--max-overall-download-limit=1M", cwd=tmp_path, file="foo.aria2")
    run(*command, "-c", cwd=tmp_path)
    assert (tmp_path / "foo").read_bytes() == data
    assert not (tmp_path / "foo.aria2").exists()


# rclone

TREE = [
    "plain.txt",
    "with space.txt",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}.txt",
    "\N{PILE OF POO}",
    "100%",
    "a%20b",
    "a+b;c&d=e",
    "question?hash#",
    "quo\"te'",
    "<tag>",
    " leading and trailing ",
    "directory/file",
    "directory/sub directory/deep",
    "directory/100% sub/a%2Fb",
    "\N{CJK UNIFIED IDEOGRAPH-65E5}\N{CJK UNIFIED IDEOGRAPH-672C}/colon: semicolon;",
    "co:lon",
    "empty/file",
]


@needs("rclone")
def test_rclone(daemon: Daemon, tmp_path: Path) -> None:
    """rclone lists a tree of blobs from the HTML page, and copies and checks it."""
    tree = tmp_path / "tree"
    for name in TREE:
        data = b"" if name.startswith("empty") else noise(len(name) * 1000)
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
        store(daemon, quote(name), data)
    remote = (":http:", "--http-url", f"{daemon.url}/store/", "--config", "/dev/null")
    listed = run("rclone", "lsf", "-R", "--files-only", *remote, cwd=tmp_path)
    assert sorted(listed.splitlines()) == sorted(TREE)
    inside = (":http:directory", *remote[1:])
    assert run("rclone", "lsf", *inside, cwd=tmp_path).splitlines() == [
        "100% sub/",
        "file",
        "sub directory/",
    ]
    run("rclone", "copy", *remote, "copy", cwd=tmp_path)
    copied = [path for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    assert len(copied) == len(TREE)
    check = ("rclone", "check", "--download", "tree", *remote)
    assert "0 differences found" in run(*check, cwd=tmp_path)
    assert "0 differences found" in run(*check[:3], "copy", *remote, cwd=tmp_path)
    # And it does see a difference.
    (tree / "plain.txt").write_bytes(noise(len("plain.txt") * 1000)[::-1])
    assert "1 differences found" in run(*check, cwd=tmp_path, status=1)


@needs("wget")
def test_wget_recursive(daemon: Daemon, tmp_path: Path) -> None:
    """wget walks the HTML pages as a tree and fetches every blob, in directories of any name."""
    for name in TREE:
        store(daemon, quote(name), name.encode())
    run(
        *("wget", "--recursive", "--level=inf", "--no-parent", "--no-host-directories"),
        "--restrict-file-names=nocontrol",
        f"{daemon.url}/store/",
        cwd=tmp_path,
    )
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    blobs = [path for path in files if path.name != "index.html"]
    assert sorted(path.read_bytes() for path in blobs) == sorted(map(str.encode, TREE))
    assert (tmp_path / "store" / "directory" / "sub directory" / "deep") in blobs


# treq


@pytest_twisted.ensureDeferred
async def test_treq(daemon: Daemon) -> None:
    """treq creates, reads, revalidates, replaces and deletes a blob."""
    foo = daemon.store("foo")

    async def ask(method: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes, Any]:
        fields: Mapping[str, str] = {name.replace("_", "-"): text for name, text in headers.items()}
        answer = await treq.request(method, foo, data=data, headers=fields, timeout=PATIENCE)
        return answer.code, await answer.content(), answer.headers

    code, _, headers = await ask("POST", b"hello", Content_Type="text/plain")
    (etag,) = headers.getRawHeaders("etag")
    assert code == 204
    code, body, headers = await ask("GET")
    assert (code, body, headers.getRawHeaders("content-type")) == (200, b"hello", ["text/plain"])
    assert (await ask("GET", If_None_Match=etag))[:2] == (304, b"")
    assert (await ask("GET", Range="bytes=1-2"))[:2] == (206, b"el")
    assert (await ask("HEAD"))[:2] == (200, b"")
    assert (await ask("PUT", b"other", If_Match='"0"'))[0] == 412
    assert (await ask("PUT", b"other", If_Match=etag))[0] == 200
    assert (await ask("DELETE", If_Match=etag))[0] == 412
    assert (await ask("DELETE"))[0] == 200
    assert (await ask("GET"))[0] == 404


@pytest_twisted.ensureDeferred
async def test_treq_many_at_once(daemon: Daemon) -> None:
    """treq stores and reads 100 blobs of several sizes at once."""
    blobs = {f"many/{number}": noise(number * 997) for number in range(100)}

    async def store_and_read(location: str, data: bytes) -> bytes:
        created = await treq.post(daemon.store(location), data=data, timeout=PATIENCE)
        assert created.code == 204
        answer = await treq.get(daemon.store(location), timeout=PATIENCE)
        got: bytes = await answer.content()
        return got

    tasks = [Deferred.fromCoroutine(store_and_read(*item)) for item in blobs.items()]
    got = await DeferredList(tasks, fireOnOneErrback=True)
    assert [data for _, data in got] == list(blobs.values())
