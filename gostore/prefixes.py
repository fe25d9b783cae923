"""A value for each location: by the longest prefix that has one. Pure.

Times are noted in JSON, in seconds::

    {"keep": 604800.0, "prefixes": {"scratch/": 0.0, "photos/": "forever"}}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from attrs import Factory, field, frozen

T = TypeVar("T")

_FOREVER = "forever"


@frozen
class ByPrefix(Generic[T]):
    """``default``, but for the locations that begin with one of the ``prefixes``.

    Each look costs as many steps as the prefixes have different lengths.
    """

    default: T
    prefixes: Mapping[str, T] = Factory(dict)
    _lengths: tuple[int, ...] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        lengths = tuple(sorted({*map(len, self.prefixes)}, reverse=True))
        object.__setattr__(self, "_lengths", lengths)

    def of(self, location: str) -> T:
        """Return the value of the longest prefix of a location, or the default."""
        for length in self._lengths:
            prefix = location[:length]
            if prefix in self.prefixes:
                return self.prefixes[prefix]
        return self.default

    def merged(self, other: ByPrefix[T], choose: Callable[[T, T], T]) -> ByPrefix[T]:
        """Return what has for each location the choice between what both have."""
        prefixes = {
            prefix: choose(self.of(prefix), other.of(prefix))
            for prefix in (*self.prefixes, *other.prefixes)
        }
        return ByPrefix(choose(self.default, other.default), prefixes)

    @property
    def values(self) -> list[T]:
        """Every value that some location may have."""
        return [self.default, *self.prefixes.values()]


def dump_times(keep: ByPrefix[float]) -> str:
    """Note times."""
    prefixes = {prefix: _shown(value) for prefix, value in keep.prefixes.items()}
    return json.dumps({"keep": _shown(keep.default), "prefixes": prefixes}) + "\n"


def parse_times(text: bytes) -> ByPrefix[float] | None:
    """Read what was noted; None if it makes no sense."""
    try:
        found = json.loads(text)
        prefixes = {str(prefix): _read(value) for prefix, value in found["prefixes"].items()}
        return ByPrefix(_read(found["keep"]), prefixes)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _read(value: object) -> float:
    seconds = math.inf if value == _FOREVER else float(value)  # type: ignore[arg-type]
    if not seconds >= 0:
        raise ValueError("no time")
    return seconds


def _shown(seconds: float) -> float | str:
    return _FOREVER if math.isinf(seconds) else seconds
