"""How many wrong credentials may come from one network, before nobody there is listened to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import ceil

from attrs import define

from gostore.places import network_of

MOST = 10
"""The most failed attempts in a minute."""

MINUTE = 60.0

REMEMBERED = 20_000
"""The most networks to remember. With more, those whose minute ends first are forgotten."""


@define
class _Count:
    attempts: int
    until: float


class Throttle:
    """Counts attempts by network: an address, or the first 64 bits of IPv6.

    All peers of Unix sockets are one. ``seconds`` is a clock that is never set.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        # In the order in which their minutes end.
        self._counts: OrderedDict[str | None, _Count] = OrderedDict()

    def wait(self, address: str | None) -> int:
        """Seconds until this client may try again; 0 if it may now."""
        count = self._counts.get(network_of(address))
        if count is None or count.attempts < MOST:
            return 0
        left = count.until - self._seconds()
        return max(0, ceil(left))

    def begin(self, address: str | None) -> None:
        """Somebody there makes an attempt. It counts as failed until `forgive`."""
        network, now = network_of(address), self._seconds()
        count = self._counts.get(network)
        if count is None or count.until <= now:
            if count is not None:
                del self._counts[network]
            elif len(self._counts) >= REMEMBERED:
                self._counts.popitem(last=False)
            self._counts[network] = count = _Count(0, now + MINUTE)
        count.attempts += 1

    def forgive(self, address: str | None) -> None:
        """The attempt was none: the credentials were right, or nobody looked at them."""
        count = self._counts.get(network_of(address))
        if count is not None and count.attempts:
            count.attempts -= 1
