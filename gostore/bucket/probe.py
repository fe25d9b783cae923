"""The start: whether the engine is one that the protocol can rely on, and whose store this is."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import suppress

from attrs import frozen

from gostore.bucket.engine import (
    Engine,
    EngineError,
    Mismatch,
    Missing,
    Refused,
    Unsettled,
)
from gostore.bucket.ids import ID_BITS, WIDE_BITS
from gostore.bucket.pointer import FORMAT, STORE
from gostore.text import format_time

PROBES = "gc/probes/"


class Unfit(Exception):
    """The engine, or what is in the bucket, cannot be used; str() says why."""


@frozen
class Identity:
    """What all daemons of a store agree on, and how far the engine's clock is ahead of ours."""

    id_bits: int
    ahead: float


def begin(engine: Engine, id_bits: int | None, wall: Callable[[], int]) -> Identity:
    """Probe the engine, then make the store, or see that it is one. Raises Unfit.

    ``id_bits`` is the width that is asked for; None: any that it has.
    """
    try:
        ahead = probe(engine, wall)
        return Identity(_join(engine, id_bits, wall), ahead)
    except (Refused, Unsettled) as error:
        raise Unfit(f"the engine says: {error}") from error
    except EngineError as error:
        raise Unfit(f"a request failed: {type(error).__name__}") from error


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


def _join(engine: Engine, id_bits: int | None, wall: Callable[[], int]) -> int:
    """Make the store if this is the first daemon; return the width of its ids. Raises Unfit."""
    try:
        found = engine.get(STORE)
    except Missing:
        description = {
            "format": FORMAT,
            "id_bits": WIDE_BITS if id_bits is None else id_bits,
            "created": format_time(wall()),
        }
        with suppress(Mismatch, Unsettled):  # another daemon was first, or this one was
            engine.create(STORE, json.dumps(description).encode())
        try:
            found = engine.get(STORE)
        except Missing:
            raise Unfit(f"it does not give back {STORE}, which was written") from None
    try:
        description = json.loads(found.data)
        its_format, its_bits = description["format"], description["id_bits"]
    except (ValueError, KeyError, TypeError):
        raise Unfit(f"{STORE} in it is not gostore's") from None
    if its_format != FORMAT:
        raise Unfit(f"it has format {its_format}, and this gostore knows {FORMAT}")
    if its_bits not in ID_BITS:
        raise Unfit(f"{STORE} in it is not gostore's")
    if id_bits not in (None, its_bits):
        raise Unfit(f"its ids have {its_bits} bits, not {id_bits}")
    return int(its_bits)
