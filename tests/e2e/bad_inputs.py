"""Bad inputs, and the answer each gets: a numbered table, sent byte for byte on a raw socket.

`CASES` is the table. Each case is one connection: what is sent, the statuses of everything that
is answered, what becomes of the connection, and what the store has more of afterwards (nothing,
mostly). `run` plays one and says all that is wrong. The tests of it are in test_bad_inputs.py;

    python -m tests.e2e.bad_inputs

starts a daemon, plays the whole table, and prints what each row got.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from attrs import field, frozen

from tests.e2e.daemon import FIXTURES, PATIENCE, Daemon

#: The daemon of the table: every kind of refusal can be had from it, and none takes long.
OPTIONS = (
    *("--max-blob-size", "500T", "--head-timeout", "2", "--first-byte-timeout", "2"),
    *("--body-window", "2", "--chunked-window", "2"),
)

#: What was there before, and must be the same after each case.
KEPT = {"kept": b"This was here before.", "taken": b"So was this."}

CLOSED = "closed"
KEPT_OPEN = "kept"

#: What a reader that has lost its place in the bytes would take for one more request.
SMUGGLED = b"POST /store/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nbad"


@frozen
class Response:
    """One answer, read without any of gostore's code."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Check = Callable[[Sequence[Response]], object]


@frozen(eq=False)
class Case:
    """One connection.

    `parts` are sent one after the other, each after another answer has come; `half_closes` says
    that the client then says that this was all. `stored` is what there is afterwards. `check`
    raises AssertionError for what else is wrong with the answers.
    """

    row: int
    what: str
    parts: tuple[bytes, ...]
    wanted: tuple[int, ...]
    fate: str
    rfc: str
    stored: Mapping[str, bytes] = field(factory=dict)
    half_closes: bool = False
    check: Check = lambda answers: None

    def __str__(self) -> str:
        return f"{self.row}: {self.what}"


@frozen
class Got:
    """The outcome of a case. It is right if there are no `problems`."""

    case: Case
    statuses: tuple[int, ...]
    fate: str
    problems: tuple[str, ...]


# The client.


class Conversation:
    """A raw socket that sends and reads at the same time, as far as the daemon lets it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setblocking(False)
        self._unread = b""
        self._unsent = memoryview(b"")
        self._heads = False
        self.ended = False
        self.answers: list[Response] = []

    def send(self, data: bytes) -> None:
        """Send some more, in what follows; a HEAD by itself."""
        self._heads = data.startswith(b"HEAD ")
        self._unsent = memoryview(bytes(self._unsent) + data)

    def half_close(self) -> None:
        """Send what is left, and say that it was all."""
        self._until(lambda: not self._unsent)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def read(self, answers: int) -> None:
        """Until there are so many answers, or the daemon ends the connection."""
        self._until(lambda: self.ended or len(self.answers) >= answers)

    def read_to_end(self, patience: float) -> None:
        """Until the daemon ends the connection, or has not for so many seconds."""
        with contextlib.suppress(TimeoutError):
            self._until(lambda: self.ended, patience)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @property
    def rest(self) -> bytes:
        """The bytes that were read and are no whole answer."""
        return self._unread

    def _until(self, done: Callable[[], bool], patience: float = PATIENCE) -> None:
        end = time.monotonic() + patience
        while not done():
            left = end - time.monotonic()
            writers = [self._socket] if self._unsent else []
            ready = select.select([self._socket], writers, [], max(left, 0))
            if not any(ready):
                raise TimeoutError(f"nothing in {patience} s after {self.answers!r:.500}")
            # An answer may be in before a reset that an attempt to send would meet.
            if ready[0]:
                self._receive()
            elif ready[1]:
                self._transmit()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            data = b""
        self.ended = not data
        self._unread += data
        while (answer := self._take()) is not None:
            self.answers.append(answer)

    def _transmit(self) -> None:
        try:
            sent = self._socket.send(self._unsent[: 1 << 16])
        except OSError:
            sent = len(self._unsent)  # It has closed; what it said before can still be read.
        self._unsent = self._unsent[sent:]

    def _take(self) -> Response | None:
        head, end, rest = self._unread.partition(b"\r\n\r\n")
        if not end:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 ([0-9]{3}) [ -~]+", first)
        assert match is not None, f"no status line: {first!r}"
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon and name.lower() not in headers, f"a bad field: {line!r}"
            headers[name.lower()] = value
        length = 0 if self._heads else int(headers.get("content-length", 0))
        if len(rest) < length:
            return None
        self._unread = rest[length:]
        return Response(int(match[1]), headers, rest[:length])


def talk(port: int, *requests: bytes) -> list[Response]:
    """Send requests on one new connection, and read an answer to each."""
    conversation = Conversation(port)
    try:
        for number, request in enumerate(requests, 1):
            conversation.send(request)
            conversation.read(number)
        return conversation.answers
    finally:
        conversation.close()


def request(method: str, location: str, body: bytes | None = None, *fields: str) -> bytes:
    """A good request for a location."""
    lines = [f"{method} /store/{quote(location, safe='/')} HTTP/1.1", "Host: localhost", *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


# Playing a case.


def prepare(daemon: Daemon) -> None:
    """Store what is there before."""
    for location, data in KEPT.items():
        (answer,) = talk(daemon.port, request("POST", location, data))
        assert answer.status == 204


def run(case: Case, daemon: Daemon) -> Got:
    """Play one case, and check everything it must and must not have done."""
    problems = []
    conversation = Conversation(daemon.port)
    fate = KEPT_OPEN
    try:
        for number, part in enumerate(case.parts):
            conversation.read(number)
            conversation.send(part)
        if case.half_closes:
            conversation.half_close()
        conversation.read(len(case.wanted))
        answers = conversation.answers[:]
        if case.fate == CLOSED:
            conversation.read_to_end(5)
        elif not conversation.ended:
            # One more request shows best that it is still a connection.
            conversation.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            conversation.read(len(answers) + 1)
            if [answer.body for answer in conversation.answers[len(answers) :]] != [b'"Ok!"']:
                problems.append(f"a good request on the same connection: {conversation.answers}")
        if conversation.ended:
            fate = CLOSED
            conversation.send(SMUGGLED)
            conversation.read_to_end(0)
        if conversation.rest:
            problems.append(f"bytes after the last answer: {conversation.rest!r:.200}")
        if case.fate == CLOSED:
            answers = conversation.answers
    except (AssertionError, TimeoutError) as error:
        answers = conversation.answers
        problems.append(str(error))
    finally:
        conversation.close()
    statuses = tuple(answer.status for answer in answers)
    if statuses != case.wanted:
        problems.append(f"{_short(statuses)} and not {_short(case.wanted)}")
    if fate != case.fate:
        problems.append(f"the connection was {fate}")
    problems += [problem for answer in answers for problem in _look_at(answer, daemon)]
    try:
        case.check(answers)
    except AssertionError as error:
        problems.append(str(error) or "its own check failed")
    problems += _look_at_store(case, daemon)
    return Got(case, statuses, fate, tuple(problems))


def _look_at(answer: Response, daemon: Daemon) -> Iterator[str]:
    """Say what an answer lacks; an error has to have more (row 84)."""
    if answer.status >= 200:
        if answer.headers.get("server") != "gostore" or "date" not in answer.headers:
            yield f"no Server or Date: {answer.headers}"
        if any(name.startswith("access-control-") for name in answer.headers):
            yield "a CORS header"
    if answer.status >= 500 and answer.status not in (501, 503, 505, 507):
        yield f"a fault: {answer}"
    if answer.status >= 400:
        if answer.headers.get("content-type") != "application/json":
            yield f"an error that is not JSON: {answer}"
        elif not re.fullmatch(rb'\{"code": %d, "text": "[^\n]+"\}\n' % answer.status, answer.body):
            yield f"not one line of code and text: {answer.body!r}"
        elif json.loads(answer.body)["code"] != answer.status:
            yield f"another code: {answer.body!r}"
        if str(daemon.directory).encode() in answer.body or b"Traceback" in answer.body:
            yield f"a secret: {answer.body!r}"


def _look_at_store(case: Case, daemon: Daemon) -> Iterator[str]:
    """Check that a new connection works, and that the store has only KEPT and the case's blobs."""
    (listed,) = talk(daemon.port, b"GET /store/?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    found = {entry["location"] for entry in json.loads(listed.body)}
    wanted = {**KEPT, **case.stored}
    if found != wanted.keys():
        yield f"stored: {sorted(found ^ wanted.keys())}"
    requests = [request("GET", location) for location in wanted]
    for (location, data), got in zip(wanted.items(), talk(daemon.port, *requests), strict=True):
        if (got.status, got.body) != (200, data):
            yield f"{location!r} is {got.status} {got.body!r:.200}"
    talk(daemon.port, *(request("DELETE", location) for location in found - KEPT.keys()))


def _short(statuses: tuple[int, ...]) -> str:
    groups = [(status, len(list(same))) for status, same in groupby(statuses)]
    return " ".join(f"{status}" + f" x {n}" * (n > 1) for status, n in groups) or "nothing"


# The table.


def _cases() -> Iterator[Case]:
    yield from _framing()
    yield from _chunks()
    yield from _lines()
    yield from _conduct()
    yield from _lost_lengths()
    yield from _paths()
    yield from _browsers()


def _post(*fields: bytes, body: bytes = b"hello", line: bytes = b"POST /store/a HTTP/1.1") -> bytes:
    """A POST with these field lines besides Host, as they are."""
    return b"\r\n".join((line, b"Host: localhost", *fields)) + b"\r\n\r\n" + body


def _chunked(body: bytes, *fields: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked", *fields, body=body)


def _refused(
    row: int,
    rfc: str,
    status: int,
    inputs: Mapping[str, bytes],
    fate: str = CLOSED,
    **more: object,
) -> Iterator[Case]:
    for what, data in inputs.items():
        yield Case(row, what, (data,), (status,), fate, rfc, **more)  # type: ignore[arg-type]


def _framing() -> Iterator[Case]:
    """Rows 1 to 13: where a body ends."""
    length = b"Content-Length: "
    yield from _refused(
        1,
        "RFC 9112 6.3 (5)",
        400,
        {
            "the same length twice": _post(length + b"5", length + b"5"),
            "two lengths": _post(length + b"5", length + b"6", body=b"hello!"),
            "two lengths, the first 0": _post(
                length + b"0", length + b"%d" % len(SMUGGLED), body=SMUGGLED
            ),
            "two lengths, far apart": _post(length + b"5", b"X-A: b", b"content-length: 4"),
        },
    )
    values = {
        "a list": b"5, 5",
        "a list of one and nothing": b"5,",
        "a plus": b"+5",
        "a minus": b"-5",
        "hexadecimal": b"0x5",
        "an underscore": b"5_0",
        "nothing": b"",
        "blanks": b" \t ",
        "Arabic digits": "\N{ARABIC-INDIC DIGIT FIVE}".encode(),
        "a fraction": b"5.0",
        "two numbers": b"5 5",
        "letters": b"five",
        "quotes": b'"5"',
    }
    yield from _refused(
        2,
        "RFC 9110 8.6",
        400,
        {what: _post(length + value, body=b"hello" * 11) for what, value in values.items()},
    )
    yield from _refused(3, "RFC 9110 8.6", 400, {"4,301 digits": _post(length + b"1" * 4301)})
    huge = {"2^63": b"9223372036854775808", "2^64": b"18446744073709551616", "10^31": b"9" * 31}
    yield from _refused(
        4, "RFC 9110 8.6", 413, {what: _post(length + value) for what, value in huge.items()}
    )
    chunks = b"5\r\nhello\r\n0\r\n\r\n"
    coding = b"Transfer-Encoding: "
    yield from _refused(
        5,
        "RFC 9112 6.1, 6.3 (3)",
        400,
        {
            "length first": _post(length + b"5", coding + b"chunked", body=chunks),
            "coding first": _post(coding + b"chunked", length + b"5", body=chunks),
            "length 0, a request behind": _post(
                length + b"0", coding + b"chunked", body=chunks + SMUGGLED
            ),
            "names in small letters": _post(
                b"transfer-encoding:chunked", b"content-length:5", body=chunks
            ),
        },
    )
    yield from _refused(
        6,
        "RFC 9112 6.1, 6.3 (3)",
        400,
        {
            "identity and a length": _post(coding + b"identity", length + b"5"),
            "a length and identity": _post(length + b"5", coding + b"identity"),
        },
    )
    yield from _refused(
        7,
        "RFC 9112 6.3 (4)",
        400,
        {
            "identity, and a request for a body": _post(coding + b"identity", body=SMUGGLED),
            "Identity": _post(coding + b"Identity", body=SMUGGLED),
        },
    )
    yield from _refused(
        8,
        "RFC 9112 6.1, 6.3 (4)",
        400,
        {
            "chunked, then identity": _post(coding + b"chunked", coding + b"identity", body=chunks),
            "identity, then chunked": _post(coding + b"identity", coding + b"chunked", body=chunks),
            "chunked twice": _post(coding + b"chunked", coding + b"chunked", body=chunks),
            "chunked, chunked": _post(coding + b"chunked, chunked", body=chunks),
        },
    )
    unknown = {
        "gzip, chunked": b"gzip, chunked",
        "xchunked": b"xchunked",
        "chunkedx": b"chunkedx",
        "gzip": b"gzip",
    }
    yield from _refused(
        9,
        "RFC 9112 6.1",
        501,
        {what: _post(coding + value, body=chunks) for what, value in unknown.items()},
    )
    for what, value in {"an empty member": b", chunked", "several": b",\t, , chunked"}.items():
        yield Case(
            9,
            f"{what} before chunked",
            (_post(coding + value, body=chunks),),
            (204,),
            KEPT_OPEN,
            "RFC 9110 5.6.1.2",
            {"a": b"hello"},
        )
    malformed = {
        "an empty member before and after": b", chunked,",
        "empty members only": b",",
        "VT before chunked": b"\x0bchunked",
        "NBSP before chunked": b"\xa0chunked",
        "NBSP in UTF-8": "\N{NO-BREAK SPACE}chunked".encode(),
        "chunked, gzip": b"chunked, gzip",
        "chunked and a parameter": b"chunked;q=1",
        "chunked in quotes": b'"chunked"',
        "nothing": b"",
        "a comma": b"chunked,",
    }
    yield from _refused(
        9,
        "RFC 9112 6.1, 7",
        400,
        {what: _post(coding + value, body=chunks) for what, value in malformed.items()},
    )
    yield from _refused(
        10,
        "RFC 9112 5.1",
        400,
        {
            "a space before the colon": _post(b"Transfer-Encoding : chunked", body=chunks),
            "a leading space": b"POST /store/a HTTP/1.1\r\n Transfer-Encoding: chunked\r\n"
            b"Host: localhost\r\n\r\n" + chunks,
            "a tab before the colon": _post(b"Transfer-Encoding\t: chunked", body=chunks),
            "a tab in the name": _post(b"Transfer\tEncoding: chunked", body=chunks),
            "a length with a space": _post(b"Content-Length : 5"),
        },
    )
    yield from _refused(
        11,
        "RFC 9112 5.2",
        400,
        {
            "a coding by obs-fold": _post(b"Transfer-Encoding:\r\n chunked", body=chunks),
            "a length by obs-fold": _post(b"Content-Length:\r\n\t5"),
            "a length folded into another field": _post(b"X-A: b\r\n Content-Length: 5"),
            "any obs-fold": _post(b"X-A: b\r\n c", length + b"5"),
            "an empty fold": _post(b"X-A: b\r\n ", length + b"5"),
        },
    )
    yield from _refused(
        12,
        "RFC 9112 6.1",
        400,
        {
            "chunked on HTTP/1.0": _post(
                coding + b"chunked", body=chunks, line=b"POST /store/a HTTP/1.0"
            ),
            "and a length": _post(
                coding + b"chunked", length + b"5", line=b"POST /store/a HTTP/1.0"
            ),
        },
    )
    names = [
        b"Transfer_Encoding",
        b"Content_Length",
        b"Transfer-Encoding-",
        b"Content-Length-",
        b"-Content-Length",
        b"Content.Length",
        b"ContentLength",
        b"Transfer--Encoding",
    ]
    yield from _refused(
        13,
        "RFC 9112 11.2",
        400,
        {
            name.decode(): _post(
                name + (b": 5" if b"on" in name and b"Len" in name else b": chunked"),
                length + b"5",
            )
            for name in names
        },
    )


def _chunks() -> Iterator[Case]:
    """Rows 14 to 19: chunked bodies."""
    end = b"\r\n0\r\n\r\n"
    sizes = {
        "0x5": b"0x5",
        "+5": b"+5",
        "-5": b"-5",
        "a space before": b" 5",
        "a space after": b"5 ",
        "a tab after": b"5\t",
        "nothing": b"",
        "; only": b";",
        "an extension without a size": b";a=b",
        "an extension without a name": b"5;=b",
        "a comma": b"5,5",
        "an underscore": b"0_5",
        "a letter": b"g",
        "full-width digits": "\N{FULLWIDTH DIGIT FIVE}".encode(),
    }
    yield from _refused(
        14,
        "RFC 9112 7.1",
        400,
        {what: _chunked(size + b"\r\nhello" + end) for what, size in sizes.items()},
    )
    yield from _refused(
        15,
        "RFC 9112 7.1",
        400,
        {
            "17 digits that overflow to 5": _chunked(b"10000000000000005\r\nhello" + end),
            "2,000 digits": _chunked(b"0" * 1999 + b"5\r\nhello" + end),
        },
    )
    yield from _refused(
        15,
        "RFC 9112 7.1",
        413,
        {
            "2^64 - 1": _chunked(b"ffffffffffffffff\r\nhello" + end),
            "2^63": _chunked(b"8000000000000000\r\nhello" + end),
            "more than max-blob-size": _chunked(b"2000000000000\r\nhello" + end),
        },
    )
    yield from _refused(
        16,
        "RFC 9112 2.2, 7.1",
        400,
        {
            "after the size": _chunked(b"5\nhello\r\n0\r\n\r\n"),
            "after the data": _chunked(b"5\r\nhello\n0\r\n\r\n"),
            "after the last size": _chunked(b"5\r\nhello\r\n0\n\r\n"),
            "at the very end": _chunked(b"5\r\nhello\r\n0\r\n\n"),
            "in an extension": _chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
            "in a trailer": _chunked(b"5\r\nhello\r\n0\r\nX-A: b\n\r\n"),
            "everywhere": _chunked(b"5\nhello\n0\n\n"),
            "a bare CR after the size": _chunked(b"5\rhello\r\n0\r\n\r\n"),
            "a bare CR after the data": _chunked(b"5\r\nhello\r0\r\n\r\n"),
        },
    )
    yield from _refused(
        17,
        "RFC 9112 7.1",
        400,
        {
            "longer than announced": _chunked(b"5\r\nhello, world\r\n0\r\n\r\n"),
            "by one byte": _chunked(b"5\r\nhello!\r\n0\r\n\r\n"),
            "shorter than announced": _chunked(b"7\r\nhello\r\n0\r\n\r\n"),
        },
    )
    yield from _refused(
        18,
        "RFC 9112 7.1.1",
        400,
        {
            "1,100 bytes": _chunked(b"5;a=" + b"b" * 1100 + b"\r\nhello" + end),
            "1,100 bytes that do not end": _chunked(b"5;a=" + b"b" * 1100),
            "LF inside": _chunked(b"5;a=\n\r\nhello" + end),
            "a control character": _chunked(b"5;a=\x01\r\nhello" + end),
            "a million chunks": _chunked(b"1;a=b\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n"),
        },
    )
    for zeros in (16, 500):
        yield Case(
            15,
            f"{zeros} leading zeros",
            (_chunked(b"0" * zeros + b"5\r\nhello" + end),),
            (204,),
            KEPT_OPEN,
            "RFC 9112 7.1",
            {"a": b"hello"},
        )
    extensions = {
        "one": b";a",
        "several": b';a=b;c="d e"',
        "one after a blank": b" ;a",
        "several with blanks": b'\t; a = b ;c="d e"',
    }
    for what, extension in extensions.items():
        yield Case(
            18,
            f"{what} that a chunk may have",
            (_chunked(b"5%b\r\nhello" % extension + end),),
            (204,),
            KEPT_OPEN,
            "RFC 9112 7.1.1",
            {"a": b"hello"},
        )
    for what, trailer in {
        "Content-Length": b"Content-Length: 67",
        "Transfer-Encoding": b"Transfer-Encoding: chunked",
        "Host": b"Host: y",
        "If-Match": b'If-Match: "0"',
    }.items():
        yield Case(
            19,
            f"{what}, ignored",
            (_chunked(b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n"),),
            (204,),
            KEPT_OPEN,
            "RFC 9112 7.1.2, RFC 9110 6.5.1",
            {"a": b"hello"},
        )
    md5 = b"Content-MD5: XUFAKrxLKna5cZ2REBfFkg=="
    trailed = b"5\r\nhello\r\n0\r\n%b\r\n\r\n"
    yield Case(
        19,
        "a digest that Trailer announces, verified",
        (_chunked(trailed % md5, b"Trailer: content-md5"),),
        (204,),
        KEPT_OPEN,
        "RFC 9110 6.6.2",
        {"a": b"hello"},
    )
    yield from _refused(
        19,
        "RFC 9110 6.5, RFC 9530 2",
        400,
        {
            "a wrong digest": _chunked(
                trailed % b"Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==", b"Trailer: content-md5"
            ),
            "a wrong digest that nothing announces": _chunked(
                trailed % b"Repr-Digest: sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCA=:"
            ),
            "a digest that nobody can verify": _chunked(trailed % md5),
            "a digest that does not come": _chunked(
                b"5\r\nhello\r\n0\r\n\r\n", b"Trailer: Repr-Digest"
            ),
            "a digest that cannot come": _post(b"Content-Length: 5", b"Trailer: Repr-Digest"),
        },
        KEPT_OPEN,
    )
    yield from _refused(
        19,
        "RFC 9112 7.1.2",
        400,
        {
            "NUL": _chunked(b"5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n"),
            "garbage": _chunked(b"5\r\nhello\r\n0\r\ngarbage\r\n\r\n"),
            "a request": _chunked(b"5\r\nhello\r\n0\r\n" + SMUGGLED),
            "obs-fold": _chunked(b"5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n"),
            "64 KiB in one": _chunked(b"5\r\nhello\r\n0\r\nX-A: " + b"b" * 65536 + b"\r\n\r\n"),
            "64 KiB in many": _chunked(b"5\r\nhello\r\n0\r\n" + b"X-A: b\r\n" * 8192 + b"\r\n"),
        },
    )


def _get(*fields: bytes, line: bytes = b"GET /store/kept HTTP/1.1") -> bytes:
    """A GET with these field lines and nothing else."""
    return b"\r\n".join((line, *fields)) + b"\r\n\r\n"


def _lines() -> Iterator[Case]:
    """Rows 20 to 27: request lines and fields."""
    yield from _refused(
        20,
        "RFC 9112 3.2",
        400,
        {"no Host": _get(), "no Host, another field": _get(b"X-Host: x")},
    )
    hosts = {
        "a comma": b"x,y",
        "an empty label": b"a..b",
        "a label of 70": b"a" * 70,
        "a space": b"a b",
        "@": b"user@x",
        "non-ASCII": "bücher.example".encode(),
        "a path": b"x/y",
        "a port of letters": b"x:http",
        "a port of 6 digits": b"x:123456",
        "an address that is not closed": b"[::1",
        "a name of 300": b".".join([b"a" * 60] * 5),
    }
    yield from _refused(
        21, "RFC 9112 3.2", 400, {what: _get(b"Host: " + host) for what, host in hosts.items()}
    )
    yield from _refused(
        21,
        "RFC 9112 3.2",
        400,
        {
            "two": _get(b"Host: localhost", b"Host: y"),
            "the same twice": _get(b"Host: localhost", b"host: x"),
        },
    )
    for target in (
        "http://localhost/store/kept",
        "HTTP://a.localhost:80/store/kept",
        "https://[::1]/store/kept?a",
    ):
        yield Case(
            22,
            target,
            # The authority of the target counts, whatever Host says.
            (_get(b"Host: localhost", line=f"GET {target} HTTP/1.1".encode()),),
            (200,),
            KEPT_OPEN,
            "RFC 9112 3.2.2",
            check=_body_is(KEPT["kept"]),
        )
    yield from _refused(
        22,
        "RFC 9112 3.2",
        400,
        {
            f"and not {target}": _get(b"Host: localhost", line=f"GET {target} HTTP/1.1".encode())
            for target in ("ftp://x/store/kept", "http:///store/kept", "store/kept", "*")
        },
    )
    methods = [
        ("OPTIONS *", b"OPTIONS * HTTP/1.1", 200, KEPT_OPEN, "RFC 9110 9.3.7"),
        ("OPTIONS of a blob", b"OPTIONS /store/kept HTTP/1.1", 200, KEPT_OPEN, "RFC 9110 9.3.7"),
        ("CONNECT", b"CONNECT x:80 HTTP/1.1", 405, CLOSED, "RFC 9110 9.3.6"),
        ("TRACE", b"TRACE /store/kept HTTP/1.1", 405, KEPT_OPEN, "RFC 9110 9.3.8"),
        ("FOO", b"FOO /store/kept HTTP/1.1", 405, KEPT_OPEN, "RFC 9110 15.5.6"),
        ("PATCH", b"PATCH /store/kept HTTP/1.1", 405, KEPT_OPEN, "RFC 9110 15.5.6"),
    ]
    for what, line, status, fate, rfc in methods:
        data = (_get(b"Host: localhost", line=line),)
        check = _allows if b" /store/" in line else _allows_anywhere
        yield Case(23, what, data, (status,), fate, rfc, check=check)
    yield from _refused(
        23,
        "RFC 9110 9.1, 15.6.2",
        501,
        {
            "5 kB": _get(b"Host: localhost", line=b"A" * 5000 + b" /store/kept HTTP/1.1"),
            "get": _get(b"Host: localhost", line=b"get /store/kept HTTP/1.1"),
        },
    )
    yield from _refused(
        24,
        "RFC 9112 3",
        400,
        {
            "HTTP/0.9 without a version": b"GET /store/kept\r\n\r\n",
            "two spaces": _get(b"Host: localhost", line=b"GET  /store/kept HTTP/1.1"),
            "two spaces before the version": _get(
                b"Host: localhost", line=b"GET /store/kept  HTTP/1.1"
            ),
            "a tab": _get(b"Host: localhost", line=b"GET\t/store/kept HTTP/1.1"),
            "a leading space": _get(b"Host: localhost", line=b" GET /store/kept HTTP/1.1"),
            "a space at the end": _get(b"Host: localhost", line=b"GET /store/kept HTTP/1.1 "),
            "a space in the target": _get(b"Host: localhost", line=b"GET /store/ kept HTTP/1.1"),
            "http/1.1": _get(b"Host: localhost", line=b"GET /store/kept http/1.1"),
            "HTTP/1.10": _get(b"Host: localhost", line=b"GET /store/kept HTTP/1.10"),
            "HTTP/11": _get(b"Host: localhost", line=b"GET /store/kept HTTP/11"),
            "bare LF": b"GET /store/kept HTTP/1.1\nHost: x\n\n",
            "a TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(range(150)),
            "an SSH client": b"SSH-2.0-OpenSSH_9.2\r\n",
            "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "two empty lines first": b"\r\n\r\n" + _get(b"Host: localhost"),
        },
    )
    yield from _refused(
        24,
        "RFC 9110 15.6.6",
        505,
        {
            **{
                f"HTTP/{version}": _get(
                    b"Host: localhost", line=f"GET /store/kept HTTP/{version}".encode()
                )
                for version in ("0.9", "2.0", "2.1", "9.9")
            },
            "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        },
    )
    yield Case(
        24,
        "HTTP/1.2, served as 1.1",
        (_get(b"Host: localhost", line=b"GET /store/kept HTTP/1.2"),),
        (200,),
        KEPT_OPEN,
        "RFC 9110 2.5",
        check=_body_is(KEPT["kept"]),
    )
    yield Case(
        24,
        "one empty line first, forgiven",
        (b"\r\n" + _get(b"Host: localhost"),),
        (200,),
        KEPT_OPEN,
        "RFC 9112 2.2",
    )
    values = {"NUL": b"\0", "bare CR": b"\r", "bare LF": b"\n", "BEL": b"\x07", "DEL": b"\x7f"}
    yield from _refused(
        25,
        "RFC 9112 5, RFC 9110 5.5",
        400,
        {
            **{
                f"{what} in a value": _get(b"Host: localhost", b"X-A: b" + value + b"c")
                for what, value in values.items()
            },
            "a bare CR at the end of a value": _get(b"Host: localhost", b"X-A: b\r"),
            "brackets in a name": _get(b"Host: localhost", b"X-Bad[]: a"),
            "an empty name": _get(b"Host: localhost", b": a"),
            "no colon": _get(b"Host: localhost", b"X-A"),
            "NUL in a name": _get(b"Host: localhost", b"X\0A: b"),
            "non-ASCII in a name": _get(b"Host: localhost", "Ü: a".encode()),
            "NUL in the target": _get(b"Host: localhost", line=b"GET /store/kept\0 HTTP/1.1"),
        },
    )
    yield from _refused(
        26,
        "RFC 6585 5",
        431,
        {
            "101 fields": _get(b"Host: localhost", *[b"X-A: b"] * 100),
            "501 fields": _get(b"Host: localhost", *[b"X-A: b"] * 500),
            "one of 17 kB": _get(b"Host: localhost", b"X-A: " + b"b" * 17_000),
            "17 kB that do not end": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"b" * 17_000,
        },
    )
    yield Case(
        26,
        "100 fields",
        (_get(b"Host: localhost", *[b"X-A: b"] * 99),),
        (200,),
        KEPT_OPEN,
        "RFC 9112 5",
    )
    yield from _refused(
        27,
        "RFC 9110 15.5.15",
        414,
        {
            "9 KiB": _get(b"Host: localhost", line=b"GET /" + b"a" * 9216 + b" HTTP/1.1"),
            "17 KiB": _get(b"Host: localhost", line=b"GET /" + b"a" * 17408 + b" HTTP/1.1"),
            "9 KiB that do not end": b"GET /" + b"a" * 9216,
            "9 KiB of a query": _get(
                b"Host: localhost", line=b"GET /store/?" + b"a" * 9216 + b" HTTP/1.1"
            ),
        },
    )


def _conduct() -> Iterator[Case]:
    """Rows 28 to 34: what a client does besides."""
    yield Case(
        28,
        "3 requests",
        (request("POST", "a", b"1") + request("GET", "a") + request("PUT", "a", b"2"),),
        (204, 200, 200),
        KEPT_OPEN,
        "RFC 9112 9.3.2",
        {"a": b"2"},
        check=lambda answers: _equal(answers[1].body, b"1"),
    )
    rounds = range(499)
    yield Case(
        28,
        "1,000 requests, PUT then GET of one location",
        (
            request("POST", "a", b"first")
            + request("GET", "a")
            + b"".join(request("PUT", "a", b"%d" % n) + request("GET", "a") for n in rounds),
        ),
        (204, *[200] * 999),
        KEPT_OPEN,
        "RFC 9112 9.3.2",
        {"a": b"498"},
        check=lambda answers: _equal(
            [answer.body for answer in answers[3::2]], [b"%d" % n for n in rounds]
        ),
    )
    yield Case(
        28,
        "a good one, a bad one, a good one",
        (request("GET", "kept") + _get() + request("GET", "kept"),),
        (200, 400),
        CLOSED,
        "RFC 9112 9.3.2",
    )
    closing = _get(b"Host: localhost", b"Connection: close")
    for what, more in {"garbage": b"\0\xff garbage\r\n\r\n" * 99, "a request": SMUGGLED}.items():
        yield Case(
            29,
            f"{what} after Connection: close",
            (closing + more,),
            (200,),
            CLOSED,
            "RFC 9112 9.6",
            check=_body_is(KEPT["kept"]),
        )
    yield Case(
        29,
        "a request after one of HTTP/1.0",
        (_get(line=b"GET /store/kept HTTP/1.0") + SMUGGLED,),
        (200,),
        CLOSED,
        "RFC 9112 9.3",
    )
    for what, data, status, stored in [
        ("a GET", request("GET", "kept"), 200, {}),
        ("a POST", request("POST", "a", b"hello"), 204, {"a": b"hello"}),
        ("a POST in chunks", _chunked(b"5\r\nhello\r\n0\r\n\r\n"), 204, {"a": b"hello"}),
        ("half a POST", request("POST", "a", b"hello")[:-1], 400, {}),
    ]:
        yield Case(
            30,
            f"{what}, then half-closed",
            (data,),
            (status,),
            CLOSED,
            "RFC 9112 9.6",
            stored,
            half_closes=True,
        )
    expects = "Expect: 100-continue"
    for status, what, data in [
        (413, "too large", _head("POST", "a", 1 << 49, expects)),
        (507, "no room", _head("POST", "a", 400 << 40, expects)),
        (409, "exists", _head("POST", "taken", 9, expects)),
        (404, "does not exist", _head("PUT", "a", 9, expects)),
        (412, "exists", _head("PUT", "taken", 9, expects, "If-None-Match: *")),
        (412, "is another", _head("PUT", "taken", 9, expects, 'If-Match: "0"')),
        (400, "no location", _head("POST", "a//b", 9, expects)),
        (400, "a bad digest", _head("POST", "a", 9, expects, "Content-MD5: no")),
        (405, "no such method", _head("PATCH", "taken", 9, expects)),
    ]:
        yield Case(
            31,
            f"{status}: {what}",
            (data, SMUGGLED),
            (status,),
            CLOSED,
            "RFC 9110 10.1.1",
        )
    yield Case(
        31,
        "100: it is wanted",
        (_head("POST", "a", 5, expects), b"hello"),
        (100, 204),
        KEPT_OPEN,
        "RFC 9110 10.1.1",
        {"a": b"hello"},
    )
    for what, value in {"something": b"something", "two": b"100-continue, something"}.items():
        yield from _refused(
            32,
            "RFC 9110 10.1.1",
            417,
            {what: _post(b"Content-Length: 5", b"Expect: " + value)},
        )
    for method, status in (("GET", 200), ("HEAD", 200), ("DELETE", 404)):
        location = "nothing" if method == "DELETE" else "kept"
        if method != "HEAD":
            yield Case(
                33,
                f"{method} with a body",
                (request(method, location, SMUGGLED),),
                (status,),
                KEPT_OPEN,
                "RFC 9110 9.3.1, 9.3.5",
            )
        yield Case(
            33,
            f"{method} with a body that comes later",
            (_head(method, location, len(SMUGGLED)), SMUGGLED),
            (status,),
            CLOSED,
            "RFC 9110 9.3.1, 9.3.5",
        )
    yield Case(
        33,
        "GET with a body in chunks",
        (
            _get(b"Host: localhost", b"Transfer-Encoding: chunked")
            + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        ),
        (200,),
        KEPT_OPEN,
        "RFC 9110 9.3.1",
    )
    bomb = gzip.compress(bytes(10_000_000), mtime=0)
    for what, data, fields in [
        ("X-HTTP-Method-Override", b"hello", [b"X-HTTP-Method-Override: DELETE"]),
        ("Upgrade: h2c", b"hello", [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"]),
        ("Upgrade: websocket", b"hello", [b"Connection: Upgrade", b"Upgrade: websocket"]),
        ("gzip", gzip.compress(b"hello", mtime=0), [b"Content-Encoding: gzip"]),
        ("a bomb", bomb, [b"Content-Encoding: gzip"]),
        ("no gzip at all", b"hello", [b"Content-Encoding: gzip"]),
    ]:
        yield Case(
            34,
            f"{what}, ignored",
            (_post(*fields, b"Content-Length: %d" % len(data), body=data),),
            (204,),
            KEPT_OPEN,
            "RFC 9110 7.8, 8.4",
            {"a": data},
        )


def _lost_lengths() -> Iterator[Case]:
    """Row 85: a body whose length got lost on the way."""
    lines = {
        "PUT of HTTP/1.0": b"PUT /store/kept HTTP/1.0",
        "PUT": b"PUT /store/kept HTTP/1.1",
        "PUT that creates": b"PUT /store/a HTTP/1.1\r\nIf-None-Match: *",
        "POST": b"POST /store/a HTTP/1.1",
    }
    cases = {what: _post(line=line, body=SMUGGLED) for what, line in lines.items()}
    yield from _refused(85, "RFC 9112 6.3, RFC 9110 15.5.12", 411, cases)


def _head(method: str, location: str, length: int, *fields: str) -> bytes:
    """The head of a request with a body, which may never come."""
    return request(method, location, None, f"Content-Length: {length}", *fields)


def _raw(path: str, method: str = "POST") -> bytes:
    """A request for a path as it is; a POST has a body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
    return head + (b"Content-Length: 5\r\n\r\nhello" if method == "POST" else b"\r\n")


def _brief(path: str) -> str:
    return path if len(path) <= 60 else f"{path[:30]}... ({len(path)} bytes)"


def _names(row: int, rfc: str, paths: Mapping[str, str]) -> Iterator[Case]:
    """Paths, each with the location that it is."""
    for path, location in paths.items():
        yield Case(
            row,
            _brief(path),
            (_raw(path) + _raw(path, "GET"),),
            (204, 200),
            KEPT_OPEN,
            rfc,
            {location: b"hello"},
        )


def _no_names(row: int, rfc: str, status: int, paths: Iterable[str]) -> Iterator[Case]:
    """Paths that are none: no method finds anything there, and nobody is sent elsewhere."""
    for path in paths:
        yield Case(
            row,
            _brief(path),
            tuple(_raw(path, method) for method in ("POST", "GET", "DELETE")),
            (status,) * 3,
            KEPT_OPEN,
            rfc,
        )


def _paths() -> Iterator[Case]:
    """Rows 35 to 45: locations."""
    rfc = "RFC 3986 2.4"
    yield from _names(35, rfc, {"/store/a/b": "a/b", "/store/a%2Fb": "a/b", "/store/a%2fb": "a/b"})
    yield Case(
        35,
        "one location by two names",
        (_raw("/store/a%2Fb") + _raw("/store/a/b"),),
        (204, 409),
        KEPT_OPEN,
        "RFC 3986 6.2.2",
        {"a/b": b"hello"},
    )
    yield from _names(
        36, rfc, {"/store/%252F": "%2F", "/store/%2525": "%25", "/store/a%252e%252e": "a%2e%2e"}
    )
    dots = [
        "/store/.",
        "/store/..",
        "/store/%2e%2e",
        "/store/%2E.",
        "/store/a/%2e/b",
        "/store/a/..",
    ]
    yield from _no_names(37, "RFC 3986 3.3", 400, dots)
    yield from _names(37, "RFC 3986 3.3", {"/store/...": "...", "/store/.a": ".a"})
    walks = ["/store/../store/kept", "/store/./kept", "/store/kept/", "/store//kept", "/store/a//b"]
    yield from _no_names(38, "RFC 9110 4.2.3", 400, walks)
    yield from _no_names(
        38, "RFC 9110 4.2.3", 404, ["//store/kept", "/../store/kept", "/Store/kept"]
    )
    controls = ["%00", "a%00b", "%0d%0aX-Evil:%20yes", "%1b[31m", "%7f", "%0a", "%09", "%1f"]
    yield from _no_names(39, "RFC 9110 5.5, 17.1", 400, [f"/store/{path}" for path in controls])
    escapes = ["%zz", "%", "a%", "%4", "%u0041", "%%41", "%-1", "%0x"]
    yield from _no_names(40, "RFC 3986 2.1", 400, [f"/store/{path}" for path in escapes])
    codes = ["%FF", "%C0%AE", "%C0%AE%C0%AE/a", "%ED%A0%80", "%F4%90%80%80", "%C3", "%E2%82", "%80"]
    yield from _no_names(41, "RFC 3629 3", 400, [f"/store/{path}" for path in codes])
    yield from _exact_names()
    longest = "a" * 1024
    yield from _names(
        43,
        "RFC 9110 4.1",
        {f"/store/{longest}": longest, f"/store/{'%C3%BC' * 512}": "ü" * 512},
    )
    too_long = [f"/store/{longest}a", f"/store/{'%61' * 1025}", f"/store/{'%C3%BC' * 512}a"]
    yield from _no_names(43, "RFC 9110 15.5.15", 414, too_long)
    yield _naughty_strings()
    yield from _names(
        45,
        "RFC 3986 3.4",
        {
            "/store/a?query": "a",
            "/store/a?/../b": "a",
            "/store/a?%zz": "a",
            "/store/a;param": "a;param",
            "/store/a+b": "a+b",
            "/store/a%2Bb%3Bc": "a+b;c",
            "/store/a%23b": "a#b",
            "/store/a%3Fb": "a?b",
        },
    )
    yield from _refused(
        45,
        "RFC 9112 3.2",
        400,
        {path: _raw(path) for path in ("/store/a#frag", "/store/a?b#c", "/store/#")},
    )


def _exact_names() -> Iterator[Case]:
    names = [
        "caf\N{LATIN SMALL LETTER E WITH ACUTE}",
        "cafe\N{COMBINING ACUTE ACCENT}",
        "CAFE",
        "cafe",
        "\N{LATIN SMALL LETTER DOTLESS I}",
        "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}",
        "i",
        "I",
        "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
        "\N{PILE OF POO}",
        "\N{ZERO WIDTH NO-BREAK SPACE}a",
        "a",
        "\N{KELVIN SIGN}",
        "\N{LATIN SMALL LIGATURE FI}",
        "a\N{NO-BREAK SPACE}b",
        "\N{LINE SEPARATOR}",
        "\U0010ffff",
    ]
    stored = {name: name.encode() for name in names}
    requests = [request("POST", name, data) for name, data in stored.items()]
    yield Case(
        42,
        "names that look or fold alike",
        (b"".join(requests) + b"".join(request("GET", name) for name in names),),
        (*[204] * len(names), *[200] * len(names)),
        KEPT_OPEN,
        "RFC 3986 6.2.1",
        stored,
        check=lambda answers: _equal(
            [answer.body for answer in answers[len(names) :]], list(stored.values())
        ),
    )
    raw = "/store/é".encode()
    yield Case(
        42,
        "bytes that nobody has encoded",
        (b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello" % raw,),
        (204,),
        KEPT_OPEN,
        "RFC 3986 2.1",
        {"é": b"hello"},
    )


def naughty_strings() -> list[str]:
    """The list, without the same one twice."""
    text = (FIXTURES / "blns" / "blns.json").read_text(encoding="utf-8")
    return list(dict.fromkeys(json.loads(text)))


def is_location(text: str) -> bool:
    """Whether a string is to be taken for a location, by other means than gostore's."""
    segments = text.split("/")
    return (
        0 < len(text.encode()) <= 1024
        and not any(segment in ("", ".", "..") for segment in segments)
        and not any(ord(character) < 32 or ord(character) == 127 for character in text)
    )


def _naughty_strings() -> Case:
    """Each as a location and as a body: stored and given back, or 400 twice."""
    strings = [text for text in naughty_strings() if text]
    requests: list[bytes] = []
    wanted: list[int] = []
    bodies: list[bytes] = []
    for text in strings:
        good = is_location(text)
        requests += [request("POST", text, text.encode()), request("GET", text)]
        wanted += (204, 200) if good else (400, 400)
        bodies += [text.encode()] if good else []
    return Case(
        44,
        f"{len(strings)} naughty strings as locations and bodies",
        (b"".join(requests),),
        tuple(wanted),
        KEPT_OPEN,
        "RFC 3986 2.1",
        {text: text.encode() for text in strings if is_location(text)},
        check=lambda answers: _equal(
            [answer.body for answer in answers if answer.status == 200], bodies
        ),
    )


def _browsers() -> Iterator[Case]:
    """Rows 52, 83 and 84: forms, pages that a stranger stored, and what errors tell."""
    form = b"a=1&b=%zz&" + b"c=" + bytes(range(256)) * 100
    parts = (
        b'--X\r\nContent-Disposition: form-data; name="f"; filename="../../etc/passwd"\r\n\r\n'
        + bytes(range(256)) * 100
    )
    for what, content_type, data in [
        ("a form", b"application/x-www-form-urlencoded", form),
        ("a form of 8 MiB", b"application/x-www-form-urlencoded", b"&" * (8 << 20)),
        ("a form of many parts", b"multipart/form-data; boundary=X", parts + b"\r\n--X--\r\n"),
        ("parts that do not end", b"multipart/form-data; boundary=X", parts),
        ("parts without a boundary", b"multipart/form-data", parts),
        ("2 MiB of boundaries", b"multipart/form-data; boundary=X", b"--X\r\n" * 400_000),
        ("JSON that is none", b"application/json", b'{"a": ' * 10_000),
    ]:
        field_lines = (b"Content-Type: " + content_type, b"Content-Length: %d" % len(data))
        is_refused = content_type.startswith(b"multipart/form-data")
        yield Case(
            52,
            what,
            (_post(*field_lines, body=data),),
            (415,) if is_refused else (204,),
            CLOSED if is_refused and len(data) > 65536 else KEPT_OPEN,
            "RFC 9110 9.3.3, 15.5.16",
            {} if is_refused else {"a": data},
        )
    page = b"<script>alert(document.domain)</script>"
    for kind in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript"):
        yield Case(
            83,
            f"a page of {kind}",
            (
                request("POST", "a", page, f"Content-Type: {kind}"),
                request("GET", "a", None, "Origin: http://evil.example"),
            ),
            (204, 200),
            KEPT_OPEN,
            "RFC 9110 17, Fetch 3.2",
            {"a": page},
            check=_sandboxed(kind),
        )
    evil = "Origin: http://evil.example"
    for what, said in [("origin", evil), ("site", "Sec-Fetch-Site: cross-site")]:
        for method in ("POST", "PUT", "DELETE"):
            yield Case(
                83,
                f"{method} by a page of another {what}",
                (request(method, "kept", b"evil", said),),
                (403,),
                KEPT_OPEN,
                "Fetch 3.2, Fetch Metadata 2.3",
            )
    rebound = {
        "Host": _get(b"Host: evil.example:7777", b"Sec-Fetch-Site: same-origin"),
        "a target": _get(b"Host: localhost", line=b"GET http://evil.example/store/kept HTTP/1.1"),
    }
    for what, data in rebound.items():
        yield Case(83, f"{what} of another name", (data,), (421,), KEPT_OPEN, "RFC 9110 7.4")
    yield Case(
        83,
        "a preflight",
        (
            _get(
                b"Host: localhost",
                b"Origin: http://evil.example",
                b"Access-Control-Request-Method: DELETE",
                line=b"OPTIONS /store/kept HTTP/1.1",
            ),
        ),
        (200,),
        KEPT_OPEN,
        "Fetch 3.2",
        check=_allows,
    )
    secret = b"s3cr3t"
    # The location is the only part of a request that an answer repeats.
    for status, what, data, fate in [
        (400, "a field", _get(b"Host: localhost", b"X-A: " + secret + b"\0"), CLOSED),
        (400, "a Host", _get(b"Host: " + secret + b"@x"), CLOSED),
        (501, "a method", _get(b"Host: localhost", line=secret + b" / HTTP/1.1"), CLOSED),
        (501, "a coding", _chunked(b"").replace(b"chunked", secret), CLOSED),
        (404, "a path", _raw("/" + secret.decode(), "GET"), KEPT_OPEN),
        (404, "a query", _raw("/store/a?" + secret.decode(), "GET"), KEPT_OPEN),
        (400, "a list's query", _raw("/store/?format=" + secret.decode(), "GET"), KEPT_OPEN),
        (400, "a digest", request("POST", "a", b"", f"Content-MD5: {secret.decode()}"), KEPT_OPEN),
        (412, "a tag", request("GET", "kept", None, f'If-Match: "{secret.decode()}"'), KEPT_OPEN),
        (400, "a body", _chunked(secret + b"\r\n"), CLOSED),
    ]:
        yield Case(
            84,
            f"{what} is not told",
            (data,),
            (status,),
            fate,
            "RFC 9110 15.5, 17",
            check=_does_not_tell(secret),
        )


# Checks of the answers.


def _equal(got: object, wanted: object) -> None:
    assert got == wanted, f"{got!r:.300} and not {wanted!r:.300}"


def _body_is(body: bytes) -> Check:
    return lambda answers: _equal(answers[-1].body, body)


_ALLOWED = {"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"}


def _allows(answers: Sequence[Response]) -> None:
    allow = answers[-1].headers.get("allow", "")
    _equal(set(allow.split(", ")), _ALLOWED)


def _allows_anywhere(answers: Sequence[Response]) -> None:
    allow = answers[-1].headers.get("allow", "")
    _equal(set(allow.split(", ")), _ALLOWED | {"PATCH"})


def _sandboxed(content_type: str) -> Check:
    def check(answers: Sequence[Response]) -> None:
        headers = answers[-1].headers
        _equal(headers.get("content-type"), content_type)
        _equal(headers.get("x-content-type-options"), "nosniff")
        policy = headers.get("content-security-policy", "")
        assert policy.startswith("sandbox; default-src 'none';"), policy
        assert "script" not in policy, policy

    return check


def _does_not_tell(secret: bytes) -> Check:
    def check(answers: Sequence[Response]) -> None:
        assert secret not in answers[-1].body, f"reflected: {answers[-1].body!r}"

    return check


CASES = tuple(_cases())


def main() -> int:
    """Play the table, print a line for each row, and say whether all of them are right."""
    with tempfile.TemporaryDirectory() as scratch:
        daemon = Daemon(Path(scratch) / "data", *OPTIONS).start()
        try:
            prepare(daemon)
            results = [run(case, daemon) for case in CASES]
        finally:
            daemon.close()
    print("row  cases  got                                    ok")
    right: dict[int, bool] = {}
    for row, group in groupby(results, key=lambda got: got.case.row):
        gots = list(group)
        right[row] = not any(got.problems for got in gots)
        told = dict.fromkeys(f"{_short(got.statuses):.24} {got.fate}" for got in gots)
        print(f"{row:>3}  {len(gots):>5}  {', '.join(told):<38} {'yes' if right[row] else 'NO'}")
        for got in gots:
            for problem in got.problems:
                print(f"     {got.case.what}: {problem}")
    print(f"{sum(right.values())} of {len(right)} rows")
    return 0 if all(right.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
