"""Tests for setup.py: what a wheel has in it, and what building one leaves behind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.long
def test_wheel(tmp_path: Path) -> None:
    """A wheel has the types, tap.conf, the unit and the examples; building it leaves nothing."""
    names = (ROOT / ".dockerignore").read_text().split("\n")
    needed = [name[1:] for name in names if name.startswith("!")]
    source = tmp_path / "source"
    # As little as the image is built from.
    for name in needed:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source / name)
    before = sorted(source.rglob("*"))
    # Nor does the path of the environment matter, though setuptools sees variables in it.
    odd = tmp_path / "a$b {c} $HOME"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(odd)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(odd / "bin" / "python")]
    pip += ["wheel", "--no-deps", "--wheel-dir", str(tmp_path), "."]
    built = subprocess.run(pip, cwd=source, capture_output=True, text=True, check=False)
    if built.returncode and "No matching distribution" in built.stdout + built.stderr:
        pytest.skip("setuptools is not to be had")
    assert built.returncode == 0, built.stderr
    assert sorted(source.rglob("*")) == before
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    for name in (
        "gostore/py.typed",
        "gostore/web/openapi.json",
        "gostore/web/page/page.html",
        "gostore/web/page/static/page.js",
        "gostore/web/page/static/page.css",
        "twisted/plugins/gostore_plugin.py",
    ):
        assert name in packed
    data = next(name for name in packed if ".data/" in name).partition(".data/")[0]
    shared = {
        name.partition("share/gostore/")[2] for name in packed if name.startswith(f"{data}.data/")
    }
    found = (path for path in (ROOT / "examples").rglob("*") if path.is_file())
    # Python keeps what another test has imported.
    found = (path for path in found if path.parent.name != "__pycache__")
    examples = {str(path.relative_to(ROOT)) for path in found}
    assert shared == {"tap.conf", *examples}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "gostore").rglob("*.py")}
    assert modules <= packed


def test_image() -> None:
    """The image installs the versions that others install, and TLS, each with its hashes."""
    run, image = (
        (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        for name in ("run", "image")
    )
    pins = re.findall(r"^([\w-]+==\S+)", image, re.MULTILINE)
    assert set(pins) <= set(re.findall(r"^([\w-]+==\S+)", run, re.MULTILINE))
    assert len(re.findall(r"^[\w-]+==.* \\\n    --hash=sha256:", image, re.MULTILINE)) == len(pins)
    assert any(pin.startswith("pyopenssl==") for pin in pins)
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "--require-hashes -r /tmp/image.txt" in dockerfile
    assert "/usr/local/share/gostore/examples/healthcheck.py" in dockerfile
