"""Digests in header fields: Repr-Digest and Content-Digest (RFC 9530), Content-MD5 (RFC 1864)."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import partial

import http_sf

from gostore.web.answers import Refusal
from gostore.web.fields.parsing import has_few_members, is_short_list, parsed
from gostore.wire import MAX_MEMBERS, Headers

_ALGORITHMS = {"sha-256": ("sha256", 32), "sha-512": ("sha512", 64)}
"""The algorithms that gostore checks: the RFC's name -> (the store's name, size in bytes)."""


_FIELDS = {
    b"content-md5": ("md5",),
    b"content-digest": ("sha256", "sha512"),
    b"repr-digest": ("sha256", "sha512"),
    b"digest": (),
}
"""The fields that may have a digest, each with what it may be; that of RFC 3230 is not read."""


def repr_digest(sha256: bytes) -> bytes:
    """The value of Repr-Digest for a blob with this digest."""
    # A structured field (RFC 9651): a dictionary of one byte sequence. http_sf takes 12 us for it.
    return b"sha-256=:%b:" % base64.b64encode(sha256)


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


def late_digests(headers: Headers) -> frozenset[str]:
    """The algorithms of the digests that Trailer announces for the end of an upload.

    Raises Refusal (400) if the upload is not in chunks, and so has no trailer: the client asked for
    a check that cannot be made.
    """
    fields = _digest_fields_of_trailer(headers)
    if fields and headers.get(b"transfer-encoding") is None:
        raise Refusal(400, "Trailer announces a digest, and only a body in chunks has a trailer")
    return frozenset(name for field in fields for name in _FIELDS[field])


def trailing_digests(headers: Headers, trailer: Headers) -> dict[str, bytes]:
    """The raw digests in the trailer of an upload with these header fields.

    Each has to be one that is checked, since the client gets a 2xx for an answer: it was announced
    by Trailer, or is an SHA-256, which is computed for every blob. Raises Refusal (400) for any
    other digest, and for an announced one that did not come.
    """
    announced = _digest_fields_of_trailer(headers)
    known = {"sha256"} | late_digests(headers)
    for field in announced:
        if field not in trailer:
            raise Refusal(400, f"The trailer lacks the {_spelt(field)} that was announced")
    for field in _FIELDS:
        if field in trailer and not known & {name for name, _ in _announced(trailer, field)}:
            text = "cannot be verified in the trailer; announce it with the field Trailer"
            raise Refusal(400, f"{_spelt(field)} {text}")
    digests = announced_digests(trailer)
    return {name: digest for name, digest in digests.items() if name in known}


def _digest_fields_of_trailer(headers: Headers) -> list[bytes]:
    value = headers.get(b"trailer")
    if value is None:
        return []
    if not has_few_members(value):
        raise Refusal(431, f"Trailer has more than {MAX_MEMBERS} members")
    names = {name.strip(b" \t").lower() for name in value.split(b",")}
    return [field for field in _FIELDS if field in names]


def _spelt(field: bytes) -> str:
    return "Content-MD5" if field == b"content-md5" else field.decode("ascii").title()


def _announced(headers: Headers, *fields: bytes) -> Iterable[tuple[str, bytes]]:
    """Each digest in these fields, or in all."""
    for field in fields or _FIELDS:
        value = headers.get(field)
        if value is None:
            continue
        if field == b"content-md5":
            yield "md5", _md5(value)
        elif _FIELDS[field]:
            # The representation is the body as sent, whatever its Content-Encoding (RFC 9530 B.1).
            yield from _structured(_spelt(field), value)


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
