"""The rules that keep pages of other sites from using a browser against this server.

Every page that a user opens can send requests to a server on the user's own machine or network. The
browser says in Origin and Sec-Fetch-Site where such a request comes from (Fetch Metadata). Other
clients send neither.

A page can also point a name of its own at any address (DNS rebinding). The browser then takes this
server for a part of that page's site, and only Host shows the name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from gostore.web.answers import Refusal
from gostore.web.cross_origin import CrossOrigin
from gostore.wire import Headers, Request

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_FROM_A_PAGE = frozenset({b"origin", b"sec-fetch-site"})
_FOREIGN = frozenset({b"cross-site", b"same-site"})
_ORIGIN = re.compile(r"(https?)://([^/@]+)", re.IGNORECASE)
_AUTHORITY = re.compile(rb"[a-z]+://([^/?]+)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Browsers:
    """Refuses requests that only a page of another site would send.

    ``names`` are the host names that this server answers to, such as "blobs.example", "*.example"
    or "*". With None they are those of this machine where it listens on a loopback address, and any
    name elsewhere. What ``cross_origin`` allows is not refused.
    """

    def __init__(
        self, names: Iterable[str] | None = None, cross_origin: CrossOrigin | None = None
    ) -> None:
        self.cross_origin = cross_origin
        self._names = None if names is None else frozenset(names)
        self._loopback: frozenset[tuple[str, int]] = frozenset()

    def listening_on(self, addresses: Iterable[object]) -> None:
        """Learn the addresses that this server listens on."""
        self._loopback |= {
            (address.host, address.port)
            for address in addresses
            if isinstance(address, (IPv4Address, IPv6Address)) and is_loopback(address.host)
        }

    def check(self, request: Request) -> None:
        """Raise Refusal: 421 for a foreign Host, 403 for a write that another site's page sends."""
        server = request.server
        # Clients of a Unix socket put anything into Host, and no page can connect to one, but by a
        # proxy. Then the setting has the proxy's names.
        is_unix = isinstance(server, UNIXAddress) and self._names is None
        forwarded = None if request.forwarded is None else request.forwarded.host
        if forwarded is not None:
            # The client asked the proxy for this one. No name reaches a proxy by rebinding that
            # does not reach it anyway, so any will do unless the setting has some.
            is_unix = False
            if self._names is not None and not self._goes_by(name_of(forwarded.decode("latin-1"))):
                raise _foreign_host()
        elif self._names is not None or (
            not is_unix and (server.host, server.port) in self._loopback  # type: ignore[attr-defined]
        ):
            self._check_host(request)
        if request.method in WRITES and not request.headers.has_none_of(_FROM_A_PAGE):
            allowed = self.cross_origin
            if allowed is not None and allowed.allows(request.headers.get(b"origin")):
                return
            _check_site(request, is_unix, forwarded)

    def _check_host(self, request: Request) -> None:
        # The authority of a target in absolute form overrides Host (RFC 9112 section 3.2.2).
        ours = request.headers.parsed(self._is_ours)
        if ours and not request.target.startswith(b"/"):
            authority = _AUTHORITY.match(request.target)
            ours = authority is None or self._goes_by(name_of(authority[1].decode("latin-1")))
        if not ours:
            raise _foreign_host()

    def _is_ours(self, headers: Headers) -> bool:
        host = headers.get(b"host")
        # No browser leaves it out.
        return not host or self._goes_by(name_of(host.decode("latin-1")))

    def _goes_by(self, name: str) -> bool:
        if self._names is None:
            return name == "localhost" or name.endswith(".localhost") or is_loopback(name)
        parents = (name[at:] for at, char in enumerate(name) if char == ".")
        return not self._names.isdisjoint({name, "*", *("*" + parent for parent in parents)})


def _foreign_host() -> Refusal:
    return Refusal(421, "No host of this name is here; the setting hosts says which are")


def name_of(host: str) -> str:
    """The name in a Host field, in lower case, without port, brackets, or a dot at the end."""
    name, _, port = host.rpartition(":")
    if not name or port.endswith("]"):
        name = host
    return name.lower().strip("[]").removesuffix(".")


def is_loopback(name: str) -> bool:
    """Whether a name is an address that only this machine can reach."""
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _check_site(request: Request, is_unix: bool, forwarded: bytes | None) -> None:
    headers = request.headers
    origin = headers.get(b"origin")
    foreign = (headers.get(b"sec-fetch-site") or b"").lower() in _FOREIGN
    if not foreign and origin is not None and not is_unix:
        host = (forwarded or headers.get(b"host") or b"").decode("latin-1")
        foreign = not _is_own(origin.decode("latin-1"), host, request.is_secure)
    if foreign:
        raise Refusal(403, "A page of another site may not write here: Origin is not that of Host")


def _is_own(origin: str, host: str, is_secure: bool) -> bool:
    """Whether an origin (RFC 6454) is this server's, as Host names it.

    A proxy may have taken the TLS off, so https is no other origin than http; the reverse is.
    """
    match = _ORIGIN.fullmatch(origin)
    if match is None or not host:
        return False
    scheme = match[1].lower()
    if is_secure and scheme != "https":
        return False
    return _with_port(match[2], scheme) == _with_port(host, scheme)


def _with_port(host: str, scheme: str) -> tuple[str, str]:
    _, colon, port = host.rpartition(":")
    known = port if colon and not port.endswith("]") else ""
    return name_of(host), known or _DEFAULT_PORTS[scheme]
