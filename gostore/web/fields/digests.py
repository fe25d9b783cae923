"""Digests in header fields: Repr-Digest and Content-Digest (RFC 9530), Content-MD5 (RFC 1864)."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import partial

import http_sf

from gostore.web.answers import Refusal
from gostore.web.fields.parsing import is_short_list, parsed
from gostore.wire import MAX_MEMBERS, Headers

_ALGORITHMS = {"sha-256": ("sha256", 32), "sha-512": ("sha512", 64)}
"""The algorithms that gostore checks: the RFC's name -> (the store's name, size in bytes)."""


def repr_digest(sha256: bytes) -> bytes:
    """The value of Repr-Digest for a blob with this digest."""
    return http_sf.ser({"sha-256": (sha256, {})}).encode("ascii")


def announced_digests(headers: Headers) -> dict[str, bytes]:
    """The raw digests that an upload announces for its body, by the store's algorithm names.

    Unknown algorithms are ignored. Raises Refusal (400) for a malformed field: the client asked
    for a check, and a 2xx would say that it was made. Raises it as well for two fields that
    contradict each other, since no body satisfies both.
    """
    digests: dict[str, bytes] = {}
    for name, digest in _announced(headers):
        if digests.setdefault(name, digest) != digest:
            raise Refusal(400, "The digests that were announced contradict each other")
    return digests


def _announced(headers: Headers) -> Iterable[tuple[str, bytes]]:
    if (value := headers.get(b"content-md5")) is not None:
        yield "md5", _md5(value)
    if (value := headers.get(b"content-digest")) is not None:
        yield from _structured("Content-Digest", value)
    # The representation is the body as sent, whatever its Content-Encoding (RFC 9530 B.1).
    if (value := headers.get(b"repr-digest")) is not None:
        yield from _structured("Repr-Digest", value)


def _md5(value: bytes) -> bytes:
    digest = parsed(partial(base64.b64decode, validate=True), value)
    if digest is None or len(digest) != 16:
        raise Refusal(400, "Content-MD5 is not the base64 of 16 bytes")
    return digest


def _structured(field: str, value: bytes) -> Iterable[tuple[str, bytes]]:
    if not is_short_list(value):
        raise Refusal(431, f"{field} is too long, or has more than {MAX_MEMBERS} members")
    members = parsed(partial(http_sf.parse, tltype="dictionary"), value)
    if not isinstance(members, dict):
        raise Refusal(400, f"{field} is not a dictionary of digests")
    for key, (name, size) in _ALGORITHMS.items():
        if key in members:
            member = members[key]
            digest = member[0] if isinstance(member, tuple) else None
            if not isinstance(digest, bytes) or len(digest) != size:
                raise Refusal(400, f"{field} does not have {size} bytes for {key}")
            yield name, digest
