"""File systems of a test's own: small, full, read-only or failing, and gone when the test is.

To mount needs root. Where it cannot be, the tests that need it are skipped and say so.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def run(*command: str | Path) -> None:
    """Run a command that has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def mount(*arguments: str | Path) -> None:
    """Mount something; skip the test if this machine does not allow it."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join(map(str, arguments))
        pytest.skip(f"NOT TESTED, mount {words} (root?): {done.stderr.strip()}")


@contextlib.contextmanager
def mounted(at: Path, *arguments: str | Path) -> Iterator[Path]:
    """Mount something at a directory that is made for it, for a while."""
    at.mkdir()
    mount(*arguments, at)
    try:
        yield at
    finally:
        # Lazily: a test that failed may still have something open there.
        run("umount", "--lazy", at)


@contextlib.contextmanager
def tmpfs(at: Path, options: str) -> Iterator[Path]:
    """A file system in memory; ``options`` as "size=8m,nr_inodes=100"."""
    with mounted(at, "-t", "tmpfs", "-o", options, "gostore-test") as made:
        yield made


@contextlib.contextmanager
def fuse(at: Path, below: Path) -> Iterator[Path]:
    """What is in a directory, once more, through FUSE."""
    at.mkdir()
    try:
        done = subprocess.run(["bindfs", below, at], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("NOT TESTED, no FUSE: there is no program bindfs")
    if done.returncode:
        pytest.skip(f"NOT TESTED, no FUSE: {done.stdout}{done.stderr}")
    try:
        yield at
    finally:
        run("umount", "--lazy", at)


@contextlib.contextmanager
def ext4(at: Path, image: Path, size: int, *options: str) -> Iterator[Path]:
    """An ext4 with a journal in a sparse file of so many bytes; ``options`` are mke2fs's."""
    make_ext4(image, size, *options)
    with mounted(at, "-o", "loop", image) as made:
        yield made


@contextlib.contextmanager
def overlay(at: Path, lower: Path, scratch: Path) -> Iterator[Path]:
    """What is in a directory, as the lower layer of an overlayfs, which renames no directory."""
    with tmpfs(scratch, "size=256m"):
        for name in ("upper", "work"):
            (scratch / name).mkdir()
        options = f"lowerdir={lower},upperdir={scratch}/upper,workdir={scratch}/work"
        with mounted(at, "-t", "overlay", "-o", f"{options},redirect_dir=off", "overlay") as made:
            yield made


def tmpfs_or_ext4(
    kind: str, under: Path, options: str, size: int, *mke2fs: str
) -> contextlib.AbstractContextManager[Path]:
    """As ``kind`` says: a tmpfs with options, or an ext4 of so many bytes with mke2fs's options."""
    if kind == "tmpfs":
        return tmpfs(under / "disk", options)
    return ext4(under / "disk", under / "image", size, *mke2fs)


def make_ext4(image: Path, size: int, *options: str) -> None:
    """Make an ext4 with a journal in a sparse file of so many bytes."""
    with image.open("wb") as file:
        file.truncate(size)
    # No blocks set aside for root, who runs the tests, and all of it written now.
    lazy = "lazy_itable_init=0,lazy_journal_init=0"
    run("mke2fs", "-q", "-t", "ext4", "-m", "0", "-E", lazy, *options, image)


def fill(directory: Path) -> Path:
    """Write a file until there is not one byte left; return it."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    assert os.statvfs(directory).f_bavail == 0
    return filler


def fill_inodes(directory: Path) -> list[Path]:
    """Make files until there is not one inode left; return them."""
    fillers: list[Path] = []
    with contextlib.suppress(OSError):
        while True:
            filler = directory / f"filler-{len(fillers)}"
            filler.touch()
            fillers.append(filler)
    assert os.statvfs(directory).f_favail == 0
    return fillers


def mounted_device(directory: Path) -> str:
    """The device that is mounted at a directory."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return next(line.split()[0] for line in lines if line.split()[1] == str(directory))
