"""Tests for filesystem.py: fsspec's own abstract suite, and what programs do with files."""

from __future__ import annotations

import doctest
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.tests import abstract

from gostore.client import Client, Patience, filesystem
from gostore.client.filesystem import GostoreFileSystem
from tests.client.test_blocking import DATA
from tests.e2e.conftest import Make
from tests.e2e.daemon import SOAK, Daemon


@pytest.fixture
def fs(daemon: Daemon) -> Iterator[GostoreFileSystem]:
    """The daemon as a file system."""
    fsspec.register_implementation("gostore", GostoreFileSystem, clobber=True)
    yield GostoreFileSystem(url=daemon.url, skip_instance_cache=True)


class _Fixtures(abstract.AbstractFixtures):
    """What fsspec's suite needs to know of a file system."""

    @pytest.fixture
    def fs(self, lasting: Daemon) -> GostoreFileSystem:
        if not lasting.running:
            lasting.start()
        return GostoreFileSystem(url=lasting.url, skip_instance_cache=True)

    @pytest.fixture
    def fs_path(self) -> str:
        # To empty the daemon after each of 150 tests would take longer than the tests.
        return f"tests/{uuid.uuid4()}"

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


def _without_globs(suite: type) -> type:
    """Leave 32 cases of each glob to the soak: each is a daemon's round trips of a second."""
    if not SOAK:
        for name in [each for each in dir(suite) if each.endswith("_glob_edge_cases")]:
            setattr(suite, name, None)
    return suite


@_without_globs
class TestCopy(abstract.AbstractCopyTests, _Fixtures):
    pass


@_without_globs
class TestGet(abstract.AbstractGetTests, _Fixtures):
    pass


@_without_globs
class TestPut(abstract.AbstractPutTests, _Fixtures):
    pass


class TestPipe(abstract.AbstractPipeTests, _Fixtures):
    pass


class TestOpen(abstract.AbstractOpenTests, _Fixtures):
    pass


def test_examples(daemon: Daemon, fs: GostoreFileSystem) -> None:
    """The example in the docstring does what it shows."""
    names = {"url": daemon.url, "host": daemon.url.removeprefix("http://")}
    for each in doctest.DocTestFinder().find(filesystem, globs=names):
        each.globs = dict(names)
        assert doctest.DocTestRunner().run(each).failed == 0


def test_modes(fs: GostoreFileSystem) -> None:
    """A file is replaced, added to, or created, as its mode says."""
    with fs.open("d/a", "wb", block_size=1000) as file:
        for start in range(0, len(DATA), 999):
            file.write(DATA[start : start + 999])
    with fs.open("d/a", "rb", block_size=5000) as file:
        file.seek(1234)
        assert file.read(4321) == DATA[1234:5555]
        file.seek(-10, 2)
        assert file.read() == DATA[-10:]
    with fs.open("d/a", "ab") as file:
        file.write(b"more")
    assert fs.cat("d/a") == DATA + b"more"
    with fs.open("d/b", "ab") as file:
        file.write(b"new")
    with pytest.raises(FileExistsError), fs.open("d/b", "xb") as file:
        file.write(b"newer")
    assert fs.cat("d/b") == b"new"
    with fs.open("d/empty", "wb"):
        pass
    assert fs.info("d/empty")["size"] == 0
    with fs.open("d/text", "w") as file:
        file.write("ä\n")
    assert fs.cat("d/text") == "ä\n".encode()


def test_transaction(fs: GostoreFileSystem) -> None:
    """What is written in a transaction appears at its end, or not at all."""
    with fs.transaction:
        with fs.open("t", "wb") as file:
            file.write(b"x")
        assert not fs.exists("t")
    assert fs.cat("t") == b"x"
    with pytest.raises(ZeroDivisionError), fs.transaction:
        with fs.open("u", "wb") as file:
            file.write(b"x")
        raise ZeroDivisionError
    assert not fs.exists("u")
    with fs.transaction, fs.open("t", "wb", compression="gzip") as file:
        file.write(b"packed")
    with (
        pytest.raises(ZeroDivisionError),
        fs.transaction,
        fs.open("t", "wb", compression="gzip") as file,
    ):
        file.write(b"half")
        raise ZeroDivisionError
    del file
    with fs.open("t", compression="gzip") as file:
        assert file.read() == b"packed"


@pytest.mark.parametrize("mode", ["wb", "w", "ab", "a"])
def test_abandoned(fs: GostoreFileSystem, mode: str) -> None:
    """A program that fails while it writes leaves the old blob as it was."""
    piece: str | bytes = b"half" if "b" in mode else "half"
    fs.pipe("a", b"precious")
    with pytest.raises(ZeroDivisionError), fs.open("a", mode, block_size=10) as file:
        for _ in range(10):
            file.write(piece)
        raise ZeroDivisionError
    assert file.closed
    assert fs.cat("a") == b"precious"
    with pytest.raises(ZeroDivisionError), fs.open("new", mode.replace("a", "x")) as file:
        file.write(piece)
        raise ZeroDivisionError
    assert not fs.exists("new")
    with fs.transaction, pytest.raises(ZeroDivisionError), fs.open("a", mode) as file:
        file.write(piece)
        raise ZeroDivisionError
    assert fs.cat("a") == b"precious"


def test_text(fs: GostoreFileSystem) -> None:
    """Text is written and read with the encoding and the line ends that a program names."""
    with fs.open("a", "w", encoding="latin-1", newline="\r\n") as file:
        file.write("ä\n")
    assert fs.cat("a") == b"\xe4\r\n"
    with fs.open("a", "r", 1000, encoding="latin-1", newline="") as file:
        assert file.read() == "ä\r\n"
    with fs.open("a.gz", "wt", compression="gzip", encoding="utf-8") as file:
        file.write("x")
    with fs.open("a.gz", "rt", compression="infer", encoding="utf-8") as file:
        assert file.read() == "x"


def test_nothing_to_delete(fs: GostoreFileSystem) -> None:
    """To delete what is not there is an error, and so is a daemon that is away."""
    fs.pipe("d/a", b"x")
    for names in ("nothing", ["nothing"], "nothing/*"):
        for recursive in (False, True):
            with pytest.raises(FileNotFoundError):
                fs.rm(names, recursive=recursive)
    fs.rm("d")
    assert fs.find("") == ["d/a"]
    fs.rm(["d/a"])
    assert fs.find("") == []
    away = GostoreFileSystem(url="http://127.0.0.1:1", skip_instance_cache=True)
    away.client = Client("http://127.0.0.1:1", patience=Patience(0, 0))
    with pytest.raises(OSError, match="a: "):
        away.rm("a")


def test_other_version(fs: GostoreFileSystem) -> None:
    """Nobody reads half of one version and half of another."""
    fs.pipe("a", DATA)
    with fs.open("a", "rb", block_size=1000, cache_type="none") as file:
        assert file.read(10) == DATA[:10]
        fs.pipe("a", DATA[::-1])
        with pytest.raises(OSError, match="changed"):
            file.read(10)


def test_looking(fs: GostoreFileSystem) -> None:
    """Directories are the prefixes that there are."""
    for name in ("a/b/c", "a/d", "e"):
        fs.pipe(name, b"x")
    assert fs.ls("", detail=False) == ["a", "e"]
    assert fs.ls("a", detail=False) == ["a/b", "a/d"]
    assert fs.ls("e", detail=False) == ["e"]
    assert fs.find("") == ["a/b/c", "a/d", "e"]
    assert fs.find("e") == ["e"]
    assert fs.find("a", withdirs=True) == ["a", "a/b", "a/b/c", "a/d"]
    assert fs.glob("a/*") == ["a/b", "a/d"]
    assert fs.isdir("a") and fs.isdir("") and not fs.isdir("e") and not fs.exists("x")
    for verb in (fs.ls, fs.info, fs.cat_file, fs.rm_file):
        with pytest.raises(FileNotFoundError):
            verb("x")
    with pytest.raises(FileNotFoundError):
        fs.open("x")
    assert fs.modified("e") == fs.created("e") == fs.info("e")["mtime"]
    assert fs.checksum("e") == int(fs.ukey("e").strip('"'), 16)
    fs.touch("e", truncate=False)
    assert fs.size("e") == 1
    fs.touch("e")
    assert fs.size("e") == 0
    fs.mv("a/d", "moved")
    fs.rm("a", recursive=True)
    assert fs.find("") == ["e", "moved"]


def test_urls(daemon: Daemon, fs: GostoreFileSystem) -> None:
    """A URL names the daemon and the file, and a file system can be sent to another process."""
    url = f"gostore://{daemon.url.removeprefix('http://')}/a/b"
    with fsspec.open(url, "wb") as file:
        file.write(b"x")
    found, path = fsspec.core.url_to_fs(url)
    assert (path, found.unstrip_protocol(path)) == ("a/b", url)
    assert pickle.loads(pickle.dumps(found)).cat("a/b") == b"x"
    assert fs.fsid == daemon.url


def test_refused(make_daemon: Make, tmp_path: Path) -> None:
    """Without credentials a program gets a PermissionError."""
    access = tmp_path / "access"
    access.write_text("[anonymous]\ngrant = read public/\n")
    access.chmod(0o600)
    daemon = make_daemon("--access", str(access)).start()
    fs = GostoreFileSystem(url=daemon.url, skip_instance_cache=True)
    with pytest.raises(PermissionError):
        fs.cat_file("a")


def test_tables(fs: GostoreFileSystem, daemon: Daemon) -> None:
    """pandas reads a Parquet file by its URL."""
    pandas = pytest.importorskip("pandas", reason="NOT TESTED: pandas is in make soak")
    pytest.importorskip("pyarrow", reason="NOT TESTED: pyarrow is in make soak")
    table = pandas.DataFrame({"a": range(1000), "b": ["x"] * 1000})
    url = f"gostore://{daemon.url.removeprefix('http://')}/tables/one.parquet"
    table.to_parquet(url)
    assert pandas.read_parquet(url).equals(table)
