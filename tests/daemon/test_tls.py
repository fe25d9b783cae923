"""Tests for gostore.daemon.tls: certificates that are read anew."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet.endpoints import serverFromString
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.reloading import CannotReload
from gostore.daemon.tls import TLSContext
from tests.e2e.test_tls import Authority, certify
from tests.test_tap import temporary


class ReloadTests(SynchronousTestCase):
    """A certificate in a file."""

    def setUp(self) -> None:
        """Make one."""
        self.here = temporary(self)
        certify(self.here)
        files = f"privateKey={self.here}/key.pem:certKey={self.here}/cert.pem"
        self.listen = f"ssl:443:{files}"
        endpoint: Any = serverFromString(None, self.listen)
        self.context = TLSContext.put_into(endpoint, self.listen)
        self.assertIs(endpoint._sslContextFactory, self.context)

    def get_context(self) -> object:
        """What the next connection gets."""
        return self.context.serverConnectionForTLS(None).get_context()

    def test_same(self) -> None:
        """The same certificate is no change."""
        self.assertEqual(self.context.reload(), "")

    def test_new(self) -> None:
        """A new one is told with its last day, and connections to come get it."""
        before = self.get_context()
        self.assertIs(self.get_context(), before)
        certify(self.here)
        said = self.context.reload()
        self.assertTrue(said.startswith(f"the certificate of {self.listen} is a new one, until 20"))
        self.assertIsNot(self.get_context(), before)
        self.assertEqual(self.context.reload(), "")

    def test_new_chain(self) -> None:
        """A chain that has grown is a change, too."""
        more = Authority("between").certificate
        with (self.here / "cert.pem").open("ab") as file:
            file.write(more)
        self.assertIn("is a new one", self.context.reload())

    def test_weak(self) -> None:
        """A key that OpenSSL finds too weak is refused when it is read, not at each connection."""
        own = Authority("localhost", leaf=True, key=rsa.generate_private_key(65537, 1024))
        (self.here / "key.pem").write_bytes(own.private)
        (self.here / "cert.pem").write_bytes(own.certificate)
        before = self.get_context()
        with self.assertRaises(CannotReload) as caught:
            self.context.reload()
        self.assertIn("key too small", str(caught.exception))
        self.assertIs(self.get_context(), before)

    def test_bad(self) -> None:
        """What is no certificate, does not fit its key, or is gone keeps the old one in use."""
        before = self.get_context()
        certificate, key = self.here / "cert.pem", self.here / "key.pem"
        other = Authority("other").private
        for path, content in ((key, other), (certificate, b"nonsense"), (key, None)):
            certify(self.here)
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
            with self.assertRaises(CannotReload) as caught:
                self.context.reload()
            said = str(caught.exception)
            self.assertTrue(said.startswith(f"the certificate of {self.listen} ("), said)
            self.assertNotIn("()", said)
            self.assertIs(self.get_context(), before)
