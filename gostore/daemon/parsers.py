"""Text to value: the parsers of settings, and of the commands' arguments.

Each raises ValueError with the reason, for people. All are pure, except that `absolute` asks for
the working directory and the home.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from configparser import RawConfigParser
from ipaddress import IPv6Address
from typing import Any, TypeVar, cast

from twisted.internet.endpoints import quoteStringArgument, serverFromString

from gostore.daemon.own_log import LogFormat
from gostore.ini import parse_duration, parse_size
from gostore.volume.changes import Sync
from gostore.web.access_log import AccessLogFormat
from gostore.web.lifetimes import LONGEST, LifetimeRule

T = TypeVar("T")


def parse_text(text: str) -> str:
    """Take any text but an empty one."""
    if not text:
        raise ValueError("must not be empty")
    return text


def parse_flag(text: str) -> bool:
    """Read yes/no, on/off, true/false or 1/0."""
    value = RawConfigParser.BOOLEAN_STATES.get(text.lower())
    if value is None:
        raise ValueError(f"{text!r} is neither yes nor no")
    return value


def parse_size_above_zero(text: str) -> int:
    """Read a size of at least one byte."""
    size = parse_size(text)
    if size == 0:
        raise ValueError("must be more than 0")
    return size


def parse_count(text: str, least: int = 1) -> int:
    """Read a whole number, at least 1 or another ``least``."""
    if re.fullmatch("[0-9]{1,9}", text) is None or int(text) < least:
        raise ValueError(f"{text!r} is not a whole number from {least} to 999999999")
    return int(text)


def parse_seconds(text: str) -> float:
    """Read a number of seconds, 0 or more, fractions allowed."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    # More than a day is a mistake, and no reactor can wait longer than 24 days.
    if not 0 <= seconds <= 86400:
        raise ValueError(f"{text!r} is not a number of seconds from 0 to 86400")
    return seconds


def parse_seconds_above_zero(text: str) -> float:
    """Read a number of seconds, more than 0."""
    seconds = parse_seconds(text)
    if seconds == 0:
        raise ValueError("must be more than 0")
    return seconds


def parse_lifetime(text: str) -> float:
    """Read a duration of more than 0."""
    seconds = parse_duration(text)
    if seconds == 0:
        raise ValueError("must be more than 0")
    return seconds


def parse_keep(text: str) -> float:
    """Read for how long history is kept: a duration, or forever (infinity)."""
    return math.inf if text == "forever" else parse_duration(text)


def parse_prefix(text: str) -> str:
    """Read the prefix of locations; no location begins with a slash."""
    if text.startswith("/"):
        raise ValueError(f"{text!r} begins with a slash, and no location does")
    return text


_EXPIRE = re.compile(r"(?:(?!max\b)(\S+))?(?:(?:^|\s+)max\s+(\S+))?")


def parse_expire(text: str) -> LifetimeRule:
    """Read how long blobs stay: never (for ever), a default, a maximum, or both (1d max 7d)."""
    if text == "never":
        return LifetimeRule()
    match = _EXPIRE.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is none of never, 1d, max 7d and 1d max 7d")
    default, most = (None if each is None else _parse_lifetime(each) for each in match.groups())
    if default is not None and most is not None and default > most:
        raise ValueError(f"{text!r} has a default above its maximum")
    return LifetimeRule(default, most)


def _parse_lifetime(text: str) -> int:
    seconds = math.ceil(parse_duration(text))
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"{text!r} is no time from 1 second to 317 years")
    return seconds


def parse_id_bits(text: str) -> int | None:
    """Read 16, 32, 64, 128, or auto (None)."""
    values: dict[str, int | None] = {"auto": None, "16": 16, "32": 32, "64": 64, "128": 128}
    if text not in values:
        raise ValueError(f"{text!r} is none of auto, 16, 32, 64 and 128")
    return values[text]


_HOST_NAME = re.compile(r"\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")


def parse_hosts(text: str) -> frozenset[str]:
    """Read names of this server: a.example, *.b.example, 192.0.2.1, [::1]; * is any name."""
    return frozenset(map(_parse_host, text.lower().split(",")))


def _parse_host(text: str) -> str:
    name = text.strip()
    if _HOST_NAME.fullmatch(name):
        return name.removesuffix(".")
    try:
        return str(IPv6Address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(f"{name!r} is not the name of a host, without a port") from None


def parse_field_name(text: str) -> str:
    """Read the name of a header field."""
    if re.fullmatch("[A-Za-z0-9-]+", text) is None:
        raise ValueError(f"{text!r} is not the name of a header field")
    return text


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._\[\]:-]+")
_DEFAULT_PORTS = (("http://", ":80"), ("https://", ":443"))


def parse_origins(text: str) -> frozenset[str]:
    """Read origins of pages as browsers send them (RFC 6454): https://a.example; * is any."""
    if text == "*":
        return frozenset(text)
    return frozenset(map(_parse_origin, text.lower().split(",")))


def _parse_origin(text: str) -> str:
    origin = text.strip()
    if _ORIGIN.fullmatch(origin) is None:
        raise ValueError(f"{origin!r} is not an origin such as https://a.example, without a path")
    for scheme, port in _DEFAULT_PORTS:
        if origin.startswith(scheme):
            return origin.removesuffix(port)
    return origin


def parse_sync(text: str) -> Sync:
    """Read how writes are made durable: journal, files or none."""
    if text not in {each.value for each in Sync}:
        raise ValueError(f"{text!r} is none of journal, files and none")
    return Sync(text)


def parse_access_log_format(text: str) -> AccessLogFormat:
    """Read how the access log is written: combined or json."""
    if text not in {each.value for each in AccessLogFormat}:
        raise ValueError(f"{text!r} is neither combined nor json")
    return AccessLogFormat(text)


def parse_log_format(text: str) -> LogFormat:
    """Read how the daemon's own log is written: text or json."""
    if text not in {each.value for each in LogFormat}:
        raise ValueError(f"{text!r} is neither text nor json")
    return LogFormat(text)


def or_auto(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Make a parser also take "auto", whose value is None."""

    def parse_or_auto(text: str) -> T | None:
        return None if text == "auto" else parse(text)

    return parse_or_auto


def or_none(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Make a parser also take "none", whose value is None."""

    def parse_or_none(text: str) -> T | None:
        return None if text == "none" else parse(text)

    return parse_or_none


# A host is empty, localhost, an IPv4 address, a name with a dot, or an IPv6 address in brackets.
# Any other name without a dot is a type of endpoint, as in "tcp:7777".
_HOST_PORT = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>|localhost|[\w-]+(?:\.[\w-]+)+)):(?P<port>[0-9]{1,5})"
)
_ENDPOINT_PORT = re.compile(r"(?:tcp|tcp4|tcp6|ssl):(?:port=)?(?P<port>-?[0-9]+)(?::.*)?")


def parse_listen(text: str) -> str:
    """Turn the text of an address into a Twisted endpoint string.

    An endpoint string passes unchanged. The forms of the Go server ("0.0.0.0:7777", ":7777",
    "localhost:7777" and "[::1]:7777") are translated.
    """
    match = _HOST_PORT.fullmatch(text)
    description = text
    if match is not None:
        kind = "tcp6" if match["six"] else "tcp"
        # Twisted binds a name too, but looks it up, which may give either family.
        host = "127.0.0.1" if match["host"] == "localhost" else match["six"] or match["host"]
        description = f"{kind}:{int(match['port'])}"
        if host:
            description += f":interface={quoteStringArgument(host)}"
    try:
        # Parsing an endpoint string does not touch the reactor, only listening does.
        serverFromString(cast(Any, None), description)
        port = _ENDPOINT_PORT.fullmatch(description)
        if port is not None and not 0 <= int(port["port"]) <= 65535:
            raise ValueError(f"{port['port']} is not a port")
    except Exception as error:  # A plugin's parser may raise anything on nonsense.
        if isinstance(error, ModuleNotFoundError) and error.name == "OpenSSL":
            raise ValueError(
                f"{text!r} needs TLS: pip install '.[tls]' in a clone of gostore"
            ) from error
        if isinstance(error, LookupError) and text.startswith("systemd:"):
            # Systemd gives the socket to the daemon alone, and others read its settings, too.
            return description
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{text!r} is nothing to listen on ({reason}); try tcp:7777 or 127.0.0.1:7777"
        ) from error
    return description


def endpoint_arguments(text: str) -> tuple[str, list[str], dict[str, str]]:
    """Take a Twisted endpoint string apart: its type, its positional and its named arguments."""
    parts = [[""]]
    characters = iter(text)
    for character in characters:
        if character == "\\":
            parts[-1][-1] += next(characters, "")
        elif character == ":":
            parts.append([""])
        elif character == "=" and len(parts[-1]) == 1:
            parts[-1].append("")
        else:
            parts[-1][-1] += character
    kind, *values = [part[0] for part in parts if len(part) == 1]
    return kind, values, {part[0]: part[1] for part in parts if len(part) == 2}


def absolute(path: str, start: str = "") -> str:
    """Make a path absolute. A leading ~ is the home directory: no shell expands ``--dir=~/x``.

    A relative path starts at ``start``, or at the working directory.  Raises ValueError if there is
    no home ``~name``.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        name = expanded.partition("/")[0]
        raise ValueError(f"nobody knows the home {name}; a directory of that name is ./{name}")
    return os.path.abspath(os.path.join(start, expanded))
