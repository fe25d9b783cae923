"""The secrets of tokens. Only their hashes are kept. Pure, but for the random numbers."""

from __future__ import annotations

import secrets
from hashlib import sha256

PREFIX = "gst_"
"""Every secret begins so: a scanner of sources and logs finds the ones that leaked."""


def make_secret() -> str:
    """Make a secret of 32 random bytes."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    """What is kept of a secret. It has too many bits to be guessed, so a fast hash will do."""
    return sha256(secret.encode()).digest()
