"""Request heads: the bytes up to the empty line, read strictly or refused.

Everything here is pure: bytes go in, and their meaning comes out, or a `ProtocolError` that names
the status to answer. A head has to be as RFC 9112 writes it, not as most servers forgive it. Two
readers that forgive differently turn one request into two (request smuggling), so this one refuses
whatever is ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote_from_bytes

from attrs import evolve, frozen

from gostore.wire.limits import MAX_BODY, Limits

T = TypeVar("T")

# The grammar that heads, chunks and trailers share (RFC 9110 section 5.6).
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
TEXT = rb"[\t -~\x80-\xff]"
FIELD_LINE = TOKEN + rb":" + TEXT + rb"*\r\n"

CRLF = b"\r\n"

_ASCII = bytes(range(128))
_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])")
_LINE_START = re.compile(rb"((?:" + TOKEN + rb")?) ?([!-~\x80-\xff]*)")
# Every registered method is in upper case (RFC 9110 section 9.1). The application decides what to
# do about one that it does not know.
_METHOD = re.compile(rb"[A-Z][A-Z-]{0,31}")
PLAIN_LINE = re.compile(rb"(DELETE|GET|HEAD|POST|PUT) (/[!-\"$->@-~]*) HTTP/1\.1")
"""Most request lines are like this one, whose target is a path without a query."""

_MAX_METHOD = 32
_FIELDS = re.compile(rb"(?:" + FIELD_LINE + rb")*")
_DIGITS = re.compile(rb"[0-9]{1,32}")
MAX_MEMBERS = 32
"""The most members of a list in a header field, here and in the application."""

_CODINGS = re.compile(TOKEN + rb"(?:[ \t]*,[ \t]*" + TOKEN + rb")*")
_NAME = rb"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?"
_HOST = re.compile(rb"(?:" + _NAME + rb"|\[[0-9A-Fa-f:.]{2,45}\])?(?::[0-9]{0,5})?")
# RFC 3986 section 3.2.2. A client of a Unix socket has no name for the server, and puts anything
# there.
_ANY_HOST = re.compile(
    rb"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?"
)
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)(.*)")
_MAX_HOST = 261

# A reader before or after us could take these names for a framing field.
_FRAMING = {b"contentlength": b"content-length", b"transferencoding": b"transfer-encoding"}
_PUNCTUATION = b"!#$%&'*+.^_`|~-"
_ONCE = frozenset((b"host", b"content-length", b"transfer-encoding"))


class ProtocolError(Exception):
    """The request gets an error for an answer, and the connection ends: `code` (status), `text`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Headers:
    """The fields of one request head. Names are lower case, values have no outer blanks.

    Requests of one connection share them if their field lines are the same.
    """

    __slots__ = ("_joined", "_pairs", "_parsed")

    def __init__(self, pairs: list[tuple[bytes, bytes]], joined: dict[bytes, bytes]) -> None:
        self._pairs = pairs
        self._joined = joined
        self._parsed: dict[Callable[[Headers], Any], Any] = {}

    @classmethod
    def of(cls, pairs: list[tuple[bytes, bytes]]) -> Headers:
        """Make them of (lower-case name, value)."""
        joined: dict[bytes, bytes] = {}
        for name, value in pairs:
            joined[name] = joined[name] + b", " + value if name in joined else value
        return cls(pairs, joined)

    def get(self, name: bytes) -> bytes | None:
        """The value of a (lower-case) name, several joined with `, ` (RFC 9110 section 5.3)."""
        return self._joined.get(name)

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a (lower-case) name, in the order of the lines."""
        return [value for key, value in self._pairs if key == name]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every (name, value) in the order of the lines."""
        return iter(self._pairs)

    def has_none_of(self, names: frozenset[bytes]) -> bool:
        """Whether no field has one of these (lower-case) names."""
        return names.isdisjoint(self._joined)

    def has_only(self, names: frozenset[bytes]) -> bool:
        """Whether every field has one of these (lower-case) names."""
        return names.issuperset(self._joined)

    def with_length(self, length: bytes) -> Headers:
        """The same fields with another Content-Length; they share what is parsed of them."""
        name = b"content-length"
        pairs = [(key, length if key == name else value) for key, value in self._pairs]
        other = Headers(pairs, {**self._joined, name: length})
        other._parsed = self._parsed
        return other

    def parsed(self, parser: Callable[[Headers], T]) -> T:
        """Return what `parser` makes of the fields. It is called once, and again if it raised.

        It may look whether there is a Content-Length, and not how long that is: see `with_length`.
        """
        try:
            value: T = self._parsed[parser]
        except KeyError:
            value = self._parsed[parser] = parser(self)
        return value

    def __contains__(self, name: bytes) -> bool:
        return name in self._joined


NO_FIELDS = Headers.of([])


@frozen
class Fields:
    """The field lines of a head: the headers, and the framing of the message.

    `length` is the announced body size in bytes, None when chunked, 0 when there is no body.
    `expect`: the client waits for 100 (Continue).
    """

    headers: Headers
    length: int | None
    keep_alive: bool
    expect: bool

    def with_length(self, length: bytes) -> Fields:
        """The same fields, which have no Expect, with another Content-Length."""
        return evolve(self, headers=self.headers.with_length(length), length=int(length))


# A higher minor version is served as the highest that is spoken here (RFC 9110 section 2.5).
_VERSIONS = {b"%d" % minor: (1, min(minor, 1)) for minor in range(10)}


def read_request_line(line: bytes, limits: Limits) -> tuple[bytes, bytes, tuple[int, int]]:
    """Split a request line (without its CRLF) into method, target and version.

    RFC 9112 section 3. Single spaces, no other blanks. 505 for a version we do not speak, 501
    for a method that no application could know, 414 for a target that is too long. Raises
    ProtocolError.
    """
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise bad_line(line, limits)
    method, target, major, minor = match.groups()
    version = _VERSIONS.get(minor) if major == b"1" else None
    if version is None:
        raise ProtocolError(505, "Only HTTP/1 is spoken here")
    if _METHOD.fullmatch(method) is None:
        raise ProtocolError(501, "Method not implemented")
    # A byte beyond ASCII becomes three when it is percent-encoded.
    beyond = 0 if target.isascii() else len(target.translate(None, _ASCII))
    if len(target) + 2 * beyond > limits.max_uri_size:
        raise _too_long(limits)
    if b"#" in target:
        raise ProtocolError(400, "A fragment (#) is not part of a request target")
    return method, target, version


def _too_long(limits: Limits) -> ProtocolError:
    text = f"The request target is longer than {limits.max_uri_size} bytes"
    return ProtocolError(414, text)


def too_large(limits: Limits) -> ProtocolError:
    return ProtocolError(431, f"The request head is longer than {limits.max_head_size} bytes")


def bad_line(line: bytes, limits: Limits) -> ProtocolError:
    """Say what is wrong with a line that is no request line. It may be incomplete."""
    match = _LINE_START.match(line)
    method, target = match.groups() if match is not None else (b"", b"")
    if len(method) > _MAX_METHOD:
        return ProtocolError(501, "Method not implemented")
    if method and len(target) > limits.max_uri_size:
        return _too_long(limits)
    return ProtocolError(400, "Malformed request line")


def read_fields(
    block: bytes, version: tuple[int, int], limits: Limits, takes_any_host: bool = False
) -> Fields:
    """Read the field lines of a head, each with its CRLF, without the empty line.

    RFC 9112 sections 5 and 6, RFC 9110 section 7.2 (Host). Raises ProtocolError.
    """
    if block.count(CRLF) > limits.max_fields:
        raise ProtocolError(431, f"More than {limits.max_fields} header fields")
    if _FIELDS.fullmatch(block) is None:
        raise ProtocolError(400, "Malformed header field")
    pairs: list[tuple[bytes, bytes]] = []
    joined: dict[bytes, bytes] = {}
    for line in block.split(CRLF)[:-1]:
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
    _check_host(joined.get(b"host"), version, takes_any_host)
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
        # Empty members before it count for nothing (RFC 9110 section 5.6.1.2). llhttp, and maybe
        # a reader before us, does not take those after it.
        coding = coding.lower().lstrip(b", \t")
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
    """501 for codings that others may know, 400 for what leaves the framing in doubt."""
    if coding.count(b",") < MAX_MEMBERS and _CODINGS.fullmatch(coding) is not None:
        codings = [each.strip(b" \t") for each in coding.split(b",")]
        if b"identity" not in codings and b"chunked" not in codings[:-1]:
            return ProtocolError(501, "Transfer-Encoding other than chunked is not implemented")
    return ProtocolError(400, "Malformed Transfer-Encoding")


def _check_host(host: bytes | None, version: tuple[int, int], takes_any: bool) -> None:
    if host is None:
        if version != (1, 0):
            raise ProtocolError(400, "A Host header field is required")
    elif not _is_host(host, takes_any):
        raise ProtocolError(400, "Malformed Host")


def _is_host(host: bytes, takes_any: bool) -> bool:
    if takes_any:
        return _ANY_HOST.fullmatch(host) is not None
    return len(host) <= _MAX_HOST and _HOST.fullmatch(host) is not None


def _reads_keep_alive(connection: bytes | None, version: tuple[int, int]) -> bool:
    """RFC 9112 section 9.3. More options than anybody needs count as `close`."""
    if connection is None:
        return version != (1, 0)
    if connection.count(b",") >= MAX_MEMBERS:
        return False
    options = {option.strip(b" \t") for option in connection.lower().split(b",")}
    return b"close" not in options and (version != (1, 0) or b"keep-alive" in options)


def _reads_expect(expect: bytes | None, version: tuple[int, int]) -> bool:
    """RFC 9110 section 10.1.1: an HTTP/1.0 client's expectation is ignored."""
    if expect is None or version == (1, 0):
        return False
    if expect.lower() != b"100-continue":
        raise ProtocolError(417, "The only expectation met here is 100-continue")
    return True


def split_target(method: bytes, target: bytes, takes_any_host: bool = False) -> tuple[str, str]:
    """Split a request target in any of its four forms into path and query.

    RFC 9112 section 3.2. The authority of the absolute form is checked and dropped. `*` is the
    path of `OPTIONS *` and of every CONNECT: neither names a resource. curl sends bytes beyond
    ASCII as they were typed; here they get percent-encoded. Raises ProtocolError.
    """
    if method == b"CONNECT":
        if _HOST.fullmatch(target) is None:
            raise ProtocolError(400, "Malformed request target")
        return "*", ""
    if target == b"*" and method == b"OPTIONS":
        return "*", ""
    if not target.startswith(b"/"):
        match = _ABSOLUTE.fullmatch(target)
        if match is None or not _is_host(match[1], takes_any_host):
            raise ProtocolError(400, "Malformed request target")
        target = match[2] if match[2].startswith(b"/") else b"/" + match[2]
    path, _, query = target.partition(b"?")
    if target.isascii():
        return path.decode("ascii"), query.decode("ascii")
    return _ascii(path), _ascii(query)


_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def _ascii(part: bytes) -> str:
    return quote_from_bytes(part, safe=_PRINTABLE)
