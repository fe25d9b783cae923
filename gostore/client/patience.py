"""How often and for how long a client tries again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from attrs import frozen

#: Seconds of the first pause, if the daemon asks for none. Each is twice as long as the last one.
_FIRST = 0.25

#: Seconds of the longest pause that the client makes by itself.
_LONGEST = 15.0


@frozen
class Patience:
    """For how many seconds a client tries again while nothing comes of it.

    ``unanswered`` counts while nobody even listens: a daemon that restarts is back in seconds, and
    a wrong address never is. A transfer that makes progress may go on for ever.
    """

    seconds: float = 120.0
    unanswered: float = 5.0


class Pauses:
    """The pauses between the attempts at one thing."""

    def __init__(
        self,
        patience: Patience,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._jitter = jitter
        self.restart()

    def restart(self) -> None:
        """There was progress."""
        self._begun = self._clock()
        self._count = 0

    def next(self, asked: float | None = None, *, reached: bool = True) -> float | None:
        """Return the seconds until the next attempt; None if there should be no more.

        ``asked`` is how long the daemon asks to wait; ``reached`` whether somebody listens.
        """
        # Clients that were cut off together must not come back together.
        pause = min(_FIRST * 2**self._count, _LONGEST) * (0.5 + self._jitter() / 2)
        if asked is not None:
            pause = max(asked, pause)
        self._count = min(self._count + 1, 16)
        limit = self._patience.seconds if reached else self._patience.unanswered
        return pause if self._clock() - self._begun + pause <= limit else None


def seconds_asked(text: str | None) -> float | None:
    """The seconds that Retry-After asks for; a date counts as none, as nonsense does."""
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return float(text[:9])
