"""What the collector is told of: where on the disk there is something to remove."""

from __future__ import annotations

from gostore.volume.collect import Collected, Dead


class Garbage:
    """Dead blobs and dropped stages that are still on the disk, as far as anybody has told."""

    def __init__(self) -> None:
        self._dead: dict[int, Dead] = {}
        #: The ids of those of a location, in the order in which they were told of.
        self._elders: dict[str, dict[int, None]] = {}
        self._stages: set[int] = set()

    def add(self, dead: Dead) -> None:
        """Tell of a dead blob."""
        self._dead[dead.id] = dead
        self._elders.setdefault(dead.location, {})[dead.id] = None

    def add_stage(self, blob_id: int) -> None:
        """Tell of a stage that nobody writes any more."""
        self._stages.add(blob_id)

    def elders(self, location: str) -> list[int]:
        """Return the ids of the dead blobs of a location."""
        return list(self._elders.get(location, ()))

    @property
    def dead(self) -> list[Dead]:
        """The dead blobs."""
        return list(self._dead.values())

    @property
    def stages(self) -> list[int]:
        """The ids of the stages."""
        return list(self._stages)

    def forget(self, collected: Collected) -> None:
        """Take out what a run has removed, and what bore the ids that are free now.

        That may be more: what a deletion took away while the run was under way was in the trash,
        and not among the dead that the run was given.
        """
        for blob_id in {*collected.ids, *(one.id for one in collected.blobs)}:
            dead = self._dead.pop(blob_id, None)
            if dead is not None:
                group = self._elders[dead.location]
                del group[blob_id]
                if not group:
                    del self._elders[dead.location]
        self._stages.difference_update(collected.ids)
