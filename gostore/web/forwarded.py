"""What a trusted proxy says of a request that it passes on.

X-Forwarded-For, -Proto, -Host and Forwarded (RFC 7239) count only where they come from a trusted
peer. X-Forwarded-Prefix needs no reading: every link is a relative reference, and stays right.
"""

from __future__ import annotations

import re

from twisted.internet.address import IPv4Address, IPv6Address

from gostore.access.proxies import Hop, Proxies, parse_forwarded, parse_list
from gostore.web.answers import Refusal
from gostore.wire import Forwarded, Headers, Request

_FIELDS = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"}
)
_ID = re.compile(rb"[!-~]{1,128}")
_NOTHING: list[Hop] = []


def read_forwarded(request: Request, proxies: Proxies) -> None:
    """Let a request be what a trusted proxy says it is. Raises Refusal (400).

    Some proxies write Forwarded and others X-Forwarded-For, and each passes on the other as its
    client sent it. So where both are there and differ, nobody can tell which is forged.
    """
    peer = getattr(request.client, "host", None)
    if not proxies.trust(peer):
        return
    headers = request.headers
    if headers.has_none_of(_FIELDS):
        request.forwarded = Forwarded(request.client, request.is_secure, None)
        return
    ours = [proxies.origin(peer, hops) for hops in (_listed(headers), _standard(headers)) if hops]
    if len({hop.address for hop in ours}) > 1:
        raise Refusal(400, "Forwarded and X-Forwarded-For differ; a proxy has to set or drop both")
    proto = next((hop.proto.lower() for hop in ours if hop.proto), "")
    host = next((hop.host for hop in ours if hop.host), "")
    address = ours[0].address if ours else peer or ""
    secure = request.is_secure if proto not in ("http", "https") else proto == "https"
    client = request.client
    if address and address != peer:
        family = IPv6Address if ":" in address else IPv4Address
        client = family("TCP", address, 0)
        request.body.sender = address
    request.forwarded = Forwarded(client, secure, host.encode("latin-1") or None)
    name = headers.get(b"x-request-id")
    if name is not None and _ID.fullmatch(name):
        request.id = name


def _standard(headers: Headers) -> list[Hop]:
    value = headers.get(b"forwarded")
    if value is None:
        return _NOTHING
    hops = parse_forwarded(value.decode("latin-1"))
    if hops is None:
        raise Refusal(400, "Forwarded is not as RFC 7239 has it")
    return hops


def _listed(headers: Headers) -> list[Hop]:
    addresses, protos, hosts = (
        _members(headers, name)
        for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
    )
    # A proxy may write these anew instead of adding to them: then they are of the last hop.
    if not addresses and (protos or hosts):
        addresses = [""]
    places = range(-len(addresses), 0)
    return [Hop(addresses[at], _at(protos, at), _at(hosts, at)) for at in places]


def _members(headers: Headers, name: bytes) -> list[str]:
    value = headers.get(name)
    return parse_list(value.decode("latin-1")) if value else []


def _at(values: list[str], place: int) -> str:
    return values[place] if -len(values) <= place else ""
