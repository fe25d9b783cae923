"""What the collector is told of: where on the disk there is something to remove."""

from __future__ import annotations

from gostore.sweep import Collected, Dead


class Garbage:
    """Dead blobs and dropped stages that are still on the disk, as far as anybody has told."""

    def __init__(self) -> None:
        self._dead: dict[str, dict[int, Dead]] = {}
        self._stages: set[int] = set()

    def add(self, dead: Dead) -> None:
        """Tell of a dead blob."""
        self._dead.setdefault(dead.location, {})[dead.id] = dead

    def add_stage(self, blob_id: int) -> None:
        """Tell of a stage that nobody writes any more."""
        self._stages.add(blob_id)

    def elders(self, location: str) -> list[int]:
        """Return the ids of the dead blobs of a location."""
        return list(self._dead.get(location, ()))

    @property
    def dead(self) -> list[Dead]:
        """The dead blobs."""
        return [one for group in self._dead.values() for one in group.values()]

    @property
    def stages(self) -> list[int]:
        """The ids of the stages."""
        return list(self._stages)

    def forget(self, collected: Collected) -> None:
        """Take out what a run has removed."""
        for one in collected.blobs:
            group = self._dead[one.location]
            del group[one.id]
            if not group:
                del self._dead[one.location]
        self._stages.difference_update(collected.ids)
