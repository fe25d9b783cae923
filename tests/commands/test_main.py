"""Tests for gostore.commands.main: arguments, output, exit status."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gostore.commands import main as cli
from gostore.commands.terminal import step
from gostore.volume.directory import DATA
from tests.e2e.daemon import FIXTURES, PATIENCE, environment

GO = FIXTURES / "go-data"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that the Go server wrote, for us to spoil."""
    return Path(shutil.copytree(GO, tmp_path / "data"))


def test_fsck(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound directory is status 0, a damaged one 1, one that cannot be judged 2."""
    assert cli.main(["fsck", "--dir", str(directory)]) == 0
    assert "without a digest to verify" in capsys.readouterr().out
    live = next(path for path in directory.glob(f"*/{DATA}") if path.read_bytes() != b"")
    for path in directory.glob(f"*/{DATA}"):
        path.unlink()
    assert live.parent.is_dir()
    assert cli.main(["fsck", "--dir", str(directory), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["clean"]
    assert {each["kind"] for each in report["findings"]} >= {"damaged"}
    assert cli.main(["fsck", "--dir", str(directory), "--repair"]) == 1
    assert "repaired" in capsys.readouterr().out
    assert cli.main(["fsck", "--dir", str(directory / "missing")]) == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_show(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A blob's record is printed; one that is not there is status 2."""
    assert cli.main(["show", "--dir", str(directory), "13342"]) == 0
    assert capsys.readouterr().out.startswith("Blob 13342\n")
    assert cli.main(["show", "--dir", str(directory), "nothing"]) == 2
    assert capsys.readouterr().err == "gostore: nothing does not exist\n"
    assert cli.main(["show", "--dir", str(directory), "--location", "13342"]) == 2
    assert capsys.readouterr().err == "gostore: 13342 does not exist\n"
    assert cli.main(["show", "--dir", str(directory.parent), "foo"]) == 2
    assert capsys.readouterr().err == f"gostore: There are no blobs in {directory.parent}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fsck"],
        ["what"],
        ["selftest", "--crash", ".", "--seconds", "0"],
        ["selftest", "--crash", ".", "--kills", "-1"],
    ],
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that makes no sense is status 2, with the reason."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: gostore" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fsck", "--dir", "x", "--wrong"], "fsck: error: unrecognized arguments: --wrong"),
        (["show", "--dir", "x", "a", "b"], "show: error: unrecognized arguments: b"),
        (["show", "--dir", "x", ""], "show: error: argument ID|LOCATION: must not be empty"),
    ],
)
def test_usage_of_a_command(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake after a command shows the usage of that command, and what is wrong."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"usage: gostore {arguments[0]} ")
    assert said in printed


def test_home(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """~ is the home directory, also where no shell expands it."""
    monkeypatch.setenv("HOME", str(directory.parent))
    assert cli.main(["fsck", "--dir=~/data"]) == 0
    assert cli.main(["fsck", "--dir=~no-one/data"]) == 2
    assert "nobody knows the home ~no-one" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["show", "13342"], ["fsck", "--json"], ["--help"]])
@pytest.mark.parametrize("there", [True, False])
def test_nobody_reads(directory: Path, arguments: list[str], there: bool) -> None:
    """What cannot be printed: silence, and the status of SIGPIPE, if the reader has gone; else why.

    /dev/full is a disk on which there is no room for it.
    """
    command, *rest = arguments
    options = [] if command == "--help" else ["--dir", str(directory)]
    read, write = os.pipe()
    os.close(read)
    with open("/dev/full", "wb") as full, open(write, "wb") as unread:
        ended = subprocess.run(
            [sys.executable, "-m", "gostore.commands.main", command, *options, *rest],
            env=environment(PYTHONUNBUFFERED=""),
            stdout=full if there else unread,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    said = (2, "gostore: No space left on device\n") if there else (141, "")
    assert (ended.returncode, ended.stderr) == said


def test_selftest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial says on a terminal, and nowhere else, how long it takes, and prints the verdict."""
    command = ["selftest", "--seconds", "2", "--kills", "0", "--crash"]
    assert cli.main([*command, str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "\nGood: 0 wrong, " in printed.out and printed.err == ""
    assert list(tmp_path.iterdir()) == []
    # Rich takes anything for a terminal then, and one that can do something.
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    # It ends as soon as it has said that: nobody can make a directory in this one.
    assert cli.main([*command, "/proc"]) == 2
    assert "about 12 seconds in all" in capsys.readouterr().err


def test_selftest_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trial in a directory that is not there is status 2."""
    missing = tmp_path / "missing"
    assert cli.main(["selftest", "--crash", str(missing)]) == 2
    said = capsys.readouterr().err
    assert said == f"gostore: {missing} cannot be used: No such file or directory\n"


def test_without_rich(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without rich a command does its work, and shows no progress, not even on a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    for name in [each for each in sys.modules if each.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    # An import of this one fails as if it were not there.
    monkeypatch.setitem(sys.modules, "rich", None)
    assert cli.main(["fsck", "--dir", str(directory)]) == 0
    printed = capsys.readouterr()
    assert printed.out and printed.err == ""
    with step("a step") as show:
        show("its text")
    assert cli.main(["selftest", "--crash", "/proc"]) == 2
    # The reason, and nothing before it.
    printed = capsys.readouterr()
    assert (printed.out, printed.err.partition(" ")[0]) == ("", "gostore:")


def test_lazy() -> None:
    """The command line imports only the command that it is told to run, and never rich."""
    code = (
        "import sys; from gostore.commands.main import COMMANDS, make_parser\n"
        "make_parser(['--help']).format_help(); make_parser(['show'])\n"
        "print(*(each for each in [*(f'gostore.commands.{name}' for name in COMMANDS), 'rich']"
        " if each in sys.modules))"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert ended.stdout == "gostore.commands.show\n"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command has a help of its own, and stands in that of gostore."""
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert re.search(rf"^    {command}\s", capsys.readouterr().out, re.MULTILINE)
    with pytest.raises(SystemExit):
        # With a directory, since without one some of them ask a daemon.
        cli.main(
            [command, "--dir", ".", "--help"] if command in cli.ASKING else [command, "--help"]
        )
    assert capsys.readouterr().out.startswith(f"usage: gostore {command} [-h] ")


@pytest.mark.parametrize("library", ["click", "requests", "rich"])
def test_without_the_client(
    library: str,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without the client's libraries its commands say what to install, and the others work."""
    for name in list(sys.modules):
        if name.startswith(("gostore.client", f"{library}.")) or name == library:
            monkeypatch.delitem(sys.modules, name)
    # As if it were not there.
    monkeypatch.setitem(sys.modules, library, None)
    assert cli.main(["ls", "http://localhost:7777"]) == 2
    said = capsys.readouterr().err
    assert f"gostore ls needs {library}: pip install '.[client]' in a clone of gostore" in said
    assert cli.main(["fsck", "--dir", str(directory)]) == 0
    assert cli.main(["show", "--dir", str(directory), "13342"]) == 0


def test_history_of_a_directory() -> None:
    """Some commands are both for a daemon and for a directory; --dir tells which is meant."""
    assert cli._asks_a_daemon(["history", ":a"])
    assert cli._asks_a_daemon(["get", ":a", "--directory"])
    assert not cli._asks_a_daemon(["fsck", ":a"])


@pytest.mark.parametrize(("arguments", "status"), [(["ls"], 1), (["fsck", "--dir", "x"], 2)])
def test_interrupted_at_the_start(
    arguments: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A command that is interrupted while it imports ends as it does later."""

    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    assert cli.main(arguments) == status
    assert capsys.readouterr().err == "gostore: interrupted\n"


def test_imports_little() -> None:
    """The program is soon where it catches Ctrl-C, and has little to import until then."""
    code = "import sys, gostore.commands.main; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, check=True, env=environment()).stdout
    for name in (b"twisted", b"click", b"requests", b"gostore.daemon"):
        assert name not in found.split()
