"""How header fields reach the parsers of other libraries: bounded, and without their exceptions.

A client chooses every byte of a field. Call the parsers of other libraries only through `parsed`,
and for a list only after `is_short_list`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gostore.wire import MAX_MEMBERS

V = TypeVar("V", bytes, str)
T = TypeVar("T")

MAX_LIST_SIZE = 1024
"""The most bytes of a list that a parser reads character by character."""

_SEPARATORS = b",;( \t"


def parsed(parser: Callable[[V], T], value: V) -> T | None:
    """What a parser makes of a field; None, as for an invalid field, if it raises anything."""
    try:
        return parser(value)
    except Exception:
        return None


def has_few_members(value: bytes) -> bool:
    """Whether a list, such as that of entity tags, may be parsed."""
    return value.count(b",") < MAX_MEMBERS


def is_short_list(value: bytes) -> bool:
    """Whether a list of members with parameters may be parsed, which costs more.

    Each parameter and each item of an inner list counts as a member.
    """
    if len(value) > MAX_LIST_SIZE:
        return False
    packed = value.replace(b", ", b",").replace(b"; ", b";")
    return len(packed) - len(packed.translate(None, _SEPARATORS)) < MAX_MEMBERS
