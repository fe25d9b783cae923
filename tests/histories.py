"""Whether the versions of one location are those that its clients were told of.

A look at the history of a location has to show every write that was answered before it, each once,
in the order of time, with nothing that nobody has written; and no later look may show less of it,
something else, or something new below what was there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import frozen


@frozen
class Version:
    """One version as a look shows it: ``ended_by`` is None if it is current."""

    generation: int
    digest: str
    ended_by: str | None


@frozen
class Look:
    """What was shown of a location between two moments, the newest version first."""

    location: str
    begun: float
    ended: float
    versions: Sequence[Version]


@frozen
class Write:
    """A request that makes a version with a digest, or deletes one (None).

    Nobody knows whether it ``happened`` if that is None. If it did, then before its ``ended``.
    """

    digest: str | None
    happened: bool | None
    begun: float
    ended: float


def violation(
    looks: Iterable[Look], writes: Sequence[Write], *, is_lossy: bool = False
) -> str | None:
    """Say what is wrong with the looks at one location, one after another; None if nothing is.

    With ``is_lossy`` old versions may go, and never come back.
    """
    may_be = [write for write in writes if write.happened is not False]
    counts = Counter(write.digest for write in may_be)
    only = {write.digest: write for write in may_be if counts[write.digest] == 1}
    known: dict[int, str] = {}
    gone: set[int] = set()
    for look in sorted(looks, key=lambda look: look.begun):
        wrong = (
            _disorder(look)
            or _change(look, known, gone, is_lossy)
            or _miscount(look, may_be, is_lossy)
            or _out_of_time(look, only)
        )
        if wrong is not None:
            return wrong
        found = {version.generation: version.digest for version in look.versions}
        gone |= known.keys() - found.keys()
        known |= found
    return None


def _disorder(look: Look) -> str | None:
    generations = [version.generation for version in look.versions]
    if generations != sorted(set(generations), reverse=True):
        return f"the versions are in disorder: {generations}"
    current = [version for version in look.versions[1:] if version.ended_by is None]
    return f"{current[0]} is current below another one" if current else None


def _change(look: Look, known: dict[int, str], gone: set[int], is_lossy: bool) -> str | None:
    found = {version.generation: version.digest for version in look.versions}
    newest = max(known, default=0)
    for generation, digest in found.items():
        if generation in gone:
            return f"version {generation} is back"
        if known.get(generation, digest) != digest:
            return f"version {generation} was {known[generation]}, and is {digest}"
        if generation not in known and generation < newest:
            return f"version {generation} is new, below {newest}"
    if not is_lossy and (lost := known.keys() - found.keys()):
        return f"lost: versions {sorted(lost)}"
    return None


def _miscount(look: Look, writes: Sequence[Write], is_lossy: bool) -> str | None:
    """Compare how often each digest, and a deletion, is there with how often it has to be."""
    found = Counter[str | None](version.digest for version in look.versions)
    found[None] = sum(version.ended_by == "deleted" for version in look.versions)
    least = Counter(write.digest for write in writes if write.happened and write.ended < look.begun)
    most = Counter(write.digest for write in writes if write.begun < look.ended)
    for digest in {*found, *least}:
        what = "a deletion" if digest is None else digest
        if found[digest] > most[digest]:
            return f"{what} is there {found[digest]} times, and came {most[digest]} times"
        if found[digest] < least[digest] and not is_lossy:
            return f"{what} is there {found[digest]} times, and was answered {least[digest]} times"
    return None


def _out_of_time(look: Look, only: dict[str | None, Write]) -> str | None:
    """Say which version stands below one that had ended before it began."""
    ended = float("inf")
    for version in look.versions:
        write = only.get(version.digest)
        if write is None:
            continue
        if write.begun > ended:
            return f"{version} was written after one above it"
        ended = min(ended, write.ended)
    return None
