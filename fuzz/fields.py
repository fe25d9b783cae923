"""Header fields of all kinds, on every route: no 500, and nothing in the log.

The first byte chooses the method, the second the target; each line of the rest is a field, and its
first byte chooses the name.
"""

from __future__ import annotations

from tests.web.hostile import METHODS, TARGETS, Served, fields_of, known_fields

NAMES = known_fields()


def check(data: bytes) -> None:
    """Ask a server with a store in memory."""
    method, target = (data[:2] + b"\0\0")[:2]
    Served().ask(
        METHODS[method % len(METHODS)],
        TARGETS[target % len(TARGETS)],
        fields_of(data[2:], NAMES),
    )
