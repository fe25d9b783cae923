r"""A blob <-> the text of its state file.

The format is the Go server's; each server reads the directories of the other::

    BLOB_BASE64_<version>:<base64, standard alphabet, padded, of one JSON object>\n
    \n
    <RFC 3339 time, seconds, UTC> - <OK|Pending|Failure> - <message>\n      newest first
    ...

    {"id": 13342,
     "location": "foo",
     "options": {"map": null},
     "status": {"log": [{"status": {"code": 0, "msg": "Blob Created & Saved!"},
                         "timestamp": "2026-11-22T11:01:42.19904024Z"}, ...],
                "index": 3},
     "UpdateMU": {},

     "generation": 7,                    from here on, the keys that gostore adds
     "size": 17,                         bytes of data.raw
     "sha256": "<64 hex digits>",        of data.raw
     "created": "2026-11-22T11:01:42.19904024Z",
     "expires": "2026-11-29T11:01:42Z",  the blob is gone from this second on
     "upload": {"number": "<decimal>", "owner": "user alice", "text": ""},
     "contentType": "text/plain",
     "metadata": {"x-gostore-meta-a": "b"},
     "nonce": "<8 characters>",          of the bytes, where a bucket uses ids again
     "checksum": "<64 hex digits>"}

Codes: OK 0, Failure -1, Pending -2. The log is a ring of 16: ``index`` is where the next entry
goes, so the newest is ``log[index-1]``, or ``log[15]`` when ``index`` is 0. A shorter log has
``index`` equal to its length. gostore writes the oldest entry first, and a full log with index 0.

gostore always writes ``generation`` and ``checksum``, and the other added keys when it knows them.
The Go server ignores keys it does not know. A record with none of the added keys comes from the Go
server: generation 0, no size, no digest. A record with any of them must end in ``checksum`` as the
last key, spelled ``,"checksum":"..."}``: the SHA-256 of the first line up to and with its colon,
then the object's text without that key. So a reader can tell a torn or edited record from a good
one without writing it again. The version is any text without a colon; ours is ``gostore1``.

The base64 line is the truth. The log below it is for people and is never parsed back. In a kept
stage more follows, see volume/kept.py.
"""

from __future__ import annotations

import json
import re
import sys
from binascii import a2b_base64, a2b_hex, b2a_base64, b2a_hex
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring as _quote

from gostore.blob import (
    LOG_LENGTH,
    MAX_ID,
    Blob,
    Committed,
    State,
    Transition,
    UploadNote,
    check_text,
)
from gostore.errors import BadRecord
from gostore.text import escape, format_time

NAME = "blob_state.base64.json"
"""The name of the state file in a blob's directory."""

MAX_BYTES = 65536
"""The largest state file that is written or believed."""

_PREFIX = b"BLOB_BASE64_"
_HEAD = _PREFIX + b"gostore1:"

_CHECKSUM = b',"checksum":"'
_CHECKSUM_BYTES = len(_CHECKSUM) + 64 + len('"}')
_ADDED = frozenset({"generation", "size", "sha256", "created", "expires", "upload"}) | frozenset(
    {"contentType", "metadata", "nonce", "checksum"}
)

_MAX_DEPTH = 48
_MAX_NUMBER = 2**63 - 1
_CRAMPED_MESSAGE = 100

_STATES = {state.value: state for state in State}
_TITLES = {state.value: state.title for state in State}
_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d{1,9}))?"
    r"(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_HEX_DIGEST = re.compile("[0-9a-f]{64}")
_NONCE = re.compile("[A-Za-z0-9_-]{8}")
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)

_SECONDS = rb'"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)'
_ENTRY = rb'{"status":{"code":%s,"msg":"[ !#-\[\]-~]*"},"timestamp":' + _SECONDS
_COMMITTED = re.compile(
    rb'{"id":(0|[1-9]\d{0,9}),"location":"([^"\\\x00-\x1f\x7f]{1,1024})","options":{"map":null},'
    rb'"status":{"log":\['
    + _ENTRY % b"0"
    + rb'(?:\.\d{1,9})?Z"},'
    + _ENTRY % b"-2"
    + rb'(?:\.\d{1,9})?Z"},'
    + _ENTRY % b"0"
    + rb'(?:\.(\d{1,9}))?Z"}(?:,{"status":{"code":-1,"msg":"(?:Deleted|Expired)![ !#-\[\]-~]*"},'
    + rb'"timestamp":'
    + _SECONDS
    + rb'(?:\.(\d{1,9}))?Z"})?\],"index":([34])},"UpdateMU":{},"generation":(0|[1-9]\d{0,18}),'
    rb'"size":(0|[1-9]\d{0,18}),"sha256":"([0-9a-f]{64})","created":'
    + _SECONDS
    + rb'(?:\.\d{1,9})?Z"(?:,"expires":'
    + _SECONDS
    + rb'Z")?(?:,"contentType":"([^"\\\x00-\x1f]*)")?(?:,"metadata":({.*}))?',
    re.DOTALL,
)

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dump(blob: Blob) -> bytes:
    """Write the state file of a blob.

    Cuts long messages when the file would be larger than MAX_BYTES. Raises ValueError if no record
    can hold the blob: a time outside the years 1 to 9999, text that is not Unicode, or metadata
    too large to fit.
    """
    data = _dump(blob, blob.log)
    if len(data) > MAX_BYTES:
        cramped = [
            Transition(entry.state, entry.message[:_CRAMPED_MESSAGE], entry.when)
            for entry in blob.log
        ]
        data = _dump(blob, cramped)
        if len(data) > MAX_BYTES:
            raise ValueError(f"the state of blob {blob.id} does not fit in {MAX_BYTES} bytes")
    return data


def _dump(blob: Blob, log: list[Transition]) -> bytes:
    entries, lines = [], []
    for entry in log:
        time = format_time(entry.when)
        # `value` is a property in Python, this an attribute.
        code = entry.state._value_
        entries.append(
            f'{{"status":{{"code":{code},"msg":{_quote(entry.message)}}},"timestamp":"{time}"}}'
        )
        lines.append(f"{time[:19]}Z - {_TITLES[code]} - {escape(entry.message)}\n")
    lines.reverse()
    # Member by member: this takes half the time of a dict and its encoder.
    members = [
        f'{{"id":{blob.id},"location":{_quote(blob.location)},"options":{{"map":null}},'
        f'"status":{{"log":[{",".join(entries)}],"index":{len(log) % LOG_LENGTH}}},"UpdateMU":{{}},'
        f'"generation":{blob.generation}'
    ]
    if blob.size is not None:
        members.append(f'"size":{blob.size}')
    if blob.sha256 is not None:
        members.append(f'"sha256":"{blob.sha256.hex()}"')
    if blob.created is not None:
        members.append(f'"created":"{format_time(blob.created)}"')
    if blob.expires is not None:
        members.append(f'"expires":"{format_time(blob.expires * _SECOND)}"')
    if blob.upload is not None:
        members.append(f'"upload":{_to_json(blob.upload.members)}')
    if blob.content_type is not None:
        members.append(f'"contentType":{_quote(blob.content_type)}')
    if blob.metadata:
        members.append(f'"metadata":{_to_json(blob.metadata)}')
    if blob.nonce:
        members.append(f'"nonce":{_quote(blob.nonce)}')
    text = (",".join(members) + "}").encode("utf-8")
    checksum = sha256(_HEAD + text).hexdigest().encode("ascii")
    encoded = b2a_base64(b'%s%s%s"}' % (text[:-1], _CHECKSUM, checksum))
    return b"%s%s\n%s" % (_HEAD, encoded, "".join(lines).encode("utf-8"))


def parse(data: bytes, expected_id: int | None = None, *, max_id: int = MAX_ID) -> Blob:
    """Read a state file.

    ``expected_id`` is the id in the name of its directory, which is at most ``max_id``. Raises
    BadRecord, and nothing else, for any text that is not a good record.
    """
    try:
        text, checked = _text(data)
        return _blob(_record(text, checked), checked, expected_id, max_id)
    except RecursionError:
        # Depth is bounded before the parser runs; this is for a caller deep in its own stack.
        raise BadRecord("it is nested too deeply") from None
    except ValueError as error:
        raise BadRecord(str(error)) from None


def parse_committed(data: bytes, expected_id: int) -> Committed | None:
    """As `parse_plain`, for a blob that lives."""
    plain = parse_plain(data, expected_id)
    return None if plain is None or plain[1] else plain[0]


def parse_plain(data: bytes, expected_id: int) -> tuple[Committed, bool] | None:
    """Read the state file of a blob that gostore committed, at half the cost of `parse`.

    Say whether it is dead: then its ``modified`` is when it died. The start of a daemon reads a
    million of these. This matches the exact text that `dump` writes for a blob that was made,
    written and then left alone, or replaced or deleted. It returns None for any other record,
    good or bad; `parse` has the last word on those. Raises nothing.
    """
    try:
        text, checked = _text(data)
        match = _COMMITTED.fullmatch(text, 0, len(text) - _CHECKSUM_BYTES) if checked else None
        if match is None:
            return None
        groups = match.groups()
        blob_id, location, *times, fraction = groups[:6]
        ended, end_fraction, index, generation, size = groups[6:11]
        digest, created, expires, kind, metadata = groups[11:]
        if (ended is None) != (index == b"3"):
            return None
        name = location.decode("utf-8")
        newest = times[2]
        seconds = _parse_seconds(newest.decode("ascii"))
        if times != [newest, newest, newest] or created != newest:
            for time in (created, *times):  # each must be a time
                _parse_seconds(time.decode("ascii"))
        if ended is not None:
            seconds, fraction = _parse_seconds(ended.decode("ascii")), end_fraction
        committed = Committed(
            int(blob_id),
            name,
            int(generation),
            int(size),
            a2b_hex(digest),
            seconds * _SECOND + (int(fraction.ljust(9, b"0")) if fraction else 0),
            sys.intern(kind.decode("utf-8")) if kind is not None else None,
            _metadata(_from_json(metadata.decode("utf-8"))) or None if metadata else None,
            _parse_seconds(expires.decode("ascii")) if expires else None,
        )
    except (BadRecord, ValueError, RecursionError):
        return None
    if (
        committed.id != expected_id
        or committed.id > MAX_ID
        or committed.generation > _MAX_NUMBER
        or committed.size > _MAX_NUMBER
        or _has_dots(name)
    ):
        return None
    return committed, ended is not None


def _text(data: bytes) -> tuple[bytes, bool]:
    """The JSON text of a state file, and whether gostore wrote it and the checksum is right."""
    if len(data) > MAX_BYTES:
        raise BadRecord(f"it is larger than {MAX_BYTES} bytes")
    line, newline, _ = data.partition(b"\n")
    head, colon, encoded = line.partition(b":")
    if not newline or not colon or not head.startswith(_PREFIX):
        raise BadRecord("its first line is not of this format")
    text = a2b_base64(encoded)
    # The decoder skips what it does not know, which makes the text shorter than its code, and the
    # unused bits at the end. To encode the whole text again takes five times as long.
    tail = (len(text) - 1) // 3 * 3
    if len(encoded) != tail // 3 * 4 + 4 or encoded[-4:] != b2a_base64(text[tail:], newline=False):
        raise BadRecord("its base64 is not strict")
    if not (text.startswith(_CHECKSUM, -_CHECKSUM_BYTES) and text.endswith(b'"}')):
        return text, False
    wanted = sha256(b"%s:%s}" % (head, text[:-_CHECKSUM_BYTES])).digest()
    if text[-66:-2] != b2a_hex(wanted):
        raise BadRecord("its checksum is wrong")
    return text, True


def _record(text: bytes, checked: bool) -> dict[str, object]:
    """The JSON object of a state file."""
    # Counting is cheap, and what has few brackets cannot be deep.
    if text.count(b"[") + text.count(b"{") > _MAX_DEPTH:
        _check_depth(text)
    record = _from_json(text.decode("utf-8"))
    if type(record) is not dict:
        raise BadRecord("its JSON is not an object")
    if not checked and not _ADDED.isdisjoint(record):
        raise BadRecord("it has no checksum")
    return record


def _blob(record: dict[str, object], added: bool, expected_id: int | None, max_id: int) -> Blob:
    blob_id = _integer(record, "id", max_id)
    if expected_id is not None and blob_id != expected_id:
        raise BadRecord(f"it is the record of blob {blob_id}, not of {expected_id}")
    location = record.get("location")
    if type(location) is not str:
        raise BadRecord("its location is not a string")
    check_text(location)
    # The Go server may have let an empty segment through. Neither server makes these two.
    if _has_dots(location):
        raise BadRecord("its location has a segment . or ..")
    log = _log(record.get("status"))
    if not added:
        return Blob(blob_id, location, log=log)
    return Blob(
        blob_id,
        location,
        _integer(record, "generation", _MAX_NUMBER),
        _integer(record, "size", _MAX_NUMBER) if "size" in record else None,
        _digest(record["sha256"]) if "sha256" in record else None,
        parse_time(record["created"]) if "created" in record else None,
        _content_type(record["contentType"]) if "contentType" in record else None,
        _metadata(record["metadata"]) if "metadata" in record else {},
        log,
        parse_time(record["expires"]) // _SECOND if "expires" in record else None,
        UploadNote.of(record["upload"]) if "upload" in record else None,
        _nonce(record["nonce"]) if "nonce" in record else "",
    )


def _has_dots(location: str) -> bool:
    return "." in location and not {".", ".."}.isdisjoint(location.split("/"))


def _log(status: object) -> list[Transition]:
    """The transitions of a ring, oldest first."""
    if type(status) is not dict:
        raise BadRecord("its status is not an object")
    ring = status.get("log")
    if ring is None and "log" in status:  # Go writes a slice that has nothing in it as null
        ring = []
    if type(ring) is not list or len(ring) > LOG_LENGTH:
        raise BadRecord("its log is not a list of at most 16")
    index = _integer(status, "index", LOG_LENGTH - 1)
    if index != len(ring) and len(ring) != LOG_LENGTH:
        raise BadRecord("the index of its log is wrong")
    log = [_transition(entry) for entry in ring]
    if len(log) == LOG_LENGTH and index:
        log = log[index:] + log[:index]
    return log


def _transition(entry: object) -> Transition:
    if type(entry) is not dict:
        raise BadRecord("an entry of its log is not an object")
    status = entry.get("status")
    if type(status) is not dict:
        raise BadRecord("a status in its log is not an object")
    code = status.get("code")
    message = status.get("msg")
    if type(code) is not int or code not in _STATES:
        raise BadRecord("a code in its log is not one of 0, -1, -2")
    if type(message) is not str:
        raise BadRecord("a message in its log is not a string")
    if not message.isascii():
        # Go reads the escape of half a surrogate pair as U+FFFD. Kept as it is, it would prevent
        # the record from being written again.
        message = message.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return Transition(_STATES[code], message, parse_time(entry.get("timestamp")))


def _integer(record: dict[str, object], key: str, most: int) -> int:
    value = record.get(key)
    # type(), because True is an int by isinstance().
    if type(value) is not int or not 0 <= value <= most:
        raise BadRecord(f"its {key} is not a whole number from 0 to {most}")
    return value


def _digest(value: object) -> bytes:
    if type(value) is not str or _HEX_DIGEST.fullmatch(value) is None:
        raise BadRecord("its sha256 is not 64 hex digits")
    return bytes.fromhex(value)


def _content_type(value: object) -> str:
    if type(value) is not str or not _is_unicode(value):
        raise BadRecord("its contentType is not a string")
    # A million blobs have a dozen content types between them.
    return sys.intern(value)


def _nonce(value: object) -> str:
    if type(value) is not str or _NONCE.fullmatch(value) is None:
        raise BadRecord("its nonce is not 8 characters")
    return value


def _metadata(value: object) -> dict[str, str]:
    if type(value) is not dict:
        raise BadRecord("its metadata is not an object")
    for name, text in value.items():
        if type(text) is not str or not _is_unicode(name) or not _is_unicode(text):
            raise BadRecord("its metadata has something that is not a string")
    return value


def _is_unicode(text: str) -> bool:
    """Whether text can be written as UTF-8: JSON can spell lone surrogates, which cannot."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _check_depth(text: bytes) -> None:
    """Refuse nesting so deep that the JSON parser might run out of stack."""
    depth = 0
    # Latin-1 keeps every byte; brackets and quotes are ASCII and never part of another character.
    for token in _STRING_OR_BRACKET.findall(text.decode("latin-1")):
        if token in "[{":
            depth += 1
            if depth > _MAX_DEPTH:
                raise BadRecord("it is nested too deeply")
        elif token in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object; refuse equal keys, of which two readers could take different ones."""
    record = dict(pairs)
    if len(record) != len(pairs):
        raise BadRecord("a key of its JSON is there twice")
    return record


def _no_constant(name: str) -> object:
    raise BadRecord(f"its JSON has {name}")


_from_json = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode


@lru_cache(maxsize=4096)
def _parse_seconds(text: str) -> int:
    """The whole seconds since the epoch of a time without a zone; ValueError if there is none."""
    elapsed = datetime.fromisoformat(text) - _EPOCH
    return elapsed.days * 86400 + elapsed.seconds


def parse_time(value: object) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time with any zone; BadRecord if it is not one."""
    match = _TIME.fullmatch(value) if type(value) is str else None
    if match is None:
        raise BadRecord("one of its times is not in RFC 3339")
    text, fraction, sign, hours, minutes = match.groups()
    seconds = _parse_seconds(text)
    if sign is not None:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds -= offset if sign == "+" else -offset
        format_time(seconds * _SECOND)  # the zone must not move it out of the calendar
    return seconds * _SECOND + (int(fraction.ljust(9, "0")) if fraction else 0)
