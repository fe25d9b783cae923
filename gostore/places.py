"""Places: how many clients may do something expensive at once; no client takes all. Pure."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, IPv6Network

#: One place in this many is kept from each network, for others.
_OTHERS = 4


class Places:
    """A number of places, and who has them: ``taken`` counts them by network.

    ``count`` may change; nobody loses a place by that.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken: Counter[str | None] = Counter()

    def is_free_for(self, address: str | None) -> bool:
        """Whether a client may take a place. No network may have all of them.

        Those without an address, the peers of a Unix socket, may.
        """
        network = network_of(address)
        most = max(1, self.count - max(1, self.count // _OTHERS))
        return self.taken.total() < self.count and (network is None or self.taken[network] < most)

    def take(self, address: str | None) -> bool:
        """Take a place, if the client may have one."""
        if not self.is_free_for(address):
            return False
        self.taken[network_of(address)] += 1
        return True

    def leave(self, address: str | None) -> None:
        """Leave a place that was taken from this address."""
        network = network_of(address)
        self.taken[network] -= 1
        if not self.taken[network]:
            del self.taken[network]


def network_of(address: str | None) -> str | None:
    """Return the network that stands for one client: the address, or the first 64 bits of IPv6."""
    if address is None or ":" not in address:
        return address
    number = IPv6Address(address.partition("%")[0])
    return str(number.ipv4_mapped or IPv6Network((int(number), 64), strict=False))
