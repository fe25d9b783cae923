"""The contract of a provider that keeps a history: what was at its locations.

A provider without one has nothing of this.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from gostore.blob import DEFAULT_TYPE, Committed, Ending
from gostore.store.interface import Content, Lifetime, Precondition, Seek
from gostore.text import format_time


@frozen
class Version:
    """One version of a location, current or kept as history.

    ``blob.modified`` is when it was committed, and ``origin`` asked for it. ``ending`` says what
    ended it, None if it is current. It is kept ``until`` then, in nanoseconds since the epoch; None
    is for ever.
    """

    blob: Committed
    origin: str
    ending: Ending | None = None
    until: int | None = None
    is_damaged: bool = False

    @property
    def etag(self) -> str | None:
        """Its entity tag, quoted."""
        return None if self.blob.sha256 is None else f'"{self.blob.sha256.hex()}"'

    def members(self, until: str | None) -> dict[str, object]:
        """The version as JSON has it, with times of RFC 3339; ``until`` is said as it is given."""
        blob, ending = self.blob, self.ending
        members: dict[str, object] = {
            "location": blob.location,
            "version": blob.generation,
            "id": blob.id,
            "state": "OK" if ending is None else "Failure",
            "size": blob.size,
            "etag": self.etag,
            "content_type": blob.content_type or DEFAULT_TYPE,
            "created": _event(blob.modified, self.origin),
        }
        if self.is_damaged:
            members["damaged"] = True
        if ending is not None:
            members["ended"] = _event(ending.when, ending.origin)
            members["ended_by"] = ending.by.value
            members["successor"] = ending.successor
            members["until"] = until
        return members


def told_by(origin: str) -> tuple[str | None, str | None]:
    """The principal and the request that an origin names; None where it names none."""
    principal, _, request = origin.rpartition(", ")
    return principal or None, request or None


def _event(when: int, origin: str) -> dict[str, str | None]:
    principal, request = told_by(origin)
    return {"time": format_time(when), "principal": principal, "request": request}


@frozen
class Kept:
    """A version that is kept as history, by its place."""

    location: str
    generation: int

    @property
    def name(self) -> str:
        """What it is called where something is wrong with it."""
        return f"{self.location} (version {self.generation})"


@frozen
class DeletedPage:
    """Part of a list of deleted locations: the newest version of each, in their order.

    ``next_after`` is as that of `Page`.
    """

    versions: list[Version]
    next_after: str | None


@frozen
class Restore:
    """What is to become current again: a version, by its generation; ``origin`` asks for it.

    ``exists`` is whether the location must have a blob, or must have none; None: either. With a
    ``source`` the version is one of that location, for a copy; None is then its current one.
    """

    version: int | None
    origin: str
    exists: bool | None = None
    lifetime: Lifetime | None = None
    source: str | None = None


class Past(Protocol):
    """What was at the locations of a provider that keeps a history."""

    def history(
        self, location: str, before: int | None = None, limit: int = 1000
    ) -> Deferred[list[Version]]:
        """The versions of a location of generations below ``before``, newest first.

        Fails with NotFound if nothing is known of it.
        """

    def version(self, location: str, generation: int) -> Deferred[tuple[Committed, Content]]:
        """Open one version of a location. Fails with NotFound or Damaged."""

    def restore(
        self, location: str, restore: Restore, precondition: Precondition | None = None
    ) -> Deferred[tuple[Committed, bool]]:
        """Make a version current (again), as a write; say whether the location had none.

        Fails with NotFound, Damaged, and as writes do.
        """

    def deleted(
        self, prefix: str = "", after: str = "", limit: int = 1000, seek: Seek | None = None
    ) -> Deferred[DeletedPage]:
        """List locations that have no blob and a history, as `Store.list` does."""
