"""Ranges of a blob: the Range field, and multipart/byteranges (RFC 9110 section 14)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from attrs import frozen

from gostore.web.answers import Refusal

MAX_RANGES = 32
"""A request for more ranges than this gets the whole blob."""

_SPEC = re.compile("([0-9]*)-([0-9]*)")

_DIGITS = 19
"""A number with more digits than this is beyond the end of any blob."""


@frozen
class Span:
    """The bytes of a blob from ``start`` up to ``stop``, which is not included."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """In bytes."""
        return self.stop - self.start

    def content_range(self, size: int) -> bytes:
        """The value of Content-Range for this part of a blob of ``size`` bytes (14.4)."""
        return b"bytes %d-%d/%d" % (self.start, self.stop - 1, size)


def spans_of(value: bytes, size: int) -> list[Span] | None:
    """The parts of a blob of ``size`` bytes that a Range field asks for, in its order.

    None means the whole blob: for another unit, a malformed field, more than 32 ranges,
    overlapping ranges, or the last bytes of an empty blob. Raises Refusal (416) if no range
    contains a byte of the blob.
    """
    if value.count(b",") >= MAX_RANGES:
        return None
    unit, _, specs = value.decode("latin-1").partition("=")
    wanted = [spec for item in specs.split(",") if (spec := item.strip(" \t"))]
    if unit.strip(" \t").lower() != "bytes" or not wanted:
        return None
    spans: list[Span] = []
    for spec in wanted:
        parsed = _SPEC.fullmatch(spec)
        if parsed is None or spec == "-":
            return None
        first, last = (digits.lstrip("0") if digits else None for digits in parsed.groups())
        if first is None:
            if last and size == 0:
                return None  # Satisfiable (14.1.2), but Content-Range cannot express no bytes.
            # "The last 0 bytes" is valid, but never satisfiable.
            start, stop = max(size - _number(last or ""), 0), size
        elif last is not None and (len(last), last) < (len(first), first):
            return None
        else:
            start, stop = _number(first), size
            if last is not None:
                stop = min(_number(last) + 1, size)
        if start < stop:
            spans.append(Span(start, stop))
    if not spans:
        text = f"There is nothing in these ranges of {size} bytes"
        raise Refusal(416, text, {b"content-range": b"bytes */%d" % size})
    return None if _overlap(spans) else spans


def multipart(
    spans: Sequence[Span], size: int, content_type: bytes, boundary: bytes
) -> list[bytes | Span]:
    """The body of multipart/byteranges (14.6): the spans, and the bytes around them."""
    parts: list[bytes | Span] = []
    for span in spans:
        parts.append(
            b"\r\n--%b\r\nContent-Type: %b\r\nContent-Range: %b\r\n\r\n"
            % (boundary, content_type, span.content_range(size))
        )
        parts.append(span)
    parts.append(b"\r\n--%b--\r\n" % boundary)
    return parts


def _number(digits: str) -> int:
    """Read a number without leading zeros; int() is slow for thousands of digits."""
    return int(digits or "0") if len(digits) <= _DIGITS else 10**_DIGITS


def _overlap(spans: Sequence[Span]) -> bool:
    """Whether two spans share a byte. If none do, they add up to at most the blob's size."""
    ordered = sorted(spans, key=lambda span: span.start)
    return any(left.stop > right.start for left, right in pairwise(ordered))
