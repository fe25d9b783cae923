"""Trusted proxies: whose word counts about where a request comes from. Pure.

A proxy adds the address of its own client on the right of X-Forwarded-For or Forwarded. So these
are read from the right, and only as far as the proxies are trusted: anybody may have written what
stands further left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from attrs import field, frozen

MAX_HOPS = 32
"""The most members of a field that are read, from the right."""

_HOST_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+)(?::[0-9]+)?|([0-9A-Fa-f:.]+)")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'\s*({_TOKEN})=(?:([^",;=\s]*)|"((?:[^"\\]|\\.)*)")\s*(;|,|\Z)')


@frozen
class Hop:
    """What one proxy says of the request that it got; "" for what it does not say."""

    address: str = ""
    proto: str = ""
    host: str = ""


@frozen
class Proxies:
    """The peers that are trusted: addresses, and perhaps those of Unix sockets."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False
    _known: dict[str, bool] = field(factory=dict, eq=False, repr=False)

    def trust(self, address: str | None) -> bool:
        """Whether a peer is trusted; None is that of a Unix socket."""
        if address is None:
            return self.unix
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= 1000:
                self._known.clear()
            plain = _plain(address)
            known = plain is not None and any(
                ip_address(plain) in network for network in self.networks
            )
            self._known[address] = known
        return known

    def origin(self, peer: str | None, hops: Sequence[Hop]) -> Hop:
        """Where a request comes from that a trusted peer passed on; the last hop is the peer's own.

        An address that is none ends the search: the client is the last proxy that is known.
        """
        found = Hop(peer or "")
        for hop in reversed(hops):
            address = _plain(hop.address)
            found = Hop(address or found.address, hop.proto or found.proto, hop.host or found.host)
            if address is None or not self.trust(address):
                break
        return found


def parse_proxies(text: str) -> Proxies:
    """Read ``ADDRESS[/BITS],...|unix``. Raises ValueError."""
    networks: list[IPv4Network | IPv6Network] = []
    unix = False
    for part in text.split(","):
        name = part.strip()
        if name == "unix":
            unix = True
            continue
        try:
            networks.append(ip_network(name))
        except ValueError as error:
            raise ValueError(f"{name!r} is no address, network or unix: {error}") from None
    return Proxies(tuple(networks), unix)


def parse_forwarded(value: str) -> list[Hop] | None:
    """Read a Forwarded field (RFC 7239), at most `MAX_HOPS` from the right; None if malformed."""
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    at = 0
    while at < len(value):
        match = _PAIR.match(value, at)
        if match is None:
            return None
        name = match[1].lower()
        if name in pairs:
            return None
        pairs[name] = match[2] if match[3] is None else re.sub(r"\\(.)", r"\1", match[3])
        at = match.end()
        if match[4] != ";":
            hops.append(Hop(pairs.get("for", ""), pairs.get("proto", ""), pairs.get("host", "")))
            pairs = {}
    return hops[-MAX_HOPS:] if not pairs else None


def parse_list(value: str) -> list[str]:
    """Read a list such as X-Forwarded-For, at most `MAX_HOPS` members from the right."""
    return [member.strip() for member in value.rsplit(",", MAX_HOPS)[-MAX_HOPS:]]


@lru_cache(maxsize=1000)
def _plain(text: str) -> str | None:
    """An address without brackets, port or zone, and not IPv4 in the clothes of IPv6."""
    match = _HOST_PORT.fullmatch(text.partition("%")[0])
    if match is None:
        return None
    try:
        address = ip_address(match[1] or match[2] or match[3])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
