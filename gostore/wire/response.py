"""Responses: their heads, the bodies that are read while they are sent, and errors.

The application may be wrong about what it wants sent. Nothing goes out that would let a client see
two responses in one, or take half a body for the whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from itertools import chain
from typing import Any, Protocol, cast, runtime_checkable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.wire.limits import MAX_BODY
from gostore.wire.turns import PIECES_A_TURN

log = Logger()

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
}
# RFC 9110 sections 8.6, 15.3.5 and 15.4.5: no body, and no length of one that is not sent.
BODILESS = frozenset((204, 304))

ERROR_HEADERS: Sequence[tuple[bytes, bytes]] = (
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
)
"""The header fields of a response whose body is an `error_body`."""


INTERNAL_ERROR = "Something went wrong"
"""The text of every 500 whose cause is only for the log."""


# Controls (C1) and line ends beyond ASCII: terminals obey them, and some readers end a line there.
_UNPRINTABLE = re.compile("[\x80-\x9f\u2028\u2029]")
_encode = json.JSONEncoder(ensure_ascii=False).encode


def json_line(value: object) -> str:
    """JSON that is one line for everybody, and readable beyond ASCII."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", _encode(value))


def error_body(code: int, text: str) -> bytes:
    """The one line of JSON that is the body of every error."""
    line = json_line({"code": code, "text": text})
    return line.encode("utf-8", "backslashreplace") + b"\n"


@frozen
class Stretch:
    """Bytes of a file that are in memory already, so that sending them waits for no disk.

    The descriptor stays open until its source is closed.
    """

    fd: int
    offset: int
    length: int


class Source(Protocol):
    """A response body that is read while it is sent."""

    @property
    def length(self) -> int | None:
        """Bytes in all; None if nobody knows, and then an empty piece is the end."""

    def read(self) -> bytes | Deferred[bytes]:
        """The next piece, not empty. Called again only when the last one is written.

        A failure before the first piece is answered with 500, a later one aborts the connection.
        An exception with an attribute `is_logged` was foreseen: it is logged in one line, or not
        at all if `is_logged` is true. Any other is logged with its traceback.
        """

    def close(self) -> None:
        """Called exactly once, whether everything was sent or not; never while a read is due."""


@runtime_checkable
class FileSource(Source, Protocol):
    """A source that can say where in a file its bytes are."""

    def stretch(self) -> bytes | Stretch | Deferred[bytes] | Deferred[Stretch]:
        """The next piece, like `read`. Either this or `read` is called for all pieces."""

    def unsent(self, failure: Failure) -> Failure:
        """Return what a read would fail with where sending a stretch failed with `failure`."""


class PreparedFields(tuple[tuple[bytes, bytes], ...]):
    """Header fields that many responses share. They are checked and written out once."""

    lines: bytes

    def __new__(cls, fields: Iterable[tuple[bytes, bytes]]) -> PreparedFields:
        """Prepare (name, value) pairs. Raises ValueError for one with a line end in it."""
        self = super().__new__(cls, fields)
        self.lines = _field_lines(self)
        return self

    @classmethod
    def joined(cls, *parts: PreparedFields) -> PreparedFields:
        """Put prepared fields one after another. Nothing is checked or written out again."""
        self = super().__new__(cls, chain.from_iterable(parts))
        self.lines = b"".join([part.lines for part in parts])
        return self


@lru_cache(maxsize=1024)
def _spelt(name: bytes) -> bytes:
    """A field's name as people write it. Clients do not care."""
    return b"ETag" if name == b"etag" else name.title()


def _field_lines(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    lines = b"".join([b"%b: %b\r\n" % (_spelt(name), value) for name, value in fields])
    if not lines.count(b"\n") == lines.count(b"\r") == len(fields):
        raise ValueError("a header field with a line end in it")
    return lines


def response_head(
    code: int, headers: Sequence[tuple[bytes, bytes]], length: int | None, tail: bytes
) -> bytes:
    """The head of a response with a body of `length` bytes; `tail` is its end, empty line and all.

    With a `length` of None, the tail or the end of the connection says where the body ends.

    Raises ValueError for a header field with a line end in it.
    """
    fields = headers.lines if isinstance(headers, PreparedFields) else _field_lines(headers)
    status = _STATUS_LINES.get(code) or b"HTTP/1.1 %d \r\n" % code
    size = b"" if code in BODILESS or length is None else b"Content-Length: %d\r\n" % length
    return b"".join((status, fields, size, tail))


def start_response(
    is_head: bool,
    code: int,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes | Source,
    tail: bytes,
) -> tuple[bytes, bytes | Source]:
    """The head of a response, and what of its body follows; `is_head` when HEAD asked for it.

    Closes a source that is not going to be read. Raises ValueError for a header field with a line
    end in it.
    """
    if isinstance(body, bytes):
        head = response_head(code, headers, len(body), tail)
        return head, b"" if is_head or code in BODILESS else body
    length = body.length
    try:
        head = response_head(code, headers, length, tail)
    except Exception:
        close_source(body)
        raise
    if is_head or code in BODILESS or length == 0:
        close_source(body)
        return head, b""
    return head, body


def error_response(
    is_head: bool, code: int, text: str, headers: Sequence[tuple[bytes, bytes]], tail: bytes
) -> tuple[bytes, bytes]:
    """The head and the body of an error that the wire answers with by itself."""
    body = error_body(code, text)
    head = response_head(code, (*ERROR_HEADERS, *headers), len(body), tail)
    return head, b"" if is_head else body


def end_of_head(tail: bytes, name: bytes, keep_alive: bool, version: tuple[int, int]) -> bytes:
    """The end of a head: the request's id, and Connection if a client of this version needs it.

    `tail` is the end of all heads, with the empty line.
    """
    if not keep_alive:
        return b"Connection: close\r\nX-Request-Id: %b\r\n%b" % (name, tail)
    if version == (1, 0):
        return b"Connection: keep-alive\r\nX-Request-Id: %b\r\n%b" % (name, tail)
    return b"X-Request-Id: %b\r\n%b" % (name, tail)


def chunked_field(body: bytes | Source, version: tuple[int, int]) -> bytes:
    """The field of an answer in chunks (RFC 9112 section 7.1); empty if it is in none.

    A body of unknown length comes in chunks, unless the client speaks HTTP/1.0.
    """
    if isinstance(body, bytes) or body.length is not None or version == (1, 0):
        return b""
    return b"Transfer-Encoding: chunked\r\n"


def ends_connection(code: int, body: bytes | Source, version: tuple[int, int]) -> bool:
    """Whether nothing can follow an answer on its connection.

    After a 411 the next bytes may be the body of the request. In HTTP/1.0 only the end of the
    connection ends a body of unknown length.
    """
    if code == 411:
        return True
    return version == (1, 0) and not isinstance(body, bytes) and body.length is None


class Outlet(Protocol):
    """What a response goes through: its connection."""

    @property
    def blocked(self) -> bool:
        """Whether the client has enough to read for now."""

    @property
    def sends_files(self) -> bool:
        """Whether `send_file` can be called."""

    def write(self, head: bytes, data: bytes) -> None:
        """Write a head, or nothing, and a piece of the body."""

    def send_file(self, fd: int, offset: int, length: int) -> int:
        """Send as much of a file as the client takes now, and return how much that is.

        It is `blocked` afterwards if that was not all. Raises EOFError or OSError if the file has
        no such bytes.
        """

    def wait_turn(self, work: Callable[[], None]) -> None:
        """Do some work when others had their turn."""

    def sent(self) -> None:
        """The response is written."""

    def sending_failed(self, headless: bool) -> None:
        """The response cannot be sent to its end; if `headless`, nothing of it is sent."""


def close_source(body: bytes | Source) -> None:
    """Close a body that is a source; log an exception."""
    if isinstance(body, bytes):
        return
    try:
        body.close()
    except Exception:
        log.failure("Closing a response body raised an exception")


class Sending:
    """A streamed response on its way: reads the source while the transport takes more.

    The head goes out with the first piece, so that a source that cannot be read at all is still
    answered with an error. A source of unknown length goes on until an empty piece; with
    `is_chunked` each of its pieces is a chunk.
    """

    __slots__ = (
        "_due",
        "_head",
        "_id",
        "_is_chunked",
        "_left",
        "_length",
        "_next",
        "_outlet",
        "_pumping",
        "_source",
        "_stopped",
        "_stretch",
        "_waits",
    )

    def __init__(
        self,
        outlet: Outlet,
        source: Source,
        head: bytes,
        is_chunked: bool = False,
        name: str = "",
    ) -> None:
        """``name`` is the id of the request, for the log."""
        self._outlet = outlet
        self._id = name
        self._source: Source | None = source
        self._next: Callable[[], object] = source.read
        if outlet.sends_files and isinstance(source, FileSource):
            self._next = source.stretch
        # The part of a stretch that is not sent yet.
        self._stretch: Stretch | None = None
        self._head = head
        self._is_chunked = is_chunked
        self._length = self._left = MAX_BODY if source.length is None else source.length
        self._stopped = False
        self._pumping = False
        self._due = False
        self._waits = False

    @property
    def sent(self) -> int:
        """How many bytes of the body are written."""
        return self._length - self._left

    def pump(self) -> None:
        """Read and write on, until the transport has enough or the source wants time.

        A source that has everything and a client that takes everything stop for others.
        """
        if self._pumping or self._waits:
            return
        self._pumping = True
        turn = PIECES_A_TURN
        try:
            while self._left and not (self._stopped or self._due or self._outlet.blocked):
                if not turn:
                    self._waits = True
                    self._outlet.wait_turn(self._take_turn)
                    return
                turn -= 1
                if self._stretch is None:
                    self._read()
                else:
                    self._send(self._stretch)
        finally:
            self._pumping = False
        if not self._left and not self._stopped:
            self.stop()
            self._outlet.sent()

    def _take_turn(self) -> None:
        self._waits = False
        if not self._stopped:
            self.pump()

    def _read(self) -> None:
        self._due = True
        try:
            piece: Any = self._next()
        except Exception:
            self._failed(Failure())
            return
        if isinstance(piece, Deferred):
            piece.addCallbacks(self._received, self._failed)
        else:
            self._received(piece)

    def _received(self, piece: bytes | Stretch) -> None:
        self._due = False
        if self._stopped:
            self._close()
            return
        length = piece.length if isinstance(piece, Stretch) else len(piece)
        if not length and self._source is not None and self._source.length is None:
            self._length -= self._left
            self._left = 0
            self._outlet.write(self._head, b"0\r\n\r\n" if self._is_chunked else b"")
            self.pump()
            return
        if not 0 < length <= self._left:
            error = ValueError(f"{length} bytes where {self._left} are left")
            self._failed(Failure(error))
            return
        head, self._head = self._head, b""
        if isinstance(piece, Stretch):
            self._stretch = piece
            if head:
                self._outlet.write(head, b"")
        else:
            self._left -= length
            if self._is_chunked:
                head += b"%x\r\n" % length
                piece += b"\r\n"
            self._outlet.write(head, piece)
        self.pump()

    def _send(self, stretch: Stretch) -> None:
        try:
            sent = self._outlet.send_file(stretch.fd, stretch.offset, stretch.length)
        except Exception:
            self._failed(cast(FileSource, self._source).unsent(Failure()))
            return
        self._left -= sent
        left = stretch.length - sent
        self._stretch = Stretch(stretch.fd, stretch.offset + sent, left) if left else None

    def _failed(self, failure: Failure) -> None:
        self._due = False
        if self._stopped:
            self._close()
            return
        is_logged = getattr(failure.value, "is_logged", None)
        if is_logged is None:
            log.failure("Reading a response body failed ({id})", failure, id=self._id)
        elif not is_logged:
            text = str(failure.value)
            said = "Reading a response body failed: {error} ({id})"
            log.error(said, error=text if text.isprintable() else ascii(text), id=self._id)
        self.stop()
        self._outlet.sending_failed(headless=bool(self._head))

    def stop(self) -> None:
        """Read no more. The source is closed as soon as nothing is being read of it."""
        self._stopped = True
        if not self._due:
            self._close()

    def _close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            close_source(source)
