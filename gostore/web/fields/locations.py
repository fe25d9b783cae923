"""Locations in URIs: percent-encoding, and the parameters of a query (RFC 3986)."""

from __future__ import annotations

import re
from functools import partial
from urllib.parse import parse_qsl, quote, unquote, unquote_to_bytes

from gostore.blob import CONTROL, LOCATION_BYTES, check_location
from gostore.web.answers import Refusal
from gostore.web.fields.parsing import parsed

STORE = "/store/"
"""The path of a blob begins with this."""

MAX_QUERY = 8192
"""The most bytes of a query, percent-encoded: room for two of the longest locations."""

MAX_PARAMETERS = 32
"""The most parameters of a query."""

_DOT = re.compile(r"\A\./(?=[^/]*:)")
"""A relative reference starts so when its first segment has a colon (RFC 3986 section 4.2).

rclone puts such a reference behind the URL of the list without resolving it.
"""
# What `quote` makes of ASCII; a list of a million blobs needs it a million times.
_ENCODED = {code: quote(chr(code), safe="/") for code in range(128)}
# A location with no escape in it, and no segment that begins with a dot. Most are like this.
_PLAIN = re.compile(r"[\w~-][\w.~-]*(?:/[\w~-][\w.~-]*)*", re.ASCII)
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


def decode_location(raw: str) -> str:
    """The location that a raw path names; ``raw`` is the part after ``/store/``.

    It is percent-decoded exactly once, as strict UTF-8, and neither normalised nor case-folded.
    Raises Refusal: 414 if it is too long, 400 if it is no location.
    """
    if len(raw) <= LOCATION_BYTES and _PLAIN.fullmatch(raw):
        return raw
    if raw.startswith("./"):
        raw = _DOT.sub("", raw)
    if len(raw) > 3 * LOCATION_BYTES:
        raise _too_long()
    if _BAD_ESCAPE.search(raw) or "#" in raw:
        raise Refusal(400, "The path is not percent-encoded correctly")
    data = unquote_to_bytes(raw)
    if len(data) > LOCATION_BYTES:
        raise _too_long()
    try:
        location = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(400, "The location is not UTF-8") from None
    try:
        check_location(location)
    except ValueError as reason:
        raise Refusal(400, f"This is no location: {reason}") from None
    return location


def _too_long() -> Refusal:
    return Refusal(414, f"The location is longer than {LOCATION_BYTES} bytes")


def directory_of(path: str) -> str:
    """What of a location a raw path names up to its last slash, that slash included."""
    raw = _DOT.sub("", path[len(STORE) :])
    return unquote(raw[: raw.rfind("/") + 1])


def reference(location: str, directory: str) -> str:
    """The relative reference to a location from a path in this directory (RFC 3986 section 4.2).

    A proxy may serve all of this below a path of its own, so no reference names /store/. Only
    unreserved characters and slashes stay as they are: the first segment has no colon, which would
    make a scheme of it, and nothing needs escaping in a header, within the <> of a Link, or in a
    quoted HTML attribute.
    """
    rest = location[len(directory) :]
    return rest.translate(_ENCODED) if rest.isascii() else quote(rest, safe="/")


def reference_to_itself(path: str, location: str) -> str:
    """The relative reference from a raw path to the location that it names."""
    if path[len(STORE) :] == location and _PLAIN.fullmatch(location):
        return location[location.rfind("/") + 1 :]
    return reference(location, directory_of(path))


def parse_query(query: str) -> dict[str, str]:
    """The parameters of a query, as a form would send them: ``+`` is a space.

    Raises Refusal: 414 if it is too long, 400 for broken percent-encoding, bytes that are not
    UTF-8, control characters, a parameter given twice, and too many of them.
    """
    if _BAD_ESCAPE.search(query):
        raise Refusal(400, "The query is not percent-encoded correctly")
    if len(query) > MAX_QUERY:
        raise Refusal(414, f"The query is longer than {MAX_QUERY} bytes")
    if query.count("&") >= MAX_PARAMETERS:
        raise Refusal(400, f"The query has more than {MAX_PARAMETERS} parameters")
    pairs = parsed(partial(parse_qsl, keep_blank_values=True, errors="strict"), query)
    if pairs is None:
        raise Refusal(400, "The query is not UTF-8")
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise Refusal(400, "A parameter of the query comes twice")
    if any(CONTROL.search(value) for value in parameters.values()):
        raise Refusal(400, "The query has a control character")
    return parameters
