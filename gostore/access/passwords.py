"""Passwords and their bcrypt hashes. Both functions take a fifth of a second of CPU time or so."""

from __future__ import annotations

from typing import Any

MAX_PASSWORD = 72
"""The most bytes of a password: bcrypt takes no notice of more."""

_COST = 12


class NoBcrypt(Exception):
    """The library is not installed."""

    def __str__(self) -> str:
        return "users with passwords need bcrypt: pip install '.[users]' in a clone of gostore"


def require_bcrypt() -> Any:
    """The library. Only users need it, and tokens do not. Raises NoBcrypt."""
    try:
        import bcrypt
    except ModuleNotFoundError:
        raise NoBcrypt() from None
    return bcrypt


def hash_password(password: str, cost: int = _COST) -> bytes:
    """The hash to keep of a password. Raises ValueError if nobody may have it, and NoBcrypt."""
    bcrypt = require_bcrypt()
    data = password.encode("utf-8")
    if not data:
        raise ValueError("the password is empty")
    if len(data) > MAX_PASSWORD:
        raise ValueError(f"the password has more than {MAX_PASSWORD} bytes, all that bcrypt takes")
    if not password.isprintable():
        raise ValueError("the password has a control character")
    hashed: bytes = bcrypt.hashpw(data, bcrypt.gensalt(cost))
    return hashed


def is_password(password: bytes, hashed: bytes) -> bool:
    """Whether this is the hash of a password."""
    try:
        # What is too long takes as long as any other, and is wrong.
        same: bool = require_bcrypt().checkpw(password[:MAX_PASSWORD], hashed)
    except ValueError:  # a NUL, or a hash whose last bits are not as they should be
        return False
    return same and len(password) <= MAX_PASSWORD
