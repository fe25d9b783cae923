"""Tests for remotes.py: which daemon, and which token."""

from __future__ import annotations

from pathlib import Path

import pytest

from gostore.client.address import Address
from gostore.client.cli.remotes import Target, config_file, read_remotes

URL = "https://blobs.example/below"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment with a configuration of its own."""
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def configure(env: dict[str, str], text: str) -> Path:
    """Write the configuration."""
    path = config_file(env)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_targets(env: dict[str, str]) -> None:
    """A target is a URL, or something at a daemon that has a name."""
    configure(env, f"[remote default]\nurl = {URL}\n[remote n.a-s]\nurl = http://nas:7777/store/\n")
    remotes = read_remotes(env)
    address = Address(URL)
    assert remotes.target(":photos/x") == Target(address, "photos/x")
    assert remotes.target(":") == Target(address, "")
    assert remotes.target(f"{URL}/store/a%20b") == Target(address, "a b")
    assert remotes.target("n.a-s:a:b") == Target(Address("http://nas:7777"), "a:b")
    assert str(remotes.target(":a")) == f"{URL}/store/a"
    for text in ("a", "/a", "other:a", "http://", "ftp://a/b"):
        with pytest.raises(ValueError):
            remotes.target(text)
    for text, known in ((":a", True), ("n.a-s:a", True), ("other:a", False), ("./a", False)):
        assert remotes.knows(text) is known


def test_environment_first(env: dict[str, str]) -> None:
    """GOSTORE_URL goes before [remote default]; without both there is no `:`."""
    with pytest.raises(ValueError, match="GOSTORE_URL"):
        read_remotes(env).target(":a")
    configure(env, f"[remote default]\nurl = {URL}\n")
    env["GOSTORE_URL"] = "http://other/store"
    assert read_remotes(env).target(":a").address == Address("http://other")
    env["GOSTORE_URL"] = "http://other/store/a"
    with pytest.raises(ValueError, match="of a blob"):
        read_remotes(env).target(":a")


@pytest.mark.parametrize(
    "text",
    [
        "url = x",
        "[default]\nurl = http://a",
        "[remote a/b]\nurl = http://a",
        "[remote a]\n",
        "[remote a]\nurl = nonsense",
        "[remote a]\nurl = http://a\ntoken = gst_secret",
        "[remote a]\nurl = http://user:gst_secret@a",
        "[remote a]\nurl = http://a\n[remote a]\nurl = http://b",
    ],
)
def test_mistakes(env: dict[str, str], text: str) -> None:
    """A mistake in the configuration is said, and no secret with it."""
    configure(env, text)
    with pytest.raises(ValueError) as raised:
        read_remotes(env)
    assert "gst_secret" not in str(raised.value)


def test_tokens(env: dict[str, str], tmp_path: Path) -> None:
    """GOSTORE_TOKEN, then a file that nobody else reads, for the daemon that it is for."""
    file, other = tmp_path / "token", tmp_path / "other"
    file.write_text("gst_file\n")
    file.chmod(0o600)
    configure(env, f"[remote default]\nurl = {URL}\ntoken-file = {file}\n")
    remotes = read_remotes(env)
    assert remotes.token(Address(URL)) == "gst_file"
    assert remotes.token(Address("http://elsewhere")) is None
    other.write_text("gst_other")
    other.chmod(0o600)
    env["GOSTORE_TOKEN_FILE"] = str(other)
    assert read_remotes(env).token(Address(URL)) == "gst_other"
    env["GOSTORE_TOKEN"] = "gst_env"
    assert read_remotes(env).token(Address("http://elsewhere")) == "gst_env"


def test_bad_tokens(env: dict[str, str], tmp_path: Path) -> None:
    """A token that others can read, or that cannot be sent, is refused and not shown."""
    file = tmp_path / "token"
    env["GOSTORE_TOKEN_FILE"] = str(file)
    with pytest.raises(OSError, match="No such file"):
        read_remotes(env).token(Address(URL))
    file.write_text("gst_file")
    file.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        read_remotes(env).token(Address(URL))
    file.chmod(0o600)
    for text in ("", "gst secret", "gst_sécret", "gst_a\ngst_b"):
        file.write_text(text)
        with pytest.raises(ValueError) as raised:
            read_remotes(env).token(Address(URL))
        assert "gst" not in str(raised.value)
