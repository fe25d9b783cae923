"""Ranges of a blob: which were asked for, and which are answered (RFC 9110 section 14)."""

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
    """The bytes of a blob from ``start`` up to, and without, ``stop``."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.stop - self.start

    def content_range(self, size: int) -> bytes:
        """The value of Content-Range for this part of a blob of ``size`` bytes (14.4)."""
        return b"bytes %d-%d/%d" % (self.start, self.stop - 1, size)


def spans_of(value: bytes, size: int) -> list[Span] | None:
    """The parts of a blob of ``size`` bytes that a Range header asks for, in its order.

    None if the whole blob is the answer: another unit, a field that breaks the grammar, more than
    32 ranges, ranges that overlap, or the last bytes of an empty blob. Raises Refusal (416) if
    there is not a byte in any of the ranges.
    """
    unit, _, specs = value.decode("latin-1").partition("=")
    wanted = [spec for item in specs.split(",") if (spec := item.strip(" \t"))]
    if unit.strip(" \t").lower() != "bytes" or not 1 <= len(wanted) <= MAX_RANGES:
        return None
    spans: list[Span] = []
    for spec in wanted:
        parsed = _SPEC.fullmatch(spec)
        if parsed is None or spec == "-":
            return None
        first, last = (digits.lstrip("0") if digits else None for digits in parsed.groups())
        if first is None:
            if last and size == 0:
                return None  # Satisfied by an empty blob (14.1.2), yet Content-Range cannot say so.
            # The last 0 bytes can be read, but never satisfied.
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
    """The body of multipart/byteranges (14.6): the bytes around the spans, and the spans."""
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
    """Read a number without leading zeros, of however many digits, in no time."""
    return int(digits or "0") if len(digits) <= _DIGITS else 10**_DIGITS


def _overlap(spans: Sequence[Span]) -> bool:
    """Whether a byte is asked for twice; if none is, they add up to no more than the blob."""
    ordered = sorted(spans, key=lambda span: span.start)
    return any(left.stop > right.start for left, right in pairwise(ordered))
