"""What the daemon says when it starts: where it listens, what to paste, what to watch out for."""

from __future__ import annotations

import ipaddress
import os
import shlex
import stat

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from gostore.daemon.listener import Address
from gostore.daemon.settings import Settings
from gostore.text import escape, printable
from gostore.volume.changes import Sync


def greeting(settings: Settings, addresses: list[Address]) -> list[str]:
    """Say where the daemon listens, where its blobs are, and give a command to paste."""
    lines = [f"Listening on {url(address)}" for address in addresses]
    place = printable(settings.dir) if settings.store is None else str(settings.store)
    lines.append(f"Keeping blobs in {escape(place)}")
    if settings.sync is Sync.NONE and settings.store is None:
        lines.append("Nothing is flushed to the disk (--sync none): a power cut may lose any blob")
    lines.extend(f"Try: {curl(address)}" for address in addresses[:1])
    return lines


def warnings(addresses: list[Address]) -> list[str]:
    """Warn of each address that others may reach, where nobody is asked who he is."""
    return [
        f"There is no authentication: {who} can read, replace and delete every blob."
        f" gostore access makes a file that says who may. {remedy}"
        for who, remedy in map(_exposure, addresses)
        if who
    ]


def _exposure(address: Address) -> tuple[str, str]:
    """Say who may reach an address besides its owner ("": nobody), and how to keep them out."""
    match address.host:
        case IPv4Address(host=host) | IPv6Address(host=host):
            if ipaddress.ip_address(host.partition("%")[0]).is_loopback:
                return "", ""
            return (
                f"whoever can reach {url(address)}",
                f"To keep it to this machine: {how_to_hide(address)}",
            )
        case UNIXAddress(name=name) if name is not None and _is_for_all(name):
            return (
                f"every user of this machine who can reach {url(address)}",
                "To keep it to its owner and group: mode=660 in the endpoint",
            )
        case _:
            return "", ""


def _is_for_all(socket: str | bytes) -> bool:
    """Whether the permissions of a unix socket let every user connect."""
    try:
        return bool(os.stat(socket).st_mode & stat.S_IWOTH)
    except OSError:
        return False  # It is gone, or has no path.


def url(address: Address) -> str:
    """The URL of an address if it has one; a unix socket by its path."""
    match address.host:
        case IPv4Address(host=host, port=port):
            return f"{_scheme(address)}://{host}:{port}"
        case IPv6Address(host=host, port=port):
            return f"{_scheme(address)}://[{host}]:{port}"
        case UNIXAddress() as socket:
            return f"unix:{escape(_socket_path(socket))}"
        case other:
            return str(other)


def curl(address: Address) -> str:
    """A curl command that stores a blob through this address."""
    host, socket = "localhost", ""
    match address.host:
        case IPv4Address(host="0.0.0.0", port=port) | IPv6Address(host="::", port=port):
            host = f"localhost:{port}"
        case IPv4Address(host=number, port=port):
            host = f"{number}:{port}"
        case IPv6Address(host=number, port=port):
            host = f"[{number}]:{port}"
        case UNIXAddress() as found:
            socket = f"--unix-socket {shlex.quote(_socket_path(found))} "
    return f"curl --request POST {socket}{_scheme(address)}://{host}/store/hello --data 'Hello!'"


def how_to_hide(address: Address) -> str:
    """The option that makes the address reachable from this machine only, and keeps TLS."""
    if address.is_tls:
        return "interface=127.0.0.1 in the endpoint"
    return f"-s 127.0.0.1:{address.host.port}"


def _scheme(address: Address) -> str:
    return "https" if address.is_tls else "http"


def _socket_path(address: UNIXAddress) -> str:
    name = address.name
    return printable(os.fsdecode(name)) if isinstance(name, (bytes, str)) else str(name)
