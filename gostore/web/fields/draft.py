"""The fields of "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload).

It is a draft: `INTEROP` says which of its versions this is. All of them are structured fields (RFC
9651), and a value of another type counts as none.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import http_sf

from gostore.store.unfinished import Standing
from gostore.web.answers import Refusal
from gostore.web.fields.parsing import MAX_LIST_SIZE, parsed
from gostore.web.fields.representation import META
from gostore.wire import Headers

INTEROP = b"8"
"""The interop version: that of the drafts from -09 on."""

VERSION = b"upload-draft-interop-version"
PARTIAL = b"application/partial-upload"

_COMPLETE = b"upload-complete"
_SECOND = 1_000_000_000

#: What is kept of the request that begins an upload, until the upload becomes a blob.
_KEPT = frozenset(
    {
        *(b"cache-control", b"content-disposition", b"content-encoding", b"content-language"),
        *(b"content-type", b"repr-digest", b"via", b"expires-in", b"expires-at"),
        *(b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"),
        b"x-gostore-keep-metadata",
    }
)
_METHOD = b":method"
_MOST = 8192


def speaks(headers: Headers) -> bool:
    """Whether the client follows the same version of the draft."""
    return headers.get(VERSION) == INTEROP


def completes(headers: Headers) -> bool | None:
    """Upload-Complete: whether the body is all of the rest; None if nothing is said."""
    found = _item(headers, _COMPLETE)
    return found if isinstance(found, bool) else None


def integer(headers: Headers, name: bytes) -> int | None:
    """A field that is a number of bytes; None if nothing is said."""
    found = _item(headers, name)
    is_number = isinstance(found, int) and not isinstance(found, bool)
    return found if is_number and found >= 0 else None


def _item(headers: Headers, name: bytes) -> Any:
    value = headers.get(name)
    if value is None or len(value) > MAX_LIST_SIZE:
        return None
    found = parsed(partial(http_sf.parse, tltype="item"), value)
    return found[0] if isinstance(found, tuple) else None


def limit_field(max_size: int | None, standing: Standing | None, now: int) -> dict[bytes, bytes]:
    """Upload-Limit, with the seconds that an upload has left at a time in nanoseconds."""
    limits = [] if max_size is None else [b"max-size=%d" % max_size]
    if standing is not None and standing.expires is not None:
        limits.append(b"max-age=%d" % max(0, (standing.expires - now) // _SECOND))
    return {b"upload-limit": b", ".join(limits) or b"min-size=0"}


def standing_fields(standing: Standing) -> dict[bytes, bytes]:
    """The fields that say how far an upload is."""
    fields = {
        _COMPLETE: b"?0" if standing.sha256 is None else b"?1",
        b"upload-offset": b"%d" % standing.offset,
        b"cache-control": b"no-store",
    }
    if standing.length is not None:
        fields[b"upload-length"] = b"%d" % standing.length
    return fields


def complete_field() -> dict[bytes, bytes]:
    """Upload-Complete of an answer that is about the blob, and not about the upload."""
    return {_COMPLETE: b"?1"}


def text_of(method: str, headers: Headers) -> str:
    """What is kept with an upload: the request that begins it, written as tus metadata are.

    Raises Refusal (431).
    """
    pairs = [(_METHOD, method.encode("ascii"))]
    pairs += [(k, v) for k, v in headers.items() if k in _KEPT or k.startswith(META)]
    text = b",".join(b"%b %b" % (name, base64.b64encode(value)) for name, value in pairs)
    if len(text) > _MOST:
        raise Refusal(431, "The fields of the upload are too long to be kept with it")
    return text.decode("latin-1")


def request_in(text: str) -> tuple[str, Headers] | None:
    """The method and the fields of the request that began an upload; None if it was one of tus."""
    pairs = [pair.partition(" ") for pair in text.split(",")]
    if pairs[0][0] != _METHOD.decode("ascii"):
        return None
    fields = [(name.encode("latin-1"), base64.b64decode(code)) for name, _, code in pairs]
    return fields[0][1].decode("ascii"), Headers.of(fields[1:])
