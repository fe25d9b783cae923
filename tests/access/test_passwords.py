"""Tests for gostore.access.passwords and tokens: what is kept of a secret."""

from __future__ import annotations

import sys
from hashlib import sha256

import bcrypt
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.passwords import NoBcrypt, hash_password, is_password
from gostore.access.tokens import digest_of, make_secret

#: Of "geheim", as htpasswd writes it.
HTPASSWD = b"$2y$04$s5zsctECkBpe2Iem6TIQDO1maME4mc1miWp8awoAVC7nxuYy/8XRO"


def without_bcrypt(case: SynchronousTestCase) -> None:
    """Let a test believe that the library is not installed."""
    case.addCleanup(sys.modules.__setitem__, "bcrypt", bcrypt)
    sys.modules["bcrypt"] = None  # type: ignore[assignment]


class PasswordTests(SynchronousTestCase):
    """Passwords."""

    def test_hash(self) -> None:
        """A password is told from others by its hash, which is another one each time."""
        first, second = (hash_password("pässword", 4) for _ in range(2))
        self.assertNotEqual(first, second)
        self.assertTrue(is_password("pässword".encode(), first))
        self.assertFalse(is_password(b"password", first))
        self.assertTrue(first.startswith(b"$2b$04$"))

    def test_htpasswd(self) -> None:
        """A hash of htpasswd's is as good."""
        self.assertTrue(is_password(b"geheim", HTPASSWD))
        self.assertFalse(is_password(b"Geheim", HTPASSWD))

    def test_cost(self) -> None:
        """The cost is the usual one unless told otherwise."""
        self.assertTrue(hash_password("x").startswith(b"$2b$12$"))

    def test_refused(self) -> None:
        """A password that bcrypt would take for another one is refused when it is set."""
        for password in ("", 73 * "a", 37 * "é", "a\0b", "a\nb"):
            self.assertRaises(ValueError, hash_password, password, 4)
        self.assertTrue(is_password(72 * b"a", hash_password(72 * "a", 4)))

    def test_wrong(self) -> None:
        """What no password can be is wrong, and nothing is raised for it."""
        hashed = hash_password(72 * "a", 4)
        for password in (b"", b"\0", 73 * b"a", 1000 * b"a", b"\xff"):
            self.assertFalse(is_password(password, hashed))
        self.assertFalse(is_password(b"a", b"$2y$04$" + 53 * b"z"))

    def test_without_the_library(self) -> None:
        """Without bcrypt the error says how to install it."""
        without_bcrypt(self)
        with self.assertRaises(NoBcrypt) as caught:
            hash_password("x")
        self.assertIn("pip install '.[users]' in a clone of gostore", str(caught.exception))


class TokenTests(SynchronousTestCase):
    """Secrets of tokens."""

    def test_secret(self) -> None:
        """A secret begins with gst_, has 32 random bytes, and may stand in any header field."""
        first, second = make_secret(), make_secret()
        self.assertNotEqual(first, second)
        self.assertRegex(first, r"\Agst_[A-Za-z0-9_-]{43}\Z")

    def test_digest(self) -> None:
        """What is kept is what sha256sum prints of it."""
        self.assertEqual(digest_of("gst_x"), sha256(b"gst_x").digest())
