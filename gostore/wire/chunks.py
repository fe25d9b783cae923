"""Chunked bodies (RFC 9112 section 7.1), read by two parsers.

A body is accepted only where both agree. The patterns here check each line first, and llhttp then
reads what they let through and cuts out the data. llhttp alone would let chunk sizes overflow and
extensions grow without end; the patterns alone would be one more reader with an opinion of its
own. llhttp gets a head that is made here and has nothing but the framing that the real head was
checked to have, so no method, Upgrade or Connection of a client's can put it into another state.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from httptools import HttpParserError, HttpRequestParser

from gostore.wire.head import FIELD_LINE, NO_FIELDS, TEXT, TOKEN, Headers, ProtocolError
from gostore.wire.limits import Limits
from gostore.wire.turns import CHUNKS_A_TURN

_SIZE = rb"(0*)([1-9A-Fa-f][0-9A-Fa-f]{0,15}|0)"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\' + TEXT + rb')*"'
_VALUE = rb"(?:" + TOKEN + rb"|" + _QUOTED + rb")"
_EXTENSION = rb";" + TOKEN + rb"(?:=" + _VALUE + rb")?"
_CHUNK = re.compile(_SIZE + rb"((?:" + _EXTENSION + rb")*)\r\n")
# With blanks around ";" and "=", which senders must not make and recipients have to remove (RFC
# 9112 section 7.1.1, RFC 9110 section 5.6.3). llhttp refuses them, so it gets the line without.
_LOOSE_EXTENSION = rb"[ \t]*;[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*" + _VALUE + rb")?"
_LOOSE_CHUNK = re.compile(_SIZE + rb"((?:" + _LOOSE_EXTENSION + rb")*)\r\n")
_BLANKS = re.compile(rb"(" + _QUOTED + rb")|[ \t]+")
_CHUNK_PART = re.compile(rb"[0-9A-Fa-f]+[ \t]*(?:;" + TEXT + rb"*)?\r?")
_TRAILER = re.compile(FIELD_LINE)
_TRAILER_PART = re.compile(TEXT + rb"*\r?")

# One piece for each chunk is cheap until chunks get tiny. Then they are joined.
_MANY_PIECES = 16


class Chunked:
    """Reads one chunked body. `parser` makes the second parser, llhttp."""

    __slots__ = (
        "_allowed",
        "_events",
        "_extensions",
        "_in_trailer",
        "_left",
        "_limits",
        "_line",
        "_parser",
        "_pieces",
        "_trailer_fields",
        "_trailer_size",
        "complete",
    )

    def __init__(
        self, limits: Limits, parser: Callable[[Any], HttpRequestParser] = HttpRequestParser
    ) -> None:
        self.complete = False
        self._limits = limits
        self._pieces: list[bytes] = []
        self._events = _Events(self._pieces)
        self._parser = parser(self._events)
        # How much is to come of a chunk, with its CRLF; and how much there may be after it.
        self._left = 0
        self._allowed = limits.max_blob_size
        # The first part of a chunk size or trailer line whose end has not come.
        self._line = b""
        self._in_trailer = False
        self._extensions = 0
        self._trailer_size = 0
        self._trailer_fields: list[tuple[bytes, bytes]] = []
        self._read(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")

    @property
    def trailer(self) -> Headers:
        """The fields after the last chunk."""
        return Headers.of(self._trailer_fields) if self._trailer_fields else NO_FIELDS

    def feed(self, data: bytes, start: int, keep: Callable[[bytes], None]) -> int:
        """Read `data` from `start` on, and call `keep` with each piece of the body in it.

        Returns where the body's part of `data` ends, or where to go on in another turn. Raises
        ProtocolError.
        """
        end = self._read_lines(data, start)
        # The two parsers have to see the same end.
        if self._events.ended is not self.complete:
            raise ProtocolError(400, "Malformed body")
        pieces = self._pieces
        if len(pieces) > _MANY_PIECES:
            keep(b"".join(pieces))
        else:
            for piece in pieces:
                keep(piece)
        pieces.clear()
        return end

    def _read_lines(self, data: bytes, start: int) -> int:
        """Check line by line; give llhttp as much at a time as is good."""
        position = start
        size = len(data)
        turn = CHUNKS_A_TURN
        while turn and not self._in_trailer:
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                position += step
            if position == size:
                break
            turn -= 1
            match = None if self._line else _CHUNK.match(data, position)
            if match is not None:
                position = match.end()
                self._begin_chunk(match)
                continue
            self._read_span(data, start, position)
            line, position = self._take_line(data, position)
            start = position
            if line is None:
                break
            match = _LOOSE_CHUNK.fullmatch(line)
            if match is None:
                raise self._bad_line()
            self._read(_BLANKS.sub(_without_blanks, line))
            self._begin_chunk(match)
        self._read_span(data, start, position)
        while self._in_trailer and not self.complete and position < size:
            line, position = self._take_line(data, position)
            if line is not None:
                self._end_trailer(line)
        return position

    def _read(self, data: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            raise ProtocolError(400, "Malformed body") from None

    def _read_span(self, data: bytes, start: int, end: int) -> None:
        if start < end:
            whole = start == 0 and end == len(data)
            self._read(data if whole else memoryview(data)[start:end])

    def _take_line(self, data: bytes, start: int) -> tuple[bytes | None, int]:
        """The line at `start` with its CRLF, None if its end has not come; and where it ends."""
        end = data.find(b"\n", start) + 1
        limits = self._limits
        bound = limits.max_head_size if self._in_trailer else limits.chunk_extensions + 18
        stop = end or len(data)
        if len(self._line) + stop - start > bound:
            raise self._bad_line()
        line = self._line + data[start:stop]
        if end:
            self._line = b""
            return line, end
        # A trailer line may be long, so each byte of it is looked at once.
        if self._in_trailer:
            good = _TRAILER_PART.fullmatch(data, start)
        else:
            good = _CHUNK_PART.fullmatch(line)
        if good is None:
            raise self._bad_line()
        self._line = line
        return None, stop

    def _begin_chunk(self, match: re.Match[bytes]) -> None:
        zeros, digits, extension = match.groups()
        if extension or zeros:
            # Nobody needs more leading zeros than fill a size up to 16 digits.
            self._extensions += len(extension) + max(0, len(zeros) + len(digits) - 16)
            if self._extensions > self._limits.chunk_extensions:
                raise ProtocolError(400, "Too many chunk extensions")
        size = int(digits, 16)
        self._allowed -= size
        if self._allowed < 0:
            text = f"The body is larger than the limit of {self._limits.max_blob_size} bytes"
            raise ProtocolError(413, text)
        if size:
            self._left = size + 2
        else:
            self._in_trailer = True

    def _end_trailer(self, line: bytes) -> None:
        """Trailer fields are checked and kept apart (RFC 9112 section 7.1.2). llhttp sees none."""
        if line == b"\r\n":
            self._read(line)
            self.complete = True
            return
        self._trailer_size += len(line)
        if (
            self._trailer_size > self._limits.max_head_size
            or len(self._trailer_fields) == self._limits.max_fields
            or _TRAILER.fullmatch(line) is None
        ):
            raise self._bad_line()
        name, _, value = line.partition(b":")
        self._trailer_fields.append((name.lower(), value.strip(b" \t\r\n")))

    def _bad_line(self) -> ProtocolError:
        return ProtocolError(400, f"Malformed {'trailer' if self._in_trailer else 'chunk'}")


def _without_blanks(match: re.Match[bytes]) -> bytes:
    return match[1] or b""


class _Events:
    """What llhttp reports. `on_body` is the list's own append, the cheapest call there is."""

    __slots__ = ("ended", "on_body")

    def __init__(self, pieces: list[bytes]) -> None:
        self.ended = False
        self.on_body = pieces.append

    def on_message_complete(self) -> None:
        self.ended = True
