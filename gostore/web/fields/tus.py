"""The fields of tus 1.0.0 (https://tus.io/protocols/resumable-upload), and what they say."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from attrs import evolve
from werkzeug.http import http_date

from gostore.blob import check_location
from gostore.store.interface import Details
from gostore.store.unfinished import Chunk, Standing, Wanted
from gostore.web.answers import Refusal
from gostore.web.fields.conditions import Conditions
from gostore.web.fields.lifetime import lifetime_of
from gostore.web.fields.representation import kept_fields, kept_type
from gostore.web.fields.types import type_of_name
from gostore.wire import TEXT, TOKEN, Headers

VERSION = b"1.0.0"
EXTENSIONS = b"creation,creation-with-upload,creation-defer-length,expiration,checksum,termination"
CONTENT_TYPE = b"application/offset+octet-stream"

MAX_METADATA = 8192
"""The most bytes of Upload-Metadata: they are kept with the upload."""

ALGORITHMS = {"sha1": 20, "sha256": 32}
"""The checksums, each with its size in bytes. The protocol demands SHA-1."""

_NUMBER = re.compile(rb"[0-9]{1,18}")
_KEY = re.compile(rb"[!-+\--~]+")
_TOKEN = re.compile(TOKEN)
_TEXT = re.compile(TEXT + rb"*")
_SHA256 = re.compile(rb"[0-9a-fA-F]{64}")
_SECOND = 1_000_000_000

#: What the metadata may say of the blob, and the field of a POST or PUT that says the same.
_FIELDS = {
    "filetype": b"content-type",
    "if-match": b"if-match",
    "if-none-match": b"if-none-match",
    "expires-in": b"expires-in",
    "expires-at": b"expires-at",
}
_META = "x-gostore-meta-"


def check_version(headers: Headers) -> None:
    """Raise Refusal (412) unless the client speaks this version."""
    if headers.get(b"tus-resumable") != VERSION:
        text = "Say Tus-Resumable: 1.0.0; this server speaks no other version of tus"
        raise Refusal(412, text, {b"tus-version": VERSION})


def discovery(max_size: int | None) -> dict[bytes, bytes]:
    """The fields of the answer to OPTIONS."""
    fields = {
        b"tus-resumable": VERSION,
        b"tus-version": VERSION,
        b"tus-extension": EXTENSIONS,
        b"tus-checksum-algorithm": ",".join(ALGORITHMS).encode("ascii"),
    }
    if max_size is not None:
        fields[b"tus-max-size"] = b"%d" % max_size
    return fields


def standing_fields(standing: Standing) -> dict[bytes, bytes]:
    """The fields that say how far an upload is, when it expires, and which blob it has become."""
    fields = {b"upload-offset": b"%d" % standing.offset, b"cache-control": b"no-store"}
    if standing.expires is not None:
        fields[b"upload-expires"] = http_date(standing.expires // _SECOND).encode("ascii")
    if standing.sha256 is not None:
        fields[b"etag"] = b'"%b"' % standing.sha256.hex().encode("ascii")
    return fields


def length_fields(standing: Standing) -> dict[bytes, bytes]:
    """The fields that say what an upload was begun with."""
    fields = {}
    if standing.length is None:
        fields[b"upload-defer-length"] = b"1"
    else:
        fields[b"upload-length"] = b"%d" % standing.length
    if standing.text:
        fields[b"upload-metadata"] = standing.text.encode("latin-1")
    return fields


def announced_length(headers: Headers) -> int | None:
    """The length of an upload that begins; None if it is said later. Raises Refusal (400)."""
    if headers.get(b"upload-concat") is not None:
        raise Refusal(400, "The extension concatenation is not supported: send the whole upload")
    length = number(headers, b"upload-length")
    deferred = headers.get(b"upload-defer-length")
    if deferred not in (None, b"1"):
        raise Refusal(400, "Upload-Defer-Length is 1, or is not sent")
    if (length is None) is (deferred is None):
        raise Refusal(400, "Send Upload-Length, or Upload-Defer-Length: 1")
    return length


def number(headers: Headers, name: bytes) -> int | None:
    """A field that is a number; None if it is missing. Raises Refusal (400)."""
    value = headers.get(name)
    if value is None:
        return None
    if _NUMBER.fullmatch(value) is None:
        raise Refusal(400, f"{name.decode().title()} is not a number of bytes")
    return int(value)


def chunk_of(headers: Headers) -> Chunk:
    """What a PATCH says of its body. Raises Refusal (400, 415)."""
    check_type(headers)
    offset = number(headers, b"upload-offset")
    if offset is None:
        raise Refusal(400, "Send Upload-Offset: the number of bytes that are here already")
    return Chunk(offset, number(headers, b"upload-length"), checksum_of(headers))


def check_type(headers: Headers) -> None:
    """Raise Refusal (415) unless the body has the type that tus gives it."""
    if headers.get(b"content-type") != CONTENT_TYPE:
        raise Refusal(415, f"The Content-Type of an upload is {CONTENT_TYPE.decode()}")


def checksum_of(headers: Headers) -> tuple[str, bytes] | None:
    """What Upload-Checksum says; None if it is not sent. Raises Refusal (400)."""
    if b"upload-checksum" in (headers.get(b"trailer") or b"").lower():
        text = "The extension checksum-trailer is not supported: send Upload-Checksum in the head"
        raise Refusal(400, text)
    value = headers.get(b"upload-checksum")
    if value is None:
        return None
    name, _, code = value.partition(b" ")
    algorithm = name.decode("latin-1")
    size = ALGORITHMS.get(algorithm)
    if size is None:
        raise Refusal(400, f"Upload-Checksum may be of {' or '.join(ALGORITHMS)}")
    digest = _decoded(code)
    if digest is None or len(digest) != size:
        raise Refusal(400, f"Upload-Checksum has no {algorithm} digest in base64")
    return algorithm, digest


def metadata_text(headers: Headers) -> str:
    """Upload-Metadata as it was sent, to be kept. Raises Refusal (431)."""
    value = headers.get(b"upload-metadata") or b""
    if len(value) > MAX_METADATA:
        raise Refusal(431, f"Upload-Metadata has more than {MAX_METADATA} bytes")
    return value.decode("latin-1")


def wanted_of(text: str) -> tuple[str, Wanted]:
    """The location of an upload, and what it is to become, by its metadata. Raises Refusal (400).

    ``if-match``, or an ``if-none-match`` with an entity tag, replaces a blob as a PUT does; else it
    is created as by a POST. Every other name is for the client itself.
    """
    metadata = _metadata(text.encode("latin-1"))
    location = _location(metadata)
    fields = Headers.of(_fields(metadata))
    conditions = Conditions.of(fields)
    others = conditions.if_none_match
    replaces = conditions.if_match is not None or (others is not None and not others.any)
    content_type = kept_type(fields) or type_of_name(location)
    details = Details(content_type, kept_fields(fields), lifetime=lifetime_of(fields))
    if "sha256" in metadata:
        if _SHA256.fullmatch(metadata["sha256"]) is None:
            raise Refusal(400, "The sha256 of Upload-Metadata is not 64 hex digits")
        digest = bytes.fromhex(metadata["sha256"].decode("ascii"))
        details = evolve(details, digests={"sha256": digest})
    if replaces:
        return location, Wanted(details, conditions.precondition(), exists=True)
    # Only what is said of a blob that must not be there counts.
    return location, Wanted(details, conditions.precondition(present=conditions.creates))


def _metadata(value: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for pair in value.split(b",") if value.strip() else ():
        key, _, code = pair.strip().partition(b" ")
        if _KEY.fullmatch(key) is None:
            raise Refusal(400, "Upload-Metadata is not pairs of a name and a value in base64")
        name = key.decode("ascii")
        data = _decoded(code)
        if data is None:
            raise Refusal(400, "Upload-Metadata has a value that is not base64")
        if name in found:
            raise Refusal(400, "Upload-Metadata has a name twice")
        found[name] = data
    return found


def _location(metadata: Mapping[str, bytes]) -> str:
    if "location" not in metadata:
        raise Refusal(400, "Upload-Metadata has no location: it says where the blob shall be")
    try:
        location = metadata["location"].decode("utf-8")
        check_location(location)
    except UnicodeDecodeError:
        raise Refusal(400, "The location is not UTF-8") from None
    except ValueError as reason:
        raise Refusal(400, f"This is no location: {reason}") from None
    return location


def _fields(metadata: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
    """The fields of a POST or PUT that would say the same."""
    pairs = []
    for name, value in metadata.items():
        field = _FIELDS.get(name)
        if field is None and name.startswith(_META):
            field = name.encode("ascii")
        if field is None:
            continue
        if _TOKEN.fullmatch(field) is None or _TEXT.fullmatch(value) is None:
            raise Refusal(400, "A value of Upload-Metadata cannot be that of a header field")
        pairs.append((field, value.strip()))
    return pairs


def _decoded(code: bytes) -> bytes | None:
    try:
        return base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError):
        return None
