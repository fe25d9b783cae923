"""What a client is told about blobs, as values, and how header fields and JSON say it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from attrs import Factory, frozen

from gostore.client.errors import BadAnswer

_DIGEST = re.compile(r"(?:\A|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):")
_ETAG = re.compile(r'(?:W/)?"([0-9a-f]{64})"')
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")
_META = "x-gostore-meta-"


@frozen
class Blob:
    """What is known of one version of a blob.

    ``sha256`` is the digest of its bytes in hex, None if the daemon does not tell. ``metadata`` has
    the X-Gostore-Meta-* fields by the rest of their names, in lower case; a list has none of them.
    """

    location: str
    size: int
    etag: str | None = None
    sha256: str | None = None
    modified: datetime | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] = Factory(dict)
    expires: datetime | None = None
    is_damaged: bool = False

    @property
    def mtime(self) -> int | None:
        """The time of the file that it was made of, in nanoseconds since the epoch."""
        return parse_mtime(self.metadata.get("mtime", ""))


@frozen
class Version:
    """One version of a location, as its history has it; ``version`` names it to read or restore.

    ``ended_by`` is "replaced", "deleted" or "expired", None for the current one. ``fields`` has
    everything that the daemon says about it.
    """

    location: str
    version: int
    size: int
    etag: str | None
    ended_by: str | None
    fields: Mapping[str, Any] = Factory(dict)


def sha256_of(fields: Mapping[str, str]) -> str | None:
    """The digest in hex that the fields of an answer announce, None if they announce none.

    Repr-Digest (RFC 9530), or the entity tag, which is the digest for gostore and the Go server
    alike. Raises BadAnswer if the two contradict each other.
    """
    tag = _ETAG.fullmatch(fields.get("etag", ""))
    found = _DIGEST.search(fields.get("repr-digest", ""))
    if found is None:
        return tag[1] if tag else None
    try:
        digest = base64.b64decode(found[1], validate=True).hex()
    except binascii.Error:
        return tag[1] if tag else None
    if tag and tag[1] != digest:
        raise BadAnswer("The answer's Repr-Digest is not that of its ETag")
    return digest


def repr_digest(sha256: str) -> str:
    """The value of Repr-Digest for a digest in hex."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode('ascii')}:"


def blob_of(location: str, fields: Mapping[str, str], size: int) -> Blob:
    """The blob that the head of an answer describes."""
    return Blob(
        location,
        size,
        fields.get("etag"),
        sha256_of(fields),
        _http_date(fields.get("last-modified")),
        fields.get("content-type"),
        {name[len(_META) :]: text for name, text in fields.items() if name.startswith(_META)},
        _http_date(fields.get("expires-at")),
    )


def length_of(fields: Mapping[str, str]) -> int | None:
    """Content-Length; None if there is none. Raises BadAnswer if it is no number."""
    text = fields.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        raise BadAnswer("The answer's Content-Length is not a number")
    return int(text)


def entries_of(body: bytes) -> list[Blob | str]:
    """The entries of one page of the list: blobs, and prefixes as text. Raises BadAnswer."""
    entries: list[Blob | str] = []
    for each in _array(body):
        if "prefix" in each:
            entries.append(_text(each, "prefix"))
            continue
        etag = each.get("etag")
        tag = _ETAG.fullmatch(etag) if isinstance(etag, str) else None
        content_type = each.get("content_type")
        blob = Blob(
            _text(each, "location"),
            _number(each, "size"),
            etag if isinstance(etag, str) else None,
            tag[1] if tag else None,
            _json_time(each.get("modified")),
            content_type if isinstance(content_type, str) else None,
            is_damaged=each.get("damaged") is True,
        )
        entries.append(blob)
    return entries


def versions_of(body: bytes) -> list[Version]:
    """The entries of a history, newest first. Raises BadAnswer."""
    return [
        Version(
            _text(each, "location"),
            _number(each, "version"),
            _number(each, "size"),
            each["etag"] if isinstance(each.get("etag"), str) else None,
            each["ended_by"] if isinstance(each.get("ended_by"), str) else None,
            each,
        )
        for each in _array(body)
    ]


def said_in(body: bytes) -> str | None:
    """The text of an error as gostore writes it; None if somebody else wrote it."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    text = said.get("text") if isinstance(said, dict) else None
    return " ".join(text.split()) if isinstance(text, str) else None


def format_mtime(nanoseconds: int) -> str:
    """The time of a file as X-Gostore-Meta-Mtime has it: seconds since the epoch."""
    sign = "-" if nanoseconds < 0 else ""
    seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
    return f"{sign}{seconds}.{rest:09}"


def parse_mtime(text: str) -> int | None:
    """Nanoseconds since the epoch; None for what is no time, or one that no file can have."""
    found = re.fullmatch(r"(-?)(\d{1,10})(?:\.(\d{1,9})\d*)?", text, re.ASCII)
    if found is None:
        return None
    nanoseconds = int(found[2]) * 1_000_000_000 + int((found[3] or "").ljust(9, "0"))
    return -nanoseconds if found[1] else nanoseconds


def _array(body: bytes) -> list[dict[str, Any]]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise BadAnswer("The answer is not JSON") from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadAnswer("The answer is not a list")
    return found


def _text(entry: Mapping[str, Any], name: str) -> str:
    if not isinstance(text := entry.get(name), str):
        raise BadAnswer(f"An entry of the answer has no {name}")
    return text


def _number(entry: Mapping[str, Any], name: str) -> int:
    number = entry.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise BadAnswer(f"An entry of the answer has no {name}")
    return number


def _http_date(text: str | None) -> datetime | None:
    try:
        return None if text is None else parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None


def _json_time(text: object) -> datetime | None:
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    try:
        whole = datetime.fromisoformat(found[1])
    except ValueError:
        return None
    microseconds = int((found[2] or "").ljust(6, "0")[:6])
    return whole.replace(microsecond=microseconds, tzinfo=timezone.utc)
