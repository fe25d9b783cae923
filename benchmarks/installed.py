"""gostore as it is and as it was at one commit, each in an environment made from its lock.

An environment for the benchmarks or the tests has more packages in it, and Twisted imports what it
finds: that costs a daemon 12 MiB. So neither runs in one. Environments and the old source are made
once, below ``.bench`` in the root of the repository; ``make clean`` removes them.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".bench"
LOCK = Path("requirements", "run.txt")

COMMIT = "e007c69"
"""The last one before small writes went to the journal first and to their files later."""


class CannotMake(Exception):
    """The commit, or what it needs, cannot be had here."""


@frozen
class Installed:
    """What runs one gostore."""

    python: Path
    source: Path


HERE = Installed(Path(sys.executable), ROOT)
"""This source, in the environment that runs this."""


def now(cache: Path = CACHE) -> Installed:
    """This source, in an environment of its own. Raises `CannotMake` with the reason."""
    return Installed(_environment(ROOT / LOCK, cache), ROOT)


def before(commit: str = COMMIT, cache: Path = CACHE) -> Installed:
    """The source of a commit, in an environment of its own. Raises `CannotMake` with the reason."""
    source = cache / f"gostore-{commit}"
    if not source.exists():
        made = _empty(cache / "made")
        archive = _run(["git", "-C", str(ROOT), "archive", commit])
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(made)
        made.rename(source)
    return Installed(_environment(source / LOCK, cache), source)


def _environment(lock: Path, cache: Path) -> Path:
    """The interpreter of an environment with what a lock names; equal locks share one."""
    key = sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    where = cache / f"venv-{key}"
    python, done = where / "bin" / "python", where / "made"
    if not done.exists():
        _empty(where)
        print(f"Making the environment {where.name}", flush=True)
        _run([sys.executable, "-m", "venv", str(where)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(lock)])
        done.touch()
    return python


def _empty(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def _run(command: list[str]) -> bytes:
    try:
        return subprocess.run(command, check=True, capture_output=True).stdout
    except OSError as error:
        raise CannotMake(str(error)) from error
    except subprocess.CalledProcessError as error:
        text = error.stderr.decode(errors="replace").strip()
        raise CannotMake(f"{' '.join(command)}: {text}") from error
