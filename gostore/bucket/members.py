"""What a member of a pointer may be, of an upload, or of what else is in a bucket. Pure.

Anybody with the bucket may write anything there. What is believed here can be written again, sent
as a field of HTTP, and counted on. So nobody has to look again, and one bad object stops no list.
"""

from __future__ import annotations

import json
import re

NONCE_LENGTH = 8
"""Characters of a nonce: 48 random bits."""

MOST_NONCES = 8

MAX_NUMBER = 2**63 - 1

MAX_GENERATION = MAX_NUMBER
"""The largest generation, which is a time in nanoseconds: in the year 2262."""

MAX_EXPIRES = 253_402_300_799
"""The last second of the year 9999: no later one has a date."""

#: The most bytes of metadata, as JSON. A pointer has two versions, and a record has base64.
_MOST_METADATA = 32_768
_MOST_TYPE = 8192
_MOST_ORIGIN = 2000

NONCE = re.compile("[A-Za-z0-9_-]{8}", re.ASCII)
_NONCES = re.compile("(?:[A-Za-z0-9_-]{8}){0,8}", re.ASCII)
_ETAG = re.compile('[!#-~]{1,256}|(?:W/)?"[!#-~]{1,256}"', re.ASCII)
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_DIGEST = re.compile("[0-9a-f]{64}", re.ASCII)

#: What a field of HTTP has: bytes, as Latin-1, with no control character but the tab.
_FIELD = re.compile("[\t -~\x80-\xff]*")


def number(found: dict[str, object], key: str, most: int = MAX_NUMBER) -> int:
    """A whole number. Raises KeyError or ValueError, as the others do."""
    value = found[key]
    # type(), because True is an int by isinstance().
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"its {key}")
    return value


def text(found: dict[str, object], key: str, most: int = _MOST_ORIGIN) -> str:
    """Some text, "" if there is none."""
    value = found.get(key, "")
    if type(value) is not str or len(value) > most or not is_unicode(value):
        raise ValueError(f"its {key}")
    return value


def field(found: dict[str, object], key: str, most: int = _MOST_TYPE) -> str:
    """Some text that a field of HTTP can have, "" if there is none."""
    value = text(found, key, most)
    if not is_field(value):
        raise ValueError(f"its {key}")
    return value


def nonce(found: dict[str, object], key: str) -> str:
    """A nonce, "" if there is none."""
    value = found.get(key, "")
    if type(value) is not str or (value and not NONCE.fullmatch(value)):
        raise ValueError(f"its {key}")
    return value


def nonces(found: dict[str, object], key: str) -> tuple[str, ...]:
    """At most `MOST_NONCES` nonces, one behind the other."""
    value = found[key]
    if type(value) is not str or not _NONCES.fullmatch(value):
        raise ValueError(f"its {key}")
    return tuple(value[at : at + NONCE_LENGTH] for at in range(0, len(value), NONCE_LENGTH))


def digest(found: dict[str, object], key: str) -> bytes:
    """A SHA-256."""
    value = found[key]
    if type(value) is not str or not _DIGEST.fullmatch(value):
        raise ValueError(f"its {key}")
    return bytes.fromhex(value)


def etag(found: dict[str, object], key: str) -> str:
    """An ETag that can be asked for: ``*`` would be any."""
    value = found[key]
    if type(value) is not str or not _ETAG.fullmatch(value) or value == "*":
        raise ValueError(f"its {key}")
    return value


def metadata(found: dict[str, object], key: str) -> dict[str, str] | None:
    """The metadata of a blob, None if it has none."""
    value = found.get(key)
    if value is None or value == {}:
        return None
    if type(value) is not dict or not all(
        _FIELD_NAME.fullmatch(name) and type(each) is str and is_field(each)
        for name, each in value.items()
    ):
        raise ValueError(f"its {key}")
    if len(json.dumps(value, ensure_ascii=False).encode()) > _MOST_METADATA:
        raise ValueError(f"its {key}")
    return value


def is_unicode(value: str) -> bool:
    """Whether text can be written as UTF-8: JSON can spell lone surrogates, which cannot."""
    return value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value)


def is_field(value: str) -> bool:
    """Whether a field of HTTP can have a text."""
    return _FIELD.fullmatch(value) is not None
