"""Libraries that are put between a daemon and libc, built when a test needs them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.daemon import PATIENCE


def build(name: str, directory: Path) -> Path:
    """Build a library from the C file of this name; skip the test if there is no compiler."""
    if shutil.which("cc") is None:
        pytest.skip(f"NOT TESTED, {name} cannot be built: there is no C compiler")
    built = directory / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", str(built), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=PATIENCE)
    return built
