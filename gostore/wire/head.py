"""Request heads: the bytes up to the empty line, read strictly or refused.

Everything here is pure: bytes in, what they mean out, or a `ProtocolError` that names the status
to answer. The head is checked as RFC 9112 writes it, not as most servers forgive it. Two readers
that forgive differently are how one request becomes two (request smuggling), so what is ambiguous
is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote_from_bytes

from attrs import frozen

T = TypeVar("T")

# No body is longer than this (2^63 - 1 bytes): file offsets and llhttp's counters end here.
MAX_BODY = (1 << 63) - 1

_CRLF = b"\r\n"
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"

_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])")
_LINE_START = re.compile(rb"((?:" + _TOKEN + rb")?) ?([!-~\x80-\xff]*)")
# Upper case, as every registered method is (RFC 9110 section 9.1); what the application makes
# of a name it does not know is its own affair.
_METHOD = re.compile(rb"[A-Z][A-Z-]{0,31}")
_MAX_METHOD = 32
_FIELDS = re.compile(rb"(?:" + _TOKEN + rb":[\t -~\x80-\xff]*\r\n)*")
# What no head may hold, however it goes on: controls, a bare CR, a bare LF. A CR at the very end
# may still get its LF.
_NEVER = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?![\n]|\Z)")
_DIGITS = re.compile(rb"[0-9]{1,32}")
_CODINGS = re.compile(_TOKEN + rb"(?:[ \t]*,[ \t]*" + _TOKEN + rb")*")
_NAME = rb"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?"
_HOST = re.compile(rb"(?:" + _NAME + rb"|\[[0-9A-Fa-f:.]{2,45}\])?(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)(.*)")
_MAX_HOST = 261

# Names that a reader before or after us could take for a framing field.
_FRAMING = {b"contentlength": b"content-length", b"transferencoding": b"transfer-encoding"}
_PUNCTUATION = b"!#$%&'*+.^_`|~-"
_ONCE = frozenset((b"host", b"content-length", b"transfer-encoding"))


class ProtocolError(Exception):
    """A request that is answered with an error and closed: `code` (HTTP status), `text`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@frozen
class Limits:
    """What one client may cost. Sizes in bytes, times in seconds."""

    uri: int = 8192
    head: int = 16384
    fields: int = 100
    head_timeout: float = 10
    idle_timeout: float = 75
    body_rate: int = 1024
    body_window: float = 30
    send_timeout: float = 60
    drain_bytes: int = 65536
    drain_time: float = 1
    max_connections: int = 4096
    # How many more at a time are told that they are too many, which takes a second or two and a
    # file each; those beyond are cut off without a word.
    turned_away: int = 64
    # A chunk that makes a body longer than this is refused at its size line, before it comes. To
    # judge a Content-Length is for the application, which may have more to say about the head.
    body: int = MAX_BODY
    # All the chunk extensions of one body together; they carry nothing anybody here reads.
    chunk_extensions: int = 1024
    # How much of a body nobody has asked for yet is kept before the socket is left alone.
    body_ahead: int = 65536


class Headers:
    """The fields of one request head; names are lower case, values without outer blanks.

    The requests of a connection whose heads say the same share them.
    """

    __slots__ = ("_joined", "_meanings", "_pairs")

    def __init__(self, pairs: list[tuple[bytes, bytes]], joined: dict[bytes, bytes]) -> None:
        self._pairs = pairs
        self._joined = joined
        self._meanings: dict[Callable[[Headers], Any], Any] = {}

    def get(self, name: bytes) -> bytes | None:
        """The value of a (lower-case) name, several joined with `, ` (RFC 9110 section 5.3)."""
        return self._joined.get(name)

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a (lower-case) name, in the order they came."""
        return [value for key, value in self._pairs if key == name]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """(name, value) in the order they came."""
        return iter(self._pairs)

    def has_none_of(self, names: frozenset[bytes]) -> bool:
        """Whether none of these (lower-case) names is there."""
        return names.isdisjoint(self._joined)

    def meaning(self, read: Callable[[Headers], T]) -> T:
        """What a function makes of them; it is asked once, and again only if it raised."""
        try:
            meaning: T = self._meanings[read]
        except KeyError:
            meaning = self._meanings[read] = read(self)
        return meaning

    def __contains__(self, name: bytes) -> bool:
        return name in self._joined


@frozen
class Fields:
    """What the field lines of a head say: the headers, and how the message is framed.

    `length` is the announced body size in bytes, None when chunked, 0 when there is no body.
    `expect` says that the client waits for 100 (Continue).
    """

    headers: Headers
    length: int | None
    keep_alive: bool
    expect: bool


_VERSIONS = {b"0": (1, 0), b"1": (1, 1)}


def read_request_line(line: bytes, limits: Limits) -> tuple[bytes, bytes, tuple[int, int]]:
    """Method, target and version of a request line (without its CRLF); or ProtocolError.

    RFC 9112 section 3. Single spaces, no other blanks. 505 for a version we do not speak, 501
    for a method no application could know, 414 for a target that is too long.
    """
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad_line(line, limits)
    method, target, major, minor = match.groups()
    version = _VERSIONS.get(minor) if major == b"1" else None
    if version is None:
        raise ProtocolError(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here")
    if _METHOD.fullmatch(method) is None:
        raise ProtocolError(501, "Method not implemented")
    if len(target) > limits.uri:
        raise _too_long(limits)
    if b"#" in target:
        raise ProtocolError(400, "A fragment (#) is not part of a request target")
    return method, target, version


def _too_long(limits: Limits) -> ProtocolError:
    return ProtocolError(414, f"The request target is longer than {limits.uri} bytes")


def _bad_line(line: bytes, limits: Limits) -> ProtocolError:
    """What to say of a line that is no request line, complete or not."""
    match = _LINE_START.match(line)
    method, target = match.groups() if match is not None else (b"", b"")
    if len(method) > _MAX_METHOD:
        return ProtocolError(501, "Method not implemented")
    if method and len(target) > limits.uri:
        return _too_long(limits)
    return ProtocolError(400, "Malformed request line")


def check_part(buffer: bytes, start: int, seen: int, limits: Limits) -> None:
    """Refuse a head that is not complete yet, and never will be a good one.

    `start` is where the head begins in `buffer`, `seen` where the bytes begin that were not
    there at the last call: each byte is looked at once, so that a head sent byte by byte costs
    no more than its length. Raises ProtocolError.
    """
    size = len(buffer) - start
    line_end = buffer.find(_CRLF, max(start, seen - 1))
    first = buffer.find(_CRLF, start, start + limits.uri + 128)
    if line_end >= 0 and line_end == first:
        read_request_line(buffer[start:first], limits)
    elif first < 0 and size > limits.uri + 64:
        raise _bad_line(buffer[start:], limits)
    if _NEVER.search(buffer, max(start, seen - 1)) is not None:
        raise ProtocolError(400, "A control character or a bare CR or LF in the request head")
    if size > limits.head:
        raise ProtocolError(431, f"The request head is longer than {limits.head} bytes")


def read_fields(block: bytes, version: tuple[int, int], limits: Limits) -> Fields:
    """The field lines of a head, each with its CRLF, without the empty line; or ProtocolError.

    RFC 9112 sections 5 and 6, RFC 9110 section 7.2 (Host).
    """
    if block.count(_CRLF) > limits.fields:
        raise ProtocolError(431, f"More than {limits.fields} header fields")
    if _FIELDS.fullmatch(block) is None:
        raise ProtocolError(400, "Malformed header field")
    pairs: list[tuple[bytes, bytes]] = []
    joined: dict[bytes, bytes] = {}
    for line in block.split(_CRLF)[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        framing = _FRAMING.get(name.translate(None, _PUNCTUATION))
        if framing is not None and framing != name:
            raise ProtocolError(400, "A header field that looks like a framing field")
        pairs.append((name, value))
        if name not in joined:
            joined[name] = value
        elif name in _ONCE:
            raise ProtocolError(400, f"{name.decode('ascii').title()} is given twice")
        else:
            joined[name] += b", " + value
    length = _read_length(joined, version)
    _check_host(joined.get(b"host"), version)
    return Fields(
        Headers(pairs, joined),
        length,
        _reads_keep_alive(joined.get(b"connection"), version),
        _reads_expect(joined.get(b"expect"), version) and length != 0,
    )


def _read_length(joined: dict[bytes, bytes], version: tuple[int, int]) -> int | None:
    coding = joined.get(b"transfer-encoding")
    length = joined.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise ProtocolError(400, "Content-Length and Transfer-Encoding exclude each other")
        if version == (1, 0):
            raise ProtocolError(400, "Transfer-Encoding is unknown to HTTP/1.0")
        coding = coding.lower()
        if coding != b"chunked":
            raise _bad_coding(coding)
        return None
    if length is None:
        return 0
    if _DIGITS.fullmatch(length) is None:
        raise ProtocolError(400, "Content-Length is not a number")
    size = int(length)
    if size > MAX_BODY:
        raise ProtocolError(413, "Content-Length is more than any disk holds")
    return size


def _bad_coding(coding: bytes) -> ProtocolError:
    """501 for codings that exist but not here; 400 for what leaves the framing in doubt."""
    if _CODINGS.fullmatch(coding) is not None:
        codings = [each.strip(b" \t") for each in coding.split(b",")]
        if b"identity" not in codings and b"chunked" not in codings[:-1]:
            return ProtocolError(501, "Transfer-Encoding other than chunked is not implemented")
    return ProtocolError(400, "Malformed Transfer-Encoding")


def _check_host(host: bytes | None, version: tuple[int, int]) -> None:
    if host is None:
        if version != (1, 0):
            raise ProtocolError(400, "A Host header field is required")
    elif len(host) > _MAX_HOST or _HOST.fullmatch(host) is None:
        raise ProtocolError(400, "Malformed Host")


def _reads_keep_alive(connection: bytes | None, version: tuple[int, int]) -> bool:
    """RFC 9112 section 9.3."""
    if connection is None:
        return version != (1, 0)
    options = {option.strip(b" \t") for option in connection.lower().split(b",")}
    return b"close" not in options and (version != (1, 0) or b"keep-alive" in options)


def _reads_expect(expect: bytes | None, version: tuple[int, int]) -> bool:
    """RFC 9110 section 10.1.1: an HTTP/1.0 client's expectation is ignored."""
    if expect is None or version == (1, 0):
        return False
    if expect.lower() != b"100-continue":
        raise ProtocolError(417, "The only expectation met here is 100-continue")
    return True


def split_target(method: bytes, target: bytes) -> tuple[str, str]:
    """Path and query of a request target in any of its four forms; or ProtocolError.

    RFC 9112 section 3.2. The authority of the absolute form is checked and dropped. `*` is the
    path of `OPTIONS *` and of every CONNECT: neither names a resource. Bytes beyond ASCII, which
    curl sends as they were typed, are percent-encoded.
    """
    if method == b"CONNECT":
        if _HOST.fullmatch(target) is None:
            raise ProtocolError(400, "Malformed request target")
        return "*", ""
    if target == b"*" and method == b"OPTIONS":
        return "*", ""
    if not target.startswith(b"/"):
        match = _ABSOLUTE.fullmatch(target)
        if match is None or len(match[1]) > _MAX_HOST or _HOST.fullmatch(match[1]) is None:
            raise ProtocolError(400, "Malformed request target")
        target = match[2] if match[2].startswith(b"/") else b"/" + match[2]
    path, _, query = target.partition(b"?")
    if target.isascii():
        return path.decode("ascii"), query.decode("ascii")
    return _ascii(path), _ascii(query)


_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def _ascii(part: bytes) -> str:
    return quote_from_bytes(part, safe=_PRINTABLE)
