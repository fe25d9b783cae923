"""Every setting of the daemon, in one table.

The table is the class ``Settings``: a field's name with "-" for "_" is what the setting is called
on the command line and in the configuration file, and its metadata holds the text of its default,
its parser and its one-line description. The options of ``tap``, the reader of the configuration
file and the commented tap.conf are all driven by it.

Everything is a pure value here: no file is opened, no directory is looked at. Only `absolute` asks
where we are and who we are.
"""

from __future__ import annotations

import configparser
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from attrs import field, fields, frozen
from twisted.internet.endpoints import quoteStringArgument, serverFromString

SECTION = "gostore"
"""The one section of the configuration file."""

T = TypeVar("T")


class BadSetting(ValueError):
    """A configuration that cannot be used; str() of it is one line that says where and why."""


# Parsers: text to value. Each raises ValueError with the reason, for people.


def parse_text(text: str) -> str:
    """Take the text as it is, but not an empty one."""
    if not text:
        raise ValueError("must not be empty")
    return text


def parse_flag(text: str) -> bool:
    """Read yes/no, on/off, true/false or 1/0."""
    value = configparser.RawConfigParser.BOOLEAN_STATES.get(text.lower())
    if value is None:
        raise ValueError(f"{text!r} is neither yes nor no")
    return value


_SIZE = re.compile(r"([0-9]{1,18})\s*(?:([KMGT])(i?B)?|B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Read a number of bytes: 65536, 64K, 64KiB (1024 each) or 64KB (1000 each)."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 65536, 64K or 64KiB")
    number, prefix, unit = match.groups()
    base = 1000 if unit is not None and unit.lower() == "b" else 1024
    power = "KMGT".index(prefix.upper()) + 1 if prefix else 0
    return int(number) * int(base**power)


def parse_size_above_zero(text: str) -> int:
    """Read a size of at least one byte."""
    size = parse_size(text)
    if size == 0:
        raise ValueError("must be more than 0")
    return size


def parse_count(text: str) -> int:
    """Read a whole number, at least 1."""
    if re.fullmatch("[0-9]{1,9}", text) is None or int(text) == 0:
        raise ValueError(f"{text!r} is not a whole number from 1 to 999999999")
    return int(text)


def parse_seconds(text: str) -> float:
    """Read a number of seconds, 0 or more, fractions allowed."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    # Beyond a day it is a mistake, and beyond 24 days no reactor can wait that long.
    if not 0 <= seconds <= 86400:
        raise ValueError(f"{text!r} is not a number of seconds from 0 to 86400")
    return seconds


def parse_seconds_above_zero(text: str) -> float:
    """Read a number of seconds, more than 0."""
    seconds = parse_seconds(text)
    if seconds == 0:
        raise ValueError("must be more than 0")
    return seconds


def parse_id_bits(text: str) -> int | None:
    """Read 16, 32, or auto (None)."""
    values: dict[str, int | None] = {"auto": None, "16": 16, "32": 32}
    if text not in values:
        raise ValueError(f"{text!r} is none of auto, 16 and 32")
    return values[text]


def parse_sync(text: str) -> str:
    """Read how writes are made durable: journal, files or none."""
    if text not in ("journal", "files", "none"):
        raise ValueError(f"{text!r} is none of journal, files and none")
    return text


def or_auto(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Let a parser take "auto" too; its value is None."""

    def parse_or_auto(text: str) -> T | None:
        return None if text == "auto" else parse(text)

    return parse_or_auto


# A host is nothing, localhost, an IPv4 address, a name with a dot, or an IPv6 address in brackets.
# Another name without a dot is an endpoint type, as in "tcp:7777".
_HOST_PORT = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>|localhost|[\w-]+(?:\.[\w-]+)+)):(?P<port>[0-9]{1,5})"
)
_ENDPOINT_PORT = re.compile(r"(?:tcp|tcp4|tcp6|ssl):(?:port=)?(?P<port>-?[0-9]+)(?::.*)?")


def parse_listen(text: str) -> str:
    """Turn what to listen on into a Twisted endpoint string.

    Endpoint strings pass unchanged; "0.0.0.0:7777", ":7777", "localhost:7777" and "[::1]:7777", the
    forms of the Go server, are translated.
    """
    match = _HOST_PORT.fullmatch(text)
    description = text
    if match is not None:
        kind = "tcp6" if match["six"] else "tcp"
        # Twisted binds names, too, but by a look-up that may give either family.
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
    except Exception as error:  # whatever a parser, possibly a plugin's, makes of nonsense
        if isinstance(error, ModuleNotFoundError) and error.name == "OpenSSL":
            raise ValueError(f"{text!r} needs TLS: pip install 'gostore[tls]'") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{text!r} is nothing to listen on ({reason}); try tcp:7777 or 127.0.0.1:7777"
        ) from error
    return description


# The table.


@frozen
class Setting:
    """One row of the table."""

    name: str
    """What it is called on the command line and in the configuration file."""
    default: str
    """Its default, as it would be written there."""
    parse: Callable[[str], object]
    """Text to value; raises ValueError with the reason."""
    doc: str
    """One line for people."""
    short: str | None
    """Its one-letter option."""
    flag: bool
    """An option without a value on the command line."""


@frozen
class _Row:
    default: str
    parse: Callable[[str], object]
    doc: str
    short: str | None
    flag: bool


def _setting(
    default: str, parse: Callable[[str], T], doc: str, short: str | None = None, flag: bool = False
) -> T:
    row = _Row(default, parse, doc, short, flag)
    # attrs takes what this makes for the field's definition; a type checker, for its value.
    made: T = field(default=parse(default), metadata={_Row: row})
    return made


@frozen(kw_only=True)
class Settings:
    """What a daemon is told; the defaults are tap.conf's. Sizes in bytes, times in seconds."""

    dir: str = _setting(
        "./data", parse_text, "The data directory; made if it is missing.", short="d"
    )
    listen: str = _setting(
        "tcp:7777",
        parse_listen,
        "What to listen on: a Twisted endpoint string, or host:port.",
        short="s",
    )
    debug: bool = _setting("no", parse_flag, "Log debug messages, too.", short="D", flag=True)
    put_creates: bool = _setting(
        "no",
        parse_flag,
        "Let a plain PUT create a blob where there is none, instead of answering 404.",
        flag=True,
    )
    sync: str = _setting(
        "journal",
        parse_sync,
        "What makes a write durable before it is answered: journal, files, or none (scratch data).",
    )
    gc_interval: float = _setting(
        "5", parse_seconds_above_zero, "Seconds between two runs of the garbage collector."
    )
    scrub_rate: int = _setting(
        "4MiB", parse_size, "Bytes a second that the scrub reads to find damage; 0 turns it off."
    )
    scrub_pause: float = _setting(
        "3600", parse_seconds_above_zero, "Seconds between two rounds of the scrub."
    )
    id_bits: int | None = _setting(
        "auto",
        parse_id_bits,
        "Width of blob ids: 16, 32, or auto: 16 until half of those are taken, then 32.",
    )
    max_blob_size: int = _setting(
        "0", parse_size, "The largest blob, such as 10M or 1GiB; 0 means no limit but the disk."
    )
    free_space_reserve: int | None = _setting(
        "auto",
        or_auto(parse_size),
        "Free space that no upload may use; auto is the larger of 1 % of the disk and 64MiB.",
    )
    max_uploads: int = _setting("256", parse_count, "The most uploads in progress at a time.")
    max_connections: int | None = _setting(
        "auto",
        or_auto(parse_count),
        "The most connections at a time; auto is 80 % of the limit of open files, at most 4096.",
    )
    max_uri_size: int = _setting("8KiB", parse_size_above_zero, "The longest request target.")
    max_head_size: int = _setting(
        "16KiB", parse_size_above_zero, "The longest request head, all header fields together."
    )
    max_fields: int = _setting("100", parse_count, "The most header fields in a request.")
    head_timeout: float = _setting(
        "10", parse_seconds_above_zero, "Seconds for a request head, from its first byte."
    )
    idle_timeout: float = _setting(
        "75", parse_seconds_above_zero, "Seconds an idle connection is kept."
    )
    body_rate: int = _setting(
        "1KiB", parse_size, "Bytes a second that an upload must average over body-window."
    )
    body_window: float = _setting(
        "30", parse_seconds_above_zero, "Seconds over which body-rate is measured."
    )
    send_timeout: float = _setting(
        "60", parse_seconds_above_zero, "Seconds a client may leave a response untaken."
    )
    shutdown_grace: float = _setting(
        "10", parse_seconds, "Seconds that uploads in progress get to finish at shutdown."
    )


def _name(field_name: str) -> str:
    return field_name.replace("_", "-")


def _table() -> Mapping[str, Setting]:
    rows = [(_name(each.name), each.metadata[_Row]) for each in fields(Settings)]
    return {
        name: Setting(name, row.default, row.parse, row.doc, row.short, row.flag)
        for name, row in rows
    }


TABLE: Mapping[str, Setting] = _table()
"""Every setting by its name, in the order in which people should read them."""


def make_settings(values: Mapping[str, object]) -> Settings:
    """Make Settings of parsed values by setting name; what is missing has its default."""
    fields_by_name: dict[str, Any] = {
        name.replace("-", "_"): value for name, value in values.items()
    }
    return Settings(**fields_by_name)


def parse_config(text: str, file: str) -> dict[str, object]:
    """Read the text of a configuration file: INI with one section, [gostore].

    ``file`` is what the file is called in errors. Returns the parsed values by setting name. Raises
    BadSetting, naming the file, the line and the reason.
    """
    # No section is special, names are as written, and "%" means itself.
    parser = configparser.RawConfigParser(default_section="")
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # the documented way
    try:
        parser.read_string(text)
    except configparser.MissingSectionHeaderError as error:
        raise BadSetting(f"{file}, line {error.lineno}: no [{SECTION}] line above it") from error
    except configparser.DuplicateSectionError as error:
        reason = f"the section [{error.section}] is there twice"
        raise BadSetting(f"{file}, line {error.lineno}: {reason}") from error
    except configparser.DuplicateOptionError as error:
        raise BadSetting(f"{file}, line {error.lineno}: {error.option} is set twice") from error
    except configparser.ParsingError as error:
        line = error.errors[0][0]
        raise BadSetting(f"{file}, line {line}: neither a setting nor a comment") from error

    values: dict[str, object] = {}
    for section in parser.sections():
        if section != SECTION:
            where = _line_of(rf"\[{re.escape(section)}\]", text)
            raise BadSetting(f"{file}, line {where}: unknown section [{section}]")
        for name, value in parser.items(section):
            where = _line_of(rf"{re.escape(name)}\s*[=:]", text)
            setting = TABLE.get(name)
            if setting is None:
                raise BadSetting(f"{file}, line {where}: unknown setting {name!r}")
            if "\n" in value:
                raise BadSetting(f"{file}, line {where}: {name} goes on over several lines")
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                # INI has no quotes: they would be part of the name of a directory.
                raise BadSetting(
                    f"{file}, line {where}: {name}: leave out the quotes around {value}"
                )
            try:
                values[name] = setting.parse(value)
            except ValueError as error:
                raise BadSetting(f"{file}, line {where}: {name}: {error}") from error
    return values


def _line_of(pattern: str, text: str) -> int:
    """The number of the first line that starts with the pattern; configparser keeps none."""
    lines = text.splitlines()
    return next(n for n, line in enumerate(lines, 1) if re.match(rf"\s*{pattern}", line))


def absolute(path: str) -> str:
    """A path without a leading ~, which no shell expands in ``--dir=~/x`` or in a file, nor dots.

    Raises ValueError if nobody knows whose home ``~name`` is.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        name = expanded.partition("/")[0]
        raise ValueError(f"nobody knows the home {name}; a directory of that name is ./{name}")
    return os.path.abspath(expanded)
