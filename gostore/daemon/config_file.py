"""The configuration file: INI, its text to the values of settings. Pure.

The section [gostore] sets what holds everywhere. A setting that may differ by prefix has a section
of its own name: ``photos/ = 30d`` below ``[keep]``.
"""

from __future__ import annotations

from attrs import evolve

from gostore.daemon.parsers import parse_prefix
from gostore.daemon.settings import TABLE
from gostore.ini import BadFile, Entry, read_ini
from gostore.prefixes import ByPrefix

SECTION = "gostore"
"""The section of what holds everywhere."""


class BadSetting(ValueError):
    """A configuration that cannot be used. Its str() is one line that says where and why."""


def parse_config(text: str, file: str) -> dict[str, object]:
    """Read the text of a configuration file.

    ``file`` is its name in errors. Returns the parsed values by setting name. Raises BadSetting,
    which names the file, the line and the reason.
    """
    try:
        sections = read_ini(text, file, SECTION)
    except BadFile as error:
        raise BadSetting(str(error)) from error
    values: dict[str, object] = {}
    prefixes: dict[str, dict[str, object]] = {}
    for section in sections:
        setting = TABLE.get(section.name)
        if section.name != SECTION and not (setting and setting.by_prefix):
            raise BadSetting(f"{file}, line {section.line}: unknown section [{section.name}]")
        found = {}
        for entry in section.entries.values():
            try:
                if setting is None:
                    found[entry.name] = _value_of(entry)
                else:
                    found[parse_prefix(entry.name)] = setting.parse(entry.value)
            except ValueError as error:
                raise BadSetting(f"{file}, line {entry.line}: {error}") from error
        if setting is None:
            values.update(found)
        else:
            prefixes[setting.name] = found
    for name, by_prefix in prefixes.items():
        general = values.get(name, TABLE[name].parse_all(TABLE[name].default))
        assert isinstance(general, ByPrefix)
        values[name] = evolve(general, prefixes=by_prefix)
    return values


def _value_of(entry: Entry) -> object:
    """Parse the value of a setting. Raises ValueError with the reason."""
    name, value = entry.name, entry.value
    setting = TABLE.get(name)
    if setting is None:
        raise ValueError(f"unknown setting {name!r}")
    if len(entry.lines) > 1 and not setting.many:
        raise ValueError(f"{name} goes on over several lines")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        # INI has no quotes: they would be part of the name of a directory.
        raise ValueError(f"{name}: leave out the quotes around {value}")
    try:
        return setting.parse_all([line for _, line in entry.lines] if setting.many else value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
