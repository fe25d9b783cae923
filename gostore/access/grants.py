"""What a principal may do, and where. Pure.

A grant is some verbs and a prefix, and covers every location that begins with the prefix, as plain
text. Grants add up; nothing denies.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from enum import Enum

from attrs import field, frozen

from gostore.blob import check_location, check_text

#: How much of a prefix an error repeats.
_SHOWN = 60


class Verb(Enum):
    """What a client may be allowed to do."""

    READ = "read"
    LIST = "list"
    CREATE = "create"
    REPLACE = "replace"
    DELETE = "delete"
    METRICS = "metrics"

    # The hash of an Enum is made in Python, and every request needs it.
    __hash__ = object.__hash__


WORDS: Mapping[str, frozenset[Verb]] = {
    **{verb.value: frozenset({verb}) for verb in Verb},
    "append": frozenset({Verb.CREATE}),
    "write": frozenset({Verb.CREATE, Verb.REPLACE, Verb.DELETE}),
    "all": frozenset(Verb),
}
"""The words for verbs in a grant."""


@frozen
class Grant:
    """Verbs, and the prefix of the locations that they are granted for; ``line`` is in the file."""

    verbs: frozenset[Verb]
    prefix: str = ""
    line: int = 0

    def covers(self, verb: Verb, location: str) -> bool:
        """Whether this grant allows a verb at a location."""
        return verb in self.verbs and location.startswith(self.prefix)


def parse_grant(text: str, line: int = 0) -> Grant:
    """Read ``VERBS [PREFIX]``: "read", "create,list backups/". Raises ValueError."""
    words, _, prefix = text.partition(" ")
    prefix = prefix.strip()
    verbs: set[Verb] = set()
    for word in words.split(","):
        if word not in WORDS:
            known = f"{', '.join(list(WORDS)[:-1])} and {list(WORDS)[-1]}"
            raise ValueError(f"unknown verb {word!r}; there are {known}")
        verbs |= WORDS[word]
    if prefix:
        check_prefix(prefix)
        if "metrics" in words.split(","):
            raise ValueError("metrics are of the whole store: they take no prefix")
    return Grant(frozenset(verbs), prefix, line)


def check_prefix(prefix: str) -> None:
    """Raise ValueError if no location begins with this text, or if it is likely a mistake."""
    try:
        check_text(prefix)
        check_location(prefix.removesuffix("/"))
    except ValueError as reason:
        shown = prefix if len(prefix) <= _SHOWN else f"{prefix[:_SHOWN]}..."
        raise ValueError(f"no location begins with {shown!r}: {reason}") from None
    if " #" in prefix:
        raise ValueError("a comment has a line of its own; no prefix has a blank before a #")


@frozen
class Scope:
    """The locations that a list may show: those that begin with one of some prefixes."""

    prefixes: tuple[str, ...]
    """In order; none of them begins with another."""

    @classmethod
    def of(cls, prefixes: Iterable[str]) -> Scope:
        """Make it of any prefixes."""
        kept: list[str] = []
        for prefix in sorted(prefixes):
            # All that begin with a kept prefix follow it in order, before anything else.
            if not kept or not prefix.startswith(kept[-1]):
                kept.append(prefix)
        return cls(tuple(kept))

    def seek(self, location: str) -> str | None:
        """The first text from ``location`` on that the scope has: itself, or the next prefix.

        None if there is none. A list that seeks so steps over what it may not show.
        """
        at = bisect_right(self.prefixes, location)
        # Only the last prefix up to here can be one of this location's.
        if at and location.startswith(self.prefixes[at - 1]):
            return location
        return self.prefixes[at] if at < len(self.prefixes) else None


@frozen(eq=False)
class Principal:
    """Somebody whom the rules know: a user, a token, or whoever comes without credentials.

    ``kind`` is "user", "token" or "anonymous". From ``expires`` on, in seconds since the epoch, it
    may do nothing.
    """

    name: str
    kind: str
    grants: tuple[Grant, ...]
    expires: int | None = None
    _prefixes: Mapping[Verb, tuple[str, ...]] = field(init=False, repr=False)

    @_prefixes.default
    def _prefixes_by_verb(self) -> Mapping[Verb, tuple[str, ...]]:
        return {
            verb: Scope.of(each.prefix for each in self.grants if verb in each.verbs).prefixes
            for verb in Verb
        }

    def may(self, verb: Verb, location: str) -> bool:
        """Whether it may do this at this location."""
        return location.startswith(self._prefixes[verb])

    def may_somewhere(self, verb: Verb) -> bool:
        """Whether there is any location at which it may do this."""
        return bool(self._prefixes[verb])

    def deciding(self, verb: Verb, location: str) -> Grant | None:
        """The first grant that allows it; None if none does."""
        return next((each for each in self.grants if each.covers(verb, location)), None)

    def is_over(self, now: float) -> bool:
        """Whether it has expired."""
        return self.expires is not None and now >= self.expires

    @property
    def scope(self) -> Scope | None:
        """What a list may show it; None if that is everything."""
        prefixes = self._prefixes[Verb.LIST]
        return None if prefixes == ("",) else Scope(prefixes)
