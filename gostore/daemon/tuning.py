"""The settings that can change while the daemon runs: limits, and how long things are kept."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, fields

from gostore.daemon.settings import LIMITS, PACE, Setting, Settings
from gostore.ini import format_duration
from gostore.prefixes import ByPrefix

_TUNABLE = frozenset(
    each.name
    for each in fields(Settings)
    if each.metadata[Setting].group in (LIMITS, PACE)
    or each.name in ("max_blob_size", "free_space_reserve", "expire", "keep")
)


@define(eq=False)
class Tuning:
    """Reads the settings anew, and hands over those that can change now.

    ``read`` raises CannotReload, and ``tune`` takes the settings as they are from now on.
    """

    settings: Settings
    _read: Callable[[], Settings]
    _tune: Callable[[Settings], object]

    def reload(self) -> str:
        """Compare the settings with those that are in force."""
        found = self._read()
        changes, later = {}, []
        for each in fields(Settings):
            old, new = getattr(self.settings, each.name), getattr(found, each.name)
            if old != new and each.name in _TUNABLE:
                changes[each.name] = new
            elif old != new:
                later.append(f"{_title(each.name)} waits for a restart")
        said = [
            f"{_title(name)} was {_shown(getattr(self.settings, name))} and is {_shown(value)}"
            for name, value in changes.items()
        ]
        if changes:
            self.settings = evolve(self.settings, **changes)
            self._tune(self.settings)
        return "; ".join(said + later)


def _title(name: str) -> str:
    return name.replace("_", "-")


def _shown(value: object) -> str:
    if isinstance(value, ByPrefix):
        prefixes = [f"{prefix} = {_lasting(each)}" for prefix, each in value.prefixes.items()]
        return ", ".join([_lasting(value.default), *prefixes])
    return "auto" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _lasting(value: object) -> str:
    """A value that may differ by prefix: a time, or a rule about times."""
    return format_duration(value) if isinstance(value, float | int) else str(value)
