"""The header fields that describe a blob: those kept with an upload, and those of an answer.

A blob is one representation (RFC 9110 section 8): the bytes as sent. So it has one strong entity
tag, one digest and one type.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from attrs import define, field, frozen
from werkzeug.http import http_date

from gostore.blob import DEFAULT_TYPE, Committed
from gostore.errors import TooMuchMetadata
from gostore.store.interface import MAX_METADATA
from gostore.text import wall_seconds
from gostore.web.answers import Refusal
from gostore.web.fields.conditions import END_OF_TIME, etag_of, modified_of
from gostore.web.fields.digests import repr_digest
from gostore.web.fields.lifetime import EXPIRES_AT
from gostore.web.fields.safety import VARY, as_attachment, is_navigation, is_shown, safety_fields
from gostore.wire import TEXT, TOKEN, Headers, PreparedFields

_KEPT = frozenset(
    {b"content-encoding", b"content-language", b"content-disposition", b"cache-control"}
)
META = b"x-gostore-meta-"
"""How the names of fields begin that clients choose."""
_OF_REQUESTS = frozenset({"max-stale", "min-fresh", "only-if-cached"})
_TYPE_OF_CURL_DATA = "application/x-www-form-urlencoded"
_FIELD_NAME = re.compile(TOKEN.decode("ascii"))
_FIELD_VALUE = re.compile(f"{TEXT.decode('ascii')}*")


def kept_type(headers: Headers) -> str | None:
    """The Content-Type to keep with an upload; None for the default.

    ``curl --data`` labels every body ``application/x-www-form-urlencoded``, so that type counts
    as none. Raises Refusal (400) for two types, since a blob has one.
    """
    values = headers.get_all(b"content-type")
    if len(values) > 1:
        raise Refusal(400, "There is more than one Content-Type")
    content_type = b"".join(values).decode("latin-1")
    if content_type.partition(";")[0].strip().lower() in ("", _TYPE_OF_CURL_DATA):
        return None
    return content_type


def is_form(content_type: str) -> bool:
    """Whether this is the type of a form: its files are inside, between boundaries (RFC 7578)."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def keeps_metadata(headers: Headers) -> bool:
    """Whether an upload keeps what the version has that it replaces. Raises Refusal (400)."""
    value = headers.get(b"x-gostore-keep-metadata")
    if value not in (None, b"0", b"1"):
        raise Refusal(400, "X-Gostore-Keep-Metadata is neither 1 nor 0")
    return value == b"1"


def kept_fields(headers: Headers) -> dict[str, str]:
    """The other header fields to keep with an upload, as sent; lines of one name are joined.

    Raises Refusal (431) if they and the type exceed 8 KiB.
    """
    kept: dict[str, str] = {}
    size = sum(len(value) for value in headers.get_all(b"content-type"))
    for name, value in headers.items():
        if name in _KEPT or name.startswith(META):
            size += len(name) + len(value)
            key = name.decode("latin-1")
            text = value.decode("latin-1")
            kept[key] = f"{kept[key]}, {text}" if key in kept else text
    if size > MAX_METADATA:
        raise Refusal(431, str(TooMuchMetadata(MAX_METADATA)))
    if "cache-control" in kept and not _is_of_the_blob(kept["cache-control"], headers):
        del kept["cache-control"]
    return kept


def _is_of_the_blob(cache_control: str, headers: Headers) -> bool:
    """Whether a Cache-Control is meant for the blob's readers, and not for the upload itself.

    In a request it is about the answer to it (RFC 9111 section 5.2.1). A client that talks to us
    directly can only mean the blob, unless it says what makes no sense there. A proxy adds its own:
    Squid says max-age=259200 of all that it forwards.
    """
    if b"via" in headers:
        return False
    directives = {each.partition("=")[0].strip().lower() for each in cache_control.split(",")}
    return directives.isdisjoint(_OF_REQUESTS)


_SECONDS_A_DAY = 86_400


@lru_cache(maxsize=4096)
def _day(days: int) -> bytes:
    """The date of a day since the epoch, as HTTP writes it, up to the blank before the time."""
    date = http_date(days * _SECONDS_A_DAY).encode("ascii")
    return date[: date.index(b" 00:00:00")]


def _date(seconds: int) -> bytes:
    """A time as HTTP writes it."""
    days, rest = divmod(seconds, _SECONDS_A_DAY)
    time = b"%02d:%02d:%02d" % (rest // 3600, rest // 60 % 60, rest % 60)
    return b"%b %b GMT" % (_day(days), time)


@lru_cache(maxsize=4096)
def _last_modified(seconds: int) -> PreparedFields:
    return PreparedFields([(b"last-modified", _date(seconds))])


_RANGES = PreparedFields([(b"accept-ranges", b"bytes")])


@frozen(eq=False)
class _OfType:
    """The header fields that all blobs of one type have."""

    content_type: bytes
    is_shown: bool
    first: PreparedFields
    safety: PreparedFields


@lru_cache(maxsize=64)
def _of_type(content_type: str) -> _OfType:
    """A type that cannot be a field is the default. Somebody may have edited the state file."""
    if not _FIELD_VALUE.fullmatch(content_type):
        return _of_type(DEFAULT_TYPE)
    value = content_type.encode("latin-1")
    safety = safety_fields(content_type)
    shown = is_shown(content_type)
    if not shown:
        safety[b"vary"] = VARY
    first = PreparedFields([(b"content-type", value)])
    return _OfType(value, shown, first, PreparedFields(safety.items()))


@frozen(eq=False)
class Representation:
    """The header fields of a blob.

    ``headers`` are those of a 200, without Content-Length. ``modified`` is the recorded time in
    seconds since the epoch, ``sent`` the one that is sent as Last-Modified. ``is_shown``: a browser
    that is led here shows the blob.
    """

    blob: Committed
    modified: int
    sent: int
    content_type: bytes
    is_shown: bool
    headers: PreparedFields

    @classmethod
    def of(cls, blob: Committed, now: int) -> Representation:
        """Describe a blob.

        A recorded time later than ``now`` is not sent: Last-Modified is then the time of the answer
        (RFC 9110 section 8.8.2.1).
        """
        modified = modified_of(blob)
        sent = min(modified, now)
        of_type = _of_type(blob.content_type or DEFAULT_TYPE)
        headers = PreparedFields.joined(
            of_type.first,
            _last_modified(sent),
            _RANGES,
            PreparedFields(_own_fields(blob).items()),
            of_type.safety,
        )
        return cls(blob, modified, sent, of_type.content_type, of_type.is_shown, headers)

    @property
    def not_modified(self) -> PreparedFields:
        """The header fields of a 304 (RFC 9110 section 15.4.5)."""
        own = _own_fields(self.blob)
        kept = ((name, own[name]) for name in (b"etag", b"cache-control") if name in own)
        of_type = _of_type(self.blob.content_type or DEFAULT_TYPE)
        return PreparedFields.joined(PreparedFields(kept), of_type.safety)

    def headers_for(self, client: Headers) -> PreparedFields:
        """The header fields for a client: ``headers``, or those of a file for a browser to save."""
        if self.is_shown or not is_navigation(client):
            return self.headers
        headers = dict(self.headers)
        headers[b"content-disposition"] = as_attachment(headers.get(b"content-disposition"))
        return PreparedFields(headers.items())


def _own_fields(blob: Committed) -> dict[bytes, bytes]:
    """The fields that a blob shares with no other: its tag, its digest, and what was kept with it.

    Somebody may have edited its state file, so kept fields are checked.
    """
    # A blob can be replaced at any time. Without this, caches guess how long they may keep it
    # (RFC 9111 section 4.2.2).
    fields = {b"cache-control": b"no-cache", **etag_header(blob), **lifetime_header(blob)}
    if blob.sha256 is not None:
        fields[b"repr-digest"] = repr_digest(blob.sha256)
    if blob.metadata is not None:
        for name, value in blob.metadata.items():
            if _FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(value):
                key = name.encode("ascii")
                if key.islower() and (key in _KEPT or key.startswith(META)):
                    fields[key] = value.encode("latin-1")
    return fields


def etag_header(blob: Committed) -> dict[bytes, bytes]:
    """The ETag field of a blob (RFC 9110 section 8.8.3)."""
    etag = etag_of(blob)
    # Hex needs no escape.
    return {} if etag is None else {b"etag": b'"%b"' % etag.encode("ascii")}


def lifetime_header(blob: Committed) -> dict[bytes, bytes]:
    """The Expires-At field of a blob; empty if it stays."""
    if blob.expires is None:
        return {}
    return {EXPIRES_AT: _date(min(max(blob.expires, 0), END_OF_TIME))}


@define(eq=False)
class RepresentationCache:
    """The representations of blobs that were read lately. Blobs are immutable."""

    _capacity: int = 4096
    _wall: Callable[[], float] = wall_seconds
    _known: dict[int, Representation] = field(init=False, factory=dict)

    def of(self, blob: Committed) -> Representation:
        """The blob's representation, made at the first request for it."""
        now = int(self._wall())
        known = self._known.get(blob.id)
        if known is not None and known.blob is blob and known.sent == min(known.modified, now):
            return known
        if len(self._known) >= self._capacity:
            self._known.clear()
        known = self._known[blob.id] = Representation.of(blob, now)
        return known
