"""The checker of histories finds what is wrong, and nothing that is not."""

from __future__ import annotations

import random
from itertools import permutations

import pytest
from attrs import evolve

from tests.linearizability import DONE, Operation, Value, violation


def post(value: str, status: int | None, begun: float, ended: float) -> Operation:
    """A POST in a history."""
    return Operation("POST", value, status, begun, ended)


def put(value: str, status: int | None, begun: float, ended: float) -> Operation:
    """A PUT in a history."""
    return Operation("PUT", value, status, begun, ended)


def delete(status: int | None, begun: float, ended: float) -> Operation:
    """A DELETE in a history."""
    return Operation("DELETE", None, status, begun, ended)


def got(value: Value, begun: float, ended: float) -> Operation:
    """A GET in a history, 404 without a value."""
    return Operation("GET", value, 404 if value is None else 200, begun, ended)


def swap(value: str, expected: str, status: int | None, begun: float, ended: float) -> Operation:
    """A PUT with If-Match in a history."""
    return Operation("PUT", value, status, begun, ended, expected)


GOOD = {
    "one after the other": [
        got(None, 0, 1),
        post("a", 204, 2, 3),
        got("a", 4, 5),
        put("b", 200, 6, 7),
        got("b", 8, 9),
        delete(200, 10, 11),
        got(None, 12, 13),
        put("c", 404, 14, 15),
        delete(404, 16, 17),
        post("d", 204, 18, 19),
        post("e", 409, 20, 21),
        got("d", 22, 23),
    ],
    "seen before it is answered": [post("a", 204, 0, 9), got(None, 1, 2), got("a", 3, 4)],
    "two at once in the other order": [
        post("a", 204, 0, 1),
        put("b", 200, 2, 9),
        put("c", 200, 3, 8),
        got("c", 4, 5),
        got("b", 10, 11),
    ],
    "an unknown one that happened": [
        post("a", 204, 0, 1),
        put("b", None, 2, 10),
        got("a", 3, 4),
        got("b", 11, 12),
    ],
    "an unknown one that never happened": [
        post("a", 204, 0, 1),
        delete(None, 2, 10),
        got("a", 11, 12),
    ],
    "refused for the sake of one that then failed": [
        post("a", None, 0, 10),
        post("b", 409, 1, 2),
        got(None, 11, 12),
    ],
    "conditions": [
        swap("b", "a", 404, 0, 1),
        post("a", 204, 2, 3),
        post("b", 412, 4, 5),
        swap("b", "a", 200, 6, 7),
        swap("c", "a", 412, 8, 9),
        swap("c", "a", None, 10, 30),
        swap("d", "b", None, 10, 30),
        got("d", 31, 32),
        Operation("DELETE", None, 412, 33, 34, "b"),
        Operation("DELETE", None, 200, 35, 36, "d"),
    ],
    "a condition that held for a moment": [
        post("a", 204, 0, 1),
        put("b", 200, 2, 9),
        swap("c", "a", 412, 3, 8),
        swap("d", "b", 200, 3, 8),
        got("d", 10, 11),
    ],
    "no room": [
        post("a", 507, 0, 4),
        post("b", 409, 1, 2),
        post("c", 204, 5, 6),
        put("d", 507, 7, 8),
        got("c", 9, 10),
    ],
}

BAD = {
    "swapped for another": [post("a", 204, 0, 1), swap("c", "b", 200, 2, 3)],
    "swapped for what was replaced": [
        post("a", 204, 0, 1),
        put("b", 200, 2, 3),
        swap("c", "a", 200, 4, 5),
    ],
    "not swapped though it was there": [post("a", 204, 0, 1), swap("b", "a", 412, 2, 3)],
    "swapped for another, which was not told": [
        post("a", 204, 0, 1),
        swap("c", "b", None, 2, 10),
        got("c", 3, 4),
    ],
    "refused though there was nothing": [post("a", 412, 0, 1)],
    "refused for the sake of one that is not there yet": [
        post("a", 409, 0, 5),
        post("b", 412, 1, 2),
    ],
    "missing though it was there, with a condition": [
        post("a", 204, 0, 1),
        swap("b", "c", 404, 2, 3),
    ],
    "there, though there was no room": [post("a", 507, 0, 1), got("a", 2, 3)],
    "replaced, though there was no room": [
        post("a", 204, 0, 1),
        put("b", 507, 2, 3),
        got("b", 4, 5),
    ],
    "gone, though there was no room": [post("a", 204, 0, 1), put("b", 507, 2, 3), got(None, 4, 5)],
    "lost": [post("a", 204, 0, 1), got(None, 2, 3)],
    "lost, though another was at work": [
        post("a", 204, 0, 1),
        put("b", None, 2, 10),
        got(None, 11, 12),
    ],
    "stale": [post("a", 204, 0, 1), put("b", 200, 2, 3), got("a", 4, 5)],
    "stale after it was seen": [
        post("a", 204, 0, 1),
        put("b", 200, 2, 9),
        got("b", 3, 4),
        got("a", 5, 6),
    ],
    "resurrected": [post("a", 204, 0, 1), delete(200, 2, 3), got("a", 4, 5)],
    "resurrected by what is refused": [
        post("a", 204, 0, 1),
        delete(200, 2, 3),
        post("b", 409, 4, 5),
    ],
    "never written": [post("a", 204, 0, 1), got("b", 2, 3)],
    "created twice": [post("a", 204, 0, 9), post("b", 204, 1, 8)],
    "replaced although it is not there": [put("a", 200, 0, 1)],
    "deleted twice": [post("a", 204, 0, 1), delete(200, 2, 9), delete(200, 3, 8)],
    "missing although it is there": [post("a", 204, 0, 1), put("b", 404, 2, 3)],
    "an unknown one that was seen and is gone": [
        post("a", 204, 0, 1),
        put("b", None, 2, 10),
        got("b", 3, 4),
        got("a", 11, 12),
    ],
    "an unknown one that happens after the crash": [
        post("a", 204, 0, 1),
        delete(None, 2, 10),
        got("a", 11, 12),
        got(None, 13, 14),
    ],
    "an unknown one that happens twice": [
        post("a", 204, 0, 1),
        put("b", None, 2, 20),
        got("b", 3, 4),
        put("c", 200, 5, 6),
        got("b", 7, 8),
    ],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD.keys())
def test_good(history: list[Operation]) -> None:
    """What one blob explains is accepted."""
    assert violation(history) is None


@pytest.mark.parametrize("history", BAD.values(), ids=BAD.keys())
def test_bad(history: list[Operation]) -> None:
    """What no order explains is rejected, with the answer that was wrong."""
    assert "although it can only hold" in (violation(history) or "")


def run(order: list[Operation]) -> list[Operation]:
    """Let operations happen in an order; answer them as one blob would."""
    value: Value = None
    told = []
    for operation in order:
        there = value is not None
        if operation.method == "GET":
            told.append(evolve(operation, value=value, status=200 if there else 404))
            continue
        if there is (operation.method == "POST"):
            told.append(evolve(operation, status=409 if there else 404))
            continue
        value = operation.value
        told.append(evolve(operation, status=DONE[operation.method]))
    return told


def explained(history: list[Operation]) -> bool:
    """Whether an order explains a history in which all is known: try every order there is."""
    for order in permutations(history):
        in_time = all(
            order[j].ended > order[i].begun for i in range(len(order)) for j in range(i, len(order))
        )
        if in_time and run(list(order)) == list(order):
            return True
    return False


def test_small_histories() -> None:
    """On short random histories the verdict is the one of trying every order."""
    chance = random.Random(1)
    verdicts = {True: 0, False: 0}
    for _ in range(400):
        times = chance.sample(range(100), 10)
        operations = []
        for number in range(5):
            begun, ended = sorted(times[2 * number : 2 * number + 2])
            method = chance.choice(["POST", "PUT", "DELETE", "GET"])
            value = f"v{number}" if method in ("POST", "PUT") else None
            operations.append(Operation(method, value, None, begun, ended))
        told = run(sorted(operations, key=lambda one: chance.uniform(one.begun, one.ended)))
        if chance.random() < 0.7:
            # Somebody was told what he should not have been.
            told = [
                evolve(one, begun=other.begun, ended=other.ended)
                for one, other in zip(told, chance.sample(told, 5), strict=True)
            ]
        if any(one.status == 409 for one in told):
            continue  # its rule is wider than that of one blob
        verdict = violation(told) is None
        verdicts[verdict] += 1
        assert verdict is explained(told), told
    assert min(verdicts.values()) > 30, verdicts
