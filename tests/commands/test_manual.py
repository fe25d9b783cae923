"""Tests for manual.py: the man page has every command, and troff has no complaint."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from gostore.commands.main import ASKING, COMMANDS
from gostore.commands.manual import PAGE, page


def test_up_to_date() -> None:
    """The page is what ``python -m gostore.commands.manual`` writes."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_commands() -> None:
    """Each command has a section, with its options."""
    text = page()
    for name in (*ASKING, *COMMANDS):
        assert f"\n.SS {name}".replace("-", "\\-") in text
    assert "\\-\\-create\\-only" in text
    assert "\\-\\-repair" in text


def test_bucket() -> None:
    """It says where a bucket's credentials come from, and that history and undelete know one."""
    text = page().replace("\\-", "-")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION"):
        assert name in text.partition(".SH ENVIRONMENT")[2]
    asking = text.partition(".SH COMMANDS FOR A DIRECTORY OR A BUCKET")[0]
    for name in ("history", "undelete"):
        assert "--store s3://" in asking.partition(f"\n.SS {name}")[2].partition("\n.SS ")[0]


@pytest.mark.skipif(shutil.which("groff") is None, reason="NOT TESTED: there is no groff")
def test_lint() -> None:
    """groff formats it without a warning."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-rCHECKSTYLE=3", "-Tascii", str(PAGE)],
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    assert b"gostore put" not in done.stderr
