"""The record cache under the explorer: crashes around its use, and hands in between two starts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from attrs import frozen

from gostore import statefile
from gostore.blob import State
from gostore.volume.directory import RECORDS, STATE
from tests.simulation.disk import SimulatedDisk
from tests.simulation.explorer import COLLECT, RESTART, Explorer, scripts
from tests.simulation.world import DELETE, PAUSE, POST, PUT, Violation, World


def recorded(explorer: Explorer) -> None:
    """A cache stands from an earlier life when blobs are written, replaced and deleted, and after.

    The second restart writes it: what the first one finds is too young.
    """
    befores = (((POST, "a"),), ((POST, "a"), (POST, "b")), ((POST, "a"), (PUT, "a")))
    afters = (*scripts(1), *itertools.product(_STEPS, (RESTART, COLLECT)), (RESTART,))
    for before, after in explorer.some(itertools.product(befores, afters)):
        held = {location for _, location in before}
        verb, location = after[0]
        if location and (location in held) == (verb == POST):
            continue
        explorer.script((*before, RESTART, RESTART, *after), stamped=True)


_STEPS = ((PUT, "a"), (DELETE, "a"), (POST, "b"), (PUT, "b"), (DELETE, "b"))


@frozen
class Hand:
    """What somebody does to the directory, and how old the cache is then."""

    name: str
    work: Callable[[SimulatedDisk], None]
    #: Whether the cache was written right after the blobs, with the clock standing still.
    is_young: bool = False
    #: Whether a daemon is running meanwhile, and writes the cache after it.
    meanwhile: bool = False


def _renamed(disk: SimulatedDisk, *, in_place: bool) -> None:
    """Let the record of ``a`` say ``c``: a good one of the same length."""
    for name, files in disk.tree:
        if name.isdecimal():
            blob = statefile.parse(dict(files)[STATE])  # type: ignore[arg-type]
            if blob.location == "a" and blob.state is State.OK:
                blob.location = "c"
                disk.edit(f"{name}/{STATE}", statefile.dump(blob), in_place=in_place)


def _spoil_location(disk: SimulatedDisk) -> None:
    """Let the cache say ``c`` for ``b``, with everything else as it was."""
    if RECORDS in disk.names:
        text = disk.content(RECORDS)
        at = text.rindex(b"b\n")
        disk.put(RECORDS, text[:at] + b"c" + text[at + 1 :])


HANDS = (
    Hand("a state file is replaced", lambda disk: _renamed(disk, in_place=False)),
    Hand("a state file is written in place", lambda disk: _renamed(disk, in_place=True)),
    Hand("the same, at once", lambda disk: _renamed(disk, in_place=True), is_young=True),
    Hand("the same, while it runs", lambda disk: _renamed(disk, in_place=True), meanwhile=True),
    Hand("the cache is damaged", _spoil_location),
)


def edited(explorer: Explorer) -> None:
    """Somebody changes a record, or the cache: a start finds what one without a cache finds."""
    for hand in explorer.some(HANDS):
        disk = SimulatedDisk(explorer.start, stamped=True)

        def live(disk: SimulatedDisk) -> World:
            return World(disk, explorer.modules, sync=explorer.sync).start()

        world = live(disk)
        world.request(POST, "a")
        world.request(POST, "b")
        world.stop()
        if not hand.is_young:
            world = live(disk)
            if hand.meanwhile:
                hand.work(disk)
                disk.now += PAUSE
            world.stop()
            disk.now += PAUSE
        if not hand.meanwhile:
            hand.work(disk)
        without = disk.copy()
        if RECORDS in without.names:
            without.lose_file(RECORDS)
        found, wanted = live(disk.copy()).values(), live(without).values()
        explorer.figures.lives += 2
        if found != wanted:
            raise Violation(f"{hand.name}: with a cache {found}, without it {wanted}")
        if hand.work is not _spoil_location and wanted["c"] is None:
            raise Violation(f"{hand.name}: nothing has changed")


RECORD_TRIALS = (recorded, edited)
