"""Deeds of a store that keeps what dies: what makes history, reads it, and gives it up."""

from __future__ import annotations

import math
from functools import partial

from tests.faults.deeds import (
    BIG,
    MIDDLING,
    Deed,
    Life,
    damage,
    fill,
    fill_up,
    hurry,
    leave_behind,
    make_ruins,
    outlive,
    requesting,
    warm,
)
from tests.simulation.world import DELETE, POST, PUT, SMALL

#: For how long is kept what is to be due: less than a clock may be set forth at once.
SOME_TIME = 3000.0


def _remember(life: Life) -> None:
    """Let ``a`` and ``c`` have been replaced, small and large, and ``b`` deleted."""
    warm(life)
    life.request(PUT, "a", SMALL)
    life.request(PUT, "c", BIG)
    life.request(DELETE, "b")
    _choose(life)


def _choose(life: Life) -> None:
    """Choose the oldest version of each location."""
    life.apply()
    for location in ("a", "b", "c", "d"):
        for version in life.versions(location)[:1]:
            life.chosen[location] = version


def _remember_without_files(life: Life) -> None:
    """Let there be versions that have no files yet: replaced, deleted, current."""
    warm(life)
    life.workers.lazy = True
    for verb, location in ((POST, "d"), (PUT, "d"), (PUT, "a"), (DELETE, "a")):
        life.request(verb, location)
    for location in ("a", "d"):
        life.chosen[location] = life.versions(location)[-2:][0]


def _remember_all_over(life: Life) -> None:
    """Let the time be over of all that was replaced and deleted, but for what lives."""
    _remember(life)
    life.request(PUT, "a", MIDDLING)
    life.request(POST, "f")
    life.request(DELETE, "f")
    life.apply()
    life.ahead += int(SOME_TIME + 60) * 1_000_000_000


def _remember_what_is_damaged(life: Life) -> None:
    """Let what ``a`` has be damaged, above what it had."""
    _remember(life)
    life.collect()
    fill(life)  # until the journal has it no more
    damage(life)
    life.lossy = True  # what is damaged is no history


def _fill_up(life: Life) -> None:
    """Let the disk be full of what lives and what is kept."""
    _remember(life)
    life.request(PUT, "c", BIG)
    fill_up(life)


_kept = partial(Deed, keep=math.inf)

#: What changes the store by one request, or behind one: those that a power cut is tried with.
PAST_REQUESTS = (
    _kept("PUT, with a history", requesting(PUT, "a"), _remember),
    _kept("PUT, staged, with a history", requesting(PUT, "a", MIDDLING), _remember),
    _kept("POST, with a history", requesting(POST, "b"), _remember),
    _kept("DELETE, with a history", requesting(DELETE, "a"), _remember),
    _kept("restore, small", lambda life: life.restore_chosen("a"), _remember),
    _kept("restore, large", lambda life: life.restore_chosen("c"), _remember),
    _kept("restore of what was deleted", lambda life: life.restore_chosen("b"), _remember),
    _kept(
        "restore of what has no files",
        lambda life: life.restore_chosen("d"),
        _remember_without_files,
    ),
    _kept("applying, with a history", hurry(Life.apply), leave_behind),
    _kept("collection of what is over, with a history", hurry(Life.collect), outlive),
)

HISTORY = (
    *PAST_REQUESTS,
    _kept(
        "DELETE of what is damaged, with a history",
        requesting(DELETE, "a"),
        _remember_what_is_damaged,
    ),
    _kept("GET of a version, small", lambda life: life.look_back("a"), _remember),
    _kept("GET of a version, large", lambda life: life.look_back("c"), _remember),
    _kept(
        "GET of a version without files", lambda life: life.look_back("a"), _remember_without_files
    ),
    _kept("GET of a history", lambda life: life.look_through("a"), _remember),
    _kept("applying and a collection, with a history", hurry(Life.collect), leave_behind),
    _kept("collection, with a history", Life.collect, _remember),
    Deed("collection of what is due", Life.collect, _remember_all_over, keep=SOME_TIME),
    _kept("POST in place of history", requesting(POST, "f"), _fill_up, full=True),
    _kept(
        "POST, staged, in place of history", requesting(POST, "f", MIDDLING), _fill_up, full=True
    ),
    _kept("DELETE on a disk full of history", requesting(DELETE, "a"), _fill_up, full=True),
    _kept(
        "start, with a history",
        Life.try_start,
        make=partial(make_ruins, keep=math.inf),
        starts=True,
    ),
    _kept("stop, with a history", Life.try_stop, _remember),
)
