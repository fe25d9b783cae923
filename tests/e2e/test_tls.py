"""The daemon behind an ``ssl:`` endpoint, with a certificate of its own making."""

from __future__ import annotations

import datetime
import http.client
import random
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, Daemon, ask


class Authority:
    """A key and its certificate, from an authority or by itself."""

    def __init__(
        self, name: str, issuer: Authority | None = None, *, leaf: bool = False, key: Any = None
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by = issuer or self
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(by.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        )
        if not leaf:
            constraints = x509.BasicConstraints(ca=True, path_length=None)
            builder = builder.add_extension(constraints, critical=True)
        certificate = builder.sign(by.key, hashes.SHA256())
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        self.private = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def certify(directory: Path) -> None:
    """Make key.pem and cert.pem, for localhost and for an hour."""
    own = Authority("localhost", leaf=True)
    (directory / "key.pem").write_bytes(own.private)
    (directory / "cert.pem").write_bytes(own.certificate)


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


def test_failed_handshakes(secure: Daemon, tmp_path: Path) -> None:
    """A handshake that fails is a line in the log and a figure, and the start warns of nothing."""
    assert "Warning" not in secure.said
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection("localhost", secure.port, context=context).connect()
    secure.wait_for(r"TLS with 127\.0\.0\.1 has failed: .*unknown ca")
    with socket.create_connection(("127.0.0.1", secure.port), PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while client.recv(1000):
            pass
    connection = connect(secure, tmp_path / "cert.pem")
    assert b"gostore_tls_failures_total 2.0\n" in ask(connection, "GET", "/metrics").body
    connection.close()


@pytest.mark.parametrize(
    "options",
    [
        "privateKey={0}/key.pem:certKey={0}/full.pem",
        "privateKey={0}/key.pem:certKey={0}/cert.pem:extraCertChain={0}/chain.pem",
        "privateKey={0}/key.pem:certKey={0}/full.pem:extraCertChain={0}/chain.pem",
        "privateKey={0}/all.pem",
        "{0}/key.pem:{0}/full.pem",
    ],
)
def test_chain(make_daemon: Make, tmp_path: Path, options: str) -> None:
    """The whole chain of certificates is sent, once, so that the root is all a client needs."""
    root = Authority("root")
    between = Authority("between", root)
    leaf = Authority("localhost", between, leaf=True)
    for name, content in {
        "root.pem": root.certificate,
        "key.pem": leaf.private,
        "cert.pem": leaf.certificate,
        "chain.pem": between.certificate,
        "full.pem": leaf.certificate + between.certificate,
        "all.pem": leaf.private + leaf.certificate + between.certificate,
    }.items():
        (tmp_path / name).write_bytes(content)
    daemon = make_daemon()
    daemon.launch("-s", f"ssl:0:{options.format(tmp_path)}:interface=127.0.0.1").serves("https")
    connection = connect(daemon, tmp_path / "root.pem")
    assert ask(connection, "GET", "/healthz").status == 200
    # The handshake succeeds with a certificate too many as well.
    shown = subprocess.run(
        ["openssl", "s_client", "-showcerts", "-connect", f"127.0.0.1:{daemon.port}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert shown.stdout.count("BEGIN CERTIFICATE") == 2
    connection.close()
