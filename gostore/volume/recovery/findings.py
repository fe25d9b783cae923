"""What a scan finds in a data directory, and so what `repair` is to do about it."""

from __future__ import annotations

from typing import ClassVar

from attrs import define, field, frozen

from gostore.blob import Blob, Committed
from gostore.volume.collect import Dead, Replaced
from gostore.volume.journal.format import Entry
from gostore.volume.kept import Kept


@define
class Damage:
    """A location whose blob is damaged: what its record says, and the directory of its remains."""

    #: Damage stays until somebody has seen to it.
    expires: ClassVar[None] = None

    blob: Committed
    name: str


@frozen
class Suspect:
    """A blob to be quarantined, and why; a tie is whole, but another blob has its location."""

    blob_id: int
    reason: str
    is_tie: bool = False


@frozen
class Ended:
    """A dead blob that is kept, and whose directory does not say that it is dead.

    ``entry`` is what the journal has of it; ``replaced`` is how it died, if that does not say so.
    """

    blob_id: int
    entry: Entry | None
    replaced: Replaced | None


@define
class Findings:
    """Everything that a scan found, by what is to become of it."""

    # What is served.
    live: dict[str, Committed] = field(factory=dict)
    damaged: dict[str, Damage] = field(factory=dict)
    #: How many of the blobs are as the record cache has them.
    trusted: int = 0
    #: The highest of all blobs, live or not.
    generation: int = 0
    #: Ids that no new blob may have while these directories exist.
    ids: set[int] = field(factory=set)

    # What is to be written again.
    #: Blobs that live, and that only the journal has whole.
    undone: list[Entry] = field(factory=list)
    #: Dead blobs that are kept as history.
    ended: list[Ended] = field(factory=list)
    #: What is wrong with the journal: acknowledged changes may be missing in it.
    journal_damage: str | None = None

    # What is to be quarantined.
    suspects: list[Suspect] = field(factory=list)

    # What is kept as history: dead blobs of locations that have one, by their ids.
    history: dict[int, Dead] = field(factory=dict)
    #: Superseded blobs that are not marked so yet.
    unmarked: list[Replaced] = field(factory=list)

    # What is to be removed.
    dead: list[Dead] = field(factory=list)
    #: Blobs that the Go server left when it crashed while writing them.
    pending: list[Blob] = field(factory=list)
    #: Directories with an id, but without a state file.
    uncommitted: list[int] = field(factory=list)
    #: Blobs that are dead by the word of the journal, whatever their own state files say.
    overtaken: list[int] = field(factory=list)
    #: Names of stages and trash, to be removed as they are.
    leftover: list[str] = field(factory=list)
    #: Quarantined blobs whose location has been replaced or deleted since.
    obsolete: list[str] = field(factory=list)

    # What is left alone.
    #: Uploads that may go on.
    kept: list[Kept] = field(factory=list)
    #: Names that this daemon may not read, each with the reason, and their locations, if known.
    unreadable: dict[str, str] = field(factory=dict)
    #: Blobs that an earlier start, or a running daemon, has quarantined.
    quarantined: list[str] = field(factory=list)
    #: What is not gostore's: what gives away a directory with a name like gostore's, "" for others.
    foreign: dict[str, str] = field(factory=dict)

    @property
    def damage(self) -> int:
        """How many blobs are quarantined, by this start or before it, or cannot be read."""
        earlier = {*self.quarantined, *self.unreadable} - {*self.obsolete}
        return len(self.suspects) + len(earlier)

    def why_foreign(self, name: str) -> str:
        """Say that something foreign is, and what gives it away."""
        return f"not gostore's: {self.foreign[name]}" if self.foreign[name] else "not gostore's"

    def __str__(self) -> str:
        discarded = len(self.leftover) + len(self.uncommitted) + len(self.pending)
        return (
            f"restored {len(self.live)}, finished {len(self.unmarked)}, discarded {discarded}, "
            f"quarantined {self.damage}, foreign {len(self.foreign)}"
        )
