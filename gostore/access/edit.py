"""Changes to the text of an access file, which keep all the rest of it, comments included. Pure.

A section is named as in its brackets: "user alice".
"""

from __future__ import annotations

from gostore.access.rules import COMMENT
from gostore.ini import Entry, Section, quoted, read_ini, unquoted


class NoSection(Exception):
    """There is no such section."""


def add_section(text: str, name: str, values: dict[str, list[str]]) -> str:
    """Add a section at the end; each value has one text, or several lines."""
    lines = [f"[{name}]"]
    for key, several in values.items():
        lines += _entry(key, several, "")
    above = text.rstrip("\n")
    return "\n".join([*([above, ""] if above else []), *lines, ""])


def remove_section(text: str, name: str) -> str:
    """Remove a section with the comments in it; those below its last line stay. NoSection."""
    section = _section(text, name)
    lines = text.split("\n")
    end = _end(section)
    while end < len(lines) and not lines[end].strip():
        end += 1
    del lines[section.line - 1 : end]
    return "\n".join(lines).rstrip("\n") + "\n"


def put_entry(text: str, name: str, key: str, value: str) -> str:
    """Give a section an entry of one line, in place of the one that it has. Raises NoSection.

    The name of an entry is in quotes if it needs them.
    """
    section = _section(text, name)
    lines = text.split("\n")
    entry = next((each for each in section.entries.values() if unquoted(each.name) == key), None)
    if entry is None:
        lines[_end(section) : _end(section)] = _entry(quoted(key), [value], _indent(lines, section))
    else:
        comment = COMMENT.search(entry.value)
        value += comment[0] if comment else ""
        lines[entry.line - 1 : _last(entry)] = _entry(entry.name, [value], _indent(lines, section))
    return "\n".join(lines)


def add_line(text: str, name: str, key: str, value: str) -> str:
    """Give an entry of a section one more line. Raises NoSection."""
    section = _section(text, name)
    entry = section.entries.get(key)
    if entry is None:
        return put_entry(text, name, key, value)
    lines = text.split("\n")
    indent = _indent(lines, section) + " " * len(f"{key} = ")
    lines.insert(_last(entry), indent + value)
    return "\n".join(lines)


def has_section(text: str, name: str) -> bool:
    """Whether there is such a section."""
    return any(_named(section) == name for section in read_ini(text, ""))


def _section(text: str, name: str) -> Section:
    for section in read_ini(text, ""):
        if _named(section) == name:
            return section
    raise NoSection(name)


def _named(section: Section) -> str:
    """Its name, with one blank in it at most."""
    kind, blank, name = section.name.partition(" ")
    return f"{kind} {name.strip()}" if blank else kind


def _last(entry: Entry) -> int:
    return entry.lines[-1][0] if entry.lines else entry.line


def _end(section: Section) -> int:
    """The number of the section's last line that is no comment."""
    return max([section.line, *map(_last, section.entries.values())])


def _indent(lines: list[str], section: Section) -> str:
    """What stands before the names of the section's entries."""
    if not section.entries:
        return ""
    first = lines[next(iter(section.entries.values())).line - 1]
    return first[: len(first) - len(first.lstrip())]


def _entry(key: str, several: list[str], indent: str) -> list[str]:
    lines = [f"{indent}{key} = {several[0]}"]
    return [*lines, *(f"{indent}{' ' * len(f'{key} = ')}{line}" for line in several[1:])]
