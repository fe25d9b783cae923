"""SIGHUP: what the daemon takes in anew while it runs, and the one line that says what that was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen
from twisted.logger import Logger

log = Logger()


class CannotReload(Exception):
    """Something cannot be taken in as it is now, for this reason. What was there stays in use."""


class Reloadable(Protocol):
    """A part of the daemon that can take in anew what it was made of."""

    def reload(self) -> str:
        """Take in what has changed, and return what that is, in a phrase; "" if it is nothing.

        Raises CannotReload, and changes nothing then.
        """


class Watched(Protocol):
    """A part that keeps what it had where it cannot take in what is new, and then has an error."""

    error: str

    def reload(self) -> str:
        """See Reloadable; a failure is in ``error``."""


@frozen
class Rereading:
    """A watched part as the others are: it raises CannotReload."""

    part: Watched

    def reload(self) -> str:
        """See Reloadable."""
        change = self.part.reload()
        if self.part.error:
            raise CannotReload(change)
        return change


def reload_all(parts: Sequence[Reloadable]) -> None:
    """Reload each part, also where another one cannot be reloaded."""
    changes, failures = [], []
    for part in parts:
        try:
            change = part.reload()
        except CannotReload as error:
            failures.append(f"not reloaded: {error}")
        except Exception:
            log.failure("A part of the daemon cannot be reloaded")
            failures.append("not reloaded: see above")
        else:
            if change:
                changes.append(change)
    line = "; ".join(changes + failures) or "nothing has changed"
    if failures:
        log.warn("Reloaded: {line}", line=line)
    else:
        log.info("Reloaded: {line}", line=line)
