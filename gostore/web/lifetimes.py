"""Which lifetime a new blob gets: what its upload asks for, or what is set for its location."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from gostore.ini import format_duration
from gostore.prefixes import ByPrefix
from gostore.store.interface import Lifetime
from gostore.text import wall_seconds
from gostore.web.answers import Refusal

LONGEST = 10_000_000_000
"""The most seconds of a lifetime: some 317 years."""


@frozen
class LifetimeRule:
    """How long blobs stay, in seconds.

    ``default`` is for uploads that ask for nothing, ``most`` the longest that one may ask for, and
    the default, if there is none. With neither they stay.
    """

    default: int | None = None
    most: int | None = None

    def __str__(self) -> str:
        most = [] if self.most is None else [f"max {format_duration(self.most)}"]
        default = [] if self.default is None else [format_duration(self.default)]
        return " ".join(default + most) or "never"


class Lifetimes:
    """Gives new blobs their lifetimes, by the rule for their locations."""

    def __init__(
        self,
        rules: ByPrefix[LifetimeRule] | None = None,
        wall: Callable[[], int] = wall_seconds,
    ) -> None:
        """``wall`` gives the time in seconds since the epoch."""
        #: May change at any time.
        self.rules = ByPrefix(LifetimeRule()) if rules is None else rules
        self._wall = wall

    def settle(self, location: str, wanted: Lifetime | None) -> Lifetime | None:
        """The lifetime of a new blob whose upload asks for one, or for none.

        Raises Refusal (400) for one that is too long for its location, and for one that is over.
        """
        rule = self.rules.of(location)
        if wanted is None:
            seconds = rule.default or rule.most
            return None if seconds is None else Lifetime(seconds)
        seconds = wanted.seconds if wanted.until is None else wanted.until - self._wall()
        if seconds <= 0:
            raise Refusal(400, "Expires-At is in the past")
        if rule.most is not None and seconds > rule.most:
            text = f"Here a blob stays for {rule.most} seconds at most; ask for less, or do not ask"
            raise Refusal(400, text)
        return wanted
