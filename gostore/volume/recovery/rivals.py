"""Which of several blobs has a location, and what becomes of the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import frozen

from gostore.blob import Committed
from gostore.volume.journal.format import Entry


@frozen
class Rival:
    """One of several blobs of a location, or one that is not simply alive."""

    blob: Committed
    dead: bool = False
    damage: str | None = None
    #: The name of its directory, if it has been quarantined.
    quarantined: str | None = None
    #: The journal's copy, if the directory is missing, torn or older than that.
    entry: Entry | None = None
    #: Whether nobody may look at its directory; the journal remembers what is in it.
    out_of_reach: bool = False

    @property
    def rank(self) -> tuple[int, bool, bool, int, bool]:
        """The sort key of a location's blobs: the highest one decides.

        The time decides between blobs of the Go server, which have no generation. The Go server
        leaves no tombstones: it marks the deleted blob's own state file, and a Pending blob was
        never visible. So a dead blob without a generation ranks below a live one.

        A blob may be there twice: quarantined as damaged, and whole in the journal. Two different
        blobs never get one generation from gostore; if there are two, a tombstone wins whatever
        its time, so that every start decides alike.
        """
        generation = self.blob.generation
        lives = generation > 0 or not self.dead
        tombstone = generation > 0 and self.dead
        return generation, lives, tombstone, self.blob.modified, self.quarantined is None


class Fate(Enum):
    """What becomes of a rival. At most one is LIVE, UNDONE or DAMAGED: the winner."""

    LIVE = "it has the location"
    UNDONE = "it has the location, and is to be written again from the journal"
    DAMAGED = "its location answers that it is damaged"
    DEAD = "its own record says that it is dead"
    REPLACED = "it has a successor, and its record does not say so yet"
    OVERTAKEN = "the journal says that it is dead"
    TIED = "another blob of its generation has the location"
    OBSOLETE = "it is quarantined, and its location has been written since"
    LEFT = "it is out of reach, or dead and quarantined: it is left as it is"
    ENDED = "it is dead and kept as history, and its directory is to say so"


def decide(rivals: Iterable[Rival], *, keeps: bool = False) -> list[tuple[Rival, Fate]]:
    """Return the rivals of one location with their fates, the winner first, then the older ones.

    The one of the highest rank has the location, dead or alive, whole or damaged. ``keeps`` says
    whether the location has a history.
    """
    *losers, winner = sorted(rivals, key=lambda rival: rival.rank)
    fates = [(loser, _fate_of_loser(loser, winner, keeps)) for loser in losers]
    return [(winner, _fate_of_winner(winner, keeps)), *fates]


def _fate_of_winner(winner: Rival, keeps: bool) -> Fate:
    if winner.dead:
        if winner.quarantined:
            return Fate.LEFT
        if winner.entry is None:
            return Fate.DEAD
        # Without a history its tombstone need not be written: everything below it goes now.
        return Fate.ENDED if keeps else Fate.OVERTAKEN
    if winner.quarantined or winner.damage or winner.out_of_reach:
        return Fate.DAMAGED
    return Fate.LIVE if winner.entry is None else Fate.UNDONE


def _fate_of_loser(loser: Rival, winner: Rival, keeps: bool) -> Fate:
    if loser.quarantined:
        # A damaged blob of the history was quarantined after its location had been written.
        return Fate.LEFT if keeps and loser.dead else Fate.OBSOLETE
    if loser.out_of_reach:
        return Fate.LEFT
    without_tombstone = winner.dead and winner.entry is not None
    if loser.entry is not None or (without_tombstone and not loser.dead):
        return Fate.ENDED if keeps else Fate.OVERTAKEN
    if loser.dead:
        return Fate.DEAD
    # The Go server's blobs have no generation; its clock is no reason to delete one.
    return Fate.TIED if loser.blob.generation == winner.blob.generation else Fate.REPLACED
