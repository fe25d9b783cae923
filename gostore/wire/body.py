"""Request bodies: bytes off the socket to whoever takes them.

A body of a known length is counted. llhttp reads a chunked one. It is given a head made here, of
nothing but the framing that the real head was checked to have, so that no method, Upgrade or
Connection of a client's can put it into another state; and it is given only lines that were
checked first, because it lets chunk sizes overflow and extensions grow without end.
"""

from __future__ import annotations

import re
from collections import deque
from contextlib import suppress
from typing import Protocol

from httptools import HttpParserError, HttpRequestParser
from twisted.logger import Logger

from gostore.wire.head import Limits, ProtocolError
from gostore.wire.response import INTERNAL_ERROR

log = Logger()

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_EXTENSION = rb";" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
# RFC 9112 section 7.1, without the blanks that section forbids senders to make.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})((?:" + _EXTENSION + rb")*)\r\n")
_CHUNK_PART = re.compile(rb"[0-9A-Fa-f]{1,16}(?:;[\t -~\x80-\xff]*)?\r?")
_TRAILER = re.compile(_TOKEN + rb":[\t -~\x80-\xff]*\r\n")
_TRAILER_PART = re.compile(rb"[\t -~\x80-\xff]*\r?")

# One piece for each chunk is the cheap way until chunks get tiny; then they are put together.
_MANY_PIECES = 16


class Sink(Protocol):
    """What takes a body: pieces in order, then exactly one of finished and failed, once."""

    def received(self, data: bytes) -> None:
        """The next piece, never empty."""

    def finished(self) -> None:
        """That was all of it."""

    def failed(self, reason: str) -> None:
        """The rest will not come, because of `reason`, a phrase for people."""


class Reader(Protocol):
    """What reads the socket for a body."""

    def body_wanted(self) -> None:
        """The body is about to be taken for the first time."""

    def body_moved(self) -> None:
        """The body may have begun or ceased to be `held`."""

    def body_broke(self, body: Body) -> None:
        """The sink raised an exception (it is logged)."""


class Body:
    """One request's body, a push producer.

    `length` is the announced size in bytes; None when chunked, 0 when there is none. `complete`
    says that all of it is here, `size` how many bytes are, `started` that some of its framing is.
    """

    __slots__ = (
        "_ended",
        "_extensions",
        "_flowing",
        "_in_trailer",
        "_kept",
        "_left",
        "_limits",
        "_line",
        "_parsed",
        "_parser",
        "_paused",
        "_pieces",
        "_reader",
        "_reason",
        "_settled",
        "_sink",
        "_taken",
        "_trailer_fields",
        "_trailer_size",
        "complete",
        "length",
        "size",
        "started",
    )

    def __init__(self, length: int | None, limits: Limits, reader: Reader) -> None:
        self.length = length
        self.size = 0
        self.complete = length == 0
        self.started = False
        self._limits = limits
        self._reader = reader
        self._sink: Sink | None = None
        self._taken = False
        self._settled = False
        self._reason: str | None = None
        self._paused = False
        self._flowing = False
        self._pieces: deque[bytes] = deque()
        self._kept = 0
        # Of the message, what is still to come; of a chunked one, of a chunk, with its CRLF.
        self._left = length or 0
        self._parser: HttpRequestParser | None = None
        if length is None:
            self._start()

    def _start(self) -> None:
        self._ended = False
        self._parsed: deque[bytes] = deque()
        self._parser = HttpRequestParser(_Events(self._parsed, self))
        # The beginning of a chunk size or trailer line whose end has not come yet.
        self._line = b""
        self._in_trailer = False
        self._extensions = 0
        self._trailer_size = 0
        self._trailer_fields = 0
        self._read(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")

    # The side of the application.

    @property
    def taken(self) -> bool:
        """Whether `deliver` was called."""
        return self._taken

    def deliver(self, sink: Sink) -> None:
        """Let the bytes flow to `sink`; what is already here goes at once. At most one call.

        Sends 100 (Continue) to a client that waits for it and has sent nothing of the body.
        """
        if self._taken:
            raise RuntimeError("the body was taken before")
        self._taken = True
        if self._reason is None and not self.complete:
            self._reader.body_wanted()
        self._sink = sink
        self.flow()
        self._reader.body_moved()

    def pauseProducing(self) -> None:
        """Call nothing of the sink, unless the body fails, until `resumeProducing`."""
        self._paused = True
        self._reader.body_moved()

    def resumeProducing(self) -> None:
        """Let the bytes flow again."""
        self._paused = False
        self.flow()
        self._reader.body_moved()

    # The side of the connection.

    @property
    def held(self) -> bool:
        """Whether nothing more should be read from the socket for now."""
        return self._paused or self._kept > self._limits.body_ahead

    @property
    def progress(self) -> str:
        """How much has come, in words."""
        of = "" if self.length is None else f" of {self.length}"
        return f"{self.size}{of} bytes"

    def feed(self, data: bytes, start: int) -> int:
        """Read `data` from `start` on; return where the body's part of it ends.

        Nothing reaches the sink before `flow` is called. Raises ProtocolError.
        """
        self.started = True
        if self.length is not None:
            return self._feed_counted(data, start)
        end = self._feed_chunks(data, start)
        if self._ended is not self.complete:
            raise ProtocolError(400, "Malformed body")
        if self.complete:
            self._parser = None
        parsed = self._parsed
        if parsed:
            if len(parsed) > _MANY_PIECES:
                self._keep(b"".join(parsed))
            else:
                for piece in parsed:
                    self._keep(piece)
            parsed.clear()
        return end

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._kept += len(piece)
        self.size += len(piece)

    def fail(self, reason: str) -> None:
        """The rest will not come, or is of no use any more; what is kept is dropped."""
        if self._settled or self._reason is not None:
            return
        self._reason = reason
        self._parser = None
        self._pieces.clear()
        self._kept = 0
        self.flow()

    def flow(self) -> None:
        """Give the sink what it is due."""
        sink = self._sink
        if self._flowing or sink is None:
            return
        self._flowing = True
        try:
            while self._flow_once(sink):
                pass
        except Exception:
            log.failure("What takes a request body raised an exception")
            told, self._settled = self._settled, True
            self._pieces.clear()
            self._kept = 0
            self._reader.body_broke(self)
            if not told:
                # It may hold things that others wait for.
                with suppress(Exception):
                    sink.failed(INTERNAL_ERROR)
        finally:
            self._flowing = False
            if self._settled:
                self._sink = None

    def _flow_once(self, sink: Sink) -> bool:
        """One call of the sink; whether there may be another."""
        if self._settled:
            return False
        if self._reason is not None:
            self._settled = True
            sink.failed(self._reason)
        elif self._paused:
            return False
        elif self._pieces:
            piece = self._pieces.popleft()
            self._kept -= len(piece)
            sink.received(piece)
            return True
        elif self.complete:
            self._settled = True
            sink.finished()
        return False

    # Framing.

    def _read(self, data: bytes | memoryview) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            raise ProtocolError(400, "Malformed body") from None

    def _read_span(self, data: bytes, start: int, end: int) -> None:
        if start < end:
            whole = start == 0 and end == len(data)
            self._read(data if whole else memoryview(data)[start:end])

    def _feed_counted(self, data: bytes, start: int) -> int:
        end = min(len(data), start + self._left)
        self._left -= end - start
        self._keep(data if end - start == len(data) else data[start:end])
        self.complete = not self._left
        return end

    def _feed_chunks(self, data: bytes, start: int) -> int:
        """Check line by line; give llhttp as much at a time as was found good."""
        position = start
        size = len(data)
        while not self._in_trailer:
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                position += step
            if position == size:
                break
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
            match = _CHUNK.fullmatch(line)
            if match is None:
                raise self._bad_line()
            self._read(line)
            self._begin_chunk(match)
        self._read_span(data, start, position)
        while self._in_trailer and not self.complete and position < size:
            line, position = self._take_line(data, position)
            if line is not None:
                self._end_trailer(line)
        return position

    def _take_line(self, data: bytes, start: int) -> tuple[bytes | None, int]:
        """The line at `start` with its CRLF, None if its end has not come; and where it ends."""
        end = data.find(b"\n", start) + 1
        bound = self._limits.head if self._in_trailer else self._limits.chunk_extensions + 18
        stop = end or len(data)
        if len(self._line) + stop - start > bound:
            raise self._bad_line()
        line = self._line + data[start:stop]
        if end:
            self._line = b""
            return line, end
        # A trailer line may be long: only what is new of it is looked at.
        if self._in_trailer:
            good = _TRAILER_PART.fullmatch(data, start)
        else:
            good = _CHUNK_PART.fullmatch(line)
        if good is None:
            raise self._bad_line()
        self._line = line
        return None, stop

    def _begin_chunk(self, match: re.Match[bytes]) -> None:
        digits, extension = match.groups()
        if extension:
            self._extensions += len(extension)
            if self._extensions > self._limits.chunk_extensions:
                raise ProtocolError(400, "Too many chunk extensions")
        size = int(digits, 16)
        if size > self._limits.body - self.size:
            text = f"The body is larger than the limit of {self._limits.body} bytes"
            raise ProtocolError(413, text)
        if size:
            self._left = size + 2
        else:
            self._in_trailer = True

    def _end_trailer(self, line: bytes) -> None:
        """Trailer fields are checked and dropped (RFC 9112 section 7.1.2): llhttp sees none."""
        if line == b"\r\n":
            self._read(line)
            self.complete = True
            return
        self._trailer_size += len(line)
        self._trailer_fields += 1
        if (
            self._trailer_size > self._limits.head
            or self._trailer_fields > self._limits.fields
            or _TRAILER.fullmatch(line) is None
        ):
            raise self._bad_line()

    def _bad_line(self) -> ProtocolError:
        return ProtocolError(400, f"Malformed {'trailer' if self._in_trailer else 'chunk'}")


class _Events:
    """What llhttp reports. `on_body` is the deque's own append, the cheapest call there is."""

    __slots__ = ("_body", "on_body")

    def __init__(self, parsed: deque[bytes], body: Body) -> None:
        self.on_body = parsed.append
        self._body = body

    def on_message_complete(self) -> None:
        self._body._ended = True
