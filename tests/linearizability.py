"""Whether what clients were told of one location fits one blob that changes a step at a time.

A history is linearizable if each operation can be given one moment between its request and its
answer at which it happened as a whole, such that all the answers are right (Herlihy and Wing,
1990). The check goes through the history in the order of time with all the configurations that are
still possible (Wing and Gong, 1993; Lowe, 2017): what the blob holds, and which of the operations
in progress have happened already. Where none is left, an answer was wrong.

An operation without an answer (the connection was lost, the daemon failed) has an unknown outcome:
it happened as a whole before its `ended`, or never. A crash gives all of them an end: what a
restarted daemon does not know of cannot come back later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

#: The blob of a location by its content, which no two uploads have in common; None: there is none.
Value = str | None

#: What happened by itself, and how it is answered. Whatever else an answer says, nothing happened.
DONE = {"POST": 204, "PUT": 200, "DELETE": 200, "GET": 200}

#: A version becomes current again: where there is a blob, and where there is none.
RESTORE = "RESTORE"
RESTORED = (200, 204)


def is_done(method: str, status: int | None) -> bool:
    """Say whether a request did what it asked for, as its answer says."""
    return status in RESTORED if method == RESTORE else status == DONE[method]


@frozen
class Operation:
    """One request to a location, and what its client was told.

    ``value`` is what was sent or, by a GET, got. ``status`` is None if the outcome is unknown.
    With ``expected`` it was only to happen where there was this. A POST expects nothing to be
    there; 412 says that something was, as 409 does, but not that it may only be on its way.
    """

    method: str
    value: Value
    status: int | None
    begun: float
    ended: float
    expected: Value = None


#: What the blob holds, and the numbers of the operations in progress that have happened.
Configuration = tuple[Value, frozenset[int]]


def violation(history: Iterable[Operation], initial: Value = None) -> str | None:
    """Say which answer no order of the operations explains; None if there is an order.

    All operations are of one location, which held ``initial`` at first.
    """
    # Who was not told what was read has learnt nothing.
    operations = [o for o in history if (o.method, o.status) != ("GET", None)]
    # At one and the same moment the beginnings come first: the two may be in any order.
    moments = [(o.begun, 0, number) for number, o in enumerate(operations)]
    moments += [(o.ended, 1, number) for number, o in enumerate(operations)]
    possible: set[Configuration] = {(initial, frozenset())}
    pending: set[int] = set()
    for _, ends, number in sorted(moments):
        if not ends:
            pending.add(number)
            continue
        reached = _reachable(possible, pending, operations)
        if operations[number].status is None:
            possible = {(value, done - {number}) for value, done in reached}
        else:
            possible = {(value, done - {number}) for value, done in reached if number in done}
        if not possible:
            return _explain(number, pending, operations, {value for value, _ in reached})
        pending.remove(number)
    return None


def _reachable(
    possible: set[Configuration], pending: set[int], operations: Sequence[Operation]
) -> set[Configuration]:
    """All configurations that operations in progress can make of these, by happening."""
    reached = set(possible)
    fresh = list(possible)
    while fresh:
        value, done = fresh.pop()
        for number in pending - done:
            for after in _happen(value, operations[number], number, pending, operations):
                configuration = (after, done | {number})
                if configuration not in reached:
                    reached.add(configuration)
                    fresh.append(configuration)
    return reached


def _happen(
    value: Value,
    operation: Operation,
    number: int,
    pending: set[int],
    operations: Sequence[Operation],
) -> list[Value]:
    """What the blob is once the operation has happened: nothing if it cannot with this answer."""
    there = value is not None
    if operation.status == 412:
        held = not there if operation.method == "POST" else value == operation.expected
        return [] if held else [value]
    if operation.expected not in (None, value) and operation.status != 404:
        return []
    match operation.method, operation.status:
        case "POST", 204 | None:
            return [] if there else [operation.value]
        case "PUT", 200 | None:
            return [operation.value] if there else []
        case "DELETE", 200 | None:
            return [None] if there else []
        case "RESTORE", 200 | 204 | None:
            fits = operation.status is None or there is (operation.status == 200)
            return [operation.value] if fits else []
        case "RESTORE", 404 | 507:
            return [value]
        case "GET", 200:
            return [value] if there and value == operation.value else []
        case "PUT" | "DELETE" | "GET", 404:
            return [] if there else [value]
        case "POST" | "PUT", 507:
            return [value]
        case "POST", 409:
            # Another POST that is not committed yet has the location already, though it may fail.
            creating = (operations[i].method == "POST" for i in pending - {number})
            return [value] if there or any(creating) else []
    raise AssertionError(f"{operation} has an answer that says nothing of the blob")


def _explain(
    number: int, pending: set[int], operations: Sequence[Operation], values: set[Value]
) -> str:
    beside = "".join(f"\n    beside {operations[i]}" for i in sorted(pending - {number}))
    held = ", ".join(sorted(map(str, values)))
    return f"{operations[number]}\n    although it can only hold: {held}{beside}"
