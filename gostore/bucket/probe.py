"""The start: whether the engine is one that the protocol can rely on, and whose store this is.

What daemons agree on is in one object, which the first one makes::

    {"format": 1, "id_bits": 128, "created": "2026-11-22T11:01:42Z",
     "migrating": "directory /srv/blobs"}       while blobs from there are still to come
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import suppress

from attrs import frozen

from gostore.bucket.engine import (
    Engine,
    EngineError,
    Found,
    Mismatch,
    Missing,
    Refused,
    Unsettled,
)
from gostore.bucket.ids import ID_BITS, WIDE_BITS
from gostore.bucket.members import is_unicode
from gostore.bucket.pointer import FORMAT, STORE
from gostore.text import format_time

PROBES = "gc/probes/"


class Unfit(Exception):
    """The engine, or what is in the bucket, cannot be used; str() says why."""


@frozen
class Identity:
    """What all daemons of a store agree on, and how far the engine's clock is ahead of ours."""

    description: Description
    ahead: float

    @property
    def id_bits(self) -> int:
        """The width of its ids."""
        return self.description.id_bits


@frozen
class Description:
    """What is in `STORE`. ``migrating`` is what more blobs are to come from, "" for nothing."""

    id_bits: int
    created: str
    migrating: str = ""

    def dump(self) -> bytes:
        """Write it."""
        members: dict[str, object] = {"format": FORMAT, "id_bits": self.id_bits}
        members["created"] = self.created
        if self.migrating:
            members["migrating"] = self.migrating
        return json.dumps(members).encode()


def begin(
    engine: Engine, id_bits: int | None, wall: Callable[[], int], source: str | None = None
) -> Identity:
    """Probe the engine, then make the store, or see that it is one. Raises Unfit.

    ``id_bits`` is the width that is asked for; None: any that it has. A store that lacks blobs is
    unfit, unless those of this ``source``.
    """
    try:
        with suppress(Missing):
            # SeaweedFS makes a bucket that is missing as soon as an administrator writes there.
            engine.get(STORE)
        ahead = probe(engine, wall)
        description = _join(engine, id_bits, wall)
    except (Refused, Unsettled) as error:
        raise Unfit(f"the engine says: {error}") from error
    except EngineError as error:
        raise Unfit(f"a request failed: {type(error).__name__}") from error
    if description.migrating and description.migrating != source:
        raise lacks(description)
    return Identity(description, ahead)


def lacks(description: Description) -> Unfit:
    """Say that a migration is not complete."""
    return Unfit(
        f"it lacks blobs that are to come from {description.migrating}: go on with gostore migrate"
    )


def probe(engine: Engine, wall: Callable[[], int]) -> float:
    """Try by eight requests what the protocol needs; return how far the engine's clock is ahead.

    Raises Unfit, which names what the engine does not do.
    """
    key = f"{PROBES}{secrets.token_hex(8)}"
    try:
        first = engine.create(key, b"1")  # 1
        if not _is_refused(lambda: engine.create(key, b"2")):  # 2
            raise Unfit("it creates an object that is there already (If-None-Match: *)")
        try:
            second = engine.swap(key, b"3", first)  # 3
        except (Mismatch, Missing):
            raise Unfit("it does not swap an object for the right ETag (If-Match)") from None
        if not _is_refused(lambda: engine.swap(key, b"4", first)):  # 4
            raise Unfit("it swaps an object for an ETag that is not there any more (If-Match)")
        if not _is_refused(lambda: engine.swap(f"{key}-absent", b"5", second)):  # 5
            raise Unfit("it swaps an object that is not there (If-Match)")
        found = engine.get(key, second)  # 6
        if found.data != b"3":
            raise Unfit("it does not give back what was written last")
        if not any(listed.key == key for listed in engine.list(PROBES)):  # 7
            raise Unfit("it does not list what was written")
    finally:
        with suppress(EngineError):  # the first error is the one to tell
            engine.delete(key)  # 8
    return found.modified - wall() / 1e9


def _is_refused(request: Callable[[], object]) -> bool:
    try:
        request()
    except (Mismatch, Missing):
        return True
    return False


def _join(engine: Engine, id_bits: int | None, wall: Callable[[], int]) -> Description:
    """Make the store if this is the first daemon; return what is agreed. Raises Unfit."""
    try:
        found = engine.get(STORE)
    except Missing:
        new = Description(WIDE_BITS if id_bits is None else id_bits, format_time(wall()))
        with suppress(Mismatch, Unsettled):  # another daemon was first, or this one was
            engine.create(STORE, new.dump())
        try:
            found = engine.get(STORE)
        except Missing:
            raise Unfit(f"it does not give back {STORE}, which was written") from None
    description = description_in(found)
    if id_bits not in (None, description.id_bits):
        raise Unfit(f"its ids have {description.id_bits} bits, not {id_bits}")
    return description


def description_in(found: Found) -> Description:
    """Read `STORE`. Raises Unfit."""
    try:
        members = json.loads(found.data)
        its_format, its_bits = members["format"], members["id_bits"]
        created, migrating = members.get("created", ""), members.get("migrating", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Unfit(f"{STORE} in it is not gostore's") from None
    if its_format != FORMAT:
        raise Unfit(f"it has format {its_format!a:.40}, and this gostore knows {FORMAT}")
    texts = (created, migrating)
    if its_bits not in ID_BITS or not all(type(each) is str and is_unicode(each) for each in texts):
        raise Unfit(f"{STORE} in it is not gostore's")
    return Description(int(its_bits), created, migrating)
