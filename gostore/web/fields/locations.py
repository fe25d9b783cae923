"""Locations in URIs: percent-encoding, and the parameters of a query (RFC 3986)."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from gostore.blob import LOCATION_BYTES, check_location
from gostore.web.answers import Refusal

STORE = "/store/"
"""What every path of a blob begins with."""

_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def decode_location(raw: str) -> str:
    """The location that a raw path names, given what follows ``/store/`` in it.

    Percent-decoded exactly once, strict UTF-8, neither normalised nor case-folded. Raises Refusal:
    414 if it is too long, 400 if it is no location.
    """
    if _BAD_ESCAPE.search(raw) or "#" in raw:
        raise Refusal(400, "The path is not percent-encoded correctly")
    data = unquote_to_bytes(raw)
    if len(data) > LOCATION_BYTES:
        raise Refusal(414, f"The location is longer than {LOCATION_BYTES} bytes")
    try:
        location = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(400, "The location is not UTF-8") from None
    try:
        check_location(location)
    except ValueError as reason:
        raise Refusal(400, f"This is no location: {reason}") from None
    return location


def path_of(location: str) -> str:
    """The path of a location, with everything but unreserved characters and slashes encoded.

    Safe within a header, within the <> of a Link, and within a quoted HTML attribute.
    """
    return STORE + quote(location, safe="/")


def parse_query(query: str) -> dict[str, str]:
    """The parameters of a query, as a form would send them: ``+`` is a space.

    Raises Refusal (400) for broken percent-encoding, bytes that are not UTF-8, control characters,
    and a parameter that comes twice.
    """
    if _BAD_ESCAPE.search(query):
        raise Refusal(400, "The query is not percent-encoded correctly")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Refusal(400, "The query is not UTF-8") from None
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise Refusal(400, "A parameter of the query comes twice")
    if any(_CONTROL.search(value) for value in parameters.values()):
        raise Refusal(400, "The query has a control character")
    return parameters
