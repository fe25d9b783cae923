"""The dialect of configuration files: INI, with the number of each line.

It is what configparser reads with ``RawConfigParser``, which keeps no numbers: sections in
brackets; names and values with "=" or ":" between them, each as it is written; an indented line
goes on with the value above it; a comment, after "#" or ";", has a line of its own. Only here a
name may stand in double quotes, and then have "=", ":" and whatever else in it. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from attrs import define, field, frozen

_SECTION = re.compile(r"\[(.+)\]")
_ENTRY = re.compile(r'("(?:[^"\\]|\\.)*"|.*?)\s*[=:]\s*(.*)')
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
#: Names that would be read as something else.
_SPECIAL = re.compile(r'|["[#;\s].*|.*[=:].*|.*\s')

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

_SIZE = re.compile(r"([0-9]{1,18})\s*(?:([KMGT])(i?B)?|B)?", re.IGNORECASE)


@define
class BadFile(ValueError):
    """A file that cannot be used: its name, the line (0: the whole), and the reason.

    str() is one line.
    """

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        where = f", line {self.line}" if self.line else ""
        return f"{self.file}{where}: {self.reason}"


@frozen
class Entry:
    """A name and its value: the lines of it that are not empty, each with its number."""

    name: str
    line: int
    lines: list[tuple[int, str]] = field(factory=list)

    @property
    def value(self) -> str:
        """The value as one text."""
        return "\n".join(text for _, text in self.lines)


@frozen
class Section:
    """A section: what stands in its brackets, the number of that line, and its entries by name."""

    name: str
    line: int
    entries: dict[str, Entry] = field(factory=dict)


def read_ini(text: str, file: str, expected: str = "section") -> list[Section]:
    """Read the text of a file, whose name is ``file`` in errors.

    ``expected`` is what the first line should be, without its brackets. Raises BadFile.
    """
    sections: dict[str, Section] = {}
    entries: dict[str, Entry] = {}
    entry: Entry | None = None
    indent = 0
    for number, line, depth in _lines(text):
        if entry is not None and depth > indent:
            entry.lines.append((number, line))
            continue
        indent = depth
        if (header := _SECTION.match(line)) is not None:
            name = header[1]
            if name in sections:
                raise BadFile(file, number, f"the section [{name}] is there twice")
            entry, entries = None, {}
            sections[name] = Section(name, number, entries)
            continue
        if not sections:
            raise BadFile(file, number, f"no [{expected}] line above it")
        match = _ENTRY.fullmatch(line)
        if match is None or not match[1]:
            raise BadFile(file, number, "neither a setting nor a comment")
        name, value = match.groups()
        if name in entries:
            raise BadFile(file, number, f"{name} is set twice")
        entry = entries[name] = Entry(name, number, [(number, value)] if value else [])
    return list(sections.values())


def quoted(name: str) -> str:
    """Write a name so that `unquoted` gives it back: in quotes only if it needs them."""
    if not _SPECIAL.fullmatch(name):
        return name
    return '"{}"'.format(re.sub(r'(["\\])', r"\\\1", name))


def unquoted(name: str) -> str:
    """The name that is meant by one in quotes; any other means itself."""
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if _QUOTED.fullmatch(name) else name


def _lines(text: str) -> Iterator[tuple[int, str, int]]:
    """The lines that say something, with number and indentation."""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line and line[0] not in "#;":
            yield number, line, len(raw) - len(raw.lstrip())


def parse_size(text: str) -> int:
    """Read a number of bytes: 65536, 64K, 64KiB (1024 each) or 64KB (1000 each)."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 65536, 64K or 64KiB")
    number, prefix, unit = match.groups()
    base = 1000 if unit is not None and unit.lower() == "b" else 1024
    power = "KMGT".index(prefix.upper()) + 1 if prefix else 0
    return int(number) * int(base**power)


def format_duration(seconds: float) -> str:
    """Write seconds as `parse_duration` reads them: 90s, 12h or 7d; "forever" for infinity."""
    if math.isinf(seconds):
        return "forever"
    for unit in "dhm":
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s" if seconds else "0"


def parse_duration(text: str) -> float:
    """Read a duration in seconds: 3600, 90s, 15m, 12h, 7d or 2w; fractions are allowed."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 90s, 15m, 12h or 7d")
    return float(match[1]) * _SECONDS[match[2]]
