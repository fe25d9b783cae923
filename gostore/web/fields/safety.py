"""The header fields that keep a reader's browser from running a stranger's blob.

A blob must never act as a page of this server. Every answer forbids the browser to guess a type
(nosniff), to run a script or to load more than the type needs (Content-Security-Policy), and to let
pages of other sites use the blob (Cross-Origin-Resource-Policy, frame-ancestors). A browser that
navigates to a blob shows images, sounds, films, plain text and PDF. It saves any other type.
"""

from __future__ import annotations

import re

from gostore.wire import Headers

# In the origin of a sandbox, "null", a film may not read itself. No sandbox here allows scripts.
_PLAYED = (
    b"sandbox allow-same-origin; default-src 'none'; media-src 'self';"
    b" style-src 'unsafe-inline'; frame-ancestors 'self'"
)
_DRAWN = (
    b"sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:;"
    b" frame-ancestors 'self'"
)
_OTHER = b"sandbox; default-src 'none'; frame-ancestors 'self'"
_POLICIES = {"audio": _PLAYED, "video": _PLAYED, "image": _DRAWN}
_SHOWN = frozenset({"text/plain", "application/pdf"})

# Browsers take the last one of several types that a comma separates.
_TYPE = re.compile(r"\s*([a-z0-9!#$&^_.+-]+)/([a-z0-9!#$&^_.+-]+)\s*(?:;[^,]*)?", re.IGNORECASE)

_NAMES = frozenset({b"sec-fetch-mode", b"upgrade-insecure-requests"})


def safety_fields(content_type: str) -> dict[bytes, bytes]:
    """The fields that make a blob of this type safe to give to a browser."""
    match = _TYPE.fullmatch(content_type)
    family = match[1].lower() if match is not None else ""
    return {
        b"x-content-type-options": b"nosniff",
        b"content-security-policy": _POLICIES.get(family, _OTHER),
        b"cross-origin-resource-policy": b"same-origin",
    }


def is_shown(content_type: str) -> bool:
    """Whether a browser may show a blob of this type as a page: it is not saved as a file."""
    match = _TYPE.fullmatch(content_type)
    if match is None:
        return False
    family, kind = match.groups()
    return family.lower() in _POLICIES or f"{family}/{kind}".lower() in _SHOWN


def is_navigation(headers: Headers) -> bool:
    """Whether a browser asks for a page, or a frame of one, to show it.

    Only to a server with TLS or on its own machine does it say so in Sec-Fetch-Mode.
    """
    if headers.has_none_of(_NAMES):
        return False
    mode = headers.get(b"sec-fetch-mode")
    if mode is None:
        return headers.get(b"upgrade-insecure-requests") == b"1"
    return mode.lower() == b"navigate"


VARY = b"Sec-Fetch-Mode, Upgrade-Insecure-Requests"
"""The fields of a request that `is_navigation` depends on."""


def as_attachment(disposition: bytes | None) -> bytes:
    """A Content-Disposition that makes a browser save the blob, by its file name (RFC 6266)."""
    _, semicolon, parameters = (disposition or b"").partition(b";")
    return b"attachment" + semicolon + parameters
