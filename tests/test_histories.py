"""The checker of what locations have had finds what is wrong, and nothing that is not."""

from __future__ import annotations

import pytest

from tests.histories import Look, Version, Write, violation


def look(begun: float, *versions: tuple[int, str, str | None]) -> Look:
    """A look, which takes no time; the newest version first."""
    return Look("a", begun, begun, [Version(*each) for each in versions])


A = Write("a", True, 0, 1)
B = Write("b", True, 2, 3)
GONE = Write(None, True, 4, 5)
#: Nobody knows whether it happened.
C = Write("c", None, 6, 7)

FIRST, SECOND = (1, "a", "replaced"), (2, "b", None)
DELETED = (2, "b", "deleted")

GOOD = {
    "nothing yet": ([look(0)], [A]),
    "on its way": ([look(0.5, (1, "a", None))], [A]),
    "replaced": ([look(1.5, (1, "a", None)), look(3.5, SECOND, FIRST)], [A, B]),
    "deleted": ([look(5.5, DELETED, FIRST)], [A, B, GONE]),
    "unknown, and not there": ([look(8, DELETED, FIRST)], [A, B, GONE, C]),
    "unknown, and there": ([look(8, (3, "c", None), DELETED, FIRST)], [A, B, GONE, C]),
    "restored": (
        [look(9, (3, "a", None), (2, "b", "replaced"), FIRST)],
        [A, B, Write("a", True, 8, 8.5)],
    ),
    "at once, in either order": (
        [look(9, (2, "a", None), (1, "b", "replaced"))],
        [A, Write("b", True, 0, 2)],
    ),
    "refused": ([look(3.5, SECOND, FIRST)], [A, B, Write("d", False, 0, 1)]),
}

BAD = {
    "lost": ([look(3.5, SECOND)], [A, B]),
    "twice": ([look(3.5, (3, "b", None), (2, "b", "replaced"), FIRST)], [A, B]),
    "nobody's": ([look(3.5, (3, "d", None), (2, "b", "replaced"), FIRST)], [A, B]),
    "refused, and there": (
        [look(3.5, (3, "d", None), (2, "b", "replaced"), FIRST)],
        [A, B, Write("d", False, 0, 1)],
    ),
    "in disorder": ([look(3.5, FIRST, SECOND)], [A, B]),
    "two current": ([look(3.5, SECOND, (1, "a", None))], [A, B]),
    "younger below older": ([look(3.5, (2, "a", None), (1, "b", "replaced"))], [A, B]),
    "a deletion that is undone": ([look(5.5, SECOND, FIRST)], [A, B, GONE]),
    "a deletion of nobody's": ([look(3.5, DELETED, FIRST)], [A, B]),
    "another version of the same number": (
        [look(8, DELETED, FIRST), look(9, (2, "c", "deleted"), FIRST)],
        [A, Write("b", None, 2, 3), GONE, C],
    ),
    "gone by the next look": (
        [look(8, (3, "c", None), DELETED, FIRST), look(9, DELETED, FIRST)],
        [A, B, GONE, C],
    ),
    "come late": (
        [look(8, (3, "b", None), (1, "a", "replaced")), look(9, (3, "b", None), (2, "c", "x"))],
        [A, B, C],
    ),
}


@pytest.mark.parametrize("what", GOOD)
def test_good(what: str) -> None:
    """What clients were told of is right."""
    assert violation(*GOOD[what]) is None


@pytest.mark.parametrize("what", BAD)
def test_bad(what: str) -> None:
    """Anything else is not."""
    assert violation(*BAD[what]) is not None


def test_lossy() -> None:
    """Where history may go, what is gone stays so, and nothing else may be wrong."""
    looks = [look(3.5, SECOND, FIRST), look(4, SECOND)]
    assert violation(looks, [A, B], is_lossy=True) is None
    assert violation(looks, [A, B]) is not None
    assert violation([*looks, look(5, SECOND, FIRST)], [A, B], is_lossy=True) is not None
    assert violation([look(4, (2, "d", None))], [A, B], is_lossy=True) is not None
