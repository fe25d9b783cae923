"""What a client says about who it is: the value of an Authorization field. Pure."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

from attrs import field, frozen

_CREDENTIALS = re.compile(rb"([A-Za-z]+) +([A-Za-z0-9._~+/-]+=*)")


class Malformed(ValueError):
    """Nobody can be told from the field. str() says why, and repeats nothing of it."""


@frozen
class Credentials:
    """A secret, which may be a token's, and the user that has it for a password if ``user``."""

    secret: bytes = field(repr=False)
    user: str | None = None


def parse_credentials(value: bytes) -> Credentials:
    """Read Basic (RFC 7617, in UTF-8) or Bearer (RFC 6750). Raises Malformed."""
    match = _CREDENTIALS.fullmatch(value)
    if match is None:
        raise Malformed("Authorization is not a scheme and its credentials")
    scheme, text = match[1].lower(), match[2]
    if scheme == b"bearer":
        return Credentials(text)
    if scheme != b"basic":
        raise Malformed("Authorization has a scheme other than Basic and Bearer")
    try:
        data = b64decode(text, validate=True)
        if b64encode(data) != text:
            raise ValueError("another text says the same")
        user, colon, password = data.partition(b":")
        name = user.decode("utf-8")
    except ValueError:
        raise Malformed("Authorization has Basic credentials that cannot be decoded") from None
    if not colon:
        raise Malformed("Authorization has Basic credentials without a colon")
    return Credentials(password, name)
