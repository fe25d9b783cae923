"""Tests for gostore.commands.check_config."""

from __future__ import annotations

from pathlib import Path

import pytest

from gostore.commands import main as cli
from tests.e2e.test_tls import Authority, certify


def test_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with every setting, and one with a certificate, are fine: status 0."""
    shown = Path(__file__).parent.parent.parent / "tap.conf"
    assert cli.main(["check-config", str(shown)]) == 0
    certify(tmp_path)
    own = tmp_path / "own.conf"
    files = f"privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    own.write_text(f"[gostore]\nlisten = ssl:443:{files}\n    unix:{tmp_path}/socket\n")
    assert cli.main(["check-config", str(own)]) == 0
    assert capsys.readouterr().out == f"{shown} is fine\n{own} is fine\n"


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake is told with file, line and reason, as the daemon would: status 2."""
    own = tmp_path / "own.conf"
    own.write_text("[gostore]\nmax-uploads = many\n")
    assert cli.main(["check-config", str(own)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"gostore: {own}, line 2: max-uploads: 'many' is not a whole number")
    assert cli.main(["check-config", f"{own}.missing"]) == 2
    assert capsys.readouterr().err == f"gostore: {own}.missing: No such file or directory\n"


def test_key_of_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that does not fit its certificate is a mistake."""
    certify(tmp_path)
    (tmp_path / "key.pem").write_bytes(Authority("other").private)
    own = tmp_path / "own.conf"
    files = f"privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    own.write_text(f"[gostore]\nlisten = ssl:443:{files}\n")
    assert cli.main(["check-config", str(own)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"gostore: {own}, line 2: listen: 'ssl:443:")
    assert "Certificate public and private keys do not match" in said


def test_access_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The access file that a configuration names is checked, too."""
    rules, own = tmp_path / "access.conf", tmp_path / "own.conf"
    own.write_text(f"[gostore]\naccess = {rules}\n")
    assert cli.main(["check-config", str(own)]) == 2
    said = f"gostore: {own}, line 2: access: {rules}: No such file or directory\n"
    assert capsys.readouterr().err == said
    rules.write_text("[anonymous]\ngrant = read\n")
    assert cli.main(["check-config", str(own)]) == 0
    rules.write_text("[anonymous]\ngrant = raed\n")
    assert cli.main(["check-config", str(own)]) == 2
    assert f"{rules}, line 2: unknown verb 'raed'" in capsys.readouterr().err


def test_systemd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A socket of systemd is fine, although only the daemon gets it."""
    own = tmp_path / "own.conf"
    own.write_text("[gostore]\nlisten = systemd:domain=INET:index=0\n")
    assert cli.main(["check-config", str(own)]) == 0
    own.write_text("[gostore]\nlisten = systemd:domain=INET\n")
    assert cli.main(["check-config", str(own)]) == 2


def test_contradictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the daemon refuses, since it does not go together, is not fine."""
    rules, own = tmp_path / "access.conf", tmp_path / "own.conf"
    rules.write_text("[anonymous]\ngrant = read\n[quota]\nphotos/ = 1GiB\n")
    bucket = "store = s3://bucket/prefix\n"
    for lines, said in (
        (f"{bucket}id-bits = 32\n", "id-bits: a bucket has ids of 16, 64 or 128 bits"),
        ("id-bits = 64\n", "id-bits: a directory has no ids of 64 bits"),
        ("s3-endpoint = http://127.0.0.1:1\n", "s3-endpoint and s3-region: they need store, too"),
        ("remote-user = X-User\n", "remote-user: it needs trusted-proxy and access, too"),
    ):
        own.write_text(f"[gostore]\n{lines}")
        assert cli.main(["check-config", str(own)]) == 2
        assert capsys.readouterr().err == f"gostore: {own}: {said}\n"
    own.write_text(f"[gostore]\n{bucket}access = {rules}\n")
    assert cli.main(["check-config", str(own)]) == 2
    reason = "quotas are for a data directory, not for a bucket"
    assert capsys.readouterr().err == f"gostore: {own}, line 3: access: {rules}: {reason}\n"
    own.write_text(f"[gostore]\naccess = {rules}\n[keep]\na/ = 1d\n")
    assert cli.main(["check-config", str(own)]) == 0
    own.write_text(f"[gostore]\n{bucket}keep = 1d\ns3-region = here\n")
    assert cli.main(["check-config", str(own)]) == 0
