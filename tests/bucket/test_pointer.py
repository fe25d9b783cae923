"""Pointers: names that every engine takes, and texts that are believed only when they are right."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gostore.blob import EndedBy, Ending, check_location
from gostore.bucket.markers import marked
from gostore.bucket.members import MAX_EXPIRES, MAX_GENERATION
from gostore.bucket.pointer import (
    DEAD_SIZE,
    MAX_POINTER,
    Ended,
    Pointer,
    Stored,
    data_key,
    dump,
    dump_ended,
    garbage_key,
    history_folder,
    history_key,
    history_number,
    id_in,
    location_of,
    marked_in,
    name_of,
    name_start,
    nonce_in,
    parse,
    parse_ended,
    pointer_key,
    record_key,
)
from gostore.errors import BadRecord


def is_location(text: str) -> bool:
    """Whether a text is a location."""
    try:
        check_location(text)
    except ValueError:
        return False
    return True


locations = st.text(min_size=1, max_size=300).filter(is_location)

HIST = tuple(f"nonce{number:03}" for number in range(8))


def stored(location: str = "foo", **what: Any) -> Stored:
    """A blob of a bucket."""
    known: dict[str, Any] = {
        "id": 1 << 100,
        "location": location,
        "generation": 7,
        "size": 17,
        "sha256": bytes(range(32)),
        "modified": 1_700_000_000_123_456_789,
        "content_type": None,
        "metadata": None,
        "detag": "d" * 32,
    }
    return Stored(**{**known, **what})


@given(locations)
def test_names(location: str) -> None:
    """A name has no slash, no dot and nothing that is not ASCII, and tells one location."""
    name = name_of(location)
    assert len(name) <= 215
    assert re.fullmatch("(?:[A-Za-z0-9_~=-]|%[0-9A-F]{2}|%[0-9A-F]?=)+", name)
    assert location_of(name) == (location if len(name) <= 200 else None)


def test_name_start() -> None:
    """The locations that begin with a text have names that begin with its name."""
    for location in ("a/b.c", "a/b" + "é" * 200):
        for end in range(len(location)):
            assert name_of(location).startswith(name_start(location[:end]))


def test_keys() -> None:
    """The keys are those of the format, and hostile names become harmless parts of them."""
    assert pointer_key("foo") == "locations/2c/foo"
    assert pointer_key("../a b%\\").endswith("/%2E%2E%2Fa%20b%25%5C")
    assert data_key(258) == "blobs/02/258/data.raw"
    assert data_key(258, "nonce-_1") == "blobs/02/258/nonce-_1.raw"
    assert garbage_key(258) == "garbage/258"
    assert garbage_key(258, "nonce-_1") == "garbage/258.nonce-_1"
    assert record_key(258) == "blobs/02/258/blob_state.base64.json"


def test_nonces() -> None:
    """The keys of bytes and markers tell the nonce, and nothing else passes for one."""
    assert nonce_in("data.raw") == ""
    assert nonce_in("nonce-_1.raw") == "nonce-_1"
    for name in ("nonce-_1", "short.raw", "nonce!!1.raw", ".raw", "blob_state.base64.json"):
        assert nonce_in(name) is None
    for names in ((258, ""), (258, "nonce-_1")):
        assert marked_in(garbage_key(*names)) == names
    for key in ("garbage/x", "garbage/1.", "garbage/1.short", "garbage/.nonce-_1", "garbage/01"):
        assert marked_in(key) is None


@pytest.mark.parametrize("name", ["%", "%2", "a%2e", "a/b", "%00", "é", "%2E", "a" * 201, "%C3"])
def test_foreign_names(name: str) -> None:
    """A name that no location has tells none."""
    assert location_of(name) is None


def test_ids() -> None:
    """Only the decimal text of an id is one."""
    assert id_in("0") == 0
    assert id_in(str(2**128 - 1)) == 2**128 - 1
    for text in ("", "01", "-1", "1 ", "x", str(2**128), "٣"):
        assert id_in(text) is None


@given(locations, st.integers(0, 8), st.sampled_from(["", "nonce999"]))
def test_tombstones(location: str, count: int, touched: str) -> None:
    """A tombstone has the same size for every location, and comes back as it was."""
    pointer = Pointer(location, MAX_GENERATION, HIST[:count], None, touched)
    data = dump(pointer)
    assert len(data) == DEAD_SIZE
    assert parse(data, location) == pointer


@given(
    locations,
    st.dictionaries(st.sampled_from(["x-gostore-meta-a", "cache-control"]), st.text('aé"')),
)
def test_blobs(location: str, metadata: dict[str, str]) -> None:
    """A pointer to a blob is larger than a tombstone, and comes back as it was."""
    for nonce in ("", "nonce-_1"):
        blob = stored(
            location, content_type="text/plain", metadata=metadata or None, expires=5, nonce=nonce
        )
        pointer = Pointer(location, 7, HIST, blob, "touched1")
        data = dump(pointer)
        assert len(data) > DEAD_SIZE
        assert parse(data, location) == parse(data) == pointer


def ended(location: str = "foo", **what: Any) -> Ended:
    """A version that was replaced."""
    blob = stored(location, content_type="text/plain", metadata={"a": "é"}, expires=5, **what)
    return Ended(blob, Ending(1_700_000_001_000_000_000, EndedBy.REPLACED, "bob, 8", 1 << 99))


@given(locations, st.sampled_from(["", "nonce999"]))
def test_was(location: str, touched: str) -> None:
    """A pointer that says what it ended is larger than a tombstone, and comes back as it was."""
    for blob in (None, stored(location)):
        pointer = Pointer(location, 7, HIST, blob, touched, ended(location, nonce="nonce999"))
        data = dump(pointer)
        assert len(data) > DEAD_SIZE
        assert parse(data, location) == parse(data) == pointer


@given(locations)
def test_versions(location: str) -> None:
    """A version comes back as it was, from a text that no location is."""
    for version in (ended(location), Ended(stored(location), Ending(5, EndedBy.EXPIRED))):
        data = dump_ended(version)
        assert data.endswith(b"\n")
        assert parse_ended(data) == version


def test_order_of_versions() -> None:
    """A list has the newest version first, and all of a location below one folder."""
    generations = (0, 1, 9, 10, 1_700_000_000_000_000_000, MAX_GENERATION)
    keys = [history_key(stored("a/b", generation=each)) for each in generations]
    assert sorted(keys, reverse=True) == keys
    assert all(key.startswith(history_folder("a/b")) for key in keys)
    assert {len(history_number(each)) for each in generations} == {19}


@pytest.mark.parametrize(
    "change",
    [
        {"by": "nobody"},
        {"by": 1},
        {"ended": "yesterday"},
        {"origin": 1},
        {"origin": "\ud800"},
        {"type": "\ud800"},
        {"generation": MAX_GENERATION + 1},
        {"successor": -1},
        {"generation": "7"},
        {"detag": ""},
    ],
)
def test_wrong_versions(change: dict[str, Any]) -> None:
    """A version with one thing wrong is not believed, nor is a pointer that says it was."""
    good = json.loads(dump_ended(ended()))
    parse_ended(json.dumps(good).encode())
    for data in ({**good, **change}, {**good, "loc": "a//b"}, {**good, "format": 2}):
        with pytest.raises(BadRecord):
            parse_ended(json.dumps(data).encode())
    for was in ({**good, **change}, [], 1, "a"):
        with pytest.raises(BadRecord):
            parse(json.dumps({**GOOD, "was": was}).encode(), "foo")


def test_every_change_changes_the_bytes() -> None:
    """An operation, or a touch, gives other bytes, though it means the same."""
    pointer = Pointer("a", 1, HIST, stored("a"))
    assert dump(pointer) != dump(pointer.with_touch("nonce999"))
    dead = Pointer("a", 1, HIST)
    assert dump(dead) != dump(Pointer("a", 1, dead.followed_by("nonce999")))
    assert len(dead.followed_by("nonce999")) == 8


GOOD: dict[str, Any] = json.loads(dump(Pointer("foo", 7, HIST, stored())))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"loc": "bar"},
        {"loc": 1},
        {"loc": "a//b"},
        {"of": "nothing"},
        {"id": -1},
        {"id": True},
        {"id": 2**128},
        {"id": "1"},
        {"size": -1},
        {"size": None},
        {"generation": MAX_GENERATION + 1},
        {"hist": "short"},
        {"hist": "\ud800" * 8},
        {"hist": "nonce\u0661\u0661\u0661"},
        {"hist": "nonce-_1" * 9},
        {"hist": None},
        {"sha256": "00"},
        {"sha256": None},
        {"detag": ""},
        {"detag": 1},
        {"detag": "*"},
        {"detag": "\ud800"},
        {"detag": "a\r\nb"},
        {"detag": "a b"},
        {"detag": '"a'},
        {"detag": "a" * 257},
        {"created": "yesterday"},
        {"type": 1},
        {"type": "\ud800"},
        {"type": "text/plain\r\nx: y"},
        {"type": "a" * 8193},
        {"type": "\u20ac"},
        {"metadata": {"a": 1}},
        {"metadata": {"a": "\udfff"}},
        {"metadata": {"a": "\x00"}},
        {"metadata": {"a": "\u20ac"}},
        {"metadata": {"\ud800": "a"}},
        {"metadata": {"a b": "a"}},
        {"metadata": {"a": "b" * 40_000}},
        {"metadata": []},
        {"touched": 1},
        {"touched": "\ud800"},
        {"touched": "nonce-_1" * 2},
        {"nonce": 1},
        {"nonce": "../x/../"},
        {"expires": -1},
        {"expires": MAX_EXPIRES + 1},
        {"expires": 2**63 - 1},
    ],
)
def test_wrong(change: dict[str, Any]) -> None:
    """A pointer with one thing wrong is not believed."""
    parse(json.dumps(GOOD).encode(), "foo")
    with pytest.raises(BadRecord):
        parse(json.dumps({**GOOD, **change}).encode(), "foo")


@pytest.mark.parametrize("key", ["hist", "id", "size", "generation", "sha256", "detag", "created"])
def test_incomplete(key: str) -> None:
    """A pointer that lacks something is not believed."""
    with pytest.raises(BadRecord):
        parse(json.dumps({name: GOOD[name] for name in GOOD if name != key}).encode(), "foo")


@given(
    st.binary(max_size=50)
    | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps).map(str.encode)
)
def test_garbage(data: bytes) -> None:
    """Bytes that are no pointer are refused in the same way, whatever they are."""
    with pytest.raises(BadRecord):
        parse(data, "foo")
    with pytest.raises(BadRecord):
        parse(b"[" * 100_000, "foo")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=()), max_size=5), inner, max_size=3
        )
    ),
    max_leaves=5,
)
EDGES: list[Any] = [
    *(
        2**63 - 1,
        2**63,
        MAX_GENERATION - 1,
        MAX_GENERATION,
        MAX_EXPIRES,
        MAX_EXPIRES + 1,
        2**128 - 1,
    ),
    *(
        "nonce-_1",
        "nonce-_1" * 8,
        '"etag"',
        'W/"etag"',
        "*",
        "foo",
        "f" * 64,
        "\ud800",
        "é",
        "a\tb",
    ),
    *("9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:00"),
    *("2000-01-01T00:00:00Z", "replaced", {"a": "é"}, {}),
]
VERSION: dict[str, Any] = json.loads(dump_ended(ended()))
NAMES = sorted(
    {*GOOD, *VERSION, "dead", "touched", "nonce", "of", "format", "successor", "expires"}
)


def damaged(good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """What a good text becomes if somebody writes something else into some of its members."""
    wrong = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(EDGES) | JSON, max_size=4)
    lost = st.sets(st.sampled_from(NAMES), max_size=2)
    return st.builds(
        lambda change, less: {
            key: value for key, value in {**good, **change}.items() if key not in less
        },
        wrong,
        lost,
    )


TOMBSTONE: dict[str, Any] = json.loads(dump(Pointer("foo", 7, HIST)))
POINTERS = damaged(GOOD) | damaged(TOMBSTONE) | damaged({**GOOD, "was": VERSION})
POINTERS |= damaged(VERSION).map(lambda was: {**TOMBSTONE, "was": was})


@given(
    JSON.map(json.dumps).map(str.encode)
    | st.binary(max_size=200)
    | POINTERS.map(json.dumps).map(str.encode),
    st.integers(0, MAX_GENERATION),
)
def test_what_follows_what_is_believed(data: bytes, now: int) -> None:
    """What is believed can be written again, and so can whatever follows it."""
    try:
        pointer = parse(data, "foo")
    except BadRecord:
        return
    generation, hist = pointer.next_generation(now), pointer.followed_by("nonce999")
    blob = stored(generation=generation)
    was = None if pointer.blob is None else Ended(pointer.blob, Ending(now, EndedBy.DELETED, "é"))
    for each in (
        pointer,
        pointer.with_touch("nonce999"),
        evolve(pointer, was=None),
        Pointer("foo", generation, hist, None, pointer.touched),
        Pointer("foo", generation, hist, None, pointer.touched, was),
        Pointer("foo", generation, hist, blob, pointer.touched),
        Pointer("foo", generation, hist, blob, pointer.touched, was),
    ):
        written = dump(each)
        assert parse(written, "foo") == each
        assert len(written) <= MAX_POINTER
        assert (len(written) == DEAD_SIZE) == (each.blob is None and each.was is None)


@given(
    damaged(VERSION).map(lambda found: json.dumps(found).encode() + b"\n")
    | JSON.map(lambda found: json.dumps(found).encode() + b"\n")
    | st.binary(max_size=200)
)
def test_markers_that_are_believed(data: bytes) -> None:
    """A marker that is believed can be written again, and its location can be asked for."""
    try:
        found = marked(data)
    except BadRecord:
        return
    if isinstance(found, Ended):
        assert marked(dump_ended(found)) == found
        assert len(history_key(found.blob)) < 1024
    else:
        assert is_location(found)


def test_the_largest_pointer() -> None:
    """Two versions with the most metadata that are believed fit into a pointer."""
    labels = {"a": '"' * 16_000}
    blob = stored("\u20ac" * 341, content_type='"' * 8192, metadata=labels)
    was = Ended(blob, Ending(5, EndedBy.REPLACED, "\U0001f600" * 500, 1))
    data = dump(Pointer(blob.location, 7, HIST, blob, "nonce999", was))
    assert parse(data, blob.location).was == was
    assert len(data) <= MAX_POINTER
