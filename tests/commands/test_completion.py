"""Tests for completion.py: what a shell gets."""

from __future__ import annotations

import pytest

from gostore.commands.main import COMPLETES, main


def completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> set[str]:
    """What bash offers for the last of these words."""
    monkeypatch.setenv(COMPLETES, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(["gostore", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert main([]) == 0
    return {line.partition(",")[2] for line in capsys.readouterr().out.splitlines()}


def test_names(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands of both kinds are offered, and their options."""
    assert completed(monkeypatch, capsys, "s") == {"selftest", "show", "stat", "sync"}
    assert "--create-only" in completed(monkeypatch, capsys, "put", "--")
    assert {"--repair", "--dir"} <= completed(monkeypatch, capsys, "fsck", "--")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each shell gets a script that asks gostore."""
    assert main(["completion", shell]) == 0
    assert f"{COMPLETES}={shell}_complete" in capsys.readouterr().out
