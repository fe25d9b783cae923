"""What a client sent and nobody read yet: where in it a head ends, and what comes after."""

from __future__ import annotations

import re

from gostore.wire.body import Body
from gostore.wire.head import (
    CRLF,
    PLAIN_LINE,
    Fields,
    ProtocolError,
    bad_line,
    read_fields,
    read_request_line,
    split_target,
    too_large,
)
from gostore.wire.limits import Limits

# No head may have these, however it goes on: controls, a bare CR, a bare LF. A CR at the very end
# may still get its LF.
_NEVER = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?![\n]|\Z)")

# A field that differs from upload to upload where all others are the same.
_LENGTH = re.compile(rb"(?:\A|\n)content-length:[ \t]*([0-9]{1,18})\r\n", re.IGNORECASE)

Head = tuple[str, bytes, str, str, tuple[int, int], Fields]
"""Method, target, path, query, version and fields of a request, as Request has them."""


Block = tuple[tuple[int, int], bytes]
"""The version and the field lines of a head."""

_AROUND_URI = len(b"GET  HTTP/1.1")
_MOST_DIGITS = 18
# No field lines begin and end like this.
_NOWHERE = (b"\n", b"\n")


class HeadBuffer:
    """The bytes that a client sent and nobody read yet, and the heads that are in them.

    `unread` is empty when all is read. `has_begun` says of the last call of `next_head` that it
    saw the first bytes of a head, and not its end. With `takes_any_host`, Host may be any
    registered name.
    """

    __slots__ = (
        "_around_length",
        "_block",
        "_fields",
        "_limits",
        "_position",
        "_repeated",
        "_repeated_end",
        "_repeated_line",
        "_seen",
        "_skipped_line",
        "has_begun",
        "takes_any_host",
        "unread",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # The first unread byte is at `_position`. The search for the end of the head goes on at
        # `_seen`. Both are 0 when nothing is unread.
        self.unread = b""
        self._position = 0
        self._seen = 0
        self._skipped_line = False
        self.has_begun = False
        self.takes_any_host = False
        # The field lines of the last head and what they said: the next is often the same.
        self._block: Block | None = None
        self._fields: Fields
        # The same with the end of the head, how long a line before that may be, and where in
        # `unread` the repetition ends that `repeated_line` has found.
        self._repeated = b""
        self._repeated_line = -1
        self._repeated_end = 0
        # The field lines before and after the value of Content-Length.
        self._around_length = _NOWHERE

    def feed(self, data: bytes) -> None:
        """Add what the client sent."""
        if self.unread:
            data = self.unread[self._position :] + data
            self._seen -= self._position
            self._position = 0
        self.unread = data

    def next_head(self) -> Head | None:
        """Read one head; None when its end has not come. Raises ProtocolError."""
        line = self.repeated_line()
        plain = None if line is None else PLAIN_LINE.fullmatch(line)
        if plain is not None:
            method, target = plain.groups()
            self.skip_repeated()
            return method.decode("ascii"), target, target.decode("ascii"), "", (1, 1), self._fields
        unread, start = self.unread, self._position
        # One empty line before a request is forgiven (RFC 9112 section 2.2).
        if not self._skipped_line and unread.startswith(CRLF, start):
            self._skipped_line = True
            start = self._position = start + 2
        end = unread.find(b"\r\n\r\n", max(start, self._seen - 3))
        if end < 0:
            self._check_part(start)
            return None
        limits = self._limits
        line_end = unread.find(CRLF, start)
        method, target, version = read_request_line(unread[start:line_end], limits)
        if end - start > limits.max_head_size:
            raise too_large(limits)
        block = (version, unread[line_end + 2 : end + 2])
        if block != self._block:
            self._fields = self._with_other_length(block) or read_fields(
                block[1], version, limits, self.takes_any_host
            )
            self._learn(block)
        path, query = split_target(method, target, self.takes_any_host)
        self._go_on_at(end + 4)
        return method.decode("ascii"), target, path, query, version, self._fields

    def _with_other_length(self, block: Block) -> Fields | None:
        """The fields of a block that is the last one but for its Content-Length, if it is."""
        before, after = self._around_length
        version, lines = block
        end = len(lines) - len(after)
        length = lines[len(before) : end]
        if (
            self._block is not None
            and version == self._block[0]
            and lines.startswith(before)
            and lines.endswith(after)
            and length.isdigit()
            and len(length) <= _MOST_DIGITS
        ):
            return self._fields.with_length(length)
        return None

    def _learn(self, block: Block) -> None:
        """Remember the field lines of a head. The next one may have the same."""
        version, lines = self._block = block
        limits = self._limits
        self._repeated = lines + CRLF
        self._repeated_line = -1
        if version == (1, 1):
            self._repeated_line = min(
                limits.max_head_size - len(lines), limits.max_uri_size + _AROUND_URI
            )
        # Whether a client waits for 100 (Continue) depends on the length.
        length = None if b"expect" in self._fields.headers else _LENGTH.search(lines)
        self._around_length = _NOWHERE
        if length is not None:
            self._around_length = lines[: length.start(1)], lines[length.end(1) :]

    def repeated_line(self) -> bytes | None:
        """The request line of the next head, if that has the same field lines as the last one.

        Nothing is read: `skip_repeated` does that. The line of a GET is not too long, and is not
        checked otherwise.
        """
        unread, start = self.unread, self._position
        end = unread.find(CRLF, start)
        if not 0 < end - start <= self._repeated_line:
            return None
        if not unread.startswith(self._repeated, end + 2):
            return None
        self._repeated_end = end + 2 + len(self._repeated)
        return unread[start:end]

    def skip_repeated(self) -> None:
        """Pass over the head that `repeated_line` has found."""
        self._go_on_at(self._repeated_end)

    def _go_on_at(self, end: int) -> None:
        """All up to `end` is read: the next head starts there."""
        if end == len(self.unread):
            self.unread = b""
            end = 0
        self._position = self._seen = end
        self._skipped_line = False

    def _check_part(self, start: int) -> None:
        """Refuse a head whose end has not come, if it will never be a good one.

        Each byte is looked at once, so that a head that comes byte by byte costs no more than its
        length. Raises ProtocolError.
        """
        unread, limits = self.unread, self._limits
        size = len(unread) - start
        if not size:
            self.has_begun = False
            self.clear()
            return
        seen = max(start, self._seen)
        self.has_begun = seen == start
        self._seen = len(unread)
        line_end = unread.find(CRLF, max(start, seen - 1))
        first = unread.find(CRLF, start, start + limits.max_uri_size + 128)
        if line_end >= 0 and line_end == first:
            read_request_line(unread[start:first], limits)
        elif first < 0 and size > limits.max_uri_size + 64:
            raise bad_line(unread[start:], limits)
        if _NEVER.search(unread, max(start, seen - 1)) is not None:
            raise ProtocolError(400, "A control character or a bare CR or LF in the request head")
        if size > limits.max_head_size:
            raise too_large(limits)

    def fill(self, body: Body) -> bool:
        """Give the body of the last head its bytes, if its length is known and all are here."""
        unread, start = self.unread, self._position
        if body.length is None or start + body.length > len(unread):
            return False
        end = start + body.length
        self._go_on_at(end)
        body.fill(unread[start:end])
        return True

    def take(self) -> tuple[bytes, int]:
        """Give away what follows the last head: bytes, and where in them it starts."""
        rest = self.unread, self._position
        self.clear()
        return rest

    def give_back(self, data: bytes, start: int) -> None:
        """Return what `take` gave away and nobody wanted: `data` from `start` on."""
        self.unread = data
        self._position = self._seen = start

    def clear(self) -> None:
        """Drop what is unread."""
        self.unread = b""
        self._position = self._seen = 0
