"""What .ci/run and the Makefile do: flaky tests, linters, and a clone at any path."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RERUN = ROOT / ".ci" / "rerun.py"

#: Without the plugins that take seconds to import, save the one that is needed.
PYTEST = ("--rootdir=.", "-p", "xdist.plugin")

#: The first fails when it runs for the first time, the second always, the third never.
TOYS = {
    "flaky": """
        from pathlib import Path
        def test_flaky():
            been = Path("been")
            if not been.exists():
                been.touch()
                raise AssertionError("the first time")
    """,
    "wrong": "def test_wrong(): assert False",
    "right": "def test_right(): pass",
    "broken": "import nothing_of_that_name",
}


def rerun(at: Path, *names: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Play some toys under the script; return its exit status and what was printed."""
    for name in names:
        body = TOYS[name].replace("\n        ", "\n")
        (at / f"test_{name}.py").write_text(body, encoding="utf-8")
    done = subprocess.run(
        [*(sys.executable, str(RERUN), sys.executable, "-m", "pytest"), *PYTEST, *options],
        cwd=at,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("options", [(), ("--numprocesses=2",)], ids=["one process", "two"])
def test_flaky(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A test that fails and then passes alone is told of in capitals, and blocks nothing."""
    status, printed = rerun(tmp_path, "flaky", "right", options=options)
    assert status == 0, printed
    told = "FLAKY: test_flaky.py::test_flaky failed, and passed alone\n"
    assert printed.endswith(told)
    assert (tmp_path / ".flaky").read_text(encoding="utf-8") == told
    # pytest's own closing lines; the second time only what failed runs.
    assert "1 failed, 1 passed in " in printed and "= 1 passed" in printed


def test_real_failure(tmp_path: Path) -> None:
    """A test that fails twice blocks, also beside one that is flaky."""
    status, printed = rerun(tmp_path, "flaky", "wrong", "right")
    assert status == 1
    assert printed.count("FLAKY") == 1 and "FLAKY: test_flaky.py::test_flaky" in printed
    assert "1 failed, 1 passed" in printed.splitlines()[-2]


def test_not_collected(tmp_path: Path) -> None:
    """A file of tests that cannot be imported blocks, and is not called flaky."""
    status, printed = rerun(tmp_path, "broken", "right")
    assert status != 0
    assert "FLAKY" not in printed and not (tmp_path / ".flaky").exists()


def test_nothing_failed(tmp_path: Path) -> None:
    """Where nothing fails nothing is run twice; a flaky test of an earlier run is forgotten."""
    (tmp_path / ".flaky").write_text("FLAKY: another one\n", encoding="utf-8")
    status, printed = rerun(tmp_path, "right")
    assert (status, printed.count("1 passed")) == (0, 1)
    assert not (tmp_path / ".flaky").exists()


def test_one_list_of_linters() -> None:
    """What ``make check`` and ``make lint`` run, pre-commit runs; the workflow runs .ci/run."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    rules = makefile.partition("\nlint: ")[2].partition("\n\n")[0].splitlines()[1:]
    linters = [rule.strip().removeprefix("$(BIN)/").removesuffix(" .") for rule in rules]
    assert len(linters) == 3 and "\ncheck: lint\n" in makefile
    for linter in linters:
        assert f"entry: .venv/bin/{linter}" in hooks, linter
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert 'run: sudo env "PATH=$PATH" .ci/run\n' in workflow


@pytest.mark.parametrize(
    "module",
    [
        "tests.faults.__main__",
        "tests.powercut.__main__",
        "tests.powercut.guest",
        "tests.powercut.neighbour",
        "tests.simulation.__main__",
    ],
)
def test_soak_can_start(module: str) -> None:
    """What only a soak runs can be imported, so that no move of a module leaves it behind."""
    importlib.import_module(module)


#: What a path may have in it that make, a shell or Python's packaging could stumble over.
ODD = 'a\'b "c" d#é;%(e)s\n&f $HOME $x {y}'


def odd_clone(at: Path) -> Path:
    """Make a clone below an odd path, with a Python that prints its arguments."""
    clone = at / ODD
    clone.mkdir()
    for name in ("Makefile", ".ci"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, clone / name)
    for name in ("setup.py", "pyproject.toml", "README.md", "requirements/run.txt"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).touch()
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf \'<%s>\' "$PYTHONPATH" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    for name in (".venv", ".run", ".installed"):
        (clone / ".venv" / name).touch()
    return clone


def test_any_path(tmp_path: Path) -> None:
    """``make run`` works in a clone at any path, also from elsewhere."""
    clone = odd_clone(tmp_path)
    for command, cwd in ((("make",), clone), (("make", "-C", str(clone)), tmp_path)):
        done = subprocess.run(
            [*command, "--no-print-directory", "run", "ARGS=--dir 'x y'"],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"<{clone}><-I><-c><from twisted")
        assert done.stdout.endswith("<--nodaemon><--pidfile=><gostore><--dir><x y>")
