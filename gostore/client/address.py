"""Where a daemon is, and what a URL says of a blob in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus, unquote_to_bytes, urlsplit, urlunsplit

from attrs import field, frozen

from gostore.client.errors import BadLocation

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_STORE = "/store/"
_UPLOADS = "/uploads/"
_LONGEST = 1024


def check_location(location: str) -> str:
    """Return a location that a daemon can have; raise BadLocation, with the reason, for another.

    The rule is the daemon's. A client keeps it as well, since libraries on the way to the daemon
    would resolve ``..`` and so name another blob.
    """
    try:
        size = len(location.encode("utf-8"))
    except UnicodeEncodeError:
        raise BadLocation(f"{shown(location)} is not UTF-8") from None
    if not location:
        raise BadLocation("The location is empty")
    if size > _LONGEST:
        raise BadLocation(f"{shown(location)} is longer than {_LONGEST} bytes")
    if _CONTROL.search(location):
        raise BadLocation(f"{shown(location)} has a control character")
    for segment in location.split("/"):
        if segment in ("", ".", ".."):
            what = f"the segment {segment}" if segment else "an empty segment"
            raise BadLocation(f"{shown(location)} has {what}")
    return location


def encode_query(query: Mapping[str, str]) -> str:
    """The query of a URL. A name without a value has no ``=`` either: it is a switch."""
    pairs = (
        f"{quote_plus(name)}={quote_plus(text)}" if text else quote_plus(name)
        for name, text in query.items()
    )
    return "&".join(pairs)


def shown(text: str) -> str:
    """A name as it may be shown on a terminal: on one line, and obeyed by nobody."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


@frozen
class Address:
    """The URL of a daemon up to, not including, ``/store/``; it may have a path of a proxy's.

    Raises ValueError for what is no such URL, and for one with a password in it: it would stand
    in the list of processes and in the history of the shell.
    """

    url: str = field()

    @url.validator
    def _check(self, _: object, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{shown(url)} is not a URL that begins with http:// or https://")
        if "@" in parts.netloc:
            raise ValueError("Credentials do not belong in a URL; use GOSTORE_TOKEN or a file")
        if parts.query or parts.fragment:
            raise ValueError(f"{shown(url)} has a query or a fragment")
        _ = parts.port  # raises ValueError for one that is no number

    @property
    def host(self) -> str:
        """The name of the host, for .netrc."""
        return urlsplit(self.url).hostname or ""

    def of(self, location: str | None) -> str:
        """The URL of a location, or of the list."""
        base = self.url.rstrip("/") + _STORE
        return base if location is None else base + quote(check_location(location), safe="/")

    def of_upload(self, number: str, location: str) -> str:
        """The URL of an unfinished upload to a location; with "" the one where uploads begin."""
        base = self.url.rstrip("/") + _UPLOADS
        return f"{base}{number}/{quote(check_location(location), safe='/')}" if number else base


def split_url(url: str) -> tuple[Address, str]:
    """The daemon and the location, or prefix, that a URL names.

    ``http://host/store/a%20b`` names the blob ``a b``; without ``/store/`` in it a URL names the
    daemon alone. Raises ValueError, BadLocation among others.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValueError(f"{shown(url)} has a query or a fragment; percent-encode ? and #")
    before, found, rest = parts.path.partition(_STORE)
    if not found:
        before, rest = parts.path.removesuffix("/store"), ""
    try:
        location = unquote_to_bytes(rest).decode("utf-8")
    except UnicodeDecodeError:
        raise BadLocation(f"{shown(rest)} is not UTF-8") from None
    return Address(urlunsplit((parts.scheme, parts.netloc, before.rstrip("/"), "", ""))), location
