"""What header fields say of a blob: those kept with an upload, and those it is given back with.

A blob is one representation (RFC 9110 section 8), the bytes as they were sent, so it has one strong
entity tag, one digest and one type.
"""

from __future__ import annotations

import re

from attrs import define, field, frozen
from werkzeug.http import http_date, quote_etag

from gostore.blob import Committed
from gostore.web.answers import Refusal
from gostore.web.fields.conditions import etag_of, modified_of
from gostore.web.fields.digests import repr_digest
from gostore.wire import Headers, PreparedFields

MAX_KEPT = 8192
"""The most bytes of names and values that are kept with a blob, its type among them."""

DEFAULT_TYPE = "application/octet-stream"

SAFETY = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"sandbox; default-src 'none'",
}
"""What a stranger stored must not run in a reader's browser."""

_KEPT = frozenset(
    {b"content-encoding", b"content-language", b"content-disposition", b"cache-control"}
)
_META = b"x-gostore-meta-"
_CURL_SAYS = "application/x-www-form-urlencoded"
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_FIELD_VALUE = re.compile("[\t\x20-\x7e\x80-\xff]*")


def kept_type(headers: Headers) -> str | None:
    """The Content-Type to keep with an upload; None for the default.

    ``application/x-www-form-urlencoded`` is what ``curl --data`` says of everything, so it says
    nothing. Raises Refusal (400) for several, since one blob has one type.
    """
    values = headers.get_all(b"content-type")
    if len(values) > 1:
        raise Refusal(400, "There is more than one Content-Type")
    content_type = b"".join(values).decode("latin-1")
    if content_type.partition(";")[0].strip().lower() in ("", _CURL_SAYS):
        return None
    return content_type


def kept_fields(headers: Headers) -> dict[str, str]:
    """The other header fields to keep with an upload, exactly as sent, lines of a name joined.

    Raises Refusal (431) if they and the type are more than 8 KiB.
    """
    kept: dict[str, str] = {}
    size = sum(len(value) for value in headers.get_all(b"content-type"))
    for name, value in headers.items():
        if name in _KEPT or name.startswith(_META):
            size += len(name) + len(value)
            key = name.decode("latin-1")
            text = value.decode("latin-1")
            kept[key] = f"{kept[key]}, {text}" if key in kept else text
    if size > MAX_KEPT:
        raise Refusal(431, f"More than {MAX_KEPT} bytes of header fields are to be kept")
    return kept


@frozen(eq=False)
class Representation:
    """A blob as header fields describe it.

    ``headers`` are those of a 200 without Content-Length, ``not_modified`` those of a 304 (RFC
    9110 section 15.4.5).
    """

    blob: Committed
    content_type: bytes
    headers: PreparedFields
    not_modified: PreparedFields

    @classmethod
    def of(cls, blob: Committed) -> Representation:
        """Describe a blob. What is kept with it may be hand-made, so it is checked again."""
        content_type = blob.content_type or DEFAULT_TYPE
        if not _FIELD_VALUE.fullmatch(content_type):
            content_type = DEFAULT_TYPE
        headers = {
            b"content-type": content_type.encode("latin-1"),
            b"last-modified": http_date(modified_of(blob)).encode("ascii"),
            b"accept-ranges": b"bytes",
            # A blob can be replaced at any time; without this, caches guess how long it lasts
            # (RFC 9111 section 4.2.2).
            b"cache-control": b"no-cache",
            **etag_header(blob),
        }
        if blob.sha256 is not None:
            headers[b"repr-digest"] = repr_digest(blob.sha256)
        for name, value in (blob.metadata or {}).items():
            if _FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(value):
                key = name.encode("ascii")
                if key in _KEPT or key.startswith(_META):
                    headers[key] = value.encode("latin-1")
        headers.update(SAFETY)
        return cls(
            blob,
            headers[b"content-type"],
            PreparedFields(headers.items()),
            PreparedFields(
                (name, headers[name])
                for name in (b"etag", b"cache-control", *SAFETY)
                if name in headers
            ),
        )


def etag_header(blob: Committed) -> dict[bytes, bytes]:
    """The ETag field of a blob (RFC 9110 section 8.8.3)."""
    etag = etag_of(blob)
    return {} if etag is None else {b"etag": quote_etag(etag).encode("ascii")}


@define(eq=False)
class RepresentationCache:
    """Remembers how the blobs read of late are described; blobs never change."""

    _capacity: int = 4096
    _known: dict[int, Representation] = field(init=False, factory=dict)

    def of(self, blob: Committed) -> Representation:
        """Describe a blob, from memory if it was described before."""
        known = self._known.get(blob.id)
        if known is not None and known.blob is blob:
            return known
        if len(self._known) >= self._capacity:
            self._known.clear()
        known = self._known[blob.id] = Representation.of(blob)
        return known
