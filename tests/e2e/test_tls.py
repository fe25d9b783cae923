"""The daemon behind an ``ssl:`` endpoint, with a certificate of its own making."""

from __future__ import annotations

import datetime
import http.client
import random
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, Daemon, ask


def certify(directory: Path) -> None:
    """Make key.pem and cert.pem, for localhost and for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def secure(make_daemon: Make, tmp_path: Path) -> Daemon:
    """A daemon that speaks TLS alone."""
    certify(tmp_path)
    daemon = make_daemon()
    files = f"privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    daemon.launch("-s", f"ssl:0:interface=127.0.0.1:{files}")
    return daemon.serves("https")


def connect(daemon: Daemon, certificate: Path, *protocols: str) -> http.client.HTTPSConnection:
    """A client that trusts the certificate and offers some protocols (ALPN)."""
    context = ssl.create_default_context(cafile=str(certificate))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    connection = http.client.HTTPSConnection(
        "localhost", daemon.port, timeout=PATIENCE, context=context
    )
    connection.connect()
    return connection


@pytest.mark.parametrize("size", [10, 60_000, 100_000, 3 << 20])
def test_bytes(secure: Daemon, tmp_path: Path, size: int) -> None:
    """What is stored comes back, whichever way it is read: as a whole, in one part, in two."""
    data = random.Random(size).randbytes(size)
    connection = connect(secure, tmp_path / "cert.pem")
    assert ask(connection, "POST", "/store/foo", data).status == 204
    for _ in range(2):
        got = ask(connection, "GET", "/store/foo")
        assert (got.status, got.body == data) == (200, True)
    got = ask(connection, "GET", "/store/foo", headers={"Range": "bytes=1-"})
    assert (got.status, got.body == data[1:]) == (206, True)
    got = ask(connection, "GET", "/store/foo", headers={"Range": f"bytes=0-1,2-{size}"})
    assert (got.status, data[2:] in got.body) == (206, True)
    connection.close()


def test_protocols(secure: Daemon, tmp_path: Path) -> None:
    """Clients that offer protocols (RFC 7301), as curl does, get HTTP/1.1, and so do others."""
    spoken = "http/1.1"
    for offered, agreed in (([], None), ([spoken], spoken), (["h2", spoken], spoken)):
        connection = connect(secure, tmp_path / "cert.pem", *offered)
        assert connection.sock.selected_alpn_protocol() == agreed
        assert ask(connection, "GET", "/healthz").status == 200
        connection.close()
