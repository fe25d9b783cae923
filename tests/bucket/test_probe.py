"""A start sees whether the engine does what the protocol relies on, and whose store this is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gostore.bucket.engine import Found, Mismatch, Missing, Refused, Unsettled
from gostore.bucket.ids import WIDE_BITS
from gostore.bucket.objects import ObjectStoreEngine, memory_engine
from gostore.bucket.pointer import FORMAT, STORE
from gostore.bucket.probe import PROBES, Unfit, begin
from gostore.text import wall_clock


def put_always(engine: ObjectStoreEngine) -> Callable[..., str]:
    """Write whatever the condition says."""
    return lambda key, data, etag="": engine.put(key, data)


def raising(error: Exception) -> Callable[..., Any]:
    """Fail, whatever is asked."""

    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("method", "made", "said"),
    [
        ("create", put_always, "it creates an object that is there already"),
        ("swap", lambda _: raising(Mismatch()), "it does not swap an object for the right ETag"),
        ("swap", put_always, "it swaps an object for an ETag that is not there any more"),
        (
            "get",
            lambda _: lambda key, etag=None, span=None: Found(b"1", "", 1, 0.0),
            "it does not give back what was written last",
        ),
        ("list", lambda _: lambda prefix, after="": iter(()), "it does not list what was written"),
        ("create", lambda _: raising(Refused("NoSuchBucket")), "the engine says: NoSuchBucket"),
        ("get", lambda _: raising(Unsettled("SlowDown")), "the engine says: SlowDown"),
        ("get", lambda _: raising(Missing()), "a request failed: Missing"),
    ],
)
def test_unfit(
    method: str, made: Callable[[ObjectStoreEngine], Callable[..., Any]], said: str
) -> None:
    """An engine that lacks something is refused with its name, and its probe is removed."""
    engine = memory_engine()
    setattr(engine, method, made(engine))
    with pytest.raises(Unfit, match=said[:30]) as caught:
        begin(engine, None, wall_clock)
    assert said in str(caught.value)
    assert list(ObjectStoreEngine.list(engine, PROBES)) == []


def test_swaps_what_is_missing() -> None:
    """An engine that swaps an object that is not there is refused."""
    engine = memory_engine()

    def swap(key: str, data: bytes, etag: str) -> str:
        try:
            return ObjectStoreEngine.swap(engine, key, data, etag)
        except (Mismatch, Missing):
            if key.endswith("-absent"):
                return engine.put(key, data)
            raise

    engine.swap = swap  # type: ignore[method-assign]
    with pytest.raises(Unfit, match="it swaps an object that is not there"):
        begin(engine, None, wall_clock)


def test_first_and_second() -> None:
    """The first daemon makes the store, and the next ones take it as it is."""
    engine = memory_engine()
    assert begin(engine, None, wall_clock).id_bits == WIDE_BITS
    assert begin(engine, WIDE_BITS, wall_clock).id_bits == WIDE_BITS
    assert abs(begin(engine, None, lambda: wall_clock() - 7_000_000_000).ahead - 7) < 3
    with pytest.raises(Unfit, match=f"its ids have {WIDE_BITS} bits, not 64"):
        begin(engine, 64, wall_clock)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<html>", "is not gostore's"),
        ("[]", "is not gostore's"),
        ("{}", "is not gostore's"),
        ("[" * 100_000, "is not gostore's"),
        (json.dumps({"format": "\ud800", "id_bits": WIDE_BITS}), r"it has format '\\ud800'"),
        (
            json.dumps({"format": FORMAT, "id_bits": WIDE_BITS, "migrating": "\ud800"}),
            "is not gostore's",
        ),
        (json.dumps({"format": FORMAT + 1, "id_bits": WIDE_BITS}), "it has format"),
        (json.dumps({"format": FORMAT, "id_bits": 17}), "is not gostore's"),
    ],
)
def test_not_ours(text: str, said: str) -> None:
    """A store of somebody else, or of another format, is left as it is."""
    engine = memory_engine()
    engine.put(STORE, text.encode())
    with pytest.raises(Unfit, match=said):
        begin(engine, None, wall_clock)
    assert engine.get(STORE).data == text.encode()


def test_lost_store() -> None:
    """An engine that forgets the store that was just made is refused."""
    engine = memory_engine()

    def create(key: str, data: bytes) -> str:
        if key == STORE:
            raise Mismatch()
        return ObjectStoreEngine.create(engine, key, data)

    engine.create = create  # type: ignore[method-assign]
    with pytest.raises(Unfit, match="it does not give back"):
        begin(engine, None, wall_clock)


def test_missing_bucket() -> None:
    """Nothing is written where the bucket is missing: some engines would make it."""
    engine = memory_engine()
    engine.get = raising(Refused("NoSuchBucket"))  # type: ignore[method-assign]
    engine.create = raising(AssertionError("it writes"))  # type: ignore[method-assign]
    with pytest.raises(Unfit, match="NoSuchBucket"):
        begin(engine, None, wall_clock)
